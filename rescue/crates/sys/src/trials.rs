//! What tests do to a file system and the program never does: writing through a shared mapping, moving the blocks of a file,
//! giving it attributes.
#![expect(unsafe_code, reason = "mmap, an ioctl and setxattr")]

use nix::libc;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

/// A file's bytes in memory, shared with the file: what is written here gets to it when the kernel sees fit.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Maps the first `len` bytes of a file open for reading and writing. A page that there is no room for on the disk kills
    /// whoever writes to it (`SIGBUS`), as does one past the end of the file.
    ///
    /// # Errors
    /// What the kernel says; a length of 0 is refused.
    pub fn of(file: &File, len: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory of ours.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        match NonNull::new(at.cast::<u8>()) {
            Some(start) if at != libc::MAP_FAILED => Ok(Self { start, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Writes bytes at a place, as far as the mapping reaches.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        let at = at.min(self.len);
        let len = bytes.len().min(self.len - at);
        // SAFETY: `at + len` is within the mapping, which this value alone owns; `bytes` is no part of it, since the mapping is
        // never lent.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(at), len) };
    }

    /// Brings it to the disk (`msync`), and its pages back to where writing to them is noticed.
    ///
    /// # Errors
    /// What the kernel says: the disk is full, or does not take it.
    pub fn sync(&self) -> io::Result<()> {
        // SAFETY: the range is the mapping's own.
        match unsafe { libc::msync(self.start.as_ptr().cast(), self.len, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, and unmapped nowhere else.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// `struct move_extent` (kernel `fs/ext4/ext4.h`).
#[repr(C)]
#[derive(Debug, Default)]
pub struct MoveExtent {
    reserved: u32,
    donor: u32,
    start: u64,
    donor_start: u64,
    len: u64,
    moved: u64,
}

mod raw {
    nix::ioctl_readwrite!(ext4_move_extent, b'f', 15, super::MoveExtent);
}

/// Has ext4 put `len` blocks of a file, from block `start`, where the donor has its own, and the donor's where they were: what
/// `e4defrag` does (`EXT4_IOC_MOVE_EXT`). Gives how many were moved.
///
/// # Errors
/// What the kernel says: the file has no extents, one of the two is too short, or they are on two file systems.
pub fn move_extents(file: &File, donor: &File, start: u64, len: u64) -> io::Result<u64> {
    let donor = u32::try_from(donor.as_raw_fd()).map_err(io::Error::other)?;
    let mut order = MoveExtent { donor, start, donor_start: start, len, ..MoveExtent::default() };
    // SAFETY: `EXT4_IOC_MOVE_EXT` reads and writes one `struct move_extent`, a live local.
    unsafe { raw::ext4_move_extent(file.as_raw_fd(), &raw mut order)? };
    Ok(order.moved)
}

/// Gives a file an extended attribute (`setxattr(2)`).
///
/// # Errors
/// What the kernel says; a path or a name with a NUL in it is refused.
pub fn set_attribute(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let name = CString::new(name)?;
    // SAFETY: two live strings that end in NUL, and a live buffer with its length.
    match unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_written_to_a_mapping_is_in_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(5000).unwrap();
        let mut mapping = Mapping::of(file.as_file(), 5000).unwrap();
        mapping.write(4998, b"abc");
        mapping.write(9000, b"abc");
        mapping.sync().unwrap();
        let bytes = fs::read(file.path()).unwrap();
        assert_eq!((bytes.len(), &bytes[4997..]), (5000, &b"\0ab"[..]));
        assert!(Mapping::of(file.as_file(), 0).is_err());
    }
}
