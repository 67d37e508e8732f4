//! The lease of what lies encrypted on a volume: it encrypts what it writes, in its place, and nothing else can be written through it.
//!
//! Sectors of the cipher that are written in part are read first. In XTS every 16 bytes are encrypted by themselves, so that a sector of
//! 4096 bytes that is torn by a power cut on a disk of smaller ones is torn no worse than in clear: what was to stay has the same bytes.
//! In CBC sectors have 512 bytes, which a disk writes whole.

use super::mapped_lease::{SharedLease, held};
use model::luks::Sealed;
use model::ports::{SectorCipher, WriteError, WriteLease};
use model::units::{ByteLen, ByteOffset};
use std::sync::Arc;

/// The most that is encrypted at once.
const PIECE: usize = 1 << 20;

/// Addresses are those of the volume beneath.
pub(super) struct SealedLease {
    pub(super) beneath: SharedLease,
    /// Sound on the volume beneath.
    pub(super) sealed: Sealed,
    pub(super) cipher: Arc<dyn SectorCipher>,
}

/// Bytes of one run, with the sectors that hold them.
struct Piece {
    /// Where the sectors begin.
    from: ByteOffset,
    /// What the first of them counts as.
    counts: ByteOffset,
    /// Bytes of them before those that are wanted.
    skip: usize,
    len: usize,
    /// Bytes of the sectors.
    whole: usize,
}

impl SealedLease {
    fn piece(&self, at: ByteOffset, len: usize) -> Result<Piece, WriteError> {
        let outside = || WriteError::OutOfRange { at: at.0, len: len as u64, size: self.size().0 };
        let (run, into) = self.sealed.run(at).ok_or_else(outside)?;
        let sector = u64::from(self.sealed.sector);
        let skip = into % sector;
        let len = ByteLen(run.at.end().0 - at.0).to_usize().unwrap_or(usize::MAX).min(len).min(PIECE);
        let bytes = |n: u64| usize::try_from(n).map_err(|_| outside());
        let whole = bytes(skip)?.checked_add(len).ok_or_else(outside)?.next_multiple_of(bytes(sector)?);
        let counts = ByteOffset(run.counts.0 + (into - skip));
        Ok(Piece { from: ByteOffset(at.0 - skip), counts, skip: bytes(skip)?, len, whole })
    }

    /// All pieces of a range, or none where any lies outside.
    fn pieces(&self, at: ByteOffset, len: usize) -> Result<Vec<Piece>, WriteError> {
        let (mut pieces, mut done) = (Vec::new(), 0);
        while done < len {
            let outside = WriteError::OutOfRange { at: at.0, len: len as u64, size: self.size().0 };
            let from = at.checked_add(ByteLen(done as u64)).ok_or(outside)?;
            let piece = self.piece(from, len - done)?;
            done += piece.len;
            pieces.push(piece);
        }
        Ok(pieces)
    }

    fn sectors(&self, piece: &Piece) -> Result<Vec<u8>, WriteError> {
        let mut bytes = vec![0; piece.whole];
        held(&self.beneath).read_back(piece.from, &mut bytes)?;
        self.cipher.decrypt(piece.counts, &mut bytes);
        Ok(bytes)
    }
}

impl WriteLease for SealedLease {
    fn size(&self) -> ByteLen {
        held(&self.beneath).size()
    }

    fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError> {
        let mut rest = bytes;
        for piece in self.pieces(at, bytes.len())? {
            let (now, later) = rest.split_at(piece.len);
            let mut sectors = if piece.whole == piece.len { now.to_vec() } else { self.sectors(&piece)? };
            sectors[piece.skip..piece.skip + piece.len].copy_from_slice(now);
            self.cipher.encrypt(piece.counts, &mut sectors);
            held(&self.beneath).write_all_at(piece.from, &sectors)?;
            rest = later;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        held(&self.beneath).sync()
    }

    fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        let mut rest = buf;
        let len = rest.len();
        for piece in self.pieces(at, len)? {
            let (now, later) = rest.split_at_mut(piece.len);
            let sectors = self.sectors(&piece)?;
            now.copy_from_slice(&sectors[piece.skip..piece.skip + piece.len]);
            rest = later;
        }
        Ok(())
    }
}
