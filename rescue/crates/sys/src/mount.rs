//! Mounts.

use nix::mount::{MntFlags, MsFlags};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// How a file system is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Nothing is written.
    pub read_only: bool,
    /// Set-user-id bits, device nodes and programs on it mean nothing.
    pub inert: bool,
    /// Reading does not update access times.
    pub noatime: bool,
}

/// Mounts `source`, a file system of `kind`, on the directory `target`, with the file system's own options in `data`.
///
/// # Errors
/// What the kernel says: `EBUSY` where it is mounted there already.
pub fn mount(source: &Path, target: &Path, kind: &str, options: Options, data: &str) -> io::Result<()> {
    let mut flags = MsFlags::empty();
    flags.set(MsFlags::MS_RDONLY, options.read_only);
    flags.set(MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, options.inert);
    flags.set(MsFlags::MS_NOATIME, options.noatime);
    let data = (!data.is_empty()).then_some(data);
    nix::mount::mount(Some(source), target, Some(kind), flags, data)?;
    Ok(())
}

/// Unmounts what is mounted on `target`.
///
/// # Errors
/// What the kernel says: `EBUSY` while a file on it is open.
pub fn unmount(target: &Path) -> io::Result<()> {
    nix::mount::umount2(target, MntFlags::UMOUNT_NOFOLLOW)?;
    Ok(())
}

/// Makes what is mounted on `target` read-only, so that it is whole on disk even where it cannot be unmounted.
///
/// # Errors
/// What the kernel says: `EBUSY` while a file on it is open for writing.
pub fn make_read_only(target: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    nix::mount::mount(None::<&Path>, target, None::<&str>, flags, None::<&str>)?;
    Ok(())
}

/// Bytes per block of the file system an open file lies on (`f_frsize`, statvfs(3)).
///
/// # Errors
/// What the system says.
pub(crate) fn block_size(file: impl AsFd) -> io::Result<u64> {
    Ok(nix::sys::statvfs::fstatvfs(file)?.fragment_size().max(1))
}
