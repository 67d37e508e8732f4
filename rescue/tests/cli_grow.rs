//! `restore --grow`: a saved state onto a larger disk, with its last file system made larger by the kernel. What comes of it is looked at by
//! e2fsck, dumpe2fs, sgdisk and sfdisk, and compared file by file.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MIB: u64 = 1 << 20;
/// Where the root file system lies on the disk, how large it is, and where swap lies behind it.
const ROOT: u64 = 9 * MIB;
const LEN: u64 = 48 * MIB;
const SWAP: u64 = 57 * MIB;

/// What all of this needs, by name. False where root may not make file systems larger, as in a container: then it must be refused, and
/// what a kernel makes of it shows in a machine test (`qemu-tests/tests/grow.rs`) alone.
fn may_grow() -> bool {
    for device in ["/dev/fuse", "/dev/loop-control"] {
        assert!(Path::new(device).exists(), "this needs {device}: load its driver (modprobe fuse loop)");
    }
    assert_eq!(fs::metadata("/proc/self").unwrap().uid(), 0, "this mounts, and so needs root");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(held, 16).unwrap() >> 24 & 1 == 1
}

/// Where it may not be done: nothing is offered, and what is asked for is refused before anything is written.
fn refused(line: &[&str], disk: &str) {
    let (code, said) = ask(&[line, &["--yes"]].concat());
    assert_eq!((code, &said["done"]), (4, &().into()), "{said}");
    assert!(said["plan"]["checks"].to_string().contains("CAP_SYS_RESOURCE"), "{said}");
    assert!(fs::read(disk).unwrap().iter().all(|b| *b == 0));
}

/// A machine with swap behind its root, as Debian's installer lays it out; and its snapshot.
fn with_swap() -> (Machine, String) {
    let m = Machine::new();
    let disk = m.arg("disk.img");
    tool("sgdisk", "gdisk", &["-n3:57M:+4M", "-t3:8200", &disk]);
    put_swap(&m, &disk, SWAP);
    let noise_file = m.path("noise");
    fs::write(&noise_file, noise(8 << 20, 5)).unwrap();
    m.put(noise_file.to_str().unwrap(), "/noise");
    let id = m.save();
    (m, id)
}

/// A swap area of 4 MiB at a place of a disk.
fn put_swap(m: &Machine, disk: &str, at: u64) {
    blank(m, "swap", 4 * MIB);
    tool("mkswap", "util-linux", &[&m.arg("swap")]);
    fs::File::options().write(true).open(disk).unwrap().write_all_at(&fs::read(m.path("swap")).unwrap(), at).unwrap();
}

/// An empty image file of that size.
fn blank(m: &Machine, name: &str, size: u64) -> String {
    fs::File::create(m.path(name)).unwrap().set_len(size).unwrap();
    m.arg(name)
}

fn partitions(disk: &str) -> Vec<(u64, u64, String)> {
    let out = tool("sfdisk", "fdisk", &["--json", disk]);
    let table: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let number = |p: &serde_json::Value, what: &str| p[what].as_u64().unwrap() * 512;
    let one = |p: &serde_json::Value| (number(p, "start"), number(p, "size"), p["type"].as_str().unwrap().to_owned());
    table["partitiontable"]["partitions"].as_array().unwrap().iter().map(one).collect()
}

fn verified(disk: &str) {
    let said = tool("sfdisk", "fdisk", &["--verify", disk]).stdout;
    assert!(String::from_utf8_lossy(&said).contains("No errors detected"));
}

/// The file system at a place is in order, and has so many bytes.
fn sized(disk: &str, at: u64) -> u64 {
    let on = format!("{disk}?offset={at}");
    tool("e2fsck", "e2fsprogs", &["-fn", &on]);
    let told = String::from_utf8(tool("dumpe2fs", "e2fsprogs", &["-h", &on]).stdout).unwrap();
    let number =
        |name: &str| -> u64 { told.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().parse().unwrap() };
    number("Block count:") * number("Block size:")
}

/// All files of the file system at a place, taken out by debugfs.
fn files(m: &Machine, disk: &str, at: u64, name: &str) -> PathBuf {
    let out = m.path(name);
    fs::create_dir(&out).unwrap();
    let command = format!("rdump / {}", out.display());
    tool("debugfs", "e2fsprogs", &["-R", &command, &format!("{disk}?offset={at}")]);
    out
}

fn same_files(m: &Machine, (then, now): (&str, &str), at: u64) {
    let (then, now) = (files(m, then, at, "then"), files(m, now, at, "now"));
    assert!(then.join("home/ann/letter").exists());
    tool("diff", "diffutils", &["-r", "--no-dereference", then.to_str().unwrap(), now.to_str().unwrap()]);
}

fn bytes(disk: &str, at: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    fs::File::open(disk).unwrap().read_exact_at(&mut out, at).unwrap();
    out
}

#[test]
fn the_last_file_system_fills_a_larger_disk_and_swap_moves_along() {
    let (m, id) = with_swap();
    let (disk, store) = m.both();
    let new = blank(&m, "new.img", 300 * MIB);
    let line = ["restore", "latest", &new, "--store", &store];
    if !may_grow() {
        let (_, said) = ask(&[&line[..], &["--plan"]].concat());
        assert_eq!(said["plan"]["disks"][0]["growth"], serde_json::Value::Null);
        return refused(&[&line[..], &["--grow", "d0/p2"]].concat(), &new);
    }
    let (code, offered) = ask(&[&line[..], &["--plan"]].concat());
    let growth = &offered["plan"]["disks"][0]["growth"];
    // The second copy of the table stands behind it.
    let by = (300 - 61 - 1) * MIB;
    assert_eq!((code, &growth["volume"], &growth["wanted"]), (0, &"d0/p2".into(), &false.into()), "{offered}");
    assert_eq!((growth["from"].as_u64(), growth["to"].as_u64()), (Some(LEN), Some(LEN + by)));
    let (_, said, _) = run(&[&line[..], &["--plan"]].concat());
    assert!(said.contains("--grow d0/p2"), "{said}");

    let line = [&line[..], &["--grow", "d0/p2"]].concat();
    let (code, plan) = ask(&[&line[..], &["--plan"]].concat());
    assert_eq!((code, &plan["plan"]["usable"]), (0, &true.into()), "{plan}");
    assert_eq!(plan["plan"]["disks"][0]["growth"]["wanted"], true);
    let volumes = plan["plan"]["volumes"].as_array().unwrap();
    assert_eq!((volumes[1]["size"].as_u64(), volumes[2]["start"].as_u64()), (Some(LEN + by), Some(SWAP + by)));
    let (_, said, _) = run(&[&line[..], &["--plan"]].concat());
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("made larger: from 50.3 MB to 299 MB") && flat.contains("moved to the end"), "{said}");
    assert!(fs::read(&new).unwrap().iter().all(|b| *b == 0), "a plan writes nothing");
    let (code, done) = ask(&[&line[..], &["--approve", plan["plan"]["id"].as_str().unwrap()]].concat());
    assert_eq!(code, 0, "{done}");

    verified(&new);
    assert!(String::from_utf8_lossy(&tool("sgdisk", "gdisk", &["-v", &new]).stdout).contains("No problems found"));
    let mut wanted = partitions(&disk);
    wanted[1].1 += by;
    wanted[2].0 += by;
    assert_eq!(partitions(&new), wanted);
    assert_eq!((sized(&disk, ROOT), sized(&new, ROOT)), (LEN, LEN + by));
    same_files(&m, (&disk, &new), ROOT);
    assert_eq!(bytes(&new, SWAP + by, 4096), bytes(&disk, SWAP, 4096), "swap's header");
    let (code, seen) = ask(&["inspect", &new]);
    assert_eq!((code, &seen["systems"][0]["root"]["volume"]), (0, &"d0/p2".into()), "{seen}");

    // What it holds is a snapshot: of that disk, to the last byte.
    let (_, list) = ask(&["snapshots", "--store", &store]);
    let all = list["snapshots"].as_array().unwrap();
    let composed = all.iter().find(|s| s["purpose"] == "composed").unwrap();
    assert_eq!((&composed["composed"]["of"], &composed["id"]), (&id.as_str().into(), &done["done"]["holds"]), "{list}");
    let (grown, out) = (composed["id"].as_str().unwrap(), m.arg("exported.img"));
    assert_eq!(run(&["export", grown, "-o", &out, "--store", &store]).0, 0);
    assert!(fs::read(&out).unwrap() == fs::read(&new).unwrap());
    let (code, saved) = ask(&["snapshot", &new, "--store", &store]);
    assert_eq!(code, 0);
    assert!(saved["cost"]["new"].as_u64().unwrap() < MIB, "the next one builds upon it: {saved}");
    let (code, checked) = ask(&["check", "--store", &store, "--read-data"]);
    assert_eq!((code, &checked["damage"]), (0, &serde_json::json!([])));
}

#[test]
fn what_cannot_grow_is_told() {
    let (m, _) = with_swap();
    let (_, store) = m.both();
    let large = blank(&m, "large.img", 100 * MIB);
    // The last partition ends at 61 MiB, and the second copy of the table takes some of the last one.
    let same = blank(&m, "same.img", 62 * MIB);
    for (onto, volume, why) in [
        (&large, "d0/p1", "that is d0/p2"),
        (&large, "d0/p3", "that is d0/p2"),
        (&large, "d1/p1", "none of these disks"),
        (&large, "d0/p2,d0/p1", "only one volume of a disk"),
        (&same, "d0/p2", "no room"),
    ] {
        let (code, said) = ask(&["restore", "latest", onto, "--store", &store, "--grow", volume, "--yes"]);
        assert_eq!((code, &said["done"]), (4, &().into()), "{said}");
        assert!(said["plan"]["checks"].to_string().contains(why), "{volume}: {said}");
        assert!(fs::read(onto).unwrap().iter().all(|b| *b == 0));
    }
    let (_, said) = ask(&["restore", "latest", &same, "--store", &store, "--plan"]);
    assert_eq!(said["plan"]["disks"][0]["growth"], serde_json::Value::Null);
}

/// Killed while the disk is written, it is finished as it was planned.
#[test]
fn killed_and_resumed() {
    let (m, _) = with_swap();
    let (disk, store) = m.both();
    let new = blank(&m, "new.img", 128 * MIB);
    let line = ["restore", "latest", &new, "--store", &store, "--grow", "d0/p2", "--new-ids"];
    if !may_grow() {
        return refused(&line, &new);
    }
    let mut child = holdfast();
    child.args(line).arg("--yes");
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let fenced = || {
        let mut first = [0; 144];
        fs::File::open(&new).unwrap().read_exact(&mut first).unwrap();
        &first[128..] == b"HOLDFAST FENCE\r\n"
    };
    while !fenced() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended and no fence was seen");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, value) = ask(&["resume", &new, "--store", &store, "--yes"]);
    assert_eq!((code, &value["plan"]["action"]), (0, &"resume".into()), "{value}");
    verified(&new);
    assert_eq!(sized(&new, ROOT), LEN + (128 - 61 - 1) * MIB);
    same_files(&m, (&disk, &new), ROOT);
}

/// Without a table, and with an MBR whose extended partition, with swap in it, moves.
#[test]
fn other_disks_grow_too() {
    let m = Machine::new();
    let new_store = |name: &str| {
        assert_eq!(run(&["store", "init", &m.arg(name)]).0, 0);
        m.arg(name)
    };
    let store = new_store("store");
    let bare = blank(&m, "bare.img", 32 * MIB);
    tool("mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext3", "-b", "1024", &bare]);
    assert_eq!(run(&["snapshot", &bare, "--store", &store]).0, 0);
    let new = blank(&m, "bare-new.img", 70 * MIB + 512);
    if !may_grow() {
        return refused(&["restore", "latest", &new, "--store", &store, "--grow", "d0"], &new);
    }
    let (code, said) = ask(&["restore", "latest", &new, "--store", &store, "--grow", "d0", "--yes"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(sized(&new, 0), 70 * MIB);

    let store = new_store("another");
    let mbr = blank(&m, "mbr.img", 40 * MIB);
    let script = "label: dos\nlabel-id: 0x12ab34cd\nstart=2048, size=40960, type=83\nstart=43008, size=20480, type=5\n\
                  start=45056, size=8192, type=82\n";
    let mut sfdisk = Command::new("sfdisk").args(["-q", &mbr]).stdin(Stdio::piped()).spawn().unwrap();
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    let offset = format!("offset={MIB}");
    tool("mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4", "-E", &offset, &mbr, "20M"]);
    put_swap(&m, &mbr, 22 * MIB);
    assert_eq!(run(&["snapshot", &mbr, "--store", &store]).0, 0);
    let new = blank(&m, "mbr-new.img", 150 * MIB);
    let (code, said) = ask(&["restore", "latest", &new, "--store", &store, "--grow", "d0/p1", "--yes"]);
    assert_eq!(code, 0, "{said}");
    verified(&new);
    let by = (150 - 31) * MIB;
    let mut wanted = partitions(&mbr);
    wanted[0].1 += by;
    wanted[1].0 += by;
    wanted[2].0 += by;
    assert_eq!(partitions(&new), wanted);
    assert_eq!(sized(&new, MIB), 20 * MIB + by);
    assert_eq!(bytes(&new, 22 * MIB + by, 4096), bytes(&mbr, 22 * MIB, 4096));
}
