//! A btrfs straight on a disk: saved by used blocks, taken back, and cut off while that is done. Its superblock lies behind the fence: a
//! file system that is half written is none.

use crate::image::{MIB, noise, tool};
use crate::sim::{Loss, Op, Sim, after_cut, must, reset, run, store};
use disk::fs::FileSystem;
use disk::fs::btrfs::{Btrfs, identify};
use model::command::Command;
use model::coverage::{CaptureMethod, Comparison};
use model::event::Outcome;
use model::id::SnapRef;
use model::ports::{ObjectStore, ReadAt};
use model::units::{ByteOffset, Extent, ExtentSet};
use std::sync::Arc;
use store::backend::Memory;

const SIZE: usize = 24 * MIB;

/// The disk in one of its states.
fn disk(state: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (tree, file) = (dir.path().join("tree"), dir.path().join("disk"));
    let write = |name: &str, bytes: Vec<u8>| {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("etc/os-release", b"PRETTY_NAME=\"Debian\"\nID=debian\n".to_vec());
    write("etc/machine-id", b"0123456789abcdef0123456789abcdef\n".to_vec());
    write("usr/same", noise(1, 300_000));
    write("usr/data", noise(10 + state, 200_000));
    for n in 0..state * 30 {
        write(&format!("etc/new/{n}"), format!("{n}\n").into_bytes());
    }
    std::fs::write(&file, vec![0; SIZE]).unwrap();
    let mut make = tool("mkfs.btrfs", "btrfs-progs");
    make.args(["-q", "-M", "-U", "44444444-dddd-4ddd-8ddd-000000000001", "--rootdir"]).arg(&tree).arg(&file);
    let out = make.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(file).unwrap()
}

fn bytes(image: &[u8]) -> Arc<dyn ReadAt> {
    Arc::new(image.to_vec())
}

fn used(image: &[u8]) -> ExtentSet {
    let coverage = Btrfs::load(bytes(image)).unwrap().coverage();
    assert_eq!(coverage.method, CaptureMethod::UsedBlocks, "{}", coverage.why);
    coverage.used
}

/// True where an image has, behind the fence, all that is in use of another.
fn has(image: &[u8], of: &[u8], used: &ExtentSet) -> bool {
    let behind = used.clip(Extent::between(4096, SIZE as u64).unwrap());
    behind.iter().all(|e| {
        let range = usize::try_from(e.start().0).unwrap()..usize::try_from(e.end().0).unwrap();
        image[range.clone()] == of[range]
    })
}

fn check(image: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), image).unwrap();
    let out = tool("btrfs", "btrfs-progs").args(["check", "--check-data-csum"]).arg(file.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn no_half_of_it_is_ever_a_file_system() {
    let (then, now) = (disk(0), disk(1));
    let (then_used, now_used) = (used(&then), used(&now));
    let objects = Arc::new(Memory::new());
    must(&Sim::new(then.clone()), &objects, Command::Snapshot { full: false });
    let sim = Sim::new(now.clone());
    must(&sim, &objects, Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false });
    let end = sim.bytes();
    assert!(has(&end, &then, &then_used) && end[..4096] == then[..4096]);
    check(&end);
    let ops = sim.ops();
    let intents = objects.list("intents").unwrap();
    reset(&objects, &intents);
    let mut hidden = 0;
    for count in 0..=ops.len() {
        for loss in [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2)] {
            let image = after_cut(&now, &ops, count, loss);
            let case = format!("cut {count} of {}, {loss:?}", ops.len());
            // What Linux would mount is one of the two, whole.
            if matches!(identify(&bytes(&image)), Ok(Some(_))) {
                let whole = has(&image, &then, &then_used) || has(&image, &now, &now_used);
                assert!(whole, "{case}: half of it would be mounted");
            } else {
                hidden += 1;
            }
        }
    }
    assert!(hidden > 4, "{hidden} cuts left no superblock, of {} operations", ops.len());
    // Both ways out of a cut in the middle.
    let writes = |op: &&Op| matches!(op, Op::Write { .. });
    let middle = ops.len() - ops.iter().rev().take_while(|op| !writes(op)).count() - 4;
    for count in [4, ops.len() / 2, middle] {
        let image = after_cut(&now, &ops, count, Loss::Torn(3));
        let forward = Sim::new(image.clone());
        if matches!(run(&forward, &objects, Command::PlanResume).0, Outcome::Failed(_)) {
            assert!(has(&image, &now, &now_used) || has(&image, &then, &then_used), "cut {count} left no fence");
            continue;
        }
        assert!(has(&forward.bytes(), &then, &then_used), "cut {count}, finished");
        check(&forward.bytes());
        reset(&objects, &intents);
        let back = Sim::new(image);
        must(&back, &objects, Command::PlanUndo { full: false });
        assert!(has(&back.bytes(), &now, &now_used), "cut {count}, undone");
        check(&back.bytes());
        reset(&objects, &intents);
    }
}

#[test]
fn what_nobody_wrote_to_is_not_read_again() {
    let image = disk(0);
    let objects = Arc::new(Memory::new());
    let sim = Sim::new(image.clone());
    must(&sim, &objects, Command::Snapshot { full: false });
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    let manifest = store(&objects).manifest(id).unwrap();
    let compared = manifest.volumes[0].compared.as_ref().unwrap();
    assert_eq!(compared.by, Comparison::Untouched, "{}", compared.why);
    let Outcome::Saved { id, .. } = must(&Sim::new(disk(1)), &objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    let manifest = store(&objects).manifest(id).unwrap();
    let saved = &manifest.volumes[0];
    assert_eq!(saved.compared.as_ref().unwrap().by, Comparison::Content);
    let file = Btrfs::load(bytes(&disk(1))).unwrap().open(b"/usr/data").unwrap().unwrap();
    assert_eq!(file.read_vec(ByteOffset(0), 200_000).unwrap(), noise(11, 200_000));
}
