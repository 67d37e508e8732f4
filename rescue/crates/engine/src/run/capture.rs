//! Saving: exactly the volumes and tables of a plan, read only, and the manifest last.

use super::choice::{Chosen, choose, estimated, named};
use super::kept::Kept;
use super::stopped::Stopped;
use super::taking::{Source, Taking};
use super::target::{Target, go_on, gone};
use super::{Context, Meter, Stop};
use crate::gather;
use crate::plan::rollback::plain;
use model::assessment::Report;
use model::command::ExitCode;
use model::coverage::CaptureMethod;
use model::cuts::Cuts;
use model::id::{Digest, DiskNo, SnapshotId, VolumePath};
use model::inspection::{Disk, Volume};
use model::plan::SnapshotPlan;
use model::snapshot::{Cost, FORMAT, Manifest, MapRoot, Purpose, SavedDisk, SavedVolume};
use model::text::DisplayText;
use model::units::{ByteLen, Extent, ExtentSet};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::Writer;

/// What is saved of the tables besides what makes up the present one: where a write-back will write.
pub type MoreTable = BTreeMap<DiskNo, Vec<Extent>>;

/// Saves what the plan says of the disks that `report` tells of. The target is only read.
///
/// # Errors
/// [`Stop`]: no snapshot was made then. Where it was cancelled or the store became full, what was saved so far is put aside, and
/// the sentence says so; what was put into the store is found again by the next capture in any case.
pub fn capture(
    cx: &Context<'_>,
    plan: &SnapshotPlan,
    report: &Report,
    more: &MoreTable,
    steps: (u32, u32),
) -> Result<(SnapshotId, Manifest), Stop> {
    let writer = cx.store.writer()?;
    let chosen = choose(cx, plan, report, steps)?;
    cx.observer.estimate(estimated(cx, plan, &chosen));
    let mut run = Capture::new(cx, (plan, report), writer, &chosen, steps);
    match run.save(chosen, more) {
        Ok(disks) => {
            let manifest = run.manifest(disks);
            Ok(run.writer.finish(manifest)?)
        }
        Err(stop) => Err(Stopped::new(run).end(stop)),
    }
}

/// Saves volumes that were composed, and records them in the place of those of an earlier snapshot, with everything else that one
/// holds of `volumes`. `report` tells of them as if each were a disk; `plan` names them so, and `composed` says which volume each is.
///
/// # Errors
/// As [`capture`].
pub(super) fn record_composed(
    cx: &Context<'_>,
    plan: &SnapshotPlan,
    report: &Report,
    over: &Manifest,
    (volumes, composed): (&[VolumePath], &[(VolumePath, VolumePath)]),
    steps: (u32, u32),
) -> Result<(SnapshotId, Manifest), Stop> {
    let writer = cx.store.writer()?;
    let chosen = choose(cx, plan, report, steps)?;
    let (run, _) = composed_parts(Capture::new(cx, (plan, report), writer, &chosen, steps), chosen)?;
    let mut manifest = over.clone();
    manifest.volumes.retain(|v| volumes.contains(&v.path));
    let held: BTreeSet<DiskNo> = manifest.volumes.iter().flat_map(SavedVolume::disks).collect();
    manifest.disks.retain(|d| held.contains(&d.no));
    manifest.purpose = plan.purpose;
    manifest.taken = cx.clock.now();
    for (as_disk, path) in composed {
        let new = run.volumes.iter().find(|v| v.path == *as_disk).cloned().ok_or_else(|| gone(as_disk.disk()))?;
        let old = manifest.volumes.iter_mut().find(|v| v.path == *path).ok_or_else(|| gone(path.disk()))?;
        let (path, mapping) = (old.path.clone(), old.mapping.clone());
        *old = SavedVolume { path, extent: old.extent, mapping, ..new };
    }
    Ok(run.writer.finish(manifest)?)
}

/// Saves volumes that were made larger, with the tables of their disks, and records them in the place of those of `over`.
///
/// # Errors
/// As [`capture`].
pub(super) fn record_grown<'a>(
    cx: &'a Context<'a>,
    (plan, report): (&'a SnapshotPlan, &'a Report),
    over: Manifest,
    chosen: Vec<Chosen<'a>>,
    steps: (u32, u32),
) -> Result<(SnapshotId, Manifest), Stop> {
    let writer = cx.store.writer()?;
    let (run, disks) = composed_parts(Capture::new(cx, (plan, report), writer, &chosen, steps), chosen)?;
    let mut manifest = over;
    for new in &run.volumes {
        let old = manifest.volumes.iter_mut().find(|v| v.path == new.path).ok_or_else(|| gone(new.path.disk()))?;
        *old = new.clone();
    }
    for new in disks {
        let old = manifest.disks.iter_mut().find(|d| d.no == new.no).ok_or_else(|| gone(new.no))?;
        *old = new;
    }
    Ok(run.writer.finish(manifest)?)
}

/// Saves everything but the manifest of what was composed; all of that can be read.
fn composed_parts<'a>(mut run: Capture<'a>, chosen: Vec<Chosen<'a>>) -> Result<(Capture<'a>, Vec<SavedDisk>), Stop> {
    let disks = match run.save(chosen, &MoreTable::new()) {
        Ok(disks) => disks,
        Err(stop) => return Err(Stopped::new(run).end(stop)),
    };
    if let Some(bad) = run.volumes.iter().find(|v| !v.unreadable.is_empty()) {
        let says = format!("{} of the composed {} cannot be read", bad.unreadable.total(), bad.path);
        return Err(Stop::failed(ExitCode::Damage, says, "`holdfast check` tells whether the store is damaged"));
    }
    Ok((run, disks))
}

/// A capture under way.
pub(super) struct Capture<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) plan: &'a SnapshotPlan,
    report: &'a Report,
    pub(super) writer: Writer,
    steps: (u32, u32),
    /// Those that are saved whole.
    volumes: Vec<SavedVolume>,
    /// The one that is being saved.
    open: Option<Open<'a>>,
    /// Bytes still to be read.
    pub(super) to_read: u64,
    /// Bytes that an aside from before saves reading.
    pub(super) offered: u64,
    /// When something was put aside last.
    pub(super) put_aside: Duration,
}

/// A volume that is being saved.
struct Open<'a> {
    volume: &'a Volume,
    method: CaptureMethod,
    why: DisplayText,
    state: Option<Digest>,
}

impl<'a> Capture<'a> {
    fn new(
        cx: &'a Context<'a>,
        (plan, report): (&'a SnapshotPlan, &'a Report),
        writer: Writer,
        chosen: &[Chosen<'_>],
        steps: (u32, u32),
    ) -> Self {
        Self {
            cx,
            plan,
            report,
            writer,
            steps,
            volumes: Vec::new(),
            open: None,
            to_read: chosen.iter().map(|c| c.kept.to_read.total().0).sum(),
            offered: chosen.iter().map(|c| c.kept.compared.resumed.0).sum(),
            put_aside: cx.clock.monotonic(),
        }
    }

    fn target(&self) -> Target<'a> {
        Target { cx: self.cx, report: self.report, aside: None }
    }

    pub(super) fn meter(&self, phase: &str, total: ByteLen) -> Meter<'a> {
        Meter::start(self.cx.observer, self.cx.clock, phase, self.steps, total, false)
    }

    /// Saves everything but the manifest; gives what is saved of the disks.
    fn save(&mut self, chosen: Vec<Chosen<'a>>, more: &MoreTable) -> Result<Vec<SavedDisk>, Stop> {
        let mut meter = self.meter("saving", ByteLen(self.to_read));
        for chosen in chosen {
            meter.rename(format!("saving {}", named(chosen.volume, self.report)));
            self.volume(chosen, &mut meter)?;
        }
        let disks = self.disks(more)?;
        drop(meter);
        go_on(self.cx)?;
        self.writer.check_room()?;
        let mut meter = self.meter("proving what was saved", ByteLen::ZERO);
        meter.cost(self.writer.cost());
        if !self.writer.prove(&mut |done, total| meter.reach(done, total))? {
            go_on(self.cx)?;
        }
        Ok(disks)
    }

    fn disks(&mut self, more: &MoreTable) -> Result<Vec<SavedDisk>, Stop> {
        let tables = &self.plan.tables;
        let numbers: BTreeSet<DiskNo> =
            self.volumes.iter().flat_map(SavedVolume::disks).chain(tables.iter().copied()).collect();
        let mut disks = Vec::new();
        for no in numbers {
            let disk = self.report.inspection.disk(no).ok_or_else(|| gone(no))?;
            let extra = more.get(&no).map_or(&[][..], Vec::as_slice);
            let table_map = if tables.contains(&no) { self.table(disk, extra)? } else { None };
            disks.push(SavedDisk { no, hardware: plain(&disk.hardware), table: disk.table.clone(), table_map });
        }
        Ok(disks)
    }

    fn volume(&mut self, chosen: Chosen<'a>, meter: &mut Meter<'a>) -> Result<(), Stop> {
        let Chosen { volume, coverage, kept } = chosen;
        let kept = match kept.whole {
            Some((of, map)) if !self.writer.keep_whole(of, map)? => {
                Kept::nothing(&coverage.used, Some(map), "something of the snapshot before went away just now".into())
            }
            _ => kept,
        };
        let (method, why, state) = (coverage.method, coverage.why, coverage.state);
        let bytes = self.target().bytes(volume)?;
        let sector = self.report.inspection.disk(volume.path.disk()).map_or(512, |d| d.hardware.sector.0);
        // To find where files begin takes reading every inode.
        let cuts = match kept.to_read.is_empty() {
            true => Cuts::grid(bytes.size()),
            false => self.cx.parser.cuts(volume),
        };
        let source = Source { bytes, used: coverage.used, cuts, sector };
        self.open = Some(Open { volume, method, why, state });
        let (map, unreadable) = self.put(&source, &kept, meter)?;
        if !unreadable.is_empty() {
            let (size, at) = (unreadable.total(), unreadable.iter().next().map_or(0, |e| e.start().0));
            self.cx.observer.log(&format!(
                "{} of {} could not be read (the first at byte {at}) and is not part of the snapshot",
                size, volume.path
            ));
        }
        self.cx.observer.log(&format!("{}: {}", volume.path, kept.compared.sentence(kept.read())));
        let captured = ByteLen(source.used.total().0.saturating_sub(unreadable.total().0));
        if let Some(open) = self.open.take() {
            let saved = open.saved(map, captured);
            self.volumes.push(SavedVolume { unreadable, compared: Some(kept.compared), ..saved });
        }
        Ok(())
    }

    /// The raw bytes of a table, or `None` where part of it cannot be read: such a copy is no good for a repair.
    fn table(&mut self, disk: &Disk, more: &[Extent]) -> Result<Option<MapRoot>, Stop> {
        let Some(table) = &disk.table else { return Ok(None) };
        let whole = Extent::whole(disk.hardware.size);
        let used: ExtentSet = table.raw.iter().chain(more).filter_map(|e| e.intersect(whole)).collect();
        let bytes = self.target().disk(disk.no)?;
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
    fn put(&mut self, source: &Source, kept: &Kept, meter: &mut Meter<'a>) -> Result<(MapRoot, ExtentSet), Stop> {
        self.writer.looked_at(kept.looked_at);
        if let Some((_, map)) = kept.whole {
            return Ok((map, ExtentSet::new()));
        }
        self.writer.begin(source.bytes.size());
        let unreadable = Taking::new(self, source, meter).all(kept)?;
        let map = self.writer.end()?;
        meter.cost(self.writer.cost());
        Ok((map, unreadable))
    }

    /// What was saved so far: whole volumes, and of the one that is being saved the leaves that are complete.
    pub(super) fn so_far(&mut self) -> Result<Manifest, Stop> {
        let cut = match &self.open {
            Some(_) => self.writer.cut_short()?,
            None => None,
        };
        let mut manifest = self.manifest(Vec::new());
        if let (Some(open), Some((map, captured))) = (&self.open, cut) {
            manifest.volumes.push(open.saved(map, captured));
        }
        Ok(manifest)
    }

    fn manifest(&self, disks: Vec<SavedDisk>) -> Manifest {
        Manifest {
            format: FORMAT,
            // Counter, origin, parent and cost are the store's to tell.
            counter: 0,
            origin: String::new(),
            parent: None,
            purpose: self.plan.purpose,
            machine: gather::machine(&self.report.inspection),
            taken: self.cx.clock.now(),
            systems: self.report.systems.clone(),
            disks,
            volumes: self.volumes.clone(),
            firmware: self.report.inspection.firmware.clone(),
            cost: Cost::default(),
        }
    }

    /// True where what is saved is the state of the machine, to be kept: only that is gone on with.
    pub(super) fn keeps(&self) -> bool {
        self.plan.purpose == Purpose::Keep
    }
}

impl Open<'_> {
    /// What is saved of it: all, or some leaves.
    fn saved(&self, map: MapRoot, captured: ByteLen) -> SavedVolume {
        SavedVolume {
            path: self.volume.path.clone(),
            extent: self.volume.extent,
            mapping: self.volume.mapping.clone(),
            content: self.volume.content.clone(),
            method: self.method,
            why: self.why.clone(),
            captured,
            unreadable: ExtentSet::new(),
            compared: None,
            state: self.state,
            map,
        }
    }
}
