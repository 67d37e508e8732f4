//! Bytes of a store, or of an encrypted volume, as the parser role sees them: the engine reads and proves or decrypts them, and hands them
//! over piece by piece.

use super::role::{next, send};
use super::wire::{Answer, MOST_PIECE, Of, Place, Request};
use disk::io::ReadAhead;
use model::id::DiskNo;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

/// What is asked for at once where little is wanted, and how much of that is kept: asking costs more than reading.
const WINDOW: usize = 64 << 10;
const WINDOWS: usize = 256;

/// A saved volume, a disk without a descriptor, or what lies encrypted: bytes that are asked for while a question is answered.
pub(super) struct Handed {
    asking: Arc<Mutex<UnixStream>>,
    of: Of,
    size: ByteLen,
}

impl Handed {
    /// Bytes that are asked for on this socket, `size` of them in all.
    pub(super) fn new(asking: Arc<Mutex<UnixStream>>, size: ByteLen) -> Self {
        Self { asking, of: Of::Volume(0), size }
    }

    /// The second of two.
    pub(super) fn second(self) -> Self {
        Self { of: Of::Volume(1), ..self }
    }

    /// The bytes of a disk.
    pub(super) fn of_disk(asking: Arc<Mutex<UnixStream>>, size: ByteLen, disk: DiskNo) -> Self {
        Self { asking, of: Of::Disk(disk), size }
    }

    /// What lies encrypted on a volume of that size.
    pub(super) fn of_sealed(asking: Arc<Mutex<UnixStream>>, size: ByteLen, place: Place) -> Self {
        Self { asking, of: Of::Sealed(place), size }
    }

    /// The same, asked for in larger pieces.
    pub(super) fn ahead(self) -> Arc<dyn ReadAt> {
        Arc::new(ReadAhead::new(Arc::new(self), WINDOW, WINDOWS))
    }

    fn piece(&self, at: ByteOffset, buf: &mut [u8]) -> io::Result<()> {
        let mut line = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let len = u32::try_from(buf.len()).map_err(io::Error::other)?;
        send(&mut line, &Answer::Wanted { of: self.of.clone(), at, len }, &[])?;
        match next(&mut line)? {
            Some((Request::Bytes, bytes)) if bytes.len() == buf.len() => {
                buf.copy_from_slice(&bytes);
                Ok(())
            }
            _ => Err(io::Error::other("it is not given back")),
        }
    }
}

impl ReadAt for Handed {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size)?;
        let mut at = at.0;
        for part in buf.chunks_mut(MOST_PIECE) {
            let len = part.len() as u64;
            self.piece(ByteOffset(at), part).map_err(|source| ReadError::Io { at, len, source })?;
            at += len;
        }
        Ok(())
    }
}
