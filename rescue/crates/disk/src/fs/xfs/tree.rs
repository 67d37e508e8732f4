//! How paths lead to inodes.

use super::dir;
use super::inode::{Fork, Inode};
use super::map::look_up;
use super::raw::from;
use super::reader::{Mark, Reader};
use crate::fs::FsError;
use crate::fs::way::Directories;
use crate::numbers::be32;
use model::inspection::FileKind;
use std::ops::ControlFlow;

/// `XFS_SYMLINK_MAXLEN`.
const MOST_TARGET: u64 = 1024;
/// `XFS_SYMLINK_MAGIC`, and how long the header of a piece of a target is (`struct xfs_dsymlink_hdr`).
const MAGIC: u32 = 0x5853_4c4d;
const HEADER: usize = 56;
const MARK: Mark = Mark { what: "target of a symbolic link", checksum: 12, uuid: 16, sector: Some(40) };

impl Directories for Reader {
    type File = Inode;

    fn root(&self) -> Result<Inode, FsError> {
        self.inode(self.sb.root)
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

/// The target of a symbolic link: in the inode, or in blocks, where in version 5 every piece has a header (`xfs_symlink_remote_read`).
///
/// # Errors
/// [`FsError::Corrupt`] where it is longer than a target can be, or does not hold together.
pub(super) fn target(reader: &Reader, link: &Inode) -> Result<Vec<u8>, FsError> {
    let bad = |why: &str| FsError::Corrupt(format!("symbolic link inode {}: {why}", link.number));
    if link.size > MOST_TARGET || link.size == 0 {
        return Err(bad(&format!("its target is {} bytes long", link.size)));
    }
    let len = usize::try_from(link.size).unwrap_or(0);
    let fork = link.data();
    if let Fork::Local(bytes) = fork {
        let target = bytes.get(..len).ok_or_else(|| bad("its target is cut off"))?;
        return Ok(target.to_vec());
    }
    let (mut out, mut block) = (Vec::new(), 0);
    while out.len() < len {
        let run = look_up(reader, fork, block)?;
        let at = run.at.ok_or_else(|| bad("its target has a hole"))?;
        let room = run.len.min((MOST_TARGET + HEADER as u64).div_ceil(u64::from(reader.sb.block_size)));
        let place = reader.place(at, room)?;
        let bytes = usize::try_from(room).unwrap_or(1) * reader.block_len();
        let bytes = reader.bytes().read_vec(place, bytes)?;
        let content = if reader.sb.v5 {
            reader.verify(place, &bytes, MARK)?;
            if be32(&bytes, 0) != MAGIC {
                return Err(bad("its target has a wrong magic"));
            }
            from(&bytes, HEADER)
        } else {
            &bytes[..]
        };
        out.extend_from_slice(&content[..content.len().min(len - out.len())]);
        block += run.len;
    }
    Ok(out)
}
