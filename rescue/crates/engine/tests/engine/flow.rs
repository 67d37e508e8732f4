//! Save, roll back, undo: the way a person goes.

use crate::image::{machine, range};
use crate::sim::{Fault, Op, Sim, holds, must, run, store};
use model::command::{Command, ExitCode};
use model::coverage::Comparison;
use model::event::{Happening, Outcome};
use model::id::{SnapRef, SnapshotId};
use model::plan::{Action, TableRollback};
use model::snapshot::Purpose;
use std::sync::Arc;
use store::backend::Memory;

const LATEST: Command = Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false };

fn saved(objects: &Arc<Memory>) -> SnapshotId {
    let sim = Sim::failing(machine().then.clone(), Fault::Lease);
    let Outcome::Saved { id, .. } = must(&sim, objects, Command::Snapshot { full: false }) else { panic!("not saved") };
    assert_eq!(sim.bytes(), machine().then, "the target was only read");
    id
}

#[test]
fn looking_and_saving_never_lease() {
    let objects = Arc::new(Memory::new());
    let sim = Sim::failing(machine().then.clone(), Fault::Lease);
    must(&sim, &objects, Command::Inspect);
    must(&sim, &objects, Command::Snapshot { full: true });
    must(&sim, &objects, Command::Check { read_data: true });
    must(&sim, &objects, Command::ListSnapshots);
    assert!(sim.ops().is_empty());
    assert_eq!(sim.bytes(), machine().then);
}

#[test]
fn there_and_back_again() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let sim = Sim::new(machine().now.clone());
    let Outcome::WroteBack(receipt) = must(&sim, &objects, LATEST) else { panic!("not written") };
    assert_eq!(receipt.holds, then);
    let store = store(&objects);
    holds(&store, then, &[1, 2, 3], &sim.bytes()).unwrap();
    assert_eq!(sim.bytes()[range(4)], machine().now[range(4)], "/home is kept");
    assert_eq!(sim.bytes()[40 * 512..41 * 512], machine().then[40 * 512..41 * 512], "the boot code went back too");
    // Root becomes valid first and the ESP last.
    let heads: Vec<u32> = sim
        .ops()
        .iter()
        .filter_map(|op| match op {
            Op::Write { at, bytes } if bytes.len() == 512 => (1..=5).find(|n| range(*n).start == *at),
            _ => None,
        })
        .collect();
    assert_eq!(heads, [3, 2, 1, 3, 2, 1], "fences up, fences down");
    let intents = store.intents().unwrap();
    assert_eq!(intents.len(), 1);
    let undo = intents[0].1.undo.unwrap();
    assert_eq!(store.manifest(undo).unwrap().purpose, Purpose::Undo { before: then });

    let rolled = sim.bytes();
    let Outcome::WroteBack(receipt) = must(&sim, &objects, Command::PlanUndo { full: false }) else {
        panic!("not undone")
    };
    assert_eq!(receipt.holds, undo);
    holds(&store, undo, &[1, 2, 3], &sim.bytes()).unwrap();
    assert_eq!(sim.bytes()[40 * 512..41 * 512], machine().now[40 * 512..41 * 512]);

    // The undo can be undone: it was a write-back like any other.
    must(&sim, &objects, Command::PlanUndo { full: false });
    holds(&store, then, &[1, 2, 3], &sim.bytes()).unwrap();
    assert_eq!(sim.bytes()[range(1)][..4096], rolled[range(1)][..4096]);
}

/// What the disks hold after a rollback is the snapshot that they were taken back to, not the newest one.
#[test]
fn what_was_taken_back_needs_no_reading() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let sim = Sim::new(machine().now.clone());
    must(&sim, &objects, Command::Snapshot { full: false });
    let to = SnapRef::Prefix(then.to_string());
    must(&sim, &objects, Command::PlanRollback { to, only: Vec::new(), full: false });
    let Outcome::Saved { volumes, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else { panic!() };
    let compared = |n: u32| volumes.iter().find(|v| v.path.number() == Some(n)).unwrap().compared.clone();
    let root = compared(3);
    assert_eq!((root.by, root.with), (Comparison::Untouched, Some(then)), "{}", root.why);
    let home = compared(4);
    assert_eq!((home.by, home.with), (Comparison::Content, None), "{}", home.why);
    // Nothing of a session is known here: with `--full`, and after it, everything else is read.
    let Outcome::Saved { volumes, .. } = must(&sim, &objects, Command::Snapshot { full: true }) else { panic!() };
    assert!(volumes.iter().all(|v| v.compared.by == Comparison::Content));
}

#[test]
fn the_plan_says_what_it_will_do() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let sim = Sim::new(machine().now.clone());
    let handle = crate::sim::engine(&sim, &objects);
    let mut plans = Vec::new();
    for _ in 0..2 {
        let outcome = handle.run(LATEST, &mut |_| {}, &mut |id, plan| {
            plans.push((id, plan.clone()));
            Some(false)
        });
        assert_eq!(outcome, Outcome::Declined);
    }
    assert!(sim.ops().is_empty(), "nothing was written");
    assert_eq!(plans[0], plans[1], "the same disks give the same plan");
    let (id, plan) = &plans[0];
    assert_eq!(*id, engine::plan::encode(plan).0);
    assert_eq!((plan.action, plan.to), (Action::Rollback, then));
    let order: Vec<String> = plan.volumes.iter().map(|v| v.path.to_string()).collect();
    assert_eq!(order, ["d0/p3", "d0/p2", "d0/p1"]);
    assert!(matches!(plan.tables[..], [TableRollback::Repair { .. }]), "the boot code differs: {:?}", plan.tables);
    assert!(plan.checks.iter().all(|c| c.ok), "{:?}", plan.checks);
    let kept: Vec<String> = plan.kept.iter().map(|(v, _)| v.to_string()).collect();
    assert_eq!(kept, ["d0/p4", "d0/p5"]);
}

#[test]
fn home_goes_back_where_it_is_named() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let sim = Sim::new(machine().now.clone());
    must(
        &sim,
        &objects,
        Command::PlanRollback { to: SnapRef::Latest, only: vec!["d0/p4".parse().unwrap()], full: false },
    );
    let store = store(&objects);
    holds(&store, then, &[4], &sim.bytes()).unwrap();
    assert_eq!(sim.bytes()[range(3)], machine().now[range(3)], "root was not named");
    assert_eq!(sim.bytes()[..range(1).start], machine().now[..range(1).start], "nor was the boot code");
}

#[test]
fn a_changed_disk_is_refused_after_approval() {
    let objects = Arc::new(Memory::new());
    saved(&objects);
    let sim = Sim::new(machine().now.clone());
    let handle = crate::sim::engine(&sim, &objects);
    let (mut changed, at) = (Vec::new(), range(3).start + 2000);
    let outcome = handle.run(LATEST, &mut |_| {}, &mut |_, _| {
        // Somebody mounts root while the question stands.
        sim.poke(at, 0x55);
        changed = sim.bytes();
        Some(true)
    });
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.code, ExitCode::Refused, "{failure}");
    assert!(sim.ops().is_empty());
    assert_eq!(sim.bytes(), changed);
}

/// Whoever is asked may want everything read; that is another plan, and asked again.
#[test]
fn what_is_read_first_is_part_of_the_plan() {
    let objects = Arc::new(Memory::new());
    saved(&objects);
    let sim = Sim::new(machine().now.clone());
    let handle = crate::sim::engine(&sim, &objects);
    let (asking, mut asked) = (handle.clone(), Vec::new());
    let outcome = handle.run(LATEST, &mut |_| {}, &mut |id, plan| {
        let reads = plan.reads.clone().unwrap();
        asked.push((id, reads.everything));
        match asked.len() {
            n if n < 3 => {
                asking.submit(Command::Reread { plan: id, full: n == 1 });
                None
            }
            _ => Some(true),
        }
    });
    assert!(matches!(outcome, Outcome::WroteBack(_)), "{outcome:?}");
    assert_eq!(asked.iter().map(|(_, full)| *full).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(asked[0].0, asked[2].0, "the same plan");
    assert_ne!(asked[0].0, asked[1].0);
}

#[test]
fn a_moved_partition_is_refused() {
    let objects = Arc::new(Memory::new());
    saved(&objects);
    // The same table id, but the last partition of the machine is another.
    let mut bytes = machine().now.clone();
    crate::sim::retable(&mut bytes, 3, 1024);
    let sim = Sim::new(bytes.clone());
    let mut said = Vec::new();
    let handle = crate::sim::engine(&sim, &objects);
    let outcome = handle.run(LATEST, &mut |_| {}, &mut |_, plan| {
        said = plan.checks.iter().filter(|c| !c.ok).map(|c| c.says.to_string()).collect();
        assert!(!plan.is_usable());
        Some(true)
    });
    assert!(said.iter().any(|s| s.contains("moved or resized")), "{said:?}");
    assert!(matches!(&outcome, Outcome::Failed(f) if f.code == ExitCode::Refused), "{outcome:?}");
    assert_eq!(sim.bytes(), bytes);
}

#[test]
fn another_machine_is_refused() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let mut bytes = machine().now.clone();
    // Another disk GUID in both headers makes it another disk.
    crate::sim::reguid(&mut bytes);
    let sim = Sim::new(bytes);
    let command = Command::PlanRollback { to: SnapRef::Prefix(then.to_string()), only: Vec::new(), full: false };
    let (outcome, _) = run(&sim, &objects, command);
    assert!(matches!(&outcome, Outcome::Failed(f) if f.code == ExitCode::Refused), "{outcome:?}");
    assert!(sim.ops().is_empty());
}

#[test]
fn an_unreadable_part_makes_no_undo_and_so_no_rollback() {
    let objects = Arc::new(Memory::new());
    saved(&objects);
    let from = range(3).start + 8192;
    let sim = Sim::failing(machine().now.clone(), Fault::Read { from, to: from + 512 });
    // Root cannot be read as a file system or not; either way nothing is written.
    let (outcome, _) = run(&sim, &objects, LATEST);
    assert!(matches!(&outcome, Outcome::Failed(f) if f.code == ExitCode::Refused), "{outcome:?}");
    assert!(sim.ops().is_empty());
}

#[test]
fn bad_sectors_are_told_and_the_rest_is_saved() {
    let objects = Arc::new(Memory::new());
    // Within the data of a large file of root: the last used bytes of the file system's data.
    let store_of = |objects: &Arc<Memory>| store(objects);
    let good = saved(&objects);
    let root =
        store_of(&objects).manifest(good).unwrap().volumes.iter().find(|v| v.path.number() == Some(3)).unwrap().clone();
    let last = store_of(&objects)
        .map(root.map)
        .slices(model::units::Extent::whole(root.extent.len()))
        .filter_map(|s| s.ok().filter(|s| s.extent.len().0 > 60_000).map(|s| s.extent))
        .last()
        .unwrap();
    let from = range(3).start + usize::try_from(last.start().0).unwrap() + 4096;
    let sim = Sim::failing(machine().then.clone(), Fault::Read { from, to: from + 1024 });
    // What needs no reading is saved as it was.
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    let unread = store_of(&objects).manifest(id).unwrap();
    let unread = unread.volumes.iter().find(|v| v.path.number() == Some(3)).unwrap();
    assert_eq!((unread.unreadable.total().0, unread.map), (0, root.map));
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: true }) else { panic!("not saved") };
    let again = store_of(&objects).manifest(id).unwrap();
    let again = again.volumes.iter().find(|v| v.path.number() == Some(3)).unwrap();
    assert_eq!(again.unreadable.total().0, 1024);
    assert_eq!(again.captured.0 + 1024, root.captured.0);
}

#[test]
fn a_second_job_is_refused_and_the_first_answer_counts() {
    let objects = Arc::new(Memory::new());
    saved(&objects);
    let sim = Sim::new(machine().now.clone());
    let handle = crate::sim::engine(&sim, &objects);
    let events = handle.subscribe();
    handle.submit(LATEST);
    let mut question = None;
    let mut lines = Vec::new();
    let mut decided = Vec::new();
    for event in events {
        match event.what {
            Happening::DecisionNeeded(q) => {
                handle.submit(Command::Inspect);
                handle.submit(Command::Answer { plan: q.id, approve: false });
                handle.submit(Command::Answer { plan: q.id, approve: true });
                question = Some(q.id);
            }
            Happening::Log(line) => lines.push(line.to_string()),
            Happening::Decided { approved, .. } => decided.push(approved),
            Happening::Ended { outcome, .. } => {
                assert_eq!(outcome, Outcome::Declined);
                break;
            }
            _ => {}
        }
    }
    assert!(question.is_some());
    assert_eq!(decided, [false]);
    assert!(lines.iter().any(|l| l.contains("inspect was refused")), "{lines:?}");
    assert!(sim.ops().is_empty());
}

#[test]
fn a_question_can_be_cancelled() {
    let objects = Arc::new(Memory::new());
    saved(&objects);
    let sim = Sim::new(machine().now.clone());
    let handle = crate::sim::engine(&sim, &objects);
    let canceller = handle.clone();
    let outcome = handle.run(LATEST, &mut |_| {}, &mut |_, _| {
        canceller.submit(Command::Cancel);
        None
    });
    assert!(matches!(outcome, Outcome::Cancelled(_)), "{outcome:?}");
    assert!(sim.ops().is_empty());
}

/// A sleeping system must not wake over another root: its image goes with the rollback, into the undo snapshot first.
#[test]
fn a_hibernation_image_does_not_survive() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let mut bytes = machine().now.clone();
    let header = range(5).start;
    bytes[header + 4086..header + 4096].copy_from_slice(b"S1SUSPEND\0");
    bytes[header + 8192..header + 16384].fill(0xa5);
    let sim = Sim::new(bytes.clone());
    let mut planned = None;
    let handle = crate::sim::engine(&sim, &objects);
    let outcome = handle.run(LATEST, &mut |_| {}, &mut |_, plan| {
        planned = Some(plan.clone());
        Some(true)
    });
    assert!(matches!(outcome, Outcome::WroteBack(_)), "{outcome:?}");
    let plan = planned.unwrap();
    let order: Vec<String> = plan.volumes.iter().map(|v| v.path.to_string()).collect();
    assert_eq!(order, ["d0/p3", "d0/p2", "d0/p5", "d0/p1"]);
    assert!(plan.warnings.iter().any(|w| w.as_str().contains("hibernated")), "{:?}", plan.warnings);
    holds(&store(&objects), then, &[1, 2, 3, 5], &sim.bytes()).unwrap();
    assert_eq!(&sim.bytes()[header + 4086..header + 4096], b"SWAPSPACE2");
    must(&sim, &objects, Command::PlanUndo { full: false });
    assert_eq!(sim.bytes()[range(5)], bytes[range(5)], "the undo brings the sleep back, every byte of it");
}

/// Two disks with one identity cannot be told apart: nothing is planned by their order.
#[test]
fn twins_are_refused() {
    use engine::plan::disks::pair;
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let manifest = store(&objects).manifest(then).unwrap();
    let sim = Sim::new(machine().now.clone());
    let mut inspection = crate::crash::look(&sim);
    assert_eq!(pair(&manifest, &inspection, &[])[0].present, Ok(model::id::DiskNo(0)));
    let mut twin = inspection.disks[0].clone();
    twin.no = model::id::DiskNo(1);
    inspection.disks.push(twin);
    assert!(pair(&manifest, &inspection, &[])[0].present.as_ref().unwrap_err().contains("take all but one out"));
    // A copy on other hardware is not the disk of then where that one is there too.
    inspection.disks[1].hardware.serial = Some("S2".into());
    assert_eq!(pair(&manifest, &inspection, &[])[0].present, Ok(model::id::DiskNo(0)));
    // Alone, it is taken for it, and that is said.
    inspection.disks.remove(0);
    let alone = &pair(&manifest, &inspection, &[])[0];
    assert_eq!(alone.present, Ok(model::id::DiskNo(1)));
    assert!(alone.notes[0].contains("another piece of hardware"), "{:?}", alone.notes);
}

/// A disk that takes no writes can be looked at and saved; what would write to it is refused by its plan, before anything is saved.
#[test]
fn nothing_goes_onto_a_disk_that_is_write_protected() {
    let objects = Arc::new(Memory::new());
    saved(&objects);
    let mut sim = Sim::failing(machine().now.clone(), Fault::Lease);
    Arc::get_mut(&mut sim).unwrap().hardware.write_protected = true;
    must(&sim, &objects, Command::Snapshot { full: false });
    let before = store(&objects).list().unwrap().snapshots.len();
    let to = store(&objects).list().unwrap().snapshots[0].0;
    let command = Command::PlanRollback { to: SnapRef::Prefix(to.to_string()), only: Vec::new(), full: false };
    let (outcome, events) = run(&sim, &objects, command);
    assert!(matches!(&outcome, Outcome::Failed(f) if f.code == ExitCode::Refused), "{outcome:?}");
    let plan = events.iter().find_map(|e| match &e.what {
        Happening::DecisionNeeded(q) => Some(&q.plan),
        _ => None,
    });
    let against: Vec<&str> = plan.unwrap().checks.iter().filter(|c| !c.ok).map(|c| c.what.as_str()).collect();
    assert_eq!(against, ["each disk that will be written accepts writes"]);
    assert_eq!(store(&objects).list().unwrap().snapshots.len(), before, "no undo point was saved for it");
    assert!(sim.ops().is_empty());
}
