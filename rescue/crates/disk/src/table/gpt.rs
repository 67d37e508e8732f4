//! GPT (UEFI specification, chapter 5.3). Headers and checksums are judged here; the entry array is decoded by the `gpt` crate.
//!
//! That crate looks for the backup only at the very end of the device, does not turn to it where the primary's entry array is
//! bad, insists on entries of 128 bytes and allocates what the header says. So it is given an array in memory that was bounded
//! and checked before.

use crate::guarded;
use gpt::disk::LogicalBlockSize;
use gpt::header::{Header, read_header_from_arbitrary_device};
use gpt::partition::{Partition as Entry, file_read_partitions};
use model::inspection::Partition;
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent, Lba, SectorSize};
use std::io::Cursor;

/// Attribute bit 2: legacy BIOS bootable (UEFI specification, table 5.8).
const LEGACY_BOOTABLE: u64 = 1 << 2;
/// The longest entry array that is read. The usual one has 16 KiB; Linux reads what `kmalloc` gives.
const MOST_ARRAY: u64 = 4 << 20;
/// The smallest header: up to and including `PartitionEntryArrayCRC32`.
const HEADER_LEN: usize = 92;
const ENTRY_LEN: usize = 128;

/// One copy of the table: a header and its entries, both with right checksums.
#[derive(Debug)]
pub(super) struct Copy {
    pub header: Header,
    pub entries: Vec<(u32, Entry)>,
    /// Where the header and the array lie on the disk.
    pub raw: Vec<Extent>,
    sector: SectorSize,
}

/// Why a copy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    /// What is wrong, with the numbers.
    pub why: String,
    /// True where there is not even a signature: nothing says that there ever was a table here.
    pub absent: bool,
    /// Where the header says the other copy stands, if it can be believed that far.
    pub alternate: Option<Lba>,
}

impl Bad {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), absent: false, alternate: None }
    }
}

/// Reads the copy whose header stands at `lba`.
pub(super) fn read_copy(bytes: &dyn ReadAt, sector: SectorSize, lba: Lba) -> Result<Copy, Bad> {
    let size = usize::try_from(sector.0).map_err(|_| Bad::new("the sector size is absurd"))?;
    let at = lba.to_bytes(sector).ok_or_else(|| Bad::new(format!("sector {} cannot exist", lba.0)))?;
    let block = bytes.read_vec(at, size).map_err(|e| Bad { absent: true, ..Bad::new(e.to_string()) })?;
    let header = parse_header(&block, lba)?;
    // Whatever is wrong from here on, the header itself is sound.
    let alternate = Some(Lba(header.backup_lba));
    let bad = |why: String| Bad { why, absent: false, alternate };

    let count = header.num_parts;
    let entry = header.part_size;
    if entry < 128 || !entry.is_power_of_two() {
        return Err(bad(format!("entries of {entry} bytes")));
    }
    let len = u64::from(count) * u64::from(entry);
    if len > MOST_ARRAY {
        return Err(bad(format!("{count} entries of {entry} bytes, more than are read")));
    }
    let array_at = Lba(header.part_start).to_bytes(sector);
    let array_at = array_at.ok_or_else(|| bad(format!("its entries at sector {}", header.part_start)))?;
    let len = ByteLen(len).to_usize().expect("bounded above");
    let array = bytes.read_vec(array_at, len).map_err(|e| bad(format!("its entries: {e}")))?;
    let crc = crc32(&array);
    if crc != header.crc32_parts {
        return Err(bad(format!(
            "its entries have checksum {crc:08x} where the header says {:08x}",
            header.crc32_parts
        )));
    }
    let entries = decode(&header, &array).ok_or_else(|| bad("its entries cannot be decoded".into()))?;
    let header_extent = Extent::new(at, ByteLen(u64::from(sector.0)));
    // The array is saved in whole sectors.
    let array_len = Lba((len as u64).div_ceil(u64::from(sector.0))).to_bytes(sector);
    let array_extent = array_len.and_then(|l| Extent::new(array_at, ByteLen(l.0)));
    let raw = [header_extent, array_extent].into_iter().flatten().collect();
    Ok(Copy { header, entries, raw, sector })
}

/// Judges a header sector: signature, size, checksum, and that it says where it stands.
fn parse_header(block: &[u8], lba: Lba) -> Result<Header, Bad> {
    let u32_at = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
    if block.len() < HEADER_LEN || &block[..8] != b"EFI PART" {
        return Err(Bad { absent: true, ..Bad::new("no signature") });
    }
    // A hint only: the checksum may be what is wrong.
    let hint = Some(Lba(u64_at(32)));
    let bad = |why: String| Bad { why, absent: false, alternate: hint };
    let header_size = u32_at(12);
    let checked = usize::try_from(header_size).unwrap_or(usize::MAX);
    if !(HEADER_LEN..=block.len()).contains(&checked) {
        return Err(bad(format!("a header of {header_size} bytes")));
    }
    let mut zeroed = block[..checked].to_vec();
    zeroed[16..20].fill(0);
    let (said, crc) = (u32_at(16), crc32(&zeroed));
    if said != crc {
        return Err(bad(format!("its header has checksum {crc:08x} where {said:08x} is written")));
    }
    let header = decode_header(block).ok_or_else(|| bad("its header cannot be decoded".into()))?;
    if header.current_lba != lba.0 {
        return Err(bad(format!("it says it stands at sector {}, not {}", header.current_lba, lba.0)));
    }
    Ok(header)
}

/// Has the crate decode a header that was judged. It takes a header for 92 bytes whatever the header says, so the checksum is
/// made to fit that.
fn decode_header(block: &[u8]) -> Option<Header> {
    let mut device = vec![0; 512];
    device.extend_from_slice(&block[..HEADER_LEN]);
    device[512 + 16..512 + 20].fill(0);
    let crc = crc32(&device[512..]);
    device[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
    guarded(|| read_header_from_arbitrary_device(&mut Cursor::new(device), LogicalBlockSize::Lb512).ok())?
}

/// Has the crate decode entries that were judged: numbered from 1 by their place, unused ones left out.
fn decode(header: &Header, array: &[u8]) -> Option<Vec<(u32, Entry)>> {
    let entry = usize::try_from(header.part_size).ok()?;
    // The first 128 bytes of each entry are what the specification defines.
    let compact: Vec<u8> = array.chunks_exact(entry).flat_map(|e| &e[..ENTRY_LEN]).copied().collect();
    let header = Header { part_start: 0, part_size: 128, crc32_parts: crc32(&compact), ..header.clone() };
    let entries = guarded(|| file_read_partitions(&mut Cursor::new(compact), &header, LogicalBlockSize::Lb512).ok())??;
    Some(entries.into_iter().filter(|(_, e)| e.is_used()).collect())
}

/// The first copy of a table, made from the second: its header at sector 1, its entries from sector 2 on (UEFI specification,
/// section 5.3.2). `None` where the second does not leave room for that.
pub(super) fn first_copy(bytes: &dyn ReadAt, sector: SectorSize) -> Option<Vec<(ByteOffset, Vec<u8>)>> {
    let found = Found::look(bytes, sector);
    let backup = found.backup.ok()?;
    let [header_at, entries_at] = backup.raw.as_slice() else { return None };
    let entries = bytes.read_vec(entries_at.start(), entries_at.len().to_usize()?).ok()?;
    let mut header = bytes.read_vec(header_at.start(), header_at.len().to_usize()?).ok()?;
    let free = 2 + entries.len() as u64 / u64::from(sector.0);
    if backup.header.current_lba == 1 || backup.header.first_usable < free {
        return None;
    }
    let len = usize::try_from(u32::from_le_bytes(header.get(12..16)?.try_into().ok()?)).ok()?;
    header[24..32].copy_from_slice(&1u64.to_le_bytes());
    header[32..40].copy_from_slice(&found.backup_at.0.to_le_bytes());
    header[72..80].copy_from_slice(&2u64.to_le_bytes());
    header[16..20].fill(0);
    let crc = crc32(header.get(..len)?);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    let at = |lba| Lba(lba).to_bytes(sector);
    Some(vec![(at(1)?, header), (at(2)?, entries)])
}

impl Copy {
    /// The sector size it was read with.
    pub(super) fn sector(&self) -> SectorSize {
        self.sector
    }

    /// The disk GUID, lower-case and hyphenated.
    pub(super) fn id(&self) -> String {
        self.header.disk_guid.to_string()
    }

    /// What the entries say, in order of number; what makes no sense comes as a sentence.
    pub(super) fn partitions(&self) -> Vec<Result<Partition, String>> {
        let one = |(number, e): &(u32, Entry)| {
            let place = || format!("partition {number} from sector {} to {}", e.first_lba, e.last_lba);
            let end = e.last_lba.checked_add(1).and_then(|end| Lba(end).to_bytes(self.sector));
            let start = Lba(e.first_lba).to_bytes(self.sector);
            let extent = start.zip(end).and_then(|(start, end)| Extent::between(start.0, end.0));
            let extent = extent.filter(|e| !e.is_empty()).ok_or_else(|| format!("{} cannot exist", place()))?;
            Ok(Partition {
                number: *number,
                extent,
                type_id: e.part_type_guid.guid.to_string(),
                guid: Some(e.part_guid.to_string()),
                name: (!e.name.is_empty()).then(|| DisplayText::new(&e.name)),
                bootable: e.flags & LEGACY_BOOTABLE != 0,
            })
        };
        self.entries.iter().map(one).collect()
    }

    /// The number of each partition, its first sector and the one behind its last, as the entries say.
    pub(super) fn places(&self) -> impl Iterator<Item = (u32, u64, u64)> {
        self.entries.iter().map(|(number, e)| (*number, e.first_lba, e.last_lba.saturating_add(1)))
    }

    /// True where both copies say the same of the disk.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.header.disk_guid == other.header.disk_guid && self.entries == other.entries
    }
}

/// Both copies of a table, as far as they can be used.
pub(super) struct Found {
    pub primary: Result<Copy, Bad>,
    pub backup: Result<Copy, Bad>,
    /// Where the backup was looked for (last), and where the end of the disk would have it.
    pub backup_at: Lba,
    pub last: Lba,
}

impl Found {
    /// Looks for both copies: the primary at sector 1, the backup where the primary says and at the end of the disk.
    pub(super) fn look(bytes: &dyn ReadAt, sector: SectorSize) -> Self {
        let last = Lba((bytes.size().0 / u64::from(sector.0)).saturating_sub(1));
        let primary = read_copy(bytes, sector, Lba(1));
        let alternate = match &primary {
            Ok(copy) => Some(Lba(copy.header.backup_lba)),
            Err(bad) => bad.alternate,
        };
        // Sector 1 is the primary itself; a hint that points there or past the end is no place for a backup.
        let (mut backup_at, mut backup) =
            (last, Err(Bad { absent: true, ..Bad::new("the disk is too small for one") }));
        let places = alternate.filter(|a| a.0 > 1 && *a < last).into_iter().chain((last.0 > 1).then_some(last));
        for place in places {
            let copy = read_copy(bytes, sector, place);
            if backup.as_ref().is_err_and(|b: &Bad| b.absent) || copy.is_ok() {
                (backup_at, backup) = (place, copy);
            }
            if backup.is_ok() {
                break;
            }
        }
        Self { primary, backup, backup_at, last }
    }

    /// True where neither place shows any trace of a table.
    pub(super) fn absent(&self) -> bool {
        [&self.primary, &self.backup].iter().all(|c| c.as_ref().is_err_and(|b| b.absent))
    }
}

/// CRC-32 as GPT uses it (ISO 3309; reflected polynomial 0xEDB88320), a byte at a time.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0u32;
        while i < 256 {
            let (mut crc, mut bit) = (i, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[i as usize] = crc;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0u32, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ TABLE[usize::from(low ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
