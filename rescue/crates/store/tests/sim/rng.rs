//! Randomness that is the same on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`, which is not 0. The bias of the remainder does not matter here.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    /// True `n` times of 256.
    pub(crate) fn chance(&mut self, n: usize) -> bool {
        self.below(256) < n
    }
}

/// Spreads every bit over all.
pub(crate) fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// One number for a sequence of them.
pub(crate) fn fold(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, |n, part| mix(n.rotate_left(5) ^ part).wrapping_add(1))
}
