//! The lease of a volume that lies on others: it writes through the volume's map, to the leases of those.
//!
//! What is mirrored is written in all places, and counts as written only where all of them read back the same. Whoever looks reads the first: a
//! fence is durable there before it is written anywhere else, and goes from there last, so that it is seen as long as any copy has it.

use disk::fence::{self, FENCE_LEN};
use model::mapping::{Mapping, Piece};
use model::ports::{WriteError, WriteLease};
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A lease that several volumes write through.
pub(super) type SharedLease = Arc<Mutex<Box<dyn WriteLease>>>;

/// Bytes beneath, and the part of a buffer that they are.
type Part = (Piece, std::ops::Range<usize>);

/// The right to write a mapped volume. Its map is sound.
pub(super) struct MappedLease {
    pub(super) mapping: Mapping,
    pub(super) size: ByteLen,
    /// In the order of [`Mapping::beneath`].
    pub(super) beneath: Vec<SharedLease>,
}

pub(super) fn held(lease: &SharedLease) -> MutexGuard<'_, Box<dyn WriteLease>> {
    lease.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MappedLease {
    fn range(&self, at: ByteOffset, len: usize) -> Result<Extent, WriteError> {
        let range = Extent::new(at, ByteLen(len as u64)).filter(|r| Extent::whole(self.size).contains(*r));
        range.ok_or(WriteError::OutOfRange { at: at.0, len: len as u64, size: self.size.0 })
    }

    /// The pieces of a range, with the part of a buffer that each is; all of them, or the range lies outside.
    fn pieces(&self, at: ByteOffset, len: usize) -> Result<Vec<Part>, WriteError> {
        let outside = || WriteError::OutOfRange { at: at.0, len: len as u64, size: self.size.0 };
        let range = self.range(at, len)?;
        let mut done = 0;
        let mut pieces = Vec::new();
        for piece in self.mapping.pieces(range) {
            let end = piece.within.len().to_usize().and_then(|n| n.checked_add(done)).ok_or_else(outside)?;
            pieces.push((piece, done..end));
            done = end;
        }
        if done == len { Ok(pieces) } else { Err(outside()) }
    }

    /// The pieces of its mirrors, likewise.
    fn copies(&self, at: ByteOffset, len: usize) -> Result<Vec<Part>, WriteError> {
        let outside = || WriteError::OutOfRange { at: at.0, len: len as u64, size: self.size.0 };
        let part = |piece: Piece| {
            let from = ByteLen(piece.within.start().0.checked_sub(at.0)?).to_usize()?;
            let end = piece.within.len().to_usize().and_then(|n| n.checked_add(from)).filter(|end| *end <= len)?;
            Some((piece, from..end))
        };
        let copies = self.mapping.copies_of(self.range(at, len)?);
        copies.into_iter().map(part).collect::<Option<_>>().ok_or_else(outside)
    }

    fn write(&self, parts: Vec<Part>, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError> {
        for (piece, part) in parts {
            held(self.on(&piece, at)?).write_all_at(piece.at, &bytes[part])?;
        }
        Ok(())
    }

    fn sync_all(&self) -> Result<(), WriteError> {
        self.beneath.iter().try_for_each(|lease| held(lease).sync())
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
        let (first, copies) = (self.pieces(at, bytes.len())?, self.copies(at, bytes.len())?);
        if copies.is_empty() || at.0 >= FENCE_LEN.0 {
            self.write(first, at, bytes)?;
            return self.write(copies, at, bytes);
        }
        let fence = at.0 == 0 && fence::decode(bytes).is_some();
        let (sooner, later) = if fence { (first, copies) } else { (copies, first) };
        self.write(sooner, at, bytes)?;
        self.sync_all()?;
        self.write(later, at, bytes)
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        self.sync_all()
    }

    fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        self.read_first(at, buf)?;
        let mut copy = Vec::new();
        for (piece, part) in self.copies(at, buf.len())? {
            copy.resize(part.len(), 0);
            held(self.on(&piece, at)?).read_back(piece.at, &mut copy)?;
            if copy != buf[part] {
                return Err(WriteError::Differ { at: at.0, len: buf.len() as u64 });
            }
        }
        Ok(())
    }

    fn read_first(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        for (piece, part) in self.pieces(at, buf.len())? {
            held(self.on(&piece, at)?).read_back(piece.at, &mut buf[part])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{DiskNo, VolumePath};
    use model::mapping::{Beneath, Leg, Mapped, Segment};
    use model::ports::ReadAt;
    use proptest::prelude::*;

    /// What stands in a volume beneath, seen by the test too.
    #[derive(Clone)]
    struct Bytes(Arc<Mutex<Vec<u8>>>);

    impl WriteLease for Bytes {
        fn size(&self) -> ByteLen {
            ByteLen(self.0.lock().unwrap().len() as u64)
        }
        fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError> {
            let at = usize::try_from(at.0).unwrap();
            self.0.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
        fn sync(&mut self) -> Result<(), WriteError> {
            Ok(())
        }
        fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
            let at = usize::try_from(at.0).unwrap();
            buf.copy_from_slice(&self.0.lock().unwrap()[at..at + buf.len()]);
            Ok(())
        }
    }

    const LEN: u64 = 28 << 10;

    fn mapping() -> Mapping {
        let part = |n| {
            let extent = Extent::new(ByteOffset(1 << 20), ByteLen(32 << 10)).unwrap();
            Beneath::plain(VolumePath::partition(DiskNo(n), 1), extent)
        };
        // Of each stripe the next volume has a copy.
        let leg =
            |n| Leg { mirrors: vec![((n + 1) % 3, ByteOffset(20 << 10))], ..Leg::new(n, ByteOffset(512 * n as u64)) };
        let legs = (0..3).map(leg).collect();
        let striped = Segment { len: ByteLen(24 << 10), stripe: ByteLen(1024), skip: ByteLen::ZERO, legs };
        let segments = vec![striped, Segment::linear(ByteLen(4096), 1, ByteOffset(14 << 10))];
        let beneath = (0..3).map(part).collect();
        Mapping { says: "a test".into(), id: "1".into(), beneath, segments, read_only: None }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// What is written through the map is what is read through it, here and by whoever looks; and nothing else changes.
        #[test]
        fn what_is_written_is_what_is_read(writes in prop::collection::vec((0..LEN, 1usize..9000, any::<u8>()), 1..6)) {
            let mapping = mapping();
            let parts: Vec<Bytes> = (0..3).map(|_| Bytes(Arc::new(Mutex::new(vec![0xee; 32 << 10])))).collect();
            let shared = |b: &Bytes| -> SharedLease { Arc::new(Mutex::new(Box::new(b.clone()))) };
            let beneath = parts.iter().map(shared).collect();
            let mut lease = MappedLease { mapping: mapping.clone(), size: ByteLen(LEN), beneath };
            let mut wanted = vec![0xee; usize::try_from(LEN).unwrap()];
            for (at, len, byte) in writes {
                let from = usize::try_from(at).unwrap();
                let bytes: Vec<u8> = (0..len).map(|i| byte.wrapping_add(u8::try_from(i / 512 % 256).unwrap())).collect();
                if from + len > wanted.len() {
                    prop_assert!(lease.write_all_at(ByteOffset(at), &bytes).is_err(), "past the end");
                    continue;
                }
                lease.write_all_at(ByteOffset(at), &bytes).unwrap();
                wanted[from..from + len].copy_from_slice(&bytes);
            }
            let mut back = vec![0; wanted.len()];
            lease.read_back(ByteOffset(0), &mut back).unwrap();
            prop_assert!(back == wanted);
            let bytes: Vec<Arc<dyn ReadAt>> =
                parts.iter().map(|p| Arc::new(p.0.lock().unwrap().clone()) as Arc<dyn ReadAt>).collect();
            let seen = Mapped::new(&mapping, bytes).unwrap().read_vec(ByteOffset(0), wanted.len()).unwrap();
            prop_assert!(seen == wanted);
            // The copies too; and one that is not the same is told.
            let whole = Extent::whole(ByteLen(LEN));
            let copies = mapping.copies_of(whole);
            prop_assert_eq!(&copies, &mapping.copies());
            let range = |at: u64, len: ByteLen| usize::try_from(at).unwrap()..usize::try_from(at + len.0).unwrap();
            for c in &copies {
                let bytes = parts[c.on].0.lock().unwrap();
                prop_assert!(bytes[range(c.at.0, c.within.len())] == wanted[range(c.within.start().0, c.within.len())]);
            }
            parts[copies[3].on].0.lock().unwrap()[usize::try_from(copies[3].at.0).unwrap()] ^= 1;
            let told = lease.read_back(ByteOffset(0), &mut back);
            let differs = matches!(told, Err(WriteError::Differ { at: 0, len: LEN }));
            prop_assert!(differs);
            lease.read_first(ByteOffset(0), &mut back).unwrap();
            prop_assert!(back == wanted);
            for (part, held) in parts.iter().zip(mapping.held().unwrap()) {
                let bytes = part.0.lock().unwrap();
                let all = Extent::whole(ByteLen(bytes.len() as u64));
                let free = held.gaps(all);
                let untouched = |e: Extent| {
                    bytes[usize::try_from(e.start().0).unwrap()..usize::try_from(e.end().0).unwrap()].iter().all(|b| *b == 0xee)
                };
                prop_assert!(free.iter().all(untouched));
            }
        }
    }
}
