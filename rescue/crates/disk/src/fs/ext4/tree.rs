//! How paths lead to inodes.

use super::dir;
use super::file::File;
use super::inode::Inode;
use super::reader::Reader;
use crate::fs::FsError;
use crate::fs::way::Directories;
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The inode of `/`.
pub(super) const ROOT: u32 = 2;
/// `PATH_MAX`.
const MOST_TARGET: u64 = 4096;

impl Directories for Arc<Reader> {
    type File = Inode;

    fn root(&self) -> Result<Inode, FsError> {
        self.inode(ROOT)
    }

    fn kind(inode: &Inode) -> FileKind {
        inode.kind
    }

    fn look_up(&self, dir: &Inode, name: &[u8]) -> Result<Option<Inode>, FsError> {
        let mut found = None;
        dir::each(self, dir, &mut |entry| {
            if entry.name != name {
                return ControlFlow::Continue(());
            }
            found = Some(entry.inode);
            ControlFlow::Break(())
        })?;
        found.map(|number| self.inode(number)).transpose()
    }

    fn target(&self, link: &Inode) -> Result<Vec<u8>, FsError> {
        target(self, link)
    }
}

/// The target of a symbolic link.
///
/// # Errors
/// [`FsError::Corrupt`] where it is longer than a path can be; else as reading its content.
pub(super) fn target(reader: &Arc<Reader>, link: &Inode) -> Result<Vec<u8>, FsError> {
    if link.size > MOST_TARGET {
        return Err(FsError::Corrupt(format!(
            "the target of symbolic link inode {} is {} bytes long",
            link.number, link.size
        )));
    }
    let len = ByteLen(link.size).to_usize().unwrap_or(0);
    Ok(File::open(reader.clone(), link.clone())?.read_vec(ByteOffset(0), len)?)
}
