//! What is known of a volume's bytes without its chunks: the content digest of every leaf of an earlier map.

use super::reader::Piece;
use model::id::Digest;
use model::snapshot::MapRoot;
use model::units::Extent;
use store::{LEAF, LeafHasher, Store};

/// The leaves of an earlier map. A leaf of which the disk holds the same bytes is taken over by its name: they are hashed once, fast, and
/// neither cut nor looked up.
#[derive(Default)]
pub(crate) struct Known {
    /// By their numbers, rising.
    leaves: Vec<(u64, Digest)>,
}

impl Known {
    /// Nothing.
    pub(crate) const NOTHING: &Self = &Self { leaves: Vec::new() };

    /// What a map says. Leaves that cannot be read are not known.
    pub(crate) fn of(store: &Store, map: MapRoot, all: Extent) -> Self {
        let leaves = store.map(map).leaves(all).flatten().map(|leaf| (leaf.extent.start().0 / LEAF, leaf.content));
        Self { leaves: leaves.collect() }
    }

    /// Whether there is something to compare a leaf with.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.content(number).is_some()
    }

    fn content(&self, number: u64) -> Option<Digest> {
        let at = self.leaves.binary_search_by_key(&number, |l| l.0).ok()?;
        self.leaves.get(at).map(|l| l.1)
    }

    /// The leaf that `pieces` are all used bytes of, where they are what is known of it.
    pub(crate) fn is(&self, number: u64, pieces: &[Piece]) -> Option<Extent> {
        let known = self.content(number)?;
        let first = number.checked_mul(LEAF)?;
        let mut hasher = LeafHasher::default();
        for piece in pieces {
            let Piece::Bytes(at, bytes) = piece else { return None };
            let start = at.0.checked_sub(first).and_then(|n| u32::try_from(n).ok())?;
            hasher.add(start, bytes).ok()?;
        }
        let leaf = Extent::between(first, first.checked_add(LEAF)?)?;
        (hasher.finish() == known).then_some(leaf)
    }
}
