//! Units: an offset is not a length, and a sector is not a byte.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A position in bytes from the start of the thing being addressed (a disk, a volume or a file: the function says which).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteOffset(pub u64);

/// A length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteLen(pub u64);

/// A logical block address: a position in logical sectors from the start of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lba(pub u64);

/// The logical sector size of a disk in bytes: 512 or 4096 in practice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SectorSize(pub u32);

impl SectorSize {
    /// The classic 512-byte sector.
    pub const B512: Self = Self(512);
    /// The "4Kn" sector.
    pub const B4096: Self = Self(4096);
}

impl Lba {
    /// The byte offset of this address, or `None` where it does not fit 64 bits.
    pub fn to_bytes(self, sector: SectorSize) -> Option<ByteOffset> {
        self.0.checked_mul(u64::from(sector.0)).map(ByteOffset)
    }
}

impl ByteOffset {
    /// This offset moved forward, or `None` on overflow.
    pub fn checked_add(self, len: ByteLen) -> Option<Self> {
        self.0.checked_add(len.0).map(Self)
    }
}

impl ByteLen {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// This length as a `usize`, or `None` where the machine cannot address it.
    pub fn to_usize(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }
}

/// Shows a length the way people say it: `1.4 GB` (powers of ten, as disks are sold).
impl fmt::Display for ByteLen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        let (mut whole, mut tenths, mut unit) = (self.0, 0, 0);
        while whole >= 1000 && unit + 1 < UNITS.len() {
            tenths = whole % 1000 / 100;
            whole /= 1000;
            unit += 1;
        }
        if whole < 100 { write!(f, "{whole}.{tenths} {}", UNITS[unit]) } else { write!(f, "{whole} {}", UNITS[unit]) }
    }
}

impl fmt::Display for ByteOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A contiguous range of bytes: `start .. start + len`, which never overflows (the constructors see to it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct Extent {
    start: ByteOffset,
    len: ByteLen,
}

impl Extent {
    /// The range of `len` bytes at `start`, or `None` where its end would overflow.
    pub fn new(start: ByteOffset, len: ByteLen) -> Option<Self> {
        start.checked_add(len).map(|_| Self { start, len })
    }

    /// The range `start .. end`, or `None` where `end < start`.
    pub fn between(start: u64, end: u64) -> Option<Self> {
        let len = end.checked_sub(start)?;
        Some(Self { start: ByteOffset(start), len: ByteLen(len) })
    }

    /// The whole of something `len` bytes long.
    pub fn whole(len: ByteLen) -> Self {
        Self { start: ByteOffset(0), len }
    }

    /// First byte.
    pub fn start(self) -> ByteOffset {
        self.start
    }

    /// Number of bytes.
    pub fn len(self) -> ByteLen {
        self.len
    }

    /// One past the last byte.
    pub fn end(self) -> ByteOffset {
        ByteOffset(self.start.0 + self.len.0)
    }

    /// True where it covers nothing.
    pub fn is_empty(self) -> bool {
        self.len.0 == 0
    }

    /// The part common to both, or `None` where they do not touch.
    pub fn intersect(self, other: Self) -> Option<Self> {
        let start = self.start.0.max(other.start.0);
        let end = self.end().0.min(other.end().0);
        if start < end { Self::between(start, end) } else { None }
    }

    /// True where `other` lies wholly inside.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }
}

impl TryFrom<(u64, u64)> for Extent {
    type Error = &'static str;

    fn try_from((start, len): (u64, u64)) -> Result<Self, Self::Error> {
        Self::new(ByteOffset(start), ByteLen(len)).ok_or("extent end overflows 64 bits")
    }
}

impl From<Extent> for (u64, u64) {
    fn from(e: Extent) -> Self {
        (e.start.0, e.len.0)
    }
}

/// A set of bytes, kept as sorted, disjoint, non-touching, non-empty extents.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Extent>", into = "Vec<Extent>")]
pub struct ExtentSet {
    extents: Vec<Extent>,
}

impl ExtentSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a range. Appending in rising order is the cheap case; any order is right.
    pub fn insert(&mut self, e: Extent) {
        if e.is_empty() {
            return;
        }
        match self.extents.last_mut() {
            None => self.extents.push(e),
            Some(last) if e.start > last.end() => self.extents.push(e),
            Some(last) if e.start >= last.start => {
                let end = last.end().max(e.end());
                last.len = ByteLen(end.0 - last.start.0);
            }
            Some(_) => {
                let from = self.extents.partition_point(|x| x.end() < e.start);
                let to = self.extents.partition_point(|x| x.start <= e.end());
                let (mut start, mut end) = (e.start.0, e.end().0);
                for x in &self.extents[from..to] {
                    start = start.min(x.start.0);
                    end = end.max(x.end().0);
                }
                let merged = Extent { start: ByteOffset(start), len: ByteLen(end - start) };
                self.extents.splice(from..to, [merged]);
            }
        }
    }

    /// The ranges, in rising order.
    pub fn iter(&self) -> impl Iterator<Item = Extent> + '_ {
        self.extents.iter().copied()
    }

    /// Number of ranges.
    pub fn ranges(&self) -> usize {
        self.extents.len()
    }

    /// Total bytes covered.
    pub fn total(&self) -> ByteLen {
        ByteLen(self.extents.iter().map(|e| e.len.0).sum())
    }

    /// True where nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// True where every byte of `e` is covered.
    pub fn covers(&self, e: Extent) -> bool {
        if e.is_empty() {
            return true;
        }
        let i = self.extents.partition_point(|x| x.end() <= e.start);
        self.extents.get(i).is_some_and(|x| x.contains(e))
    }

    /// True where any byte of `e` is covered.
    pub fn meets(&self, e: Extent) -> bool {
        self.within(e).next().is_some()
    }

    /// Everything in either set.
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<Extent> = self.extents.iter().chain(&other.extents).copied().collect();
        all.sort_unstable();
        all.into()
    }

    /// The parts of its ranges inside `range`.
    fn within(&self, range: Extent) -> impl Iterator<Item = Extent> + '_ {
        let from = self.extents.partition_point(|e| e.end() <= range.start);
        self.extents[from..].iter().map_while(move |e| e.intersect(range))
    }

    /// The parts of `range` that are not in this set, in rising order.
    pub fn gaps(&self, range: Extent) -> ExtentSet {
        let mut out = Self::new();
        let mut at = range.start.0;
        for e in self.within(range) {
            if let Some(gap) = Extent::between(at, e.start.0) {
                out.insert(gap);
            }
            at = e.end().0;
        }
        if let Some(gap) = Extent::between(at, range.end().0) {
            out.insert(gap);
        }
        out
    }

    /// The part of this set inside `range`.
    pub fn clip(&self, range: Extent) -> ExtentSet {
        self.within(range).collect()
    }
}

impl FromIterator<Extent> for ExtentSet {
    fn from_iter<I: IntoIterator<Item = Extent>>(iter: I) -> Self {
        let mut set = Self::new();
        for e in iter {
            set.insert(e);
        }
        set
    }
}

impl From<Vec<Extent>> for ExtentSet {
    fn from(mut v: Vec<Extent>) -> Self {
        v.sort_unstable();
        v.into_iter().collect()
    }
}

impl From<ExtentSet> for Vec<Extent> {
    fn from(s: ExtentSet) -> Self {
        s.extents
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn e(start: u64, end: u64) -> Extent {
        Extent::between(start, end).expect("ordered")
    }

    #[test]
    fn lengths_read_as_people_say_them() {
        let said: Vec<String> =
            [0, 999, 1000, 1449, 99_950, 123_456_789, 8_000_000_000].map(|n| ByteLen(n).to_string()).into();
        assert_eq!(said, ["0 B", "999 B", "1.0 kB", "1.4 kB", "99.9 kB", "123 MB", "8.0 GB"]);
    }

    #[test]
    fn an_extent_that_overflows_cannot_be_made() {
        assert_eq!(Extent::new(ByteOffset(u64::MAX), ByteLen(1)), None);
        assert!(serde_json::from_str::<Extent>("[18446744073709551615, 2]").is_err());
    }

    proptest! {
        /// The set agrees with a plain bitmap whatever the order of insertion.
        #[test]
        fn set_is_a_set(ranges in prop::collection::vec((0u64..200, 0u64..40), 0..30)) {
            let mut set = ExtentSet::new();
            let mut bits = [false; 256];
            for (start, len) in &ranges {
                set.insert(e(*start, start + len));
                (*start..start + len).for_each(|i| bits[usize::try_from(i).expect("small")] = true);
            }
            for (i, bit) in (0u64..).zip(bits) {
                prop_assert_eq!(set.covers(e(i, i + 1)), bit);
                prop_assert_eq!(set.meets(e(i, i + 3)), bits.iter().skip(usize::try_from(i).expect("small")).take(3).any(|b| *b));
            }
            prop_assert_eq!(set.total().0, bits.iter().map(|b| u64::from(*b)).sum::<u64>());
            let list: Vec<Extent> = set.iter().collect();
            prop_assert!(list.windows(2).all(|w| w[0].end() < w[1].start()));
            let gaps = set.gaps(e(0, 256));
            prop_assert_eq!(gaps.total().0 + set.total().0, 256);
            prop_assert_eq!(gaps.union(&set).ranges(), 1);
        }
    }
}
