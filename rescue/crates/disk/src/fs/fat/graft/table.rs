//! The allocation table of a FAT, in memory, to be changed.

use super::super::boot::{FIRST_CLUSTER, Geometry};
use crate::bits::Bits;
use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};

/// Most clusters: 16 MiB of a FAT32's table. The usual 4096 bytes make that 16 GiB, of an EFI system partition.
const MOST_CLUSTERS: u32 = 1 << 22;
/// Changed entries so near to each other are written as one piece with those between them.
const NEAR: u32 = 32;

pub(super) struct Table {
    width: u8,
    /// Behind the last cluster.
    end: u32,
    bytes: Vec<u8>,
    changed: Bits,
    /// Free clusters that somebody has a better claim to than the next to come.
    wanted: Bits,
    /// All before this one were looked at.
    next: u32,
}

impl Table {
    /// Reads the copy that counts.
    pub(super) fn read(bytes: &dyn ReadAt, g: &Geometry) -> Result<Self, FsError> {
        if g.clusters > MOST_CLUSTERS {
            return Err(FsError::Incompatible(format!("it has {} clusters, more than are held in memory", g.clusters)));
        }
        let end = g.clusters + FIRST_CLUSTER;
        let len = ByteLen((u64::from(end) * u64::from(g.width)).div_ceil(8)).to_usize().unwrap_or(0);
        let bytes = bytes.read_vec(ByteOffset(g.fats[g.active].start().0), len)?;
        Ok(Self { width: g.width, end, bytes, changed: Bits::new(end), wanted: Bits::new(end), next: FIRST_CLUSTER })
    }

    fn at(&self, no: u32) -> usize {
        usize::try_from(u64::from(no) * u64::from(self.width) / 8).unwrap_or(usize::MAX)
    }

    fn byte(&self, at: usize) -> u32 {
        self.bytes.get(at).map_or(0, |b| u32::from(*b))
    }

    fn get(&self, no: u32) -> u32 {
        let at = self.at(no);
        let two = self.byte(at) | self.byte(at + 1) << 8;
        match self.width {
            12 if no % 2 == 1 => two >> 4,
            12 => two & 0xfff,
            16 => two,
            _ => (two | self.byte(at + 2) << 16 | self.byte(at + 3) << 24) & 0x0fff_ffff,
        }
    }

    fn set(&mut self, no: u32, value: u32) {
        let at = self.at(no);
        let bytes = value.to_le_bytes();
        let mut put = |at: usize, keep: u8, byte: u8| {
            if let Some(b) = self.bytes.get_mut(at) {
                *b = *b & keep | byte;
            }
        };
        match self.width {
            12 if no % 2 == 1 => {
                put(at, 0x0f, bytes[0] << 4);
                put(at + 1, 0, bytes[0] >> 4 | bytes[1] << 4);
            }
            12 => {
                put(at, 0, bytes[0]);
                put(at + 1, 0xf0, bytes[1] & 0x0f);
            }
            16 => (0..2).for_each(|i| put(at + i, 0, bytes[i])),
            _ => {
                (0..3).for_each(|i| put(at + i, 0, bytes[i]));
                // The upper four bits are not part of the number.
                put(at + 3, 0xf0, bytes[3] & 0x0f);
            }
        }
        self.changed.set(no);
    }

    fn is_free(&self, no: u32) -> bool {
        (FIRST_CLUSTER..self.end).contains(&no) && self.get(no) == 0
    }

    /// Makes a cluster free.
    pub(super) fn free(&mut self, no: u32) {
        self.set(no, 0);
    }

    /// Keeps a cluster, where it is free, for whoever asks for that one.
    pub(super) fn want(&mut self, no: u32) {
        if self.is_free(no) {
            self.wanted.set(no);
        }
    }

    /// Links new clusters to a chain of `count`, behind `after` where there is one; each is the one that is preferred in its place, if that
    /// is free.
    ///
    /// # Errors
    /// [`FsError::Incompatible`] where there are not so many.
    pub(super) fn chain(&mut self, count: usize, prefer: &[u32], after: Option<u32>) -> Result<Vec<u32>, FsError> {
        let last = if self.width == 32 { 0x0fff_ffff } else { (1 << self.width) - 1 };
        let (mut chain, mut before) = (Vec::new(), after);
        for nth in 0..count {
            let no = match prefer.get(nth).filter(|no| self.is_free(**no)) {
                Some(no) => *no,
                None => self.first_free()?,
            };
            self.wanted.clear(no);
            self.set(no, last);
            if let Some(before) = before {
                self.set(before, no);
            }
            before = Some(no);
            chain.push(no);
        }
        Ok(chain)
    }

    fn first_free(&mut self) -> Result<u32, FsError> {
        while self.next < self.end {
            let no = self.next;
            self.next += 1;
            if self.is_free(no) && !self.wanted.get(no) {
                return Ok(no);
            }
        }
        Err(FsError::Incompatible("there is not enough room on it".to_owned()))
    }

    /// How many clusters are free, and the first of them.
    pub(super) fn room(&self) -> (u32, Option<u32>) {
        let mut free = (FIRST_CLUSTER..self.end).filter(|no| self.get(*no) == 0);
        let first = free.next();
        (first.map_or(0, |_| 1 + u32::try_from(free.count()).unwrap_or(u32::MAX)), first)
    }

    /// What changed, where it lies in each copy of the table that is kept up.
    pub(super) fn patches(&self, g: &Geometry) -> Vec<(ByteOffset, Vec<u8>)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for no in self.changed.iter() {
            match runs.last_mut() {
                Some((_, last)) if no - *last <= NEAR => *last = no,
                _ => runs.push((no, no)),
            }
        }
        let copies = (0..g.fats.len()).filter(|copy| g.mirrored || *copy == g.active);
        let piece = |copy: usize, (first, last): &(u32, u32)| {
            let (from, to) =
                (self.at(*first), (self.at(*last) + usize::from(self.width).div_ceil(8)).min(self.bytes.len()));
            (ByteOffset(g.entry_at(copy, *first)), self.bytes.get(from..to).unwrap_or_default().to_vec())
        };
        copies.flat_map(|copy| runs.iter().map(move |run| piece(copy, run))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::units::Extent;

    fn geometry(width: u8, clusters: u32) -> Geometry {
        let len = (u64::from(clusters + 2) * u64::from(width)).div_ceil(8).next_multiple_of(512);
        let fats = vec![Extent::between(512, 512 + len).unwrap(), Extent::between(512 + len, 512 + 2 * len).unwrap()];
        let data = Extent::between(512 + 2 * len, 512 + 2 * len + u64::from(clusters) * 512).unwrap();
        let root = Extent::default();
        Geometry { width, cluster_size: 512, clusters, fats, active: 0, mirrored: true, root, root_cluster: 2, data }
    }

    #[test]
    fn entries_of_every_width_are_set_without_their_neighbours() {
        for width in [12, 16, 32] {
            let g = geometry(width, 300);
            let disk = vec![0xff; usize::try_from(g.data.end().0).unwrap()];
            let mut table = Table::read(&disk, &g).unwrap();
            let all = if width == 32 { 0x0fff_ffff } else { (1 << width) - 1 };
            for no in [7, 8] {
                table.set(no, 0x123);
                assert_eq!((table.get(no - 1), table.get(no), table.get(no + 1)), (all, 0x123, all), "{width}, {no}");
                table.set(no, all);
            }
            assert!(table.bytes.iter().all(|b| *b == 0xff), "the upper bits of a FAT32 stay");
        }
    }

    #[test]
    fn what_is_wanted_is_taken_by_nobody_else() {
        let g = geometry(16, 10);
        let mut table = Table::read(&vec![0; 8192], &g).unwrap();
        table.want(2);
        table.want(5);
        assert_eq!(table.chain(3, &[7], None).unwrap(), [7, 3, 4]);
        assert_eq!(table.chain(2, &[5, 2], Some(4)).unwrap(), [5, 2]);
        assert_eq!([7, 3, 4, 5, 2].map(|no| table.get(no)), [3, 4, 5, 2, 0xffff]);
        assert_eq!(table.room(), (5, Some(6)));
        assert!(table.chain(6, &[], None).is_err());
        let patches = table.patches(&g);
        assert_eq!(patches.len(), 2, "one piece in each copy");
        assert_eq!(patches[0].0, ByteOffset(512 + 4));
    }
}
