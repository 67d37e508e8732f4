//! Directories (kernel `fs/xfs/libxfs/xfs_da_format.h`, `xfs_dir2_sf.c`, `xfs_dir2_data.c`).
//!
//! Short ones lie in the inode; of all others the data blocks are read, which hold every entry. The index over their names (leaves and
//! nodes, from byte 32 GiB of a directory on) is never trusted, nor needed.

use super::inode::{Fork, Inode};
use super::map::look_up;
use super::reader::{Mark, Reader};
use crate::fs::FsError;
use crate::numbers::{be16, be32, be64, byte};
use model::inspection::FileKind;
use model::units::ByteOffset;
use std::ops::ControlFlow;

/// The longest directory that is read: some ten million entries.
pub(super) const MOST_BYTES: u64 = 1 << 30;
/// Magic of a block that is all of a directory, and of one of many, in version 4 and in version 5 (`XFS_DIR2_BLOCK_MAGIC`,
/// `XFS_DIR2_DATA_MAGIC`, `XFS_DIR3_BLOCK_MAGIC`, `XFS_DIR3_DATA_MAGIC`).
const BLOCK: [u32; 2] = [0x5844_3242, 0x5844_4233];
const DATA: [u32; 2] = [0x5844_3244, 0x5844_4433];
const MARK: Mark = Mark { what: "block of a directory", checksum: 4, uuid: 24, sector: Some(8) };
/// `XFS_DIR2_DATA_FREE_TAG`.
const FREE_TAG: u16 = 0xffff;

/// An entry of a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// Its name, never empty, `.` or `..`, and without `/` or NUL.
    pub(super) name: &'a [u8],
    /// The inode it names.
    pub(super) inode: u64,
    /// What the entry says the inode is (`XFS_DIR3_FT_REG_FILE` and on); 0 where it does not say.
    pub(super) file_type: u8,
}

/// What is done with an entry; [`ControlFlow::Break`] ends the reading.
pub(super) type Visit<'a> = dyn FnMut(Entry<'_>) -> ControlFlow<()> + 'a;

/// Shows every entry of a directory, in the order they lie there, without `.` and `..`.
///
/// # Errors
/// [`FsError::Corrupt`] where it does not hold together, [`FsError::Io`] where it cannot be read. Entries before that were shown.
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
    let bad = |why: String| Err(FsError::Corrupt(format!("directory inode {}: {why}", dir.number)));
    if dir.kind != FileKind::Directory {
        return bad("it is none".to_owned());
    }
    let fork = dir.data();
    match fork {
        Fork::Local(bytes) => return short(reader, dir, bytes, visit),
        Fork::None => return bad("it has no entries anywhere".to_owned()),
        Fork::Extents(..) | Fork::Tree(_) => {}
    }
    if dir.size > MOST_BYTES {
        return bad(format!("it says it is {} bytes long", dir.size));
    }
    let (size, step) = (u64::from(reader.sb.block_size), u64::from(reader.sb.dir_blocks));
    let end = dir.size.div_ceil(size);
    let mut at = 0;
    while at < end {
        let run = match look_up(reader, fork, at) {
            Ok(run) => run,
            Err(e) => {
                damaged(e)?;
                at += step;
                continue;
            }
        };
        if run.at.is_none() {
            // A hole is as long as whole blocks of a directory are.
            at = at.saturating_add(run.len).div_ceil(step) * step;
            continue;
        }
        match block(reader, fork, at).and_then(|bytes| entries(reader, dir, &bytes, visit)) {
            Ok(ControlFlow::Break(())) => return Ok(()),
            Ok(ControlFlow::Continue(())) => {}
            Err(e) => damaged(e)?,
        }
        at += step;
    }
    Ok(())
}

/// A block of a directory, which may lie in pieces.
fn block(reader: &Reader, fork: Fork<'_>, at: u64) -> Result<Vec<u8>, FsError> {
    let step = u64::from(reader.sb.dir_blocks);
    let (mut bytes, mut first, mut laid) = (Vec::new(), ByteOffset(0), false);
    let mut done = 0;
    while done < step {
        let run = look_up(reader, fork, at + done)?;
        let Some(from) = run.at else { return Err(FsError::Corrupt("a block of a directory has a hole".to_owned())) };
        let len = run.len.min(step - done);
        let place = reader.place(from, len)?;
        if done == 0 {
            first = place;
        }
        let count = usize::try_from(len).unwrap_or(usize::MAX).saturating_mul(reader.block_len());
        bytes.extend(reader.bytes().read_vec(place, count)?);
        laid |= reader.is_laid(place, count);
        done += len;
    }
    reader.verify_pieces(first, &bytes, laid, MARK)?;
    Ok(bytes)
}

fn name_holds(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|c| matches!(c, 0 | b'/'))
}

/// The entries in an inode (`struct xfs_dir2_sf_hdr`).
fn short(reader: &Reader, dir: &Inode, b: &[u8], visit: &mut Visit<'_>) -> Result<(), FsError> {
    let (count, wide) = (byte(b, 0), byte(b, 1) > 0);
    let number = if wide { 8 } else { 4 };
    let mut at = 2 + number;
    for _ in 0..count {
        let len = usize::from(byte(b, at));
        let behind = at + 3 + len;
        let inode = behind + usize::from(reader.sb.ftype);
        let (Some(name), Some(_)) = (b.get(at + 3..behind), b.get(inode..inode + number)) else {
            return Err(FsError::Corrupt(format!("directory inode {} is cut off at {at}", dir.number)));
        };
        if !name_holds(name) {
            return Err(FsError::Corrupt(format!("directory inode {} has a name that is none at {at}", dir.number)));
        }
        let file_type = if reader.sb.ftype { byte(b, behind) } else { 0 };
        let named = if wide { be64(b, inode) } else { u64::from(be32(b, inode)) };
        if name != b"." && name != b".." && visit(Entry { name, inode: named, file_type }).is_break() {
            return Ok(());
        }
        at = inode + number;
    }
    Ok(())
}

/// Shows the entries in a block.
fn entries(reader: &Reader, dir: &Inode, b: &[u8], visit: &mut Visit<'_>) -> Result<ControlFlow<()>, FsError> {
    let v5 = usize::from(reader.sb.v5);
    let magic = be32(b, 0);
    let bad = |at: usize, why: &str| {
        let number = dir.number;
        Err(FsError::Corrupt(format!("a block of directory inode {number} (magic {magic:#010x}) at {at}: {why}")))
    };
    let end = if magic == BLOCK[v5] {
        // The index of its entries stands at its end, eight bytes for each, and how many there are behind that.
        let tail = b.len() - 8;
        let index = usize::try_from(be32(b, tail)).ok().and_then(|count| count.checked_mul(8));
        match index.and_then(|index| tail.checked_sub(index)) {
            Some(end) => end,
            None => return bad(tail, "it has more entries than room"),
        }
    } else if magic == DATA[v5] {
        b.len()
    } else {
        return bad(0, "it is none");
    };
    let mut at = if reader.sb.v5 { 64 } else { 16 };
    while at + 8 <= end {
        if be16(b, at) == FREE_TAG {
            let len = usize::from(be16(b, at + 2));
            if len == 0 || !len.is_multiple_of(8) || len > end - at {
                return bad(at, "unused bytes without end");
            }
            at += len;
            continue;
        }
        let len = usize::from(byte(b, at + 8));
        let behind = at + 9 + len;
        // What it is, and the place of the entry, end it.
        let next = (behind + usize::from(reader.sb.ftype) + 2).next_multiple_of(8);
        let name = b.get(at + 9..behind).filter(|name| next <= end && name_holds(name));
        let Some(name) = name else { return bad(at, "an entry that is none") };
        let file_type = if reader.sb.ftype { byte(b, behind) } else { 0 };
        if name != b"." && name != b".." && visit(Entry { name, inode: be64(b, at), file_type }).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        at = next;
    }
    Ok(ControlFlow::Continue(()))
}
