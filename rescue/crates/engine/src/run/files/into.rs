//! What files are put into: a tree that this process makes, or one that another process has.

use model::units::{ByteLen, ByteOffset};
use std::io;
use sys::new_tree::{Dir, Marks, NewEntry};

/// A directory that things are made in; the errors are the system's.
pub(in crate::run) trait MakeIn: Sized {
    /// A regular file that was made.
    type File: Filled;

    /// Makes a directory in it.
    fn dir(&self, name: &[u8]) -> io::Result<Self>;

    /// Makes a regular file in it.
    fn file(&self, name: &[u8]) -> io::Result<Self::File>;

    /// Makes a symbolic link in it.
    fn symlink(&self, name: &[u8], target: &[u8], marks: &Marks) -> io::Result<()>;

    /// Makes a pipe, a socket or a device in it.
    fn special(&self, name: &[u8], mode: u32, device: (u32, u32), marks: &Marks) -> io::Result<()>;

    /// Gives something that was made at `path`, seen from here, another name in `dir`.
    fn link(&self, path: &[Vec<u8>], dir: &Self, name: &[u8]) -> io::Result<()>;

    /// Removes a file from it.
    fn remove(&self, name: &[u8]) -> io::Result<()>;

    /// Marks it, after everything was made in it.
    fn mark(&self, marks: &Marks) -> io::Result<()>;
}

/// A regular file that is being filled; the errors are the system's.
pub(in crate::run) trait Filled {
    /// Gives it a length.
    fn set_len(&self, len: ByteLen) -> io::Result<()>;

    /// Writes all of `bytes` at `at`.
    fn write_all_at(&self, at: ByteOffset, bytes: &[u8]) -> io::Result<()>;

    /// Marks it.
    fn mark(&self, marks: &Marks) -> io::Result<()>;
}

impl MakeIn for Dir {
    type File = NewEntry;

    fn dir(&self, name: &[u8]) -> io::Result<Self> {
        Self::dir(self, name)
    }

    fn file(&self, name: &[u8]) -> io::Result<NewEntry> {
        Self::file(self, name)
    }

    fn symlink(&self, name: &[u8], target: &[u8], marks: &Marks) -> io::Result<()> {
        Self::symlink(self, name, target, marks)
    }

    fn special(&self, name: &[u8], mode: u32, device: (u32, u32), marks: &Marks) -> io::Result<()> {
        Self::special(self, name, mode, device, marks)
    }

    fn link(&self, path: &[Vec<u8>], dir: &Self, name: &[u8]) -> io::Result<()> {
        Self::link(self, path, dir, name)
    }

    fn remove(&self, name: &[u8]) -> io::Result<()> {
        Self::remove(self, name)
    }

    fn mark(&self, marks: &Marks) -> io::Result<()> {
        Self::mark(self, marks)
    }
}

impl Filled for NewEntry {
    fn set_len(&self, len: ByteLen) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn write_all_at(&self, at: ByteOffset, bytes: &[u8]) -> io::Result<()> {
        Self::write_all_at(self, at, bytes)
    }

    fn mark(&self, marks: &Marks) -> io::Result<()> {
        Self::mark(self, marks)
    }
}
