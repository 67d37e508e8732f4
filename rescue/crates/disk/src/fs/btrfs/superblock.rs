//! The superblock (kernel `include/uapi/linux/btrfs_tree.h`, `struct btrfs_super_block`; checks: `fs/btrfs/disk-io.c`,
//! `btrfs_validate_super`).

use super::checksum::Checksum;
use super::raw::id;
use super::tree::Root;
use crate::fs::FsError;
use crate::numbers::{byte, le16, le32, le64, uuid, uuid_text};
use model::inspection::BtrfsInfo;
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent};

/// Where the first copy stands (`BTRFS_SUPER_INFO_OFFSET`): the only one that Linux mounts by.
pub(super) const AT: u64 = 64 << 10;
/// Where its copies stand, on devices that are large enough (`btrfs_sb_offset`).
pub(super) const COPIES: [u64; 3] = [AT, 64 << 20, 256 << 30];
/// Bytes of one (`BTRFS_SUPER_INFO_SIZE`).
pub(super) const LEN: usize = 4096;
/// Bytes at the start of a device that are never given to anything (`BTRFS_DEVICE_RANGE_RESERVED`).
pub(super) const RESERVED: u64 = 1 << 20;
pub(super) const MAGIC: &[u8] = b"_BHRfS_M";
pub(super) const MAGIC_AT: usize = 0x40;

/// Bits of `incompat_flags`.
mod incompat {
    pub(super) const MIXED_BACKREF: u64 = 0x1;
    pub(super) const RAID56: u64 = 0x80;
    pub(super) const METADATA_UUID: u64 = 0x400;
    pub(super) const ZONED: u64 = 0x1000;
    pub(super) const EXTENT_TREE_V2: u64 = 0x2000;
    pub(super) const RAID_STRIPE_TREE: u64 = 0x4000;
    /// MIXED_BACKREF to NO_HOLES, METADATA_UUID, RAID1C34, SIMPLE_QUOTA; of others it is said by name why not.
    pub(super) const KNOWN: u64 = 0x1_0fff & !RAID56;
}

/// Bits of `compat_ro_flags`.
mod compat_ro {
    pub(super) const BLOCK_GROUP_TREE: u64 = 0x8;
    /// FREE_SPACE_TREE and its validity, VERITY, BLOCK_GROUP_TREE.
    pub(super) const KNOWN: u64 = 0xf;
}

/// Bits of `flags`: written, in repair, ... and those of devices that are no file system of their own.
const SEEDING: u64 = 1 << 32;
const METADUMP: u64 = 3 << 33;
const KNOWN_FLAGS: u64 = 0b111;

/// A superblock whose numbers hold together.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    /// Its bytes.
    pub(super) bytes: Box<[u8]>,
    /// How tree blocks are summed.
    pub(super) checksum: Checksum,
    /// The transaction that wrote it.
    pub(super) generation: u64,
    /// Bytes of a sector.
    pub(super) sector: u32,
    /// Bytes of a tree block.
    pub(super) node: u32,
    /// Number of this device.
    pub(super) device: u64,
    /// Bytes of this device.
    pub(super) size: u64,
}

/// True where a block has the magic of a superblock.
pub(super) fn has_magic(block: &[u8]) -> bool {
    block.get(MAGIC_AT..).is_some_and(|rest| rest.starts_with(MAGIC))
}

fn bad<T>(why: String) -> Result<T, FsError> {
    Err(FsError::Corrupt(why))
}

impl Superblock {
    /// Reads the first copy; `None` where there is no btrfs.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together or says more than the volume holds, [`FsError::Incompatible`] where
    /// it is summed in a way not known here, [`FsError::Io`] where it cannot be read.
    pub(super) fn read(bytes: &dyn ReadAt) -> Result<Option<Self>, FsError> {
        Self::read_at(bytes, 0)
    }

    /// Checks a copy that stands at `at` on a volume of `volume` bytes.
    fn parse(bytes: Vec<u8>, at: u64, volume: ByteLen) -> Result<Self, FsError> {
        let b = &bytes[..];
        let number = le16(b, 0xc4);
        let Some(checksum) = Checksum::of_type(number) else {
            return Err(FsError::Incompatible(format!("its checksums are of a kind not known here ({number})")));
        };
        if !checksum.holds(b) {
            return bad("its superblock has a wrong checksum".to_owned());
        }
        Self::summed(bytes, at, volume)
    }

    /// The same of one whose bytes are known to be what was written.
    ///
    /// # Errors
    /// As [`Superblock::read`].
    pub(super) fn summed(bytes: Vec<u8>, at: u64, volume: ByteLen) -> Result<Self, FsError> {
        let b = &bytes[..];
        let number = le16(b, 0xc4);
        let Some(checksum) = Checksum::of_type(number) else {
            return Err(FsError::Incompatible(format!("its checksums are of a kind not known here ({number})")));
        };
        let (sector, node, leaf) = (le32(b, 0x90), le32(b, 0x94), le32(b, 0x98));
        let size_of_block = |n: u32| n.is_power_of_two() && (4096..=65_536).contains(&n);
        if le64(b, 0x30) != at || !size_of_block(sector) || !size_of_block(node) || node < sector || leaf != node {
            return bad(format!(
                "its superblock says it stands at {}, with sectors of {sector} bytes and tree blocks of {node} and {leaf}",
                le64(b, 0x30)
            ));
        }
        let sb = Self {
            checksum,
            generation: le64(b, 0x48),
            sector,
            node,
            device: le64(b, 0xc9),
            size: le64(b, 0xd1),
            bytes: bytes.into_boxed_slice(),
        };
        if [0xc6, 0xc7, 0xc8].iter().any(|level| byte(&sb.bytes, *level) >= 8) {
            return bad("its superblock names trees that are higher than a tree can be".to_owned());
        }
        let of = if sb.has(incompat::METADATA_UUID) { sb.metadata_uuid() } else { sb.fsid() };
        if uuid(&sb.bytes, 0x11b) != of {
            return bad("its superblock holds the record of a device of another file system".to_owned());
        }
        if sb.size > volume.0 || sb.size < RESERVED {
            return bad(format!("it says it is {} bytes long, and there are {}", sb.size, volume.0));
        }
        if le32(&sb.bytes, 0xa0) > 2048 {
            return bad("its superblock holds more chunks than it has room for".to_owned());
        }
        Ok(sb)
    }

    /// Reads the copy by which Linux mounts, of a device that begins at byte `start` of what is read; as [`Superblock::read`].
    ///
    /// # Errors
    /// As [`Superblock::read`].
    pub(super) fn read_at(bytes: &dyn ReadAt, start: u64) -> Result<Option<Self>, FsError> {
        let Some(room) = bytes.size().0.checked_sub(start).filter(|room| *room >= AT + LEN as u64) else {
            return Ok(None);
        };
        let block = bytes.read_vec(ByteOffset(start + AT), LEN)?;
        if !has_magic(&block) {
            return Ok(None);
        }
        Self::parse(block, AT, ByteLen(room)).map(Some)
    }

    fn has(&self, feature: u64) -> bool {
        le64(&self.bytes, 0xbc) & feature != 0
    }

    /// What all devices of a file system have alike: its UUIDs, and the sizes of its sectors and tree blocks.
    pub(super) fn file_system(&self) -> ([u8; 16], [u8; 16], u32, u32) {
        (self.fsid(), self.metadata_uuid(), self.sector, self.node)
    }

    fn fsid(&self) -> [u8; 16] {
        uuid(&self.bytes, 0x20)
    }

    /// What tree blocks are marked with.
    pub(super) fn metadata_uuid(&self) -> [u8; 16] {
        uuid(&self.bytes, if self.has(incompat::METADATA_UUID) { 0x23b } else { 0x20 })
    }

    /// Bytes in use, as it says.
    pub(super) fn bytes_used(&self) -> u64 {
        le64(&self.bytes, 0x78)
    }

    /// Block groups are told by a tree of their own.
    pub(super) fn has_block_group_tree(&self) -> bool {
        le64(&self.bytes, 0xb4) & compat_ro::BLOCK_GROUP_TREE != 0
    }

    /// The chunks that are needed to read the tree of chunks.
    pub(super) fn system_chunks(&self) -> &[u8] {
        let len = usize::try_from(le32(&self.bytes, 0xa0)).unwrap_or(0);
        self.bytes.get(0x32b..0x32b + len).unwrap_or_default()
    }

    fn tree(&self, owner: u64, at: usize, level: usize, generation: u64) -> Root {
        Root { owner, at: le64(&self.bytes, at), level: byte(&self.bytes, level), generation }
    }

    /// The tree of trees.
    pub(super) fn root_tree(&self) -> Root {
        self.tree(id::ROOT_TREE, 0x50, 0xc6, self.generation)
    }

    /// The tree of chunks.
    pub(super) fn chunk_tree(&self) -> Root {
        self.tree(id::CHUNK_TREE, 0x58, 0xc7, le64(&self.bytes, 0xa4))
    }

    /// The tree of log trees: what was synced since the last transaction. It belongs to the next one (`btrfs_replay_log`).
    pub(super) fn log_tree(&self) -> Option<Root> {
        let root = self.tree(id::TREE_LOG, 0x60, 0xc8, self.generation.wrapping_add(1));
        (root.at != 0).then_some(root)
    }

    /// Where its copies stand on its device.
    pub(super) fn copies(&self) -> impl Iterator<Item = Extent> + '_ {
        COPIES.iter().filter_map(|at| Extent::between(*at, at + LEN as u64)).filter(|e| e.end().0 <= self.size)
    }

    /// UUID of its device.
    pub(super) fn device_uuid(&self) -> [u8; 16] {
        uuid(&self.bytes, 0x10b)
    }

    /// How many devices the file system lies on.
    pub(super) fn devices(&self) -> u64 {
        le64(&self.bytes, 0x88)
    }

    /// Why it is not read any further, where that is so.
    pub(super) fn not_read(&self) -> Option<String> {
        let named = [
            (incompat::RAID56, "RAID 5 or 6"),
            (incompat::ZONED, "zones"),
            (incompat::EXTENT_TREE_V2, "the second kind of extent tree"),
            (incompat::RAID_STRIPE_TREE, "a tree of stripes"),
        ];
        if let Some((_, what)) = named.iter().find(|(bit, _)| self.has(*bit)) {
            return Some(format!("it uses {what}, which this version does not read"));
        }
        let (incompat, flags) = (le64(&self.bytes, 0xbc), le64(&self.bytes, 0x38));
        if incompat & !incompat::KNOWN != 0 {
            return Some(format!("it has unknown incompatible features {:#x}", incompat & !incompat::KNOWN));
        }
        if incompat & incompat::MIXED_BACKREF == 0 {
            return Some("it is older than Linux 2.6.31".to_owned());
        }
        if flags & SEEDING != 0 {
            return Some("other file systems grow out of it (a seed)".to_owned());
        }
        (flags & METADUMP != 0).then(|| "it is a dump of metadata".to_owned())
    }

    /// Why what is free cannot be told, though it can be read.
    pub(super) fn not_proven(&self) -> Option<String> {
        let (compat, ro) = (le64(&self.bytes, 0xac), le64(&self.bytes, 0xb4) & !compat_ro::KNOWN);
        let flags = le64(&self.bytes, 0x38) & !KNOWN_FLAGS;
        if (compat, ro, flags) == (0, 0, 0) {
            return None;
        }
        Some(format!("unknown features {compat:#x} (compatible), {ro:#x} (read-only), flags {flags:#x}"))
    }

    /// What others need of it; `apart` is why the file system cannot be read from what is here, where that is so.
    pub(super) fn info(&self, apart: Option<String>) -> BtrfsInfo {
        let b = &self.bytes[..];
        let label = b.get(0x12b..0x22b).unwrap_or_default();
        BtrfsInfo {
            uuid: uuid_text(&self.fsid()),
            device_uuid: uuid_text(&self.device_uuid()),
            label: DisplayText::from_bytes(label.split(|b| *b == 0).next().unwrap_or_default()),
            device: self.device,
            devices: self.devices(),
            generation: self.generation,
            size: ByteLen(self.size),
            used: ByteLen(self.bytes_used()),
            log: self.log_tree().is_some(),
            not_read: self.not_read().or(apart).or_else(|| self.not_proven()).map(|why| DisplayText::new(&why)),
        }
    }
}

/// The place of a copy of a superblock that holds together, behind the first.
pub(super) fn backup(bytes: &dyn ReadAt) -> Option<u64> {
    COPIES.into_iter().skip(1).filter(|at| at + LEN as u64 <= bytes.size().0).find(|at| {
        let block = bytes.read_vec(ByteOffset(*at), LEN).unwrap_or_default();
        has_magic(&block) && Superblock::parse(block, *at, bytes.size()).is_ok()
    })
}
