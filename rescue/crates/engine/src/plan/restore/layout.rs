//! Where every byte of a restored disk comes from.

use super::growth::Grown;
use crate::plan::stacked::Stacked;
use disk::fence::FENCE_LEN;
use model::id::VolumePath;
use model::inspection::{Table, TableKind};
use model::restore::{DiskPart, Encrypted, FittedTable, MadeBytes};
use model::snapshot::{Manifest, SavedDisk, SavedVolume};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};

/// No table has more partitions: a bound on the work that a manifest can ask for.
const MOST_VOLUMES: usize = 1024;
/// Most pieces of a saved table.
const MOST_RAW: usize = 1024;
/// What is cleared at either end of a disk, and of a partition that the snapshot does not hold: superblocks of file systems, RAID and
/// LVM, and what a table that lay here before left, stand within.
const ENDS: u64 = 1 << 20;
/// What is cleared at the end of a volume where the snapshot has nothing: a RAID superblock of format 0.90 or 1.0 stands within the
/// last 128 KiB (kernel `include/uapi/linux/raid/md_p.h`), and would make the volume a member of an array.
const TAIL: u64 = 128 << 10;

/// A disk, laid out.
#[derive(Debug, Clone)]
pub(super) struct Layout<'a> {
    /// See [`model::restore::DiskRestore`]; so `made` and `cleared`.
    pub(super) parts: Vec<DiskPart>,
    pub(super) made: Vec<MadeBytes>,
    pub(super) cleared: ExtentSet,
    /// The volumes that lie straight on it, in order of place.
    pub(super) volumes: Vec<&'a SavedVolume>,
    /// Those that lie on these.
    pub(super) stacked: Stacked<'a>,
    /// Partitions that the snapshot does not hold.
    pub(super) left_out: Vec<VolumePath>,
    /// Where each partition ends, in order of place.
    pub(super) ends: Vec<(VolumePath, ByteOffset)>,
    /// What the table needs behind the last of them.
    pub(super) behind: ByteLen,
    /// The smallest disk that would do.
    pub(super) smallest: ByteLen,
    /// Bytes of maps, at most.
    mapped: u64,
}

impl<'a> Layout<'a> {
    /// Lays out a saved disk on one of `size` bytes; on one that is too small, as far as to say so. Where a volume has `grown`, the
    /// snapshot is as [`super::growth::moved`] has it. An error is a sentence: the snapshot does not hold together, or not all that is
    /// needed.
    pub(super) fn of(
        manifest: &'a Manifest,
        saved: &SavedDisk,
        fitted: Option<&FittedTable>,
        size: ByteLen,
        grown: Option<&Grown>,
    ) -> Result<Self, String> {
        let straight = |v: &&SavedVolume| v.path.disk() == saved.no && v.mapping.is_none();
        let mut volumes: Vec<&SavedVolume> = manifest.volumes.iter().filter(straight).collect();
        volumes.sort_by_key(|v| (v.extent, v.path.clone()));
        if volumes.is_empty() {
            return Err("it holds no volume of it".to_owned());
        }
        if volumes.len() > MOST_VOLUMES || saved.table.as_ref().is_some_and(|t| t.raw.len() > MOST_RAW) {
            return Err(format!("{} volumes and more pieces of table than any disk has", volumes.len()));
        }
        if let Some(pair) = volumes.windows(2).find(|w| w[0].extent.intersect(w[1].extent).is_some()) {
            return Err(format!("{} and {} lie on the same bytes", pair[0].path, pair[1].path));
        }
        let stacked = Stacked::on(manifest, saved.no)?;
        let places = places(saved, &volumes);
        let mut ends: Vec<_> = places.iter().map(|(path, extent)| (path.clone(), extent.end())).collect();
        ends.sort_by_key(|(path, end)| (*end, path.clone()));
        let end = ByteLen(ends.last().map_or(0, |(_, end)| end.0));
        let smallest = fitted.map_or(end, |f| f.smallest.max(end));
        let mapped = volumes.iter().chain(&stacked.volumes).map(|v| v.captured.0).fold(0, u64::saturating_add);
        let saved_paths = |path: &VolumePath| volumes.iter().any(|v| v.path == *path);
        let mut out = Self {
            parts: Vec::new(),
            made: fitted.map_or_else(Vec::new, |f| f.made.clone()),
            cleared: ExtentSet::new(),
            left_out: places.iter().map(|(p, _)| p.clone()).filter(|p| !saved_paths(p)).collect(),
            ends,
            behind: ByteLen(smallest.0 - end.0),
            smallest,
            mapped,
            volumes,
            stacked,
        };
        if size >= smallest {
            out.lay(saved, &places, size, grown)?;
        }
        Ok(out)
    }

    fn lay(
        &mut self,
        saved: &SavedDisk,
        places: &[(VolumePath, Extent)],
        size: ByteLen,
        grown: Option<&Grown>,
    ) -> Result<(), String> {
        let disk = Extent::whole(size);
        let made: ExtentSet = self.made.iter().map(|m| m.place).collect();
        let taken: ExtentSet = self.volumes.iter().map(|v| v.extent).collect();
        if let Some(v) = self.volumes.iter().find(|v| made.meets(v.extent)) {
            return Err(format!("{} lies on the partition table", v.path));
        }
        // A disk is made valid by its first bytes, which are compared as they lie there.
        let first = |e: &&Encrypted| e.sealed.runs.iter().any(|r| r.at.start().0 < FENCE_LEN.0);
        if let Some(e) = self.stacked.encrypted.iter().find(first) {
            return Err(format!("{} is encrypted from the first bytes of the disk on", e.volume));
        }
        for v in &self.volumes {
            for within in self.stacked.own(v).iter() {
                let at = v.extent.start().checked_add(ByteLen(within.start().0));
                self.parts.extend(at.map(|at| DiskPart { map: v.map, within, at }));
            }
        }
        let above = self.stacked.placed.iter().map(|p| DiskPart { map: p.volume.map, within: p.within, at: p.at });
        self.parts.extend(above);
        if let Some(table) = &saved.table {
            let map = saved.table_map.ok_or("its partition table could not be read whole when it was saved")?;
            let places = front(table, places).clip(disk);
            let free = places.iter().flat_map(|place| taken.union(&made).gaps(place).iter().collect::<Vec<_>>());
            for place in free {
                self.mapped = self.mapped.saturating_add(place.len().0);
                // Records of logical partitions that moved.
                let within = grown.map_or(place, |grown| grown.before(place));
                self.parts.push(DiskPart { map, within, at: place.start() });
            }
        }
        self.parts.sort_by_key(|p| p.at);
        self.cleared = self.clear(places, disk, &made);
        Ok(())
    }

    /// What is cleared: the ends of the disk and of partitions that are left out, the last bytes of volumes, and what could not be
    /// read of them. The ends of the disk do not reach into volumes.
    fn clear(&self, places: &[(VolumePath, Extent)], disk: Extent, made: &ExtentSet) -> ExtentSet {
        let part = |of: Extent, start: u64, end: u64| Extent::between(start, end).and_then(|e| e.intersect(of));
        let both = |of: Extent| {
            let (start, end) = (of.start().0, of.end().0);
            [part(of, start, start.saturating_add(ENDS)), part(of, end.saturating_sub(ENDS), end)].into_iter().flatten()
        };
        let held: ExtentSet = places.iter().map(|(_, extent)| *extent).collect();
        let mut out: ExtentSet = both(disk).flat_map(|end| held.gaps(end).iter().collect::<Vec<_>>()).collect();
        for (_, extent) in places.iter().filter(|(path, _)| self.left_out.contains(path)) {
            both(*extent).for_each(|e| out.insert(e));
        }
        for v in &self.volumes {
            let end = v.extent.end().0;
            part(v.extent, end.saturating_sub(TAIL), end).into_iter().for_each(|e| out.insert(e));
            let start = v.extent.start();
            let moved =
                v.unreadable.iter().filter_map(|e| Extent::new(start.checked_add(ByteLen(e.start().0))?, e.len()));
            moved.filter_map(|e| e.intersect(v.extent)).for_each(|e| out.insert(e));
        }
        for v in &self.stacked.volumes {
            self.stacked.lies(v, &v.unreadable).iter().for_each(|e| out.insert(e));
        }
        out.iter().flat_map(|e| made.gaps(e).iter().collect::<Vec<_>>()).collect()
    }

    /// The most that is written.
    pub(super) fn at_most(&self) -> ByteLen {
        let made = self.made.iter().map(|m| m.place.len().0);
        ByteLen(made.chain([self.cleared.total().0, self.mapped]).fold(0, u64::saturating_add))
    }
}

/// Every partition and where it lies, logical ones without the one that holds them; without a table the volume there is.
fn places(saved: &SavedDisk, volumes: &[&SavedVolume]) -> Vec<(VolumePath, Extent)> {
    let extended = |t: &Table, kind: &str| t.kind == TableKind::Mbr && matches!(kind, "05" | "0f" | "85");
    let mut all: Vec<(VolumePath, Extent)> = volumes.iter().map(|v| (v.path.clone(), v.extent)).collect();
    if let Some(table) = &saved.table {
        for p in table.partitions.iter().filter(|p| !extended(table, &p.type_id)) {
            let path = VolumePath::partition(saved.no, p.number);
            if !all.iter().any(|(known, _)| *known == path) {
                all.push((path, p.extent));
            }
        }
    }
    all
}

/// The bytes of a saved table that go where they were: of an MBR all, its chain of logical partitions too; of a GPT what stands before
/// the first partition (boot code, and what a BIOS boot loader keeps there). Both its copies are made anew.
fn front(table: &Table, places: &[(VolumePath, Extent)]) -> ExtentSet {
    let raw: ExtentSet = table.raw.iter().copied().collect();
    match table.kind {
        TableKind::Mbr => raw,
        TableKind::Gpt => {
            let first = places.iter().map(|(_, extent)| extent.start().0).min().unwrap_or(ENDS).min(ENDS);
            raw.clip(Extent::whole(ByteLen(first)))
        }
    }
}

#[cfg(test)]
mod tests;
