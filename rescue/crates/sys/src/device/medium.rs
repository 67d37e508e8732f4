//! Writing a range of an open descriptor, making it durable, and reading it back from the medium.

use crate::block;
use crate::uncached::{PAGE, Uncached};
use model::ports::WriteError;
use model::units::{ByteLen, ByteOffset, Extent, SectorSize};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A range of a descriptor that may be written.
#[derive(Debug)]
pub(super) struct Medium {
    file: Arc<File>,
    /// The range, as `file` addresses it.
    within: Extent,
    uncached: Uncached,
    poisoned: bool,
}

impl Medium {
    /// `sector` is the logical sector size.
    pub(super) fn new(file: Arc<File>, within: Extent, sector: SectorSize) -> Self {
        Self { file, within, uncached: Uncached::new(sector), poisoned: false }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// True where nobody else shares the descriptor.
    pub(super) fn is_last(&self) -> bool {
        Arc::strong_count(&self.file) == 1
    }

    pub(super) fn size(&self) -> ByteLen {
        self.within.len()
    }

    /// The position of `at` in the descriptor.
    fn position(&self, what: &'static str, at: ByteOffset, len: usize) -> Result<u64, WriteError> {
        let (size, len) = (self.within.len().0, len as u64);
        match at.0.checked_add(len) {
            _ if self.poisoned => {
                let source = io::Error::other("an earlier sync failed; nothing more is written or believed");
                Err(WriteError::Io { what, at: at.0, source })
            }
            Some(end) if end <= size => Ok(self.within.start().0 + at.0),
            _ => Err(WriteError::OutOfRange { at: at.0, len, size }),
        }
    }

    pub(super) fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError> {
        let position = self.position("write", at, bytes.len())?;
        self.file.write_all_at(bytes, position).map_err(|source| WriteError::Io { what: "write", at: at.0, source })
    }

    /// After a failure the kernel has marked the pages clean: a second sync would succeed and prove nothing.
    pub(super) fn sync(&mut self) -> Result<(), WriteError> {
        self.position("sync", ByteOffset(0), 0)?;
        self.file.sync_all().map_err(|source| {
            self.poisoned = true;
            WriteError::Io { what: "sync", at: 0, source }
        })
    }

    pub(super) fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        let position = self.position("read back", at, buf.len())?;
        let failed = |source| WriteError::Io { what: "read back", at: at.0, source };
        if let Some(read) = self.uncached.read_exact_at(&self.file, position, buf) {
            return read.map_err(failed);
        }
        // Sync, drop, read: clean pages that nobody maps are dropped.
        self.sync()?;
        let first = position / PAGE as u64 * PAGE as u64;
        let end = (position + buf.len() as u64).next_multiple_of(PAGE as u64);
        if let Some(pages) = Extent::between(first, end) {
            block::drop_cache(&*self.file, pages).map_err(failed)?;
        }
        self.file.read_exact_at(buf, position).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn a_failed_sync_poisons() {
        // fsync(2) of a pipe is refused (EINVAL): the cheapest failing sync there is.
        let (_reader, writer) = io::pipe().unwrap();
        let file = Arc::new(File::from(OwnedFd::from(writer)));
        let mut m = Medium::new(file, Extent::whole(ByteLen(4096)), SectorSize::B512);
        assert!(matches!(m.sync(), Err(WriteError::Io { what: "sync", .. })));
        let said = m.write_all_at(ByteOffset(0), b"x").unwrap_err().to_string();
        assert!(said.contains("an earlier sync failed"), "{said}");
        assert!(m.sync().is_err());
        assert!(m.read_back(ByteOffset(0), &mut [0]).is_err());
    }

    #[test]
    fn direct_reads_of_any_range_agree_with_the_cache() {
        let file = tempfile::tempfile_in(".").unwrap();
        let bytes: Vec<u8> = (0..3_000_123u32).map(|i| (i % 251) as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        let mut m = Medium::new(Arc::new(file), Extent::between(100, 3_000_123).unwrap(), SectorSize::B512);
        for (at, len) in
            [(0, 1), (0, 3_000_023), (411, 513), (3_996, 2), (1_048_000, 1_500_000), (3_000_022, 1), (5, 0)]
        {
            let mut buf = vec![0; len];
            m.read_back(ByteOffset(at as u64), &mut buf).unwrap();
            assert!(buf == bytes[100 + at..100 + at + len], "{len} bytes at {at}");
        }
        assert!(matches!(m.read_back(ByteOffset(3_000_023), &mut [0]), Err(WriteError::OutOfRange { .. })));
        // Past the cache: the fall-back gives the same.
        m.uncached.refuse();
        let mut buf = vec![0; 70_000];
        m.read_back(ByteOffset(33), &mut buf).unwrap();
        assert!(buf == bytes[133..70_133]);
    }
}
