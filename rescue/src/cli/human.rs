//! The output for people. Text that came off a disk is [`model::text::DisplayText`] and safe to print.

pub(super) mod differences;
pub(super) mod files;
mod upkeep;

pub(super) use upkeep::{checked, copied, forget, pruned, repaired, stats};

use crate::tui::text::wrap;
use crate::tui::{chain, history, saved, steps, words};
use model::assessment::{Report, SystemReport};
use model::boot::{BootChain, BootRepairs, LinkState};
use model::event::{Exported, Question, StoreView};
use model::evidence::ClockTrust;
use model::id::SnapshotId;
use model::inspection::Severity;
use model::note::Noted;
use model::plan::{Action, SnapshotEstimate, TableRollback};
use model::policy::Acted;
use model::proof::{Firmware, Proof, Verdict};
use model::run_state::RunState;
use model::snapshot::{Cost, Described, Receipt, VolumeRead};
use model::timeline::Occurrence;
use model::upkeep::KeyLine;
use std::fmt::Write;

/// Columns of a paragraph.
const COLUMNS: usize = 79;

/// Adds a paragraph, the first line behind `head`, the others behind as many spaces.
fn paragraph(out: &mut String, head: &str, text: &str) {
    let indent = head.chars().count();
    for (n, line) in wrap(text, COLUMNS - indent.min(COLUMNS / 2)).iter().enumerate() {
        let head = if n == 0 { head.to_owned() } else { " ".repeat(indent) };
        line_of(out, format_args!("{head}{line}"));
    }
}

fn line_of(out: &mut String, line: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(out, "{line}");
}

/// Occurrences of a timeline where not all are asked for.
const SOME: usize = 10;

/// `inspect`. `all` of its timeline is shown, or the newest of it.
pub(super) fn report(run: &RunState, report: &Report, explain: bool, all: bool) -> String {
    let mut out = String::new();
    let i = &report.inspection;
    for (v, f) in i.fences() {
        paragraph(&mut out, "[!!] ", &format!("{}: a rollback was cut off here ({} stood here)", v.path, f.was));
        paragraph(&mut out, "     ", "finish it with `holdfast resume`, or go back with `holdfast undo`");
    }
    if report.systems.is_empty() {
        out.push_str("No installed system was found.\n");
    }
    for s in &report.systems {
        system(&mut out, report, s, explain, all);
    }
    if let Some((good, Some((operation, before)))) = steps::back_to(run) {
        paragraph(&mut out, "", &history::back_to(good, &operation, before));
    }
    for f in i.findings.iter().filter(|f| explain || f.severity > Severity::Note) {
        let word = match f.severity {
            Severity::Note => "note:",
            Severity::Warning => "warning:",
            Severity::Damage => "DAMAGE:",
        };
        paragraph(&mut out, &format!("{word:<9}"), &format!("{}: {}; {}", f.volume, f.says, f.advice));
    }
    out.push('\n');
    for d in &i.disks {
        let h = &d.hardware;
        let protected = if h.write_protected { ", write-protected" } else { "" };
        line_of(&mut out, format_args!("{}  {} {}, {}{protected}", d.no, h.size, h.model, h.transport));
        for v in i.volumes_of(d) {
            let (what, size) = (words::volume(i, v), v.extent.len().to_string());
            line_of(
                &mut out,
                format_args!("  {:<8} {size:>8}  {what:<20} {}", v.path.to_string(), v.uuid().unwrap_or("")),
            );
        }
    }
    if let Some(settings) = &i.firmware {
        out.push_str("firmware, what it starts and in which order:\n");
        for line in words::boot_entries(settings) {
            paragraph(&mut out, "  ", &line);
        }
    }
    out
}

fn system(out: &mut String, report: &Report, s: &SystemReport, explain: bool, all: bool) {
    let host = s.system.hostname.as_ref().map(|h| format!(" on \"{h}\"")).unwrap_or_default();
    line_of(out, format_args!("{}{host}, {}", s.system.name, s.system.root));
    paragraph(out, "  ", s.assessment.headline.as_str());
    paragraph(out, "  ", s.assessment.advice.as_str());
    for f in words::facets(&s.assessment) {
        paragraph(out, &format!("  {:<14} {} ", f.name, f.mark.shown()), &f.says);
        if !explain {
            continue;
        }
        line_of(out, format_args!("        rule {}", f.rule));
        for (word, ids) in [("for     ", &f.evidence_for), ("against ", &f.evidence_against)] {
            for id in ids {
                line_of(out, format_args!("        {word} {id}"));
            }
        }
    }
    if let Some(boot) = chain::of(report, &s.system.root) {
        chain_of(out, boot, explain);
    }
    timeline(out, &engine::gather::timeline(&report.inspection, s), explain || all);
    if explain {
        out.push_str("  Evidence\n");
        for e in &s.evidence {
            let path = e.origin.path.as_ref().map(|p| format!(":{}", p.display())).unwrap_or_default();
            let time = e.time.map(|t| {
                let trust = match t.trust {
                    ClockTrust::Utc => "UTC",
                    ClockTrust::LocalNoZone => "local time",
                    ClockTrust::Suspect => "clock not to be trusted",
                };
                format!(", {} {trust}", t.at)
            });
            let says = format!("{} ({}{path}{})", e.says, e.origin.volume, time.unwrap_or_default());
            paragraph(out, &format!("    {:<16} ", e.id.0), &says);
        }
    }
    out.push('\n');
}

/// What it did, newest first.
fn timeline(out: &mut String, told: &[Occurrence], all: bool) {
    if told.is_empty() {
        return;
    }
    out.push_str("  What it did, newest first\n");
    let shown = if all { told.len() } else { told.len().min(SOME) };
    for o in &told[..shown] {
        let head = format!("    {:<width$} ", history::moment(o.time), width = history::MOMENT);
        paragraph(out, &head, &history::occurrence(o));
    }
    if shown < told.len() {
        line_of(out, format_args!("    and {} more (--timeline)", told.len() - shown));
    }
    if let Some(says) = history::clocks(&told[..shown]) {
        paragraph(out, "    ", says);
    }
}

/// A boot chain: how it stands, what is broken, and with `all` every link.
fn chain_of(out: &mut String, boot: &BootChain, all: bool) {
    let head = format!("  {:<14} {} ", "Boot chain", chain::mark(boot.state()).shown());
    paragraph(out, &head, &chain::sentence(boot));
    for link in boot.links.iter().filter(|l| all || l.state == LinkState::Broken) {
        let advice = if link.advice.as_str().is_empty() { String::new() } else { format!("; {}", link.advice) };
        let head = format!("        {} ", chain::mark(link.state).shown());
        paragraph(out, &head, &format!("{}{advice}", chain::link(link)));
    }
}

/// What came of the boot chains.
pub(super) fn chains(boot: &[BootChain]) -> String {
    let mut out = String::new();
    boot.iter().filter(|b| !b.links.is_empty()).for_each(|b| chain_of(&mut out, b, false));
    out
}

/// `show`.
pub(super) fn described(d: &Described) -> String {
    let (title, text) = saved::told(d);
    let mut out = format!("{title}\n");
    for (_, says) in text {
        let head = if says.starts_with("- ") { "  " } else { "" };
        paragraph(&mut out, head, says.trim_start_matches("- "));
    }
    out
}

/// `snapshots`.
pub(super) fn snapshots(store: &StoreView) -> String {
    let mut out = String::new();
    for s in &store.snapshots {
        let host = s.machine.hostname.as_ref().map_or("-", |h| h.as_str());
        let (_, state) = words::state(s);
        let (id, taken) = (words::short(s.id), words::time(s.taken));
        line_of(&mut out, format_args!("{id}  {taken:<16}  {state:<8}  {host:<12}  {}", words::snapshot(s)));
        let mut more: Vec<String> = s.label.iter().map(|label| format!("\"{label}\"")).collect();
        more.extend(s.pinned.then(|| "pinned".to_owned()));
        more.extend(words::proof(s));
        more.extend(s.signers.iter().map(|signer| format!("signed by {}", signer.short(12))));
        if !more.is_empty() {
            line_of(&mut out, format_args!("{:width$}  {}", "", more.join(", "), width = id.len()));
        }
    }
    if store.snapshots.is_empty() {
        out.push_str("nothing is saved here yet\n");
    }
    for d in &store.damage {
        paragraph(&mut out, "DAMAGE: ", d.as_str());
    }
    if let Some(free) = store.free {
        line_of(&mut out, format_args!("{free} free"));
    }
    out
}

/// `note`.
pub(super) fn noted(id: SnapshotId, noted: &Noted) -> String {
    let label = noted.label.as_ref().map_or("no label".to_owned(), |label| format!("label \"{label}\""));
    format!("{}: {label}, {}\n", words::short(id), if noted.pinned { "pinned" } else { "not pinned" })
}

/// So many of them.
pub(super) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `key list`, `add` and `remove`.
pub(super) fn keys(keys: &[KeyLine], added: Option<&str>) -> String {
    let mut out = String::new();
    for key in keys {
        let new = if added == Some(key.id.as_str()) { "  (added)" } else { "" };
        line_of(&mut out, format_args!("{}  {}{new}", key.id, key.label));
    }
    out
}

/// `snapshot`.
pub(super) fn saved(id: SnapshotId, c: &Cost, volumes: &[VolumeRead]) -> String {
    let mut out = format!(
        "saved as {id}\nread {}, {} were in the store already, the store grew by {}\n",
        c.read, c.shared, c.stored
    );
    for v in volumes {
        paragraph(&mut out, &format!("  {:<8} ", v.path.to_string()), &v.compared.sentence(v.read));
    }
    for lost in words::unread(volumes) {
        paragraph(&mut out, "warning: ", &lost);
    }
    out
}

/// `auto`.
pub(super) fn acted(acted: &Acted, dry_run: bool) -> String {
    let mut out = String::new();
    paragraph(&mut out, "", &words::sentence(acted.decision.why.as_str()));
    for why in &acted.locked {
        paragraph(&mut out, "warning: ", why.as_str());
    }
    match &acted.saved {
        Some(s) => out.push_str(&saved(s.id, &s.cost, &s.volumes)),
        None if dry_run => out.push_str("nothing was done (--dry-run)\n"),
        None => out.push_str("no snapshot was taken\n"),
    }
    if !acted.forgotten.is_empty() {
        let ids: Vec<String> = acted.forgotten.iter().map(|id| words::short(*id)).collect();
        paragraph(&mut out, "forgotten: ", &ids.join(", "));
    }
    if let Some(view) = &acted.pruned {
        out.push_str(&pruned(view, false));
    }
    out
}

/// `snapshot --dry-run`.
pub(super) fn estimate(e: &SnapshotEstimate) -> String {
    let mut out = String::new();
    for v in &e.volumes {
        let says = format!("{}, {} in use; {}", v.method_why, v.used, v.read.compared.sentence(v.read.read));
        paragraph(&mut out, &format!("  {:<8} ", v.read.path.to_string()), &says);
    }
    for (path, why) in &e.left_out {
        paragraph(&mut out, &format!("  {:<8} ", path.to_string()), &format!("not saved: {why}"));
    }
    paragraph(&mut out, "", &format!("{} would be read and saved; {}", e.read, words::room(e)));
    paragraph(&mut out, "", &format!("the guess: {}", e.likely_because));
    if e.is_tight() {
        paragraph(&mut out, "warning: ", words::TIGHT);
    }
    out.push_str("nothing was saved\n");
    out
}

/// A plan, and what it loses where that was waited for.
pub(super) fn plan(question: &Question, losses: bool) -> String {
    let (id, p) = (question.id, &question.plan);
    let mut out = String::new();
    let action = match p.action {
        Action::Rollback => "go back to",
        Action::Put => "put back from",
        Action::Restore { .. } => "put onto other disks:",
        Action::Undo { .. } => "undo: go back to",
        Action::Resume { .. } => "finish what was cut off: go to",
        // What it does stands before it, one by one.
        Action::Repair => "",
    };
    if p.action != Action::Repair {
        paragraph(&mut out, "", &format!("{action} snapshot {}: {}", words::short(p.to), p.to_says));
    }
    for d in &p.disks {
        let h = &d.hardware;
        let serial = h.serial.as_ref().map(|s| format!(", serial number {s}")).unwrap_or_default();
        let says = format!(
            "{}, {} ({} bytes){serial}: becomes {} of the snapshot; it holds {}; table: {}",
            h.model, h.size, h.size.0, d.saved_as, d.holds, d.table
        );
        paragraph(&mut out, &format!("  {:<8} ", d.disk.to_string()), &says);
    }
    match p.disks.is_empty() && !matches!(p.action, Action::Restore { .. }) {
        true => line_of(&mut out, format_args!("written (only what differs, at most {}):", p.at_most())),
        false => line_of(&mut out, format_args!("written (at most {}):", p.at_most())),
    }
    for v in &p.volumes {
        paragraph(&mut out, &format!("  {:<8} ", v.path.to_string()), &format!("{}, at most {}", v.says, v.at_most));
    }
    for g in p.disks.iter().filter_map(|d| d.growth.as_ref()).filter(|g| !g.wanted) {
        paragraph(&mut out, "  ", &format!("{}: add --grow {}", words::may_grow(g), g.volume));
    }
    for t in &p.tables {
        if let TableRollback::Repair { disk, why, .. } = t {
            paragraph(
                &mut out,
                &format!("  {:<8} ", disk.to_string()),
                &format!("the partition table is repaired: {why}"),
            );
        }
    }
    for w in &p.firmware {
        paragraph(&mut out, &format!("  {:<8} ", w.name), w.says.as_str());
    }
    if let Some(composed) = &p.composed {
        for said in words::composed(composed) {
            paragraph(&mut out, "", &said);
        }
    }
    for said in words::shared(p) {
        paragraph(&mut out, "", &said);
    }
    if !p.kept.is_empty() {
        out.push_str("left as it is:\n");
    }
    for (volume, why) in &p.kept {
        paragraph(&mut out, &format!("  {:<8} ", volume.to_string()), why.as_str());
    }
    if let Some(reads) = &p.reads {
        paragraph(&mut out, "read and saved first: ", reads.says.as_str());
    }
    for c in &p.checks {
        let mark = if c.ok { "[ok] " } else { "[!!] not so: " };
        paragraph(&mut out, mark, &format!("{} ({})", c.what, c.says));
    }
    for w in &p.warnings {
        paragraph(&mut out, "warning: ", w.as_str());
    }
    if losses && p.is_usable() {
        for said in crate::tui::differences::losses(p, question.losses.as_ref()) {
            paragraph(&mut out, &said.head, &said.text);
        }
    }
    line_of(&mut out, format_args!("plan {id}"));
    out
}

/// What can be put right of what starts the machine, and what not.
pub(super) fn boot_repairs(repairs: &BootRepairs) -> String {
    let mut out = String::new();
    if repairs.items.is_empty() {
        out.push_str("there is nothing that can be put right without a saved state\n");
    } else {
        out.push_str("put right:\n");
    }
    for item in &repairs.items {
        paragraph(&mut out, &format!("  {:<8} ", item.volume.to_string()), item.says.as_str());
    }
    for left in &repairs.left {
        paragraph(&mut out, &format!("  {:<8} ", left.volume.to_string()), left.says.as_str());
    }
    for chain in repairs.after.iter().filter(|c| !c.links.is_empty()) {
        let head = if repairs.items.is_empty() { "as it is" } else { "after it" };
        let head = format!("{head}, {}: {} ", chain.root, chain::mark(chain.state()).shown());
        paragraph(&mut out, &head, &chain::sentence(chain));
    }
    out
}

/// How a write-back ended.
pub(super) fn wrote(r: &Receipt) -> String {
    format!("done: the disks hold snapshot {}; wrote {}, read back and compared {}\n", r.holds, r.written, r.verified)
}

/// `prove`.
pub(super) fn proved(p: &Proof) -> String {
    let verdict = match p.verdict {
        Verdict::Proven => "proven",
        Verdict::NotProven => "NOT PROVEN",
        Verdict::Unknown => "not known",
    };
    let mut out = String::new();
    let firmware = if p.firmware == Firmware::Uefi { "UEFI" } else { "a BIOS" };
    paragraph(&mut out, &format!("{}: {verdict}: ", words::short(p.snapshot)), p.why.as_str());
    line_of(
        &mut out,
        format_args!("in a virtual machine with {firmware}, after {}", words::duration(p.seconds.into())),
    );
    for w in &p.warnings {
        paragraph(&mut out, "warning: ", w.as_str());
    }
    if p.verdict != Verdict::Proven {
        for line in &p.last_lines {
            line_of(&mut out, format_args!("  | {line}"));
        }
    }
    if !p.recorded {
        out.push_str("nothing was noted in the store\n");
    }
    out
}

/// `export`.
pub(super) fn exported(e: &Exported) -> String {
    let mut out = String::new();
    for i in &e.images {
        let file = i.file.display();
        line_of(
            &mut out,
            format_args!(
                "made {file}: {} of snapshot {}, {}, {} written",
                i.of,
                words::short(e.snapshot),
                i.size,
                i.written
            ),
        );
        for w in &i.warnings {
            paragraph(&mut out, "warning: ", w.as_str());
        }
    }
    out
}
