//! A large file that is made whole or not at all: an image that was asked for.
//!
//! **Architecture invariant.** Nothing that exists is ever opened for writing here, be it a file, a link or a disk: what is
//! written to is always made new (`O_CREAT | O_EXCL`), and it takes its name only where that name is still free.

use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset};
use nix::sys::statvfs::fstatvfs;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes written before they are made durable: else the kernel would gather a share of the memory and the last sync would
/// take minutes in which nothing moves.
const SYNC_EVERY: u64 = 256 << 20;

/// A file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NewFileError {
    /// There is something of that name.
    #[error("{path} exists already")]
    Exists {
        /// The name.
        path: DisplayText,
        /// It is a block device.
        disk: bool,
    },
    /// The path names no file.
    #[error("{path} names no file")]
    Nameless {
        /// The path.
        path: DisplayText,
    },
    /// The system refused.
    #[error("{what} {path} failed: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: DisplayText,
        /// What the system said.
        source: io::Error,
    },
}

/// A file in the making. It stands beside its place under a name of its own (`NAME.part-PID`) until [`NewFile::publish`];
/// dropped before that, it is removed.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    part: PathBuf,
    unsynced: u64,
}

pub(crate) fn shown(path: &Path) -> DisplayText {
    DisplayText::from_bytes(path.as_os_str().as_encoded_bytes())
}

pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NewFileError {
    let path = shown(path);
    move |source| NewFileError::Io { what, path, source }
}

/// The directory of a file.
pub(crate) fn directory(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An error where something has that name, be it a link that leads nowhere.
pub(crate) fn must_be_free(path: &Path) -> Result<(), NewFileError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed("looking for", path)(e)),
        Ok(_) => {
            // Through a link too: `/dev/disk/by-id/...` is a disk to whoever names it.
            let disk = fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device());
            Err(NewFileError::Exists { path: shown(path), disk })
        }
    }
}

impl NewFile {
    /// Begins a file that only its owner can read: an image holds the passwords and keys of a machine.
    ///
    /// # Errors
    /// [`NewFileError::Exists`] where there is something of that name; [`NewFileError::Nameless`], [`NewFileError::Io`].
    pub fn create(path: &Path) -> Result<Self, NewFileError> {
        let name = path.file_name().ok_or_else(|| NewFileError::Nameless { path: shown(path) })?;
        must_be_free(path)?;
        let mut part = OsString::from(name);
        part.push(format!(".part-{}", std::process::id()));
        let part = path.with_file_name(part);
        let file = OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(&part);
        let file = file.map_err(failed("making", &part))?;
        Ok(Self { file, path: path.to_owned(), part, unsynced: 0 })
    }

    /// The name it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Room left where it lies, where that can be known.
    pub fn free(&self) -> Option<ByteLen> {
        let stat = fstatvfs(&self.file).ok()?;
        stat.blocks_available().checked_mul(stat.fragment_size()).map(ByteLen)
    }

    /// Gives it a length: what was not written reads as zeros and, where the file system can do that, takes no room.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_len(&mut self, len: ByteLen) -> io::Result<()> {
        self.file.set_len(len.0)
    }

    /// Writes all of `bytes` at `at`.
    ///
    /// # Errors
    /// What the system says, now and then also of what was written before.
    pub fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at.0)?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the system says; the file is not to be published then.
    pub fn sync(&mut self) -> Result<(), NewFileError> {
        self.unsynced = 0;
        self.file.sync_all().map_err(failed("syncing", &self.path))
    }

    /// Gives the file its name, durably, where nothing has taken that meanwhile.
    ///
    /// # Errors
    /// [`NewFileError::Exists`], [`NewFileError::Io`]; the file is removed then.
    pub fn publish(mut self) -> Result<(), NewFileError> {
        self.sync()?;
        // A second name, then without the first: unlike rename(2) this never takes the place of another file.
        match fs::hard_link(&self.part, &self.path) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                must_be_free(&self.path)?;
                return Err(failed("naming", &self.path)(e));
            }
            // FAT and its like know no second name (EPERM), some network file systems say so in other ways.
            Err(_) => {
                must_be_free(&self.path)?;
                fs::rename(&self.part, &self.path).map_err(failed("naming", &self.path))?;
            }
        }
        // Where it was renamed there is nothing to be removed; the end of `self` tries again and does not mind either.
        let _ = fs::remove_file(&self.part);
        let dir = directory(&self.path);
        File::open(dir).and_then(|d| d.sync_all()).map_err(failed("syncing", dir))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Nobody is left who could be told; a leftover shows by its name what it is.
        let _ = fs::remove_file(&self.part);
    }
}
