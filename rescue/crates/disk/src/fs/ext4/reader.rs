//! Blocks, group descriptors and inodes of one view of a file system (as it lies on the volume, or with its journal
//! replayed).

use super::group::Group;
use super::inode::Inode;
use super::superblock::Superblock;
use crate::fs::FsError;
use crate::numbers::le16;
use model::ports::ReadAt;
use model::units::ByteOffset;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Blocks kept in memory: the paths through an extent tree, a piece of an inode table, a group's descriptors.
const MOST_CACHED: usize = 64;

/// One view of a file system.
pub(super) struct Reader {
    bytes: Arc<dyn ReadAt>,
    /// The superblock of this view.
    pub(super) sb: Superblock,
    cache: Mutex<BTreeMap<u64, Arc<[u8]>>>,
}

impl Reader {
    pub(super) fn new(bytes: Arc<dyn ReadAt>, sb: Superblock) -> Self {
        Self { bytes, sb, cache: Mutex::default() }
    }

    /// The volume's bytes in this view.
    pub(super) fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.bytes
    }

    /// Bytes per block.
    pub(super) fn block_len(&self) -> usize {
        usize::try_from(self.sb.block_size).expect("at most 65536")
    }

    /// The place of a block on the volume.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where the file system has no such block.
    pub(super) fn place(&self, block: u64) -> Result<ByteOffset, FsError> {
        if block >= self.sb.blocks {
            return Err(FsError::Corrupt(format!("block {block} is named, there are {}", self.sb.blocks)));
        }
        Ok(ByteOffset(block * u64::from(self.sb.block_size)))
    }

    /// The bytes of a block of metadata.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is no such block, [`FsError::Io`] where it cannot be read.
    pub(super) fn block(&self, block: u64) -> Result<Arc<[u8]>, FsError> {
        let at = self.place(block)?;
        let mut cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = cache.get(&block) {
            return Ok(known.clone());
        }
        let read: Arc<[u8]> = self.bytes.read_vec(at, self.block_len())?.into();
        if cache.len() >= MOST_CACHED {
            cache.clear();
        }
        cache.insert(block, read.clone());
        Ok(read)
    }

    /// The descriptor of a group.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is no such group, [`FsError::Io`] where its descriptor cannot be read.
    pub(super) fn group(&self, group: u32) -> Result<Group, FsError> {
        let (block, at) = super::group::descriptor_place(&self.sb, group)?;
        let block = self.block(block)?;
        let len = usize::try_from(self.sb.desc_size).expect("at most 1024");
        let bytes = block.get(at..at + len).unwrap_or_default();
        Ok(Group::parse(&self.sb, group, bytes))
    }

    /// An inode in use.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is no such inode, it is not in use, or its checksum is wrong.
    pub(super) fn inode(&self, number: u32) -> Result<Inode, FsError> {
        if number == 0 || number > self.sb.inodes {
            return Err(FsError::Corrupt(format!("inode {number} is named, there are {}", self.sb.inodes)));
        }
        let group_no = (number - 1) / self.sb.inodes_per_group;
        let group = self.group(group_no)?;
        if !group.checksum_holds {
            return Err(FsError::Corrupt(format!(
                "inode {number} cannot be found: the descriptor of group {group_no} has a wrong checksum"
            )));
        }
        let bytes = self.inode_bytes(&group, number)?;
        Inode::parse(&self.sb, number, &bytes)
    }

    /// An inode of a group whose descriptor is good, or `None` where it is free.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where its checksum is wrong, [`FsError::Io`] where it cannot be read.
    pub(super) fn inode_in(&self, group: &Group, number: u32) -> Result<Option<Inode>, FsError> {
        let bytes = self.inode_bytes(group, number)?;
        let (mode, links) = (le16(&bytes, 0), le16(&bytes, 0x1a));
        if mode == 0 || links == 0 { Ok(None) } else { Inode::parse(&self.sb, number, &bytes).map(Some) }
    }

    fn inode_bytes(&self, group: &Group, number: u32) -> Result<Vec<u8>, FsError> {
        let at = u64::from((number - 1) % self.sb.inodes_per_group) * u64::from(self.sb.inode_size);
        let within = usize::try_from(at % u64::from(self.sb.block_size)).expect("less than a block");
        let block = group.inode_table.checked_add(at / u64::from(self.sb.block_size));
        let block = block.ok_or_else(|| FsError::Corrupt(format!("the table of inode {number} lies nowhere")))?;
        let block = self.block(block)?;
        let len = usize::try_from(self.sb.inode_size).expect("at most a block");
        Ok(block.get(within..within + len).unwrap_or_default().to_vec())
    }
}
