//! FAT12, FAT16 and FAT32.

mod boot;
mod chain;
mod dir;
mod files;
mod graft;
mod losses;
mod usage;

pub use graft::{Compared, Pair};

use super::{FileSystem, FsError};
use crate::coverage::raw;
use dir::Entry;
use files::At;
use model::coverage::{CaptureMethod, Changes, Coverage};
use model::cuts::Cuts;
use model::files::{Attributes, FileId, Layout, LostFiles, Named};
use model::inspection::{FatInfo, FileKind, ListedFile};
use model::ports::ReadAt;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The facts of a FAT file system, or `None` where there is no FAT boot sector.
///
/// # Errors
/// [`FsError::Corrupt`] where it is one, but its numbers do not hold together.
pub fn identify(bytes: &Arc<dyn ReadAt>) -> Result<Option<FatInfo>, FsError> {
    let Some(mut boot) = boot::read(bytes.as_ref(), ByteOffset(0))? else { return Ok(None) };
    // Linux and Windows show the root directory's label where there is one.
    if let Some(label) = boot::root_label(bytes.as_ref(), &boot.geometry)? {
        boot.info.label = label;
    }
    Ok(Some(boot.info))
}

/// Where a good copy of a FAT32 boot sector stands, if the first one is lost: sector 6, as every formatter has it.
pub(crate) fn backup_boot(bytes: &dyn ReadAt) -> Option<ByteOffset> {
    let places = [512, 4096].map(|sector| ByteOffset(6 * sector));
    places.into_iter().find(|at| boot::read(bytes, *at).is_ok_and(|b| b.is_some_and(|b| b.info.width == 32)))
}

/// The root directory; every other file is numbered by where its entry lies.
const ROOT: FileId = FileId(0);

/// What a FAT keeps of a file, as Linux shows it: nobody's, and writable for its owner where it is not read-only.
fn attributes(entry: Option<&Entry>) -> Attributes {
    let directory = entry.is_none_or(|e| e.directory);
    let mode = if directory { 0o040_755 } else { 0o100_644 };
    Attributes {
        kind: if directory { FileKind::Directory } else { FileKind::File },
        mode: if entry.is_some_and(|e| e.read_only) { mode & !0o222 } else { mode },
        owner: 0,
        group: 0,
        links: 1,
        size: ByteLen(entry.map_or(0, |e| u64::from(e.size))),
        modified: entry.and_then(|e| e.modified).and_then(|t| t.0.checked_mul(1000)),
        accessed: None,
        device: None,
        target: None,
        xattrs: Vec::new(),
        flags: 0,
    }
}

fn named(entry: &Entry) -> Named {
    let name = RawName(entry.name.clone().into_bytes());
    Named { name, file: FileId(entry.at.0), attributes: Some(attributes(Some(entry))) }
}

/// A FAT file system, opened.
pub struct Fat {
    bytes: Arc<dyn ReadAt>,
    boot: boot::Boot,
    files: files::Files,
}

impl Fat {
    /// Opens it.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where its boot sector does not hold together, or is none.
    pub fn load(bytes: Arc<dyn ReadAt>) -> Result<Self, FsError> {
        let boot = boot::read(bytes.as_ref(), ByteOffset(0))?
            .ok_or_else(|| FsError::Corrupt("there is no FAT boot sector".into()))?;
        let files = files::Files::new(bytes.clone(), &boot.geometry);
        Ok(Self { bytes, boot, files })
    }

    /// Where on the volume the entry of what stands at `path` lies, and, of a directory, its first cluster.
    pub(crate) fn places(&self, path: &[u8]) -> Result<Option<(ByteOffset, Option<Extent>)>, FsError> {
        let Some(At::Entry(entry)) = self.files.find(path)? else { return Ok(None) };
        let first = entry.directory.then(|| self.boot.geometry.cluster(entry.cluster)).flatten();
        Ok(Some((entry.at, first)))
    }
}

impl FileSystem for Fat {
    fn stat(&self, path: &[u8]) -> Result<Option<ListedFile>, FsError> {
        let root =
            ListedFile { name: RawName::default(), kind: FileKind::Directory, size: ByteLen::ZERO, modified: None };
        Ok(self.files.find(path)?.map(|at| match at {
            At::Root => root,
            At::Entry(entry) => entry.listed(),
        }))
    }

    fn select(&self, path: &[u8], most: usize, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Vec<ListedFile>, FsError> {
        let mut out = Vec::new();
        let Some(first) = self.files.find(path)?.and_then(|at| at.directory()).filter(|_| most > 0) else {
            return Ok(out);
        };
        let mut left = most;
        self.files.each(first, &mut Err, &mut |entry| {
            let listed = entry.listed();
            if wanted(&listed.name.0) {
                out.push(listed);
            }
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(out)
    }

    fn open(&self, path: &[u8]) -> Result<Option<Box<dyn ReadAt>>, FsError> {
        match self.files.find(path)? {
            Some(At::Entry(entry)) if !entry.directory => Ok(Some(Box::new(self.files.open(&entry)?))),
            _ => Ok(None),
        }
    }

    /// FAT has no symbolic links.
    fn read_link(&self, _path: &[u8]) -> Result<Option<Vec<u8>>, FsError> {
        Ok(None)
    }

    fn find(&self, path: &[u8]) -> Result<Option<Named>, FsError> {
        Ok(self.files.find(path)?.map(|at| match at {
            At::Root => Named { name: RawName::default(), file: ROOT, attributes: Some(attributes(None)) },
            At::Entry(entry) => named(&entry),
        }))
    }

    fn list(&self, dir: FileId, skip: usize, most: usize) -> Result<Vec<Named>, FsError> {
        let at = if dir == ROOT { At::Root } else { At::Entry(self.files.entry(dir.0)?) };
        let first =
            at.directory().ok_or_else(|| FsError::Corrupt(format!("what stands at {} is no directory", dir.0)))?;
        let (mut at, mut out) = (0, Vec::new());
        self.files.each(first, &mut Err, &mut |entry| {
            at += 1;
            if at > skip {
                out.push(named(&entry));
            }
            if out.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(out)
    }

    fn layout(&self, file: FileId, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
        let entry = self.files.entry(file.0)?;
        Ok(self.files.pieces(&entry)?.layout(ByteLen(u64::from(entry.size)), from, most))
    }

    fn cuts(&self) -> Cuts {
        Cuts::grid(self.bytes.size())
    }

    fn losses(&self, lost: &ExtentSet) -> LostFiles {
        losses::losses(self, lost)
    }

    fn changes(&self, _before: Arc<dyn ReadAt>) -> Changes {
        Changes::unknown("FAT keeps no record of what changed")
    }

    fn coverage(&self) -> Coverage {
        let (info, size) = (&self.boot.info, self.bytes.size());
        match usage::used(self.bytes.as_ref(), &self.boot.geometry) {
            Ok(used) => {
                let state =
                    if info.dirty { "not unmounted cleanly, but its allocation table holds together" } else { "clean" };
                let why = format!("vfat (FAT{}), {state}", info.width);
                Coverage { method: CaptureMethod::UsedBlocks, why: why.as_str().into(), used, state: None }
            }
            Err(e) => {
                raw(size, &format!("vfat (FAT{}), whose allocation cannot be trusted ({e}): captured raw", info.width))
            }
        }
    }
}
