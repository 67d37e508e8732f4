//! What the engine tells the process that has a volume mounted, and what that answers: frames on a socket, one order at a time.

use serde::{Deserialize, Serialize};
use std::io;
use sys::new_tree::Marks;

/// Longest order: a path of names, attributes of a file.
pub(super) const MOST_ORDER: usize = 32 << 20;
/// Most bytes that are written by one order.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// The directory that is there from the start: the root of the volume.
pub(super) const ROOT: u32 = 0;

/// What is to be done. Directories and files are numbered by whoever has them open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Make a block device of the file that is served, and mount it.
    Mount {
        /// To make it larger: what is added may be left for the kernel to fill in later.
        grows: bool,
    },
    /// Let the file system grow to so many bytes.
    Grow(u64),
    /// Open a directory that stands there.
    Existing(u32, Vec<u8>),
    /// Remove whatever has this name.
    Clear(u32, Vec<u8>),
    /// Make a directory.
    Dir(u32, Vec<u8>),
    /// Make a regular file.
    File(u32, Vec<u8>),
    /// Give a file its length.
    SetLen(u32, u64),
    /// Write the bytes of the second frame into a file.
    Write(u32, u64),
    /// Mark a directory or file.
    Mark(u32, Given),
    /// Make a symbolic link.
    Symlink(u32, Vec<u8>, Vec<u8>, Given),
    /// Make a pipe, a socket or a device: name, mode with its type, device.
    Special(u32, Vec<u8>, u32, (u32, u32), Given),
    /// Give what was made at a path below a directory another name in another.
    Link(u32, Vec<Vec<u8>>, u32, Vec<u8>),
    /// Remove a file.
    Remove(u32, Vec<u8>),
    /// Close a directory or file.
    Close(u32),
    /// Make everything durable, and unmount.
    End,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// It was done.
    Done,
    /// Something is open under this number.
    Opened(u32),
    /// It was not done: the system's number where it has one, and a sentence.
    Failed(Option<i32>, String),
}

impl Answer {
    pub(super) fn failed(e: &io::Error) -> Self {
        Self::Failed(e.raw_os_error(), e.to_string())
    }
}

/// [`Marks`] on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Given {
    owners: Option<(u32, u32)>,
    mode: u32,
    times: Option<(i64, i64)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    flags: u32,
}

impl From<&Marks> for Given {
    fn from(marks: &Marks) -> Self {
        let Marks { owners, mode, times, xattrs, flags } = marks.clone();
        Self { owners, mode, times, xattrs, flags }
    }
}

impl From<Given> for Marks {
    fn from(given: Given) -> Self {
        let Given { owners, mode, times, xattrs, flags } = given;
        Self { owners, mode, times, xattrs, flags }
    }
}
