//! What an index of a large store costs: `cargo test --release -p store locate::scale -- --ignored --nocapture`. It needs
//! about 600 MB of disk for temporary files.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use super::{Footers, Held, Index, PackNo, Source, Trust};
use crate::backend::LocalDir;
use crate::entropy::SystemEntropy;
use crate::error::StoreError;
use crate::footer::{ChunkEntry, Footer, FrameEntry};
use crate::layout::pack_name;
use crate::pack::{Encoding, Kind};
use crate::seal::Seal;
use model::id::Digest;
use model::ports::{Entropy, ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// 1 TB of packs of 16 MiB, each of 128 chunks of 128 KiB.
const PACKS: u32 = 65_536;
const CHUNKS: u32 = 128;

/// Packs that are only listed, index objects in a directory.
struct Large {
    dir: LocalDir,
    packs: AtomicU32,
    reads: AtomicU64,
    seal: Seal,
}

impl ObjectStore for Large {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.dir.put(name, bytes)
    }
    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.dir.get(name, at, buf)
    }
    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        self.dir.len(name)
    }
    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        match prefix {
            "packs" => Ok((0..self.packs.load(Ordering::Relaxed)).map(|no| pack_name(&pack(no))).collect()),
            prefix => self.dir.list(prefix),
        }
    }
    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.dir.delete(name)
    }
    fn free(&self) -> Option<ByteLen> {
        None
    }
}

impl Source for Large {
    fn objects(&self) -> &dyn ObjectStore {
        self
    }
    fn seal(&self) -> &Seal {
        &self.seal
    }
    fn entropy(&self) -> &dyn Entropy {
        &SystemEntropy
    }
    fn ids(&self, pack: &Digest) -> Result<Vec<Digest>, StoreError> {
        let [a, b, c, d, ..] = pack.0;
        Ok(ids(u32::from_be_bytes([a, b, c, d]).reverse_bits()))
    }
}

/// As even as a hash, and quicker.
fn scattered(seed: u64) -> Digest {
    let mut out = [0; 32];
    for (at, word) in (0u64..).zip(out.as_chunks_mut::<8>().0) {
        let mut z = seed.wrapping_mul(4).wrapping_add(at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        *word = (z ^ z >> 31).to_le_bytes();
    }
    Digest(out)
}

fn pack(no: u32) -> Digest {
    let mut id = scattered(u64::from(no) | 1 << 60);
    id.0[..4].copy_from_slice(&no.reverse_bits().to_be_bytes());
    id
}

fn chunk(n: u32) -> Digest {
    scattered(u64::from(n))
}

fn ids(pack: u32) -> Vec<Digest> {
    (0..CHUNKS).map(|n| chunk(pack * CHUNKS + n)).collect()
}

fn held(pack: u32) -> Held {
    let chunk = |id: Digest| ChunkEntry { id, plain: 8192, frame: 0, kind: Kind::Data };
    let frame = FrameEntry { offset: 16, stored: 500_000, plain: CHUNKS * 8192, encoding: Encoding::Zstd };
    let footer = Footer { frames: vec![frame], chunks: ids(pack).into_iter().map(chunk).collect() };
    footer.validate().unwrap();
    Held::new(&footer)
}

/// Resident memory in MB: now and at most.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1000
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn measure(what: &str, count: u32, mut each: impl FnMut(u32)) {
    let start = Instant::now();
    (0..count).for_each(&mut each);
    println!("{what}: {:.0} a second", f64::from(count) / start.elapsed().as_secs_f64());
}

fn lookups(store: &Large, index: &Index) {
    let all = PACKS * CHUNKS;
    let before = store.reads.load(Ordering::Relaxed);
    let mut wrong = 0;
    measure("chunks that are not there", 2_000_000, |n| {
        wrong += index.candidates(store, &chunk(all + n)).unwrap().len();
    });
    let percent = |n: u64| n as f64 / 2_000_000.0 * 100.0;
    let reads = percent(store.reads.load(Ordering::Relaxed) - before);
    println!("  pages read for nothing: {reads:.2} %; packs named for nothing: {:.2} %", percent(wrong as u64));
    measure("chunks anywhere", 200_000, |n| {
        let n = n.wrapping_mul(2_654_435_761) % all;
        let found = index.candidates(store, &chunk(n)).unwrap();
        assert!(found.iter().any(|no| index.pack(*no).unwrap().id == pack(n / CHUNKS)));
    });
    let footers = Footers::new();
    measure("chunks in the order in which they were saved", 2_000_000, |n| {
        if footers.near(&chunk(n)).is_none() {
            let found = index.candidates(store, &chunk(n)).unwrap();
            let right = |no: &&PackNo| index.pack(**no).unwrap().id == pack(n / CHUNKS);
            let no = *found.iter().find(right).unwrap();
            footers.find(no, &chunk(n), || Ok(held(n / CHUNKS))).unwrap().unwrap();
        }
    });
    println!("  footers: {} MB kept", footers.size() / 1_000_000);
}

#[test]
#[ignore = "takes minutes and 600 MB of disk"]
fn a_terabyte() {
    let dir = tempfile::tempdir().unwrap();
    let dir_store = LocalDir::create(dir.path()).unwrap();
    let store = Large { dir: dir_store, packs: AtomicU32::new(0), reads: AtomicU64::new(0), seal: Seal::Open };
    println!("at first: {:?} MB resident, at most", resident());
    let start = Instant::now();
    let index = Index::load(&store).unwrap();
    for no in 0..PACKS {
        store.packs.store(no + 1, Ordering::Relaxed);
        assert_eq!(index.add(&pack(no), Trust::Verified, &ids(no)), PackNo(no));
        if index.is_due() {
            index.flush(&store).unwrap();
        }
    }
    index.flush(&store).unwrap();
    println!("added and written in {:?}: {:?} MB", start.elapsed(), resident());
    drop(index);
    let before = resident();
    let start = Instant::now();
    let index = Index::load(&store).unwrap();
    println!("loaded in {:?}: {:?} MB (before {before:?}), {:?}", start.elapsed(), resident(), index.sizes());
    println!("runs: {:?}", index.runs().iter().map(|run| run.1).collect::<Vec<_>>());
    assert_eq!(index.runs().iter().map(|run| run.1).sum::<u32>(), PACKS * CHUNKS);
    lookups(&store, &index);
    println!("after lookups: {:?} MB, {:?}", resident(), index.sizes());
    assert!(index.sizes().total() < 30_000_000);
    drop(index);
    for name in store.list("index").unwrap() {
        store.delete(&name).unwrap();
    }
    let start = Instant::now();
    let index = Index::load(&store).unwrap();
    println!("without index objects, in {:?}: {:?} MB, {:?}", start.elapsed(), resident(), index.sizes());
    assert!(index.is_complete() && index.sizes().total() < 100_000_000);
    lookups(&store, &index);
    let start = Instant::now();
    index.packs().iter().for_each(|(no, _)| index.set_trust(*no, Trust::Verified));
    index.flush(&store).unwrap();
    println!("written again in {:?}: {:?} MB, {:?}", start.elapsed(), resident(), index.sizes());
    assert_eq!(index.sizes().hints, 0);
}
