//! The flaws of the mutants: in how a directory of objects uses files, and in what is put into it when.

use crate::fs::SimFs;
use crate::held::{Deviation, Held, above};
use model::ports::{ObjectError, ObjectName, ObjectStore};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::backend::{Files, Kind, LocalDir, OpenFile};

/// A flaw below the directory backend: in how it uses files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    NoFileSync,
    NoPackSync,
    NoDirSync,
    NoSnapshotDirSync,
    NoParentSync,
    NameFirst,
    SyncAfterRename,
    IgnoresFileSync,
    IgnoresDirSync,
    SyncsAgain,
    IgnoresFull,
    ShortIsWhole,
    GivesUpOnSignals,
    TempsAreObjects,
    InPlace,
    NeverSettles,
    SweepsTwins,
    ReadsCache,
    UnsyncedRemoval,
    NoNoteSync,
    NoEntrySync,
}

#[derive(Debug)]
struct FlawedFiles {
    inner: SimFs,
    flaw: Flaw,
    /// The last thing done was a removal.
    removed: AtomicBool,
}

/// The file system, used with a flaw.
pub(crate) fn flawed(fs: SimFs, flaw: Flaw) -> Arc<dyn Files> {
    Arc::new(FlawedFiles { inner: fs, flaw, removed: AtomicBool::new(false) })
}

fn lies_in(path: &Path, kind: &str) -> bool {
    path.iter().any(|part| part == kind)
}

impl FlawedFiles {
    /// A result, as the flaw sees it.
    fn seen<T>(&self, done: io::Result<T>) -> io::Result<T> {
        match done {
            Err(e) if self.flaw == Flaw::GivesUpOnSignals && e.kind() == ErrorKind::Interrupted => {
                Err(io::Error::other("interrupted"))
            }
            done => done,
        }
    }

    /// Where a file is made.
    fn made(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap().to_str().unwrap();
        match self.flaw {
            Flaw::TempsAreObjects => path.with_file_name(name.trim_start_matches('.')),
            Flaw::NameFirst => match name.strip_prefix(".put-") {
                Some(rest) => path.with_file_name(rest.splitn(3, '-').nth(2).unwrap()),
                None => path.to_owned(),
            },
            _ => path.to_owned(),
        }
    }
}

impl Files for FlawedFiles {
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.seen(self.inner.open(path))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.removed.store(false, Ordering::Relaxed);
        let inner = self.seen(self.inner.create_new(&self.made(path)))?;
        Ok(Box::new(FlawedFile { inner, flaw: self.flaw, path: path.to_owned() }))
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        self.seen(self.inner.kind(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Kind)>> {
        self.seen(self.inner.list(dir))
    }

    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        self.seen(self.inner.mkdir(dir))
    }

    fn rmdir(&self, dir: &Path) -> io::Result<()> {
        self.seen(self.inner.rmdir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.made(from);
        match self.flaw {
            Flaw::NameFirst => Ok(()),
            Flaw::SweepsTwins if to.file_name().unwrap().to_str().unwrap().starts_with(".kept-") => {
                self.inner.unlink(&from)
            }
            Flaw::SyncAfterRename => {
                let written = self.inner.open(&from)?;
                self.inner.rename(&from, to)?;
                written.sync()
            }
            Flaw::InPlace => {
                let whole = self.inner.open(&from)?;
                let mut bytes = vec![0; usize::try_from(whole.len()?).unwrap()];
                whole.read_at(&mut bytes, 0)?;
                let mut object = self.inner.create_new(to)?;
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    rest = &rest[object.write(rest)?..];
                }
                object.sync()?;
                self.inner.unlink(&from)
            }
            _ => self.seen(self.inner.rename(&from, to)),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.removed.store(true, Ordering::Relaxed);
        self.seen(self.inner.unlink(&self.made(path)))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // The directories that objects' own directories lie in.
        let above = dir.file_name().is_none_or(|n| n.len() > 2);
        match self.flaw {
            Flaw::NoDirSync => Ok(()),
            Flaw::NoSnapshotDirSync if lies_in(dir, "snapshots") => Ok(()),
            Flaw::NoNoteSync if lies_in(dir, "notes") => Ok(()),
            Flaw::NoEntrySync if lies_in(dir, "inventory") => Ok(()),
            Flaw::UnsyncedRemoval if self.removed.swap(false, Ordering::Relaxed) => Ok(()),
            Flaw::NoParentSync if above => Ok(()),
            Flaw::IgnoresDirSync => {
                let _ = self.inner.sync_dir(dir);
                Ok(())
            }
            Flaw::SyncsAgain => self.inner.sync_dir(dir).or_else(|_| self.inner.sync_dir(dir)),
            _ => self.seen(self.inner.sync_dir(dir)),
        }
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        match self.flaw {
            Flaw::NeverSettles if self.inner.kind(&dir.join("format")).is_ok() => Ok(()),
            // A sync of everything would make up for what the flaw leaves out.
            Flaw::NoParentSync | Flaw::NoDirSync | Flaw::NoFileSync => Ok(()),
            _ => self.seen(self.inner.sync_all(dir)),
        }
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        self.seen(self.inner.free(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        self.seen(self.inner.lock(path))
    }
}

struct FlawedFile {
    inner: Box<dyn OpenFile>,
    path: PathBuf,
    flaw: Flaw,
}

impl OpenFile for FlawedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.inner.write(bytes) {
            Ok(_) if self.flaw == Flaw::ShortIsWhole => Ok(bytes.len()),
            Err(e) if self.flaw == Flaw::IgnoresFull && e.kind() == ErrorKind::StorageFull => Ok(bytes.len()),
            Err(e) if self.flaw == Flaw::GivesUpOnSignals && e.kind() == ErrorKind::Interrupted => {
                Err(io::Error::other("interrupted"))
            }
            done => done,
        }
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.inner.read_at(buf, at)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn sync(&self) -> io::Result<()> {
        match self.flaw {
            Flaw::NoFileSync | Flaw::SyncAfterRename => Ok(()),
            Flaw::NoPackSync if lies_in(&self.path, "packs") => Ok(()),
            Flaw::IgnoresFileSync => {
                let _ = self.inner.sync();
                Ok(())
            }
            Flaw::SyncsAgain => self.inner.sync().or_else(|_| self.inner.sync()),
            _ => self.inner.sync(),
        }
    }

    fn forget(&self) {
        if self.flaw != Flaw::ReadsCache {
            self.inner.forget();
        }
    }
}

/// A flaw above the directory backend: in what the writer puts when, and believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The manifest goes before everything it names.
    ManifestFirst,
    /// A put is told as done, and done when the next one comes.
    OneLate,
    /// What was put is read back from memory.
    OwnCache,
    /// An error of a put is swallowed.
    Swallows,
    /// A part of an object is put under its name, and replaced.
    PutsInTwo,
}

/// The directory, put to with a flaw.
pub(crate) fn disordered(dir: LocalDir, order: Order) -> Arc<dyn ObjectStore> {
    above(dir, order)
}

impl Deviation for Order {
    fn put(&self, held: &Held, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        let of = |kind: &str| name.as_str().starts_with(kind);
        let keep = |done| held.keep(name, bytes, done);
        match self {
            Order::ManifestFirst if !of("snapshots/") && !of("format") => {
                keep(false);
                Ok(())
            }
            Order::ManifestFirst => {
                held.dir.put(name, bytes)?;
                held.release()
            }
            Order::OneLate => {
                // An entry of the inventory alone is made good by the next writer.
                if !of("inventory/") {
                    held.release()?;
                }
                keep(of("format"));
                if of("format") { held.dir.put(name, bytes) } else { Ok(()) }
            }
            Order::OwnCache => {
                held.dir.put(name, bytes)?;
                keep(true);
                Ok(())
            }
            Order::Swallows => {
                let _ = held.dir.put(name, bytes);
                keep(true);
                Ok(())
            }
            Order::PutsInTwo => {
                held.dir.put(name, &bytes[..bytes.len() / 2])?;
                held.dir.delete(name)?;
                held.dir.put(name, bytes)
            }
        }
    }
}
