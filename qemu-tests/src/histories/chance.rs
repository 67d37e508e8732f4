//! What is drawn by lot, the same for the same seed.

/// A generator of numbers (xorshift64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64, of: &str) -> Self {
        // splitmix64's finish: small seeds must not begin alike.
        let mut x = of.bytes().fold(seed, |x, b| (x ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((x ^ x >> 31) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    /// A number below `end`; 0 where there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// An index of a list of that length.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Vec<u8> {
        let len = usize::try_from(len).expect("a length that fits memory");
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}
