//! Saving: exactly the volumes and tables of a plan, read only, and the manifest last.

use super::cut::{Chunk, Cutter};
use super::kept::Kept;
use super::known::Known;
use super::reader::{Piece, Reading, read_used};
use super::target::{Target, go_on, gone};
use super::{Context, Meter, Stop};
use crate::gather;
use crate::plan::rollback::plain;
use model::assessment::Report;
use model::coverage::Coverage;
use model::cuts::Cuts;
use model::id::{DiskNo, SnapshotId};
use model::inspection::{Disk, Volume};
use model::plan::SnapshotPlan;
use model::ports::ReadAt;
use model::snapshot::{Cost, FORMAT, Manifest, MapRoot, SavedDisk, SavedVolume};
use model::units::{ByteLen, Extent, ExtentSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::{StoreError, Writer};

/// What is saved of the tables besides what makes up the present one: where a write-back will write.
pub type MoreTable = BTreeMap<DiskNo, Vec<Extent>>;

/// Saves what the plan says of the disks that `report` tells of. The target is only read.
///
/// # Errors
/// [`Stop`]: no snapshot was made then. What was put into the store is found again by the next one.
pub fn capture(
    cx: &Context<'_>,
    plan: &SnapshotPlan,
    report: &Report,
    more: &MoreTable,
    steps: (u32, u32),
) -> Result<(SnapshotId, Manifest), Stop> {
    let target = Target { cx, report };
    let mut run = Capture { cx, target, writer: cx.store.writer()?, steps };
    let mut chosen = Vec::new();
    let mut total = 0;
    {
        let mut meter = run.meter("reading the allocation maps", ByteLen::ZERO);
        for wanted in &plan.volumes {
            meter.rename(format!("reading the allocation maps of {}", wanted.path));
            let volume = target.volume(&wanted.path)?;
            let coverage = target.coverage(volume);
            run.go_on()?;
            meter.rename(format!("comparing {} with what is saved of it", wanted.path));
            let kept = target.kept(volume, &coverage.used, plan, wanted)?;
            total += kept.to_read.total().0;
            chosen.push((volume, coverage, kept));
            run.go_on()?;
        }
    }
    let mut meter = run.meter("saving", ByteLen(total));
    let mut volumes = Vec::new();
    for (volume, coverage, kept) in chosen {
        meter.rename(format!("saving {}", volume.path));
        volumes.push(run.save(volume, coverage, kept, &mut meter)?);
    }
    let mut disks = Vec::new();
    let numbers: BTreeSet<DiskNo> = volumes.iter().map(|v| v.path.disk()).chain(plan.tables.iter().copied()).collect();
    for no in numbers {
        let disk = report.inspection.disk(no).ok_or_else(|| gone(no))?;
        let extra = more.get(&no).map_or(&[][..], Vec::as_slice);
        let table_map = if plan.tables.contains(&no) { run.table(disk, extra)? } else { None };
        disks.push(SavedDisk { no, hardware: plain(&disk.hardware), table: disk.table.clone(), table_map });
    }
    drop(meter);
    run.go_on()?;
    let mut meter = run.meter("proving what was saved", ByteLen::ZERO);
    if !run.writer.prove(&mut |done, total| meter.reach(done, total))? {
        run.go_on()?;
    }
    let manifest = Manifest {
        format: FORMAT,
        // Counter, origin, parent and cost are the store's to tell.
        counter: 0,
        origin: String::new(),
        parent: None,
        purpose: plan.purpose,
        machine: gather::machine(&report.inspection),
        taken: cx.clock.now(),
        systems: report.systems.clone(),
        disks,
        volumes,
        cost: Cost::default(),
    };
    let Capture { writer, .. } = run;
    Ok(writer.finish(manifest)?)
}

struct Capture<'a> {
    cx: &'a Context<'a>,
    target: Target<'a>,
    writer: Writer,
    steps: (u32, u32),
}

impl<'a> Capture<'a> {
    fn meter(&self, phase: &str, total: ByteLen) -> Meter<'a> {
        Meter::start(self.cx.observer, self.cx.clock, phase, self.steps, total, false)
    }

    fn go_on(&self) -> Result<(), Stop> {
        go_on(self.cx)
    }

    fn save(
        &mut self,
        volume: &Volume,
        coverage: Coverage,
        kept: Kept,
        meter: &mut Meter<'_>,
    ) -> Result<SavedVolume, Stop> {
        let bytes = self.target.bytes(volume.path.disk(), volume.extent)?;
        let sector = self.target.report.inspection.disk(volume.path.disk()).map_or(512, |d| d.hardware.sector.0);
        let cuts = self.cx.parser.cuts(volume);
        let Coverage { method, why, used } = coverage;
        let source = Source { bytes, used, cuts, sector };
        let (map, unreadable) = self.put(&source, &kept, meter)?;
        if !unreadable.is_empty() {
            let (size, at) = (unreadable.total(), unreadable.iter().next().map_or(0, |e| e.start().0));
            self.cx.observer.log(&format!(
                "{} of {} could not be read (the first at byte {at}) and is not part of the snapshot",
                size, volume.path
            ));
        }
        self.cx.observer.log(&format!("{}: {}", volume.path, kept.compared.sentence(kept.read())));
        Ok(SavedVolume {
            path: volume.path.clone(),
            extent: volume.extent,
            content: volume.content.clone(),
            method,
            why,
            captured: ByteLen(source.used.total().0.saturating_sub(unreadable.total().0)),
            unreadable,
            compared: Some(kept.compared),
            map,
        })
    }

    /// The raw bytes of a table, or `None` where part of it cannot be read: such a copy is no good for a repair.
    fn table(&mut self, disk: &Disk, more: &[Extent]) -> Result<Option<MapRoot>, Stop> {
        let Some(table) = &disk.table else { return Ok(None) };
        let whole = Extent::whole(disk.hardware.size);
        let used: ExtentSet = table.raw.iter().chain(more).filter_map(|e| e.intersect(whole)).collect();
        let bytes = self.target.bytes(disk.no, whole)?;
        let mut meter = self.meter(&format!("saving the partition table of {}", disk.no), used.total());
        let cuts = Cuts::grid(bytes.size());
        let kept = Kept::nothing(&used, None, "a table is always read".into());
        let source = Source { bytes, used, cuts, sector: disk.hardware.sector.0 };
        let (map, unreadable) = self.put(&source, &kept, &mut meter)?;
        if !unreadable.is_empty() {
            self.cx.observer.log(&format!("part of the partition table of {} could not be read", disk.no));
            return Ok(None);
        }
        Ok(Some(map))
    }

    /// Saves a volume or a table: what is kept is taken over in its place among what is read. Gives the map, and what could
    /// not be read.
    fn put(&mut self, source: &Source, kept: &Kept, meter: &mut Meter<'_>) -> Result<(MapRoot, ExtentSet), Stop> {
        self.writer.begin(source.bytes.size());
        self.writer.looked_at(kept.looked_at);
        let mut taking = Taking {
            cx: self.cx,
            writer: &mut self.writer,
            cutter: Cutter::new(&source.cuts),
            unreadable: ExtentSet::new(),
            meter,
        };
        let mut leaves = kept.leaves.iter().copied().peekable();
        let known = kept.map.map(|map| Known::of(self.cx.store, map, Extent::whole(source.bytes.size())));
        let known = known.as_ref().unwrap_or(Known::NOTHING);
        read_used(source.reading(&kept.to_read, known), |piece| {
            while let Some(leaf) = leaves.next_if(|leaf| leaf.start() < piece.start()) {
                taking.keep(source, kept, leaf)?;
            }
            match piece {
                Piece::Same(leaf, len) => taking.found(source, kept, leaf, len),
                piece => taking.take(piece),
            }
        })?;
        for leaf in leaves {
            taking.keep(source, kept, leaf)?;
        }
        taking.close()?;
        let unreadable = taking.unreadable;
        Ok((self.writer.end()?, unreadable))
    }
}

/// Where the bytes of a volume or a table come from.
struct Source {
    bytes: Arc<dyn ReadAt>,
    used: ExtentSet,
    cuts: Cuts,
    sector: u32,
}

impl Source {
    fn reading<'a>(&'a self, used: &'a ExtentSet, known: &'a Known) -> Reading<'a> {
        Reading { volume: &self.bytes, used, sector: self.sector, known }
    }
}

/// What goes into the store, in rising order.
struct Taking<'a, 'm> {
    cx: &'a Context<'a>,
    writer: &'a mut Writer,
    cutter: Cutter<'a>,
    unreadable: ExtentSet,
    meter: &'a mut Meter<'m>,
}

impl Taking<'_, '_> {
    /// Takes what was read.
    fn take(&mut self, piece: Piece) -> Result<(), Stop> {
        go_on(self.cx)?;
        let writer = &mut *self.writer;
        match piece {
            Piece::Bytes(at, bytes) => {
                self.meter.add(bytes.len() as u64);
                self.cutter.add(at, &bytes, &mut |chunk: Chunk| writer.chunk(&chunk.runs, chunk.bytes))?;
            }
            Piece::Bad(extent) => {
                self.unreadable.insert(extent);
                self.meter.add(extent.len().0);
            }
            // Only of what is known: `found` takes it.
            Piece::Same(..) => {}
        }
        Ok(())
    }

    /// Takes a leaf over from the snapshot before; where the store does not have it any more, it is read like all else.
    fn keep(&mut self, source: &Source, kept: &Kept, leaf: Extent) -> Result<(), Stop> {
        self.close()?;
        let Some(map) = kept.map else { return Ok(()) };
        match self.writer.keep(map, leaf) {
            Err(StoreError::Damaged { .. }) => {
                let used = source.used.clip(leaf);
                read_used(source.reading(&used, Known::NOTHING), |piece| self.take(piece))
            }
            kept => Ok(kept?),
        }
    }

    /// Takes a leaf over of which `len` bytes were read and found to be the same.
    fn found(&mut self, source: &Source, kept: &Kept, leaf: Extent, len: ByteLen) -> Result<(), Stop> {
        go_on(self.cx)?;
        self.writer.looked_at(len);
        self.meter.add(len.0);
        self.keep(source, kept, leaf)
    }

    fn close(&mut self) -> Result<(), Stop> {
        let writer = &mut *self.writer;
        Ok(self.cutter.close(&mut |chunk: Chunk| writer.chunk(&chunk.runs, chunk.bytes))?)
    }
}
