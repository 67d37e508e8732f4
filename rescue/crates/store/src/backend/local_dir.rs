//! Objects as files of a directory.
//!
//! A put is durable the way rename(2) and fsync(2) allow it: bytes into a temporary file of the same directory, fsync of the
//! file, rename, fsync of the directory, and fsync of every parent whose entry was made. After a failed fsync the pages
//! count as clean although they may not be on the medium (Linux, `Documentation/filesystems/vfs.rst`, "Handling errors
//! during writeback"), so it is never retried: the file goes away and the put has failed.
//!
//! What another process put and was killed over (no power cut) is seen, and not durable. Whoever takes the lock will rely on
//! what it sees, so the lock begins with a sync of the whole file system, and so does the first put without it.
//!
//! FAT32 and exFAT hold stores too. Their names do not tell cases apart and end at 255 characters; objects' are lower
//! case, and a temporary file's is 17 to 40 longer than its object's. A FAT32 directory has 65,536 slots: about 8,000 names
//! of 85 characters, which is why objects fan out. A rename there is two writes: a power cut between them leaves neither name
//! (the clusters are lost, the object was not acknowledged) or both, for the same clusters. Removing one would free them under
//! the other, so a temporary file whose object is there too is set aside, not removed.

use super::files::{Files, Kind, OpenFile, SystemFiles};
use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Temporary files are called this, the process, a serial number, and their object's last component, joined by `-`; an
/// object's name cannot begin with a dot.
const TEMP: &str = ".put-";
/// What is set aside begins with this.
const ASIDE: &str = ".kept-";
/// The file one writer holds with flock(2).
const LOCK: &str = ".lock";
/// Where nothing is put without the lock.
const SWEPT: [&str; 6] = ["packs", "snapshots", "index", "asides", "condemned", "probe"];
/// Components an object's name can have.
const DEPTH: usize = 4;
/// Names tried for a temporary file: those of killed puts may be in the way, since a rescue's processes have the same
/// numbers each time it starts.
const TRIES: u64 = 4096;

/// A store in a directory.
#[derive(Debug)]
pub struct LocalDir {
    files: Arc<dyn Files>,
    root: PathBuf,
    serial: AtomicU64,
    /// Whether everything found at the start is durable.
    settled: AtomicBool,
}

impl LocalDir {
    /// A directory that exists.
    ///
    /// # Errors
    /// [`ObjectError::Io`] where it does not, or is no directory.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ObjectError> {
        Self::open_over(Arc::new(SystemFiles::default()), root)
    }

    /// A directory, made (with its parents) where there is none.
    ///
    /// # Errors
    /// [`ObjectError::Full`], [`ObjectError::Io`].
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, ObjectError> {
        Self::create_over(Arc::new(SystemFiles::default()), root)
    }

    /// As [`LocalDir::open`], on a given file system.
    ///
    /// # Errors
    /// As [`LocalDir::open`].
    pub fn open_over(files: Arc<dyn Files>, root: impl Into<PathBuf>) -> Result<Self, ObjectError> {
        let (root, serial, settled) = (root.into(), AtomicU64::new(0), AtomicBool::new(false));
        let dir = Self { files, root, serial, settled };
        dir.must_be_there("opening")?;
        Ok(dir)
    }

    /// As [`LocalDir::create`], on a given file system.
    ///
    /// # Errors
    /// As [`LocalDir::create`].
    pub fn create_over(files: Arc<dyn Files>, root: impl Into<PathBuf>) -> Result<Self, ObjectError> {
        let root = root.into();
        make_dir(&*files, &root)?;
        Self::open_over(files, root)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn must_be_there(&self, what: &str) -> Result<(), ObjectError> {
        match is_dir(&*self.files, &self.root).map_err(|e| failed(what, &self.root, e))? {
            true => Ok(()),
            false => Err(failed(what, &self.root, ErrorKind::NotADirectory.into())),
        }
    }

    fn open_object(&self, name: &ObjectName) -> Result<Box<dyn OpenFile>, ObjectError> {
        let path = self.path(name);
        again(|| self.files.open(&path)).map_err(|e| match e.kind() {
            ErrorKind::NotFound => ObjectError::Missing(name.clone()),
            _ => failed("opening", &path, e),
        })
    }

    /// Makes what others left undurable durable, once.
    fn settle(&self) -> Result<(), ObjectError> {
        if self.settled.load(Ordering::Acquire) {
            return Ok(());
        }
        again(|| self.files.sync_all(&self.root)).map_err(|e| failed("syncing", &self.root, e))?;
        self.settled.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the object's bytes are these; `None` where there is no object.
    fn holds(&self, name: &ObjectName, bytes: &[u8]) -> Result<Option<bool>, ObjectError> {
        let file = match self.open_object(name) {
            Ok(file) => file,
            Err(ObjectError::Missing(_)) => return Ok(None),
            Err(e) => return Err(e),
        };
        let fail = |e| failed("reading", &self.path(name), e);
        if again(|| file.len()).map_err(fail)? != bytes.len() as u64 {
            return Ok(Some(false));
        }
        let mut part = vec![0; bytes.len().min(1 << 20)];
        let mut at = 0;
        for want in bytes.chunks(1 << 20) {
            let got = &mut part[..want.len()];
            read_exact_at(&*file, got, at).map_err(fail)?;
            if got != want {
                return Ok(Some(false));
            }
            at += want.len() as u64;
        }
        Ok(Some(true))
    }

    /// The bytes, durable under a name that is no object's. Nothing is left where this fails.
    fn write_temp(&self, object: &Path, bytes: &[u8]) -> Result<PathBuf, ObjectError> {
        let file_name = object.file_name().unwrap_or_default().display();
        let mut tries = TRIES;
        let (temp, mut file) = loop {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let temp = object.with_file_name(format!("{TEMP}{}-{serial}-{file_name}", std::process::id()));
            match again(|| self.files.create_new(&temp)) {
                Ok(file) => break (temp, file),
                Err(e) if e.kind() == ErrorKind::AlreadyExists && tries > 0 => tries -= 1,
                Err(e) => return Err(failed("writing", &temp, e)),
            }
        };
        let written = write_all(&mut *file, bytes).and_then(|()| again(|| file.sync()));
        match written {
            Ok(()) => {
                file.forget();
                Ok(temp)
            }
            Err(e) => {
                drop(file);
                // The first failure is the one to tell; what cannot be removed now is swept by the next writer.
                let _ = self.remove(&temp).and_then(|()| self.sync_parent(&temp));
                Err(failed("writing", &temp, e))
            }
        }
    }

    /// Removes what killed puts left. Only while the lock is held, and only where nothing is put without it.
    fn sweep(&self) -> Result<(), ObjectError> {
        self.sweep_dir(&self.root)?;
        for kind in SWEPT {
            let above = self.root.join(kind);
            self.sweep_dir(&above)?;
            for (name, kind) in self.entries_of(&above)? {
                if kind == Kind::Dir {
                    self.sweep_dir(&above.join(name))?;
                }
            }
        }
        Ok(())
    }

    fn sweep_dir(&self, dir: &Path) -> Result<(), ObjectError> {
        let entries = self.entries_of(dir)?;
        let mut swept = false;
        for (name, _) in &entries {
            let Some(rest) = name.strip_prefix(TEMP) else { continue };
            swept = true;
            let object = rest.splitn(3, '-').nth(2).unwrap_or_default();
            if entries.iter().any(|(other, _)| other == object) {
                self.set_aside(dir, name)?;
            } else {
                self.remove(&dir.join(name))?;
            }
        }
        // Clusters that were freed get a new owner only after nothing names them any more.
        if swept { self.sync_dir(dir) } else { Ok(()) }
    }

    /// Renames a file to where nothing looks again. The new name must be free: a rename over a file frees its clusters.
    fn set_aside(&self, dir: &Path, name: &str) -> Result<(), ObjectError> {
        let from = dir.join(name);
        for n in 0..TRIES {
            let to = dir.join(format!("{ASIDE}{n}-{}", &name[TEMP.len()..]));
            match again(|| self.files.kind(&to)) {
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    return again(|| self.files.rename(&from, &to)).map_err(|e| failed("renaming", &from, e));
                }
                Err(e) => return Err(failed("looking for", &to, e)),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), ObjectError> {
        match again(|| self.files.unlink(path)) {
            Err(e) if !is_absent(&e) => Err(failed("deleting", path, e)),
            _ => Ok(()),
        }
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), ObjectError> {
        again(|| self.files.sync_dir(dir)).map_err(|e| failed("syncing", dir, e))
    }

    fn sync_parent(&self, path: &Path) -> Result<(), ObjectError> {
        self.sync_dir(path.parent().unwrap_or(&self.root))
    }

    /// The entries of a directory; none where there is no such directory.
    fn entries_of(&self, dir: &Path) -> Result<Vec<(String, Kind)>, ObjectError> {
        match again(|| self.files.list(dir)) {
            Err(e) if is_absent(&e) => Ok(Vec::new()),
            listed => listed.map_err(|e| failed("listing", dir, e)),
        }
    }
}

impl ObjectStore for LocalDir {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        let path = self.path(name);
        let dir = path.parent().unwrap_or(&self.root).to_owned();
        self.settle()?;
        match self.holds(name, bytes)? {
            // Another put of these days may have left it there without its directory entry being durable.
            Some(true) => return self.sync_dir(&dir),
            Some(false) => return Err(ObjectError::Exists(name.clone())),
            None => {}
        }
        if dir != self.root {
            make_dir(&*self.files, &dir)?;
        }
        let temp = self.write_temp(&path, bytes)?;
        if let Err(e) = again(|| self.files.rename(&temp, &path)) {
            // Whether it happened nobody says. Where the name is not there the temporary file is ours alone.
            if again(|| self.files.kind(&path)).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
                let _ = self.remove(&temp).and_then(|()| self.sync_dir(&dir));
            }
            return Err(failed("renaming into", &path, e));
        }
        if let Err(e) = self.sync_dir(&dir) {
            // A later put would find it, sync again, be told that all is well, and believe it.
            let _ = self.remove(&path).and_then(|()| self.sync_dir(&dir));
            return Err(e);
        }
        Ok(())
    }

    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        let file = self.open_object(name)?;
        read_exact_at(&*file, buf, at.0).map_err(|e| match e.kind() {
            // An offset past i64 is refused by pread(2) as invalid: it is past the end of any file.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidInput => {
                ObjectError::OutOfRange { name: name.clone(), at: at.0, len: buf.len() as u64 }
            }
            _ => failed("reading", &self.path(name), e),
        })
    }

    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        let file = self.open_object(name)?;
        again(|| file.len()).map(ByteLen).map_err(|e| failed("reading", &self.path(name), e))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        // Where the root is gone (a disk pulled out), that is an error; a kind of object never put yet is just absent.
        self.must_be_there("listing")?;
        let mut found = Vec::new();
        if let Some(name) = ObjectName::new(prefix) {
            let path = self.path(&name);
            match again(|| self.files.kind(&path)) {
                Ok(Kind::File) => found.push(name),
                Err(e) if !is_absent(&e) => return Err(failed("listing", &path, e)),
                _ => {}
            }
        }
        let mut todo = vec![prefix.to_owned()];
        while let Some(above) = todo.pop() {
            for (entry, kind) in self.entries_of(&self.root.join(&above))? {
                let name = if above.is_empty() { entry } else { format!("{above}/{entry}") };
                match ObjectName::new(&name) {
                    Some(object) if kind == Kind::File => found.push(object),
                    Some(_) if kind == Kind::Dir && name.matches('/').count() + 1 < DEPTH => todo.push(name),
                    _ => {}
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        let path = self.path(name);
        self.remove(&path)?;
        let dir = path.parent().unwrap_or(&self.root);
        match again(|| self.files.sync_dir(dir)) {
            Err(e) if !is_absent(&e) => Err(failed("syncing", dir, e)),
            _ => Ok(()),
        }
    }

    fn free(&self) -> Option<ByteLen> {
        again(|| self.files.free(&self.root)).ok().map(ByteLen)
    }

    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        let path = self.root.join(LOCK);
        let held = again(|| self.files.lock(&path)).map_err(|e| failed("locking", &path, e))?;
        let held =
            held.ok_or_else(|| ObjectError::InUse(format!("another process is writing to {}", self.root.display())))?;
        self.settled.store(false, Ordering::Release);
        self.settle()?;
        self.sweep()?;
        Ok(held)
    }

    fn locks_out(&self) -> bool {
        true
    }
}

/// A call that a signal interrupted has done nothing, and is made again.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn write_all(file: &mut dyn OpenFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match again(|| file.write(bytes))? {
            0 => return Err(ErrorKind::WriteZero.into()),
            n => bytes = bytes.get(n..).unwrap_or_default(),
        }
    }
    Ok(())
}

fn read_exact_at(file: &dyn OpenFile, mut buf: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match again(|| file.read_at(buf, at))? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => {
                buf = buf.get_mut(n..).unwrap_or_default();
                at = at.saturating_add(n as u64);
            }
        }
    }
    Ok(())
}

/// What the system said, as an error of the right kind.
fn failed(what: &str, path: &Path, source: io::Error) -> ObjectError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ObjectError::Full(source),
        _ => ObjectError::Io { what: format!("{what} {}", path.display()), source },
    }
}

/// No such name, or something on the way to it is no directory.
fn is_absent(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// True for a directory and for a link to one: where a store lies is the user's to say.
fn is_dir(files: &dyn Files, path: &Path) -> io::Result<bool> {
    again(|| files.kind(&path.join("."))).map(|k| k == Kind::Dir)
}

/// Makes a directory and its parents, each durable in its parent before the next.
fn make_dir(files: &dyn Files, dir: &Path) -> Result<(), ObjectError> {
    let mut missing = Vec::new();
    let mut at = dir;
    while !is_dir(files, at).unwrap_or(false) {
        missing.push(at);
        at = match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => break,
        };
    }
    for dir in missing.into_iter().rev() {
        match again(|| files.mkdir(dir)) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists && is_dir(files, dir).unwrap_or(false) => {}
            Err(e) => return Err(failed("making", dir, e)),
        }
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Err(e) = again(|| files.sync_dir(parent)) {
            // Whoever finds it would take it for durable. Made again it is synced again.
            let _ = again(|| files.rmdir(dir)).and_then(|()| again(|| files.sync_dir(parent)));
            return Err(failed("syncing", parent, e));
        }
    }
    Ok(())
}
