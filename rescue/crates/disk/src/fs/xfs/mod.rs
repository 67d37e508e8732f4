//! XFS: a reader of our own, which never mounts and never writes.
//!
//! A file system that was not unmounted is read as it is once its log is carried out; that happens in memory ([`Xfs::load`]). What is
//! in use is what its free space does not hold, before or after that, and its log. Where the log cannot be carried out with
//! certainty, everything is in use.
//!
//! Facts are from the kernel's `fs/xfs` and "XFS Algorithms & Data Structures" of xfsprogs; each file names its source.

mod changes;
mod cuts;
mod dir;
mod file;
mod files;
mod group;
mod inode;
mod log;
mod logged_inode;
mod losses;
mod map;
mod raw;
mod reader;
mod replay;
mod rules;
mod superblock;
mod transaction;
mod tree;
mod unchanged;
mod used;
mod xattr;

use self::dir::Entry;
use self::file::File;
use self::inode::Inode;
use self::log::{End, Log};
use self::reader::Reader;
pub use self::rules::Rule;
use self::rules::Rules;
use self::superblock::Superblock;
use super::listing::damaged;
use super::{FileSystem, FsError, way};
use model::coverage::{CaptureMethod, Changes, Coverage};
use model::cuts::Cuts;
use model::files::{FileId, Layout, LostFiles, Named};
use model::inspection::{FileKind, ListedFile, XfsInfo};
use model::ports::ReadAt;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The facts of an XFS, or `None` where there is no magic of one. Where its log ends is given where that can be told.
///
/// # Errors
/// [`FsError::Corrupt`] where its superblock does not hold together or says more than the volume holds,
/// [`FsError::Incompatible`] where it is of a version that cannot be understood, [`FsError::Io`] where it cannot be read.
pub fn identify(bytes: &Arc<dyn ReadAt>) -> Result<Option<XfsInfo>, FsError> {
    let Some(sb) = Superblock::read(&**bytes)? else { return Ok(None) };
    let mut info = sb.info();
    if sb.not_read.is_none() {
        let reader = Reader::new(bytes.clone(), sb, ExtentSet::new());
        // What is wrong with a log is said by `Xfs::doubt`; here it is only not known.
        match Log::open(&reader).and_then(|log| log.end().map(|end| (log, end))) {
            Ok((_, End::Open { last, .. })) => info.log_head = Some(last),
            Ok((log, End::Unmounted(lsn))) => {
                (info.needs_recovery, info.log_head) = (false, Some(lsn));
                info.log_tail = log.tail_of(lsn).ok();
                info.opened = log.opened(lsn).ok().flatten();
            }
            Err(_) => {}
        }
    }
    Ok(Some(info))
}

/// An XFS, opened: as it is once its log is carried out.
pub struct Xfs {
    /// As it lies on the volume.
    raw: Arc<Reader>,
    /// With its log carried out.
    now: Arc<Reader>,
    /// Where its log lies.
    log: Extent,
    /// Where it ends; `None` where that cannot be told.
    end: Option<End>,
    transactions: u32,
    doubt: Option<String>,
}

impl Xfs {
    /// Opens it; carries out its log in memory where it was not unmounted.
    ///
    /// # Errors
    /// As [`identify`]; also [`FsError::Corrupt`] where there is no XFS, and [`FsError::Incompatible`] where it uses features this
    /// version does not know, or other devices.
    pub fn load(bytes: Arc<dyn ReadAt>) -> Result<Self, FsError> {
        let Some(sb) = Superblock::read(&*bytes)? else {
            return Err(FsError::Corrupt("there is no XFS here".to_owned()));
        };
        if let Some(why) = sb.not_read {
            return Err(FsError::Incompatible(why));
        }
        let raw = Arc::new(Reader::new(bytes, sb, ExtentSet::new()));
        let log = Log::open(&raw)?;
        let mut fs = Self { now: raw.clone(), raw, log: log.extent(), end: None, transactions: 0, doubt: None };
        let end = log.end().and_then(|end| {
            fs.end = Some(end);
            replay::replay(&fs.raw, &log, end)
        });
        match end {
            Ok(None) => {}
            Ok(Some(replay)) => (fs.now, fs.transactions) = (replay.reader, replay.transactions),
            Err(e) => fs.doubt = Some(e.to_string()),
        }
        Ok(fs)
    }

    /// Why what is read may not be what the installed system would see, where that is so: its log could not be carried out with
    /// certainty. Worth a finding; everything is captured then.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Transactions of the log that were carried out in memory.
    pub fn replayed(&self) -> u32 {
        self.transactions
    }

    /// What [`FileSystem::changes`] would say if it did not keep one of the rules: to show that it is needed.
    #[doc(hidden)]
    pub fn changes_without(&self, before: Arc<dyn ReadAt>, rule: Rule) -> Changes {
        changes::changes(self, before, Rules::without(rule))
    }

    /// True where it was not unmounted, or that cannot be told.
    pub(in crate::fs) fn is_in_use(&self) -> bool {
        !matches!(self.end, Some(End::Unmounted(_)))
    }

    /// True where nobody wrote to it between two states: both were unmounted, with the same superblock and the same end of the log.
    pub(in crate::fs) fn is_untouched(&self, after: &Self) -> bool {
        let state = changes::state(self);
        state.is_some() && state == changes::state(after)
    }
}

/// What stands under a name.
fn listed(name: &[u8], inode: &Inode) -> ListedFile {
    let size = if inode.kind == FileKind::Special { 0 } else { inode.size };
    ListedFile { name: RawName(name.to_vec()), kind: inode.kind, size: ByteLen(size), modified: inode.modified() }
}

impl FileSystem for Xfs {
    fn stat(&self, path: &[u8]) -> Result<Option<ListedFile>, FsError> {
        Ok(way::find(&*self.now, path, false)?.map(|f| listed(f.name(), &f.file)))
    }

    fn select(&self, path: &[u8], most: usize, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Vec<ListedFile>, FsError> {
        let mut files = Vec::new();
        let dir = way::find(&*self.now, path, true)?.filter(|f| f.file.kind == FileKind::Directory && most > 0);
        let Some(dir) = dir else { return Ok(files) };
        let mut left = most;
        dir::each(&self.now, &dir.file, &mut |Entry { name, inode, file_type }| {
            if wanted(name) {
                let inode = self.now.inode(inode);
                files.push(inode.map_or_else(|_| damaged(name, file_type), |inode| listed(name, &inode)));
            }
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(files)
    }

    fn open(&self, path: &[u8]) -> Result<Option<Box<dyn ReadAt>>, FsError> {
        match way::find(&*self.now, path, true)? {
            Some(found) if found.file.kind == FileKind::File => {
                Ok(Some(Box::new(File::open(self.now.clone(), found.file)?)))
            }
            _ => Ok(None),
        }
    }

    fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>, FsError> {
        match way::find(&*self.now, path, false)? {
            Some(found) if found.file.kind == FileKind::Symlink => tree::target(&self.now, &found.file).map(Some),
            _ => Ok(None),
        }
    }

    fn find(&self, path: &[u8]) -> Result<Option<Named>, FsError> {
        way::find(&*self.now, path, false)?.map(|f| files::named(&self.now, f.name(), &f.file)).transpose()
    }

    fn list(&self, dir: FileId, skip: usize, most: usize) -> Result<Vec<Named>, FsError> {
        files::list(&self.now, &self.now.inode(dir.0)?, skip, most)
    }

    fn layout(&self, file: FileId, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
        files::layout(&self.now, &self.now.inode(file.0)?, from, most)
    }

    fn cuts(&self) -> Cuts {
        cuts::cuts(&self.now)
    }

    fn losses(&self, lost: &ExtentSet) -> LostFiles {
        losses::losses(self, lost)
    }

    fn changes(&self, before: Arc<dyn ReadAt>) -> Changes {
        changes::changes(self, before, Rules::ALL)
    }

    fn coverage(&self) -> Coverage {
        let size = self.raw.bytes().size();
        if let Some(doubt) = &self.doubt {
            return crate::coverage::raw(size, &format!("xfs, {doubt}: captured raw"));
        }
        let open = self.is_in_use();
        let used = used::used(&self.now, open.then_some(&*self.raw));
        let mut why = match open {
            true => format!("xfs, not unmounted: {} transactions of its log counted in", self.transactions),
            false => "xfs, clean".to_owned(),
        };
        if used.whole_groups > 0 {
            let (whole, all) = (used.whole_groups, self.now.sb.ag_count);
            why += &format!("; {whole} of {all} groups kept whole, their free space does not hold together");
        }
        let mut bytes = used.bytes;
        bytes.insert(self.log);
        // What lies behind the file system is nobody's to call free.
        let end = self.now.sb.blocks * u64::from(self.now.sb.block_size);
        if let Some(behind) = Extent::between(end, size.0).filter(|e| !e.is_empty()) {
            why += &format!("; {} behind it kept", behind.len());
            bytes.insert(behind);
        }
        let (method, used) = (CaptureMethod::UsedBlocks, bytes.clip(Extent::whole(size)));
        Coverage { method, why: why.as_str().into(), used, state: changes::state(self) }
    }
}
