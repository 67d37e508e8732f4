//! The inodes of a file system of which something is lost, and the names that lead to them.
//!
//! An inode is called by a small number, its place among all of them. The inodes come first; then all directories are read for their
//! names, and that is left out where nothing was found that has one. Directories that no name leads to any more are walked after that, as
//! e2fsck would put them into `lost+found`.

use super::Losses;
use crate::bits::Bits;
use crate::fs::FsError;
use crate::fs::listing::kind_said;
use crate::fs::names::Names;
use model::files::LostFiles;
use model::inspection::FileKind;
use model::units::ExtentSet;
use std::collections::HashMap;

/// Files in lost bytes whose names are looked for.
const MOST_TOUCHED: usize = 1 << 20;

/// An entry of a directory: the place of the inode it leads to, its name, and what the directory says that it is.
pub(in crate::fs) type Visit<'a> = dyn FnMut(u32, &[u8], u8) + 'a;

/// The directories of a file system, by the places of their inodes.
pub(in crate::fs) trait Directories {
    /// The root, where it is among the inodes.
    fn root(&self) -> Option<u32>;

    /// The number that an inode goes by elsewhere.
    fn number(&self, inode: u32) -> u64;

    /// Shows the entries of a directory, as far as they can be read. Gives why that is not all, where it is not.
    ///
    /// # Errors
    /// [`FsError`] where its inode cannot be read.
    fn entries(&self, inode: u32, visit: &mut Visit<'_>) -> Result<Option<FsError>, FsError>;
}

/// What is known of the inodes.
pub(in crate::fs) struct Census<'a> {
    /// What was found so far.
    pub(in crate::fs) found: Losses<'a>,
    inodes: u32,
    /// Inodes of which something is lost.
    touched: HashMap<u32, FileKind>,
    /// Inodes that are lost themselves, in use or not.
    unreadable: Bits,
    /// Inodes in use that no name was found for yet.
    nameless: Bits,
    /// Directories.
    directories: Bits,
}

impl<'a> Census<'a> {
    /// Nothing is known yet, nor how many there are.
    pub(in crate::fs) fn new(lost: &'a ExtentSet) -> Self {
        let [unreadable, nameless, directories] = std::array::from_fn(|_| Bits::new(0));
        Self { found: Losses::new(lost), inodes: 0, touched: HashMap::new(), unreadable, nameless, directories }
    }

    /// There are so many inodes: their places are below that.
    pub(in crate::fs) fn begin(&mut self, inodes: u32) {
        self.inodes = inodes;
        [self.unreadable, self.nameless, self.directories] = std::array::from_fn(|_| Bits::new(inodes));
    }

    /// An inode is lost itself.
    pub(in crate::fs) fn unreadable(&mut self, inode: u32) {
        self.unreadable.set(inode);
    }

    /// An inode is in use; where it is `named`, a name should lead to it.
    pub(in crate::fs) fn in_use(&mut self, inode: u32, kind: FileKind, named: bool) {
        if named {
            self.nameless.set(inode);
        }
        if kind == FileKind::Directory {
            self.directories.set(inode);
        }
    }

    /// Something of an inode is lost.
    pub(in crate::fs) fn touched(&mut self, inode: u32, kind: FileKind) {
        if self.touched.len() < MOST_TOUCHED {
            self.touched.insert(inode, kind);
        } else {
            self.found.unseen("more files are lost than are looked for");
        }
    }

    /// What was found, with names.
    pub(in crate::fs) fn finish(mut self, fs: &dyn Directories) -> LostFiles {
        if !self.touched.is_empty() || self.unreadable.count() > 0 {
            self.names(fs);
        }
        self.found.finish()
    }

    fn names(&mut self, fs: &dyn Directories) {
        let mut names = Names::default();
        let mut at = 0;
        if let Some(root) = fs.root() {
            names.start(root, b"");
            self.nameless.clear(root);
            if self.touched.contains_key(&root) || self.unreadable.get(root) {
                self.found.name(Some(b"/".to_vec()), FileKind::Directory);
            }
            self.walk(fs, &mut names, &mut at);
        }
        self.orphans(fs, &mut names, &mut at);
        if names.full {
            self.found.unseen("it has more directories than are followed");
        } else {
            self.found.nameless(self.nameless.count());
        }
    }

    /// Directories that no name leads to any more: those that another one of them names come with that; a circle begins anywhere.
    fn orphans(&mut self, fs: &dyn Directories, names: &mut Names, at: &mut usize) {
        let orphans: Vec<u32> = self.directories.iter().filter(|inode| !names.has(*inode)).collect();
        if orphans.is_empty() || names.full {
            return;
        }
        let mut named = Bits::new(self.inodes);
        for inode in &orphans {
            self.each(fs, *inode, |_, inode, _, _| {
                named.set(inode);
            });
        }
        for topmost in [true, false] {
            for inode in orphans.iter().filter(|inode| !topmost || !named.get(**inode)) {
                if !names.has(*inode) {
                    let path = format!("#{}", fs.number(*inode)).into_bytes();
                    self.found.name(Some(path.clone()), FileKind::Directory);
                    self.nameless.clear(*inode);
                    names.start(*inode, &path);
                    self.walk(fs, names, at);
                }
            }
        }
    }

    /// Reads the directories that were met and not read yet, and those they name.
    fn walk(&mut self, fs: &dyn Directories, names: &mut Names, at: &mut usize) {
        while let Some(directory) = names.number(*at) {
            let here = *at;
            self.each(fs, directory, |census, inode, name, file_type| {
                census.nameless.clear(inode);
                let unreadable = census.unreadable.get(inode);
                let kind = match census.touched.get(&inode) {
                    Some(kind) => Some(*kind),
                    None => unreadable.then(|| kind_said(file_type)),
                };
                if kind == Some(FileKind::Directory) && unreadable {
                    census.found.unseen("the inode of a directory is lost");
                }
                if let Some(kind) = kind {
                    census.found.name(names.path(here, name), kind);
                }
                if census.directories.get(inode) {
                    names.add(inode, here, name);
                }
            });
            *at += 1;
        }
    }

    /// The entries of a directory, as far as they can be read.
    fn each(&mut self, fs: &dyn Directories, inode: u32, mut visit: impl FnMut(&mut Self, u32, &[u8], u8)) {
        match fs.entries(inode, &mut |inode, name, file_type| visit(self, inode, name, file_type)) {
            Ok(None) => {}
            Ok(Some(e)) => self.found.unseen(&format!("a directory cannot be read whole: {e}")),
            Err(e) => self.found.unseen(&format!("a directory cannot be read: {e}")),
        }
    }
}
