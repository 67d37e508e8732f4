//! Paths: from names to inodes, through symbolic links.

use super::dir;
use super::inode::{Fork, Inode};
use super::map::look_up;
use super::raw::{be32, from};
use super::reader::{Mark, Reader};
use crate::fs::FsError;
use model::inspection::FileKind;
use std::ops::ControlFlow;

/// As in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
/// Names looked up on one path, those in links included.
const MOST_STEPS: u32 = 4096;
/// `XFS_SYMLINK_MAXLEN`.
const MOST_TARGET: u64 = 1024;
/// `XFS_SYMLINK_MAGIC`, and how long the header of a piece of a target is (`struct xfs_dsymlink_hdr`).
const MAGIC: u32 = 0x5853_4c4d;
const HEADER: usize = 56;
const MARK: Mark = Mark { what: "target of a symbolic link", checksum: 12, uuid: 16, sector: Some(40) };

/// Where a path leads.
pub(super) struct Found {
    /// The inode.
    pub(super) inode: Inode,
    /// The last name on the way to it, free of symbolic links; empty for the root.
    pub(super) name: Vec<u8>,
}

/// Follows a path from the root; a symbolic link at its end too where `last` says so. `None` where it leads nowhere: a name
/// that is not there, something in the way that is no directory, too many links.
///
/// # Errors
/// [`FsError`] where the way there cannot be read.
pub(super) fn find(reader: &Reader, path: &[u8], last: bool) -> Result<Option<Found>, FsError> {
    // The names still to look up, the next one last.
    let mut ahead: Vec<Vec<u8>> = split(path).rev().collect();
    // The directories passed, with the name each has in the one before.
    let mut way: Vec<(Vec<u8>, Inode)> = Vec::new();
    let root = reader.inode(reader.sb.root)?;
    let (mut links, mut steps) = (0, 0);
    while let Some(name) = ahead.pop() {
        steps += 1;
        if steps > MOST_STEPS {
            return Ok(None);
        }
        if name == b".." {
            way.pop();
            continue;
        }
        let here = way.last().map_or(&root, |(_, inode)| inode);
        if here.kind != FileKind::Directory {
            return Ok(None);
        }
        let Some(number) = named(reader, here, &name)? else { return Ok(None) };
        let inode = reader.inode(number)?;
        if inode.kind == FileKind::Symlink && (last || !ahead.is_empty()) {
            links += 1;
            if links > MOST_LINKS {
                return Ok(None);
            }
            let target = target(reader, &inode)?;
            if target.starts_with(b"/") {
                way.clear();
            }
            ahead.extend(split(&target).rev());
            continue;
        }
        way.push((name, inode));
    }
    let (name, inode) = way.pop().unwrap_or((Vec::new(), root));
    Ok(Some(Found { inode, name }))
}

/// The names of a path, without the empty ones and `.`.
fn split(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|c| *c == b'/').filter(|name| !matches!(name, [] | [b'.'])).map(<[u8]>::to_vec)
}

/// The inode a directory has under a name. Names are compared by their bytes, also where the file system folds case.
fn named(reader: &Reader, dir: &Inode, name: &[u8]) -> Result<Option<u64>, FsError> {
    let mut found = None;
    dir::each(reader, dir, &mut |entry| {
        if entry.name != name {
            return ControlFlow::Continue(());
        }
        found = Some(entry.inode);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// The target of a symbolic link: in the inode, or in blocks, where in version 5 every piece has a header (`xfs_symlink_remote_read`).
///
/// # Errors
/// [`FsError::Corrupt`] where it is longer than a target can be, or does not hold together.
pub(super) fn target(reader: &Reader, link: &Inode) -> Result<Vec<u8>, FsError> {
    let bad = |why: &str| FsError::Corrupt(format!("symbolic link inode {}: {why}", link.number));
    if link.size > MOST_TARGET || link.size == 0 {
        return Err(bad(&format!("its target is {} bytes long", link.size)));
    }
    let len = usize::try_from(link.size).unwrap_or(0);
    let fork = link.data();
    if let Fork::Local(bytes) = fork {
        let target = bytes.get(..len).ok_or_else(|| bad("its target is cut off"))?;
        return Ok(target.to_vec());
    }
    let (mut out, mut block) = (Vec::new(), 0);
    while out.len() < len {
        let run = look_up(reader, fork, block)?;
        let at = run.at.ok_or_else(|| bad("its target has a hole"))?;
        let room = run.len.min((MOST_TARGET + HEADER as u64).div_ceil(u64::from(reader.sb.block_size)));
        let place = reader.place(at, room)?;
        let bytes = usize::try_from(room).unwrap_or(1) * reader.block_len();
        let bytes = reader.bytes().read_vec(place, bytes)?;
        let content = if reader.sb.v5 {
            reader.verify(place, &bytes, MARK)?;
            if be32(&bytes, 0) != MAGIC {
                return Err(bad("its target has a wrong magic"));
            }
            from(&bytes, HEADER)
        } else {
            &bytes[..]
        };
        out.extend_from_slice(&content[..content.len().min(len - out.len())]);
        block += run.len;
    }
    Ok(out)
}
