//! A tree that stands, and in which things are put in the place of others: that of a file system which is mounted for one process alone
//! ([`crate::detached`]), whose names and links may be hostile. Every name is looked up by itself below a descriptor, and nothing that
//! is no directory is walked through (openat2(2)).

use super::{Dir, NewEntry, checked, time};
use model::units::ByteLen;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::libc;
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, fstat, fstatat, futimens, umask, utimensat,
};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::CString;
use std::fs::{File, read_dir};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

mod raw {
    // Declared with a long, and an int is what the kernel reads and writes.
    nix::ioctl_read!(fs_ioc_getflags, b'f', 1, libc::c_long);
    nix::ioctl_write_ptr!(fs_ioc_setflags, b'f', 2, libc::c_long);
}

/// The inode flags that are given: written at once, unchangeable, append only, not dumped, access times not kept, a directory written
/// at once (`include/uapi/linux/fs.h`). Others say how the file system lays a file out.
pub const FLAGS: u32 = 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x1_0000;
/// How deep a tree is removed: each directory on the way is held open.
const MOST_DEPTH: usize = 256;
/// Names that are read of a directory before they are removed.
const SOME: usize = 4096;

/// From here on what this process makes has the permissions that it asks for.
pub fn exact_modes() {
    umask(Mode::empty());
}

/// Gives an open file the flags among [`FLAGS`], and leaves others as they are.
pub(super) fn set_flags(fd: impl AsFd, flags: u32) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    let mut now: libc::c_long = 0;
    // SAFETY: writes one long (an int of it) to a live local.
    unsafe { raw::fs_ioc_getflags(fd, &raw mut now) }?;
    let wanted = (now & !libc::c_long::from(FLAGS)) | libc::c_long::from(flags & FLAGS);
    if wanted != now {
        // SAFETY: reads one long of a live local.
        unsafe { raw::fs_ioc_setflags(fd, &raw const wanted) }?;
    }
    Ok(())
}

/// Opens one name below a directory; no link, no way out.
fn open(dir: BorrowedFd<'_>, name: &[u8], flags: OFlag) -> io::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat2(dir, checked(name)?, OpenHow::new().flags(flags).resolve(resolve))?)
}

impl Dir {
    /// The root of a mount.
    pub fn of(root: OwnedFd) -> Self {
        Self(root)
    }

    /// Lets the ext4 file system that it lies on grow: see [`crate::block::grow_ext4`].
    ///
    /// # Errors
    /// As there.
    pub fn grow_file_system(&self, len: ByteLen) -> io::Result<()> {
        crate::block::grow_ext4(&self.0, len)
    }

    /// A directory that stands in it.
    ///
    /// # Errors
    /// What the system says; `NotFound` where nothing has that name, `ELOOP` or `ENOTDIR` where it is a link or a file.
    pub fn existing(&self, name: &[u8]) -> io::Result<Self> {
        open(self.0.as_fd(), name, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map(Self)
    }

    /// When it was last read and written to, in nanoseconds since 1970.
    ///
    /// # Errors
    /// What the system says.
    pub fn times(&self) -> io::Result<(i64, i64)> {
        let stat = fstat(&self.0)?;
        let whole = |seconds: i64, nanoseconds: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
        Ok((whole(stat.st_atime, stat.st_atime_nsec), whole(stat.st_mtime, stat.st_mtime_nsec)))
    }

    /// Gives it these times.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_times(&self, (read, written): (i64, i64)) -> io::Result<()> {
        Ok(futimens(&self.0, &time(read), &time(written))?)
    }

    /// Gives a link, a pipe, a socket or a device in it its permissions and attributes; they cannot be opened for that.
    ///
    /// # Errors
    /// What the system says, of the first that could not be given.
    pub fn mark_special(&self, name: &[u8], mode: Option<u32>, xattrs: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
        let name = checked(name)?;
        if let Some(mode) = mode {
            // It was made here and is no link.
            fchmodat(&self.0, name, Mode::from_bits_truncate(mode & 0o7777), FchmodatFlags::FollowSymlink)?;
        }
        // There is no lsetxattrat(2) before Linux 6.13: the directory's own name in /proc leads to it whatever is mounted where.
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(name);
        let path = CString::new(path.as_os_str().as_bytes())?;
        for (name, value) in xattrs {
            let name = CString::new(name.as_slice())?;
            // SAFETY: lsetxattr(2) reads two strings that end in NUL and `value.len()` bytes of a live slice, and keeps none.
            let done = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }

    /// Gives such a thing its times, where it has any: the last that is done to it.
    ///
    /// # Errors
    /// What the system says.
    pub fn time_special(&self, name: &[u8], times: Option<(i64, i64)>) -> io::Result<()> {
        let Some((read, written)) = times else { return Ok(()) };
        Ok(utimensat(&self.0, checked(name)?, &time(read), &time(written), UtimensatFlags::NoFollowSymlink)?)
    }

    /// Takes away what it got of the access control list of the directory that it was made in.
    ///
    /// # Errors
    /// What the system says; that there was none is no error.
    pub fn disinherit(&self) -> io::Result<()> {
        disinherit(self.0.as_fd())
    }

    /// Removes whatever has a name in it, with everything below; nothing where nothing has. No link is followed.
    ///
    /// # Errors
    /// What the system says; a tree of more than 256 directories in each other.
    pub fn clear(&self, name: &[u8]) -> io::Result<()> {
        clear(self.0.as_fd(), name, 0)
    }

    /// Makes everything on its file system durable, and tells of what could not be written.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync_all(&self) -> io::Result<()> {
        Ok(nix::unistd::syncfs(&self.0)?)
    }
}

impl NewEntry {
    /// As [`Dir::disinherit`].
    ///
    /// # Errors
    /// As there.
    pub fn disinherit(&self) -> io::Result<()> {
        disinherit(self.0.as_fd())
    }
}

fn disinherit(fd: BorrowedFd<'_>) -> io::Result<()> {
    for name in [c"system.posix_acl_access", c"system.posix_acl_default"] {
        // SAFETY: fremovexattr(2) reads a string that ends in NUL.
        if unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) } != 0 {
            match Errno::last() {
                Errno::ENODATA | Errno::EOPNOTSUPP => {}
                e => return Err(e.into()),
            }
        }
    }
    Ok(())
}

fn clear(dir: BorrowedFd<'_>, name: &[u8], depth: usize) -> io::Result<()> {
    let entry = checked(name)?;
    let stat = match fstatat(dir, entry, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    if kind == SFlag::S_IFDIR {
        if depth >= MOST_DEPTH {
            return Err(io::Error::other("a directory that is too deep"));
        }
        let here = open(dir, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        loop {
            let some = names(&here)?;
            if some.is_empty() {
                break;
            }
            some.iter().try_for_each(|name| match clear(here.as_fd(), name, depth + 1) {
                // A directory that may not be changed, or that holds what may not.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    set_flags(&here, 0)?;
                    clear(here.as_fd(), name, depth + 1)
                }
                done => done,
            })?;
        }
    }
    let flag = if kind == SFlag::S_IFDIR { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
    match unlinkat(dir, entry, flag) {
        Err(Errno::EPERM) if kind == SFlag::S_IFDIR || kind == SFlag::S_IFREG => {
            set_flags(open(dir, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?, 0)?;
            Ok(unlinkat(dir, entry, flag)?)
        }
        done => Ok(done?),
    }
}

/// Some of the names in a directory.
fn names(dir: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    // A new description: this one is read from its start.
    let listed = read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
    listed.take(SOME).map(|entry| entry.map(|e| e.file_name().as_bytes().to_vec())).collect()
}

/// A file in a directory that somebody else answers for ([`crate::served_file`]), to be read and written.
///
/// # Errors
/// What the system says.
pub fn file(root: &OwnedFd, name: &[u8]) -> io::Result<File> {
    open(root.as_fd(), name, OFlag::O_RDWR).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn dir(path: &std::path::Path) -> Dir {
        Dir::of(File::open(path).unwrap().into())
    }

    #[test]
    fn links_lead_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let (inside, outside) = (place.path().join("in"), place.path().join("out"));
        fs::create_dir_all(inside.join("real")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        fs::write(inside.join("file"), "").unwrap();
        let root = dir(&inside);
        assert!(root.existing(b"real").is_ok());
        for name in [&b"link"[..], b"file"] {
            let e = root.existing(name).map(|_| ()).unwrap_err().raw_os_error();
            assert!(matches!(e, Some(libc::ELOOP | libc::ENOTDIR)), "{e:?}");
        }
        assert_eq!(root.existing(b"none").unwrap_err().kind(), io::ErrorKind::NotFound);
        for name in [&b".."[..], b".", b"", b"real/x", b"a\0b"] {
            assert!(root.existing(name).is_err(), "{name:?}");
            assert!(root.clear(name).is_err(), "{name:?}");
        }
        symlink(&outside, inside.join("real/deeper")).unwrap();
        root.clear(b"real").unwrap();
        root.clear(b"link").unwrap();
        root.clear(b"none").unwrap();
        assert!(outside.join("kept").exists() && !inside.join("real").exists() && !inside.join("link").exists());
    }

    #[test]
    fn a_large_tree_goes_whole() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("tree/a/b")).unwrap();
        for n in 0..SOME + 10 {
            fs::write(place.path().join(format!("tree/a/{n}")), "").unwrap();
        }
        dir(place.path()).clear(b"tree").unwrap();
        assert!(!place.path().join("tree").exists());
        let deep = (0..=MOST_DEPTH + 1).fold(place.path().join("deep"), |at, _| at.join("d"));
        fs::create_dir_all(deep).unwrap();
        assert!(dir(place.path()).clear(b"deep").unwrap_err().to_string().contains("too deep"));
    }
}
