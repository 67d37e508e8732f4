//! What was done with a store itself, for people.

use super::{count, line_of, paragraph};
use crate::tui::{upkeep, words};
use model::event::CheckReport;
use model::snapshot::SnapshotSummary;
use model::text::DisplayText;
use model::units::ByteLen;
use model::upkeep::{Broken, CopyView, ForgetView, PruneView, RepairView, StatsView};

/// How much damage is told to people: a pack that is gone makes thousands of it.
const MOST_DAMAGE: usize = 10;
/// How many lost files of a volume are told to people.
const MOST_PATHS: usize = 10;

/// A snapshot, and what it is behind that.
fn line(out: &mut String, before: &str, s: &SnapshotSummary) {
    let (id, taken, state) = (words::short(s.id), words::time(s.taken), words::state(s).1);
    paragraph(out, &format!("{before}{id}  {taken:<16}  {state:<8}  "), &words::snapshot(s));
}

/// What `forget` would do.
pub(in crate::cli) fn forget(view: &ForgetView) -> String {
    let mut out = String::new();
    if !view.keep.is_empty() {
        line_of(&mut out, format_args!("kept, {}:", count(view.keep.len(), "snapshot")));
    }
    for (s, why) in &view.keep {
        let why: Vec<&str> = why.iter().map(|why| upkeep::reason(*why)).collect();
        line(&mut out, "  ", s);
        paragraph(&mut out, "      ", &why.join(", "));
    }
    line_of(&mut out, format_args!("to be forgotten, {}:", count(view.forget.len(), "snapshot")));
    for f in &view.forget {
        match &f.summary {
            Some(s) => line(&mut out, "  ", s),
            None => line_of(&mut out, format_args!("  {}  cannot be read", words::short(f.id))),
        }
    }
    if let Some(frees) = view.frees.filter(|_| !view.forget.is_empty()) {
        line_of(&mut out, format_args!("forgetting them and pruning then frees about {frees}"));
    }
    out
}

/// `check`.
pub(in crate::cli) fn checked(c: &CheckReport, accepted: Option<&Option<DisplayText>>) -> String {
    let mut out = String::new();
    match accepted {
        None => {}
        Some(None) => {
            out.push_str("there was nothing to accept: the store is as this computer last saw it, or newer\n")
        }
        Some(Some(differed)) => {
            paragraph(&mut out, "accepted: ", differed.as_str());
            paragraph(&mut out, "          ", "from now on this computer takes the store as it is");
        }
    }
    for d in c.damage.iter().take(MOST_DAMAGE) {
        paragraph(&mut out, "DAMAGE: ", d.as_str());
    }
    if let Some(more @ 1..) = c.damage.len().checked_sub(MOST_DAMAGE) {
        line_of(&mut out, format_args!("        and {more} more: --json tells all of them"));
    }
    for id in &c.affected {
        line_of(&mut out, format_args!("cannot be restored whole: snapshot {}", words::short(*id)));
        for l in c.lost.iter().filter(|l| l.snapshot == *id) {
            let places = counted(l.places, "place");
            line_of(&mut out, format_args!("  {}: {} in {places}, the first at byte {}", l.of, l.bytes, l.first));
            for says in words::lost(l, MOST_PATHS) {
                paragraph(&mut out, "    ", &says);
            }
        }
    }
    let verdict = if c.damage.is_empty() { "in order" } else { "DAMAGED" };
    line_of(&mut out, format_args!("{verdict}: {} snapshots, {} objects, {} read", c.snapshots, c.objects, c.read));
    if c.unused.0 > 0 {
        line_of(&mut out, format_args!("{} are leftovers that no snapshot names; they do no harm", c.unused));
    }
    if !c.affected.is_empty() {
        let advice = "`holdfast repair` heals what it can, and with --from and a copy of this store the rest";
        paragraph(&mut out, "", advice);
    }
    out
}

/// `prune`, or with `dry_run` what it would do.
pub(in crate::cli) fn pruned(p: &PruneView, dry_run: bool) -> String {
    let mut out = String::new();
    let packs = |n: u64| counted(n, "pack");
    match (p.deleted, p.condemned) {
        (0, 0) => out.push_str("nothing to free: snapshots need everything that is here\n"),
        (0, _) if dry_run => out.push_str("nothing would be freed by this run\n"),
        (0, _) => out.push_str("nothing is freed yet\n"),
        (n, _) if dry_run => line_of(&mut out, format_args!("would free {} ({})", p.freed, packs(n))),
        (n, _) => line_of(&mut out, format_args!("freed {} ({} deleted)", p.freed, packs(n))),
    }
    if p.condemned > 0 {
        let (size, packs) = (p.to_be_freed, packs(p.condemned));
        let says = if dry_run {
            format!("would mark {size} ({packs}), which the next prune then frees")
        } else {
            format!("marked {size} ({packs}): the next prune frees that, when nobody can be using it any more")
        };
        paragraph(&mut out, "", &says);
        if dry_run {
            paragraph(&mut out, "", "with --now it would be freed at once, where nobody else uses the store");
        }
    }
    if p.rewritten > 0 {
        let what = if dry_run { "would be written again" } else { "written again" };
        let says = format!("{} of these still held what is needed: about {}, {what}", packs(p.rewritten), p.written);
        paragraph(&mut out, "", &says);
    }
    if p.kept > 0 {
        let says = "may be needed by another run, or the other copy of what is in it is damaged";
        paragraph(&mut out, "", &format!("{} had to stay: each {says}", packs(p.kept)));
    }
    if let Some(free) = p.free {
        line_of(&mut out, format_args!("{free} free{}", if dry_run { " now" } else { "" }));
    }
    out
}

fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `stats`.
pub(in crate::cli) fn stats(s: &StatsView) -> String {
    let mut out = String::new();
    let mut line = |name: &str, size: ByteLen, what: &str| {
        line_of(&mut out, format_args!("{name:<14}{:>8}  {what}", size.to_string()))
    };
    line("saved", s.logical, "all snapshots, each counted whole");
    line("distinct", s.distinct, "what several have counted once");
    line("compressed", s.live, "as it lies in the store");
    let hint = if s.dead.0 > 0 { "by any snapshot: `holdfast prune` frees most of it" } else { "by any snapshot" };
    line("not needed", s.dead, hint);
    line("in all", s.stored, "what the store's packs take");
    if let Some(free) = s.free {
        line("free", free, "where the store lies");
    }
    if s.snapshots.is_empty() {
        out.push_str("nothing is saved here yet\n");
        return out;
    }
    line_of(
        &mut out,
        format_args!("\n{:<8}  {:<16}  {:>8}  {:>8}  {:>8}  machine", "snapshot", "", "size", "unique", "shared"),
    );
    for s in &s.snapshots {
        let host = s.summary.machine.hostname.as_ref().map_or("-", |h| h.as_str());
        let [size, unique, shared] = [s.logical, s.unique, s.shared].map(|n| n.to_string());
        let (id, taken) = (words::short(s.summary.id), words::time(s.summary.taken));
        line_of(&mut out, format_args!("{id}  {taken:<16}  {size:>8}  {unique:>8}  {shared:>8}  {host}"));
    }
    paragraph(&mut out, "", "unique: forgetting that snapshot alone, and pruning, frees about so much");
    out
}

/// `copy`.
pub(in crate::cli) fn copied(c: &CopyView) -> String {
    let mut out = String::new();
    for s in &c.copied {
        line(&mut out, "copied ", s);
    }
    failed(&mut out, "NOT COPIED: ", &c.failed);
    let there = match c.present.len() {
        0 => String::new(),
        n => format!("; {} there already", if n == 1 { "1 was".to_owned() } else { format!("{n} were") }),
    };
    line_of(&mut out, format_args!("{} copied{there}", count(c.copied.len(), "snapshot")));
    for id in &c.noted {
        line_of(&mut out, format_args!("brought over: what was said since of snapshot {}", words::short(*id)));
    }
    if !c.copied.is_empty() {
        line_of(&mut out, format_args!("read {}, the other store grew by {}", c.read, c.stored));
    }
    out
}

/// `repair`; `alone` without another store.
pub(in crate::cli) fn repaired(r: &RepairView, alone: bool) -> String {
    let mut out = String::new();
    for pack in r.damaged.iter().take(MOST_DAMAGE) {
        line_of(&mut out, format_args!("found damaged or gone: pack {}", pack.short(12)));
    }
    if let Some(more @ 1..) = r.damaged.len().checked_sub(MOST_DAMAGE) {
        line_of(&mut out, format_args!("and {more} more"));
    }
    if r.salvaged > 0 {
        let says = format!("{} of them still good and written again", counted(r.salvaged, "piece"));
        paragraph(&mut out, "", &says);
    }
    if r.indexed > 0 {
        line_of(&mut out, format_args!("entered into the index: {}", counted(r.indexed, "pack")));
    }
    for id in &r.healed {
        line_of(&mut out, format_args!("whole again: snapshot {}", words::short(*id)));
    }
    failed(&mut out, "STILL DAMAGED: ", &r.broken);
    match (r.broken.is_empty(), r.damaged.is_empty() && r.healed.is_empty()) {
        (true, true) => out.push_str("there was nothing to repair: every snapshot is whole\n"),
        (true, false) => {
            out.push_str("every snapshot is whole now\n");
            if !r.damaged.is_empty() {
                out.push_str("what is damaged is not needed any more: `holdfast prune` deletes it\n");
            }
        }
        (false, _) => {
            let advice = if alone {
                "a copy of these snapshots in another store may have what is missing: give it with --from"
            } else {
                "the other store does not have it either; a snapshot that is lost can be forgotten"
            };
            paragraph(&mut out, "", advice);
        }
    }
    out
}

fn failed(out: &mut String, head: &str, failed: &[Broken]) {
    for f in failed {
        let of = f.snapshot.map(|id| format!("snapshot {}: ", words::short(id))).unwrap_or_default();
        paragraph(out, head, &format!("{of}{}", f.why));
    }
}
