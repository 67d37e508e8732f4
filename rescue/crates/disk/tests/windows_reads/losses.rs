//! What lies in bytes that are lost: files by their names, directories, the file systems' own structures.

use crate::tools::{fixture, identify, open};
use disk::fs::{self, FileSystem};
use model::files::{Layout, LostFiles};
use model::inspection::FileKind;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::io;
use std::sync::Arc;

/// An image of which some bytes cannot be read.
struct Holed(Arc<dyn ReadAt>, ExtentSet);

impl ReadAt for Holed {
    fn size(&self) -> ByteLen {
        self.0.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        let wanted = Extent::new(at, ByteLen(buf.len() as u64)).unwrap();
        if self.1.meets(wanted) {
            return Err(ReadError::Io { at: at.0, len: wanted.len().0, source: io::Error::other("lost") });
        }
        self.0.read_exact_at(at, buf)
    }
}

fn losses(bytes: &Arc<dyn ReadAt>, lost: Extent) -> LostFiles {
    let lost: ExtentSet = [lost].into_iter().collect();
    let holed: Arc<dyn ReadAt> = Arc::new(Holed(bytes.clone(), lost.clone()));
    fs::losses(&identify(bytes).0, holed, &lost).unwrap()
}

/// A byte range in the middle of a file.
fn inside(fs: &dyn FileSystem, path: &str) -> Extent {
    let file = fs.find(path.as_bytes()).unwrap().unwrap().file;
    let Layout::Pieces { pieces, .. } = fs.layout(file, ByteOffset(50_000), 1).unwrap() else { panic!("{path}") };
    Extent::new(pieces[0].1.start(), ByteLen(512)).unwrap()
}

#[test]
fn a_lost_file_is_named() {
    for name in ["exfat", "ntfs", "ntfs-large"] {
        let bytes = fixture(name);
        let found = losses(&bytes, inside(&*open(&bytes), "/Documents/large.bin"));
        let paths: Vec<String> = found.paths.iter().map(|p| p.path.display().as_str().to_owned()).collect();
        assert_eq!(paths, ["/Documents/large.bin"], "{name}: {found:?}");
        assert_eq!((found.count, found.metadata, found.unclaimed.0, found.unseen), (1, false, 0, None), "{name}");
    }
}

#[test]
fn what_is_free_belongs_to_nothing() {
    for name in ["exfat", "ntfs"] {
        let bytes = fixture(name);
        let free = open(&bytes).coverage().used.gaps(Extent::whole(bytes.size()));
        let gap = free.iter().max_by_key(|e| e.len()).unwrap();
        let found = losses(&bytes, Extent::new(gap.start(), ByteLen(4096)).unwrap());
        assert_eq!((found.count, found.metadata, found.unclaimed.0), (0, false, 4096), "{name}: {found:?}");
    }
}

#[test]
fn lost_structures_are_told() {
    // The allocation table of an exFAT; the log of an NTFS is its journal.
    let exfat = losses(&fixture("exfat"), Extent::between(2048 * 512 + 8192, 2048 * 512 + 8704).unwrap());
    assert!(exfat.metadata && exfat.count == 0, "{exfat:?}");
    let ntfs = losses(&fixture("ntfs"), Extent::between(0xc00 * 4096 + 65_536, 0xc00 * 4096 + 66_048).unwrap());
    assert!(ntfs.journal && !ntfs.metadata && ntfs.count == 0, "{ntfs:?}");
}

#[test]
fn a_file_whose_record_is_lost_still_has_a_name() {
    let bytes = fixture("ntfs");
    let fs = open(&bytes);
    let number = fs.find(b"/Documents/large.bin").unwrap().unwrap().file.0;
    // The MFT begins in cluster 4, and its first part is longer than that.
    let at = 4 * 4096 + number * 1024;
    let found = losses(&bytes, Extent::between(at, at + 512).unwrap());
    let named = found.paths.iter().find(|p| p.path.0 == b"/Documents/large.bin").unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(named.kind, FileKind::File);
}
