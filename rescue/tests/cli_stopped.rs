//! A save that is stopped, and what it will take before it begins, as scripts see them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Noise in files, so that nothing is compressed or found twice; and a file system with them that lies straight on a disk.
fn large(m: &Machine, megabytes: u32) -> String {
    let tree = m.path("tree");
    fs::create_dir_all(&tree).unwrap();
    let mut x = 88_172_645_463_325_252_u64;
    for file in 0..megabytes / 4 {
        let mut bytes = Vec::with_capacity(4_000_000);
        while bytes.len() < 4_000_000 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes.extend(x.to_le_bytes());
        }
        fs::write(tree.join(format!("noise{file}")), bytes).unwrap();
    }
    let image = m.arg("large.img");
    fs::File::create(&image).unwrap().set_len(u64::from(megabytes) * 1_500_000 / 4096 * 4096).unwrap();
    tool("mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4", "-d", tree.to_str().unwrap(), &image]);
    image
}

fn packs(store: &str) -> usize {
    let dirs = fs::read_dir(Path::new(store).join("packs")).into_iter().flatten();
    dirs.flat_map(|d| fs::read_dir(d.unwrap().path()).unwrap()).count()
}

/// Ctrl-C: exit code 5 and a sentence, and the next save goes on.
#[test]
fn a_save_that_is_stopped_is_gone_on_with() {
    let m = Machine::new();
    let (disk, store) = (large(&m, 100), m.arg("store"));
    assert_eq!(run(&["store", "init", &store]).0, 0);
    let mut command = holdfast();
    command.args(["snapshot", &disk, "--store", &store, "--json"]);
    let saving = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while packs(&store) == 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "nothing is saved");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &saving.id().to_string()]).status().unwrap().success());
    let out = saving.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(5), "{out:?}");
    let error = json(std::str::from_utf8(&out.stdout).unwrap())["error"].clone();
    assert_eq!((&error["code"], &error["exit"]), (&"interrupted".into(), &5.into()));
    assert!(error["says"].as_str().unwrap().contains("goes on from here"), "{error}");
    assert_eq!(run(&["check", "--read-data", "--store", &store]).0, 0);

    let (code, out, err) = run(&["snapshot", &disk, "--store", &store, "--json"]);
    assert_eq!(code, 0, "{err}");
    let saved = json(&out);
    let (resumed, read) = (&saved["volumes"][0]["resumed"], &saved["volumes"][0]["read"]);
    assert!(resumed.as_u64().unwrap() >= 8 << 20, "{saved}");
    assert!(read.as_u64().unwrap() < 100 << 20, "{saved}");
    assert!(saved["estimate"]["read"].as_u64() <= read.as_u64(), "what was looked at is not saved again: {saved}");
    let (_, list, _) = run(&["snapshots", "--store", &store, "--json"]);
    assert_eq!(json(&list)["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(run(&["check", "--read-data", "--store", &store]).0, 0);
}

#[test]
fn what_a_save_will_take_is_told_without_saving() {
    let m = Machine::new();
    let (disk, store) = m.both();
    assert_eq!(run(&["store", "init", &store]).0, 0);
    let dry = ["snapshot", &disk, "--store", &store, "--dry-run"];
    let (code, out, err) = run(&[&dry[..], &["--json"]].concat());
    assert_eq!(code, 0, "{err}");
    let told = json(&out);
    let number = |name: &str| told["estimate"][name].as_u64().unwrap();
    assert!(told["snapshot"].is_null() && number("likely") < number("at_most") && number("free") > 0, "{told}");
    assert_eq!(told["estimate"]["fits"], true);
    let root = |told: &serde_json::Value| {
        told["volumes"].as_array().unwrap().iter().find(|v| v["volume"] == "d0/p2").unwrap().clone()
    };
    let volume = root(&told);
    assert_eq!((&volume["method"], &volume["used"]), (&"used_blocks".into(), &volume["read"]));
    assert!(told["left_out"].is_array(), "{told}");
    let (code, out, _) = run(&dry);
    assert_eq!(code, 0);
    assert!(out.contains("nothing was saved") && out.contains("a guess"), "{out}");
    assert!(out.lines().all(|l| l.len() <= 80), "{out}");
    assert_eq!(packs(&store), 0);

    m.save();
    let (_, out, _) = run(&[&dry[..], &["--json"]].concat());
    let again = json(&out);
    assert!(again["estimate"]["read"].as_u64() < told["estimate"]["read"].as_u64(), "{again}");
    assert!(root(&again)["taken_over"].as_u64().unwrap() > 0, "{again}");
}
