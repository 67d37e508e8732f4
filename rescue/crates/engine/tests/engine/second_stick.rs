//! A second stick: mounted for one job, by somebody else, and let go whatever comes of it.

use crate::image::machine;
use crate::sim::{Sim, engine_with, must, run, store};
use ::store::Store;
use ::store::backend::{LocalDir, Memory};
use engine::{Access, Secret, Sticks, StorePlace, Unlock};
use model::command::{Command, ExitCode, Failure};
use model::event::Outcome;
use model::ports::ObjectStore;
use model::text::DisplayText;
use model::upkeep::{Kept, Upkeep};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A folder that stands for the file system of a stick.
#[derive(Default)]
struct Stick {
    /// Where it is mounted; no stick is there where `None`.
    root: Option<PathBuf>,
    /// It is pulled out as soon as it is mounted.
    pulled: bool,
    did: Mutex<Vec<&'static str>>,
}

impl Sticks for Stick {
    fn attach(&self, cancelled: &dyn Fn() -> bool) -> Result<Option<PathBuf>, Failure> {
        assert!(!cancelled());
        let Some(root) = &self.root else { return Err(Failure::new(ExitCode::Refused, "no second stick is here", "")) };
        self.did.lock().unwrap().push("attach");
        Ok(Some(root.clone()))
    }

    fn detach(&self) -> Result<(), DisplayText> {
        self.did.lock().unwrap().push("detach");
        if self.pulled { Err("the second stick (sdb) was pulled out before it was let go".into()) } else { Ok(()) }
    }
}

fn asked(objects: &Arc<Memory>, stick: &Arc<Stick>, what: Upkeep) -> Outcome {
    let sim = Sim::new(machine().then.clone());
    let place = StorePlace::Objects { objects: objects.clone(), create: true };
    let handle = engine_with(&sim, place, Some(stick.clone()));
    handle.run(Command::Upkeep { what }, &mut |_| {}, &mut |_, _| panic!("nothing is asked"))
}

fn saved() -> Arc<Memory> {
    let objects = Arc::new(Memory::new());
    must(&Sim::new(machine().then.clone()), &objects, Command::Snapshot { full: false });
    objects
}

fn failed(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("it did not fail: {other:?}"),
    }
}

#[test]
fn everything_is_copied_and_helps_with_a_repair() {
    let dir = tempfile::tempdir().unwrap();
    let stick = Arc::new(Stick { root: Some(dir.path().to_owned()), ..Stick::default() });
    let objects = saved();
    let Outcome::Kept(Kept::Copied(view)) = asked(&objects, &stick, Upkeep::CopyToStick) else { panic!("not copied") };
    assert_eq!((view.copied.len(), view.present.len(), view.failed.len()), (1, 0, 0));
    assert_eq!(*stick.did.lock().unwrap(), ["attach", "detach"]);
    let there = LocalDir::open(dir.path().join("holdfast")).unwrap();
    let there = Store::open(Arc::new(there), Arc::new(::store::LocalDecoder)).unwrap();
    assert_eq!(there.list().unwrap().snapshots.len(), 1);
    drop(there);
    let Outcome::Kept(Kept::Copied(view)) = asked(&objects, &stick, Upkeep::CopyToStick) else { panic!("not copied") };
    assert_eq!((view.copied.len(), view.present.len()), (0, 1));

    // A pack of ours is lost: that of the stick has it.
    let lost = objects.list("packs").unwrap().into_iter().next().unwrap();
    objects.delete(&lost).unwrap();
    let sim = Sim::new(machine().then.clone());
    let (Outcome::Checked(report), _) = run(&sim, &objects, Command::Check { read_data: true }) else { panic!() };
    assert!(!report.damage.is_empty());
    let Outcome::Kept(Kept::Repaired(view)) = asked(&objects, &stick, Upkeep::RepairFromStick) else { panic!() };
    assert_eq!((view.healed.len(), view.broken.len()), (1, 0), "{view:?}");
    let (Outcome::Checked(report), _) = run(&sim, &objects, Command::Check { read_data: true }) else { panic!() };
    assert_eq!(report.affected, []);
    assert_eq!(stick.did.lock().unwrap().len(), 6, "let go each time");
    assert_eq!(store(&objects).list().unwrap().snapshots.len(), 1);
}

#[test]
fn what_stands_in_the_way_is_said_and_the_stick_let_go() {
    let objects = saved();
    // None is there: there is nothing to let go.
    let none = Arc::new(Stick::default());
    let failure = failed(asked(&objects, &none, Upkeep::CopyToStick));
    assert_eq!((failure.code, failure.says.as_str()), (ExitCode::Refused, "no second stick is here"));
    assert!(none.did.lock().unwrap().is_empty());

    // There is no store on it to repair from, and none is made.
    let dir = tempfile::tempdir().unwrap();
    let stick = Arc::new(Stick { root: Some(dir.path().to_owned()), ..Stick::default() });
    let failure = failed(asked(&objects, &stick, Upkeep::RepairFromStick));
    assert!(failure.says.as_str().contains("the second stick: "), "{failure}");
    assert!(!dir.path().join("holdfast").exists());
    assert_eq!(*stick.did.lock().unwrap(), ["attach", "detach"]);

    // Pulled out, nothing on it can be written.
    let file = dir.path().join("gone");
    std::fs::write(&file, "").unwrap();
    let pulled = Arc::new(Stick { root: Some(file), pulled: true, ..Stick::default() });
    let failure = failed(asked(&objects, &pulled, Upkeep::CopyToStick));
    assert!(failure.says.as_str().starts_with("the second stick (sdb) was pulled out"), "{failure}");
    assert!(failure.advice.as_str().contains("plug the stick in and do it again"), "{failure}");
    assert_eq!(*pulled.did.lock().unwrap(), ["attach", "detach"]);

    // What is encrypted there has a key that nobody can type here.
    let place = dir.path().join("holdfast");
    let key = Unlock::Passphrase(Secret::new(b"secret".to_vec()));
    let access = Box::new(Access { new_key: Some(key), ..Access::default() });
    let sim = Sim::new(machine().then.clone());
    let handle = engine_with(&sim, StorePlace::Dir { path: place, create: false, access }, None);
    let made = handle.run(Command::Upkeep { what: Upkeep::Make { probe: None } }, &mut |_| {}, &mut |_, _| None);
    assert!(matches!(made, Outcome::Kept(Kept::Made(_))), "{made:?}");
    let failure = failed(asked(&objects, &stick, Upkeep::CopyToStick));
    assert!(failure.says.as_str().contains("is encrypted"), "{failure}");
    assert_eq!(stick.did.lock().unwrap().len(), 4);

    // Without anybody who may mount one, it is refused.
    let place = StorePlace::Objects { objects, create: true };
    let handle = engine_with(&sim, place, None);
    let refused = handle.run(Command::Upkeep { what: Upkeep::CopyToStick }, &mut |_| {}, &mut |_, _| None);
    assert_eq!(failed(refused).code, ExitCode::Refused);
}
