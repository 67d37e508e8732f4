//! Files as they are listed, read and taken out.

use super::boot::Boot;
use super::index::{self, Entry};
use super::inode::Inode;
use super::reader::{Reader, system};
use super::stream::{Place, Stream};
use crate::fs::{FsError, listing};
use model::files::{Attributes, FileId, Layout, Named};
use model::inspection::{FileKind, ListedFile};
use model::ports::{ReadAt, ReadError, check_range};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

/// True for a name that is listed: no second, short one, and none of the file system's own files.
fn is_shown(entry: &Entry) -> bool {
    !entry.short && entry.reference.number() >= system::FIRST_USER
}

/// Shows the names in a directory that are listed.
///
/// # Errors
/// [`FsError`] where it cannot be read whole.
pub(super) fn each(
    reader: &Reader,
    dir: &Inode,
    visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), FsError> {
    index::each(reader, dir, &mut Err, &mut |entry| match is_shown(&entry) {
        true => visit(entry),
        false => ControlFlow::Continue(()),
    })
}

/// What stands under a name.
pub(super) fn listed(name: &[u8], inode: &Inode) -> ListedFile {
    let (size, modified) = (ByteLen(inode.size()), inode.modified());
    ListedFile { name: RawName(name.to_vec()), kind: inode.kind, size, modified }
}

/// What stands under a name whose records are damaged, as far as the directory knows it.
pub(super) fn damaged(entry: &Entry) -> ListedFile {
    let name = RawName(entry.name.clone().into_bytes());
    ListedFile { name, kind: entry.kind, size: ByteLen::ZERO, modified: None }
}

/// A file under a name, with all that is kept of it: as Linux shows it, nobody's, and writable for its owner where it is not read-only.
pub(super) fn named(name: &[u8], inode: &Inode) -> Named {
    let mode = match inode.kind {
        FileKind::Directory => 0o040_755,
        FileKind::Symlink => 0o120_777,
        FileKind::File | FileKind::Special => 0o100_644,
    };
    // Of a directory it means something else.
    let read_only = inode.kind == FileKind::File && inode.is_read_only();
    let attributes = Attributes {
        kind: inode.kind,
        mode: if read_only { mode & !0o222 } else { mode },
        owner: 0,
        group: 0,
        links: if inode.kind == FileKind::File { inode.links() } else { 1 },
        size: ByteLen(inode.size()),
        modified: inode.modified(),
        accessed: inode.accessed(),
        device: None,
        target: inode.target().map(RawName),
        xattrs: Vec::new(),
        flags: 0,
    };
    Named { name: RawName(name.to_vec()), file: FileId(inode.number), attributes: Some(attributes) }
}

/// Entries of a directory. One whose records are damaged is listed without what is kept of it.
pub(super) fn list(reader: &Reader, dir: &Inode, skip: usize, most: usize) -> Result<Vec<Named>, FsError> {
    let (mut at, mut entries) = (0, Vec::new());
    if most == 0 {
        return Ok(Vec::new());
    }
    each(reader, dir, &mut |entry| {
        at += 1;
        if at > skip {
            entries.push((entry.name.into_bytes(), entry.reference.number()));
        }
        if entries.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(listing::named(&entries, |name, number| reader.inode(number).map(|inode| named(name, &inode))))
}

/// Where the content of a file lies.
pub(super) fn layout(reader: &Reader, inode: &Inode, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
    let stream = inode.content()?;
    let boot = &reader.boot;
    let cluster = u64::from(boot.cluster_size);
    match &stream.place {
        Place::Within(bytes) => Ok(Layout::Within(RawName(bytes.clone()))),
        Place::Clusters { unit: Some(unit), valid, .. } => {
            let len = stream.unit_len(boot, *unit)?;
            let no = from.0 / len;
            let start = no * len;
            let end = (start + len).min(stream.size);
            let unpacked = if start < *valid { stream.unpacked(reader.bytes(), boot, no, *unit)? } else { Vec::new() };
            let keep = usize::try_from(end.min(*valid).saturating_sub(start)).unwrap_or(0).min(unpacked.len());
            let bytes = RawName(unpacked.get(..keep).unwrap_or_default().to_vec());
            Ok(Layout::Unpacked { from: ByteOffset(start), bytes, end: ByteOffset(end) })
        }
        Place::Clusters { unit: None, valid, runs } => {
            let first = runs.partition_point(|run| (run.from + run.len).saturating_mul(cluster) <= from.0);
            let mut pieces: Vec<(ByteOffset, Extent)> = Vec::new();
            for run in &runs[first..] {
                let start = run.from * cluster;
                if start >= *valid {
                    break;
                }
                if pieces.len() >= most {
                    return Ok(Layout::Pieces { pieces, end: ByteOffset(start) });
                }
                let Some(place) = run.at.and_then(|at| boot.clusters_at(at, run.len)) else { continue };
                let len = place.len().0.min(valid - start);
                let piece = Extent::between(place.start().0, place.start().0 + len);
                pieces.extend(piece.map(|piece| (ByteOffset(start), piece)));
            }
            Ok(Layout::Pieces { pieces, end: ByteOffset(stream.size) })
        }
    }
}

/// A file's content, readable by position.
pub(super) struct File {
    bytes: Arc<dyn ReadAt>,
    boot: Boot,
    stream: Stream,
}

impl File {
    /// Opens the content of a regular file.
    ///
    /// # Errors
    /// As [`Inode::content`].
    pub(super) fn open(reader: &Reader, inode: &Inode) -> Result<Self, FsError> {
        let (bytes, boot) = (reader.shared(), reader.boot.clone());
        Ok(Self { bytes, boot, stream: inode.content()? })
    }
}

impl ReadAt for File {
    fn size(&self) -> ByteLen {
        ByteLen(self.stream.size)
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        self.stream.read(&*self.bytes, &self.boot, at.0, buf).map_err(|e| match e {
            FsError::Io(e) => e,
            other => ReadError::Io {
                at: at.0,
                len: buf.len() as u64,
                source: io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
            },
        })
    }
}
