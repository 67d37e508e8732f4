//! The power is cut at every write of a restore and of its completion; writes that were not made durable are lost, kept, reordered
//! and torn. After each cut the disk is as it was, holds the snapshot exactly, or is fenced; a fenced one shows no table, and is
//! finished to exactly the snapshot.
//!
//! A sample by default, every cut with every loss where HOLDFAST_FULL is set.

use crate::crash::look;
use crate::image::MIB;
use crate::restore::{ALL, new_disk, onto_d0, saved};
use crate::sim::{Fault, Loss, Op, Sim, after_cut, must, reset, run, used};
use engine::run::pending;
use model::command::{Command, ExitCode};
use model::event::Outcome;
use model::inspection::{Content, Hardware};
use model::ports::{ObjectName, ObjectStore};
use std::sync::Arc;
use store::backend::Memory;

const LOSSES: [Loss; 5] = [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2), Loss::Torn(3)];

fn full() -> bool {
    std::env::var_os("HOLDFAST_FULL").is_some()
}

/// A restore that was recorded, and the store as it was when its last byte was written.
struct Recorded {
    objects: Arc<Memory>,
    before: Vec<u8>,
    after: Vec<u8>,
    ops: Vec<Op>,
    intents: Vec<ObjectName>,
}

/// Onto a disk full of noise, on which every byte that should have been written shows.
fn record() -> Recorded {
    let (objects, _) = saved();
    let before = vec![0xa5; 18 * MIB];
    let sim = new_disk(before.clone());
    must(&sim, &objects, onto_d0(&["NEW"]));
    let intents = objects.list("intents").unwrap();
    reset(&objects, &intents);
    Recorded { objects, before, after: sim.bytes(), ops: sim.ops(), intents }
}

impl Recorded {
    fn whole(&self, sim: &Arc<Sim>, case: &str) {
        let bytes = sim.bytes();
        let differs = bytes.iter().zip(&self.after).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{case}: not what an uncut restore leaves");
    }

    /// What stands after a cut: true where a fence does.
    fn fenced(&self, image: &[u8], case: &str) -> bool {
        let inspection = look(&new_disk(image.to_vec()));
        let found = pending::unfinished(&crate::sim::store(&self.objects), &inspection);
        if found.unwrap_or_else(|e| panic!("{case}: {e:?}")).is_none() {
            let untouched = image == self.before;
            assert!(untouched || image == self.after, "{case}: neither before nor after, and no fence");
            return false;
        }
        let disk = &inspection.disks[0];
        assert!(disk.table.is_none() && inspection.systems.is_empty(), "{case}: a table shows through");
        assert!(matches!(disk.volumes[..], [ref v] if matches!(v.content, Content::Fenced(_))), "{case}");
        assert_ne!(image[510..512], [0x55, 0xaa], "{case}: no BIOS starts it");
        true
    }

    /// Finishes it. Returns the writes of that.
    fn forward(&self, image: &[u8], case: &str) -> Vec<Op> {
        let sim = new_disk(image.to_vec());
        must(&sim, &self.objects, Command::PlanResume);
        self.whole(&sim, case);
        reset(&self.objects, &self.intents);
        sim.ops()
    }
}

/// Every cut, or a sample with the first and last ones, where the fence goes up and down.
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

#[test]
fn cut_at_every_write() {
    let recorded = record();
    let (mut all, mut fenced, mut again) = (0, 0, 0);
    let count = recorded.ops.len();
    for at in cuts(count, 9) {
        let losses = if full() { LOSSES.to_vec() } else { vec![LOSSES[at % 5], LOSSES[(at + 2) % 5]] };
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for loss in losses {
            let image = after_cut(&recorded.before, &recorded.ops, at, loss);
            if seen.contains(&image) {
                continue;
            }
            all += 1;
            let case = format!("cut {at} of {count}, {loss:?}");
            if recorded.fenced(&image, &case) {
                fenced += 1;
                let ops = recorded.forward(&image, &case);
                // The completion is cut itself.
                if full() || fenced % 3 == 0 {
                    let at = (all * 5) % (ops.len() + 1);
                    let twice = after_cut(&image, &ops, at, LOSSES[all % 5]);
                    let case = format!("{case}, its completion cut at {at} of {}", ops.len());
                    if recorded.fenced(&twice, &case) {
                        again += 1;
                        recorded.forward(&twice, &case);
                    }
                }
            }
            seen.push(image);
        }
    }
    assert!(fenced > 5 && fenced < all && again > 1, "{fenced} of {all} cuts left a fence, {again} of those twice");
    println!("{count} operations, {all} cuts, {fenced} fenced, {again} of them cut again");
}

/// Where nothing was written yet a disk may read as zeros today and as something else tomorrow: zeros are written by the completion too.
#[test]
fn zeros_that_were_never_written_are_not_believed() {
    let (objects, then) = saved();
    let blank = vec![0; 18 * MIB];
    let sim = new_disk(blank.clone());
    must(&sim, &objects, onto_d0(&[]));
    reset(&objects, &objects.list("intents").unwrap());
    let ops = sim.ops();
    let half = new_disk(after_cut(&blank, &ops, ops.len() / 2, Loss::All));
    must(&half, &objects, Command::PlanResume);
    assert!(half.bytes() == sim.bytes());
    let mut wanted = vec![false; blank.len()];
    used(&crate::sim::store(&objects), then, &ALL, &mut wanted);
    // The gap before the first partition, too.
    wanted[34 * 512..MIB].fill(true);
    for op in half.ops() {
        if let Op::Write { at, bytes } = op {
            wanted[at..at + bytes.len()].fill(false);
        }
    }
    // A block that holds something besides zeros reads as it was written, and is.
    let bytes = sim.bytes();
    let mut blocks = wanted.chunks(4096).zip(bytes.chunks(4096));
    let missed = blocks.position(|(wanted, bytes)| wanted.contains(&true) && bytes.iter().all(|b| *b == 0));
    assert_eq!(missed, None, "a block of zeros was believed");
}

/// Each call of the lease fails once. Before the fence nothing is changed; after it the run is interrupted, and is finished later.
#[test]
fn every_call_fails_once() {
    let recorded = record();
    let sim = new_disk(recorded.before.clone());
    must(&sim, &recorded.objects, onto_d0(&["NEW"]));
    reset(&recorded.objects, &recorded.intents);
    let calls = sim.calls();
    let step = if full() { 1 } else { (calls / 7).max(1) };
    let serial = |h: &mut Hardware| h.serial = Some("NEW".into());
    let mut interrupted = 0;
    for call in (0..calls).step_by(step) {
        let case = format!("call {call} of {calls}");
        let sim = Sim::failing_with(recorded.before.clone(), Fault::Call(call), serial);
        let (outcome, _) = run(&sim, &recorded.objects, onto_d0(&["NEW"]));
        match &outcome {
            Outcome::Failed(f) if f.code == ExitCode::Interrupted => {
                interrupted += 1;
                assert!(f.advice.as_str().contains("resume") && !f.advice.as_str().contains("undo"), "{case}: {f}");
            }
            other => panic!("{case}: {other:?}"),
        }
        let bytes = sim.bytes();
        match look(&sim).fences().count() {
            0 => assert!(bytes == recorded.before || bytes == recorded.after, "{case}"),
            _ => {
                let next = new_disk(bytes);
                must(&next, &recorded.objects, Command::PlanResume);
                recorded.whole(&next, &case);
            }
        }
        reset(&recorded.objects, &recorded.intents);
    }
    assert!(interrupted > 4, "{interrupted} of {calls}");
}

/// What was cut off is refused to everything but its completion; it cannot be undone; and with its name it is given up for another.
#[test]
fn a_cut_restore_is_finished_or_given_up() {
    let recorded = record();
    let half = after_cut(&recorded.before, &recorded.ops, recorded.ops.len() / 2, Loss::Nothing);
    let refused = |command: Command, part: &str| {
        let sim = new_disk(half.clone());
        let (outcome, _) = run(&sim, &recorded.objects, command);
        let Outcome::Failed(f) = &outcome else { panic!("{outcome:?}") };
        assert!(f.code == ExitCode::Refused && f.to_string().contains(part), "{f}");
        assert!(sim.bytes() == half);
    };
    refused(Command::PlanUndo { full: false }, "cannot be undone");
    refused(Command::PlanRollback { to: model::id::SnapRef::Latest, only: Vec::new(), full: false }, "is unfinished");
    refused(onto_d0(&[]), "a restore that was cut off; to lose that for good");
    let sim = new_disk(half.clone());
    must(&sim, &recorded.objects, onto_d0(&["NEW"]));
    recorded.whole(&sim, "given up and begun anew");
    // Cut before its own fence stands, the one before is what is finished.
    let ops = sim.ops();
    let early = after_cut(&half, &ops, 0, Loss::All);
    assert!(recorded.fenced(&early, "nothing written yet"));
    let late = after_cut(&half, &ops, ops.len() / 2, Loss::All);
    assert!(recorded.fenced(&late, "the new one is under way"));
    // Another piece of hardware is not what it was begun on.
    let other = Sim::new(half.clone());
    let (outcome, _) = run(&other, &recorded.objects, Command::PlanResume);
    assert!(matches!(&outcome, Outcome::Failed(f) if f.says.as_str().contains("no disk here is")), "{outcome:?}");
    assert!(other.bytes() == half);
}
