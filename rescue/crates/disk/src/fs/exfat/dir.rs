//! Directories (Microsoft "exFAT file system specification", sections 6 and 7).

use super::boot::Boot;
use super::chain::Allocation;
use crate::fs::FsError;
use crate::numbers::{byte, le16, le32, le64};
use model::inspection::{FileKind, ListedFile};
use model::ports::{ReadAt, UnixMicros};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset};
use std::ops::ControlFlow;

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
/// The longest directory there may be (section 3.1.9 bounds the root's like others').
pub(super) const MOST_BYTES: u64 = 256 << 20;
/// How much of a directory is read at once.
const PIECE: u64 = 64 << 10;

/// Types of entries that are known: in use, by category, importance and code.
pub(super) mod kind {
    pub(in super::super) const BITMAP: u8 = 0x81;
    pub(in super::super) const UP_CASE: u8 = 0x82;
    pub(in super::super) const LABEL: u8 = 0x83;
    pub(super) const FILE: u8 = 0x85;
    pub(in super::super) const STREAM: u8 = 0xc0;
    pub(super) const NAME: u8 = 0xc1;
    /// In use.
    pub(super) const IN_USE: u8 = 0x80;
    /// A secondary entry, of the primary one before it.
    pub(super) const SECONDARY: u8 = 0x40;
}

/// `NoFatChain` of a stream extension's flags.
const CONTIGUOUS: u8 = 0x2;

/// Bits of `FileAttributes`.
mod attribute {
    pub(super) const READ_ONLY: u16 = 0x01;
    pub(super) const DIRECTORY: u16 = 0x10;
}

/// A primary entry and those that belong to it, with where the second one lies on the volume.
pub(super) struct Set {
    /// The entries.
    pub(super) entries: Vec<[u8; ENTRY]>,
    /// Where the second lies; of a set of one, that one.
    second: ByteOffset,
}

/// Where the content of something lies, and how much of it was ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    /// Where it lies. Its length is `DataLength`.
    pub(super) allocation: Allocation,
    /// `ValidDataLength`: what lies behind it reads as zeros.
    pub(super) valid: u64,
}

impl Stream {
    /// Out of a stream extension.
    pub(super) fn parse(raw: &[u8]) -> Self {
        let len = le64(raw, 24);
        let allocation = Allocation { first: le32(raw, 20), len, contiguous: byte(raw, 1) & CONTIGUOUS != 0 };
        Self { allocation, valid: le64(raw, 8).min(len) }
    }
}

/// What a directory says of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name.
    pub(super) name: String,
    /// Where its stream extension lies on the volume.
    pub(super) at: ByteOffset,
    /// It is a directory.
    pub(super) directory: bool,
    /// Its attributes say that it is not to be written to.
    pub(super) read_only: bool,
    /// Where its content lies.
    pub(super) stream: Stream,
    /// When it was last written to, and last read: local time where the entry does not say how far that is from UTC.
    pub(super) times: (Option<UnixMicros>, Option<UnixMicros>),
    /// The checksum of its set is wrong: nothing of it but the name is to be believed.
    pub(super) damaged: bool,
}

impl Entry {
    /// What it is.
    pub(super) fn kind(&self) -> FileKind {
        if self.directory { FileKind::Directory } else { FileKind::File }
    }

    /// Its size in bytes; 0 for a directory.
    pub(super) fn size(&self) -> ByteLen {
        ByteLen(if self.directory { 0 } else { self.stream.allocation.len })
    }

    /// As it is listed.
    pub(super) fn listed(&self) -> ListedFile {
        let name = RawName(self.name.clone().into_bytes());
        if self.damaged {
            return ListedFile { name, kind: self.kind(), size: ByteLen::ZERO, modified: None };
        }
        let modified = self.times.0.and_then(|t| t.0.checked_mul(1000));
        ListedFile { name, kind: self.kind(), size: self.size(), modified }
    }

    /// The same where it is whole.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where the checksum of its set is wrong.
    pub(super) fn whole(self) -> Result<Self, FsError> {
        match self.damaged {
            true => Err(FsError::Corrupt(format!("the checksum of the directory entry at {} is wrong", self.at))),
            false => Ok(self),
        }
    }
}

/// What is done about a part that cannot be read: the error, or the reading goes on behind it.
pub(super) type Damaged<'a> = dyn FnMut(FsError) -> Result<(), FsError> + 'a;

/// Shows the sets of entries in use of a directory.
///
/// # Errors
/// What `damaged` makes of a part that cannot be read. Sets before that were shown.
pub(super) fn sets(
    bytes: &dyn ReadAt,
    boot: &Boot,
    at: Allocation,
    damaged: &mut Damaged<'_>,
    visit: &mut dyn FnMut(Set) -> Result<ControlFlow<()>, FsError>,
) -> Result<(), FsError> {
    let mut left = at.len.min(MOST_BYTES);
    // The set that is being read, and how many entries it still lacks.
    let mut open: Option<(Set, u8)> = None;
    for place in at.places(bytes, boot) {
        let place = match place {
            Ok(place) => place,
            Err(e) => {
                damaged(e)?;
                break;
            }
        };
        let end = place.start().0 + place.len().0.min(left);
        left -= end - place.start().0;
        let mut from = place.start().0;
        while from < end {
            let len = (end - from).min(PIECE);
            let here = from;
            from += len;
            let piece = match bytes.read_vec(ByteOffset(here), ByteLen(len).to_usize().unwrap_or(0)) {
                Ok(piece) => piece,
                Err(e) => {
                    damaged(e.into())?;
                    open = None;
                    continue;
                }
            };
            for (raw, at) in piece.as_chunks::<ENTRY>().0.iter().zip((here..).step_by(ENTRY)) {
                if raw[0] == 0 {
                    return Ok(());
                }
                let complete = match step(&mut open, raw, ByteOffset(at)) {
                    Ok(complete) => complete,
                    Err(e) => {
                        damaged(e)?;
                        continue;
                    }
                };
                if let Some(set) = complete
                    && visit(set)?.is_break()
                {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Takes the next entry; gives the set that it completes. One that does not belong to the open set ends it.
fn step(open: &mut Option<(Set, u8)>, raw: &[u8; ENTRY], at: ByteOffset) -> Result<Option<Set>, FsError> {
    let secondary = raw[0] & kind::IN_USE != 0 && raw[0] & kind::SECONDARY != 0;
    if let Some((mut set, lacks)) = open.take() {
        if secondary {
            if set.entries.len() == 1 {
                set.second = at;
            }
            set.entries.push(*raw);
            if lacks == 1 {
                return Ok(Some(set));
            }
            *open = Some((set, lacks - 1));
            return Ok(None);
        }
        begin(open, raw, at);
        return Err(FsError::Corrupt(format!("the set of directory entries before {at} is cut off")));
    }
    Ok(if secondary { None } else { begin(open, raw, at) })
}

/// Begins a set with a primary entry; gives it where it is whole with that.
fn begin(open: &mut Option<(Set, u8)>, raw: &[u8; ENTRY], at: ByteOffset) -> Option<Set> {
    if raw[0] & kind::IN_USE == 0 {
        return None;
    }
    let set = Set { entries: vec![*raw], second: at };
    if raw[0] != kind::FILE || raw[1] == 0 {
        return Some(set);
    }
    *open = Some((set, raw[1]));
    None
}

/// What is done with an entry; [`ControlFlow::Break`] ends the reading.
pub(super) type Visit<'a> = dyn FnMut(Entry) -> ControlFlow<()> + 'a;

/// Shows every file and directory that a directory names.
///
/// # Errors
/// As [`sets`].
pub(super) fn each(
    bytes: &dyn ReadAt,
    boot: &Boot,
    at: Allocation,
    damaged: &mut Damaged<'_>,
    visit: &mut Visit<'_>,
) -> Result<(), FsError> {
    // What is wrong with a set is told by the same means as what is wrong with a part; only one of the two is at work at a time.
    let damaged = std::cell::RefCell::new(damaged);
    sets(bytes, boot, at, &mut |e| damaged.borrow_mut()(e), &mut |set| {
        if set.entries[0][0] != kind::FILE {
            return Ok(ControlFlow::Continue(()));
        }
        match entry(&set) {
            Ok(entry) => Ok(visit(entry)),
            Err(e) => damaged.borrow_mut()(e).map(|()| ControlFlow::Continue(())),
        }
    })
}

fn entry(set: &Set) -> Result<Entry, FsError> {
    let bad = |why: &str| FsError::Corrupt(format!("the directory entry at {} {why}", set.second));
    let [file, stream, names @ ..] = set.entries.as_slice() else { return Err(bad("has no stream extension")) };
    if stream[0] != kind::STREAM {
        return Err(bad("has no stream extension"));
    }
    let units = names.iter().filter(|raw| raw[0] == kind::NAME).flat_map(|raw| raw[2..].as_chunks::<2>().0);
    let units: Vec<u16> = units.take(usize::from(stream[3])).map(|unit| u16::from_le_bytes(*unit)).collect();
    let name: String =
        char::decode_utf16(units.iter().copied()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    if units.is_empty() || units.len() < usize::from(stream[3]) || matches!(name.as_str(), "." | "..") {
        return Err(bad("has no name"));
    }
    if name.contains(['/', '\0']) {
        return Err(bad("has a name that is none"));
    }
    let attributes = le16(file, 4);
    Ok(Entry {
        name,
        at: set.second,
        directory: attributes & attribute::DIRECTORY != 0,
        read_only: attributes & attribute::READ_ONLY != 0,
        stream: Stream::parse(stream),
        times: (time(le32(file, 12), byte(file, 21), byte(file, 23)), time(le32(file, 16), 0, byte(file, 24))),
        damaged: checksum(&set.entries) != le16(file, 2),
    })
}

/// Section 6.3.3: over the whole set but the checksum itself.
fn checksum(entries: &[[u8; ENTRY]]) -> u16 {
    let counted = entries.as_flattened().iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3));
    counted.fold(0u16, |sum, (_, b)| sum.rotate_right(1).wrapping_add(u16::from(*b)))
}

/// Section 7.4.8 to 7.4.10: a date and a time in steps of two seconds, hundredths on top, and quarters of an hour from UTC where the
/// highest bit says that these are known.
fn time(stamp: u32, hundredths: u8, offset: u8) -> Option<UnixMicros> {
    let bits = |from: u32, count: u32| u8::try_from(stamp >> from & ((1 << count) - 1)).ok();
    let year = 1980 + i64::from(stamp >> 25);
    let whole = UnixMicros::from_civil(
        year,
        bits(21, 4)?,
        bits(16, 5)?,
        bits(11, 5)?,
        bits(5, 6)?,
        bits(0, 5)?.checked_mul(2)?,
    )?;
    // Seven bits with a sign.
    let quarters = if offset & 0x80 != 0 { i64::from((offset << 1).cast_signed() >> 1) } else { 0 };
    let micros = i64::from(hundredths) * 10_000 - quarters * 15 * 60 * 1_000_000;
    whole.0.checked_add(micros).map(UnixMicros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_brought_to_utc_where_their_offset_is_known() {
        // 2024-03-01 12:30:10.
        let stamp = 44 << 25 | 3 << 21 | 1 << 16 | 12 << 11 | 30 << 5 | 5;
        let plain = UnixMicros::from_civil(2024, 3, 1, 12, 30, 10).unwrap().0;
        assert_eq!(time(stamp, 0, 0).unwrap().0, plain);
        assert_eq!(time(stamp, 150, 0x80).unwrap().0, plain + 1_500_000);
        // Two hours east, and an hour and a half west.
        assert_eq!(time(stamp, 0, 0x80 | 8).unwrap().0, plain - 7_200_000_000);
        assert_eq!(time(stamp, 0, 0x80 | (128 - 6)).unwrap().0, plain + 5_400_000_000);
        assert_eq!(time(0, 0, 0), None, "month 0");
    }
}
