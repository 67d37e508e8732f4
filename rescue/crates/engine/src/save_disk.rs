//! The files of a store on a save disk.

use model::units::SectorSize;
use std::fs::File;
use std::io;
use std::sync::Arc;
use store::backend::{Files, OpenFile, SystemFiles};
use sys::uncached::Uncached;

/// Reads of so many bytes and more go past the page cache: whole packs, which are read once. What is shorter (frames of a
/// rollback, nodes, records) gains from what the system reads ahead.
const LONG: usize = 1 << 20;

/// The files of this system, long reads past the page cache.
pub(crate) fn files() -> Arc<dyn Files> {
    Arc::new(SystemFiles::read_by(|file| Box::new(Packed { file, uncached: Uncached::new(SectorSize(4096)) })))
}

/// A file that is read.
struct Packed {
    file: File,
    uncached: Uncached,
}

impl OpenFile for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        OpenFile::write(&mut self.file, bytes)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if buf.len() >= LONG
            && let Some(Ok(())) = self.uncached.read_exact_at(&self.file, at, buf)
        {
            return Ok(buf.len());
        }
        // Where it failed, the plain read says why, or gives what there is.
        OpenFile::read_at(&self.file, buf, at)
    }

    fn len(&self) -> io::Result<u64> {
        OpenFile::len(&self.file)
    }

    fn sync(&self) -> io::Result<()> {
        OpenFile::sync(&self.file)
    }

    fn forget(&self) {
        self.file.forget();
    }
}
