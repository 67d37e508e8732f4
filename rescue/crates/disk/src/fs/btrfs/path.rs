//! Paths: from names to files, through symbolic links and subvolumes.

use super::extent::What;
use super::files::{At, Files};
use super::inode::Inode;
use super::raw::id;
use crate::fs::FsError;
use crate::fs::way::Directories;
use model::inspection::FileKind;

/// `PATH_MAX`.
const MOST_TARGET: u64 = 4096;

/// A file, and its place.
pub(super) struct Placed {
    pub(super) at: At,
    /// The inode; `None` for a directory that is nowhere on the disk.
    pub(super) inode: Option<Inode>,
}

impl Placed {
    /// What it is.
    pub(super) fn kind(&self) -> FileKind {
        self.inode.as_ref().map_or(FileKind::Directory, |inode| inode.kind)
    }
}

/// Paths begin at the top-level subvolume.
impl Directories for Files {
    type File = Placed;

    fn root(&self) -> Result<Placed, FsError> {
        let at = self.top()?;
        Ok(Placed { at, inode: self.inode(at)? })
    }

    fn kind(file: &Placed) -> FileKind {
        file.kind()
    }

    fn look_up(&self, dir: &Placed, name: &[u8]) -> Result<Option<Placed>, FsError> {
        let at = self.entry(dir.at, name)?;
        at.map(|at| Ok(Placed { at, inode: self.inode(at)? })).transpose()
    }

    fn target(&self, link: &Placed) -> Result<Vec<u8>, FsError> {
        link.inode.as_ref().map(|inode| target(self, link.at, inode)).transpose().map(Option::unwrap_or_default)
    }

    /// An absolute target begins at the subvolume that the link lies in: where that is mounted as the root of a system, that is what it
    /// means there. It begins where the way last came from another one.
    fn begin_anew(&self, way: &mut Vec<(Vec<u8>, Placed)>, link: &Placed) {
        let within = |passed: &Placed| passed.at.subvolume == link.at.subvolume && !is_top(self, passed.at);
        while way.last().is_some_and(|(_, passed)| within(passed)) {
            way.pop();
        }
        if link.at.subvolume == id::FS_TREE {
            way.clear();
        }
    }
}

/// True for the root directory of a subvolume.
fn is_top(files: &Files, at: At) -> bool {
    files.subvolumes.of(at.subvolume).is_ok_and(|subvolume| subvolume.dir == at.inode)
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
