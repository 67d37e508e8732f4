//! From a file's blocks to the volume's: extent trees (kernel `fs/ext4/ext4_extents.h`, `fs/ext4/extents.c`) and the
//! block maps of ext2 and ext3 (`fs/ext4/indirect.c`).
//!
//! A look-up goes down one path, of bounded depth, and remembers nothing: a tree that bites its own tail costs no more than
//! an honest one.

use super::inode::Inode;
use super::raw::wide;
use super::reader::Reader;
use super::superblock::ro_compat;
use crate::fs::FsError;
use crate::numbers::{crc32c, le16, le32};

/// `EXT4_MAX_EXTENT_DEPTH`.
const MOST_DEPTH: u16 = 5;
/// `EXT_INIT_MAX_LEN`: longer ones are unwritten, by how much.
const MOST_WRITTEN: u16 = 0x8000;
/// Header, index entry and extent are each as long.
const ENTRY: usize = 12;

/// Where a run of a file's blocks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// First block on the volume; `None` for a hole, or blocks allocated and never written: both read as zeros.
    pub(super) at: Option<u64>,
    /// Blocks from the one asked for that go on like this; at least 1.
    pub(super) len: u64,
}

/// Where block `block` of a file is, and how many after it follow suit.
///
/// # Errors
/// [`FsError::Corrupt`] where its map does not hold together; [`FsError::Io`] where it cannot be read.
pub(super) fn look_up(reader: &Reader, inode: &Inode, block: u64) -> Result<Run, FsError> {
    if inode.has_extents() { by_extents(reader, inode, block) } else { by_map(reader, inode, block) }
}

/// The blocks that hold the nodes of a file's map, the root not among them. Never more than `most`. What lies below a node is
/// looked at where `within` says so.
///
/// # Errors
/// As [`look_up`]; [`FsError::Corrupt`] where there are more.
pub(super) fn nodes(
    reader: &Reader,
    inode: &Inode,
    most: u64,
    within: &mut dyn FnMut(u64) -> bool,
) -> Result<Vec<u64>, FsError> {
    let mut found = Vec::new();
    let mut add = |block: u64| {
        if found.len() as u64 >= most {
            return Err(FsError::Corrupt(format!("the map of inode {} has no end", inode.number)));
        }
        found.push(block);
        if within(block) { reader.block(block).map(Some) } else { Ok(None) }
    };
    // What is still to be gone through, each with its height above the data.
    let mut todo: Vec<(std::sync::Arc<[u8]>, u16)> = Vec::new();
    let root = inode.block();
    if inode.has_extents() {
        todo.push((root.into(), le16(root, 6)));
        while let Some((node, depth)) = todo.pop() {
            if depth > MOST_DEPTH || le16(&node, 6) != depth {
                return Err(FsError::Corrupt(format!(
                    "the extent tree of inode {} does not hold together",
                    inode.number
                )));
            }
            let entries = usize::from(le16(&node, 2)).min(node.len() / ENTRY - 1);
            for e in (1..=entries).take_while(|_| depth > 0).map(|i| &node[ENTRY * i..ENTRY * (i + 1)]) {
                todo.extend(add(wide(u32::from(le16(e, 8)), le32(e, 4)))?.map(|node| (node, depth - 1)));
            }
        }
        return Ok(found);
    }
    for (slot, height) in [(12, 1), (13, 2), (14, 3)] {
        match le32(root, slot * 4) {
            0 => {}
            block => todo.extend(add(u64::from(block))?.map(|node| (node, height))),
        }
    }
    while let Some((node, height)) = todo.pop() {
        for pointer in node.chunks_exact(4).take_while(|_| height > 1).map(|p| le32(p, 0)).filter(|p| *p != 0) {
            todo.extend(add(u64::from(pointer))?.map(|node| (node, height - 1)));
        }
    }
    Ok(found)
}

/// A hole up to (not including) block `end`.
fn hole(block: u64, end: u64) -> Run {
    Run { at: None, len: end.saturating_sub(block).max(1) }
}

fn by_extents(reader: &Reader, inode: &Inode, block: u64) -> Result<Run, FsError> {
    let bad = |why: String| Err(FsError::Corrupt(format!("the extent tree of inode {}: {why}", inode.number)));
    let mut node: std::sync::Arc<[u8]> = inode.block().into();
    let mut depth = le16(&node, 6);
    if depth > MOST_DEPTH {
        return bad(format!("depth {depth} is more than {MOST_DEPTH}"));
    }
    // Up to where this node speaks: where the next one of its parent begins.
    let mut end = 1u64 << 32;
    loop {
        let (magic, entries, most, said) = (le16(&node, 0), le16(&node, 2), le16(&node, 4), le16(&node, 6));
        let room = node.len() / ENTRY - 1;
        if magic != 0xf30a || said != depth || entries > most || usize::from(most) > room {
            return bad(format!(
                "a node with magic {magic:#06x}, depth {said} ({depth} expected), {entries} of {most} entries in room for {room}"
            ));
        }
        let entry = |i: usize| &node[ENTRY * (i + 1)..ENTRY * (i + 2)];
        let first = |i: usize| u64::from(le32(entry(i), 0));
        let entries = usize::from(entries);
        if !(1..entries).all(|i| first(i - 1) < first(i)) {
            return bad("the entries of a node are out of order".to_owned());
        }
        let after = (0..entries).take_while(|i| first(*i) <= block).count();
        if after < entries {
            end = end.min(first(after));
        }
        let Some(i) = after.checked_sub(1) else { return Ok(hole(block, end)) };
        let e = entry(i);
        if depth > 0 {
            let child = wide(u32::from(le16(e, 8)), le32(e, 4));
            node = reader.block(child)?;
            depth -= 1;
            if reader.sb.has_ro_compat(ro_compat::METADATA_CSUM) {
                // The checksum stands behind as many entries as there could be (`find_ext4_extent_tail`).
                let tail = ENTRY * (1 + usize::from(le16(&node, 4)));
                let is = crc32c(inode.seed, node.get(..tail).unwrap_or_default());
                if node.len() < tail + 4 || le32(&node, tail) != is {
                    return bad(format!("the node in block {child} has a wrong checksum"));
                }
            }
            continue;
        }
        let len = le16(e, 4);
        let (len, written) = if len <= MOST_WRITTEN { (len, true) } else { (len - MOST_WRITTEN, false) };
        let start = wide(u32::from(le16(e, 6)), le32(e, 8));
        let into = block - first(i);
        if into >= u64::from(len) {
            return Ok(hole(block, end));
        }
        if start < reader.sb.first_data_block || start + u64::from(len) > reader.sb.blocks {
            return bad(format!("{len} blocks from {start} are not on the volume, which has {}", reader.sb.blocks));
        }
        let left = (u64::from(len) - into).min(end - block);
        return Ok(Run { at: written.then_some(start + into), len: left.max(1) });
    }
}

fn by_map(reader: &Reader, inode: &Inode, block: u64) -> Result<Run, FsError> {
    let pointers = u64::from(reader.sb.block_size) / 4;
    let root = inode.block();
    let at = |slot: u64| usize::try_from(slot * 4).unwrap_or(usize::MAX);
    // Twelve direct blocks, then trees of one, two and three levels.
    if block < 12 {
        return run_of(reader, inode, root, block, 12);
    }
    let (mut left, mut span, mut levels, mut slot) = (block - 12, pointers, 1u32, 12u64);
    while left >= span {
        left -= span;
        span = span.saturating_mul(pointers);
        levels += 1;
        slot += 1;
        if levels > 3 {
            return Ok(hole(block, u64::MAX));
        }
    }
    let mut pointer = le32(root, at(slot));
    for _ in 0..levels {
        if pointer == 0 {
            return Ok(hole(0, span - left));
        }
        let node = reader.block(u64::from(pointer))?;
        span /= pointers;
        if span == 1 {
            return run_of(reader, inode, &node, left, pointers);
        }
        pointer = le32(&node, at(left / span));
        left %= span;
    }
    Ok(hole(0, 1))
}

/// The run that begins at pointer `from` of a row of `count` block pointers: as far as they rise by one, or are all zero.
fn run_of(reader: &Reader, inode: &Inode, row: &[u8], from: u64, count: u64) -> Result<Run, FsError> {
    let pointer = |i: u64| u64::from(le32(row, usize::try_from(i * 4).unwrap_or(usize::MAX)));
    let first = pointer(from);
    let expected = |i: u64| if first == 0 { 0 } else { first + (i - from) };
    let len = (from..count).take_while(|i| pointer(*i) == expected(*i)).count() as u64;
    if first == 0 {
        return Ok(Run { at: None, len: len.max(1) });
    }
    if first < reader.sb.first_data_block || first + len > reader.sb.blocks {
        return Err(FsError::Corrupt(format!(
            "the block map of inode {} names {len} blocks from {first}, the volume has {}",
            inode.number, reader.sb.blocks
        )));
    }
    Ok(Run { at: Some(first), len: len.max(1) })
}
