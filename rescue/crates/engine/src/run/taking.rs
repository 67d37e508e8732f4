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
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::sync::Arc;
use store::{Bytes, StoreError};

/// Where the bytes of a volume or a table come from.
pub(super) struct Source {
    pub(super) bytes: Arc<dyn ReadAt>,
    pub(super) used: ExtentSet,
    pub(super) cuts: Cuts,
    pub(super) sector: u32,
}

impl Source {
    fn reading<'a>(&'a self, used: &'a ExtentSet, known: &'a Known<'a>) -> Reading<'a> {
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
        let mut parts = kept.parts.iter().copied().peekable();
        let all = Extent::whole(source.bytes.size());
        let known = kept.map.map(|map| Known::of(self.run.cx.store, map, all, kept.same.clone()));
        read_used(source.reading(&kept.to_read, &known.unwrap_or_default()), |piece| {
            while let Some(part) = parts.next_if(|(part, _)| part.start() < piece.start()) {
                self.keep(part)?;
            }
            match (piece, kept.map) {
                (Piece::Same(cells, len), Some(map)) => self.found((cells, map), len),
                (Piece::Known(at, bytes), Some(map)) => self.known(map, at, &bytes),
                (piece, _) => self.take(piece),
            }
        })?;
        for part in parts {
            self.keep(part)?;
        }
        self.close()?;
        Ok(self.unreadable)
    }

    /// Takes what was read.
    fn take(&mut self, piece: Piece) -> Result<(), Stop> {
        go_on(self.run.cx)?;
        let len = match piece {
            Piece::Bytes(at, bytes) | Piece::Known(at, bytes) => {
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

    /// Takes leaves or cells over from what was saved before; where the store does not have them any more, they are read like all
    /// else.
    fn keep(&mut self, (part, map): (Extent, MapRoot)) -> Result<(), Stop> {
        go_on(self.run.cx)?;
        self.close()?;
        match self.run.writer.keep(map, part) {
            Err(StoreError::Damaged { .. }) => {
                let left = Extent::between(self.run.writer.at().0.max(part.start().0), part.end().0);
                let used = left.map(|left| self.source.used.clip(left)).unwrap_or_default();
                read_used(self.source.reading(&used, &Known::default()), |piece| self.take(piece))
            }
            kept => Ok(kept?),
        }
    }

    /// Takes cells over of which `len` bytes were read and found to be the same.
    fn found(&mut self, cells: (Extent, MapRoot), len: ByteLen) -> Result<(), Stop> {
        self.run.writer.looked_at(len);
        self.keep(cells)?;
        self.went_on(len.0)
    }

    /// Takes bytes over that were read because others of their cell changed.
    fn known(&mut self, map: MapRoot, at: ByteOffset, bytes: &Bytes) -> Result<(), Stop> {
        self.close()?;
        match self.run.writer.known(map, at, bytes) {
            Err(StoreError::Damaged { .. }) => {
                let writer = &mut self.run.writer;
                self.cutter.add(at, bytes, &mut |chunk: Chunk| writer.chunk(&chunk.runs, chunk.bytes))?;
            }
            known => known?,
        }
        self.went_on(bytes.len() as u64)
    }

    fn close(&mut self) -> Result<(), Stop> {
        let writer = &mut self.run.writer;
        Ok(self.cutter.close(&mut |chunk: Chunk| writer.chunk(&chunk.runs, chunk.bytes))?)
    }
}
