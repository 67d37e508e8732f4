//! The ioctls of block devices (kernel `include/uapi/linux/fs.h`, `include/uapi/linux/blkpg.h`) and ext4's resize
//! (`fs/ext4/ext4.h`, `EXT4_IOC_RESIZE_FS`).
#![expect(unsafe_code, reason = "ioctls")]

use model::units::{ByteLen, ByteOffset, Extent, SectorSize};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

mod raw {
    use nix::libc::c_int;

    nix::ioctl_write_ptr_bad!(blkroset, nix::request_code_none!(0x12, 93), c_int);
    nix::ioctl_read_bad!(blkroget, nix::request_code_none!(0x12, 94), c_int);
    nix::ioctl_none!(blkrrpart, 0x12, 95);
    nix::ioctl_none!(blkflsbuf, 0x12, 97);
    nix::ioctl_read_bad!(blksszget, nix::request_code_none!(0x12, 104), c_int);
    nix::ioctl_write_ptr_bad!(blkpg, nix::request_code_none!(0x12, 105), super::BlkpgArg);
    nix::ioctl_read!(blkgetsize64, 0x12, 114, usize);
    nix::ioctl_read!(blkgetdiskseq, 0x12, 128, u64);
    nix::ioctl_write_ptr!(ext4_resize_fs, b'f', 16, u64);
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
#[derive(Debug)]
pub struct BlkpgArg {
    op: i32,
    flags: i32,
    len: i32,
    data: *const BlkpgPartition,
}

/// `struct blkpg_partition`.
#[repr(C)]
#[derive(Debug)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: i32,
    names: [u8; 128],
}

/// `BLKPG_RESIZE_PARTITION`.
const RESIZE: i32 = 3;

/// Size of a block device in bytes (`BLKGETSIZE64`).
///
/// # Errors
/// What the kernel says: not a block device, or gone.
pub fn size(fd: impl AsFd) -> io::Result<ByteLen> {
    let mut out = 0usize;
    // SAFETY: `BLKGETSIZE64` writes one u64 (`size_t` on the 64-bit machines this is built for) to a live local.
    unsafe { raw::blkgetsize64(fd.as_fd().as_raw_fd(), &raw mut out)? };
    Ok(ByteLen(out as u64))
}

/// Logical sector size of a block device (`BLKSSZGET`).
///
/// # Errors
/// What the kernel says, or a size that is no power of two.
pub fn sector(fd: impl AsFd) -> io::Result<SectorSize> {
    let mut out = 0;
    // SAFETY: `BLKSSZGET` writes one int to a live local.
    unsafe { raw::blksszget(fd.as_fd().as_raw_fd(), &raw mut out)? };
    match u32::try_from(out) {
        Ok(n) if n.is_power_of_two() && (512..=65536).contains(&n) => Ok(SectorSize(n)),
        _ => Err(io::Error::other(format!("the kernel says a sector has {out} bytes"))),
    }
}

/// The number the kernel gave this appearance of a disk, never used twice until the machine restarts
/// (`BLKGETDISKSEQ`, Linux 5.15). Says whether two descriptors are one disk even after names were reused.
///
/// # Errors
/// What the kernel says; older kernels do not know the call.
pub fn disk_sequence(fd: impl AsFd) -> io::Result<u64> {
    let mut out = 0u64;
    // SAFETY: `BLKGETDISKSEQ` writes one u64 to a live local.
    unsafe { raw::blkgetdiskseq(fd.as_fd().as_raw_fd(), &raw mut out)? };
    Ok(out)
}

/// True where the kernel refuses writes to this block device (`BLKROGET`).
///
/// # Errors
/// What the kernel says.
pub fn is_read_only(fd: impl AsFd) -> io::Result<bool> {
    let mut out = 0;
    // SAFETY: `BLKROGET` writes one int to a live local.
    unsafe { raw::blkroget(fd.as_fd().as_raw_fd(), &raw mut out)? };
    Ok(out != 0)
}

/// Makes the kernel refuse (or allow) writes to this block device (`BLKROSET`). On a whole disk it covers its
/// partitions too (`bdev_read_only` in `include/linux/blkdev.h`).
///
/// # Errors
/// What the kernel says; it wants `CAP_SYS_ADMIN`.
pub fn set_read_only(fd: impl AsFd, read_only: bool) -> io::Result<()> {
    let value = i32::from(read_only);
    // SAFETY: `BLKROSET` reads one int from a live local.
    unsafe { raw::blkroset(fd.as_fd().as_raw_fd(), &raw const value)? };
    Ok(())
}

/// Writes out and drops what the kernel caches of this block device (`BLKFLSBUF`).
///
/// # Errors
/// What the kernel says.
pub fn flush_buffers(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::blkflsbuf(fd.as_fd().as_raw_fd())? };
    Ok(())
}

/// Lets the kernel read the partition table again (`BLKRRPART`). Refused while any partition is in use.
///
/// # Errors
/// What the kernel says.
pub fn reread_table(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::blkrrpart(fd.as_fd().as_raw_fd())? };
    Ok(())
}

/// Tells the kernel that partition `number` of the open disk now covers `extent` of it (`BLKPG_RESIZE_PARTITION`).
/// Works while the partition is in use. The start must be what it was.
///
/// # Errors
/// What the kernel says.
pub fn resize_partition(disk: impl AsFd, number: u32, extent: Extent) -> io::Result<()> {
    let too_big = |_| io::Error::other("the partition is too large for this kernel");
    let part = BlkpgPartition {
        start: i64::try_from(extent.start().0).map_err(too_big)?,
        length: i64::try_from(extent.len().0).map_err(too_big)?,
        number: i32::try_from(number).map_err(too_big)?,
        names: [0; 128],
    };
    let len = i32::try_from(size_of::<BlkpgPartition>()).expect("a small struct");
    let arg = BlkpgArg { op: RESIZE, flags: 0, len, data: &raw const part };
    // SAFETY: `BLKPG` reads the argument and the partition it points to; both live until the call returns.
    unsafe { raw::blkpg(disk.as_fd().as_raw_fd(), &raw const arg)? };
    Ok(())
}

/// Grows the mounted ext4 file system that a directory is open on, to as many whole blocks as `len` has room for
/// (`EXT4_IOC_RESIZE_FS`). The kernel is content where nothing is to be done (`fs/ext4/resize.c`, `ext4_resize_fs`), and leaves out a last
/// group of blocks that would hold nothing but its own records.
///
/// # Errors
/// What the kernel says: not ext4, larger than its device, mounted read-only, marked with errors, or with features for which it
/// cannot.
pub fn grow_ext4(directory: impl AsFd, len: ByteLen) -> io::Result<()> {
    let blocks = len.0 / crate::mount::block_size(&directory)?;
    // SAFETY: reads one u64 from a live local.
    unsafe { raw::ext4_resize_fs(directory.as_fd().as_raw_fd(), &raw const blocks)? };
    Ok(())
}

/// `CAP_SYS_RESOURCE` (capabilities(7)): without it the kernel lets no file system grow.
const SYS_RESOURCE: u64 = 1 << 24;

/// Whether this process may let a file system grow that it has mounted ([`grow_ext4`]).
///
/// # Errors
/// Why not: it has not the right to, as in a container that was not given it; or that cannot be told.
pub fn may_grow_ext4() -> io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let held = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    match held {
        Some(held) if held & SYS_RESOURCE != 0 => Ok(()),
        Some(_) => Err(io::Error::other("the right to make file systems larger is missing (CAP_SYS_RESOURCE)")),
        None => Err(io::Error::other("/proc/self/status does not tell what this process may do")),
    }
}

/// Drops what the kernel caches of `extent` of a file or device, so that the next read comes from the medium.
/// Best effort: dirty pages stay (sync first).
///
/// # Errors
/// What the kernel says.
pub fn drop_cache(fd: impl AsFd, extent: Extent) -> io::Result<()> {
    let clip = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let (ByteOffset(at), ByteLen(len)) = (extent.start(), extent.len());
    nix::fcntl::posix_fadvise(fd, clip(at), clip(len), nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(())
}
