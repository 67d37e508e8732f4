//! Trees: everything that the driver which wrote an image showed of it.

use crate::tools::{FIXTURES, fixture, open, unpacked};
use disk::fs::{FileSystem, Two};
use model::differences::ComparedBy;
use model::files::{FileId, Layout, Named};
use model::id::Digest;
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent};
use std::sync::Arc;

/// The content of a file, put together from where its layout says that it lies.
fn laid_out(fs: &dyn FileSystem, bytes: &Arc<dyn ReadAt>, file: FileId, size: u64) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(size).unwrap()];
    let mut at = ByteOffset(0);
    while at.0 < size {
        let mut put = |from: ByteOffset, part: &[u8]| {
            let from = usize::try_from(from.0).unwrap();
            out[from..from + part.len()].copy_from_slice(part);
        };
        let end = match fs.layout(file, at, 7).unwrap() {
            Layout::Within(all) => {
                put(ByteOffset(0), &all.0);
                ByteOffset(size)
            }
            Layout::Pieces { pieces, end } => {
                let whole = Extent::whole(bytes.size());
                assert!(pieces.iter().all(|(_, piece)| whole.contains(*piece)));
                for (from, piece) in pieces {
                    put(from, &bytes.read_vec(piece.start(), piece.len().to_usize().unwrap()).unwrap());
                }
                end
            }
            Layout::Unpacked { from, bytes, end } => {
                put(from, &bytes.0);
                end
            }
        };
        assert!(end > at, "{file:?} does not get on at {at}");
        at = end;
    }
    out
}

/// A line as the script beside the fixtures writes it.
fn line(fs: &dyn FileSystem, bytes: &Arc<dyn ReadAt>, path: &str, entry: &Named) -> String {
    let a = entry.attributes.as_ref().unwrap_or_else(|| panic!("{path} is damaged"));
    let (kind, size, what) = match a.kind {
        FileKind::Directory => ("d", 0, "-".to_owned()),
        FileKind::Symlink => ("l", 0, String::from_utf8(a.target.clone().unwrap().0).unwrap()),
        FileKind::File | FileKind::Special => {
            let file = fs.open(path.as_bytes()).unwrap().unwrap();
            let content = file.read_vec(ByteOffset(0), file.size().to_usize().unwrap()).unwrap();
            assert!(laid_out(fs, bytes, entry.file, a.size.0) == content, "{path}");
            ("f", a.size.0, Digest::of(&content).to_string())
        }
    };
    format!("{path}\t{kind}\t{size}\t{}\t{what}", a.modified.unwrap())
}

fn tree(fs: &dyn FileSystem, bytes: &Arc<dyn ReadAt>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut ahead = vec![(fs.find(b"/").unwrap().unwrap().file, String::new())];
    while let Some((dir, path)) = ahead.pop() {
        let mut skip = 0;
        loop {
            let some = fs.list(dir, skip, 100).unwrap();
            skip += some.len();
            for entry in &some {
                let path = format!("{path}/{}", String::from_utf8(entry.name.0.clone()).unwrap());
                lines.push(line(fs, bytes, &path, entry));
                if entry.attributes.as_ref().unwrap().kind == FileKind::Directory {
                    ahead.push((entry.file, path));
                }
            }
            if some.len() < 100 {
                break;
            }
        }
    }
    lines.sort();
    lines
}

#[test]
fn trees_are_what_their_drivers_showed() {
    for (name, _) in FIXTURES {
        let bytes = fixture(name);
        let fs = open(&bytes);
        let theirs = String::from_utf8(unpacked(&format!("{name}.list.zst"))).unwrap();
        let mut theirs: Vec<&str> = theirs.lines().collect();
        theirs.sort_unstable();
        let ours = tree(&*fs, &bytes);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{name}");
        }
        assert_eq!(ours.len(), theirs.len(), "{name}");
        assert!(ours.len() > 300, "{name}");
    }
}

#[test]
fn names_are_found_without_regard_to_case() {
    for (name, _) in FIXTURES {
        let fs = open(&fixture(name));
        let upper = fs.stat("/DOCUMENTS/deep/ER/down/FILE".as_bytes()).unwrap().unwrap();
        assert_eq!((upper.kind, upper.size.0), (FileKind::File, 7000), "{name}");
        // Folded by the table of the volume, which knows more than ASCII.
        assert!(fs.stat("/\u{fc}BERGR\u{d6}\u{df}ENTR\u{e4}ger.TXT".as_bytes()).unwrap().is_some(), "{name}");
        for nowhere in ["/none", "/Documents/none", "/small.txt/x", "/Documents/../small.txt/.."] {
            assert!(fs.stat(nowhere.as_bytes()).unwrap().is_none_or(|f| f.kind == FileKind::Directory), "{nowhere}");
        }
        assert!(fs.open(b"/Documents").unwrap().is_none(), "a directory is no file");
        crate::contract::listings(&*fs, "/many", "/small.txt");
        assert_eq!(fs.select(b"/many", 10_000, &|n| n.ends_with(b"number 1")).unwrap().len(), 1, "{name}");
    }
}

#[test]
fn two_states_are_told_apart_by_their_names() {
    for name in ["exfat", "ntfs"] {
        let bytes = fixture(name);
        let content = crate::tools::identify(&bytes).0;
        let two = Two::open((&content, bytes.clone()), (&content, bytes.clone())).unwrap();
        let found = two.differences(&[], false).unwrap();
        assert_eq!((found.by, found.counts.created.count), (ComparedBy::Names, 0), "{name}");
        assert_eq!((found.counts.deleted.count, found.counts.changed.count), (0, 0), "{name}: {found:?}");
        assert_eq!(found.unseen.count, 0, "{name}: {found:?}");
    }
}
