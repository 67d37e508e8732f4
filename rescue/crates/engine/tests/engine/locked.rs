//! An encrypted store that is unlocked by somebody who sits at the machine.

use crate::image::machine;
use crate::sim::{Fault, Sim, engine_at};
use engine::{Handle, Secret, StorePlace, Unlock};
use model::command::{Command, ExitCode, Passphrase};
use model::event::Outcome;
use std::sync::Arc;
use store::backend::LocalDir;
use store::{InitOptions, Store};

fn ended(handle: &Handle, command: Command) -> Outcome {
    handle.run(command, &mut |_| {}, &mut |_, _| Some(true))
}

fn unlock(typed: &str) -> Command {
    Command::Unlock { passphrase: Passphrase::new(typed.to_owned()) }
}

#[test]
fn a_store_is_unlocked_by_a_passphrase() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Arc::new(LocalDir::create(dir.path()).unwrap());
    let key = Unlock::Passphrase(Secret::new(b"correct horse".to_vec()));
    Store::init_with(objects, InitOptions { key: Some((key, "first".to_owned())), ..InitOptions::default() }).unwrap();
    // As in the rescue, where a store is made on the stick where there is none.
    let place = StorePlace::Dir { path: dir.path().to_owned(), create: true, access: Box::default() };
    let handle = engine_at(&Sim::failing(machine().then.clone(), Fault::Lease), place);

    assert_eq!(ended(&handle, Command::Inspect), Outcome::Looked, "looking needs no store");
    let state = handle.state();
    assert!(state.locked && state.store.is_none() && state.report.is_some());
    let Outcome::Failed(refused) = ended(&handle, Command::Snapshot { full: false }) else { panic!("saved") };
    assert_eq!(refused.code, ExitCode::Refused, "{refused}");

    let Outcome::Failed(wrong) = ended(&handle, unlock("correct hose")) else { panic!("opened") };
    assert_eq!(wrong.code, ExitCode::Refused, "{wrong}");
    assert!(handle.state().locked);

    assert_eq!(ended(&handle, unlock("correct horse")), Outcome::Looked);
    let state = handle.state();
    assert!(!state.locked && state.store.is_some());
    assert!(matches!(ended(&handle, Command::Snapshot { full: false }), Outcome::Saved { .. }));
    assert_eq!(handle.state().store.unwrap().snapshots.len(), 1);
    // What was typed is nowhere in what every front end is sent.
    assert!(!serde_json::to_string(&handle.state()).unwrap().contains("horse"));
}
