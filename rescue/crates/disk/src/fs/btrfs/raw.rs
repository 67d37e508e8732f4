//! Keys (kernel `include/uapi/linux/btrfs_tree.h`): everything is little-endian.

use crate::numbers::{byte, le64};
use std::fmt;

/// `struct btrfs_disk_key`: what items are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// `objectid`.
    pub(super) id: u64,
    /// `type`.
    pub(super) kind: u8,
    /// `offset`.
    pub(super) offset: u64,
}

impl Key {
    /// Bytes of a key on the disk.
    pub(super) const LEN: usize = 17;
    /// No key is less.
    pub(super) const FIRST: Self = Self::new(0, 0, 0);

    pub(super) const fn new(id: u64, kind: u8, offset: u64) -> Self {
        Self { id, kind, offset }
    }

    pub(super) fn parse(b: &[u8], at: usize) -> Self {
        Self { id: le64(b, at), kind: byte(b, at.saturating_add(8)), offset: le64(b, at.saturating_add(9)) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.id, self.kind, self.offset)
    }
}

/// Types of items (`BTRFS_*_KEY`).
pub(super) mod kind {
    pub(in super::super) const INODE_ITEM: u8 = 1;
    pub(in super::super) const INODE_REF: u8 = 12;
    pub(in super::super) const INODE_EXTREF: u8 = 13;
    pub(in super::super) const XATTR_ITEM: u8 = 24;
    pub(in super::super) const DIR_LOG_INDEX: u8 = 72;
    pub(in super::super) const DIR_ITEM: u8 = 84;
    pub(in super::super) const DIR_INDEX: u8 = 96;
    pub(in super::super) const EXTENT_DATA: u8 = 108;
    pub(in super::super) const EXTENT_CSUM: u8 = 128;
    pub(in super::super) const ROOT_ITEM: u8 = 132;
    pub(in super::super) const ROOT_BACKREF: u8 = 144;
    pub(in super::super) const EXTENT_ITEM: u8 = 168;
    pub(in super::super) const METADATA_ITEM: u8 = 169;
    pub(in super::super) const BLOCK_GROUP_ITEM: u8 = 192;
    pub(in super::super) const CHUNK_ITEM: u8 = 228;
}

/// Numbers of trees and of objects in them (`BTRFS_*_OBJECTID`).
pub(super) mod id {
    pub(in super::super) const ROOT_TREE: u64 = 1;
    pub(in super::super) const EXTENT_TREE: u64 = 2;
    pub(in super::super) const CHUNK_TREE: u64 = 3;
    pub(in super::super) const FS_TREE: u64 = 5;
    /// In the root tree: the directory whose entry `default` names the default subvolume.
    pub(in super::super) const ROOT_TREE_DIR: u64 = 6;
    pub(in super::super) const CSUM_TREE: u64 = 7;
    pub(in super::super) const BLOCK_GROUP_TREE: u64 = 11;
    pub(in super::super) const TREE_LOG: u64 = (-6i64).cast_unsigned();
    pub(in super::super) const TREE_RELOC: u64 = (-8i64).cast_unsigned();
    pub(in super::super) const EXTENT_CSUM: u64 = (-10i64).cast_unsigned();
    pub(in super::super) const FIRST_FREE: u64 = 256;
    pub(in super::super) const LAST_FREE: u64 = (-256i64).cast_unsigned();
    pub(in super::super) const FIRST_CHUNK_TREE: u64 = 256;
}

/// True for the number of a tree of files (`is_fstree`).
pub(super) fn is_subvolume(tree: u64) -> bool {
    tree == id::FS_TREE || (id::FIRST_FREE..=id::LAST_FREE).contains(&tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_on_the_disk() {
        let bytes = [&7u64.to_le_bytes()[..], &[108], &4096u64.to_le_bytes()].concat();
        assert_eq!(Key::parse(&bytes, 0), Key::new(7, kind::EXTENT_DATA, 4096));
        assert!(Key::new(7, 1, u64::MAX) < Key::new(7, 12, 0) && Key::new(7, 12, 0) < Key::new(8, 1, 0));
        assert_eq!(Key::parse(&bytes, usize::MAX), Key::FIRST);
    }

    #[test]
    fn trees_of_files() {
        assert!(is_subvolume(5) && is_subvolume(256) && !is_subvolume(2) && !is_subvolume(id::TREE_LOG));
    }
}
