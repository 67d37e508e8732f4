//! Which files lie in bytes that are lost.
//!
//! All inodes in use are gone through: whose data, map or attributes lie there, and which inodes are lost themselves.

use super::Xfs;
use super::dir::{self, Entry};
use super::group::{Chunk, free_space, inodes};
use super::inode::{Fork, Inode};
use super::map::{look_up, nodes};
use super::reader::Reader;
use super::xattr;
use crate::fs::FsError;
use crate::fs::losses::census::{Census, Directories, Visit};
use model::files::LostFiles;
use model::inspection::FileKind;
use model::units::{Extent, ExtentSet};
use std::ops::ControlFlow;

/// Look-ups for all files together, per block of the volume, as for cuts.
const LOOK_UPS_PER_BLOCK: u64 = 2;
/// Inodes that are followed: eight bytes and three bits of each are kept.
const MOST_INODES: usize = 8 << 20;

/// Walks all inodes and names of a file system, as its log leaves it.
pub(super) fn losses(fs: &Xfs, lost: &ExtentSet) -> LostFiles {
    let mut walk = Walk {
        reader: &fs.now,
        census: Census::new(lost),
        left: fs.now.sb.blocks.saturating_mul(LOOK_UPS_PER_BLOCK),
        inodes: Inodes { reader: &fs.now, numbers: Vec::new() },
    };
    if let Some(doubt) = fs.doubt() {
        walk.census.found.unseen(doubt);
    }
    walk.census.found.journal(fs.log);
    for group in 0..fs.now.sb.ag_count {
        if let Err(e) = walk.structure(group) {
            walk.census.found.unseen(&e.to_string());
        }
    }
    let numbers = &mut walk.inodes.numbers;
    numbers.sort_unstable();
    numbers.dedup();
    let count = numbers.len();
    if count > MOST_INODES {
        walk.census.found.unseen("it has more inodes than are followed");
        return walk.census.found.finish();
    }
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    walk.census.begin(count);
    for nth in 0..count {
        walk.inode(nth);
    }
    walk.census.finish(&walk.inodes)
}

struct Walk<'a> {
    reader: &'a Reader,
    census: Census<'a>,
    left: u64,
    inodes: Inodes<'a>,
}

/// Inodes in use, each called by its place among them.
struct Inodes<'a> {
    reader: &'a Reader,
    /// Their numbers, rising.
    numbers: Vec<u64>,
}

impl Inodes<'_> {
    /// The place of an inode among those in use.
    fn nth(&self, number: u64) -> Option<u32> {
        self.numbers.binary_search(&number).ok().and_then(|nth| u32::try_from(nth).ok())
    }
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
        self.census.found.metadata(self.extent(block(0), headers));
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
            self.census.found.metadata(self.extent(block(no), 1));
        }
        for chunk in chunks {
            for nth in (0..64).filter(|nth| chunk.is_there(*nth)) {
                let number = base + u64::from(chunk.first) + u64::from(nth);
                if nth.is_multiple_of(1 << sb.inodes_log) {
                    self.census.found.metadata(self.extent(number >> sb.inodes_log, 1));
                }
                if chunk.in_use(nth) && self.inodes.numbers.len() <= MOST_INODES {
                    self.inodes.numbers.push(number);
                }
            }
        }
        unseen.map_or(Ok(()), Err)
    }

    /// An inode in use.
    fn inode(&mut self, nth: u32) {
        let number = self.inodes.number(nth);
        let block = self.extent(number >> self.reader.sb.inodes_log, 1);
        if self.census.found.meets(block) {
            self.census.unreadable(nth);
            return;
        }
        let inode = match self.reader.inode(number) {
            Ok(inode) => inode,
            Err(e) => {
                self.census.found.unseen(&e.to_string());
                self.census.unreadable(nth);
                return;
            }
        };
        // Nothing that the file system keeps for itself (quotas, maps of a realtime device) has a name, nor has what was deleted
        // while it was open.
        self.census.in_use(nth, inode.kind, inode.links() > 0);
        if self.touches(&inode) {
            self.census.touched(nth, inode.kind);
        }
    }

    /// True where something of an inode is lost: its data, its maps, its attributes.
    fn touches(&mut self, inode: &Inode) -> bool {
        let mut touched = false;
        for fork in [inode.data(), inode.attributes()] {
            let (reader, left) = (self.reader, self.left);
            let nodes = nodes(reader, fork, left, &mut |node| {
                let lost = self.census.found.claim(self.extent(node, 1));
                touched |= lost;
                !lost
            });
            match nodes {
                Ok(nodes) => self.left = self.left.saturating_sub(nodes.len() as u64),
                Err(e) => touched |= self.census.found.broken(&e),
            }
        }
        let mut runs = Vec::new();
        let found = &self.census.found;
        let mut lost = |extent| {
            if found.meets(extent) {
                runs.push(extent);
            }
        };
        let attributes = xattr::runs(self.reader, inode, self.left, &mut lost);
        match attributes {
            Ok(spent) => self.left = self.left.saturating_sub(spent),
            Err(e) => touched |= self.census.found.broken(&e),
        }
        let data = self.runs(inode, &mut runs);
        for extent in runs {
            touched |= self.census.found.claim(extent);
        }
        match data {
            Ok(()) => touched,
            Err(e) => touched | self.census.found.broken(&e),
        }
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
                if self.census.found.meets(extent) {
                    found.push(extent);
                }
            }
            block = block.saturating_add(run.len);
        }
        Ok(())
    }
}

impl Directories for Inodes<'_> {
    fn root(&self) -> Option<u32> {
        self.nth(self.reader.sb.root)
    }

    fn number(&self, nth: u32) -> u64 {
        usize::try_from(nth).ok().and_then(|nth| self.numbers.get(nth)).copied().unwrap_or(0)
    }

    fn entries(&self, nth: u32, visit: &mut Visit<'_>) -> Result<Option<FsError>, FsError> {
        let inode = self.reader.inode(self.number(nth))?;
        let mut unseen = None;
        let mut damaged = |e: FsError| {
            unseen.get_or_insert(e);
            Ok(())
        };
        let read = dir::each_readable(self.reader, &inode, &mut damaged, &mut |Entry { name, inode, file_type }| {
            if let Some(nth) = self.nth(inode) {
                visit(nth, name, file_type);
            }
            ControlFlow::Continue(())
        });
        Ok(read.err().or(unseen))
    }
}
