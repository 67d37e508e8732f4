//! What a capture takes over from a snapshot before instead of reading it.

use super::saved::Saved;
use model::coverage::{Changes, Comparison};
use model::id::SnapshotId;
use model::ports::ReadAt;
use model::snapshot::{Compared, MapRoot};
use model::text::DisplayText;
use model::units::{ByteLen, Extent, ExtentSet};
use std::sync::Arc;
use store::{LeafRef, Store, StoreError};

/// Where no more bytes of a leaf than this are in doubt, they are looked at first: directories, maps and small files that are
/// always in doubt seldom change, and to keep a leaf is to store nothing.
const MOST_LOOKED_AT: ByteLen = ByteLen(512 << 10);

/// The used bytes of a volume, told apart: those to be read, and the leaves of an earlier map that stay as they are.
///
/// A leaf is the smallest part of a map that is shared: where any of its bytes has to be read, all of them are.
pub(crate) struct Kept {
    /// What is read to be saved.
    pub(crate) to_read: ExtentSet,
    /// What was read already, and found to be saved.
    pub(crate) looked_at: ByteLen,
    /// The addresses of what is taken over, in rising order.
    pub(crate) leaves: Vec<Extent>,
    /// The map that it is taken from, and that all else is compared with when it is read.
    pub(crate) map: Option<MapRoot>,
    /// How all this came about.
    pub(crate) compared: Compared,
}

impl Kept {
    /// Everything is read, and compared with a map where there is one.
    pub(crate) fn nothing(used: &ExtentSet, map: Option<MapRoot>, why: DisplayText) -> Self {
        let compared = Compared { by: Comparison::Content, why, with: None, taken_over: ByteLen::ZERO };
        Self { to_read: used.clone(), looked_at: ByteLen::ZERO, leaves: Vec::new(), map, compared }
    }

    /// How much is read in all.
    pub(crate) fn read(&self) -> ByteLen {
        ByteLen(self.to_read.total().0 + self.looked_at.0)
    }

    /// Takes the leaves over in which the same bytes are in use, and all of them are proven to be the same or, where that is not
    /// too much, found to be the same by reading them. What the store does not tell is read. `go_on` is told of every leaf.
    ///
    /// # Errors
    /// Those of `go_on`.
    pub(crate) fn choose<E>(
        past: &Past<'_>,
        changes: Changes,
        (now, used): (&dyn ReadAt, &ExtentSet),
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Self, E> {
        let Changes { comparison, why, same } = changes;
        if comparison == Comparison::Content {
            return Ok(Self::nothing(used, Some(past.map), why));
        }
        let all = used.iter().last().map_or(ByteLen::ZERO, |e| ByteLen(e.end().0));
        let (mut leaves, mut looked_at) = (Vec::new(), 0);
        for leaf in past.store.map(past.map).leaves(Extent::whole(all)).flatten() {
            go_on()?;
            let here = used.clip(leaf.extent);
            let doubted: ExtentSet = here.iter().flat_map(|e| same.gaps(e).iter().collect::<Vec<_>>()).collect();
            let few = doubted.total() <= MOST_LOOKED_AT && !here.is_empty();
            if few && past.holds(&leaf).is_ok_and(|h| h == here) && past.is_same(now, &doubted) {
                leaves.push(leaf.extent);
                looked_at += doubted.total().0;
            }
        }
        let kept: ExtentSet = leaves.iter().copied().collect();
        let to_read: ExtentSet = used.iter().flat_map(|e| kept.gaps(e).iter().collect::<Vec<_>>()).collect();
        let taken_over = ByteLen(used.total().0.saturating_sub(to_read.total().0 + looked_at));
        let with = (!leaves.is_empty()).then_some(past.id);
        let compared = Compared { by: comparison, why, with, taken_over };
        Ok(Self { to_read, looked_at: ByteLen(looked_at), leaves, map: Some(past.map), compared })
    }
}

/// A volume as a snapshot has it.
pub(crate) struct Past<'a> {
    pub(crate) id: SnapshotId,
    pub(crate) store: &'a Store,
    pub(crate) map: MapRoot,
    pub(crate) bytes: Arc<Saved>,
}

impl Past<'_> {
    /// The bytes that a leaf holds.
    fn holds(&self, leaf: &LeafRef) -> Result<ExtentSet, StoreError> {
        self.store.map(self.map).slices(leaf.extent).map(|slice| slice.map(|s| s.extent)).collect()
    }

    /// True where these bytes are the same there; what cannot be read is not.
    fn is_same(&self, now: &dyn ReadAt, ranges: &ExtentSet) -> bool {
        ranges.iter().all(|e| {
            let len = e.len().to_usize().unwrap_or(usize::MAX);
            let (is, was) = (now.read_vec(e.start(), len), self.bytes.read_vec(e.start(), len));
            matches!((is, was), (Ok(is), Ok(was)) if is == was)
        })
    }
}
