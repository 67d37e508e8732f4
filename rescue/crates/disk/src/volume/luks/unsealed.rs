//! The bytes of an encrypted volume in clear, in the places where they lie encrypted.

use super::cipher::{Key, keyed};
use model::luks::Sealed;
use model::ports::{ReadAt, ReadError, SectorCipher, check_range};
use model::units::{ByteLen, ByteOffset};
use std::sync::Arc;

/// What encrypts and decrypts what `sealed` tells of; `None` where the key does not fit it.
pub fn cipher(sealed: &Sealed, key: &Key) -> Option<Arc<dyn SectorCipher>> {
    keyed(sealed.cipher, sealed.sector, key)
}

/// A volume of which nothing is seen but what lies encrypted on it, and that in clear.
pub struct Unsealed {
    raw: Arc<dyn ReadAt>,
    sealed: Sealed,
    cipher: Arc<dyn SectorCipher>,
}

impl Unsealed {
    /// Over the bytes of the volume as they lie on the disk. `None` where what is told does not hold together on it.
    pub fn new(raw: Arc<dyn ReadAt>, sealed: &Sealed, cipher: Arc<dyn SectorCipher>) -> Option<Self> {
        let fits = sealed.is_sound(raw.size()) && cipher.sector() == ByteLen(u64::from(sealed.sector));
        fits.then(|| Self { raw, sealed: sealed.clone(), cipher })
    }

    /// Reads what of a buffer lies in one run; how much that is.
    fn piece(&self, at: ByteOffset, buf: &mut [u8]) -> Result<usize, ReadError> {
        let outside = || ReadError::OutOfRange { at: at.0, len: buf.len() as u64, size: self.raw.size().0 };
        let (run, into) = self.sealed.run(at).ok_or_else(outside)?;
        let len = ByteLen(run.at.end().0 - at.0).to_usize().unwrap_or(usize::MAX).min(buf.len());
        let sector = u64::from(self.sealed.sector);
        let skip = into % sector;
        let whole = usize::try_from(skip).ok().and_then(|skip| skip.checked_add(len)).ok_or_else(outside)?;
        let whole = whole.next_multiple_of(usize::try_from(sector).map_err(|_| outside())?);
        let (from, first) = (ByteOffset(at.0 - skip), ByteOffset(run.counts.0 + (into - skip)));
        if skip == 0 && whole == len {
            self.raw.read_exact_at(from, &mut buf[..len])?;
            self.cipher.decrypt(first, &mut buf[..len]);
            return Ok(len);
        }
        let mut sectors = vec![0; whole];
        self.raw.read_exact_at(from, &mut sectors)?;
        self.cipher.decrypt(first, &mut sectors);
        let skip = usize::try_from(skip).unwrap_or(0);
        buf[..len].copy_from_slice(&sectors[skip..skip + len]);
        Ok(len)
    }
}

impl ReadAt for Unsealed {
    fn size(&self) -> ByteLen {
        self.raw.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        let (mut at, mut rest) = (at, buf);
        while !rest.is_empty() {
            let done = self.piece(at, rest)?;
            rest = &mut rest[done..];
            at = ByteOffset(at.0 + done as u64);
        }
        Ok(())
    }
}
