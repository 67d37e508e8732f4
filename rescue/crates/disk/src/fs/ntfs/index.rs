//! Directories: the index of the names in them (kernel `fs/ntfs3/index.c`; `fs/ntfs3/ntfs.h`, `struct INDEX_ROOT`, `INDEX_BUFFER` and
//! `NTFS_DE`). All blocks that the index has in use are read, in the order in which they lie.

use super::attribute::kind;
use super::inode::{DOS, Inode};
use super::names;
use super::reader::Reader;
use super::record::{Reference, restore};
use super::stream::{Place, Stream};
use crate::fs::FsError;
use crate::numbers::{byte, le16, le32, le64};
use model::inspection::FileKind;
use std::ops::ControlFlow;

/// The index of names.
const NAME: &str = "$I30";
/// Most bytes of the map of its blocks.
const MOST_BITMAP: u64 = 1 << 20;
/// Where the entries of a block are told of, and of the part in the record.
const BLOCK_HEADER: usize = 24;
const ROOT_HEADER: usize = 16;
/// The last entry of a block: it has no name.
const LAST: u16 = 0x2;
/// Where a name stands in its key (`struct ATTR_FILE_NAME`).
const NAME_AT: usize = 66;

/// A name in a directory.
pub(super) struct Entry {
    /// The file.
    pub(super) reference: Reference,
    /// The name.
    pub(super) name: String,
    /// It is a second, short name of the file.
    pub(super) short: bool,
    /// What the file is, as far as the directory knows.
    pub(super) kind: FileKind,
}

/// What is done about a part that cannot be read: the error, or the reading goes on behind it.
pub(super) type Damaged<'a> = dyn FnMut(FsError) -> Result<(), FsError> + 'a;

/// Shows every name in a directory, short ones too, but not its own.
///
/// # Errors
/// What `damaged` makes of a part that cannot be read. Names before that were shown.
pub(super) fn each(
    reader: &Reader,
    dir: &Inode,
    damaged: &mut Damaged<'_>,
    visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), FsError> {
    let bad = |why: String| FsError::Corrupt(format!("the directory in record {} of the MFT: {why}", dir.number));
    let root = match dir.stream(kind::INDEX_ROOT, NAME) {
        Ok(Some(Stream { place: Place::Within(root), .. })) => root,
        Ok(_) => return damaged(bad("it has no index".to_owned())),
        Err(e) => return damaged(e),
    };
    match entries(&root, ROOT_HEADER, dir.number, visit) {
        Ok(ControlFlow::Break(())) => return Ok(()),
        Ok(ControlFlow::Continue(())) => {}
        Err(why) => damaged(bad(why))?,
    }
    let streams = dir.stream(kind::INDEX_ALLOCATION, NAME).and_then(|blocks| {
        let bitmap = dir.stream(kind::BITMAP, NAME)?;
        let bitmap = bitmap.map(|bitmap| reader.read_all(&bitmap, MOST_BITMAP)).transpose()?;
        Ok((blocks, bitmap))
    });
    let (blocks, bitmap) = match streams {
        Ok((Some(blocks), Some(Some(bitmap)))) => (blocks, bitmap),
        Ok((None, _)) => return Ok(()),
        Ok((Some(_), _)) => return damaged(bad("which blocks of its index are in use is not told".to_owned())),
        Err(e) => return damaged(e),
    };
    let len = u64::from(le32(&root, 8));
    if len != u64::from(reader.boot.index_size) {
        return damaged(bad(format!("blocks of {len} bytes in its index")));
    }
    let used = |no: &u64| usize::try_from(no / 8).is_ok_and(|at| byte(&bitmap, at) >> (no % 8) & 1 == 1);
    let count = (blocks.size / len).min(bitmap.len() as u64 * 8);
    for no in (0..count).filter(used) {
        let mut block = vec![0; usize::try_from(len).unwrap_or(0)];
        if let Err(e) = blocks.read(reader.bytes(), &reader.boot, no * len, &mut block) {
            damaged(e)?;
            continue;
        }
        let shown = restore(&mut block, b"INDX").and_then(|()| entries(&block, BLOCK_HEADER, dir.number, visit));
        match shown {
            Ok(ControlFlow::Break(())) => return Ok(()),
            Ok(ControlFlow::Continue(())) => {}
            Err(why) => damaged(bad(format!("block {no} of its index: {why}")))?,
        }
    }
    Ok(())
}

/// Shows the entries of a block, whose header stands at byte `header` of it.
fn entries(
    block: &[u8],
    header: usize,
    own: u64,
    visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, String> {
    let place = |at: usize| usize::try_from(le32(block, header + at)).ok().and_then(|n| header.checked_add(n));
    let (Some(mut at), Some(end)) = (place(0), place(4)) else { return Err("its entries lie nowhere".to_owned()) };
    if end > block.len() || at < header + 16 {
        return Err(format!("its entries lie from byte {at} to {end}"));
    }
    while at + 16 <= end {
        let (len, key_len) = (usize::from(le16(block, at + 8)), usize::from(le16(block, at + 10)));
        if le16(block, at + 12) & LAST != 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let entry = block.get(at..at + len).filter(|_| at + len <= end);
        let key = entry.and_then(|entry| entry.get(16..16 + key_len));
        let name = key.and_then(|key| key.get(NAME_AT..NAME_AT + usize::from(byte(key, 64)) * 2));
        let (Some(key), Some(name)) = (key, name) else { return Err(format!("its entry at byte {at} is cut off")) };
        let reference = Reference(le64(block, at));
        at += len;
        let name = names::text(name);
        // The root names itself.
        if reference.number() == own {
            continue;
        }
        if name.is_empty() || name.contains(['/', '\0']) || matches!(name.as_str(), "." | "..") {
            return Err("it has a name that is none".to_owned());
        }
        // The bit by which the index marks directories.
        let directory = le32(key, 56) & 0x1000_0000 != 0;
        let kind = if directory { FileKind::Directory } else { FileKind::File };
        if visit(Entry { reference, name, short: byte(key, 65) == DOS, kind }).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Err("its entries have no end".to_owned())
}
