//! Faults at every call: errors, a full disk, short writes, signals, kills, and disks that lie.

use crate::build::{Build, Step, Word, is_exact};
use crate::crash::{Model, Replay};
use crate::expected::{Expected, Look, Next};
use crate::fs::SimFs;
use crate::history::History;
use crate::state::{Call, Fault, What};
use crate::tree::Tree;
use store::StoreError;

/// What is done while something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Snapshots are saved.
    Saving,
    /// Something is said of snapshots of an encrypted store, one is written back, others are forgotten, and what nothing
    /// needs is freed.
    Freeing,
}

impl Doing {
    fn history(self) -> History {
        use Step::{Forget, GoOn, Init, Intent, Note, Prune, Receipt, Snapshot, Stop};
        match self {
            Self::Saving => {
                let steps = vec![Init, Snapshot(0), Stop(1), GoOn(1), Snapshot(3)];
                History { steps, sealed: false, shared: false }
            }
            Self::Freeing => {
                let said = [Note(1, Word::Pin), Intent(1), Receipt(1)];
                let freed = [Forget(0), Prune { now: true }, Forget(2)];
                let later = [Prune { now: false }, Note(1, Word::Unpin), Prune { now: false }];
                let steps =
                    [&[Init, Snapshot(0), Snapshot(1), Snapshot(3)], &said[..], &freed[..], &later[..]].concat();
                History { steps, sealed: true, shared: false }
            }
        }
    }
}

/// Every fault there is: each kind at each call that can have it.
pub(crate) fn all(build: &Build, doing: Doing) -> Result<Vec<Fault>, String> {
    let History { steps, .. } = doing.history();
    let build = doing.history().build(build);
    let fs = SimFs::new(Tree::new(), Model::Journal);
    let mut saved = Vec::new();
    for step in steps {
        saved.extend(build.act(&fs, step.of(&saved)).map_err(|e| format!("{step:?} without a fault: {e}"))?);
    }
    let mut faults = Vec::new();
    let counts = fs.counts();
    for (call, count) in &counts {
        let call = *call;
        let fills =
            matches!(call, Call::Create | Call::Write | Call::Mkdir | Call::Rename | Call::Sync | Call::SyncDir);
        let sticks = matches!(call, Call::Create | Call::Write | Call::Mkdir);
        let mut whats = vec![What::Io, What::Interrupted];
        whats.extend(fills.then_some(What::Full));
        whats.extend(sticks.then_some(What::StaysFull));
        whats.extend(matches!(call, Call::Write | Call::Read).then_some(What::Short));
        if call == Call::Write {
            whats.extend([What::Dropped, What::Flipped]);
        }
        faults
            .extend(whats.iter().flat_map(|what| (0..*count).map(|nth| Fault { call: Some(call), nth, what: *what })));
    }
    let calls: usize = counts.values().sum();
    faults.extend((0..calls).map(|nth| Fault { call: None, nth, what: What::Killed }));
    Ok(faults)
}

/// A history with a fault: what fails, fails cleanly; what was acknowledged is there; the same step succeeds when tried
/// again; and all of it survives a power cut after.
pub(crate) fn survive(build: &Build, doing: Doing, fault: Fault) -> Result<(), String> {
    let History { steps, .. } = doing.history();
    let build = &doing.history().build(build);
    let base = Tree::new();
    let fs = SimFs::new(base.clone(), Model::Journal).with_fault(fault);
    let lies = matches!(fault.what, What::Dropped | What::Flipped);
    let look = if lies { Look::NothingLost } else { Look::NothingWrong };
    let mut expected = Expected::default();
    let mut saved = Vec::new();
    for step in steps {
        let deed = step.of(&saved);
        let id = match build.act(&fs, deed) {
            Ok(id) => id,
            Err(e) if fs.hit() => {
                is_clean(fault, &e)?;
                fs.repair();
                if lies && step == Step::Init {
                    // The disk spoilt the object that makes a store; nothing was promised.
                    return Ok(());
                }
                if expected.store {
                    let store = build.open(&fs).map_err(|e| format!("opening after {step:?} failed: {e}"))?;
                    expected.begin(deed);
                    expected.whole(&store, look).map_err(|e| format!("after {step:?} failed: {e}"))?;
                }
                match (build.act(&fs, deed), step) {
                    // It had been done before the failure was told.
                    (Err(StoreError::Exists { .. }), Step::Init)
                    | (Err(StoreError::NoSuch { .. }), Step::Forget(_)) => None,
                    (again, _) => again.map_err(|e| format!("{step:?} tried again: {e}"))?,
                }
            }
            Err(e) => return Err(format!("{step:?} failed without a fault: {e}")),
        };
        saved.extend(id);
        expected.acknowledge(deed, id);
    }
    let next = Next { volume: 8, prunes: fault.nth.is_multiple_of(2) };
    if lies {
        let fs = SimFs::new(fs.medium(), Model::Journal);
        return expected.verify(build, &fs, look, next).map(|_| ());
    }
    let replay = Replay::end(&base, &fs.log());
    for tree in [replay.least(), replay.crash(fault.nth as u64, Model::Journal)] {
        let fs = SimFs::new(tree, Model::Journal);
        expected.verify(build, &fs, look, next).map_err(|e| format!("after a power cut: {e}"))?;
    }
    Ok(())
}

/// An error is of the kind of its cause, and what the system makes good causes none.
fn is_clean(fault: Fault, e: &StoreError) -> Result<(), String> {
    let clean = match fault.what {
        What::Io => matches!(e, StoreError::Io { .. }),
        What::Full | What::StaysFull => matches!(e, StoreError::Full { .. }),
        What::Short | What::Interrupted => false,
        What::Killed | What::Dropped | What::Flipped => true,
    };
    if clean { Ok(()) } else { Err(format!("told as: {e:?}")) }
}

/// A disk smaller than it says, that writes new bytes over the oldest: what it spoilt is found by a check, and never read
/// as something else.
pub(crate) fn wraps(build: &Build, size: usize) -> Result<usize, String> {
    let fs = SimFs::new(Tree::new(), Model::Journal).wrapping_at(size);
    let mut acknowledged = Vec::new();
    for step in Doing::Saving.history().steps {
        match build.act(&fs, step.of(&acknowledged)) {
            Ok(id) => acknowledged.extend(id),
            Err(_) => break,
        }
    }
    let fs = SimFs::new(fs.medium(), Model::Journal);
    // Where `format` or a key is spoilt, nothing is read at all.
    let Ok(store) = build.open(&fs) else { return Ok(acknowledged.len()) };
    let report = store.check(true, &mut |_, _| true).map_err(|e| format!("checking: {e}"))?;
    let mut spoilt = 0;
    for id in acknowledged {
        let Ok(manifest) = store.manifest(id) else {
            spoilt += 1;
            continue;
        };
        match is_exact(&store, &manifest) {
            Ok(true) => {}
            Ok(false) => return Err(format!("snapshot {} reads back as something else", manifest.taken.0)),
            Err(_) if report.affected.contains(&id) => spoilt += 1,
            Err(e) => return Err(format!("snapshot {}: {e}, and the check did not say so", manifest.taken.0)),
        }
    }
    Ok(spoilt)
}
