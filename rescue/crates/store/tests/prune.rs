//! Forgetting and pruning: what is freed, what never is, cut at any step, with writers beside, with no room at all.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::objects::{copy, get};
use common::*;
use model::id::{SnapRef, SnapshotId};
use model::note::Says;
use model::ports::{ObjectError, ObjectName, ObjectStore, UnixMicros};
use model::snapshot::Manifest;
use model::units::{ByteLen, ByteOffset};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use store::backend::Memory;
use store::{InitOptions, LocalDecoder, OpenOptions, PruneOptions, PruneReport, Secret, Store, StoreError, Unlock};

/// Objects of a machine that dies at a chosen put or deletion; with or without a lock that keeps others out.
struct Place {
    inner: Arc<Memory>,
    locks: bool,
    /// Steps until it dies.
    left: AtomicUsize,
    steps: AtomicUsize,
    dead: AtomicBool,
}

impl Place {
    fn new(inner: Arc<Memory>, locks: bool) -> Arc<Self> {
        Self::dying(inner, locks, usize::MAX)
    }

    fn dying(inner: Arc<Memory>, locks: bool, left: usize) -> Arc<Self> {
        let (steps, dead) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { inner, locks, left: AtomicUsize::new(left), steps, dead })
    }

    fn alive(&self) -> Result<(), ObjectError> {
        let broken = || ObjectError::Io { what: "test".to_owned(), source: io::Error::other("the machine is off") };
        if self.dead.load(Ordering::SeqCst) { Err(broken()) } else { Ok(()) }
    }

    fn step(&self) -> Result<(), ObjectError> {
        self.steps.fetch_add(1, Ordering::SeqCst);
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        self.dead.store(left.is_err(), Ordering::SeqCst);
        self.alive()
    }
}

impl ObjectStore for Place {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.step()?;
        self.inner.put(name, bytes)
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
        self.step()?;
        self.inner.delete(name)
    }
    fn free(&self) -> Option<ByteLen> {
        self.inner.free()
    }
    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        if self.locks { self.inner.lock() } else { Ok(Box::new(())) }
    }
    fn locks_out(&self) -> bool {
        self.locks
    }
}

fn size(objects: &Memory, kind: &str) -> u64 {
    objects.list(kind).unwrap().iter().map(|n| objects.len(n).unwrap().0).sum()
}

/// Volumes that share their first half; each has noise of its own behind it, and the first some more.
fn volume(n: u32) -> Volume {
    let mut volume = Volume::of(&[(0, fill(2, 1, 300_000)), (1 << 23, fill(2, 100 + n, 200_000))]);
    if n == 0 {
        volume.put(1 << 30, &fill(2, 7, 900_000));
    }
    volume
}

struct Made {
    objects: Arc<Memory>,
    ids: Vec<SnapshotId>,
    manifests: Vec<Manifest>,
}

/// Three snapshots.
fn three() -> Made {
    let objects = Arc::new(Memory::new());
    let store = Store::init(objects.clone()).unwrap();
    let (ids, manifests) = (0..3).map(|n| snapshot(&store, &volume(n)).unwrap()).unzip();
    Made { objects, ids, manifests }
}

const NOW: PruneOptions = PruneOptions { now: true, rewrite: 50 };
const LATER: PruneOptions = PruneOptions { now: false, rewrite: 50 };

fn prune(store: &Store, options: PruneOptions) -> Result<PruneReport, StoreError> {
    store.prune(options, &mut |_, _, _| true)
}

/// Everything that is left reads back, and nothing is wrong.
fn whole(objects: &Arc<Memory>, expected: &[(SnapshotId, Volume)], what: &str) {
    let store = open(objects).unwrap();
    let listing = store.list().unwrap();
    assert!(listing.damage.is_empty(), "{what}: {:?}", listing.damage);
    let ids: Vec<SnapshotId> = listing.snapshots.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, expected.iter().map(|(id, _)| *id).collect::<Vec<_>>(), "{what}");
    for ((_, manifest), (_, volume)) in listing.snapshots.iter().zip(expected) {
        assert_eq!(load(&store, manifest.volumes[0].map).unwrap(), *volume, "{what}");
    }
    let report = store.check(true, &mut |_, _| true).unwrap();
    assert!(report.is_clean(), "{what}: {report:?}");
}

#[test]
fn nothing_dead_nothing_done() {
    let made = three();
    let store = open(&made.objects).unwrap();
    let before = size(&made.objects, "packs");
    for options in [NOW, LATER] {
        let report = prune(&store, options).unwrap();
        assert_eq!((report.deleted, report.condemned, report.rewritten), (0, 0, 0));
        assert!(report.complete);
    }
    assert_eq!(size(&made.objects, "packs"), before);
    assert_eq!(store.head().unwrap().unwrap().number, 5, "each prune has its generation");
}

#[test]
fn what_is_freed_is_what_was_foretold() {
    for (options, rounds) in [(NOW, 1), (LATER, 2)] {
        let made = three();
        let store = open(&made.objects).unwrap();
        let before = size(&made.objects, "packs");
        let told = store.would_free(&[made.ids[0]].into(), &mut || true).unwrap().unwrap().0;
        let stats = store.stats(&mut || true).unwrap().unwrap();
        assert_eq!((stats.stored.0, stats.snapshots[0].unique.0), (before, told));
        assert_eq!(stats.distinct.0, 3 * 200_000 + 900_000 + 300_000, "each chunk once, and no nodes");
        assert!((1_100_000..1_130_000).contains(&told), "{told}: its own 200,000 and 900,000, and nodes");
        assert_eq!(stats.dead.0, 0, "all of it is needed");
        assert!(stats.stored.0 - stats.live.0 < 3000, "footers: {stats:?}");
        assert!(stats.live.0 < stats.snapshots.iter().map(|s| s.shared.0 + s.unique.0).sum::<u64>(), "shared");
        assert_eq!(stats.snapshots[1].shared, stats.snapshots[2].shared);
        store.forget(&[made.ids[0]]).unwrap();
        let dead = store.stats(&mut || true).unwrap().unwrap().dead.0;
        assert_eq!(dead, told);
        for _ in 0..rounds {
            assert!(prune(&store, options).unwrap().complete);
        }
        let freed = before - size(&made.objects, "packs");
        // New packs have a header and a footer too.
        assert!(freed + 3000 > told, "{freed} of {told}");
        whole(&made.objects, &[(made.ids[1], volume(1)), (made.ids[2], volume(2))], "after");
        // And the same Store goes on.
        assert_eq!(load(&store, made.manifests[1].volumes[0].map).unwrap(), volume(1));
        let (_, again) = snapshot(&store, &volume(0)).unwrap();
        assert!(again.cost.new.0 >= 1_100_000, "nothing was saved against what is gone");
        assert_eq!(load(&open(&made.objects).unwrap(), again.volumes[0].map).unwrap(), volume(0));
    }
}

#[test]
fn condemned_first_deleted_later() {
    let made = three();
    let store = open(&made.objects).unwrap();
    store.forget(&[made.ids[0]]).unwrap();
    let before = size(&made.objects, "packs");
    let first = prune(&store, LATER).unwrap();
    assert!(first.condemned > 0 && first.deleted == 0 && size(&made.objects, "packs") >= before);
    assert_eq!(made.objects.list("condemned").unwrap().len(), 1);
    whole(&made.objects, &[(made.ids[1], volume(1)), (made.ids[2], volume(2))], "between");
    let second = prune(&open(&made.objects).unwrap(), LATER).unwrap();
    assert_eq!((second.deleted, second.freed, second.generation), (first.condemned, first.to_be_freed, 2));
    assert!(made.objects.list("condemned").unwrap().is_empty());
}

#[test]
fn what_would_be_done_is_what_is_done() {
    for options in [NOW, LATER] {
        let made = three();
        let store = open(&made.objects).unwrap();
        store.forget(&[made.ids[0]]).unwrap();
        for round in 0..2 {
            let before = made.objects.list("").unwrap();
            let told = store.would_prune(options, &mut |_, _, _| true).unwrap();
            assert_eq!(made.objects.list("").unwrap(), before, "nothing is touched");
            assert_eq!(told, prune(&store, options).unwrap(), "{options:?}, {round}");
            assert_eq!(told.rewritten > 0, told.written.0 > 0);
            assert!(round > 0 || told.freed > told.written || told.to_be_freed > told.written, "{told:?}");
        }
    }
}

#[test]
fn cut_at_every_step() {
    for (locks, options) in [(true, NOW), (true, LATER), (false, LATER)] {
        let made = three();
        let left = [(made.ids[1], volume(1)), (made.ids[2], volume(2))];
        let run = |place: &Arc<Place>| -> Result<(), StoreError> {
            open(place)?.forget(&[made.ids[0]])?;
            prune(&open(place)?, options)?;
            prune(&open(place)?, options)?;
            Ok(())
        };
        let good = Place::new(copy(&made.objects), locks);
        run(&good).unwrap();
        let (steps, smallest) = (good.steps.load(Ordering::SeqCst), size(&good.inner, "packs"));
        assert!(steps > 8, "{steps}");
        for at in 0..steps {
            let what = format!("{options:?}, lock {locks}, step {at} of {steps}");
            let objects = copy(&made.objects);
            assert!(run(&Place::dying(objects.clone(), locks, at)).is_err(), "{what}");
            let store = open(&objects).unwrap();
            let listing = store.list().unwrap();
            assert!(listing.damage.is_empty(), "{what}: {:?}", listing.damage);
            for (n, (_, manifest)) in listing.snapshots.iter().rev().enumerate() {
                let n = 2 - u32::try_from(n).unwrap();
                assert_eq!(load(&store, manifest.volumes[0].map).unwrap(), volume(n), "{what}");
            }
            // Done again, it ends where it would have ended.
            if listing.snapshots.len() == 3 {
                store.forget(&[made.ids[0]]).unwrap();
            }
            for _ in 0..3 {
                prune(&open(&objects).unwrap(), options).unwrap_or_else(|e| panic!("{what}: {e}"));
            }
            whole(&objects, &left, &what);
            let end = size(&objects, "packs");
            assert!(end <= smallest + 2000, "{what}: {end} bytes, not {smallest}");
        }
    }
}

#[test]
fn nothing_a_writer_counts_on_goes_away() {
    // Without a lock. How many prunes run at each point of a save: before it, while it goes on, before its manifest.
    for (before, during, after) in [(0, 1, 0), (0, 2, 0), (1, 1, 1), (0, 1, 2), (1, 2, 2), (2, 1, 1), (0, 3, 3)] {
        let what = format!("{before} {during} {after}");
        let made = three();
        let place = Place::new(made.objects.clone(), false);
        let pruner = || {
            prune(&open(&place).unwrap(), LATER).unwrap();
        };
        open(&place).unwrap().forget(&[made.ids[0]]).unwrap();
        (0..before).for_each(|_| pruner());
        let store = open(&place).unwrap();
        let mut writer = store.writer().unwrap();
        let map = save(&mut writer, &volume(0), &[]).unwrap();
        // What is new is on its way; what was forgotten is counted on, where it was not condemned yet.
        (0..during).for_each(|_| pruner());
        let mut writer = writer;
        writer.prove(&mut |_, _| true).unwrap();
        (0..after).for_each(|_| pruner());
        let (id, manifest) = writer.finish(manifest(machine("a"), map)).unwrap();
        assert!(before > 0 || manifest.cost.new.0 == 0, "{what}: all of it was there");
        for _ in 0..4 {
            let expected = [(made.ids[1], volume(1)), (made.ids[2], volume(2)), (id, volume(0))];
            whole(&made.objects, &expected, &what);
            pruner();
        }
    }
}

#[test]
fn a_writer_that_slept_through_eight_prunes_makes_no_snapshot() {
    let made = three();
    let place = Place::new(made.objects.clone(), false);
    open(&place).unwrap().forget(&[made.ids[0]]).unwrap();
    let store = open(&place).unwrap();
    let mut writer = store.writer().unwrap();
    let map = save(&mut writer, &volume(0), &[]).unwrap();
    for _ in 0..10 {
        prune(&open(&place).unwrap(), LATER).unwrap();
    }
    let refused = writer.finish(manifest(machine("a"), map)).unwrap_err().to_string();
    assert!(refused.contains("run it again") || refused.contains("in no pack"), "{refused}");
    whole(&made.objects, &[(made.ids[1], volume(1)), (made.ids[2], volume(2))], "after");
}

#[test]
fn with_no_room_at_all() {
    let made = three();
    let used = size(&made.objects, "");
    let full = Memory::with_capacity(ByteLen(used));
    made.objects.list("").unwrap().iter().for_each(|n| full.put(n, &get(&made.objects, n)).unwrap());
    let full = Arc::new(full);
    assert_eq!(full.free(), Some(ByteLen(0)));
    let store = open(&full).unwrap();
    assert!(matches!(snapshot(&store, &volume(9)), Err(StoreError::Full { .. })));
    store.forget(&[made.ids[1], made.ids[2]]).unwrap();
    let report = prune(&store, NOW).unwrap();
    assert!(report.complete && report.freed.0 > 400_000, "{report:?}");
    whole(&full, &[(made.ids[0], volume(0))], "after");
    // What would have to be written again first cannot be, and waits.
    store.forget(&[made.ids[0]]).unwrap();
    assert!(prune(&store, NOW).unwrap().complete);
    assert_eq!(size(&full, "packs"), 0, "all of it is dead now");
}

#[test]
fn a_store_that_cannot_be_read_whole_is_left_alone() {
    let made = three();
    let name = |id: &SnapshotId| ObjectName::new(&format!("snapshots/{}/{id}", id.0.short(2))).unwrap();
    let before = size(&made.objects, "packs");
    open(&made.objects).unwrap().forget(&[made.ids[0]]).unwrap();
    let refused = |objects: &Arc<Memory>| {
        let error = prune(&open(objects).unwrap(), NOW).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("forget it first"), "{error}");
    };
    // A manifest damaged, a manifest gone.
    let damaged = copy(&made.objects);
    let mut bytes = get(&damaged, &name(&made.ids[1]));
    bytes[40] ^= 1;
    damaged.delete(&name(&made.ids[1])).unwrap();
    damaged.put(&name(&made.ids[1]), &bytes).unwrap();
    refused(&damaged);
    let gone = copy(&made.objects);
    gone.delete(&name(&made.ids[1])).unwrap();
    refused(&gone);
    assert_eq!((size(&damaged, "packs"), size(&gone, "packs")), (before, before));
    // A pack gone: what the maps name is not all there.
    for pack in made.objects.list("packs").unwrap() {
        let poorer = copy(&made.objects);
        poorer.delete(&pack).unwrap();
        let left = size(&poorer, "packs");
        if prune(&open(&poorer).unwrap(), LATER).is_err() {
            assert_eq!(size(&poorer, "packs"), left);
            refused(&poorer);
        }
    }
    // Forgotten first, it can be pruned.
    open(&damaged).unwrap().forget(&[made.ids[1]]).unwrap();
    prune(&open(&damaged).unwrap(), NOW).unwrap();
    whole(&damaged, &[(made.ids[2], volume(2))], "after");
}

#[test]
fn a_copy_goes_only_where_the_other_is_good() {
    let made = three();
    let store = open(&made.objects).unwrap();
    store.forget(&[made.ids[0]]).unwrap();
    // The first prune writes again what is mostly dead; the old packs wait for the second.
    let old = made.objects.list("packs").unwrap();
    let rewritten = prune(&store, LATER).unwrap().condemned;
    let new: Vec<ObjectName> = made.objects.list("packs").unwrap().into_iter().filter(|n| !old.contains(n)).collect();
    assert!(!new.is_empty());
    let mut kept = 0;
    // The disk spoils a new pack meanwhile, where no footer shows it.
    for name in &new {
        let objects = copy(&made.objects);
        let mut bytes = get(&objects, name);
        bytes[100] ^= 1;
        objects.delete(name).unwrap();
        objects.put(name, &bytes).unwrap();
        // Of data the old copy is kept. Of a map too, or it is in use again: where the bad copy happens to be read first.
        let report = prune(&open(&objects).unwrap(), LATER).unwrap();
        assert!(report.deleted < rewritten, "{report:?}");
        kept += report.kept;
        // Without the spoilt one the store is whole: the old copies are still there.
        objects.delete(name).unwrap();
        let store = open(&objects).unwrap();
        for n in [1, 2] {
            let manifest = store.manifest(made.ids[n]).unwrap();
            assert_eq!(load(&store, manifest.volumes[0].map).unwrap(), volume(u32::try_from(n).unwrap()));
        }
    }
    assert!((1..=2).contains(&kept), "{kept}");
}

#[test]
fn it_can_be_stopped_anywhere() {
    let made = three();
    open(&made.objects).unwrap().forget(&[made.ids[0]]).unwrap();
    let mut asked = 0;
    for stop in 0.. {
        let objects = copy(&made.objects);
        let mut left = stop;
        let report = open(&objects).unwrap().prune(NOW, &mut |_, _, _| {
            left -= 1;
            left >= 0
        });
        let report = report.unwrap();
        whole(&objects, &[(made.ids[1], volume(1)), (made.ids[2], volume(2))], &format!("stopped at {stop}"));
        if report.complete {
            break;
        }
        asked += 1;
    }
    assert!(asked > 8, "{asked}");
}

#[test]
fn an_encrypted_store_forgets_and_prunes_alike() {
    let key = || Unlock::KeyFile(Secret::new(vec![7; 64]));
    let objects = Arc::new(Memory::new());
    let options = InitOptions { key: Some((key(), "a file".to_owned())), ..InitOptions::default() };
    let store = Store::init_with(objects.clone(), options).unwrap();
    let ids: Vec<SnapshotId> = (0..3).map(|n| snapshot(&store, &volume(n)).unwrap().0).collect();
    store.put_note(ids[2], Says::Pin, UnixMicros(1)).unwrap();
    for id in &ids {
        assert!(
            !objects.list("snapshots").unwrap().iter().any(|n| n.as_str().contains(&id.0.short(12))),
            "names say nothing"
        );
        assert_eq!(store.find(&SnapRef::Prefix(id.0.short(12)), None).unwrap().0, *id);
    }
    store.forget(&[ids[0]]).unwrap();
    let before = size(&objects, "packs");
    assert!(prune(&store, NOW).unwrap().complete);
    assert!(size(&objects, "packs") + 1_000_000 < before);
    let options = OpenOptions { unlock: Some(key()), ..OpenOptions::default() };
    let store = Store::open_with(objects.clone(), Arc::new(LocalDecoder), options).unwrap();
    let listing = store.list().unwrap();
    assert!(listing.damage.is_empty() && listing.notes[&ids[2]].pinned, "{:?}", listing.damage);
    for (n, (id, manifest)) in listing.snapshots.iter().enumerate() {
        assert_eq!(*id, ids[n + 1]);
        assert_eq!(load(&store, manifest.volumes[0].map).unwrap(), volume(u32::try_from(n).unwrap() + 1));
    }
    assert!(store.check(true, &mut |_, _| true).unwrap().is_clean());
    // Nothing of a record can be read without the key, and one changed byte shows.
    for name in objects.list("").unwrap().iter().filter(|n| n.as_str().starts_with("inventory/")) {
        let bytes = get(&objects, name);
        assert!(!bytes.windows(8).any(|w| w == b"\"before\""), "{}", name.as_str());
    }
}
