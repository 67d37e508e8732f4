//! Blocks and inodes of one view of a file system (as it lies on the volume, or with its log carried out).

use super::inode::Inode;
use super::raw::checksum_holds;
use super::superblock::Superblock;
use crate::fs::FsError;
use crate::numbers::be64;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Blocks kept in memory: the paths through maps and trees, a piece of the inodes.
const MOST_CACHED: usize = 64;

/// One view of a file system.
pub(super) struct Reader {
    bytes: Arc<dyn ReadAt>,
    /// The superblock of this view.
    pub(super) sb: Superblock,
    /// Bytes that the log laid over the volume: the kernel makes their checksums when it writes them, not when it logs them.
    laid: ExtentSet,
    cache: Mutex<BTreeMap<u64, Arc<[u8]>>>,
}

/// Where a structure of version 5 says what it is: places of its fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// What it is, for people.
    pub(super) what: &'static str,
    pub(super) checksum: usize,
    pub(super) uuid: usize,
    /// Where it says in which sector (of 512 bytes) it lies.
    pub(super) sector: Option<usize>,
}

impl Reader {
    pub(super) fn new(bytes: Arc<dyn ReadAt>, sb: Superblock, laid: ExtentSet) -> Self {
        Self { bytes, sb, laid, cache: Mutex::default() }
    }

    /// The volume's bytes in this view.
    pub(super) fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.bytes
    }

    /// Bytes per block.
    pub(super) fn block_len(&self) -> usize {
        usize::try_from(self.sb.block_size).expect("at most 65536")
    }

    /// The place of `len` blocks on the volume, from one by its number on. They lie in one group.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where the file system has no such blocks.
    pub(super) fn place(&self, block: u64, len: u64) -> Result<ByteOffset, FsError> {
        let (group, within) = self.sb.split(block);
        let there = u32::try_from(group).map_or(0, |group| self.sb.group_len(group));
        if within.checked_add(len).is_none_or(|end| end > u64::from(there)) {
            return Err(FsError::Corrupt(format!(
                "{len} blocks from block {within} of group {group} are named, it has {there}"
            )));
        }
        Ok(ByteOffset((group * u64::from(self.sb.ag_blocks) + within) * u64::from(self.sb.block_size)))
    }

    /// A block of metadata and its place.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is no such block, [`FsError::Io`] where it cannot be read.
    pub(super) fn block(&self, block: u64) -> Result<(ByteOffset, Arc<[u8]>), FsError> {
        let at = self.place(block, 1)?;
        let mut cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = cache.get(&block) {
            return Ok((at, known.clone()));
        }
        let read: Arc<[u8]> = self.bytes.read_vec(at, self.block_len())?.into();
        if cache.len() >= MOST_CACHED {
            cache.clear();
        }
        cache.insert(block, read.clone());
        Ok((at, read))
    }

    /// The sector of a group's header: 0 superblock, 1 free space, 2 inodes, 3 free list.
    ///
    /// # Errors
    /// As [`Reader::block`].
    pub(super) fn header(&self, group: u32, no: u32) -> Result<(ByteOffset, Vec<u8>), FsError> {
        let start = self.place(self.sb.block_no(group, 0), 1)?;
        let at = ByteOffset(start.0 + u64::from(no) * u64::from(self.sb.sector));
        Ok((at, self.bytes.read_vec(at, usize::try_from(self.sb.sector).unwrap_or(512))?))
    }

    /// Checks that a structure of version 5 that was read at `at` is whole, belongs to this file system, and lies where it says.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not.
    pub(super) fn verify(&self, at: ByteOffset, bytes: &[u8], mark: Mark) -> Result<(), FsError> {
        self.verify_pieces(at, bytes, self.is_laid(at, bytes.len()), mark)
    }

    /// True where the log laid something over any of these bytes.
    pub(super) fn is_laid(&self, at: ByteOffset, len: usize) -> bool {
        Extent::new(at, ByteLen(len as u64)).is_some_and(|e| self.laid.meets(e))
    }

    /// The same of a structure that lies in pieces, the first of them at `at`; `laid` says whether the log laid over any of them.
    ///
    /// # Errors
    /// As [`Reader::verify`].
    pub(super) fn verify_pieces(&self, at: ByteOffset, bytes: &[u8], laid: bool, mark: Mark) -> Result<(), FsError> {
        if !self.sb.v5 {
            return Ok(());
        }
        let what = mark.what;
        if !laid && !checksum_holds(bytes, mark.checksum) {
            return Err(FsError::Corrupt(format!("the {what} at byte {at} has a wrong checksum")));
        }
        if bytes.get(mark.uuid..mark.uuid + 16) != Some(&self.sb.meta_uuid) {
            return Err(FsError::Corrupt(format!("the {what} at byte {at} is of another file system")));
        }
        if let Some(sector) = mark.sector.map(|sector| be64(bytes, sector)).filter(|sector| *sector != at.0 / 512) {
            return Err(FsError::Corrupt(format!("the {what} at byte {at} says that it lies in sector {sector}")));
        }
        Ok(())
    }

    /// The block that holds an inode, and where in it.
    fn inode_place(&self, number: u64) -> (u64, usize) {
        let (block, nth) = (number >> self.sb.inodes_log, number & ((1 << self.sb.inodes_log) - 1));
        (block, usize::try_from(nth * u64::from(self.sb.inode_size)).unwrap_or(usize::MAX))
    }

    /// An inode in use.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is no such inode, it is not in use, or its checksum is wrong.
    pub(super) fn inode(&self, number: u64) -> Result<Inode, FsError> {
        let (block, within) = self.inode_place(number);
        let (at, bytes) = self.block(block).map_err(|e| match e {
            FsError::Corrupt(_) => FsError::Corrupt(format!("inode {number} is named, there is none")),
            other => other,
        })?;
        let len = usize::try_from(self.sb.inode_size).expect("at most a block");
        let bytes = bytes.get(within..within + len).unwrap_or_default();
        self.inode_at(number, ByteOffset(at.0 + within as u64), bytes)
    }

    /// The same of the bytes of an inode that were read already.
    ///
    /// # Errors
    /// As [`Reader::inode`].
    pub(super) fn inode_in(&self, number: u64, bytes: &[u8]) -> Result<Inode, FsError> {
        let (block, within) = self.inode_place(number);
        self.inode_at(number, ByteOffset(self.place(block, 1)?.0 + within as u64), bytes)
    }

    fn inode_at(&self, number: u64, at: ByteOffset, bytes: &[u8]) -> Result<Inode, FsError> {
        if self.sb.v5 {
            let mark = Mark { what: "inode", checksum: 100, uuid: 160, sector: None };
            self.verify(at, bytes, mark)
                .map_err(|e| FsError::Corrupt(format!("inode {number} does not hold together: {e}")))?;
        }
        Inode::parse(&self.sb, number, bytes)
    }
}
