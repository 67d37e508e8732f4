//! The packs of a store, numbered in the order in which they were met. A number stays a pack's as long as the index lives.

use crate::layout::{big, small};
use model::id::Digest;
use std::collections::BTreeMap;

/// Packs kept apart before they are merged into the sorted list.
const TAIL: usize = 1024;

/// Whether a pack's bytes are known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trust {
    /// Read back whole after it was put: an index object or this process says so.
    Verified,
    /// Put by this process and not read back yet: it may be saved against, and no index object may name it before it is.
    Put,
    /// By whom and how completely it was written nobody says. Read whole before anything is saved against it.
    Unknown,
    /// Its bytes are not what its name says. Nothing new may count on it.
    Bad,
}

/// The number of a pack, of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PackNo(pub(crate) u32);

/// A pack of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pack {
    pub(crate) id: Digest,
    pub(crate) trust: Trust,
}

/// A pack and where the index has its chunks from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) pack: Pack,
    /// It is there.
    pub(super) present: bool,
    /// Added or forgotten since a listing began: what the listing says of it is old.
    pub(super) touched: bool,
    /// A run that is loaded names it.
    pub(super) named: bool,
    /// Its chunks are among the recent entries.
    pub(super) held: bool,
    /// Its chunks are among the hints.
    pub(super) hinted: bool,
    /// Its footer could not be read.
    pub(super) unreadable: bool,
}

impl Known {
    /// It is there, and nothing here says what it holds.
    #[cfg(test)]
    pub(super) fn is_uncovered(&self) -> bool {
        self.present && !(self.named || self.held || self.hinted || self.unreadable)
    }

    /// A run may name it: it is there and was read back whole.
    pub(super) fn may_be_named(&self) -> bool {
        self.present && self.pack.trust == Trust::Verified
    }
}

/// Every pack ever met, and their numbers by their ids: 43 bytes a pack.
#[derive(Default)]
pub(super) struct Packs {
    packs: Vec<Known>,
    /// Numbers by rising id, but for those in `tail`.
    sorted: Vec<u32>,
    tail: BTreeMap<Digest, u32>,
}

impl Packs {
    pub(super) fn number(&self, id: &Digest) -> Option<PackNo> {
        let sorted = self.sorted.binary_search_by(|no| self.packs[big(*no)].pack.id.cmp(id));
        sorted.ok().map(|at| self.sorted[at]).or_else(|| self.tail.get(id).copied()).map(PackNo)
    }

    /// The number of a pack, which is given one where it has none.
    pub(super) fn meet(&mut self, id: &Digest) -> PackNo {
        if let Some(no) = self.number(id) {
            return no;
        }
        let no = small(self.packs.len());
        let pack = Pack { id: *id, trust: Trust::Unknown };
        self.packs.push(Known {
            pack,
            present: false,
            touched: false,
            named: false,
            held: false,
            hinted: false,
            unreadable: false,
        });
        self.tail.insert(*id, no);
        if self.tail.len() >= TAIL {
            self.sorted.extend(std::mem::take(&mut self.tail).into_values());
            let packs = &self.packs;
            // Two rising parts: a merge for the stable sort.
            self.sorted.sort_by_key(|no| packs[big(*no)].pack.id);
        }
        PackNo(no)
    }

    pub(super) fn get(&self, no: PackNo) -> Option<&Known> {
        self.packs.get(big(no.0))
    }

    pub(super) fn get_mut(&mut self, no: PackNo) -> Option<&mut Known> {
        self.packs.get_mut(big(no.0))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PackNo, &Known)> {
        (0..).map(PackNo).zip(&self.packs)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Known> {
        self.packs.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.packs.len()
    }

    /// Bytes of memory, about.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.packs.capacity() * size_of::<Known>() + self.sorted.capacity() * 4 + self.tail.len() * 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay() {
        let mut packs = Packs::default();
        let id = |n: u32| Digest::of(&n.to_le_bytes());
        for n in 0..5000 {
            assert_eq!(packs.number(&id(n)), None);
            assert_eq!(packs.meet(&id(n)), PackNo(n));
        }
        assert!((0..5000).all(|n| packs.meet(&id(n)) == PackNo(n) && packs.get(PackNo(n)).unwrap().pack.id == id(n)));
        assert_eq!((packs.len(), packs.sorted.len() + packs.tail.len()), (5000, 5000));
        assert!(packs.get(PackNo(5000)).is_none());
    }
}
