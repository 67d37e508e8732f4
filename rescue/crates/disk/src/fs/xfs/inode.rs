//! Inodes (kernel `fs/xfs/libxfs/xfs_format.h`, `struct xfs_dinode`; `xfs_inode_buf.c`), with what lies inside them.

use super::raw::from;
use super::superblock::Superblock;
use crate::fs::FsError;
use crate::numbers::{be16, be32, be64, byte};
use model::inspection::FileKind;
use std::ops::Range;

/// `XFS_DINODE_MAGIC`.
pub(super) const MAGIC: u16 = 0x494e;
/// Where the forks begin: behind the fields of version 3 (v5), or of versions 1 and 2.
pub(super) const FORKS_V3: usize = 176;
const FORKS_V2: usize = 100;
/// The biggest file there is on Linux.
const MOST_SIZE: u64 = i64::MAX as u64;

/// Bits of `di_flags2`.
mod flag2 {
    pub(super) const BIGTIME: u64 = 0x8;
    pub(super) const NREXT64: u64 = 0x10;
}

/// `XFS_DIFLAG_REALTIME` of `di_flags`.
const REALTIME: u16 = 0x1;
/// `XFS_DIFLAG_IMMUTABLE` of `di_flags`.
const IMMUTABLE: u16 = 0x8;
/// `di_atime`: when it was last read.
const READ_AT: Range<usize> = 32..40;
/// What differs besides where that is written: `di_changecount`, `di_lsn`; and `di_crc`, which follows from the rest.
const WRITTEN: Range<usize> = 104..120;
const CHECKSUM: Range<usize> = 100..104;
/// Bits of `di_flags` beside those `FS_IOC_GETFLAGS` gives for them: unchangeable, append only, synchronous, no access times, not
/// dumped, project inherited (`xfs_diflags_to_iflags` and `fs/ioctl.c`).
const FLAGS: [(u16, u32); 6] =
    [(0x8, 0x10), (0x10, 0x20), (0x20, 0x8), (0x40, 0x80), (0x80, 0x40), (0x200, 0x2000_0000)];

/// True where two inodes, as they lie on the volume, differ in nothing but that they were read, and in the `ignored` bytes. The kernel
/// counts the first change of an inode after it was read from the disk, be it of that time alone (`inode_maybe_inc_iversion`).
pub(super) fn same_but_access(a: &[u8], b: &[u8], ignored: &[Range<usize>]) -> bool {
    let read = a.get(READ_AT) != b.get(READ_AT);
    let written = [WRITTEN, READ_AT].into_iter().filter(|_| read).chain([CHECKSUM]);
    let skipped: Vec<Range<usize>> = written.chain(ignored.iter().cloned()).collect();
    let skipped = |at: usize| skipped.iter().any(|s| s.contains(&at));
    a.len() == b.len() && a.iter().zip(b).enumerate().all(|(at, (a, b))| a == b || skipped(at))
}

/// Where a fork of an inode has its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fork<'a> {
    /// There is none.
    None,
    /// In the inode itself.
    Local(&'a [u8]),
    /// In extents, so many, listed in the inode.
    Extents(&'a [u8], u64),
    /// In extents, listed in a tree that begins in the inode.
    Tree(&'a [u8]),
}

/// An inode.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// Its number.
    pub(super) number: u64,
    /// What it is.
    pub(super) kind: FileKind,
    /// Size in bytes, as it says.
    pub(super) size: u64,
    bytes: Box<[u8]>,
    v3: bool,
}

impl Inode {
    /// Checks an inode.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it is not in use or does not hold together.
    pub(super) fn parse(sb: &Superblock, number: u64, b: &[u8]) -> Result<Self, FsError> {
        let bad = |why: String| Err(FsError::Corrupt(format!("inode {number}: {why}")));
        let (mode, version) = (be16(b, 2), byte(b, 4));
        if be16(b, 0) != MAGIC {
            return bad(format!("it has magic {:#06x}", be16(b, 0)));
        }
        let kind = match mode & 0xf000 {
            0x8000 => FileKind::File,
            0x4000 => FileKind::Directory,
            0xa000 => FileKind::Symlink,
            0x1000 | 0x2000 | 0x6000 | 0xc000 => FileKind::Special,
            _ => return bad(format!("it is not in use (mode {mode:#o})")),
        };
        let v3 = version == 3;
        if v3 != sb.v5 || !matches!(version, 1..=3) {
            return bad(format!("it is of version {version}"));
        }
        if v3 && be64(b, 152) != number {
            return bad(format!("it says that it is inode {}", be64(b, 152)));
        }
        let size = be64(b, 56);
        if size > MOST_SIZE {
            return bad(format!("it says it is {size} bytes long"));
        }
        let inode = Self { number, kind, size, bytes: b.into(), v3 };
        if inode.attributes_at() > b.len() {
            return bad("its attributes begin behind its end".to_owned());
        }
        Ok(inode)
    }

    fn forks_at(&self) -> usize {
        if self.v3 { FORKS_V3 } else { FORKS_V2 }
    }

    /// Where the fork of its attributes begins; its end where there is none.
    fn attributes_at(&self) -> usize {
        match byte(&self.bytes, 82) {
            0 => self.bytes.len(),
            units => self.forks_at() + usize::from(units) * 8,
        }
    }

    /// The number of extents of its data, and of its attributes (`xfs_dfork_data_extents`, `xfs_dfork_attr_extents`).
    fn extents(&self) -> (u64, u64) {
        let b = &self.bytes;
        if self.v3 && self.flags2() & flag2::NREXT64 != 0 {
            (be64(b, 24), u64::from(be32(b, 76)))
        } else {
            (u64::from(be32(b, 76)), u64::from(be16(b, 80)))
        }
    }

    fn flags2(&self) -> u64 {
        if self.v3 { be64(&self.bytes, 120) } else { 0 }
    }

    /// Its data: content, entries, target.
    pub(super) fn data(&self) -> Fork<'_> {
        let area = self.bytes.get(self.forks_at()..self.attributes_at()).unwrap_or_default();
        self.fork(area, byte(&self.bytes, 5), self.extents().0, self.size)
    }

    /// Its attributes.
    pub(super) fn attributes(&self) -> Fork<'_> {
        if byte(&self.bytes, 82) == 0 {
            return Fork::None;
        }
        let area = from(&self.bytes, self.attributes_at());
        // Attributes in the inode say themselves how long they are.
        let len = u64::from(be16(area, 0));
        self.fork(area, byte(&self.bytes, 83), self.extents().1, len)
    }

    /// `XFS_DINODE_FMT_LOCAL`, `_EXTENTS`, `_BTREE`.
    fn fork<'a>(&self, area: &'a [u8], format: u8, extents: u64, local: u64) -> Fork<'a> {
        match format {
            1 => Fork::Local(usize::try_from(local).ok().and_then(|len| area.get(..len)).unwrap_or_default()),
            2 => Fork::Extents(area, extents),
            3 => Fork::Tree(area),
            _ => Fork::None,
        }
    }

    /// Its data lies on another device.
    pub(super) fn is_realtime(&self) -> bool {
        be16(&self.bytes, 90) & REALTIME != 0 && self.kind == FileKind::File
    }

    /// Flags as `FS_IOC_GETFLAGS` gives them.
    pub(super) fn flags(&self) -> u32 {
        let own = be16(&self.bytes, 90);
        FLAGS.iter().filter(|(bit, _)| own & bit != 0).map(|(_, flag)| flag).fold(0, |all, flag| all | flag)
    }

    /// `di_mode`: type and permissions.
    pub(super) fn mode(&self) -> u32 {
        u32::from(be16(&self.bytes, 2))
    }

    /// Number of its owner, and of its group.
    pub(super) fn owners(&self) -> (u32, u32) {
        (be32(&self.bytes, 8), be32(&self.bytes, 12))
    }

    /// How many names it has.
    pub(super) fn links(&self) -> u32 {
        if byte(&self.bytes, 4) == 1 { u32::from(be16(&self.bytes, 6)) } else { be32(&self.bytes, 16) }
    }

    /// Major and minor number of a device (`sysv_major`, `sysv_minor`).
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        let device = matches!(self.mode() & 0xf000, 0x2000 | 0x6000);
        device.then(|| be32(&self.bytes, self.forks_at())).map(|n| (n >> 18 & 0x3fff, n & 0x3_ffff))
    }

    /// Nanoseconds since 1970 of the last change of its data; `None` where they do not fit 64 bits.
    pub(super) fn modified(&self) -> Option<i64> {
        self.time(40)
    }

    /// The same of when it was last read.
    pub(super) fn accessed(&self) -> Option<i64> {
        self.time(32)
    }

    /// The same of the last change of anything: nobody sets it to what they like.
    pub(super) fn changed(&self) -> Option<i64> {
        self.time(48)
    }

    /// Its data may be written without a trace in it: somebody made it unchangeable for all but those who write below the file
    /// system (`ldlinux.sys` is such a file).
    pub(super) fn is_peculiar(&self) -> bool {
        be16(&self.bytes, 90) & IMMUTABLE != 0
    }

    /// `xfs_inode_from_disk_ts`: nanoseconds since the earliest time 32 bits can tell, or seconds and nanoseconds.
    fn time(&self, at: usize) -> Option<i64> {
        if self.flags2() & flag2::BIGTIME != 0 {
            let since = i128::from(be64(&self.bytes, at)) - (1i128 << 31) * 1_000_000_000;
            return i64::try_from(since).ok();
        }
        let (seconds, nanoseconds) = (be32(&self.bytes, at).cast_signed(), be32(&self.bytes, at + 4));
        i64::from(seconds).checked_mul(1_000_000_000)?.checked_add(i64::from(nanoseconds))
    }
}
