//! Frames: the unit of compression (docs/store-format.md, "Chunks and frames").

use crate::decode::DecodeError;
use crate::error::StoreError;
use crate::layout::{MAX_RECORD, big, small};
use crate::pack::Encoding;
use crate::pieces::Pieces;
use std::sync::LazyLock;

/// Bytes of a sample taken to guess whether a chunk can be compressed.
const SAMPLE: usize = 512;
/// Samples taken of a chunk.
const SAMPLES: usize = 8;
/// A sample of random bytes has about 7.6 bits a byte (512 draws of 256 values); text and programs are far below.
const NOISE: f64 = 7.3;

/// Decompresses. The destination's capacity bounds what zstd writes, whatever the frame declares; a frame decoded in one
/// call needs no window of its own.
pub(crate) fn expand(stored: &[u8], plain_len: u32) -> Result<Vec<u8>, DecodeError> {
    if u64::from(plain_len) > MAX_RECORD {
        return Err(DecodeError::bad(format!("{plain_len} plain bytes; the most is {MAX_RECORD}")));
    }
    let capacity = big(plain_len);
    let plain = zstd::bulk::decompress(stored, capacity).map_err(|e| DecodeError::bad(format!("zstd: {e}")))?;
    if plain.len() != capacity {
        return Err(DecodeError::bad(format!("{} plain bytes where {plain_len} were declared", plain.len())));
    }
    Ok(plain)
}

/// Of the level that runs begin with and mostly stay at: its table of short matches at half the size, so that both of its tables
/// stay in a processor's own cache. On files of an installed Debian 2 to 6 % faster for 0.4 % more bytes (zstd 1.5.7).
const SHORT_MATCHES: (i32, u32) = (3, 15);

/// Compresses frames, and proves each before it is believed: a compressor or a memory cell that fails must not be found
/// out at the rollback.
pub(crate) struct Squeezer {
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
    level: i32,
    plain: Vec<u8>,
}

impl Squeezer {
    pub(crate) fn new() -> Result<Self, StoreError> {
        let fail = |e| StoreError::io(format!("starting zstd failed: {e}"));
        let compressor = zstd::bulk::Compressor::default();
        let decompressor = zstd::bulk::Decompressor::new().map_err(fail)?;
        Ok(Self { compressor, decompressor, level: 0, plain: Vec::new() })
    }

    /// The stored form of `plain`: compressed where that saves at least a thirty-second.
    pub(crate) fn squeeze(&mut self, plain: Vec<u8>, level: i32) -> Result<(Encoding, Vec<u8>), StoreError> {
        if level != self.level {
            let fail = |e| StoreError::io(format!("zstd does not take level {level}: {e}"));
            self.compressor.set_compression_level(level).map_err(fail)?;
            // 0 is what the level has of itself.
            let short = if level == SHORT_MATCHES.0 { SHORT_MATCHES.1 } else { 0 };
            self.compressor.set_parameter(zstd::zstd_safe::CParameter::ChainLog(short)).map_err(fail)?;
            self.level = level;
        }
        let most = plain.len() - plain.len() / 32;
        let mut stored = Vec::with_capacity(plain.len());
        let fits = self.compressor.compress_to_buffer(&plain, &mut stored).is_ok();
        if !fits || stored.len() >= most || stored.is_empty() {
            return Ok((Encoding::Plain, plain));
        }
        self.plain.clear();
        self.plain.reserve(plain.len());
        let proof = self.decompressor.decompress_to_buffer(&stored, &mut self.plain);
        if proof.is_err() || self.plain != plain {
            return Err(StoreError::io("what was compressed does not come back: check this machine's memory"));
        }
        stored.shrink_to_fit();
        Ok((Encoding::Zstd, stored))
    }
}

/// True where compressing is most likely a waste of time: samples all over `bytes` look like noise. (The mean of their
/// order-0 entropies: compressed files and encrypted ones are above [`NOISE`], all else is well below.)
pub(crate) fn looks_incompressible(bytes: &Pieces) -> bool {
    if bytes.len() < SAMPLE * SAMPLES {
        return false;
    }
    let step = (bytes.len() - SAMPLE) / (SAMPLES - 1);
    let (mut bits, mut left) = (0.0, SAMPLES);
    for n in 0..SAMPLES {
        let mut sample = [0; SAMPLE];
        bytes.copy_to(n * step, &mut sample);
        bits += entropy(&sample);
        left -= 1;
        // Nothing has more than eight bits a byte: mostly two or three samples decide.
        if bits + 8.0 * count(left) <= NOISE * count(SAMPLES) {
            return false;
        }
    }
    true
}

/// Bits a byte of a sample, were every byte drawn by itself.
fn entropy(sample: &[u8]) -> f64 {
    /// `n * log2(n)` for every count there can be.
    static LOGS: LazyLock<Vec<f64>> =
        LazyLock::new(|| (0..=SAMPLE).map(|n| if n == 0 { 0.0 } else { count(n) * count(n).log2() }).collect());
    let mut counts = [0u16; 256];
    for byte in sample {
        counts[usize::from(*byte)] += 1;
    }
    let logs = LOGS.as_slice();
    let sum: f64 = counts.iter().filter_map(|n| logs.get(usize::from(*n))).sum();
    count(sample.len()).log2() - sum / count(sample.len())
}

fn count(n: usize) -> f64 {
    f64::from(small(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::Digest;

    fn noise(len: u32) -> Vec<u8> {
        (0..len / 32).flat_map(|n| Digest::of(&n.to_le_bytes()).0).collect()
    }

    #[test]
    fn squeezes_what_can_be_squeezed() {
        let mut squeezer = Squeezer::new().unwrap();
        let text = b"the same words again and again ".repeat(30_000);
        let mut sizes = Vec::new();
        for level in [1, 9, 1] {
            let (encoding, stored) = squeezer.squeeze(text.clone(), level).unwrap();
            assert_eq!(encoding, Encoding::Zstd);
            assert!(stored.len() * 100 < text.len());
            assert_eq!(expand(&stored, small(text.len())).unwrap(), text);
            assert!(expand(&stored, small(text.len()) - 1).is_err());
            assert!(expand(&stored, small(text.len()) + 1).is_err());
            sizes.push(stored.len());
        }
        assert_eq!(sizes[0], sizes[2], "a level holds for one frame");
        assert_eq!(squeezer.squeeze(noise(4096), 3).unwrap(), (Encoding::Plain, noise(4096)));
        assert_eq!(squeezer.squeeze(vec![b'x'], 3).unwrap().0, Encoding::Plain);
    }

    #[test]
    fn noise_is_told_from_all_else() {
        assert!(looks_incompressible(&noise(65_536).into()));
        assert!(looks_incompressible(&Squeezer::new().unwrap().squeeze(numbers(), 9).unwrap().1.into()));
        for plain in [vec![7; 65_536], numbers(), b"#!/bin/sh\nexec true\n".repeat(1000), noise(4064)] {
            assert!(!looks_incompressible(&plain.clone().into()), "{:?}", &plain[..20]);
        }
    }

    fn numbers() -> Vec<u8> {
        (0..100_000u32).flat_map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761)).into_bytes()).collect()
    }
}
