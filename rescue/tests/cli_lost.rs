//! What `check` says is lost of a snapshot in a damaged store, against what the tools of the file systems know of the disk.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const MIB: u64 = 1 << 20;
/// Where the root file system and the EFI system partition lie on the disk.
const ROOT: u64 = 9 * MIB;
const ESP: u64 = MIB;

/// A machine with known files on both file systems, saved.
fn saved() -> Machine {
    let m = Machine::new();
    let disk = m.arg("disk.img");
    tool("mkfs.vfat", "dosfstools", &["-F", "12", "--offset", "2048", &disk, "8192"]);
    let esp = format!("{disk}@@{ESP}");
    for n in 0..4 {
        fs::write(m.path("file"), noise(700_000, 50 + n)).unwrap();
        m.put(&m.arg("file"), &format!("/home/ann/file-{n}"));
        fs::write(m.path("file"), noise(300_000, 90 + n)).unwrap();
        tool("mcopy", "mtools", &["-i", &esp, &m.arg("file"), &format!("::a rather long name {n}.efi")]);
    }
    m.save();
    m
}

fn packs(m: &Machine) -> Vec<PathBuf> {
    let dirs = fs::read_dir(m.path("store/packs")).unwrap();
    dirs.flat_map(|d| fs::read_dir(d.unwrap().path()).unwrap()).map(|p| p.unwrap().path()).collect()
}

/// The paths whose blocks lie in a range of the root file system, as debugfs knows them.
fn named_by_debugfs(m: &Machine, start: u64, len: u64) -> BTreeSet<String> {
    let disk = format!("{}?offset={ROOT}", m.arg("disk.img"));
    let ask =
        |question: String| String::from_utf8(tool("debugfs", "e2fsprogs", &["-R", &question, &disk]).stdout).unwrap();
    // s_log_block_size of the superblock.
    let block = 1024 << m.bytes()[usize::try_from(ROOT).unwrap() + 1024 + 24];
    let blocks: Vec<String> = (start / block..(start + len).div_ceil(block)).map(|b| b.to_string()).collect();
    let owners = ask(format!("icheck {}", blocks.join(" ")));
    let inodes: BTreeSet<String> = owners
        .lines()
        .skip(1)
        .filter_map(|l| l.split_once('\t'))
        .filter(|(_, inode)| inode.parse::<u32>().is_ok_and(|n| n > 10))
        .map(|(_, inode)| inode.to_owned())
        .collect();
    if inodes.is_empty() {
        return BTreeSet::new();
    }
    let names = ask(format!("ncheck {}", inodes.into_iter().collect::<Vec<_>>().join(" ")));
    names
        .lines()
        .skip(1)
        .filter_map(|l| l.split_once('\t'))
        .map(|(_, path)| format!("/{}", path.trim_start_matches('/')))
        .collect()
}

/// The files whose clusters lie in a range of the EFI system partition, as mtools knows them.
fn named_by_mtools(m: &Machine, start: u64, len: u64) -> BTreeSet<String> {
    let esp = format!("{}@@{ESP}", m.arg("disk.img"));
    let head = &m.bytes()[usize::try_from(ESP).unwrap()..][..64];
    let number = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let (sector, cluster) = (number(11), number(11) * u64::from(head[13]));
    let data = (number(14) + u64::from(head[16]) * number(22)) * sector + number(17) * 32;
    let mut names = BTreeSet::new();
    for n in 0..4 {
        let name = format!("a rather long name {n}.efi");
        let out = tool("mshowfat", "mtools", &["-i", &esp, &format!("::{name}")]).stdout;
        let said = String::from_utf8(out).unwrap();
        // `::/name <5-78>`
        for range in said.split('<').skip(1).map(|r| r.split('>').next().unwrap()) {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let at = |c: &str| data + (c.parse::<u64>().unwrap() - 2) * cluster;
            if at(from) < start + len && start < at(to) + cluster {
                names.insert(format!("/{name}"));
            }
        }
    }
    names
}

#[test]
fn check_names_the_files_that_a_damaged_pack_held() {
    let m = saved();
    let store = m.arg("store");
    let (mut exact, mut volumes) = (0, BTreeSet::new());
    for pack in packs(&m) {
        let good = fs::read(&pack).unwrap();
        for part in [4, 2] {
            let mut bad = good.clone();
            bad[good.len() / part] ^= 1;
            fs::write(&pack, bad).unwrap();
            let (code, found) = ask(&["check", "--read-data", "--store", &store]);
            assert_eq!(code, 3, "{found}");
            for lost in found["lost"].as_array().unwrap() {
                let number = |name: &str| lost[name].as_u64().unwrap();
                let oracle = match lost["of"].as_str().unwrap() {
                    "d0/p2" => named_by_debugfs,
                    "d0/p1" => named_by_mtools,
                    _ => continue,
                };
                let files = &lost["files"];
                let told: BTreeSet<String> = match files["paths"].as_array() {
                    Some(paths) => paths.iter().map(|p| p["path"].as_str().unwrap().to_owned()).collect(),
                    None => {
                        assert!(lost["why_not"].is_string(), "{lost}");
                        continue;
                    }
                };
                if number("places") == 1 && files["unseen"].is_null() {
                    assert_eq!(told, oracle(&m, number("first"), number("bytes")), "{lost}");
                    exact += u64::from(!told.is_empty());
                }
                volumes.extend(lost["of"].as_str().filter(|_| !told.is_empty()).map(str::to_owned));
            }
            let (_, out, _) = run(&["check", "--read-data", "--store", &store]);
            assert!(out.contains("cannot be restored whole"), "{out}");
        }
        fs::write(&pack, good).unwrap();
    }
    assert!(exact >= 1, "no damage was of one piece");
    assert_eq!(volumes, ["d0/p1".to_owned(), "d0/p2".to_owned()].into());

    // Everything but the maps is gone: what a person is told is bounded, and says that it is not all.
    let largest = packs(&m).into_iter().max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap();
    fs::remove_file(&largest).unwrap();
    let (code, out, _) = run(&["check", "--store", &store]);
    assert_eq!(code, 3);
    assert!(out.contains("which files lie there cannot be told"), "{out}");
}
