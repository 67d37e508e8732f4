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
        let part = |extent: Extent| {
            let from = usize::try_from(extent.start().0.checked_sub(at.0)?).ok()?;
            bytes.part(from..from.checked_add(extent.len().to_usize()?)?)
        };
        let piece = |(fate, extent): (Fate, Extent)| match fate {
            Fate::Same => Some(Piece::Same(cells(extent), extent.len())),
            Fate::Known => Some(Piece::Known(extent.start(), part(extent)?)),
            Fate::New => Some(Piece::Bytes(extent.start(), part(extent)?)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::memory::Pool;
    use std::sync::Arc;
    use store::backend::Memory;

    /// Pieces of a leaf that was read: each run its own.
    fn read(disk: &[u8], runs: &[(u64, u64)]) -> Vec<Piece> {
        let pool = Pool::new(disk.len(), 1);
        let mut memory = pool.take();
        memory.part(0..disk.len()).unwrap().copy_from_slice(disk);
        let extents = runs.iter().map(|(start, end)| Extent::between(*start, *end).unwrap());
        memory.share(0, extents).into_iter().map(|(e, bytes)| Piece::Bytes(e.start(), bytes)).collect()
    }

    fn told(pieces: &[Piece]) -> Vec<(char, u64, u64)> {
        let name = |piece: &Piece| match piece {
            Piece::Bytes(at, bytes) => ('b', at.0, bytes.len() as u64),
            Piece::Known(at, bytes) => ('k', at.0, bytes.len() as u64),
            Piece::Same(cells, len) => ('s', cells.start().0, len.0),
            Piece::Bad(extent) => ('x', extent.start().0, extent.len().0),
        };
        pieces.iter().map(name).collect()
    }

    #[test]
    fn what_is_read_is_told_apart() {
        let store = Store::init(Arc::new(Memory::new())).unwrap();
        let runs = [(0, 100_000), (131_072, 140_000), (150_000, 200_000), (300_000, 300_500)];
        let mut disk: Vec<u8> = (0..400_000u32).map(|n| n.to_le_bytes()[1] | 1).collect();
        let mut writer = store.writer().unwrap();
        writer.begin(ByteLen(1 << 20));
        for (start, end) in runs {
            let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            writer.write(ByteOffset(start), disk[range].to_vec()).unwrap();
        }
        let map = writer.end().unwrap();
        writer.prove(&mut |_, _| true).unwrap();
        let same: ExtentSet =
            [(0, 5000), (132_000, 196_000)].iter().filter_map(|(a, b)| Extent::between(*a, *b)).collect();
        let known = Known::of(&store, map, Extent::whole(ByteLen(1 << 20)), same);
        assert!(known.has(0) && !known.has(1));

        let all: u64 = runs.iter().map(|(start, end)| end - start).sum();
        assert_eq!(told(&known.compare(0, read(&disk, &runs))), [('s', 0, all)], "all of it");
        assert_eq!(told(&known.compare(0, read(&disk, &runs[..3]))), [('s', 0, all - 500)], "some cells of it");
        // A byte of the first cell and one of the third are others; a run of the last is longer. Of the third, two runs are one cell.
        disk[10_000] ^= 2;
        disk[139_000] ^= 2;
        let now = [runs[0], runs[1], runs[2], (300_000, 300_600)];
        let wanted = [
            ('k', 0, 5000),
            ('b', 5000, 60_536),
            ('s', 65_536, 34_464),
            ('b', 131_072, 928),
            ('k', 132_000, 8000),
            ('k', 150_000, 46_000),
            ('b', 196_000, 608),
            ('s', 196_608, 3392),
            ('b', 300_000, 600),
        ];
        assert_eq!(told(&known.compare(0, read(&disk, &now))), wanted);
        // What could not be read is part of no cell that is the same.
        let mut pieces = read(&disk, &[(65_536, 100_000)]);
        pieces.push(Piece::Bad(Extent::between(300_000, 300_500).unwrap()));
        assert_eq!(told(&known.compare(0, pieces)), [('s', 65_536, 34_464), ('x', 300_000, 500)]);
    }
}
