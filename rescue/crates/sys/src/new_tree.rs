//! Files that are taken out of a snapshot: a tree that is made whole or not at all.
//!
//! **Architecture invariant.** Names and links come from a disk that may be hostile. Everything is made new, relative to the
//! descriptor of a directory that was made here, in a place that only its owner can enter; no link is ever followed.

#![expect(unsafe_code, reason = "fsetxattr")]

pub mod standing;

use crate::new_file::{NewFileError, directory, failed, must_be_free, shown};
use model::units::{ByteLen, ByteOffset};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, futimens, makedev, mkdirat, mknodat, utimensat};
use nix::sys::statvfs::fstatvfs;
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

/// What is made has this name until it is published.
const INNER: &[u8] = b"it";

/// A tree in the making, in a directory beside its place (`NAME.part-PID`) that only its owner can enter, until
/// [`NewTree::publish`]; dropped before that, it is removed.
#[derive(Debug)]
pub struct NewTree {
    path: PathBuf,
    part: PathBuf,
    dir: Dir,
}

impl NewTree {
    /// Begins one.
    ///
    /// # Errors
    /// [`NewFileError::Exists`] where there is something of that name; [`NewFileError::Nameless`], [`NewFileError::Io`].
    pub fn create(path: &Path) -> Result<Self, NewFileError> {
        let name = path.file_name().ok_or_else(|| NewFileError::Nameless { path: shown(path) })?;
        must_be_free(path)?;
        let mut part = name.to_owned();
        part.push(format!(".part-{}", std::process::id()));
        let part = path.with_file_name(part);
        fs::DirBuilder::new().mode(0o700).create(&part).map_err(failed("making", &part))?;
        match File::open(&part) {
            Ok(dir) => Ok(Self { path: path.to_owned(), part, dir: Dir(dir.into()) }),
            Err(e) => {
                let _ = fs::remove_dir(&part);
                Err(failed("opening", &part)(e))
            }
        }
    }

    /// The directory in which the tree is made, and the name that its top must have there.
    pub fn top(&self) -> (&Dir, &'static [u8]) {
        (&self.dir, INNER)
    }

    /// The name it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Room left where it lies, where that can be known.
    pub fn free(&self) -> Option<ByteLen> {
        let stat = fstatvfs(&self.dir.0).ok()?;
        stat.blocks_available().checked_mul(stat.fragment_size()).map(ByteLen)
    }

    /// Makes all of it durable and gives it its name, where nothing has taken that meanwhile.
    ///
    /// # Errors
    /// [`NewFileError::Exists`], [`NewFileError::Io`]; it is removed then.
    pub fn publish(self) -> Result<(), NewFileError> {
        nix::unistd::syncfs(&self.dir.0).map_err(|e| failed("syncing", &self.path)(e.into()))?;
        let above = File::open(directory(&self.path)).map_err(failed("opening", directory(&self.path)))?;
        let name = self.path.file_name().unwrap_or_default();
        match renameat2(&self.dir.0, OsStr::from_bytes(INNER), &above, name, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                must_be_free(&self.path)?;
                return Err(failed("naming", &self.path)(Errno::EEXIST.into()));
            }
            // Some file systems know no such rename.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                must_be_free(&self.path)?;
                fs::rename(self.part.join(OsStr::from_bytes(INNER)), &self.path)
                    .map_err(failed("naming", &self.path))?;
            }
            Err(e) => return Err(failed("naming", &self.path)(e.into())),
        }
        above.sync_all().map_err(failed("syncing", directory(&self.path)))
    }
}

impl Drop for NewTree {
    fn drop(&mut self) {
        // Directories that their owner may not write to cannot be emptied: all of it is of ours. Nobody is left who could be
        // told; a leftover shows by its name what it is.
        let _ = writable(&self.part);
        let _ = fs::remove_dir_all(&self.part);
    }
}

/// Lets its owner empty every directory of a tree. Follows no link.
fn writable(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            writable(&entry.path())?;
        }
    }
    Ok(())
}

/// What a thing is given once its content is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Owner and group; those of this process where `None`.
    pub owners: Option<(u32, u32)>,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// When it was last read and last written to, in nanoseconds since 1970.
    pub times: Option<(i64, i64)>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Inode flags as `FS_IOC_SETFLAGS` has them, given last; the file system's own defaults where zero. See [`standing::FLAGS`].
    pub flags: u32,
}

/// A directory that was made here.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// A regular file that was made here.
#[derive(Debug)]
pub struct NewEntry(File);

/// A name that can stand in a directory, and nothing else.
fn checked(name: &[u8]) -> io::Result<&OsStr> {
    let plain = !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|b| matches!(b, b'/' | 0));
    if plain { Ok(OsStr::from_bytes(name)) } else { Err(io::Error::other("the name is none")) }
}

impl Dir {
    /// Makes a directory in it.
    ///
    /// # Errors
    /// What the system says; here and below also where there is something of that name.
    pub fn dir(&self, name: &[u8]) -> io::Result<Self> {
        let name = checked(name)?;
        mkdirat(&self.0, name, Mode::S_IRWXU)?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// Makes a regular file in it, which so far only its owner can read.
    ///
    /// # Errors
    /// As [`Dir::dir`].
    pub fn file(&self, name: &[u8]) -> io::Result<NewEntry> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let file = openat(&self.0, checked(name)?, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(NewEntry(file.into()))
    }

    /// Makes a symbolic link in it, with the marks that one can have.
    ///
    /// # Errors
    /// As [`Dir::dir`].
    pub fn symlink(&self, name: &[u8], target: &[u8], marks: &Marks) -> io::Result<()> {
        let name = checked(name)?;
        symlinkat(OsStr::from_bytes(target), &self.0, name)?;
        self.mark_name(name, marks)
    }

    /// Makes a pipe, a socket or a device in it; `mode` with its type.
    ///
    /// # Errors
    /// As [`Dir::dir`].
    pub fn special(&self, name: &[u8], mode: u32, device: (u32, u32), marks: &Marks) -> io::Result<()> {
        let name = checked(name)?;
        let kind = SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits());
        let device = makedev(u64::from(device.0), u64::from(device.1));
        mknodat(&self.0, name, kind, Mode::from_bits_truncate(marks.mode & 0o777), device)?;
        self.mark_name(name, marks)
    }

    /// Gives something in it that was made at `path`, seen from here, another name in `dir`.
    ///
    /// # Errors
    /// As [`Dir::dir`].
    pub fn link(&self, path: &[Vec<u8>], dir: &Self, name: &[u8]) -> io::Result<()> {
        path.iter().try_for_each(|part| checked(part).map(|_| ()))?;
        let path = path.join(&b'/');
        Ok(linkat(&self.0, OsStr::from_bytes(&path), &dir.0, checked(name)?, LinkatFlags::empty())?)
    }

    /// Removes a file from it.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, name: &[u8]) -> io::Result<()> {
        Ok(unlinkat(&self.0, checked(name)?, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Marks it. Times are only kept where nothing is made in it afterwards.
    ///
    /// # Errors
    /// What the system says, of the first mark that could not be given.
    pub fn mark(&self, marks: &Marks) -> io::Result<()> {
        mark(&self.0, marks)
    }

    /// Owners and times of something that cannot be opened, or must not be.
    fn mark_name(&self, name: &OsStr, marks: &Marks) -> io::Result<()> {
        if let Some((owner, group)) = marks.owners {
            let (owner, group) = (Some(Uid::from_raw(owner)), Some(Gid::from_raw(group)));
            fchownat(&self.0, name, owner, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        if let Some((read, written)) = marks.times {
            utimensat(&self.0, name, &time(read), &time(written), UtimensatFlags::NoFollowSymlink)?;
        }
        Ok(())
    }
}

impl NewEntry {
    /// Gives it a length: what was not written reads as zeros and, where the file system can do that, takes no room.
    ///
    /// # Errors
    /// What the system says, here and below.
    pub fn set_len(&self, len: ByteLen) -> io::Result<()> {
        self.0.set_len(len.0)
    }

    /// Writes all of `bytes` at `at`.
    pub fn write_all_at(&self, at: ByteOffset, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at.0)
    }

    /// Marks it, as [`Dir::mark`].
    pub fn mark(&self, marks: &Marks) -> io::Result<()> {
        mark(&self.0, marks)
    }
}

fn time(nanoseconds: i64) -> TimeSpec {
    TimeSpec::new(nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000))
}

/// In this order: a change of owner takes set-user-ID bits and capabilities away, and any change sets the time.
fn mark(fd: impl AsFd, marks: &Marks) -> io::Result<()> {
    let fd = fd.as_fd();
    if let Some((owner, group)) = marks.owners {
        fchown(fd, Some(Uid::from_raw(owner)), Some(Gid::from_raw(group)))?;
    }
    fchmod(fd, Mode::from_bits_truncate(marks.mode))?;
    for (name, value) in &marks.xattrs {
        let name = CString::new(name.as_slice())?;
        // SAFETY: fsetxattr(2) reads a string that ends in NUL and `value.len()` bytes of a live slice, and keeps neither.
        let done = unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    if let Some((read, written)) = marks.times {
        futimens(fd, &time(read), &time(written))?;
    }
    // The last: of what is unchangeable nothing can be changed any more.
    if marks.flags & standing::FLAGS != 0 {
        standing::set_flags(fd, marks.flags)?;
    }
    Ok(())
}

/// True where this process may give files to others.
pub fn may_give_away() -> bool {
    Uid::effective().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_tree_has_its_name_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tree");
        let tree = NewTree::create(&path).unwrap();
        let (at, name) = tree.top();
        let top = at.dir(name).unwrap();
        let marks = Marks { mode: 0o640, times: Some((5_000_000_001, -1)), ..Marks::default() };
        let file = top.file(b"a").unwrap();
        file.set_len(ByteLen(10)).unwrap();
        file.write_all_at(ByteOffset(8), b"zz").unwrap();
        file.mark(&marks).unwrap();
        top.link(&[], &top, b"b").unwrap_err();
        at.link(&[name.to_vec(), b"a".to_vec()], &top, b"b").unwrap();
        top.symlink(b"c", b"../../etc", &marks).unwrap();
        top.mark(&Marks { mode: 0o500, ..Marks::default() }).unwrap();
        assert!(!path.exists());
        tree.publish().unwrap();
        let meta = fs::metadata(path.join("b")).unwrap();
        assert_eq!((meta.len(), meta.mode() & 0o7777, meta.nlink()), (10, 0o640, 2));
        assert_eq!((meta.atime(), meta.atime_nsec(), meta.mtime()), (5, 1, -1));
        assert_eq!(fs::read_link(path.join("c")).unwrap(), Path::new("../../etc"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o500);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(NewTree::create(&path), Err(NewFileError::Exists { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn nothing_is_made_anywhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let tree = NewTree::create(&dir.path().join("tree")).unwrap();
        let (at, name) = tree.top();
        let top = at.dir(name).unwrap();
        for bad in [&b"../x"[..], b"..", b".", b"", b"a/b", b"/x", b"a\0b"] {
            assert!(top.file(bad).is_err() && top.dir(bad).is_err(), "{bad:?}");
            assert!(top.symlink(bad, b"x", &Marks::default()).is_err());
        }
        // A link, and then a directory or a file of the same name: nothing goes through it.
        top.symlink(b"out", dir.path().as_os_str().as_bytes(), &Marks::default()).unwrap();
        assert!(top.dir(b"out").is_err() && top.file(b"out").is_err());
        drop(tree);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "what was begun is removed");
        // What has the name stays, be it a link that leads nowhere.
        symlink("nowhere", dir.path().join("tree")).unwrap();
        assert!(matches!(NewTree::create(&dir.path().join("tree")), Err(NewFileError::Exists { .. })));
    }
}
