//! A disk that fails: each call of a lease fails once, in turn. Before the first fence nothing is changed; after it the run is
//! interrupted, says so, and is finished or undone with the next disk that works.

use crate::crash::{look, record};
use crate::image::machine;
use crate::sim::{Fault, Sim, must, run};
use model::command::{Command, ExitCode};
use model::event::Outcome;
use model::id::SnapRef;

#[test]
fn every_call_fails_once() {
    let recorded = record(machine().now.clone());
    let command =
        Command::PlanRollback { to: SnapRef::Prefix(recorded.then.to_string()), only: Vec::new(), full: false };
    let calls = {
        let sim = Sim::new(recorded.before.clone());
        must(&sim, &recorded.objects, command.clone());
        sim.calls()
    };
    let full = std::env::var_os("HOLDFAST_FULL").is_some();
    let step = if full { 1 } else { (calls / 20).max(1) };
    let (mut before, mut interrupted) = (0, 0);
    for call in (0..calls).step_by(step) {
        let case = format!("call {call} of {calls}");
        let sim = Sim::failing(recorded.before.clone(), Fault::Call(call));
        let (outcome, _) = run(&sim, &recorded.objects, command.clone());
        let bytes = sim.bytes();
        match &outcome {
            Outcome::Failed(f) if f.code == ExitCode::Interrupted => {}
            Outcome::Failed(_) => assert_eq!(bytes, recorded.before, "{case}: failed before the fence, and wrote"),
            // A failed comparison alone is made good by writing.
            Outcome::WroteBack(_) => recorded.is_then(&sim, &case),
            other => panic!("{case}: {other:?}"),
        }
        if look(&sim).fences().count() == 0 {
            before += usize::from(bytes == recorded.before);
            continue;
        }
        assert!(matches!(&outcome, Outcome::Failed(f) if f.code == ExitCode::Interrupted), "{case}: {outcome:?}");
        interrupted += 1;
        let forward = Sim::new(bytes.clone());
        must(&forward, &recorded.objects, Command::PlanResume);
        recorded.is_then(&forward, &case);
        if call % 2 == 0 {
            // The same cut, undone. The receipt of the way forward must not hide that fences stand.
            let back = Sim::new(bytes);
            must(&back, &recorded.objects, Command::PlanUndo { full: false });
        }
    }
    assert!(before > 0 && interrupted > 5, "{before} before the fence, {interrupted} after it, of {calls} calls");
}

/// A store that is full, or loses an object, stops the run before anything is written.
#[test]
fn a_store_that_cannot_give_is_found_out_first() {
    use model::ports::ObjectStore;
    use std::sync::Arc;
    let recorded = record(machine().now.clone());
    let packs = recorded.objects.list("packs").unwrap();
    let mut refused = 0;
    for pack in &packs {
        // Another store with the same objects but one, which is torn.
        let objects = Arc::new(store::backend::Memory::new());
        for name in recorded.objects.list("").unwrap() {
            let mut bytes = vec![0; recorded.objects.len(&name).unwrap().to_usize().unwrap()];
            recorded.objects.get(&name, model::units::ByteOffset(0), &mut bytes).unwrap();
            if name == *pack {
                let middle = bytes.len() / 3;
                bytes[middle] ^= 1;
            }
            if name.as_str().starts_with("intents") {
                continue;
            }
            objects.put(&name, &bytes).unwrap();
        }
        let sim = Sim::new(recorded.before.clone());
        let command =
            Command::PlanRollback { to: SnapRef::Prefix(recorded.then.to_string()), only: Vec::new(), full: false };
        let (outcome, _) = run(&sim, &objects, command);
        match outcome {
            Outcome::Failed(_) => {
                assert_eq!(sim.bytes(), recorded.before, "{} is damaged, and something was written", pack.as_str());
                assert!(sim.ops().is_empty());
                refused += 1;
            }
            // What is damaged is not needed for what differs, or was saved anew with the undo snapshot.
            Outcome::WroteBack(_) => recorded.is_then(&sim, pack.as_str()),
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0, "none of {} packs mattered", packs.len());
}
