//! Paths: from names to inodes, through symbolic links.

use super::dir;
use super::file::File;
use super::inode::Inode;
use super::reader::Reader;
use crate::fs::FsError;
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The inode of `/`.
pub(super) const ROOT: u32 = 2;
/// As in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
/// Names looked up on one path, those in links included.
const MOST_STEPS: u32 = 4096;
/// `PATH_MAX`.
const MOST_TARGET: u64 = 4096;

/// Where a path leads.
pub(super) struct Found {
    /// The inode.
    pub(super) inode: Inode,
    /// The names from the root to it, free of symbolic links.
    pub(super) names: Vec<Vec<u8>>,
}

/// Follows a path from the root; a symbolic link at its end too where `last` says so. `None` where it leads nowhere: a name
/// that is not there, something in the way that is no directory, too many links.
///
/// # Errors
/// [`FsError`] where the way there cannot be read.
pub(super) fn find(reader: &Arc<Reader>, path: &[u8], last: bool) -> Result<Option<Found>, FsError> {
    // The names still to look up, the next one last.
    let mut ahead: Vec<Vec<u8>> = split(path).rev().collect();
    // The directories passed, with the name each has in the one before.
    let mut way: Vec<(Vec<u8>, Inode)> = Vec::new();
    let root = reader.inode(ROOT)?;
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
        let Some(number) = look_up(reader, here, &name)? else { return Ok(None) };
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
    let (names, inodes): (Vec<_>, Vec<_>) = way.into_iter().unzip();
    Ok(Some(Found { inode: inodes.into_iter().next_back().unwrap_or(root), names }))
}

/// The names of a path, without the empty ones and `.`.
fn split(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|c| *c == b'/').filter(|name| !matches!(name, [] | [b'.'])).map(<[u8]>::to_vec)
}

/// The inode a directory has under a name. Names are compared by their bytes, also where the directory folds case.
fn look_up(reader: &Reader, dir: &Inode, name: &[u8]) -> Result<Option<u32>, FsError> {
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

/// The target of a symbolic link.
///
/// # Errors
/// [`FsError::Corrupt`] where it is longer than a path can be; else as reading its content.
pub(super) fn target(reader: &Arc<Reader>, link: &Inode) -> Result<Vec<u8>, FsError> {
    if link.size > MOST_TARGET {
        return Err(FsError::Corrupt(format!(
            "the target of symbolic link inode {} is {} bytes long",
            link.number, link.size
        )));
    }
    let len = ByteLen(link.size).to_usize().unwrap_or(0);
    Ok(File::open(reader.clone(), link.clone())?.read_vec(ByteOffset(0), len)?)
}
