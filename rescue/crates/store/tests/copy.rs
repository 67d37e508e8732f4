//! Snapshots copied into another store: byte for byte, once, and whole or not at all.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::*;
use model::id::SnapshotId;
use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset, Extent};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::backend::Memory;
use store::{InitOptions, Secret, Store, StoreError, Unlock};

fn empty() -> (Arc<Memory>, Store) {
    let objects = Arc::new(Memory::new());
    let store = Store::init(objects.clone()).unwrap();
    (objects, store)
}

/// Three snapshots: noise, words, zeros; a part changed; a file cut as its owner cuts it.
fn history() -> (Store, Vec<(SnapshotId, Volume)>) {
    let (_, store) = empty();
    let mut volume = Volume::of(&[
        (0, fill(2, 1, 300_000)),
        (1 << 22, fill(1, 2, 100_000)),
        (1 << 24, fill(0, 0, 700_000)),
        (1 << 30, fill(3, 4, 50_000)),
    ]);
    let mut out = Vec::new();
    for seed in 10..12 {
        let (id, _) = snapshot(&store, &volume).unwrap();
        out.push((id, volume.clone()));
        volume.put((1 << 26) + (u64::from(seed) << 20), &fill(2, seed, 70_000));
    }
    let bytes = fill(2, 99, 200_000);
    let runs = [Extent::between(512, 50_512).unwrap(), Extent::between(5_000_000, 5_150_000).unwrap()];
    let mut writer = store.writer().unwrap();
    writer.begin(LEN);
    writer.chunk(&runs, bytes.clone()).unwrap();
    let map = writer.end().unwrap();
    let (id, _) = writer.finish(manifest(machine("b"), map)).unwrap();
    out.push((id, Volume::of(&[(512, bytes[..50_000].to_vec()), (5_000_000, bytes[50_000..].to_vec())])));
    (store, out)
}

fn go_on(_: ByteLen, _: ByteLen) -> bool {
    true
}

fn ids(history: &[(SnapshotId, Volume)]) -> Vec<SnapshotId> {
    history.iter().map(|(id, _)| *id).collect()
}

/// What was copied is what it was, in the same order.
fn equals(store: &Store, history: &[(SnapshotId, Volume)]) {
    let listing = store.list().unwrap();
    assert!(listing.damage.is_empty(), "{:?}", listing.damage);
    let volumes: Vec<Volume> = listing.snapshots.iter().map(|(_, m)| load(store, m.volumes[0].map).unwrap()).collect();
    assert!(volumes.iter().eq(history.iter().map(|(_, v)| v)), "{} of {}", volumes.len(), history.len());
    assert!(listing.snapshots.iter().map(|(id, _)| *id).eq(ids(history)));
    assert!(listing.snapshots.iter().zip(1..).all(|((_, m), n)| m.counter == n), "counters are kept");
}

#[test]
fn a_copy_restores_byte_for_byte_and_is_made_once() {
    let (from, history) = history();
    let (objects, to) = empty();
    let mut told = Vec::new();
    let mut wanted = ids(&history);
    wanted.reverse();
    let copied = from
        .copy_to(&to, &wanted, &mut |done, total| {
            told.push((done, total));
            true
        })
        .unwrap();
    assert!(copied.complete && copied.present.is_empty());
    assert_eq!(copied.copied, ids(&history), "in the order of their counters");
    assert!(told.is_sorted() && told.last().is_some_and(|(done, total)| done == total), "{told:?}");
    let used: u64 = history.iter().map(|(_, v)| v.used()).sum();
    assert!(copied.read.0 < used, "leaves as before are not read: {} of {used}", copied.read.0);
    equals(&open(&objects).unwrap(), &history);
    assert!(to.check(true, &mut go_on).unwrap().is_clean());

    let before = objects.list("").unwrap();
    let again = from.copy_to(&to, &wanted, &mut go_on).unwrap();
    assert_eq!((again.copied.len(), again.present, again.read.0), (0, ids(&history), 0));
    assert_eq!(objects.list("").unwrap(), before);

    // What was forgotten there can be had again.
    let forgotten = history[1].0;
    to.forget(&[forgotten]).unwrap();
    assert!(to.manifest(forgotten).is_err());
    assert_eq!(from.copy_to(&to, &wanted, &mut go_on).unwrap().copied, [forgotten]);
    equals(&open(&objects).unwrap(), &history);
    assert!(to.check(true, &mut go_on).unwrap().is_clean());
}

#[test]
fn a_sealed_store_takes_a_copy_and_gives_it_back() {
    let (from, history) = history();
    let key = (Unlock::KeyFile(Secret::new(vec![7; 32])), "a key file".to_owned());
    let options = InitOptions { key: Some(key), ..InitOptions::default() };
    let sealed = Store::init_with(Arc::new(Memory::new()), options).unwrap();
    from.copy_to(&sealed, &ids(&history), &mut go_on).unwrap();
    equals(&sealed, &history);
    assert!(sealed.check(true, &mut go_on).unwrap().is_clean());
    let again = from.copy_to(&sealed, &ids(&history), &mut go_on).unwrap();
    assert_eq!((again.copied.len(), again.present), (0, ids(&history)));

    let (_, back) = empty();
    sealed.copy_to(&back, &ids(&history), &mut go_on).unwrap();
    equals(&back, &history);
    for (id, _) in &history {
        assert_eq!(back.manifest(*id).unwrap(), from.manifest(*id).unwrap(), "cut as it was, by the same names again");
    }
}

#[test]
fn a_stopped_copy_leaves_whole_snapshots_only() {
    let (from, history) = history();
    let calls = AtomicUsize::new(0);
    let (_, whole) = empty();
    from.copy_to(&whole, &ids(&history), &mut |_, _| {
        calls.fetch_add(1, Ordering::Relaxed);
        true
    })
    .unwrap();
    let calls = calls.into_inner();
    for stop in [1, 2, calls / 3, calls / 2, calls - 1] {
        let (_, to) = empty();
        let mut left = stop;
        let copied = from
            .copy_to(&to, &ids(&history), &mut |_, _| {
                left = left.saturating_sub(1);
                left > 0
            })
            .unwrap();
        assert!(!copied.complete, "stopped at {stop} of {calls}");
        equals(&to, &history[..copied.copied.len()]);
        assert!(to.check(true, &mut go_on).unwrap().is_clean());
        from.copy_to(&to, &ids(&history), &mut go_on).unwrap();
        equals(&to, &history);
    }
}

/// Dies at a put, before or after it.
struct Dying {
    inner: Arc<Memory>,
    left: AtomicUsize,
    after: bool,
}

impl Dying {
    fn gone() -> ObjectError {
        ObjectError::Io { what: "test".to_owned(), source: io::Error::other("the disk is gone") }
    }

    fn alive(&self) -> Result<(), ObjectError> {
        if self.left.load(Ordering::SeqCst) == 0 { Err(Self::gone()) } else { Ok(()) }
    }
}

impl ObjectStore for Dying {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.alive()?;
        let last = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        if !last || self.after {
            self.inner.put(name, bytes)?;
        }
        if last { Err(Self::gone()) } else { Ok(()) }
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

#[test]
fn a_copy_cut_at_any_put_tears_nothing_and_can_be_run_again() {
    let (from, history) = history();
    let mut puts = 1;
    loop {
        let mut completed = false;
        for after in [false, true] {
            let (objects, _) = empty();
            let dying = Arc::new(Dying { inner: objects.clone(), left: AtomicUsize::new(puts), after });
            let result = from.copy_to(&open(&dying).unwrap(), &ids(&history), &mut go_on);
            completed = result.is_ok();
            assert!(completed || matches!(result, Err(StoreError::Io { .. })), "{result:?}");
            let to = open(&objects).unwrap();
            let there = to.list().unwrap().snapshots.len();
            equals(&to, &history[..there]);
            assert!(to.check(true, &mut go_on).unwrap().is_clean(), "put {puts}");
            let again = from.copy_to(&to, &ids(&history), &mut go_on).unwrap();
            assert_eq!(again.present.len(), there);
            equals(&open(&objects).unwrap(), &history);
        }
        if completed {
            break;
        }
        puts += 1;
    }
    assert!(puts > 10, "packs of data and nodes, an index object, a manifest, of each: {puts}");
}
