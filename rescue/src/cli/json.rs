//! The output for programs. Every value has `"schema": 1`, and an answer `"warnings"` ([`super::session::Session::answer`]); docs/scripting.md says what stands in it and how it may change.

mod differences;
mod files;
mod plan;

pub(super) use differences::compared;
pub(super) use files::{got, listed};
pub(super) use plan::{boot_repairs, plan};

use crate::tui::{chain, steps, words};
use model::assessment::{Assessment, Facet, Report, SystemReport};
use model::boot::{BootChain, BootLink};
use model::command::Failure;
use model::event::{CheckReport, Exported, StoreView};
use model::evidence::{Evidence, Stamp};
use model::firmware::BootSettings;
use model::id::{SnapshotId, VolumePath};
use model::inspection::{Disk, Finding, Inspection, MountedSubvolume, Volume};
use model::note::Noted;
use model::plan::SnapshotEstimate;
use model::policy::{Acted, Decision};
use model::ports::UnixMicros;
use model::proof::Proof;
use model::run_state::RunState;
use model::signer::SignerId;
use model::snapshot::{Cost, Described, Purpose, SavedDisk, SavedVolume, SnapshotSummary, VolumeRead};
use model::text::DisplayText;
use model::timeline::{Occurrence, Operation};
use model::upkeep::{CopyView, ForgetView, KeyLine, Made, PruneView, RepairView, SpaceLine, StatsView};
use serde_json::{Value, json};

/// Version of every shape here.
const SCHEMA: u32 = 1;

/// A value as it is printed.
pub(super) fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

/// `2026-11-23T05:42:07Z` (RFC 3339).
fn time(t: UnixMicros) -> String {
    let (y, mo, d, h, mi, s) = t.civil();
    format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z")
}

/// A failure.
pub(super) fn failure(f: &Failure) -> Value {
    json!({ "schema": SCHEMA, "error": { "code": f.code, "exit": f.code.number(), "says": f.says, "advice": f.advice } })
}

/// `inspect`.
pub(super) fn report(run: &RunState, report: &Report) -> Value {
    let i = &report.inspection;
    let unfinished =
        i.fences().map(|(v, f)| json!({ "volume": v.path, "intent": f.intent, "store": f.store, "was": f.was }));
    json!({
        "schema": SCHEMA,
        "disks": i.disks.iter().map(|d| disk(i, d)).collect::<Vec<_>>(),
        "systems": report.systems.iter().map(|s| system(report, s)).collect::<Vec<_>>(),
        "findings": i.findings.iter().map(finding).collect::<Vec<_>>(),
        "unfinished": unfinished.collect::<Vec<_>>(),
        "firmware": i.firmware.as_ref().map(firmware),
        "last_good": steps::back_to(run).map(|(good, stands)| last_good(good, stands.as_ref())),
    })
}

/// The newest good snapshot, and how it stands to the newest package operation.
fn last_good(good: &SnapshotSummary, stands: Option<&(Operation, bool)>) -> Value {
    let operation = stands.map(|(o, _)| json!({ "manager": o.manager, "command": o.command, "time": stamp(&o.began) }));
    json!({
        "snapshot": good.id, "counter": good.counter, "taken": time(good.taken), "operation": operation,
        "before_operation": stands.map(|(_, before)| before),
    })
}

fn firmware(settings: &BootSettings) -> Value {
    let entries = settings.entries.iter().map(|e| {
        let option = e.option.as_ref();
        let told = option.ok();
        json!({
            "number": e.number, "attributes": e.attributes, "value": e.value, "active": told.map(|o| o.active),
            "label": told.map(|o| &o.label), "partition": told.map(|o| &o.partition), "file": told.map(|o| &o.file),
            "problem": option.err(),
        })
    });
    json!({
        "order": settings.order, "next": settings.next, "current": settings.current,
        "os_indications": settings.os_indications, "entries": entries.collect::<Vec<_>>(),
    })
}

fn disk(inspection: &Inspection, d: &Disk) -> Value {
    let h = &d.hardware;
    let table = d.table.as_ref().map(|t| json!({ "kind": t.kind, "id": t.id, "from_backup": t.from_backup }));
    json!({
        "disk": d.no.to_string(),
        "model": h.model,
        "serial": h.serial,
        "wwn": h.wwn,
        "size": h.size,
        "sector": h.sector,
        "transport": h.transport,
        "removable": h.removable,
        "write_protected": h.write_protected,
        "shown_as": h.shown_as,
        "table": table,
        "volumes": inspection.volumes_of(d).map(|v| volume(inspection, v)).collect::<Vec<_>>(),
    })
}

fn volume(inspection: &Inspection, v: &Volume) -> Value {
    let mount = inspection.systems.iter().find_map(|s| {
        if s.root == v.path {
            return Some("/");
        }
        s.boot.iter().chain(&s.other).find(|(_, p)| *p == v.path).map(|(at, _)| at.as_str())
    });
    json!({
        "volume": v.path,
        "start": v.mapping.is_none().then(|| v.extent.start()),
        "size": v.extent.len(),
        "lies_on": v.mapping.as_ref().map(|m| m.beneath.iter().map(|b| &b.path).collect::<Vec<_>>()),
        "fs": v.kind(),
        "uuid": v.uuid(),
        "mount": mount,
        "content": v.content,
    })
}

fn system(report: &Report, s: &SystemReport) -> Value {
    let inspection = &report.inspection;
    let at = |(mount, volume): &(String, VolumePath)| json!({ "mount": mount, "volume": volume });
    let subvolume = |s: &MountedSubvolume| json!({ "mount": s.mount, "volume": s.volume, "path": s.path });
    json!({
        "name": s.system.name,
        "os": { "id": s.system.os.0, "version": s.system.os.1 },
        "hostname": s.system.hostname,
        "machine_id": s.system.machine_id,
        "root": { "volume": s.system.root, "fs": inspection.volume(&s.system.root).map(Volume::kind) },
        "boot": s.system.boot.iter().map(at).collect::<Vec<_>>(),
        "other": s.system.other.iter().map(at).collect::<Vec<_>>(),
        "subvolumes": s.system.subvolumes.iter().map(subvolume).collect::<Vec<_>>(),
        "assessment": assessment(&s.assessment),
        "boot_chain": chain::of(report, &s.system.root).map(boot_chain),
        "timeline": engine::gather::timeline(inspection, s).iter().map(occurrence).collect::<Vec<_>>(),
        "evidence": s.evidence.iter().map(evidence).collect::<Vec<_>>(),
    })
}

/// A boot chain, link by link.
pub(super) fn boot_chain(chain: &BootChain) -> Value {
    let link = |l: &BootLink| {
        json!({
            "part": l.part, "way": l.way, "volume": l.volume, "path": l.path.as_ref().map(model::text::RawName::display),
            "state": l.state, "needed": l.needed, "says": l.says, "advice": l.advice, "repairable": l.repairable,
        })
    };
    json!({ "root": chain.root, "state": chain.state(), "links": chain.links.iter().map(link).collect::<Vec<_>>() })
}

/// A facet: its value, what else belongs to it, how sure, by which rule, and the evidence.
fn facet<T: serde::Serialize>(f: &Facet<T>, more: &[(&str, Value)]) -> Value {
    let mut out = serde_json::Map::new();
    out.insert("value".into(), json!(f.value));
    for (name, value) in more {
        out.insert((*name).to_owned(), value.clone());
    }
    out.insert("confidence".into(), json!(f.confidence));
    out.insert("rule".into(), json!(f.rule));
    out.insert("for".into(), json!(f.evidence_for));
    out.insert("against".into(), json!(f.evidence_against));
    Value::Object(out)
}

fn assessment(a: &Assessment) -> Value {
    json!({
        "headline": a.headline,
        "advice": a.advice,
        "good": a.is_good(),
        "termination": facet(&a.termination, &[("how", json!(a.how))]),
        "start": facet(&a.start, &[]),
        "installation": facet(&a.installation, &[("packages", json!(a.packages))]),
        "change": facet(&a.change, &[("since", json!(a.since))]),
    })
}

/// One thing that a machine did: the kind with what belongs to it, and what all have.
fn occurrence(o: &Occurrence) -> Value {
    let mut out = json!(o.what);
    if let Some(out) = out.as_object_mut() {
        out.insert("time".into(), json!(o.time.as_ref().map(stamp)));
        out.insert("says".into(), json!(o.says));
        out.insert("source".into(), json!(o.source));
        out.insert("evidence".into(), json!(o.evidence));
    }
    out
}

fn stamp(t: &Stamp) -> Value {
    json!({ "at": time(t.at), "trust": t.trust })
}

fn evidence(e: &Evidence) -> Value {
    json!({
        "id": e.id,
        "origin": {
            "volume": e.origin.volume,
            "path": e.origin.path.as_ref().map(model::text::RawName::display),
            "range": e.origin.range,
        },
        "says": e.says,
        "time": e.time.as_ref().map(stamp),
    })
}

fn finding(f: &Finding) -> Value {
    json!({ "severity": f.severity, "volume": f.volume, "says": f.says, "advice": f.advice })
}

/// `store init`.
pub(super) fn made(made: &Made) -> Value {
    json!({ "schema": SCHEMA, "store": { "id": made.id, "encrypted": made.encrypted, "probed": made.probed } })
}

/// `note`.
pub(super) fn noted(id: SnapshotId, noted: &Noted) -> Value {
    json!({
        "schema": SCHEMA, "snapshot": id, "label": noted.label, "pinned": noted.pinned, "proven": noted.proven, "unproven": noted.unproven,
    })
}

/// `forget`.
pub(super) fn forget(view: &ForgetView, done: bool, pruned: Option<&PruneView>) -> Value {
    let keep = view.keep.iter().map(|(s, why)| json!({ "id": s.id, "reasons": why }));
    json!({
        "schema": SCHEMA,
        "keep": keep.collect::<Vec<_>>(),
        "forget": view.ids(),
        "frees": view.frees,
        "done": done,
        "pruned": pruned,
    })
}

/// `prune`.
pub(super) fn pruned(view: &PruneView, done: bool) -> Value {
    json!({ "schema": SCHEMA, "pruned": view, "done": done })
}

/// `stats`.
pub(super) fn stats(view: &StatsView) -> Value {
    let line = |s: &SpaceLine| json!({ "id": s.summary.id, "size": s.logical, "unique": s.unique, "shared": s.shared });
    json!({
        "schema": SCHEMA,
        "logical": view.logical,
        "distinct": view.distinct,
        "live": view.live,
        "dead": view.dead,
        "stored": view.stored,
        "free": view.free,
        "snapshots": view.snapshots.iter().map(line).collect::<Vec<_>>(),
    })
}

/// `copy`.
pub(super) fn copied(view: &CopyView) -> Value {
    json!({
        "schema": SCHEMA,
        "to": { "id": view.to },
        "copied": view.copied.iter().map(|s| s.id).collect::<Vec<_>>(),
        "present": view.present,
        "noted": view.noted,
        "failed": view.failed,
        "read": view.read,
        "stored": view.stored,
    })
}

/// `repair`.
pub(super) fn repaired(view: &RepairView) -> Value {
    json!({
        "schema": SCHEMA,
        "damaged": view.damaged,
        "salvaged": view.salvaged,
        "indexed": view.indexed,
        "healed": view.healed,
        "broken": view.broken,
    })
}

/// `key list`, `add` and `remove`.
pub(super) fn keys(keys: &[KeyLine], added: Option<&str>) -> Value {
    json!({ "schema": SCHEMA, "keys": keys, "added": added })
}

/// `key new-signer`.
pub(super) fn new_signer(signer: &SignerId) -> Value {
    json!({ "schema": SCHEMA, "signer": signer })
}

/// `snapshots`.
pub(super) fn snapshots(store: &StoreView) -> Value {
    json!({
        "schema": SCHEMA,
        "store": { "id": store.id, "free": store.free },
        "snapshots": store.snapshots.iter().map(summary).collect::<Vec<_>>(),
        "damage": store.damage,
    })
}

/// `show`.
pub(super) fn described(d: &Described) -> Value {
    let statement = &d.statement;
    let systems = statement.systems.iter().map(|s| {
        json!({
            "name": s.system.name, "hostname": s.system.hostname, "root": s.system.root,
            "assessment": assessment(&s.assessment), "evidence": s.evidence.iter().map(evidence).collect::<Vec<_>>(),
        })
    });
    json!({
        "schema": SCHEMA,
        "snapshot": summary(&d.summary),
        "parent": statement.parent,
        "origin": statement.origin,
        "systems": systems.collect::<Vec<_>>(),
        "disks": statement.disks.iter().map(saved_disk).collect::<Vec<_>>(),
        "volumes": statement.volumes.iter().map(saved_volume).collect::<Vec<_>>(),
        "firmware": statement.firmware.as_ref().map(firmware),
    })
}

fn saved_disk<M>(d: &SavedDisk<M>) -> Value {
    let h = &d.hardware;
    json!({
        "disk": d.no.to_string(), "model": h.model, "serial": h.serial, "wwn": h.wwn, "size": h.size, "sector": h.sector,
        "table": d.table.as_ref().map(|t| json!({ "kind": t.kind, "id": t.id, "partitions": t.partitions.len() })),
    })
}

fn saved_volume<M>(v: &SavedVolume<M>) -> Value {
    let compared = v
        .compared
        .as_ref()
        .map(|c| json!({ "by": c.by, "why": c.why, "with": c.with, "taken_over": c.taken_over, "resumed": c.resumed }));
    json!({
        "volume": v.path, "fs": v.volume().kind(), "uuid": v.volume().uuid(), "size": v.extent.len(),
        "method": v.method, "why": v.why, "captured": v.captured, "unreadable": v.unreadable, "compared": compared,
    })
}

fn summary(s: &SnapshotSummary) -> Value {
    let (purpose, before) = match s.purpose {
        Purpose::Undo { before } => ("undo", Some(before)),
        Purpose::Repair => ("repair", None),
        Purpose::Composed { .. } => ("composed", None),
        Purpose::Keep => ("keep", None),
    };
    let composed = match s.purpose {
        Purpose::Composed { of, with } => Some(json!({ "of": of, "with": with })),
        _ => None,
    };
    json!({
        "id": s.id,
        "counter": s.counter,
        "purpose": purpose,
        "before": before,
        "composed": composed,
        "machine": { "machine_id": s.machine.machine_id, "hostname": s.machine.hostname, "disks": s.machine.disks },
        "taken": time(s.taken),
        "system": s.system,
        "headline": s.headline,
        "kernel": s.kernel,
        "packages": s.packages,
        "good": s.good,
        "state": words::state(s).1,
        "captured": s.captured,
        "label": s.label,
        "pinned": s.pinned,
        "proven": s.proven,
        "unproven": s.unproven,
        "signers": s.signers,
        "cost": cost(&s.cost),
    })
}

fn cost(c: &Cost) -> Value {
    json!({ "read": c.read, "shared": c.shared, "new": c.new, "stored": c.stored })
}

/// `snapshot`.
pub(super) fn saved(id: SnapshotId, c: &Cost, volumes: &[VolumeRead], told: Option<&SnapshotEstimate>) -> Value {
    json!({
        "schema": SCHEMA, "snapshot": id, "cost": cost(c), "volumes": volumes_read(volumes),
        "estimate": told.map(room),
    })
}

/// `snapshot --dry-run`.
pub(super) fn estimate(e: &SnapshotEstimate) -> Value {
    let volumes = e.volumes.iter().map(|v| {
        let mut out = volume_read(&v.read);
        out.insert("method".into(), json!(v.method));
        out.insert("method_why".into(), json!(v.method_why));
        out.insert("used".into(), json!(v.used));
        Value::Object(out)
    });
    let left_out = e.left_out.iter().map(|(volume, why)| json!({ "volume": volume, "why": why }));
    json!({
        "schema": SCHEMA, "snapshot": null, "volumes": volumes.collect::<Vec<_>>(),
        "left_out": left_out.collect::<Vec<_>>(), "estimate": room(e),
    })
}

fn volume_read(v: &VolumeRead) -> serde_json::Map<String, Value> {
    let VolumeRead { path, read, unreadable, compared } = v;
    let fields = [
        ("volume", json!(path)),
        ("read", json!(read)),
        ("unreadable", json!(unreadable)),
        ("by", json!(compared.by)),
        ("why", json!(compared.why)),
        ("with", json!(compared.with)),
        ("taken_over", json!(compared.taken_over)),
        ("resumed", json!(compared.resumed)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn volumes_read(volumes: &[VolumeRead]) -> Vec<Value> {
    volumes.iter().map(|v| Value::Object(volume_read(v))).collect()
}

fn room(e: &SnapshotEstimate) -> Value {
    json!({
        "read": e.read, "at_most": e.at_most, "likely": e.likely, "likely_because": e.likely_because, "free": e.free,
        "fits": e.free.map(|_| !e.is_tight()),
    })
}

/// `auto`.
pub(super) fn acted(acted: &Acted, dry_run: bool) -> Value {
    let Decision { save, why } = &acted.decision;
    let saved = acted.saved.as_ref();
    json!({
        "schema": SCHEMA,
        "decision": {
            "save": save.is_some(),
            "everything": save.as_ref().is_some_and(|s| s.everything),
            "label": save.as_ref().and_then(|s| s.label.as_ref()),
            "why": why,
        },
        "done": !dry_run,
        "snapshot": saved.map(|s| s.id),
        "skipped": save.is_none().then_some(why),
        "cost": saved.map(|s| cost(&s.cost)),
        "volumes": saved.map_or(Vec::new(), |s| volumes_read(&s.volumes)),
        "locked": acted.locked,
        "forgotten": acted.forgotten,
        "pruned": acted.pruned,
        "trouble": acted.trouble.as_ref().map(ToString::to_string),
    })
}

/// `check`.
pub(super) fn checked(c: &CheckReport, accepted: Option<&Option<DisplayText>>) -> Value {
    json!({
        "schema": SCHEMA,
        "snapshots": c.snapshots,
        "objects": c.objects,
        "read": c.read,
        "damage": c.damage,
        "affected": c.affected,
        "lost": c.lost.iter().map(files::lost).collect::<Vec<_>>(),
        "unused": c.unused,
        "accepted": accepted.map(|differed| json!({ "differed": differed })),
    })
}

/// `prove`.
pub(super) fn proved(p: &Proof) -> Value {
    json!({
        "schema": SCHEMA, "snapshot": p.snapshot, "verdict": p.verdict, "why": p.why, "system": p.system, "boot": p.boot,
        "firmware": p.firmware, "seconds": p.seconds, "written": p.written, "last_lines": p.last_lines,
        "lacks": p.warnings, "recorded": p.recorded,
    })
}

/// `export`.
pub(super) fn exported(e: &Exported) -> Value {
    let images = e.images.iter().map(|i| {
        json!({
            "file": i.file.display(), "of": i.of, "format": i.format, "size": i.size, "written": i.written,
            "unreadable": i.unreadable, "left_out": i.left_out, "warnings": i.warnings,
        })
    });
    json!({ "schema": SCHEMA, "snapshot": e.snapshot, "images": images.collect::<Vec<_>>() })
}
