//! The content of an inode: what holes and unwritten blocks hide, and what lies in the inode itself.

use super::inode::Inode;
use super::map::look_up;
use super::reader::Reader;
use crate::fs::FsError;
use model::inspection::FileKind;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::io;
use std::sync::Arc;

/// An inode's content, readable by position.
pub(super) struct File {
    reader: Arc<Reader>,
    inode: Inode,
    inline: Option<Vec<u8>>,
}

impl File {
    /// Opens the content of an inode that has one: a file, a directory, a symbolic link.
    ///
    /// # Errors
    /// [`FsError::Incompatible`] where it is encrypted; [`FsError::Corrupt`] where inline data does not hold together.
    pub(super) fn open(reader: Arc<Reader>, inode: Inode) -> Result<Self, FsError> {
        if inode.is_encrypted() {
            return Err(FsError::Incompatible(format!("inode {} is encrypted, and its key is not here", inode.number)));
        }
        let inline = if inode.is_fast_symlink() {
            Some(inode.block().to_vec())
        } else if inode.is_inline() {
            let (head, tail) = inode.inline_parts()?;
            Some([head, tail].concat())
        } else {
            None
        };
        // In a file, what is said beyond the inline bytes reads as zeros, as behind any hole.
        if inode.kind != FileKind::File && inline.as_ref().is_some_and(|b| inode.size > b.len() as u64) {
            return Err(FsError::Corrupt(format!("inode {} says it holds {} bytes", inode.number, inode.size)));
        }
        Ok(Self { reader, inode, inline })
    }

    /// Reads what lies within one block or run, from byte `at`; gives how much was read. `buf` is not empty.
    fn read_some(&self, at: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        if let Some(bytes) = &self.inline {
            let there = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
            let n = there.len().min(buf.len());
            buf[..n].copy_from_slice(&there[..n]);
            buf[n..].fill(0);
            return Ok(buf.len());
        }
        let block_size = u64::from(self.reader.sb.block_size);
        let run = look_up(&self.reader, &self.inode, at / block_size)?;
        let within = at % block_size;
        let n = run.len.saturating_mul(block_size) - within;
        let n = usize::try_from(n).unwrap_or(usize::MAX).min(buf.len());
        match run.at {
            None => buf[..n].fill(0),
            Some(block) => {
                let place = ByteOffset(self.reader.place(block)?.0 + within);
                self.reader.bytes().read_exact_at(place, &mut buf[..n])?;
            }
        }
        Ok(n)
    }
}

impl ReadAt for File {
    fn size(&self) -> ByteLen {
        ByteLen(self.inode.size)
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        let mut done = 0;
        while done < buf.len() {
            done += self.read_some(at.0 + done as u64, &mut buf[done..]).map_err(|e| match e {
                FsError::Io(e) => e,
                other => ReadError::Io {
                    at: at.0,
                    len: buf.len() as u64,
                    source: io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
                },
            })?;
        }
        Ok(())
    }
}
