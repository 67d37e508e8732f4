//! exFAT: a reader of our own, which never mounts and never writes.
//!
//! What is in use is what the allocation bitmap says, and, where the volume was not closed, what its files lead to besides. Where neither
//! holds together, everything is.
//!
//! Facts are from Microsoft's "exFAT file system specification", revision 1.00; each file names the sections.

mod boot;
mod chain;
mod dir;
mod files;
mod losses;
mod names;
mod usage;

pub(crate) use boot::backup as backup_boot;

use super::{FileSystem, FsError};
use crate::coverage::raw;
use dir::Entry;
use files::{At, Files};
use model::coverage::{CaptureMethod, Changes, Coverage};
use model::cuts::Cuts;
use model::files::{Attributes, FileId, Layout, LostFiles, Named};
use model::inspection::{ExfatInfo, FileKind, ListedFile};
use model::ports::ReadAt;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, ExtentSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The facts of an exFAT, or `None` where there is no boot sector of one. Its label stands in the root directory, and is empty where
/// that cannot be read.
///
/// # Errors
/// [`FsError::Corrupt`] where its boot region does not hold together, [`FsError::Incompatible`] where it is of an unknown revision.
pub fn identify(bytes: &Arc<dyn ReadAt>) -> Result<Option<ExfatInfo>, FsError> {
    let Some(boot) = boot::read(bytes.as_ref())? else { return Ok(None) };
    let root = chain::to_end(bytes.as_ref(), &boot, boot.root, dir::MOST_BYTES);
    let label = root.and_then(|root| files::volume(bytes.as_ref(), &boot, root)).map(|v| v.label).unwrap_or_default();
    Ok(Some(ExfatInfo {
        volume_id: format!("{:04X}-{:04X}", boot.serial >> 16, boot.serial & 0xffff),
        label,
        cluster_size: boot.cluster_size,
        clusters: boot.clusters,
        dirty: boot.dirty,
        media_failure: boot.media_failure,
    }))
}

/// The root directory; every other file is numbered by where its stream extension lies, and one more for a directory.
const ROOT: FileId = FileId(0);
/// Entries lie at multiples of 32.
const DIRECTORY: u64 = 1;

/// What an exFAT keeps of a file, as Linux shows it: nobody's, and writable for its owner where it is not read-only.
fn attributes(entry: Option<&Entry>) -> Attributes {
    let kind = entry.map_or(FileKind::Directory, Entry::kind);
    let mode = if kind == FileKind::Directory { 0o040_755 } else { 0o100_644 };
    let nanos = |time: Option<model::ports::UnixMicros>| time.and_then(|t| t.0.checked_mul(1000));
    let (modified, accessed) = entry.map_or((None, None), |e| e.times);
    Attributes {
        kind,
        mode: if entry.is_some_and(|e| e.read_only) { mode & !0o222 } else { mode },
        owner: 0,
        group: 0,
        links: 1,
        size: entry.map_or(ByteLen::ZERO, Entry::size),
        modified: nanos(modified),
        accessed: nanos(accessed),
        device: None,
        target: None,
        xattrs: Vec::new(),
        flags: 0,
    }
}

fn named(entry: &Entry) -> Named {
    let directory = if entry.directory { DIRECTORY } else { 0 };
    Named {
        name: RawName(entry.name.clone().into_bytes()),
        file: FileId(entry.at.0 + directory),
        attributes: (!entry.damaged).then(|| attributes(Some(entry))),
    }
}

/// An exFAT, opened.
pub struct Exfat {
    bytes: Arc<dyn ReadAt>,
    files: Files,
}

impl Exfat {
    /// Opens it.
    ///
    /// # Errors
    /// As [`identify`]; also [`FsError::Corrupt`] where there is none, or its root directory cannot be followed.
    pub fn load(bytes: Arc<dyn ReadAt>) -> Result<Self, FsError> {
        let boot =
            boot::read(bytes.as_ref())?.ok_or_else(|| FsError::Corrupt("there is no exFAT boot sector".to_owned()))?;
        let files = Files::new(bytes.clone(), boot)?;
        Ok(Self { bytes, files })
    }
}

impl FileSystem for Exfat {
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
        let Some(at) = self.files.find(path)?.and_then(|at| self.files.directory(&at)).filter(|_| most > 0) else {
            return Ok(out);
        };
        let mut left = most;
        self.files.each(at, &mut Err, &mut |entry| {
            if wanted(entry.name.as_bytes()) {
                out.push(entry.listed());
            }
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(out)
    }

    fn open(&self, path: &[u8]) -> Result<Option<Box<dyn ReadAt>>, FsError> {
        match self.files.find(path)? {
            Some(At::Entry(entry)) if !entry.directory => Ok(Some(Box::new(self.files.open(&entry.whole()?.stream)?))),
            _ => Ok(None),
        }
    }

    /// exFAT has no symbolic links.
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
        let allocation = match dir {
            ROOT => self.files.root,
            FileId(at) if at & DIRECTORY != 0 => self.files.stream(at - DIRECTORY)?.allocation,
            FileId(at) => return Err(FsError::Corrupt(format!("what stands at {at} is no directory"))),
        };
        let (mut at, mut out) = (0, Vec::new());
        if most == 0 {
            return Ok(out);
        }
        self.files.each(allocation, &mut Err, &mut |entry| {
            at += 1;
            if at > skip {
                out.push(named(&entry));
            }
            if out.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(out)
    }

    fn layout(&self, file: FileId, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
        if file.0 & DIRECTORY != 0 || file == ROOT {
            return Err(FsError::Corrupt(format!("what stands at {} is no file", file.0)));
        }
        let stream = self.files.stream(file.0)?;
        Ok(self.files.pieces(&stream)?.layout(ByteLen(stream.allocation.len), from, most))
    }

    fn cuts(&self) -> Cuts {
        Cuts::grid(self.bytes.size())
    }

    fn losses(&self, lost: &ExtentSet) -> LostFiles {
        losses::losses(&self.files, lost)
    }

    fn changes(&self, _before: Arc<dyn ReadAt>) -> Changes {
        Changes::unknown("exFAT keeps no record of what changed")
    }

    fn coverage(&self) -> Coverage {
        let size = self.bytes.size();
        let boot = &self.files.boot;
        match usage::used(&self.files, size) {
            Ok(used) => {
                let state =
                    if boot.dirty { "not unmounted cleanly: what its files lead to counted in" } else { "clean" };
                let why = format!("exfat, {state}");
                Coverage { method: CaptureMethod::UsedBlocks, why: why.as_str().into(), used, state: None }
            }
            Err(e) => raw(size, &format!("exfat, whose allocation cannot be trusted ({e}): captured raw")),
        }
    }
}
