//! Directories (kernel `fs/ext4/dir.c`, `fs/ext4/namei.c`, `fs/ext4/inline.c`).
//!
//! An indexed directory is read like any other: the leaves of its tree are ordinary blocks of entries, and its inner nodes
//! look like blocks with one unused entry. So the index itself is never trusted, nor needed.

use super::inode::Inode;
use super::map::look_up;
use super::reader::Reader;
use super::superblock::{incompat, ro_compat};
use crate::fs::FsError;
use crate::numbers::{crc32c, le16, le32};
use std::ops::ControlFlow;

/// The longest directory that is read: some ten million entries.
pub(super) const MOST_BYTES: u64 = 1 << 30;

/// An entry of a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// Its name, never empty, `.` or `..`, and without `/` or NUL.
    pub(super) name: &'a [u8],
    /// The inode it names.
    pub(super) inode: u32,
    /// `file_type`: what the entry says the inode is; 0 where it does not say.
    pub(super) file_type: u8,
}

/// What is done with an entry; [`ControlFlow::Break`] ends the reading.
pub(super) type Visit<'a> = dyn FnMut(Entry<'_>) -> ControlFlow<()> + 'a;

/// Shows every entry of a directory, in the order they lie there, without `.` and `..`.
///
/// # Errors
/// [`FsError::Corrupt`] where it does not hold together, [`FsError::Incompatible`] where it is encrypted, [`FsError::Io`]
/// where it cannot be read. Entries before that were shown.
pub(super) fn each(reader: &Reader, dir: &Inode, visit: &mut Visit<'_>) -> Result<(), FsError> {
    each_readable(reader, dir, &mut Err, visit)
}

/// The same past damage: `damaged` is told of each block that cannot be read, and the reading goes on behind it, or ends
/// with the error it gives.
///
/// # Errors
/// What `damaged` gives; as [`each`] where nothing of the directory can be read.
pub(super) fn each_readable(
    reader: &Reader,
    dir: &Inode,
    damaged: &mut dyn FnMut(FsError) -> Result<(), FsError>,
    visit: &mut Visit<'_>,
) -> Result<(), FsError> {
    if dir.is_encrypted() {
        return Err(FsError::Incompatible(format!("directory inode {} is encrypted, its key is not here", dir.number)));
    }
    if dir.size > MOST_BYTES {
        return Err(FsError::Corrupt(format!("directory inode {} says it is {} bytes long", dir.number, dir.size)));
    }
    if dir.is_inline() {
        let (head, tail) = dir.inline_parts()?;
        // `i_block` begins with the number of the parent directory.
        for part in [head.get(4..).unwrap_or_default(), tail] {
            if entries(reader, dir, part, visit)?.is_break() {
                break;
            }
        }
        return Ok(());
    }
    let blocks = dir.size.div_ceil(u64::from(reader.sb.block_size));
    let mut at = 0;
    while at < blocks {
        let run = match look_up(reader, dir, at) {
            Ok(run) => run,
            Err(e) => {
                damaged(e)?;
                at += 1;
                continue;
            }
        };
        // Holes are passed over, as the kernel does.
        if let Some(first) = run.at {
            for block in first..first + run.len.min(blocks - at) {
                let bytes = reader.block(block);
                let shown = bytes.and_then(|bytes| entries(reader, dir, checked(reader, dir, at, &bytes)?, visit));
                match shown {
                    Ok(ControlFlow::Break(())) => return Ok(()),
                    Ok(ControlFlow::Continue(())) => {}
                    Err(e) => damaged(e)?,
                }
            }
        }
        at += run.len;
    }
    Ok(())
}

/// The entries of a block whose checksum is right; nothing of an inner node of the index.
fn checked<'a>(reader: &Reader, dir: &Inode, at: u64, block: &'a [u8]) -> Result<&'a [u8], FsError> {
    if !reader.sb.has_ro_compat(ro_compat::METADATA_CSUM) {
        return Ok(block);
    }
    let bad = || Err(FsError::Corrupt(format!("block {at} of directory inode {} has a wrong checksum", dir.number)));
    // An index node is one unused entry as long as the block; the index root is `.`, then `..` as long as the rest.
    let len = reader.block_len();
    let record = |at: usize| record_len(le16(block, at + 4), len);
    let root = at == 0 && record(0) == 12 && record(12) == len - 12;
    if dir.is_indexed() && (root || le32(block, 0) == 0 && record(0) == len) {
        let is = index_checksum(dir.seed, block, if root { 0x20 } else { 8 });
        return if is.is_some_and(|(is, said)| is == said) { Ok(&[]) } else { bad() };
    }
    // `struct ext4_dir_entry_tail`: looks like an unused entry of 12 bytes, with type 0xde.
    let tail = len - 12;
    let has_tail = le32(block, tail) == 0 && le16(block, tail + 4) == 12 && le16(block, tail + 6) == 0xde00;
    if !has_tail || le32(block, tail + 8) != crc32c(dir.seed, &block[..tail]) {
        return bad();
    }
    Ok(&block[..tail])
}

/// The checksum of an index node whose entries begin at `first`, and what the node says (`ext4_dx_csum`); `None` where it
/// has no room for one.
fn index_checksum(seed: u32, block: &[u8], first: usize) -> Option<(u32, u32)> {
    let (limit, count) = (usize::from(le16(block, first)), usize::from(le16(block, first + 2)));
    let tail = block.get(first + limit * 8..first + limit * 8 + 8)?;
    let sum = crc32c(seed, block.get(..first + count * 8)?);
    Some((crc32c(crc32c(sum, &tail[..4]), &[0; 4]), le32(tail, 4)))
}

/// `ext4_rec_len_from_disk`: the length of an entry, where blocks of 64 KiB need more than 16 bits.
fn record_len(said: u16, block: usize) -> usize {
    if block == 65536 && (said == 0xffff || said == 0) {
        return 65536;
    }
    usize::from(said & 0xfffc) | usize::from(said & 3) << 16
}

/// Shows the entries in `part` of a directory.
fn entries(reader: &Reader, dir: &Inode, part: &[u8], visit: &mut Visit<'_>) -> Result<ControlFlow<()>, FsError> {
    let block = reader.block_len();
    let mut at = 0;
    while at + 8 <= part.len() {
        let inode = le32(part, at);
        let record = record_len(le16(part, at + 4), block);
        let name_len = usize::from(part[at + 6]);
        // Without the filetype feature the byte is the upper half of the name's length, which is never needed.
        let file_type = if reader.sb.has_incompat(incompat::FILETYPE) { part[at + 7] } else { 0 };
        let bad = || {
            let (n, size) = (dir.number, part.len());
            Err(FsError::Corrupt(format!(
                "directory inode {n} has an entry of {record} bytes with a name of {name_len} at {at} of {size}"
            )))
        };
        if record < 8 + name_len || !record.is_multiple_of(4) || record > part.len() - at {
            return bad();
        }
        let name = part.get(at + 8..at + 8 + name_len).unwrap_or_default();
        if inode != 0 && name != b"." && name != b".." {
            if name.is_empty() || name.iter().any(|c| matches!(c, 0 | b'/')) {
                return bad();
            }
            if visit(Entry { name, inode, file_type }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        at += record;
    }
    Ok(ControlFlow::Continue(()))
}
