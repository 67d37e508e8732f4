//! Whether a disk is blank: zeros wherever it is looked at.
//!
//! Not all of it is read, which takes hours: its first 64 and last 4 MiB, and 1024 places between. What a table or a signature tells of
//! is seen by looking at the disk; this is for the rest: an encrypted volume without a header, a disk whose table was wiped and whose
//! partitions were not. One that holds little, far from its beginning, can be missed.

use model::ports::{ReadAt, ReadError};
use model::units::ByteOffset;

/// What is read at the beginning and at the end.
const HEAD: u64 = 64 << 20;
const TAIL: u64 = 4 << 20;
/// Places between, and what is read at each.
const PLACES: u64 = 1024;
const PLACE: u64 = 64 << 10;
/// What is read at a time.
const STEP: u64 = 1 << 20;

/// The first byte that is not zero, of those that are looked at.
///
/// # Errors
/// [`ReadError`] where one of them cannot be read.
pub(crate) fn not_zero(disk: &dyn ReadAt) -> Result<Option<ByteOffset>, ReadError> {
    let size = disk.size().0;
    for (from, to) in looked_at(size) {
        let mut at = from;
        while at < to {
            let len = STEP.min(to - at);
            let bytes = disk.read_vec(ByteOffset(at), usize::try_from(len).unwrap_or(0))?;
            if let Some(found) = bytes.iter().position(|b| *b != 0) {
                return Ok(Some(ByteOffset(at + found as u64)));
            }
            at += len;
        }
    }
    Ok(None)
}

/// The places, in rising order but for the last end, which is looked at early.
fn looked_at(size: u64) -> Vec<(u64, u64)> {
    let head = HEAD.min(size);
    let tail = size.saturating_sub(TAIL).max(head);
    let mut out = vec![(0, head), (tail, size)];
    let between = tail - head;
    if between <= PLACES * PLACE {
        out.push((head, tail));
        return out;
    }
    out.extend((0..PLACES).map(|i| {
        let at = head + between / PLACES * i / PLACE * PLACE;
        (at, (at + PLACE).min(tail))
    }));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ports::check_range;
    use model::units::ByteLen;

    /// Zeros but for one byte.
    struct One(u64, u64);

    impl ReadAt for One {
        fn size(&self) -> ByteLen {
            ByteLen(self.0)
        }
        fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
            check_range(at, buf.len(), self.size())?;
            buf.fill(0);
            if let Some(byte) = self.1.checked_sub(at.0).and_then(|i| buf.get_mut(usize::try_from(i).ok()?)) {
                *byte = 7;
            }
            Ok(())
        }
    }

    #[test]
    fn the_ends_and_places_between_are_looked_at() {
        for size in [1, 512, 4096, 5 << 20, 9 << 20, 90 << 20] {
            for at in [0, size / 2, size - 1] {
                assert_eq!(not_zero(&One(size, at)).unwrap(), Some(ByteOffset(at)), "{at} of {size}");
            }
            assert_eq!(not_zero(&One(size, size)).unwrap(), None);
        }
        let large = 8 << 40;
        for at in [0, HEAD - 1, HEAD, large - 1, large - TAIL] {
            assert_eq!(not_zero(&One(large, at)).unwrap(), Some(ByteOffset(at)));
        }
        let seen: u64 = looked_at(large).iter().map(|(from, to)| to - from).sum();
        assert!(seen < 140 << 20, "{seen}");
        assert!(looked_at(large).iter().all(|(from, to)| from < to && *to <= large));
    }
}
