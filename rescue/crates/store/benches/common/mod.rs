//! Stores to measure, and what is saved in them.
#![allow(dead_code)] // each benchmark uses its part

use model::snapshot::MapRoot;
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::Arc;
use store::backend::Memory;
use store::{LEAF, MAX_VOLUME, Store, Writer};

/// An empty store in memory, which does everything in the calling thread.
pub(crate) fn empty() -> Store {
    Store::init(Arc::new(Memory::new())).unwrap().with_threads(0)
}

/// Bytes that nothing makes shorter.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1 << 40;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

/// Bytes as in a log.
pub(crate) fn text(len: usize) -> Vec<u8> {
    let line = |n: usize| format!("{n}: systemd[1]: Started session {} of user root.\n", n % 977).into_bytes();
    (0..).flat_map(line).take(len).collect()
}

/// Saves a volume of these bytes, and makes it durable.
pub(crate) fn save(store: &Store, bytes: Vec<u8>) -> MapRoot {
    let mut writer = store.writer().unwrap();
    writer.begin(ByteLen(bytes.len() as u64));
    writer.write(ByteOffset(0), bytes).unwrap();
    let root = writer.end().unwrap();
    assert!(writer.prove(&mut |_, _| true).unwrap());
    root
}

/// The numbers of chunks; each number's bytes are its own.
#[derive(Clone)]
pub(crate) struct Chunks(Vec<u64>);

/// Chunks with their bytes.
pub(crate) struct Filled(Vec<Vec<u8>>);

impl Chunks {
    /// The chunks 0 to `count`.
    pub(crate) fn in_order(count: u64) -> Self {
        Self((0..count).collect())
    }

    /// So many later ones.
    pub(crate) fn from(self, first: u64) -> Self {
        Self(self.0.into_iter().map(|n| n + first).collect())
    }

    /// As many as these, behind them.
    pub(crate) fn next(self) -> Self {
        let count = self.0.len() as u64;
        self.from(count)
    }

    /// `count` chunks of `all`, none near the one before.
    pub(crate) fn scattered(count: u64, all: u64) -> Self {
        Self((0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % all).collect())
    }

    pub(crate) fn bytes(self, len: usize) -> Filled {
        Filled(self.0.into_iter().map(|n| noise(n, len)).collect())
    }
}

impl Filled {
    /// Hands them to a writer, which is dropped before it stores what is new.
    pub(crate) fn hand_over(self, store: &Store) {
        handed_over(store, 1 << 16, self.0);
    }

    /// Stores them, each in a place of its own.
    pub(crate) fn save(self, store: &Store) {
        let (mut writer, _) = handed_over(store, 1 << 16, self.0);
        assert!(writer.prove(&mut |_, _| true).unwrap());
    }
}

/// Saves a volume of so many leaves, each of one chunk; those of `other` have another one.
pub(crate) fn leaves(store: &Store, count: u64, other: &[u64]) -> MapRoot {
    let chunk = |leaf| noise(if other.contains(&leaf) { leaf + count } else { leaf }, 64);
    let (mut writer, root) = handed_over(store, LEAF, (0..count).map(chunk));
    assert!(writer.prove(&mut |_, _| true).unwrap());
    root
}

/// A writer that was given a volume of chunks, one every `step` bytes, and its map.
fn handed_over(store: &Store, step: u64, chunks: impl IntoIterator<Item = Vec<u8>>) -> (Writer, MapRoot) {
    let mut writer = store.writer().unwrap();
    writer.begin(ByteLen(MAX_VOLUME));
    for (number, bytes) in (0..).zip(chunks) {
        let extent = Extent::new(ByteOffset(number * step), ByteLen(bytes.len() as u64)).unwrap();
        writer.chunk(&[extent], bytes).unwrap();
    }
    let root = writer.end().unwrap();
    (writer, root)
}
