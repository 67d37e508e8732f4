//! Which blocks of a file system are in use: all that its trees of free space do not call free.
//!
//! Headers, trees, the free lists, the log and what is set aside for copies on write are in no tree of free space, so they are in use
//! without being looked for.

use super::group::{FreeSpace, free_space};
use super::reader::Reader;
use crate::fs::FsError;
use crate::numbers::be32;
use model::units::{Extent, ExtentSet};
use std::ops::Range;

/// Free ranges of a group, and of all groups, beyond which small ones count as used: a scattered (or hostile) file system costs
/// bytes on the save disk instead of memory.
const MANY: usize = 2 << 20;
/// Blocks of a small one.
const SMALL: u32 = 64;
/// Beyond so many, the rest counts as used.
const MOST: usize = 4 << 20;

/// What is in use.
pub(super) struct Used {
    /// The bytes.
    pub(super) bytes: ExtentSet,
    /// Groups kept whole, because what they say of their free space does not hold together or cannot be read.
    pub(super) whole_groups: u32,
}

/// The blocks in use in `now`, the file system with its log carried out, and also in `before`, the same as it lies on the volume,
/// where that is another.
pub(super) fn used(now: &Reader, before: Option<&Reader>) -> Used {
    let sb = &now.sb;
    let (mut used, mut whole_groups, mut ranges) = (ExtentSet::new(), 0, 0);
    let size = u64::from(sb.block_size);
    for group in 0..sb.ag_count {
        let start = u64::from(group) * u64::from(sb.ag_blocks);
        let len = sb.group_len(group);
        let free = free_of(now, group, before);
        whole_groups += u32::from(free.is_err());
        let mut at = 0;
        for range in free.unwrap_or_default() {
            if ranges >= MOST || ranges >= MANY && range.len() < SMALL as usize {
                continue;
            }
            ranges += 1;
            push(&mut used, start, at..range.start, size);
            at = range.end;
        }
        push(&mut used, start, at..len, size);
    }
    Used { bytes: used, whole_groups }
}

fn push(used: &mut ExtentSet, start: u64, blocks: Range<u32>, size: u64) {
    let byte = |block: u32| (start + u64::from(block)) * size;
    if let Some(extent) = Extent::between(byte(blocks.start), byte(blocks.end)).filter(|e| !e.is_empty()) {
        used.insert(extent);
    }
}

/// What is free in a group in both views.
fn free_of(now: &Reader, group: u32, before: Option<&Reader>) -> Result<Vec<Range<u32>>, FsError> {
    let free = free(now, group, true)?;
    match before {
        // One that grew in the log has groups that were not there.
        Some(before) if group < before.sb.ag_count => Ok(both(&free, &self::free(before, group, false)?)),
        _ => Ok(free),
    }
}

/// The free ranges of a group, rising, none touching another. With `counted`, they are as many blocks as its header says, and the
/// longest is as long: a volume that lies as it was cut off need not agree with itself so far.
fn free(reader: &Reader, group: u32, counted: bool) -> Result<Vec<Range<u32>>, FsError> {
    let bad = |why: String| FsError::Corrupt(format!("the free space of group {group}: {why}"));
    let sb = &reader.sb;
    let FreeSpace { tree, blocks, longest } = free_space(reader, group)?;
    // The four headers are no more to be free than the next block after one that is.
    let mut least = (4 * sb.sector).div_ceil(sb.block_size);
    let (len, mut total, mut most) = (sb.group_len(group), 0u64, 0);
    let mut found: Vec<Range<u32>> = Vec::new();
    tree.records(reader, &mut |record| {
        let (start, count) = (be32(record, 0), be32(record, 4));
        let end = start.checked_add(count).filter(|end| start >= least && count > 0 && *end <= len);
        let end = end.ok_or_else(|| bad(format!("{count} blocks from {start} of {len}")))?;
        least = end + 1;
        total += u64::from(count);
        most = most.max(count);
        if found.len() < MANY || found.len() < MOST && count >= SMALL {
            found.push(start..end);
        }
        Ok(())
    })?;
    if counted && (total, most) != (u64::from(blocks), longest) {
        return Err(bad(format!("{total} blocks, {most} at most in a row; its header says {blocks} and {longest}")));
    }
    Ok(found)
}

/// What is in both of two rising lists of ranges.
fn both(a: &[Range<u32>], b: &[Range<u32>]) -> Vec<Range<u32>> {
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let (start, end) = (x.start.max(y.start), x.end.min(y.end));
        if start < end {
            out.push(start..end);
        }
        if x.end <= y.end { i += 1 } else { j += 1 }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What both lists call free is what each of them calls free, block by block.
        #[test]
        fn what_is_in_both(a in prop::collection::vec((0u32..9, 1u32..9), 0..12), b in prop::collection::vec((0u32..9, 1u32..9), 0..12)) {
            let list = |steps: &[(u32, u32)]| {
                let mut at = 0;
                steps.iter().map(|(gap, len)| { let start = at + gap + 1; at = start + len; start..at }).collect::<Vec<_>>()
            };
            let (a, b) = (list(&a), list(&b));
            let has = |list: &[Range<u32>], block: u32| list.iter().any(|r| r.contains(&block));
            let found = both(&a, &b);
            for block in 0..240 {
                prop_assert_eq!(has(&found, block), has(&a, block) && has(&b, block));
            }
        }
    }
}
