//! Files as they are taken out: what is kept of each, and where its content lies.

use super::dir;
use super::inode::Inode;
use super::map::look_up;
use super::reader::Reader;
use super::{tree, xattr};
use crate::fs::{FsError, listing};
use model::files::{Attributes, FileId, Layout, Named};
use model::inspection::FileKind;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Look-ups for one answer besides those that find a piece: holes are told block by block in a block map.
const MOST_HOLES: usize = 1 << 20;

/// An inode under a name, with all that is kept of it.
pub(super) fn named(reader: &Arc<Reader>, name: &[u8], inode: &Inode) -> Result<Named, FsError> {
    let (owner, group) = inode.owners();
    let target = match inode.kind {
        FileKind::Symlink => Some(RawName(tree::target(reader, inode)?)),
        _ => None,
    };
    let attributes = Attributes {
        kind: inode.kind,
        mode: inode.mode(),
        owner,
        group,
        links: inode.links(),
        size: ByteLen(if inode.kind == FileKind::Special { 0 } else { inode.size }),
        modified: inode.modified(),
        accessed: inode.accessed(),
        device: inode.device(),
        target,
        xattrs: xattr::all(reader, inode)?,
        flags: inode.flags(),
    };
    Ok(Named { name: RawName(name.to_vec()), file: FileId(u64::from(inode.number)), attributes: Some(attributes) })
}

/// The inode of a file that was told of before.
pub(super) fn inode(reader: &Reader, file: FileId) -> Result<Inode, FsError> {
    reader.inode(u32::try_from(file.0).unwrap_or(0))
}

/// Entries of a directory. One whose inode is damaged is listed without what is kept of it.
pub(super) fn list(reader: &Arc<Reader>, dir: &Inode, skip: usize, most: usize) -> Result<Vec<Named>, FsError> {
    if dir.kind != FileKind::Directory {
        return Err(FsError::Corrupt(format!("inode {} is no directory", dir.number)));
    }
    let (mut at, mut entries) = (0, Vec::new());
    dir::each(reader, dir, &mut |entry| {
        at += 1;
        if at > skip {
            entries.push((entry.name.to_vec(), u64::from(entry.inode)));
        }
        if entries.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(listing::named(&entries, |name, number| {
        inode(reader, FileId(number)).and_then(|inode| named(reader, name, &inode))
    }))
}

/// Where the content of a file lies.
pub(super) fn layout(reader: &Reader, inode: &Inode, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
    if inode.kind != FileKind::File {
        return Err(FsError::Corrupt(format!("inode {} is no regular file", inode.number)));
    }
    if inode.is_encrypted() {
        return Err(FsError::Incompatible(format!("inode {} is encrypted, and its key is not here", inode.number)));
    }
    if inode.is_inline() {
        let (head, tail) = inode.inline_parts()?;
        let mut bytes = [head, tail].concat();
        bytes.truncate(ByteLen(inode.size).to_usize().unwrap_or(usize::MAX));
        return Ok(Layout::Within(RawName(bytes)));
    }
    let size = u64::from(reader.sb.block_size);
    let end = inode.size.div_ceil(size);
    let mut block = (from.0 / size).min(end);
    let mut pieces: Vec<(ByteOffset, Extent)> = Vec::new();
    for _ in 0..most.saturating_add(MOST_HOLES) {
        if block >= end || pieces.len() >= most {
            break;
        }
        let run = look_up(reader, inode, block)?;
        let next = block.saturating_add(run.len).min(end);
        if let Some(at) = run.at {
            let start = reader.place(at)?.0;
            // The last block may reach past the end of the file.
            let len = (next * size).min(inode.size) - block * size;
            pieces.extend(Extent::between(start, start + len).map(|e| (ByteOffset(block * size), e)));
        }
        block = next;
    }
    Ok(Layout::Pieces { pieces, end: ByteOffset((block * size).min(inode.size)) })
}
