//! Randomness for tests.

use model::id::Digest;
use model::ports::Entropy;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that follow from a seed: hashes of the seed and a counter.
pub(crate) struct Seeded {
    seed: u64,
    drawn: AtomicU64,
}

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
}

impl Entropy for Seeded {
    fn fill(&self, out: &mut [u8]) -> io::Result<()> {
        for part in out.chunks_mut(32) {
            let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
            let bytes = Digest::of(&[self.seed.to_le_bytes(), drawn.to_le_bytes()].concat()).0;
            part.copy_from_slice(&bytes[..part.len()]);
        }
        Ok(())
    }
}

/// The same bytes again and again, for vectors that name their nonce.
pub(crate) struct Fixed(pub(crate) Vec<u8>);

impl Entropy for Fixed {
    fn fill(&self, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.0);
        Ok(())
    }
}

/// None.
pub(crate) struct Broken;

impl Entropy for Broken {
    fn fill(&self, _: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("no randomness in this test"))
    }
}

/// The bytes of hexadecimal digits, as published vectors are written.
pub(crate) fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pair = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}
