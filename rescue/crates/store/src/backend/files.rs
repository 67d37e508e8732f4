//! The file operations a directory of objects is made of, each as small as the system call below it, so that a test can
//! put a simulated file system in their place: one that loses power, runs full, or lies.

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;
use std::fmt::Debug;
use std::fs::{self, File, FileType, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What a name in a directory stands for. A link is itself, not what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// Anything else: a link, a pipe, a device.
    Other,
}

impl From<FileType> for Kind {
    fn from(found: FileType) -> Self {
        match found {
            t if t.is_file() => Self::File,
            t if t.is_dir() => Self::Dir,
            _ => Self::Other,
        }
    }
}

/// A file system, as [`LocalDir`](super::LocalDir) uses it.
///
/// Every operation may fail with [`ErrorKind::Interrupted`] and has done nothing then; none is made again in here. Nothing
/// is durable before the sync that says so: a file's bytes before [`OpenFile::sync`], a name before [`Files::sync_dir`] of
/// the directory it stands in.
pub trait Files: Debug + Send + Sync {
    /// Opens a regular file for reading: never through a link (whoever prepared the disk must not be able to make the
    /// store read something else), never waiting for the other end of a pipe.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and what the system says; something that is no regular file is an error.
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;

    /// Makes a file that is not there yet, open for writing.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::StorageFull`], and what the system says.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;

    /// What a name stands for.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and what the system says.
    fn kind(&self, path: &Path) -> io::Result<Kind>;

    /// The entries of a directory whose names are UTF-8 (an object has no other), in any order.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::NotADirectory`], and what the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Kind)>>;

    /// Makes a directory in one that is there.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::StorageFull`], and what the system says.
    fn mkdir(&self, dir: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the system says.
    fn rmdir(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file another name in the same directory.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and what the system says.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the system says; after any but [`ErrorKind::Interrupted`] another sync proves nothing about them.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes everything on the file system of a directory durable, whoever wrote it.
    ///
    /// # Errors
    /// As [`Files::sync_dir`].
    fn sync_all(&self, dir: &Path) -> io::Result<()>;

    /// Bytes free on the file system of a directory.
    ///
    /// # Errors
    /// What the system says.
    fn free(&self, dir: &Path) -> io::Result<u64>;

    /// Locks a file, made where it is not there, until the value is dropped or the process ends. `None` where another
    /// holds it.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>>;
}

/// A regular file that is open.
pub trait OpenFile {
    /// Appends; returns how many bytes were taken, which may be fewer than given.
    ///
    /// # Errors
    /// [`ErrorKind::StorageFull`], [`ErrorKind::Interrupted`], and what the system says.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Reads from a position; returns how many bytes there were, which may be fewer than asked for, and 0 at the end.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] past the end of any file, and what the system says.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// Size in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// True where there are no bytes in it.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|n| n == 0)
    }

    /// Makes the file's bytes and length durable, not its name.
    ///
    /// # Errors
    /// What the system says; after any but [`ErrorKind::Interrupted`] another sync proves nothing about them.
    fn sync(&self) -> io::Result<()>;

    /// Asks that what is read next come from the medium and not from the pages just written. A system that does not care for
    /// the advice gives a weaker read-back, not a wrong one.
    fn forget(&self);
}

/// The files of this system.
#[derive(Debug, Clone, Copy)]
pub struct SystemFiles {
    reader: fn(File) -> Box<dyn OpenFile>,
}

impl SystemFiles {
    /// Files that are read by what `reader` makes of them.
    pub fn read_by(reader: fn(File) -> Box<dyn OpenFile>) -> Self {
        Self { reader }
    }
}

impl Default for SystemFiles {
    fn default() -> Self {
        Self::read_by(|file| Box::new(file))
    }
}

impl Files for SystemFiles {
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        Ok((self.reader)(file))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        fs::symlink_metadata(path).map(|m| m.file_type().into())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Kind)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.file_type() {
                Ok(kind) => found.push((name, kind.into())),
                // Gone since the directory was read.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    fn rmdir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        Ok(nix::unistd::syncfs(File::open(dir)?)?)
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        stat.blocks_available().checked_mul(stat.fragment_size()).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let mut open = OpenOptions::new();
        let file = open.create(true).truncate(false).write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        // flock(2): the lock goes with the descriptor, and so with the process.
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(Held(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

/// A locked file, unlocked when dropped. Closing it would not do: a child that another thread is just starting has a copy
/// of the descriptor until its execve(2), and the lock belongs to what both describe (flock(2)).
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Best effort: closed it is in any case.
        let _ = self.0.unlock();
    }
}

impl OpenFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, at)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|m| m.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn forget(&self) {
        let _ = posix_fadvise(self, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}
