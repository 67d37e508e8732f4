//! Which files lie in bytes that are lost.
//!
//! Two passes. The first goes through the inode tables: whose data, map or attributes lie there, and which inodes are lost
//! themselves. The second reads all directories for their names, and is left out where nothing was found that has one.
//! Directories that no name leads to any more are walked after that, as e2fsck would put them into `lost+found`.

use super::dir::{self, Entry};
use super::group::base_meta;
use super::inode::Inode;
use super::map::{look_up, nodes};
use super::reader::Reader;
use super::superblock::JournalPlace;
use super::tree::ROOT;
use super::{Ext4, kind_said};
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
/// Inodes that are followed: a bit of each is kept, three times.
const MOST_INODES: u32 = 1 << 28;
/// Files in lost bytes whose names are looked for.
const MOST_TOUCHED: usize = 1 << 20;

/// Walks all inodes and names of a file system, as its journal leaves it.
pub(super) fn losses(fs: &Ext4, lost: &ExtentSet) -> LostFiles {
    let mut walk = Walk {
        reader: &fs.now,
        found: Losses::new(lost),
        left: fs.now.sb.blocks.saturating_mul(LOOK_UPS_PER_BLOCK),
        touched: HashMap::new(),
        unreadable: Bits::new(0),
        nameless: Bits::new(0),
        directories: Bits::new(0),
    };
    if let Some(doubt) = fs.doubt() {
        walk.found.unseen(doubt);
    }
    walk.structure();
    for extent in fs.journal.iter() {
        walk.found.journal(extent);
    }
    let inodes = fs.now.sb.inodes;
    if inodes > MOST_INODES {
        walk.found.unseen(&format!("it has {inodes} inodes, more than are followed"));
        return walk.found.finish();
    }
    [walk.unreadable, walk.nameless, walk.directories] = std::array::from_fn(|_| Bits::new(inodes));
    walk.inodes();
    if !walk.touched.is_empty() || walk.unreadable.count() > 0 {
        walk.names();
    }
    walk.found.finish()
}

struct Walk<'a> {
    reader: &'a Reader,
    found: Losses<'a>,
    left: u64,
    /// Inodes of which something is lost.
    touched: HashMap<u32, FileKind>,
    /// Inodes that are lost themselves, in use or not.
    unreadable: Bits,
    /// Inodes in use that no name was found for yet.
    nameless: Bits,
    /// Directories among them.
    directories: Bits,
}

impl Walk<'_> {
    /// The bytes of `len` blocks from `block`, as far as they can be told.
    fn extent(&self, block: u64, len: u64) -> Extent {
        let size = u64::from(self.reader.sb.block_size);
        let end = block.saturating_add(len).min(self.reader.sb.blocks);
        Extent::between(block.min(end) * size, end * size).unwrap_or_default()
    }

    /// The file system's own blocks.
    fn structure(&mut self) {
        let sb = &self.reader.sb;
        self.found.metadata(self.extent(0, sb.first_data_block.max(1)));
        self.found.metadata(self.extent(sb.mmp_block(), 1));
        for no in 0..sb.groups {
            let base = base_meta(sb, no);
            self.found.metadata(self.extent(base.start, base.end - base.start));
            if let Ok(group) = self.reader.group(no) {
                self.found.metadata(self.extent(group.block_bitmap, 1));
                self.found.metadata(self.extent(group.inode_bitmap, 1));
                self.found.metadata(self.extent(group.inode_table, sb.itable_blocks()));
            }
        }
    }

    fn inodes(&mut self) {
        let sb = &self.reader.sb;
        let a_block = sb.block_size / sb.inode_size;
        for no in 0..sb.groups {
            let first = no * sb.inodes_per_group + 1;
            let group = match self.reader.group(no) {
                Ok(group) if group.checksum_holds => group,
                _ => {
                    self.found.unseen(&format!("the descriptor of group {no} cannot be read"));
                    (first..first.saturating_add(sb.inodes_per_group)).for_each(|number| {
                        self.unreadable.set(number);
                    });
                    continue;
                }
            };
            for at in (0..group.inodes_begun(sb)).step_by(usize::try_from(a_block).unwrap_or(1)) {
                let block = group.inode_table.saturating_add(u64::from(at / a_block));
                let numbers = first + at..first + (at + a_block).min(group.inodes_begun(sb));
                if self.found.meets(self.extent(block, 1)) {
                    numbers.for_each(|number| {
                        self.unreadable.set(number);
                    });
                    continue;
                }
                for number in numbers {
                    match self.reader.inode_in(&group, number) {
                        Ok(Some(inode)) => self.inode(&inode),
                        Ok(None) => {}
                        Err(e) => {
                            self.found.unseen(&e.to_string());
                            self.unreadable.set(number);
                        }
                    }
                }
            }
        }
    }

    /// An inode in use.
    fn inode(&mut self, inode: &Inode) {
        let sb = &self.reader.sb;
        let touched = self.touches(inode);
        if inode.number != ROOT && (inode.number < sb.first_inode() || sb.hidden_inodes().contains(&inode.number)) {
            return self.own(inode);
        }
        // The long attribute of another inode has no name of its own.
        if inode.is_attribute() {
            self.found.nameless(u64::from(touched));
            return;
        }
        self.nameless.set(inode.number);
        if inode.kind == FileKind::Directory {
            self.directories.set(inode.number);
        }
        if touched && self.touched.len() < MOST_TOUCHED {
            self.touched.insert(inode.number, inode.kind);
        } else if touched {
            self.found.unseen("more files are lost than are looked for");
        }
    }

    /// The blocks of an inode that is the file system's own.
    fn own(&mut self, inode: &Inode) {
        let mut lost = Vec::new();
        // What cannot be read of its map was claimed before.
        let _ = self.runs(inode, &mut |extent| lost.push(extent));
        let journal = self.reader.sb.journal() == JournalPlace::Inode(inode.number);
        for extent in lost {
            if journal { self.found.journal(extent) } else { self.found.metadata(extent) }
        }
    }

    /// True where something of an inode is lost: its data, its map, its attributes.
    fn touches(&mut self, inode: &Inode) -> bool {
        let mut touched = false;
        if let Some(block) = inode.attribute_block() {
            touched |= self.found.claim(self.extent(block, 1));
        }
        if inode.has_no_blocks() {
            return touched;
        }
        let (reader, left) = (self.reader, self.left);
        let nodes = nodes(reader, inode, left, &mut |node| {
            let lost = self.found.claim(self.extent(node, 1));
            touched |= lost;
            !lost
        });
        match nodes {
            Ok(nodes) => self.left = self.left.saturating_sub(nodes.len() as u64),
            Err(e) => touched |= self.broken(&e),
        }
        let mut runs = Vec::new();
        let end = self.runs(inode, &mut |extent| runs.push(extent));
        for extent in runs {
            touched |= self.found.claim(extent);
        }
        match end {
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

    /// The written blocks of an inode that lie in lost bytes.
    fn runs(&mut self, inode: &Inode, each: &mut dyn FnMut(Extent)) -> Result<(), FsError> {
        if inode.has_no_blocks() {
            return Ok(());
        }
        let blocks = inode.size.div_ceil(u64::from(self.reader.sb.block_size));
        let mut block = 0;
        while block < blocks {
            self.left = self
                .left
                .checked_sub(1)
                .ok_or_else(|| FsError::Corrupt("its files have more blocks than the volume".to_owned()))?;
            let run = look_up(self.reader, inode, block)?;
            if let Some(at) = run.at {
                let extent = self.extent(at, run.len.min(blocks - block));
                if self.found.meets(extent) {
                    each(extent);
                }
            }
            block = block.saturating_add(run.len);
        }
        Ok(())
    }

    fn names(&mut self) {
        let mut names = Names::default();
        names.start(ROOT, b"");
        self.nameless.clear(ROOT);
        if self.touched.contains_key(&ROOT) || self.unreadable.get(ROOT) {
            self.found.name(Some(b"/".to_vec()), FileKind::Directory);
        }
        let mut at = 0;
        self.walk(&mut names, &mut at);
        let orphans = self.orphans(&names);
        if !orphans.is_empty() && !names.full {
            // Those that another one names come with that; a circle of them begins anywhere.
            let mut named = Bits::new(self.reader.sb.inodes);
            for number in &orphans {
                self.each(*number, &mut |_, entry| {
                    named.set(entry.inode);
                });
            }
            for topmost in [true, false] {
                for number in orphans.iter().filter(|number| !topmost || !named.get(**number)) {
                    if !names.has(*number) {
                        let path = format!("#{number}");
                        self.found.name(Some(path.clone().into_bytes()), FileKind::Directory);
                        self.nameless.clear(*number);
                        names.start(*number, path.as_bytes());
                        self.walk(&mut names, &mut at);
                    }
                }
            }
        }
        if names.full {
            self.found.unseen("it has more directories than are followed");
        } else {
            self.found.nameless(self.nameless.count());
        }
    }

    /// Directories that were not met.
    fn orphans(&self, names: &Names) -> Vec<u32> {
        self.directories.iter().filter(|number| !names.has(*number)).collect()
    }

    /// Reads the directories that were met and not read yet, and those they name.
    fn walk(&mut self, names: &mut Names, at: &mut usize) {
        while let Some(number) = names.number(*at) {
            let here = *at;
            self.each(number, &mut |walk, entry| {
                walk.nameless.clear(entry.inode);
                let kind = match walk.touched.get(&entry.inode) {
                    Some(kind) => Some(*kind),
                    None => walk.unreadable.get(entry.inode).then(|| kind_said(entry.file_type)),
                };
                if kind == Some(FileKind::Directory) && walk.unreadable.get(entry.inode) {
                    walk.found.unseen("the inode of a directory is lost");
                }
                if let Some(kind) = kind {
                    walk.found.name(names.path(here, entry.name), kind);
                }
                if walk.directories.get(entry.inode) {
                    names.add(entry.inode, here, entry.name);
                }
            });
            *at += 1;
        }
    }

    /// The entries of a directory, as far as they can be read.
    fn each(&mut self, number: u32, visit: &mut dyn FnMut(&mut Self, Entry<'_>)) {
        let inode = match self.reader.inode(number) {
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
