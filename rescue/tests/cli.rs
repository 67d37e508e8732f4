//! The program as scripts meet it: verbs, exit codes, JSON.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::fs;
use std::process::Stdio;

#[test]
fn inspect_has_the_shape_of_the_contract_and_writes_nothing() {
    let m = Machine::new();
    let before = m.bytes();
    let (code, out, err) = run(&["inspect", &m.arg("disk.img"), "--json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let value = json(&out);
    let system = &value["systems"][0];
    assert_eq!(system["name"], "Debian GNU/Linux 12 (bookworm)");
    assert_eq!(system["root"], serde_json::json!({ "volume": "d0/p2", "fs": "ext4" }));
    let assessment = &system["assessment"];
    assert!(assessment["headline"].is_string());
    for (facet, more) in
        [("termination", Some("how")), ("start", None), ("installation", Some("packages")), ("change", Some("since"))]
    {
        let facet = assessment[facet].as_object().unwrap();
        for field in ["value", "confidence", "rule", "for", "against"].into_iter().chain(more) {
            assert!(facet.contains_key(field), "{field} in {facet:?}");
        }
        assert!(["certain", "likely", "weak"].contains(&facet["confidence"].as_str().unwrap()));
    }
    for e in system["evidence"].as_array().unwrap() {
        let e = e.as_object().unwrap();
        assert!(["id", "origin", "says", "time"].iter().all(|f| e.contains_key(*f)), "{e:?}");
        assert!(e["origin"]["path"].is_string() || e["origin"]["path"].is_null(), "names are text here");
    }
    assert_eq!(value["disks"][0]["volumes"][1]["volume"], "d0/p2");
    assert_eq!(value["findings"], serde_json::json!([]));
    assert_eq!(m.bytes(), before, "looking never writes");
}

#[test]
fn what_is_wrong_is_seen_and_explained() {
    let m = Machine::new();
    m.break_packages();
    let (code, out, _) = run(&["inspect", &m.arg("disk.img"), "--explain"]);
    assert_eq!(code, 0);
    assert!(out.contains("openssl") && out.contains("rule ") && out.contains("/var/lib/dpkg/status"), "{out}");
}

/// What it did is told to people, the newest of it, and to programs, all of it.
#[test]
fn what_it_did_is_told() {
    let m = Machine::new();
    let at = format!("{}?offset={}", m.arg("disk.img"), 9 << 20);
    for directory in ["/var/log", "/var/log/apt"] {
        tool("debugfs", "e2fsprogs", &["-w", "-R", &format!("mkdir {directory}"), &at]);
    }
    let one = |n: u32| {
        format!("Start-Date: 2026-11-2{n}  10:00:00\nCommandline: apt-get install p{n}\nInstall: p{n}:amd64 (1)\n\n")
    };
    let lines: String = (1..=8).map(one).collect();
    fs::write(m.path("history.log"), lines).unwrap();
    m.put(&m.arg("history.log"), "/var/log/apt/history.log");
    fs::write(m.path("dpkg.log"), "2026-11-20 10:00:00 startup archives unpack\n".repeat(2)).unwrap();
    m.put(&m.arg("dpkg.log"), "/var/log/dpkg.log");

    let (code, value) = ask(&["inspect", &m.arg("disk.img")]);
    assert_eq!(code, 0);
    let timeline = value["systems"][0]["timeline"].as_array().unwrap();
    let of = |what: &str| timeline.iter().filter(|o| o["what"] == what).collect::<Vec<_>>();
    let packages = of("packages");
    assert_eq!(packages.len(), 9, "{timeline:?}");
    let newest = serde_json::json!({
        "what": "packages", "manager": "apt", "command": "apt-get install p8", "ended": "open", "packages": ["p8"],
        "says": "apt-get install p8: has no end in apt's history (p8)", "source": "apt's history", "evidence": ["apt:1"],
        "time": { "at": "2026-11-28T10:00:00Z", "trust": "local_no_zone" },
    });
    assert_eq!(packages[0], &newest);
    assert_eq!(packages[8]["source"], "dpkg's log");

    let (_, short, _) = run(&["inspect", &m.arg("disk.img")]);
    assert!(
        short.contains("    2026-11-28 10:00 local apt-get install p8: has no end in apt's history (p8)"),
        "{short}"
    );
    let (_, all, _) = run(&["inspect", &m.arg("disk.img"), "--timeline"]);
    assert!(all.contains("dpkg wrote last: startup archives unpack") && !all.contains("(--timeline)"), "{all}");
    assert!(all.lines().all(|line| line.chars().count() < 80), "{all}");
}

#[test]
fn back_and_forth() {
    let m = Machine::new();
    let (disk, store) = m.both();
    let id = m.save();
    m.break_packages();
    let broken = m.bytes();

    let (code, out, _) = run(&["rollback", "latest:good", &disk, "--store", &store, "--plan", "--json"]);
    assert_eq!(code, 0);
    let plan = json(&out);
    assert_eq!((&plan["plan"]["to"], &plan["done"]), (&serde_json::json!(id), &serde_json::Value::Null));
    let plan = plan["plan"]["id"].as_str().unwrap().to_owned();

    // No approval, and the approval of another plan: nothing is written.
    let (code, out, err) = run(&["rollback", &id[..8], &disk, "--store", &store]);
    assert_eq!(code, 4);
    assert!(out.contains(&plan) && err.contains(&format!("--approve {plan}")), "{out}{err}");
    let (code, _, err) = run(&["rollback", &id, &disk, "--store", &store, "--approve", &"0".repeat(64)]);
    assert_eq!(code, 4);
    assert!(err.contains("another one now"), "{err}");
    assert_eq!(m.bytes(), broken);

    let (code, out, err) = run(&["rollback", "latest:good", &disk, "--store", &store, "--approve", &plan, "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(json(&out)["done"]["holds"], id);
    let (_, out, _) = run(&["inspect", &disk, "--json"]);
    assert_eq!(json(&out)["systems"][0]["assessment"]["good"], true);

    let (code, out, err) = run(&["undo", &disk, "--store", &store, "--yes", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(json(&out)["plan"]["action"], "undo");
    assert_eq!(m.bytes(), broken, "undo brings back every byte");

    let (code, out, _) = run(&["snapshots", "--store", &store, "--json"]);
    assert_eq!(code, 0);
    let list = json(&out);
    let purposes: Vec<_> =
        list["snapshots"].as_array().unwrap().iter().map(|s| s["purpose"].as_str().unwrap()).collect();
    assert_eq!(purposes, ["keep", "undo", "undo"]);
    // All about the first, for programs and for people.
    let (code, shown) = ask(&["show", &id[..8], "--store", &store]);
    assert_eq!((code, &shown["snapshot"]["id"]), (0, &serde_json::json!(id)), "{shown}");
    assert_eq!(shown["systems"][0]["assessment"]["good"], true);
    let saved: Vec<&str> = shown["volumes"].as_array().unwrap().iter().map(|v| v["volume"].as_str().unwrap()).collect();
    assert_eq!(saved, ["d0/p1", "d0/p2"]);
    assert!(shown["volumes"][1]["captured"].as_u64().unwrap() > 0 && shown["volumes"][1]["method"] == "used_blocks");
    let (code, out, _) = run(&["show", &id[..8], "--store", &store]);
    assert!(code == 0 && out.contains("What is saved of its disks") && out.contains("d0/p2, ext4: "), "{out}");
    assert_eq!(run(&["show", "0000", "--store", &store]).0, 1);
    let (code, out, _) = run(&["check", "--store", &store, "--read-data", "--json"]);
    assert_eq!((code, json(&out)["damage"].clone()), (0, serde_json::json!([])));
}

#[test]
fn a_saved_state_becomes_images() {
    let m = Machine::new();
    let (disk, store) = m.both();
    let other = m.arg("other.img");
    fs::copy(&disk, &other).unwrap();
    // Another disk with a table of its own, and a partition that nobody knows.
    tool("sgdisk", "gdisk", &["-G", "-n3:57M:+4M", "-t3:8300", &other]);
    let id = m.save();
    let (code, _, err) = run(&["snapshot", &disk, &other, "--store", &store]);
    assert_eq!(code, 0, "{err}");

    let one = m.arg("one.qcow2");
    let (code, out, err) = run(&["export", &id[..8], "-o", &one, "--store", &store, "--json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let value = json(&out);
    let image = &value["images"][0];
    assert_eq!((&value["snapshot"], &image["of"]), (&serde_json::json!(id), &serde_json::json!("d0")));
    assert_eq!((image["file"].as_str(), image["size"].as_u64()), (Some(one.as_str()), Some(64 << 20)));
    for lacking in ["left_out", "unreadable", "warnings"] {
        assert_eq!(image[lacking], serde_json::json!([]), "{lacking}");
    }
    tool("qemu-img", "qemu-utils", &["check", &one]);

    // Of two disks: a file of each, or the one that is named.
    let two = m.arg("two.img");
    let (code, out, err) = run(&["export", "latest", "-o", &two, "--store", &store]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("two-d0.img: d0 of") && out.contains("two-d1.img: d1 of"), "{out}");
    assert!(out.contains("warning: d1/p3 is not in the snapshot"), "{out}");
    assert!(!m.path("two.img").exists());
    let (code, _, err) = run(&["export", "latest", "-o", &two, "--only", "d1", "--store", &store]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(fs::read(m.path("two.img")).unwrap(), fs::read(m.path("two-d1.img")).unwrap());
    tool("qemu-img", "qemu-utils", &["compare", &one, &m.arg("two-d0.img")]);

    let root = m.arg("root.img");
    assert_eq!(run(&["export", "latest", "-o", &root, "--only", "d0/p2", "--store", &store]).0, 0);
    tool("e2fsck", "e2fsprogs", &["-fn", &root]);
    let parts = fs::read_dir(m.path(""))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains(".part-"));
    assert_eq!(parts.count(), 0, "nothing is left of the making");
}

#[test]
fn a_damaged_store_is_told_by_its_exit_code() {
    let m = Machine::new();
    m.save();
    let store = m.arg("store");
    let packs = fs::read_dir(m.path("store/packs")).unwrap();
    let pack = packs.flat_map(|d| fs::read_dir(d.unwrap().path()).unwrap()).next().unwrap().unwrap().path();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let (code, out, _) = run(&["check", "--store", &store, "--read-data", "--json"]);
    assert_eq!(code, 3, "{out}");
    let report = json(&out);
    assert!(!report["damage"].as_array().unwrap().is_empty());
}

#[test]
fn bad_input_is_refused_with_a_sentence_and_a_code() {
    let m = Machine::new();
    let (disk, store) = m.both();
    m.save();
    let format = fs::read_to_string(m.path("store/format")).unwrap();
    let newer = format.replace("\"version\": 1", "\"version\": 9");
    assert_ne!(format, newer, "the store's format file says its version");
    for dir in ["nothing", "newer"] {
        fs::create_dir(m.path(dir)).unwrap();
    }
    fs::write(m.path("newer/format"), newer).unwrap();
    fs::write(m.path("empty.img"), "").unwrap();
    fs::write(m.path("noise.img"), [0xa5; 100_000]).unwrap();
    let [nothing, newer, empty, noise] = ["nothing", "newer", "empty.img", "noise.img"].map(|n| m.arg(n));
    let (missing, out) = (m.arg("missing"), m.arg("out.img"));

    let table: [(&[&str], i32, &str); 23] = [
        (&["inspect", &missing], 1, "No such file"),
        (&["inspect", &nothing], 1, "neither a disk nor an image"),
        (&["inspect", &disk, &disk], 1, "twice"),
        (&["inspect", &empty], 0, ""),
        (&["inspect", &noise], 0, ""),
        (&["snapshot", &empty, "--store", &store], 1, "nothing on these disks"),
        (&["snapshot", &disk, "--store", &missing], 1, "No such file"),
        (&["snapshot", &disk, "--store", &nothing], 1, "store init"),
        (&["snapshot", &disk, "--store", &newer], 6, "newer"),
        (&["snapshots", "--store", &disk], 1, "Not a directory"),
        (&["snapshots", "--store", &newer], 6, "newer"),
        (&["check", "--store", &nothing], 1, "store init"),
        (&["store", "init", &store], 4, "exists already"),
        (&["rollback", "abcd", &disk, "--store", &store, "--yes"], 1, "not in the store"),
        (&["rollback", "latest", &noise, "--store", &store, "--yes"], 1, "not in the store"),
        (&["resume", &disk, "--store", &store, "--yes"], 4, "nothing to resume"),
        (&["undo", &disk, "--store", &store, "--yes"], 4, ""),
        (&[], 2, "a verb is missing"),
        (&["export", "latest", "--store", &store], 2, "FILE.qcow2"),
        (&["export", "latest", "-o", &disk, "--store", &store], 4, "exists already"),
        (&["export", "abcd", "-o", &out, "--store", &store], 1, "not in the store"),
        (&["rollback", "latest", &disk], 2, "--store"),
        (&["rollback", "newest", &disk, "--store", &store], 2, "latest:good"),
    ];
    for (args, code, says) in table {
        let (got, out, err) = run(args);
        assert_eq!(got, code, "{args:?}: {out}{err}");
        assert!(err.contains(says), "{args:?} says {err:?}");
        assert!(!err.contains("panicked"), "{args:?}: {err}");
        if code == 1 || code == 6 {
            let mut args = args.to_vec();
            args.push("--json");
            let (again, out, _) = run(&args);
            assert_eq!(again, code);
            assert_eq!(json(&out)["error"]["exit"], code, "{args:?}");
        }
    }
}

#[test]
fn help_lists_what_there_is_and_nothing_else() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for verb in [
        "inspect",
        "store init",
        "snapshot",
        "auto",
        "snapshots",
        "show",
        "rollback",
        "undo",
        "restore",
        "resume",
        "check",
        "export",
        "note",
        "forget",
        "prune",
        "stats",
        "copy",
        "repair",
        "key",
        "ls",
        "get",
        "tui",
    ] {
        assert!(help.contains(&format!("holdfast {verb}")), "{verb}");
        let (code, text, _) = run(&[verb.split(' ').next().unwrap(), "--help"]);
        assert_eq!(code, 0);
        assert!(text.starts_with(&format!("holdfast {verb}")), "{text}");
    }
    assert!(help.contains("holdfast diff "));
    assert_eq!(run(&["diff"]).0, 2);
    assert!(run(&["--version"]).1.starts_with("holdfast "));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let m = Machine::new();
    let mut child = holdfast()
        .args(["inspect", &m.arg("disk.img"), "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
}

#[test]
fn the_screens_need_a_terminal() {
    let (code, _, err) = run(&["tui"]);
    assert_eq!(code, 2);
    assert!(err.contains("not a terminal"), "{err}");
}
