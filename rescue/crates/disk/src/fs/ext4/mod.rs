//! ext2, ext3 and ext4.

use super::{FileSystem, FsError};
use model::coverage::Coverage;
use model::inspection::{ExtInfo, ListedFile};
use model::ports::ReadAt;
use std::sync::Arc;

/// The facts of an ext file system, or `None` where there is no ext magic.
///
/// # Errors
/// [`FsError::Corrupt`] where its superblock does not hold together.
pub fn identify(_bytes: &Arc<dyn ReadAt>) -> Result<Option<ExtInfo>, FsError> {
    Ok(None)
}

/// An ext file system, opened.
pub struct Ext4;

impl Ext4 {
    /// Opens it.
    ///
    /// # Errors
    /// As [`identify`].
    pub fn load(_bytes: Arc<dyn ReadAt>) -> Result<Self, FsError> {
        Err(FsError::Incompatible("not read yet".into()))
    }
}

impl FileSystem for Ext4 {
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
        crate::coverage::raw(model::units::ByteLen::ZERO, "not read yet")
    }
}
