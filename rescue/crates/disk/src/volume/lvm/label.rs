//! What stands at the beginning of a physical volume: its label, its header, and where its copies of the group's metadata lie
//! (LVM2 `lib/label/label.h`, `lib/format_text/layout.h`, `lib/misc/crc.c`; written by LVM2 2.03).

use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent};

/// `LABEL_SCAN_SECTORS`: the label stands in one of these, the first that has one.
const LABEL_SECTORS: u64 = 4;
const SECTOR: usize = 512;
/// `struct label_header` before what it is of: id, sector, crc, offset, type.
const LABEL_LEN: usize = 32;
/// `LABEL_ID` and `LVM2_LABEL`.
const LABEL: &[u8] = b"LABELONE";
const TYPE: &[u8] = b"LVM2 001";
/// `FMTT_MAGIC`.
const MDA_MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// `MDA_HEADER_SIZE`: the ring of texts begins behind it.
const MDA_HEADER: u64 = 512;
/// `RAW_LOCN_IGNORED`: this area is not kept up to date.
const IGNORED: u32 = 1;
/// The longest text that is read. A group of a thousand volumes has about half a MiB.
const MOST_TEXT: u64 = 8 << 20;
/// Most areas of metadata of a physical volume: LVM makes two.
const MOST_AREAS: usize = 8;

/// A physical volume, as it says itself.
pub(super) struct Physical {
    /// `pv_uuid`, with hyphens.
    pub(super) uuid: String,
    /// Copies of the text of its group that hold together.
    pub(super) texts: Vec<Vec<u8>>,
    /// Its metadata areas that do not, and why.
    pub(super) wrong: Vec<String>,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The sum that LVM writes: the CRC-32 of IEEE 802.3 over `bytes`, from a beginning of its own and not turned over at the end.
fn crc(from: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(from, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// `INITIAL_CRC`.
const FIRST: u32 = 0xf597_a6cf;

/// `ID_FORMAT`: 32 characters in groups of 6, 4, 4, 4, 4, 4 and 6.
fn uuid(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok().filter(|t| t.len() == 32)?;
    if !text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'!' | b'#')) {
        return None;
    }
    let mut rest = text;
    let groups = [6, 4, 4, 4, 4, 4, 6].map(|n| {
        let (group, later) = rest.split_at(n);
        rest = later;
        group
    });
    Some(groups.join("-"))
}

/// Reads the label and what it leads to; an error where there is none that holds together.
pub(super) fn read(bytes: &dyn ReadAt) -> Result<Physical, FsError> {
    let corrupt = |why: &str| FsError::Corrupt(why.to_owned());
    let mut wrong = "no label of LVM stands in its first four sectors";
    for number in 0..LABEL_SECTORS {
        let sector = bytes.read_vec(ByteOffset(number * SECTOR as u64), SECTOR)?;
        if !sector.starts_with(LABEL) {
            continue;
        }
        match header(&sector, number) {
            Ok((uuid, areas)) => return areas_of(bytes, uuid, &areas),
            Err(why) => wrong = why,
        }
    }
    Err(corrupt(wrong))
}

/// The UUID and the metadata areas of `struct pv_header`, behind `struct label_header`.
fn header(sector: &[u8], number: u64) -> Result<(String, Vec<Extent>), &'static str> {
    const CUT: &str = "its header does not end within its sector";
    let offset = usize::try_from(u32_at(sector, 20).ok_or(CUT)?).unwrap_or(SECTOR);
    if u64_at(sector, 8) != Some(number) || sector.get(24..32) != Some(TYPE) {
        return Err("its label is of another sector or kind");
    }
    // The sum is over all behind itself.
    if u32_at(sector, 16) != Some(crc(FIRST, &sector[20..])) {
        return Err("the checksum of its label is wrong");
    }
    let pv = sector.get(offset..).filter(|_| offset >= LABEL_LEN).ok_or(CUT)?;
    let id = pv.get(..32).and_then(uuid).ok_or("its header has no UUID")?;
    // Two lists of places, each ended by one that is all zeros: data areas, then metadata areas.
    let mut at = 40;
    let mut lists = [Vec::new(), Vec::new()];
    for list in &mut lists {
        loop {
            let (start, len) = (u64_at(pv, at).ok_or(CUT)?, u64_at(pv, at + 8).ok_or(CUT)?);
            at += 16;
            if start == 0 {
                break;
            }
            list.push(Extent::new(ByteOffset(start), model::units::ByteLen(len)).ok_or("an area of it has no end")?);
        }
    }
    let [_, areas] = lists;
    if areas.len() > MOST_AREAS {
        return Err("it has more metadata areas than any");
    }
    Ok((id, areas))
}

fn areas_of(bytes: &dyn ReadAt, uuid: String, areas: &[Extent]) -> Result<Physical, FsError> {
    let mut out = Physical { uuid, texts: Vec::new(), wrong: Vec::new() };
    for area in areas {
        match text(bytes, *area) {
            Ok(Some(text)) => out.texts.push(text),
            Ok(None) => {}
            Err(FsError::Io(e)) => out.wrong.push(e.to_string()),
            Err(e) => out.wrong.push(e.to_string()),
        }
    }
    Ok(out)
}

/// The text that an area holds; `None` where it holds none, or one that is not kept up to date.
fn text(bytes: &dyn ReadAt, area: Extent) -> Result<Option<Vec<u8>>, FsError> {
    let corrupt = |why: String| FsError::Corrupt(why);
    let start = area.start().0;
    let head = bytes.read_vec(area.start(), SECTOR)?;
    if head.get(4..20) != Some(MDA_MAGIC) || u32_at(&head, 0) != Some(crc(FIRST, &head[4..])) {
        return Err(corrupt(format!("the header of the metadata area at {start} does not hold together")));
    }
    let field = |at| u64_at(&head, at).unwrap_or(0);
    let (version, own, size) = (u32_at(&head, 20), field(24), field(32));
    if version != Some(1) || own != start || size != area.len().0 || size <= MDA_HEADER {
        return Err(corrupt(format!("the metadata area at {start} says that it is another")));
    }
    // `struct raw_locn`: the first is what was committed; a second one is being written.
    let (offset, len, sum, flags) = (field(40), field(48), u32_at(&head, 56), u32_at(&head, 60).unwrap_or(0));
    if len == 0 || flags & IGNORED != 0 {
        return Ok(None);
    }
    if offset < MDA_HEADER || offset >= size || len > size - MDA_HEADER || len > MOST_TEXT {
        return Err(corrupt(format!("the text of the metadata area at {start} lies outside: {len} bytes at {offset}")));
    }
    // The text may go on at the beginning of the ring.
    let first = len.min(size - offset);
    let part =
        |at: u64, len: u64| bytes.read_vec(ByteOffset(start.saturating_add(at)), usize::try_from(len).unwrap_or(0));
    let mut text = part(offset, first)?;
    text.extend(part(MDA_HEADER, len - first)?);
    if sum != Some(crc(FIRST, &text)) {
        return Err(corrupt(format!("the checksum of the text in the metadata area at {start} is wrong")));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_written_in_groups() {
        assert_eq!(
            uuid(b"0PNJCAv8uoIZBbcAZxGatdQRp1K8TlOo"),
            Some("0PNJCA-v8uo-IZBb-cAZx-Gatd-QRp1-K8TlOo".to_owned())
        );
        assert_eq!(uuid(b"0PNJCAv8uoIZBbcAZxGatdQRp1K8TlO"), None);
        assert_eq!(uuid(&[0xff; 32]), None);
    }
}
