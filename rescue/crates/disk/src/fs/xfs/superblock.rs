//! The superblock (kernel `fs/xfs/libxfs/xfs_format.h`, `struct xfs_dsb`; what has to hold: `xfs_validate_sb_common` in
//! `xfs_sb.c`).

use super::raw::checksum_holds;
use crate::fs::FsError;
use crate::numbers::{be16, be32, be64, byte, uuid_text};
use model::inspection::XfsInfo;
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset};
use std::ops::Range;

/// `XFS_SB_MAGIC`.
const MAGIC: &[u8] = b"XFSB";
const CHECKSUM_AT: usize = 224;
/// Bytes that are read to know how long the rest is.
const HEAD: usize = 512;

/// Bits of `sb_versionnum` above the number itself.
mod version {
    pub(super) const EXTFLG: u16 = 0x1000;
    pub(super) const DIRV2: u16 = 0x2000;
    pub(super) const SHARED: u16 = 0x200;
    pub(super) const MOREBITS: u16 = 0x8000;
}

/// `sb_features2` of version 4: lazy counters, attr2, 32-bit project ids, checksums, file types in directories.
mod features2 {
    pub(super) const CRC: u32 = 0x100;
    pub(super) const FTYPE: u32 = 0x200;
    pub(super) const KNOWN: u32 = 0x2 | 0x8 | 0x80 | CRC | FTYPE;
}

/// Bits of feature words of version 5 that are known here, with their names as `mkfs.xfs` and `xfs_info` have them.
const RO_COMPAT: [(u32, &str); 4] = [(0x1, "finobt"), (0x2, "rmapbt"), (0x4, "reflink"), (0x8, "inobtcount")];
const INCOMPAT: [(u32, &str); 7] = [
    (0x1, "ftype"),
    (0x2, "sparse"),
    (0x4, "meta_uuid"),
    (0x8, "bigtime"),
    (0x20, "nrext64"),
    (0x40, "exchange"),
    (0x80, "parent"),
];
/// `XFS_SB_FEAT_INCOMPAT_META_UUID`.
const META_UUID: u32 = 0x4;
/// `XFS_SB_FEAT_INCOMPAT_SPINODES`.
const SPARSE: u32 = 0x2;
/// `XFS_SB_FEAT_INCOMPAT_NEEDSREPAIR`.
const NEEDS_REPAIR: u32 = 0x10;
/// `XFS_SB_FEAT_INCOMPAT_LOG_XATTRS`: the log may hold attribute intents, which nobody has to carry out to read a clean file system.
const LOG_KNOWN: u32 = 0x1;

/// A superblock that holds together.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    bytes: Box<[u8]>,
    /// Version 5: everything has a checksum and says where it belongs.
    pub(super) v5: bool,
    /// Bytes per block.
    pub(super) block_size: u32,
    /// Blocks in all.
    pub(super) blocks: u64,
    /// Blocks of an allocation group; the last one may have fewer.
    pub(super) ag_blocks: u32,
    /// Allocation groups.
    pub(super) ag_count: u32,
    /// Bits of a block's number within its group.
    pub(super) ag_block_log: u32,
    /// Bytes per sector, as the headers of groups lie.
    pub(super) sector: u32,
    /// Bytes of an inode.
    pub(super) inode_size: u32,
    /// Bits of an inode's number within its block.
    pub(super) inodes_log: u32,
    /// Blocks of a block of a directory.
    pub(super) dir_blocks: u32,
    /// The inode of `/`.
    pub(super) root: u64,
    /// The log: its first block, and how many.
    pub(super) log: (u64, u32),
    /// What its metadata blocks say they belong to.
    pub(super) meta_uuid: [u8; 16],
    /// Entries of directories say what they name.
    pub(super) ftype: bool,
    /// Inodes are allocated in parts of chunks.
    pub(super) sparse: bool,
    /// Why this version does not read it, where that is so.
    pub(super) not_read: Option<String>,
}

impl Superblock {
    /// Reads it; `None` where there is no magic of XFS.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together or says more than the volume holds; [`FsError::Io`] where it cannot be
    /// read.
    pub(super) fn read(bytes: &dyn ReadAt) -> Result<Option<Self>, FsError> {
        Self::read_as(bytes, true)
    }

    /// The same; where it is not `checked` the log laid over it, and it would get its checksum only when it is written.
    ///
    /// # Errors
    /// As [`Superblock::read`].
    pub(super) fn read_as(bytes: &dyn ReadAt, checked: bool) -> Result<Option<Self>, FsError> {
        let size = bytes.size();
        if size.0 < HEAD as u64 {
            return Ok(None);
        }
        let head = bytes.read_vec(ByteOffset(0), HEAD)?;
        if !head.starts_with(MAGIC) {
            return Ok(None);
        }
        let sector = u32::from(be16(&head, 102));
        if !(512..=32768).contains(&sector) || !sector.is_power_of_two() || u64::from(sector) > size.0 {
            return bad(format!("its superblock says that sectors have {sector} bytes"));
        }
        let sb = bytes.read_vec(ByteOffset(0), usize::try_from(sector).unwrap_or(HEAD))?;
        Self::parse(&sb, size, checked).map(Some)
    }

    fn parse(b: &[u8], size: ByteLen, checked: bool) -> Result<Self, FsError> {
        let versionnum = be16(b, 100);
        let v5 = match versionnum & 0xf {
            4 => false,
            5 => true,
            1..=3 => return Err(FsError::Incompatible(format!("it is XFS version {}", versionnum & 0xf))),
            other => return bad(format!("its superblock says it is XFS version {other}")),
        };
        if v5 && checked && !checksum_holds(b, CHECKSUM_AT) {
            return bad("its superblock has a wrong checksum".to_owned());
        }
        if byte(b, 126) != 0 {
            return bad("it was never made to its end".to_owned());
        }
        let (block_size, ag_blocks, ag_count, blocks) = (be32(b, 4), be32(b, 84), be32(b, 88), be64(b, 8));
        let sector = u32::from(be16(b, 102));
        let inode_size = u32::from(be16(b, 104));
        let least = if v5 { 1024 } else { 512 };
        if !(least..=65536).contains(&block_size)
            || !block_size.is_power_of_two()
            || block_size.trailing_zeros() != u32::from(byte(b, 120))
            || sector > block_size
        {
            return bad(format!("its superblock says that blocks have {block_size} bytes, sectors {sector}"));
        }
        let least = if v5 { 512 } else { 256 };
        if !(least..=2048).contains(&inode_size) || !inode_size.is_power_of_two() || inode_size > block_size {
            return bad(format!("its superblock says that inodes have {inode_size} bytes"));
        }
        let inodes_log = (block_size / inode_size).trailing_zeros();
        let ag_block_log = u32::from(byte(b, 124));
        if inodes_log != u32::from(byte(b, 123)) || ag_blocks < 64 || ag_block_log != log2_up(ag_blocks) {
            return bad(format!("its superblock says that groups have {ag_blocks} blocks"));
        }
        let groups = u64::from(ag_count) * u64::from(ag_blocks);
        if ag_count == 0 || blocks > groups || blocks <= groups - u64::from(ag_blocks) {
            return bad(format!("its superblock says it has {blocks} blocks in {ag_count} groups of {ag_blocks}"));
        }
        let end = blocks.checked_mul(u64::from(block_size)).filter(|end| *end <= size.0);
        if end.is_none() {
            return bad(format!("it has {blocks} blocks of {block_size} bytes, the volume has {size}"));
        }
        let dir_log = u32::from(byte(b, 192));
        if dir_log + block_size.trailing_zeros() > 16 {
            return bad(format!("its superblock says that directories have blocks of 2^{dir_log} blocks"));
        }
        let incompat = if v5 { be32(b, 216) } else { 0 };
        let more = if versionnum & version::MOREBITS != 0 { be32(b, 200) | be32(b, 204) } else { 0 };
        let own = if incompat & META_UUID != 0 { 248..264 } else { 32..48 };
        Ok(Self {
            v5,
            block_size,
            blocks,
            ag_blocks,
            ag_count,
            ag_block_log,
            sector,
            inode_size,
            inodes_log,
            dir_blocks: 1 << dir_log,
            root: be64(b, 56),
            log: (be64(b, 48), be32(b, 96)),
            meta_uuid: b.get(own).and_then(|u| u.try_into().ok()).unwrap_or_default(),
            ftype: if v5 { incompat & 1 != 0 } else { more & features2::FTYPE != 0 },
            sparse: incompat & SPARSE != 0,
            not_read: not_read(b, v5, versionnum, more),
            bytes: b.into(),
        })
    }

    /// Its bytes, a sector of them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `sb_uuid`, which the log says it belongs to.
    pub(super) fn uuid(&self) -> &[u8] {
        self.bytes.get(32..48).unwrap_or_default()
    }

    /// True where `other` lays the volume out in the same way, and is of the same file system.
    pub(super) fn is_laid_out_as(&self, other: &Self) -> bool {
        // Up to the label: sizes, places, id and version; logarithms of sizes; what of the log; the features of version 5 but those of the log,
        // which come and go.
        const SAME: [Range<usize>; 4] = [4..108, 120..126, 192..200, 208..220];
        let of = |sb: &Self, range: Range<usize>| sb.bytes.get(range).map(<[u8]>::to_vec);
        SAME.into_iter().all(|range| of(self, range.clone()) == of(other, range)) && self.meta_uuid == other.meta_uuid
    }

    /// Inodes of its own, whose data is written in ways of its own: of a realtime device, of quotas (`sb_rbmino`, `sb_rsumino`,
    /// `sb_uquotino`, `sb_gquotino`, `sb_pquotino`).
    pub(super) fn hidden_inodes(&self) -> [u64; 5] {
        [64, 72, 160, 168, 232].map(|at| be64(&self.bytes, at))
    }

    /// Blocks of a group; none of one that there is not.
    pub(super) fn group_len(&self, group: u32) -> u32 {
        let left = self.blocks.saturating_sub(u64::from(group) * u64::from(self.ag_blocks));
        if group >= self.ag_count { 0 } else { u32::try_from(left).unwrap_or(u32::MAX).min(self.ag_blocks) }
    }

    /// The number of a block as others name it, of its group and its number there.
    pub(super) fn block_no(&self, group: u32, block: u32) -> u64 {
        u64::from(group) << self.ag_block_log | u64::from(block)
    }

    /// The group of a block, and its number there.
    pub(super) fn split(&self, block: u64) -> (u64, u64) {
        (block >> self.ag_block_log, block & ((1 << self.ag_block_log) - 1))
    }

    /// What others need of it; nothing of the log yet.
    pub(super) fn info(&self) -> XfsInfo {
        let b = &self.bytes[..];
        let mut features: Vec<String> = Vec::new();
        if self.v5 {
            features.push("crc".to_owned());
            let (ro, incompat) = (be32(b, 212), be32(b, 216));
            let named = RO_COMPAT.iter().filter(|(bit, _)| ro & bit != 0);
            let named = named.chain(INCOMPAT.iter().filter(|(bit, _)| incompat & bit != 0));
            features.extend(named.map(|(_, name)| (*name).to_owned()));
        } else if self.ftype {
            features.push("ftype".to_owned());
        }
        XfsInfo {
            uuid: uuid_text(self.uuid()),
            label: DisplayText::from_bytes(b[108..120].split(|b| *b == 0).next().unwrap_or_default()),
            version: if self.v5 { 5 } else { 4 },
            block_size: self.block_size,
            blocks: self.blocks,
            free_blocks: be64(b, 144),
            features,
            needs_recovery: true,
            log_head: None,
            log_tail: None,
            opened: None,
            not_read: self.not_read.as_deref().map(DisplayText::new),
        }
    }
}

/// Why a file system that holds together is not read.
fn not_read(b: &[u8], v5: bool, versionnum: u16, more: u32) -> Option<String> {
    if be64(b, 16) != 0 {
        return Some("it has a realtime device, on which its files may lie".to_owned());
    }
    if be64(b, 48) == 0 {
        return Some("its log is on another device".to_owned());
    }
    if v5 {
        let known = |bits: &[(u32, &str)]| bits.iter().map(|(bit, _)| bit).fold(0, |a, b| a | b);
        let (compat, ro, incompat, log) = (be32(b, 208), be32(b, 212), be32(b, 216), be32(b, 220));
        let unknown = (compat, ro & !known(&RO_COMPAT), incompat & !known(&INCOMPAT) & !NEEDS_REPAIR, log & !LOG_KNOWN);
        if unknown != (0, 0, 0, 0) {
            let (compat, ro, incompat, log) = unknown;
            return Some(format!(
                "it uses features of XFS that are not known here ({compat:#x}, {ro:#x}, {incompat:#x}, {log:#x})"
            ));
        }
        if incompat & NEEDS_REPAIR != 0 {
            return Some("it is marked as in need of xfs_repair".to_owned());
        }
        return None;
    }
    let must = version::DIRV2 | version::EXTFLG;
    if versionnum & must != must || versionnum & version::SHARED != 0 || more & !features2::KNOWN != 0 {
        return Some(format!("it uses features of XFS that are not known here ({versionnum:#x}, {more:#x})"));
    }
    None
}

/// The least number of bits in which numbers below `n` have room.
fn log2_up(n: u32) -> u32 {
    n.checked_next_power_of_two().map_or(32, u32::trailing_zeros)
}

fn bad<T>(why: String) -> Result<T, FsError> {
    Err(FsError::Corrupt(why))
}
