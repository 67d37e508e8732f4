//! All that the record of a saved state says, a line each: what was known of the machine then and why, what is saved of its disks, and
//! what is not.

use super::reading::{Tone, Toned};
use super::text::count;
use super::words::{self, Mark};
use model::assessment::SystemReport;
use model::coverage::CaptureMethod;
use model::id::VolumePath;
use model::snapshot::{Described, SavedDisk, SavedVolume, SnapshotSummary, Statement};
use std::fmt::Display;

/// What it is, and all that is told of it.
pub fn told(d: &Described) -> (String, Vec<Toned>) {
    let Described { summary: s, statement } = d;
    let (_, state) = words::state(s);
    let title = format!("Snapshot {}: {} UTC, {state}", words::short(s.id), words::time(s.taken));
    let mut out = Vec::new();
    about(s, statement, &mut out);
    statement.systems.iter().for_each(|system| about_system(system, &mut out));
    heading(&mut out, "What is saved of its disks");
    statement.disks.iter().for_each(|disk| about_disk(disk, statement, &mut out));
    if let Some(settings) = &statement.firmware {
        heading(&mut out, "What its firmware started, in which order");
        words::boot_entries(settings).into_iter().for_each(|entry| say(&mut out, entry));
    }
    heading(&mut out, "What it took");
    let cost = &s.cost;
    say(
        &mut out,
        format!(
            "{} were read, of which {} were in the store already; the store grew by {}.",
            cost.read, cost.shared, cost.stored
        ),
    );
    (title, out)
}

fn say(out: &mut Vec<Toned>, says: impl Into<String>) {
    out.push((Tone::Plain, says.into()));
}

fn heading(out: &mut Vec<Toned>, says: impl Into<String>) {
    out.push((Tone::Plain, String::new()));
    out.push((Tone::Heading, says.into()));
}

fn list<T: Display>(what: impl IntoIterator<Item = T>) -> String {
    what.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

/// Whose it is, what it is for, and what was said of it.
fn about(s: &SnapshotSummary, statement: &Statement, out: &mut Vec<Toned>) {
    say(out, format!("Its id is {}; `{}` is enough to name it.", s.id, words::short(s.id)));
    let host = s.machine.hostname.as_ref().map_or_else(|| "a machine".to_owned(), |h| format!("the machine \"{h}\""));
    say(out, words::sentence(&format!("of {host}: {}", words::snapshot(s))));
    let packages = s.packages.map(|n| count(usize::try_from(n).unwrap_or(usize::MAX), "package"));
    let software = s.system.iter().map(ToString::to_string);
    let software: Vec<String> =
        software.chain(s.kernel.iter().map(|k| format!("kernel {k}"))).chain(packages).collect();
    if !software.is_empty() {
        say(out, format!("{}.", software.join(", ")));
    }
    if let Some(label) = &s.label {
        say(out, format!("It is called \"{label}\"."));
    }
    if s.pinned {
        say(out, "It is pinned: nothing has it forgotten.");
    }
    match words::proof(s) {
        Some(proof) => say(out, words::sentence(&proof)),
        None => say(out, "Whether it starts was not tried (`holdfast prove` does that on a management computer)."),
    }
    if !s.signers.is_empty() {
        say(out, format!("It is signed by {}.", list(&s.signers)));
    }
    if let Some(parent) = statement.parent {
        say(out, format!("The one before it was {}.", words::short(parent)));
    }
}

/// What was known of a system, and why.
fn about_system(system: &SystemReport, out: &mut Vec<Toned>) {
    heading(out, format!("What was known then of {} ({})", system.system.name, system.system.root));
    say(out, system.assessment.headline.to_string());
    for facet in words::facets(&system.assessment) {
        let tone = match facet.mark {
            Mark::Bad => Tone::Alarm,
            Mark::Unsure => Tone::Caution,
            Mark::Good | Mark::Plain => Tone::Plain,
        };
        out.push((tone, format!("{} {}: {}", facet.mark.shown(), facet.name, facet.says)));
        let said = |id: &String| system.evidence.iter().find(|e| e.id.0 == *id).map(|e| e.says.to_string());
        for (head, ids) in [("for", &facet.evidence_for), ("against", &facet.evidence_against)] {
            for id in ids {
                say(out, format!("- {head}: {}", said(id).unwrap_or_else(|| id.clone())));
            }
        }
    }
}

/// A disk, and each volume of it: which of its bytes are saved.
fn about_disk<M>(disk: &SavedDisk<M>, statement: &Statement, out: &mut Vec<Toned>) {
    let h = &disk.hardware;
    let serial = h.serial.as_ref().map(|serial| format!(", serial {serial}")).unwrap_or_default();
    let table = match &disk.table {
        Some(table) => format!("its table with {} is saved", count(table.partitions.len(), "partition")),
        None => "it had no table".to_owned(),
    };
    say(out, format!("{}: {} {}{serial}; {table}.", disk.no, h.size, h.model));
    let of_disk = |v: &&SavedVolume<_>| v.path.disk() == disk.no;
    for v in statement.volumes.iter().filter(of_disk) {
        about_volume(v, out);
    }
    let saved = |path: &VolumePath| statement.volumes.iter().any(|v| v.path == *path);
    let partitions = disk.table.iter().flat_map(|t| &t.partitions);
    let left: Vec<VolumePath> =
        partitions.map(|p| VolumePath::partition(disk.no, p.number)).filter(|path| !saved(path)).collect();
    if !left.is_empty() {
        out.push((Tone::Caution, format!("- not saved: {}", list(&left))));
    }
}

fn about_volume<M>(v: &SavedVolume<M>, out: &mut Vec<Toned>) {
    let what = match v.method {
        CaptureMethod::UsedBlocks => "what was in use",
        CaptureMethod::Raw => "every byte",
        CaptureMethod::HeaderOnly => "its header alone",
        CaptureMethod::Table => "its table",
    };
    let (path, kind, of) = (&v.path, v.volume().kind().to_owned(), v.extent.len());
    say(out, format!("- {path}, {kind}: {} of {of}, {what} ({}).", v.captured, v.why.as_str().trim_end_matches('.')));
    if let Some(compared) = &v.compared {
        let not_read = compared.taken_over.0.saturating_add(compared.resumed.0);
        let read = v.captured.0.saturating_add(v.unreadable.total().0).saturating_sub(not_read);
        say(out, format!("- of which {}.", compared.sentence(model::units::ByteLen(read))));
    }
    if !v.unreadable.is_empty() {
        let says = format!("- [!!] {} of it could not be read: holes stand there.", v.unreadable.total());
        out.push((Tone::Alarm, says));
    }
}
