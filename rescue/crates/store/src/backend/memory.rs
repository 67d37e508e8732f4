//! Objects in memory: for tests, and for a look without a save disk.

use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A store in memory, optionally with a limited capacity.
#[derive(Debug, Default)]
pub struct Memory {
    objects: Mutex<BTreeMap<ObjectName, Arc<Vec<u8>>>>,
    capacity: Option<u64>,
    locked: Arc<AtomicBool>,
}

impl Memory {
    /// Nothing yet, and as much room as the machine has.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for `capacity` bytes of objects.
    pub fn with_capacity(capacity: ByteLen) -> Self {
        Self { capacity: Some(capacity.0), ..Self::default() }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Arc<Vec<u8>>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &ObjectName) -> Result<Arc<Vec<u8>>, ObjectError> {
        self.objects().get(name).cloned().ok_or_else(|| ObjectError::Missing(name.clone()))
    }
}

fn total(objects: &BTreeMap<ObjectName, Arc<Vec<u8>>>) -> u64 {
    objects.values().map(|o| o.len() as u64).sum()
}

impl ObjectStore for Memory {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        let mut objects = self.objects();
        match objects.get(name) {
            Some(there) if there.as_slice() == bytes => return Ok(()),
            Some(_) => return Err(ObjectError::Exists(name.clone())),
            None => {}
        }
        if self.capacity.is_some_and(|most| total(&objects) + bytes.len() as u64 > most) {
            return Err(ObjectError::Full(io::Error::from(io::ErrorKind::StorageFull)));
        }
        objects.insert(name.clone(), Arc::new(bytes.to_vec()));
        Ok(())
    }

    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        let object = self.find(name)?;
        let part = usize::try_from(at.0).ok().and_then(|at| object.get(at..at.checked_add(buf.len())?));
        match part {
            Some(part) => buf.copy_from_slice(part),
            None => return Err(ObjectError::OutOfRange { name: name.clone(), at: at.0, len: buf.len() as u64 }),
        }
        Ok(())
    }

    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        self.find(name).map(|o| ByteLen(o.len() as u64))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        let below = |n: &ObjectName| {
            prefix.is_empty() || n.as_str().strip_prefix(prefix).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        Ok(self.objects().keys().filter(|n| below(n)).cloned().collect())
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.objects().remove(name);
        Ok(())
    }

    fn free(&self) -> Option<ByteLen> {
        self.capacity.map(|most| ByteLen(most.saturating_sub(total(&self.objects()))))
    }

    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        if self.locked.swap(true, Ordering::AcqRel) {
            return Err(ObjectError::InUse("another snapshot is being taken into it".to_owned()));
        }
        Ok(Box::new(Held(self.locked.clone())))
    }

    fn locks_out(&self) -> bool {
        true
    }
}

struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
