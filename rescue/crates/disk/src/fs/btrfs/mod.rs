//! btrfs: a reader of our own, which never mounts and never writes.
//!
//! It is read as it is after its last transaction, with what was synced since (its log) taken into account in memory. Every tree block is
//! held against its checksum, its place, the transaction that the pointer to it names, and the order of its keys. What is in use is what the
//! extent tree says, where that agrees with what the block groups and the superblock say; else everything is.
//!
//! Paths begin at the top-level subvolume, whatever is mounted where: `/@/etc/fstab`. Checksums of file content are not looked at.
//!
//! Facts are from the kernel's `include/uapi/linux/btrfs_tree.h`, `fs/btrfs` and the "On-disk format" of the btrfs documentation; each file
//! names its source. Several devices are read as one volume ([`volume::btrfs`](crate::volume)). Not read: RAID 5 and 6, zones, seeds, extent trees of the second kind.

mod changes;
mod checksum;
mod chunk;
mod cuts;
mod devices;
mod dir;
mod extent;
mod file;
mod files;
mod hidden;
mod inode;
mod log;
mod losses;
mod lzo;
mod named;
mod packed;
mod path;
mod raw;
mod reader;
mod subvolume;
mod superblock;
mod tree;
mod unchanged;
mod used;

pub use self::hidden::hide;

use self::devices::Devices;
use self::file::File;
use self::files::{At, Files};
use self::reader::Reader;
use self::subvolume::Subvolumes;
use self::superblock::Superblock;
use super::{FileSystem, FsError, Subvolume, way};
use crate::coverage::raw as raw_coverage;
use model::coverage::{CaptureMethod, Changes, Coverage};
use model::cuts::Cuts;
use model::files::{FileId, Layout, LostFiles, Named};
use model::inspection::{BtrfsInfo, FileKind, ListedFile};
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent, ExtentSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The facts of a btrfs, or `None` where there is no btrfs magic.
///
/// # Errors
/// [`FsError::Corrupt`] where its superblock does not hold together or says more than the volume holds,
/// [`FsError::Incompatible`] where it cannot be understood, [`FsError::Io`] where it cannot be read.
pub fn identify(bytes: &Arc<dyn ReadAt>) -> Result<Option<BtrfsInfo>, FsError> {
    Ok(Devices::read(&**bytes)?.map(|devices| devices.newest().info(devices.apart.clone())))
}

/// The bytes of a volume that its first superblock lies in: the one that Linux looks for.
pub fn first_superblock() -> Extent {
    Extent::between(superblock::AT, superblock::AT + superblock::LEN as u64).unwrap_or_default()
}

/// True for bytes that Linux takes for a superblock, were they in its place: they have its magic.
pub fn is_superblock(bytes: &[u8]) -> bool {
    superblock::has_magic(bytes)
}

/// A device of a file system, as its superblock says, be it hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceOf {
    /// What there is to say of it; without why it is not read.
    pub(crate) info: BtrfsInfo,
    /// Why the file system is not read, whatever is here of it.
    pub(crate) not_read: Option<String>,
    /// [`hide`] took its superblock away.
    pub(crate) hidden: bool,
}

/// Which device of which file system a volume is; `None` where it is none, or that cannot be told.
pub(crate) fn device(bytes: &dyn ReadAt) -> Option<DeviceOf> {
    let (sb, hidden) = match Superblock::read(bytes) {
        Ok(Some(sb)) => (sb, false),
        Ok(None) => (hidden::read(bytes)?, true),
        Err(_) => return None,
    };
    Some(DeviceOf { info: sb.info(None), not_read: sb.not_read(), hidden })
}

/// True where a superblock that was hidden stands on a volume.
pub(crate) fn is_hidden(bytes: &dyn ReadAt) -> bool {
    hidden::read(bytes).is_some()
}

/// Where a copy of a superblock stands that holds together, if the first one is lost.
pub(crate) fn backup_superblock(bytes: &dyn ReadAt) -> Option<u64> {
    superblock::backup(bytes)
}

/// A btrfs, opened.
pub struct Btrfs {
    files: Arc<Files>,
}

impl Btrfs {
    /// Opens it: reads its chunks, its tree of trees and its log.
    ///
    /// # Errors
    /// As [`identify`]; [`FsError::Incompatible`] where it is of a kind that is not read, [`FsError::Corrupt`] where there is no btrfs, or
    /// these trees do not hold together.
    pub fn load(bytes: Arc<dyn ReadAt>) -> Result<Self, FsError> {
        let Some(devices) = Devices::read(&*bytes)? else {
            return Err(FsError::Corrupt("there is no btrfs here".to_owned()));
        };
        if let Some(why) = devices.newest().not_read().or_else(|| devices.apart.clone()) {
            return Err(FsError::Incompatible(why));
        }
        let reader = Reader::load(bytes, devices)?;
        let subvolumes = Subvolumes::load(&reader)?;
        Ok(Self { files: Arc::new(Files { reader, subvolumes }) })
    }

    /// Why what is read may not be what the installed system would see, where that is so: its log cannot be read.
    pub fn doubt(&self) -> Option<&str> {
        self.files.subvolumes.doubt.as_deref()
    }

    /// True where a directory is a subvolume that nothing was written to since another state of the same file system, in which no other
    /// subvolume has its name.
    pub(crate) fn is_same_subvolume(&self, other: &Self, dir: FileId) -> bool {
        let at = At::of(dir);
        let of = |fs: &Self| {
            let all = &fs.files.subvolumes;
            let subvolume = all.of(at.subvolume).ok().filter(|s| s.dir == at.inode && s.log.is_none());
            subvolume.filter(|_| !all.has_children(at.subvolume)).map(|s| s.state)
        };
        let same_fs = self.files.reader.sb.file_system() == other.files.reader.sb.file_system();
        same_fs && of(self).is_some() && of(self) == of(other)
    }
}

impl FileSystem for Btrfs {
    fn stat(&self, path: &[u8]) -> Result<Option<ListedFile>, FsError> {
        Ok(way::find(&*self.files, path, false)?.map(|f| named::listed(f.name(), f.file.inode.as_ref())))
    }

    fn select(&self, path: &[u8], most: usize, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Vec<ListedFile>, FsError> {
        let mut files = Vec::new();
        let dir = way::find(&*self.files, path, true)?.filter(|f| f.file.kind() == FileKind::Directory && most > 0);
        let Some(dir) = dir else { return Ok(files) };
        let mut left = most;
        self.files.entries(dir.file.at, &mut |entry, at| {
            if wanted(&entry.name) {
                files.push(match self.files.inode(at) {
                    Ok(inode) => named::listed(&entry.name, inode.as_ref()),
                    Err(_) => ListedFile { kind: entry.kind, ..named::listed(&entry.name, None) },
                });
            }
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(files)
    }

    fn open(&self, path: &[u8]) -> Result<Option<Box<dyn ReadAt>>, FsError> {
        Ok(way::find(&*self.files, path, true)?.and_then(|found| {
            let inode = found.file.inode.filter(|inode| inode.kind == FileKind::File)?;
            Some(Box::new(File::open(self.files.clone(), found.file.at, inode.size)) as Box<dyn ReadAt>)
        }))
    }

    fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>, FsError> {
        let found = way::find(&*self.files, path, false)?;
        let link =
            found.and_then(|f| f.file.inode.filter(|i| i.kind == FileKind::Symlink).map(|inode| (f.file.at, inode)));
        link.map(|(at, inode)| path::target(&self.files, at, &inode)).transpose()
    }

    fn find(&self, path: &[u8]) -> Result<Option<Named>, FsError> {
        let found = way::find(&*self.files, path, false)?;
        found.map(|f| named::named(&self.files, f.name(), f.file.at)).transpose()
    }

    fn list(&self, dir: FileId, skip: usize, most: usize) -> Result<Vec<Named>, FsError> {
        named::list(&self.files, At::of(dir), skip, most)
    }

    fn layout(&self, file: FileId, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
        named::layout(&self.files, file, from, most)
    }

    fn subvolumes(&self) -> Result<Vec<Subvolume>, FsError> {
        let all = &self.files.subvolumes;
        let mut out = Vec::new();
        for (number, subvolume) in &all.all {
            // One that has no name in any directory cannot be mounted by it.
            let at = At { subvolume: *number, inode: subvolume.dir };
            let Ok(Some(path)) = losses::path(&self.files, at) else { continue };
            let (is_default, is_snapshot) = (*number == all.default, subvolume.is_snapshot);
            out.push(Subvolume { id: *number, path, is_default, is_snapshot });
        }
        Ok(out)
    }

    fn coverage(&self) -> Coverage {
        let reader = &self.files.reader;
        let size = reader.bytes().size();
        if let Some(why) = reader.sb.not_proven().or_else(|| self.doubt().map(str::to_owned)) {
            return raw_coverage(size, &format!("btrfs, {why}: captured raw"));
        }
        let mut bytes = match used::used(reader) {
            Ok(bytes) => bytes,
            Err(e) => {
                return raw_coverage(size, &format!("btrfs, whose allocation cannot be trusted ({e}): captured raw"));
            }
        };
        let mut why = match reader.sb.log_tree() {
            Some(_) => "btrfs, cut off: what was synced since its last transaction is counted in".to_owned(),
            None => "btrfs, as its last transaction left it".to_owned(),
        };
        // What lies behind the file system is nobody's to call free.
        if let Some(behind) = Extent::between(reader.devices.end(), size.0).filter(|e| !e.is_empty()) {
            why += &format!("; {} behind it kept", behind.len());
            bytes.insert(behind);
        }
        let used = bytes.clip(Extent::whole(size));
        let state = Some(changes::state(reader, &self.files.subvolumes));
        Coverage { method: CaptureMethod::UsedBlocks, why: why.as_str().into(), used, state }
    }

    fn cuts(&self) -> Cuts {
        cuts::cuts(&self.files.reader)
    }

    /// Everything, where nobody wrote to it since; else the content of files whose extents and checksums are as they were.
    fn changes(&self, before: Arc<dyn ReadAt>) -> Changes {
        changes::changes(&self.files.reader, &self.files.subvolumes, before)
    }

    fn losses(&self, lost: &ExtentSet) -> LostFiles {
        losses::losses(self, lost)
    }
}
