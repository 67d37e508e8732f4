//! Paths: from names to files, through symbolic links and subvolumes.

use super::extent::What;
use super::files::{At, Files};
use super::inode::Inode;
use crate::fs::FsError;
use model::inspection::FileKind;

/// As in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
/// Names looked up on one path, those in links included.
const MOST_STEPS: u32 = 4096;
/// `PATH_MAX`.
const MOST_TARGET: u64 = 4096;

/// Where a path leads.
pub(super) struct Found {
    pub(super) at: At,
    /// Its last name; empty for the root.
    pub(super) name: Vec<u8>,
    /// The inode; `None` for a directory that is nowhere on the disk.
    pub(super) inode: Option<Inode>,
}

impl Found {
    /// What it is.
    pub(super) fn kind(&self) -> FileKind {
        self.inode.as_ref().map_or(FileKind::Directory, |inode| inode.kind)
    }
}

/// Follows a path from the root of the top-level subvolume; a symbolic link at its end too where `last` says so. `None` where it leads
/// nowhere: a name that is not there, something in the way that is no directory, too many links.
///
/// The target of a link that is absolute begins at the subvolume that the link lies in: where that is mounted as the root of a system,
/// that is what it means there.
///
/// # Errors
/// [`FsError`] where the way there cannot be read.
pub(super) fn find(files: &Files, path: &[u8], last: bool) -> Result<Option<Found>, FsError> {
    // The names still to look up, the next one last.
    let mut ahead: Vec<Vec<u8>> = split(path).rev().collect();
    let top = files.root()?;
    // What was passed.
    let mut way: Vec<Found> = Vec::new();
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
        let here = way.last().map_or(top, |found| found.at);
        if way.last().is_some_and(|found| found.kind() != FileKind::Directory) {
            return Ok(None);
        }
        let Some(at) = files.look_up(here, &name)? else { return Ok(None) };
        let found = Found { at, name, inode: files.inode(at)? };
        if found.kind() != FileKind::Symlink || (!last && ahead.is_empty()) {
            way.push(found);
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Ok(None);
        }
        let target = found.inode.as_ref().map(|inode| target(files, at, inode)).transpose()?.unwrap_or_default();
        if target.starts_with(b"/") {
            // Its subvolume begins where the way last came from another one.
            while way.last().is_some_and(|passed| passed.at.subvolume == at.subvolume && !is_top(files, passed.at)) {
                way.pop();
            }
            if at.subvolume == top.subvolume {
                way.clear();
            }
        }
        ahead.extend(split(&target).rev());
    }
    match way.pop() {
        Some(found) => Ok(Some(found)),
        None => Ok(Some(Found { at: top, name: Vec::new(), inode: files.inode(top)? })),
    }
}

/// True for the root directory of a subvolume.
fn is_top(files: &Files, at: At) -> bool {
    files.subvolumes.of(at.subvolume).is_ok_and(|subvolume| subvolume.dir == at.inode)
}

/// The names of a path, without the empty ones and `.`.
fn split(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|c| *c == b'/').filter(|name| !matches!(name, [] | [b'.'])).map(<[u8]>::to_vec)
}

/// The target of a symbolic link.
///
/// # Errors
/// [`FsError::Corrupt`] where it is longer than a path can be, or does not lie within its extent.
pub(super) fn target(files: &Files, at: At, link: &Inode) -> Result<Vec<u8>, FsError> {
    let bad = |why: &str| FsError::Corrupt(format!("the target of symbolic link inode {} {why}", at.inode));
    if link.size > MOST_TARGET {
        return Err(bad("is longer than a path can be"));
    }
    match files.run(at, 0)?.what {
        What::Within(bytes) if bytes.len() as u64 >= link.size => {
            Ok(bytes.into_iter().take(usize::try_from(link.size).unwrap_or(0)).collect())
        }
        _ => Err(bad("is not there")),
    }
}
