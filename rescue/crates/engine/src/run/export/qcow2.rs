//! Writing QEMU's image format, version 3, in one pass: every cluster of data is appended as it comes, the table that leads
//! to it behind it, the counts at the end, and the header last of all, so that a torn file is no image.
//!
//! After QEMU's specification, `docs/interop/qcow2.txt`; the sections are named where they are followed. What is left out of
//! the format: backing files, compression, encryption, internal snapshots, bitmaps. Each host cluster is used once.

use super::Target;
use std::io;

/// A cluster: the unit of everything ("General"). 64 KiB is what `qemu-img` makes by default.
const CLUSTER_BITS: u32 = 16;
/// Its bytes.
pub(super) const CLUSTER: u64 = 1 << CLUSTER_BITS;
const CLUSTER_LEN: usize = 1 << CLUSTER_BITS;
/// Entries of 8 bytes in a cluster: of an L2 table, and of a cluster of the refcount table.
const ENTRIES: u64 = CLUSTER / 8;
const L2_LEN: usize = CLUSTER_LEN / 8;
/// Guest bytes that one L2 table leads to.
pub(super) const L2_REACH: u64 = ENTRIES * CLUSTER;
/// "Header", refcount_order: counts of 16 bits ...
const REFCOUNT_ORDER: u32 = 4;
/// ... of which a block, a cluster, holds so many.
const COUNTS: u64 = CLUSTER / 2;
/// "L1 table entry" and "L2 table entry", bit 63: what it leads to is used exactly once.
const COPIED: u64 = 1 << 63;
/// "Header", size: QEMU reads L1 tables of at most 32 MB.
pub(super) const MOST: u64 = (32 << 20) / 8 * L2_REACH;
/// "Header": the fields of version 3 up to and with header_length.
const HEADER_LEN: u32 = 104;
/// QEMU counts a disk in sectors and would cut off the rest of one.
const SECTOR: u64 = 512;

/// The first clusters of every image: the header, and the L1 table of `l1` entries.
fn preamble(l1: u64) -> u64 {
    1 + l1.div_ceil(ENTRIES)
}

/// Blocks of counts and clusters of their table, for a file that has `before` clusters without them ("Host cluster
/// management"): they count themselves too.
fn counts(before: u64) -> (u64, u64) {
    let mut blocks = before.div_ceil(COUNTS);
    loop {
        let table = blocks.div_ceil(ENTRIES);
        let needed = (before + blocks + table).div_ceil(COUNTS);
        if needed <= blocks {
            return (blocks, table);
        }
        blocks = needed;
    }
}

/// Bytes of the file of an image of `size` bytes with so many clusters of data and L2 tables.
pub(super) fn file_len(size: u64, data: u64, tables: u64) -> u64 {
    let before = preamble(size.div_ceil(L2_REACH)) + data + tables;
    let (blocks, table) = counts(before);
    (before + blocks + table).saturating_mul(CLUSTER)
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("below the entries of a table, or of a table in memory")
}

/// An image being written. Keeps a cluster, an L2 table and the L1 table (8 bytes for each 512 MiB) in memory.
pub(super) struct Qcow2<T> {
    file: T,
    /// What a machine sees.
    size: u64,
    /// The next host cluster.
    next: u64,
    l1: Vec<u64>,
    /// The L2 table at hand, and its number.
    l2: Vec<u64>,
    table: Option<u64>,
    /// The guest cluster at hand, and its number.
    cluster: Vec<u8>,
    guest: Option<u64>,
}

impl<T: Target> Qcow2<T> {
    /// Begins an image of a disk of `size` bytes, of at most [`MOST`]. A size within a sector is rounded up.
    pub(super) fn new(file: T, size: u64) -> Self {
        debug_assert!(size <= MOST);
        let size = size.next_multiple_of(SECTOR);
        let tables = size.div_ceil(L2_REACH);
        Self {
            file,
            size,
            next: preamble(tables),
            l1: vec![0; index(tables)],
            l2: vec![0; L2_LEN],
            table: None,
            cluster: vec![0; CLUSTER_LEN],
            guest: None,
        }
    }

    /// Takes a host cluster and fills it. Gives the entry that leads there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.next * CLUSTER;
        self.file.write_all_at(at, bytes)?;
        self.next += 1;
        Ok(at | COPIED)
    }

    /// Writes the guest cluster at hand, unless it is all zeros: what is not there reads as zeros where there is no backing
    /// file ("Cluster mapping").
    fn end_cluster(&mut self) -> io::Result<()> {
        let Some(guest) = self.guest.take() else { return Ok(()) };
        if self.cluster.iter().all(|b| *b == 0) {
            return Ok(());
        }
        let table = guest / ENTRIES;
        if self.table != Some(table) {
            self.end_table()?;
            self.table = Some(table);
        }
        let mut cluster = std::mem::take(&mut self.cluster);
        let entry = self.append(&cluster);
        cluster.fill(0);
        self.cluster = cluster;
        self.l2[index(guest % ENTRIES)] = entry?;
        Ok(())
    }

    fn end_table(&mut self) -> io::Result<()> {
        let Some(table) = self.table.take() else { return Ok(()) };
        let bytes = big_endian(&self.l2);
        self.l1[index(table)] = self.append(&bytes)?;
        self.l2.fill(0);
        Ok(())
    }

    /// The counts of every cluster of the file: each is 1. Gives where their table stands and its clusters.
    fn write_counts(&mut self) -> io::Result<(u64, u64)> {
        let (blocks, clusters) = counts(self.next);
        let used = self.next + blocks + clusters;
        let mut table = Vec::with_capacity(index(blocks));
        for block in 0..blocks {
            let here = index((used - block * COUNTS).min(COUNTS));
            let mut bytes = [0, 1].repeat(here);
            bytes.resize(CLUSTER_LEN, 0);
            // A refcount table entry is the plain offset.
            table.push(self.append(&bytes)? & !COPIED);
        }
        let at = self.next * CLUSTER;
        let mut bytes = big_endian(&table);
        bytes.resize(index(clusters * CLUSTER), 0);
        self.file.write_all_at(at, &bytes)?;
        self.next += clusters;
        Ok((at, clusters))
    }

    fn header(&self, counts: (u64, u64)) -> Vec<u8> {
        let short = |n: u64| u32::try_from(n).expect("an image of at most MOST bytes has short tables").to_be_bytes();
        let mut out = Vec::new();
        out.extend(b"QFI\xfb");
        out.extend(3u32.to_be_bytes());
        // No backing file: offset and length of its name.
        out.extend([0; 8 + 4]);
        out.extend(CLUSTER_BITS.to_be_bytes());
        out.extend(self.size.to_be_bytes());
        // Not encrypted.
        out.extend([0; 4]);
        out.extend(short(self.l1.len() as u64));
        // The L1 table is the second cluster.
        out.extend(CLUSTER.to_be_bytes());
        out.extend(counts.0.to_be_bytes());
        out.extend(short(counts.1));
        // No snapshots: their number and the place of their table. No features of any of the three kinds.
        out.extend([0; 4 + 8 + 3 * 8]);
        out.extend(REFCOUNT_ORDER.to_be_bytes());
        out.extend(HEADER_LEN.to_be_bytes());
        // The zeros behind it are the end of the header extensions.
        out.resize(CLUSTER_LEN, 0);
        out
    }
}

impl<T: Target> super::Image for Qcow2<T> {
    fn put(&mut self, at: u64, mut bytes: &[u8]) -> io::Result<()> {
        let mut at = super::check(at, bytes.len(), self.size)?;
        while !bytes.is_empty() {
            let guest = at / CLUSTER;
            if self.guest != Some(guest) {
                if self.guest.is_some_and(|before| before > guest) {
                    return Err(super::disordered());
                }
                self.end_cluster()?;
                self.guest = Some(guest);
            }
            let from = index(at % CLUSTER);
            let (here, rest) = bytes.split_at(bytes.len().min(CLUSTER_LEN - from));
            self.cluster[from..from + here.len()].copy_from_slice(here);
            at += here.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.end_cluster()?;
        self.end_table()?;
        let counts = self.write_counts()?;
        let l1 = big_endian(&self.l1);
        self.file.write_all_at(CLUSTER, &l1)?;
        let header = self.header(counts);
        self.file.write_all_at(0, &header)?;
        Ok(self.next * CLUSTER)
    }
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|e| e.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Image;
    use super::*;
    use proptest::prelude::*;

    const AS_LEN: usize = CLUSTER_LEN;

    fn u64_at(file: &[u8], at: u64) -> u64 {
        u64::from_be_bytes(file[index(at)..][..8].try_into().unwrap())
    }

    fn u32_at(file: &[u8], at: u64) -> u32 {
        u32::from_be_bytes(file[index(at)..][..4].try_into().unwrap())
    }

    fn written(size: u64, pieces: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut image = Qcow2::new(&mut file, size);
        for (at, bytes) in pieces {
            image.put(*at, bytes).unwrap();
        }
        let len = image.finish().unwrap();
        assert_eq!(len, file.len() as u64);
        file
    }

    /// A reader of what the specification says, as far as it is used, that keeps count of the clusters it meets.
    struct Reader<'a> {
        file: &'a [u8],
        met: Vec<u64>,
    }

    impl Reader<'_> {
        fn meet(&mut self, entry: u64) -> u64 {
            assert_eq!(entry & COPIED, COPIED, "used once");
            let at = entry & !COPIED;
            assert!(at.is_multiple_of(CLUSTER) && at + CLUSTER <= self.file.len() as u64, "{at:#x}");
            self.met.push(at / CLUSTER);
            at
        }

        /// The guest clusters that are there.
        fn clusters(&mut self) -> Vec<(u64, Vec<u8>)> {
            let mut found = Vec::new();
            let (l1, entries) = (u64_at(self.file, 40), u64::from(u32_at(self.file, 36)));
            self.met.extend(0..1 + entries.div_ceil(ENTRIES));
            for i in 0..entries {
                let entry = u64_at(self.file, l1 + i * 8);
                if entry == 0 {
                    continue;
                }
                let l2 = self.meet(entry);
                for j in 0..ENTRIES {
                    let entry = u64_at(self.file, l2 + j * 8);
                    if entry != 0 {
                        let at = index(self.meet(entry));
                        found.push((i * ENTRIES + j, self.file[at..at + AS_LEN].to_vec()));
                    }
                }
            }
            found
        }

        /// Every cluster is counted once, whatever it is, and none past the end.
        fn check_counts(&mut self) {
            let (table, clusters) = (u64_at(self.file, 48), u64::from(u32_at(self.file, 56)));
            self.met.extend((0..clusters).map(|c| table / CLUSTER + c));
            let mut counted = Vec::new();
            for i in 0..clusters * ENTRIES {
                let block = u64_at(self.file, table + i * 8);
                if block == 0 {
                    continue;
                }
                self.met.push(block / CLUSTER);
                for j in 0..COUNTS {
                    let at = index(block + j * 2);
                    match u16::from_be_bytes(self.file[at..at + 2].try_into().unwrap()) {
                        0 => {}
                        n => {
                            assert_eq!(n, 1);
                            counted.push(i * COUNTS + j);
                        }
                    }
                }
            }
            self.met.sort_unstable();
            assert_eq!(self.met, counted);
            assert_eq!(counted, (0..self.file.len() as u64 / CLUSTER).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_header_is_that_of_the_specification() {
        let file = written(100 << 20, &[(0, vec![7; 10])]);
        assert_eq!(file[..8], *b"QFI\xfb\0\0\0\x03");
        assert_eq!(file[8..20], [0; 12], "no backing file");
        assert_eq!((u32_at(&file, 20), u64_at(&file, 24), u32_at(&file, 32)), (16, 100 << 20, 0));
        assert_eq!((u32_at(&file, 36), u64_at(&file, 40)), (1, CLUSTER), "L1");
        // Header, L1, data, L2, a block of counts, their table.
        assert_eq!((u64_at(&file, 48), u32_at(&file, 56)), (5 * CLUSTER, 1), "counts");
        assert_eq!(file[60..96], [0; 36], "no snapshots, no features");
        assert_eq!((u32_at(&file, 96), u32_at(&file, 100)), (4, 104));
        assert_eq!(file[104..AS_LEN], [0; AS_LEN - 104], "no extensions");
        assert_eq!(file.len(), 6 * AS_LEN);
        assert_eq!(file[2 * AS_LEN..][..11], [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0]);
        assert_eq!(u64_at(&file, CLUSTER), (3 * CLUSTER) | COPIED);
        assert_eq!(u64_at(&file, 3 * CLUSTER), (2 * CLUSTER) | COPIED);
    }

    #[test]
    fn nothing_costs_nothing() {
        let file = written(3 * L2_REACH, &[(L2_REACH, vec![0; 3 * AS_LEN])]);
        let mut reader = Reader { file: &file, met: Vec::new() };
        assert!(reader.clusters().is_empty());
        reader.check_counts();
        assert_eq!(file.len() as u64, file_len(3 * L2_REACH, 0, 0));
        assert_eq!(file.len(), 4 * AS_LEN);
    }

    #[test]
    fn a_size_within_a_sector_is_rounded_up() {
        assert_eq!(u64_at(&written(1000, &[(999, vec![1])]), 24), 1024);
        assert_eq!(u64_at(&written(1024, &[(999, vec![1])]), 24), 1024);
    }

    #[test]
    fn only_forward_and_not_past_the_end() {
        let mut image = Qcow2::new(Vec::new(), 1 << 20);
        image.put(CLUSTER, &[1]).unwrap();
        assert!(image.put(0, &[1]).is_err());
        assert!(image.put((1 << 20) - 1, &[1, 1]).is_err());
        assert!(image.put(u64::MAX, &[1, 1]).is_err());
    }

    #[test]
    fn counts_count_themselves() {
        for before in [1, 5, COUNTS - 2, COUNTS - 1, COUNTS, 3 * COUNTS - 3, ENTRIES * COUNTS - 9000, 1 << 40] {
            let (blocks, table) = counts(before);
            assert_eq!(table, blocks.div_ceil(ENTRIES));
            assert!((before + blocks + table) <= blocks * COUNTS, "{before}");
            let fewer = blocks - 1;
            assert!(before + fewer + fewer.div_ceil(ENTRIES) > fewer * COUNTS, "{before}: no block too many");
        }
        assert_eq!(counts(COUNTS - 2), (1, 1));
        assert_eq!(counts(COUNTS - 1), (2, 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// What was put comes back, nothing else does, and the file is as long as was foretold.
        #[test]
        fn what_was_put_is_there(pieces in prop::collection::btree_map(0u64..40_000, (0u8..3, 1usize..150_000), 0..8)) {
            // A disk of four L2 tables, so that tables begin and end between pieces.
            let size = 4 * L2_REACH;
            let (mut end, mut put) = (0, Vec::new());
            for (place, (byte, len)) in pieces {
                // Near the borders of tables more often than by chance.
                let at = place / 10_000 * L2_REACH + place % 10_000 * 997;
                if at >= end {
                    put.push((at, vec![byte; len]));
                    end = at + len as u64;
                }
            }
            let mut expected = std::collections::BTreeMap::<u64, Vec<u8>>::new();
            for (at, bytes) in &put {
                for (at, byte) in (*at..).zip(bytes).filter(|(_, b)| **b != 0) {
                    expected.entry(at / CLUSTER).or_insert_with(|| vec![0; AS_LEN])[index(at % CLUSTER)] = *byte;
                }
            }
            let file = written(size, &put);
            let mut reader = Reader { file: &file, met: Vec::new() };
            let found = reader.clusters();
            reader.check_counts();
            prop_assert!(found == expected.clone().into_iter().collect::<Vec<_>>());
            let tables = expected.keys().map(|g| g / ENTRIES).collect::<std::collections::BTreeSet<_>>().len() as u64;
            prop_assert_eq!(file.len() as u64, file_len(size, expected.len() as u64, tables));
        }
    }
}
