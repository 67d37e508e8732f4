//! Cut off at every put: nothing acknowledged is lost, nothing torn is listed, and the next run works.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::*;
use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::snapshot::Manifest;
use model::units::{ByteLen, ByteOffset};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use store::backend::Memory;
use store::{Store, StoreError};

/// What happens at the chosen put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The machine dies before it: nothing happens from then on.
    CrashBefore,
    /// The machine dies after it, before anybody is told.
    CrashAfter,
    /// It fails once.
    Error,
    /// The disk is full from then on.
    Full,
    /// The disk says it is there, and it is not.
    Lost,
    /// The disk keeps something else.
    Flipped,
}

/// Objects that fail as planned.
struct Faulty {
    inner: Arc<Memory>,
    fault: Fault,
    left: AtomicUsize,
    dead: AtomicBool,
    puts: Mutex<Vec<String>>,
}

impl Faulty {
    fn new(inner: Arc<Memory>, fault: Fault, at: usize) -> Self {
        let (left, dead) = (AtomicUsize::new(at), AtomicBool::new(false));
        Self { inner, fault, left, dead, puts: Mutex::new(Vec::new()) }
    }

    fn alive(&self) -> Result<(), ObjectError> {
        if self.dead.load(Ordering::SeqCst) { Err(broken()) } else { Ok(()) }
    }
}

fn broken() -> ObjectError {
    ObjectError::Io { what: "test".to_owned(), source: io::Error::other("the disk is gone") }
}

impl ObjectStore for Faulty {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.alive()?;
        self.puts.lock().unwrap().push(name.as_str().to_owned());
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).unwrap_or(0);
        let full = || ObjectError::Full(io::Error::from(io::ErrorKind::StorageFull));
        match (left, self.fault) {
            (2.., _) => self.inner.put(name, bytes),
            (0, Fault::Full) => Err(full()),
            (0, _) => self.inner.put(name, bytes),
            (1, Fault::CrashBefore) => {
                self.dead.store(true, Ordering::SeqCst);
                Err(broken())
            }
            (1, Fault::CrashAfter) => {
                self.inner.put(name, bytes)?;
                self.dead.store(true, Ordering::SeqCst);
                Err(broken())
            }
            (1, Fault::Error) => Err(broken()),
            (1, Fault::Full) => Err(full()),
            (1, Fault::Lost) => Ok(()),
            (1, Fault::Flipped) => {
                let mut other = bytes.to_vec();
                let middle = other.len() / 2;
                other.get_mut(middle).into_iter().for_each(|b| *b ^= 0x10);
                self.inner.put(name, &other)
            }
        }
    }

    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        self.alive()?;
        self.inner.get(name, at, buf)
    }

    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        self.alive()?;
        self.inner.len(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        self.alive()?;
        self.inner.list(prefix)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.alive()?;
        self.inner.delete(name)
    }

    fn free(&self) -> Option<ByteLen> {
        None
    }

    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        self.inner.lock()
    }
}

/// What is saved second: more than one pack, parts of the first snapshot, zeros.
fn second() -> Volume {
    Volume::of(&[
        (0, fill(2, 1, 600_000)),
        (1 << 22, fill(2, 77, 18 << 20)),
        (1 << 25, fill(0, 0, 1 << 20)),
        (1 << 26, fill(1, 3, 1 << 20)),
    ])
}

/// A store with one snapshot in it, as a copy of its own.
fn base(first: &Volume) -> (Arc<Memory>, Manifest) {
    let memory = Arc::new(Memory::new());
    let store = Store::init(memory.clone()).unwrap();
    let (_, manifest) = snapshot(&store, first).unwrap();
    (memory, manifest)
}

#[test]
fn at_every_put_and_every_fault() {
    let first = Volume::of(&[(0, fill(2, 1, 1_000_000)), (1 << 26, fill(1, 3, 5_000))]);
    let second = second();
    let puts = {
        let (memory, _) = base(&first);
        let objects = Arc::new(Faulty::new(memory, Fault::Error, usize::MAX));
        snapshot(&open(&objects).unwrap(), &second).unwrap();
        objects.puts.lock().unwrap().clone()
    };
    assert!(puts.len() >= 5, "two packs of data, one of nodes, the index, the manifest: {puts:?}");
    assert!(puts[0].starts_with("leases/"), "what is relied on is told first: {puts:?}");
    let last: Vec<&str> = puts[puts.len() - 2..].iter().map(|p| p.split('/').next().unwrap()).collect();
    assert_eq!(last, ["snapshots", "inventory"], "the manifest comes after everything else: {puts:?}");
    let faults = [Fault::CrashBefore, Fault::CrashAfter, Fault::Error, Fault::Full, Fault::Lost, Fault::Flipped];
    for fault in faults {
        for at in 1..=puts.len() {
            let case = format!("{fault:?} at put {at} of {} ({})", puts.len(), puts[at - 1]);
            let (memory, before) = base(&first);
            let objects = Arc::new(Faulty::new(memory.clone(), fault, at));
            let outcome = snapshot(&open(&objects).unwrap(), &second);
            // An index object is only a help: where the disk swallows or spoils it, the snapshot is good without.
            let spoilt_index = puts[at - 1].starts_with("index/") && fault == Fault::Flipped;
            let lost_index = puts[at - 1].starts_with("index/") && fault == Fault::Lost;
            // An empty object has nothing to spoil.
            let harmless =
                spoilt_index || lost_index || (puts[at - 1].starts_with("leases/") && fault == Fault::Flipped);
            assert_eq!(outcome.is_ok(), harmless, "{case}: {outcome:?}");
            if fault == Fault::Full {
                assert!(matches!(outcome, Err(StoreError::Full { .. })), "{case}: {outcome:?}");
            }

            // The machine starts again.
            let store = open(&memory).unwrap();
            let listing = store.list().unwrap();
            assert!(listing.damage.is_empty(), "{case}: {:?}", listing.damage);
            assert_eq!(load(&store, before.volumes[0].map).unwrap(), first, "{case}");
            // A manifest put whole before the machine died is a snapshot, told or not.
            let there = match fault {
                Fault::CrashAfter => at >= puts.len() - 1,
                Fault::CrashBefore => at == puts.len(),
                _ => harmless,
            };
            let listed = if there { 2 } else { 1 };
            assert_eq!(listing.snapshots.len(), listed, "{case}");
            for (_, manifest) in &listing.snapshots[1..] {
                assert_eq!(load(&store, manifest.volumes[0].map).unwrap(), second, "{case}");
            }
            let report = store.check(true, &mut |_, _| true).unwrap();
            assert!(report.affected.is_empty(), "{case}: {report:?}");
            assert_eq!(report.findings.is_empty(), !spoilt_index, "{case}: {report:?}");

            // And the next run works.
            let (_, again) = snapshot(&store, &second).unwrap();
            assert_eq!(again.counter, listed as u64 + 1, "{case}");
            let store = open(&memory).unwrap();
            assert_eq!(load(&store, again.volumes[0].map).unwrap(), second, "{case}");
        }
    }
}

#[test]
fn a_pack_nobody_vouches_for_is_read_before_it_is_relied_on() {
    let volume = Volume::of(&[(0, fill(2, 5, 900_000))]);
    let (good, _) = base(&volume);
    // A disk that kept the pack under its name with other bytes, from a run that never got to read it back.
    let spoilt = Arc::new(Memory::new());
    spoilt.put(&ObjectName::new("format").unwrap(), &get(&good, "format")).unwrap();
    for name in good.list("packs").unwrap() {
        let mut bytes = get(&good, name.as_str());
        if bytes.len() > 100_000 {
            bytes[50_000] ^= 1;
        }
        spoilt.put(&name, &bytes).unwrap();
    }
    let store = open(&spoilt).unwrap();
    let (_, manifest) = snapshot(&store, &volume).unwrap();
    assert_eq!(manifest.cost.new.0, 900_000, "nothing was shared with the spoilt pack");
    for store in [store, open(&spoilt).unwrap()] {
        assert_eq!(load(&store, manifest.volumes[0].map).unwrap(), volume);
        let report = store.check(true, &mut |_, _| true).unwrap();
        assert!(report.affected.is_empty() && !report.findings.is_empty(), "{report:?}");
    }
    // Where it is whole it is shared, and indexed from then on.
    let whole = Arc::new(Memory::new());
    for name in good.list("").unwrap().iter().filter(|n| !n.as_str().starts_with("index")) {
        whole.put(name, &get(&good, name.as_str())).unwrap();
    }
    let (_, shared) = snapshot(&open(&whole).unwrap(), &volume).unwrap();
    assert_eq!(shared.cost.new.0, 0);
    assert_eq!(whole.list("index").unwrap().len(), 1);
    assert!(open(&whole).unwrap().check(true, &mut |_, _| true).unwrap().is_clean());
}

fn get(objects: &Memory, name: &str) -> Vec<u8> {
    let name = ObjectName::new(name).unwrap();
    let mut bytes = vec![0; usize::try_from(objects.len(&name).unwrap().0).unwrap()];
    objects.get(&name, ByteOffset(0), &mut bytes).unwrap();
    bytes
}

#[test]
fn a_writer_that_is_dropped_lets_go_of_everything() {
    let (memory, _) = base(&Volume::of(&[(0, fill(2, 1, 1000))]));
    let store = open(&memory).unwrap();
    let mut writer = store.writer().unwrap();
    assert!(matches!(store.writer().err(), Some(StoreError::InUse { .. })), "one at a time");
    assert!(matches!(open(&memory).unwrap().writer().err(), Some(StoreError::InUse { .. })));
    save(&mut writer, &second(), &[70_000]).unwrap();
    writer.begin(ByteLen(1 << 20));
    writer.write(ByteOffset(5), vec![1; 500_000]).unwrap();
    drop(writer);
    assert_eq!(store.list().unwrap().snapshots.len(), 1);
    let report = store.check(true, &mut |_, _| true).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let (_, made) = snapshot(&store, &second()).unwrap();
    assert_eq!(made.counter, 2);
}
