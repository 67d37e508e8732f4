//! Sessions of a kernel, ended in order and cut off: what is told to be the same as in any earlier state is, byte for byte.

use super::fixtures::Image;
use disk::coverage;
use model::coverage::Comparison;
use std::path::Path;
use std::process::Command;

/// Each lives four times, which takes a minute or more on a busy machine, and leaves six states each time.
const SEEDS: u32 = 4;

#[test]
#[ignore = "minutes long, and mounts: part of a full run"]
fn what_is_told_to_be_the_same_is() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/btrfs_reads/lived.sh");
    let kinds: [(&str, &[&str]); 4] = [
        ("1", &["-d", "single", "-m", "dup"]),
        ("1", &["-d", "single", "-m", "single", "--csum", "sha256"]),
        ("2", &["-d", "raid1", "-m", "raid1"]),
        ("3", &["-d", "raid0", "-m", "raid1"]),
    ];
    let (mut told, mut pairs, mut same_of_last) = (0u64, 0, 0u64);
    for seed in 1..=SEEDS {
        for (count, options) in kinds {
            let dir = tempfile::tempdir().unwrap();
            let lived = Command::new(&script).arg(seed.to_string()).arg(dir.path()).arg(count).args(options).output();
            let lived = lived.unwrap();
            assert!(lived.status.success(), "{seed} {options:?}: {}", String::from_utf8_lossy(&lived.stderr));
            let devices = count.parse::<u32>().unwrap();
            let part = |state: u32, device: u32| Image::read(&dir.path().join(format!("{state}.{device}")));
            let state = |state| Image::joined(&(1..=devices).map(|device| part(state, device)).collect::<Vec<_>>());
            let states: Vec<Image> = (0..6).map(state).collect();
            for (j, now) in states.iter().enumerate() {
                for (i, before) in states[..j].iter().enumerate() {
                    let changes = coverage::changes(&now.content(), now.bytes(), before.bytes());
                    pairs += 1;
                    assert_ne!(changes.comparison, Comparison::Content, "{seed} {options:?} {i} {j}: {}", changes.why);
                    for run in changes.same.iter() {
                        for at in (run.start().0..run.end().0).step_by(4096) {
                            let is = now.get(at, 4096) == before.get(at, 4096);
                            assert!(is, "{seed} {options:?}: {at} differs between states {i} and {j}");
                        }
                    }
                    told += changes.same.total().0;
                    same_of_last += if i + 1 == j { changes.same.total().0 } else { 0 };
                }
            }
        }
    }
    println!("{pairs} pairs of states, {told} bytes told to be the same, {same_of_last} of them to the state before");
    assert!(told > 1 << 28, "{told} bytes");
}
