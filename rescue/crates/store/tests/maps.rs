//! What was saved comes back; equal content has one map; a difference is exactly the difference.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::*;
use model::id::{Digest, NodeId};
use model::units::{ByteLen, ByteOffset, Extent};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::backend::Memory;
use store::{LeafHasher, MAX_VOLUME, SliceContent, Store, StoreError};

fn empty() -> Store {
    Store::init(Arc::new(Memory::new())).unwrap()
}

/// Every block of the runs of a cell with its place in the cell's chunk.
fn blocks(runs: &[(u64, Vec<u8>)]) -> BTreeMap<u64, (usize, Vec<u8>)> {
    let (mut at, mut out) = (0, BTreeMap::new());
    for (start, bytes) in runs {
        for (n, block) in (0..).zip(bytes.chunks(512)) {
            out.insert(start + n * 512, (at, block.to_vec()));
            at += block.len();
        }
    }
    out
}

/// What a difference must give, block by block: what is not the same part of the same chunk. On the grid a chunk is the
/// used bytes of a cell.
fn naive_diff(present: &Volume, wanted: &Volume) -> Volume {
    let there = present.cells();
    let whole = |runs: &[(u64, Vec<u8>)]| runs.iter().flat_map(|(_, b)| b.clone()).collect::<Vec<u8>>();
    let mut out = Volume::default();
    for (cell, runs) in wanted.cells() {
        let old = there.get(&cell).map(Vec::as_slice).unwrap_or_default();
        let (chunk, old_chunk, old) = (whole(&runs), whole(old), blocks(old));
        let zero = chunk.iter().chain(&old_chunk).all(|b| *b == 0);
        for (start, (at, bytes)) in blocks(&runs) {
            let same = old.get(&start).is_some_and(|(then, _)| zero || (chunk == old_chunk && *then == at));
            if !same {
                out.put(start, &bytes);
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_saved_comes_back(volume in volumes(), cuts in prop::collection::vec(1usize..300_000, 1..5)) {
        let store = empty();
        let mut writer = store.writer().unwrap();
        let root = save(&mut writer, &volume, &cuts).unwrap();
        let again = save(&mut writer, &volume, &[131_072, 1, 511]).unwrap();
        prop_assert_eq!(root, again, "the map does not depend on how the runs were cut");
        prop_assert_eq!(writer.cost().read.0, volume.used() * 2);
        let (id, made) = writer.finish(manifest(machine("a"), root)).unwrap();
        prop_assert_eq!(store.manifest(id).unwrap(), made);
        prop_assert_eq!(&load(&store, root).unwrap(), &volume);
        prop_assert_eq!(store.map(root).used().unwrap().0, volume.used());
        let report = store.check(true, &mut |_, _| true).unwrap();
        prop_assert!(report.is_clean(), "{:?}", report);
    }

    #[test]
    fn a_map_does_not_depend_on_the_store(volume in volumes(), other in volumes()) {
        let (one, two) = (empty(), empty());
        let root = save(&mut one.writer().unwrap(), &volume, &[]).unwrap();
        let mut writer = two.writer().unwrap();
        save(&mut writer, &other, &[]).unwrap();
        prop_assert_eq!(save(&mut writer, &volume, &[4096]).unwrap(), root);
    }

    #[test]
    fn the_difference_is_the_difference(base in volumes(), a in volumes(), b in volumes()) {
        // Two volumes with a common part, so that there is something to skip.
        let with = |more: &Volume| {
            let mut v = more.clone();
            base.runs.iter().for_each(|(at, bytes)| v.put(*at, bytes));
            v
        };
        let (a, b) = (with(&a), with(&b));
        let store = empty();
        let mut writer = store.writer().unwrap();
        let (ra, rb) = (save(&mut writer, &a, &[]).unwrap(), save(&mut writer, &b, &[]).unwrap());
        writer.finish(manifest(machine("a"), ra)).unwrap();
        for (from, to, present, wanted) in [(&a, &b, ra, rb), (&b, &a, rb, ra), (&a, &a, ra, ra)] {
            let mut got = Volume::default();
            let mut last = 0;
            for slice in store.diff(present, wanted) {
                let slice = slice.unwrap();
                prop_assert!(slice.extent.start().0 >= last);
                last = slice.extent.end().0;
                got.put(slice.extent.start().0, &store.read(&slice).unwrap());
            }
            prop_assert_eq!(got, naive_diff(from, to));
        }
    }

    #[test]
    fn slices_of_a_part_are_the_part(volume in volumes(), start in 0u64..30_000_000, len in 0u64..10_000_000) {
        let store = empty();
        let mut writer = store.writer().unwrap();
        let root = save(&mut writer, &volume, &[]).unwrap();
        writer.finish(manifest(machine("a"), root)).unwrap();
        let part = Extent::between(start, start + len).unwrap();
        let mut got = Volume::default();
        for slice in store.map(root).slices(part) {
            let slice = slice.unwrap();
            prop_assert!(part.contains(slice.extent));
            got.put(slice.extent.start().0, &store.read(&slice).unwrap());
        }
        let mut want = Volume::default();
        for (at, bytes) in &volume.runs {
            if let Some(e) = part.intersect(Extent::between(*at, at + bytes.len() as u64).unwrap()) {
                let from = usize::try_from(e.start().0 - at).unwrap();
                want.put(e.start().0, &bytes[from..from + usize::try_from(e.len().0).unwrap()]);
            }
        }
        prop_assert_eq!(got, want);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_snapshot_stays_readable(volumes in prop::collection::vec(volumes(), 1..6)) {
        let objects = Arc::new(Memory::new());
        let store = Store::init(objects.clone()).unwrap();
        let mut saved = Vec::new();
        for volume in &volumes {
            saved.push(snapshot(&store, volume).unwrap());
        }
        // By a fresh look, too, as another program would see it.
        let fresh = open(&objects).unwrap();
        let listed = fresh.list().unwrap();
        prop_assert!(listed.damage.is_empty());
        let counters: Vec<u64> = listed.snapshots.iter().map(|(_, m)| m.counter).collect();
        prop_assert_eq!(counters, (1..=volumes.len() as u64).collect::<Vec<_>>());
        for (volume, (id, made)) in volumes.iter().zip(&saved) {
            prop_assert_eq!(&fresh.manifest(*id).unwrap(), made);
            prop_assert_eq!(&load(&fresh, made.volumes[0].map).unwrap(), volume);
        }
        for pair in saved.windows(2) {
            prop_assert_eq!(pair[1].1.parent, Some(pair[0].0));
        }
    }
}

#[test]
fn nothing_is_stored_twice() {
    let store = empty();
    let mut volume = Volume::of(&[(0, fill(2, 1, 3_000_000)), (5_000_000, fill(0, 0, 400_000))]);
    let (_, first) = snapshot(&store, &volume).unwrap();
    assert_eq!(first.cost.shared.0, 0);
    assert_eq!(first.cost.new.0, 3_000_000, "zeros are not stored");
    let (_, second) = snapshot(&store, &volume).unwrap();
    assert_eq!((second.cost.new.0, second.cost.stored.0), (0, 0));
    assert_eq!(second.cost.shared.0, 3_000_000);
    volume.runs.get_mut(&0).unwrap()[1_000_000] ^= 1;
    let (_, third) = snapshot(&store, &volume).unwrap();
    assert_eq!(third.cost.new.0, CELL, "one cell");
    // The same bytes in two places of one volume are stored once, though neither was in the store when they were hashed.
    let twice = fill(2, 9, usize::try_from(CELL).unwrap());
    let (_, fourth) = snapshot(&store, &Volume::of(&[(0, twice.clone()), (CELL * 7, twice)])).unwrap();
    assert_eq!((fourth.cost.new.0, fourth.cost.shared.0), (CELL, CELL));
}

#[test]
fn the_rules_of_writing_are_kept() {
    let store = empty();
    let mut writer = store.writer().unwrap();
    let misuse = |r: Result<(), StoreError>| assert!(matches!(r, Err(StoreError::Misuse { .. })), "{r:?}");
    let at = ByteOffset;
    misuse(writer.write(at(0), vec![1]));
    writer.begin(ByteLen(1000));
    misuse(writer.write(at(990), vec![1; 11]));
    misuse(writer.write(at(u64::MAX), vec![1; 11]));
    writer.write(at(10), vec![1; 10]).unwrap();
    misuse(writer.write(at(19), vec![1]));
    writer.write(at(20), vec![1]).unwrap();
    let root = writer.end().unwrap();
    misuse(writer.end().map(|_| ()));
    writer.begin(ByteLen(1 << 20));
    for n in 0..128 {
        writer.write(at(n * 2), vec![1]).unwrap();
    }
    misuse(writer.write(at(256), vec![1]));
    // A volume begun anew forgets the one before.
    writer.begin(ByteLen(1000));
    writer.write(at(10), vec![1; 11]).unwrap();
    assert_eq!(writer.end().unwrap(), root);
    let mut named = manifest(machine("a"), root);
    named.volumes[0].map.node = NodeId(Digest::of(b"nowhere"));
    assert!(matches!(writer.finish(named), Err(StoreError::Misuse { .. })), "a map that is not there");
    assert!(store.list().unwrap().snapshots.is_empty());
}

#[test]
fn the_last_bytes_of_62_bits_can_be_mapped() {
    let store = empty();
    let mut writer = store.writer().unwrap();
    writer.begin(ByteLen(u64::MAX));
    writer.write(ByteOffset(5), vec![7; 3]).unwrap();
    writer.write(ByteOffset(MAX_VOLUME - 10), vec![7; 10]).unwrap();
    assert!(matches!(writer.write(ByteOffset(MAX_VOLUME), vec![7]), Err(StoreError::Misuse { .. })));
    let root = writer.end().unwrap();
    assert_eq!(root.height, 5);
    let mut plain = manifest(machine("a"), root);
    plain.volumes.clear();
    plain.disks[0].hardware.size = ByteLen(MAX_VOLUME);
    writer.finish(plain).unwrap();
    let all: Vec<_> = store.map(root).slices(Extent::whole(ByteLen(u64::MAX))).map(Result::unwrap).collect();
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].extent.end().0, MAX_VOLUME);
    assert_eq!(store.read(&all[1]).unwrap(), [7; 10]);
    assert!(matches!(all[0].content, SliceContent::Chunk { at: 0, .. }));
    let report = store.check(true, &mut |_, _| true).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// The content digest of a leaf, straight from docs/store-format.md.
fn content_of(volume: &Volume, leaf: u64) -> Digest {
    let mut text = vec![0];
    for (cell, runs) in volume.cells().range(leaf * 64..(leaf + 1) * 64) {
        text.push(u8::try_from(cell % 64).unwrap());
        text.extend(u16::try_from(runs.len()).unwrap().to_le_bytes());
        let mut bytes = Vec::new();
        for (start, run) in runs {
            text.extend(u32::try_from(start % 65_536).unwrap().to_le_bytes());
            text.extend(u32::try_from(run.len()).unwrap().to_le_bytes());
            bytes.extend(run);
        }
        let zero = bytes.iter().all(|b| *b == 0);
        text.extend(if zero { [0; 32] } else { *blake3::hash(&bytes).as_bytes() });
    }
    Digest::of(&text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn leaves_tell_content_without_being_read(volume in volumes(), cut in 1usize..70_000) {
        let store = empty();
        let mut writer = store.writer().unwrap();
        let root = save(&mut writer, &volume, &[]).unwrap();
        writer.finish(manifest(machine("a"), root)).unwrap();
        let mut used = 0;
        let mut seen = Vec::new();
        for leaf in store.map(root).leaves(Extent::whole(LEN)) {
            let leaf = leaf.unwrap();
            let number = leaf.extent.start().0 / store::LEAF;
            prop_assert_eq!(leaf.extent.len().0, store::LEAF);
            prop_assert_eq!(leaf.content, content_of(&volume, number));
            // Whoever reads the disk gets the same, in whatever pieces.
            let mut hasher = LeafHasher::default();
            for (start, bytes) in &volume.runs {
                let Some(e) = Extent::between(*start, start + bytes.len() as u64).unwrap().intersect(leaf.extent) else {
                    continue;
                };
                let from = usize::try_from(e.start().0 - start).unwrap();
                let part = &bytes[from..from + usize::try_from(e.len().0).unwrap()];
                let mut at = u32::try_from(e.start().0 - leaf.extent.start().0).unwrap();
                for piece in part.chunks(cut) {
                    hasher.add(at, piece).unwrap();
                    at += u32::try_from(piece.len()).unwrap();
                }
            }
            prop_assert_eq!(hasher.finish(), leaf.content);
            used += store.cells(&leaf).unwrap().iter().flat_map(|c| &c.runs).map(|(_, len)| u64::from(*len)).sum::<u64>();
            seen.push(number);
        }
        prop_assert_eq!(used, volume.used());
        let mut want: Vec<u64> = volume.cells().keys().map(|cell| cell / 64).collect();
        want.dedup();
        prop_assert_eq!(seen, want);
    }
}

#[test]
fn a_leaf_is_hashed_by_the_rules() {
    let misuse = |r: Result<(), StoreError>| assert!(matches!(r, Err(StoreError::Misuse { .. })), "{r:?}");
    assert_eq!(LeafHasher::default().finish(), Digest::of(&[0]), "no used byte");
    let mut hasher = LeafHasher::default();
    hasher.add(10, &[1; 10]).unwrap();
    misuse(hasher.add(19, &[1]));
    misuse(hasher.add(u32::MAX, &[1; 10]));
    misuse(hasher.add(4 << 20, &[1]));
    hasher.add(20, &[]).unwrap();
    hasher.add((4 << 20) - 1, &[0]).unwrap();
    let volume = Volume::of(&[(10, vec![1; 10]), ((4 << 20) - 1, vec![0])]);
    assert_eq!(hasher.finish(), content_of(&volume, 0));
}

#[test]
fn a_map_of_other_content_than_named_is_refused() {
    let store = empty();
    let (_, made) = snapshot(&store, &Volume::of(&[(0, fill(2, 1, 700)), (1 << 25, fill(2, 2, 700))])).unwrap();
    let root = made.volumes[0].map;
    let other = model::snapshot::MapRoot { content: Digest::of(b"what was signed"), ..root };
    let damaged = |r: Option<Result<(), StoreError>>| {
        assert!(matches!(r, Some(Err(StoreError::Damaged { .. }))), "{r:?}");
    };
    damaged(store.map(other).slices(Extent::whole(LEN)).next().map(|s| s.map(|_| ())));
    damaged(store.map(other).leaves(Extent::whole(LEN)).next().map(|s| s.map(|_| ())));
    damaged(Some(store.map(other).used().map(|_| ())));
    let leaf = store.map(root).leaves(Extent::whole(LEN)).next().unwrap().unwrap();
    damaged(Some(store.cells(&store::LeafRef { content: other.content, ..leaf }).map(|_| ())));
    let error = store.writer().unwrap().finish(manifest(machine("a"), other)).unwrap_err();
    assert!(matches!(error, StoreError::Misuse { .. }), "{error}");
}
