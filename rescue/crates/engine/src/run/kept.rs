//! What a capture takes over from a snapshot before instead of reading it.

use model::coverage::{Changes, Comparison};
use model::id::SnapshotId;
use model::snapshot::{Compared, MapRoot};
use model::text::DisplayText;
use model::units::{ByteLen, Extent, ExtentSet};
use store::{LeafRef, Store, StoreError};

/// The used bytes of a volume, told apart: those to be read, and the leaves of an earlier map that stay as they are.
///
/// A leaf is the smallest part of a map that is shared: where any of its bytes has to be read, all of them are.
pub(crate) struct Kept {
    /// What is read.
    pub(crate) to_read: ExtentSet,
    /// The addresses of what is taken over, in rising order.
    pub(crate) leaves: Vec<Extent>,
    /// The map it is taken from.
    pub(crate) map: Option<MapRoot>,
    /// How all this came about.
    pub(crate) compared: Compared,
}

impl Kept {
    /// Everything is read.
    pub(crate) fn nothing(used: &ExtentSet, why: DisplayText) -> Self {
        let compared = Compared { by: Comparison::Content, why, with: None, taken_over: ByteLen::ZERO };
        Self { to_read: used.clone(), leaves: Vec::new(), map: None, compared }
    }

    /// Takes the leaves over in which everything in use is proven to be the same, and the same bytes are in use. What the
    /// store does not tell is read.
    pub(crate) fn choose(store: &Store, (id, map): (SnapshotId, MapRoot), changes: Changes, used: &ExtentSet) -> Self {
        let Changes { comparison, why, same } = changes;
        let unchanged = |leaf: &LeafRef| {
            let here = used.clip(leaf.extent);
            !here.is_empty() && here.iter().all(|e| same.covers(e)) && holds(store, map, leaf).is_ok_and(|h| h == here)
        };
        let all = used.iter().last().map_or(ByteLen::ZERO, |e| ByteLen(e.end().0));
        let leaves: Vec<Extent> = match comparison {
            Comparison::Content => Vec::new(),
            _ => store.map(map).leaves(Extent::whole(all)).flatten().filter(unchanged).map(|l| l.extent).collect(),
        };
        let kept: ExtentSet = leaves.iter().copied().collect();
        let to_read: ExtentSet = used.iter().flat_map(|e| kept.gaps(e).iter().collect::<Vec<_>>()).collect();
        let taken_over = ByteLen(used.total().0.saturating_sub(to_read.total().0));
        let with = (!leaves.is_empty()).then_some(id);
        Self { to_read, leaves, map: Some(map), compared: Compared { by: comparison, why, with, taken_over } }
    }
}

/// The bytes that a leaf holds.
fn holds(store: &Store, map: MapRoot, leaf: &LeafRef) -> Result<ExtentSet, StoreError> {
    store.map(map).slices(leaf.extent).map(|slice| slice.map(|s| s.extent)).collect()
}
