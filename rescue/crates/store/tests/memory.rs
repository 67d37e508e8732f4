//! What a large volume takes of memory: its map is saved, saved again with one change, read, compared and checked in less than
//! 256 MB; what waits between the caller and the packs is bounded, so that a smaller one takes less than 80 MB.
//!
//! A file of its own, since what is measured is the process. The full size:
//! `cargo test --release -p store --test memory -- --ignored --nocapture`; it takes minutes and some 300 MB of disk.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use model::ports::ObjectStore;
use model::snapshot::MapRoot;
use model::units::{ByteLen, ByteOffset, Extent};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use store::backend::LocalDir;
use store::{CELL, LEAF, LocalDecoder, Store, Writer};

/// Chunks that differ, and the bytes of each: the data is small, the map is not.
const CONTENTS: u32 = 1024;
const CHUNK: usize = 512;
/// Cells of a leaf.
const CELLS: u64 = LEAF / CELL as u64;

/// Threads that compute, besides the caller: the fewer, the more waits for them, and machines have different numbers of cores.
const THREADS: usize = 1;

/// One size at a time: they share the process.
static ALONE: Mutex<()> = Mutex::new(());

/// A volume with used bytes in every leaf.
#[derive(Clone, Copy)]
struct Large {
    leaves: u64,
    /// Cells of each leaf that have a chunk.
    used: u64,
}

impl Large {
    fn len(self) -> ByteLen {
        ByteLen(self.leaves * LEAF)
    }

    fn chunks(self) -> u64 {
        self.leaves * self.used
    }

    /// The chunk of a leaf in a cell, and the number of what it holds: no two leaves are alike.
    fn chunk(self, leaf: u64, cell: u64) -> (Extent, usize) {
        let at = leaf * LEAF + cell * (CELLS / self.used) * CELL as u64;
        let content = usize::try_from(mix(leaf * CELLS + cell) % u64::from(CONTENTS)).unwrap();
        (Extent::new(ByteOffset(at), ByteLen(CHUNK as u64)).unwrap(), content)
    }
}

/// A number that says nothing about the next one (SplitMix64: Steele, Lea, Flood 2014).
fn mix(n: u64) -> u64 {
    let n = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Most memory this process took, in bytes (`VmHWM`, proc(5)).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn open(dir: &Path) -> Store {
    Store::open(Arc::new(LocalDir::open(dir).unwrap()), Arc::new(LocalDecoder)).unwrap().with_threads(THREADS)
}

fn finish(writer: Writer, map: MapRoot, len: ByteLen) {
    let mut manifest = common::manifest(common::machine("large"), map);
    manifest.disks[0].hardware.size = len;
    manifest.volumes[0].extent = Extent::whole(len);
    writer.finish(manifest).unwrap();
}

/// The first snapshot: every chunk is handed over.
fn save(store: &Store, large: Large) -> MapRoot {
    let contents: Vec<Vec<u8>> = (0..CONTENTS).map(|n| common::fill(2, n + 1, CHUNK)).collect();
    let mut writer = store.writer().unwrap();
    writer.begin(large.len());
    for leaf in 0..large.leaves {
        for cell in 0..large.used {
            let (extent, content) = large.chunk(leaf, cell);
            writer.chunk(&[extent], contents[content].clone()).unwrap();
        }
    }
    let map = writer.end().unwrap();
    finish(writer, map, large.len());
    map
}

/// The second: all but one chunk is kept.
fn save_again(store: &Store, large: Large, before: MapRoot, changed: Extent) -> MapRoot {
    let mut writer = store.writer().unwrap();
    writer.begin(large.len());
    writer.keep(before, Extent::between(0, changed.start().0).unwrap()).unwrap();
    writer.chunk(&[changed], common::fill(1, 7, CHUNK)).unwrap();
    writer.keep(before, Extent::between(changed.end().0, large.len().0).unwrap()).unwrap();
    let map = writer.end().unwrap();
    finish(writer, map, large.len());
    map
}

/// Saves, reads and checks it; `limit` is the most this process may take, in bytes.
fn within(limit: u64, large: Large) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let told = |what: &str| {
        let seconds = began.elapsed().as_secs_f64();
        println!("{what}: {seconds:.0} s since the start, at most {} MB", peak() / 1_000_000);
        assert!(peak() < limit, "{what}: {} bytes of memory", peak());
    };
    let objects = Arc::new(LocalDir::create(dir.path()).unwrap());
    let before = save(&Store::init(objects.clone()).unwrap().with_threads(THREADS), large);
    told("saved");
    let packs = objects.list("packs").unwrap();
    let stored: u64 = packs.iter().map(|name| objects.len(name).unwrap().0).sum();
    println!("  {} leaves, {} chunks, {} in {} packs", large.leaves, large.chunks(), ByteLen(stored), packs.len());

    let (changed, _) = large.chunk(large.leaves / 3, large.used / 2);
    let after = save_again(&open(dir.path()), large, before, changed);
    told("saved again");

    let store = open(dir.path());
    assert_eq!(store.list().unwrap().snapshots.len(), 2);
    let all = Extent::whole(large.len());
    let mut slices = 0;
    for slice in store.map(after).slices(all) {
        let slice = slice.unwrap();
        let (extent, _) = large.chunk(slices / large.used, slices % large.used);
        assert_eq!(slice.extent, extent);
        slices += 1;
    }
    assert_eq!(slices, large.chunks());
    told("every slice seen");
    for (present, wanted) in [(before, after), (after, before)] {
        let changes: Vec<Extent> = store.diff(present, wanted).map(|slice| slice.unwrap().extent).collect();
        assert_eq!(changes, [changed]);
    }
    told("compared");
    let report = store.check(false, &mut |_, _| true).unwrap();
    assert!(report.is_clean() && report.snapshots == 2, "{report:?}");
    assert!(report.chunks as u64 > large.leaves, "leaves are shared: {} chunks and nodes", report.chunks);
    told("checked");
}

#[test]
fn a_volume_of_16_gib_takes_less_than_80_mb() {
    within(80_000_000, Large { leaves: 1 << 12, used: CELLS });
}

#[test]
#[ignore = "minutes long: part of a full run"]
fn a_volume_of_1_tib_takes_less_than_256_mb() {
    within(256_000_000, Large { leaves: 1 << 18, used: CELLS });
}
