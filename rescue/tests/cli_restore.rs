//! `restore`: a saved state onto new disks, as scripts meet it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

const MIB: u64 = 1 << 20;

/// An empty image file of that size.
fn blank(m: &Machine, name: &str, size: u64) -> String {
    fs::File::create(m.path(name)).unwrap().set_len(size).unwrap();
    m.arg(name)
}

fn partitions(disk: &str) -> Vec<serde_json::Value> {
    let out = tool("sfdisk", "fdisk", &["--json", disk]);
    let table: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut all = table["partitiontable"]["partitions"].as_array().unwrap().clone();
    all.iter_mut().for_each(|p| p["node"] = p["node"].as_str().unwrap().replace(disk, "").into());
    all
}

/// Text for people, without its line ends.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn judged(disk: &str) {
    assert!(
        String::from_utf8_lossy(&tool("sfdisk", "fdisk", &["--verify", disk]).stdout).contains("No errors detected")
    );
    assert!(String::from_utf8_lossy(&tool("sgdisk", "gdisk", &["-v", disk]).stdout).contains("No problems found"));
    tool("e2fsck", "e2fsprogs", &["-fn", &format!("{disk}?offset={}", 9 * MIB)]);
}

#[test]
fn a_new_disk_is_filled_and_the_plan_comes_first() {
    let m = Machine::new();
    let (disk, store) = m.both();
    m.save();
    let new = blank(&m, "new.img", 100 * MIB);
    let (code, value) = ask(&["restore", "latest", &new, "--store", &store, "--plan"]);
    let plan = &value["plan"];
    assert_eq!(
        (code, &plan["action"], &plan["usable"], &value["done"]),
        (0, &"restore".into(), &true.into(), &().into())
    );
    let d = &plan["disks"][0];
    assert_eq!(
        (&d["disk"], &d["saved_as"], &d["holds"], &d["lost"]),
        (&"d0".into(), &"d0".into(), &"nothing".into(), &false.into())
    );
    assert_eq!((d["size"].as_u64(), plan["volumes"][1]["volume"].as_str()), (Some(100 * MIB), Some("d0/p2")));
    let id = plan["id"].as_str().unwrap();
    // Nothing is written without an approval, or with another one.
    let (code, out, err) = run(&["restore", "latest", &new, "--store", &store]);
    assert_eq!(code, 4);
    assert!(flat(&out).contains("becomes d0 of the snapshot; it holds nothing") && err.contains(id), "{out}{err}");
    assert_eq!(run(&["restore", "latest", &new, "--store", &store, "--approve", &"0".repeat(64)]).0, 4);
    assert!(fs::read(&new).unwrap().iter().all(|b| *b == 0));
    let (code, value) = ask(&["restore", "latest", &new, "--store", &store, "--approve", id]);
    assert_eq!(code, 0, "{value}");
    judged(&new);
    assert_eq!(partitions(&new), partitions(&disk));
    // The files are those of the saved state.
    let letter = tool("debugfs", "e2fsprogs", &["-R", "cat /home/ann/letter", &format!("{new}?offset={}", 9 * MIB)]);
    assert_eq!(String::from_utf8_lossy(&letter.stdout), "Dear Ben,\n");
    let (code, value) = ask(&["inspect", &new]);
    assert_eq!((code, &value["systems"][0]["root"]["volume"]), (0, &"d0/p2".into()));

    // Full now: refused by what it holds, and not undone.
    let (code, out, err) = run(&["restore", "latest", &new, "--store", &store, "--yes"]);
    assert_eq!(code, 4, "{err}");
    let id = value["disks"][0]["table"]["id"].as_str().unwrap();
    assert!(flat(&out).contains("d0/p2 (ext4)") && flat(&out).contains(&format!("--overwrite {id}")), "{out}");
    let (code, _, err) = run(&["undo", &new, "--store", &store, "--yes"]);
    assert!(code == 4 && err.contains("nothing to undo"), "{code} {err}");
    let (code, _, err) = run(&["restore", "latest", &new, "--store", &store, "--yes", "--overwrite", id]);
    assert_eq!(code, 0, "{err}");
    judged(&new);
    let small = blank(&m, "small.img", 40 * MIB);
    let (code, value) = ask(&["restore", "latest", &small, "--store", &store, "--yes"]);
    assert_eq!((code, &value["done"]), (4, &().into()));
    let checks = value["plan"]["checks"].as_array().unwrap();
    assert!(
        checks.iter().any(|c| c["ok"] == false && c["says"].as_str().unwrap().contains("d0/p2 ends at")),
        "{value}"
    );
    let (code, value) = ask(&["check", "--store", &store, "--read-data"]);
    assert_eq!((code, &value["damage"]), (0, &serde_json::json!([])));
}

/// Two disks, one with an MBR and logical partitions: by order, or by name; never by guess.
#[test]
fn several_disks_go_where_they_are_told() {
    let m = Machine::new();
    let (disk, store) = m.both();
    m.save();
    let other = blank(&m, "other.img", 32 * MIB);
    let script = "label: dos\nlabel-id: 0x12ab34cd\nstart=2048, size=8192, type=83\nstart=10240, size=40960, type=5\n\
                  start=12288, size=8192, type=83\nstart=24576, size=8192, type=83\n";
    let mut sfdisk = Command::new("sfdisk").args(["-q", &other]).stdin(Stdio::piped()).spawn().unwrap();
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    for (at, kib) in [(2048u64, "4096"), (12288, "4096"), (24576, "4096")] {
        let offset = format!("offset={}", at * 512);
        tool("mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4", "-b", "1024", "-E", &offset, &other, kib]);
    }
    let (code, _, err) = run(&["snapshot", &disk, &other, "--store", &store]);
    assert_eq!(code, 0, "{err}");
    let (a, b) = (blank(&m, "a.img", 70 * MIB), blank(&m, "b.img", 50 * MIB));
    let (code, _, err) = run(&["restore", "latest", &a, "--store", &store, "--yes"]);
    assert!(code == 4 && err.contains("2 disks, and 1 were named"), "{code} {err}");
    let (code, out, err) = run(&["restore", "latest", "--disk", &format!("d1={b}"), "--store", &store, "--plan"]);
    let said = flat(&out);
    assert!(code == 0 && said.contains("becomes d1 of the snapshot"), "{code} {out}{err}");
    assert!(said.contains("d0 of the snapshot (image file, 67.1 MB) goes nowhere"), "{out}");
    let (code, _, err) = run(&["restore", "latest", &a, &b, "--store", &store, "--yes"]);
    assert_eq!(code, 0, "{err}");
    judged(&a);
    assert_eq!((partitions(&a), partitions(&b)), (partitions(&disk), partitions(&other)));
    let verified = tool("sfdisk", "fdisk", &["--verify", &b]);
    assert!(String::from_utf8_lossy(&verified.stdout).contains("No errors detected"));
    for at in [2048u64, 12288, 24576] {
        tool("e2fsck", "e2fsprogs", &["-fn", &format!("{b}?offset={}", at * 512)]);
    }
    // Two files that nothing tells from each other could not be told apart after a cut.
    let (c, d) = (blank(&m, "c.img", 70 * MIB), blank(&m, "d.img", 70 * MIB));
    let (code, out, _) = run(&["restore", "latest", &c, &d, "--store", &store, "--yes"]);
    assert!(code == 4 && flat(&out).contains("cannot be told apart"), "{out}");
    for wrong in [vec!["--disk", "d0"], vec!["--disk", "d0/p1=x"], vec![c.as_str(), "--disk", "d1=x"], vec![]] {
        let (code, ..) = run(&[&["restore", "latest", "--store", &store][..], &wrong].concat());
        assert_eq!(code, 2, "{wrong:?}");
    }
}

/// Killed in the middle: fenced, and finished.
#[test]
fn killed_and_resumed() {
    let m = Machine::new();
    let (disk, store) = m.both();
    let big = m.path("noise");
    fs::write(&big, noise(8 << 20, 5)).unwrap();
    m.put(big.to_str().unwrap(), "/noise");
    m.save();
    let new = blank(&m, "new.img", 64 * MIB);
    let mut child = holdfast();
    child.args(["restore", "latest", &new, "--store", &store, "--yes"]).stdin(Stdio::null());
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
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
    let (_, value) = ask(&["inspect", &new]);
    let volume = &value["disks"][0]["volumes"][0];
    assert_eq!(
        (&volume["volume"], &volume["fs"], &value["systems"]),
        (&"d0".into(), &"fenced".into(), &serde_json::json!([]))
    );
    let (code, _, err) = run(&["undo", &new, "--store", &store, "--yes"]);
    assert!(code == 4 && err.contains("cannot be undone"), "{code} {err}");
    let (code, _, err) = run(&["snapshot", &new, "--store", &store]);
    assert!(code == 4, "{code} {err}");
    let (code, value) = ask(&["resume", &new, "--store", &store, "--yes"]);
    assert_eq!((code, &value["plan"]["action"]), (0, &"resume".into()), "{value}");
    judged(&new);
    assert_eq!(partitions(&new), partitions(&disk));
}
