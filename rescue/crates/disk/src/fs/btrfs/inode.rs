//! Inodes (kernel `struct btrfs_inode_item`).

use crate::fs::FsError;
use crate::numbers::{le32, le64};
use model::inspection::FileKind;

/// Bytes of one.
pub(super) const LEN: usize = 160;
/// The longest file there can be (`MAX_LFS_FILESIZE`).
const MOST_SIZE: u64 = i64::MAX.cast_unsigned();

/// Bits of `flags`, and those of `FS_IOC_GETFLAGS` that they are shown as (kernel `btrfs_inode_flags_to_fsflags`).
const FLAGS: [(u64, u32); 9] = [
    (1 << 1, 0x80_0000), // NODATACOW
    (1 << 3, 0x400),     // NOCOMPRESS
    (1 << 5, 0x8),       // SYNC
    (1 << 6, 0x10),      // IMMUTABLE
    (1 << 7, 0x20),      // APPEND
    (1 << 8, 0x40),      // NODUMP
    (1 << 9, 0x80),      // NOATIME
    (1 << 10, 0x1_0000), // DIRSYNC
    (1 << 11, 0x4),      // COMPRESS
];

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inode {
    /// What it is.
    pub(super) kind: FileKind,
    /// Its size, as it says.
    pub(super) size: u64,
    bytes: Box<[u8]>,
}

impl Inode {
    /// Checks an inode.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it is none.
    pub(super) fn parse(number: u64, bytes: &[u8]) -> Result<Self, FsError> {
        let bad = |why: String| Err(FsError::Corrupt(format!("inode {number} {why}")));
        if bytes.len() < LEN {
            return bad(format!("is {} bytes long", bytes.len()));
        }
        let kind = match le32(bytes, 52) & 0xf000 {
            0x8000 => FileKind::File,
            0x4000 => FileKind::Directory,
            0xa000 => FileKind::Symlink,
            0x1000 | 0x2000 | 0x6000 | 0xc000 => FileKind::Special,
            mode => return bad(format!("is of no kind (mode {mode:#o})")),
        };
        let size = le64(bytes, 16);
        if size > MOST_SIZE {
            return bad(format!("says it is {size} bytes long, more than can be"));
        }
        Ok(Self { kind, size, bytes: bytes.into() })
    }

    /// The same with another size.
    pub(super) fn with_size(self, size: u64) -> Self {
        Self { size, ..self }
    }

    /// `mode`: type and permissions.
    pub(super) fn mode(&self) -> u32 {
        le32(&self.bytes, 52)
    }

    /// Number of its owner, and of its group.
    pub(super) fn owners(&self) -> (u32, u32) {
        (le32(&self.bytes, 44), le32(&self.bytes, 48))
    }

    /// How many names it has.
    pub(super) fn links(&self) -> u32 {
        le32(&self.bytes, 40)
    }

    /// Major and minor number of a device: `rdev` is the kernel's own `dev_t`, with 20 bits of minor number.
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        let device = le64(&self.bytes, 56);
        let part = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        matches!(self.mode() & 0xf000, 0x2000 | 0x6000).then(|| (part(device >> 20), part(device & 0xf_ffff)))
    }

    /// Nanoseconds since 1970 of the last change of its content; `None` where they do not fit 64 bits.
    pub(super) fn modified(&self) -> Option<i64> {
        self.time(136)
    }

    /// The same of when it was last read.
    pub(super) fn accessed(&self) -> Option<i64> {
        self.time(112)
    }

    fn time(&self, at: usize) -> Option<i64> {
        let seconds = le64(&self.bytes, at).cast_signed();
        seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(le32(&self.bytes, at + 8)))
    }

    /// Its flags as `FS_IOC_GETFLAGS` gives them.
    pub(super) fn flags(&self) -> u32 {
        let flags = le64(&self.bytes, 64);
        FLAGS.iter().filter(|(bit, _)| flags & bit != 0).fold(0, |all, (_, shown)| all | shown)
    }
}
