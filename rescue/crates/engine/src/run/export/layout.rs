//! What an image is made of: which map's bytes stand where, and what is missing.

use crate::plan::stacked::{Placed, Stacked, carries};
use crate::run::Stop;
use model::command::ExitCode;
use model::id::{DiskNo, SnapshotId, VolumePath};
use model::inspection::TableKind;
use model::luks::SealedRun;
use model::restore::Encrypted;
use model::snapshot::{Manifest, MapRoot, SavedDisk, SavedVolume};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::BTreeSet;

/// No table has more partitions: a bound on the work that a manifest can ask for.
const MOST_VOLUMES: usize = 4096;

/// An image to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The disk or volume it is of.
    pub(crate) of: VolumePath,
    pub(crate) size: ByteLen,
    /// In rising order of place, none over another, all within the size.
    pub(crate) parts: Vec<Part>,
    pub(crate) unreadable: ExtentSet,
    pub(crate) left_out: Vec<VolumePath>,
    pub(crate) warnings: Vec<DisplayText>,
    /// What lies encrypted in it, at addresses of the image.
    pub(crate) encrypted: Vec<Encrypted>,
}

/// Bytes of a map that stand together in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) map: MapRoot,
    /// Which bytes of the map.
    pub(crate) within: Extent,
    /// Where the first of them stands in the image.
    pub(crate) at: u64,
}

/// The images of a snapshot: of every disk, or of the one disk or volume wanted.
pub(crate) fn layouts(id: SnapshotId, manifest: &Manifest, only: Option<&VolumePath>) -> Result<Vec<Layout>, Stop> {
    let Some(wanted) = only else {
        let all: Vec<Layout> = manifest.disks.iter().map(|d| whole(manifest, d)).collect::<Result<_, _>>()?;
        return if all.is_empty() { Err(absent(id, manifest, None)) } else { Ok(all) };
    };
    let disk = manifest.disks.iter().find(|d| d.no == wanted.disk()).ok_or_else(|| absent(id, manifest, only))?;
    if wanted.is_whole() {
        return Ok(vec![whole(manifest, disk)?]);
    }
    let volume = manifest.volumes.iter().find(|v| v.path == *wanted).ok_or_else(|| absent(id, manifest, only))?;
    Ok(vec![alone(manifest, volume)?])
}

fn absent(id: SnapshotId, manifest: &Manifest, wanted: Option<&VolumePath>) -> Stop {
    let wanted = wanted.map_or_else(|| "a disk".to_owned(), VolumePath::to_string);
    let disks = manifest.disks.iter().map(|d| d.no.to_string());
    let volumes = manifest.volumes.iter().filter(|v| !v.path.is_whole()).map(|v| v.path.to_string());
    let there: Vec<String> = disks.chain(volumes).collect();
    let says = format!("{wanted} is not in snapshot {}", id.0.short(8));
    Stop::failed(ExitCode::Failed, says, format!("it holds {}", there.join(", ")))
}

/// A volume by itself, with what lies on it.
fn alone(manifest: &Manifest, volume: &SavedVolume) -> Result<Layout, Stop> {
    let size = volume.extent.len();
    let mut parts = Vec::new();
    let mut missing = volume.unreadable.clip(Extent::whole(size));
    let mut warnings: Vec<DisplayText> = unreadable(volume).into_iter().collect();
    let mut encrypted = Vec::new();
    match volume.mapping {
        Some(_) if carries(volume) => {
            let says = format!("of {} its header alone was saved: what lies in it was saved in clear", volume.path);
            let advice = format!("name the disk, {}, or what lies in it", volume.path.disk());
            return Err(Stop::failed(ExitCode::Refused, says, advice));
        }
        Some(_) => parts.push(Part { map: volume.map, within: Extent::whole(size), at: 0 }),
        None => {
            let stacked = stacked(manifest, volume.path.disk())?;
            parts.extend(stacked.own(volume).iter().map(|within| Part {
                map: volume.map,
                within,
                at: within.start().0,
            }));
            let start = volume.extent.start().0;
            let inside = |at: u64| at.checked_sub(start).filter(|at| *at < size.0);
            let above = stacked.placed.iter();
            let above = above.filter_map(|p| Some(Part { map: p.volume.map, within: p.within, at: inside(p.at.0)? }));
            parts.extend(above);
            parts.sort_by_key(|p| p.at);
            encrypted = within(stacked.encrypted.clone(), volume.extent);
            for other in stacked.volumes.iter().filter(|v| !v.unreadable.is_empty()) {
                let bad = stacked.lies(other, &other.unreadable).clip(volume.extent);
                bad.iter()
                    .filter_map(|e| Extent::new(ByteOffset(inside(e.start().0)?), e.len()))
                    .for_each(|e| missing.insert(e));
                warnings.extend(unreadable(other));
            }
        }
    }
    let left_out = Vec::new();
    Ok(Layout { of: volume.path.clone(), size, parts, unreadable: missing, left_out, warnings, encrypted })
}

/// What of a disk lies encrypted in one of its volumes, at addresses of that.
fn within(encrypted: Vec<Encrypted>, volume: Extent) -> Vec<Encrypted> {
    let start = volume.start().0;
    let moved = |e: Extent| Extent::new(ByteOffset(e.start().0.checked_sub(start)?), e.len());
    let part = |mut e: Encrypted| {
        e.places = e.places.clip(volume).iter().filter_map(moved).collect();
        let run = |run: SealedRun| Some(SealedRun { at: moved(run.at).filter(|_| volume.contains(run.at))?, ..run });
        e.sealed.runs = e.sealed.runs.into_iter().filter_map(run).collect();
        (!e.places.is_empty()).then_some(e)
    };
    encrypted.into_iter().filter_map(part).collect()
}

/// What lies on the volumes of a disk.
fn stacked(manifest: &Manifest, disk: DiskNo) -> Result<Stacked<'_>, Stop> {
    let lie = |says| Stop::failed(ExitCode::Damage, says, "the snapshot is not to be trusted; choose another");
    Stacked::on(manifest, disk).map_err(lie)
}

fn unreadable(volume: &SavedVolume) -> Option<DisplayText> {
    let first = volume.unreadable.iter().next()?;
    let (size, ranges) = (volume.unreadable.total(), volume.unreadable.ranges());
    Some(DisplayText::new(&format!(
        "{size} of {} in {ranges} ranges (the first at its byte {}) could not be read when it was saved: zeros stand there",
        volume.path,
        first.start()
    )))
}

/// A whole disk: the bytes of its table, and each volume at its place.
fn whole(manifest: &Manifest, disk: &SavedDisk) -> Result<Layout, Stop> {
    let all = Extent::whole(disk.hardware.size);
    let straight = |v: &&SavedVolume| v.path.disk() == disk.no && v.mapping.is_none();
    let mut volumes: Vec<&SavedVolume> = manifest.volumes.iter().filter(straight).collect();
    volumes.sort_by_key(|v| (v.extent, v.path.clone()));
    let outside = volumes.iter().find(|v| !all.contains(v.extent));
    let lie = match outside {
        Some(v) => Some(format!("{} ends at byte {} of a disk of {}", v.path, v.extent.end(), all.len())),
        None if volumes.len() > MOST_VOLUMES => Some(format!("{} has {} volumes", disk.no, volumes.len())),
        None => None,
    };
    if let Some(says) = lie {
        return Err(Stop::failed(ExitCode::Damage, says, "the snapshot is not to be trusted; choose another"));
    }
    let mut out = Layout {
        of: VolumePath::whole(disk.no),
        size: disk.hardware.size,
        parts: Vec::new(),
        unreadable: ExtentSet::new(),
        left_out: left_out(disk, &volumes),
        warnings: Vec::new(),
        encrypted: Vec::new(),
    };
    let stacked = stacked(manifest, disk.no)?;
    out.encrypted.clone_from(&stacked.encrypted);
    let mut taken = ExtentSet::new();
    if let Some(map) = disk.table_map {
        // What makes up the table, and whatever else was saved with it outside of volumes.
        let held: ExtentSet = volumes.iter().map(|v| v.extent).collect();
        let raw: ExtentSet = disk.table.iter().flat_map(|t| &t.raw).copied().collect();
        taken = held.gaps(all).union(&raw.clip(all));
        out.parts.extend(taken.iter().map(|within| Part { map, within, at: within.start().0 }));
    }
    for v in &volumes {
        place(v, disk.no, &stacked.own(v), (&mut taken, &mut out));
    }
    let before = out.parts.len();
    for p in &stacked.placed {
        above(p, all, (&mut taken, &mut out));
    }
    let stands = |p: &Part| Extent::new(ByteOffset(p.at), p.within.len());
    let stood: ExtentSet = out.parts[before..].iter().filter_map(stands).collect();
    for e in &mut out.encrypted {
        e.places = stood.iter().flat_map(|s| e.places.clip(s).iter().collect::<Vec<_>>()).collect();
    }
    for v in &stacked.volumes {
        stacked.lies(v, &v.unreadable).clip(all).iter().for_each(|e| out.unreadable.insert(e));
        out.warnings.extend(unreadable(v));
    }
    out.parts.sort_by_key(|p| p.at);
    warn_of_the_table(disk, all, &mut out);
    out.warnings.extend(volumes.iter().filter_map(|v| unreadable(v)));
    let absent = out.left_out.iter().map(|path| format!("{path} is not in the snapshot: zeros stand there"));
    out.warnings.extend(absent.map(|says| DisplayText::new(&says)).collect::<Vec<_>>());
    Ok(out)
}

/// Partitions of the table that were not saved. The one that holds the logical ones is none by itself.
fn left_out(disk: &SavedDisk, volumes: &[&SavedVolume]) -> Vec<VolumePath> {
    let Some(table) = &disk.table else { return Vec::new() };
    let extended = |kind: &str| table.kind == TableKind::Mbr && matches!(kind, "05" | "0f" | "85");
    let partitions = table.partitions.iter().filter(|p| !extended(&p.type_id));
    let paths = partitions.map(|p| VolumePath::partition(disk.no, p.number));
    let saved: BTreeSet<&VolumePath> = volumes.iter().map(|v| &v.path).collect();
    paths.filter(|path| !saved.contains(path)).collect()
}

/// Puts what volumes that lie on others have where nothing else stands.
fn above(placed: &Placed<'_>, all: Extent, (taken, out): (&mut ExtentSet, &mut Layout)) {
    let Some(place) = Extent::new(placed.at, placed.within.len()).filter(|p| all.contains(*p)) else { return };
    for part in taken.gaps(place).iter() {
        let from = placed.within.start().0 + (part.start().0 - place.start().0);
        if let Some(within) = Extent::new(ByteOffset(from), part.len()) {
            out.parts.push(Part { map: placed.volume.map, within, at: part.start().0 });
        }
        taken.insert(part);
    }
}

/// Puts a volume where nothing stands yet: of two that overlap, the first is shown whole. `own`: its bytes that no other has.
fn place(volume: &SavedVolume, disk: DiskNo, own: &ExtentSet, (taken, out): (&mut ExtentSet, &mut Layout)) {
    let start = volume.extent.start().0;
    let own = own.iter().filter_map(|e| Extent::new(ByteOffset(start.checked_add(e.start().0)?), e.len()));
    let own: ExtentSet = own.collect();
    let free: ExtentSet = own.iter().flat_map(|e| taken.gaps(e).iter().collect::<Vec<_>>()).collect();
    if free.total() != own.total() {
        let says = format!("{} overlaps something else on {disk}: where it does, the other's bytes stand", volume.path);
        out.warnings.push(DisplayText::new(&says));
    }
    for part in free.iter() {
        if let Some(within) = Extent::new(ByteOffset(part.start().0 - start), part.len()) {
            out.parts.push(Part { map: volume.map, within, at: part.start().0 });
        }
        taken.insert(part);
    }
    for bad in volume.unreadable.clip(Extent::whole(volume.extent.len())).iter() {
        if let Some(bad) = Extent::new(ByteOffset(start + bad.start().0), bad.len()) {
            out.unreadable.insert(bad);
        }
    }
}

fn warn_of_the_table(disk: &SavedDisk, all: Extent, out: &mut Layout) {
    let Some(table) = &disk.table else { return };
    if disk.table_map.is_none() {
        for raw in table.raw.iter().filter_map(|raw| raw.intersect(all)) {
            out.unreadable.insert(raw);
        }
        out.warnings.push(DisplayText::new(&format!(
            "the partition table of {} could not be read whole when it was saved: the image has none",
            disk.no
        )));
    }
    if disk.hardware.sector.0 != 512 {
        out.warnings.push(DisplayText::new(&format!(
            "{} had sectors of {} bytes: its table is understood only by what gives the image the same (QEMU: \
             logical_block_size)",
            disk.no, disk.hardware.sector.0
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::coverage::CaptureMethod;
    use model::id::{Digest, NodeId};
    use model::inspection::{Content, Hardware, Partition, Table};
    use model::ports::UnixMicros;
    use model::snapshot::{Cost, FORMAT, Machine, Purpose};
    use model::units::SectorSize;

    fn map(n: u8) -> MapRoot {
        MapRoot { node: NodeId(Digest([n; 32])), height: 0, content: Digest([n; 32]) }
    }

    fn extent(start: u64, end: u64) -> Extent {
        Extent::between(start, end).unwrap()
    }

    fn volume(number: u32, start: u64, end: u64) -> SavedVolume {
        SavedVolume {
            path: VolumePath::partition(DiskNo(0), number),
            extent: extent(start, end),
            mapping: None,
            content: Content::Unknown,
            method: CaptureMethod::Raw,
            why: "".into(),
            captured: ByteLen(end - start),
            unreadable: ExtentSet::new(),
            compared: None,
            state: None,
            map: map(u8::try_from(number).unwrap()),
        }
    }

    fn partition(number: u32, start: u64, end: u64, type_id: &str) -> Partition {
        let type_id = type_id.to_owned();
        Partition { number, extent: extent(start, end), type_id, guid: None, name: None, bootable: false }
    }

    /// A disk of 1000 bytes: MBR, p1, an extended partition with its record and p5, and p2 that was not saved.
    fn manifest() -> Manifest {
        let hardware = Hardware { transport: "memory".into(), ..Hardware::image("test", ByteLen(1000)) };
        let partitions = vec![
            partition(1, 100, 300, "83"),
            partition(2, 300, 400, "83"),
            partition(3, 500, 900, "05"),
            partition(5, 510, 900, "83"),
        ];
        let raw = vec![extent(0, 100), extent(500, 510)];
        let table = Table { kind: TableKind::Mbr, id: "0badcafe".into(), partitions, raw, from_backup: false };
        Manifest {
            format: FORMAT,
            counter: 1,
            origin: String::new(),
            parent: None,
            purpose: Purpose::Keep,
            machine: Machine { machine_id: None, disks: vec![], hostname: None },
            taken: UnixMicros(0),
            systems: vec![],
            disks: vec![SavedDisk { no: DiskNo(0), hardware, table: Some(table), table_map: Some(map(0)) }],
            volumes: vec![volume(1, 100, 300), volume(5, 510, 900)],
            firmware: None,
            cost: Cost::default(),
        }
    }

    const ID: SnapshotId = SnapshotId(Digest([9; 32]));

    fn one(manifest: &Manifest, only: Option<&str>) -> Layout {
        let only = only.map(|o| o.parse().unwrap());
        let mut all = layouts(ID, manifest, only.as_ref()).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn places(layout: &Layout) -> Vec<(u8, u64, u64, u64)> {
        layout.parts.iter().map(|p| (p.map.node.0.0[0], p.within.start().0, p.within.len().0, p.at)).collect()
    }

    #[test]
    fn table_and_volumes_stand_at_their_places() {
        let layout = one(&manifest(), None);
        assert_eq!(
            places(&layout),
            [(0, 0, 100, 0), (1, 0, 200, 100), (0, 300, 210, 300), (5, 0, 390, 510), (0, 900, 100, 900)]
        );
        assert_eq!(layout.left_out, ["d0/p2".parse().unwrap()]);
        assert_eq!(layout.warnings.len(), 1);
        assert!(layout.unreadable.is_empty());
        assert_eq!(one(&manifest(), Some("d0")), layout);
    }

    #[test]
    fn a_volume_alone_begins_at_nothing() {
        let mut manifest = manifest();
        manifest.volumes[1].unreadable.insert(extent(10, 20));
        let layout = one(&manifest, Some("d0/p5"));
        assert_eq!((places(&layout), layout.size), (vec![(5, 0, 390, 0)], ByteLen(390)));
        assert_eq!(layout.unreadable, vec![extent(10, 20)].into());
        assert_eq!(one(&manifest, None).unreadable, vec![extent(520, 530)].into());
        assert!(layout.warnings[0].as_str().contains("10 B of d0/p5 in 1 ranges"), "{:?}", layout.warnings);
        for gone in ["d0/p2", "d1", "d0/p9"] {
            let Err(Stop::Failed(f)) = layouts(ID, &manifest, Some(&gone.parse().unwrap())) else { panic!("{gone}") };
            assert_eq!(f.advice.as_str(), "it holds d0, d0/p1, d0/p5");
        }
    }

    #[test]
    fn what_overlaps_is_written_once_and_said() {
        let mut manifest = manifest();
        manifest.volumes.push(volume(4, 250, 450));
        // And one over the table itself, as hybrid images have.
        manifest.volumes[0].extent = extent(0, 300);
        let layout = one(&manifest, None);
        let mut end = 0;
        for (_, _, len, at) in places(&layout) {
            assert_eq!(at, end, "{:?}", places(&layout));
            end = at + len;
        }
        assert_eq!(end, 1000);
        assert_eq!(layout.parts[0].map, map(0), "the table's own bytes");
        assert_eq!(layout.warnings.iter().filter(|w| w.as_str().contains("overlaps")).count(), 2);
    }

    #[test]
    fn a_lost_table_and_foreign_sectors_are_said() {
        let mut manifest = manifest();
        manifest.disks[0].table_map = None;
        manifest.disks[0].hardware.sector = SectorSize::B4096;
        let layout = one(&manifest, None);
        assert_eq!(places(&layout), [(1, 0, 200, 100), (5, 0, 390, 510)]);
        assert_eq!(layout.unreadable, vec![extent(0, 100), extent(500, 510)].into());
        assert_eq!(layout.warnings.len(), 3);
    }

    #[test]
    fn a_volume_past_its_disk_is_damage() {
        let mut manifest = manifest();
        manifest.volumes[1].extent = extent(510, 1001);
        let Err(Stop::Failed(f)) = layouts(ID, &manifest, None) else { panic!("taken") };
        assert_eq!(f.code, ExitCode::Damage);
    }
}
