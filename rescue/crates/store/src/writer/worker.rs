//! The worker threads: hash, look up, compress, prove.

use super::Common;
use super::packer::{Content, Event};
use crate::error::StoreError;
use crate::layout::small;
use crate::pack::Encoding;
use crate::store::Store;
use model::id::Digest;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Mutex, PoisonError};

/// Compression level: the measured knee between size and time on system files.
const LEVEL: i32 = 3;

/// Used bytes within a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// First byte, from the start of the cell.
    pub(super) start: u32,
    /// Number of bytes.
    pub(super) len: u32,
}

/// The used bytes of a cell.
pub(super) struct Job {
    pub(super) sequence: u64,
    pub(super) index: u64,
    pub(super) runs: Vec<Run>,
    pub(super) bytes: Vec<u8>,
}

/// Compresses chunks, and proves each before it is believed: a compressor or a memory cell that fails must not be found
/// out at the rollback.
pub(super) struct Squeezer {
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
    stored: Vec<u8>,
    plain: Vec<u8>,
}

impl Squeezer {
    pub(super) fn new() -> Result<Self, StoreError> {
        let fail = |e| StoreError::io(format!("starting zstd failed: {e}"));
        let compressor = zstd::bulk::Compressor::new(LEVEL).map_err(fail)?;
        let decompressor = zstd::bulk::Decompressor::new().map_err(fail)?;
        Ok(Self { compressor, decompressor, stored: Vec::new(), plain: Vec::new() })
    }

    /// The stored form of `plain`: compressed where that saves at least a thirty-second.
    pub(super) fn squeeze<'a>(&'a mut self, plain: &'a [u8]) -> Result<(Encoding, &'a [u8]), StoreError> {
        let most = plain.len() - plain.len() / 32;
        self.stored.clear();
        self.stored.reserve(plain.len());
        let fits = self.compressor.compress_to_buffer(plain, &mut self.stored).is_ok();
        if !fits || self.stored.len() >= most || self.stored.is_empty() {
            return Ok((Encoding::Plain, plain));
        }
        self.plain.clear();
        self.plain.reserve(plain.len());
        let proof = self.decompressor.decompress_to_buffer(&self.stored, &mut self.plain);
        if proof.is_err() || self.plain != plain {
            return Err(StoreError::io("what was compressed does not come back: check this machine's memory"));
        }
        Ok((Encoding::Zstd, &self.stored))
    }
}

pub(super) fn run(store: &Store, common: &Common, queue: &Mutex<Receiver<Job>>, events: &Sender<(u64, Event)>) {
    let mut squeezer = Squeezer::new();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { sequence, index, runs, bytes }) = job else { return };
        // A cell that never came out would leave the packer waiting for it: a panic is a failure like any other.
        let content = catch_unwind(AssertUnwindSafe(|| {
            common.check()?;
            match &mut squeezer {
                Ok(squeezer) => content(store, squeezer, bytes),
                Err(e) => Err(e.clone()),
            }
        }));
        let content = content.unwrap_or_else(|_| Err(StoreError::io("a worker of the store panicked")));
        if events.send((sequence, Event::Cell { index, runs, content })).is_err() {
            return;
        }
    }
}

fn content(store: &Store, squeezer: &mut Squeezer, bytes: Vec<u8>) -> Result<Content, StoreError> {
    if is_zero(&bytes) {
        return Ok(Content::Zero);
    }
    let id = Digest::of(&bytes);
    let plain = small(bytes.len());
    if store.has(&id)? {
        return Ok(Content::Known { id, plain });
    }
    let compressed = match squeezer.squeeze(&bytes)? {
        (Encoding::Zstd, stored) => Some(stored.to_vec()),
        (Encoding::Plain, _) => None,
    };
    let (encoding, stored) = match compressed {
        Some(stored) => (Encoding::Zstd, stored),
        None => (Encoding::Plain, bytes),
    };
    Ok(Content::New { id, plain, encoding, stored })
}

/// True where all bytes are zero; in steps of a size the compiler turns into wide loads.
fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|b| b.iter().fold(0, |a, b| a | b) == 0) && rest.iter().all(|b| *b == 0)
}

const _: () = assert!(big_enough());

/// A job's bytes always fit the 32-bit lengths of a pack.
const fn big_enough() -> bool {
    crate::layout::CELL <= crate::layout::MAX_DATA && size_of::<usize>() >= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squeezes_what_can_be_squeezed() {
        let mut squeezer = Squeezer::new().unwrap();
        let text = b"the same words again and again ".repeat(1000);
        let (encoding, stored) = squeezer.squeeze(&text).unwrap();
        assert_eq!(encoding, Encoding::Zstd);
        assert!(stored.len() * 10 < text.len());
        let noise: Vec<u8> = (0..4096u32).flat_map(|n| Digest::of(&n.to_le_bytes()).0).collect();
        assert_eq!(squeezer.squeeze(&noise).unwrap(), (Encoding::Plain, noise.as_slice()));
        assert_eq!(squeezer.squeeze(b"x").unwrap().0, Encoding::Plain);
    }

    #[test]
    fn zero_is_zero() {
        for len in [0, 1, 63, 64, 65, 4096] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            if let Some(last) = bytes.last_mut() {
                *last = 1;
                assert!(!is_zero(&bytes));
            }
        }
    }
}
