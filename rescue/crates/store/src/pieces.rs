//! Bytes that are handed on without being copied: parts of memory that others have parts of too.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Memory that is let go of when the last of its parts is.
type Shared = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A part of memory that others may have parts of.
#[derive(Clone)]
pub struct Bytes {
    memory: Shared,
    range: Range<usize>,
}

impl Bytes {
    /// These bytes of `memory`; `None` where it does not have them. All of `memory` stays as long as they do.
    pub fn of(memory: Shared, range: Range<usize>) -> Option<Self> {
        memory.as_ref().as_ref().get(range.clone())?;
        Some(Self { memory, range })
    }

    /// A part of them; `None` where it goes beyond.
    pub fn part(&self, part: Range<usize>) -> Option<Self> {
        let range = self.range.start.checked_add(part.start)?..self.range.start.checked_add(part.end)?;
        (range.start <= range.end && range.end <= self.range.end).then(|| Self { memory: self.memory.clone(), range })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.as_ref().as_ref().get(self.range.clone()).unwrap_or(&[])
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { memory: Arc::new(bytes), range }
    }
}

/// Bytes one after the other that lie in several places.
#[derive(Clone, Default)]
pub struct Pieces {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Pieces {
    /// Adds some at the end. What follows in the same memory is one piece with what was before.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        match self.pieces.last_mut() {
            Some(last) if Arc::ptr_eq(&last.memory, &bytes.memory) && last.range.end == bytes.range.start => {
                last.range.end = bytes.range.end;
            }
            _ => self.pieces.push(bytes),
        }
    }

    /// Adds those of others.
    pub(crate) fn extend(&mut self, others: Self) {
        others.pieces.into_iter().for_each(|piece| self.push(piece));
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in their order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &**piece)
    }

    /// Those of a range, as far as they are there.
    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        let mut part = Self::default();
        let mut at = 0;
        for piece in &self.pieces {
            let end = at + piece.len();
            if end > range.start && at < range.end {
                let own = range.start.saturating_sub(at)..range.end.min(end) - at;
                piece.part(own).into_iter().for_each(|own| part.push(own));
            }
            at = end;
        }
        part
    }

    /// Copies those from `at` on into `to`, as far as they are there; gives how many.
    pub(crate) fn copy_to(&self, at: usize, to: &mut [u8]) -> usize {
        let mut done = 0;
        for piece in self.part(at..at.saturating_add(to.len())).iter() {
            if let Some(room) = to.get_mut(done..done + piece.len()) {
                room.copy_from_slice(piece);
                done += piece.len();
            }
        }
        done
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(bytes: Vec<u8>) -> Self {
        let mut pieces = Self::default();
        pieces.push(bytes.into());
        pieces
    }
}

/// Equal where the bytes are, wherever they lie.
impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().flatten().eq(other.iter().flatten())
    }
}

impl Eq for Pieces {}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {} pieces", self.len, self.pieces.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &Pieces) -> Vec<u8> {
        pieces.iter().flatten().copied().collect()
    }

    #[test]
    fn parts_are_parts_of_the_same_memory() {
        let memory: Shared = Arc::new((0..100u8).collect::<Vec<u8>>());
        let bytes = |from: usize, to: usize| Bytes::of(memory.clone(), from..to);
        assert!(bytes(90, 101).is_none() && bytes(90, 100).is_some());
        let mut pieces = Pieces::default();
        for (from, to) in [(10, 20), (20, 30), (30, 30), (50, 60), (40, 45)] {
            pieces.push(bytes(from, to).unwrap());
        }
        assert_eq!((pieces.len(), pieces.iter().count()), (35, 3), "what follows is one piece");
        let wanted: Vec<u8> = (10..30).chain(50..60).chain(40..45).collect();
        assert_eq!(all(&pieces), wanted);
        assert_eq!(pieces, Pieces::from(wanted.clone()));
        assert_ne!(pieces, pieces.part(0..34));
        for (from, to) in [(0, 35), (5, 25), (20, 30), (19, 31), (34, 99), (35, 40), (7, 7)] {
            assert_eq!(all(&pieces.part(from..to)), wanted[from.min(35)..to.min(35)], "{from}..{to}");
            let mut copy = vec![0; to - from];
            let len = pieces.copy_to(from, &mut copy);
            assert_eq!(copy[..len], wanted[from.min(35)..to.min(35)]);
        }
        assert!(bytes(3, 9).unwrap().part(2..7).is_none());
        assert_eq!(bytes(3, 9).unwrap().part(2..6).as_deref(), Some(&[5u8, 6, 7, 8][..]));
    }
}
