//! Damage of any pack or index object is healed from another store, and costs as little as it can without one.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::objects::get;
use common::*;
use model::id::SnapshotId;
use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::backend::Memory;
use store::{InitOptions, LocalDecoder, OpenOptions, PruneOptions, Secret, Store, Unlock};

type Objects = BTreeMap<ObjectName, Vec<u8>>;

fn all(objects: &Memory) -> Objects {
    objects.list("").unwrap().into_iter().map(|name| (name.clone(), get(objects, &name))).collect()
}

fn stored(objects: &Objects) -> Arc<Memory> {
    let memory = Memory::new();
    objects.iter().for_each(|(name, bytes)| memory.put(name, bytes).unwrap());
    Arc::new(memory)
}

fn go_on(_: ByteLen, _: ByteLen) -> bool {
    true
}

/// Two snapshots that share nothing, so that each has packs of its own.
fn made() -> (Objects, Vec<(SnapshotId, Volume)>) {
    let objects = Arc::new(Memory::new());
    let store = Store::init(objects.clone()).unwrap();
    let volumes = [
        // Frames of noise, which is stored as it is, and of words.
        Volume::of(&[(0, fill(2, 1, 2_500_000)), (1 << 24, fill(1, 2, 90_000))]),
        Volume::of(&[(1 << 23, fill(2, 3, 1_300_000)), (1 << 25, fill(1, 4, 90_000))]),
    ];
    let snapshots = volumes.into_iter().map(|v| (snapshot(&store, &v).unwrap().0, v)).collect();
    (all(&objects), snapshots)
}

/// Every way to damage one pack or index object: flipped in three places, torn, gone.
fn damages(good: &Objects) -> Vec<(String, Objects)> {
    let mut out = Vec::new();
    for (name, bytes) in good.iter().filter(|(n, _)| n.as_str().starts_with("packs") || n.as_str().starts_with("index"))
    {
        let mut damaged = |what: &str, change: &dyn Fn(&mut Objects)| {
            let mut objects = good.clone();
            change(&mut objects);
            out.push((format!("{} {what}", name.as_str()), objects));
        };
        for at in [3, bytes.len() / 2, bytes.len() - 60] {
            damaged(&format!("flipped at {at}"), &|o| o.get_mut(name).unwrap()[at] ^= 1);
        }
        damaged("torn", &|o| o.get_mut(name).unwrap().truncate(bytes.len() / 2));
        damaged("gone", &|o| drop(o.remove(name)));
    }
    out
}

fn restores(store: &Store, (id, volume): &(SnapshotId, Volume)) -> bool {
    let map = store.manifest(*id).unwrap().volumes[0].map;
    load(store, map).is_ok_and(|v| v == *volume)
}

/// Nothing that was there is gone or changed, but for index objects, which others may replace.
fn only_added(before: &Objects, objects: &Memory, case: &str) {
    let after = all(objects);
    let mut lasting = before.iter().filter(|(name, _)| !name.as_str().starts_with("index/"));
    assert!(lasting.all(|(name, bytes)| after.get(name) == Some(bytes)), "{case}");
}

#[test]
fn with_another_store_everything_is_whole_again() {
    let (good, snapshots) = made();
    let other = open(&stored(&good)).unwrap();
    for (case, damaged) in damages(&good) {
        let objects = stored(&damaged);
        let affected = open(&objects).unwrap().check(true, &mut go_on).unwrap().affected;
        let report = open(&objects).unwrap().repair(Some(&other), &mut go_on).unwrap();
        assert!(report.complete && report.missing.is_empty(), "{case}: {report:?}");
        assert!(affected.iter().all(|id| report.healed.contains(id)), "{case}: {affected:?} {report:?}");
        only_added(&damaged, &objects, &case);
        let store = open(&objects).unwrap();
        assert!(snapshots.iter().all(|s| restores(&store, s)), "{case}: {report:?}");
        let check = open(&objects).unwrap().check(true, &mut go_on).unwrap();
        assert_eq!(check.affected, [], "{case}: {check:?}");
        // What is healed stays so, and another repair finds nothing to do.
        let before = all(&objects);
        let again = open(&objects).unwrap().repair(None, &mut go_on).unwrap();
        assert_eq!((again.healed.len(), again.missing.len(), again.salvaged, again.indexed), (0, 0, 0, 0), "{case}");
        assert_eq!(all(&objects), before, "{case}");
        // Nor does anything that is damaged outlive a prune.
        open(&objects).unwrap().prune(PruneOptions::default(), &mut |_, _, _| true).unwrap();
        let store = open(&objects).unwrap();
        let check = store.check(true, &mut go_on).unwrap();
        assert!(check.is_clean(), "{case}: {check:?}");
        assert!(snapshots.iter().all(|s| restores(&store, s)), "{case}");
        assert_eq!(store.repair(None, &mut go_on).unwrap().damaged_packs, [], "{case}");
    }
}

#[test]
fn without_one_what_can_be_read_is_stored_anew() {
    let (good, snapshots) = made();
    let (mut salvaged, mut healed, mut lost) = (0, 0, 0);
    for (case, damaged) in damages(&good) {
        let objects = stored(&damaged);
        let affected = open(&objects).unwrap().check(true, &mut go_on).unwrap().affected;
        let report = open(&objects).unwrap().repair(None, &mut go_on).unwrap();
        only_added(&damaged, &objects, &case);
        let store = open(&objects).unwrap();
        let missing: Vec<SnapshotId> = report.missing.iter().map(|m| m.snapshot).collect();
        for s in &snapshots {
            assert_eq!(restores(&store, s), !missing.contains(&s.0), "{case}: {report:?}");
        }
        assert!(missing.iter().all(|id| affected.contains(id)), "{case}: only what was damaged is missing: {report:?}");
        let check = open(&objects).unwrap().check(true, &mut go_on).unwrap();
        assert_eq!(check.affected, missing, "{case}");
        salvaged += report.salvaged;
        healed += report.healed.len();
        lost += missing.len();
        // What was salvaged is not fetched: the rest is.
        let other = open(&stored(&good)).unwrap();
        let report = open(&objects).unwrap().repair(Some(&other), &mut go_on).unwrap();
        assert_eq!((report.healed, report.missing.len()), (missing, 0), "{case}");
    }
    assert!(salvaged > 50 && healed > 0 && lost > 0, "{salvaged} chunks, {healed} snapshots healed, {lost} lost");
}

#[test]
fn a_sealed_store_is_repaired_from_a_plain_one() {
    let (good, snapshots) = made();
    let plain = open(&stored(&good)).unwrap();
    let key = || Unlock::KeyFile(Secret::new(vec![7; 32]));
    let objects = Arc::new(Memory::new());
    let options = InitOptions { key: Some((key(), "a key file".to_owned())), ..InitOptions::default() };
    let sealed = Store::init_with(objects.clone(), options).unwrap();
    let ids: Vec<SnapshotId> = snapshots.iter().map(|(id, _)| *id).collect();
    plain.copy_to(&sealed, &ids, &mut go_on).unwrap();
    let unlocked = |objects: &Arc<Memory>| {
        let options = OpenOptions { unlock: Some(key()), ..OpenOptions::default() };
        Store::open_with(objects.clone(), Arc::new(LocalDecoder), options).unwrap()
    };
    let mut salvaged = 0;
    // Every fourth: of five for each object, so that every kind comes to several.
    for (case, damaged) in damages(&all(&objects)).into_iter().step_by(4) {
        let objects = stored(&damaged);
        let alone = unlocked(&objects).repair(None, &mut go_on).unwrap();
        salvaged += alone.salvaged;
        let missing: Vec<SnapshotId> = alone.missing.iter().map(|m| m.snapshot).collect();
        assert_eq!(unlocked(&objects).check(true, &mut go_on).unwrap().affected, missing, "{case}");
        let report = unlocked(&objects).repair(Some(&plain), &mut go_on).unwrap();
        assert_eq!((report.healed, report.missing.len()), (missing, 0), "{case}");
        only_added(&damaged, &objects, &case);
        let store = unlocked(&objects);
        assert!(snapshots.iter().all(|s| restores(&store, s)), "{case}");
        assert_eq!(store.check(true, &mut go_on).unwrap().affected, [], "{case}");
    }
    assert!(salvaged > 0, "frames beside the damaged one are read");
}

type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Every way to damage one manifest: gone, flipped, torn, empty.
fn without_a_manifest(good: &Objects) -> Vec<(ObjectName, Objects)> {
    let manifests = good.keys().filter(|n| n.as_str().starts_with("snapshots"));
    let case = |name: &ObjectName, change: Change<'_>| {
        let mut objects = good.clone();
        change(objects.get_mut(name).unwrap());
        (name.clone(), objects)
    };
    manifests
        .flat_map(|name| {
            let mut gone = good.clone();
            gone.remove(name);
            let len = good[name].len();
            let cases: [Change<'_>; 4] =
                [&|b| b[50] ^= 1, &|b| b[len - 1] ^= 1, &|b| b.truncate(len / 2), &|b| b.clear()];
            cases.map(|change| case(name, change)).into_iter().chain([(name.clone(), gone)])
        })
        .collect()
}

#[test]
fn a_record_that_is_gone_or_damaged_is_copied_and_named_where_there_is_no_copy() {
    let (good, snapshots) = made();
    let other = open(&stored(&good)).unwrap();
    for (name, damaged) in without_a_manifest(&good) {
        let objects = stored(&damaged);
        let alone = open(&objects).unwrap().repair(None, &mut go_on).unwrap();
        assert_eq!((alone.healed.len(), alone.missing.len()), (0, 1), "{alone:?}");
        only_added(&damaged, &objects, name.as_str());
        let report = open(&objects).unwrap().repair(Some(&other), &mut go_on).unwrap();
        assert!(report.complete);
        assert_eq!((report.healed.len(), report.missing.len()), (1, 0), "{report:?}");
        assert!(report.unreadable.is_empty(), "{report:?}");
        let mut others = damaged.clone();
        others.remove(&name);
        only_added(&others, &objects, name.as_str());
        let store = open(&objects).unwrap();
        assert_eq!(store.list().unwrap().snapshots.len(), 2);
        assert!(snapshots.iter().all(|s| restores(&store, s)));
        assert!(store.check(true, &mut go_on).unwrap().is_clean());
    }
}

/// A manifest of a newer format is not damage, and one that another store does not have stays as it is.
#[test]
fn what_is_not_damaged_makes_no_way() {
    let (good, _) = made();
    let name = good.keys().find(|n| n.as_str().starts_with("snapshots")).unwrap();
    let mut newer = good.clone();
    newer.get_mut(name).unwrap()[15] = 2;
    let mut lacking = good.clone();
    lacking.retain(|n, _| n != name);
    let mut damaged = good.clone();
    damaged.get_mut(name).unwrap()[50] ^= 1;
    for (ours, theirs) in [(&newer, &good), (&damaged, &lacking)] {
        let objects = stored(ours);
        let report = open(&objects).unwrap().repair(Some(&open(&stored(theirs)).unwrap()), &mut go_on).unwrap();
        assert_eq!((report.healed.len(), report.missing.len()), (0, 1), "{report:?}");
        only_added(ours, &objects, name.as_str());
    }
}

/// A store whose power is cut after so many puts and deletions.
struct Cut {
    inner: Arc<Memory>,
    left: AtomicUsize,
}

impl Cut {
    fn spend(&self) -> Result<(), ObjectError> {
        let spent = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        spent
            .map(drop)
            .map_err(|_| ObjectError::Io { what: "the power is cut".into(), source: std::io::Error::other("cut") })
    }
}

impl ObjectStore for Cut {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.spend()?;
        self.inner.put(name, bytes)
    }
    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.spend()?;
        self.inner.delete(name)
    }
    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        self.inner.get(name, at, buf)
    }
    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        self.inner.len(name)
    }
    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        self.inner.list(prefix)
    }
    fn free(&self) -> Option<ByteLen> {
        None
    }
}

/// Cut at any put or deletion, the other snapshot is whole, and the next repair heals the damaged one.
#[test]
fn a_manifest_that_is_put_anew_survives_a_cut() {
    let (good, snapshots) = made();
    let other = open(&stored(&good)).unwrap();
    let name = good.keys().find(|n| n.as_str().starts_with("snapshots")).unwrap();
    let mut damaged = good.clone();
    damaged.get_mut(name).unwrap()[50] ^= 1;
    let mut without_it = 0;
    for left in 0.. {
        let objects = stored(&damaged);
        let cut = Arc::new(Cut { inner: objects.clone(), left: AtomicUsize::new(left) });
        let store = Store::open(cut, Arc::new(LocalDecoder)).unwrap();
        let done = store.repair(Some(&other), &mut go_on).is_ok_and(|report| report.healed.len() == 1);
        drop(store);
        without_it += usize::from(!all(&objects).contains_key(name));
        let store = open(&objects).unwrap();
        let listed = store.list().unwrap().snapshots;
        assert!(
            !listed.is_empty()
                && listed.iter().all(|(id, _)| snapshots.iter().any(|s| s.0 == *id && restores(&store, s)))
        );
        assert!(!done || listed.len() == 2);
        let report = store.repair(Some(&other), &mut go_on).unwrap();
        assert!(report.missing.is_empty() && report.unreadable.is_empty(), "cut after {left}: {report:?}");
        assert!(snapshots.iter().all(|s| restores(&store, s)));
        if done {
            assert!(left > 3 && without_it > 0, "the cut between deletion and put was tried: {left}, {without_it}");
            return;
        }
    }
}

#[test]
fn a_store_that_is_whole_is_left_alone() {
    let (good, _) = made();
    let objects = stored(&good);
    let report = open(&objects).unwrap().repair(None, &mut go_on).unwrap();
    assert_eq!(report, store::Repaired { complete: true, ..store::Repaired::default() });
    assert_eq!(all(&objects), good);
    let stopped = open(&objects).unwrap().repair(None, &mut |_, _| false).unwrap();
    assert!(!stopped.complete);
    assert_eq!(all(&objects), good);
}
