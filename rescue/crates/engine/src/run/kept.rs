//! What a capture takes over from what was saved before instead of reading it.

use super::saved::Saved;
use model::coverage::Comparison;
use model::id::SnapshotId;
use model::ports::ReadAt;
use model::snapshot::{Compared, MapRoot, SavedVolume};
use model::text::DisplayText;
use model::units::{ByteLen, Extent, ExtentSet};
use std::sync::Arc;
use store::{LeafRef, Store, StoreError};

/// Where no more bytes of a leaf than this are in doubt, they are looked at first: directories, maps and small files that are
/// always in doubt seldom change, and to keep a leaf is to store nothing.
const MOST_LOOKED_AT: ByteLen = ByteLen(512 << 10);

/// And no more than this of a volume that nobody wrote to: the files of its boot loader, and holes in what is known.
const MOST_LOOKED_AT_OF_ALL: ByteLen = ByteLen(64 << 20);

/// The used bytes of a volume, told apart: those to be read, and the leaves of earlier maps that stay as they are.
///
/// A leaf is the smallest part of a map that is shared: where any of its bytes has to be read, all of them are.
pub(crate) struct Kept {
    /// What is read to be saved.
    pub(crate) to_read: ExtentSet,
    /// What was read already, and found to be saved.
    pub(crate) looked_at: ByteLen,
    /// What is taken over, in rising order: the leaf's addresses, and the map it is taken from.
    pub(crate) leaves: Vec<(Extent, MapRoot)>,
    /// The map that all else is compared with when it is read.
    pub(crate) map: Option<MapRoot>,
    /// A snapshot of which the volume's whole map is taken over, in the place of all leaves.
    pub(crate) whole: Option<(SnapshotId, MapRoot)>,
    /// How all this came about.
    pub(crate) compared: Compared,
}

impl Kept {
    /// Everything is read, and compared with a map where there is one.
    pub(crate) fn nothing(used: &ExtentSet, map: Option<MapRoot>, why: DisplayText) -> Self {
        let (taken_over, resumed) = (ByteLen::ZERO, ByteLen::ZERO);
        let compared = Compared { by: Comparison::Content, why, with: None, taken_over, resumed };
        Self { to_read: used.clone(), looked_at: ByteLen::ZERO, leaves: Vec::new(), map, whole: None, compared }
    }

    /// How much is read in all.
    pub(crate) fn read(&self) -> ByteLen {
        ByteLen(self.to_read.total().0 + self.looked_at.0)
    }

    /// Takes the whole map over, where nothing that it relies on was lost since, the bytes in use are as many as it holds, and those that
    /// nothing proves to be the `same` are found to be by reading them. Gives how many bytes need no reading by that. Of a volume that
    /// nobody wrote to, whose maps say what they said then.
    pub(crate) fn take_whole(&mut self, of: SnapshotId, past: &Past<'_>, same: &ExtentSet, now: &dyn ReadAt) -> Option<ByteLen> {
        let all = self.to_read.total();
        let held = past.store.map(past.map).used().ok()?;
        let end = self.to_read.iter().last().map_or(ByteLen::ZERO, |e| ByteLen(e.end().0));
        let gaps = same.gaps(Extent::whole(end));
        let doubted: ExtentSet = gaps.iter().flat_map(|gap| self.to_read.clip(gap).iter().collect::<Vec<_>>()).collect();
        let few = doubted.total() <= MOST_LOOKED_AT_OF_ALL;
        if !few || held != all || !past.store.is_unbroken(of).ok()? || !past.is_same(now, &doubted) {
            return None;
        }
        self.to_read = ExtentSet::new();
        self.looked_at = doubted.total();
        self.whole = Some((of, past.map));
        Some(ByteLen(all.0 - doubted.total().0))
    }

    /// Takes leaves over that are not taken over yet: those in which the same bytes are in use, and all of them are proven to be the
    /// same or, where that is not too much, found to be the same by reading them. What the store does not tell is read. `go_on` is
    /// told of every leaf. Gives how many bytes need no reading by that.
    ///
    /// # Errors
    /// Those of `go_on`.
    pub(crate) fn take<E>(
        &mut self,
        past: &Past<'_>,
        same: &ExtentSet,
        now: &dyn ReadAt,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<ByteLen, E> {
        let all = self.to_read.iter().last().map_or(ByteLen::ZERO, |e| ByteLen(e.end().0));
        let (mut leaves, mut looked_at) = (Vec::new(), 0);
        for leaf in past.store.map(past.map).leaves(Extent::whole(all)).flatten() {
            go_on()?;
            // Of a leaf that was taken over nothing is to be read.
            let here = self.to_read.clip(leaf.extent);
            let doubted: ExtentSet = here.iter().flat_map(|e| same.gaps(e).iter().collect::<Vec<_>>()).collect();
            let few = doubted.total() <= MOST_LOOKED_AT && !here.is_empty();
            if few && past.holds(&leaf).is_ok_and(|h| h == here) && past.is_same(now, &doubted) {
                leaves.push((leaf.extent, past.map));
                looked_at += doubted.total().0;
            }
        }
        let taken: ExtentSet = leaves.iter().map(|(leaf, _)| *leaf).collect();
        let to_read: ExtentSet = self.to_read.iter().flat_map(|e| taken.gaps(e).iter().collect::<Vec<_>>()).collect();
        let unread = self.to_read.total().0.saturating_sub(to_read.total().0 + looked_at);
        self.to_read = to_read;
        self.looked_at.0 += looked_at;
        self.leaves.extend(leaves);
        self.leaves.sort_unstable_by_key(|(leaf, _)| leaf.start());
        Ok(ByteLen(unread))
    }
}

/// A volume as a snapshot has it, or the part of it that was put aside.
pub(crate) struct Past<'a> {
    pub(crate) store: &'a Store,
    pub(crate) map: MapRoot,
    pub(crate) bytes: Arc<Saved>,
}

impl<'a> Past<'a> {
    pub(crate) fn new(store: &'a Store, saved: &SavedVolume) -> Self {
        let bytes = Arc::new(Saved::new(store.clone(), saved.map, saved.extent.len()));
        Self { store, map: saved.map, bytes }
    }

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
