//! An image with bytes changed, for tests of hostile input.

use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An image in memory with some bytes changed, which counts what is read of it.
pub(crate) struct Changed {
    base: Arc<Vec<u8>>,
    pub(crate) changes: Vec<(usize, u8)>,
    read: AtomicU64,
}

impl Changed {
    /// The image with these bytes in these places.
    pub(crate) fn new(base: &Arc<Vec<u8>>, changes: Vec<(usize, u8)>) -> Self {
        Self { base: base.clone(), changes, read: AtomicU64::new(0) }
    }

    /// Bytes read of it so far.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl ReadAt for Changed {
    fn size(&self) -> ByteLen {
        ByteLen(self.base.len() as u64)
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        let start = usize::try_from(at.0).unwrap();
        buf.copy_from_slice(&self.base[start..start + buf.len()]);
        for (place, byte) in &self.changes {
            if let Some(b) = place.checked_sub(start).and_then(|i| buf.get_mut(i)) {
                *b = *byte;
            }
        }
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
