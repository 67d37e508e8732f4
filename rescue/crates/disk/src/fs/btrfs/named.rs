//! Files as they are listed and taken out: what is kept of each, and where its content lies.

use super::extent::What;
use super::files::{At, Files};
use super::inode::Inode;
use super::path::target;
use crate::fs::FsError;
use model::files::{Attributes, FileId, Layout, Named};
use model::inspection::{FileKind, ListedFile};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::ops::ControlFlow;

/// Look-ups for one answer besides those that find a piece.
const MOST_HOLES: usize = 1 << 16;

/// What stands under a name.
pub(super) fn listed(name: &[u8], inode: Option<&Inode>) -> ListedFile {
    let kind = inode.map_or(FileKind::Directory, |inode| inode.kind);
    let size = inode.filter(|_| kind != FileKind::Special).map_or(0, |inode| inode.size);
    let modified = inode.and_then(Inode::modified);
    ListedFile { name: RawName(name.to_vec()), kind, size: ByteLen(size), modified }
}

/// A file under a name, with all that is kept of it.
///
/// # Errors
/// [`FsError`] where something of it cannot be read.
pub(super) fn named(files: &Files, name: &[u8], at: At) -> Result<Named, FsError> {
    let inode = files.inode(at)?;
    let of = inode.as_ref();
    let (owner, group) = of.map_or((0, 0), Inode::owners);
    let kind = of.map_or(FileKind::Directory, |inode| inode.kind);
    let target = match of {
        Some(inode) if kind == FileKind::Symlink => Some(RawName(target(files, at, inode)?)),
        _ => None,
    };
    let attributes = Attributes {
        kind,
        // The directory that is nowhere is shown like this (`new_simple_dir`).
        mode: of.map_or(0o040_755, Inode::mode),
        owner,
        group,
        links: of.map_or(1, Inode::links),
        size: ByteLen(of.filter(|_| kind != FileKind::Special).map_or(0, |inode| inode.size)),
        modified: of.and_then(Inode::modified),
        accessed: of.and_then(Inode::accessed),
        device: of.and_then(Inode::device),
        target,
        xattrs: files.attributes(at)?,
        flags: of.map_or(0, Inode::flags),
    };
    Ok(Named { name: RawName(name.to_vec()), file: at.file()?, attributes: Some(attributes) })
}

/// Entries of a directory. One whose inode is damaged is listed without what is kept of it.
///
/// # Errors
/// [`FsError`] where it is none, or cannot be read.
pub(super) fn list(files: &Files, dir: At, skip: usize, most: usize) -> Result<Vec<Named>, FsError> {
    if files.inode(dir)?.is_some_and(|inode| inode.kind != FileKind::Directory) {
        return Err(FsError::Corrupt(format!("inode {} is no directory", dir.inode)));
    }
    let (mut at, mut entries) = (0, Vec::new());
    files.entries(dir, &mut |entry, leads| {
        at += 1;
        if at > skip && entries.len() < most {
            entries.push((entry.name.clone(), leads));
        }
        if entries.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let found = entries.into_iter().map(|(name, at)| match named(files, &name, at) {
        Ok(found) => Ok(found),
        Err(_) => Ok(Named { name: RawName(name), file: at.file()?, attributes: None }),
    });
    found.collect()
}

/// Where the content of a file lies. What is kept compressed, or with the inode, is given as it is.
///
/// # Errors
/// [`FsError`] where it is no regular file, or its map does not hold together.
pub(super) fn layout(files: &Files, file: FileId, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
    let at = At::of(file);
    let size = match files.inode(at)? {
        Some(inode) if inode.kind == FileKind::File => inode.size,
        _ => return Err(FsError::Corrupt(format!("inode {} is no regular file", at.inode))),
    };
    let mut byte = from.0.min(size);
    let mut pieces: Vec<(ByteOffset, Extent)> = Vec::new();
    for _ in 0..most.saturating_add(MOST_HOLES) {
        if byte >= size || pieces.len() >= most {
            break;
        }
        let run = files.run(at, byte)?.behind(byte).until(size);
        let bytes = match &run.what {
            What::Zeros => None,
            What::At(address) => {
                pieces.extend(places(files, *address, byte, run.end)?);
                None
            }
            What::Within(bytes) => Some(bytes.clone()),
            What::Packed(_) => Some(files.unpack(&run)?),
        };
        if let Some(mut bytes) = bytes {
            // What lies elsewhere is told first.
            if !pieces.is_empty() || byte > from.0 {
                break;
            }
            bytes.truncate(usize::try_from(run.end - byte).unwrap_or(usize::MAX));
            return Ok(Layout::Unpacked { from: ByteOffset(byte), bytes: RawName(bytes), end: ByteOffset(run.end) });
        }
        byte = run.end;
    }
    Ok(Layout::Pieces { pieces, end: ByteOffset(byte) })
}

/// Where the bytes of a file from `from` to `end` lie on the volume: the first copy of each chunk.
fn places(files: &Files, address: u64, from: u64, end: u64) -> Result<Vec<(ByteOffset, Extent)>, FsError> {
    let mut found = Vec::new();
    let mut done = 0;
    while from + done < end {
        let (copies, room) = files.reader.chunks.places(address.saturating_add(done))?;
        let len = room.min(end - from - done);
        let first = copies.first().and_then(|at| Extent::new(*at, ByteLen(len)));
        found.extend(first.map(|extent| (ByteOffset(from + done), extent)));
        done += len;
    }
    Ok(found)
}
