//! File systems that a kernel made, held against what it showed of them; those that were cut off against what it showed of a copy that
//! it had recovered.

use crate::tools::{Free, fixture, free, open, tree, unpacked};
use disk::fs::FileSystem;
use disk::fs::xfs::identify;
use std::path::Path;

/// Name, bytes per block, blocks per group.
const FIXTURES: [(&str, u64, u64); 6] = [
    ("v5", 4096, 4096),
    ("v5-small", 1024, 16384),
    ("late", 4096, 4096),
    ("dirty-v5", 4096, 4096),
    ("dirty-v5-small", 1024, 16384),
    ("dirty-late", 4096, 4096),
];

#[test]
fn trees_are_what_the_kernel_showed() {
    for (name, _, _) in FIXTURES {
        let bytes = fixture(name);
        let fs = open(&bytes);
        assert_eq!(fs.doubt(), None, "{name}");
        let theirs = String::from_utf8(unpacked(&format!("{name}.list.zst"))).unwrap();
        let mut theirs: Vec<&str> = theirs.lines().collect();
        theirs.sort_unstable();
        let ours = tree(&fs);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{name}");
        }
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let features = identify(&bytes).unwrap().unwrap().features;
        let late = ["exchange", "parent"].iter().all(|late| features.iter().any(|f| f == late));
        assert_eq!(late, name.ends_with("late"), "{name}: {features:?}");
    }
}

#[test]
fn free_space_is_what_the_kernel_left() {
    for (name, block, group) in FIXTURES {
        let bytes = fixture(name);
        let fs = open(&bytes);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/xfs_reads/fixtures/{name}.free"));
        let theirs = Free::parse(&std::fs::read_to_string(path).unwrap(), block, group);
        let ours = free(&fs, bytes.size());
        for run in ours.iter() {
            assert!(theirs.runs.covers(run), "{name}: {run:?} is in use");
        }
        let dirty = name.starts_with("dirty");
        let (info, why) = (identify(&bytes).unwrap().unwrap(), fs.coverage().why);
        assert_eq!(info.needs_recovery, dirty, "{name}");
        assert!(!why.as_str().contains("kept whole"), "{name}: {why}");
        // What is free both as it lies there and after the log; where it was unmounted that is all there is.
        let ours = ours.total().0 / block;
        assert!(
            if dirty { ours <= theirs.blocks && ours * 10 > theirs.blocks * 9 } else { ours == theirs.blocks },
            "{name}: {ours} of {}",
            theirs.blocks
        );
        assert_eq!(dirty, fs.replayed() > 0, "{name}");
    }
}
