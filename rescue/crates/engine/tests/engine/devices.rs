//! A btrfs on two devices, as a kernel wrote it: saved as one volume, taken back on both, cut off while that is done, put onto an empty disk.
//! Every device has a superblock by which Linux finds it: of a file system that is half written, none is found. Some cuts are finished and undone
//! by default, all where HOLDFAST_FULL is set.

use crate::crash::look;
use crate::image::{MIB, run as host, tool};
use crate::restore::{new_disk, onto_d0};
use crate::sim::{Fault, Loss, Sim, after_cut, must, reset, run, store};
use disk::fs::btrfs::is_superblock;
use engine::run::pending;
use model::command::Command;
use model::coverage::{CaptureMethod, Comparison};
use model::event::Outcome;
use model::id::{SnapRef, SnapshotId};
use model::inspection::Content;
use model::ports::ObjectStore;
use model::units::{ByteLen, Extent};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use store::backend::Memory;

/// MiB: the partition of each device, where it begins and how long it is. Behind the second device is room that is not its.
const DEVICES: [(usize, usize); 2] = [(1, 20), (22, 26)];
const OWN: [usize; 2] = [20, 24];

/// The devices, one behind the other, in one of two states.
fn fixture(state: usize) -> Vec<u8> {
    let name = format!("../disk/tests/fixtures/btrfs/small-{state}.img.zst");
    let file = std::fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let mut decoder = zstd::stream::read::Decoder::new(file).unwrap();
    decoder.window_log_max(27).unwrap();
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), (OWN[0] + OWN[1]) * MIB);
    bytes
}

/// A disk with both devices on it, in both states.
fn disks() -> &'static [Vec<u8>; 2] {
    static DISKS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    DISKS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("disk");
        std::fs::write(&file, vec![0; 50 * MIB]).unwrap();
        let mut table = tool("sgdisk", "gdisk");
        for (n, (start, len)) in (1..).zip(DEVICES) {
            table.arg("--new").arg(format!("{n}:{}:{}", start * 2048, (start + len) * 2048 - 1));
        }
        host(table.arg(&file));
        let empty = std::fs::read(file).unwrap();
        [0, 1].map(|state| {
            let (mut disk, bytes) = (empty.clone(), fixture(state));
            let (first, second) = bytes.split_at(OWN[0] * MIB);
            for ((start, _), bytes) in DEVICES.into_iter().zip([first, second]) {
                disk[start * MIB..start * MIB + bytes.len()].copy_from_slice(bytes);
            }
            // Behind the second device.
            disk[(22 + 24) * MIB..(22 + 24) * MIB + 5].copy_from_slice(b"other");
            disk
        })
    })
}

/// The devices on a disk, one behind the other.
fn devices(disk: &[u8]) -> Vec<u8> {
    let of = |n: usize| &disk[DEVICES[n].0 * MIB..(DEVICES[n].0 + OWN[n]) * MIB];
    [of(0), of(1)].concat()
}

fn back() -> Command {
    Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false }
}

fn saved(disk: &[u8]) -> (Arc<Memory>, SnapshotId) {
    let objects = Arc::new(Memory::new());
    let sim = Sim::failing(disk.to_vec(), Fault::Lease);
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    (objects, id)
}

/// True where both devices hold all that a snapshot has of them.
fn holds(objects: &Arc<Memory>, id: SnapshotId, disk: &[u8]) -> bool {
    let (store, now) = (store(objects), devices(disk));
    let manifest = store.manifest(id).unwrap();
    let saved = manifest.volumes.iter().find(|v| v.mapping.is_some()).unwrap();
    let mut held = 0;
    let same = store.map(saved.map).slices(Extent::whole(saved.extent.len())).all(|slice| {
        let slice = slice.unwrap();
        let at = usize::try_from(slice.extent.start().0).unwrap();
        let wanted = store.read(&slice).unwrap();
        held += wanted.len();
        now[at..at + wanted.len()] == wanted[..]
    });
    same && held > MIB
}

/// How many of the devices Linux would find.
fn found(disk: &[u8]) -> usize {
    DEVICES.iter().filter(|(start, _)| is_superblock(&disk[start * MIB + (64 << 10)..start * MIB + (68 << 10)])).count()
}

#[test]
fn it_is_one_volume_of_both() {
    let (objects, id) = saved(&disks()[0]);
    let manifest = store(&objects).manifest(id).unwrap();
    let told: Vec<String> = manifest.volumes.iter().map(|v| v.path.to_string()).collect();
    assert_eq!(told[..2], ["d0/p1", "d0/p2"]);
    assert!(told.len() == 3 && told[2].starts_with("d0/p1/btrfs/"), "{told:?}");
    assert!(manifest.volumes.iter().all(|v| v.method == CaptureMethod::UsedBlocks));
    let Content::BtrfsDevice(second) = &manifest.volumes[1].content else { panic!("{:?}", manifest.volumes[1]) };
    assert_eq!((second.device, second.apart.total()), (2, ByteLen(24 * MIB as u64)));
    assert!(holds(&objects, id, &disks()[0]) && !holds(&objects, id, &disks()[1]));
    // A session later only what it wrote is read.
    let sim = Sim::failing(disks()[1].clone(), Fault::Lease);
    let Outcome::Saved { id, volumes, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else { panic!() };
    let manifest = store(&objects).manifest(id).unwrap();
    let compared = manifest.volumes[2].compared.as_ref().unwrap();
    assert_eq!(compared.by, Comparison::Metadata, "{}", compared.why);
    assert!(compared.taken_over.0 > 0 && holds(&objects, id, &disks()[1]), "{volumes:?}");
}

#[test]
fn both_devices_go_back_or_none_is_found() {
    let [then, now] = disks();
    let (objects, id) = saved(then);
    let sim = Sim::new(now.clone());
    must(&sim, &objects, back());
    let end = sim.bytes();
    assert!(holds(&objects, id, &end) && found(&end) == 2);
    let own = |disk: &[u8]| disk[(22 + 24) * MIB..].to_vec();
    assert!(own(&end) == own(now) && end[..MIB] == now[..MIB], "nothing else was touched");
    let ops = sim.ops();
    let intents = objects.list("intents").unwrap();
    must(&sim, &objects, Command::PlanUndo { full: false });
    assert!(sim.bytes() == *now, "exactly what was before");
    reset(&objects, &intents);
    let (mut hidden, mut fenced) = (0, 0);
    let full = std::env::var_os("HOLDFAST_FULL").is_some();
    for count in 0..=ops.len() {
        let loss = [Loss::All, Loss::Torn(count as u64), Loss::Nothing][count % 3];
        let case = format!("cut {count} of {}, {loss:?}", ops.len());
        let image = after_cut(now, &ops, count, loss);
        // Where Linux would find both, they are one of the two states, whole.
        let whole = || image[MIB + 4096..] == now[MIB + 4096..] || holds_behind(&objects, id, &image);
        assert!(found(&image) < 2 || whole(), "{case}: half of it would be mounted");
        hidden += usize::from(found(&image) == 0);
        // All ways on take long: after the first cuts, the last, and some between.
        if !full && count.min(ops.len() - count) > 4 && count % 8 != 0 {
            continue;
        }
        if pending::unfinished(&store(&objects), &look(&Sim::new(image.clone()))).unwrap().is_none() {
            assert!(image == *now || holds(&objects, id, &image), "{case}: no fence stands over a half");
            continue;
        }
        fenced += 1;
        let forward = Sim::new(image.clone());
        must(&forward, &objects, Command::PlanResume);
        assert!(holds(&objects, id, &forward.bytes()) && found(&forward.bytes()) == 2, "{case}, finished");
        reset(&objects, &intents);
        if count % 2 == 0 {
            let undone = Sim::new(image);
            must(&undone, &objects, Command::PlanUndo { full: false });
            assert!(undone.bytes() == *now, "{case}, undone");
            reset(&objects, &intents);
        }
    }
    assert!(hidden > 4 && fenced > 4, "{hidden} hidden, {fenced} fenced, of {} operations", ops.len());
}

/// As [`holds`], whatever the first 4096 bytes are.
fn holds_behind(objects: &Arc<Memory>, id: SnapshotId, disk: &[u8]) -> bool {
    let mut disk = disk.to_vec();
    disk[MIB..MIB + 4096].copy_from_slice(&disks()[0][MIB..MIB + 4096]);
    holds(objects, id, &disk)
}

#[test]
fn one_device_does_not_go_back_by_itself() {
    let (objects, _) = saved(&disks()[0]);
    let refused = |disk: Vec<u8>, only: Vec<model::id::VolumePath>| {
        let sim = Sim::new(disk);
        let (outcome, _) = run(&sim, &objects, Command::PlanRollback { to: SnapRef::Latest, only, full: false });
        assert!(sim.ops().is_empty());
        let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
        failure.says.to_string()
    };
    let alone = refused(disks()[1].clone(), vec!["d0/p2".parse().unwrap()]);
    assert!(alone.contains("they go back together"), "{alone}");
    // The other is gone.
    let mut gone = disks()[1].clone();
    gone[22 * MIB..48 * MIB].fill(0);
    let gone = refused(gone, Vec::new());
    assert!(gone.contains("there is no btrfs \"fixture small\" on 2 devices any more"), "{gone}");
}

/// What was saved byte for byte of one device, because another was away, does not go back without that.
#[test]
fn a_device_that_was_saved_alone_stays_alone() {
    let mut alone = disks()[0].clone();
    alone[22 * MIB..48 * MIB].fill(0);
    let (objects, id) = saved(&alone);
    let manifest = store(&objects).manifest(id).unwrap();
    let device = manifest.volumes.iter().find(|v| v.path.to_string() == "d0/p1").unwrap();
    assert_eq!((device.method, device.captured), (CaptureMethod::Raw, device.extent.len()));
    alone[10 * MIB] ^= 1;
    let sim = Sim::new(alone);
    let only = vec!["d0/p1".parse().unwrap()];
    let (outcome, _) = run(&sim, &objects, Command::PlanRollback { to: SnapRef::Latest, only, full: false });
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert!(failure.says.as_str().contains("the others would hold another time"), "{}", failure.says);
    assert!(sim.ops().is_empty());
}

#[test]
fn an_empty_disk_holds_both() {
    let (objects, id) = saved(&disks()[0]);
    let sim = new_disk(vec![0; 52 * MIB]);
    must(&sim, &objects, onto_d0(&[]));
    let restored = sim.bytes();
    assert!(holds(&objects, id, &restored) && found(&restored) == 2);
    assert_eq!(restored[(22 + 24) * MIB..(22 + 24) * MIB + 5], *b"other", "what lies behind a device is there too");
    let inspection = look(&sim);
    assert!(inspection.findings.is_empty() && inspection.layered.len() == 1, "{:?}", inspection.findings);
}
