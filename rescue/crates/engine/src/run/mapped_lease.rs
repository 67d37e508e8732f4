//! The lease of a volume that lies on others: it writes through the volume's map, to the leases of those.

use model::mapping::{Mapping, Piece};
use model::ports::{WriteError, WriteLease};
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A lease that several volumes write through.
pub(super) type SharedLease = Arc<Mutex<Box<dyn WriteLease>>>;

/// The right to write a mapped volume. Its map is sound.
pub(super) struct MappedLease {
    pub(super) mapping: Mapping,
    pub(super) size: ByteLen,
    /// In the order of [`Mapping::beneath`].
    pub(super) beneath: Vec<SharedLease>,
}

fn held(lease: &SharedLease) -> MutexGuard<'_, Box<dyn WriteLease>> {
    lease.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MappedLease {
    /// The pieces of a range, with the part of a buffer that each is; all of them, or the range lies outside.
    fn pieces(&self, at: ByteOffset, len: usize) -> Result<Vec<(Piece, std::ops::Range<usize>)>, WriteError> {
        let outside = || WriteError::OutOfRange { at: at.0, len: len as u64, size: self.size.0 };
        let range = Extent::new(at, ByteLen(len as u64)).filter(|r| Extent::whole(self.size).contains(*r));
        let range = range.ok_or_else(outside)?;
        let mut done = 0;
        let mut pieces = Vec::new();
        for piece in self.mapping.pieces(range) {
            let end = piece.within.len().to_usize().and_then(|n| n.checked_add(done)).ok_or_else(outside)?;
            pieces.push((piece, done..end));
            done = end;
        }
        if done == len { Ok(pieces) } else { Err(outside()) }
    }

    fn on(&self, piece: &Piece, at: ByteOffset) -> Result<&SharedLease, WriteError> {
        let outside = WriteError::OutOfRange { at: at.0, len: piece.within.len().0, size: self.size.0 };
        self.beneath.get(piece.on).ok_or(outside)
    }
}

impl WriteLease for MappedLease {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError> {
        for (piece, part) in self.pieces(at, bytes.len())? {
            held(self.on(&piece, at)?).write_all_at(piece.at, &bytes[part])?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        self.beneath.iter().try_for_each(|lease| held(lease).sync())
    }

    fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        for (piece, part) in self.pieces(at, buf.len())? {
            held(self.on(&piece, at)?).read_back(piece.at, &mut buf[part])?;
        }
        Ok(())
    }
}
