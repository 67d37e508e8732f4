//! What volumes come to where they are cut on a fixed grid and every distinct cell is kept once: a count, not a store.

use qemu_tests::Result;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a cell.
const CELL: usize = 64 << 10;
/// New cells are compressed together up to this many bytes, as they lie in a pack.
const FRAME: usize = 4 << 20;
/// zstd's.
const LEVEL: i32 = 3;
/// Bytes of a cell's name.
const NAME: usize = 32;

/// The cells counted so far, kept in a file.
pub(super) struct Grid {
    file: PathBuf,
    cells: BTreeSet<[u8; NAME]>,
    /// Bytes of all of them, compressed.
    bytes: u64,
}

impl Grid {
    /// The one in a file; nothing is counted where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let mut grid = Self { file: file.to_path_buf(), cells: BTreeSet::new(), bytes: 0 };
        if file.exists() {
            let known = fs::read(file)?;
            let (bytes, names) = known.split_first_chunk::<8>().ok_or("the count of the grid's cells is cut off")?;
            grid.bytes = u64::from_le_bytes(*bytes);
            grid.cells = names.as_chunks::<NAME>().0.iter().copied().collect();
        }
        Ok(grid)
    }

    /// Counts what an image has that is new, and gives the bytes of all. What is free counts as zeros, which are not kept; `free`
    /// rises.
    ///
    /// # Errors
    /// Where the image cannot be read.
    pub(super) fn add(mut self, image: &Path, free: &[Range<u64>]) -> Result<u64> {
        let image = File::open(image)?;
        let (mut cell, mut frame) = (vec![0; CELL], Vec::with_capacity(FRAME));
        let mut free = free.iter().peekable();
        for at in (0..image.metadata()?.len()).step_by(CELL) {
            let end = at + CELL as u64;
            image.read_exact_at(&mut cell, at)?;
            while let Some(gap) = free.peek().filter(|gap| gap.start < end) {
                let within = |place: u64| usize::try_from(place.clamp(at, end) - at);
                cell[within(gap.start)?..within(gap.end)?].fill(0);
                if gap.end > end {
                    break;
                }
                free.next();
            }
            if cell.iter().any(|b| *b != 0) && self.cells.insert(Sha256::digest(&cell).into()) {
                frame.extend_from_slice(&cell);
            }
            if frame.len() == FRAME {
                self.bytes += zstd::bulk::compress(&frame, LEVEL)?.len() as u64;
                frame.clear();
            }
        }
        self.bytes += zstd::bulk::compress(&frame, LEVEL)?.len() as u64;
        let names = self.cells.iter().flatten();
        let all: Vec<u8> = self.bytes.to_le_bytes().iter().chain(names).copied().collect();
        let partial = self.file.with_extension("partial");
        fs::write(&partial, all)?;
        fs::rename(partial, &self.file)?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_counts_once_and_zeros_never() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        let add_used = |bytes: &[u8], free: &[Range<u64>]| {
            fs::write(&image, bytes).unwrap();
            Grid::open(&dir.path().join("grid")).unwrap().add(&image, free).unwrap()
        };
        let add = |bytes: &[u8]| add_used(bytes, &[]);
        let mut noise = super::super::filling::Noise::new(7);
        let (one, other) = (noise.bytes(CELL), noise.bytes(CELL));
        let first = add(&[one.clone(), vec![0; CELL], one.clone()].concat());
        assert!(first >= CELL as u64 && first < CELL as u64 + 1000, "{first}");
        assert!(add(&one) < first + 100);
        let all = CELL as u64;
        assert!(
            add_used(&[other.clone(), other.clone()].concat(), &[0..all * 2 - 9, all * 2 - 9..all * 2]) < first + 200
        );
        assert!(add(&[other, one].concat()) >= first + CELL as u64);
    }
}
