//! The inventory: whatever is taken out of a store, put back or exchanged shows, and what a cut left is put in order.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::objects::{copy, get, intent};
use common::*;
use model::id::{Digest, SnapshotId};
use model::note::{Noted, Says};
use model::ports::{ObjectName, ObjectStore, UnixMicros};
use model::snapshot::Receipt;
use model::units::ByteLen;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::backend::Memory;
use store::{Decode, Listing, LocalDecoder, SigningKey, Store, StoreError, SystemEntropy};

fn take(store: &Store, seed: u32) -> SnapshotId {
    snapshot(store, &Volume::of(&[(0, fill(2, seed, 3000))])).unwrap().0
}

fn label(text: &str) -> Says {
    Says::Label { text: text.into(), automatic: false }
}

/// A store with some of every record, and its snapshots.
fn some() -> (Arc<Memory>, Vec<SnapshotId>) {
    let objects = Arc::new(Memory::new());
    let store = Store::init(objects.clone()).unwrap();
    let ids: Vec<SnapshotId> = (1..4).map(|seed| take(&store, seed)).collect();
    store.put_note(ids[0], Says::Pin, UnixMicros(1)).unwrap();
    store.put_note(ids[0], label("first"), UnixMicros(1)).unwrap();
    let id = store.put_intent(&intent(ids[2], ids[0])).unwrap();
    let (written, verified, ended) = (ByteLen(1), ByteLen(1), UnixMicros(8));
    store.put_receipt(&Receipt { format: 1, intent: id, holds: ids[0], written, verified, ended }).unwrap();
    store.put_note(ids[1], Says::Proven { how: "booted".into() }, UnixMicros(2)).unwrap();
    (objects, ids)
}

fn is_clean(objects: &Arc<Memory>) -> bool {
    open(objects).is_ok_and(|s| s.check(true, &mut |_, _| true).is_ok_and(|r| r.is_clean()))
}

fn listed(objects: &Arc<Memory>) -> Listing {
    open(objects).unwrap().list().unwrap()
}

#[test]
fn notes_are_shown_and_the_last_counts() {
    let (objects, ids) = some();
    let store = open(&objects).unwrap();
    let summaries = store.list().unwrap().summaries();
    assert_eq!(summaries[0].label.as_ref().unwrap().as_str(), "first");
    assert!(summaries[0].pinned && !summaries[1].pinned && summaries[1].proven.is_some());
    // The very same note again, after another: it counts again.
    for says in [Says::Unpin, Says::Pin, Says::Unpin] {
        store.put_note(ids[0], says, UnixMicros(1)).unwrap();
    }
    assert_eq!(listed(&objects).notes[&ids[0]], Noted { label: Some("first".into()), ..Noted::default() });
    let nothing = SnapshotId(Digest::of(b"nothing"));
    assert!(matches!(store.put_note(nothing, Says::Pin, UnixMicros(1)), Err(StoreError::NoSuch { .. })));
    assert!(is_clean(&objects));
}

#[test]
fn anything_that_is_gone_is_missed() {
    let (objects, _) = some();
    assert!(is_clean(&objects));
    let head = open(&objects).unwrap().head().unwrap().unwrap();
    let entries = objects.list("inventory").unwrap();
    assert_eq!((entries.len(), head.number), (8, 8));
    for name in objects.list("").unwrap() {
        let kind = name.as_str().split('/').next().unwrap();
        // The index is disposable; the newest entry is missed by who remembers it.
        if kind == "index" || Some(&name) == entries.last() {
            continue;
        }
        let poorer = copy(&objects);
        poorer.delete(&name).unwrap();
        assert!(!is_clean(&poorer), "{} is not missed", name.as_str());
        if kind == "snapshots" || kind == "inventory" || kind == "notes" {
            assert_eq!(listed(&poorer).damage.len(), 1, "{}", name.as_str());
        }
    }
    let poorer = copy(&objects);
    poorer.delete(entries.last().unwrap()).unwrap();
    let store = open(&poorer).unwrap();
    let refused = store.verify_head(head).unwrap_err().to_string();
    assert!(refused.contains("ends at entry 7") && refused.contains("had entry 8"), "{refused}");
    // Cut off before the entry: the record counts, and the next writer enters it.
    assert_eq!(store.list().unwrap().summaries()[1].proven.as_ref().unwrap().as_str(), "booted");
    take(&store, 9);
    assert_eq!(store.head().unwrap().unwrap().number, 9);
    assert!(is_clean(&poorer));
    // It is the same entry as before, made anew: who remembers the old head sees the store it knows.
    assert_eq!(store.verify_head(head), Ok(()));
}

#[test]
fn every_entry_is_bound_to_the_one_before() {
    // Two stores with one history up to a point.
    let (one, ids) = some();
    let other = copy(&one);
    let store = open(&one).unwrap();
    store.put_note(ids[2], label("here"), UnixMicros(1)).unwrap();
    let at = store.head().unwrap().unwrap();
    store.put_note(ids[2], Says::Pin, UnixMicros(1)).unwrap();
    let there = open(&other).unwrap();
    there.put_note(ids[2], label("there"), UnixMicros(1)).unwrap();
    there.put_note(ids[2], Says::Unpin, UnixMicros(1)).unwrap();
    // Another history with as many entries.
    let refused = there.verify_head(at).unwrap_err().to_string();
    assert!(refused.contains("another history"), "{refused}");
    assert_eq!(store.verify_head(at), Ok(()));
    // An entry exchanged for the other history's.
    let ninth = |objects: &Memory| {
        let names = objects.list("inventory").unwrap();
        names.into_iter().find(|n| n.as_str().contains("/0000000000000009-")).unwrap()
    };
    let exchanged = copy(&one);
    exchanged.delete(&ninth(&one)).unwrap();
    exchanged.put(&ninth(&other), &get(&other, &ninth(&other))).unwrap();
    assert!(listed(&exchanged).damage.iter().any(|d| d.as_str().contains("not the one that the next entry follows")));
    // Under another number.
    let moved = copy(&one);
    let bytes = get(&one, &ninth(&one));
    moved.delete(&ninth(&one)).unwrap();
    let name = ninth(&one).as_str().replace("0000000000000009-", "000000000000000b-");
    moved.put(&ObjectName::new(&name).unwrap(), &bytes).unwrap();
    assert!(!is_clean(&moved));
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    // On a place without a lock both enter something under one number.
    let (one, ids) = some();
    let other = copy(&one);
    let store = open(&one).unwrap();
    store.forget(&[ids[1]]).unwrap();
    open(&other).unwrap().put_note(ids[2], label("meanwhile"), UnixMicros(1)).unwrap();
    let more = take(&open(&other).unwrap(), 50);
    let both = copy(&one);
    for name in other.list("").unwrap().iter().filter(|n| !n.as_str().starts_with("snapshots/")) {
        both.put(name, &get(&other, name)).unwrap();
    }
    let name = ObjectName::new(&format!("snapshots/{}/{more}", more.0.short(2))).unwrap();
    both.put(&name, &get(&other, &name)).unwrap();
    let check = |objects: &Arc<Memory>, what: &str| {
        let listing = listed(objects);
        assert!(listing.damage.is_empty(), "{what}: {:?}", listing.damage);
        let there: Vec<SnapshotId> = listing.snapshots.iter().map(|(id, _)| *id).collect();
        assert_eq!(there, [ids[0], ids[2], more], "{what}");
        assert_eq!(listing.notes[&ids[2]].label.as_ref().unwrap().as_str(), "meanwhile", "{what}");
        assert!(is_clean(objects), "{what}");
    };
    check(&both, "side by side");
    let store = open(&both).unwrap();
    drop(store.writer().unwrap());
    check(&both, "entered again");
    // What stood beside the chain is in it now, and is needed no more.
    let head = store.head().unwrap().unwrap();
    drop(store.writer().unwrap());
    assert_eq!(store.head().unwrap(), Some(head), "once");
}

#[test]
fn checkpoints_keep_it_short() {
    let (objects, ids) = some();
    let store = open(&objects).unwrap();
    let early = store.head().unwrap().unwrap();
    for n in 0..900 {
        let says = if n % 2 == 0 { Says::Pin } else { label(&format!("label {}", n % 20)) };
        store.put_note(ids[2], says, UnixMicros(n)).unwrap();
    }
    store.forget(&[ids[1]]).unwrap();
    let entries = objects.list("inventory").unwrap().len();
    assert!(entries < 2 * 258, "{entries} entries");
    let head = store.head().unwrap().unwrap();
    assert_eq!(head.number, 8 + 900 + 1 + 3, "three checkpoints");
    let fresh = open(&objects).unwrap();
    assert_eq!((fresh.head().unwrap(), fresh.verify_head(head)), (Some(head), Ok(())));
    assert_eq!(fresh.verify_head(early), Ok(()), "too old to be compared");
    let listing = fresh.list().unwrap();
    assert_eq!(listing.notes[&ids[2]].label.as_ref().unwrap().as_str(), "label 19");
    assert_eq!(listing.snapshots.len(), 2);
    assert!(is_clean(&objects));
    // What a checkpoint says is missed like anything else, though the entry of it is gone long since.
    let name = ObjectName::new(&format!("snapshots/{}/{}", ids[0].0.short(2), ids[0])).unwrap();
    let bytes = get(&objects, &name);
    objects.delete(&name).unwrap();
    assert!(listed(&objects).damage[0].as_str().contains("must be there"));
    objects.put(&name, &bytes).unwrap();
    // Counters go on behind those of forgotten ones.
    let (_, made) = snapshot(&fresh, &Volume::of(&[(0, fill(2, 77, 3000))])).unwrap();
    assert_eq!(made.counter, 4);
    store.forget(&[listing.snapshots[1].0]).unwrap();
    let (last, made) = snapshot(&fresh, &Volume::of(&[(0, fill(2, 78, 3000))])).unwrap();
    assert_eq!(made.counter, 5);
    store.forget(&[last]).unwrap();
    assert_eq!(snapshot(&fresh, &Volume::default()).unwrap().1.counter, 6);
}

#[test]
fn a_torn_head_is_put_in_order_by_the_next_writer() {
    let (objects, _) = some();
    let last = objects.list("inventory").unwrap().pop().unwrap();
    let whole = get(&objects, &last);
    for torn in [&[][..], &whole[..whole.len() / 2], &vec![0; whole.len()]] {
        let objects = copy(&objects);
        objects.delete(&last).unwrap();
        objects.put(&last, torn).unwrap();
        let store = open(&objects).unwrap();
        assert_eq!(store.head().unwrap().unwrap().number, 7);
        assert!(!is_clean(&objects), "it is told");
        assert!(store.list().unwrap().damage.is_empty(), "and no snapshot is hurt");
        take(&store, 60);
        assert!(is_clean(&objects));
        assert_eq!(store.head().unwrap().unwrap().number, 9, "the note was entered again");
    }
    // One of a later format is no torn one.
    let newer = copy(&objects);
    let mut bytes = whole.clone();
    bytes[15] = 2;
    newer.delete(&last).unwrap();
    newer.put(&last, &bytes).unwrap();
    let store = open(&newer).unwrap();
    assert!(matches!(store.writer().err(), Some(StoreError::Newer { found: 2 })));
    assert_eq!(get(&newer, &last), bytes);
}

#[test]
fn a_forgotten_snapshot_does_not_come_back() {
    let (objects, ids) = some();
    let name = |id: &SnapshotId| ObjectName::new(&format!("snapshots/{}/{id}", id.0.short(2))).unwrap();
    let bytes = get(&objects, &name(&ids[1]));
    let store = open(&objects).unwrap();
    let nothing = SnapshotId(Digest::of(b"nothing"));
    assert!(matches!(store.forget(&[ids[1], nothing]), Err(StoreError::NoSuch { .. })));
    assert_eq!(store.list().unwrap().snapshots.len(), 3, "all or none");
    store.forget(&[ids[1], ids[1]]).unwrap();
    assert!(matches!(store.manifest(ids[1]), Err(StoreError::NoSuch { .. })));
    // The manifest's deletion did not last.
    objects.put(&name(&ids[1]), &bytes).unwrap();
    let store = open(&objects).unwrap();
    let there: Vec<SnapshotId> = store.list().unwrap().snapshots.iter().map(|(id, _)| *id).collect();
    assert_eq!(there, [ids[0], ids[2]]);
    assert!(is_clean(&objects));
    drop(store.writer().unwrap());
    assert!(objects.len(&name(&ids[1])).is_err(), "the next writer deletes it");
    // One that is damaged, and one that is gone, can be forgotten too.
    objects.delete(&name(&ids[0])).unwrap();
    objects.put(&name(&ids[0]), &bytes).unwrap();
    objects.delete(&name(&ids[2])).unwrap();
    let listing = store.list().unwrap();
    assert_eq!((listing.snapshots.len(), listing.unusable), (0, BTreeSet::from([ids[0], ids[2]])));
    store.forget(&[ids[0], ids[2]]).unwrap();
    assert!(store.list().unwrap().damage.is_empty());
}

#[test]
fn only_who_is_required_is_believed() {
    let objects = Arc::new(Memory::new());
    let store = Store::init(objects.clone()).unwrap();
    let [us, them] = [(); 2].map(|()| SigningKey::generate(&SystemEntropy).unwrap());
    let unsigned = take(&store, 1);
    store.set_signer(us.clone());
    let ours = take(&store, 2);
    store.set_signer(them.clone());
    let theirs = take(&store, 3);
    let signers = listed(&objects).signers;
    assert_eq!((signers.get(&unsigned), &signers[&ours], &signers[&theirs]), (None, &vec![us.id()], &vec![them.id()]));
    let strict = open(&objects).unwrap();
    strict.require_signers([us.id()].into());
    assert!(strict.manifest(ours).is_ok());
    for other in [unsigned, theirs] {
        assert!(matches!(strict.manifest(other), Err(StoreError::Untrusted { .. })), "{other}");
    }
    let listing = strict.list().unwrap();
    assert_eq!((listing.snapshots.len(), listing.damage.len()), (1, 2), "they are named, not hidden");
    // A writer that does not sign makes nothing here.
    assert!(matches!(snapshot(&strict, &Volume::default()), Err(StoreError::Untrusted { .. })));
    strict.set_signer(us.clone());
    assert!(snapshot(&strict, &Volume::default()).is_ok());
    // A signature moved onto another snapshot.
    let name = |id: &SnapshotId| ObjectName::new(&format!("snapshots/{}/{id}", id.0.short(2))).unwrap();
    let bytes = get(&objects, &name(&ours));
    let plain = u32::from_le_bytes(bytes[20..24].try_into().unwrap());
    let body = &bytes[24..bytes.len() - 32];
    let mut body = if bytes[17] == 1 { LocalDecoder.frame(body, plain).unwrap() } else { body.to_vec() };
    *body.last_mut().unwrap() ^= 1;
    let mut forged = bytes[..24].to_vec();
    forged[17] = 0;
    forged.extend(body);
    let sum = Digest::of(&forged).0;
    objects.delete(&name(&ours)).unwrap();
    objects.put(&name(&ours), &[&forged[..], &sum].concat()).unwrap();
    assert!(matches!(open(&objects).unwrap().manifest(ours), Err(StoreError::Untrusted { .. })));
}
