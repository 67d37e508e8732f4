//! Listings by the `ext4-view` crate, where it can load the file system.
//!
//! It reads our view of the volume, with the journal replayed and `needs_recovery` cleared, and gets only paths that are
//! free of symbolic links and lead to a directory of bounded size: so its own journal reader, its unbounded reading of
//! link targets and its extents (which take unwritten blocks for data) never come into play. Its times are not taken: it
//! refuses those before 1970 and looks for their nanoseconds without asking how long the inode is.

use super::reader::Reader;
use crate::fs::FsError;
use ext4_view::{Ext4Read, PathBuf};
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::ByteOffset;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Groups beyond which it is not asked: it reads all descriptors when it loads, one by one (16 TiB of 4 KiB blocks).
const MOST_GROUPS: u32 = 1 << 17;

/// A file system as `ext4-view` sees it.
pub(super) struct Browser(ext4_view::Ext4);

/// A directory entry as `ext4-view` sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: Vec<u8>,
    pub(super) kind: FileKind,
    pub(super) size: u64,
}

struct View(Arc<dyn ReadAt>);

impl Ext4Read for View {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(self.0.read_exact_at(ByteOffset(start_byte), dst)?)
    }
}

impl Browser {
    /// Loads a file system; `None` where the crate does not read this kind.
    pub(super) fn load(reader: &Reader) -> Option<Self> {
        if reader.sb.groups > MOST_GROUPS {
            return None;
        }
        let view = Box::new(View(reader.bytes().clone()));
        catch_unwind(AssertUnwindSafe(|| ext4_view::Ext4::load(view))).ok()?.ok().map(Self)
    }

    /// The first `most` entries of the directory at `names`, without `.` and `..`.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where the crate does not read it, or panicked.
    pub(super) fn list(&self, names: &[Vec<u8>], most: usize) -> Result<Vec<Seen>, FsError> {
        let mut path = vec![b'/'];
        path.extend_from_slice(&names.join(&b'/'));
        let listing = catch_unwind(AssertUnwindSafe(|| self.entries(path, most)));
        match listing {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(e)) => Err(FsError::Corrupt(format!("ext4-view: {e}"))),
            Err(_) => Err(FsError::Corrupt("ext4-view panicked".to_owned())),
        }
    }

    fn entries(&self, path: Vec<u8>, most: usize) -> Result<Vec<Seen>, ext4_view::Ext4Error> {
        let path = PathBuf::try_from(path).map_err(|_| ext4_view::Ext4Error::MalformedPath)?;
        let mut seen = Vec::new();
        for entry in self.0.read_dir(&path)? {
            if seen.len() >= most {
                break;
            }
            let entry = entry?;
            let name = entry.file_name();
            if name == "." || name == ".." {
                continue;
            }
            let metadata = entry.metadata()?;
            let kind = if metadata.file_type().is_regular_file() {
                FileKind::File
            } else if metadata.is_dir() {
                FileKind::Directory
            } else if metadata.is_symlink() {
                FileKind::Symlink
            } else {
                FileKind::Special
            };
            seen.push(Seen { name: name.as_ref().to_vec(), kind, size: metadata.len() });
        }
        Ok(seen)
    }
}
