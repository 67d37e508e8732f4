//! The index against a plain map: whatever is added, written, merged, damaged and deleted, every chunk is found.

#![allow(clippy::unwrap_used)]

use super::run::Builder;
use super::testing::{Fake, id};
use super::{Index, PackNo, Trust, key_of};
use crate::error::StoreError;
use crate::layout::{big, pack_name, small};
use model::id::Digest;
use model::ports::ObjectStore;
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const CHUNKS: u32 = 60;

#[derive(Debug, Clone)]
enum Op {
    Write(Vec<u32>, bool),
    Foreign(Vec<u32>),
    Trust(usize, bool),
    Delete(usize),
    Flush,
    Reload,
    Refresh,
    Rebuild,
    DamageIndex(usize, usize),
    DeleteIndex(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let chunks = || prop::collection::vec(0..CHUNKS, 1..6);
    let op = prop_oneof![
        6 => (chunks(), any::<bool>()).prop_map(|(c, v)| Op::Write(c, v)),
        2 => chunks().prop_map(Op::Foreign),
        2 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(n, good)| Op::Trust(n, good)),
        2 => any::<usize>().prop_map(Op::Delete),
        6 => Just(Op::Flush),
        2 => Just(Op::Reload),
        1 => Just(Op::Refresh),
        1 => Just(Op::Rebuild),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(n, at)| Op::DamageIndex(n, at)),
        1 => any::<usize>().prop_map(Op::DeleteIndex),
    ];
    prop::collection::vec(op, 1..60)
}

fn nth<T: Clone>(all: &[T], n: usize) -> Option<T> {
    (!all.is_empty()).then(|| all[n % all.len()].clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_chunk_is_found_in_the_packs_that_have_it(ops in ops(), sealed: bool) {
        let store = Fake::new(sealed);
        let mut index = Index::load(&store).unwrap();
        let mut proven = HashSet::new();
        for op in ops {
            match op.clone() {
                Op::Write(chunks, verified) => {
                    let no = store.add(&index, if verified { Trust::Verified } else { Trust::Unknown }, chunks);
                    if verified {
                        proven.insert(index.pack(no).unwrap().id);
                    }
                }
                Op::Foreign(chunks) => {
                    store.pack(chunks);
                    index.refresh(&store).unwrap();
                }
                Op::Trust(n, good) => {
                    if let Some((no, pack)) = nth(&index.packs(), n) {
                        index.set_trust(no, if good { Trust::Verified } else { Trust::Bad });
                        proven.extend(good.then_some(pack.id));
                    }
                }
                Op::Delete(n) => {
                    if let Some((no, pack)) = nth(&index.packs(), n) {
                        store.objects.inner.delete(&pack_name(&pack.id)).unwrap();
                        index.forget_pack(no);
                    }
                }
                Op::Flush => index.flush(&store).unwrap(),
                Op::Reload => index = Index::load(&store).unwrap(),
                Op::Refresh => index.refresh(&store).unwrap(),
                Op::Rebuild => index.rebuild(&store).unwrap(),
                Op::DamageIndex(n, at) => {
                    if let Some(name) = nth(&store.index_objects(), n) {
                        let mut bytes = store.bytes(&name);
                        let at = at % bytes.len();
                        bytes[at] ^= 1;
                        store.overwrite(&name, &bytes);
                    }
                }
                Op::DeleteIndex(n) => {
                    if let Some(name) = nth(&store.index_objects(), n) {
                        store.objects.inner.delete(&name).unwrap();
                    }
                }
            }
            if let Err(wrong) = store.verify(&index, CHUNKS) {
                prop_assert!(false, "after {op:?}: {wrong}");
            }
            prop_assert!(index.is_complete());
            for (_, pack) in index.packs() {
                prop_assert!(pack.trust != Trust::Verified || proven.contains(&pack.id), "nobody read {:?}", pack.id);
            }
        }
        // What was damaged and is still in memory shows when it is read again.
        index = Index::load(&store).unwrap();
        prop_assert!(store.verify(&index, CHUNKS).is_ok());
        index.flush(&store).unwrap();
        prop_assert!(store.index_objects().len() <= 8, "small ones are merged");
        let left: HashSet<Digest> = index.packs().iter().filter(|p| p.1.trust == Trust::Verified).map(|p| p.1.id).collect();
        store.footers.store(0, Ordering::Relaxed);
        let again = Index::load(&store).unwrap();
        let trusted: HashSet<Digest> = again.packs().iter().filter(|p| p.1.trust == Trust::Verified).map(|p| p.1.id).collect();
        prop_assert_eq!(&trusted, &left, "after a flush the store says what is good");
        prop_assert_eq!(store.footers.load(Ordering::Relaxed), again.packs().len() - left.len());
        prop_assert!(store.verify(&again, CHUNKS).is_ok());
    }
}

/// A store with one index object of two pages and two packs.
fn small_store(sealed: bool) -> Fake {
    let store = Fake::new(sealed);
    let index = Index::load(&store).unwrap();
    store.add(&index, Trust::Verified, 0..150);
    store.add(&index, Trust::Verified, 150..210);
    index.flush(&store).unwrap();
    assert_eq!((store.index_objects().len(), index.runs()[0].1), (1, 210));
    store
}

#[test]
fn every_flipped_byte_is_noticed_and_harmless() {
    for sealed in [false, true] {
        let store = small_store(sealed);
        let name = store.index_objects().remove(0);
        let good = store.bytes(&name);
        // Some of each page.
        let ids: Vec<Digest> = (0..210).step_by(5).map(id).collect();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            store.overwrite(&name, &bytes);
            let index = Index::load(&store).unwrap();
            for id in &ids {
                let found = index.candidates(&store, id).unwrap();
                let packs: Vec<_> = found.iter().map(|no| index.pack(*no).unwrap().id).collect();
                assert_eq!(packs.len(), 1, "byte {at}, chunk {id}");
            }
            assert_eq!(index.runs(), [], "byte {at} was not noticed");
        }
        store.overwrite(&name, &good[..good.len() - 1]);
        let index = Index::load(&store).unwrap();
        assert_eq!((index.runs(), store.verify(&index, 211)), (vec![], Ok(())));
        // The next writer mends it once the packs were read.
        index.packs().iter().for_each(|(no, _)| index.set_trust(*no, Trust::Verified));
        index.flush(&store).unwrap();
        assert_eq!(store.index_objects().len(), 1);
        let index = Index::load(&store).unwrap();
        assert_eq!((index.runs().len(), store.verify(&index, 211)), (1, Ok(())));
    }
}

#[test]
fn a_newer_index_object_is_left_alone() {
    let store = small_store(false);
    let name = store.index_objects().remove(0);
    let mut bytes = store.bytes(&name);
    bytes[15] = 2;
    store.overwrite(&name, &bytes);
    let index = Index::load(&store).unwrap();
    let id = name.as_str().rsplit('/').next().unwrap().parse().unwrap();
    assert!(matches!(super::read_head(&store, &id), Err(StoreError::Newer { found: 2 })));
    assert_eq!(store.verify(&index, 211), Ok(()));
    index.flush(&store).unwrap();
    assert_eq!(store.bytes(&name), bytes);
}

/// An index object with any numbers and sections, each with its right sum.
fn craft(numbers: [u32; 3], head: &[u8], pages: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"holdfast index\0\x01".to_vec();
    numbers.iter().chain(&[small(head.len())]).for_each(|n| out.extend(n.to_le_bytes()));
    for section in std::iter::once(head).chain(pages.iter().map(Vec::as_slice)) {
        out.extend(section);
        out.extend(&Digest::of(section).0[..8]);
    }
    out
}

fn entry(key: u8, pack: u32) -> Vec<u8> {
    [&[key; 16][..], &pack.to_le_bytes()].concat()
}

/// The head of a run with one pack, which is there, and pages that begin with these keys.
fn head(pack: &Digest, first: &[u8], blocks: usize) -> Vec<u8> {
    let first = first.iter().flat_map(|key| [*key; 8]);
    pack.0.iter().copied().chain(first).chain(std::iter::repeat_n(0xff, blocks * 64)).collect()
}

#[test]
fn hostile_objects_are_refused() {
    let store = Fake::new(false);
    let (pack, _) = store.pack(0..5);
    let page = |entries: &[(u8, u32)]| entries.iter().flat_map(|(k, p)| entry(*k, *p)).collect::<Vec<u8>>();
    let full: Vec<(u8, u32)> = (0..200).map(|k| (k, 0)).collect();
    let refused_at_once = [
        ("no packs", craft([0, 1, 1], &head(&pack, &[1], 1)[32..], &[page(&[(1, 0)])])),
        ("no entries", craft([1, 0, 1], &head(&pack, &[], 1), &[])),
        ("no filter", craft([1, 1, 0], &head(&pack, &[1], 0), &[page(&[(1, 0)])])),
        ("huge filter", craft([1, 1, 65_537], &head(&pack, &[1], 65_537), &[page(&[(1, 0)])])),
        ("filter beyond the object", craft([1, 1, 65_536], &head(&pack, &[1], 1), &[page(&[(1, 0)])])),
        ("packs beyond the object", craft([65_536, 1, 1], &head(&pack, &[1], 1), &[page(&[(1, 0)])])),
        ("too many packs", craft([u32::MAX, 1, 1], &head(&pack, &[1], 1), &[page(&[(1, 0)])])),
        ("too many entries", craft([1, u32::MAX, 1], &head(&pack, &[1], 1), &[page(&[(1, 0)])])),
        ("entries beyond the object", craft([1, 1_048_576, 1], &head(&pack, &[1], 1), &[page(&[(1, 0)])])),
        ("pages out of order", craft([1, 201, 1], &head(&pack, &[9, 8], 1), &[page(&full), page(&[(8, 0)])])),
        ("nothing", Vec::new()),
    ];
    for (why, bytes) in refused_at_once {
        let id = store.put_index(&bytes);
        assert!(matches!(super::read_head(&store, &id), Err(StoreError::Damaged { .. })), "{why}");
    }
    let index = Index::load(&store).unwrap();
    assert_eq!((index.runs(), store.verify(&index, 6)), (vec![], Ok(())));
    index.flush(&store).unwrap();
    assert_eq!(store.index_objects(), [], "they are deleted");

    let refused_at_the_page = [
        ("pack out of range", craft([1, 2, 1], &head(&pack, &[1], 1), &[page(&[(1, 0), (2, 1)])])),
        ("entries out of order", craft([1, 3, 1], &head(&pack, &[1], 1), &[page(&[(1, 0), (3, 0), (2, 0)])])),
        ("the same twice", craft([1, 2, 1], &head(&pack, &[1], 1), &[page(&[(1, 0), (1, 0)])])),
        ("another first key", craft([1, 1, 1], &head(&pack, &[0], 1), &[page(&[(1, 0)])])),
        ("beyond the next page", craft([1, 201, 1], &head(&pack, &[0, 7], 1), &[page(&full), page(&[(7, 0)])])),
    ];
    for (why, bytes) in refused_at_the_page {
        let run = store.put_index(&bytes);
        let index = Index::load(&store).unwrap();
        assert_eq!(index.runs().len(), 1, "{why}");
        let found = index.candidates(&store, &Digest([1; 32])).unwrap();
        assert_eq!((found, index.runs()), (vec![], vec![]), "{why}");
        assert_eq!(store.verify(&index, 6), Ok(()), "{why}");
        store.objects.inner.delete(&crate::layout::index_name(&run)).unwrap();
    }
}

#[test]
fn a_key_shared_by_very_many_is_no_trouble() {
    let store = Fake::new(false);
    let index = Index::load(&store).unwrap();
    let packs: Vec<Digest> = (0..1000).map(|n| store.pack([n]).0).collect();
    for _ in 0..2 {
        let mut builder = Builder::new(&store, packs.clone(), 1000).unwrap();
        (0..1000).for_each(|pack| builder.push(&key_of(&id(5000)), pack).unwrap());
        store.put_index(&builder.finish().unwrap().unwrap());
    }
    index.refresh(&store).unwrap();
    let found = index.candidates(&store, &id(5000)).unwrap();
    assert!(!found.is_empty() && found.len() <= 64, "{}", found.len());
    // Such an object hides what its packs hold. An index from the footers finds it.
    assert_eq!(index.candidates(&store, &id(7)).unwrap(), []);
    index.rebuild(&store).unwrap();
    assert_eq!(store.verify(&index, 1001), Ok(()));
    assert_eq!(index.candidates(&store, &id(5000)).unwrap(), []);
}

#[test]
fn candidates_are_ordered_by_trust() {
    let store = Fake::new(false);
    let index = Index::load(&store).unwrap();
    let bad = store.add(&index, Trust::Bad, [1, 2]);
    let unknown = store.add(&index, Trust::Unknown, [1, 3]);
    let put = store.add(&index, Trust::Put, [1, 5]);
    let good = store.add(&index, Trust::Verified, [1, 4]);
    assert_eq!(index.candidates(&store, &id(1)).unwrap(), [good, put, unknown, bad]);
    assert_eq!(store.add(&index, Trust::Put, [1, 4]), good);
    assert_eq!(index.pack(good).unwrap().trust, Trust::Verified, "putting what is there makes it no worse");
    index.flush(&store).unwrap();
    index.set_trust(good, Trust::Bad);
    index.flush(&store).unwrap();
    assert_eq!(index.candidates(&store, &id(1)).unwrap(), [put, unknown, bad, good]);
    assert_eq!(store.index_objects(), [], "no object vouches for a bad pack");
}

#[test]
fn a_cut_at_any_change_loses_nothing() {
    for sealed in [false, true] {
        for cut in 0.. {
            let store = Fake::new(sealed);
            let index = Index::load(&store).unwrap();
            for n in 0..9 {
                store.add(&index, Trust::Verified, n * 5..n * 5 + 5);
                // A run each, as different processes write them.
                if n < 8 {
                    index.flush(&store).unwrap();
                }
            }
            assert_eq!(index.runs().len(), 8);
            store.objects.left.store(cut, Ordering::Relaxed);
            let done = index.flush(&store);
            store.objects.left.store(usize::MAX, Ordering::Relaxed);
            assert_eq!(store.verify(&index, 46), Ok(()), "cut at {cut}, in the same process");
            let again = Index::load(&store).unwrap();
            assert_eq!(store.verify(&again, 46), Ok(()), "cut at {cut}, in the next");
            // The pack of the first cut is only in the store: nobody vouches for it in the next process.
            again.packs().iter().for_each(|(no, _)| again.set_trust(*no, Trust::Verified));
            again.flush(&store).unwrap();
            assert!(store.index_objects().len() <= 8 && store.verify(&again, 46).is_ok());
            index.flush(&store).unwrap();
            assert_eq!(store.verify(&index, 46), Ok(()), "cut at {cut}, later");
            if done.is_ok() {
                assert_eq!(cut, 11, "a put, a merge's put and nine deletions");
                break;
            }
        }
    }
}

#[test]
fn a_disk_that_is_gone_for_a_moment() {
    let store = small_store(true);
    let index = Index::load(&store).unwrap();
    store.objects.deaf.store(true, Ordering::Relaxed);
    assert!(matches!(index.candidates(&store, &id(7)), Err(StoreError::Io { .. })));
    assert!(matches!(index.refresh(&store), Err(StoreError::Io { .. })));
    store.objects.deaf.store(false, Ordering::Relaxed);
    assert_eq!(store.verify(&index, 211), Ok(()));
    assert_eq!((index.runs().len(), store.footers.load(Ordering::Relaxed)), (1, 0), "no footer had to be read");
}

#[test]
fn lookups_go_on_while_objects_are_written_and_merged() {
    let store = Fake::new(false);
    let index = Index::load(&store).unwrap();
    let (added, done) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..3u32 {
            let (store, index, added, done) = (&store, &index, &added, &done);
            scope.spawn(move || {
                let mut n = thread * 7;
                while !done.load(Ordering::Relaxed) {
                    let there = added.load(Ordering::Acquire);
                    if there > 0 {
                        n = (n + 31) % there;
                        assert_eq!(index.candidates(store, &id(n)).unwrap(), [PackNo(n / 20)], "{n} of {there}");
                    }
                    assert_eq!(index.candidates(store, &id(1_000_000 + n)).unwrap(), []);
                }
            });
        }
        for pack in 0..60u32 {
            assert_eq!(store.add(&index, Trust::Verified, pack * 20..pack * 20 + 20), PackNo(pack));
            added.store(pack * 20 + 20, Ordering::Release);
            index.flush(&store).unwrap();
            if pack % 8 == 0 {
                index.refresh(&store).unwrap();
            }
            if pack % 16 == 0 {
                // Without encryption an object written anew may be the one that was there: it must not be deleted as old.
                index.rebuild(&store).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(index.runs().len() <= 8);
    assert_eq!(store.verify(&index, 1201), Ok(()));
}

#[test]
fn runs_stay_few_and_entries_stay_bounded() {
    let store = Fake::new(false);
    let index = Index::load(&store).unwrap();
    // Nobody flushes: what does not fit the recent entries is found among the hints.
    let packs = 600_000 / 10_000;
    for pack in 0..packs {
        store.add(&index, Trust::Verified, pack * 10_000..(pack + 1) * 10_000);
        assert!(index.sizes().recent <= (2 * 262_144 + 10_000) * 30);
    }
    assert!(index.is_due() && index.sizes().hints > 0);
    for n in (0..600_000).step_by(997) {
        assert_eq!(index.candidates(&store, &id(n)).unwrap(), [PackNo(n / 10_000)]);
    }
    index.flush(&store).unwrap();
    let entries: u32 = index.runs().iter().map(|run| run.1).sum();
    assert_eq!((entries, index.sizes().recent, index.sizes().hints), (600_000, 0, 0));
    let index = Index::load(&store).unwrap();
    for n in (0..600_000).step_by(97) {
        let found = index.candidates(&store, &id(n)).unwrap();
        assert_eq!(found.len(), 1);
    }
    let sizes = index.sizes();
    // Two bytes a key for the filter, eight for each 200 entries, and little else.
    assert!(sizes.runs <= 600_000 * 21 / 10, "{sizes:?}");
    assert!(sizes.pages <= 4 << 20, "{sizes:?}");
    assert!(sizes.total() <= big(600_000 * 21 / 10) + (4 << 20) + (1 << 18), "{sizes:?}");
}
