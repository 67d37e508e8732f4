//! The lease of what lies encrypted on a volume: it encrypts what it writes, in its place, and nothing else can be written through it.
//!
//! Sectors of the cipher that are written in part are read first. In XTS every 16 bytes are encrypted by themselves, so that a sector of
//! 4096 bytes that is torn by a power cut on a disk of smaller ones is torn no worse than in clear: what was to stay has the same bytes.
//! In CBC sectors have 512 bytes, which a disk writes whole.

use super::mapped_lease::{SharedLease, held};
use model::luks::Sealed;
use model::ports::{SectorCipher, WriteError, WriteLease};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::sync::{Arc, Mutex};

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

/// A lease of a disk, of which some bytes are encrypted as they are written, and all others are written as they are.
pub(super) struct PartlySealed {
    plain: SharedLease,
    /// The encrypted places, in rising order, and which of the leases each belongs to.
    places: Vec<(Extent, usize)>,
    sealed: Vec<SealedLease>,
}

impl PartlySealed {
    /// Over the lease of the disk: which bytes, and what encrypts them. They are sound on the disk, and no two meet.
    pub(super) fn over(disk: Box<dyn WriteLease>, parts: Vec<(ExtentSet, Sealed, Arc<dyn SectorCipher>)>) -> Self {
        let plain: SharedLease = Arc::new(Mutex::new(disk));
        let (mut places, mut leases) = (Vec::new(), Vec::new());
        for (n, (bytes, sealed, cipher)) in parts.into_iter().enumerate() {
            places.extend(bytes.iter().map(|e| (e, n)));
            leases.push(SealedLease { beneath: plain.clone(), sealed, cipher });
        }
        places.sort_unstable();
        Self { plain, places, sealed: leases }
    }

    /// The parts of a range, in order: how many bytes, and what encrypts them.
    fn parts(&self, at: ByteOffset, len: usize) -> Vec<(usize, Option<usize>)> {
        let (mut from, end) = (at.0, at.0.saturating_add(len as u64));
        let mut out = Vec::new();
        let mut next = self.places.partition_point(|(e, _)| e.end().0 <= from);
        while from < end {
            let (to, of) = match self.places.get(next) {
                Some((e, of)) if e.start().0 <= from => {
                    next += 1;
                    (e.end().0.min(end), Some(*of))
                }
                Some((e, _)) => (e.start().0.min(end), None),
                None => (end, None),
            };
            out.push((usize::try_from(to - from).unwrap_or(usize::MAX), of));
            from = to;
        }
        out
    }
}

impl WriteLease for PartlySealed {
    fn size(&self) -> ByteLen {
        held(&self.plain).size()
    }

    fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError> {
        let (mut at, mut rest) = (at, bytes);
        for (len, of) in self.parts(at, bytes.len()) {
            let (now, later) = rest.split_at(len.min(rest.len()));
            match of.and_then(|n| self.sealed.get_mut(n)) {
                Some(sealed) => sealed.write_all_at(at, now)?,
                None => held(&self.plain).write_all_at(at, now)?,
            }
            (at, rest) = (ByteOffset(at.0 + len as u64), later);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        held(&self.plain).sync()
    }

    fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        let (mut at, mut rest) = (at, buf);
        for (len, of) in self.parts(at, rest.len()) {
            let (now, later) = rest.split_at_mut(len.min(rest.len()));
            match of.and_then(|n| self.sealed.get_mut(n)) {
                Some(sealed) => sealed.read_back(at, now)?,
                None => held(&self.plain).read_back(at, now)?,
            }
            (at, rest) = (ByteOffset(at.0 + len as u64), later);
        }
        Ok(())
    }
}
