//! What is known of a volume's bytes without its chunks: the cells of an earlier map, and what of it is proven to be the same.

use super::reader::Piece;
use model::snapshot::MapRoot;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use store::{CELL, Cell, LEAF, LeafHasher, LeafRef, Store};

const CELL_LEN: u64 = CELL as u64;

/// An earlier map. Cells of which the disk holds the same bytes are taken over from it: they are hashed once, fast, and neither cut nor
/// looked up.
#[derive(Default)]
pub(crate) struct Known<'a> {
    store: Option<&'a Store>,
    /// By their numbers, rising.
    leaves: Vec<(u64, LeafRef)>,
    /// Bytes that are proven to be as the map has them.
    same: ExtentSet,
}

impl<'a> Known<'a> {
    /// What a map says. Leaves that cannot be read are not known.
    pub(crate) fn of(store: &'a Store, map: MapRoot, all: Extent, same: ExtentSet) -> Self {
        let leaves = store.map(map).leaves(all).flatten().map(|leaf| (leaf.extent.start().0 / LEAF, leaf));
        Self { store: Some(store), leaves: leaves.collect(), same }
    }

    /// Whether there is something to compare a leaf with.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.leaf(number).is_some()
    }

    fn leaf(&self, number: u64) -> Option<&LeafRef> {
        let at = self.leaves.binary_search_by_key(&number, |l| l.0).ok()?;
        self.leaves.get(at).map(|l| &l.1)
    }

    /// Tells the pieces of a leaf apart, which are all used bytes of some of its cells: what is the same comes as such.
    pub(crate) fn compare(&self, number: u64, pieces: Vec<Piece>) -> Vec<Piece> {
        let Some(leaf) = self.leaf(number) else { return pieces };
        let Some(there) = self.store.and_then(|store| store.cells(leaf).ok()) else { return pieces };
        let Some(here) = hashed(leaf, &pieces) else { return pieces };
        // Both rise.
        let mut here = here.into_iter().peekable();
        let mut same = [false; 64];
        let mut all = true;
        for cell in &there {
            while here.next_if(|c| c.index < cell.index).is_some() {
                all = false;
            }
            let is = here.next_if(|c| c.index == cell.index).is_some_and(|c| c == *cell);
            if let Some(same) = same.get_mut(usize::from(cell.index)) {
                *same = is;
            }
            all &= is;
        }
        if all && here.next().is_none() && pieces.iter().all(|p| matches!(p, Piece::Bytes(..))) {
            return vec![Piece::Same(leaf.extent, ByteLen(pieces.iter().map(|p| p.len().0).sum()))];
        }
        let told = Told { known: self, first: leaf.extent.start().0, same, there };
        let mut parts: Vec<Piece> = Vec::new();
        for part in pieces.into_iter().flat_map(|piece| told.apart(piece)) {
            match (parts.last_mut(), part) {
                // Runs of one cell, or of cells that follow each other.
                (Some(Piece::Same(last, len)), Piece::Same(cells, more)) if cells.start() <= last.end() => {
                    *last = Extent::between(last.start().0, cells.end().0).unwrap_or(*last);
                    len.0 += more.0;
                }
                (_, part) => parts.push(part),
            }
        }
        parts
    }
}

/// The cells of what was read of a leaf.
fn hashed(leaf: &LeafRef, pieces: &[Piece]) -> Option<Vec<Cell>> {
    let mut hasher = LeafHasher::default();
    for piece in pieces {
        let Piece::Bytes(at, bytes) = piece else { continue };
        let start = at.0.checked_sub(leaf.extent.start().0).and_then(|n| u32::try_from(n).ok())?;
        hasher.add(start, bytes).ok()?;
    }
    Some(hasher.cells())
}

/// Which cells of a leaf are the same.
struct Told<'a> {
    known: &'a Known<'a>,
    /// The leaf's first byte.
    first: u64,
    same: [bool; 64],
    there: Vec<Cell>,
}

/// What becomes of bytes that were read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Their cell is taken over.
    Same,
    /// They are taken over, and their cell is not.
    Known,
    /// They are stored.
    New,
}

impl Told<'_> {
    /// Cuts a piece where the fate of its bytes changes.
    fn apart(&self, piece: Piece) -> Vec<Piece> {
        let Piece::Bytes(at, bytes) = piece else { return vec![piece] };
        let end = at.0 + bytes.len() as u64;
        let mut parts: Vec<(Fate, Extent)> = Vec::new();
        let mut from = at.0;
        while from < end {
            let to = (from - from % CELL_LEN + CELL_LEN).min(end);
            if let Some(part) = Extent::between(from, to) {
                self.fates(part, &mut |fate, extent| match parts.last_mut() {
                    Some((last, there)) if *last == fate && there.end() == extent.start() => {
                        *there = Extent::between(there.start().0, extent.end().0).unwrap_or(*there);
                    }
                    _ => parts.push((fate, extent)),
                });
            }
            from = to;
        }
        let cells = |e: Extent| {
            let (start, end) = (e.start().0, e.end().0.div_ceil(CELL_LEN) * CELL_LEN);
            Extent::between(start - start % CELL_LEN, end).unwrap_or(e)
        };
        let piece = |(fate, extent): (Fate, Extent)| match fate {
            Fate::Same => Some(Piece::Same(cells(extent), extent.len())),
            Fate::Known => Some(Piece::Known(extent.start(), bytes.part(at, extent)?)),
            Fate::New => Some(Piece::Bytes(extent.start(), bytes.part(at, extent)?)),
        };
        parts.into_iter().filter_map(piece).collect()
    }

    /// The fates of bytes of one cell.
    fn fates(&self, part: Extent, give: &mut dyn FnMut(Fate, Extent)) {
        let index = (part.start().0 - self.first) / CELL_LEN;
        if usize::try_from(index).ok().and_then(|i| self.same.get(i)) == Some(&true) {
            return give(Fate::Same, part);
        }
        let start = self.first + index * CELL_LEN;
        let runs = self.there.iter().filter(|c| u64::from(c.index) == index).flat_map(|c| &c.runs);
        let held = runs.filter_map(|(at, len)| {
            Extent::new(ByteOffset(start + u64::from(*at)), ByteLen(u64::from(*len)))?.intersect(part)
        });
        let mut at = part.start().0;
        for known in held.flat_map(|e| self.known.same.clip(e).iter().collect::<Vec<_>>()) {
            if let Some(new) = Extent::between(at, known.start().0).filter(|e| !e.is_empty()) {
                give(Fate::New, new);
            }
            give(Fate::Known, known);
            at = known.end().0;
        }
        if let Some(new) = Extent::between(at, part.end().0).filter(|e| !e.is_empty()) {
            give(Fate::New, new);
        }
    }
}
