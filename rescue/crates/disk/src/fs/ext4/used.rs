//! Which blocks of a file system are in use: its own structure, and what its bitmaps say.

use super::group::{Group, base_meta};
use super::reader::Reader;
use super::superblock::Superblock;
use model::units::{Extent, ExtentSet};
use std::ops::Range;

/// Ranges kept apart: beyond, small gaps count as used, so that a scattered (or hostile) file system costs bytes on the
/// save disk instead of memory.
const MOST_RANGES: usize = 4 << 20;

/// What is in use.
pub(super) struct Used {
    /// The bytes.
    pub(super) bytes: ExtentSet,
    /// Groups kept whole, because their descriptor or bitmap is damaged or cannot be read.
    pub(super) whole_groups: u32,
}

/// The blocks in use in `now`, the file system with its journal replayed, and also in `before`, the same as it lies on the
/// volume, where that is another.
pub(super) fn used(now: &Reader, before: Option<&Reader>) -> Used {
    let sb = &now.sb;
    // The boot block, in front of group 0 where blocks are 1 KiB.
    let mut bits = Blocks::new(sb);
    bits.push(0..sb.first_data_block.max(1));
    let mut structure = Vec::new();
    let mut whole_groups = 0;
    for no in 0..sb.groups {
        let all = sb.group_start(no)..sb.group_end(no);
        structure.push(base_meta(sb, no));
        let bitmap = now.group(no).ok().filter(|g| g.checksum_holds).and_then(|group| {
            structure.extend(own_blocks(sb, &group));
            bitmap(now, no, &group)
        });
        let Some(mut bitmap) = bitmap else {
            whole_groups += 1;
            bits.push(all);
            continue;
        };
        if let Some(before) = before {
            add_before(before, no, &mut bitmap, &mut structure);
        }
        for run in ones(&bitmap) {
            bits.push(all.start + run.start * sb.cluster..(all.start + run.end * sb.cluster).min(all.end));
        }
    }
    structure.push(sb.mmp_block()..sb.mmp_block().saturating_add(1));
    structure.sort_unstable_by_key(|r| r.start);
    // Clusters are used whole.
    let mut own = Blocks::new(sb);
    for r in structure {
        own.push_clusters(r);
    }
    Used { bytes: bits.set.union(&own.set), whole_groups }
}

/// Adds what the file system as it lies on the volume has in use. Its checksums do not count: a block of it may be newer
/// than the descriptor that goes with it; that is what the journal is for.
fn add_before(before: &Reader, no: u32, bitmap: &mut [u8], structure: &mut Vec<Range<u64>>) {
    let Ok(group) = before.group(no) else { return };
    if group.checksum_holds {
        structure.extend(own_blocks(&before.sb, &group));
    }
    if group.block_uninit {
        return;
    }
    if let Ok(old) = before.block(group.block_bitmap) {
        for (new, old) in bitmap.iter_mut().zip(old.iter()) {
            *new |= old;
        }
    }
}

/// The blocks a descriptor names: both bitmaps and the inode table. They may lie in another group (`flex_bg`).
fn own_blocks(sb: &Superblock, group: &Group) -> impl Iterator<Item = Range<u64>> {
    [(group.block_bitmap, 1), (group.inode_bitmap, 1), (group.inode_table, sb.itable_blocks())]
        .into_iter()
        .map(|(start, len)| start..start.saturating_add(len))
}

/// The block bitmap of a group, up to its last bit; all zeros where it was never written: then nothing but the file
/// system's own structure lies in the group. `None` where it cannot be trusted.
fn bitmap(reader: &Reader, no: u32, group: &Group) -> Option<Vec<u8>> {
    let sb = &reader.sb;
    let bits = (sb.group_end(no) - sb.group_start(no)).div_ceil(sb.cluster);
    let len = usize::try_from(bits.div_ceil(8)).ok()?;
    if group.block_uninit {
        // Group 0 cannot be: it holds the root directory.
        return (no != 0).then(|| vec![0; len]);
    }
    if group.block_bitmap < sb.first_data_block.max(1) {
        return None;
    }
    let block = reader.block(group.block_bitmap).ok()?;
    if !group.bitmap_holds(sb, &block) {
        return None;
    }
    let mut bitmap = block.get(..len)?.to_vec();
    // Bits past the end of the last group are set, and mean nothing.
    if let (Some(last), rest @ 1..) = (bitmap.last_mut(), bits % 8) {
        *last &= (1 << rest) - 1;
    }
    Some(bitmap)
}

/// The runs of ones in a bitmap, least significant bit first, in rising order.
fn ones(bitmap: &[u8]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut add = |run: Range<u64>| match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    };
    for (byte, at) in bitmap.iter().zip((0u64..).step_by(8)) {
        match byte {
            0 => {}
            0xff => add(at..at + 8),
            _ => (0..8).filter(|bit| byte >> bit & 1 == 1).for_each(|bit| add(at + bit..at + bit + 1)),
        }
    }
    runs
}

/// Ranges of blocks, gathered in rising order as bytes.
struct Blocks<'a> {
    sb: &'a Superblock,
    set: ExtentSet,
    /// Gaps up to this many bytes are closed.
    close: u64,
}

impl<'a> Blocks<'a> {
    fn new(sb: &'a Superblock) -> Self {
        Self { sb, set: ExtentSet::new(), close: 0 }
    }

    /// Adds blocks, as far as the file system has them.
    fn push(&mut self, blocks: Range<u64>) {
        let size = u64::from(self.sb.block_size);
        let (start, end) = (blocks.start.min(self.sb.blocks), blocks.end.min(self.sb.blocks));
        if let Some(extent) = Extent::between(start * size, end * size) {
            self.set.insert(extent);
        }
        while self.set.ranges() > MOST_RANGES {
            self.close = (self.close * 2).max(size);
            self.set = closed(&self.set, self.close);
        }
    }

    /// Adds the clusters that hold blocks.
    fn push_clusters(&mut self, blocks: Range<u64>) {
        let (first, cluster) = (self.sb.first_data_block, self.sb.cluster);
        let start = blocks.start.saturating_sub(first) / cluster * cluster + first.min(blocks.start);
        let end = blocks.end.saturating_sub(first).div_ceil(cluster).saturating_mul(cluster).saturating_add(first);
        self.push(start..end);
    }
}

/// A set with its gaps of at most `most` bytes closed.
fn closed(set: &ExtentSet, most: u64) -> ExtentSet {
    let mut out = ExtentSet::new();
    let mut pending: Option<Extent> = None;
    for e in set.iter() {
        pending = match pending {
            Some(p) if e.start().0 - p.end().0 <= most => Extent::between(p.start().0, e.end().0),
            other => {
                out.extend(other);
                Some(e)
            }
        };
    }
    out.extend(pending);
    out
}

/// Adds to a set what may be there.
trait Extend {
    fn extend(&mut self, extent: Option<Extent>);
}

impl Extend for ExtentSet {
    fn extend(&mut self, extent: Option<Extent>) {
        if let Some(e) = extent {
            self.insert(e);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_ones_are_found_across_bytes() {
        assert_eq!(ones(&[0b1000_0001, 0xff, 0b0000_0011, 0]), [0..1, 7..18]);
        assert_eq!(ones(&[]), []);
    }

    #[test]
    fn small_gaps_are_closed_and_large_ones_kept() {
        let at = |ranges: &[(u64, u64)]| -> ExtentSet {
            ranges.iter().map(|(a, b)| Extent::between(*a, *b).unwrap()).collect()
        };
        let set = at(&[(0, 10), (14, 20), (25, 30)]);
        assert_eq!(closed(&set, 4), at(&[(0, 20), (25, 30)]));
        assert_eq!(closed(&set, 5), at(&[(0, 30)]));
        assert_eq!(closed(&set, 3), set);
    }
}
