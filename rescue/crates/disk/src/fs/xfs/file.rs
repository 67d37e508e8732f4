//! The content of a regular file: what holes and unwritten blocks hide reads as zeros.

use super::inode::Inode;
use super::map::look_up;
use super::reader::Reader;
use crate::fs::FsError;
use model::inspection::FileKind;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::io;
use std::sync::Arc;

/// A file's content, readable by position.
pub(super) struct File {
    reader: Arc<Reader>,
    inode: Inode,
}

impl File {
    /// Opens the content of a regular file.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it is none; [`FsError::Incompatible`] where it lies on another device.
    pub(super) fn open(reader: Arc<Reader>, inode: Inode) -> Result<Self, FsError> {
        check(&inode)?;
        Ok(Self { reader, inode })
    }

    /// Reads what lies within one run, from byte `at`; gives how much was read. `buf` is not empty.
    fn read_some(&self, at: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        let block_size = u64::from(self.reader.sb.block_size);
        let run = look_up(&self.reader, self.inode.data(), at / block_size)?;
        let within = at % block_size;
        let n = run.len.saturating_mul(block_size) - within;
        let n = usize::try_from(n).unwrap_or(usize::MAX).min(buf.len());
        match run.at {
            None => buf[..n].fill(0),
            Some(block) => {
                let place = ByteOffset(self.reader.place(block, run.len)?.0 + within);
                self.reader.bytes().read_exact_at(place, &mut buf[..n])?;
            }
        }
        Ok(n)
    }
}

/// That an inode is a regular file whose content lies on this volume.
///
/// # Errors
/// As [`File::open`].
pub(super) fn check(inode: &Inode) -> Result<(), FsError> {
    if inode.kind != FileKind::File {
        return Err(FsError::Corrupt(format!("inode {} is no regular file", inode.number)));
    }
    if inode.is_realtime() {
        return Err(FsError::Incompatible(format!("inode {} lies on a realtime device", inode.number)));
    }
    Ok(())
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
