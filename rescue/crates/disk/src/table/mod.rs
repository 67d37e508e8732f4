//! Partition tables: which there is, its partitions, and the volumes they make.

mod fit;
mod gpt;
mod mbr;

pub use fit::fit;

use crate::{content, finding};
use gpt::{Bad, Copy, Found};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding, GPT_BIOS_BOOT, Partition, Severity, Table, TableKind};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet, Lba, SectorSize};
use std::sync::Arc;

/// What was read of a disk's partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReading {
    /// The table, where there is one that could be read.
    pub table: Option<Table>,
    /// The volumes in order of place, each with what the table alone says is on it. None for an extended partition, nor for
    /// what lies past the end of the disk; a partition that runs past the end is clipped.
    pub volumes: Vec<(VolumePath, Extent, Option<Content>)>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// The most partitions that are listed: as many as Linux has numbers for (`DISK_MAX_PARTS`).
const MOST_PARTITIONS: usize = 256;
/// How much of the gap before the first partition belongs to the table: boot loaders keep their core there.
const GAP: u64 = 1 << 20;
/// For a copy that is damaged or missing, where what the other says still tells where the partitions are.
const REPAIR: &str = "a rollback to a snapshot that holds this table can repair it";
/// For a table that does not tell where the partitions are: a rollback writes nothing to a disk it has to guess about.
const BY_HAND: &str = "a rollback cannot repair this: put the table right with a partition tool first (`gdisk`, `testdisk`), \
                       then look again";

/// Reads the partition table of a disk with sectors of `sector` bytes.
///
/// A GPT stands where the kernel would see one: behind a protective MBR. Where that is damaged too, it is still read if the
/// GPT itself holds together and nothing else lies on the disk. An image of a disk with other sectors (512 or 4096) is
/// recognised by where its GPT stands.
pub fn read(disk: DiskNo, sector: SectorSize, bytes: &Arc<dyn ReadAt>) -> TableReading {
    let mut reader = Reader { path: VolumePath::whole(disk), sector, bytes, findings: Vec::new() };
    let head = mbr::Head::read(bytes.as_ref());
    let (table, volumes) = match &head {
        Some(head) if head.protective() => reader.behind_protective(),
        Some(head) if head.any() && reader.is_table(head) => reader.by_mbr(head),
        _ => reader.by_nothing(head.as_ref()),
    };
    TableReading { table, volumes, findings: reader.findings }
}

/// The bytes that make the first copy of a GPT good again, from the second: its header, its entries, and the table in sector 0
/// that announces it, where that is lost. `None` where the second copy is not good either, or leaves no room.
pub fn first_copy(bytes: &dyn ReadAt, sector: SectorSize) -> Option<Vec<(ByteOffset, Vec<u8>)>> {
    let other = if sector == SectorSize::B4096 { SectorSize::B512 } else { SectorSize::B4096 };
    let (sector, mut pieces) =
        [sector, other].into_iter().find_map(|sector| Some((sector, gpt::first_copy(bytes, sector)?)))?;
    let mut first = bytes.read_vec(ByteOffset(0), 512).ok()?;
    if !announces_gpt(&first) {
        // One partition of type EE over all of it (UEFI specification, section 5.2.3); the boot code before it stays.
        let sectors = u32::try_from(bytes.size().0 / u64::from(sector.0) - 1).unwrap_or(u32::MAX);
        first[446..].fill(0);
        first[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
        first[454..458].copy_from_slice(&1u32.to_le_bytes());
        first[458..462].copy_from_slice(&sectors.to_le_bytes());
        first[510..].copy_from_slice(&[0x55, 0xaa]);
        pieces.insert(0, (ByteOffset(0), first));
    }
    Some(pieces)
}

/// True where sector 0 tells firmware and kernel of a GPT.
pub(crate) fn announces_gpt(first: &[u8]) -> bool {
    let entry = |n: usize| first.get(446 + n * 16 + 4) == Some(&0xee);
    first.get(510..512) == Some(&[0x55, 0xaa]) && (0..4).any(entry)
}

type Volumes = Vec<(VolumePath, Extent, Option<Content>)>;

struct Reader<'a> {
    path: VolumePath,
    sector: SectorSize,
    bytes: &'a Arc<dyn ReadAt>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn report(&mut self, severity: Severity, says: impl AsRef<str>, advice: &str) {
        self.findings.push(finding(severity, &self.path, says, advice));
    }

    /// The whole disk as one volume.
    fn whole(&self, content: Option<Content>) -> (Option<Table>, Volumes) {
        (None, vec![(self.path.clone(), Extent::whole(self.bytes.size()), content)])
    }

    /// Sector 0 says there is a GPT.
    fn behind_protective(&mut self) -> (Option<Table>, Volumes) {
        let mut found = Found::look(self.bytes.as_ref(), self.sector);
        if found.primary.is_err() {
            // An image file does not tell its sector size.
            let other = if self.sector == SectorSize::B4096 { SectorSize::B512 } else { SectorSize::B4096 };
            let elsewhere = Found::look(self.bytes.as_ref(), other);
            if elsewhere.primary.is_ok() || (found.backup.is_err() && elsewhere.backup.is_ok()) {
                let says =
                    format!("the partition table is written for sectors of {} bytes, not {}", other.0, self.sector.0);
                self.report(Severity::Note, says, "it is read as written");
                self.sector = other;
                found = elsewhere;
            }
        }
        self.by_gpt(found)
    }

    /// There is no table in sector 0. A GPT whose first sector was lost is still one, unless something else lies here.
    fn by_nothing(&mut self, head: Option<&mbr::Head>) -> (Option<Table>, Volumes) {
        // The content's own findings come when the volume is identified.
        let content = content::identify(&self.path, self.bytes).0;
        if !matches!(content, Content::Empty | Content::Unknown) {
            return self.whole(None);
        }
        let found = Found::look(self.bytes.as_ref(), self.sector);
        if found.primary.is_ok() || found.backup.is_ok() {
            let says = "sector 0 has no protective MBR: firmware and kernel will not see the GPT partitions";
            self.report(Severity::Damage, says, REPAIR);
            return self.by_gpt(found);
        }
        match head {
            // A table without partitions yet.
            Some(head) if content != Content::Empty && head.signature != 0 => self.by_mbr(head),
            _ => self.whole(None),
        }
    }

    /// True where sector 0 is a table and not the boot sector of a file system that happens to look like one.
    fn is_table(&self, head: &mbr::Head) -> bool {
        head.plausible(self.bytes.size(), self.sector)
            || matches!(content::identify(&self.path, self.bytes).0, Content::Unknown | Content::Empty)
    }

    fn by_gpt(&mut self, found: Found) -> (Option<Table>, Volumes) {
        self.judge(&found);
        let Found { primary, backup, .. } = found;
        let from_backup = primary.is_err();
        let other = primary.as_ref().ok().and(backup.as_ref().ok()).map(|copy| copy.raw.clone());
        let Ok(copy) = primary.or(backup) else {
            return self.whole(Some(Content::Unknown));
        };
        let mut partitions = Vec::new();
        for partition in copy.partitions() {
            match partition {
                Ok(p) => partitions.push(p),
                Err(what) if self.findings.len() < MOST_PARTITIONS => {
                    self.report(
                        Severity::Damage,
                        format!("the partition table is wrong: {what}; it is left out"),
                        BY_HAND,
                    );
                }
                Err(_) => {}
            }
        }
        // The other copy's place is part of the table even where that copy is damaged: it is to be saved and repaired too. A
        // place that is only guessed gives way to what the table says lies there.
        let other = other.unwrap_or_else(|| {
            let free = |e: &Extent| partitions.iter().all(|p| p.extent.intersect(*e).is_none());
            copy.other_place(self.bytes.size()).into_iter().filter(free).collect()
        });
        let raw = copy.raw.iter().copied().chain(other);
        let table = self.table(TableKind::Gpt, copy.id(), partitions, raw, from_backup);
        let volumes = self.volumes(&table);
        (Some(table), volumes)
    }

    /// Says what is wrong with the copies.
    fn judge(&mut self, found: &Found) {
        let Found { primary, backup, backup_at, last } = found;
        match (primary, backup) {
            (Ok(one), Ok(two)) if !one.agrees(two) => self.report(
                Severity::Warning,
                format!("the backup partition table at sector {} differs from the primary, which is used", backup_at.0),
                REPAIR,
            ),
            (Ok(_), Ok(_)) if backup_at != last => self.report(
                Severity::Note,
                format!("the disk ends at sector {}, the partition table at {}: it has grown", last.0, backup_at.0),
                "nothing needs to be done",
            ),
            (Ok(_), Ok(_)) => {}
            (Ok(one), Err(bad)) if one.header.backup_lba > last.0 => self.report(
                Severity::Damage,
                format!(
                    "the disk ends at sector {}, its partition table at {}: the disk or image is cut short ({})",
                    last.0, one.header.backup_lba, bad.why
                ),
                "find the whole disk or image; what lies past the end cannot be saved",
            ),
            (Ok(_), Err(bad)) => self.report(
                Severity::Warning,
                format!(
                    "the backup partition table at sector {} is damaged: {}; the primary is good",
                    backup_at.0, bad.why
                ),
                REPAIR,
            ),
            (Err(bad), Ok(_)) => self.report(
                Severity::Warning,
                format!(
                    "the primary partition table is damaged: {}; the backup at sector {} is good and is used",
                    bad.why, backup_at.0
                ),
                REPAIR,
            ),
            (Err(first), Err(second)) => {
                let says = if found.absent() {
                    "sector 0 says there is a GPT, but neither copy of it is there".to_owned()
                } else {
                    let Bad { why, .. } = first;
                    format!(
                        "both partition tables are damaged: the primary ({why}) and the backup at sector {} ({})",
                        backup_at.0, second.why
                    )
                };
                self.report(Severity::Damage, says, BY_HAND);
            }
        }
    }

    fn by_mbr(&mut self, head: &mbr::Head) -> (Option<Table>, Volumes) {
        let reading = mbr::read(head, self.bytes, self.sector);
        for damage in &reading.damage {
            self.report(Severity::Damage, format!("the partition table is damaged: {damage}"), BY_HAND);
        }
        if Found::look(self.bytes.as_ref(), self.sector).primary.is_ok() {
            let says = "a GPT stands behind this MBR, which does not announce it; the MBR is used, as the kernel does";
            self.report(
                Severity::Warning,
                says,
                "if the disk had a GPT, bring it back with a partition tool first (`gdisk`), then look again",
            );
        }
        let id = format!("{:08x}", head.signature);
        let table = self.table(TableKind::Mbr, id, reading.partitions, reading.records.into_iter(), false);
        let volumes = self.volumes(&table);
        (Some(table), volumes)
    }

    /// The table with its raw extents: what it names, sector 0, and the gap up to the first partition.
    fn table(
        &mut self,
        kind: TableKind,
        id: String,
        mut partitions: Vec<Partition>,
        raw: impl Iterator<Item = Extent>,
        from_backup: bool,
    ) -> Table {
        if partitions.len() > MOST_PARTITIONS {
            let says = format!("the table has {} partitions; {MOST_PARTITIONS} are shown", partitions.len());
            self.report(Severity::Damage, says, "the others are neither saved nor written");
            partitions.truncate(MOST_PARTITIONS);
        }
        partitions.sort_by_key(|p| p.number);
        let size = self.bytes.size();
        let first = partitions.iter().map(|p| p.extent.start().0).min().unwrap_or(GAP);
        let gap = first.clamp(u64::from(self.sector.0), GAP).min(size.0);
        let all: Vec<Extent> = raw.chain([Extent::whole(ByteLen(gap))]).collect();
        let all = ExtentSet::from(all).clip(Extent::whole(size));
        Table { kind, id, partitions, raw: all.into(), from_backup }
    }

    /// The volumes of a table, in order of place; says what overlaps or runs past the end.
    fn volumes(&mut self, table: &Table) -> Volumes {
        let disk = Extent::whole(self.bytes.size());
        let extended = |p: &Partition| table.kind == TableKind::Mbr && matches!(p.type_id.as_str(), "05" | "0f" | "85");
        let mut volumes = Volumes::new();
        for p in table.partitions.iter().filter(|p| !extended(p)) {
            let path = VolumePath::partition(self.path.disk(), p.number);
            let content = (table.kind == TableKind::Gpt && p.type_id == GPT_BIOS_BOOT).then_some(Content::BiosBoot);
            let inside = p.extent.intersect(disk);
            if inside != Some(p.extent) {
                let what = if inside.is_some() { "what is there is shown" } else { "it is left out" };
                let says = format!(
                    "partition {} lies at {} to {}, past the end of the disk at {}: {what}",
                    p.number,
                    p.extent.start(),
                    p.extent.end(),
                    disk.end()
                );
                self.report(
                    Severity::Damage,
                    says,
                    "find the whole disk or image; what lies past the end cannot be saved",
                );
            }
            volumes.extend(inside.map(|extent| (path, extent, content)));
        }
        volumes.sort_by_key(|(path, extent, _)| (*extent, path.clone()));
        for (path, extent, _) in &volumes {
            if table.raw.iter().any(|raw| raw.intersect(*extent).is_some()) {
                let says = format!("{path} overlaps the partition table itself");
                self.findings.push(finding(Severity::Damage, &self.path, says, BY_HAND));
            }
        }
        for pair in volumes.windows(2) {
            if pair[0].1.intersect(pair[1].1).is_some() {
                let says = format!("{} and {} overlap", pair[0].0, pair[1].0);
                self.findings.push(finding(Severity::Damage, &self.path, says, BY_HAND));
            }
        }
        volumes
    }
}

impl Copy {
    /// Where the other copy ought to stand: its header where this one says, its entries next to it as is customary.
    fn other_place(&self, size: ByteLen) -> Vec<Extent> {
        let unit = u64::from(self.sector().0);
        let entries = self.raw.iter().map(|e| e.len().0).sum::<u64>().saturating_sub(unit);
        let Some(header) = Lba(self.header.backup_lba).to_bytes(self.sector()) else { return Vec::new() };
        let primary = self.header.current_lba == 1;
        let extent = if primary {
            header.0.checked_add(unit).and_then(|end| Extent::between(header.0.saturating_sub(entries), end))
        } else {
            Extent::between(header.0, header.0.saturating_add(unit + entries))
        };
        extent.and_then(|e| e.intersect(Extent::whole(size))).into_iter().collect()
    }
}
