//! Which files lie in bytes that are lost.
//!
//! Two passes. The first goes through all inodes in use: whose data, map or attributes lie there, and which inodes are lost
//! themselves. The second reads all directories for their names, and is left out where nothing was found that has one.

use super::Xfs;
use super::dir::{self, Entry};
use super::group::{Chunk, free_space, inodes};
use super::inode::{Fork, Inode};
use super::map::{look_up, nodes};
use super::reader::Reader;
use super::{kind_said, xattr};
use crate::bits::Bits;
use crate::fs::FsError;
use crate::fs::losses::Losses;
use crate::fs::names::Names;
use model::files::LostFiles;
use model::inspection::FileKind;
use model::units::{Extent, ExtentSet};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Look-ups for all files together, per block of the volume, as for cuts.
const LOOK_UPS_PER_BLOCK: u64 = 2;
/// Inodes that are followed: eight bytes and three bits of each are kept.
const MOST_INODES: usize = 8 << 20;
/// Files in lost bytes whose names are looked for.
const MOST_TOUCHED: usize = 1 << 20;

/// Walks all inodes and names of a file system, as its log leaves it.
pub(super) fn losses(fs: &Xfs, lost: &ExtentSet) -> LostFiles {
    let mut walk = Walk {
        reader: &fs.now,
        found: Losses::new(lost),
        left: fs.now.sb.blocks.saturating_mul(LOOK_UPS_PER_BLOCK),
        numbers: Vec::new(),
        touched: HashMap::new(),
        unreadable: Bits::new(0),
        nameless: Bits::new(0),
        directories: Bits::new(0),
    };
    if let Some(doubt) = fs.doubt() {
        walk.found.unseen(doubt);
    }
    walk.found.journal(fs.log);
    for group in 0..fs.now.sb.ag_count {
        if let Err(e) = walk.structure(group) {
            walk.found.unseen(&e.to_string());
        }
    }
    walk.numbers.sort_unstable();
    walk.numbers.dedup();
    if walk.numbers.len() > MOST_INODES {
        walk.found.unseen("it has more inodes than are followed");
        return walk.found.finish();
    }
    let count = u32::try_from(walk.numbers.len()).unwrap_or(u32::MAX);
    [walk.unreadable, walk.nameless, walk.directories] = std::array::from_fn(|_| Bits::new(count));
    for nth in 0..count {
        walk.inode(nth);
    }
    if !walk.touched.is_empty() || walk.unreadable.count() > 0 {
        walk.names();
    }
    walk.found.finish()
}

struct Walk<'a> {
    reader: &'a Reader,
    found: Losses<'a>,
    left: u64,
    /// Inodes in use, rising; each is called by its place here.
    numbers: Vec<u64>,
    /// Inodes of which something is lost.
    touched: HashMap<u32, FileKind>,
    /// Inodes that are lost themselves.
    unreadable: Bits,
    /// Inodes that no name was found for yet.
    nameless: Bits,
    /// Directories.
    directories: Bits,
}

impl Walk<'_> {
    /// The bytes of `len` blocks from `block`; none of what there is not.
    fn extent(&self, block: u64, len: u64) -> Extent {
        let start = self.reader.place(block, len).ok().map(|at| at.0);
        let size = u64::from(self.reader.sb.block_size);
        start.and_then(|start| Extent::between(start, start + len * size)).unwrap_or_default()
    }

    /// A group's headers and trees, and the numbers of its inodes.
    fn structure(&mut self, group: u32) -> Result<(), FsError> {
        let reader = self.reader;
        let sb = &reader.sb;
        let block = |no: u32| sb.block_no(group, no);
        let headers = u64::from((4 * sb.sector).div_ceil(sb.block_size));
        self.found.metadata(self.extent(block(0), headers));
        let mut own = Vec::new();
        let mut unseen = None;
        let free = free_space(reader, group).map(|free| free.tree);
        let walked = free.and_then(|tree| tree.walk(reader, &mut |no| own.push(no), &mut |_| Ok(())));
        unseen = unseen.or(walked.err());
        let base = u64::from(group) << (sb.ag_block_log + sb.inodes_log);
        let mut chunks = Vec::new();
        let walked = inodes(reader, group).and_then(|tree| {
            tree.walk(reader, &mut |no| own.push(no), &mut |record| {
                chunks.push(Chunk::parse(reader, record));
                if chunks.len() * 64 > MOST_INODES + 64 {
                    return Err(FsError::Corrupt("it has more inodes than are followed".to_owned()));
                }
                Ok(())
            })
        });
        unseen = unseen.or(walked.err());
        for no in own {
            self.found.metadata(self.extent(block(no), 1));
        }
        for chunk in chunks {
            for nth in (0..64).filter(|nth| chunk.is_there(*nth)) {
                let number = base + u64::from(chunk.first) + u64::from(nth);
                if nth.is_multiple_of(1 << sb.inodes_log) {
                    self.found.metadata(self.extent(number >> sb.inodes_log, 1));
                }
                if chunk.in_use(nth) && self.numbers.len() <= MOST_INODES {
                    self.numbers.push(number);
                }
            }
        }
        unseen.map_or(Ok(()), Err)
    }

    /// The place of an inode among those in use.
    fn nth(&self, number: u64) -> Option<u32> {
        self.numbers.binary_search(&number).ok().and_then(|nth| u32::try_from(nth).ok())
    }

    fn number(&self, nth: u32) -> u64 {
        usize::try_from(nth).ok().and_then(|nth| self.numbers.get(nth)).copied().unwrap_or(0)
    }

    /// An inode in use.
    fn inode(&mut self, nth: u32) {
        let number = self.number(nth);
        let block = self.extent(number >> self.reader.sb.inodes_log, 1);
        if self.found.meets(block) {
            self.unreadable.set(nth);
            return;
        }
        let inode = match self.reader.inode(number) {
            Ok(inode) => inode,
            Err(e) => {
                self.found.unseen(&e.to_string());
                self.unreadable.set(nth);
                return;
            }
        };
        // Nothing that the file system keeps for itself (quotas, maps of a realtime device) has a name, nor has what was deleted
        // while it was open.
        if inode.links() > 0 {
            self.nameless.set(nth);
        }
        if inode.kind == FileKind::Directory {
            self.directories.set(nth);
        }
        if self.touches(&inode) {
            if self.touched.len() < MOST_TOUCHED {
                self.touched.insert(nth, inode.kind);
            } else {
                self.found.unseen("more files are lost than are looked for");
            }
        }
    }

    /// True where something of an inode is lost: its data, its maps, its attributes.
    fn touches(&mut self, inode: &Inode) -> bool {
        let mut touched = false;
        for fork in [inode.data(), inode.attributes()] {
            let (reader, left) = (self.reader, self.left);
            let nodes = nodes(reader, fork, left, &mut |node| {
                let lost = self.found.claim(self.extent(node, 1));
                touched |= lost;
                !lost
            });
            match nodes {
                Ok(nodes) => self.left = self.left.saturating_sub(nodes.len() as u64),
                Err(e) => touched |= self.broken(&e),
            }
        }
        let mut runs = Vec::new();
        let found = &self.found;
        let mut lost = |extent| {
            if found.meets(extent) {
                runs.push(extent);
            }
        };
        let attributes = xattr::runs(self.reader, inode, self.left, &mut lost);
        match attributes {
            Ok(spent) => self.left = self.left.saturating_sub(spent),
            Err(e) => touched |= self.broken(&e),
        }
        let data = self.runs(inode, &mut runs);
        for extent in runs {
            touched |= self.found.claim(extent);
        }
        match data {
            Ok(()) => touched,
            Err(e) => touched | self.broken(&e),
        }
    }

    /// A map that cannot be followed: lost where it cannot be read; else nobody knows.
    fn broken(&mut self, e: &FsError) -> bool {
        if let FsError::Io(_) = e {
            return true;
        }
        self.found.unseen(&e.to_string());
        false
    }

    /// The written blocks of an inode that lie in lost bytes. Of a directory all of them: its index lies behind its size.
    fn runs(&mut self, inode: &Inode, found: &mut Vec<Extent>) -> Result<(), FsError> {
        let fork = inode.data();
        if matches!(fork, Fork::None | Fork::Local(_)) || inode.is_realtime() {
            return Ok(());
        }
        let size = u64::from(self.reader.sb.block_size);
        let blocks = match inode.kind {
            FileKind::Directory => 1 << 32,
            _ => inode.size.div_ceil(size),
        };
        let mut block = 0;
        while block < blocks {
            self.left = self
                .left
                .checked_sub(1)
                .ok_or_else(|| FsError::Corrupt("its files have more blocks than the volume".to_owned()))?;
            let run = look_up(self.reader, fork, block)?;
            if let Some(at) = run.at {
                let extent = self.extent(at, run.len.min(blocks - block));
                if self.found.meets(extent) {
                    found.push(extent);
                }
            }
            block = block.saturating_add(run.len);
        }
        Ok(())
    }

    fn names(&mut self) {
        let mut names = Names::default();
        let mut at = 0;
        if let Some(root) = self.nth(self.reader.sb.root) {
            names.start(root, b"");
            self.nameless.clear(root);
            if self.touched.contains_key(&root) || self.unreadable.get(root) {
                self.found.name(Some(b"/".to_vec()), FileKind::Directory);
            }
            self.walk(&mut names, &mut at);
        }
        self.orphans(&mut names, &mut at);
        if names.full {
            self.found.unseen("it has more directories than are followed");
        } else {
            self.found.nameless(self.nameless.count());
        }
    }

    /// Directories that no name leads to any more: those that another one of them names come with that; a circle begins anywhere.
    fn orphans(&mut self, names: &mut Names, at: &mut usize) {
        let orphans: Vec<u32> = self.directories.iter().filter(|nth| !names.has(*nth)).collect();
        if orphans.is_empty() || names.full {
            return;
        }
        let mut named = Bits::new(u32::try_from(self.numbers.len()).unwrap_or(u32::MAX));
        for nth in &orphans {
            self.each(*nth, &mut |walk, entry| {
                if let Some(nth) = walk.nth(entry.inode) {
                    named.set(nth);
                }
            });
        }
        for topmost in [true, false] {
            for nth in orphans.iter().filter(|nth| !topmost || !named.get(**nth)) {
                if !names.has(*nth) {
                    let path = format!("#{}", self.number(*nth)).into_bytes();
                    self.found.name(Some(path.clone()), FileKind::Directory);
                    self.nameless.clear(*nth);
                    names.start(*nth, &path);
                    self.walk(names, at);
                }
            }
        }
    }

    /// Reads the directories that were met and not read yet, and those they name.
    fn walk(&mut self, names: &mut Names, at: &mut usize) {
        while let Some(nth) = names.number(*at) {
            let here = *at;
            self.each(nth, &mut |walk, entry| {
                let Some(nth) = walk.nth(entry.inode) else { return };
                walk.nameless.clear(nth);
                let unreadable = walk.unreadable.get(nth);
                let kind = match walk.touched.get(&nth) {
                    Some(kind) => Some(*kind),
                    None => unreadable.then(|| kind_said(entry.file_type)),
                };
                if kind == Some(FileKind::Directory) && unreadable {
                    walk.found.unseen("the inode of a directory is lost");
                }
                if let Some(kind) = kind {
                    walk.found.name(names.path(here, entry.name), kind);
                }
                if walk.directories.get(nth) {
                    names.add(nth, here, entry.name);
                }
            });
            *at += 1;
        }
    }

    /// The entries of a directory, as far as they can be read.
    fn each(&mut self, nth: u32, visit: &mut dyn FnMut(&mut Self, Entry<'_>)) {
        let inode = match self.reader.inode(self.number(nth)) {
            Ok(inode) => inode,
            Err(e) => return self.found.unseen(&format!("a directory cannot be read: {e}")),
        };
        let mut unseen = None;
        let mut damaged = |e: FsError| {
            unseen.get_or_insert(e);
            Ok(())
        };
        let reader = self.reader;
        let read = dir::each_readable(reader, &inode, &mut damaged, &mut |entry| {
            visit(self, entry);
            ControlFlow::Continue(())
        });
        if let Some(e) = read.err().or(unseen) {
            self.found.unseen(&format!("a directory cannot be read whole: {e}"));
        }
    }
}
