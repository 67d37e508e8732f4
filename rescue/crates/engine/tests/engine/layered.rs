//! A machine whose root, /home and swap lie on LVM: saved, taken back, cut off, put onto an empty disk, exported. Where its volumes lie on
//! the disk is what LVM says (`disk/tests/fixtures/lvm.sh`), and written here by hand.

use crate::crash::look;
use crate::image::{MIB, ext, noise, run as host, tool, write};
use crate::mirror::member;
use crate::on_lvm::{HOME, OnLvm, ROOT, SWAP, methods, physical};
use crate::restore::{new_disk, onto_d0};
use crate::sim::{Fault, Loss, Op, Sim, after_cut, engine, must, reset, run, store};
use engine::run::pending;
use model::command::{Command, ImageFormat};
use model::coverage::CaptureMethod;
use model::event::Outcome;
use model::id::{SnapRef, SnapshotId};
use model::inspection::Content;
use model::plan::RollbackPlan;
use model::ports::{Devices, ObjectStore};
use model::snapshot::Manifest;
use model::text::RawName;
use model::units::{ByteLen, Extent};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};
use store::backend::Memory;

const PHYSICAL: usize = 5;
/// An array, and how often it changed.
const ARRAY: &str = "granite:0";
const EVENTS: u64 = 5;
const DISK: OnLvm = OnLvm {
    size: 23,
    partition: PHYSICAL..PHYSICAL + 16,
    kind: "8E00",
    physical: PHYSICAL,
    mark: "dddd-4ddd-8ddd",
    system: "PRETTY_NAME=\"Ubuntu 24.04\"\nID=ubuntu\nVERSION_ID=\"24.04\"\n",
};

fn machine() -> &'static (Vec<u8>, Vec<u8>) {
    static MACHINE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    MACHINE.get_or_init(|| (DISK.made(0), DISK.made(1)))
}

fn saved() -> (Arc<Memory>, SnapshotId, Manifest) {
    let objects = Arc::new(Memory::new());
    let sim = Sim::failing(machine().0.clone(), Fault::Lease);
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    let manifest = store(&objects).manifest(id).unwrap();
    (objects, id, manifest)
}

/// Whether the disk holds every byte that a snapshot has of these volumes of LVM.
fn holds(objects: &Arc<Memory>, id: SnapshotId, names: &[(&str, &[usize])], disk: &[u8]) -> Result<(), String> {
    let store = store(objects);
    let manifest = store.manifest(id).unwrap();
    for (name, extents) in names {
        let path = format!("d0/p3/target/{name}").parse().unwrap();
        let saved = manifest.volumes.iter().find(|v| v.path == path).ok_or(format!("{path} is not saved"))?;
        let bytes = DISK.volume(disk, extents);
        let mut held = 0;
        for slice in store.map(saved.map).slices(Extent::whole(saved.extent.len())) {
            let slice = slice.unwrap();
            let wanted = store.read(&slice).unwrap();
            let at = usize::try_from(slice.extent.start().0).unwrap();
            if bytes[at..at + wanted.len()] != wanted[..] {
                return Err(format!("{name} differs within {} bytes at {at}", wanted.len()));
            }
            held += wanted.len();
        }
        assert!(held > 4000, "{name} has bytes");
    }
    Ok(())
}

const WRITTEN: [(&str, &[usize]); 1] = [("root", &ROOT)];

fn e2fsck(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fs");
    std::fs::write(&file, bytes).unwrap();
    host(tool("e2fsck", "e2fsprogs").arg("-fn").arg(file));
}

fn plan_of(sim: &Arc<Sim>, objects: &Arc<Memory>, command: Command) -> RollbackPlan {
    let mut plan = None;
    engine(sim, objects).run(command, &mut |_| {}, &mut |_, p| {
        plan = Some(p.clone());
        Some(false)
    });
    plan.unwrap()
}

fn back() -> Command {
    Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false }
}

#[test]
fn a_system_on_lvm_is_found_and_saved() {
    let inspection = look(&Sim::new(machine().0.clone()));
    assert_eq!(inspection.findings, []);
    let [system] = inspection.systems.as_slice() else { panic!("{:?}", inspection.systems) };
    assert_eq!(system.root.to_string(), "d0/p3/target/root");
    let named = |list: &[(String, model::id::VolumePath)]| -> Vec<String> {
        list.iter().map(|(at, path)| format!("{at} {path}")).collect()
    };
    assert_eq!(named(&system.boot), ["/boot/efi d0/p1"]);
    assert_eq!(named(&system.other), ["/home d0/p3/target/home", "swap d0/p3/target/swap-1"]);
    let (objects, id, manifest) = saved();
    let told = methods(&manifest);
    let used = CaptureMethod::UsedBlocks;
    let wanted = [
        ("d0/p1", used),
        ("d0/p3", used),
        ("d0/p3/target/home", used),
        ("d0/p3/target/root", used),
        ("d0/p3/target/swap-1", CaptureMethod::HeaderOnly),
    ];
    assert_eq!(told, wanted.map(|(path, method)| (path.to_owned(), method)));
    let physical = &manifest.volumes[1];
    assert!(matches!(physical.content, Content::Lvm(_)));
    // What LVM keeps: before the first extent. No extent, used or not.
    assert_eq!(physical.captured, ByteLen(MIB as u64), "{:?}", physical.captured);
    holds(&objects, id, &[("root", &ROOT), ("home", &HOME), ("swap-1", &SWAP)], &machine().0).unwrap();
    // Nothing was written since: nothing of the file systems is read again.
    let sim = Sim::failing(machine().0.clone(), Fault::Lease);
    let Outcome::Saved { volumes, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else { panic!() };
    let root = volumes.iter().find(|v| v.path.to_string() == "d0/p3/target/root").unwrap();
    assert!(root.read < ByteLen(64 << 10), "{root:?}");
}

#[test]
fn a_rollback_goes_through_the_map_and_back() {
    let (objects, then, _) = saved();
    let before = machine().1.clone();
    let sim = Sim::new(before.clone());
    let plan = plan_of(&sim, &objects, back());
    assert!(plan.is_usable(), "{:?}", plan.checks);
    let paths: Vec<String> = plan.volumes.iter().map(|v| v.path.to_string()).collect();
    assert_eq!(paths, ["d0/p3/target/root", "d0/p1"]);
    must(&sim, &objects, back());
    let after = sim.bytes();
    holds(&objects, then, &WRITTEN, &after).unwrap();
    e2fsck(&DISK.volume(&after, &ROOT));
    // Nothing of LVM, of the other volumes and of what nobody has was touched.
    let same = |from: usize, to: usize| assert_eq!(before[from..to], after[from..to], "{from} to {to}");
    same(3 * MIB, (PHYSICAL + 1) * MIB);
    same(DISK.range(3).start, DISK.range(5).end);
    same(DISK.range(9).start, before.len());
    must(&sim, &objects, Command::PlanUndo { full: false });
    assert_eq!(sim.bytes(), before, "exactly what was before");
}

#[test]
fn cut_off_it_is_finished_or_undone() {
    let (objects, then, _) = saved();
    let before = machine().1.clone();
    let sim = Sim::new(before.clone());
    must(&sim, &objects, back());
    let ops = sim.ops();
    let intents = objects.list("intents").unwrap();
    reset(&objects, &intents);
    let first = |op: &&Op| matches!(op, Op::Write { at, .. } if *at == DISK.range(0).start);
    assert!(ops.iter().filter(first).count() >= 2, "the fence stands where the volume begins");
    let mut fenced = 0;
    for (n, loss) in
        [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2), Loss::Torn(3), Loss::All].into_iter().enumerate()
    {
        let at = 1 + n * (ops.len() - 2) / 5;
        let image = after_cut(&before, &ops, at, loss);
        let inspection = look(&Sim::new(image.clone()));
        if pending::unfinished(&store(&objects), &inspection).unwrap().is_none() {
            let whole = holds(&objects, then, &WRITTEN, &image).is_ok();
            assert!(image == before || whole, "cut {at} of {}, {loss:?}", ops.len());
            continue;
        }
        fenced += 1;
        let forward = Sim::new(image.clone());
        must(&forward, &objects, Command::PlanResume);
        holds(&objects, then, &WRITTEN, &forward.bytes()).unwrap();
        assert_eq!(look(&forward).fences().count(), 0);
        reset(&objects, &intents);
        let undone = Sim::new(image);
        must(&undone, &objects, Command::PlanUndo { full: false });
        assert_eq!(undone.bytes(), before, "cut {at} of {}, {loss:?}", ops.len());
        reset(&objects, &intents);
    }
    assert!(fenced >= 3, "{fenced} cuts left a fence");
}

#[test]
fn volumes_that_lie_elsewhere_by_now_are_refused() {
    let (objects, ..) = saved();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = machine().1.clone();
        change(&mut bytes);
        let sim = Sim::new(bytes.clone());
        let plan = plan_of(&sim, &objects, back());
        assert!(!plan.is_usable());
        let (outcome, _) = run(&sim, &objects, back());
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        assert!(sim.ops().is_empty() && sim.bytes() == bytes);
        let failed = plan.checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.what, c.says));
        failed.collect::<Vec<_>>().join("\n")
    };
    let grown = refused(&|b| b[PHYSICAL * MIB..(PHYSICAL + 1) * MIB].copy_from_slice(&physical("grown")));
    assert!(grown.contains("d0/p3/target/root was moved or resized"), "{grown}");
    let gone = refused(&|b| b[PHYSICAL * MIB..(PHYSICAL + 1) * MIB].fill(0));
    assert!(gone.contains("there is no LVM volume root of target any more"), "{gone}");
    // By itself, what LVM keeps does not go back.
    let sim = Sim::new(machine().1.clone());
    let only = Command::PlanRollback { to: SnapRef::Latest, only: vec!["d0/p3".parse().unwrap()], full: false };
    let plan = plan_of(&sim, &objects, only);
    let says = plan.checks.iter().find(|c| !c.ok).unwrap().says.to_string();
    assert!(says.contains("restore"), "{says}");
}

#[test]
fn an_empty_disk_and_an_image_hold_all_of_it() {
    let (objects, then, _) = saved();
    let sim = new_disk(vec![0; (DISK.size + 3) * MIB]);
    must(&sim, &objects, onto_d0(&[]));
    let bytes = sim.bytes();
    let all: [(&str, &[usize]); 3] = [("root", &ROOT), ("home", &HOME), ("swap-1", &SWAP)];
    holds(&objects, then, &all, &bytes).unwrap();
    let keeps = PHYSICAL * MIB..(PHYSICAL + 1) * MIB;
    assert_eq!(bytes[keeps.clone()], machine().0[keeps.clone()], "labels and metadata as they were");
    assert!(bytes[DISK.range(12)].iter().all(|b| *b == 0), "what nobody has is not brought along");
    e2fsck(&DISK.volume(&bytes, &ROOT));
    e2fsck(&DISK.volume(&bytes, &HOME));
    let inspection = look(&sim);
    assert_eq!(inspection.systems[0].root.to_string(), "d0/p3/target/root");
    assert_eq!(inspection.findings, []);
    let dir = tempfile::tempdir().unwrap();
    let export = |name: &str, only: Option<&str>| {
        let path = dir.path().join(name);
        let to = RawName(path.as_os_str().as_bytes().to_vec());
        let only = only.map(|o| o.parse().unwrap());
        let command = Command::Export { snapshot: SnapRef::Latest, only, to, format: ImageFormat::Raw };
        must(&Sim::failing(vec![0; 1 << 16], Fault::Lease), &objects, command);
        std::fs::read(path).unwrap()
    };
    let whole = export("whole.img", None);
    assert_eq!(whole[MIB..(PHYSICAL + 16) * MIB], bytes[MIB..(PHYSICAL + 16) * MIB], "an export is what a restore is");
    assert_eq!(export("root.img", Some("d0/p3/target/root")), DISK.volume(&bytes, &ROOT));
    assert_eq!(export("pv.img", Some("d0/p3")), bytes[PHYSICAL * MIB..(PHYSICAL + 16) * MIB]);
    assert_eq!(sim.disks().len(), 1);
}

/// A root on a mirror whose two members are partitions of one disk: read once, put back twice.
#[test]
fn a_mirror_is_saved_once_and_put_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    write(&root, "etc/os-release", "PRETTY_NAME=\"Debian\"\nID=debian\n");
    write(&root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    write(&root, "etc/fstab", "/dev/md0 / ext4 defaults 0 1\n");
    write(&root, "usr/sbin/init", noise(7, 3000));
    let content = ext(dir.path(), "r", &root, &DISK.uuid(1, 1), 4 * MIB, true);
    let whole = dir.path().join("disk");
    std::fs::write(&whole, vec![0; 12 * MIB]).unwrap();
    let mut table = tool("sgdisk", "gdisk");
    for (number, from) in [(1, 1), (2, 6)] {
        table.arg("--new").arg(format!("{number}:{}:{}", from * 2048, (from + 5) * 2048 - 1));
    }
    host(table.arg(&whole));
    let mut bytes = std::fs::read(whole).unwrap();
    let at = |role: usize| (1 + 5 * role) * MIB..(6 + 5 * role) * MIB;
    for role in 0..2u16 {
        bytes[at(role.into())].copy_from_slice(&member(ARRAY, &content, role, EVENTS));
    }
    let objects = Arc::new(Memory::new());
    let sim = Sim::failing(bytes.clone(), Fault::Lease);
    let inspection = look(&sim);
    assert_eq!(inspection.findings, []);
    assert_eq!(inspection.systems[0].root.to_string(), "d0/p1/md/0");
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else { panic!() };
    let manifest = store(&objects).manifest(id).unwrap();
    let told = methods(&manifest);
    assert_eq!(told, ["d0/p1", "d0/p2", "d0/p1/md/0"].map(|p| (p.to_owned(), CaptureMethod::UsedBlocks)));
    // What md keeps, and the first 4096 bytes, where a fence would stand.
    assert!(
        manifest.volumes[..2].iter().all(|v| v.captured == ByteLen(MIB as u64 + 4096)),
        "{:?}",
        manifest.volumes[0]
    );
    let new = new_disk(vec![0; 13 * MIB]);
    must(&new, &objects, onto_d0(&[]));
    let restored = new.bytes();
    let (first, second) = (&restored[at(0)], &restored[at(1)]);
    assert!(first[..4 * MIB] == second[..4 * MIB], "both members hold the same");
    assert!(first[4 * MIB..] == bytes[at(0)][4 * MIB..] && second[4 * MIB..] == bytes[at(1)][4 * MIB..]);
    e2fsck(&first[..4 * MIB]);
    assert_eq!(look(&new).findings, []);
    // Something changed: it is taken back on both members, and undone.
    write(&root, "usr/sbin/init", noise(8, 70_000));
    let changed = ext(dir.path(), "r", &root, &DISK.uuid(1, 1), 4 * MIB, true);
    let mut now = bytes.clone();
    for role in 0..2u16 {
        now[at(role.into())].copy_from_slice(&member(ARRAY, &changed, role, EVENTS));
    }
    both_are_written(&objects, &bytes, &now, [at(0), at(1)]);
    // One of them is away.
    let mut alone = now.clone();
    alone[at(1)].fill(0);
    let sim = Sim::new(alone);
    let plan = plan_of(&sim, &objects, back());
    let failed: Vec<String> = plan.checks.iter().filter(|c| !c.ok).map(|c| c.says.to_string()).collect();
    assert!(failed.iter().any(|says| says.contains("its member 1 is not here")), "{failed:?}");
    let (outcome, _) = run(&sim, &objects, back());
    assert!(matches!(outcome, Outcome::Failed(_)) && sim.ops().is_empty(), "{outcome:?}");
}

/// Takes a mirror back, whole and cut off behind every write: whatever was lost, both members hold the same when it is finished or undone.
fn both_are_written(objects: &Arc<Memory>, then: &[u8], now: &[u8], members: [std::ops::Range<usize>; 2]) {
    let content = |disk: &[u8], n: usize| disk[members[n].start..members[n].start + 4 * MIB].to_vec();
    let kept = |disk: &[u8], n: usize| disk[members[n].start + 4 * MIB..members[n].end].to_vec();
    let whole = |disk: &[u8], case: &str| {
        let both = content(disk, 0);
        assert!(both == content(disk, 1), "{case}: the members differ");
        assert!((0..2).all(|n| kept(disk, n) == kept(then, n)), "{case}: what md keeps is as it was");
        e2fsck(&both);
        both
    };
    let sim = Sim::new(now.to_vec());
    must(&sim, objects, back());
    let rolled = whole(&sim.bytes(), "rolled back");
    let init = |content: &[u8]| {
        let fs = disk::fs::ext4::Ext4::load(Arc::new(content.to_vec())).unwrap();
        disk::fs::FileSystem::stat(&fs, b"/usr/sbin/init").unwrap().unwrap().size
    };
    assert_eq!((init(&rolled), init(&content(now, 0))), (ByteLen(3000), ByteLen(70_000)));
    let ops = sim.ops();
    let intents = objects.list("intents").unwrap();
    must(&sim, objects, Command::PlanUndo { full: false });
    assert!(sim.bytes() == now, "exactly what was before");
    reset(objects, &intents);
    let mut fenced = 0;
    for count in 0..=ops.len() {
        let loss = [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2), Loss::Torn(3)][count % 5];
        let case = format!("cut {count} of {}, {loss:?}", ops.len());
        let image = after_cut(now, &ops, count, loss);
        if pending::unfinished(&store(objects), &look(&Sim::new(image.clone()))).unwrap().is_none() {
            assert!(image == now || whole(&image, &case) == rolled, "{case}: no fence stands over a half");
            continue;
        }
        fenced += 1;
        let forward = Sim::new(image.clone());
        must(&forward, objects, Command::PlanResume);
        assert!(whole(&forward.bytes(), &case) == rolled, "{case}, finished");
        reset(objects, &intents);
        if count % 3 == 0 {
            let undone = Sim::new(image);
            must(&undone, objects, Command::PlanUndo { full: false });
            assert!(undone.bytes() == now, "{case}, undone");
            reset(objects, &intents);
        }
    }
    assert!(fenced > ops.len() / 2, "{fenced} of {} cuts left a fence", ops.len());
}
