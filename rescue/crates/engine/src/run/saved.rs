//! A saved volume, read by position.

use model::ports::{ReadAt, ReadError, check_range};
use model::snapshot::MapRoot;
use model::units::{ByteLen, ByteOffset, Extent};
use std::io;
use store::{Store, StoreError};

/// The bytes of a volume as a snapshot has them. What it does not hold reads as zeros.
pub(crate) struct Saved {
    store: Store,
    map: MapRoot,
    size: ByteLen,
}

impl Saved {
    pub(crate) fn new(store: Store, map: MapRoot, size: ByteLen) -> Self {
        Self { store, map, size }
    }

    fn fill(&self, wanted: Extent, buf: &mut [u8]) -> Result<(), StoreError> {
        buf.fill(0);
        for slice in self.store.map(self.map).slices(wanted) {
            let slice = slice?;
            let bytes = self.store.read(&slice)?;
            let at = usize::try_from(slice.extent.start().0 - wanted.start().0).unwrap_or(usize::MAX);
            // A slice is within what was asked for.
            if let Some(place) = at.checked_add(bytes.len()).and_then(|end| buf.get_mut(at..end)) {
                place.copy_from_slice(&bytes);
            }
        }
        Ok(())
    }
}

impl ReadAt for Saved {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size)?;
        let len = buf.len() as u64;
        let failed = |why: String| ReadError::Io { at: at.0, len, source: io::Error::other(why) };
        let wanted = Extent::new(at, ByteLen(len)).ok_or_else(|| failed("past all that can be saved".to_owned()))?;
        self.fill(wanted, buf).map_err(|e| failed(e.to_string()))
    }
}
