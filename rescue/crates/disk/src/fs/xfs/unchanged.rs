//! Which files are as they were in an earlier state of the file system, told by their inodes alone, where one session lies between that
//! ended in order.
//!
//! Whoever writes to a file through the kernel changes its times first (`file_update_time`, for writes, direct ones too, and for pages of a
//! mapping that become writable), to the nanosecond of a clock that runs on; changes to its map are in its inode and the nodes of the
//! map. An unmount brings all of that to the disk, times that were only in memory (`lazytime`) too. Of an inode that was only read, the
//! time of that differs, and with it the sequence number of the log under which it was written.
//!
//! What is written with no trace in an inode is never taken to be the same: everything that is not a file's data (directories, maps, trees,
//! quotas), swap files, and files that boot loaders write in place. What is not seen: files that are written through a handle that leaves
//! their times alone (`XFS_IOC_OPEN_BY_HANDLE`, for programs that move files to tapes).

use super::group::{Chunk, inodes};
use super::inode::{Inode, same_but_access};
use super::map::{look_up, nodes};
use super::reader::Reader;
use super::rules::{Rule, Rules};
use crate::fs::FsError;
use crate::swap;
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent, ExtentSet};

/// Look-ups for all files together, per block of the volume, as for cuts.
const LOOK_UPS_PER_BLOCK: u64 = 2;
/// Inodes of a chunk.
const CHUNK: u32 = 64;
/// `mkswap` refuses less than ten pages.
const LEAST_SWAP: u64 = 10 * 4096;
/// The length that `grub-editenv` gives every environment block (`DEFAULT_ENVBLK_SIZE`), wherever it is kept.
const ENVIRONMENT: u64 = 1024;

/// Where the data of files lies that are as they were, and pieces of the inode tables that are. `loaders`: files that are written below the
/// file system.
///
/// # Errors
/// [`FsError`] where the inodes cannot be gone through.
pub(super) fn unchanged(
    now: &Reader,
    earlier: &Reader,
    loaders: Vec<Inode>,
    rules: Rules,
) -> Result<ExtentSet, FsError> {
    let left = now.sb.blocks.saturating_mul(LOOK_UPS_PER_BLOCK);
    let mut same = Same { now, earlier, rules, loaders, left, began: i64::MAX, tables: Vec::new(), files: Vec::new() };
    for group in 0..now.sb.ag_count {
        inodes(now, group)?.records(now, &mut |record| same.chunk(group, Chunk::parse(now, record)))?;
    }
    // What bears a time after the session began tells nothing.
    let Same { began, files, tables, .. } = same;
    let old = files.into_iter().filter(|(changed, _)| *changed < began || !rules.keep(Rule::BeforeSession));
    Ok(old.map(|(_, extent)| extent).chain(tables).collect::<Vec<_>>().into())
}

struct Same<'a> {
    now: &'a Reader,
    earlier: &'a Reader,
    rules: Rules,
    loaders: Vec<Inode>,
    left: u64,
    /// The earliest change that the session noted, in nanoseconds since 1970: the clock stood there, and may have stood at every later
    /// time.
    began: i64,
    /// Pieces of inode tables that are the same.
    tables: Vec<Extent>,
    /// Data of files that are, and when these were last changed.
    files: Vec<(i64, Extent)>,
}

impl Same<'_> {
    /// Compares a chunk of inodes, in pieces that are there as a whole.
    fn chunk(&mut self, group: u32, chunk: Chunk) -> Result<(), FsError> {
        self.spend()?;
        let sb = &self.now.sb;
        let size = u64::from(sb.inode_size);
        let base = u64::from(group) << (sb.ag_block_log + sb.inodes_log);
        let whole = (0..CHUNK).all(|nth| chunk.is_there(nth));
        let piece = if whole { CHUNK } else { (1 << sb.inodes_log).min(4) };
        for first in (0..CHUNK).step_by(usize::try_from(piece).unwrap_or(1)).filter(|nth| chunk.is_there(*nth)) {
            let number = base + u64::from(chunk.first) + u64::from(first);
            let (block, nth) = (number >> sb.inodes_log, number & ((1 << sb.inodes_log) - 1));
            let len = u64::from(piece) * size;
            let blocks = (nth * size + len).div_ceil(u64::from(sb.block_size));
            let at = self.now.place(block, blocks)?.0 + nth * size;
            let bytes = usize::try_from(len).unwrap_or(0);
            let is = self.now.bytes().read_vec(ByteOffset(at), bytes)?;
            // The snapshot before may hold nothing there: then none of them is as it was.
            let was = self.earlier.bytes().read_vec(ByteOffset(at), bytes).unwrap_or_else(|_| vec![0; bytes]);
            if is == was {
                self.tables.extend(Extent::between(at, at + len));
            }
            let each = usize::try_from(size).unwrap_or(512);
            for ((nth, is), was) in (0..piece).zip(is.chunks_exact(each)).zip(was.chunks_exact(each)) {
                if chunk.in_use(first + nth) {
                    self.inode(number + u64::from(nth), is, was)?;
                }
            }
        }
        Ok(())
    }

    /// Compares an inode in use.
    fn inode(&mut self, number: u64, is: &[u8], was: &[u8]) -> Result<(), FsError> {
        let Ok(inode) = self.now.inode_in(number, is) else {
            // What is damaged and was changed tells no time.
            if is != was {
                self.began = i64::MIN;
            }
            return Ok(());
        };
        if !same_but_access(is, was, self.rules.ignored_fields()) {
            let then = Inode::parse(&self.earlier.sb, number, was).ok().and_then(|then| then.changed());
            if then.is_none() || then != inode.changed() {
                self.began = self.began.min(inode.changed().unwrap_or(i64::MIN));
            }
            return Ok(());
        }
        let Some(changed) = inode.changed() else { return Ok(()) };
        if self.is_told(&inode) && !self.is_restless(&inode)? && self.same_nodes(&inode)? {
            self.take(&inode, changed)?;
        }
        Ok(())
    }

    /// True where it is a file whose inode tells of its data.
    fn is_told(&self, inode: &Inode) -> bool {
        let kept = |rule| self.rules.keep(rule);
        (inode.kind == FileKind::File && inode.links() > 0 || !kept(Rule::Regular))
            && !inode.is_realtime()
            && !(self.now.sb.hidden_inodes().contains(&inode.number) && kept(Rule::OwnInodes))
    }

    /// True where the file's data may be written with no trace in its inode.
    fn is_restless(&mut self, inode: &Inode) -> Result<bool, FsError> {
        let known = inode.size == ENVIRONMENT || self.loaders.iter().any(|l| l.number == inode.number);
        if known && self.rules.keep(Rule::Loaders) || inode.is_peculiar() && self.rules.keep(Rule::Peculiar) {
            return Ok(true);
        }
        if inode.size < LEAST_SWAP || !inode.size.is_multiple_of(4096) || !self.rules.keep(Rule::Swap) {
            return Ok(false);
        }
        for page in swap::PAGES {
            let signature = u64::from(page) - 10;
            let block = u64::from(self.now.sb.block_size);
            self.spend()?;
            // Within a block: a page ends where a block does, or inside one.
            let Ok(run) = look_up(self.now, inode.data(), signature / block) else { return Ok(true) };
            if let Some(at) = run.at {
                let at = ByteOffset(self.now.place(at, 1)?.0 + signature % block);
                if swap::is_signature(&self.now.bytes().read_vec(at, 10)?) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// True where the nodes of the file's map are as they were: its root is, being part of the inode.
    fn same_nodes(&mut self, inode: &Inode) -> Result<bool, FsError> {
        if !self.rules.keep(Rule::Nodes) {
            return Ok(true);
        }
        let Ok(nodes) = nodes(self.now, inode.data(), self.left, &mut |_| true) else { return Ok(false) };
        for node in nodes {
            self.spend()?;
            let (at, is) = self.now.block(node)?;
            let was = self.earlier.bytes().read_vec(at, self.now.block_len());
            if !was.is_ok_and(|was| was[..] == is[..]) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the file's written blocks, as far as its map holds together. What is allocated and not written may hold anything: the kernel
    /// swaps there too.
    fn take(&mut self, inode: &Inode, changed: i64) -> Result<(), FsError> {
        let size = u64::from(self.now.sb.block_size);
        let blocks = inode.size.div_ceil(size);
        let (mut block, taken) = (0, self.files.len());
        while block < blocks {
            self.spend()?;
            let run = look_up(self.now, inode.data(), block);
            let len = run.as_ref().map_or(0, |run| run.len.min(blocks - block));
            let place = run.as_ref().ok().and_then(|run| run.at).map(|at| self.now.place(at, len));
            match (run, place) {
                (Ok(_), None) => {}
                (Ok(_), Some(Ok(at))) => {
                    self.files.extend(Extent::between(at.0, at.0 + len * size).map(|e| (changed, e)));
                }
                _ => {
                    self.files.truncate(taken);
                    return Ok(());
                }
            }
            block = block.saturating_add(len);
        }
        Ok(())
    }

    /// Counts a look-up: a file system made to be read for ever gets no further than an honest one.
    fn spend(&mut self) -> Result<(), FsError> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| FsError::Corrupt("its files have more blocks than the volume".to_owned()))?;
        Ok(())
    }
}
