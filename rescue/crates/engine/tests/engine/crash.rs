//! The power is cut at every write of a rollback, of its completion and of its undo; writes that were not made durable are
//! lost, kept, reordered and torn. After each cut the disk is exactly before, exactly after, or fenced; and from a fenced one
//! there is a way forward to exactly the snapshot and a way back to exactly what was.
//!
//! A sample by default, every cut with every loss where HOLDFAST_FULL is set.

use crate::image::machine;
use crate::sim::{Loss, Op, Sim, after_cut, holds, must, reset, store, used};
use engine::parser::Local;
use engine::run::pending;
use model::command::Command;
use model::event::Outcome;
use model::id::{SnapRef, SnapshotId};
use model::inspection::Inspection;
use model::plan::Action;
use model::ports::{Devices, ObjectName, ObjectStore};
use std::sync::Arc;
use store::backend::Memory;

/// The volumes that go back: ESP, /boot, root.
const PLANNED: [u32; 3] = [1, 2, 3];
const LOSSES: [Loss; 5] = [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2), Loss::Torn(3)];

fn full() -> bool {
    std::env::var_os("HOLDFAST_FULL").is_some()
}

/// A rollback that was recorded, and the store as it was when its last byte was written.
pub(crate) struct Recorded {
    pub(crate) objects: Arc<Memory>,
    pub(crate) before: Vec<u8>,
    pub(crate) ops: Vec<Op>,
    pub(crate) then: SnapshotId,
    pub(crate) undo: SnapshotId,
    intents: Vec<ObjectName>,
    /// Bytes that either snapshot holds: the others must never change.
    mask: Vec<bool>,
}

pub(crate) fn record(before: Vec<u8>) -> Recorded {
    let objects = Arc::new(Memory::new());
    let Outcome::Saved { id: then, .. } =
        must(&Sim::new(machine().then.clone()), &objects, Command::Snapshot { full: false })
    else {
        panic!("not saved")
    };
    let sim = Sim::new(before.clone());
    must(&sim, &objects, Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false });
    let store = store(&objects);
    let undo = store.intents().unwrap()[0].1.undo;
    let mut mask = vec![false; before.len()];
    mask[..1 << 20].fill(true);
    mask[before.len() - (1 << 20)..].fill(true);
    used(&store, then, &PLANNED, &mut mask);
    used(&store, undo, &PLANNED, &mut mask);
    let intents = objects.list("intents").unwrap();
    reset(&objects, &intents);
    Recorded { objects, before, ops: sim.ops(), then, undo, intents, mask }
}

pub(crate) fn look(sim: &Arc<Sim>) -> Inspection {
    engine::gather::inspect(&sim.disks(), &Local::new(sim.disks()))
}

impl Recorded {
    /// Nothing but what the snapshots hold was changed.
    fn untouched(&self, bytes: &[u8], case: &str) {
        let changed = bytes.iter().zip(&self.before).zip(&self.mask).position(|((a, b), used)| !used && a != b);
        assert_eq!(changed, None, "{case}: a byte that belongs to nothing was changed");
    }

    /// The disk holds the snapshot, everything of it, and no fence.
    pub(crate) fn is_then(&self, sim: &Arc<Sim>, case: &str) {
        let bytes = sim.bytes();
        holds(&store(&self.objects), self.then, &PLANNED, &bytes).unwrap_or_else(|e| panic!("{case}: {e}"));
        let boot_code = 34 * 512..1 << 20;
        assert_eq!(bytes[boot_code.clone()], machine().then[boot_code], "{case}: the boot code");
        assert_eq!(look(sim).fences().count(), 0, "{case}");
        self.untouched(&bytes, case);
    }

    /// The disk holds what was before, everything of it, and no fence.
    pub(crate) fn is_before(&self, sim: &Arc<Sim>, case: &str) {
        let bytes = sim.bytes();
        holds(&store(&self.objects), self.undo, &PLANNED, &bytes).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(bytes[..1 << 20], self.before[..1 << 20], "{case}: the table and the boot code");
        let end = bytes.len() - 33 * 512;
        assert_eq!(bytes[end..], self.before[end..], "{case}: the second table");
        assert_eq!(look(sim).fences().count(), 0, "{case}");
        self.untouched(&bytes, case);
    }

    fn reset(&self) {
        reset(&self.objects, &self.intents);
    }

    /// What stands after a cut: `None` where it is exactly before or exactly after.
    fn fenced(&self, image: &[u8], case: &str) -> Option<Action> {
        let sim = Sim::new(image.to_vec());
        let inspection = look(&sim);
        let found = pending::unfinished(&store(&self.objects), &inspection);
        match found.unwrap_or_else(|e| panic!("{case}: {e:?}")) {
            Some(unfinished) => Some(unfinished.intent.plan.action),
            None if image == self.before => None,
            None => {
                self.is_then(&sim, case);
                None
            }
        }
    }

    /// Both ways out of one cut. Returns the writes of each way.
    fn ways_out(&self, image: &[u8], case: &str) -> Option<[Vec<Op>; 2]> {
        self.fenced(image, case)?;
        let forward = Sim::new(image.to_vec());
        must(&forward, &self.objects, Command::PlanResume);
        self.is_then(&forward, case);
        self.reset();
        let back = Sim::new(image.to_vec());
        must(&back, &self.objects, Command::PlanUndo { full: false });
        self.is_before(&back, case);
        let ways = [forward.ops(), back.ops()];
        // The undo's intent stays for whoever cuts it again.
        Some(ways)
    }
}

/// Which cuts are looked at: all, or the first and last ones (where the fences go up and down) and a sample between.
fn cuts(count: usize, sample: usize) -> Vec<usize> {
    if full() || count <= sample {
        return (0..=count).collect();
    }
    let edge = sample / 3;
    let middle = (0..sample - 2 * edge).map(|i| edge + (i * 7919 + 13) % (count - 2 * edge));
    let mut all: Vec<usize> = (0..edge).chain(middle).chain(count - edge..=count).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn losses(at: usize) -> Vec<Loss> {
    if full() { LOSSES.to_vec() } else { vec![LOSSES[at % LOSSES.len()], LOSSES[(at + 2) % LOSSES.len()]] }
}

fn every_cut(recorded: &Recorded, sample: usize) -> (usize, usize) {
    let (mut all, mut fenced) = (0, 0);
    for at in cuts(recorded.ops.len(), sample) {
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for loss in losses(at) {
            let image = after_cut(&recorded.before, &recorded.ops, at, loss);
            if seen.contains(&image) {
                continue;
            }
            all += 1;
            fenced += usize::from(
                recorded.ways_out(&image, &format!("cut {at} of {}, {loss:?}", recorded.ops.len())).is_some(),
            );
            recorded.reset();
            seen.push(image);
        }
    }
    (all, fenced)
}

#[test]
fn cut_at_every_write() {
    let recorded = record(machine().now.clone());
    assert!(recorded.ops.len() > 20, "{}", recorded.ops.len());
    let (all, fenced) = every_cut(&recorded, 18);
    assert!(fenced > 10 && fenced < all, "{fenced} of {all} cuts left a fence");
    println!("{} operations, {all} cuts, {fenced} fenced", recorded.ops.len());
}

/// As above, where the first copy of the partition table is damaged too and is repaired on the way.
#[test]
fn cut_while_a_table_is_repaired() {
    let mut before = machine().now.clone();
    before[512..1024].fill(0);
    let recorded = record(before);
    let tables = recorded.ops.iter().filter(|op| matches!(op, Op::Write { at, .. } if *at < 1 << 20)).count();
    assert!(tables > 0, "the table was written");
    let (all, fenced) = every_cut(&recorded, 9);
    assert!(fenced < all && fenced > 2, "{fenced} of {all} cuts left a fence");
}

/// The completion and the undo of a cut rollback are cut themselves.
#[test]
fn cut_again() {
    let recorded = record(machine().now.clone());
    let first = if full() { 24 } else { 3 };
    let second = if full() { 16 } else { 3 };
    let count = recorded.ops.len();
    let mut again = 0;
    for i in 0..first {
        let at = 1 + i * (count - 2) / first;
        let image = after_cut(&recorded.before, &recorded.ops, at, LOSSES[i % LOSSES.len()]);
        let case = format!("cut {at} of {count}");
        let Some(ways) = recorded.ways_out(&image, &case) else { continue };
        let intents = recorded.objects.list("intents").unwrap();
        reset(&recorded.objects, &intents);
        for (way, ops) in ways.iter().enumerate() {
            for j in 0..second {
                let at = j * ops.len() / second;
                let loss = LOSSES[(i + j) % LOSSES.len()];
                let twice = after_cut(&image, ops, at, loss);
                let case = format!("{case}, way {way} cut again at {at} of {}, {loss:?}", ops.len());
                let standing = {
                    let sim = Sim::new(twice.clone());
                    let found = pending::unfinished(&store(&recorded.objects), &look(&sim));
                    found.unwrap_or_else(|e| panic!("{case}: {e:?}"))
                };
                let Some(standing) = standing else {
                    let sim = Sim::new(twice);
                    if way == 0 {
                        recorded.is_then(&sim, &case)
                    } else {
                        recorded.is_before(&sim, &case)
                    }
                    continue;
                };
                again += 1;
                // Once an undo has begun, both ways lead back.
                let back = matches!(standing.intent.plan.action, Action::Undo { .. });
                let sim = Sim::new(twice.clone());
                must(&sim, &recorded.objects, Command::PlanResume);
                if back {
                    recorded.is_before(&sim, &case)
                } else {
                    recorded.is_then(&sim, &case)
                }
                reset(&recorded.objects, &intents);
                let sim = Sim::new(twice);
                must(&sim, &recorded.objects, Command::PlanUndo { full: false });
                recorded.is_before(&sim, &case);
                reset(&recorded.objects, &intents);
            }
        }
        recorded.reset();
    }
    assert!(again >= first, "{again} double cuts left a fence");
}

/// Every byte was written and verified, and the power went before the record of it: there is nothing to resume, and the undo
/// still knows what to go back from.
#[test]
fn cut_before_the_receipt() {
    let recorded = record(machine().now.clone());
    let image = after_cut(&recorded.before, &recorded.ops, recorded.ops.len(), Loss::All);
    let sim = Sim::new(image);
    recorded.is_then(&sim, "all written");
    let (outcome, _) = crate::sim::run(&sim, &recorded.objects, Command::PlanResume);
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    must(&sim, &recorded.objects, Command::PlanUndo { full: false });
    recorded.is_before(&sim, "undone");
}

/// A fence of this machine with the save disk of another: nothing is done, and what to do is said.
#[test]
fn a_fence_of_another_store_is_left_alone() {
    let recorded = record(machine().now.clone());
    let image = after_cut(&recorded.before, &recorded.ops, recorded.ops.len() / 2, Loss::All);
    for command in [Command::PlanResume, Command::PlanUndo { full: false }, Command::Snapshot { full: false }] {
        let sim = Sim::new(image.clone());
        let (outcome, _) = crate::sim::run(&sim, &Arc::new(Memory::new()), command);
        assert!(matches!(&outcome, Outcome::Failed(f) if f.code == model::command::ExitCode::Refused), "{outcome:?}");
        assert_eq!(sim.bytes(), image);
    }
}

/// A person may stop the writing; the fence stands, and it goes on later.
#[test]
fn a_cancelled_write_stays_resumable() {
    let recorded = record(machine().now.clone());
    let sim = Sim::new(recorded.before.clone());
    let handle = crate::sim::engine(&sim, &recorded.objects);
    let canceller = handle.clone();
    let command =
        Command::PlanRollback { to: SnapRef::Prefix(recorded.then.to_string()), only: Vec::new(), full: false };
    let outcome = handle.run(
        command,
        &mut |e| {
            if let model::event::Happening::Progress(p) = &e.what
                && p.fenced
            {
                canceller.submit(Command::Cancel);
            }
        },
        &mut |_, _| Some(true),
    );
    match outcome {
        Outcome::Failed(f) => assert_eq!(f.code, model::command::ExitCode::Interrupted, "{f}"),
        // It was quicker than the request.
        Outcome::WroteBack(_) => return,
        other => panic!("{other:?}"),
    }
    must(&sim, &recorded.objects, Command::PlanResume);
    recorded.is_then(&sim, "cancelled and resumed");
}
