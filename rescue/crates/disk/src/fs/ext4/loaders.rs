//! Files that boot loaders write in place, below the file system and with no trace in its records.

use super::inode::Inode;
use super::reader::Reader;
use super::tree;
use crate::fs::FsError;
use model::inspection::FileKind;
use std::sync::Arc;

/// Where they are looked for: `/boot` of a root, or a file system that is mounted there.
const DIRECTORIES: [&str; 2] = ["boot/", ""];
/// GRUB's environment block, which `save_env` writes at each start on many machines (`grub-core/commands/loadenv.c`); `ldlinux.sys`,
/// in which EXTLINUX keeps what is to be started once (its ADV); LILO's map, with the command line for the next start.
const NAMES: [&str; 7] =
    ["grub/grubenv", "grub2/grubenv", "extlinux/ldlinux.sys", "syslinux/ldlinux.sys", "ldlinux.sys", "map", ".map"];
/// The length that `grub-editenv` gives every environment block (`DEFAULT_ENVBLK_SIZE`): one that is kept elsewhere has it too.
const ENVIRONMENT: u64 = 1024;

/// Those that are where distributions keep them. Only the directories on the way are read.
///
/// # Errors
/// [`FsError`] where a way there cannot be read.
pub(super) fn loaders(reader: &Arc<Reader>) -> Result<Vec<Inode>, FsError> {
    let paths = DIRECTORIES.iter().flat_map(|dir| NAMES.iter().map(move |name| format!("{dir}{name}")));
    let mut found: Vec<Inode> = Vec::new();
    for path in paths {
        // A link leads to what is written: to another file system on some, and then to nothing here.
        let file = match tree::find(reader, path.as_bytes(), true) {
            Ok(file) => file.map(|f| f.inode).filter(|i| i.kind == FileKind::File),
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
