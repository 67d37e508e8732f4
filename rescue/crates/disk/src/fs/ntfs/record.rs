//! Records: of the MFT, and blocks of an index. What they hold is guarded by an update sequence: the last two bytes of each 512 are
//! replaced by a number that is the same in all of them (kernel `fs/ntfs3/fsntfs.c`, `ntfs_fix_post_read`).

use super::attribute::Attributes;
use crate::fs::FsError;
use crate::numbers::{le16, le32, le64};

/// Bytes that one entry of the update sequence guards.
const GUARDED: usize = 512;
/// The bits of a reference that are the number of a record; those above are its sequence number.
const NUMBER: u64 = 0xffff_ffff_ffff;

/// Bits of the flags of a record.
const IN_USE: u16 = 0x1;
const DIRECTORY: u16 = 0x2;

/// A reference to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference(pub(super) u64);

impl Reference {
    /// The number of the record.
    pub(super) fn number(self) -> u64 {
        self.0 & NUMBER
    }

    /// Which use of the record is meant; 0 for any.
    pub(super) fn sequence(self) -> u16 {
        u16::try_from(self.0 >> 48).unwrap_or(0)
    }
}

/// Puts back what the update sequence replaced.
///
/// # Errors
/// Why it cannot be: a block of which a part was not written, or that holds something else.
pub(super) fn restore(block: &mut [u8], magic: &[u8; 4]) -> Result<(), String> {
    if !block.starts_with(magic) {
        let says = block.iter().take(4).map(|b| char::from(*b)).filter(char::is_ascii_graphic);
        return Err(format!("it begins with \"{}\"", says.collect::<String>()));
    }
    let (at, count) = (usize::from(le16(block, 4)), usize::from(le16(block, 6)));
    let blocks = block.len() / GUARDED;
    let inside = at >= 8 && at % 2 == 0 && at + count * 2 <= GUARDED - 2;
    if !inside || count != blocks + 1 {
        return Err(format!("its update sequence has {count} entries at byte {at}"));
    }
    let number = le16(block, at);
    for no in 1..count {
        let end = no * GUARDED;
        if le16(block, end - 2) != number {
            return Err(format!("its {no}. part of {blocks} is of another write"));
        }
        let was = le16(block, at + no * 2).to_le_bytes();
        block[end - 2..end].copy_from_slice(&was);
    }
    Ok(())
}

/// A record of the MFT.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Its number.
    pub(super) number: u64,
    bytes: Vec<u8>,
}

impl Record {
    /// Out of its bytes, the update sequence not put back yet. `None` where the record was never used, or is not now.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together.
    pub(super) fn parse(number: u64, mut bytes: Vec<u8>) -> Result<Option<Self>, FsError> {
        if bytes.iter().take(4).all(|b| *b == 0) {
            return Ok(None);
        }
        let bad = |why: String| FsError::Corrupt(format!("record {number} of the MFT: {why}"));
        restore(&mut bytes, b"FILE").map_err(bad)?;
        if le16(&bytes, 22) & IN_USE == 0 {
            return Ok(None);
        }
        let (first, used) = (usize::from(le16(&bytes, 20)), le32(&bytes, 24));
        if first < 42 || first % 8 != 0 || usize::try_from(used).is_ok_and(|used| used > bytes.len() || used < first) {
            return Err(bad(format!("its attributes lie from byte {first} to {used}")));
        }
        Ok(Some(Self { number, bytes }))
    }

    /// `seq`.
    pub(super) fn sequence(&self) -> u16 {
        le16(&self.bytes, 16)
    }

    /// It has an index of names.
    pub(super) fn is_directory(&self) -> bool {
        le16(&self.bytes, 22) & DIRECTORY != 0
    }

    /// The record that it goes on, where it is no file's first.
    pub(super) fn base(&self) -> Option<Reference> {
        Some(Reference(le64(&self.bytes, 32))).filter(|base| base.0 != 0)
    }

    /// Its attributes, in order.
    pub(super) fn attributes(&self) -> Attributes<'_> {
        let used = usize::try_from(le32(&self.bytes, 24)).unwrap_or(0);
        Attributes::new(self.number, &self.bytes[..used.min(self.bytes.len())], usize::from(le16(&self.bytes, 20)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_where_all_its_parts_are_of_one_write() {
        let mut block = vec![0u8; 1024];
        block[..4].copy_from_slice(b"FILE");
        block[4..8].copy_from_slice(&[0x30, 0, 3, 0]);
        block[0x30..0x36].copy_from_slice(&[7, 0, 0xaa, 0xbb, 0xcc, 0xdd]);
        block[510] = 7;
        block[1022] = 7;
        let mut whole = block.clone();
        restore(&mut whole, b"FILE").unwrap();
        assert_eq!((&whole[510..512], &whole[1022..]), (&[0xaa, 0xbb][..], &[0xcc, 0xdd][..]));
        assert!(restore(&mut block.clone(), b"INDX").unwrap_err().contains("FILE"));
        block[1022] = 6;
        assert!(restore(&mut block.clone(), b"FILE").unwrap_err().contains("another write"));
        block[6] = 4;
        assert!(restore(&mut block, b"FILE").unwrap_err().contains("4 entries"));
    }
}
