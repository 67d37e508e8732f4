//! Which files lie in bytes that are lost.
//!
//! The inode tables are gone through: whose data, map or attributes lie there, and which inodes are lost themselves.

use super::Ext4;
use super::dir::{self, Entry};
use super::group::base_meta;
use super::inode::Inode;
use super::map::{look_up, nodes};
use super::reader::Reader;
use super::superblock::JournalPlace;
use super::tree::ROOT;
use crate::fs::FsError;
use crate::fs::losses::census::{Census, Directories, Visit};
use model::files::LostFiles;
use model::units::{Extent, ExtentSet};
use std::ops::ControlFlow;

/// Look-ups for all files together, per block of the volume, as for cuts.
const LOOK_UPS_PER_BLOCK: u64 = 2;
/// Inodes that are followed: a bit of each is kept, three times.
const MOST_INODES: u32 = 1 << 28;

/// Walks all inodes and names of a file system, as its journal leaves it.
pub(super) fn losses(fs: &Ext4, lost: &ExtentSet) -> LostFiles {
    let mut walk =
        Walk { reader: &fs.now, census: Census::new(lost), left: fs.now.sb.blocks.saturating_mul(LOOK_UPS_PER_BLOCK) };
    if let Some(doubt) = fs.doubt() {
        walk.census.found.unseen(doubt);
    }
    walk.structure();
    for extent in fs.journal.iter() {
        walk.census.found.journal(extent);
    }
    let inodes = fs.now.sb.inodes;
    if inodes > MOST_INODES {
        walk.census.found.unseen(&format!("it has {inodes} inodes, more than are followed"));
        return walk.census.found.finish();
    }
    walk.census.begin(inodes);
    walk.inodes();
    walk.census.finish(&*fs.now)
}

struct Walk<'a> {
    reader: &'a Reader,
    census: Census<'a>,
    left: u64,
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
        self.census.found.metadata(self.extent(0, sb.first_data_block.max(1)));
        self.census.found.metadata(self.extent(sb.mmp_block(), 1));
        for no in 0..sb.groups {
            let base = base_meta(sb, no);
            self.census.found.metadata(self.extent(base.start, base.end - base.start));
            if let Ok(group) = self.reader.group(no) {
                self.census.found.metadata(self.extent(group.block_bitmap, 1));
                self.census.found.metadata(self.extent(group.inode_bitmap, 1));
                self.census.found.metadata(self.extent(group.inode_table, sb.itable_blocks()));
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
                    self.census.found.unseen(&format!("the descriptor of group {no} cannot be read"));
                    (first..first.saturating_add(sb.inodes_per_group)).for_each(|number| {
                        self.census.unreadable(number);
                    });
                    continue;
                }
            };
            for at in (0..group.inodes_begun(sb)).step_by(usize::try_from(a_block).unwrap_or(1)) {
                let block = group.inode_table.saturating_add(u64::from(at / a_block));
                let numbers = first + at..first + (at + a_block).min(group.inodes_begun(sb));
                if self.census.found.meets(self.extent(block, 1)) {
                    numbers.for_each(|number| {
                        self.census.unreadable(number);
                    });
                    continue;
                }
                for number in numbers {
                    match self.reader.inode_in(&group, number) {
                        Ok(Some(inode)) => self.inode(&inode),
                        Ok(None) => {}
                        Err(e) => {
                            self.census.found.unseen(&e.to_string());
                            self.census.unreadable(number);
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
            self.census.found.nameless(u64::from(touched));
            return;
        }
        self.census.in_use(inode.number, inode.kind, true);
        if touched {
            self.census.touched(inode.number, inode.kind);
        }
    }

    /// The blocks of an inode that is the file system's own.
    fn own(&mut self, inode: &Inode) {
        let mut lost = Vec::new();
        // What cannot be read of its map was claimed before.
        let _ = self.runs(inode, &mut |extent| lost.push(extent));
        let journal = self.reader.sb.journal() == JournalPlace::Inode(inode.number);
        for extent in lost {
            if journal { self.census.found.journal(extent) } else { self.census.found.metadata(extent) }
        }
    }

    /// True where something of an inode is lost: its data, its map, its attributes.
    fn touches(&mut self, inode: &Inode) -> bool {
        let mut touched = false;
        if let Some(block) = inode.attribute_block() {
            touched |= self.census.found.claim(self.extent(block, 1));
        }
        if inode.has_no_blocks() {
            return touched;
        }
        let (reader, left) = (self.reader, self.left);
        let nodes = nodes(reader, inode, left, &mut |node| {
            let lost = self.census.found.claim(self.extent(node, 1));
            touched |= lost;
            !lost
        });
        match nodes {
            Ok(nodes) => self.left = self.left.saturating_sub(nodes.len() as u64),
            Err(e) => touched |= self.census.found.broken(&e),
        }
        let mut runs = Vec::new();
        let end = self.runs(inode, &mut |extent| runs.push(extent));
        for extent in runs {
            touched |= self.census.found.claim(extent);
        }
        match end {
            Ok(()) => touched,
            Err(e) => touched | self.census.found.broken(&e),
        }
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
                if self.census.found.meets(extent) {
                    each(extent);
                }
            }
            block = block.saturating_add(run.len);
        }
        Ok(())
    }
}

/// Inodes are called by their numbers.
impl Directories for Reader {
    fn root(&self) -> Option<u32> {
        Some(ROOT)
    }

    fn number(&self, inode: u32) -> u64 {
        u64::from(inode)
    }

    fn entries(&self, inode: u32, visit: &mut Visit<'_>) -> Result<Option<FsError>, FsError> {
        let inode = self.inode(inode)?;
        let mut unseen = None;
        let mut damaged = |e: FsError| {
            unseen.get_or_insert(e);
            Ok(())
        };
        let read = dir::each_readable(self, &inode, &mut damaged, &mut |Entry { name, inode, file_type }| {
            visit(inode, name, file_type);
            ControlFlow::Continue(())
        });
        Ok(read.err().or(unseen))
    }
}
