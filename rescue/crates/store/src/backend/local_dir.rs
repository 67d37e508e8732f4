//! Objects as files of a directory.
//!
//! A put is durable the way rename(2) and fsync(2) allow it: bytes into a temporary file of the same directory, fsync of the
//! file, rename, fsync of the directory, and fsync of every parent whose entry was made. After a failed fsync the pages
//! count as clean although they may not be on the medium (Linux, `Documentation/filesystems/vfs.rst`, "Handling errors
//! during writeback"), so it is never retried: the temporary file goes away and the put has failed.

use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Temporary files begin with this; an object's name cannot begin with a dot.
const TEMP: &str = ".put-";
/// The file one writer holds with flock(2).
const LOCK: &str = ".lock";
/// Components an object's name can have.
const DEPTH: usize = 4;

/// A store in a directory.
#[derive(Debug)]
pub struct LocalDir {
    root: PathBuf,
    serial: AtomicU64,
}

impl LocalDir {
    /// A directory that exists.
    ///
    /// # Errors
    /// [`ObjectError::Io`] where it does not, or is no directory.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ObjectError> {
        let root = root.into();
        let found = fs::metadata(&root).map_err(|e| failed("opening", &root, e))?;
        if !found.is_dir() {
            return Err(failed("opening", &root, io::Error::from(ErrorKind::NotADirectory)));
        }
        Ok(Self { root, serial: AtomicU64::new(0) })
    }

    /// A directory, made (with its parents) where there is none.
    ///
    /// # Errors
    /// [`ObjectError::Full`], [`ObjectError::Io`].
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, ObjectError> {
        let root = root.into();
        make_dir(&root)?;
        Self::open(root)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Opens an object for reading: a regular file, never through a link (whoever prepared the disk must not be able to
    /// make the store read something else) and never waiting for the other end of a pipe.
    fn open_object(&self, name: &ObjectName) -> Result<File, ObjectError> {
        let path = self.path(name);
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path);
        let file = file.map_err(|e| match e.kind() {
            ErrorKind::NotFound => ObjectError::Missing(name.clone()),
            _ => failed("opening", &path, e),
        })?;
        let is_file = file.metadata().map_err(|e| failed("opening", &path, e))?.is_file();
        if !is_file {
            return Err(failed("opening", &path, io::Error::other("it is no regular file")));
        }
        Ok(file)
    }

    /// True where the object is there with these bytes.
    fn holds(&self, name: &ObjectName, bytes: &[u8]) -> Result<Option<bool>, ObjectError> {
        let file = match self.open_object(name) {
            Ok(file) => file,
            Err(ObjectError::Missing(_)) => return Ok(None),
            Err(e) => return Err(e),
        };
        let fail = |e| failed("reading", &self.path(name), e);
        if file.metadata().map_err(fail)?.len() != bytes.len() as u64 {
            return Ok(Some(false));
        }
        let mut part = vec![0; bytes.len().min(1 << 20)];
        let mut at = 0;
        for want in bytes.chunks(1 << 20) {
            let got = &mut part[..want.len()];
            file.read_exact_at(got, at).map_err(fail)?;
            if got != want {
                return Ok(Some(false));
            }
            at += want.len() as u64;
        }
        Ok(Some(true))
    }

    /// Removes what killed puts left. Only while the lock is held, and only where nothing is put without it.
    fn sweep(&self) -> Result<(), ObjectError> {
        for kind in ["packs", "snapshots", "index"] {
            for dir in dirs_of(&self.root.join(kind))? {
                for (name, path) in entries_of(&dir)? {
                    if name.starts_with(TEMP) {
                        remove(&path)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl ObjectStore for LocalDir {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        let path = self.path(name);
        let dir = path.parent().unwrap_or(&self.root).to_owned();
        match self.holds(name, bytes)? {
            // A put killed between rename and fsync may have left it there without its directory entry being durable.
            Some(true) => return sync_dir(&dir),
            Some(false) => return Err(ObjectError::Exists(name.clone())),
            None => {}
        }
        if dir != self.root {
            make_dir(&dir)?;
        }
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let temp = dir.join(format!("{TEMP}{}-{serial}", std::process::id()));
        let written = write_durably(&temp, bytes)
            .and_then(|()| fs::rename(&temp, &path).map_err(|e| failed("renaming into", &path, e)));
        if let Err(e) = written {
            // The first failure is the one to tell; a leftover that cannot be removed now is swept by the next writer.
            let _ = fs::remove_file(&temp);
            return Err(e);
        }
        sync_dir(&dir)
    }

    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        let file = self.open_object(name)?;
        file.read_exact_at(buf, at.0).map_err(|e| match e.kind() {
            // An offset past i64 is refused by pread(2) as invalid: it is past the end of any file.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidInput => {
                ObjectError::OutOfRange { name: name.clone(), at: at.0, len: buf.len() as u64 }
            }
            _ => failed("reading", &self.path(name), e),
        })
    }

    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        let file = self.open_object(name)?;
        file.metadata().map(|m| ByteLen(m.len())).map_err(|e| failed("reading", &self.path(name), e))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        // Where the root is gone (a disk pulled out), that is an error; a kind of object never put yet is just absent.
        fs::metadata(&self.root).map_err(|e| failed("listing", &self.root, e))?;
        let mut found = Vec::new();
        if let Some(name) = ObjectName::new(prefix)
            && self.path(&name).is_file()
        {
            found.push(name);
        }
        let mut todo = vec![(prefix.to_owned(), self.root.join(prefix))];
        while let Some((name, path)) = todo.pop() {
            for (entry, path) in entries_of(&path)? {
                let name = if name.is_empty() { entry } else { format!("{name}/{entry}") };
                // The type of the entry itself: a link is neither a file nor a directory.
                let kind = match fs::symlink_metadata(&path) {
                    Ok(meta) => meta.file_type(),
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) => return Err(failed("listing", &path, e)),
                };
                match ObjectName::new(&name) {
                    Some(object) if kind.is_file() => found.push(object),
                    Some(_) if kind.is_dir() && name.matches('/').count() + 1 < DEPTH => todo.push((name, path)),
                    _ => {}
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        let path = self.path(name);
        remove(&path)?;
        match path.parent() {
            Some(dir) if dir.exists() => sync_dir(dir),
            _ => Ok(()),
        }
    }

    fn free(&self) -> Option<ByteLen> {
        let stat = nix::sys::statvfs::statvfs(&self.root).ok()?;
        stat.blocks_available().checked_mul(stat.fragment_size()).map(ByteLen)
    }

    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        let path = self.root.join(LOCK);
        let open =
            OpenOptions::new().create(true).truncate(false).write(true).custom_flags(libc::O_NOFOLLOW).open(&path);
        let file = open.map_err(|e| failed("locking", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ObjectError::InUse(format!("another process is writing to {}", self.root.display())));
            }
            Err(TryLockError::Error(e)) => return Err(failed("locking", &path, e)),
        }
        self.sweep()?;
        Ok(Box::new(file))
    }
}

/// What the system said, as an error of the right kind.
fn failed(what: &str, path: &Path, source: io::Error) -> ObjectError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ObjectError::Full(source),
        _ => ObjectError::Io { what: format!("{what} {}", path.display()), source },
    }
}

fn write_durably(temp: &Path, bytes: &[u8]) -> Result<(), ObjectError> {
    let fail = |e| failed("writing", temp, e);
    let mut file = OpenOptions::new().write(true).create_new(true).open(temp).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    // What is read back next should come from the medium, not from the pages just written. A system that does not care for
    // the advice gives a weaker read-back, not a wrong one.
    let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<(), ObjectError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| failed("syncing", dir, e))
}

/// Makes a directory and its parents, each durable in its parent before the next.
fn make_dir(dir: &Path) -> Result<(), ObjectError> {
    let mut missing = Vec::new();
    let mut at = dir;
    while !at.is_dir() {
        missing.push(at);
        at = match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => break,
        };
    }
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {}
            Err(e) => return Err(failed("making", dir, e)),
        }
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_dir(parent)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), ObjectError> {
    match fs::remove_file(path) {
        Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(failed("deleting", path, e))
        }
        _ => Ok(()),
    }
}

/// The entries of a directory with names in UTF-8 (an object has no other); none where there is no such directory.
fn entries_of(dir: &Path) -> Result<Vec<(String, PathBuf)>, ObjectError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(e) => return Err(failed("listing", dir, e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| failed("listing", dir, e))?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

fn dirs_of(dir: &Path) -> Result<Vec<PathBuf>, ObjectError> {
    let is_dir = |p: &PathBuf| fs::symlink_metadata(p).is_ok_and(|m| m.is_dir());
    Ok(entries_of(dir)?.into_iter().map(|(_, path)| path).filter(is_dir).collect())
}
