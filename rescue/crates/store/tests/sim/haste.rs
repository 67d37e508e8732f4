//! The flaws of the mutants that forget and prune: in what is deleted when, and in what stands in the way of that.

use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use store::backend::LocalDir;

/// A flaw above the directory backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// The entry that follows is put after the manifest is deleted.
    DeletesManifestFirst,
    /// What a prune writes again is put after the old packs are deleted.
    PutsRewrittenLast,
    /// What a prune writes again is read back from memory.
    TrustsRewritten,
    /// No lease is ever seen.
    IgnoresLeases,
    /// Packs are deleted as soon as they are condemned.
    DeletesAtOnce,
    /// A writer does not see what is condemned.
    CountsOnCondemned,
}

struct Hasty {
    inner: LocalDir,
    haste: Haste,
    /// Told as put; whether it was.
    put: Mutex<BTreeMap<ObjectName, (Vec<u8>, bool)>>,
    /// A lease was put: this is a writer and no prune.
    saves: AtomicBool,
}

/// The directory, used with a flaw.
pub(crate) fn hasty(dir: LocalDir, haste: Haste) -> Arc<dyn ObjectStore> {
    Arc::new(Hasty { inner: dir, haste, put: Mutex::default(), saves: AtomicBool::new(false) })
}

impl Hasty {
    /// Puts what was held back.
    fn release(&self) -> Result<(), ObjectError> {
        for (name, (bytes, done)) in self.put.lock().unwrap().iter_mut().filter(|(_, (_, done))| !*done) {
            self.inner.put(name, bytes)?;
            *done = true;
        }
        Ok(())
    }

    fn keep(&self, name: &ObjectName, bytes: &[u8], done: bool) {
        self.put.lock().unwrap().insert(name.clone(), (bytes.to_vec(), done));
    }
}

impl ObjectStore for Hasty {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        let of = |kind: &str| name.as_str().starts_with(kind);
        if of("leases/") {
            self.saves.store(true, Ordering::Relaxed);
        }
        let prunes = !self.saves.load(Ordering::Relaxed);
        match self.haste {
            Haste::DeletesManifestFirst => {
                self.release()?;
                if of("inventory/") {
                    self.keep(name, bytes, false);
                    return Ok(());
                }
            }
            Haste::PutsRewrittenLast if prunes && of("packs/") => {
                self.keep(name, bytes, false);
                return Ok(());
            }
            Haste::PutsRewrittenLast if of("inventory/") => self.release()?,
            Haste::TrustsRewritten if prunes && of("packs/") => self.keep(name, bytes, true),
            _ => {}
        }
        self.inner.put(name, bytes)?;
        if self.haste == Haste::DeletesAtOnce && of("condemned/") {
            // A record of digests that nothing makes shorter: 24 bytes before them, their number, 32 bytes behind.
            for pack in bytes[28..bytes.len() - 32].chunks(32) {
                let id: String = pack.iter().map(|b| format!("{b:02x}")).collect();
                self.inner.delete(&ObjectName::new(&format!("packs/{}/{id}", &id[..2])).unwrap())?;
            }
        }
        Ok(())
    }

    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        if let Some((bytes, _)) = self.put.lock().unwrap().get(name) {
            let at = usize::try_from(at.0).unwrap();
            buf.copy_from_slice(&bytes[at..at + buf.len()]);
            return Ok(());
        }
        self.inner.get(name, at, buf)
    }

    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        if let Some((bytes, _)) = self.put.lock().unwrap().get(name) {
            return Ok(ByteLen(bytes.len() as u64));
        }
        self.inner.len(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        let hidden = match self.haste {
            Haste::IgnoresLeases => prefix == "leases",
            Haste::CountsOnCondemned => prefix == "condemned" && self.saves.load(Ordering::Relaxed),
            Haste::DeletesManifestFirst => {
                self.release()?;
                false
            }
            _ => false,
        };
        if hidden {
            return Ok(Vec::new());
        }
        let mut names = self.inner.list(prefix)?;
        let below = format!("{prefix}/");
        names.extend(self.put.lock().unwrap().keys().filter(|n| n.as_str().starts_with(&below)).cloned());
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.put.lock().unwrap().remove(name);
        self.inner.delete(name)
    }

    fn free(&self) -> Option<ByteLen> {
        self.inner.free()
    }

    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        self.inner.lock()
    }

    fn locks_out(&self) -> bool {
        self.inner.locks_out()
    }
}

impl Drop for Hasty {
    fn drop(&mut self) {
        // Only the order is wrong: nothing is left out.
        let _ = self.release();
    }
}
