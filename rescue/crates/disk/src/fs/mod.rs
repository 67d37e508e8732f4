//! File systems: one trait to read them by, and the kinds that are read.

pub mod btrfs;
mod differences;
pub mod exfat;
pub mod ext4;
pub mod fat;
mod listing;
mod loaders;
mod losses;
mod names;
pub mod ntfs;
mod pieces;
mod rules;
mod way;
pub mod xfs;

pub use differences::Two;

use crate::guarded;
use model::coverage::{Changes, Coverage};
use model::cuts::Cuts;
use model::files::{FileId, Layout, LostFiles, Named};
use model::inspection::{Content, ListedFile};
use model::ports::{ReadAt, ReadError};
use model::units::{ByteOffset, ExtentSet};
use std::sync::Arc;

/// Reading a file system failed.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The volume could not be read.
    #[error(transparent)]
    Io(#[from] ReadError),
    /// It is what it should be, but uses something this version does not read.
    #[error("{0}")]
    Incompatible(String),
    /// It does not hold together; the text says where, with the numbers.
    #[error("{0}")]
    Corrupt(String),
}

/// A tree of files within a file system that can be mounted by itself, as subvolumes and snapshots of btrfs can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subvolume {
    /// Its number.
    pub id: u64,
    /// Its path from the root of the file system; empty for that itself.
    pub path: Vec<u8>,
    /// It is mounted where none is named.
    pub is_default: bool,
    /// It was made as a copy of another one.
    pub is_snapshot: bool,
}

/// A file system, read-only.
///
/// Paths are absolute bytes, components joined by `/`. Symbolic links on the way are followed inside the file system, up
/// to a bound; what a path does not lead to is `None` (or an empty list), never an error.
pub trait FileSystem {
    /// What stands at `path`. A symbolic link at the end is not followed.
    ///
    /// # Errors
    /// [`FsError`] where the way there cannot be read.
    fn stat(&self, path: &[u8]) -> Result<Option<ListedFile>, FsError>;

    /// The entries of a directory without `.` and `..`, at most the first `most` of them in the order they lie there; empty
    /// where there is no such directory. One whose inode is damaged is listed with no size and no time.
    ///
    /// # Errors
    /// [`FsError`] where the directory or the way there cannot be read.
    fn read_dir(&self, path: &[u8], most: usize) -> Result<Vec<ListedFile>, FsError> {
        self.select(path, most, &|_| true)
    }

    /// Those of the first `most` entries of a directory whose names are `wanted`, as [`FileSystem::read_dir`] gives them. No more
    /// than names is read of what is not wanted: inodes lie far apart.
    ///
    /// # Errors
    /// As [`FileSystem::read_dir`].
    fn select(&self, path: &[u8], most: usize, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Vec<ListedFile>, FsError>;

    /// The content of a regular file: holes and unwritten parts read as zeros. `None` where there is none.
    ///
    /// # Errors
    /// [`FsError`] where the file's metadata cannot be read.
    fn open(&self, path: &[u8]) -> Result<Option<Box<dyn ReadAt>>, FsError>;

    /// The target of the symbolic link at `path`, or `None` where there is none.
    ///
    /// # Errors
    /// [`FsError`] where the way there cannot be read.
    fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>, FsError>;

    /// What stands at `path`, with all that is kept of it. A symbolic link at the end is not followed.
    ///
    /// # Errors
    /// [`FsError`] where the way there cannot be read.
    fn find(&self, path: &[u8]) -> Result<Option<Named>, FsError>;

    /// The entries of a directory without `.` and `..`, in the order they lie there, with all that is kept of them: `most` of
    /// them after the first `skip`.
    ///
    /// # Errors
    /// [`FsError`] where it is none, or cannot be read.
    fn list(&self, dir: FileId, skip: usize, most: usize) -> Result<Vec<Named>, FsError>;

    /// Where the content of a regular file lies from byte `from` on, in about `most` pieces.
    ///
    /// # Errors
    /// [`FsError`] where it is none, or its map does not hold together.
    fn layout(&self, file: FileId, from: ByteOffset, most: usize) -> Result<Layout, FsError>;

    /// The trees in it that can be mounted by themselves, by their numbers; none where its kind knows no such thing.
    ///
    /// # Errors
    /// [`FsError`] where they cannot be told.
    fn subvolumes(&self) -> Result<Vec<Subvolume>, FsError> {
        Ok(Vec::new())
    }

    /// Which bytes of the volume are in use.
    fn coverage(&self) -> Coverage;

    /// Where the volume is best cut into chunks: at the starts of files.
    fn cuts(&self) -> Cuts;

    /// Which bytes its own records prove to be as they were in `before`, an earlier state of the same volume in which holes
    /// read as zeros. Whoever asks knows that no session in between was cut off.
    fn changes(&self, before: Arc<dyn ReadAt>) -> Changes;

    /// What lies in bytes of the volume that are lost. Whatever can still be read is gone through; where that is not all,
    /// it is said.
    fn losses(&self, lost: &ExtentSet) -> LostFiles;
}

/// What lies in bytes of a volume that cannot be had; `bytes` is the volume's window, in which they may be unreadable.
///
/// # Errors
/// As [`open`]; [`FsError::Corrupt`] where the file system does not hold together at all.
pub fn losses(content: &Content, bytes: Arc<dyn ReadAt>, lost: &ExtentSet) -> Result<LostFiles, FsError> {
    guarded(|| open(content, bytes).map(|fs| fs.losses(lost)))
        .ok_or_else(|| FsError::Corrupt("its records do not hold together".to_owned()))?
}

/// Opens the file system found on a volume; `bytes` is the volume's window.
///
/// # Errors
/// [`FsError::Incompatible`] where `content` is not a file system this version reads; else as its reader.
pub fn open(content: &Content, bytes: Arc<dyn ReadAt>) -> Result<Box<dyn FileSystem>, FsError> {
    match content {
        Content::Ext(_) => Ok(Box::new(ext4::Ext4::load(bytes)?)),
        Content::Fat(_) => Ok(Box::new(fat::Fat::load(bytes)?)),
        Content::Exfat(_) => Ok(Box::new(exfat::Exfat::load(bytes)?)),
        Content::Ntfs(_) => Ok(Box::new(ntfs::Ntfs::load(bytes)?)),
        Content::Btrfs(_) => Ok(Box::new(btrfs::Btrfs::load(bytes)?)),
        Content::Xfs(_) => Ok(Box::new(xfs::Xfs::load(bytes)?)),
        _ => Err(FsError::Incompatible("there is no file system on it that can be read".into())),
    }
}
