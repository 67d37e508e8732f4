//! The choice of the disk that a saved state is put onto: any disk but that of the store, named by what somebody types.
//!
//! Invariant: what is chosen here writes nothing. It leads to the plan, which names what is lost and is approved by a word.

use super::state::{Action, Key, Prompt, Prompted, Screen, Ui};
use super::text::next_of;
use super::{disks, draw, list, steps, update, words};
use engine::plan::is_store_disk;
use model::id::{DiskNo, SnapshotId};
use model::inspection::{Content, Disk, Inspection};
use model::run_state::RunState;
use model::snapshot::SnapshotSummary;

/// What is typed is no longer than that, or else it is the size that is typed.
const TYPED_MOST: usize = 40;

/// Where somebody is in that choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What is put onto the disks.
    pub snapshot: SnapshotId,
    /// How many disks the machine had that was saved.
    pub wanted: usize,
    /// Those that were chosen, in order.
    pub chosen: Vec<DiskNo>,
    /// The row.
    pub row: usize,
}

/// How a disk looks at a glance. The plan knows more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// Nothing is on it.
    Empty,
    /// It has no partition table, and nothing tells what is on it.
    Bare,
    /// Something known is on it.
    Holds,
    /// It is the disk of the rescue and its store.
    Store,
}

/// How a disk looks.
pub fn glance(inspection: &Inspection, disk: &Disk) -> Glance {
    let all = |content: &Content| disk.table.is_none() && disk.volumes.iter().all(|v| v.content == *content);
    if is_store_disk(disk, inspection) {
        Glance::Store
    } else if all(&Content::Empty) {
        Glance::Empty
    } else if all(&Content::Unknown) {
        Glance::Bare
    } else {
        Glance::Holds
    }
}

/// What is on a disk, in words.
pub fn holds(inspection: &Inspection, disk: &Disk) -> String {
    match glance(inspection, disk) {
        Glance::Store => "the rescue and its store".to_owned(),
        Glance::Empty => "looks empty".to_owned(),
        Glance::Bare => "no partition table, nothing known".to_owned(),
        Glance::Holds => {
            let system = inspection.systems.iter().find(|s| s.root.disk() == disk.no);
            let named = system.map(|s| s.name.to_string());
            let volumes = || {
                let parts: Vec<String> = disk.volumes.iter().map(|v| disks::described(inspection, v)).collect();
                if parts.is_empty() { "a partition table".to_owned() } else { parts.join(", ") }
            };
            named.unwrap_or_else(volumes)
        }
    }
}

/// What somebody types to say that a disk is meant: its serial number, or its size in bytes where it has none that can be typed.
pub fn named_by(disk: &Disk) -> String {
    let typable = |s: &&str| (1..=TYPED_MOST).contains(&s.len()) && s.bytes().all(|b| (0x20..=0x7e).contains(&b));
    let serial = disk.hardware.serial.as_ref().map(|s| s.as_str().trim()).filter(typable);
    serial.map_or_else(|| disk.hardware.size.0.to_string(), str::to_owned)
}

/// The same with what it is.
pub fn named(disk: &Disk) -> String {
    let by = named_by(disk);
    let size = by == disk.hardware.size.0.to_string();
    if size { format!("its size in bytes, {by}") } else { format!("its serial number, {by}") }
}

/// Puts a saved state onto another disk: onto the one that is bare, where there is just one and no more are needed; else it is asked
/// which.
pub(super) fn begin(ui: &mut Ui, run: &RunState, chosen: &SnapshotSummary) -> Vec<Action> {
    let wanted = chosen.machine.disks.len().max(1);
    if let (1, Some(disk)) = (wanted, steps::bare_disk(run)) {
        return update::submit(ui, run, steps::onto(chosen.id, &[disk]));
    }
    let disks = run.report.as_ref().map(|r| r.inspection.disks.as_slice()).unwrap_or_default();
    if disks.is_empty() {
        ui.note = Some(match run.report {
            Some(_) => "No disk is here that it could be put onto.".into(),
            None => "The disks were not looked at yet: i does that.".into(),
        });
        return Vec::new();
    }
    let inspection = run.report.as_ref().map(|r| &r.inspection);
    let at = |wanted: &[Glance]| disks.iter().position(|d| inspection.is_some_and(|i| wanted.contains(&glance(i, d))));
    let row = at(&[Glance::Empty]).or_else(|| at(&[Glance::Bare])).or_else(|| at(&[Glance::Holds])).unwrap_or(0);
    ui.target = Some(Target { snapshot: chosen.id, wanted, chosen: Vec::new(), row });
    ui.show(Screen::Target);
    Vec::new()
}

/// A key of that choice.
pub(super) fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let page = draw::target::rows(ui).max(1);
    let (Some(target), Some(report)) = (&mut ui.target, &run.report) else {
        ui.close(Screen::Target);
        return Vec::new();
    };
    let disks = &report.inspection.disks;
    let last = disks.len().saturating_sub(1);
    let at = target.row.min(last);
    let to = match k {
        Key::Enter | Key::Right => {
            ask(ui, run, at);
            return Vec::new();
        }
        // Takes the last one back.
        Key::Backspace if target.chosen.pop().is_some() => return Vec::new(),
        Key::Char('g') if !target.chosen.is_empty() => return plan(ui, run),
        Key::Char('g') => {
            ui.note = Some("No disk is chosen yet: Enter chooses one.".into());
            return Vec::new();
        }
        Key::Char('/') => {
            ui.prompt = Some(Prompt::of(Prompted::Search));
            return Vec::new();
        }
        Key::Char(' ') => return update::common(ui, run, k),
        _ => match list::moved_here(k, at, page, last) {
            Some(to) => to,
            None => return update::common(ui, run, k),
        },
    };
    if let Some(target) = &mut ui.target {
        target.row = to.min(last);
    }
    Vec::new()
}

/// Goes to the next disk that has what was sought in what is told of it.
pub(super) fn search(ui: &mut Ui, run: &RunState) {
    let (Some(target), Some(report)) = (&mut ui.target, &run.report) else { return };
    let (inspection, wanted) = (&report.inspection, ui.sought.to_ascii_lowercase());
    let told = |disk: &Disk| {
        let h = &disk.hardware;
        format!("{} {} {} {} {}", disk.no, h.size, h.model, named_by(disk), holds(inspection, disk))
    };
    let has = |n: &usize| told(&inspection.disks[*n]).to_ascii_lowercase().contains(&wanted);
    match next_of(inspection.disks.len(), target.row, false, has).filter(|_| !wanted.is_empty()) {
        Some(found) => target.row = found,
        None => ui.note = Some(words::not_found(&ui.sought)),
    }
}

/// Asks for the name of the disk of that row.
fn ask(ui: &mut Ui, run: &RunState, row: usize) {
    let (Some(target), Some(report)) = (&ui.target, &run.report) else { return };
    let Some(disk) = report.inspection.disks.get(row) else { return };
    if glance(&report.inspection, disk) == Glance::Store {
        ui.note = Some(format!("{} is the disk of the rescue and its store.", disk.no));
    } else if target.chosen.contains(&disk.no) {
        ui.note = Some(format!("{} is chosen already; Backspace takes the last one back.", disk.no));
    } else {
        ui.prompt = Some(Prompt::of(Prompted::Disk { disk: disk.no }));
    }
}

/// What was typed to name a disk.
pub(super) fn typed(ui: &mut Ui, run: &RunState, disk: DiskNo, text: &str) -> Vec<Action> {
    let found = run.report.as_ref().and_then(|r| r.inspection.disk(disk));
    let (Some(target), Some(found)) = (&mut ui.target, found) else { return Vec::new() };
    if !text.trim().eq_ignore_ascii_case(&named_by(found)) {
        ui.note = Some(format!("That is not {disk}: nothing was chosen. It is named by {}.", named(found)));
        return Vec::new();
    }
    target.chosen.push(disk);
    if target.chosen.len() < target.wanted {
        let says = format!("{disk} is chosen. Now choose the next one; g shows the plan with those chosen so far.");
        ui.note = Some(says);
        return Vec::new();
    }
    plan(ui, run)
}

/// Asks for the plan with what was chosen.
fn plan(ui: &mut Ui, run: &RunState) -> Vec<Action> {
    let (Some(target), Some(report)) = (&ui.target, &run.report) else { return Vec::new() };
    let disks: Vec<&Disk> = target.chosen.iter().filter_map(|no| report.inspection.disk(*no)).collect();
    let order = steps::onto(target.snapshot, &disks);
    if update::is_busy(ui, run) {
        return Vec::new();
    }
    // Whoever does not approve it chooses again.
    if let Some(target) = &mut ui.target {
        target.chosen.clear();
    }
    update::submit(ui, run, order)
}

/// What is chosen so far, in words.
pub fn progress(target: &Target, run: &RunState) -> Option<String> {
    if target.wanted < 2 {
        return None;
    }
    let chosen: Vec<String> = target.chosen.iter().map(ToString::to_string).collect();
    let so_far = if chosen.is_empty() { String::new() } else { format!(" Chosen so far: {}.", chosen.join(", ")) };
    let of = run.store.as_ref().and_then(|s| s.snapshots.iter().find(|s| s.id == target.snapshot));
    let of = of.map_or_else(|| words::short(target.snapshot), |s| words::time(s.taken));
    Some(format!("The machine saved {of} had {} disks: choose as many, in their order.{so_far}", target.wanted))
}
