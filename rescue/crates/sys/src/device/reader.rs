//! The bytes of an open disk.

use crate::block;
use crate::uncached::Uncached;
use model::inspection::Hardware;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// Reads of so many bytes and more go past the page cache: a capture reads once what it reads, copying every byte through
/// the cache costs as much as hashing it, and a small machine's memory is needed for other things.
const LARGE: u64 = 64 << 10;

/// The bytes of a disk or image file through a descriptor, read by position.
#[derive(Debug)]
pub struct DiskBytes {
    file: File,
    size: ByteLen,
    /// `None` where nothing can be opened any more.
    uncached: Option<Uncached>,
    /// The device was writable before we made it read-only: put back when the last user is gone.
    made_read_only: bool,
}

impl Drop for DiskBytes {
    fn drop(&mut self) {
        if self.made_read_only {
            // Nothing can be done about a failure: the disk is gone.
            let _ = block::set_read_only(&self.file, false);
        }
    }
}

impl DiskBytes {
    pub(super) fn new(file: File, hardware: &Hardware, made_read_only: bool) -> Self {
        Self { file, size: hardware.size, uncached: Some(Uncached::new(hardware.sector)), made_read_only }
    }

    /// The bytes behind an inherited descriptor: how the parser role, which cannot open anything, reads a disk. Its
    /// size is where the end can be sought (a block device tells it so too).
    ///
    /// # Errors
    /// What the system says of a descriptor that cannot be sought.
    pub fn from_descriptor(fd: OwnedFd) -> io::Result<Self> {
        let mut file = File::from(fd);
        let size = ByteLen(file.seek(SeekFrom::End(0))?);
        Ok(Self { file, size, uncached: None, made_read_only: false })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for DiskBytes {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size)?;
        let len = buf.len() as u64;
        let past = self.uncached.as_ref().filter(|_| len >= LARGE).and_then(|d| d.read_exact_at(&self.file, at.0, buf));
        past.unwrap_or_else(|| self.file.read_exact_at(buf, at.0)).map_err(|source| ReadError::Io {
            at: at.0,
            len,
            source,
        })
    }
}
