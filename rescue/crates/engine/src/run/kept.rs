//! What a capture takes over from what was saved before instead of reading it.

use super::saved::Saved;
use disk::fence::FENCE_LEN;
use model::coverage::{Changes, Comparison};
use model::id::SnapshotId;
use model::ports::ReadAt;
use model::snapshot::{Compared, MapRoot, SavedVolume};
use model::text::DisplayText;
use model::units::{ByteLen, Extent, ExtentSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{CELL, Cell, LeafRef, Store, StoreError};

const CELL_LEN: u64 = CELL as u64;

/// So much of a volume that nobody wrote to is looked at, at most: the files of its boot loader.
const MOST_LOOKED_AT: ByteLen = ByteLen(64 << 20);

/// The used bytes of a volume, told apart: those to be read, and the parts of earlier maps that stay as they are.
///
/// Of a cell nothing less than all can be hashed: where any of its bytes has to be read, all of them are.
pub(crate) struct Kept {
    /// What is read to be saved.
    pub(crate) to_read: ExtentSet,
    /// What was read already, and found to be saved.
    pub(crate) looked_at: ByteLen,
    /// What is taken over, in rising order: the addresses of whole leaves or cells, and the map they are taken from.
    pub(crate) parts: Vec<(Extent, MapRoot)>,
    /// The map that all else is compared with when it is read.
    pub(crate) map: Option<MapRoot>,
    /// Bytes that are proven to be as that map has them.
    pub(crate) same: ExtentSet,
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
        let (parts, same) = (Vec::new(), ExtentSet::new());
        Self { to_read: used.clone(), looked_at: ByteLen::ZERO, parts, map, same, whole: None, compared }
    }

    /// How much is read in all.
    pub(crate) fn read(&self) -> ByteLen {
        ByteLen(self.to_read.total().0 + self.looked_at.0)
    }

    /// What is the same as in the past, by the records of the file system; and how much of it was read to see that. Where nobody wrote to the
    /// volume, what may have been written without a trace is looked at here: where that is as it was, all is.
    pub(crate) fn proven(&mut self, past: &Past<'_>, changes: Changes, now: &dyn ReadAt) -> (ExtentSet, ByteLen) {
        let all = self.to_read.iter().last().and_then(|e| Extent::between(0, e.end().0));
        let Some(all) = all.filter(|_| changes.comparison == Comparison::Untouched) else {
            return (changes.same, ByteLen::ZERO);
        };
        let gaps = changes.same.gaps(all);
        let doubted: ExtentSet =
            gaps.iter().flat_map(|gap| self.to_read.clip(gap).iter().collect::<Vec<_>>()).collect();
        if doubted.total() > MOST_LOOKED_AT || !past.is_same(now, &doubted) {
            return (changes.same, ByteLen::ZERO);
        }
        self.looked_at.0 += doubted.total().0;
        ([all].into_iter().collect(), doubted.total())
    }

    /// Takes the whole map over where all of the volume is the same, as much is in use as the map holds, and nothing that it relies on was
    /// lost since. Gives how many bytes it holds then.
    pub(crate) fn take_whole(&mut self, of: SnapshotId, past: &Past<'_>, same: &ExtentSet) -> Option<ByteLen> {
        let all = self.to_read.total();
        let fits = self.parts.is_empty()
            && self.to_read.iter().all(|e| same.gaps(e).is_empty())
            && past.store.map(past.map).used().is_ok_and(|held| held == all)
            && past.store.is_unbroken(of).unwrap_or(false);
        if !fits {
            return None;
        }
        self.whole = Some((of, past.map));
        self.to_read = ExtentSet::new();
        Some(all)
    }

    /// Takes over what is not taken over yet: leaves and cells in which the same bytes are in use, and all of them are proven to be the
    /// same. What the store does not tell is read. `go_on` is told of every leaf. Gives how many bytes need no reading by that.
    ///
    /// # Errors
    /// Those of `go_on`.
    pub(crate) fn take<E>(
        &mut self,
        past: &Past<'_>,
        same: &ExtentSet,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<ByteLen, E> {
        let all = self.to_read.iter().last().map_or(ByteLen::ZERO, |e| ByteLen(e.end().0));
        let mut parts = Vec::new();
        for leaf in past.store.map(past.map).leaves(Extent::whole(all)).flatten() {
            go_on()?;
            // Of what was taken over nothing is to be read.
            let here = self.to_read.clip(leaf.extent);
            if let Ok(there) = past.store.cells(&leaf) {
                parts.extend(unchanged(&leaf, &here, same, &there));
            }
        }
        let taken: ExtentSet = parts.iter().copied().collect();
        let to_read: ExtentSet = self.to_read.iter().flat_map(|e| taken.gaps(e).iter().collect::<Vec<_>>()).collect();
        let unread = self.to_read.total().0.saturating_sub(to_read.total().0);
        self.to_read = to_read;
        self.parts.extend(parts.into_iter().map(|part| (part, past.map)));
        self.parts.sort_unstable_by_key(|(part, _)| part.start());
        Ok(ByteLen(unread))
    }
}

/// The addresses of a leaf, or of cells of it that follow each other, where the used bytes `here` are those that are `there`, and are
/// proven to be the `same`.
fn unchanged(leaf: &LeafRef, here: &ExtentSet, same: &ExtentSet, there: &[Cell]) -> Vec<Extent> {
    let first = leaf.extent.start().0;
    let cells: BTreeMap<u8, Vec<(u32, u32)>> = runs(first, here);
    let proven = |index: u8| {
        let start = first + u64::from(index) * CELL_LEN;
        let cell = Extent::between(start, start + CELL_LEN);
        cell.is_some_and(|cell| here.clip(cell).iter().all(|e| same.gaps(e).is_empty()))
    };
    let kept = there.iter().filter(|cell| cells.get(&cell.index) == Some(&cell.runs) && proven(cell.index));
    let kept: Vec<u64> = kept.map(|cell| u64::from(cell.index)).collect();
    if kept.is_empty() {
        return Vec::new();
    }
    if (kept.len(), kept.len()) == (there.len(), cells.len()) {
        return vec![leaf.extent];
    }
    let rows = kept.chunk_by(|a, b| a + 1 == *b).filter_map(|row| Some((*row.first()?, *row.last()?)));
    rows.filter_map(|(from, to)| Extent::between(first + from * CELL_LEN, first + (to + 1) * CELL_LEN)).collect()
}

/// Used bytes of the leaf that begins at `first`, cell by cell: where they begin in it, and how many follow.
fn runs(first: u64, used: &ExtentSet) -> BTreeMap<u8, Vec<(u32, u32)>> {
    let mut cells: BTreeMap<u8, Vec<(u32, u32)>> = BTreeMap::new();
    for extent in used.iter() {
        let (mut at, end) = (extent.start().0 - first, extent.end().0 - first);
        while at < end {
            let part = (CELL_LEN - at % CELL_LEN).min(end - at);
            let cell = u8::try_from(at / CELL_LEN).map(|index| cells.entry(index).or_default());
            if let (Ok(cell), Ok(from), Ok(len)) = (cell, u32::try_from(at % CELL_LEN), u32::try_from(part)) {
                cell.push((from, len));
            }
            at += part;
        }
    }
    cells
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

    /// The part of `same` that a write-back to `wanted` leaves as it is: not where it writes, nor where its fence stands, unless
    /// the volume `now` begins as it did.
    ///
    /// # Errors
    /// [`StoreError`] where one of the maps cannot be read.
    pub(crate) fn left_by(&self, wanted: MapRoot, same: &ExtentSet, now: &dyn ReadAt) -> Result<ExtentSet, StoreError> {
        let differs = self.store.diff(self.map, wanted).map(|slice| slice.map(|s| s.extent));
        let mut written: ExtentSet = differs.collect::<Result<_, _>>()?;
        let head: ExtentSet = [Extent::whole(ByteLen(FENCE_LEN.0.min(now.size().0)))].into_iter().collect();
        if !self.is_same(now, &head) {
            written = written.union(&head);
        }
        Ok(same.iter().flat_map(|e| written.gaps(e).iter().collect::<Vec<_>>()).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{Digest, NodeId};
    use model::units::ByteOffset;
    use store::LEAF;

    fn set(ranges: &[(u64, u64)]) -> ExtentSet {
        ranges.iter().filter_map(|(start, end)| Extent::between(LEAF + start, LEAF + end)).collect()
    }

    fn cell(index: u8, runs: &[(u32, u32)]) -> Cell {
        Cell { index, runs: runs.to_vec(), hash: None }
    }

    #[test]
    fn cells_are_kept_where_they_hold_the_same_and_that_is_proven() {
        let extent = Extent::new(ByteOffset(LEAF), ByteLen(LEAF)).unwrap();
        let of = Digest::of(b"any");
        let leaf = LeafRef { extent, id: NodeId(of), content: of };
        let there = [
            cell(0, &[(0, 65_536)]),
            cell(1, &[(0, 100)]),
            cell(2, &[(512, 512), (4096, 1)]),
            cell(5, &[(0, 65_536)]),
            cell(6, &[(9, 9)]),
        ];
        let here = [(0, 65_636), (131_584, 132_096), (135_168, 135_169), (5 << 16, 6 << 16), (393_225, 393_234)];
        let kept = |here: &[(u64, u64)], same: &[(u64, u64)]| -> Vec<(u64, u64)> {
            let kept = unchanged(&leaf, &set(here), &set(same), &there);
            kept.iter().map(|e| ((e.start().0 - LEAF) >> 16, (e.end().0 - LEAF) >> 16)).collect()
        };
        assert_eq!(kept(&here, &[(0, LEAF)]), [(0, 64)], "all of it by its name");
        // One byte that is not proven.
        assert_eq!(kept(&here, &[(0, 70), (71, LEAF)]), [(1, 3), (5, 7)]);
        assert_eq!(kept(&here, &[(0, 135_168), (135_169, LEAF)]), [(0, 2), (5, 7)]);
        assert_eq!(kept(&here, &[]), []);
        // One that is in use besides, in a cell of its own or not; and one that is not any more.
        let more = |extra| here.iter().copied().chain([extra]).collect::<Vec<_>>();
        assert_eq!(kept(&more((4 << 16, (4 << 16) + 1)), &[(0, LEAF)]), [(0, 3), (5, 7)]);
        assert_eq!(kept(&more((70_000, 70_001)), &[(0, LEAF)]), [(0, 1), (2, 3), (5, 7)]);
        assert_eq!(kept(&here[..4], &[(0, LEAF)]), [(0, 3), (5, 6)]);
        assert_eq!(kept(&[], &[(0, LEAF)]), []);
    }
}
