//! Answers looked at again: a parser that was taken over by what it read can be wrong, not dangerous.
//!
//! What is checked is what the engine relies on: ranges lie on their disk, volumes are ones there are, lists are bounded.
//! Whether an ext4 is what it says it is cannot be checked here, nor does anything that writes depend on it.

mod boot;
mod esp;
mod files;

pub(super) use boot::{boot, boot_repairs};
pub(super) use esp::esp;
pub(super) use files::{differences, files, losses};

use super::{ParserError, ReadOption, Scene};
use disk::table::TableReading;
use model::coverage::{Changes, Comparison, Coverage};
use model::evidence::Evidence;
use model::files::LONGEST_PATH;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding, Inspection, MountedSubvolume, System, Volume};
use model::luks::LuksHeader;
use model::mapping::{Beneath, Layers};
use model::policy::{Policy, PolicyError};
use model::restore::{FitTable, FittedTable};
use model::units::{ByteLen, Extent, ExtentSet};
use std::collections::{HashMap, HashSet};

/// Most partitions of a table.
const MOST_PARTITIONS: usize = 1024;
/// Most pieces of raw table: 128 logical partitions have as many boot records.
const MOST_RAW: usize = 1024;
/// Most bytes of raw table.
const MOST_RAW_BYTES: u64 = 64 << 20;
/// Most pieces of a table that is made, and the longest of them.
const MOST_MADE: usize = 8;
const MOST_MADE_LEN: usize = 1 << 20;
/// Most volumes that layers make, and most pieces of a volume beneath them that are saved apart.
const MOST_LAYERED: usize = 4096;
const MOST_APART: usize = 1 << 16;
/// Most volumes of a group that are named as not read.
const MOST_UNREAD: usize = 256;
/// Most findings of one answer.
const MOST_FINDINGS: usize = 1024;
/// Most systems.
const MOST_SYSTEMS: usize = 64;
/// Most mount points of a system.
const MOST_MOUNTS: usize = 256;
/// Most pieces of evidence of one want.
const MOST_EVIDENCE: usize = 4096;
/// Longest text of an answer.
const MOST_TEXT: usize = 64 << 10;

fn refuse<T>(what: impl AsRef<str>) -> Result<T, ParserError> {
    Err(ParserError::new(format!("the parser's answer was refused: {}", what.as_ref())))
}

fn check(ok: bool, what: impl FnOnce() -> String) -> Result<(), ParserError> {
    if ok { Ok(()) } else { refuse(what()) }
}

fn findings(list: &[Finding], about: impl Fn(&VolumePath) -> bool) -> Result<(), ParserError> {
    check(list.len() <= MOST_FINDINGS, || format!("{} findings", list.len()))?;
    for f in list {
        check(about(&f.volume), || format!("a finding about {}", f.volume))?;
        check(f.says.as_str().len() + f.advice.as_str().len() <= MOST_TEXT, || "a finding without end".to_owned())?;
    }
    Ok(())
}

/// A table: everything inside a disk of `size` bytes, one volume a number, no two volumes on the same bytes.
pub(super) fn table(reading: TableReading, disk: DiskNo, size: u64) -> Result<TableReading, ParserError> {
    let whole = Extent::whole(ByteLen(size));
    if let Some(table) = &reading.table {
        check(table.partitions.len() <= MOST_PARTITIONS, || format!("{} partitions", table.partitions.len()))?;
        check(table.raw.len() <= MOST_RAW, || format!("{} pieces of table", table.raw.len()))?;
        let raw: u64 = table.raw.iter().map(|e| e.len().0).fold(0, u64::saturating_add);
        check(raw <= MOST_RAW_BYTES, || format!("{raw} bytes of table"))?;
        for extent in &table.raw {
            check(whole.contains(*extent), || format!("a table at {} of a disk of {size}", extent.start()))?;
        }
        check(table.id.len() <= 64, || "an id without end".to_owned())?;
    }
    check(reading.volumes.len() <= MOST_PARTITIONS, || format!("{} volumes", reading.volumes.len()))?;
    let mut seen = HashSet::new();
    for (path, extent, content) in &reading.volumes {
        check(path.disk() == disk && seen.insert(path.clone()), || format!("a volume {path} twice or elsewhere"))?;
        check(whole.contains(*extent), || format!("{path} ends at {} of a disk of {size}", extent.end()))?;
        if let Some(content) = content {
            sound(content, path)?;
        }
    }
    findings(&reading.findings, |v| v.disk() == disk)?;
    Ok(reading)
}

fn sound(content: &Content, path: &VolumePath) -> Result<(), ParserError> {
    let short = |text: &str| text.len() <= MOST_TEXT;
    let ok = match content {
        Content::Ext(e) => e.uuid.len() <= 36 && short(e.label.as_str()) && short(e.last_mounted.as_str()),
        Content::Fat(f) => f.volume_id.len() <= 16 && short(f.label.as_str()),
        Content::Exfat(e) => e.volume_id.len() <= 16 && short(e.label.as_str()),
        Content::Ntfs(n) => n.volume_id.len() <= 16 && short(n.label.as_str()),
        Content::Btrfs(b) => {
            let why = b.not_read.as_ref().map_or("", |why| why.as_str());
            b.uuid.len() <= 36 && b.device_uuid.len() <= 36 && short(b.label.as_str()) && short(why)
        }
        Content::Xfs(x) => {
            let texts = [&x.label].into_iter().chain(&x.not_read).all(|t| short(t.as_str()));
            texts && x.uuid.len() <= 36 && x.features.len() <= 64 && x.features.iter().all(|f| f.len() <= 64)
        }
        Content::Swap(s) => s.uuid.as_ref().is_none_or(|u| u.len() <= 36) && short(s.label.as_str()),
        Content::Fenced(f) => f.store.len() <= 256 && short(f.was.as_str()),
        Content::Damaged { why, .. } => short(why.as_str()),
        Content::Lvm(l) => {
            l.uuid.len() <= 38
                && l.group_uuid.len() <= 38
                && l.group.as_str().len() <= 256
                && l.apart.ranges() <= MOST_APART
                && l.unread.len() <= MOST_UNREAD
                && l.unread.iter().all(|name| name.as_str().len() <= 256)
        }
        Content::Md(m) => {
            let texts = m.uuid.len() + m.array_uuid.len() + m.array.as_str().len() + m.level.len();
            texts <= 1024 && m.apart.ranges() <= MOST_APART
        }
        Content::BtrfsDevice(b) => {
            let texts = b.uuid.len() + b.file_system.len();
            texts <= 72 && short(b.label.as_str()) && b.apart.ranges() <= MOST_APART
        }
        Content::Luks(l) => {
            let texts = [&l.label, &l.cipher].into_iter().chain(&l.not_opened);
            texts.into_iter().all(|t| short(t.as_str())) && l.uuid.len() <= 64 && l.apart.ranges() <= MOST_APART
        }
        Content::Recognised { name, .. } => name.len() <= 256,
        Content::BiosBoot | Content::Empty | Content::Unknown => true,
    };
    check(ok, || format!("what is on {path} makes no sense"))
}

/// A header: what it names lies within its volume, which is so long, and asks for no more than there can be.
pub(super) fn luks(header: LuksHeader, len: ByteLen) -> Result<LuksHeader, ParserError> {
    check(header.is_sound(len), || "its LUKS header makes no sense".to_owned())?;
    Ok(header)
}

/// What layers make: volumes whose maps are sound and lie on what was recognised as theirs, named after the first of it, no two on the same
/// bytes, and of what is said to be saved with them nothing that is not.
pub(super) fn layers(layers: Layers, inspection: &Inspection) -> Result<Layers, ParserError> {
    check(layers.volumes.len() <= MOST_LAYERED, || format!("{} volumes of layers", layers.volumes.len()))?;
    let beneath = |path: &VolumePath| {
        let volume = inspection.volume(path).filter(|v| v.mapping.is_none());
        volume.filter(|v| v.content.may_carry())
    };
    // What was opened of an encrypted volume, on the bytes and with the key that it was opened with.
    let opened = |b: &Beneath| {
        let carries = |v: &&Volume| {
            let lvm = matches!(&v.content, Content::Recognised { name, .. } if name == "lvm2");
            lvm && v.mapping.as_ref().is_some_and(|m| m.beneath.contains(b))
        };
        inspection.layered.iter().any(|v| carries(&v))
    };
    let mut seen = HashSet::new();
    let mut taken: HashMap<&VolumePath, ExtentSet> = HashMap::new();
    for (path, mapping) in &layers.volumes {
        let len = mapping.len().filter(|len| mapping.is_sound(*len));
        check(len.is_some(), || format!("the map of {path} is not sound"))?;
        let parts = mapping.beneath.iter();
        let known = |b: &Beneath| match b.sealed {
            None => beneath(&b.path).is_some_and(|v| v.extent == b.extent),
            Some(_) => opened(b),
        };
        check(parts.clone().all(known), || format!("{path} lies on what it cannot lie on"))?;
        let own = inspection.disk(path.disk()).is_some() && path.is_layered() && inspection.volume(path).is_none();
        check(own && seen.insert(path), || format!("a volume {path} twice or elsewhere"))?;
        for (b, held) in parts.zip(mapping.held().unwrap_or_default()) {
            let set = taken.entry(&b.path).or_default();
            check(held.iter().all(|e| !set.meets(e)), || format!("{path} lies on bytes of another volume"))?;
            *set = set.union(&held);
        }
    }
    check(layers.physical.len() <= MOST_PARTITIONS, || format!("{} physical volumes", layers.physical.len()))?;
    let mut told = HashSet::new();
    for (path, content) in &layers.physical {
        let luks = || {
            inspection.volume(path).filter(|v| matches!((&v.content, content), (Content::Luks(_), Content::Luks(_))))
        };
        let volume = beneath(path).or_else(luks).filter(|_| told.insert(path));
        let len = volume.map_or(ByteLen::ZERO, |v| v.extent.len());
        let inside = content.apart().is_some_and(|a| a.iter().last().is_none_or(|e| e.end().0 <= len.0));
        check(volume.is_some() && inside, || format!("what is on {path} makes no sense"))?;
        sound(content, path)?;
    }
    // What lies beneath is saved as far as no volume holds it: then it must be known what is on it.
    let all_told = taken.keys().all(|path| told.contains(path));
    check(all_told, || "a physical volume of which nothing is told".to_owned())?;
    findings(&layers.findings, |v| inspection.disk(v.disk()).is_some())?;
    Ok(layers)
}

/// What is on a volume.
pub(super) fn content(
    content: Content,
    found: Vec<Finding>,
    volume: &VolumePath,
) -> Result<(Content, Vec<Finding>), ParserError> {
    sound(&content, volume)?;
    let opened = matches!(&content, Content::Luks(l) if l.open || !l.apart.is_empty());
    check(!opened, || format!("{volume} was opened, which nobody asked for"))?;
    findings(&found, |v| v == volume)?;
    Ok((content, found))
}

/// Systems: all their volumes are ones there are.
pub(super) fn systems(
    systems: Vec<System>,
    found: Vec<Finding>,
    inspection: &Inspection,
) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
    check(systems.len() <= MOST_SYSTEMS, || format!("{} systems", systems.len()))?;
    for system in &systems {
        let mounts = system.boot.len() + system.other.len() + system.subvolumes.len();
        check(mounts <= MOST_MOUNTS, || format!("{mounts} mount points"))?;
        let paths = system.boot.iter().chain(&system.other).map(|(_, path)| path);
        let paths = paths.chain(system.subvolumes.iter().map(|s| &s.volume));
        for path in paths.chain([&system.root]) {
            check(inspection.volume(path).is_some(), || format!("a system on {path}, which there is none"))?;
        }
        let whole = |s: &MountedSubvolume| {
            s.mount.starts_with('/')
                && s.path.starts_with('/')
                && !s.path.ends_with('/')
                && s.path.len() <= LONGEST_PATH
        };
        check(system.subvolumes.iter().all(whole), || "a subvolume that is none".to_owned())?;
        let texts = [system.name.as_str(), system.os.0.as_str(), system.os.1.as_str()];
        check(texts.iter().all(|t| t.len() <= MOST_TEXT), || "a name without end".to_owned())?;
        let id = system.machine_id.as_ref();
        check(id.is_none_or(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())), || {
            "a machine id that is none".to_owned()
        })?;
    }
    findings(&found, |v| inspection.disk(v.disk()).is_some())?;
    Ok((systems, found))
}

/// Evidence: of a volume of the scene.
pub(super) fn evidence(evidence: Vec<Evidence>, scene: &Scene) -> Result<Vec<Evidence>, ParserError> {
    check(evidence.len() <= MOST_EVIDENCE, || format!("{} pieces of evidence", evidence.len()))?;
    for e in &evidence {
        let known = scene.volumes.iter().any(|v| v.path == e.origin.volume);
        check(known, || format!("evidence of {}", e.origin.volume))?;
        let path = e.origin.path.as_ref().map_or(0, |p| p.0.len());
        check(path + e.says.as_str().len() <= MOST_TEXT, || "evidence without end".to_owned())?;
    }
    Ok(evidence)
}

/// A coverage: inside its volume.
pub(super) fn coverage(coverage: Coverage, volume: &Volume) -> Result<Coverage, ParserError> {
    let len = volume.extent.len();
    let end = coverage.used.iter().last().map_or(0, |e| e.end().0);
    check(end <= len.0, || format!("used bytes up to {end} of {}, which has {}", volume.path, len.0))?;
    check(coverage.why.as_str().len() <= MOST_TEXT, || "a reason without end".to_owned())?;
    Ok(coverage)
}

/// What is the same: inside its volume, and nothing where nothing was proven.
pub(super) fn changes(changes: Changes, volume: &Volume) -> Result<Changes, ParserError> {
    let len = volume.extent.len();
    let end = changes.same.iter().last().map_or(0, |e| e.end().0);
    check(end <= len.0, || format!("unchanged bytes up to {end} of {}, which has {}", volume.path, len.0))?;
    check(changes.comparison != Comparison::Content || changes.same.is_empty(), || {
        format!("unchanged bytes of {} with nothing to prove it", volume.path)
    })?;
    check(changes.why.as_str().len() <= MOST_TEXT, || "a reason without end".to_owned())?;
    Ok(changes)
}

/// A table for another disk: a few pieces within it, in whole sectors, none over another.
pub(super) fn fitted(table: FittedTable, wanted: &FitTable) -> Result<FittedTable, ParserError> {
    check(matches!(table.sector.0, 512..=65536) && table.sector.0.is_power_of_two(), || {
        format!("sectors of {} bytes", table.sector.0)
    })?;
    check(table.id.len() <= 64, || "an id without end".to_owned())?;
    check(table.room <= wanted.size, || format!("{} bytes of room on a disk of {}", table.room.0, wanted.size.0))?;
    check(table.guids.len() <= MOST_PARTITIONS, || format!("{} partitions", table.guids.len()))?;
    check(table.guids.iter().all(|(_, id)| is_guid(id)), || "a partition with an id that is none".to_owned())?;
    check(table.made.len() <= MOST_MADE, || format!("a table in {} pieces", table.made.len()))?;
    let mut taken = ExtentSet::new();
    for made in &table.made {
        let place = made.place;
        let sound = made.whole(MOST_MADE_LEN).is_some() && place.start().0.is_multiple_of(512);
        check(sound && Extent::whole(wanted.size).contains(place), || format!("a table at {}", place.start()))?;
        check(taken.clip(place).is_empty(), || format!("two pieces of a table at {}", place.start()))?;
        taken.insert(place);
    }
    Ok(table)
}

/// A policy: one that its text can say.
pub(super) fn policy(policy: Policy) -> Result<Policy, ParserError> {
    check(policy.is_sound(), || "a policy that no text says".to_owned())?;
    Ok(policy)
}

/// Why there is none.
pub(super) fn policy_error(error: PolicyError) -> Result<PolicyError, ParserError> {
    check(error.says.as_str().len() <= MOST_TEXT, || "an error without end".to_owned())?;
    Ok(error)
}

/// A GUID that is written out, lower-case and hyphenated.
fn is_guid(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

/// Boot entries: as many as were asked about, bounded, and on a partition that has a GUID's name.
pub(super) fn load_options(options: Vec<ReadOption>, asked: usize) -> Result<Vec<ReadOption>, ParserError> {
    check(options.len() == asked, || format!("{} boot entries for {asked}", options.len()))?;
    for option in &options {
        let text = match option {
            Ok(o) => o.label.as_str().len() + o.file.as_ref().map_or(0, |f| f.as_str().len()),
            Err(why) => why.as_str().len(),
        };
        check(text <= 2 * MOST_TEXT, || "a boot entry without end".to_owned())?;
        let partition = option.as_ref().ok().and_then(|o| o.partition.as_ref());
        check(partition.is_none_or(|id| is_guid(id)), || "a partition with an id that is none".to_owned())?;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::coverage::CaptureMethod;
    use model::inspection::{Partition, Severity, Table, TableKind};

    fn volume() -> Volume {
        let path = VolumePath::partition(DiskNo(0), 1);
        Volume::on_disk(path, Extent::between(512, 1024).unwrap(), Content::Unknown)
    }

    fn reading(extent: Extent) -> TableReading {
        let partition = Partition { number: 1, extent, type_id: "83".into(), guid: None, name: None, bootable: false };
        let table = Table {
            kind: TableKind::Mbr,
            id: "00000001".into(),
            partitions: vec![partition],
            raw: vec![Extent::between(0, 512).unwrap()],
            from_backup: false,
        };
        let volumes = vec![(volume().path, extent, None)];
        TableReading { table: Some(table), volumes, findings: Vec::new() }
    }

    #[test]
    fn a_table_stays_on_its_disk() {
        let good = reading(Extent::between(512, 1024).unwrap());
        assert!(table(good.clone(), DiskNo(0), 1024).is_ok());
        assert!(table(good.clone(), DiskNo(0), 1023).is_err());
        assert!(table(good.clone(), DiskNo(1), 1024).is_err());
        let mut twice = good.clone();
        twice.volumes.push(twice.volumes[0].clone());
        assert!(table(twice, DiskNo(0), 1024).is_err());
        let mut raw = good.clone();
        raw.table.as_mut().unwrap().raw = vec![Extent::between(1024, 1536).unwrap()];
        assert!(table(raw, DiskNo(0), 1024).is_err());
        let mut elsewhere = good;
        elsewhere.findings.push(Finding {
            severity: Severity::Note,
            volume: VolumePath::whole(DiskNo(3)),
            says: "".into(),
            advice: "".into(),
        });
        assert!(table(elsewhere, DiskNo(0), 1024).is_err());
    }

    #[test]
    fn a_coverage_stays_in_its_volume() {
        let of = |end| Coverage {
            method: CaptureMethod::UsedBlocks,
            why: "".into(),
            used: [Extent::between(0, end).unwrap()].into_iter().collect(),
            state: None,
        };
        assert!(coverage(of(512), &volume()).is_ok());
        assert!(coverage(of(513), &volume()).is_err());
    }

    #[test]
    fn a_fitted_table_stays_on_its_disk() {
        use model::inspection::TableKind;
        use model::restore::{HexBytes, MadeBytes};
        use model::units::{ByteOffset, SectorSize};
        let sector = SectorSize::B512;
        let wanted = FitTable { kind: TableKind::Gpt, sector, size: ByteLen(4096), new_ids: None, grow: None };
        let made = |at, len: usize| MadeBytes::new(ByteOffset(at), &vec![1; len]).unwrap();
        let (room, guids) = (ByteLen::ZERO, Vec::new());
        let of =
            |made| FittedTable { sector, smallest: ByteLen(1), made, id: String::new(), guids: guids.clone(), room };
        assert!(fitted(of(vec![made(0, 512), made(3584, 512)]), &wanted).is_ok());
        let longer = MadeBytes { place: Extent::between(0, 1).unwrap(), bytes: HexBytes(vec![1; 2]) };
        for bad in [
            vec![made(3584, 513)],
            vec![made(4096, 512)],
            vec![made(1, 512)],
            vec![made(0, 1024), made(512, 512)],
            vec![longer],
            (0..9).map(|i| made(i * 512, 1)).collect(),
        ] {
            assert!(fitted(of(bad.clone()), &wanted).is_err(), "{bad:?}");
        }
        let absurd = FittedTable { sector: SectorSize(513), ..of(Vec::new()) };
        assert!(fitted(absurd, &wanted).is_err());
        assert!(fitted(FittedTable { room: ByteLen(4097), ..of(Vec::new()) }, &wanted).is_err());
        for (id, sound) in
            [("00112233-4455-6677-8899-010203040506", true), ("00112233-4455-6677-8899-01020304050", false)]
        {
            let table = FittedTable { guids: vec![(1, id.to_owned())], ..of(Vec::new()) };
            assert_eq!(fitted(table, &wanted).is_ok(), sound, "{id}");
        }
    }

    #[test]
    fn a_policy_is_one_that_can_be_written() {
        assert!(policy(Policy::default()).is_ok());
        assert!(policy(Policy { wait: 0, ..Policy::default() }).is_err());
        let says = "x".repeat(MOST_TEXT + 1);
        assert!(policy_error(PolicyError { line: 1, says: says.as_str().into() }).is_err());
    }

    #[test]
    fn a_system_lies_on_volumes_there_are() {
        let system = System {
            name: "x".into(),
            os: ("debian".into(), "12".into()),
            hostname: None,
            machine_id: None,
            root: volume().path,
            boot: Vec::new(),
            other: Vec::new(),
            subvolumes: Vec::new(),
        };
        assert!(systems(vec![system], Vec::new(), &Inspection::default()).is_err());
    }
}
