//! What is done by itself waits for whoever is there.

use crate::image::machine;
use crate::sim::{Fault, Sim, engine, engine_at, must, store};
use engine::StorePlace;
use model::command::{Command, PolicyText};
use model::event::{Happening, Outcome};
use model::policy::Manner;
use std::sync::Arc;
use store::backend::Memory;

fn unattended(policy: &str) -> Command {
    Command::Auto { policy: Some(PolicyText(Ok(policy.into()))), keys: None, manner: Manner::Unattended }
}

#[test]
fn whoever_is_there_stops_it() {
    let objects = Arc::new(Memory::new());
    let sim = Sim::failing(machine().then.clone(), Fault::Lease);
    let handle = engine(&sim, &objects);
    let mut told = Vec::new();
    // A key while the disks are still looked at counts, too.
    for stop_at in [None, Some(3_599)] {
        let canceller = handle.clone();
        let mut each = |event: &model::event::Event| {
            if let Happening::Waiting(waiting) = &event.what {
                told.push(waiting.clone());
                if waiting.seconds == stop_at {
                    canceller.submit(Command::Cancel);
                }
            }
        };
        let outcome = handle.run(unattended("[rescue]\nwait = 3600\nthen = reboot\n"), &mut each, &mut |_, _| None);
        assert!(matches!(outcome, Outcome::Cancelled(_)), "{outcome:?}");
    }
    assert!(told.iter().any(|w| w.next.as_str().contains("it is saved")), "{told:?}");
    let state = handle.state();
    assert_eq!((state.waiting, state.leaving), (None, None));
    assert!(state.report.is_some() && state.store.is_some(), "what happened is told all the same");
    assert!(store(&objects).list().unwrap().snapshots.is_empty());
}

#[test]
fn where_it_cannot_be_done_the_disks_are_looked_at() {
    let sim = Sim::new(machine().then.clone());
    let missing = StorePlace::Dir { path: "/nonexistent/store".into(), create: false, access: Box::default() };
    for (handle, policy) in
        [(engine_at(&sim, missing), ""), (engine(&sim, &Arc::new(Memory::new())), "[rescue]\nthen = rollback\n")]
    {
        let outcome = handle.run(unattended(policy), &mut |_| {}, &mut |_, _| None);
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        assert!(handle.state().report.is_some());
    }
    let policy = Some(PolicyText(Err("policy.conf: no such file".into())));
    let handle = engine(&sim, &Arc::new(Memory::new()));
    let outcome =
        handle.run(Command::Auto { policy, keys: None, manner: Manner::Unattended }, &mut |_| {}, &mut |_, _| None);
    assert!(matches!(&outcome, Outcome::Failed(f) if f.says.as_str().contains("no such file")), "{outcome:?}");
}

/// A rollback that was cut off is for a person: nothing is done by itself on top of it.
#[test]
fn an_unfinished_rollback_is_left_alone() {
    let objects = Arc::new(Memory::new());
    let sim = Sim::new(machine().then.clone());
    must(&sim, &objects, Command::Snapshot { full: false });
    let now = Sim::failing(machine().now.clone(), Fault::Call(30));
    let handle = engine(&now, &objects);
    let back = Command::PlanRollback { to: model::id::SnapRef::Latest, only: Vec::new(), full: false };
    let outcome = handle.run(back, &mut |_| {}, &mut |_, _| Some(true));
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    let cut = Sim::failing(now.bytes(), Fault::Lease);
    let saved = store(&objects).list().unwrap().snapshots.len();
    let outcome = engine(&cut, &objects).run(unattended(""), &mut |_| {}, &mut |_, _| None);
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert!(failure.says.as_str().contains("an unfinished rollback stands on"), "{failure}");
    assert_eq!(store(&objects).list().unwrap().snapshots.len(), saved);
}
