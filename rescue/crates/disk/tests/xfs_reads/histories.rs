//! Random histories, each cut off several times: what is read is what a kernel makes of the same bytes.

use crate::host::image;
use crate::tools::{Free, free, open, tree};
use disk::fs::xfs::identify;
use model::ports::ReadAt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Each takes some five seconds, and leaves five states.
const SEEDS: (u32, u32) = (1, 24);

#[test]
#[ignore = "minutes long, and mounts: part of a full run"]
fn what_was_cut_off_is_what_a_kernel_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/xfs_reads/histories/live.sh");
    for seed in SEEDS.0..=SEEDS.1 {
        let lived = Command::new(&script).args([seed, seed].map(|n| n.to_string())).arg(dir.path()).output().unwrap();
        let said = String::from_utf8_lossy(&lived.stderr);
        assert!(lived.status.success(), "needs root, loop devices, a kernel with XFS, xfsprogs and python3: {said}");
        let mut states: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        states.retain(|path| path.extension().is_some_and(|e| e == "img"));
        assert!(!states.is_empty());
        for path in states {
            as_the_kernel(&path);
            ["img", "list", "free"].iter().for_each(|e| fs::remove_file(path.with_extension(e)).unwrap());
        }
    }
}

fn as_the_kernel(path: &Path) {
    let bytes = image(path);
    let (fs, info) = (open(&bytes), identify(&bytes).unwrap().unwrap());
    assert_eq!(fs.doubt(), None, "{path:?}");
    let theirs = fs::read_to_string(path.with_extension("list")).unwrap();
    let mut theirs: Vec<&str> = theirs.lines().collect();
    theirs.sort_unstable();
    assert_eq!(tree(&fs), theirs, "{path:?}");
    let (block, group) = (u64::from(info.block_size), info.blocks.div_ceil(3));
    let theirs = Free::parse(&fs::read_to_string(path.with_extension("free")).unwrap(), block, group);
    let ours = free(&fs, bytes.size());
    assert!(ours.iter().all(|run| theirs.runs.covers(run)), "{path:?}");
    assert!(
        ours.total().0 / block * 10 > theirs.blocks * 8,
        "{path:?}: {} of {}",
        ours.total().0 / block,
        theirs.blocks
    );
}
