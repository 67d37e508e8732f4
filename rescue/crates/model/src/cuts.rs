//! Where a volume's bytes should be cut into chunks, so that equal files give equal chunks wherever they lie.

use crate::units::ByteLen;

/// Outside of files, chunks begin at multiples of this.
pub const GRID: u64 = 64 << 10;
/// Within a file, chunks begin at multiples of this, counted from the file's start.
pub const PIECE: u64 = 128 << 10;

/// The places where a chunk should begin: one bit for each allocation unit of the volume. A chunk goes from one place to the
/// next, and holds what is used in between. At 4 KiB a unit, 32 MiB for each TiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts {
    unit: u32,
    size: u64,
    bits: Vec<u64>,
}

impl Cuts {
    /// The grid alone: for what is not a file system, or one whose files are not known.
    pub fn grid(size: ByteLen) -> Self {
        Self::on_grid(1 << 16, size)
    }

    /// The grid, on which the runs of files can be laid, in units of `unit` bytes (at least 512).
    pub fn on_grid(unit: u32, size: ByteLen) -> Self {
        let unit = unit.max(512);
        let units = size.0.div_ceil(u64::from(unit));
        let words = usize::try_from(units.div_ceil(64)).unwrap_or(usize::MAX);
        let mut cuts = Self { unit, size: size.0, bits: vec![0; words] };
        let step = (GRID / u64::from(unit)).max(1);
        (0..units).step_by(usize::try_from(step).unwrap_or(usize::MAX)).for_each(|u| cuts.set(u));
        cuts
    }

    /// Units of the volume, the last one perhaps cut short by its end.
    fn units(&self) -> u64 {
        self.size.div_ceil(u64::from(self.unit))
    }

    /// Lays a run of a file: `len` units from unit `at`, the first of which is unit `from` of the file. What does not lie on
    /// the volume is left out.
    pub fn lay(&mut self, at: u64, len: u64, from: u64) {
        let end = at.saturating_add(len).min(self.units());
        if at >= end {
            return;
        }
        self.clear(at + 1, end);
        self.set(at);
        self.set(end);
        let piece = (PIECE / u64::from(self.unit)).max(1);
        let mut next = at + (piece - from % piece);
        while next < end {
            self.set(next);
            next += piece;
        }
    }

    fn set(&mut self, unit: u64) {
        if let Some(word) = usize::try_from(unit / 64).ok().and_then(|w| self.bits.get_mut(w)) {
            *word |= 1 << (unit % 64);
        }
    }

    /// Clears `from` up to (not including) `end`.
    fn clear(&mut self, from: u64, end: u64) {
        let mut at = from;
        while at < end {
            let upto = (at / 64 * 64 + 64).min(end);
            let mask = (u64::MAX >> (64 - (upto - at))) << (at % 64);
            if let Some(word) = usize::try_from(at / 64).ok().and_then(|w| self.bits.get_mut(w)) {
                *word &= !mask;
            }
            at = upto;
        }
    }

    /// The first place after byte `at` where a chunk should begin; the volume's end where there is none.
    pub fn after(&self, at: u64) -> u64 {
        let unit = at / u64::from(self.unit) + 1;
        let (mut word, mut mask) = (unit / 64, u64::MAX << (unit % 64));
        while let Some(bits) = usize::try_from(word).ok().and_then(|w| self.bits.get(w)) {
            let found = bits & mask;
            if found != 0 {
                let unit = word * 64 + u64::from(found.trailing_zeros());
                return unit.saturating_mul(u64::from(self.unit)).min(self.size);
            }
            (word, mask) = (word + 1, u64::MAX);
        }
        self.size
    }

    /// As plain bytes: the unit (4, little-endian), then the bits, eight in a byte, the lowest first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = self.bits.iter().flat_map(|w| w.to_le_bytes());
        self.unit.to_le_bytes().into_iter().chain(words).collect()
    }

    /// From plain bytes, for a volume of `size` bytes; `None` where they are not its cuts.
    pub fn from_bytes(size: ByteLen, bytes: &[u8]) -> Option<Self> {
        let (unit, rest) = bytes.split_first_chunk()?;
        let unit = u32::from_le_bytes(*unit);
        let (words, left) = rest.as_chunks::<8>();
        let expected = size.0.div_ceil(u64::from(unit.max(1))).div_ceil(64);
        let good = unit >= 512 && left.is_empty() && words.len() as u64 == expected;
        good.then(|| Self { unit, size: size.0, bits: words.iter().map(|w| u64::from_le_bytes(*w)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn all(cuts: &Cuts) -> Vec<u64> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < cuts.size {
            at = cuts.after(at);
            found.push(at);
        }
        found
    }

    #[test]
    fn the_grid_is_a_grid() {
        let cuts = Cuts::grid(ByteLen(200_000));
        assert_eq!(all(&cuts), [65_536, 131_072, 196_608, 200_000]);
        assert_eq!(all(&Cuts::on_grid(4096, ByteLen(200_000))), all(&cuts));
        assert_eq!(all(&Cuts::grid(ByteLen(0))), [] as [u64; 0]);
        assert_eq!(cuts.after(u64::MAX), 200_000);
    }

    #[test]
    fn a_file_is_cut_from_its_own_start() {
        let mut cuts = Cuts::on_grid(4096, ByteLen(1 << 20));
        // Two runs of one file: 33 units from unit 3 on, then the rest elsewhere.
        cuts.lay(3, 33, 0);
        cuts.lay(100, 40, 33);
        let units: BTreeSet<u64> = all(&cuts).iter().map(|at| at / 4096).collect();
        for there in [3, 35, 36, 100, 100 + 31, 140] {
            assert!(units.contains(&there), "{there} in {units:?}");
        }
        for gone in [16, 32, 112, 128] {
            assert!(!units.contains(&gone), "{gone} in {units:?}");
        }
        assert!(units.contains(&48) && units.contains(&144), "the grid goes on outside");
    }

    #[test]
    fn what_is_not_on_the_volume_is_left_out() {
        let mut cuts = Cuts::on_grid(512, ByteLen(10_000));
        let before = cuts.clone();
        cuts.lay(u64::MAX, 5, 0);
        cuts.lay(20, u64::MAX, 7);
        cuts.lay(3, 0, 0);
        assert_eq!(cuts, before);
        cuts.lay(19, u64::MAX, u64::MAX);
        assert_eq!(all(&cuts), [19 * 512, 10_000]);
    }

    #[test]
    fn comes_back_from_bytes() {
        let mut cuts = Cuts::on_grid(1024, ByteLen(5_000_000));
        cuts.lay(77, 1000, 3);
        let bytes = cuts.to_bytes();
        assert_eq!(Cuts::from_bytes(ByteLen(5_000_000), &bytes), Some(cuts));
        assert_eq!(Cuts::from_bytes(ByteLen(6_000_000), &bytes), None);
        assert_eq!(Cuts::from_bytes(ByteLen(5_000_000), &bytes[..bytes.len() - 1]), None);
        assert_eq!(Cuts::from_bytes(ByteLen(0), &[0; 4]), None);
    }
}
