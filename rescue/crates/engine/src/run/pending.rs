//! Which write-back is unfinished, and which is the last that finished: read from the fences and the store, never from memory.

use super::{Context, Stop, fences};
use crate::plan::disks::{same_machine, same_piece};
use model::command::ExitCode;
use model::id::{IntentId, SnapRef, SnapshotId};
use model::inspection::Inspection;
use model::plan::Action;
use model::ports::ReadAt;
use model::restore::DiskRestore;
use model::snapshot::{Intent, Machine, Manifest, Receipt};
use model::units::ByteOffset;
use std::collections::BTreeSet;
use store::Store;

/// A write-back whose fences stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The one to be finished or undone.
    pub id: IntentId,
    /// Its record.
    pub intent: Intent,
    /// It, and those whose fences it has not yet replaced.
    pub fences: Vec<IntentId>,
}

/// The write-back that stands unfinished on these disks, if any. Where one has begun to undo another, it is the one that counts.
///
/// # Errors
/// [`Stop`] where its record is not in this store, or two have nothing to do with each other.
pub fn unfinished(store: &Store, inspection: &Inspection) -> Result<Option<Unfinished>, Stop> {
    let ids: BTreeSet<IntentId> = inspection.fences().map(|(_, f)| f.intent).collect();
    if ids.is_empty() {
        return Ok(None);
    }
    if let Some((volume, fence)) = inspection.fences().find(|(_, f)| f.store != store.id()) {
        let says = format!("the unfinished rollback on {} was begun from another store ({})", volume.path, fence.store);
        return Err(Stop::failed(ExitCode::Refused, says, "attach the save disk with that store and run this again"));
    }
    let mut found = Vec::new();
    for id in &ids {
        found.push((*id, store.intent(*id)?));
    }
    let superseded: BTreeSet<IntentId> = found.iter().filter_map(|(_, i)| superseded_by(i)).collect();
    let mut last = found.into_iter().filter(|(id, _)| !superseded.contains(id));
    match (last.next(), last.next()) {
        (Some((id, intent)), None) => Ok(Some(Unfinished { id, intent, fences: ids.into_iter().collect() })),
        _ => {
            let says = "fences of rollbacks that have nothing to do with each other stand on these disks";
            Err(Stop::failed(ExitCode::Refused, says, "name the disks of one machine only"))
        }
    }
}

/// The write-back that an intent undoes, or whose place it takes.
fn superseded_by(intent: &Intent) -> Option<IntentId> {
    match intent.plan.action {
        Action::Undo { of } => Some(of),
        Action::Restore { over } => over,
        Action::Rollback | Action::Repair | Action::Put | Action::Resume { .. } => None,
    }
}

/// The snapshot that the disks of a machine were last known to hold: its newest one, or, where a write-back ended after that
/// was taken, what it left. Nothing where that cannot be told.
pub fn last_known(store: &Store, machine: &Machine) -> Option<(SnapshotId, Manifest)> {
    let (latest, newest) = store.find(&SnapRef::Latest, Some(machine)).ok()?;
    let mut holds = (newest.counter, latest);
    let all = store.intents().ok()?;
    let superseded: BTreeSet<IntentId> = all.iter().filter_map(|(_, i, _)| superseded_by(i)).collect();
    for (id, intent, receipt) in all {
        let Some(undo) = intent.undo else {
            // Put onto other disks, it is this machine from then on.
            if superseded.contains(&id) {
                continue;
            }
            match (store.manifest(intent.plan.to), intent.after) {
                (Ok(to), Some(after)) if to.machine.is(machine) && after >= holds.0 => holds = (after, receipt?.holds),
                (Ok(_), _) => {}
                (Err(_), _) => return None,
            }
            continue;
        };
        let counter = match store.manifest(undo) {
            Ok(undo) if undo.machine.is(machine) => undo.counter,
            Ok(_) => continue,
            // Forgotten since: nothing numbers it any more but the time.
            Err(_) if intent.begun < newest.taken => continue,
            Err(_) => return None,
        };
        if counter >= holds.0 {
            holds = (counter, receipt?.holds);
        }
    }
    match holds.1 {
        same if same == latest => Some((latest, newest)),
        other => store.manifest(other).ok().map(|manifest| (other, manifest)),
    }
}

/// The last write-back that ended: what `undo` goes back from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its intent.
    pub id: IntentId,
    /// Its record.
    pub intent: Intent,
    /// Its undo snapshot.
    pub undo: SnapshotId,
}

/// What comes first of those with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It took the undo snapshot.
    First,
    /// It undoes one that was not finished, and goes to that undo snapshot.
    Again,
    /// It has none, and came after the snapshot of that number.
    Restore,
}

/// The last finished write-back of the machine on these disks. One whose record says nothing of its end, though its volumes all
/// begin as they should, has ended too: the power went between the last byte and the record.
///
/// # Errors
/// [`Stop`] where there is none, or it went back already.
pub fn finished(cx: &Context<'_>, inspection: &Inspection) -> Result<Finished, Stop> {
    let mut all = Vec::new();
    let machine = crate::gather::machine(inspection);
    for (id, intent, receipt) in cx.store.intents()? {
        // Undo snapshots are numbered by the store: what orders write-backs. One that undoes an unfinished one shares its number.
        // The rollback may have brought another machine id: both that of before and that of the snapshot tell whose it was.
        let to = cx.store.manifest(intent.plan.to);
        let ours = |m: &Manifest| same_machine(m, &machine, inspection);
        let Some(undo) = intent.undo else {
            if lies_here(&intent, inspection) {
                all.push(((intent.after.unwrap_or(u64::MAX), Kind::Restore), id, intent, receipt));
            }
            continue;
        };
        let before = match (cx.store.manifest(undo), &to) {
            (Ok(before), _) => before,
            // Another machine's: of no concern here.
            (Err(_), Ok(to)) if !ours(to) => continue,
            // To pass over it would undo an older one, onto what this one left.
            (Err(e), _) => return Err(e.into()),
        };
        if ours(&before) || to.is_ok_and(|to| ours(&to)) {
            let kind = if superseded_by(&intent).is_some() { Kind::Again } else { Kind::First };
            all.push(((before.counter, kind), id, intent, receipt));
        }
    }
    all.sort_by_key(|(order, id, ..)| (*order, *id));
    while let Some((_, id, intent, receipt)) = all.pop() {
        if receipt.is_none() && !stands(cx, inspection, &intent) {
            continue;
        }
        return match (intent.undo, went_back(&intent, receipt.as_ref())) {
            (None, _) => Err(Stop::failed(
                ExitCode::Refused,
                "there is nothing to undo: the last thing done was to put a snapshot onto this disk, and what it held \
                 before was not kept",
                "choose a snapshot to roll back to",
            )),
            (Some(undo), false) => Ok(Finished { id, intent, undo }),
            (Some(_), true) => Err(Stop::failed(
                ExitCode::Refused,
                "there is nothing to undo: the last thing done was to go back",
                "choose a snapshot to roll back to",
            )),
        };
    }
    let says = "there is nothing to undo: no rollback of this machine is recorded in this store";
    Err(Stop::failed(ExitCode::Refused, says, "choose a snapshot to roll back to"))
}

/// True where the disks that a restore wrote are here.
fn lies_here(intent: &Intent, inspection: &Inspection) -> bool {
    let here = |d: &DiskRestore| inspection.disks.iter().any(|disk| same_piece(&d.hardware, &disk.hardware));
    intent.plan.disks.iter().all(here)
}

fn went_back(intent: &Intent, receipt: Option<&Receipt>) -> bool {
    let holds: SnapshotId = receipt.map_or(intent.plan.to, |r| r.holds);
    Some(holds) == intent.undo
}

/// True where every volume of the intent begins as it was to begin in the end, and not as it began before.
fn stands(cx: &Context<'_>, inspection: &Inspection, intent: &Intent) -> bool {
    let before = match intent.undo.map(|undo| cx.store.manifest(undo)) {
        None => None,
        Some(Ok(before)) => Some(before),
        Some(Err(_)) => return false,
    };
    let sources = cx.devices.disks();
    let head = |v: &model::plan::VolumeRollback| {
        let present = inspection.volume(&v.path).filter(|p| p.extent == v.extent)?;
        disk::volume::bytes(&sources, present)?.read_vec(ByteOffset(0), 4096).ok()
    };
    // Of what a restore wrote over nothing is known.
    let mut differs = before.is_none();
    for volume in &intent.plan.volumes {
        let was = before.iter().flat_map(|b| &b.volumes).find(|v| v.path == volume.path).map(|v| v.map);
        let Ok(wanted) = fences::wanted_head(cx, was, volume.map) else { return false };
        let was = was.and_then(|map| fences::wanted_head(cx, None, map).ok());
        if head(volume).as_deref() != Some(&wanted[..]) {
            return false;
        }
        differs |= was.is_some_and(|was| was != wanted);
    }
    differs
}
