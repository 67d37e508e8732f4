//! Block groups: their descriptors, and the blocks of a group that hold the file system's own structure (kernel
//! `fs/ext4/ext4.h`, `struct ext4_group_desc`; `fs/ext4/super.c`, `descriptor_loc`; `fs/ext4/balloc.c`).

use super::raw::{crc16, wide, without};
use super::superblock::{Superblock, compat, incompat, ro_compat};
use crate::fs::FsError;
use crate::numbers::{crc32c, le16, le32};
use std::ops::Range;

const CHECKSUM_AT: usize = 0x1e;

/// A group descriptor.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Block of the block bitmap.
    pub(super) block_bitmap: u64,
    /// Block of the inode bitmap.
    pub(super) inode_bitmap: u64,
    /// First block of the group's part of the inode table.
    pub(super) inode_table: u64,
    /// The block bitmap was never written: it is to be computed.
    pub(super) block_uninit: bool,
    /// Inodes at the end of its table that were never used.
    inodes_unused: u32,
    /// They were zeroed.
    inodes_zeroed: bool,
    /// The descriptor's own checksum is right, or there is none.
    pub(super) checksum_holds: bool,
    /// Checksum of the block bitmap (low half alone where descriptors are short), and whether it is whole.
    bitmap_checksum: (u32, bool),
}

impl Group {
    /// Takes a descriptor apart.
    pub(super) fn parse(sb: &Superblock, number: u32, b: &[u8]) -> Self {
        // Upper halves exist where descriptors are at least 64 bytes long.
        let high = |at| if sb.desc_size >= 64 { le32(b, at) } else { 0 };
        let has_checksum = sb.has_ro_compat(ro_compat::METADATA_CSUM | ro_compat::GDT_CSUM);
        // EXT4_BG_BLOCK_BITMAP_CSUM_HI_END.
        let whole = sb.desc_size >= 0x3a;
        // EXT4_BG_INODE_UNINIT: the whole table; else bg_itable_unused.
        let inodes_unused = match has_checksum {
            true if le16(b, 0x12) & 1 != 0 => u32::MAX,
            true if sb.desc_size >= 64 => u32::from(le16(b, 0x32)) << 16 | u32::from(le16(b, 0x1c)),
            true => u32::from(le16(b, 0x1c)),
            false => 0,
        };
        let checksum_high = if whole { u32::from(le16(b, 0x38)) } else { 0 };
        Self {
            block_bitmap: wide(high(0x20), le32(b, 0)),
            inode_bitmap: wide(high(0x24), le32(b, 4)),
            inode_table: wide(high(0x28), le32(b, 8)),
            // EXT4_BG_BLOCK_UNINIT; flags mean something only with a checksum (`ext4_has_group_desc_csum`).
            block_uninit: has_checksum && le16(b, 0x12) & 2 != 0,
            inodes_unused,
            // EXT4_BG_INODE_ZEROED.
            inodes_zeroed: le16(b, 0x12) & 4 != 0,
            checksum_holds: !has_checksum || le16(b, CHECKSUM_AT) == checksum(sb, number, b),
            bitmap_checksum: (checksum_high << 16 | u32::from(le16(b, 0x18)), whole),
        }
    }

    /// Inodes from the start of its table that may be in use.
    pub(super) fn inodes_begun(&self, sb: &Superblock) -> u32 {
        sb.inodes_per_group.saturating_sub(self.inodes_unused)
    }

    /// True where the inodes at the end of the table were never used, neither now nor in an earlier state, and were not zeroed in between:
    /// nothing was written there. (`ext4_init_inode_table` zeroes them and says so in one transaction.)
    pub(super) fn has_the_unused_of(&self, old: &Self) -> bool {
        (self.inode_table, self.inodes_unused, self.inodes_zeroed)
            == (old.inode_table, old.inodes_unused, old.inodes_zeroed)
    }

    /// True where the block bitmap is what its checksum says (always so where there is none).
    pub(super) fn bitmap_holds(&self, sb: &Superblock, bitmap: &[u8]) -> bool {
        if !sb.has_ro_compat(ro_compat::METADATA_CSUM) {
            return true;
        }
        let len = usize::try_from(sb.blocks_per_group / sb.cluster / 8).unwrap_or(usize::MAX);
        let is = crc32c(sb.seed, &bitmap[..len.min(bitmap.len())]);
        match self.bitmap_checksum {
            (said, true) => said == is,
            (said, false) => said == is & 0xffff,
        }
    }
}

/// `ext4_group_desc_csum`.
fn checksum(sb: &Superblock, number: u32, b: &[u8]) -> u16 {
    let zeroed = CHECKSUM_AT..CHECKSUM_AT + 2;
    if sb.has_ro_compat(ro_compat::METADATA_CSUM) {
        let sum = crc32c(crc32c(sb.seed, &number.to_le_bytes()), &without(b, zeroed));
        return u16::try_from(sum & 0xffff).expect("masked");
    }
    // The older one leaves its own place out, where the newer one takes it for zero.
    let mut sum = crc16(!0, sb.uuid());
    sum = crc16(sum, &number.to_le_bytes());
    sum = crc16(sum, b.get(..zeroed.start).unwrap_or_default());
    if sb.has_incompat(incompat::BIT64) {
        sum = crc16(sum, b.get(zeroed.end..).unwrap_or_default());
    }
    sum
}

/// The block that holds the descriptor of a group, and the place within.
///
/// # Errors
/// [`FsError::Corrupt`] where there is no such group.
pub(super) fn descriptor_place(sb: &Superblock, group: u32) -> Result<(u64, usize), FsError> {
    if group >= sb.groups {
        return Err(FsError::Corrupt(format!("group {group} is named, there are {}", sb.groups)));
    }
    let nth = group / sb.descs_per_block();
    let within = usize::try_from(group % sb.descs_per_block() * sb.desc_size).expect("less than a block");
    Ok((descriptor_block(sb, nth), within))
}

/// The block that holds the `nth` block of group descriptors (`descriptor_loc`).
fn descriptor_block(sb: &Superblock, nth: u32) -> u64 {
    if nth < sb.first_meta_bg() {
        return u64::from(nth) + 1 + u64::from(sb.block_size == 1024);
    }
    let group = nth.saturating_mul(sb.descs_per_block());
    let mut after = u64::from(has_super(sb, group));
    // With bigalloc, 1 KiB blocks count from 0 although the superblock stands in block 1.
    if sb.block_size == 1024 && nth == 0 && sb.first_data_block == 0 {
        after += 1;
    }
    sb.group_start(group) + after
}

/// `ext4_bg_has_super`.
pub(super) fn has_super(sb: &Superblock, group: u32) -> bool {
    if group == 0 {
        return true;
    }
    if sb.has_compat(compat::SPARSE_SUPER2) {
        return sb.backup_groups().contains(&group);
    }
    if group == 1 || !sb.has_ro_compat(ro_compat::SPARSE_SUPER) {
        return true;
    }
    [3, 5, 7].into_iter().any(|base| {
        let mut power = group;
        while power.is_multiple_of(base) {
            power /= base;
        }
        power == 1
    })
}

/// The blocks at the start of a group taken by the superblock, the group descriptors and the room kept for more of them
/// (`ext4_num_base_meta_blocks`).
pub(super) fn base_meta(sb: &Superblock, group: u32) -> Range<u64> {
    let start = sb.group_start(group);
    let has_super = has_super(sb, group);
    let mut len = u64::from(has_super);
    let nth = group / sb.descs_per_block();
    if nth < sb.first_meta_bg() {
        if has_super {
            len += u64::from(sb.first_meta_bg().min(sb.desc_blocks())) + sb.reserved_gdt_blocks();
        }
    } else {
        // In a meta group: the first, the second and the last of its groups hold its block of descriptors.
        let within = group % sb.descs_per_block();
        if within <= 1 || within == sb.descs_per_block() - 1 {
            len += 1;
        }
    }
    if group == 0 && sb.block_size == 1024 && sb.first_data_block == 0 {
        len += 1;
    }
    start..(start + len).min(sb.group_end(group))
}
