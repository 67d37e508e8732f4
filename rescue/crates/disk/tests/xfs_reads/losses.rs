//! What lies in bytes that are lost, and where chunks are cut, by the places that files say they have.

use crate::tools::{fixture, open};
use disk::fs::FileSystem;
use model::files::Layout;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent, ExtentSet};

fn places(fs: &dyn FileSystem, path: &str) -> Vec<Extent> {
    let file = fs.find(path.as_bytes()).unwrap().unwrap().file;
    let Layout::Pieces { pieces, .. } = fs.layout(file, ByteOffset(0), 1000).unwrap() else { panic!("{path}") };
    pieces.into_iter().map(|(_, extent)| extent).collect()
}

#[test]
fn lost_bytes_are_named_by_what_lies_there() {
    for name in ["v5", "v5-small", "dirty-v5"] {
        let bytes = fixture(name);
        let fs = open(&bytes);
        let paths = |lost: &[Extent]| {
            let found = fs.losses(&lost.iter().copied().collect());
            assert_eq!(found.unseen, None, "{name}");
            let paths: Vec<_> = found.paths.iter().map(|p| String::from_utf8(p.path.0.clone()).unwrap()).collect();
            (paths, found)
        };
        for path in ["/etc/os-release", "/two/entry-7", "/holes"] {
            let last = *places(&fs, path).last().unwrap();
            let (found, all) = paths(&[Extent::between(last.start().0, last.start().0 + 1).unwrap()]);
            assert_eq!((found, all.metadata, all.unclaimed.0), (vec![path.to_owned()], false, 0), "{name}");
        }
        // Two names of one file.
        let (found, _) = paths(&places(&fs, "/one/hard")[..1]);
        assert_eq!(found, ["/one/hard", "/plain"], "{name}");
        let (found, all) = paths(&[Extent::between(512, 1024).unwrap()]);
        assert_eq!((found.len(), all.metadata), (0, true), "{name}");
        // Free space belongs to nothing.
        let free = fs.coverage().used.gaps(Extent::whole(bytes.size())).iter().max_by_key(|e| e.len()).unwrap();
        let (found, all) = paths(&[free]);
        assert_eq!((found.len(), all.unclaimed), (0, free.len()), "{name}");
        // Everything: names that lie in directories whose own inodes are lost are not found, and that is said.
        let all: ExtentSet = [Extent::whole(bytes.size())].into_iter().collect();
        let found = fs.losses(&all);
        assert!(found.journal && found.metadata && found.count > 0 && found.unseen.is_some(), "{name}: {found:?}");
    }
}

#[test]
fn chunks_begin_where_files_do() {
    let fs = open(&fixture("v5"));
    let cuts = fs.cuts();
    for path in ["/plain", "/two/entry-7", "/etc/os-release"] {
        let start = places(&fs, path)[0].start().0;
        assert_eq!(cuts.after(start - 1), start, "{path}");
    }
}
