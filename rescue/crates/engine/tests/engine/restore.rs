//! A snapshot put onto another disk: judged by the tools of the host, compared with the exported image, refused where something
//! would be lost or does not fit.

use crate::crash::look;
use crate::image::{MIB, machine, range, tool};
use crate::sim::{Fault, Sim, engine, holds, must, run, store};
use model::command::{Command, ExitCode, ImageFormat, Onto};
use model::coverage::Comparison;
use model::event::{Exported, Outcome};
use model::id::{DiskNo, SnapRef, SnapshotId};
use model::plan::{Action, RollbackPlan};
use model::text::{DisplayText, RawName};
use model::units::{ByteLen, SectorSize};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use store::backend::Memory;

/// All partitions of the machine.
pub(crate) const ALL: [u32; 5] = [1, 2, 3, 4, 5];
/// The smallest disk that will do: the last partition ends here, then 32 sectors of entries and a header.
const SMALLEST: usize = 16 * MIB + 33 * 512;

pub(crate) fn saved() -> (Arc<Memory>, SnapshotId) {
    let objects = Arc::new(Memory::new());
    let sim = Sim::failing(machine().then.clone(), Fault::Lease);
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    (objects, id)
}

pub(crate) fn onto_d0(overwrite: &[&str]) -> Command {
    let overwrite = overwrite.iter().map(|s| DisplayText::new(s)).collect();
    let onto = vec![Onto { saved: None, disk: DiskNo(0) }];
    Command::PlanRestore { to: SnapRef::Latest, onto, overwrite, new_ids: false, grow: Vec::new() }
}

/// A new disk, with a serial number of its own.
pub(crate) fn new_disk(bytes: Vec<u8>) -> Arc<Sim> {
    Sim::with(bytes, |h| h.serial = Some("NEW".into()))
}

fn plan_of(sim: &Arc<Sim>, objects: &Arc<Memory>, command: Command) -> RollbackPlan {
    let mut plan = None;
    let outcome = engine(sim, objects).run(command, &mut |_| {}, &mut |_, p| {
        plan = Some(p.clone());
        Some(false)
    });
    assert_eq!(outcome, Outcome::Declined, "{plan:?}");
    plan.unwrap()
}

/// The sentence of the check that failed.
fn refused(sim: &Arc<Sim>, objects: &Arc<Memory>, command: Command) -> String {
    let plan = plan_of(sim, objects, command.clone());
    let failed: Vec<String> = plan.checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.what, c.says)).collect();
    assert!(!plan.is_usable(), "{plan:?}");
    // Approved all the same, nothing is written.
    let before = sim.bytes();
    let (outcome, _) = run(sim, objects, command);
    assert!(matches!(&outcome, Outcome::Failed(f) if f.code == ExitCode::Refused), "{outcome:?}");
    assert!(sim.ops().is_empty() && sim.bytes() == before);
    failed.join("\n")
}

fn exported(objects: &Arc<Memory>, dir: &Path) -> Vec<u8> {
    let path = dir.join("exported.img");
    let to = RawName(path.as_os_str().as_bytes().to_vec());
    let command = Command::Export { snapshot: SnapRef::Latest, only: None, to, format: ImageFormat::Raw };
    let no_disks = Sim::failing(vec![0; 1 << 16], Fault::Lease);
    let Outcome::Exported(Exported { .. }) = must(&no_disks, objects, command) else { panic!("not exported") };
    std::fs::read(path).unwrap()
}

fn says(command: &mut std::process::Command) -> String {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{command:?}: {said}");
    said
}

/// The table and the file systems, by the tools of the host.
fn judged(bytes: &[u8], dir: &Path) {
    let disk = dir.join("disk.img");
    std::fs::write(&disk, bytes).unwrap();
    assert!(says(tool("sfdisk", "fdisk").arg("--verify").arg(&disk)).contains("No errors detected"));
    assert!(says(tool("sgdisk", "gdisk").arg("-v").arg(&disk)).contains("No problems found"));
    for number in [2, 3, 4] {
        let part = dir.join("part.img");
        std::fs::write(&part, &bytes[range(number)]).unwrap();
        says(tool("e2fsck", "e2fsprogs").arg("-fn").arg(&part));
    }
    let esp = dir.join("part.img");
    std::fs::write(&esp, &bytes[range(1)]).unwrap();
    says(tool("fsck.vfat", "dosfstools").arg("-n").arg(&esp));
}

#[test]
fn an_empty_disk_of_the_same_size_holds_what_an_export_does() {
    let dir = tempfile::tempdir().unwrap();
    let (objects, then) = saved();
    let sim = new_disk(vec![0; machine().then.len()]);
    let plan = plan_of(&sim, &objects, onto_d0(&[]));
    assert_eq!((plan.action, plan.to, plan.disks.len()), (Action::Restore { over: None }, then, 1));
    assert_eq!(plan_of(&sim, &objects, onto_d0(&[])), plan, "the same disks give the same plan");
    assert!(!plan.disks[0].lost && sim.ops().is_empty());
    let paths: Vec<String> = plan.volumes.iter().map(|v| v.path.to_string()).collect();
    assert_eq!(paths, ["d0/p1", "d0/p2", "d0/p3", "d0/p4", "d0/p5"], "/home and swap too");
    let Outcome::WroteBack(receipt) = must(&sim, &objects, onto_d0(&[])) else { panic!("not written") };
    assert_eq!(receipt.holds, then);
    assert!(receipt.written <= ByteLen(plan.at_most().0 + 4096), "{} of {}", receipt.written, plan.at_most());
    assert!(sim.bytes() == exported(&objects, dir.path()), "byte for byte");
    judged(&sim.bytes(), dir.path());
    let intents = store(&objects).intents().unwrap();
    assert!(matches!(&intents[..], [(_, i, Some(_))] if i.undo.is_none()));

    // It cannot be undone, and says so; and it is a machine like any other.
    let (outcome, _) = run(&sim, &objects, Command::PlanUndo { full: false });
    let Outcome::Failed(f) = outcome else { panic!("{outcome:?}") };
    assert_eq!(f.code, ExitCode::Refused);
    assert!(f.says.as_str().contains("onto this disk"), "{f}");
    must(&sim, &objects, Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false });
    must(&sim, &objects, Command::PlanUndo { full: false });
    holds(&store(&objects), then, &ALL, &sim.bytes()).unwrap();
}

/// What a new disk holds is known: the next snapshot of it reads little.
#[test]
fn the_next_snapshot_builds_upon_it() {
    let (objects, then) = saved();
    // Another state was saved since, of the old disk.
    must(&Sim::new(machine().now.clone()), &objects, Command::Snapshot { full: false });
    let sim = new_disk(vec![0; 24 * MIB]);
    let Command::PlanRestore { onto, overwrite, new_ids, .. } = onto_d0(&[]) else { panic!() };
    let to = SnapRef::Prefix(then.to_string());
    must(&sim, &objects, Command::PlanRestore { to, onto, overwrite, new_ids, grow: Vec::new() });
    let Outcome::Saved { volumes, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else { panic!() };
    let root = volumes.iter().find(|v| v.path.number() == Some(3)).unwrap();
    assert_eq!((root.compared.by, root.compared.with), (Comparison::Untouched, Some(then)), "{}", root.compared.why);
}

#[test]
fn a_larger_disk_full_of_noise_is_written_over_where_its_name_is_typed() {
    let dir = tempfile::tempdir().unwrap();
    let (objects, then) = saved();
    let noise = vec![0xa5; 24 * MIB + 512];
    let sim = new_disk(noise.clone());
    let said = refused(&sim, &objects, onto_d0(&[]));
    assert!(
        said.contains("bytes that are not zero (the first found at 0)") && said.contains("--overwrite NEW"),
        "{said}"
    );
    let said = refused(&sim, &objects, onto_d0(&["OLD"]));
    assert!(said.contains("no disk here is OLD: d0 is NEW"), "{said}");
    let plan = plan_of(&sim, &objects, onto_d0(&["NEW"]));
    assert!(plan.disks[0].lost && plan.warnings.iter().any(|w| w.as_str().contains("lost for good")), "{plan:?}");
    must(&sim, &objects, onto_d0(&["NEW"]));
    let bytes = sim.bytes();
    holds(&store(&objects), then, &ALL, &bytes).unwrap();
    judged(&bytes, dir.path());
    assert_eq!(bytes[40 * 512..41 * 512], machine().then[40 * 512..41 * 512], "the boot code");
    // Between the last partition and the end, where the old backup table was, nothing is left; nor is one written there.
    assert!(bytes[23 * MIB + 512..bytes.len() - 33 * 512].iter().all(|b| *b == 0));
    let touched = bytes[16 * MIB..23 * MIB].iter().filter(|b| **b != 0xa5).count();
    assert_eq!(touched, 0, "what belongs to no partition stays");
    // What the snapshot has nothing of was not written: it is the noise of before.
    let free = bytes[range(3)].iter().zip(&noise).filter(|(a, b)| a == b).count();
    assert!(free > MIB, "{free} bytes of free space");
    let found = look(&sim);
    let then = &store(&objects).manifest(then).unwrap().disks[0];
    let (was, is) = (then.table.as_ref().unwrap(), found.disks[0].table.as_ref().unwrap());
    assert_eq!((&is.id, &is.partitions), (&was.id, &was.partitions));
    assert_eq!(found.findings, look(&Sim::new(machine().then.clone())).findings);
}

#[test]
fn a_disk_with_something_on_it_is_refused_by_name() {
    let (objects, _) = saved();
    let table_only = {
        let mut bytes = machine().then.clone();
        bytes[MIB..16 * MIB].fill(0);
        bytes
    };
    let backup_only = {
        let mut bytes = vec![0; machine().then.len()];
        let end = bytes.len() - 33 * 512;
        bytes[end..].copy_from_slice(&machine().then[end..]);
        bytes
    };
    let file_system = {
        let mut bytes = vec![0; 20 * MIB];
        bytes[..2 * MIB].copy_from_slice(&machine().then[range(4)]);
        bytes
    };
    let lost_partition = {
        let mut bytes = vec![0; 100 * MIB];
        bytes[80 * MIB..80 * MIB + 8 * MIB].copy_from_slice(&machine().then[range(3)]);
        bytes
    };
    let cases = [
        (
            machine().now.clone(),
            "GPT) with d0/p1 (vfat), d0/p2 (ext4), d0/p3 (ext4), d0/p4 (ext4), d0/p5 (swap): Debian",
        ),
        (table_only, "GPT) with d0/p1 (empty)"),
        (backup_only, "GPT) with d0/p1 (empty)"),
        (file_system, "a file system or the like, ext4"),
        (lost_partition, "bytes that are not zero (the first found at 8388"),
    ];
    for (bytes, holds) in cases {
        let said = refused(&new_disk(bytes), &objects, onto_d0(&[]));
        assert!(said.contains(holds) && said.contains("--overwrite NEW"), "{said}");
    }
}

#[test]
fn a_disk_that_does_not_fit_is_refused_with_the_numbers() {
    let (objects, then) = saved();
    let said = refused(&new_disk(vec![0; SMALLEST - 512]), &objects, onto_d0(&[]));
    let wants = [
        format!("it has {} bytes, at least {SMALLEST} are needed", SMALLEST - 512),
        format!("d0/p5 ends at {}", 16 * MIB),
        "only d0/p1, d0/p2, d0/p3, d0/p4 would fit".to_owned(),
    ];
    assert!(wants.iter().all(|w| said.contains(w)), "{said}");
    let sim = new_disk(vec![0; SMALLEST]);
    must(&sim, &objects, onto_d0(&[]));
    holds(&store(&objects), then, &ALL, &sim.bytes()).unwrap();

    let sectors = |transport: &str| {
        Sim::with(vec![0; 24 * MIB], |h| {
            h.sector = SectorSize::B4096;
            h.transport = transport.into();
        })
    };
    let said = refused(&sectors("sata"), &objects, onto_d0(&[]));
    assert!(said.contains("it has sectors of 4096: the saved table counts in 512"), "{said}");
    let plan = plan_of(&sectors("image"), &objects, onto_d0(&[]));
    assert!(plan.is_usable() && plan.warnings.iter().any(|w| w.as_str().contains("does not tell its sectors")));
}

#[test]
fn which_disk_goes_where_is_never_guessed() {
    let (objects, _) = saved();
    let onto = |saved: Option<u16>, disk| Onto { saved: saved.map(DiskNo), disk: DiskNo(disk) };
    let cases = [
        (vec![], "1 disks, and 0 were named: d0 (simulated, 17.8 MB)"),
        (vec![onto(None, 0), onto(None, 0)], "1 disks, and 2 were named"),
        (vec![onto(Some(1), 0)], "the snapshot holds no d1"),
        (vec![onto(Some(0), 1)], "there is no d1 here"),
        (vec![onto(Some(0), 0), onto(Some(0), 0)], "one disk twice"),
        (vec![onto(Some(0), 0), onto(None, 0)], "some disks were named with"),
    ];
    for (onto, why) in cases {
        let sim = new_disk(vec![0; 24 * MIB]);
        let command =
            Command::PlanRestore { to: SnapRef::Latest, onto, overwrite: Vec::new(), new_ids: false, grow: Vec::new() };
        let (outcome, _) = run(&sim, &objects, command);
        let Outcome::Failed(f) = outcome else { panic!("{outcome:?}") };
        assert!(f.code == ExitCode::Refused && f.says.as_str().contains(why), "{f}");
    }
}

#[test]
fn new_identifiers_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (objects, then) = saved();
    let Command::PlanRestore { to, onto, overwrite, .. } = onto_d0(&[]) else { panic!() };
    let command = Command::PlanRestore { to, onto, overwrite, new_ids: true, grow: Vec::new() };
    let sim = new_disk(vec![0; 24 * MIB]);
    let other = Sim::with(vec![0; 24 * MIB], |h| h.serial = Some("OTHER".into()));
    let table = |p: &RollbackPlan| p.disks[0].table.to_string();
    let plan = plan_of(&sim, &objects, command.clone());
    assert_eq!(plan_of(&sim, &objects, command.clone()), plan);
    assert_ne!(table(&plan_of(&other, &objects, command.clone())), table(&plan), "others on another disk");
    assert!(plan.warnings.iter().any(|w| w.as_str().contains("PARTUUID")));
    must(&sim, &objects, command);
    judged(&sim.bytes(), dir.path());
    holds(&store(&objects), then, &ALL, &sim.bytes()).unwrap();
    let found = look(&sim);
    let table = found.disks[0].table.as_ref().unwrap();
    assert!(plan.disks[0].table.as_str().contains(&table.id));
    let was = store(&objects).manifest(then).unwrap().disks[0].table.clone().unwrap();
    assert_ne!(table.id, was.id);
    for (a, b) in table.partitions.iter().zip(&was.partitions) {
        assert_eq!((a.number, a.extent, &a.type_id), (b.number, b.extent, &b.type_id));
        assert_ne!(a.guid, b.guid);
    }
}

/// A store with damage is found out while the disk is as it was.
#[test]
fn what_is_lost_is_lost_only_for_a_snapshot_that_can_be_read() {
    use model::ports::ObjectStore;
    let (objects, _) = saved();
    let pack = objects.list("packs").unwrap().remove(0);
    let mut bytes = vec![0; objects.len(&pack).unwrap().to_usize().unwrap()];
    objects.get(&pack, model::units::ByteOffset(0), &mut bytes).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    objects.delete(&pack).unwrap();
    objects.put(&pack, &bytes).unwrap();
    let sim = new_disk(vec![0xa5; 24 * MIB]);
    let (outcome, _) = run(&sim, &objects, onto_d0(&["NEW"]));
    assert!(matches!(&outcome, Outcome::Failed(f) if f.code != ExitCode::Interrupted), "{outcome:?}");
    assert!(sim.ops().is_empty(), "nothing was written");
}

/// A disk with sectors of 4096 bytes, as the kernel would tell it.
#[test]
fn sectors_of_4096_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("4k.img");
    std::fs::write(&image, vec![0; 24 * MIB]).unwrap();
    let mut fdisk = tool("fdisk", "fdisk");
    fdisk.args(["-b", "4096"]).arg(&image).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut fdisk = fdisk.spawn().unwrap();
    std::io::Write::write_all(&mut fdisk.stdin.take().unwrap(), b"g\nn\n1\n256\n+8M\nw\n").unwrap();
    assert!(fdisk.wait().unwrap().success());
    let mut bytes = std::fs::read(&image).unwrap();
    // A file system of 4096-byte blocks where the partition lies.
    let part = dir.path().join("part.img");
    std::fs::write(&part, vec![0; 8 * MIB]).unwrap();
    says(tool("mke2fs", "e2fsprogs").args(["-q", "-F", "-t", "ext4", "-b", "4096"]).arg(&part));
    bytes[MIB..9 * MIB].copy_from_slice(&std::fs::read(&part).unwrap());
    let sectors = |h: &mut model::inspection::Hardware| h.sector = SectorSize::B4096;
    let objects = Arc::new(Memory::new());
    let Outcome::Saved { id, .. } =
        must(&Sim::with(bytes.clone(), sectors), &objects, Command::Snapshot { full: false })
    else {
        panic!("not saved")
    };
    // Another size, with the same sectors; and a disk of 512, which is refused.
    let sim = Sim::with(vec![0; 40 * MIB], sectors);
    must(&sim, &objects, onto_d0(&[]));
    holds(&store(&objects), id, &[1], &sim.bytes()).unwrap();
    let (was, is) = (look(&Sim::with(bytes, sectors)), look(&sim));
    let (was, is) = (was.disks[0].table.as_ref().unwrap(), is.disks[0].table.as_ref().unwrap());
    assert_eq!((&is.id, &is.partitions), (&was.id, &was.partitions));
    std::fs::write(&image, sim.bytes()).unwrap();
    let listed = says(tool("fdisk", "fdisk").args(["-b", "4096", "-l"]).arg(&image));
    assert!(
        listed.contains("10240 sectors") && !listed.contains("corrupt") && !listed.contains("not on the end"),
        "{listed}"
    );
    let said = refused(&new_disk(vec![0; 40 * MIB]), &objects, onto_d0(&[]));
    assert!(said.contains("it has sectors of 512: the saved table counts in 4096"), "{said}");
}

/// A restore of two disks that was cut off: which is whole, which is fenced, which was not begun. Disks have other numbers by now.
#[test]
fn what_is_left_of_two_disks_is_told_by_what_stands_there() {
    use engine::plan::restore::{Standing, again};
    use model::id::{Digest, IntentId};
    use model::inspection::{Content, FenceInfo, Inspection};
    let (objects, _) = saved();
    let begun = {
        let mut plan = plan_of(&new_disk(vec![0; 24 * MIB]), &objects, onto_d0(&[]));
        let mut second = plan.disks[0].clone();
        (second.disk, second.saved_as) = (DiskNo(1), DiskNo(1));
        second.hardware.serial = Some("SECOND".into());
        plan.disks.push(second);
        plan
    };
    let of = IntentId(Digest::of(b"begun"));
    let disk = |no: u16, serial: &str, fenced: bool| {
        let mut disk = look(&new_disk(vec![0; 24 * MIB])).disks.remove(0);
        (disk.no, disk.hardware.serial) = (DiskNo(no), Some(serial.into()));
        if fenced {
            let fence = FenceInfo { intent: of, store: "it".into(), was: "an empty disk".into() };
            disk.volumes[0].content = Content::Fenced(fence);
        }
        disk
    };
    let planned = |disks: Vec<_>, standing: Standing| {
        let inspection = Inspection { disks, ..Inspection::default() };
        let plan = again((of, &begun), &inspection, &[of], &|_, _| standing, &std::collections::BTreeSet::new());
        assert_eq!(plan.action, Action::Resume { of });
        let disks: Vec<(u16, u16)> = plan.disks.iter().map(|d| (d.disk.0, d.saved_as.0)).collect();
        let volumes: Vec<u16> = plan.volumes.iter().map(|v| v.path.disk().0).collect();
        (plan.is_usable(), disks, volumes, plan.kept.len())
    };
    let here = |first, second| vec![disk(0, "SECOND", second), disk(1, "NEW", first), disk(2, "THIRD", false)];
    assert_eq!(planned(here(true, true), Standing::Other), (true, vec![(1, 0), (0, 1)], vec![1; 5], 0));
    assert_eq!(planned(here(true, false), Standing::Whole), (true, vec![(1, 0)], vec![1; 5], 1));
    assert_eq!(planned(here(true, false), Standing::Empty), (true, vec![(1, 0), (0, 1)], vec![1; 5], 0));
    let (usable, disks, ..) = planned(here(true, false), Standing::Other);
    assert_eq!((usable, disks), (false, vec![(1, 0)]), "what holds something is not written");
    assert!(!planned(vec![disk(0, "SECOND", true)], Standing::Whole).0, "the other one is missing");
    // Two that nothing tells apart: the one with the fence it is.
    let twins = vec![disk(0, "NEW", false), disk(1, "NEW", true), disk(2, "SECOND", true)];
    assert_eq!(planned(twins, Standing::Other).1, [(1, 0), (2, 1)]);
    assert!(!planned(vec![disk(0, "NEW", false), disk(1, "NEW", false), disk(2, "SECOND", true)], Standing::Whole).0);
}
