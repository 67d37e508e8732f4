//! Partition tables: GPT and MBR, read, mended, and fitted to another disk.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::files::{answered, source};
use crate::image::Image;
use crate::sums::{Sum, crc32_from};
use engine::parser::{Local, Parser};
use model::id::{Digest, DiskNo};
use model::inspection::TableKind;
use model::restore::{FitTable, GrowPartition};
use model::units::{ByteLen, SectorSize};
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "table",
    meets: "GPT and MBR with logical partitions; a table fitted to another disk; the first copy of a GPT made of the second",
    run,
    seeds: || seeds(&BASES),
};

const SECTOR: u64 = 512;

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let gpt = Image::unpack(include_bytes!("../../bases/gpt.zst"));
    let end = gpt.len();
    let places =
        vec![(0, SECTOR), (446, 66), (SECTOR, 92), (2 * SECTOR, 1024), (end - SECTOR, 92), (end - 33 * SECTOR, 1024)];
    let sums = gpt_sums(&gpt);
    let mbr = Image::unpack(include_bytes!("../../bases/mbr.zst"));
    // The table, and the chain of those of logical partitions.
    let mut tables = vec![(440, 72)];
    tables.extend(
        (0..mbr.len())
            .step_by(512)
            .filter(|at| *at > 0 && mbr.get(at + 510, 2) == [0x55, 0xaa])
            .map(|at| (at + 446, 66)),
    );
    vec![Base::new(gpt, places, sums), Base::new(mbr, tables, Vec::new())]
});

/// Of both copies of a GPT: the sum of the entries, and then of the header that holds it.
pub(super) fn gpt_sums(image: &Image) -> Vec<Sum> {
    let crc = |bytes: &[u8]| (!crc32_from(!0, bytes)).to_le_bytes().to_vec();
    let mut sums = Vec::new();
    for header in [SECTOR, image.len() - SECTOR] {
        let entries = image.le(header + 72, 8).saturating_mul(SECTOR);
        let len = image.le(header + 80, 4) * image.le(header + 84, 4);
        sums.push(Sum::new(vec![(entries, len.min(1 << 20))], vec![(header + 88, 4)], crc));
        sums.push(Sum::new(vec![(header, 92)], vec![(header + 16, 4)], crc));
    }
    sums
}

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    let (bytes, flags) = (changed.image.bytes(), changed.flags);
    let mut disk = source(0, bytes.clone());
    disk.hardware.sector = if flags & 1 == 0 { SectorSize::B512 } else { SectorSize::B4096 };
    let sector = disk.hardware.sector;
    let parser = Local::new(vec![disk]);
    let reading = answered(parser.table(DiskNo(0)));
    if let Some(pieces) = disk::table::first_copy(&*bytes, sector) {
        let end = |(at, bytes): &(model::units::ByteOffset, Vec<u8>)| at.0 + bytes.len() as u64 <= changed.image.len();
        assert!(pieces.iter().all(end), "a first copy outside the disk");
    }
    let number = reading.and_then(|r| r.table).and_then(|t| t.partitions.last().map(|p| p.number)).unwrap_or(1);
    for kind in [TableKind::Gpt, TableKind::Mbr] {
        let wanted = FitTable {
            kind,
            sector,
            size: ByteLen(if flags & 2 == 0 { 24 << 20 } else { 12 << 20 }),
            new_ids: (flags & 4 != 0).then(|| Digest::of(b"new")),
            grow: (flags & 8 != 0).then_some(GrowPartition { number, by: ByteLen(1 << 20) }),
        };
        answered(parser.fit_table(bytes.clone(), &wanted));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_copies_have_their_sums() {
        assert_eq!(super::BASES[0].sums(), 4);
    }
}
