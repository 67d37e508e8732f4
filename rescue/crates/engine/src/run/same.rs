//! Whether the disks are as a snapshot has them, told by reading little: what nobody changed need not be saved again.
//!
//! Of an ext4 and of an XFS its own records prove that nobody wrote to it since; of what keeps no such records every byte in use is
//! compared, where that is not much. In doubt it is not the same.

use super::saved::Saved;
use super::target::{Target, go_on};
use super::{Context, Meter, Stop, tables};
use crate::gather::partitions;
use crate::plan::disks::pair;
use crate::plan::snapshot;
use model::assessment::{Change, Report, SystemReport};
use model::coverage::{Comparison, Coverage};
use model::firmware::BootSettings;
use model::id::{DiskNo, SnapshotId};
use model::inspection::{Content, Volume};
use model::plan::{SnapshotPlan, VolumeCapture};
use model::ports::ReadAt;
use model::snapshot::{Manifest, SavedVolume};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::{BTreeMap, BTreeSet};

/// Most that is read of volumes whose records prove nothing, all together: ESPs and boot loaders, not data.
const MOST_READ: ByteLen = ByteLen(64 << 20);
/// So much at a time.
const PIECE: u64 = 1 << 20;

/// Whether they are, or what speaks against it.
type Same = Result<(), String>;

/// Whether a snapshot by this plan would hold exactly what `base` holds.
///
/// # Errors
/// [`Stop`] where the store cannot be read, or somebody wants it to stop.
pub(crate) fn same(
    cx: &Context<'_>,
    report: &Report,
    plan: &SnapshotPlan,
    base: (SnapshotId, &Manifest),
) -> Result<Same, Stop> {
    let (id, manifest) = base;
    if !cx.store.vouches_for(id)? {
        return Ok(Err("it is not signed with this key".to_owned()));
    }
    if let Err(why) = same_evidence(report, id, manifest) {
        return Ok(Err(why));
    }
    if !same_entries(report, manifest) {
        return Ok(Err("the firmware's boot entries of its disks are others".to_owned()));
    }
    if plan.volumes.len() != manifest.volumes.len() {
        return Ok(Err("it holds other volumes than there are to save now".to_owned()));
    }
    let mut meter = Meter::start(cx.observer, cx.clock, "comparing with what is saved", (1, 1), ByteLen::ZERO, false);
    let pairs = pair(manifest, &report.inspection, &[]);
    let now: BTreeMap<DiskNo, DiskNo> = pairs.iter().filter_map(|p| Some((p.saved, p.present.clone().ok()?))).collect();
    if let Err(why) = same_tables(cx, report, manifest, &now)? {
        return Ok(Err(why));
    }
    let mut comparing =
        Comparing { target: Target { cx, report, aside: None }, plan, manifest, now, left: MOST_READ.0 };
    for wanted in &plan.volumes {
        meter.rename(format!("comparing {} with what is saved of it", wanted.path));
        go_on(cx)?;
        if let Err(why) = comparing.volume(wanted)? {
            return Ok(Err(format!("{}: {why}", wanted.path)));
        }
    }
    Ok(Ok(()))
}

/// What was read of the systems anyway: it sees what was written below their file systems, as long as it lies in evidence.
fn same_evidence(report: &Report, id: SnapshotId, manifest: &Manifest) -> Same {
    let told = |s: &SystemReport| s.assessment.since == Some(id) && s.assessment.change.value == Change::Changed;
    if report.systems.iter().any(told) {
        return Err("file systems were written to since".to_owned());
    }
    let what = |s: &SystemReport| (s.system.clone(), s.evidence.clone());
    let (now, then) = (report.systems.iter().map(what), manifest.systems.iter().map(what));
    if now.eq(then) { Ok(()) } else { Err("what is known of its systems is not what was known then".to_owned()) }
}

/// Entries of other things come and go with what is plugged in, the rescue's own stick among it.
fn same_entries(report: &Report, manifest: &Manifest) -> bool {
    let Some(now) = &report.inspection.firmware else { return true };
    let partitions = partitions(&report.inspection);
    let of = |settings: &BootSettings| settings.of(&partitions).map(|e| e.value.clone()).collect::<BTreeSet<_>>();
    of(now) == manifest.firmware.as_ref().map(of).unwrap_or_default()
}

fn same_tables(
    cx: &Context<'_>,
    report: &Report,
    manifest: &Manifest,
    now: &BTreeMap<DiskNo, DiskNo>,
) -> Result<Same, Stop> {
    let sources = cx.devices.disks();
    for saved in &manifest.disks {
        let no = now.get(&saved.no);
        let disk = no.and_then(|no| report.inspection.disk(*no));
        let (Some(disk), Some(source)) = (disk, sources.iter().find(|s| Some(&s.no) == no)) else {
            return Ok(Err(format!("{} of then is not here", saved.no)));
        };
        let as_it_was = match (&saved.table, &disk.table, saved.table_map) {
            (None, None, _) => true,
            (Some(then), Some(now), Some(map)) => then.raw == now.raw && !tables::differs(cx, map, now, source)?,
            _ => false,
        };
        if !as_it_was {
            return Ok(Err(format!("the partition table of {} is another", disk.no)));
        }
    }
    Ok(Ok(()))
}

struct Comparing<'a> {
    target: Target<'a>,
    plan: &'a SnapshotPlan,
    manifest: &'a Manifest,
    /// The disks of then, and which they are now.
    now: BTreeMap<DiskNo, DiskNo>,
    /// Bytes that may still be read of volumes without records.
    left: u64,
}

impl<'a> Comparing<'a> {
    fn volume(&mut self, wanted: &VolumeCapture) -> Result<Same, Stop> {
        let volume = self.target.volume(&wanted.path)?;
        let Some(saved) = self.saved(volume) else { return Ok(Err("it does not hold it there".to_owned())) };
        if !saved.unreadable.is_empty() {
            return Ok(Err("part of it could not be read then".to_owned()));
        }
        let coverage = self.target.coverage(volume);
        if coverage.method != saved.method {
            return Ok(Err("its bytes would be chosen otherwise now".to_owned()));
        }
        if !matches!(volume.content, Content::Ext(_) | Content::Xfs(_) | Content::Btrfs(_)) {
            return self.bytes(volume, &coverage, saved);
        }
        if snapshot::same(volume, self.manifest) != Some(saved) {
            return Ok(Err("it is another file system".to_owned()));
        }
        let kept = self.target.kept(volume, &coverage, self.plan, wanted)?;
        match kept.compared.by {
            Comparison::Untouched if kept.to_read.is_empty() => Ok(Ok(())),
            Comparison::Untouched => Ok(Err("something was written below its file system".to_owned())),
            Comparison::Metadata => Ok(Err(kept.compared.why.to_string())),
            // Where its records prove nothing (it has no journal, it was cut off), its bytes may still be few.
            Comparison::Content => {
                let same = self.bytes(volume, &coverage, saved)?;
                Ok(same.map_err(|more| format!("{}, and {more}", kept.compared.why)))
            }
        }
    }

    /// What was saved of a volume: at the same place of the same disk.
    fn saved(&self, volume: &Volume) -> Option<&'a SavedVolume> {
        let there = |s: &&SavedVolume| {
            self.now.get(&s.path.disk()) == Some(&volume.path.disk())
                && s.path.on(volume.path.disk()) == volume.path
                && s.extent == volume.extent
                && s.mapping.as_ref().map(|m| (&m.id, &m.segments))
                    == volume.mapping.as_ref().map(|m| (&m.id, &m.segments))
        };
        self.manifest.volumes.iter().find(there)
    }

    /// Compares every byte in use.
    fn bytes(&mut self, volume: &Volume, coverage: &Coverage, saved: &SavedVolume) -> Result<Same, Stop> {
        let used = &coverage.used;
        let Some(left) = self.left.checked_sub(used.total().0) else {
            return Ok(Err(format!("{} are too much to read for a comparison", used.total())));
        };
        self.left = left;
        let cx = self.target.cx;
        let slices = cx.store.map(saved.map).slices(Extent::whole(volume.extent.len()));
        let held: ExtentSet = slices.map(|s| s.map(|s| s.extent)).collect::<Result<_, _>>()?;
        if held != *used {
            return Ok(Err("other bytes of it are in use".to_owned()));
        }
        let now = self.target.bytes(volume)?;
        let then = Saved::new(cx.store.clone(), saved.map, volume.extent.len());
        for extent in used.iter() {
            let (mut at, end) = (extent.start().0, extent.end().0);
            while at < end {
                go_on(cx)?;
                let len = usize::try_from(PIECE.min(end - at)).unwrap_or(usize::MAX);
                let (is, was) = (now.read_vec(ByteOffset(at), len), then.read_vec(ByteOffset(at), len));
                match (is, was) {
                    (Ok(is), Ok(was)) if is == was => at += len as u64,
                    _ => return Ok(Err(format!("it differs within the {len} bytes at {at}"))),
                }
            }
        }
        Ok(Ok(()))
    }
}
