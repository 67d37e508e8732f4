//! What goes into the store while a volume is saved: bytes that are read and leaves that are taken over, in rising order.

use super::capture::Capture;
use super::cut::{Chunk, Cutter};
use super::kept::Kept;
use super::known::Known;
use super::reader::{Piece, Reading, read_used};
use super::stopped;
use super::target::go_on;
use super::{Meter, Stop};
use model::cuts::Cuts;
use model::ports::ReadAt;
use model::snapshot::MapRoot;
use model::units::{ByteLen, Extent, ExtentSet};
use std::sync::Arc;
use store::StoreError;

/// Where the bytes of a volume or a table come from.
pub(super) struct Source {
    pub(super) bytes: Arc<dyn ReadAt>,
    pub(super) used: ExtentSet,
    pub(super) cuts: Cuts,
    pub(super) sector: u32,
}

impl Source {
    fn reading<'a>(&'a self, used: &'a ExtentSet, known: &'a Known) -> Reading<'a> {
        Reading { volume: &self.bytes, used, sector: self.sector, known }
    }
}

pub(super) struct Taking<'r, 'a> {
    run: &'r mut Capture<'a>,
    source: &'r Source,
    cutter: Cutter<'r>,
    unreadable: ExtentSet,
    meter: &'r mut Meter<'a>,
}

impl<'r, 'a> Taking<'r, 'a> {
    pub(super) fn new(run: &'r mut Capture<'a>, source: &'r Source, meter: &'r mut Meter<'a>) -> Self {
        Self { run, source, cutter: Cutter::new(&source.cuts), unreadable: ExtentSet::new(), meter }
    }

    /// Takes everything; gives what could not be read.
    pub(super) fn all(mut self, kept: &Kept) -> Result<ExtentSet, Stop> {
        let source = self.source;
        let mut leaves = kept.leaves.iter().copied().peekable();
        let known = kept.map.map(|map| Known::of(self.run.cx.store, map, Extent::whole(source.bytes.size())));
        let known = known.as_ref().unwrap_or(Known::NOTHING);
        read_used(source.reading(&kept.to_read, known), |piece| {
            while let Some(leaf) = leaves.next_if(|(leaf, _)| leaf.start() < piece.start()) {
                self.keep(leaf)?;
            }
            match (piece, kept.map) {
                (Piece::Same(leaf, len), Some(map)) => self.found((leaf, map), len),
                (piece, _) => self.take(piece),
            }
        })?;
        for leaf in leaves {
            self.keep(leaf)?;
        }
        self.close()?;
        Ok(self.unreadable)
    }

    /// Takes what was read.
    fn take(&mut self, piece: Piece) -> Result<(), Stop> {
        go_on(self.run.cx)?;
        let len = match piece {
            Piece::Bytes(at, bytes) => {
                let writer = &mut self.run.writer;
                self.cutter.add(at, &bytes, &mut |chunk: Chunk| writer.chunk(&chunk.runs, chunk.bytes))?;
                bytes.len() as u64
            }
            Piece::Bad(extent) => {
                self.unreadable.insert(extent);
                extent.len().0
            }
            // Only of what is known: `found` takes it.
            Piece::Same(..) => 0,
        };
        self.went_on(len)
    }

    /// So many bytes more were read.
    fn went_on(&mut self, len: u64) -> Result<(), Stop> {
        self.run.to_read = self.run.to_read.saturating_sub(len);
        self.meter.cost(self.run.writer.cost());
        self.meter.add(len);
        self.run.writer.check_room()?;
        stopped::now_and_then(self.run)
    }

    /// Takes a leaf over from what was saved before; where the store does not have it any more, it is read like all else.
    fn keep(&mut self, (leaf, map): (Extent, MapRoot)) -> Result<(), Stop> {
        go_on(self.run.cx)?;
        self.close()?;
        match self.run.writer.keep(map, leaf) {
            Err(StoreError::Damaged { .. }) => {
                let used = self.source.used.clip(leaf);
                read_used(self.source.reading(&used, Known::NOTHING), |piece| self.take(piece))
            }
            kept => Ok(kept?),
        }
    }

    /// Takes a leaf over of which `len` bytes were read and found to be the same.
    fn found(&mut self, leaf: (Extent, MapRoot), len: ByteLen) -> Result<(), Stop> {
        self.run.writer.looked_at(len);
        self.keep(leaf)?;
        self.went_on(len.0)
    }

    fn close(&mut self) -> Result<(), Stop> {
        let writer = &mut self.run.writer;
        Ok(self.cutter.close(&mut |chunk: Chunk| writer.chunk(&chunk.runs, chunk.bytes))?)
    }
}
