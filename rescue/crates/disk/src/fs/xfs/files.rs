//! Files as they are taken out: what is kept of each, and where its content lies.

use super::dir;
use super::file::check;
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

/// Look-ups for one answer besides those that find a piece.
const MOST_HOLES: usize = 1 << 20;

/// An inode under a name, with all that is kept of it.
pub(super) fn named(reader: &Reader, name: &[u8], inode: &Inode) -> Result<Named, FsError> {
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
    Ok(Named { name: RawName(name.to_vec()), file: FileId(inode.number), attributes: Some(attributes) })
}

/// Entries of a directory. One whose inode is damaged is listed without what is kept of it.
pub(super) fn list(reader: &Reader, dir: &Inode, skip: usize, most: usize) -> Result<Vec<Named>, FsError> {
    let (mut at, mut entries) = (0, Vec::new());
    dir::each(reader, dir, &mut |entry| {
        at += 1;
        if at > skip {
            entries.push((entry.name.to_vec(), entry.inode));
        }
        if entries.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(listing::named(&entries, |name, number| reader.inode(number).and_then(|inode| named(reader, name, &inode))))
}

/// Where the content of a file lies.
pub(super) fn layout(reader: &Reader, inode: &Inode, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
    check(inode)?;
    let size = u64::from(reader.sb.block_size);
    let end = inode.size.div_ceil(size);
    let mut block = (from.0 / size).min(end);
    let mut pieces: Vec<(ByteOffset, Extent)> = Vec::new();
    for _ in 0..most.saturating_add(MOST_HOLES) {
        if block >= end || pieces.len() >= most {
            break;
        }
        let run = look_up(reader, inode.data(), block)?;
        let next = block.saturating_add(run.len).min(end);
        if let Some(at) = run.at {
            let start = reader.place(at, next - block)?.0;
            // The last block may reach past the end of the file.
            let len = (next * size).min(inode.size) - block * size;
            pieces.extend(Extent::between(start, start + len).map(|e| (ByteOffset(block * size), e)));
        }
        block = next;
    }
    Ok(Layout::Pieces { pieces, end: ByteOffset((block * size).min(inode.size)) })
}
