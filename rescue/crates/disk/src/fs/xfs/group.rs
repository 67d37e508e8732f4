//! Allocation groups: their headers and the trees that begin there (kernel `fs/xfs/libxfs/xfs_format.h`, `struct xfs_agf`,
//! `struct xfs_agi`; `xfs_btree.c`, short pointers).

use super::reader::{Mark, Reader};
use crate::fs::FsError;
use crate::numbers::{be16, be32};

/// `XFS_AGF_MAGIC`, `XFS_AGI_MAGIC`.
const FREE_MAGIC: u32 = 0x5841_4746;
const INODE_MAGIC: u32 = 0x5841_4749;
/// `XFS_BTREE_MAXLEVELS`.
const MOST_LEVELS: u32 = 9;
/// `NULLAGBLOCK`.
const NO_BLOCK: u32 = u32::MAX;
const NODE: Mark = Mark { what: "node of a tree", checksum: 52, uuid: 32, sector: Some(16) };

/// A tree of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    group: u32,
    root: u32,
    levels: u32,
    kind: Kind,
}

/// What a tree tells.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// Magic of its blocks in version 4 and in version 5.
    magic: [u32; 2],
    /// Bytes of a record, and of a key.
    record: usize,
    key: usize,
}

/// `XFS_ABTB_MAGIC`, `XFS_ABTB_CRC_MAGIC`: free space by its place.
const FREE: Kind = Kind { magic: [0x4142_5442, 0x4142_3342], record: 8, key: 8 };
/// `XFS_IBT_MAGIC`, `XFS_IBT_CRC_MAGIC`: chunks of inodes.
const INODES: Kind = Kind { magic: [0x4941_4254, 0x4941_4233], record: 16, key: 4 };

/// What a group says of its free space.
#[derive(Debug, Clone, Copy)]
pub(super) struct FreeSpace {
    /// By its place.
    pub(super) tree: Tree,
    /// Blocks free in all.
    pub(super) blocks: u32,
    /// Blocks of the longest run.
    pub(super) longest: u32,
}

/// The header of a group's free space.
///
/// # Errors
/// [`FsError::Corrupt`] where it does not hold together; [`FsError::Io`] where it cannot be read.
pub(super) fn free_space(reader: &Reader, group: u32) -> Result<FreeSpace, FsError> {
    let (at, b) = reader.header(group, 1)?;
    reader.verify(at, &b, Mark { what: "free space header", checksum: 216, uuid: 64, sector: None })?;
    check(reader, group, &b, FREE_MAGIC)?;
    let tree = Tree { group, root: be32(&b, 16), levels: be32(&b, 28), kind: FREE };
    Ok(FreeSpace { tree, blocks: be32(&b, 52), longest: be32(&b, 56) })
}

/// The tree of a group's inodes.
///
/// # Errors
/// As [`free_space`].
pub(super) fn inodes(reader: &Reader, group: u32) -> Result<Tree, FsError> {
    let (at, b) = reader.header(group, 2)?;
    reader.verify(at, &b, Mark { what: "inode header", checksum: 312, uuid: 296, sector: None })?;
    check(reader, group, &b, INODE_MAGIC)?;
    Ok(Tree { group, root: be32(&b, 20), levels: be32(&b, 24), kind: INODES })
}

/// Magic, version, number and length, which both headers begin with.
fn check(reader: &Reader, group: u32, b: &[u8], magic: u32) -> Result<(), FsError> {
    let is = (be32(b, 0), be32(b, 4), be32(b, 8), be32(b, 12));
    if is == (magic, 1, group, reader.sb.group_len(group)) {
        return Ok(());
    }
    let (magic, version, no, len) = is;
    Err(FsError::Corrupt(format!(
        "a header of group {group} has magic {magic:#010x}, version {version}, number {no} and {len} blocks"
    )))
}

impl Tree {
    /// Shows every record, in the order of the tree. Not more blocks of it are read than the group has.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together; [`FsError::Io`] where it cannot be read; what `each` gives.
    pub(super) fn records(
        self,
        reader: &Reader,
        each: &mut dyn FnMut(&[u8]) -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        self.walk(reader, &mut |_| {}, each)
    }

    /// The same; `node` is told the number of every block of the tree within the group, before it is read.
    ///
    /// # Errors
    /// As [`Tree::records`].
    pub(super) fn walk(
        self,
        reader: &Reader,
        block: &mut dyn FnMut(u32),
        each: &mut dyn FnMut(&[u8]) -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        let bad = |why: String| Err(FsError::Corrupt(format!("a tree of group {}: {why}", self.group)));
        if self.levels == 0 || self.levels > MOST_LEVELS || self.root == NO_BLOCK {
            return bad(format!("it has {} levels", self.levels));
        }
        let header = if reader.sb.v5 { 56 } else { 16 };
        let mut left = reader.sb.group_len(self.group);
        let mut todo = vec![(self.root, self.levels - 1)];
        while let Some((no, level)) = todo.pop() {
            left = match left.checked_sub(1) {
                Some(left) => left,
                None => return bad("it has no end".to_owned()),
            };
            block(no);
            let (at, bytes) = reader.block(reader.sb.block_no(self.group, no))?;
            reader.verify(at, &bytes, NODE)?;
            let (magic, said, count) = (be32(&bytes, 0), u32::from(be16(&bytes, 4)), usize::from(be16(&bytes, 6)));
            let each_len = if level == 0 { self.kind.record } else { self.kind.key + 4 };
            let room = (bytes.len() - header) / each_len;
            if magic != self.kind.magic[usize::from(reader.sb.v5)] || said != level || count > room {
                return bad(format!(
                    "block {no} has magic {magic:#010x}, level {said} ({level} expected), {count} entries in room for {room}"
                ));
            }
            let entries = bytes.get(header..).unwrap_or_default();
            if level == 0 {
                entries.chunks_exact(self.kind.record).take(count).try_for_each(&mut *each)?;
                continue;
            }
            let pointers = entries.get(room * self.kind.key..).unwrap_or_default();
            todo.extend((0..count).rev().map(|i| (be32(pointers, i * 4), level - 1)));
        }
        Ok(())
    }
}

/// A chunk of 64 inodes, or as much of it as there is (`struct xfs_inobt_rec`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// Number of its first inode within the group.
    pub(super) first: u32,
    /// A bit for each that is free.
    free: u64,
    /// A bit for each four that are not there.
    holes: u16,
}

impl Chunk {
    pub(super) fn parse(reader: &Reader, b: &[u8]) -> Self {
        let holes = if reader.sb.sparse { be16(b, 4) } else { 0 };
        Self { first: be32(b, 0), free: crate::numbers::be64(b, 8), holes }
    }

    /// True where inode `nth` of the chunk is in use.
    pub(super) fn in_use(&self, nth: u32) -> bool {
        self.is_there(nth) && self.free >> (nth & 63) & 1 == 0
    }

    /// True where inode `nth` of the chunk has a place on the volume.
    pub(super) fn is_there(&self, nth: u32) -> bool {
        self.holes >> ((nth & 63) / 4) & 1 == 0
    }
}

/// Shows the numbers of all inodes of a group that are in use, rising.
///
/// # Errors
/// As [`Tree::records`]; inodes before the damage were shown.
pub(super) fn each_inode(
    reader: &Reader,
    group: u32,
    each: &mut dyn FnMut(u64) -> Result<(), FsError>,
) -> Result<(), FsError> {
    let base = u64::from(group) << (reader.sb.ag_block_log + reader.sb.inodes_log);
    let end = u64::from(reader.sb.group_len(group)) << reader.sb.inodes_log;
    let mut next = 0;
    inodes(reader, group)?.records(reader, &mut |record| {
        let chunk = Chunk::parse(reader, record);
        if u64::from(chunk.first) < next || u64::from(chunk.first) >= end {
            return Err(FsError::Corrupt(format!("the inodes of group {group} are out of order")));
        }
        next = u64::from(chunk.first) + 64;
        (0..64).filter(|nth| chunk.in_use(*nth)).try_for_each(|nth| each(base + u64::from(chunk.first + nth)))
    })
}
