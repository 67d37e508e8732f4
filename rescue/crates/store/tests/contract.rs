//! What every backend promises, asked of each.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use model::ports::{ObjectError, ObjectStore};
use model::units::{ByteLen, ByteOffset};
use std::path::Path;
use std::process::{Command, Stdio};
use store::backend::{LocalDir, Memory};

#[path = "common/contract.rs"]
mod contract;

use contract::name;

#[test]
fn memory_keeps_the_contract() {
    contract::all(&|| Box::new(Memory::new()));
}

#[test]
fn a_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let next = std::cell::Cell::new(0);
    contract::all(&|| {
        next.set(next.get() + 1);
        Box::new(LocalDir::create(dir.path().join(format!("deep/{}", next.get()))).unwrap())
    });
}

#[test]
fn memory_fills_up() {
    let store = Memory::with_capacity(ByteLen(100));
    store.put(&name("a"), &[0; 60]).unwrap();
    assert_eq!(store.free(), Some(ByteLen(40)));
    assert!(matches!(store.put(&name("b"), &[0; 41]), Err(ObjectError::Full(_))));
    assert!(matches!(store.len(&name("b")), Err(ObjectError::Missing(_))));
    store.put(&name("b"), &[0; 40]).unwrap();
}

fn files_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}

#[test]
fn leftovers_of_killed_puts_are_no_objects_and_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalDir::open(dir.path()).unwrap();
    store.put(&name("packs/aa/one"), b"1").unwrap();
    store.put(&name("intents/i"), b"1").unwrap();
    std::fs::write(dir.path().join("packs/aa/.put-77-0-two"), b"torn").unwrap();
    std::fs::write(dir.path().join(".put-77-2-format"), b"torn").unwrap();
    std::fs::write(dir.path().join("intents/.put-77-1-j"), b"torn").unwrap();
    std::fs::create_dir(dir.path().join("lost+found")).unwrap();
    std::fs::write(dir.path().join("Notes.TXT"), b"a person's file").unwrap();
    let listed: Vec<String> = store.list("").unwrap().iter().map(|n| n.as_str().to_owned()).collect();
    assert_eq!(listed, ["intents/i", "packs/aa/one"]);
    drop(store.lock().unwrap());
    let mut left = files_below(dir.path());
    left.sort();
    assert_eq!(left, [".lock", ".put-77-1-j", "Notes.TXT", "i", "one"], "only packs are put under the lock alone");
}

#[test]
fn the_twin_of_an_object_is_set_aside_under_a_free_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalDir::open(dir.path()).unwrap();
    store.put(&name("packs/aa/one"), b"1").unwrap();
    std::fs::write(dir.path().join("packs/aa/.kept-0-77-0-one"), b"earlier").unwrap();
    std::fs::write(dir.path().join("packs/aa/.put-77-0-one"), b"1").unwrap();
    drop(store.lock().unwrap());
    let mut left = files_below(&dir.path().join("packs/aa"));
    left.sort();
    assert_eq!(left, [".kept-0-77-0-one", ".kept-1-77-0-one", "one"]);
    assert_eq!(std::fs::read(dir.path().join("packs/aa/.kept-0-77-0-one")).unwrap(), b"earlier");
    assert_eq!(store.list("").unwrap(), [name("packs/aa/one")]);
}

#[test]
fn leftovers_of_a_process_of_the_same_number_are_not_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalDir::open(dir.path()).unwrap();
    std::fs::create_dir(dir.path().join("intents")).unwrap();
    for serial in 0..3 {
        let left = format!("intents/.put-{}-{serial}-i", std::process::id());
        std::fs::write(dir.path().join(left), b"torn").unwrap();
    }
    store.put(&name("intents/i"), b"1").unwrap();
    assert_eq!(store.len(&name("intents/i")).unwrap(), ByteLen(1));
}

#[test]
fn links_and_pipes_are_no_objects() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalDir::open(dir.path()).unwrap();
    std::fs::create_dir_all(dir.path().join("packs/aa")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("packs/aa/link")).unwrap();
    let fifo = Command::new("mkfifo").arg(dir.path().join("packs/aa/pipe")).status();
    assert!(fifo.is_ok_and(|s| s.success()), "mkfifo is needed (package coreutils)");
    assert!(store.list("packs").unwrap().is_empty());
    for n in ["packs/aa/link", "packs/aa/pipe"] {
        assert!(matches!(store.get(&name(n), ByteOffset(0), &mut [0]), Err(ObjectError::Io { .. })), "{n}");
        assert!(store.put(&name(n), b"x").is_err(), "{n}");
    }
}

#[test]
fn a_directory_that_is_gone_is_an_error_not_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalDir::create(dir.path().join("store")).unwrap();
    std::fs::remove_dir(dir.path().join("store")).unwrap();
    assert!(matches!(store.list("packs"), Err(ObjectError::Io { .. })));
    assert!(LocalDir::open(dir.path().join("store")).is_err());
}

#[test]
fn the_lock_of_a_killed_process_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalDir::open(dir.path()).unwrap();
    drop(store.lock().unwrap());
    let lock = dir.path().join(".lock");
    let held = Command::new("flock").arg("-F").arg(&lock).args(["sleep", "600"]).stdin(Stdio::null()).spawn();
    let mut held = held.expect("flock is needed (package util-linux)");
    let mut tries = 0;
    while store.lock().is_ok() {
        tries += 1;
        assert!(tries < 500, "the other process never took the lock");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let refused = store.lock().err().unwrap();
    assert!(refused.to_string().contains("in use"), "{refused}");
    held.kill().unwrap();
    held.wait().unwrap();
    drop(store.lock().unwrap());
}

#[test]
fn a_lock_that_is_let_go_is_free_whatever_is_being_started() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalDir::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        // Each child has, until its execve(2), a copy of every descriptor.
        let starting = scope.spawn(|| {
            for _ in 0..200 {
                assert!(Command::new("true").status().unwrap().success());
            }
        });
        while !starting.is_finished() {
            drop(store.lock().unwrap());
        }
    });
}

/// A small file system of its own, gone when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={size}")).arg("none").arg(dir.path());
        let done = mount.status().is_ok_and(|s| s.success());
        assert!(done, "mounting a tmpfs needs root and mount (package mount)");
        Self(dir)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_full_and_nothing_torn_stays() {
    let disk = Tmpfs::new("4m");
    let store = LocalDir::create(disk.0.path().join("store")).unwrap();
    store.put(&name("packs/aa/one"), &vec![1; 2 << 20]).unwrap();
    let before = store.free().unwrap();
    let full = store.put(&name("packs/aa/two"), &vec![2; 3 << 20]);
    assert!(matches!(full, Err(ObjectError::Full(_))), "{full:?}");
    assert!(matches!(store.len(&name("packs/aa/two")), Err(ObjectError::Missing(_))));
    assert_eq!(store.free().unwrap(), before, "the temporary file is gone");
    assert_eq!(files_below(disk.0.path()), ["one"]);
    // At no bytes free the lock still works and what is there can be read.
    std::fs::write(disk.0.path().join("filler"), vec![0; usize::try_from(before.0).unwrap()]).unwrap();
    assert_eq!(store.free(), Some(ByteLen(0)));
    drop(store.lock().unwrap());
    store.get(&name("packs/aa/one"), ByteOffset(0), &mut [0; 100]).unwrap();
}

#[test]
fn a_snapshot_that_does_not_fit_says_full() {
    use std::sync::Arc;
    let disk = Tmpfs::new("34m");
    let objects = Arc::new(LocalDir::create(disk.0.path().join("store")).unwrap());
    let store = store::Store::init(objects.clone()).unwrap();
    let mut writer = store.writer().unwrap();
    writer.begin(ByteLen(1 << 30));
    let noise = |n: u64| -> Vec<u8> {
        (0..4096u64).flat_map(|i| model::id::Digest::of(&(n * 4096 + i).to_le_bytes()).0).collect()
    };
    let written = (0..600).try_for_each(|n| writer.write(ByteOffset(n * 131_072), noise(n)));
    let ended = written.and_then(|()| writer.end().map(|_| ()));
    assert!(matches!(ended, Err(store::StoreError::Full { .. })), "{ended:?}");
    assert!(matches!(writer.write(ByteOffset(1 << 29), vec![1]), Err(store::StoreError::Full { .. })), "told again");
    drop(writer);
    assert!(store.list().unwrap().snapshots.is_empty());
    let report = store.check(true, &mut |_, _| true).unwrap();
    assert!(report.is_clean() && report.leftover_packs == 1, "{report:?}");
    assert!(files_below(disk.0.path()).iter().all(|f| !f.starts_with(".put")));
}
