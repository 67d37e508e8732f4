//! Rollbacks whose undo snapshot takes over what is proven to be unchanged. Where the proof is right they are those that read
//! everything. Where it is wrong, what they wrote over is undone all the same.

use crate::image::noise;
use crate::increments::{SECTORS, SIZE, Told, empty, report, save, set};
use crate::sim::{Loss, NoKeys, Sim, Ticking, after_cut, reset};
use engine::parser::Local;
use engine::run::write_back::{resume, undo_unfinished, write_back};
use engine::run::{Context, Unwatched};
use model::id::{Digest, DiskNo, IntentId, SnapshotId, VolumePath};
use model::plan::{Action, Against, RollbackPlan, UndoReads, VolumeRollback};
use model::ports::{Devices, ObjectStore};
use model::snapshot::{MapContent, MapRoot, Receipt};
use model::units::{ByteLen, Extent, ExtentSet};
use proptest::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use store::Store;
use store::backend::Memory;

/// A plan for the disk as it is, which believes what it is told (`with` which snapshot) or nothing.
fn plan(sim: &Sim, action: Action, to: (SnapshotId, MapRoot), with: Option<SnapshotId>) -> RollbackPlan {
    let bytes = sim.bytes();
    let path = VolumePath::whole(DiskNo(0));
    let volume = VolumeRollback {
        path: path.clone(),
        saved_as: path,
        extent: Extent::whole(ByteLen(SIZE as u64)),
        through: None,
        hardware: sim.hardware.clone(),
        disk_head: Digest::of(&bytes[..32 * 1024]),
        volume_head: Digest::of(&bytes[..64 * 1024]),
        says: "ext4".into(),
        map: to.1,
        at_most: ByteLen(SIZE as u64),
    };
    let against = vec![if with.is_some() { Ok(Against { doubt: None }) } else { Err("all of it".into()) }];
    let reads = UndoReads { with: with.unwrap_or(to.0), everything: with.is_none(), against, says: "".into() };
    RollbackPlan {
        action,
        to: to.0,
        to_says: "".into(),
        volumes: vec![volume],
        tables: Vec::new(),
        disks: Vec::new(),
        kept: Vec::new(),
        checks: Vec::new(),
        warnings: Vec::new(),
        foreign: None,
        firmware: Vec::new(),
        reads: Some(reads),
        composed: None,
        esps: Vec::new(),
    }
}

/// What is in use on the disk, and what is said to be the same.
type Seen<'a> = (&'a ExtentSet, &'a ExtentSet);

/// Runs something on the disk.
fn on<T>(sim: &Arc<Sim>, store: &Store, (used, same): Seen<'_>, f: impl FnOnce(&Context<'_>) -> T) -> T {
    let (state, local) = (Digest::of(&sim.bytes()), Local::new(sim.disks()));
    let told = Told { local, used: used.clone(), same: same.clone(), state };
    f(&Context {
        devices: &**sim,
        parser: &told,
        store,
        clock: &Ticking::default(),
        observer: &Unwatched,
        keys: &NoKeys,
    })
}

fn go(sim: &Arc<Sim>, store: &Store, seen: Seen<'_>, plan: &RollbackPlan) -> Receipt {
    on(sim, store, seen, |cx| write_back(cx, plan, &report(sim)).unwrap())
}

fn range(e: Extent) -> Range<usize> {
    usize::try_from(e.start().0).unwrap()..usize::try_from(e.end().0).unwrap()
}

fn equal(a: &[u8], b: &[u8], within: &ExtentSet) -> bool {
    within.iter().all(|e| a[range(e)] == b[range(e)])
}

fn flipped(bytes: &[u8], within: &ExtentSet, by: u8) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for e in within.iter() {
        out[range(e)].iter_mut().for_each(|b| *b ^= by);
    }
    out
}

/// Where two disks differ.
fn difference(a: &[u8], b: &[u8]) -> ExtentSet {
    let sector = |n: &usize| a[n * 512..(n + 1) * 512] != b[n * 512..(n + 1) * 512];
    (0..SECTORS).filter(sector).filter_map(|n| Extent::between(n as u64 * 512, (n as u64 + 1) * 512)).collect()
}

/// An older state, the state that was saved last, and the present one; what is in use in each, and where each differs from the one
/// before.
struct Three {
    objects: Arc<Memory>,
    store: Store,
    older: (SnapshotId, MapRoot),
    last: SnapshotId,
    bytes: [Vec<u8>; 2],
    used: [ExtentSet; 2],
    changed: ExtentSet,
}

type Ranges = Vec<(usize, usize)>;

fn three(seed: u64, went: &Ranges, changed: &Ranges, used: [&Ranges; 3]) -> Three {
    let objects = Arc::new(Memory::new());
    let store = empty(&objects);
    let older = noise(seed, SIZE);
    let last = flipped(&older, &set(went), 0x55);
    let changed = set(changed);
    let now = flipped(&last, &changed, 0x2a);
    let [used_older, used_last, used_now] = used.map(|u| set(u));
    let (first, manifest) = save(&store, &older, &used_older, None, true);
    let (second, _) = save(&store, &last, &used_last, Some((first, &ExtentSet::new())), false);
    let (older_at, bytes, used) = ((first, manifest.volumes[0].map), [older, now], [used_older, used_now]);
    Three { objects, store, older: older_at, last: second, bytes, used, changed }
}

fn ranges(longest: usize, count: Range<usize>) -> impl Strategy<Value = Ranges> {
    prop::collection::vec((0..SECTORS, 1..longest), count)
}

fn undo_of(store: &Store, intent: IntentId) -> (SnapshotId, MapRoot) {
    let undo = store.intent(intent).unwrap().undo.unwrap();
    (undo, store.manifest(undo).unwrap().volumes[0].map)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// The proof is right: the undo snapshot is the one that reads everything, the rollback is exact, and so is each way back, from
    /// the end or from where it was cut.
    #[test]
    fn what_is_proven_changes_nothing(
        used in (ranges(6000, 1..6), ranges(6000, 1..6), ranges(6000, 0..3)),
        went in ranges(60, 0..5),
        changed in ranges(40, 0..4),
        doubted in ranges(400, 0..3),
        cut in 1usize..1000,
        seed in 0u64..8,
    ) {
        let used_now = [&used.1[..], &used.2[..]].concat();
        let t = three(seed, &went, &changed, [&used.0, &used.1, &used_now]);
        let same = t.changed.union(&set(&doubted)).gaps(Extent::whole(ByteLen(SIZE as u64)));
        let [older, now] = &t.bytes;
        let sim = Sim::new(now.clone());
        let back = plan(&sim, Action::Rollback, t.older, Some(t.last));
        let receipt = go(&sim, &t.store, (&t.used[1], &same), &back);
        prop_assert!(equal(&sim.bytes(), older, &t.used[0]));
        let undo = undo_of(&t.store, receipt.intent);
        let other = empty(&Arc::new(Memory::new()));
        let (_, full) = save(&other, now, &t.used[1], None, true);
        prop_assert_eq!(MapContent::of(&undo.1), MapContent::of(&full.volumes[0].map));

        let ops = sim.ops();
        let cut = after_cut(now, &ops, 1 + cut % ops.len(), Loss::Torn(seed + 1));
        let intents = t.objects.list("intents").unwrap();
        for forward in [true, false] {
            reset(&t.objects, &intents);
            let sim = Sim::new(cut.clone());
            let action = if forward { Action::Resume { of: receipt.intent } } else { Action::Undo { of: receipt.intent } };
            let to = if forward { t.older } else { undo };
            let going = RollbackPlan { reads: None, ..plan(&sim, action, to, None) };
            on(&sim, &t.store, (&t.used[1], &same), |cx| match forward {
                true => resume(cx, &going, &report(&sim), receipt.intent),
                false => undo_unfinished(cx, &going, &report(&sim), receipt.intent),
            }).unwrap();
            let (wanted, within) = if forward { (older, &t.used[0]) } else { (now, &t.used[1]) };
            prop_assert!(equal(&sim.bytes(), wanted, within), "forward: {}", forward);
        }
        let unchanged = difference(older, &sim.bytes()).gaps(Extent::whole(ByteLen(SIZE as u64)));
        for (with, same) in [(Some(t.older.0), unchanged), (None, ExtentSet::new())] {
            reset(&t.objects, &intents);
            let sim = Sim::new(sim.bytes());
            let going = plan(&sim, Action::Undo { of: receipt.intent }, undo, with);
            go(&sim, &t.store, (&t.used[0].union(&t.used[1]), &same), &going);
            prop_assert!(equal(&sim.bytes(), now, &t.used[1]));
        }
    }

    /// The proof is wrong, anyhow: whatever the rollback wrote over comes back.
    #[test]
    fn what_is_written_over_is_undone_whatever_was_proven(
        used in (ranges(6000, 1..6), ranges(6000, 1..6), ranges(6000, 0..3)),
        went in ranges(60, 1..6),
        changed in ranges(60, 1..6),
        claimed in prop::option::of(ranges(6000, 1..5)),
        full in any::<bool>(),
        seed in 0u64..8,
    ) {
        let used_now = [&used.1[..], &used.2[..]].concat();
        let t = three(seed, &went, &changed, [&used.0, &used.1, &used_now]);
        let same = claimed.map_or_else(|| set(&[(0, SECTORS)]), |ranges| set(&ranges));
        let now = &t.bytes[1];
        let sim = Sim::new(now.clone());
        let receipt = go(&sim, &t.store, (&t.used[1], &same), &plan(&sim, Action::Rollback, t.older, Some(t.last)));
        let undo = undo_of(&t.store, receipt.intent);
        let written = difference(now, &sim.bytes());
        let with = (!full).then_some(t.older.0);
        let all: ExtentSet = [Extent::whole(ByteLen(SIZE as u64))].into_iter().collect();
        go(&sim, &t.store, (&t.used[0].union(&t.used[1]), &all), &plan(&sim, Action::Undo { of: receipt.intent }, undo, with));
        let restored: ExtentSet = written.iter().flat_map(|e| t.used[1].clip(e).iter().collect::<Vec<_>>()).collect();
        prop_assert!(equal(&sim.bytes(), now, &restored), "what was written over");
    }
}

/// What nobody changed is not read, and what was written below the file system is found by reading everything alone.
#[test]
fn it_reads_what_changed() {
    let (older, used) = (noise(5, SIZE), set(&[(0, SECTORS)]));
    let store = empty(&Arc::new(Memory::new()));
    let (first, manifest) = save(&store, &older, &used, None, true);
    let to = (first, manifest.volumes[0].map);
    let below = set(&[(9000, 1)]);
    let now = flipped(&flipped(&older, &set(&[(5000, 16)]), 1), &below, 1);
    let same = set(&[(5000, 16)]).gaps(Extent::whole(ByteLen(SIZE as u64)));

    let sim = Sim::new(now.clone());
    let quick = go(&sim, &store, (&used, &same), &plan(&sim, Action::Rollback, to, Some(first)));
    let cost = store.manifest(undo_of(&store, quick.intent).0).unwrap().cost;
    assert!(cost.read.0 <= 3 * 64 * 1024, "{} read", cost.read);
    assert!(quick.written.0 < 256 * 1024, "{} written", quick.written);
    let left = difference(&sim.bytes(), &older);
    assert!(!left.is_empty() && equal(&sim.bytes(), &now, &left), "bytes below the file system stay");

    let sim = Sim::new(now.clone());
    let full = go(&sim, &store, (&used, &same), &plan(&sim, Action::Rollback, to, None));
    let cost = store.manifest(undo_of(&store, full.intent).0).unwrap().cost;
    assert_eq!((cost.read, sim.bytes() == older), (ByteLen(SIZE as u64), true));
    go(
        &sim,
        &store,
        (&used, &ExtentSet::new()),
        &plan(&sim, Action::Undo { of: full.intent }, undo_of(&store, full.intent), None),
    );
    assert!(sim.bytes() == now);
}
