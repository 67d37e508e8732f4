//! Inodes (kernel `fs/ext4/ext4.h`, `struct ext4_inode`; `fs/ext4/inode.c`), with what lies inside them.

use super::raw::without;
use super::superblock::{Superblock, incompat, ro_compat};
use super::xattr;
use crate::fs::FsError;
use crate::numbers::{crc32c, le16, le32};
use model::inspection::FileKind;
use std::ops::Range;

/// `i_block`: block map, extent tree root, symbolic link or inline data.
const BLOCK: Range<usize> = 0x28..0x64;
const CHECKSUM_LOW: Range<usize> = 0x7c..0x7e;
const CHECKSUM_HIGH: Range<usize> = 0x82..0x84;

/// Bits of `i_flags`.
mod flag {
    pub(super) const IMMUTABLE: u32 = 0x10;
    pub(super) const ENCRYPT: u32 = 0x800;
    pub(super) const INDEX: u32 = 0x1000;
    pub(super) const JOURNAL_DATA: u32 = 0x4000;
    pub(super) const EXTENTS: u32 = 0x8_0000;
    pub(super) const EA_INODE: u32 = 0x20_0000;
    pub(super) const INLINE_DATA: u32 = 0x1000_0000;
}

/// An inode.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// Its number.
    pub(super) number: u32,
    /// What it is.
    pub(super) kind: FileKind,
    /// Size in bytes, as it says; not more than a file can have.
    pub(super) size: u64,
    /// What checksums of its own metadata blocks are seeded with.
    pub(super) seed: u32,
    flags: u32,
    bytes: Box<[u8]>,
}

impl Inode {
    /// Checks an inode.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it is not in use, its checksum is wrong, or its size cannot be.
    pub(super) fn parse(sb: &Superblock, number: u32, b: &[u8]) -> Result<Self, FsError> {
        let seed = crc32c(crc32c(sb.seed, &number.to_le_bytes()), &le32(b, 0x64).to_le_bytes());
        let mode = le16(b, 0);
        let kind = match mode & 0xf000 {
            0x8000 => FileKind::File,
            0x4000 => FileKind::Directory,
            0xa000 => FileKind::Symlink,
            0x1000 | 0x2000 | 0x6000 | 0xc000 => FileKind::Special,
            _ => return Err(FsError::Corrupt(format!("inode {number} is not in use (mode {mode:#o})"))),
        };
        if sb.has_ro_compat(ro_compat::METADATA_CSUM) && !checksum_holds(seed, b) {
            return Err(FsError::Corrupt(format!("inode {number} has a wrong checksum")));
        }
        // `ext4_isize`: the upper half meant something else in directories before large_dir.
        let high = kind == FileKind::File || sb.has_incompat(incompat::LARGEDIR);
        let size = super::raw::wide(if high { le32(b, 0x6c) } else { 0 }, le32(b, 4));
        if size > u64::from(sb.block_size) << 32 {
            return Err(FsError::Corrupt(format!("inode {number} says it is {size} bytes long, more than can be")));
        }
        Ok(Self { number, kind, size, seed, flags: le32(b, 0x20), bytes: b.into() })
    }

    /// `i_flags`.
    pub(super) fn flags(&self) -> u32 {
        self.flags
    }

    /// Its blocks are in an extent tree, not in a block map.
    pub(super) fn has_extents(&self) -> bool {
        self.flags & flag::EXTENTS != 0
    }

    /// A directory with an index over its names.
    pub(super) fn is_indexed(&self) -> bool {
        self.flags & flag::INDEX != 0
    }

    /// Its content lies in the inode itself.
    pub(super) fn is_inline(&self) -> bool {
        self.flags & flag::INLINE_DATA != 0
    }

    /// Its content (names, in a directory) is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & flag::ENCRYPT != 0
    }

    /// `i_block`.
    pub(super) fn block(&self) -> &[u8] {
        self.bytes.get(BLOCK).unwrap_or_default()
    }

    /// A symbolic link whose target lies in `i_block`, as libext2fs decides it (`ext2fs_is_fast_symlink`).
    pub(super) fn is_fast_symlink(&self) -> bool {
        self.kind == FileKind::Symlink
            && self.size < BLOCK.len() as u64
            && !self.has_extents()
            && !self.is_inline()
            && !self.is_encrypted()
    }

    /// Nanoseconds since 1970 of the last change of its data; `None` where they do not fit 64 bits.
    pub(super) fn modified(&self) -> Option<i64> {
        self.time(0x10, 0x88)
    }

    /// The same of when it was last read.
    pub(super) fn accessed(&self) -> Option<i64> {
        self.time(0x8, 0x8c)
    }

    fn time(&self, at: usize, extra: usize) -> Option<i64> {
        let low = i64::from(le32(&self.bytes, at).cast_signed());
        // i_mtime_extra and its like, where the inode reaches so far: two bits of seconds, thirty of nanoseconds.
        let extra = if self.extra_end() >= extra + 4 { le32(&self.bytes, extra) } else { 0 };
        let seconds = low + (i64::from(extra & 3) << 32);
        seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(extra >> 2))
    }

    /// `i_mode`: type and permissions.
    pub(super) fn mode(&self) -> u32 {
        u32::from(le16(&self.bytes, 0))
    }

    /// Number of its owner, and of its group; the upper halves are `l_i_uid_high` and `l_i_gid_high`.
    pub(super) fn owners(&self) -> (u32, u32) {
        let half = |at| u32::from(le16(&self.bytes, at));
        (half(0x78) << 16 | half(0x2), half(0x7a) << 16 | half(0x18))
    }

    /// How many names it has.
    pub(super) fn links(&self) -> u32 {
        u32::from(le16(&self.bytes, 0x1a))
    }

    /// Major and minor number of a device (kernel `old_decode_dev` and `new_decode_dev`).
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        if !matches!(self.mode() & 0xf000, 0x2000 | 0x6000) {
            return None;
        }
        let (old, new) = (le32(self.block(), 0), le32(self.block(), 4));
        Some(match old {
            0 => (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00),
            old => (old >> 8 & 0xff, old & 0xff),
        })
    }

    /// What lies behind the fixed fields: attributes.
    pub(super) fn behind_fields(&self) -> &[u8] {
        self.bytes.get(self.extra_end()..).unwrap_or_default()
    }

    /// Seconds since 1970 of its last change, of data or not (`i_ctime`); `None` where it does not keep its times to the
    /// nanosecond.
    pub(super) fn changed(&self) -> Option<i64> {
        if self.bytes.len() <= 128 || self.extra_end() < 0x90 {
            return None;
        }
        let extra = le32(&self.bytes, 0x84);
        Some(i64::from(le32(&self.bytes, 0xc).cast_signed()) + (i64::from(extra & 3) << 32))
    }

    /// What tells it from every other inode that ever had its number, where that is kept: the number, `i_generation`, which is
    /// random, and when it was made (`i_crtime`).
    pub(super) fn identity(&self) -> Option<[u64; 3]> {
        let generation = le32(&self.bytes, 0x64);
        let made = if self.bytes.len() > 128 && self.extra_end() >= 0x98 {
            u64::from(le32(&self.bytes, 0x90)) << 32 | u64::from(le32(&self.bytes, 0x94))
        } else {
            0
        };
        ((generation, made) != (0, 0)).then(|| [u64::from(self.number), u64::from(generation), made])
    }

    /// Its data may be written without a trace in it: somebody made it unchangeable for all but those who write below the
    /// file system (`ldlinux.sys` is such a file), its data goes through the journal, or it is an attribute of another inode.
    pub(super) fn is_peculiar(&self) -> bool {
        self.flags & (flag::IMMUTABLE | flag::JOURNAL_DATA | flag::EA_INODE) != 0
    }

    /// It holds the value of an attribute of another inode (`EXT4_EA_INODE_FL`).
    pub(super) fn is_attribute(&self) -> bool {
        self.flags & flag::EA_INODE != 0
    }

    /// `i_file_acl`: the block that holds attributes, where there is one.
    pub(super) fn attribute_block(&self) -> Option<u64> {
        let block = super::raw::wide(u32::from(le16(&self.bytes, 0x76)), le32(&self.bytes, 0x68));
        (block != 0).then_some(block)
    }

    /// What it holds lies in the inode itself, or nowhere.
    pub(super) fn has_no_blocks(&self) -> bool {
        self.kind == FileKind::Special || self.is_inline() || self.is_fast_symlink()
    }

    /// Where the fixed fields end and attributes begin: 128 plus `i_extra_isize`.
    fn extra_end(&self) -> usize {
        extra_end(&self.bytes)
    }

    /// The parts of inline data: those in `i_block`, and those in the attribute `system.data` behind the inode
    /// (kernel `fs/ext4/inline.c`).
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where the attributes do not hold together.
    pub(super) fn inline_parts(&self) -> Result<(&[u8], &[u8]), FsError> {
        let bad = |_| FsError::Corrupt(format!("the attributes in inode {} do not hold together", self.number));
        let attributes = xattr::within(self.behind_fields()).map_err(bad)?;
        // EXT4_XATTR_INDEX_SYSTEM.
        let data = attributes.iter().find(|a| a.index == 7 && a.name == b"data");
        Ok((self.block(), data.map_or(&[], |a| a.value)))
    }
}

/// True where two inodes of one number say the same but for when they were last read: size, owners, times, generation,
/// version, flags, attributes, and the root of the block map are the same. What lies in `ignored` may differ.
pub(super) fn same_but_access(a: &[u8], b: &[u8], ignored: &[Range<usize>]) -> bool {
    // i_atime; both halves of the checksum; i_atime_extra.
    const SKIPPED: [Range<usize>; 4] = [0x8..0xc, CHECKSUM_LOW, CHECKSUM_HIGH, 0x8c..0x90];
    let skipped = |at: usize| SKIPPED.iter().chain(ignored).any(|s| s.contains(&at));
    a.len() == b.len() && a.iter().zip(b).enumerate().all(|(at, (a, b))| a == b || skipped(at))
}

/// Where the fixed fields of an inode end: 128 plus `i_extra_isize`, within the inode.
fn extra_end(b: &[u8]) -> usize {
    if b.len() > 128 { (128 + usize::from(le16(b, 0x80))).min(b.len()) } else { b.len() }
}

/// `ext4_inode_csum_verify`: the upper half is there only where the inode reaches so far.
fn checksum_holds(seed: u32, b: &[u8]) -> bool {
    let whole = b.len() > 128 && extra_end(b) >= CHECKSUM_HIGH.end;
    let mut bytes = without(b, CHECKSUM_LOW);
    if whole {
        bytes = without(&bytes, CHECKSUM_HIGH);
    }
    let is = crc32c(seed, &bytes);
    let low = u32::from(le16(b, CHECKSUM_LOW.start));
    if whole { is == u32::from(le16(b, CHECKSUM_HIGH.start)) << 16 | low } else { is & 0xffff == low }
}
