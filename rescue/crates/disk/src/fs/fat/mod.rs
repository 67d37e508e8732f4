//! FAT12, FAT16 and FAT32.

use super::{FileSystem, FsError};
use model::coverage::{CaptureMethod, Coverage};
use model::inspection::{FatInfo, ListedFile};
use model::ports::ReadAt;
use model::units::Extent;
use std::sync::Arc;

/// The facts of a FAT file system, or `None` where there is no FAT boot sector.
///
/// # Errors
/// [`FsError::Corrupt`] where it is one, but its numbers do not hold together.
pub fn identify(_bytes: &Arc<dyn ReadAt>) -> Result<Option<FatInfo>, FsError> {
    Ok(None)
}

/// A FAT file system, opened.
pub struct Fat {
    bytes: Arc<dyn ReadAt>,
}

impl Fat {
    /// Opens it.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together.
    pub fn load(bytes: Arc<dyn ReadAt>) -> Result<Self, FsError> {
        Ok(Self { bytes })
    }
}

impl FileSystem for Fat {
    fn stat(&self, _path: &[u8]) -> Result<Option<ListedFile>, FsError> {
        Ok(None)
    }
    fn read_dir(&self, _path: &[u8], _most: usize) -> Result<Vec<ListedFile>, FsError> {
        Ok(vec![])
    }
    fn open(&self, _path: &[u8]) -> Result<Option<Box<dyn ReadAt>>, FsError> {
        Ok(None)
    }
    fn read_link(&self, _path: &[u8]) -> Result<Option<Vec<u8>>, FsError> {
        Ok(None)
    }
    fn coverage(&self) -> Coverage {
        Coverage {
            method: CaptureMethod::Raw,
            why: "vfat".into(),
            used: [Extent::whole(self.bytes.size())].into_iter().collect(),
        }
    }
}
