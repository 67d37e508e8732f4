//! What must be refused: a store that lies, disks that are not what they seem, records that are lost.

use crate::crash::look;
use crate::image::{machine, range};
use crate::sim::{Sim, must, run, store};
use engine::plan::disks::pair;
use engine::plan::rollback::{Facts, Question, Set, plan};
use model::command::{Command, ExitCode};
use model::event::Outcome;
use model::firmware::BootSettings;
use model::id::{Digest, DiskNo, IntentId, SnapRef, SnapshotId, VolumePath};
use model::inspection::{Content, FenceInfo, Inspection};
use model::plan::{Action, RollbackPlan, TableRollback};
use model::ports::ObjectStore;
use model::snapshot::Manifest;
use model::units::Extent;
use std::sync::Arc;
use store::backend::Memory;

fn saved(objects: &Arc<Memory>) -> SnapshotId {
    let Outcome::Saved { id, .. } = must(&Sim::new(machine().then.clone()), objects, Command::Snapshot { full: false })
    else {
        panic!("not saved")
    };
    id
}

fn to(id: SnapshotId) -> Command {
    Command::PlanRollback { to: SnapRef::Prefix(id.to_string()), only: Vec::new(), full: false }
}

/// A snapshot in the store that says something else than the one of that id.
fn forged(objects: &Arc<Memory>, id: SnapshotId, change: impl FnOnce(&mut Manifest)) -> SnapshotId {
    let store = store(objects);
    let mut manifest = store.manifest(id).unwrap();
    change(&mut manifest);
    store.writer().unwrap().finish(manifest).unwrap().0
}

/// Nothing is written, and the exit code is that of damage.
fn refused_as_damage(objects: &Arc<Memory>, id: SnapshotId, now: Vec<u8>) {
    let sim = Sim::new(now);
    let (outcome, _) = run(&sim, objects, to(id));
    assert!(matches!(&outcome, Outcome::Failed(f) if f.code == ExitCode::Damage), "{outcome:?}");
    assert!(sim.ops().is_empty());
}

#[test]
fn a_table_that_is_no_table_is_not_written() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    // The map of /boot as that of the table: it reaches over the ESP.
    let forged = forged(&objects, then, |m| m.disks[0].table_map = Some(m.volumes[2].map));
    let mut now = machine().now.clone();
    now[512..1024].fill(0);
    refused_as_damage(&objects, forged, now);
}

#[test]
fn a_map_ends_where_its_volume_does() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let forged = forged(&objects, then, |m| {
        let at = |n| m.volumes.iter().position(|v| v.path == VolumePath::partition(DiskNo(0), n)).unwrap();
        let (boot, root) = (at(2), at(3));
        m.volumes[boot].map = m.volumes[root].map;
    });
    refused_as_damage(&objects, forged, machine().now.clone());
}

#[test]
fn a_lost_record_does_not_lead_to_an_older_one() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let sim = Sim::new(machine().now.clone());
    must(&sim, &objects, to(then));
    must(&sim, &objects, Command::PlanUndo { full: false });
    let last = store(&objects).intents().unwrap().pop().unwrap();
    let name = objects
        .list("snapshots")
        .unwrap()
        .into_iter()
        .find(|n| n.as_str().ends_with(&last.1.undo.unwrap().to_string()));
    objects.delete(&name.unwrap()).unwrap();
    let written = sim.ops().len();
    let (outcome, _) = run(&sim, &objects, Command::PlanUndo { full: false });
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    assert_eq!(sim.ops().len(), written);
}

/// A rollback to before the machine id was made anew can be undone like any other.
#[test]
fn another_machine_id_is_undone_too() {
    let objects = Arc::new(Memory::new());
    let then = saved(&objects);
    let mut now = machine().now.clone();
    let id = store(&objects).manifest(then).unwrap().machine.machine_id.unwrap();
    let at: Vec<usize> = (range(3).start..range(3).end - 32).filter(|at| &now[*at..at + 32] == id.as_bytes()).collect();
    assert!(!at.is_empty());
    at.iter().for_each(|at| now[*at..at + 4].copy_from_slice(b"dead"));
    let sim = Sim::new(now.clone());
    must(&sim, &objects, to(then));
    must(&sim, &objects, Command::PlanUndo { full: false });
    assert_eq!(sim.bytes()[at[0]..at[0] + 32], now[at[0]..at[0] + 32]);
}

#[test]
fn what_is_in_use_is_not_written() {
    let desk = Desk::new(machine().now.clone());
    let held = |path: &str| {
        let holders = [(path.parse().unwrap(), vec!["sda3 is mounted on /srv".into()])].into_iter().collect();
        desk.plan_with(Facts { holders, ..Facts::default() })
    };
    assert!(held("d0/p4").is_usable(), "another volume of the disk");
    let plan = held("d0/p3");
    let failed: Vec<&str> = plan.checks.iter().filter(|c| !c.ok).map(|c| c.says.as_str()).collect();
    assert_eq!(failed, ["sda3 is mounted on /srv; unmount or stop that first"]);
}

struct Desk {
    manifest: Manifest,
    inspection: Inspection,
    action: Action,
    pending: Vec<IntentId>,
    of: Option<RollbackPlan>,
}

impl Desk {
    fn new(now: Vec<u8>) -> Self {
        let objects = Arc::new(Memory::new());
        let then = saved(&objects);
        let manifest = store(&objects).manifest(then).unwrap();
        let inspection = look(&Sim::new(now));
        Self { manifest, inspection, action: Action::Rollback, pending: Vec::new(), of: None }
    }

    fn plan(&self) -> RollbackPlan {
        self.plan_with(Facts { tables: [(DiskNo(0), true)].into_iter().collect(), ..Facts::default() })
    }

    fn plan_with(&self, facts: Facts) -> RollbackPlan {
        let pairs = pair(&self.manifest, &self.inspection, &self.pending);
        plan(&Question {
            action: self.action,
            to: SnapshotId(Digest::of(b"it")),
            manifest: &self.manifest,
            inspection: &self.inspection,
            machine: &engine::gather::machine(&self.inspection),
            pairs: &pairs,
            facts: &facts,
            set: Set::Boot,
            of: self.of.as_ref(),
            pending: &self.pending,
        })
    }

    fn says_no(&self, part: &str) {
        let checks = self.plan().checks;
        assert!(checks.iter().any(|c| !c.ok && c.says.as_str().contains(part)), "{checks:?}");
    }
}

/// The ESP where there is UEFI firmware, else the core of GRUB: nothing starts while anything is still fenced.
#[test]
fn what_starts_the_machine_becomes_valid_last() {
    let mut desk = Desk::new(machine().now.clone());
    let core = VolumePath::partition(DiskNo(0), 4);
    let saved = desk.manifest.volumes.iter_mut().filter(|v| v.path == core).map(|v| &mut v.content);
    let present = desk.inspection.disks[0].volumes.iter_mut().filter(|v| v.path == core).map(|v| &mut v.content);
    saved.chain(present).for_each(|content| *content = Content::BiosBoot);
    let order = |desk: &Desk| desk.plan().volumes.iter().filter_map(|v| v.path.number()).collect::<Vec<_>>();
    assert_eq!(order(&desk), [3, 2, 1, 4]);
    desk.inspection.firmware = Some(BootSettings::default());
    assert_eq!(order(&desk), [3, 2, 4, 1]);
}

#[test]
fn what_lies_on_something_else_is_not_written() {
    let mut desk = Desk::new(machine().now.clone());
    assert!(desk.plan().is_usable(), "{:?}", desk.plan().checks);
    let home = desk.inspection.disks[0].volumes.iter_mut().find(|v| v.path.number() == Some(4)).unwrap();
    home.extent = Extent::between(home.extent.start().0 - 4096, home.extent.end().0).unwrap();
    desk.says_no("d0/p3 and d0/p4 lie on the same bytes");
    let mut desk = Desk::new(machine().now.clone());
    let esp = Extent::between(range(1).start as u64, range(1).start as u64 + 512).unwrap();
    desk.inspection.disks[0].table.as_mut().unwrap().raw.push(esp);
    desk.says_no("d0/p1 lies on the partition table");
}

/// A sleeping system may have its image on another disk than its root.
#[test]
fn a_sleeping_system_on_another_disk_is_told() {
    let mut desk = Desk::new(machine().now.clone());
    let mut other = desk.inspection.disks[0].clone();
    other.no = DiskNo(1);
    other.table = None;
    other.volumes.retain(|v| matches!(v.content, Content::Swap(_)));
    let swap = &mut other.volumes[0];
    swap.path = VolumePath::whole(DiskNo(1));
    let Content::Swap(info) = &mut swap.content else { panic!() };
    info.hibernated = true;
    desk.inspection.disks.push(other);
    desk.says_no("d1 holds a hibernation image");
    // One of a system that is left alone may sleep on.
    let mut stranger = desk.inspection.systems[0].clone();
    stranger.root = VolumePath::partition(DiskNo(2), 1);
    stranger.boot.clear();
    stranger.other = vec![("none".into(), VolumePath::whole(DiskNo(1)))];
    desk.inspection.systems.push(stranger);
    assert!(desk.plan().is_usable(), "{:?}", desk.plan().checks);
}

/// The number of a disk is not that of the plan that is finished: the table it began to write is the one that is finished.
#[test]
fn the_table_of_a_renumbered_disk_is_finished() {
    let mut now = machine().now.clone();
    now[512..1024].fill(0);
    let mut desk = Desk::new(now);
    let begun = desk.plan();
    let repaired = |p: &RollbackPlan, no| {
        p.tables.iter().any(|t| matches!(t, TableRollback::Repair { disk, .. } if *disk == DiskNo(no)))
    };
    assert!(repaired(&begun, 0));
    let disk = &mut desk.inspection.disks[0];
    disk.no = DiskNo(1);
    disk.volumes.iter_mut().for_each(|v| v.path = VolumePath::partition(DiskNo(1), v.path.number().unwrap()));
    desk.inspection.systems.clear();
    desk.action = Action::Resume { of: IntentId(Digest::of(b"begun")) };
    desk.of = Some(begun);
    assert!(repaired(&desk.plan(), 1), "{:?}", desk.plan().tables);
}

/// A table without a signature is no identity: any disk made the same way has it.
#[test]
fn a_nameless_table_is_no_identity() {
    let mut desk = Desk::new(machine().now.clone());
    desk.manifest.disks[0].table.as_mut().unwrap().id = "00000000".into();
    desk.inspection.disks[0].table.as_mut().unwrap().id = "00000000".into();
    let present = |desk: &Desk| pair(&desk.manifest, &desk.inspection, &desk.pending)[0].present.clone();
    assert_eq!(present(&desk), Ok(DiskNo(0)), "its serial number is known");
    desk.inspection.disks[0].hardware.serial = Some("S9".into());
    assert_eq!(present(&desk), Ok(DiskNo(0)), "so are its file systems");
    for volume in &mut desk.inspection.disks[0].volumes {
        volume.content = Content::Unknown;
    }
    assert!(present(&desk).is_err());
    assert!(engine::gather::machine(&desk.inspection).disks.is_empty());
    let intent = IntentId(Digest::of(b"begun"));
    desk.inspection.disks[0].volumes[0].content =
        Content::Fenced(FenceInfo { intent, store: "s".into(), was: "".into() });
    desk.pending = vec![intent];
    assert_eq!(present(&desk), Ok(DiskNo(0)), "a fence of the write-back in hand stands on it");
}

/// Two systems on one disk: where the first is fenced the machine is known by the other's id, and is the same all the same.
#[test]
fn a_fenced_system_beside_another_is_the_same_machine() {
    let mut desk = Desk::new(machine().now.clone());
    let ok = |desk: &Desk| {
        let plan = desk.plan();
        let found = plan.checks.iter().any(|c| c.ok && c.what.as_str().contains("of this machine"));
        assert_ne!(found, plan.foreign.is_some(), "its own, or one that must be named");
        found
    };
    let mut second = desk.manifest.systems[0].clone();
    second.system.machine_id = Some("f".repeat(32));
    desk.inspection.systems[0].machine_id = second.system.machine_id.clone();
    desk.inspection.disks[0].volumes.iter_mut().for_each(|v| v.content = Content::Unknown);
    assert!(!ok(&desk), "another machine with a copy of its table");
    let intent = IntentId(Digest::of(b"begun"));
    desk.inspection.disks[0].volumes[0].content =
        Content::Fenced(FenceInfo { intent, store: "s".into(), was: "".into() });
    desk.pending = vec![intent];
    assert!(ok(&desk), "cut between two fences");
    desk.pending.clear();
    desk.inspection.disks[0].volumes[0].content = Content::Unknown;
    desk.manifest.systems.push(second);
    assert!(ok(&desk), "the second system of then is the only one that is left");
}
