//! The superblock (kernel `fs/ext4/ext4.h`, `struct ext4_super_block`; the checks are those of `ext4_fill_super` in
//! `fs/ext4/super.c`).

use super::raw::wide;
use crate::fs::FsError;
use crate::numbers::{crc32c, le16, le32, le64, uuid_text};
use model::inspection::{ExtInfo, FsKind};
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::ByteOffset;

/// Where it lies.
pub(super) const AT: ByteOffset = ByteOffset(1024);
/// Its length.
pub(super) const LEN: usize = 1024;
/// `s_feature_incompat`, from the start of the superblock.
pub(super) const FEATURE_INCOMPAT_AT: usize = 0x60;
const CHECKSUM_AT: usize = 0x3fc;

/// Bits of `s_feature_compat`.
pub(super) mod compat {
    pub(crate) const HAS_JOURNAL: u32 = 0x4;
    pub(crate) const SPARSE_SUPER2: u32 = 0x200;
    /// dir_prealloc, imagic_inodes, has_journal, ext_attr, resize_inode, dir_index, sparse_super2, fast_commit,
    /// stable_inodes, orphan_file.
    pub(crate) const KNOWN: u32 = 0x1 | 0x2 | HAS_JOURNAL | 0x8 | 0x10 | 0x20 | SPARSE_SUPER2 | 0x400 | 0x800 | 0x1000;
}

/// Bits of `s_feature_incompat`.
pub(super) mod incompat {
    pub(crate) const FILETYPE: u32 = 0x2;
    pub(crate) const RECOVER: u32 = 0x4;
    pub(crate) const JOURNAL_DEV: u32 = 0x8;
    pub(crate) const META_BG: u32 = 0x10;
    pub(crate) const BIT64: u32 = 0x80;
    pub(crate) const CSUM_SEED: u32 = 0x2000;
    pub(crate) const LARGEDIR: u32 = 0x4000;
    /// filetype, needs_recovery, journal_dev, meta_bg, extent, 64bit, mmp, flex_bg, ea_inode, metadata_csum_seed,
    /// large_dir, inline_data, encrypt, casefold. Not compression (never in the kernel) and dirdata (Lustre).
    pub(crate) const KNOWN: u32 = FILETYPE
        | RECOVER
        | JOURNAL_DEV
        | META_BG
        | 0x40
        | BIT64
        | 0x100
        | 0x200
        | 0x400
        | CSUM_SEED
        | LARGEDIR
        | 0x8000
        | 0x1_0000
        | 0x2_0000;
}

/// Bits of `s_feature_ro_compat`.
pub(super) mod ro_compat {
    pub(crate) const SPARSE_SUPER: u32 = 0x1;
    pub(crate) const GDT_CSUM: u32 = 0x10;
    pub(crate) const BIGALLOC: u32 = 0x200;
    pub(crate) const METADATA_CSUM: u32 = 0x400;
    /// sparse_super, large_file, btree_dir, huge_file, uninit_bg, dir_nlink, extra_isize, quota, bigalloc, metadata_csum,
    /// read-only, project, shared_blocks, verity, orphan_present. Not has_snapshot and replica (never in the kernel).
    pub(crate) const KNOWN: u32 = SPARSE_SUPER
        | 0x2
        | 0x4
        | 0x8
        | GDT_CSUM
        | 0x20
        | 0x40
        | 0x100
        | BIGALLOC
        | METADATA_CSUM
        | 0x1000
        | 0x2000
        | 0x4000
        | 0x8000
        | 0x1_0000;
}

/// `s_state`: unmounted cleanly.
const STATE_VALID: u16 = 1;
/// `s_state`: errors were found.
const STATE_ERROR: u16 = 2;

/// A superblock whose numbers hold together and fit the volume.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    bytes: Box<[u8]>,
    /// Bytes per block: a power of two, 1024 to 65536.
    pub(super) block_size: u32,
    /// Blocks in all.
    pub(super) blocks: u64,
    /// Block that group 0 begins with: 1 where blocks are 1 KiB (and clusters too), else 0.
    pub(super) first_data_block: u64,
    /// Blocks per group.
    pub(super) blocks_per_group: u64,
    /// Blocks per cluster: 1 without `bigalloc`.
    pub(super) cluster: u64,
    /// Inodes per group.
    pub(super) inodes_per_group: u32,
    /// Inodes in all.
    pub(super) inodes: u32,
    /// Bytes per inode: a power of two, from 128 to a block.
    pub(super) inode_size: u32,
    /// Bytes per group descriptor: a power of two, 32 to 1024.
    pub(super) desc_size: u32,
    /// Number of groups.
    pub(super) groups: u32,
    /// What the metadata checksums (crc32c) are seeded with.
    pub(super) seed: u32,
    compat: u32,
    incompat: u32,
    ro_compat: u32,
}

impl Superblock {
    /// Reads it from a volume; `None` where there is no ext magic.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Self>, FsError> {
        if volume.size().0 < AT.0 + LEN as u64 {
            return Ok(None);
        }
        let bytes = volume.read_vec(AT, LEN)?;
        if le16(&bytes, 0x38) != 0xef53 {
            return Ok(None);
        }
        Self::parse(bytes, volume.size().0).map(Some)
    }

    /// Checks a superblock; `size` is that of the volume in bytes.
    fn parse(bytes: Vec<u8>, size: u64) -> Result<Self, FsError> {
        let b = &bytes[..];
        let (compat, incompat, ro_compat) = (le32(b, 0x5c), le32(b, FEATURE_INCOMPAT_AT), le32(b, 0x64));
        if ro_compat & ro_compat::METADATA_CSUM != 0 {
            let (said, is) = (le32(b, CHECKSUM_AT), checksum(b));
            if said != is {
                return bad(format!("the superblock's checksum is {is:#010x}, it says {said:#010x}"));
            }
            // EXT4_CRC32C_CHKSUM, the only one there is.
            if b[0x175] != 1 {
                return Err(FsError::Incompatible(format!(
                    "checksum type {} of the superblock is not known",
                    b[0x175]
                )));
            }
        }
        if incompat & incompat::JOURNAL_DEV != 0 {
            return Err(FsError::Incompatible("it is the journal of a file system on another volume".to_owned()));
        }
        let revision = le32(b, 0x4c);
        if revision > 1 {
            return Err(FsError::Incompatible(format!("revision {revision} of the superblock is not known")));
        }
        let (log_block, log_cluster) = (le32(b, 0x18), le32(b, 0x1c));
        if log_block > 6 {
            return bad(format!("s_log_block_size is {log_block}, more than 6 (64 KiB)"));
        }
        let block_size = 1024u32 << log_block;
        let bigalloc = ro_compat & ro_compat::BIGALLOC != 0;
        if !(log_block..=20).contains(&log_cluster) || !bigalloc && log_cluster != log_block {
            return bad(format!("s_log_cluster_size is {log_cluster} with s_log_block_size {log_block}"));
        }
        let cluster = 1u64 << (log_cluster - log_block);
        let bits = u64::from(block_size) * 8;
        let blocks_per_group = u64::from(le32(b, 0x20));
        let clusters_per_group = if bigalloc { u64::from(le32(b, 0x24)) } else { blocks_per_group };
        if clusters_per_group > bits
            || !clusters_per_group.is_multiple_of(8)
            || clusters_per_group * cluster != blocks_per_group
            // The least mke2fs makes; a bound on the number of groups.
            || blocks_per_group < 256
        {
            return bad(format!(
                "{blocks_per_group} blocks and {clusters_per_group} clusters per group cannot be, with {cluster} blocks per cluster of {block_size} bytes"
            ));
        }
        let inode_size = if revision == 0 { 128 } else { u32::from(le16(b, 0x58)) };
        if !inode_size.is_power_of_two() || !(128..=block_size).contains(&inode_size) {
            return bad(format!("s_inode_size is {inode_size}, with blocks of {block_size} bytes"));
        }
        let inodes_per_group = le32(b, 0x28);
        if inodes_per_group < block_size / inode_size || u64::from(inodes_per_group) > bits {
            return bad(format!("{inodes_per_group} inodes per group cannot be, with blocks of {block_size} bytes"));
        }
        let wide_blocks = incompat & incompat::BIT64 != 0;
        let desc_size = if wide_blocks { u32::from(le16(b, 0xfe)) } else { 32 };
        if wide_blocks && !(desc_size.is_power_of_two() && (64..=1024).contains(&desc_size)) {
            return bad(format!("s_desc_size is {desc_size}, not a power of two from 64 to 1024"));
        }
        let blocks = wide(if wide_blocks { le32(b, 0x150) } else { 0 }, le32(b, 0x4));
        let first_data_block = u64::from(le32(b, 0x14));
        if first_data_block > u64::from(block_size == 1024)
            || block_size == 1024 && cluster == 1 && first_data_block == 0
        {
            return bad(format!("s_first_data_block is {first_data_block}, with blocks of {block_size} bytes"));
        }
        match blocks.checked_mul(u64::from(block_size)) {
            Some(bytes) if bytes <= size && blocks > first_data_block => {}
            _ => {
                return bad(format!(
                    "the file system has {blocks} blocks of {block_size} bytes, the volume has {size} bytes: it was cut off, or lies elsewhere"
                ));
            }
        }
        let Ok(groups) = u32::try_from((blocks - first_data_block).div_ceil(blocks_per_group)) else {
            return bad(format!("{blocks} blocks in groups of {blocks_per_group} are too many groups"));
        };
        let inodes = le32(b, 0);
        if u64::from(groups) * u64::from(inodes_per_group) != u64::from(inodes) {
            return bad(format!("{inodes} inodes are not {groups} groups of {inodes_per_group}"));
        }
        let seed = if incompat & incompat::CSUM_SEED != 0 { le32(b, 0x270) } else { crc32c(!0, &b[0x68..0x78]) };
        Ok(Self {
            block_size,
            blocks,
            first_data_block,
            blocks_per_group,
            cluster,
            inodes_per_group,
            inodes,
            inode_size,
            desc_size,
            groups,
            seed,
            compat,
            incompat,
            ro_compat,
            bytes: bytes.into(),
        })
    }

    pub(super) fn has_compat(&self, bit: u32) -> bool {
        self.compat & bit != 0
    }

    pub(super) fn has_incompat(&self, bit: u32) -> bool {
        self.incompat & bit != 0
    }

    pub(super) fn has_ro_compat(&self, bit: u32) -> bool {
        self.ro_compat & bit != 0
    }

    /// The bits that are not understood, by word: (compat, incompat, ro_compat).
    pub(super) fn unknown_features(&self) -> (u32, u32, u32) {
        (self.compat & !compat::KNOWN, self.incompat & !incompat::KNOWN, self.ro_compat & !ro_compat::KNOWN)
    }

    /// Group descriptors in a block.
    pub(super) fn descs_per_block(&self) -> u32 {
        self.block_size / self.desc_size
    }

    /// Blocks of group descriptors in all.
    pub(super) fn desc_blocks(&self) -> u32 {
        self.groups.div_ceil(self.descs_per_block())
    }

    /// First block of a group.
    pub(super) fn group_start(&self, group: u32) -> u64 {
        self.first_data_block + u64::from(group) * self.blocks_per_group
    }

    /// One past the last block of a group; the last group may be shorter than the others.
    pub(super) fn group_end(&self, group: u32) -> u64 {
        self.group_start(group).saturating_add(self.blocks_per_group).min(self.blocks)
    }

    /// Blocks of a group's part of the inode table.
    pub(super) fn itable_blocks(&self) -> u64 {
        (u64::from(self.inodes_per_group) * u64::from(self.inode_size)).div_ceil(u64::from(self.block_size))
    }

    /// Block of descriptors from which on `meta_bg` holds; the number of all of them without it.
    pub(super) fn first_meta_bg(&self) -> u32 {
        if self.has_incompat(incompat::META_BG) { le32(&self.bytes, 0x104) } else { self.desc_blocks() }
    }

    /// `s_reserved_gdt_blocks`.
    pub(super) fn reserved_gdt_blocks(&self) -> u64 {
        u64::from(le16(&self.bytes, 0xce))
    }

    /// `s_backup_bgs` (`sparse_super2`).
    pub(super) fn backup_groups(&self) -> [u32; 2] {
        [le32(&self.bytes, 0x24c), le32(&self.bytes, 0x250)]
    }

    /// `s_uuid`.
    pub(super) fn uuid(&self) -> &[u8] {
        &self.bytes[0x68..0x78]
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// First inode that is not reserved (`s_first_ino`).
    pub(super) fn first_inode(&self) -> u32 {
        let reserved_by_revision_0 = 11;
        if le32(&self.bytes, 0x4c) == 0 { reserved_by_revision_0 } else { le32(&self.bytes, 0x54) }
    }

    /// Inodes that look like files and are the file system's own, wherever they are numbered: the journal, the quotas of
    /// users, groups and projects, the snapshot, the orphan file.
    pub(super) fn hidden_inodes(&self) -> [u32; 6] {
        [0xe0, 0x240, 0x244, 0x26c, 0x180, 0x280].map(|at| le32(&self.bytes, at))
    }

    /// `EXT4_DEFM_JMODE_DATA`: the default is to journal the data of files too.
    pub(super) fn journals_data(&self) -> bool {
        le32(&self.bytes, 0x100) & 0x60 == 0x20
    }

    /// True where both lay out one volume in the same way, with the same identity and features, so that what has a place in
    /// one has it in the other.
    pub(super) fn is_laid_out_as(&self, other: &Self) -> bool {
        let layout = |sb: &Self| {
            let (shape, groups) = ((sb.block_size, sb.blocks, sb.first_data_block, sb.cluster), (sb.groups, sb.seed));
            let inodes = (sb.inodes, sb.inodes_per_group, sb.inode_size, sb.first_inode());
            // That it is in use is no feature.
            let features = (sb.compat, sb.incompat & !incompat::RECOVER, sb.ro_compat);
            let rest = (sb.blocks_per_group, sb.desc_size, sb.first_meta_bg(), sb.reserved_gdt_blocks());
            (shape, groups, inodes, features, rest, sb.hidden_inodes())
        };
        layout(self) == layout(other) && self.uuid() == other.uuid()
    }

    /// `s_mmp_block`: where multiple mount protection writes.
    pub(super) fn mmp_block(&self) -> u64 {
        le64(&self.bytes, 0x168)
    }

    /// Where the journal is.
    pub(super) fn journal(&self) -> JournalPlace {
        match (self.has_compat(compat::HAS_JOURNAL), le32(&self.bytes, 0xe0)) {
            (false, _) => JournalPlace::None,
            (true, 0) => JournalPlace::External,
            (true, inode) => JournalPlace::Inode(inode),
        }
    }

    /// `needs_recovery`: the journal may hold what is not yet in its place.
    pub(super) fn needs_recovery(&self) -> bool {
        self.has_incompat(incompat::RECOVER)
    }

    /// `s_state` says that errors were found and not yet repaired.
    pub(super) fn has_errors(&self) -> bool {
        le16(&self.bytes, 0x3a) & STATE_ERROR != 0
    }

    /// `s_state` says that it was unmounted cleanly. Means something only without a journal.
    pub(super) fn was_unmounted(&self) -> bool {
        le16(&self.bytes, 0x3a) & STATE_VALID != 0
    }

    /// Its bytes as they are to be once the journal is replayed: `needs_recovery` cleared, checksum renewed.
    pub(super) fn recovered(&self) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        bytes[FEATURE_INCOMPAT_AT..FEATURE_INCOMPAT_AT + 4]
            .copy_from_slice(&(self.incompat & !incompat::RECOVER).to_le_bytes());
        if self.has_ro_compat(ro_compat::METADATA_CSUM) {
            let sum = checksum(&bytes);
            bytes[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }

    /// ext2, ext3 or ext4, as the kernel decides which of its names to answer to: by what ext3 understands.
    pub(super) fn kind(&self) -> FsKind {
        const EXT3_INCOMPAT: u32 = incompat::FILETYPE | incompat::RECOVER | incompat::META_BG | incompat::JOURNAL_DEV;
        const EXT3_RO_COMPAT: u32 = ro_compat::SPARSE_SUPER | 0x2 | 0x4;
        if self.incompat & !EXT3_INCOMPAT != 0 || self.ro_compat & !EXT3_RO_COMPAT != 0 {
            FsKind::Ext4
        } else if self.has_compat(compat::HAS_JOURNAL) {
            FsKind::Ext3
        } else {
            FsKind::Ext2
        }
    }

    /// What others need of it; nothing of the journal yet.
    pub(super) fn info(&self) -> ExtInfo {
        let b = &self.bytes[..];
        // The kernel's `ext4_get_tstamp`: 32 bits and eight more.
        let time = |low: usize, high: usize| i64::from(le32(b, low)) | i64::from(b[high]) << 32;
        ExtInfo {
            kind: self.kind(),
            uuid: uuid_text(self.uuid()),
            label: text(&b[0x78..0x88]),
            block_size: self.block_size,
            blocks: self.blocks,
            free_blocks: wide(if self.has_incompat(incompat::BIT64) { le32(b, 0x158) } else { 0 }, le32(b, 0xc)),
            needs_recovery: self.needs_recovery(),
            state: le16(b, 0x3a),
            errors: le32(b, 0x194),
            has_journal: self.has_compat(compat::HAS_JOURNAL),
            mount_count: le16(b, 0x34),
            mounted_at: time(0x2c, 0x275),
            written_at: time(0x30, 0x274),
            made_at: time(0x108, 0x276),
            checked_at: time(0x40, 0x277),
            last_mounted: text(&b[0x88..0xc8]),
            kbytes_written: le64(b, 0x178),
            journal_sequence: None,
            last_commit_at: None,
            unknown_features: self.unknown_features(),
        }
    }
}

/// Where a file system's journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JournalPlace {
    /// It has none.
    None,
    /// In the file of this inode.
    Inode(u32),
    /// On another device.
    External,
}

fn bad<T>(why: String) -> Result<T, FsError> {
    Err(FsError::Corrupt(why))
}

/// The checksum of a superblock: over everything before it, seeded with nothing of its own.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c(!0, bytes.get(..CHECKSUM_AT).unwrap_or_default())
}

/// Bytes up to the first NUL, as text.
fn text(bytes: &[u8]) -> DisplayText {
    DisplayText::from_bytes(bytes.split(|b| *b == 0).next().unwrap_or_default())
}
