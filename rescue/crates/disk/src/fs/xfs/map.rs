//! Where the blocks of a fork are: extents in the inode, or in a tree (kernel `fs/xfs/libxfs/xfs_bmap_btree.c`).
//!
//! A look-up goes down one path, of bounded depth, and remembers nothing: a tree that bites its own tail costs no more than an
//! honest one.

use super::inode::Fork;
use super::reader::{Mark, Reader};
use crate::fs::FsError;
use crate::numbers::{be16, be32, be64};
use std::sync::Arc;

/// `XFS_BM_MAXLEVELS` is at most 9 with blocks of 1 KiB.
const MOST_LEVELS: u16 = 12;
/// A record, and a key with its pointer, are each as long.
const RECORD: usize = 16;
/// The first block a fork cannot have (`BMBT_STARTOFF_BITLEN`).
pub(super) const END: u64 = 1 << 54;
/// `XFS_BMAP_MAGIC`, `XFS_BMAP_CRC_MAGIC`.
const MAGIC: [u32; 2] = [0x424d_4150, 0x424d_4133];
const MARK: Mark = Mark { what: "node of a map", checksum: 64, uuid: 40, sector: Some(24) };

/// Where a run of a fork's blocks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Number of the first block on the volume; `None` for a hole, or blocks allocated and never written: both read as zeros.
    pub(super) at: Option<u64>,
    /// Blocks from the one asked for that go on like this; at least 1.
    pub(super) len: u64,
}

/// An extent (`xfs_bmbt_disk_get_all`).
#[derive(Debug, Clone, Copy)]
struct Record {
    first: u64,
    start: u64,
    len: u64,
    written: bool,
}

fn record(b: &[u8]) -> Record {
    let (high, low) = (be64(b, 0), be64(b, 8));
    Record {
        first: high >> 9 & (END - 1),
        start: (high & 0x1ff) << 43 | low >> 21,
        len: low & 0x1f_ffff,
        written: high >> 63 == 0,
    }
}

/// A node of a map, or its root.
struct Node<'a> {
    level: u16,
    count: usize,
    /// Of a leaf its records, of others their keys.
    entries: &'a [u8],
    /// Bytes of an entry.
    each: usize,
    pointers: &'a [u8],
}

impl Node<'_> {
    fn first(&self, i: usize) -> u64 {
        let at = i * self.each;
        if self.level == 0 { record(self.entries.get(at..).unwrap_or_default()).first } else { be64(self.entries, at) }
    }

    /// How many entries begin at or before a block. Entries out of order give an answer that leads nowhere, or astray within the
    /// same file.
    fn upto(&self, block: u64) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.first(middle) <= block { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// The root of a tree, in an inode (`struct xfs_bmdr_block`).
fn root(area: &[u8]) -> Result<Node<'_>, FsError> {
    let room = area.len().saturating_sub(4) / RECORD;
    let (level, count) = (be16(area, 0), usize::from(be16(area, 2)));
    if level == 0 || level > MOST_LEVELS || count > room || count == 0 {
        return Err(FsError::Corrupt(format!("the root of a map has {count} entries of {room}, at level {level}")));
    }
    let pointers = area.get(4 + room * 8..).unwrap_or_default();
    Ok(Node { level, count, entries: area.get(4..).unwrap_or_default(), each: 8, pointers })
}

/// A block of a tree (`struct xfs_btree_block`, long pointers).
fn node<'a>(reader: &Reader, bytes: &'a [u8], level: u16) -> Result<Node<'a>, FsError> {
    let header = if reader.sb.v5 { 72 } else { 24 };
    let room = bytes.len().saturating_sub(header) / RECORD;
    let (magic, said, count) = (be32(bytes, 0), be16(bytes, 4), usize::from(be16(bytes, 6)));
    if magic != MAGIC[usize::from(reader.sb.v5)] || said != level || count > room || count == 0 {
        return Err(FsError::Corrupt(format!(
            "a node of a map has magic {magic:#010x}, level {said} ({level} expected), {count} entries in room for {room}"
        )));
    }
    let entries = bytes.get(header..).unwrap_or_default();
    let (each, pointers) = if level == 0 { (RECORD, 0) } else { (8, room * 8) };
    Ok(Node { level, count, entries, each, pointers: entries.get(pointers..).unwrap_or_default() })
}

/// Where block `block` of a fork is, and how many after it follow suit.
///
/// # Errors
/// [`FsError::Corrupt`] where its map does not hold together; [`FsError::Io`] where it cannot be read.
pub(super) fn look_up(reader: &Reader, fork: Fork<'_>, block: u64) -> Result<Run, FsError> {
    let area = match fork {
        Fork::None | Fork::Local(_) => return Ok(hole(block, END)),
        Fork::Extents(area, count) => {
            let count = usize::try_from(count).ok().filter(|count| *count <= area.len() / RECORD);
            let count = count.ok_or_else(|| FsError::Corrupt("an inode has more extents than room".to_owned()))?;
            let leaf = Node { level: 0, count, entries: area, each: RECORD, pointers: &[] };
            return leaf_run(reader, &leaf, block, END);
        }
        Fork::Tree(area) => area,
    };
    let mut end = END;
    let mut at = {
        let root = root(area)?;
        let Some(child) = descend(&root, block, &mut end) else { return Ok(hole(block, end)) };
        (child, root.level - 1)
    };
    loop {
        let bytes = checked(reader, at.0)?;
        let node = node(reader, &bytes, at.1)?;
        if at.1 == 0 {
            return leaf_run(reader, &node, block, end);
        }
        let Some(child) = descend(&node, block, &mut end) else { return Ok(hole(block, end)) };
        at = (child, at.1 - 1);
    }
}

/// A node's block, whole.
fn checked(reader: &Reader, block: u64) -> Result<Arc<[u8]>, FsError> {
    let (place, bytes) = reader.block(block)?;
    reader.verify(place, &bytes, MARK)?;
    Ok(bytes)
}

/// The child in which a block is told; `None` where it lies before the first. What lies before `end` is told there.
fn descend(node: &Node<'_>, block: u64, end: &mut u64) -> Option<u64> {
    let after = node.upto(block);
    if after < node.count {
        *end = (*end).min(node.first(after));
    }
    after.checked_sub(1).map(|i| be64(node.pointers, i * 8))
}

/// A hole up to (not including) block `end`.
fn hole(block: u64, end: u64) -> Run {
    Run { at: None, len: end.saturating_sub(block).max(1) }
}

fn leaf_run(reader: &Reader, leaf: &Node<'_>, block: u64, mut end: u64) -> Result<Run, FsError> {
    let after = leaf.upto(block);
    if after < leaf.count {
        end = end.min(leaf.first(after));
    }
    let Some(i) = after.checked_sub(1) else { return Ok(hole(block, end)) };
    let found = record(leaf.entries.get(i * RECORD..).unwrap_or_default());
    let into = block.saturating_sub(found.first);
    if into >= found.len {
        return Ok(hole(block, end));
    }
    reader.place(found.start, found.len)?;
    let left = (found.len - into).min(end.saturating_sub(block)).max(1);
    Ok(Run { at: found.written.then_some(found.start + into), len: left })
}

/// The blocks that hold the nodes of a fork's map, the root not among them; never more than `most`. What lies below a node is looked
/// at where `within` says so.
///
/// # Errors
/// As [`look_up`]; [`FsError::Corrupt`] where there are more.
pub(super) fn nodes(
    reader: &Reader,
    fork: Fork<'_>,
    most: u64,
    within: &mut dyn FnMut(u64) -> bool,
) -> Result<Vec<u64>, FsError> {
    let Fork::Tree(area) = fork else { return Ok(Vec::new()) };
    let root = root(area)?;
    let children = |node: &Node<'_>| -> Vec<(u64, u16)> {
        (0..node.count).map(|i| (be64(node.pointers, i * 8), node.level - 1)).collect()
    };
    let (mut todo, mut found) = (children(&root), Vec::new());
    while let Some((block, level)) = todo.pop() {
        if found.len() as u64 >= most {
            return Err(FsError::Corrupt("a map has no end".to_owned()));
        }
        found.push(block);
        if level > 0 && within(block) {
            let bytes = checked(reader, block)?;
            todo.extend(children(&node(reader, &bytes, level)?));
        }
    }
    Ok(found)
}
