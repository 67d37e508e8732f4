//! What was saved comes back; equal content has one map; a difference is exactly the difference.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::*;
use model::units::{ByteLen, Extent};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::backend::Memory;
use store::{SliceContent, Store, StoreError};

fn empty() -> Store {
    Store::init(Arc::new(Memory::new())).unwrap()
}

/// The slices a difference must have, by comparing cell with cell.
fn naive_diff(present: &Volume, wanted: &Volume) -> BTreeMap<u64, Vec<u8>> {
    let there = present.cells();
    let mut out = BTreeMap::new();
    for (cell, runs) in wanted.cells() {
        let zero = |runs: &[(u64, Vec<u8>)]| runs.iter().all(|(_, b)| b.iter().all(|b| *b == 0));
        match there.get(&cell) {
            Some(old) if *old == runs => {}
            Some(old) if zero(old) && zero(&runs) => {
                // Only where there were holes.
                let holes = old.iter().fold(model::units::ExtentSet::new(), |mut set, (at, b)| {
                    set.insert(Extent::between(*at, at + b.len() as u64).unwrap());
                    set
                });
                for (at, b) in runs {
                    for gap in holes.gaps(Extent::between(at, at + b.len() as u64).unwrap()).iter() {
                        out.insert(gap.start().0, vec![0; usize::try_from(gap.len().0).unwrap()]);
                    }
                }
            }
            _ => out.extend(runs),
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
            let mut got = BTreeMap::new();
            let mut last = 0;
            for slice in store.diff(present, wanted) {
                let slice = slice.unwrap();
                prop_assert!(slice.extent.start().0 >= last);
                last = slice.extent.end().0;
                got.insert(slice.extent.start().0, store.read(&slice).unwrap());
            }
            prop_assert_eq!(got, naive_diff(from, to));
        }
    }

    #[test]
    fn slices_of_a_part_are_the_part(volume in volumes(), start in 0u64..60_000_000, len in 0u64..20_000_000) {
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
    let at = |n| model::units::ByteOffset(n);
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
    for n in 0..256 {
        writer.write(at(n * 2), vec![1]).unwrap();
    }
    misuse(writer.write(at(512), vec![1]));
    // A volume begun anew forgets the one before.
    writer.begin(ByteLen(1000));
    writer.write(at(10), vec![1; 11]).unwrap();
    assert_eq!(writer.end().unwrap(), root);
    let mut named = manifest(machine("a"), root);
    named.volumes[0].map.node = model::id::NodeId(model::id::Digest::of(b"nowhere"));
    assert!(matches!(writer.finish(named), Err(StoreError::Misuse { .. })), "a map that is not there");
    assert!(store.list().unwrap().snapshots.is_empty());
}

#[test]
fn the_last_bytes_of_64_bits_can_be_mapped() {
    let store = empty();
    let mut writer = store.writer().unwrap();
    writer.begin(ByteLen(u64::MAX));
    writer.write(model::units::ByteOffset(5), vec![7; 3]).unwrap();
    writer.write(model::units::ByteOffset(u64::MAX - 10), vec![7; 10]).unwrap();
    let root = writer.end().unwrap();
    assert_eq!(root.height, 5);
    let mut plain = manifest(machine("a"), root);
    plain.volumes.clear();
    plain.disks[0].hardware.size = ByteLen(u64::MAX);
    writer.finish(plain).unwrap();
    let all: Vec<_> = store.map(root).slices(Extent::whole(ByteLen(u64::MAX))).map(Result::unwrap).collect();
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].extent.end().0, u64::MAX);
    assert_eq!(store.read(&all[1]).unwrap(), [7; 10]);
    assert!(matches!(all[0].content, SliceContent::Chunk { at: 0, .. }));
    let report = store.check(true, &mut |_, _| true).unwrap();
    assert!(report.is_clean(), "{report:?}");
}
