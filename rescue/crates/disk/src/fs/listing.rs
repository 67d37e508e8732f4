//! Listings: what stands in a directory, as far as the directory and the inodes tell.

use super::FsError;
use model::files::{FileId, Named};
use model::inspection::{FileKind, ListedFile};
use model::text::RawName;
use model::units::ByteLen;

/// What a directory says that something is; a file where it does not say. ext4 (`EXT4_FT_REG_FILE` and on), XFS (`XFS_DIR3_FT_REG_FILE`)
/// and btrfs (`BTRFS_FT_REG_FILE`) have the same numbers.
pub(super) fn kind_said(file_type: u8) -> FileKind {
    match file_type {
        0 | 1 => FileKind::File,
        2 => FileKind::Directory,
        7 => FileKind::Symlink,
        _ => FileKind::Special,
    }
}

/// What stands under a name whose inode is damaged, as far as the directory knows it.
pub(super) fn damaged(name: &[u8], file_type: u8) -> ListedFile {
    ListedFile { name: RawName(name.to_vec()), kind: kind_said(file_type), size: ByteLen::ZERO, modified: None }
}

/// Names and the inodes they lead to, with all that is kept of each; one whose inode is damaged without it. Names may lie in any order:
/// inodes are read in that in which they lie.
pub(super) fn named(entries: &[(Vec<u8>, u64)], read: impl Fn(&[u8], u64) -> Result<Named, FsError>) -> Vec<Named> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|n| entries[*n].1);
    let bare =
        |(name, inode): &(Vec<u8>, u64)| Named { name: RawName(name.clone()), file: FileId(*inode), attributes: None };
    let mut out: Vec<Named> = entries.iter().map(bare).collect();
    for n in order {
        let (name, inode) = &entries[n];
        if let Ok(found) = read(name, *inode) {
            out[n] = found;
        }
    }
    out
}
