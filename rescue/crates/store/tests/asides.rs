//! What a stopped capture puts aside: whole leaves, durable, taken over by the next one, and never believed without proof.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::objects::{Counted, get, replace};
use common::*;
use model::id::Digest;
use model::ports::{ObjectName, ObjectStore};
use model::snapshot::{Manifest, MapRoot};
use model::units::{ByteLen, ByteOffset, Extent};
use proptest::prelude::*;
use std::sync::Arc;
use store::backend::Memory;
use store::{LEAF, PruneOptions, SigningKey, Store, StoreError, Writer};

const MIB: usize = 1 << 20;

fn init() -> (Arc<Memory>, Store) {
    let objects = Arc::new(Memory::new());
    let store = Store::init(objects.clone()).unwrap();
    (objects, store)
}

fn is_clean(store: &Store) -> bool {
    store.check(true, &mut |_, _| true).unwrap().is_clean()
}

fn put_aside(writer: &mut Writer, map: MapRoot) -> Result<Option<Digest>, StoreError> {
    writer.put_aside(manifest(machine("a"), map), &mut || true)
}

/// Hands over the bytes below an address, and stops there.
fn begin(writer: &mut Writer, volume: &Volume, end: u64) {
    writer.begin(LEN);
    for (start, bytes) in volume.runs.range(..end) {
        let len = bytes.len().min(usize::try_from(end - start).unwrap());
        writer.write(ByteOffset(*start), bytes[..len].to_vec()).unwrap();
    }
}

/// The addresses and digests of a map's leaves.
fn leaves(store: &Store, map: MapRoot) -> Vec<(Extent, Digest)> {
    store.map(map).leaves(Extent::whole(LEN)).map(|leaf| leaf.map(|l| (l.extent, l.content)).unwrap()).collect()
}

/// Saves a volume: the leaves that the aside has are taken over, all else is handed over.
fn go_on(store: &Store, volume: &Volume, aside: &Manifest) -> Manifest {
    let map = aside.volumes[0].map;
    let mut writer = store.writer().unwrap();
    writer.begin(LEN);
    let there = leaves(store, map);
    let mut kept = there.iter().map(|(extent, _)| *extent).peekable();
    for (index, parts) in volume.cells() {
        let at = index * CELL;
        while let Some(leaf) = kept.next_if(|leaf| leaf.start().0 <= at) {
            writer.keep(map, leaf).unwrap();
        }
        if !there.iter().any(|(leaf, _)| (leaf.start().0..leaf.end().0).contains(&at)) {
            parts.into_iter().for_each(|(at, bytes)| writer.write(ByteOffset(at), bytes).unwrap());
        }
    }
    kept.for_each(|leaf| writer.keep(map, leaf).unwrap());
    let map = writer.end().unwrap();
    writer.finish(manifest(machine("a"), map)).unwrap().1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Wherever it is stopped: the leaves it names are those of the whole volume, and what goes on from them is the whole volume.
    #[test]
    fn what_is_complete_is_put_aside(volume in volumes(), end in 0u64..30 << 20, threads in 0usize..3) {
        let (objects, store) = init();
        let store = store.with_threads(threads);
        let mut writer = store.writer().unwrap();
        begin(&mut writer, &volume, end);
        let cut = writer.cut_short().unwrap();
        // Every leaf before the last that was begun is complete.
        let begun = volume.runs.range(..end).flat_map(|(at, b)| [*at, (at + b.len() as u64).min(end) - 1]).max();
        let complete = begun.map_or(0, |at| at / LEAF * LEAF);
        let (_other, whole) = init();
        let (_, expected) = snapshot(&whole, &volume).unwrap();
        let of_whole = leaves(&whole, expected.volumes[0].map);
        let below: Vec<_> = of_whole.into_iter().filter(|(leaf, _)| leaf.end().0 <= complete).collect();
        let Some((map, used)) = cut else {
            prop_assert!(below.len() <= 1);
            return Ok(());
        };
        prop_assert!(put_aside(&mut writer, map).unwrap().is_some());
        drop(writer);

        let store = open(&objects).unwrap();
        let (_, aside) = store.newest_aside(&machine("a")).unwrap().unwrap();
        let saved = leaves(&store, aside.volumes[0].map);
        prop_assert_eq!(load(&store, aside.volumes[0].map).unwrap().used(), used.0);
        // What is gathered to fill a cell of the next leaf did not get there yet.
        prop_assert!(saved.len() + 1 >= below.len() && below.starts_with(&saved), "{:?} of {:?}", saved, below);
        prop_assert!(is_clean(&store));
        let made = go_on(&store, &volume, &aside);
        prop_assert_eq!(made.volumes[0].map.content, expected.volumes[0].map.content);
        prop_assert_eq!(load(&store, made.volumes[0].map).unwrap(), volume);
        prop_assert!(store.asides().unwrap().is_empty() && is_clean(&store));
    }
}

#[test]
fn it_is_there_until_a_snapshot_is() {
    let (objects, store) = init();
    let volume = Volume::of(&[(0, fill(2, 5, 400_000))]);
    let mut writer = store.writer().unwrap();
    let map = save(&mut writer, &volume, &[]).unwrap();
    writer.begin(ByteLen(1 << 20));
    let id = put_aside(&mut writer, map).unwrap().unwrap();
    drop(writer);
    assert_eq!(store.list().unwrap().snapshots.len(), 0);
    let (found, aside) = store.newest_aside(&machine("a")).unwrap().unwrap();
    assert_eq!((found, load(&store, aside.volumes[0].map).unwrap()), (id, volume.clone()));
    assert!(store.newest_aside(&machine("b")).unwrap().is_none());
    // Nothing of it is freed meanwhile.
    store.prune(PruneOptions { now: true, rewrite: 5 }, &mut |_, _, _| true).unwrap();
    assert!(is_clean(&store) && is_clean(&open(&objects).unwrap()));
    let (_, made) = snapshot(&store, &volume).unwrap();
    assert_eq!(made.cost.new.0, 0, "what was put aside is shared");
    assert!(store.asides().unwrap().is_empty() && is_clean(&store));
}

#[test]
fn a_machine_has_one_and_the_writer_goes_on() {
    let (_, store) = init();
    let volume = Volume::of(&[(0, fill(2, 5, 13 * MIB))]);
    let mut writer = store.writer().unwrap();
    let mut ids = Vec::new();
    writer.begin(LEN);
    for at in 0..13 {
        writer.write(ByteOffset((at * MIB) as u64), volume.runs[&0][at * MIB..][..MIB].to_vec()).unwrap();
        if let Some((map, _)) = writer.cut_short().unwrap() {
            ids.push(put_aside(&mut writer, map).unwrap().unwrap());
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 9, "from the second leaf on");
    assert_eq!(store.asides().unwrap().iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[8..]);
    let map = writer.end().unwrap();
    let (_, made) = writer.finish(manifest(machine("a"), map)).unwrap();
    assert_eq!(load(&store, made.volumes[0].map).unwrap(), volume);
    assert!(is_clean(&store));
}

#[test]
fn what_was_not_made_here_is_not_put_aside() {
    let (_, store) = init();
    let (_, made) = snapshot(&store, &Volume::of(&[(0, fill(2, 5, 4000))])).unwrap();
    let mut writer = store.writer().unwrap();
    let other = put_aside(&mut writer, made.volumes[0].map);
    assert!(matches!(other, Err(StoreError::Misuse { .. })), "{other:?}");
    assert!(store.asides().unwrap().is_empty());
}

/// A disk that lies about a pack of an aside: nothing is saved against it.
#[test]
fn its_packs_are_read_before_they_are_relied_on() {
    let (objects, store) = init();
    let volume = Volume::of(&[(0, fill(2, 5, 9 * MIB))]);
    let mut writer = store.writer().unwrap();
    begin(&mut writer, &volume, 9 << 20);
    let (map, _) = writer.cut_short().unwrap().unwrap();
    put_aside(&mut writer, map).unwrap().unwrap();
    drop(writer);
    let packs = objects.list("packs").unwrap();
    let data = packs.iter().max_by_key(|name| objects.len(name).unwrap()).unwrap();
    let mut bytes = get(&objects, data);
    bytes[5000] ^= 1;
    replace(&objects, data, &bytes);
    for store in [store, open(&objects).unwrap()] {
        let (_, aside) = store.newest_aside(&machine("a")).unwrap().unwrap();
        let mut writer = store.writer().unwrap();
        writer.begin(LEN);
        let kept = writer.keep(aside.volumes[0].map, Extent::between(0, LEAF).unwrap());
        assert!(matches!(kept, Err(StoreError::Damaged { .. })), "{kept:?}");
        writer.write(ByteOffset(0), volume.runs[&0].clone()).unwrap();
        assert_eq!(writer.cost().shared.0, 0);
    }
}

/// Where the place is about to be full, it is told while what was saved can still be put aside; and room can be made then.
#[test]
fn a_store_that_becomes_full_keeps_what_was_saved() {
    for threads in [0, 2] {
        let objects = Arc::new(Memory::with_capacity(ByteLen(60 << 20)));
        let store = Store::init(objects.clone()).unwrap().with_threads(threads);
        let old = Volume::of(&[(0, fill(2, 77, 4 * MIB))]);
        let (first, _) = snapshot(&store, &old).unwrap();
        let volume = Volume::of(&[(0, fill(2, 5, 60 * MIB))]);
        let mut writer = store.writer().unwrap();
        writer.begin(LEN);
        let full = volume.runs[&0].chunks(MIB).zip(0u64..).find_map(|(part, n)| {
            writer.write(ByteOffset(n << 20), part.to_vec()).unwrap();
            writer.check_room().err()
        });
        assert!(matches!(full, Some(StoreError::Full { .. })), "{full:?}");
        let (map, _) = writer.cut_short().unwrap().unwrap();
        put_aside(&mut writer, map).unwrap().unwrap();
        drop(writer);
        let (_, aside) = store.newest_aside(&machine("a")).unwrap().unwrap();
        let saved = leaves(&store, aside.volumes[0].map).len() as u64 * LEAF;
        // 60 MB, without the first snapshot, the reserve, what was under way and less than a leaf.
        assert!((16 << 20..=48 << 20).contains(&saved), "{threads} threads: {saved}");
        assert!(is_clean(&store));

        // Room is made with what is left, and the capture goes on; it is still too long for this place.
        store.forget(&[first]).unwrap();
        let freed = store.prune(PruneOptions { now: true, rewrite: 50 }, &mut |_, _, _| true).unwrap();
        assert!(freed.freed.0 >= 4 << 20 && is_clean(&store));
        let short = Volume::of(&[(0, volume.runs[&0][..usize::try_from(saved).unwrap() + MIB].to_vec())]);
        let made = go_on(&store, &short, &aside);
        assert_eq!((made.cost.read.0, load(&store, made.volumes[0].map).unwrap()), (MIB as u64, short));
        assert!(is_clean(&store));
    }
}

/// A place that is full already refuses nothing that needs no room.
#[test]
fn what_is_there_needs_no_room() {
    let (objects, store) = init();
    let volume = Volume::of(&[(0, fill(2, 5, 9 * MIB))]);
    snapshot(&store, &volume).unwrap();
    let small = Arc::new(Memory::with_capacity(ByteLen((9 << 20) + (300 << 10))));
    objects.list("").unwrap().iter().for_each(|name| small.put(name, &get(&objects, name)).unwrap());
    let store = open(&small).unwrap();
    let mut writer = store.writer().unwrap();
    let map = save(&mut writer, &volume, &[MIB]).unwrap();
    writer.check_room().unwrap();
    writer.finish(manifest(machine("a"), map)).unwrap();
    // Anything new does.
    let mut writer = store.writer().unwrap();
    save(&mut writer, &Volume::of(&[(0, fill(2, 6, 4000))]), &[]).unwrap();
    assert!(matches!(writer.check_room(), Err(StoreError::Full { .. })));
}

/// What another wrote is not gone on with: it would be signed. And a signed aside makes no snapshot.
#[test]
fn with_a_signer_only_its_own_is_gone_on_with() {
    let (objects, plain) = init();
    let key = |n: u64| {
        let entropy = Counted::default();
        (0..n).for_each(|_| model::ports::Entropy::fill(&entropy, &mut [0; 32]).unwrap());
        SigningKey::generate(&entropy).unwrap()
    };
    let aside = |store: &Store| {
        let mut writer = store.writer().unwrap();
        let map = save(&mut writer, &Volume::of(&[(0, fill(2, 5, 4000))]), &[]).unwrap();
        put_aside(&mut writer, map).unwrap().unwrap()
    };
    aside(&plain);
    let ours = open(&objects).unwrap();
    ours.set_signer(key(1));
    assert!(ours.newest_aside(&machine("a")).unwrap().is_none(), "nobody signed it");
    let id = aside(&ours);
    assert_eq!(ours.newest_aside(&machine("a")).unwrap().unwrap().0, id);
    let theirs = open(&objects).unwrap();
    theirs.set_signer(key(2));
    assert!(theirs.newest_aside(&machine("a")).unwrap().is_none());

    // As a manifest it has a signature that is not one: of the kinds of records, and what is signed of each.
    let name = |kind: &str| ObjectName::new(&format!("{kind}/{}/{id}", id.short(2))).unwrap();
    let mut bytes = get(&objects, &name("asides"));
    bytes[16] = 1;
    let end = bytes.len() - 32;
    let sum = Digest::of(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.0);
    objects.put(&name("snapshots"), &bytes).unwrap();
    let forged = open(&objects).unwrap().manifest(model::id::SnapshotId(id));
    assert!(matches!(forged, Err(StoreError::Untrusted { .. })), "{forged:?}");
}
