//! Files: a record of the MFT with those that go it on, and what they keep of the file (kernel `fs/ntfs3/frecord.c`).

use super::attribute::{Attribute, Value, kind};
use super::names;
use super::record::{Record, Reference};
use super::stream::{Builder, Stream};
use crate::fs::FsError;
use crate::numbers::{byte, le16, le32, le64};
use model::inspection::FileKind;

/// Bits of the attributes of a file (`enum FILE_ATTRIBUTE`).
const READ_ONLY: u32 = 0x1;
/// `NAME_TYPE_DOS`: a second, short name.
pub(super) const DOS: u8 = 2;

/// Tags of reparse points ("[MS-FSCC]", section 2.1.2.1) that are read, or say that the content lies elsewhere.
mod tag {
    pub(super) const MOUNT_POINT: u32 = 0xa000_0003;
    pub(super) const SYMLINK: u32 = 0xa000_000c;
    pub(super) const WOF: u32 = 0x8000_0017;
    pub(super) const DEDUP: u32 = 0x8000_0013;
    /// The same for all providers but for these bits.
    pub(super) const CLOUD: u32 = 0x9000_001a;
    pub(super) const CLOUD_BITS: u32 = 0x0000_f000;
}

/// A file, by its records.
pub(super) struct Inode {
    /// The number of its first record.
    pub(super) number: u64,
    /// What it is.
    pub(super) kind: FileKind,
    base: Record,
    more: Vec<Record>,
    clusters: u64,
    /// The tag of its reparse point and its data.
    reparse: Option<(u32, Vec<u8>)>,
}

impl Inode {
    /// Out of its records, on a volume of so many clusters.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where its attributes do not hold together.
    pub(super) fn new(base: Record, more: Vec<Record>, clusters: u64) -> Result<Self, FsError> {
        let kind = if base.is_directory() { FileKind::Directory } else { FileKind::File };
        let mut inode = Self { number: base.number, kind, base, more, clusters, reparse: None };
        let mut reparse = None;
        for attribute in inode.attributes() {
            if let Attribute { kind: kind::REPARSE, value: Value::Resident(raw), .. } = attribute? {
                reparse = Some((le32(raw, 0), raw.get(8..).unwrap_or_default().to_vec()));
            }
        }
        if reparse.as_ref().is_some_and(|(tag, _)| matches!(*tag, tag::SYMLINK | tag::MOUNT_POINT)) {
            inode.kind = FileKind::Symlink;
        }
        inode.reparse = reparse;
        Ok(inode)
    }

    fn attributes(&self) -> impl Iterator<Item = Result<Attribute<'_>, FsError>> {
        std::iter::once(&self.base).chain(&self.more).flat_map(Record::attributes)
    }

    /// The value of an attribute by its type and name; `None` where it has none.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together.
    pub(super) fn stream(&self, kind: u32, name: &str) -> Result<Option<Stream>, FsError> {
        let what = format!("record {} of the MFT, attribute {kind:#x}", self.number);
        let mut builder = Builder::new(self.clusters, &what);
        for attribute in self.attributes() {
            let attribute = attribute?;
            if attribute.kind == kind && attribute.is_called(name) {
                builder.add(&attribute)?;
            }
        }
        builder.finish()
    }

    /// The content of a regular file that lies on this volume as it is read.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it is none; [`FsError::Incompatible`] where it is encrypted, packed by the system, or kept elsewhere.
    pub(super) fn content(&self) -> Result<Stream, FsError> {
        let number = self.number;
        if self.kind != FileKind::File {
            return Err(FsError::Corrupt(format!("record {number} of the MFT is no regular file")));
        }
        let elsewhere = match self.reparse.as_ref().map(|(tag, _)| *tag) {
            Some(tag::WOF) => Some("it is packed by Windows (WOF, \"compact\")"),
            Some(tag::DEDUP) => Some("its content is kept by Windows' deduplication"),
            Some(other) if other & !tag::CLOUD_BITS == tag::CLOUD => Some("its content may be kept in a cloud"),
            _ => None,
        };
        if let Some(why) = elsewhere {
            return Err(FsError::Incompatible(format!("{why}, which is not read")));
        }
        let stream = self.stream(kind::DATA, "")?;
        let stream = stream.ok_or_else(|| FsError::Corrupt(format!("record {number} of the MFT has no content")))?;
        match stream.encrypted {
            true => Err(FsError::Incompatible("it is encrypted by Windows (EFS), which is not read".to_owned())),
            false => Ok(stream),
        }
    }

    /// Its size in bytes; 0 for what is no regular file, or where it is not told.
    pub(super) fn size(&self) -> u64 {
        if self.kind != FileKind::File {
            return 0;
        }
        let mut parts = self.attributes().flatten().filter(|a| a.kind == kind::DATA && a.is_called(""));
        let first = parts.find_map(|a| match a.value {
            Value::Resident(bytes) => Some(bytes.len() as u64),
            Value::Clusters(part) => (part.first == 0).then_some(part.size),
        });
        first.unwrap_or(0)
    }

    fn standard(&self) -> &[u8] {
        let mut found = self.base.attributes().flatten();
        let value = found.find_map(|a| match a.value {
            Value::Resident(bytes) if a.kind == kind::STANDARD => Some(bytes),
            _ => None,
        });
        value.unwrap_or_default()
    }

    /// When its content was last changed, in nanoseconds since 1970.
    pub(super) fn modified(&self) -> Option<i64> {
        nanos(le64(self.standard(), 8))
    }

    /// When it was last read.
    pub(super) fn accessed(&self) -> Option<i64> {
        nanos(le64(self.standard(), 24))
    }

    /// It is not to be written to.
    pub(super) fn is_read_only(&self) -> bool {
        le32(self.standard(), 32) & READ_ONLY != 0
    }

    /// How many names it has, short ones not counted.
    pub(super) fn links(&self) -> u32 {
        let names = self.attributes().flatten().filter(|a| match a.value {
            Value::Resident(name) => a.kind == kind::NAME && byte(name, 65) != DOS,
            Value::Clusters(_) => false,
        });
        u32::try_from(names.count()).unwrap_or(u32::MAX).max(1)
    }

    /// Where a symbolic link or a junction leads, with slashes; `None` for anything else ("[MS-FSCC]", sections 2.1.2.4 and 2.1.2.5).
    pub(super) fn target(&self) -> Option<Vec<u8>> {
        let (tag, data) = self.reparse.as_ref()?;
        let paths = match *tag {
            tag::SYMLINK => 12,
            tag::MOUNT_POINT => 8,
            _ => return None,
        };
        let part = |at: usize| {
            let from = paths + usize::from(le16(data, at));
            data.get(from..from + usize::from(le16(data, at + 2))).map(names::text)
        };
        // What it is shown as, where it has that; else what the system goes by.
        let shown = part(4).filter(|text| !text.is_empty()).or_else(|| part(0))?;
        Some(shown.trim_start_matches("\\??\\").replace('\\', "/").into_bytes())
    }

    /// That a reference to it is to this use of its record.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it is to another.
    pub(super) fn check(self, reference: Reference) -> Result<Self, FsError> {
        let (is, wanted) = (self.base.sequence(), reference.sequence());
        if wanted != 0 && wanted != is {
            let says = format!("record {} of the MFT is in its use {is}, not {wanted}", self.number);
            return Err(FsError::Corrupt(says));
        }
        Ok(self)
    }
}

/// Times are in steps of 100 ns since 1601; zero is none.
fn nanos(time: u64) -> Option<i64> {
    const FROM_1601_TO_1970: i64 = 116_444_736_000_000_000;
    let time = i64::try_from(time).ok().filter(|time| *time != 0)?;
    (time - FROM_1601_TO_1970).checked_mul(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_from_1970() {
        assert_eq!(nanos(116_444_736_000_000_001), Some(100));
        assert_eq!(nanos(133_000_000_000_000_000), Some(1_655_526_400_000_000_000));
        assert_eq!((nanos(0), nanos(u64::MAX), nanos(i64::MAX as u64)), (None, None, None));
    }
}
