//! Sessions of a kernel, ended in order and cut off: what is told to be the same as in any earlier state is, byte for byte.

use crate::host::image;
use disk::coverage;
use disk::fs::xfs::identify;
use model::coverage::Comparison;
use model::inspection::Content;
use model::ports::ReadAt;
use model::units::ByteOffset;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Each takes some ten seconds, and leaves six states or more.
const SEEDS: u32 = 32;
const KINDS: [&[&str]; 4] = [
    &["-m", "reflink=1,bigtime=1"],
    &["-b", "size=1024", "-m", "rmapbt=1,reflink=1"],
    &["-m", "reflink=0,bigtime=0", "-i", "sparse=0"],
    &["-b", "size=2048", "-i", "size=1024,nrext64=1", "-m", "reflink=1"],
];

#[test]
#[ignore = "minutes long, and mounts: part of a full run"]
fn what_is_told_to_be_the_same_is() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/xfs_reads/lived.sh");
    // Pairs of states, those of them with something told, those of a session that logged nothing between; and the bytes.
    let (mut pairs, mut told, mut unlogged, mut same) = (0, 0, 0, 0u64);
    for seed in 1..=SEEDS {
        let dir = tempfile::tempdir().unwrap();
        let options = KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
        let lived = Command::new(&script).arg(seed.to_string()).arg(dir.path()).args(options).output().unwrap();
        assert!(lived.status.success(), "{seed}: {}", String::from_utf8_lossy(&lived.stderr));
        let states: Vec<Arc<dyn ReadAt>> = (0..)
            .map(|state| dir.path().join(format!("{state}.img")))
            .take_while(|path| path.exists())
            .map(|path| image(&path))
            .collect();
        assert!(states.len() > 5, "{seed}");
        let infos: Vec<_> = states.iter().map(|bytes| identify(bytes).unwrap().unwrap()).collect();
        let silent: Vec<bool> = infos
            .iter()
            .enumerate()
            .map(|(at, info)| dir.path().join(format!("{at}.cut")).exists() && !info.needs_recovery)
            .collect();
        for (j, now) in states.iter().enumerate() {
            for (i, before) in states[..j].iter().enumerate() {
                pairs += 1;
                // Of what was cut off before anything of it was logged the log knows nothing: somebody else has to.
                if (i + 1..=j).any(|at| silent[at]) {
                    unlogged += 1;
                    continue;
                }
                let changes = coverage::changes(&Content::Xfs(infos[j].clone()), now.clone(), before.clone());
                told += u32::from(changes.comparison != Comparison::Content);
                same += changes.same.total().0;
                for run in changes.same.iter() {
                    for at in (run.start().0..run.end().0).step_by(1024) {
                        let len = usize::try_from((run.end().0 - at).min(1024)).unwrap();
                        let read = |bytes: &Arc<dyn ReadAt>| bytes.read_vec(ByteOffset(at), len).unwrap();
                        assert!(
                            read(now) == read(before),
                            "{seed}: {at} differs between states {i} and {j}: {}",
                            changes.why
                        );
                    }
                }
            }
        }
    }
    println!(
        "{pairs} pairs of states, of {told} something is told: {same} bytes; {unlogged} with a session that logged nothing"
    );
    assert!(told > SEEDS && same > 1 << 27, "{told} of {pairs} pairs, {same} bytes");
}
