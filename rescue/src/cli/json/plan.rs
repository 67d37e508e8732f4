//! Plans for what is written to disks, for programs, and what became of them.

use super::{SCHEMA, boot_chain, time};
use model::assessment::Report;
use model::boot::{BootRepair, BootRepairs};
use model::esp::{EspPart, SharedEsp};
use model::event::Question;
use model::id::PlanId;
use model::plan::{Action, ComposedPath, RollbackPlan, TableRollback};
use model::snapshot::Receipt;
use serde_json::{Value, json};

/// A plan, and what became of it where it was carried out.
/// `after`: the look at the disks that followed.
pub(in crate::cli) fn plan(question: &Question, done: Option<&Receipt>, after: Option<&Report>) -> Value {
    let done = done.map(|r| {
        json!({ "intent": r.intent, "holds": r.holds, "written": r.written, "verified": r.verified, "ended": time(r.ended) })
    });
    let losses = question.losses.as_ref().map(super::differences::losses);
    json!({ "schema": SCHEMA, "plan": plan_value(question.id, &question.plan), "losses": losses, "done": done, "boot_chains": boot_chains(after) })
}

/// `repair-boot`: what is put right, by which plan, and what became of it.
pub(in crate::cli) fn boot_repairs(
    repairs: &BootRepairs,
    planned: Option<&Question>,
    done: Option<&Receipt>,
    after: Option<&Report>,
) -> Value {
    let one = |r: &BootRepair| json!({ "volume": r.volume, "path": r.path.as_ref().map(model::text::RawName::display), "says": r.says });
    let mut value = match planned {
        Some(question) => plan(question, done, after),
        None => json!({ "schema": SCHEMA, "plan": null, "done": null, "boot_chains": null }),
    };
    if let Value::Object(fields) = &mut value {
        let all = |list: &[BootRepair]| json!(list.iter().map(one).collect::<Vec<_>>());
        fields.insert("repairs".into(), all(&repairs.items));
        fields.insert("left".into(), all(&repairs.left));
        let expected = repairs.after.iter().filter(|c| !c.links.is_empty()).map(boot_chain);
        fields.insert("expected".into(), json!(expected.collect::<Vec<_>>()));
    }
    value
}

fn plan_value(id: PlanId, p: &RollbackPlan) -> Value {
    let (action, of) = match p.action {
        Action::Rollback => ("rollback", None),
        Action::Restore { over } => ("restore", over),
        Action::Repair => ("repair", None),
        Action::Put => ("put", None),
        Action::Undo { of } => ("undo", Some(of)),
        Action::Resume { of } => ("resume", Some(of)),
    };
    let volumes = p.volumes.iter().map(|v| {
        json!({
            "volume": v.path, "saved_as": v.saved_as,
            "start": (!v.path.is_layered()).then(|| v.extent.start()), "size": v.extent.len(),
            "says": v.says, "at_most": v.at_most,
        })
    });
    let tables = p.tables.iter().map(|t| match t {
        TableRollback::Untouched { disk } => json!({ "disk": disk.to_string(), "action": "untouched", "why": null }),
        TableRollback::Repair { disk, why, .. } => json!({ "disk": disk.to_string(), "action": "repair", "why": why }),
    });
    let disks = p.disks.iter().map(|d| {
        json!({
            "disk": d.disk.to_string(), "saved_as": d.saved_as.to_string(), "size": d.hardware.size,
            "serial": d.hardware.serial, "wwn": d.hardware.wwn, "holds": d.holds, "lost": d.lost, "table": d.table,
            "at_most": d.at_most,
            "growth": d.growth.as_ref().map(|g| json!({ "volume": g.volume, "from": g.from, "to": g.to, "wanted": g.wanted })),
        })
    });
    let composed = p.composed.as_ref().map(|c| {
        let path = |p: &ComposedPath| {
            json!({ "volume": p.volume, "path": p.path.display(), "files": p.files, "bytes": p.bytes, "counted": p.counted })
        };
        json!({ "of": c.of, "with": c.with, "paths": c.paths.iter().map(path).collect::<Vec<_>>(), "room": c.room })
    });
    let kept = p.kept.iter().map(|(volume, why)| json!({ "volume": volume, "why": why }));
    json!({
        "id": id,
        "action": action,
        "of": of,
        "to": p.to,
        "to_says": p.to_says,
        "usable": p.is_usable(),
        "at_most": p.at_most(),
        "volumes": volumes.collect::<Vec<_>>(),
        "tables": tables.collect::<Vec<_>>(),
        "disks": disks.collect::<Vec<_>>(),
        "kept": kept.collect::<Vec<_>>(),
        "checks": p.checks,
        "warnings": p.warnings,
        "foreign": p.foreign,
        "firmware": p.firmware.iter().map(|w| json!({ "variable": w.name, "says": w.says })).collect::<Vec<_>>(),
        "composed": composed,
        "esps": p.esps.iter().map(shared_esp).collect::<Vec<_>>(),
        "reads": p.reads.as_ref().map(|r| json!({ "everything": r.everything, "with": r.with, "says": r.says })),
    })
}

fn shared_esp(esp: &SharedEsp) -> Value {
    let part = |p: &EspPart| {
        json!({
            "path": p.path.display(), "whose": p.whose, "differs": p.differs, "returns": p.returns, "files": p.files,
            "bytes": p.bytes,
        })
    };
    json!({
        "volume": esp.volume, "stays": esp.stays.iter().map(part).collect::<Vec<_>>(), "composed": esp.is_composed(),
        "cannot": esp.cannot,
    })
}

/// The boot chains of a look at the disks that followed something that was written.
fn boot_chains(report: Option<&Report>) -> Value {
    json!(report.map(|r| r.boot.iter().filter(|b| !b.links.is_empty()).map(boot_chain).collect::<Vec<_>>()))
}
