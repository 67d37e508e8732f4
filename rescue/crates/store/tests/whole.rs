//! Taking a whole map over without opening it: only where nothing that it relies on can have gone.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::*;
use model::id::SnapshotId;
use model::note::Says;
use model::ports::{ObjectStore, UnixMicros};
use model::snapshot::{Manifest, MapRoot};
use std::sync::Arc;
use store::backend::Memory;
use store::{InitOptions, Store, SystemEntropy};

fn volume(seed: u32) -> Volume {
    Volume::of(&[(0, fill(2, seed, 300_000)), (1 << 23, fill(1, seed, 9_000))])
}

fn take(store: &Store, seed: u32) -> (SnapshotId, Manifest) {
    snapshot(store, &volume(seed)).unwrap()
}

fn map(manifest: &Manifest) -> MapRoot {
    manifest.volumes[0].map
}

/// Whether a snapshot's map can be taken over whole; a snapshot is made by that where it can.
fn again(objects: &Arc<Memory>, of: SnapshotId) -> Option<SnapshotId> {
    let store = open(objects).unwrap();
    let map = map(&store.manifest(of).unwrap());
    let mut writer = store.writer().unwrap();
    assert_eq!(store.is_unbroken(of).unwrap(), writer.keep_whole(of, map).unwrap());
    if !writer.keep_whole(of, map).unwrap() {
        return None;
    }
    let id = writer.finish(manifest(machine("a"), map)).unwrap().0;
    let report = store.check(true, &mut |_, _| true).unwrap();
    assert!(!report.affected.contains(&id), "{report:?}");
    Some(id)
}

/// A store with two snapshots, the first of them of another machine.
fn two() -> (Arc<Memory>, SnapshotId, SnapshotId) {
    let objects = Arc::new(Memory::new());
    let options = InitOptions { entropy: Arc::new(SystemEntropy), key: None };
    let store = Store::init_with(objects.clone(), options).unwrap();
    let (one, two) = (take(&store, 1).0, take(&store, 2).0);
    (objects, one, two)
}

fn packs(objects: &Memory) -> usize {
    objects.list("packs").unwrap().len()
}

#[test]
fn a_map_is_taken_over_as_long_as_all_packs_are_accounted_for() {
    let (objects, one, two) = two();
    let before = packs(&objects);
    let mut last = two;
    for of in [one, two, one] {
        let id = again(&objects, of).unwrap();
        assert_ne!(id, last);
        last = id;
    }
    assert_eq!(packs(&objects), before, "nothing is stored for it");
    take(&open(&objects).unwrap(), 3);
    for of in [one, two, last] {
        assert!(again(&objects, of).is_some(), "what came since is accounted for");
    }
}

#[test]
fn a_pack_that_is_gone_ends_it_until_all_was_seen_again() {
    let (objects, one, two) = two();
    let gone = objects.list("packs").unwrap().swap_remove(0);
    let bytes = objects::get(&objects, &gone);
    objects.delete(&gone).unwrap();
    assert!(again(&objects, one).is_none() && again(&objects, two).is_none());
    // Somebody else goes on, who does not need it: that it is gone must not be forgotten.
    let (third, _) = take(&open(&objects).unwrap(), 3);
    assert!(again(&objects, one).is_none() && again(&objects, two).is_none());
    assert!(again(&objects, third).is_some(), "what it relies on was there when it was recorded");
    // And not when it comes back either, by which nobody knows what else happened.
    objects.put(&gone, &bytes).unwrap();
    assert!(again(&objects, one).is_none() && again(&objects, third).is_none());
    let (fourth, _) = take(&open(&objects).unwrap(), 1);
    assert!(again(&objects, fourth).is_some());
}

#[test]
fn what_nobody_recorded_ends_it_once() {
    let (objects, _, two) = two();
    // A run that was cut off leaves packs.
    let store = open(&objects).unwrap();
    let mut writer = store.writer().unwrap();
    save(&mut writer, &volume(5), &[]).unwrap();
    writer.prove(&mut |_, _| true).unwrap();
    drop(writer);
    assert!(again(&objects, two).is_none());
    let (third, _) = take(&open(&objects).unwrap(), 2);
    assert!(again(&objects, two).is_none());
    assert!(again(&objects, third).is_some());
}

#[test]
fn a_checkpoint_keeps_what_is_known_of_packs() {
    let (objects, one, two) = two();
    let gone = objects.list("packs").unwrap().swap_remove(0);
    objects.delete(&gone).unwrap();
    let third = take(&open(&objects).unwrap(), 3).0;
    let store = open(&objects).unwrap();
    for n in 0..600 {
        let says = if n % 2 == 0 { Says::Pin } else { Says::Unpin };
        store.put_note(third, says, UnixMicros(n)).unwrap();
    }
    assert!(objects.list("inventory").unwrap().len() < 600, "there were checkpoints");
    assert!(again(&objects, third).is_some());
    assert!(again(&objects, one).is_none() && again(&objects, two).is_none());
}

#[test]
fn only_a_map_of_that_snapshot_is_taken() {
    let (objects, one, two) = two();
    let store = open(&objects).unwrap();
    let other = map(&store.manifest(two).unwrap());
    assert!(!store.writer().unwrap().keep_whole(one, other).unwrap());
    store.forget(&[two]).unwrap();
    assert!(!store.is_unbroken(two).unwrap(), "it may be pruned at any time");
}
