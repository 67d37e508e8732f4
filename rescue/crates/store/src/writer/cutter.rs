//! Cutting: what the caller hands over becomes chunks, and bytes whose cells are to be hashed.
//!
//! The content digest of a leaf needs the hash of each 64 KiB cell's used bytes, however they are cut. Where a chunk is all
//! that a cell has, its hash is the cell's. Else the first and the last cell of a chunk may have bytes of its neighbours
//! too, and are gathered here; the cells between are the chunk's own, and hashed where it is.

use super::worker::Hashes;
use crate::error::StoreError;
use crate::layout::{CELL, MAX_DATA, MAX_RUNS, big, small};
use crate::map::SliceContent;
use crate::pieces::Pieces;
use model::id::{Digest, NodeId};
use model::units::Extent;
use std::ops::Range;

/// Used bytes of a volume: first address and length.
pub(super) type Run = (u64, u32);

/// What is sent to the packer, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// A chunk, and which cells' hashes come with it.
    Chunk { runs: Vec<Run>, bytes: Pieces, cells: Cells },
    /// All used bytes of a cell that several chunks share.
    Cell { index: u64, bytes: Pieces },
    /// Bytes that are stored already.
    Slice { run: Run, content: SliceContent },
    /// Whole cells that are stored already, and their hashes.
    Cells { slices: Vec<(Run, SliceContent)>, hashes: Hashes },
    /// A leaf that is stored already.
    Leaf { number: u64, id: NodeId, used: u64, content: Digest },
}

/// Cells whose used bytes are bytes of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cells {
    /// This one has exactly the chunk's bytes.
    Sole(u64),
    /// Those between these two.
    Between(u64, u64),
    /// None.
    No,
}

/// The used bytes of one cell, written on the grid.
struct Grid {
    index: u64,
    runs: Vec<Run>,
    bytes: Pieces,
}

/// A volume being cut.
pub(super) struct Cutter {
    len: u64,
    /// Everything below is cut, gathered, or a hole.
    at: u64,
    grid: Option<Grid>,
    /// A cell that several chunks share, and its used bytes so far.
    cell: Option<(u64, Pieces)>,
    out: Vec<Cut>,
}

const GRID: u64 = CELL as u64;

impl Cutter {
    pub(super) fn new(len: u64) -> Self {
        Self { len, at: 0, grid: None, cell: None, out: Vec::new() }
    }

    /// Takes what is to be sent now.
    pub(super) fn take(&mut self) -> Vec<Cut> {
        std::mem::take(&mut self.out)
    }

    /// Everything below is handed over or a hole.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    fn go_to(&mut self, at: u64, len: u64) -> Result<(), StoreError> {
        let end = at.checked_add(len).filter(|e| *e <= self.len);
        let end =
            end.ok_or_else(|| StoreError::misuse(format!("{len} bytes at {at} of a volume of {} bytes", self.len)))?;
        if at < self.at {
            return Err(StoreError::misuse(format!("bytes at {at} after bytes up to {}", self.at)));
        }
        self.at = end;
        Ok(())
    }

    /// Bytes to be cut on the grid.
    pub(super) fn write(&mut self, at: u64, bytes: &Pieces) -> Result<(), StoreError> {
        self.go_to(at, bytes.len() as u64)?;
        pieces(at, bytes.len()).try_for_each(|(index, at, own)| self.add(index, at, bytes.part(own)))
    }

    /// Adds bytes of one cell to the chunk of the grid.
    fn add(&mut self, index: u64, at: u64, piece: Pieces) -> Result<(), StoreError> {
        if self.grid.as_ref().is_some_and(|g| g.index != index) || self.cell.as_ref().is_some_and(|(i, _)| *i != index)
        {
            self.close();
        }
        let grid = self.grid.get_or_insert_with(|| Grid { index, runs: Vec::new(), bytes: Pieces::default() });
        let full = grid.runs.len() == MAX_RUNS;
        match grid.runs.last_mut() {
            Some((start, len)) if *start + u64::from(*len) == at => *len += small(piece.len()),
            _ if full => {
                let text = format!("more than {MAX_RUNS} separate runs within 64 KiB at {}", index * GRID);
                return Err(StoreError::misuse(text));
            }
            _ => grid.runs.push((at, small(piece.len()))),
        }
        let end = at + piece.len() as u64;
        grid.bytes.extend(piece);
        if end.is_multiple_of(GRID) {
            self.close();
        }
        Ok(())
    }

    /// A chunk as the caller cut it.
    pub(super) fn chunk(&mut self, runs: &[Extent], bytes: Pieces) -> Result<(), StoreError> {
        let total = runs.iter().fold(0, |n: u64, r| n.saturating_add(r.len().0));
        if bytes.is_empty() || total != bytes.len() as u64 || total > u64::from(MAX_DATA) {
            let text = format!("a chunk of {} bytes for {total}; the most is {MAX_DATA}", bytes.len());
            return Err(StoreError::misuse(text));
        }
        let before = self.at;
        let mut joined: Vec<Run> = Vec::with_capacity(runs.len());
        for run in runs.iter().filter(|r| !r.is_empty()) {
            if let Err(e) = self.go_to(run.start().0, run.len().0) {
                self.at = before;
                return Err(e);
            }
            let len = u32::try_from(run.len().0).map_err(|e| StoreError::misuse(e.to_string()))?;
            match joined.last_mut() {
                Some((start, there)) if *start + u64::from(*there) == run.start().0 => *there += len,
                _ => joined.push((run.start().0, len)),
            }
        }
        let first = joined.first().map_or(0, |r| r.0 / GRID);
        let last = joined.last().map_or(0, |r| (r.0 + u64::from(r.1) - 1) / GRID);
        self.close_grid(first);
        let mut done = 0;
        for (at, len) in &joined {
            for (index, _, own) in pieces(*at, big(*len)) {
                let shared = index == first || index == last;
                self.gather(index, shared.then(|| bytes.part(done + own.start..done + own.end)));
            }
            done += big(*len);
        }
        self.out.push(Cut::Chunk { runs: joined, bytes, cells: Cells::Between(first, last) });
        Ok(())
    }

    /// Bytes that are stored already, and where.
    pub(super) fn slice(&mut self, at: u64, bytes: &Pieces, content: SliceContent) -> Result<(), StoreError> {
        self.go_to(at, bytes.len() as u64)?;
        self.close_grid(at / GRID);
        for (index, _, own) in pieces(at, bytes.len()) {
            self.gather(index, Some(bytes.part(own)));
        }
        self.out.push(Cut::Slice { run: (at, small(bytes.len())), content });
        Ok(())
    }

    /// A leaf that is stored already, or whole cells: all that `addresses` has.
    pub(super) fn whole(&mut self, addresses: Extent, kept: Cut) -> Result<(), StoreError> {
        self.go_to(addresses.start().0, addresses.len().0.min(self.len.saturating_sub(addresses.start().0)))?;
        self.close();
        self.out.push(kept);
        Ok(())
    }

    /// Adds bytes to a cell that several chunks share; the ones before it are complete.
    fn gather(&mut self, index: u64, piece: Option<Pieces>) {
        if self.cell.as_ref().is_some_and(|(i, _)| *i != index) {
            self.close_cell();
        }
        if let Some(piece) = piece {
            self.cell.get_or_insert_with(|| (index, Pieces::default())).1.extend(piece);
        }
    }

    /// Ends the chunk of the grid because another begins, in cell `next`.
    fn close_grid(&mut self, next: u64) {
        match self.grid.take() {
            Some(Grid { index, runs, bytes }) if index == next || self.cell.is_some() => {
                self.gather(index, Some(bytes.clone()));
                self.out.push(Cut::Chunk { runs, bytes, cells: Cells::No });
            }
            Some(Grid { index, runs, bytes }) => {
                self.out.push(Cut::Chunk { runs, bytes, cells: Cells::Sole(index) });
            }
            None => {}
        }
    }

    fn close_cell(&mut self) {
        if let Some((index, bytes)) = self.cell.take() {
            self.out.push(Cut::Cell { index, bytes });
        }
    }

    /// Ends the cell at hand: nothing more comes into it.
    pub(super) fn close(&mut self) {
        self.close_grid(u64::MAX);
        self.close_cell();
    }
}

/// The parts of `len` bytes at an address that lie in one cell each: its number, their address, and which of them they are.
fn pieces(at: u64, len: usize) -> impl Iterator<Item = (u64, u64, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let here = at + done as u64;
        let room = usize::try_from(GRID - here % GRID).unwrap_or(len);
        let own = done..len.min(done + room);
        done = own.end;
        Some((here / GRID, here, own))
    })
}

/// Where the bytes of each cell strictly between two lie among those of a chunk of these runs: one after the other, since a chunk's
/// bytes are in the order of their addresses.
pub(super) fn between(runs: &[Run], first: u64, last: u64) -> Vec<(u64, Range<usize>)> {
    let mut cells: Vec<(u64, Range<usize>)> = Vec::new();
    let mut done = 0;
    for (at, len) in runs {
        for (index, _, own) in pieces(*at, big(*len)) {
            let place = done..done + own.len();
            done = place.end;
            match cells.last_mut().filter(|(i, _)| *i == index) {
                Some((_, there)) => there.end = place.end,
                None if index > first && index < last => cells.push((index, place)),
                None => {}
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, end: u64) -> Extent {
        Extent::between(start, end).unwrap()
    }

    fn sizes(cuts: &[Cut]) -> Vec<String> {
        let name = |cut: &Cut| match cut {
            Cut::Chunk { bytes, cells, .. } => format!("chunk {} {cells:?}", bytes.len()),
            Cut::Cell { index, bytes } => format!("cell {index} {}", bytes.len()),
            Cut::Slice { run, .. } => format!("slice {run:?}"),
            Cut::Cells { slices, .. } => format!("cells {}", slices.len()),
            Cut::Leaf { number, .. } => format!("leaf {number}"),
        };
        cuts.iter().map(name).collect()
    }

    #[test]
    fn on_the_grid_every_chunk_is_its_cell() {
        let mut cutter = Cutter::new(1 << 30);
        cutter.write(100, &vec![1; 10].into()).unwrap();
        cutter.write(200, &vec![1; 70_000].into()).unwrap();
        cutter.write(4 * GRID, &vec![1; big(CELL)].into()).unwrap();
        cutter.close();
        let cuts = cutter.take();
        let wanted = ["chunk 65346 Sole(0)", "chunk 4664 Sole(1)", "chunk 65536 Sole(4)"];
        assert_eq!(sizes(&cuts), wanted);
    }

    #[test]
    fn shared_cells_are_gathered_whole() {
        let mut cutter = Cutter::new(1 << 30);
        cutter.write(0, &vec![1; 512].into()).unwrap();
        cutter.chunk(&[extent(512, 1024), extent(2048, GRID + 512)], vec![2; 64_512].into()).unwrap();
        cutter.chunk(&[extent(GRID + 512, 4 * GRID + 10)], vec![3; 196_106].into()).unwrap();
        cutter.write(4 * GRID + 10, &vec![4; 6].into()).unwrap();
        cutter.write(9 * GRID, &vec![4; 6].into()).unwrap();
        cutter.close();
        let wanted = [
            "chunk 512 No",
            "cell 0 64512",
            "chunk 64512 Between(0, 1)",
            "cell 1 65536",
            "chunk 196106 Between(1, 4)",
            "chunk 6 No",
            "cell 4 16",
            "chunk 6 Sole(9)",
        ];
        assert_eq!(sizes(&cutter.take()), wanted);
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        let mut cutter = Cutter::new(1 << 20);
        cutter.write(100, &vec![1; 10].into()).unwrap();
        assert!(cutter.write(109, &vec![1].into()).is_err());
        assert!(cutter.write(1 << 20, &vec![1].into()).is_err());
        assert!(cutter.chunk(&[extent(200, 300), extent(250, 350)], vec![0; 200].into()).is_err());
        assert!(cutter.chunk(&[extent(200, 300)], vec![0; 99].into()).is_err());
        assert!(cutter.chunk(&[extent(200, 200)], Pieces::default()).is_err());
        assert!(cutter.chunk(&[extent(200, 200 + 524_289)], vec![0; 524_289].into()).is_err());
        assert_eq!(cutter.at(), 110, "a call that is refused changes nothing");
        cutter.chunk(&[extent(200, 300)], vec![0; 100].into()).unwrap();
    }
}
