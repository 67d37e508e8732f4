//! Saving: exactly the volumes and tables of a plan, read only, and the manifest last.

use super::cut::{Chunk, Cutter};
use super::reader::{Piece, read_used};
use super::{Context, Meter, Stop};
use crate::gather;
use crate::plan::rollback::plain;
use disk::fence::FENCE_LEN;
use model::assessment::Report;
use model::command::ExitCode;
use model::coverage::{CaptureMethod, Coverage};
use model::cuts::Cuts;
use model::id::{DiskNo, SnapshotId, VolumePath};
use model::inspection::{Disk, Volume};
use model::plan::SnapshotPlan;
use model::ports::{ReadAt, Window};
use model::snapshot::{Cost, FORMAT, Manifest, MapRoot, SavedDisk, SavedVolume};
use model::text::DisplayText;
use model::units::{ByteLen, Extent, ExtentSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::Writer;

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
    let mut run = Capture { cx, report, writer: cx.store.writer()?, steps };
    let mut covered = Vec::new();
    let mut total = 0;
    {
        let mut meter = run.meter("reading the allocation maps", ByteLen::ZERO);
        for wanted in &plan.volumes {
            meter.rename(format!("reading the allocation maps of {}", wanted.path));
            let volume = run.volume(&wanted.path)?;
            let coverage = run.coverage(volume);
            total += coverage.used.total().0;
            covered.push((volume, coverage));
            run.go_on()?;
        }
    }
    let mut meter = run.meter("saving", ByteLen(total));
    let mut volumes = Vec::new();
    for (volume, coverage) in covered {
        meter.rename(format!("saving {}", volume.path));
        volumes.push(run.save(volume, coverage, &mut meter)?);
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

fn gone(no: DiskNo) -> Stop {
    Stop::failed(ExitCode::Failed, format!("{no} is gone"), "nothing was saved; look at the disks again")
}

struct Capture<'a> {
    cx: &'a Context<'a>,
    report: &'a Report,
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

    fn volume(&self, path: &VolumePath) -> Result<&'a Volume, Stop> {
        self.report.inspection.volume(path).ok_or_else(|| gone(path.disk()))
    }

    fn bytes(&self, disk: DiskNo, extent: Extent) -> Result<Arc<dyn ReadAt>, Stop> {
        let source = self.cx.devices.disks().into_iter().find(|d| d.no == disk).ok_or_else(|| gone(disk))?;
        let window = Window::new(source.bytes, extent).map_err(|e| {
            Stop::failed(ExitCode::Failed, format!("{disk} changed its size: {e}"), "look at the disks again")
        })?;
        Ok(Arc::new(window))
    }

    /// Which bytes are saved. Where the maps cannot be read: all of them, and that is said.
    fn coverage(&self, volume: &Volume) -> Coverage {
        let mut coverage = self.cx.parser.coverage(volume).unwrap_or_else(|e| {
            let why = format!("its allocation maps could not be read ({e}): every byte is saved");
            self.cx.observer.log(&format!("{}: {why}", volume.path));
            let used = [Extent::whole(volume.extent.len())].into_iter().collect();
            Coverage { method: CaptureMethod::Raw, why: DisplayText::new(&why), used }
        });
        // A fence will stand here one day: what it covers must be known, whatever the file system says of it.
        coverage.used.insert(Extent::whole(ByteLen(FENCE_LEN.0.min(volume.extent.len().0))));
        coverage
    }

    fn save(&mut self, volume: &Volume, coverage: Coverage, meter: &mut Meter<'_>) -> Result<SavedVolume, Stop> {
        let bytes = self.bytes(volume.path.disk(), volume.extent)?;
        let sector = self.report.inspection.disk(volume.path.disk()).map_or(512, |d| d.hardware.sector.0);
        let cuts = self.cx.parser.cuts(volume);
        let (map, unreadable) = self.put(&bytes, &coverage.used, &cuts, sector, meter)?;
        if !unreadable.is_empty() {
            let (size, at) = (unreadable.total(), unreadable.iter().next().map_or(0, |e| e.start().0));
            self.cx.observer.log(&format!(
                "{} of {} could not be read (the first at byte {at}) and is not part of the snapshot",
                size, volume.path
            ));
        }
        Ok(SavedVolume {
            path: volume.path.clone(),
            extent: volume.extent,
            content: volume.content.clone(),
            method: coverage.method,
            why: coverage.why,
            captured: ByteLen(coverage.used.total().0.saturating_sub(unreadable.total().0)),
            unreadable,
            map,
        })
    }

    /// The raw bytes of a table, or `None` where part of it cannot be read: such a copy is no good for a repair.
    fn table(&mut self, disk: &Disk, more: &[Extent]) -> Result<Option<MapRoot>, Stop> {
        let Some(table) = &disk.table else { return Ok(None) };
        let whole = Extent::whole(disk.hardware.size);
        let used: ExtentSet = table.raw.iter().chain(more).filter_map(|e| e.intersect(whole)).collect();
        let bytes = self.bytes(disk.no, whole)?;
        let mut meter = self.meter(&format!("saving the partition table of {}", disk.no), used.total());
        let cuts = Cuts::grid(bytes.size());
        let (map, unreadable) = self.put(&bytes, &used, &cuts, disk.hardware.sector.0, &mut meter)?;
        if !unreadable.is_empty() {
            self.cx.observer.log(&format!("part of the partition table of {} could not be read", disk.no));
            return Ok(None);
        }
        Ok(Some(map))
    }

    fn put(
        &mut self,
        bytes: &Arc<dyn ReadAt>,
        used: &ExtentSet,
        cuts: &Cuts,
        sector: u32,
        meter: &mut Meter<'_>,
    ) -> Result<(MapRoot, ExtentSet), Stop> {
        let mut unreadable = ExtentSet::new();
        let (cx, writer) = (self.cx, &mut self.writer);
        writer.begin(bytes.size());
        let mut cutter = Cutter::new(cuts);
        let mut each = |chunk: Chunk| writer.chunk(&chunk.runs, chunk.bytes);
        read_used(bytes, used, sector, |piece| {
            go_on(cx)?;
            match piece {
                Piece::Bytes(at, bytes) => {
                    let len = bytes.len() as u64;
                    cutter.add(at, &bytes, &mut each)?;
                    meter.add(len);
                }
                Piece::Bad(extent) => {
                    unreadable.insert(extent);
                    meter.add(extent.len().0);
                }
            }
            Ok::<(), Stop>(())
        })?;
        cutter.close(&mut each)?;
        Ok((writer.end()?, unreadable))
    }
}

fn go_on(cx: &Context<'_>) -> Result<(), Stop> {
    match cx.observer.cancelled() {
        false => Ok(()),
        true => Err(Stop::Cancelled(
            "stopped; no snapshot was made, and what was saved so far speeds up the next one".into(),
        )),
    }
}
