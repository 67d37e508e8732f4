//! ext2, ext3 and ext4: a reader of our own, which never mounts and never writes.
//!
//! A file system that was not unmounted is read as it is once its journal is replayed; that happens in memory
//! ([`Ext4::load`]). What is in use is the union of the file system before and after the replay, with its own structure
//! and its journal. Where the replay is in doubt, or the allocation maps are, everything is in use.
//!
//! Facts are from the kernel's `fs/ext4`, `fs/jbd2` and `Documentation/filesystems/ext4`; each file names its source.

mod browse;
mod changes;
mod compare;
mod cuts;
mod dir;
mod file;
mod files;
mod group;
mod inode;
mod loaders;
mod log;
mod losses;
mod map;
mod raw;
mod reader;
mod replay;
mod rules;
mod superblock;
mod tree;
mod used;
mod xattr;

use self::browse::Browser;
use self::dir::Entry;
use self::file::File;
use self::inode::Inode;
use self::log::Log;
use self::reader::Reader;
#[doc(hidden)]
pub use self::rules::Rule;
use self::rules::Rules;
use self::superblock::{JournalPlace, Superblock};
use super::listing::damaged;
use super::{FileSystem, FsError, way};
use model::coverage::{CaptureMethod, Changes, Coverage};
use model::cuts::Cuts;
use model::files::{FileId, Layout, LostFiles, Named};
use model::inspection::{ExtInfo, FileKind, ListedFile};
use model::ports::ReadAt;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Blocks of the journal that are read to find when it was last committed.
const MOST_LOG_BLOCKS: u32 = 1 << 16;

/// The facts of an ext file system, or `None` where there is no ext magic. Of the journal, what can be read is given:
/// its sequence, and the time of the newest commit still to be seen in it, carried out or not.
///
/// # Errors
/// [`FsError::Corrupt`] where its superblock does not hold together or says more than the volume holds,
/// [`FsError::Incompatible`] where it is of a kind that cannot be understood, [`FsError::Io`] where it cannot be read.
pub fn identify(bytes: &Arc<dyn ReadAt>) -> Result<Option<ExtInfo>, FsError> {
    let Some(sb) = Superblock::read(&**bytes)? else { return Ok(None) };
    let mut info = sb.info();
    if let JournalPlace::Inode(inode) = sb.journal() {
        let reader = Arc::new(Reader::new(bytes.clone(), sb));
        // What is wrong with a journal is said by `Ext4::doubt`; here it is only not known.
        if let Ok(mut log) = Log::open(&reader, inode) {
            info.journal_sequence = Some(log.sequence);
            info.last_commit_at = log.newest(MOST_LOG_BLOCKS).unwrap_or(None).and_then(|newest| newest.at);
        }
    }
    Ok(Some(info))
}

/// An ext file system, opened: as it is once its journal is replayed.
pub struct Ext4 {
    /// As it lies on the volume.
    raw: Arc<Reader>,
    /// With its journal replayed.
    now: Arc<Reader>,
    journal: ExtentSet,
    transactions: u32,
    doubt: Option<String>,
    browser: OnceCell<Option<Browser>>,
}

impl Ext4 {
    /// Opens it; replays its journal in memory where it was not unmounted.
    ///
    /// # Errors
    /// As [`identify`]; also [`FsError::Corrupt`] where there is no ext file system, and [`FsError::Incompatible`] where it
    /// uses incompatible features this version does not know, or needs a journal that is on another device.
    pub fn load(bytes: Arc<dyn ReadAt>) -> Result<Self, FsError> {
        let Some(sb) = Superblock::read(&*bytes)? else {
            return Err(FsError::Corrupt("there is no ext file system here".to_owned()));
        };
        let (_, unknown, _) = sb.unknown_features();
        if unknown != 0 {
            return Err(FsError::Incompatible(format!("it has unknown incompatible features {unknown:#x}")));
        }
        let raw = Arc::new(Reader::new(bytes, sb));
        let replay = replay::replay(&raw)?;
        Ok(Self {
            raw,
            now: replay.reader,
            journal: replay.journal,
            transactions: replay.transactions,
            doubt: replay.doubt,
            browser: OnceCell::new(),
        })
    }

    /// Why what is read may not be what the installed system would see, where that is so: its journal could not be
    /// replayed whole, or holds what it should not. Worth a finding; everything is captured then.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Transactions of the journal that were replayed in memory.
    pub fn replayed(&self) -> u32 {
        self.transactions
    }

    /// Why the allocation maps do not prove what is free, where that is so.
    fn not_proven(&self) -> Option<String> {
        let sb = &self.now.sb;
        let (compat, _, ro_compat) = sb.unknown_features();
        if (compat, ro_compat) != (0, 0) {
            return Some(format!("unknown features {compat:#x} (compatible), {ro_compat:#x} (read-only)"));
        }
        if let Some(doubt) = &self.doubt {
            return Some(doubt.clone());
        }
        if sb.has_errors() || self.raw.sb.has_errors() {
            return Some("it is marked as having errors".to_owned());
        }
        // Without a journal nothing brings its maps up to date.
        if sb.journal() == JournalPlace::None && !sb.was_unmounted() {
            return Some("it has no journal and was not unmounted".to_owned());
        }
        None
    }

    /// A directory's entries as `ext4-view` lists them, with our own times; `None` where it does not read this file
    /// system, or sees anything else than our own reader does.
    fn browse(&self, names: &[Vec<u8>], most: usize, own: &[(Vec<u8>, Option<Inode>)]) -> Option<Vec<ListedFile>> {
        let browser = self.browser.get_or_init(|| Browser::load(&self.now)).as_ref()?;
        let seen = browser.list(names, most).ok()?;
        let own: BTreeMap<&[u8], &Option<Inode>> = own.iter().map(|(name, inode)| (&name[..], inode)).collect();
        if own.len() != seen.len() {
            return None;
        }
        seen.into_iter()
            .map(|entry| {
                let inode = own.get(&entry.name[..])?.as_ref()?;
                (entry.kind == inode.kind && (entry.size == inode.size || entry.kind == FileKind::Special)).then(|| {
                    let size = if entry.kind == FileKind::Special { 0 } else { entry.size };
                    ListedFile {
                        name: RawName(entry.name),
                        kind: entry.kind,
                        size: ByteLen(size),
                        modified: inode.modified(),
                    }
                })
            })
            .collect()
    }
}

/// What stands under a name.
fn listed(name: &[u8], inode: &Inode) -> ListedFile {
    let size = if inode.kind == FileKind::Special { 0 } else { inode.size };
    ListedFile { name: RawName(name.to_vec()), kind: inode.kind, size: ByteLen(size), modified: inode.modified() }
}

impl FileSystem for Ext4 {
    fn stat(&self, path: &[u8]) -> Result<Option<ListedFile>, FsError> {
        let found = way::find(&self.now, path, false)?;
        Ok(found.map(|f| listed(f.name(), &f.file)))
    }

    fn read_dir(&self, path: &[u8], most: usize) -> Result<Vec<ListedFile>, FsError> {
        let Some(dir) = way::find(&self.now, path, true)?.filter(|f| f.file.kind == FileKind::Directory) else {
            return Ok(Vec::new());
        };
        let mut own: Vec<(Vec<u8>, Option<Inode>)> = Vec::new();
        let mut files = Vec::new();
        if most == 0 {
            return Ok(files);
        }
        dir::each(&self.now, &dir.file, &mut |Entry { name, inode, file_type }| {
            let inode = self.now.inode(inode).ok();
            files.push(inode.as_ref().map_or_else(|| damaged(name, file_type), |inode| listed(name, inode)));
            own.push((name.to_vec(), inode));
            if files.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(self.browse(&dir.names, most, &own).unwrap_or(files))
    }

    fn select(&self, path: &[u8], most: usize, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Vec<ListedFile>, FsError> {
        let Some(dir) = way::find(&self.now, path, true)?.filter(|f| f.file.kind == FileKind::Directory) else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        let mut left = most;
        if left == 0 {
            return Ok(files);
        }
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
        match way::find(&self.now, path, true)? {
            Some(found) if found.file.kind == FileKind::File => {
                Ok(Some(Box::new(File::open(self.now.clone(), found.file)?)))
            }
            _ => Ok(None),
        }
    }

    fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>, FsError> {
        match way::find(&self.now, path, false)? {
            Some(found) if found.file.kind == FileKind::Symlink => tree::target(&self.now, &found.file).map(Some),
            _ => Ok(None),
        }
    }

    fn find(&self, path: &[u8]) -> Result<Option<Named>, FsError> {
        let found = way::find(&self.now, path, false)?;
        found.map(|f| files::named(&self.now, f.name(), &f.file)).transpose()
    }

    fn list(&self, dir: FileId, skip: usize, most: usize) -> Result<Vec<Named>, FsError> {
        files::list(&self.now, &files::inode(&self.now, dir)?, skip, most)
    }

    fn layout(&self, file: FileId, from: ByteOffset, most: usize) -> Result<Layout, FsError> {
        files::layout(&self.now, &files::inode(&self.now, file)?, from, most)
    }

    fn cuts(&self) -> Cuts {
        cuts::cuts(&self.now)
    }

    fn losses(&self, lost: &ExtentSet) -> LostFiles {
        losses::losses(self, lost)
    }

    fn changes(&self, before: Arc<dyn ReadAt>) -> Changes {
        self.changes_by(before, Rules::ALL)
    }

    fn coverage(&self) -> Coverage {
        self.coverage_by(Rules::ALL)
    }
}

impl Ext4 {
    /// What would be called unchanged by a program that does not know one of the rules: for tests, which have to notice.
    #[doc(hidden)]
    pub fn changes_without(&self, before: Arc<dyn ReadAt>, rule: Rule) -> Changes {
        self.changes_by(before, Rules::without(rule))
    }

    /// Likewise what would be called in use.
    #[doc(hidden)]
    pub fn coverage_without(&self, rule: Rule) -> Coverage {
        self.coverage_by(Rules::without(rule))
    }

    fn changes_by(&self, before: Arc<dyn ReadAt>, rules: Rules) -> Changes {
        // Asked of the volume: the log may hold a superblock of any time.
        let in_use = self.raw.sb.needs_recovery() && rules.keep(Rule::NowUnmounted);
        match self.not_proven().or_else(|| in_use.then(|| "it was not unmounted".to_owned())) {
            Some(why) => Changes::unknown(&why),
            None => changes::changes(&self.now, before, rules),
        }
    }

    fn coverage_by(&self, rules: Rules) -> Coverage {
        let size = self.raw.bytes().size();
        let kind = self.raw.sb.kind().name();
        if let Some(why) = self.not_proven() {
            return crate::coverage::raw(size, &format!("{kind}, {why}: captured raw"));
        }
        let dirty = self.raw.sb.needs_recovery();
        let now = if rules.keep(Rule::Replay) { &self.now } else { &self.raw };
        let used = used::used(now, (dirty && rules.keep(Rule::AsItLies)).then_some(&*self.raw));
        let mut why = if dirty {
            format!("{kind}, not unmounted: {} transactions of its journal counted in", self.transactions)
        } else {
            format!("{kind}, clean")
        };
        if used.whole_groups > 0 {
            why +=
                &format!("; {} of {} groups kept whole, their maps are damaged", used.whole_groups, self.now.sb.groups);
        }
        let mut bytes = used.bytes.union(&self.journal);
        // What lies behind the file system is nobody's to call free.
        let end = self.raw.sb.blocks * u64::from(self.raw.sb.block_size);
        if let Some(behind) = Extent::between(end, size.0).filter(|e| !e.is_empty()) {
            why += &format!("; {} behind it kept", behind.len());
            bytes.insert(behind);
        }
        let (method, used) = (CaptureMethod::UsedBlocks, bytes.clip(Extent::whole(size)));
        Coverage { method, why: why.as_str().into(), used, state: changes::state(&self.now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    fn e2(name: &str, args: &[&str], last: &Path) {
        let output = Command::new(format!("/usr/sbin/{name}"))
            .args(args)
            .arg(last)
            .output()
            .unwrap_or_else(|e| panic!("this test needs {name}: install the package e2fsprogs ({e})"));
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `ext4-view` lists what it can load, a file system with a journal to replay too, and sees what we see.
    #[test]
    fn listings_come_from_ext4_view_and_agree_with_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
        fs::create_dir_all(tree.join("many/deep")).unwrap();
        for i in 0..200 {
            fs::write(tree.join(format!("many/{i}-{}", "z".repeat(i % 50))), vec![b'x'; i]).unwrap();
        }
        std::os::unix::fs::symlink("many", tree.join("link")).unwrap();
        fs::write(dir.path().join("block"), [0; 1024]).unwrap();
        let layouts: [&[&str]; 5] = [
            &["-t", "ext4"],
            &["-t", "ext2", "-b", "1024"],
            &["-t", "ext3"],
            &["-t", "ext4", "-O", "bigalloc"],
            &["-t", "ext4", "-O", "^metadata_csum,^64bit", "-b", "1024"],
        ];
        for (layout, dirty) in layouts.into_iter().flat_map(|l| [(l, false), (l, true)]) {
            fs::File::create(&image).unwrap().set_len(24 << 20).unwrap();
            e2("mke2fs", &[&["-q", "-F", "-d", tree.to_str().unwrap()][..], layout].concat(), &image);
            // ext4-view would refuse most of these journals; it never gets to see that there is something in them.
            if dirty && !layout.contains(&"ext2") {
                let block = dir.path().join("block");
                let script = dir.path().join("script");
                fs::write(&script, format!("jo\njw -b 3000 {}\njc\n", block.display())).unwrap();
                e2("debugfs", &["-w", "-f", script.to_str().unwrap()], &image);
            }
            let fs = Ext4::load(Arc::new(fs::read(&image).unwrap())).unwrap();
            assert_eq!(fs.replayed() > 0, dirty && !layout.contains(&"ext2"), "{layout:?}");
            for path in ["/", "/many", "/many/deep"] {
                let dir = way::find(&fs.now, path.as_bytes(), true).unwrap().unwrap();
                let mut own = Vec::new();
                dir::each(&fs.now, &dir.file, &mut |entry| {
                    own.push((entry.name.to_vec(), fs.now.inode(entry.inode).ok()));
                    ControlFlow::Continue(())
                })
                .unwrap();
                let listed: Vec<_> = own.iter().map(|(name, inode)| listed(name, inode.as_ref().unwrap())).collect();
                assert_eq!(fs.browse(&dir.names, usize::MAX, &own), Some(listed), "{layout:?} {path}");
                // What only one of the two sees is not taken from ext4-view.
                own.pop();
                let none = fs.browse(&dir.names, usize::MAX, &own);
                assert!(none.is_none() || path == "/many/deep", "{layout:?} {path}");
            }
        }
    }
}
