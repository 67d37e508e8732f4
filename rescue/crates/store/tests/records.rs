//! Which snapshot a person means, and what is kept of write-backs.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::*;
use model::id::{SnapRef, SnapshotId};
use model::snapshot::{Manifest, Purpose};
use std::sync::Arc;
use store::backend::Memory;
use store::{Store, StoreError};

fn take(store: &Store, machine_name: &str, purpose: Purpose) -> (SnapshotId, Manifest) {
    let mut writer = store.writer().unwrap();
    let map = save(&mut writer, &Volume::of(&[(0, fill(2, 1, 5000))]), &[]).unwrap();
    let mut wanted = manifest(machine(machine_name), map);
    wanted.purpose = purpose;
    writer.finish(wanted).unwrap()
}

#[test]
fn latest_is_of_this_machine_and_no_undo() {
    let store = Store::init(Arc::new(Memory::new())).unwrap();
    let a = machine("a");
    assert!(matches!(store.find(&SnapRef::Latest, None), Err(StoreError::NoSuch { .. })));
    let (one, _) = take(&store, "a", Purpose::Keep);
    let (two, made) = take(&store, "a", Purpose::Keep);
    assert_eq!(made.parent, Some(one));
    let (undo, made) = take(&store, "a", Purpose::Undo { before: one });
    assert_eq!((made.parent, made.counter), (Some(two), 3));
    assert_eq!(store.find(&SnapRef::Latest, Some(&a)).unwrap().0, two);
    assert_eq!(store.find(&SnapRef::Latest, None).unwrap().0, two, "one machine: no doubt");
    let (after, made) = take(&store, "a", Purpose::Keep);
    assert_eq!(made.parent, Some(two), "an undo snapshot is nobody's parent");
    let (other, made) = take(&store, "b", Purpose::Keep);
    assert_eq!((made.parent, made.counter), (None, 5));
    assert_eq!(store.find(&SnapRef::Latest, Some(&a)).unwrap().0, after);
    assert_eq!(store.find(&SnapRef::Latest, Some(&machine("b"))).unwrap().0, other);
    assert!(matches!(store.find(&SnapRef::Latest, None), Err(StoreError::Ambiguous { .. })));
    assert!(matches!(store.find(&SnapRef::Latest, Some(&machine("c"))), Err(StoreError::NoSuch { .. })));
    // No system in these: none is good.
    assert!(matches!(store.find(&SnapRef::LatestGood, Some(&a)), Err(StoreError::NoSuch { .. })));
    // By prefix any of them can be named.
    for id in [one, two, undo, after, other] {
        for digits in [12, 64] {
            assert_eq!(store.find(&SnapRef::Prefix(id.0.short(digits)), None).unwrap().0, id);
        }
    }
    assert!(matches!(store.find(&SnapRef::Prefix("".to_owned()), None), Err(StoreError::Ambiguous { .. })));
    let missing = store.find(&SnapRef::Prefix("zzzz".to_owned()), None).unwrap_err();
    assert_eq!(missing.to_string(), "a snapshot zzzz is not in the store");
    assert!(matches!(store.manifest(SnapshotId(model::id::Digest::of(b"x"))), Err(StoreError::NoSuch { .. })));
}

#[test]
fn another_program_sees_what_was_added_since() {
    let objects = Arc::new(Memory::new());
    let store = Store::init(objects.clone()).unwrap();
    let early = open(&objects).unwrap();
    let (id, made) = snapshot(&store, &Volume::of(&[(9000, fill(2, 4, 300_000))])).unwrap();
    assert_eq!(early.manifest(id).unwrap(), made);
    assert_eq!(load(&early, made.volumes[0].map).unwrap().used(), 300_000);
    let (_, again) = snapshot(&early, &Volume::of(&[(9000, fill(2, 4, 300_000))])).unwrap();
    assert_eq!((again.cost.new.0, again.counter), (0, 2));
}
