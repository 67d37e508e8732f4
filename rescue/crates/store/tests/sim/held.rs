//! The directory with a memory above it, in which a flaw can hold back what was put.

use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use store::backend::LocalDir;

/// The directory, and what is read from memory instead.
pub(crate) struct Held {
    pub(crate) dir: LocalDir,
    /// Told as put; whether it was.
    put: Mutex<BTreeMap<ObjectName, (Vec<u8>, bool)>>,
}

impl Held {
    /// Reads an object from memory from now on; `done` where it was put.
    pub(crate) fn keep(&self, name: &ObjectName, bytes: &[u8], done: bool) {
        self.put.lock().unwrap().insert(name.clone(), (bytes.to_vec(), done));
    }

    /// Puts what was held back.
    pub(crate) fn release(&self) -> Result<(), ObjectError> {
        for (name, (bytes, done)) in self.put.lock().unwrap().iter_mut().filter(|(_, (_, done))| !*done) {
            self.dir.put(name, bytes)?;
            *done = true;
        }
        Ok(())
    }
}

/// What a mutant does otherwise.
pub(crate) trait Deviation: Send + Sync {
    fn put(&self, held: &Held, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError>;

    /// True where a listing is to show nothing.
    fn hides(&self, _: &Held, _prefix: &str) -> Result<bool, ObjectError> {
        Ok(false)
    }

    /// The store goes away.
    fn end(&self, _: &Held) {}
}

struct Above<D: Deviation> {
    held: Held,
    deviation: D,
}

/// The directory with a flaw above it.
pub(crate) fn above(dir: LocalDir, deviation: impl Deviation + 'static) -> Arc<dyn ObjectStore> {
    Arc::new(Above { held: Held { dir, put: Mutex::default() }, deviation })
}

impl<D: Deviation> ObjectStore for Above<D> {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.deviation.put(&self.held, name, bytes)
    }

    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        if let Some((bytes, _)) = self.held.put.lock().unwrap().get(name) {
            let at = usize::try_from(at.0).unwrap();
            buf.copy_from_slice(&bytes[at..at + buf.len()]);
            return Ok(());
        }
        self.held.dir.get(name, at, buf)
    }

    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        if let Some((bytes, _)) = self.held.put.lock().unwrap().get(name) {
            return Ok(ByteLen(bytes.len() as u64));
        }
        self.held.dir.len(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        if self.deviation.hides(&self.held, prefix)? {
            return Ok(Vec::new());
        }
        let mut names = self.held.dir.list(prefix)?;
        let below = format!("{prefix}/");
        names.extend(self.held.put.lock().unwrap().keys().filter(|n| n.as_str().starts_with(&below)).cloned());
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.held.put.lock().unwrap().remove(name);
        self.held.dir.delete(name)
    }

    fn free(&self) -> Option<ByteLen> {
        self.held.dir.free()
    }

    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        self.held.dir.lock()
    }

    fn locks_out(&self) -> bool {
        self.held.dir.locks_out()
    }
}

impl<D: Deviation> Drop for Above<D> {
    fn drop(&mut self) {
        self.deviation.end(&self.held);
    }
}
