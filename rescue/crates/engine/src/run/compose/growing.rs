//! A saved state with volumes that are larger: composed as it will lie on the larger disk, in the store, before the first byte of that disk is
//! written.
//!
//! ```text
//!  the disk as the plan lays it out (maps at their places, its table) + overlay
//!     -> the volume that grows is served, mounted and resized by the kernel, and unmounted
//!     -> the disk is looked at as any is, its table and that volume saved: all else is as it was saved before
//! ```

use super::saving::{broken, unseen};
use super::tree::Mounted;
use super::{IN_MEMORY, told, untouched};
use crate::parser::Parser;
use crate::plan::restore::growth::{Grown, moved};
use crate::run::capture::record_grown;
use crate::run::choice::Chosen;
use crate::run::export::layout::{Layout, Part};
use crate::run::kept::{Kept, Past};
use crate::run::overlay::{Overlay, Room};
use crate::run::saved_disk::{self, Trouble};
use crate::run::target::{Target, go_on};
use crate::run::unwritable::Unwritable;
use crate::run::{Context, Meter, Stop, whole_disk};
use model::assessment::Report;
use model::command::ExitCode;
use model::coverage::{CaptureMethod, Comparison};
use model::id::{Digest, SnapshotId, VolumePath};
use model::inspection::{Content, Disk, FsKind, Hardware, Inspection, Partition, Table, Volume};
use model::plan::{Against, RollbackPlan, SnapshotPlan, VolumeCapture};
use model::ports::DiskSource;
use model::restore::{DiskPart, DiskRestore, Growth};
use model::snapshot::{Manifest, Purpose, SavedVolume};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// As the phases of a restore are counted.
const STEPS: (u32, u32) = (1, 3);
/// What is written whatever is added: a journal, once over, and the file system's own records.
const RECORDS: u64 = 1 << 30;
/// What is written of what is added, at most: descriptors of groups where the kernel may leave all else for later, or else also the
/// inode tables, for an inode to each 4 KiB as smallest file systems have them.
const LATER: u64 = 256;
const AT_ONCE: u64 = 16;

/// The most that is written beside a snapshot in which these volumes grow.
pub(crate) fn takes<'a>(manifest: &Manifest, grow: impl Iterator<Item = &'a Growth>) -> ByteLen {
    let later = |path: &VolumePath| {
        let found = manifest.volumes.iter().find(|v| v.path == *path).map(|v| &v.content);
        matches!(found, Some(Content::Ext(e)) if e.kind == FsKind::Ext4)
    };
    let part = |g: &Growth| g.to.0.saturating_sub(g.from.0) / if later(&g.volume) { LATER } else { AT_ONCE };
    ByteLen(grow.map(part).fold(RECORDS, u64::saturating_add))
}

/// A disk whose volume grew.
struct Made<'a> {
    growth: &'a Growth,
    /// As it was saved.
    saved: &'a SavedVolume,
    /// Where it lies on the disk.
    place: Extent,
    overlay: Arc<Overlay>,
    source: DiskSource,
}

/// Composes what an approved plan goes to, and gives the plan that goes there: the same disks, and the same bytes on them but for those
/// of the volumes that grew.
///
/// # Errors
/// [`Stop`]; nothing was written to a disk then.
pub(crate) fn grow(
    cx: &Context<'_>,
    base: (SnapshotId, &Manifest),
    shown: &RollbackPlan,
    (most, scratch): (ByteLen, &Path),
) -> Result<RollbackPlan, Stop> {
    let composed = || {
        let room = Room::new(IN_MEMORY, most, scratch.to_owned());
        let wanted = shown.disks.iter().filter_map(|d| Some((d, d.growth.as_ref().filter(|g| g.wanted)?)));
        let made = wanted.map(|wanted| enlarge(cx, base, (shown, wanted), &room)).collect::<Result<Vec<_>, _>>()?;
        let (id, manifest) = save(cx, base, &made)?;
        Ok(leading_to(shown, (id, &manifest), &made))
    };
    composed().map_err(untouched)
}

/// Lays a disk out, and lets its volume grow.
fn enlarge<'a>(
    cx: &Context<'_>,
    (id, manifest): (SnapshotId, &'a Manifest),
    (shown, (disk, growth)): (&RollbackPlan, (&DiskRestore, &'a Growth)),
    room: &Arc<Room>,
) -> Result<Made<'a>, Stop> {
    go_on(cx)?;
    let path = &growth.volume;
    let gone = || broken(path, "the snapshot does not hold it");
    let saved = manifest.volumes.iter().find(|v| v.path == *path).ok_or_else(gone)?;
    let saved_disk = manifest.disks.iter().find(|d| d.no == path.disk()).ok_or_else(gone)?;
    let place = shown.volumes.iter().find(|v| v.saved_as == *path).map(|v| v.extent).ok_or_else(gone)?;
    let phase = format!("making {path} larger");
    let _meter = Meter::start(cx.observer, cx.clock, phase, STEPS, ByteLen::ZERO, false);
    let size = disk.hardware.size;
    let part = |p: &DiskPart| Part { map: p.map, within: p.within, at: p.at.0 };
    let layout = Layout {
        of: VolumePath::whole(saved_disk.no),
        size,
        parts: disk.parts.iter().map(part).collect(),
        unreadable: ExtentSet::new(),
        left_out: Vec::new(),
        warnings: Vec::new(),
        encrypted: Vec::new(),
    };
    let trouble = Arc::new(Trouble::default());
    let overlay = Overlay::new(saved_disk::saved(cx.store, &layout, &trouble), room.clone());
    let failed = |what: &str, e: io::Error| {
        let says = format!("{what} {path} of snapshot {} failed: {e}", id.0.short(8));
        Stop::failed(ExitCode::Failed, says, "")
    };
    let grown = || -> Result<(), Stop> {
        for (at, bytes) in whole_disk::made(disk, Extent::whole(size))? {
            overlay.write(at, &bytes).map_err(|e| failed("laying out", e))?;
        }
        let mounted = Mounted::start(overlay.clone(), place, true).map_err(|e| failed("mounting", e))?;
        let grown = mounted.grow(place.len());
        let ended = mounted.end();
        grown.map_err(|e| failed("enlarging", e))?;
        ended.map_err(|e| failed("unmounting", e))
    };
    let grown = grown();
    told(id, &trouble, room)?;
    grown?;
    let hardware = Hardware { size, ..saved_disk.hardware.clone() };
    let source = DiskSource { no: saved_disk.no, hardware, bytes: overlay.view(), clear: None };
    Ok(Made { growth, saved, place, overlay, source })
}

/// Saves what grew, as a snapshot of disks that are larger.
fn save(
    cx: &Context<'_>,
    (id, manifest): (SnapshotId, &Manifest),
    made: &[Made<'_>],
) -> Result<(SnapshotId, Manifest), Stop> {
    let sources: Vec<DiskSource> = made.iter().map(|m| m.source.clone()).collect();
    let parser = cx.parser.over(sources.clone()).map_err(unseen)?;
    let devices = Unwritable(sources);
    let with = Context { devices: &devices, parser: &*parser, ..*cx };
    let mut over = manifest.clone();
    let mut disks = Vec::new();
    for m in made {
        let by = ByteLen(m.growth.to.0.saturating_sub(m.growth.from.0));
        let grown = Grown { volume: m.growth.volume.clone(), end: m.saved.extent.end(), by };
        over = moved(&over, m.source.no, (&grown, m.source.bytes.size()));
        let disk = look(&*parser, m, &over)?;
        let then = over.disks.iter().find(|d| d.no == disk.no).and_then(|d| d.table.as_ref());
        if let (Some(then), Some(now)) = (then, &disk.table) {
            over.machine.disks.iter_mut().filter(|name| **name == then.id).for_each(|name| name.clone_from(&now.id));
        }
        disks.push(disk);
    }
    over.purpose = Purpose::Composed { of: id, with: id };
    over.taken = cx.clock.now();
    let report =
        Report { inspection: Inspection { disks, ..Inspection::default() }, systems: Vec::new(), boot: Vec::new() };
    let capture = |m: &Made<'_>| VolumeCapture {
        path: m.growth.volume.clone(),
        method: CaptureMethod::UsedBlocks,
        why: "made larger".into(),
        against: Ok(Against { doubt: None }),
        written: None,
    };
    let with_table = report.inspection.disks.iter().filter(|d| d.table.is_some());
    let plan = SnapshotPlan {
        purpose: over.purpose,
        parent: Some(id),
        aside: None,
        volumes: made.iter().map(capture).collect(),
        left_out: Vec::new(),
        tables: with_table.map(|d| d.no).collect(),
        why: "what is gone to, with volumes that were made larger".into(),
    };
    let chosen = made.iter().map(|m| chosen(&with, &report, id, m)).collect::<Result<Vec<_>, _>>()?;
    record_grown(&with, (&plan, &report), over, chosen, STEPS)
}

/// The disk as it will be, with the volume that grew: its table tells of the partitions that were planned, and the file system is the same
/// one, in order, and larger.
fn look(parser: &dyn Parser, made: &Made<'_>, wanted: &Manifest) -> Result<Disk, Stop> {
    let (path, source) = (&made.growth.volume, &made.source);
    let table = match path.number() {
        Some(_) => parser.table(source.no).map_err(unseen)?.table,
        None => None,
    };
    let places = |t: &Table| -> Vec<(u32, Extent, String)> {
        let place = |p: &Partition| (p.number, p.extent, p.type_id.clone());
        t.partitions.iter().map(place).collect()
    };
    let planned = wanted.disks.iter().find(|d| d.no == source.no).and_then(|d| d.table.as_ref());
    if table.as_ref().map(places) != planned.map(places) {
        return Err(broken(path, "its disk's table is not what it was made to be"));
    }
    let (content, _) = parser.content(path, made.place).map_err(unseen)?;
    match (&content, &made.saved.content) {
        (Content::Ext(now), Content::Ext(then)) => {
            let size = |e: &model::inspection::ExtInfo| e.blocks.saturating_mul(u64::from(e.block_size));
            let sound = now.uuid == then.uuid && !now.needs_recovery && now.errors == 0;
            if !sound || now.unknown_features != (0, 0, 0) {
                return Err(broken(path, "the file system is not in order"));
            }
            if size(now) <= size(then) || size(now) > made.place.len().0 {
                let (was, is) = (ByteLen(size(then)), ByteLen(size(now)));
                return Err(broken(path, &format!("it had {was}, and has {is}: the kernel did not make it larger")));
            }
        }
        _ => return Err(broken(path, "it is no file system of its kind any more")),
    }
    let volumes = vec![Volume { path: path.clone(), extent: made.place, content, mapping: None }];
    let (no, hardware) = (source.no, source.hardware.clone());
    Ok(Disk { no, hardware, head: Digest([0; 32]), table, volumes })
}

/// What is saved of it: what was not written to is taken over.
fn chosen<'a>(
    with: &'a Context<'a>,
    report: &'a Report,
    base: SnapshotId,
    made: &Made<'_>,
) -> Result<Chosen<'a>, Stop> {
    let path = &made.growth.volume;
    let target = Target { cx: with, report, aside: None };
    let volume = target.report.inspection.volume(path).ok_or_else(|| broken(path, "it is gone"))?;
    let coverage = target.coverage(volume);
    if coverage.method != CaptureMethod::UsedBlocks {
        return Err(broken(path, coverage.why.as_str()));
    }
    let mut kept = Kept::nothing(&coverage.used, None, "the snapshot before was not signed with this key".into());
    if with.store.vouches_for(base)? {
        let own = made.overlay.changed().clip(made.place);
        let start = made.place.start().0;
        let within = |e: Extent| Extent::new(ByteOffset(e.start().0.saturating_sub(start)), e.len());
        let changed: ExtentSet = own.iter().filter_map(within).collect();
        let same = changed.gaps(Extent::whole(made.place.len()));
        let past = Past::new(with.store, made.saved);
        kept.map = Some(past.map);
        kept.compared.by = Comparison::Metadata;
        kept.compared.why = "what was not written to is as it was".into();
        kept.compared.taken_over = kept.take(&past, &same, || go_on(with))?;
        kept.compared.with = (kept.compared.taken_over > ByteLen::ZERO).then_some(base);
        kept.same = same;
    }
    Ok(Chosen { volume, coverage, kept })
}

/// The plan that was shown, with what was composed in the place of what it was composed of.
fn leading_to(shown: &RollbackPlan, (id, manifest): (SnapshotId, &Manifest), made: &[Made<'_>]) -> RollbackPlan {
    let mut plan = RollbackPlan { to: id, composed: None, ..shown.clone() };
    for m in made {
        let Some(new) = manifest.volumes.iter().find(|v| v.path == m.growth.volume) else { continue };
        for volume in plan.volumes.iter_mut().filter(|v| v.saved_as == new.path) {
            (volume.map, volume.at_most) = (new.map, new.captured);
        }
        for disk in plan.disks.iter_mut().filter(|d| d.saved_as == m.source.no) {
            disk.parts.iter_mut().filter(|p| p.place() == Some(m.place)).for_each(|p| p.map = new.map);
            disk.at_most.0 = disk.at_most.0.saturating_sub(m.saved.captured.0).saturating_add(new.captured.0);
        }
    }
    plan
}
