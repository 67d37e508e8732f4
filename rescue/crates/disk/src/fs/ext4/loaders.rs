//! Files that boot loaders write in place, below the file system and with no trace in its records.

use super::inode::Inode;
use super::reader::Reader;
use crate::fs::{FsError, loaders, way};
use model::inspection::FileKind;
use std::sync::Arc;

/// The length that `grub-editenv` gives every environment block (`DEFAULT_ENVBLK_SIZE`): one that is kept elsewhere has it too.
const ENVIRONMENT: u64 = 1024;

/// Those that are where distributions keep them. Only the directories on the way are read.
///
/// # Errors
/// [`FsError`] where a way there cannot be read.
pub(super) fn loaders(reader: &Arc<Reader>) -> Result<Vec<Inode>, FsError> {
    let mut found: Vec<Inode> = Vec::new();
    for path in loaders::paths() {
        // A link leads to what is written: to another file system on some, and then to nothing here.
        let file = match way::find(reader, path.as_bytes(), true) {
            Ok(file) => file.map(|f| f.file).filter(|i| i.kind == FileKind::File),
            // No boot loader has the keys of what is encrypted.
            Err(FsError::Incompatible(_)) => None,
            Err(e) => return Err(e),
        };
        found.extend(file.filter(|file| found.iter().all(|f| f.number != file.number)));
    }
    Ok(found)
}

/// True for a file that may be an environment block, wherever it lies.
pub(super) fn may_be_environment(inode: &Inode) -> bool {
    inode.kind == FileKind::File && inode.size == ENVIRONMENT
}
