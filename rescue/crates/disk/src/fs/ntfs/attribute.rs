//! Attributes of a record, and where the bytes of one lie (kernel `fs/ntfs3/ntfs.h`, `struct ATTRIB`; `fs/ntfs3/run.c`, `run_unpack`).

use crate::fs::FsError;
use crate::numbers::{byte, le16, le32, le64};

/// Types of attributes that are read.
pub(super) mod kind {
    pub(in super::super) const STANDARD: u32 = 0x10;
    pub(in super::super) const LIST: u32 = 0x20;
    pub(in super::super) const NAME: u32 = 0x30;
    pub(in super::super) const VOLUME_NAME: u32 = 0x60;
    pub(in super::super) const VOLUME_INFORMATION: u32 = 0x70;
    pub(in super::super) const DATA: u32 = 0x80;
    pub(in super::super) const INDEX_ROOT: u32 = 0x90;
    pub(in super::super) const INDEX_ALLOCATION: u32 = 0xa0;
    pub(in super::super) const BITMAP: u32 = 0xb0;
    pub(in super::super) const REPARSE: u32 = 0xc0;
    pub(super) const END: u32 = 0xffff_ffff;
}

/// Bits of the flags of an attribute.
const COMPRESSED: u16 = 0x00ff;
const ENCRYPTED: u16 = 0x4000;

/// An attribute of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    /// Its type.
    pub(super) kind: u32,
    /// Its name, UTF-16.
    name: &'a [u8],
    /// `flags`.
    flags: u16,
    /// Where its value is.
    pub(super) value: Value<'a>,
}

/// Where the value of an attribute is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// In the record.
    Resident(&'a [u8]),
    /// In clusters, of which this part of the attribute tells.
    Clusters(Part<'a>),
}

/// A part of an attribute whose value lies in clusters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// `svcn`: the first cluster of the value that it tells of.
    pub(super) first: u64,
    /// `evcn` and one more.
    pub(super) end: u64,
    /// `c_unit`: clusters that are compressed together, as a power of two; 0 where they are not.
    pub(super) unit: u8,
    /// `data_size`, of the first part.
    pub(super) size: u64,
    /// `valid_size`, of the first part: what lies behind it reads as zeros.
    pub(super) valid: u64,
    /// The runs, packed.
    packed: &'a [u8],
}

/// Clusters that lie one behind the other, and which of the value's they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first cluster of the value.
    pub(super) from: u64,
    /// How many.
    pub(super) len: u64,
    /// Where they lie; `None` for a hole.
    pub(super) at: Option<u64>,
}

impl<'a> Attribute<'a> {
    /// True for the one with this name, in ASCII; an empty one for none.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name.len() == name.len() * 2 && self.name.chunks_exact(2).zip(name.bytes()).all(|(unit, b)| unit == [b, 0])
    }

    /// Its content is packed by the file system.
    pub(super) fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }

    /// Its content is encrypted by the system (EFS).
    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & ENCRYPTED != 0
    }

    fn parse(b: &'a [u8]) -> Option<Self> {
        let name = usize::from(le16(b, 10));
        let name = b.get(name..name.checked_add(usize::from(byte(b, 9)) * 2)?)?;
        let value = if byte(b, 8) == 0 {
            let at = usize::from(le16(b, 20));
            let len = usize::try_from(le32(b, 16)).ok()?;
            Value::Resident(b.get(at..at.checked_add(len)?)?)
        } else {
            // Of no clusters at all the last is one before the first.
            let (first, end) = (le64(b, 16), le64(b, 24).wrapping_add(1));
            let packed = b.get(usize::from(le16(b, 32))..)?;
            let (size, valid) = (le64(b, 48), le64(b, 56));
            if first > end || b.len() < 64 || size >> 63 != 0 {
                return None;
            }
            Value::Clusters(Part { first, end, unit: byte(b, 34), size, valid: valid.min(size), packed })
        };
        Some(Self { kind: le32(b, 0), name, flags: le16(b, 12), value })
    }
}

impl Part<'_> {
    /// The runs, in order: as many clusters as the part says.
    ///
    /// # Errors
    /// Why they are not: they end too early, or lead out of the volume of `clusters`.
    pub(super) fn runs(&self, clusters: u64, out: &mut Vec<Run>) -> Result<(), String> {
        let (mut at, mut lcn, mut vcn) = (0, 0i64, self.first);
        while vcn < self.end {
            let head = byte(self.packed, at);
            let (lens, offsets) = (usize::from(head & 0xf), usize::from(head >> 4));
            if lens == 0 || lens > 8 || offsets > 8 {
                return Err(format!("its runs end at cluster {vcn} of {}", self.end));
            }
            let len = signed(self.packed, at + 1, lens).and_then(|len| u64::try_from(len).ok());
            let len = len.filter(|len| *len > 0 && *len <= self.end - vcn);
            let Some(len) = len else { return Err(format!("its run at cluster {vcn} has no length")) };
            let place = if offsets == 0 {
                None
            } else {
                let step = signed(self.packed, at + 1 + lens, offsets);
                let next = step.and_then(|step| lcn.checked_add(step));
                let inside = next.and_then(|next| u64::try_from(next).ok());
                let inside = inside.filter(|first| first.checked_add(len).is_some_and(|end| end <= clusters));
                let Some(first) = inside else {
                    return Err(format!("its run at cluster {vcn} leads out of the volume"));
                };
                lcn = next.unwrap_or(0);
                Some(first)
            };
            out.push(Run { from: vcn, len, at: place });
            vcn += len;
            at += 1 + lens + offsets;
        }
        Ok(())
    }
}

/// A little-endian number of up to eight bytes with a sign; `None` where they are not all there.
fn signed(b: &[u8], at: usize, len: usize) -> Option<i64> {
    let bytes = b.get(at..at.checked_add(len)?)?;
    let fill = if bytes.last()? & 0x80 != 0 { 0xff } else { 0 };
    let mut all = [fill; 8];
    all.get_mut(..len)?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(all))
}

/// The attributes of a record, in order. One that does not hold together ends them.
pub(super) struct Attributes<'a> {
    record: u64,
    bytes: &'a [u8],
    at: Option<usize>,
}

impl<'a> Attributes<'a> {
    /// Those from byte `at` on.
    pub(super) fn new(record: u64, bytes: &'a [u8], at: usize) -> Self {
        Self { record, bytes, at: Some(at) }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, FsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at.take()?;
        if le32(self.bytes, at) == kind::END {
            return None;
        }
        let len = usize::try_from(le32(self.bytes, at + 4)).unwrap_or(0);
        let body = self.bytes.get(at..at.saturating_add(len)).filter(|_| len >= 24 && len % 8 == 0);
        let attribute = body.and_then(Attribute::parse).filter(|a| a.kind != 0);
        let Some(attribute) = attribute else {
            let says = format!("record {} of the MFT: its attribute at byte {at} does not hold together", self.record);
            return Some(Err(FsError::Corrupt(says)));
        };
        self.at = Some(at + len);
        Some(Ok(attribute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(packed: &[u8], end: u64) -> Result<Vec<Run>, String> {
        let mut out = Vec::new();
        let part = Part { first: 0, end, unit: 0, size: 0, valid: 0, packed };
        part.runs(0x1000, &mut out).map(|()| out)
    }

    #[test]
    fn runs_step_from_one_to_the_next() {
        // 16 clusters at 0x30, a hole of 4, 8 clusters 0x10 before the first.
        let packed = [0x11, 0x10, 0x30, 0x01, 0x04, 0x11, 0x08, 0xf0, 0];
        let wanted = [(0, 16, Some(0x30)), (16, 4, None), (20, 8, Some(0x20))];
        let wanted = wanted.map(|(from, len, at)| Run { from, len, at });
        assert_eq!(runs(&packed, 28).unwrap(), wanted);
        assert!(runs(&packed, 29).unwrap_err().contains("end at cluster 28 of 29"));
        assert!(runs(&packed, 27).unwrap_err().contains("no length"));
        assert!(runs(&[0x11, 1, 0x80], 1).unwrap_err().contains("out of the volume"));
        assert!(runs(&[0x11, 0xff, 1], 1).unwrap_err().contains("no length"));
        assert!(runs(&[0x88], 1).unwrap_err().contains("no length"));
        assert_eq!(runs(&[], 0).unwrap(), []);
    }
}
