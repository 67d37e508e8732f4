//! A volume that is made larger on a larger disk: which one can be, and what lies where then.
//!
//! The last partition of a disk can reach to its end, or the last but for swap: that holds nothing which is tied to its place, and moves.

use crate::run::Stop;
use crate::run::compose::fit;
use model::coverage::CaptureMethod;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Partition, TableKind, Volume};
use model::restore::Growth;
use model::snapshot::{Manifest, SavedDisk, SavedVolume};
use model::units::{ByteLen, ByteOffset, Extent};

/// Less than this is not offered.
pub(super) const WORTH: ByteLen = ByteLen(64 << 20);
/// The last number of a partition that stands in an MBR itself.
const LAST_PRIMARY: u32 = 4;

/// A volume that is made larger, and what moves with that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// Which volume of the snapshot.
    pub volume: VolumePath,
    /// Where it ended.
    pub end: ByteOffset,
    /// By how much it grows, and everything behind it moves.
    pub by: ByteLen,
}

impl Grown {
    /// Where something of the disk lies then.
    fn moved(&self, extent: Extent) -> Extent {
        match extent.start() < self.end {
            true => extent,
            false => shifted(extent, |start| start.checked_add(self.by.0)),
        }
    }

    /// Where on the saved disk something was that does not lie on the volume itself.
    pub(super) fn before(&self, extent: Extent) -> Extent {
        match extent.start().0.checked_sub(self.by.0) {
            Some(start) if start >= self.end.0 => shifted(extent, |_| Some(start)),
            _ => extent,
        }
    }

    fn larger(&self, extent: Extent) -> Extent {
        Extent::new(extent.start(), ByteLen(extent.len().0.saturating_add(self.by.0))).unwrap_or(extent)
    }

    /// What the plan says of it.
    pub(super) fn growth(&self, volumes: &[SavedVolume], wanted: bool) -> Option<Growth> {
        let saved = volumes.iter().find(|v| v.path == self.volume)?;
        let (from, volume) = (saved.extent.len(), self.volume.clone());
        Some(Growth { volume, from, to: ByteLen(from.0.checked_add(self.by.0)?), wanted })
    }
}

/// What cannot be addressed stays where it is: it is refused where it is laid out.
fn shifted(extent: Extent, start: impl Fn(u64) -> Option<u64>) -> Extent {
    start(extent.start().0).and_then(|start| Extent::new(ByteOffset(start), extent.len())).unwrap_or(extent)
}

/// The snapshot as if it had been taken with that volume grown on a disk of `size`. The table's own bytes are still those that were saved.
pub(crate) fn moved(manifest: &Manifest, disk: DiskNo, (grown, size): (&Grown, ByteLen)) -> Manifest {
    let mut out = manifest.clone();
    let is = |path: &VolumePath| *path == grown.volume;
    for saved in out.disks.iter_mut().filter(|d| d.no == disk) {
        saved.hardware.size = size;
        if let Some(table) = &mut saved.table {
            for p in &mut table.partitions {
                let own = is(&VolumePath::partition(disk, p.number));
                p.extent = if own { grown.larger(p.extent) } else { grown.moved(p.extent) };
            }
            table.raw.iter_mut().for_each(|raw| *raw = grown.moved(*raw));
        }
    }
    for v in out.volumes.iter_mut().filter(|v| v.path.disk() == disk) {
        v.extent = if is(&v.path) { grown.larger(v.extent) } else { grown.moved(v.extent) };
    }
    out
}

/// The volume of a saved disk that can be made larger.
///
/// # Errors
/// A sentence: why there is none.
pub(crate) fn candidate<'a>(manifest: &'a Manifest, saved: &SavedDisk) -> Result<&'a SavedVolume, String> {
    let volume = |path: &VolumePath| manifest.volumes.iter().find(|v| v.path == *path);
    let asleep = |v: &SavedVolume| matches!(&v.content, Content::Swap(s) if s.hibernated);
    if manifest.volumes.iter().any(asleep) {
        return Err(
            "the system was asleep when it was saved, and would wake over a file system that is another".to_owned()
        );
    }
    let Some(table) = &saved.table else {
        let whole = volume(&VolumePath::whole(saved.no)).ok_or("the snapshot does not hold it")?;
        return fits(whole);
    };
    let path = |p: &Partition| VolumePath::partition(saved.no, p.number);
    let is_extended = |p: &Partition| table.kind == TableKind::Mbr && matches!(p.type_id.as_str(), "05" | "0f" | "85");
    let is_logical = |p: &Partition| table.kind == TableKind::Mbr && p.number > LAST_PRIMARY;
    let is_swap = |p: &Partition| volume(&path(p)).is_some_and(|v| matches!(v.content, Content::Swap(_)));
    // An extended partition moves with what is in it.
    let moves = |p: &Partition| match is_extended(p) {
        true => table.partitions.iter().filter(|p| is_logical(p)).all(is_swap),
        false => is_swap(p),
    };
    let mut places: Vec<&Partition> = table.partitions.iter().filter(|p| !is_logical(p)).collect();
    places.sort_by_key(|p| p.extent);
    let last = places.into_iter().rev().find(|p| !moves(p)).ok_or("it has no partition but swap")?;
    if is_extended(last) {
        return Err("an extended partition lies behind all others, and logical ones are not made larger".to_owned());
    }
    let found = volume(&path(last)).ok_or_else(|| format!("{} is the last, and not in the snapshot", path(last)))?;
    match found.extent == last.extent {
        true => fits(found),
        false => Err(format!("{} ends elsewhere than its partition", found.path)),
    }
}

/// Whether a volume can be made larger by what the kernel knows.
fn fits(saved: &SavedVolume) -> Result<&SavedVolume, String> {
    let path = &saved.path;
    let kind = Volume { path: path.clone(), extent: saved.extent, content: saved.content.clone(), mapping: None };
    if !matches!(saved.content, Content::Ext(_)) {
        return Err(format!("{path} is the last, and {}: only ext2, ext3 and ext4 are made larger", kind.kind()));
    }
    fit(&saved.content, path).map_err(|stop| match stop {
        Stop::Cancelled(says) => says.to_string(),
        Stop::Failed(failure) | Stop::Full(failure) => failure.says.to_string(),
    })?;
    if !saved.unreadable.is_empty() || saved.method != CaptureMethod::UsedBlocks {
        return Err(format!("{path} was not saved whole, or byte for byte"));
    }
    Ok(saved)
}

/// The volume that is made larger by what a disk has room for, where `wanted` names it, or, with no name, where it is worth it.
///
/// # Errors
/// A sentence: why it cannot be.
pub(crate) fn grown(
    manifest: &Manifest,
    saved: &SavedDisk,
    room: ByteLen,
    wanted: Option<&VolumePath>,
) -> Result<Option<Grown>, String> {
    let found = match (candidate(manifest, saved), wanted) {
        (Ok(found), Some(wanted)) if found.path != *wanted => {
            return Err(format!("only the last one can be, or the last but for swap: that is {}", found.path));
        }
        (Ok(found), _) => found,
        (Err(_), None) => return Ok(None),
        (Err(why), Some(_)) => return Err(why),
    };
    if room == ByteLen::ZERO && wanted.is_some() {
        return Err("the disk has no room behind its last partition".to_owned());
    }
    if wanted.is_none() && room < WORTH {
        return Ok(None);
    }
    Ok(Some(Grown { volume: found.path.clone(), end: found.extent.end(), by: room }))
}
