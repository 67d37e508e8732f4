//! Directories (Microsoft "FAT32 File System Specification" 1.03; long names and the case of short ones as kernel
//! `fs/fat/dir.c` has them).

use super::boot::Geometry;
use super::chain::Chain;
use crate::fs::FsError;
use model::inspection::{FileKind, ListedFile};
use model::ports::{ReadAt, UnixMicros};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::ops::ControlFlow;

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
/// The longest directory that is read (kernel `FAT_MAX_DIR_SIZE`).
pub(super) const MOST_BYTES: u64 = 2 << 20;
/// Parts of a long name, 13 UTF-16 units each.
const MOST_PARTS: usize = 20;

/// Bits of the attributes.
pub(super) mod attribute {
    pub(in crate::fs::fat) const VOLUME: u8 = 0x08;
    pub(in crate::fs::fat) const DIRECTORY: u8 = 0x10;
    /// Read-only, hidden, system and volume together mark a part of a long name.
    pub(in crate::fs::fat) const LONG_NAME: u8 = 0x0f;
}

/// The upper half of code page 437, which the kernel takes short names to be in (`CONFIG_FAT_DEFAULT_CODEPAGE`).
const CP437: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// What a directory says of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name: the long one where there is one that belongs to it.
    pub(super) name: String,
    /// Its short name, which leads to it too.
    pub(super) short: String,
    /// Where the entry itself lies on the volume.
    pub(super) at: ByteOffset,
    /// It is a directory.
    pub(super) directory: bool,
    /// Its attributes say that it is not to be written to.
    pub(super) read_only: bool,
    /// Its first cluster; 0 where it has none.
    pub(super) cluster: u32,
    /// Its size in bytes; 0 for a directory.
    pub(super) size: u32,
    /// When it was last written to, in microseconds since 1970: FAT keeps local time without saying where, it is given as if
    /// it were UTC.
    pub(super) modified: Option<UnixMicros>,
}

impl Entry {
    /// As it is listed.
    pub(super) fn listed(&self) -> ListedFile {
        ListedFile {
            name: RawName(self.name.clone().into_bytes()),
            kind: if self.directory { FileKind::Directory } else { FileKind::File },
            size: ByteLen(u64::from(self.size)),
            modified: self.modified.and_then(|t| t.0.checked_mul(1000)),
        }
    }

    /// True where a path's component means it: long or short, without regard to case, as in the kernel.
    pub(super) fn is_called(&self, lower: &str) -> bool {
        self.name.to_lowercase() == lower || self.short.to_lowercase() == lower
    }
}

/// What is done with an entry; [`ControlFlow::Break`] ends the reading.
pub(super) type Visit<'a> = dyn FnMut(Entry) -> ControlFlow<()> + 'a;

/// What is done about a part that cannot be read: the error, or the reading goes on behind it.
pub(super) type Damaged<'a> = dyn FnMut(FsError) -> Result<(), FsError> + 'a;

/// Shows every entry of a directory that begins with cluster `first` (0: the root), without `.` and `..`.
///
/// # Errors
/// What `damaged` makes of a part that cannot be read. Entries before that were shown.
pub(super) fn each(
    bytes: &dyn ReadAt,
    geometry: &Geometry,
    first: u32,
    damaged: &mut Damaged<'_>,
    visit: &mut Visit<'_>,
) -> Result<(), FsError> {
    let mut long = LongName::default();
    let mut left = MOST_BYTES;
    for place in places(bytes, geometry, first) {
        let part = place.and_then(|place| {
            let len = ByteLen(place.len().0.min(left)).to_usize().unwrap_or(0);
            Ok((place, bytes.read_vec(place.start(), len)?))
        });
        let (place, part) = match part {
            Ok(part) => part,
            Err(e) => {
                damaged(e)?;
                long = LongName::default();
                continue;
            }
        };
        for (raw, at) in part.as_chunks::<ENTRY>().0.iter().zip((place.start().0..).step_by(ENTRY)) {
            match raw[0] {
                0 => return Ok(()),
                0xe5 => long = LongName::default(),
                _ if raw[11] & 0x3f == attribute::LONG_NAME => long.add(raw),
                _ if raw[11] & attribute::VOLUME != 0 => long = LongName::default(),
                _ => {
                    let entry = entry(raw, ByteOffset(at), geometry, std::mem::take(&mut long));
                    if entry.short.starts_with('.') {
                        continue;
                    }
                    if entry.name.contains(['/', '\0']) {
                        damaged(FsError::Corrupt(format!("the directory entry at {at} has a name that is none")))?;
                    } else if visit(entry).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        left = left.saturating_sub(place.len().0);
        if left == 0 {
            return Ok(());
        }
    }
    Ok(())
}

/// Where the bytes of a directory lie, in order.
pub(super) fn places<'a>(
    bytes: &'a dyn ReadAt,
    geometry: &'a Geometry,
    first: u32,
) -> Box<dyn Iterator<Item = Result<Extent, FsError>> + 'a> {
    match (first, geometry.width) {
        (0, 32) => Box::new(Chain::new(bytes, geometry, geometry.root_cluster)),
        (0, _) => Box::new(std::iter::once(Ok(geometry.root))),
        (first, _) => Box::new(Chain::new(bytes, geometry, first)),
    }
}

/// The entry at a place on the volume; `None` where there is none. It has its short name only.
///
/// # Errors
/// [`FsError::Io`] where it cannot be read.
pub(super) fn at(bytes: &dyn ReadAt, geometry: &Geometry, at: ByteOffset) -> Result<Option<Entry>, FsError> {
    let raw = bytes.read_vec(at, ENTRY)?;
    let Ok(raw) = <&[u8; ENTRY]>::try_from(raw.as_slice()) else { return Ok(None) };
    let none = matches!(raw[0], 0 | 0xe5) || raw[11] & attribute::VOLUME != 0;
    Ok((!none).then(|| entry(raw, at, geometry, LongName::default())))
}

/// The entry of a short name with the parts of a long one before it, and whether these belong to it.
pub(super) fn with_parts(raw: &[u8; ENTRY], geometry: &Geometry, parts: &[[u8; ENTRY]]) -> (Entry, bool) {
    let mut long = LongName::default();
    parts.iter().for_each(|part| long.add(part));
    let own = !long.units.is_empty() && long.next == 0 && long.sum == sum(raw);
    (entry(raw, ByteOffset(0), geometry, long), own)
}

/// What the parts of a long name know their short name by.
pub(super) fn sum(raw: &[u8; ENTRY]) -> u8 {
    raw[..11].iter().fold(0u8, |sum, b| sum.rotate_right(1).wrapping_add(*b))
}

fn entry(raw: &[u8; ENTRY], at: ByteOffset, geometry: &Geometry, long: LongName) -> Entry {
    let u16_at = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
    let short = short_name(raw);
    let directory = raw[11] & attribute::DIRECTORY != 0;
    let high = if geometry.width == 32 { u32::from(u16_at(20)) << 16 } else { 0 };
    let size = u32::from(u16_at(28)) | u32::from(u16_at(30)) << 16;
    Entry {
        name: long.of(raw).unwrap_or_else(|| short.clone()),
        short,
        at,
        directory,
        read_only: raw[11] & 1 != 0,
        cluster: high | u32::from(u16_at(26)),
        size: if directory { 0 } else { size },
        modified: time(u16_at(24), u16_at(22)),
    }
}

fn time(date: u16, time: u16) -> Option<UnixMicros> {
    let small = |n: u16| u8::try_from(n).ok();
    UnixMicros::from_civil(
        1980 + i64::from(date >> 9),
        small(date >> 5 & 0xf)?,
        small(date & 0x1f)?,
        small(time >> 11)?,
        small(time >> 5 & 0x3f)?,
        small((time & 0x1f) * 2)?,
    )
}

/// A character of a short name.
fn character(oem: u8) -> char {
    match oem.checked_sub(0x80) {
        None => char::from(oem),
        Some(upper) => CP437.chars().nth(usize::from(upper)).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// The short name, with the case that Windows NT and the kernel keep in a byte of its own.
fn short_name(raw: &[u8; ENTRY]) -> String {
    let text = |part: &[u8], lower: bool| {
        let end = part.iter().rposition(|b| *b != b' ').map_or(0, |i| i + 1);
        let text: String = part[..end].iter().map(|b| character(*b)).collect();
        if lower { text.to_lowercase() } else { text }
    };
    let mut name: [u8; 11] = std::array::from_fn(|i| raw[i]);
    // 0xe5 marks what is deleted, and stands as 0x05 where it is a character.
    if name[0] == 0x05 {
        name[0] = 0xe5;
    }
    let (base, extension) = (text(&name[..8], raw[12] & 0x08 != 0), text(&name[8..], raw[12] & 0x10 != 0));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// The parts of a long name met so far: they stand before the short entry, the last part first.
#[derive(Debug, Default)]
struct LongName {
    units: Vec<[u16; 13]>,
    /// The number that the next part must have.
    next: u8,
    sum: u8,
}

impl LongName {
    fn add(&mut self, raw: &[u8; ENTRY]) {
        let number = raw[0] & 0x3f;
        if raw[0] & 0x40 != 0 {
            *self = Self { units: Vec::new(), next: number, sum: raw[13] };
        }
        if number == 0 || number != self.next || self.sum != raw[13] || usize::from(number) > MOST_PARTS {
            *self = Self::default();
            return;
        }
        self.next -= 1;
        let places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
        self.units.push(places.map(|at| u16::from_le_bytes([raw[at], raw[at + 1]])));
    }

    /// The name, where all parts were there and belong to this short entry.
    fn of(self, raw: &[u8; ENTRY]) -> Option<String> {
        if self.units.is_empty() || self.next != 0 || self.sum != sum(raw) {
            return None;
        }
        let units = self.units.iter().rev().flatten().copied().take_while(|unit| *unit != 0);
        let name: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        (!name.is_empty() && name != "." && name != "..").then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        assert_eq!(character(0x81), 'ü');
        assert_eq!(character(0xff), '\u{a0}');
        let all: std::collections::BTreeSet<char> = (0..=255).map(character).collect();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn short_names_keep_their_case() {
        let name = |text: &[u8; 11], case: u8| {
            let mut raw = [0; ENTRY];
            raw[..11].copy_from_slice(text);
            raw[12] = case;
            short_name(&raw)
        };
        assert_eq!(name(b"README  TXT", 0), "README.TXT");
        assert_eq!(name(b"README  TXT", 0x08), "readme.TXT");
        assert_eq!(name(b"README  TXT", 0x18), "readme.txt");
        assert_eq!(name(b"A          ", 0x10), "A");
        assert_eq!(name(b"\x05\x9a      TXT", 0), "σÜ.TXT");
    }
}
