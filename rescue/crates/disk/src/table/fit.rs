//! A saved table for another disk: the bytes it has there.
//!
//! Partitions keep their places, numbers, types, names and attributes, unless one is to grow ([`growth`]). Of a GPT (UEFI specification,
//! chapter 5.3) both copies are made anew from the good one of the saved disk: the backup stands at the end of the new disk, and what the
//! header says of the disk's size follows. Of an MBR the signature changes where another is wanted, and entries where one grows. Bytes of
//! entries and headers that this version does not know are kept.

mod growth;

use super::gpt::{Copy, Found, crc32};
use super::mbr;
use growth::{Place, end_of, grow, room};
use model::id::Digest;
use model::inspection::TableKind;
use model::ports::ReadAt;
use model::restore::{FitTable, FittedTable, MadeBytes};
use model::units::{ByteLen, ByteOffset, Lba, SectorSize};

/// The longest entry array that is written anew: eight times the usual 16 KiB.
const MOST_ARRAY: u64 = 128 << 10;
/// Sector 0, as far as it is a table.
const MBR_LEN: usize = 512;
/// Offset of the MBR signature, of its four entries, and the length of one.
const SIGNATURE_AT: usize = 440;
const ENTRIES_AT: usize = 446;
const ENTRY_LEN: usize = 16;
/// Type of the entry that protects a GPT.
const PROTECTIVE: u8 = 0xee;
/// Of an entry of a GPT: its unique GUID, its first sector and its last (UEFI specification, table 5.6).
const UNIQUE: std::ops::Range<usize> = 16..32;
const FIRST: std::ops::Range<usize> = 32..40;
const LAST: std::ops::Range<usize> = 40..48;
/// What stands in an entry of an MBR for a sector that has no number of heads and cylinders (UEFI specification, table 5.4).
const NO_CHS: [u8; 3] = [0xfe, 0xff, 0xff];

/// Makes the table of a saved disk for a disk of another size. `saved` are the bytes of the saved disk; only those that make up its
/// table are looked at.
///
/// # Errors
/// A sentence where there is no such table, or none that can be written anew.
pub fn fit(saved: &dyn ReadAt, wanted: &FitTable) -> Result<FittedTable, String> {
    match wanted.kind {
        TableKind::Gpt => fit_gpt(saved, wanted),
        TableKind::Mbr => fit_mbr(saved, wanted),
    }
}

/// A GUID made of a seed, as a disk has it: version 8 and the variant of RFC 9562 (the first three fields lie little-endian).
fn guid(seed: &Digest, of: u32) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&made_of(seed, of).0[..16]);
    out[7] = out[7] & 0x0f | 0x80;
    out[8] = out[8] & 0x3f | 0x80;
    out
}

fn made_of(seed: &Digest, of: u32) -> Digest {
    Digest::of(&[&seed.0[..], &of.to_le_bytes()].concat())
}

/// Lower-case and hyphenated, as [`model::inspection::Table::id`] has it.
fn shown(g: &[u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let digits = model::hex::encode(&order.map(|i: usize| g[i]));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn sector_zero(saved: &dyn ReadAt) -> Result<Vec<u8>, String> {
    saved.read_vec(ByteOffset(0), MBR_LEN).map_err(|e| format!("its first sector cannot be had: {e}"))
}

fn made(at: ByteOffset, bytes: &[u8]) -> Result<MadeBytes, String> {
    MadeBytes::new(at, bytes).ok_or_else(|| format!("a table at {at} cannot be addressed"))
}

fn fit_mbr(saved: &dyn ReadAt, wanted: &FitTable) -> Result<FittedTable, String> {
    let head = mbr::Head::read(saved).ok_or("its first sector holds no MBR")?;
    let mut zero = sector_zero(saved)?;
    let unit = u64::from(wanted.sector.0);
    let mut places: Vec<Place> = head.places().map(|(number, first, end)| Place { number, first, end }).collect();
    // Its numbers have 32 bits: what lies behind that is out of reach.
    let usable = (wanted.size.0 / unit).min(u64::from(u32::MAX));
    let room = room(end_of(&places), usable, unit);
    if let Some(wanted) = &wanted.grow {
        let before = places.clone();
        grow(&mut places, wanted, (room, unit))?;
        for (was, is) in before.iter().zip(&places).filter(|(was, is)| was != is) {
            let at = ENTRIES_AT + usize::try_from(is.number - 1).unwrap_or(0) * ENTRY_LEN;
            let entry = zero.get_mut(at..at + ENTRY_LEN).ok_or("an entry lies outside of the table")?;
            let (first, sectors) = (u32::try_from(is.first), u32::try_from(is.end - is.first));
            let (Ok(first), Ok(sectors)) = (first, sectors) else {
                return Err("the partition would be larger than an MBR can tell".to_owned());
            };
            if was.first != is.first {
                entry[1..4].copy_from_slice(&NO_CHS);
            }
            entry[5..8].copy_from_slice(&NO_CHS);
            entry[8..12].copy_from_slice(&first.to_le_bytes());
            entry[12..16].copy_from_slice(&sectors.to_le_bytes());
        }
    }
    let smallest = ByteLen(end_of(&places).max(1) * unit);
    let mut signature = head.signature;
    if let Some(seed) = &wanted.new_ids {
        let [a, b, c, d, ..] = made_of(seed, 0).0;
        // Zero means that there is none.
        signature = u32::from_le_bytes([a, b, c, d]).max(1);
        zero[SIGNATURE_AT..SIGNATURE_AT + 4].copy_from_slice(&signature.to_le_bytes());
    }
    let made = if wanted.size < smallest { Vec::new() } else { vec![made(ByteOffset(0), &zero)?] };
    let id = format!("{signature:08x}");
    Ok(FittedTable { sector: wanted.sector, smallest, made, id, guids: Vec::new(), room: ByteLen(room) })
}

/// The good copy of the saved table. An image file does not tell its sectors: they show by where the table stands.
fn good_copy(saved: &dyn ReadAt, sector: SectorSize) -> Result<Copy, String> {
    let other = if sector == SectorSize::B4096 { SectorSize::B512 } else { SectorSize::B4096 };
    let (found, elsewhere) = (Found::look(saved, sector), Found::look(saved, other));
    match (found.primary, elsewhere.primary, found.backup, elsewhere.backup) {
        (Ok(copy), ..) | (_, Ok(copy), ..) | (_, _, Ok(copy), _) | (.., Ok(copy)) => Ok(copy),
        (Err(bad), ..) => Err(format!("no copy of its GPT is whole ({})", bad.why)),
    }
}

fn fit_gpt(saved: &dyn ReadAt, wanted: &FitTable) -> Result<FittedTable, String> {
    let copy = good_copy(saved, wanted.sector)?;
    let sector = copy.sector();
    let unit = u64::from(sector.0);
    let header = &copy.header;
    let array_len = u64::from(header.num_parts) * u64::from(header.part_size);
    if array_len > MOST_ARRAY {
        return Err(format!("its table has room for {} entries, more than are written anew", header.num_parts));
    }
    let array_sectors = array_len.div_ceil(unit);
    // The backup does not say where the entries of the primary stand: where they always do, then.
    let array_at = if header.current_lba == 1 { header.part_start } else { 2 };
    if array_at < 2 || array_at + array_sectors > header.first_usable.max(2 + array_sectors) {
        return Err(format!("its entries stand at sector {array_at}, among the partitions"));
    }
    let mut places: Vec<Place> = copy.places().map(|(number, first, end)| Place { number, first, end }).collect();
    // Behind the last of them the second copy still has to fit.
    let usable = (wanted.size.0 / unit).saturating_sub(array_sectors + 1);
    let room = room(end_of(&places).max(header.first_usable), usable, unit);
    let zero = sector_zero(saved)?;
    if let Some(wanted) = &wanted.grow {
        if is_hybrid(&zero) {
            return Err("its MBR names partitions too, and would not follow".to_owned());
        }
        grow(&mut places, wanted, (room, unit))?;
    }
    let end = end_of(&places).max(header.first_usable);
    let sectors = end.saturating_add(array_sectors + 1);
    let smallest = Lba(sectors).to_bytes(sector).map(|b| ByteLen(b.0)).ok_or("its partitions end beyond all disks")?;
    let (id, room) = (String::new(), ByteLen(room));
    let mut out = FittedTable { sector, smallest, made: Vec::new(), id, guids: Vec::new(), room };
    let mut block = read(saved, header.current_lba, 1, sector)?;
    let mut array = read(saved, header.part_start, array_sectors, sector)?;
    array.truncate(usize::try_from(array_len).unwrap_or(usize::MAX));
    if let Some(seed) = &wanted.new_ids {
        block[56..72].copy_from_slice(&guid(seed, 0));
    }
    for place in &places {
        let at = usize::try_from(u64::from(place.number - 1) * u64::from(header.part_size)).unwrap_or(usize::MAX);
        let entry = array.get_mut(at..).and_then(|rest| rest.get_mut(..LAST.end));
        let entry = entry.ok_or("an entry lies outside of its array")?;
        if let Some(seed) = &wanted.new_ids {
            entry[UNIQUE].copy_from_slice(&guid(seed, place.number));
        }
        entry[FIRST].copy_from_slice(&place.first.to_le_bytes());
        entry[LAST].copy_from_slice(&place.end.saturating_sub(1).to_le_bytes());
        out.guids.extend(entry[UNIQUE].first_chunk().map(|unique| (place.number, shown(unique))));
    }
    out.id = shown(block[56..72].first_chunk().ok_or("a header without a GUID")?);
    if wanted.size < smallest {
        return Ok(out);
    }
    let last = wanted.size.0 / unit - 1;
    let backup_array = last - array_sectors;
    let crc = crc32(&array);
    let mut copy_at = |own: u64, other: u64, entries: u64| -> Result<MadeBytes, String> {
        let len = usize::try_from(u32::from_le_bytes(*block[12..16].first_chunk().ok_or("no header")?)).unwrap_or(0);
        for (at, value) in [(24, own), (32, other), (48, backup_array - 1), (72, entries)] {
            block[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        block[88..92].copy_from_slice(&crc.to_le_bytes());
        block[16..20].fill(0);
        let sum = crc32(block.get(..len).ok_or("a header longer than its sector")?);
        block[16..20].copy_from_slice(&sum.to_le_bytes());
        made(bytes_at(own, sector)?, &block)
    };
    let (first, second) = (copy_at(1, last, array_at)?, copy_at(last, 1, backup_array)?);
    // In whole sectors: what stands behind the entries is zero.
    array.resize(usize::try_from(array_sectors * unit).unwrap_or(0), 0);
    let zero = protective(zero, saved.size().0 / unit - 1, last);
    let zero = made(ByteOffset(0), &zero)?;
    out.made = vec![
        zero,
        first,
        made(bytes_at(array_at, sector)?, &array)?,
        made(bytes_at(backup_array, sector)?, &array)?,
        second,
    ];
    Ok(out)
}

/// True where sector 0 tells of a GPT, and of partitions besides.
fn is_hybrid(zero: &[u8]) -> bool {
    let kind = |i: usize| zero.get(ENTRIES_AT + i * ENTRY_LEN + 4).copied().unwrap_or(0);
    let kinds = (0..4).map(kind).filter(|kind| *kind != 0);
    super::announces_gpt(zero) && kinds.count() > 1
}

fn bytes_at(lba: u64, sector: SectorSize) -> Result<ByteOffset, String> {
    Lba(lba).to_bytes(sector).ok_or_else(|| format!("sector {lba} cannot be addressed"))
}

fn read(saved: &dyn ReadAt, lba: u64, sectors: u64, sector: SectorSize) -> Result<Vec<u8>, String> {
    let len = usize::try_from(sectors * u64::from(sector.0)).map_err(|e| e.to_string())?;
    saved.read_vec(bytes_at(lba, sector)?, len).map_err(|e| format!("its table cannot be had: {e}"))
}

/// Sector 0 of a GPT for a disk that ends at another sector: the entry that protects the whole disk follows its size (UEFI
/// specification, table 5.4). One that stands beside other partitions, as on a hybrid disk, protects what it did. Where the saved
/// disk had lost it, it is made: without it nobody sees the GPT.
fn protective(mut zero: Vec<u8>, old_last: u64, last: u64) -> Vec<u8> {
    let clip = |last: u64| u32::try_from(last).unwrap_or(u32::MAX);
    let entry = |i: usize| ENTRIES_AT + i * ENTRY_LEN..ENTRIES_AT + (i + 1) * ENTRY_LEN;
    let kinds: Vec<u8> = (0..4).map(|i| zero[entry(i)][4]).collect();
    let is_table = zero[510..512] == [0x55, 0xaa] && kinds.contains(&PROTECTIVE);
    if !is_table {
        zero[entry(0)].copy_from_slice(&[0, 0, 2, 0, PROTECTIVE, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
        (1..4).for_each(|i| zero[entry(i)].fill(0));
        zero[entry(0)][12..16].copy_from_slice(&clip(last).to_le_bytes());
        zero[510..512].copy_from_slice(&[0x55, 0xaa]);
        return zero;
    }
    let alone = kinds.iter().filter(|kind| **kind != 0).count() == 1;
    if let (true, Some(i)) = (alone && last != old_last, kinds.iter().position(|kind| *kind == PROTECTIVE)) {
        let entry = &mut zero[entry(i)];
        entry[5..8].fill(0xff);
        entry[12..16].copy_from_slice(&clip(last).to_le_bytes());
    }
    zero
}
