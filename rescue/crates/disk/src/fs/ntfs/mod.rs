//! NTFS: a reader of our own, which never mounts and never writes.
//!
//! What is in use is what `$Bitmap` says. Where the log was not closed, or the memory of a hibernated Windows stands on the volume, there may
//! be changes that the bitmap does not know yet: then everything is. The log is not carried out, and files are shown as they lie on the
//! volume.
//!
//! Facts are from the kernel's `fs/ntfs3` and Microsoft's open specifications; each file names its source.

mod attribute;
mod boot;
mod cuts;
mod files;
mod index;
mod inode;
mod log;
mod losses;
mod lznt1;
mod names;
mod reader;
mod record;
mod stream;
mod used;
mod volume;

pub(crate) use boot::backup as backup_boot;

use super::{FileSystem, FsError, way};
use crate::coverage::raw;
use files::File;
use model::coverage::{CaptureMethod, Changes, Coverage};
use model::cuts::Cuts;
use model::files::{FileId, Layout, LostFiles, Named};
use model::inspection::{FileKind, ListedFile, NtfsInfo, NtfsLog};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, ExtentSet};
use names::UpCase;
use reader::{Reader, system};
use std::ops::ControlFlow;
use std::sync::Arc;
use volume::Volume;

/// The version that Windows XP and all after it write, and the one of Windows 2000.
const VERSIONS: [(u8, u8); 2] = [(3, 0), (3, 1)];
/// What `$UpCase` is long.
const UP_CASE_LEN: u64 = 128 << 10;

/// The facts of an NTFS, and what is wrong with it where it can still be used; `None` where there is no boot sector of one.
///
/// # Errors
/// As [`Ntfs::load`].
pub fn identify(bytes: &Arc<dyn ReadAt>) -> Result<Option<(NtfsInfo, Option<String>)>, FsError> {
    let Some(boot) = boot::read(bytes.as_ref())? else { return Ok(None) };
    let fs = Ntfs::with(bytes.clone(), boot)?;
    Ok(Some((fs.info(), fs.volume.untold())))
}

/// An NTFS, opened.
pub struct Ntfs {
    reader: Reader,
    volume: Volume,
    /// Bytes of the volume.
    size: ByteLen,
    /// Why what its bitmap calls free may be in use all the same, where that is so.
    unsettled: Option<String>,
}

impl Ntfs {
    /// Opens it.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is none, or its boot sector, its MFT or `$Volume` does not hold together;
    /// [`FsError::Incompatible`] where it is of an unknown version, or its sizes are out of what is documented.
    pub fn load(bytes: Arc<dyn ReadAt>) -> Result<Self, FsError> {
        let boot =
            boot::read(bytes.as_ref())?.ok_or_else(|| FsError::Corrupt("there is no NTFS boot sector".to_owned()))?;
        Self::with(bytes, boot)
    }

    fn with(bytes: Arc<dyn ReadAt>, boot: boot::Boot) -> Result<Self, FsError> {
        let size = bytes.size();
        let mut reader = Reader::new(bytes, boot)?;
        // Without it, names are still found as they are written.
        let stream = reader.inode(system::UP_CASE).and_then(|inode| inode.stream(attribute::kind::DATA, ""));
        if let Ok(Some(stream)) = stream
            && let Ok(Some(raw)) = reader.read_all(&stream, UP_CASE_LEN)
        {
            reader.up_case = UpCase::parse(&raw).unwrap_or(reader.up_case);
        }
        let volume = volume::read(&reader)?;
        if !VERSIONS.contains(&volume.version) {
            let (major, minor) = volume.version;
            return Err(FsError::Incompatible(format!("an NTFS of version {major}.{minor}")));
        }
        let unsettled = volume.unsettled();
        Ok(Self { reader, volume, size, unsettled })
    }

    fn info(&self) -> NtfsInfo {
        let boot = &self.reader.boot;
        NtfsInfo {
            volume_id: format!("{:016X}", boot.serial),
            label: self.volume.label.clone(),
            version: self.volume.version,
            cluster_size: boot.cluster_size,
            clusters: boot.clusters,
            dirty: self.volume.dirty,
            log: self.volume.log.as_ref().copied().unwrap_or(NtfsLog::Untold),
            hibernated: self.volume.hibernated.as_ref().copied().ok(),
        }
    }

    /// Why what is read may not be what Windows would see, where that is so: its log was not closed, or it would go on from memory.
    pub fn doubt(&self) -> Option<&str> {
        self.unsettled.as_deref()
    }
}

impl FileSystem for Ntfs {
    fn stat(&self, path: &[u8]) -> Result<Option<ListedFile>, FsError> {
        Ok(way::find(&self.reader, path, false)?.map(|f| files::listed(f.name(), &f.file)))
    }

    fn select(&self, path: &[u8], most: usize, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Vec<ListedFile>, FsError> {
        let mut out = Vec::new();
        let dir = way::find(&self.reader, path, true)?.filter(|f| f.file.kind == FileKind::Directory && most > 0);
        let Some(dir) = dir else { return Ok(out) };
        let mut left = most;
        files::each(&self.reader, &dir.file, &mut |entry| {
            if wanted(entry.name.as_bytes()) {
                let inode = self.reader.inode(entry.reference.number());
                out.push(match inode {
                    Ok(inode) => files::listed(entry.name.as_bytes(), &inode),
                    Err(_) => files::damaged(&entry),
                });
            }
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(out)
    }

    fn open(&self, path: &[u8]) -> Result<Option<Box<dyn ReadAt>>, FsError> {
        match way::find(&self.reader, path, true)? {
            Some(found) if found.file.kind == FileKind::File => {
                Ok(Some(Box::new(File::open(&self.reader, &found.file)?)))
            }
            _ => Ok(None),
        }
    }

    fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>, FsError> {
        Ok(way::find(&self.reader, path, false)?.and_then(|found| found.file.target()))
    }

    fn find(&self, path: &[u8]) -> Result<Option<Named>, FsError> {
        Ok(way::find(&self.reader, path, false)?.map(|f| files::named(f.name(), &f.file)))
    }

    fn list(&self, dir: FileId, skip: usize, most: usize) -> Result<Vec<Named>, FsError> {
        files::list(&self.reader, &self.reader.inode(dir.0)?, skip, most)
    }

    fn layout(&self, file: FileId, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
        files::layout(&self.reader, &self.reader.inode(file.0)?, from, most)
    }

    fn cuts(&self) -> Cuts {
        cuts::cuts(&self.reader)
    }

    fn losses(&self, lost: &ExtentSet) -> LostFiles {
        losses::losses(&self.reader, lost)
    }

    /// Drivers other than Windows' write without the log: that it is as it was proves nothing.
    fn changes(&self, _before: Arc<dyn ReadAt>) -> Changes {
        Changes::unknown("NTFS keeps no record of what changed that every driver writes")
    }

    fn coverage(&self) -> Coverage {
        if let Some(why) = &self.unsettled {
            let says = format!("ntfs, {why}, and its allocation may not be what its bitmap says: captured raw");
            return raw(self.size, &says);
        }
        let dirty = self.volume.dirty;
        match used::used(&self.reader, dirty, self.size) {
            Ok(used) => {
                let why = if dirty { "ntfs, marked dirty: what its files lead to counted in" } else { "ntfs, clean" };
                Coverage { method: CaptureMethod::UsedBlocks, why: why.into(), used, state: None }
            }
            Err(e) => raw(self.size, &format!("ntfs, whose allocation cannot be trusted ({e}): captured raw")),
        }
    }
}
