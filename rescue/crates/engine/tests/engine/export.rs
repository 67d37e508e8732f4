//! Writing a snapshot out: what QEMU's own tool and the file system's make of the images, and what is left of one that failed.

use crate::image::{machine, range, tool};
use crate::sim::{Fault, Hasty, NoKeys, Sim, Ticking, holds, must, run, store, used};
use engine::parser::Local;
use engine::run::export::{Order, export};
use engine::run::{Context, Observer, Stop};
use model::command::{Command, ExitCode, ImageFormat};
use model::event::{Exported, ExportedImage, Outcome, Progress};
use model::id::{SnapRef, SnapshotId};
use model::ports::{Devices, ObjectStore};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::backend::Memory;

fn saved(sim: &Arc<Sim>, objects: &Arc<Memory>) -> SnapshotId {
    let Outcome::Saved { id, .. } = must(sim, objects, Command::Snapshot { full: false }) else { panic!("not saved") };
    id
}

fn name(path: &Path) -> RawName {
    RawName(path.as_os_str().as_bytes().to_vec())
}

fn wanted(path: &Path, only: Option<&str>) -> Command {
    let format = if path.extension().unwrap() == "img" { ImageFormat::Raw } else { ImageFormat::Qcow2 };
    let only = only.map(|o| o.parse().unwrap());
    Command::Export { snapshot: SnapRef::Latest, only, to: name(path), format }
}

/// Nothing is leased, no disk is even needed.
fn no_disks() -> Arc<Sim> {
    Sim::failing(vec![0; 1 << 16], Fault::Lease)
}

fn exported(objects: &Arc<Memory>, path: &Path, only: Option<&str>) -> ExportedImage {
    let Outcome::Exported(Exported { mut images, .. }) = must(&no_disks(), objects, wanted(path, only)) else {
        panic!("not exported")
    };
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].file, name(path));
    images.remove(0)
}

fn names(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect()
}

/// Checks a qcow2 and gives what QEMU reads from it.
fn as_raw(path: &Path) -> Vec<u8> {
    let out = tool("qemu-img", "qemu-utils").args(["check", "--output=json"]).arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    let check: serde_json::Value = serde_json::from_str(&said).unwrap();
    for wrong in ["corruptions", "leaks", "check-errors"] {
        assert!(check.get(wrong).is_none_or(|n| n == 0), "{said}");
    }
    let raw = path.with_extension("converted");
    let mut convert = tool("qemu-img", "qemu-utils");
    let out = convert.args(["convert", "-f", "qcow2", "-O", "raw"]).arg(path).arg(&raw).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    fs::read(raw).unwrap()
}

#[test]
fn both_formats_hold_the_disk_and_nothing_else() {
    let (objects, dir) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let id = saved(&Sim::new(machine().then.clone()), &objects);
    let (img, qcow2) = (dir.path().join("disk.img"), dir.path().join("disk.qcow2"));
    let image = exported(&objects, &img, None);
    let raw = fs::read(&img).unwrap();
    assert_eq!((raw.len(), image.size), (machine().then.len(), ByteLen(machine().then.len() as u64)));
    let store = store(&objects);
    let volumes = [1, 2, 3, 4, 5];
    holds(&store, id, &volumes, &raw).unwrap();
    let mut mask = vec![false; raw.len()];
    used(&store, id, &volumes, &mut mask);
    let table = store.manifest(id).unwrap().disks[0].table.clone().unwrap();
    for extent in table.raw {
        let bytes = usize::try_from(extent.start().0).unwrap()..usize::try_from(extent.end().0).unwrap();
        assert_eq!(raw[bytes.clone()], machine().then[bytes.clone()], "the table");
        mask[bytes].fill(true);
    }
    assert!(raw.iter().zip(&mask).all(|(byte, used)| *used || *byte == 0), "free space is zeros");
    assert!(image.written.0 < mask.iter().filter(|used| **used).count() as u64, "saved zeros are holes too");
    assert!(image.warnings.is_empty() && image.left_out.is_empty(), "{image:?}");

    let image = exported(&objects, &qcow2, None);
    assert_eq!(image.written, ByteLen(fs::metadata(&qcow2).unwrap().len()));
    assert!(as_raw(&qcow2) == raw);
}

#[test]
fn a_volume_alone_is_its_file_system() {
    let (objects, dir) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    saved(&Sim::new(machine().then.clone()), &objects);
    let (disk, root) = (dir.path().join("disk.img"), dir.path().join("root.img"));
    exported(&objects, &disk, None);
    let image = exported(&objects, &root, Some("d0/p3"));
    assert_eq!(image.of, "d0/p3".parse().unwrap());
    let bytes = fs::read(&root).unwrap();
    assert!(bytes == fs::read(&disk).unwrap()[range(3)]);
    let out = tool("e2fsck", "e2fsprogs").arg("-fn").arg(&root).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    let qcow2 = dir.path().join("root.qcow2");
    exported(&objects, &qcow2, Some("d0/p3"));
    assert!(as_raw(&qcow2) == bytes);
    let (outcome, _) = run(&no_disks(), &objects, wanted(&dir.path().join("none.img"), Some("d0/p9")));
    assert!(matches!(outcome, Outcome::Failed(f) if f.says.as_str().starts_with("d0/p9 is not in snapshot")));
}

#[test]
fn what_could_not_be_read_is_said() {
    let (objects, dir) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let from = range(3).start + 64 * 1024;
    saved(&Sim::failing(machine().then.clone(), Fault::Read { from, to: from + 512 }), &objects);
    let image = exported(&objects, &dir.path().join("disk.img"), None);
    let at = from as u64;
    assert_eq!(image.unreadable, Extent::between(at, at + 512).into_iter().collect());
    let says = "512 B of d0/p3 in 1 ranges (the first at its byte 65536) could not be read";
    assert!(image.warnings.iter().any(|w| w.as_str().starts_with(says)), "{:?}", image.warnings);
    let bytes = fs::read(dir.path().join("disk.img")).unwrap();
    assert_eq!(bytes[from..from + 512], [0; 512]);
    assert_eq!(bytes[from + 512..from + 1024], machine().then[from + 512..from + 1024]);
}

#[test]
fn what_is_there_stays_and_what_fails_goes() {
    let (objects, dir) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    saved(&Sim::new(machine().then.clone()), &objects);
    let path = dir.path().join("disk.img");
    fs::write(&path, "kept").unwrap();
    let (outcome, _) = run(&no_disks(), &objects, wanted(&path, None));
    assert!(matches!(outcome, Outcome::Failed(f) if f.code == ExitCode::Refused));
    assert_eq!(fs::read(&path).unwrap(), b"kept");
    assert_eq!(names(dir.path()), std::slice::from_ref(&path));

    // Bytes of a chunk that are not what they were.
    let packs = objects.list("packs").unwrap();
    let len = |name| objects.len(name).unwrap().0;
    let largest = packs.iter().max_by_key(|name| len(name)).unwrap();
    let mut bytes = vec![0; usize::try_from(len(largest)).unwrap()];
    objects.get(largest, ByteOffset(0), &mut bytes).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    objects.delete(largest).unwrap();
    objects.put(largest, &bytes).unwrap();
    for name in ["other.img", "other.qcow2"] {
        let (outcome, _) = run(&no_disks(), &objects, wanted(&dir.path().join(name), None));
        assert!(matches!(&outcome, Outcome::Failed(f) if f.code == ExitCode::Damage), "{outcome:?}");
    }
    assert_eq!(names(dir.path()), [path]);
}

/// Wants it to stop at the first telling of a phase.
struct At(&'static str, AtomicBool);

impl Observer for At {
    fn progress(&self, p: Progress) {
        if p.phase.as_str().starts_with(self.0) {
            self.1.store(true, Ordering::Relaxed);
        }
    }
    fn log(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

#[test]
fn one_that_is_stopped_leaves_nothing() {
    let (objects, dir) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let sim = Sim::new(machine().then.clone());
    saved(&sim, &objects);
    let (store, parser, clock) = (store(&objects), Hasty(Local::new(sim.disks())), Ticking::default());
    // The last of them: everything is written, and it has no name yet.
    for phase in ["reading the maps of d0", "writing d0", "writing d0: making it durable"] {
        for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
            let observer = At(phase, AtomicBool::new(false));
            let cx = Context {
                devices: &*sim,
                parser: &parser,
                store: &store,
                clock: &clock,
                observer: &observer,
                keys: &NoKeys,
            };
            let to = name(&dir.path().join("disk"));
            let order = Order { snapshot: &SnapRef::Latest, only: None, to: &to, format };
            assert!(matches!(export(&cx, &order), Err(Stop::Cancelled(_))), "{phase} {format:?}");
            assert!(observer.cancelled());
            assert!(names(dir.path()).is_empty(), "{phase} {format:?}");
        }
    }
}
