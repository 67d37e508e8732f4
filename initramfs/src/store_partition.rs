//! The store partition on its stick: found by its GUID, grown to the stick's end by rewriting the GPT.
//!
//! Written by hand because every entry must keep its index: the loader and the kernel command line count on them. The
//! format is that of the UEFI specification 2.10, section 5.3; all positions are bounded before they are used, for the
//! stick may have been in anybody's hands.

use model::inspection::GPT_STORE;
use model::ports::{ReadAt, ReadError};
use model::units::{ByteOffset, Extent, SectorSize};

const SIGNATURE: &[u8; 8] = b"EFI PART";
/// `HeaderSize` of revision 1.0, all that is used.
const HEADER: usize = 92;
/// Entry arrays seen are 16 KiB; this bounds what is believed.
const MOST_ARRAY: u64 = 1 << 20;
/// Partitions end on whole MiB, as the other partitions begin on them.
const MIB: u64 = 1 << 20;

/// The stick's table cannot be used.
#[derive(Debug)]
pub(crate) enum TableError {
    /// Reading failed.
    Read(ReadError),
    /// There is no valid GPT, neither at the start nor at the end.
    None,
    /// The partition lies in front of another, so it cannot grow.
    NotLast,
    /// The entry array is not where it always is, or a partition lies over it.
    Elsewhere,
    /// The disk is shorter than its table says.
    Short,
}

impl std::fmt::Display for TableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(e) => write!(f, "{e}"),
            Self::None => f.write_str("no valid GPT at its start or end"),
            Self::Elsewhere => f.write_str("its entry array does not lie behind its header alone"),
            Self::Short => f.write_str("it is shorter than its table says"),
            Self::NotLast => f.write_str("another partition lies behind it"),
        }
    }
}

impl From<ReadError> for TableError {
    fn from(e: ReadError) -> Self {
        Self::Read(e)
    }
}

/// The store partition as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Entry index from 1.
    pub(crate) number: u32,
    /// Where it lies.
    pub(crate) extent: Extent,
    /// Its type is the store's own.
    pub(crate) is_store: bool,
}

/// What must be written, in this order, each durable before the next; and what the partition is then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// (position, bytes)
    pub(crate) writes: Vec<(ByteOffset, Vec<u8>)>,
    /// The partition afterwards.
    pub(crate) found: Found,
}

/// A valid table: the header's first 92 bytes and the entry array.
struct Gpt {
    header: Vec<u8>,
    entries: Vec<u8>,
    entry_size: usize,
    from_backup: bool,
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4).and_then(|s| s.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    b.get(at..at + 8).and_then(|s| s.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn put_u32(b: &mut [u8], at: usize, v: u32) {
    b[at..at + 4].copy_from_slice(&v.to_le_bytes());
}

fn put_u64(b: &mut [u8], at: usize, v: u64) {
    b[at..at + 8].copy_from_slice(&v.to_le_bytes());
}

/// CRC-32 as the UEFI specification uses it (ITU-T V.42, reflected 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for b in bytes {
        crc ^= u32::from(*b);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// A GUID as text, its first three fields little-endian (UEFI 2.10, appendix A).
fn guid_text(b: &[u8]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut out = String::with_capacity(36);
    for (n, i) in ORDER.into_iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{:02x}", b.get(i).copied().unwrap_or(0)));
    }
    out
}

/// Reads the header at `lba` and its entry array; `None` where anything about them is not valid.
fn read_at(disk: &dyn ReadAt, sector: u64, lba: u64) -> Result<Option<Gpt>, ReadError> {
    let size = disk.size().0;
    let inside =
        |lba: u64, len: u64| lba.checked_mul(sector).filter(|at| at.checked_add(len).is_some_and(|e| e <= size));
    let Some(at) = inside(lba, sector) else { return Ok(None) };
    let header = disk.read_vec(ByteOffset(at), HEADER)?;
    let mut blank = header.clone();
    put_u32(&mut blank, 16, 0);
    let (count, entry_size) = (u64::from(u32_at(&header, 80)), u64::from(u32_at(&header, 84)));
    let valid = &header[..8] == SIGNATURE
        && u32_at(&header, 12) == 92
        && crc32(&blank) == u32_at(&header, 16)
        && u64_at(&header, 24) == lba
        && entry_size >= 128
        && entry_size.is_power_of_two()
        && count * entry_size <= MOST_ARRAY;
    if !valid {
        return Ok(None);
    }
    let len = count * entry_size;
    let Some(at) = inside(u64_at(&header, 72), len) else { return Ok(None) };
    let as_usize = |n: u64| usize::try_from(n).expect("bounded by MOST_ARRAY");
    let entries = disk.read_vec(ByteOffset(at), as_usize(len))?;
    if crc32(&entries) != u32_at(&header, 88) {
        return Ok(None);
    }
    Ok(Some(Gpt { header, entries, entry_size: as_usize(entry_size), from_backup: lba != 1 }))
}

fn read(disk: &dyn ReadAt, sector: SectorSize) -> Result<Gpt, TableError> {
    let sector = u64::from(sector.0);
    if let Some(gpt) = read_at(disk, sector, 1)? {
        return Ok(gpt);
    }
    let last = (disk.size().0 / sector).saturating_sub(1);
    read_at(disk, sector, last)?.ok_or(TableError::None)
}

impl Gpt {
    /// Entries in use: (index from 0, first and last LBA, bytes).
    fn used(&self) -> impl Iterator<Item = (usize, u64, u64, &[u8])> {
        let used = |e: &&[u8]| e[..16].iter().any(|b| *b != 0);
        let entries = self.entries.chunks_exact(self.entry_size).enumerate();
        entries.filter(move |(_, e)| used(e)).map(|(i, e)| (i, u64_at(e, 32), u64_at(e, 40), e))
    }

    fn find(&self, sector: u64, guid: &str) -> Option<Found> {
        let (i, first, last, entry) = self.used().find(|(_, _, _, e)| guid_text(&e[16..32]) == guid)?;
        let end = last.checked_add(1)?.checked_mul(sector)?;
        let extent = Extent::between(first.checked_mul(sector)?, end)?;
        let is_store = guid_text(&entry[..16]) == GPT_STORE;
        Some(Found { number: u32::try_from(i + 1).ok()?, extent, is_store })
    }
}

/// The partition of that GUID (lower-case, hyphenated); `None` where the disk has no valid GPT or no such partition.
pub(crate) fn find(disk: &dyn ReadAt, sector: SectorSize, guid: &str) -> Result<Option<Found>, ReadError> {
    match read(disk, sector) {
        Ok(gpt) => Ok(gpt.find(u64::from(sector.0), guid)),
        Err(TableError::Read(e)) => Err(e),
        Err(_) => Ok(None),
    }
}

/// The GUID of the store partition of a disk of which nothing else is known, as the text that [`find`] and [`grow`] take; `None` where the
/// disk has no valid GPT, or not exactly one partition of that type.
pub(crate) fn guid_of_store(disk: &dyn ReadAt, sector: SectorSize) -> Result<Option<String>, ReadError> {
    let gpt = match read(disk, sector) {
        Ok(gpt) => gpt,
        Err(TableError::Read(e)) => return Err(e),
        Err(_) => return Ok(None),
    };
    let mut stores = gpt.used().filter(|(_, _, _, entry)| guid_text(&entry[..16]) == GPT_STORE);
    let first = stores.next().map(|(_, _, _, entry)| guid_text(&entry[16..32]));
    Ok(first.filter(|_| stores.next().is_none()))
}

/// How to let the partition of that GUID reach to the disk's end, the backup table moving there. `None` where it
/// already does. Where the primary table was torn by a cut in an earlier rewrite, it is written again from the backup.
///
/// Every write is whole sectors. The backup comes first: while the primary is being written, it stands already.
pub(crate) fn grow(disk: &dyn ReadAt, sector: SectorSize, guid: &str) -> Result<Option<Rewrite>, TableError> {
    let s = u64::from(sector.0);
    let mut gpt = read(disk, sector)?;
    let Some(found) = gpt.find(s, guid) else { return Err(TableError::None) };
    let sectors = disk.size().0 / s;
    let array_sectors = (gpt.entries.len() as u64).div_ceil(s);
    let index = usize::try_from(found.number - 1).expect("an index of the array");
    let behind = gpt.used().any(|(i, _, last, _)| i != index && last.saturating_mul(s) >= found.extent.start().0);
    // Header and array are written in one go, so that as little as can be is torn by a cut.
    let (array_lba, first_usable) = (2u64, 2 + array_sectors);
    let elsewhere = !gpt.from_backup && u64_at(&gpt.header, 72) != array_lba;
    if elsewhere || gpt.used().any(|(_, first, _, _)| first < first_usable) {
        return Err(TableError::Elsewhere);
    }
    // [array][header] at the disk's very end; too small a disk has no room for them.
    let backup_lba = sectors.saturating_sub(1);
    let backup_array = backup_lba.saturating_sub(array_sectors);
    let usable_end = backup_array.saturating_mul(s);
    let end = (usable_end / MIB * MIB).max(found.extent.end().0);
    if backup_array <= first_usable || end > usable_end || end % s != 0 {
        return Err(TableError::Short);
    }
    let last_usable = backup_array - 1;
    let in_place = !gpt.from_backup && u64_at(&gpt.header, 32) == backup_lba;
    if end == found.extent.end().0 && in_place {
        return Ok(None);
    }
    if behind {
        return Err(TableError::NotLast);
    }
    put_u64(&mut gpt.entries, index * gpt.entry_size + 40, end / s - 1);
    let array_crc = crc32(&gpt.entries);
    let header = |my: u64, other: u64, array: u64| {
        let mut h = gpt.header.clone();
        put_u64(&mut h, 24, my);
        put_u64(&mut h, 32, other);
        put_u64(&mut h, 48, last_usable);
        put_u64(&mut h, 72, array);
        put_u32(&mut h, 88, array_crc);
        put_u32(&mut h, 16, 0);
        let crc = crc32(&h);
        put_u32(&mut h, 16, crc);
        padded(h, s)
    };
    let array = padded(gpt.entries.clone(), s);
    let mut backup = array.clone();
    backup.extend(header(backup_lba, 1, backup_array));
    let mut primary = header(1, backup_lba, array_lba);
    primary.extend(array);
    let mut writes = vec![(ByteOffset(backup_array * s), backup), (ByteOffset(s), primary)];
    if let Some(mbr) = protective(disk, s, sectors)? {
        writes.push((ByteOffset(0), mbr));
    }
    let extent = Extent::between(found.extent.start().0, end).ok_or(TableError::None)?;
    Ok(Some(Rewrite { writes, found: Found { extent, ..found } }))
}

/// Fills up to whole sectors with zeros, as the specification has the rest of a header.
fn padded(mut bytes: Vec<u8>, sector: u64) -> Vec<u8> {
    let sector = usize::try_from(sector).expect("a sector size");
    bytes.resize(bytes.len().next_multiple_of(sector), 0);
    bytes
}

/// The first sector with the protective entry covering the disk (UEFI 2.10, 5.2.3), where it has one; boot
/// code and everything else stay.
fn protective(disk: &dyn ReadAt, sector: u64, sectors: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let len = usize::try_from(sector).expect("a sector size");
    let mut mbr = disk.read_vec(ByteOffset(0), len)?;
    let Some(entry) = (0..4).map(|i| 446 + 16 * i).find(|at| mbr[at + 4] == 0xEE) else { return Ok(None) };
    let covers = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    if mbr[510..512] != [0x55, 0xAA] || u32_at(&mbr, entry + 12) == covers {
        return Ok(None);
    }
    put_u32(&mut mbr, entry + 12, covers);
    Ok(Some(mbr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const GUID: &str = "6f3e6a52-9c1b-4a7e-8f55-0123456789ab";

    fn sgdisk(args: &[&str]) -> String {
        let out = Command::new("sgdisk").args(args).output();
        let out = out.expect("these tests check against sgdisk: install the package gdisk");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "sgdisk {args:?}: {text}");
        text
    }

    /// A stick as the image is written to it: a table for 40 MiB, partitions 1, 2 and 5 (the store), then more room.
    fn stick(more: u64) -> (tempfile::NamedTempFile, Vec<u8>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(40 * MIB).unwrap();
        let path = file.path().to_str().unwrap();
        let kind = format!("5:{GPT_STORE}");
        let unique = format!("5:{GUID}");
        let args = ["-n", "1:2048:4095", "-n", "2:4096:16383", "-n", "5:16384:69631", "-t", &kind, "-u", &unique, path];
        sgdisk(&args);
        file.as_file().set_len(40 * MIB + more).unwrap();
        let bytes = std::fs::read(path).unwrap();
        (file, bytes)
    }

    fn apply(disk: &mut [u8], at: ByteOffset, bytes: &[u8]) {
        let at = usize::try_from(at.0).unwrap();
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn grown(disk: &Vec<u8>) -> Rewrite {
        grow(disk, SectorSize::B512, GUID).unwrap().expect("there is room")
    }

    #[test]
    fn grows_to_the_end_and_keeps_every_number() {
        // Sizes that are no whole MiB included.
        for more in [64 * MIB, 64 * MIB + 512 * 77, 3 * MIB] {
            let (file, mut disk) = stick(more);
            let before = find(&disk, SectorSize::B512, GUID).unwrap().unwrap();
            assert_eq!((before.number, before.extent.start().0, before.is_store), (5, 8 * MIB, true));
            let rewrite = grown(&disk);
            for (at, bytes) in &rewrite.writes {
                assert!(at.0 % 512 == 0 && bytes.len() % 512 == 0);
                apply(&mut disk, *at, bytes);
            }
            assert_eq!(find(&disk, SectorSize::B512, GUID).unwrap(), Some(rewrite.found));
            assert_eq!(rewrite.found.extent.start(), before.extent.start());
            let size = 40 * MIB + more;
            assert!(rewrite.found.extent.end().0 > size - 2 * MIB && rewrite.found.extent.end().0.is_multiple_of(MIB));
            std::fs::write(file.path(), &disk).unwrap();
            let path = file.path().to_str().unwrap();
            assert!(sgdisk(&["-v", path]).contains("No problems found"), "{}", sgdisk(&["-v", path]));
            let list = sgdisk(&["-p", path]);
            let numbers: Vec<&str> =
                list.lines().filter_map(|l| l.split_whitespace().next()).filter(|w| w.parse::<u32>().is_ok()).collect();
            assert_eq!(numbers, ["1", "2", "5"], "{list}");
            // Grown, there is nothing more to do.
            assert_eq!(grow(&disk, SectorSize::B512, GUID).unwrap(), None);
        }
    }

    /// A stick is known by the type of its partition, where there is one of that type and no more.
    #[test]
    fn another_stick_is_known_by_its_type() {
        let (file, disk) = stick(MIB);
        assert_eq!(guid_of_store(&disk, SectorSize::B512).unwrap().as_deref(), Some(GUID));
        assert_eq!(guid_of_store(&disk, SectorSize::B4096).unwrap(), None);
        assert_eq!(guid_of_store(&vec![0u8; 4096], SectorSize::B512).unwrap(), None);
        let path = file.path().to_str().unwrap();
        sgdisk(&["-t", &format!("2:{GPT_STORE}"), path]);
        assert_eq!(guid_of_store(&std::fs::read(path).unwrap(), SectorSize::B512).unwrap(), None, "two of them");
        sgdisk(&["-t", "2:8300", "-t", "5:8300", path]);
        assert_eq!(guid_of_store(&std::fs::read(path).unwrap(), SectorSize::B512).unwrap(), None, "another system's");
    }

    #[test]
    fn a_cut_at_any_sector_leaves_a_table_that_is_found_and_finished() {
        let (_file, start) = stick(16 * MIB);
        let rewrite = grown(&start);
        let mut done = start.clone();
        for (at, bytes) in &rewrite.writes {
            for cut in (0..=bytes.len()).step_by(512) {
                let mut torn = done.clone();
                apply(&mut torn, *at, &bytes[..cut]);
                let found = find(&torn, SectorSize::B512, GUID).unwrap().expect("still found");
                assert_eq!((found.number, found.extent.start()), (5, rewrite.found.extent.start()));
                if let Some(again) = grow(&torn, SectorSize::B512, GUID).unwrap() {
                    again.writes.iter().for_each(|(at, bytes)| apply(&mut torn, *at, bytes));
                }
                assert_eq!(find(&torn, SectorSize::B512, GUID).unwrap(), Some(rewrite.found));
                assert_eq!(grow(&torn, SectorSize::B512, GUID).unwrap(), None);
            }
            apply(&mut done, *at, bytes);
        }
    }

    #[test]
    fn what_must_not_grow_does_not() {
        let (file, disk) = stick(16 * MIB);
        assert!(matches!(grow(&disk, SectorSize::B512, "00000000-0000-0000-0000-000000000001"), Err(TableError::None)));
        assert!(matches!(grow(&disk, SectorSize::B4096, GUID), Err(TableError::None)));
        let path = file.path().to_str().unwrap();
        sgdisk(&["-n", "3:69632:71679", path]);
        let behind = std::fs::read(path).unwrap();
        assert!(matches!(grow(&behind, SectorSize::B512, GUID), Err(TableError::NotLast)));
        let mut short = disk.clone();
        short.truncate(usize::try_from(20 * MIB).unwrap());
        assert!(matches!(grow(&short, SectorSize::B512, GUID), Err(TableError::Short)));
        assert!(matches!(grow(&vec![0u8; 4096], SectorSize::B512, GUID), Err(TableError::None)));
        assert!(matches!(find(&Vec::<u8>::new(), SectorSize::B512, GUID), Ok(None)));
    }

    #[test]
    fn hostile_tables_neither_crash_nor_move_what_is_there() {
        let (_file, mut disk) = stick(4 * MIB);
        disk.truncate(usize::try_from(44 * MIB).unwrap());
        let mut seed = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..1200 {
            let mut undo = Vec::new();
            for _ in 0..1 + next() % 4 {
                let at = 512 + usize::try_from(next() % 1024).unwrap();
                undo.push((at, disk[at]));
                disk[at] = next().to_le_bytes()[0];
            }
            // Make the checksums right again half of the time, so that the fields themselves are what is judged.
            if next() % 2 == 0 {
                let entries = crc32(&disk[1024..1024 + 16384]).to_le_bytes();
                let old: Vec<u8> = disk[512..604].to_vec();
                disk[512 + 88..512 + 92].copy_from_slice(&entries);
                put_u32(&mut disk[512..604], 16, 0);
                let crc = crc32(&disk[512..604]);
                put_u32(&mut disk[512..604], 16, crc);
                for (i, b) in old.iter().enumerate() {
                    undo.insert(0, (512 + i, *b));
                }
            }
            if let Ok(Some(r)) = grow(&disk, SectorSize::B512, GUID) {
                let was = find(&disk, SectorSize::B512, GUID).unwrap().unwrap();
                assert_eq!(r.found.extent.start(), was.extent.start());
                assert!(r.found.extent.end() >= was.extent.end() && r.found.extent.end().0 <= disk.len() as u64);
                assert!(r.writes.iter().all(|(at, b)| at.0 + b.len() as u64 <= disk.len() as u64));
            }
            for (at, b) in undo.into_iter().rev() {
                disk[at] = b;
            }
        }
    }
}
