//! A boot chain that is put right, with the power cut on the way: after each cut the disk is exactly before, exactly after, or fenced;
//! and from a fenced one there is a way to the repaired state, and one back.
//!
//! A sample by default, every cut where HOLDFAST_FULL is set.

use crate::boot_disk::{Made, OLD, OLDER};
use crate::crash::look;
use crate::sim::{Loss, Sim, after_cut, must, reset, run, store, used};
use engine::run::pending;
use model::command::{Command, ExitCode};
use model::event::Outcome;
use model::ports::ObjectStore;
use model::snapshot::Purpose;
use std::sync::Arc;
use store::backend::Memory;

const LOSSES: [Loss; 4] = [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2)];

/// Broken in its table, on its ESP, in its menu and in its fstab.
fn broken() -> Vec<u8> {
    let mut made = Made::new(|m| {
        m.stub(OLDER, "/grub");
        m.menu(OLDER, OLD);
        m.fstab(OLD, OLDER, "12AB-34CD");
        m.drop_fallback();
    });
    made.bytes[512..1024].fill(0);
    made.bytes
}

#[test]
fn a_repair_that_is_cut_off_is_finished_or_undone() {
    let before = broken();
    let objects = Arc::new(Memory::new());
    let sim = Sim::new(before.clone());
    let Outcome::WroteBack(receipt) = must(&sim, &objects, Command::PlanBootRepair) else { panic!("not written") };
    let (after, ops) = (sim.bytes(), sim.ops());
    assert!(after != before && ops.len() > 20, "{}", ops.len());
    let opened = store(&objects);
    assert_eq!(opened.manifest(receipt.holds).unwrap().purpose, Purpose::Repair);
    let undo = opened.intents().unwrap()[0].1.undo;
    // What is in use before has to come back; what is free may keep what was written there.
    let mut mask = vec![false; before.len()];
    mask[..1 << 20].fill(true);
    used(&opened, undo.unwrap(), &[1, 2, 3], &mut mask);
    let is_before = |bytes: &[u8], case: &str| {
        let wrong = (0..before.len()).find(|n| bytes[*n] != before[*n] && (mask[*n] || bytes[*n] != after[*n]));
        assert_eq!(wrong, None, "{case}");
    };
    let intents = objects.list("intents").unwrap();
    reset(&objects, &intents);
    let full = std::env::var_os("HOLDFAST_FULL").is_some();
    let step = if full { 1 } else { ops.len() / 9 };
    let (mut fenced, mut whole) = (0, 0);
    for (n, at) in (0..=ops.len()).step_by(step.max(1)).chain([ops.len()]).enumerate() {
        let losses = if full { &LOSSES[..] } else { &LOSSES[n % 4..=n % 4] };
        for loss in losses {
            let case = format!("cut {at} of {}, {loss:?}", ops.len());
            let image = after_cut(&before, &ops, at, *loss);
            let stands = pending::unfinished(&store(&objects), &look(&Sim::new(image.clone()))).unwrap();
            if stands.is_none() {
                assert!(image == before || image == after, "{case}: neither before nor after, and no fence");
                whole += 1;
                continue;
            }
            fenced += 1;
            let forward = Sim::new(image.clone());
            must(&forward, &objects, Command::PlanResume);
            assert!(forward.bytes() == after, "{case}: finished");
            reset(&objects, &intents);
            let back = Sim::new(image);
            must(&back, &objects, Command::PlanUndo { full: false });
            is_before(&back.bytes(), &case);
            reset(&objects, &intents);
        }
    }
    assert!(fenced > 4 && whole > 1, "{fenced} fenced, {whole} not");
}

#[test]
fn nothing_is_written_where_nothing_is_broken() {
    let whole = Made::new(|_| {}).bytes;
    let sim = Sim::new(whole.clone());
    let outcome = must(&sim, &Arc::new(Memory::new()), Command::PlanBootRepair);
    assert_eq!(outcome, Outcome::Looked);
    assert!(sim.ops().is_empty() && sim.bytes() == whole);
}

/// A repair is no way past an unfinished rollback.
#[test]
fn an_unfinished_rollback_comes_first() {
    let before = broken();
    let objects = Arc::new(Memory::new());
    let sim = Sim::new(before.clone());
    must(&sim, &objects, Command::PlanBootRepair);
    let cut = Sim::new(after_cut(&before, &sim.ops(), sim.ops().len() / 2, Loss::Nothing));
    let now = cut.bytes();
    let (outcome, _) = run(&cut, &objects, Command::PlanBootRepair);
    assert!(matches!(&outcome, Outcome::Failed(f) if f.code == ExitCode::Refused), "{outcome:?}");
    assert!(cut.bytes() == now);
}
