//! The MFT: records by their numbers, and files out of them.

use super::attribute::{Value, kind};
use super::boot::Boot;
use super::index;
use super::inode::Inode;
use super::names::UpCase;
use super::record::{Record, Reference};
use super::stream::{Builder, Stream};
use crate::fs::FsError;
use crate::fs::way::Directories;
use crate::io::ReadAhead;
use crate::numbers::{le16, le32, le64};
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Numbers of records that Windows keeps for itself.
pub(super) mod system {
    pub(in super::super) const MFT: u64 = 0;
    pub(in super::super) const LOG_FILE: u64 = 2;
    pub(in super::super) const VOLUME: u64 = 3;
    pub(in super::super) const ROOT: u64 = 5;
    pub(in super::super) const BITMAP: u64 = 6;
    pub(in super::super) const UP_CASE: u64 = 10;
    /// The first that is no file of the file system itself, but for those below `$Extend`.
    pub(in super::super) const FIRST_USER: u64 = 16;
}

/// The longest list of attributes (kernel `fs/ntfs3/attrlist.c` takes no more).
const MOST_LIST: u64 = 256 << 10;
/// Most records of one file besides its first.
const MOST_RECORDS: usize = 4096;
/// Records are read one by one, and lie together.
const WINDOW: usize = 16 << 10;
const WINDOWS: usize = 64;

/// A volume's bytes, and where its MFT lies in them.
pub(super) struct Reader {
    bytes: Arc<dyn ReadAt>,
    pub(super) boot: Boot,
    mft: Stream,
    pub(super) up_case: UpCase,
}

impl Reader {
    /// Finds the MFT: its first record tells where the rest of it lies.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where that does not hold together.
    pub(super) fn new(bytes: Arc<dyn ReadAt>, boot: Boot) -> Result<Self, FsError> {
        let bytes: Arc<dyn ReadAt> = Arc::new(ReadAhead::new(bytes, WINDOW, WINDOWS));
        let at = ByteOffset(boot.mft * u64::from(boot.cluster_size));
        let len = usize::try_from(boot.record_size).unwrap_or(0);
        let gone = || FsError::Corrupt("the first record of the MFT does not tell of it".to_owned());
        let first = Record::parse(system::MFT, bytes.read_vec(at, len)?)?.ok_or_else(gone)?;
        let mut builder = Builder::new(boot.clusters, "the MFT");
        for attribute in first.attributes() {
            let attribute = attribute?;
            if attribute.kind == kind::DATA && attribute.is_called("") {
                builder.add(&attribute)?;
            }
        }
        let mft = builder.finish()?.ok_or_else(gone)?;
        let mut reader = Self { bytes, boot, mft, up_case: UpCase::ascii() };
        // Where it is in so many pieces that it takes more records to tell them, each lies in what those before it tell.
        for reference in reader.list(&first)? {
            let Some(record) = reader.record(reference.number())? else { return Err(gone()) };
            let mut more = Vec::new();
            for attribute in record.attributes() {
                let attribute = attribute?;
                if attribute.kind == kind::DATA
                    && attribute.is_called("")
                    && let Value::Clusters(part) = attribute.value
                {
                    part.runs(reader.boot.clusters, &mut more).map_err(FsError::Corrupt)?;
                }
            }
            reader.mft.append(more);
        }
        Ok(reader)
    }

    /// The volume.
    pub(super) fn bytes(&self) -> &dyn ReadAt {
        &*self.bytes
    }

    /// The volume, to be kept.
    pub(super) fn shared(&self) -> Arc<dyn ReadAt> {
        self.bytes.clone()
    }

    /// How many records there are, in use or not.
    pub(super) fn records(&self) -> u64 {
        self.mft.size / u64::from(self.boot.record_size)
    }

    /// A record in use; `None` where it is not, or was never.
    ///
    /// # Errors
    /// [`FsError`] where it cannot be read, or does not hold together.
    pub(super) fn record(&self, number: u64) -> Result<Option<Record>, FsError> {
        if number >= self.records() {
            return Err(FsError::Corrupt(format!("record {number} of the MFT, of {}", self.records())));
        }
        let mut raw = vec![0; usize::try_from(self.boot.record_size).unwrap_or(0)];
        self.mft.read(self.bytes(), &self.boot, number * u64::from(self.boot.record_size), &mut raw)?;
        Record::parse(number, raw)
    }

    /// The records besides the first in which a file's list says that attributes stand, in that order.
    fn list(&self, base: &Record) -> Result<Vec<Reference>, FsError> {
        let bad =
            |why: &str| FsError::Corrupt(format!("record {} of the MFT, its list of attributes: {why}", base.number));
        let mut builder = Builder::new(self.boot.clusters, "a list of attributes");
        for attribute in base.attributes() {
            let attribute = attribute?;
            if attribute.kind == kind::LIST {
                builder.add(&attribute)?;
            }
        }
        let Some(stream) = builder.finish()? else { return Ok(Vec::new()) };
        let raw = self.read_all(&stream, MOST_LIST)?.ok_or_else(|| bad("it is longer than one can be"))?;
        let mut found: Vec<Reference> = Vec::new();
        let mut at = 0;
        while at + 24 <= raw.len() && le32(&raw, at) != 0 {
            let len = usize::from(le16(&raw, at + 4));
            if len < 24 {
                return Err(bad(&format!("its entry at byte {at} has {len} bytes")));
            }
            let reference = Reference(le64(&raw, at + 16));
            if reference.number() != base.number && !found.contains(&reference) {
                found.push(reference);
            }
            if found.len() > MOST_RECORDS {
                return Err(bad("it names more records than are followed"));
            }
            at += len;
        }
        Ok(found)
    }

    /// A value of at most `most` bytes; `None` where it is longer.
    ///
    /// # Errors
    /// [`FsError`] where it cannot be read.
    pub(super) fn read_all(&self, stream: &Stream, most: u64) -> Result<Option<Vec<u8>>, FsError> {
        if stream.size > most {
            return Ok(None);
        }
        let mut raw = vec![0; ByteLen(stream.size).to_usize().unwrap_or(0)];
        stream.read(self.bytes(), &self.boot, 0, &mut raw)?;
        Ok(Some(raw))
    }

    /// A file by the number of its first record.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is none, or its records do not belong together.
    pub(super) fn inode(&self, number: u64) -> Result<Inode, FsError> {
        let bad = |why: &str| FsError::Corrupt(format!("record {number} of the MFT {why}"));
        let base = self.record(number)?.ok_or_else(|| bad("is not in use"))?;
        if base.base().is_some() {
            return Err(bad("is not the first of its file"));
        }
        self.file(base)
    }

    /// The file that a first record begins.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where its records do not belong together.
    pub(super) fn file(&self, base: Record) -> Result<Inode, FsError> {
        let mut more = Vec::new();
        for reference in self.list(&base)? {
            let number = reference.number();
            let record = self.record(number)?;
            let own = record.filter(|r| r.base().is_some_and(|b| b.number() == base.number));
            let says = || format!("record {number} of the MFT does not belong to record {}", base.number);
            more.push(own.ok_or_else(|| FsError::Corrupt(says()))?);
        }
        Inode::new(base, more, self.boot.clusters)
    }
}

impl Directories for Reader {
    type File = Inode;

    fn root(&self) -> Result<Inode, FsError> {
        self.inode(system::ROOT)
    }

    fn kind(inode: &Inode) -> FileKind {
        inode.kind
    }

    /// Without regard to case, as Windows does it; a name that is the same in its case too goes before another one.
    fn look_up(&self, dir: &Inode, name: &[u8]) -> Result<Option<Inode>, FsError> {
        let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
        let wanted = self.up_case.fold(name);
        let mut found = None;
        index::each(self, dir, &mut Err, &mut |entry| {
            if entry.name == name {
                found = Some(entry.reference);
                return ControlFlow::Break(());
            }
            if found.is_none() && self.up_case.fold(&entry.name) == wanted {
                found = Some(entry.reference);
            }
            ControlFlow::Continue(())
        })?;
        found.map(|reference| self.inode(reference.number())?.check(reference)).transpose()
    }

    fn target(&self, link: &Inode) -> Result<Vec<u8>, FsError> {
        Ok(link.target().unwrap_or_default())
    }
}
