//! A btrfs that a kernel wrote and that was cut off: inspected, saved, looked through and taken out, as scripts do it. Its root is a
//! subvolume, and what was synced last lies in its log.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What `seq` and `sed` of the script that made the image wrote.
fn words(from: u32, to: u32) -> String {
    (from..=to).map(|n| format!("line {n} of a text that is long enough to be worth it\n")).collect()
}

#[test]
fn files_of_a_btrfs_by_the_paths_of_its_system() {
    let m = Machine::new();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/disk/tests/fixtures/btrfs/today.img.zst");
    let (image, store) = (m.arg("today.img"), m.arg("store"));
    tool("zstd", "zstd", &["-q", "-d", "--long=27", "--sparse", kept.to_str().unwrap(), "-o", &image]);
    let before = fs::read(&image).unwrap();
    let (code, seen) = ask(&["inspect", &image]);
    assert_eq!(code, 0, "{seen}");
    let system = &seen["systems"][0];
    assert_eq!((&system["name"], &system["root"]["fs"]), (&"Fixture Linux".into(), &"btrfs".into()));
    let subvolumes = serde_json::json!([
        { "mount": "/", "volume": "d0", "path": "/@" },
        { "mount": "/home", "volume": "d0", "path": "/@home" },
    ]);
    assert_eq!(system["subvolumes"], subvolumes);
    assert_eq!(system["assessment"]["termination"]["value"], "abrupt", "it has a log");

    assert_eq!(run(&["store", "init", &store]).0, 0);
    let (code, _, err) = run(&["snapshot", &image, "--store", &store]);
    assert_eq!(code, 0, "{err}");
    assert!(fs::read(&image).unwrap() == before, "looking and saving write nothing");
    let get = |place: &str, to: &str| run(&["get", &format!("latest:{place}"), "-o", &m.arg(to), "--store", &store]);
    let content = |place: &str, to: &str| {
        let (code, _, err) = get(place, to);
        assert_eq!(code, 0, "{place}: {err}");
        fs::read_to_string(m.path(to)).unwrap()
    };
    assert_eq!(content("/home/user/letter-2", "letter"), words(3, 9), "in the subvolume that is mounted there");
    assert_eq!(content("d0:/saved/text", "old"), words(1, 400), "a snapshot beside it, by the path on the volume");
    assert_ne!(get("/saved/text", "none").0, 0, "the system does not mount that");
    // All of the root, with what is compressed and with holes.
    assert_eq!(get("/", "tree").0, 0);
    let taken = |path: &str| fs::read_to_string(m.path("tree").join(path)).unwrap();
    for kind in ["zlib", "lzo", "zstd"] {
        assert!(taken(kind) == words(1, 9000), "{kind}");
        assert_eq!(taken(&format!("{kind}-inline")), words(1, 30));
    }
    assert_eq!(taken("text"), words(1, 400) + &words(700, 900), "what was synced is there");
    let holes = fs::metadata(m.path("tree/holes")).unwrap();
    assert_eq!(holes.size(), 1_000_000);
    assert_eq!(taken("renamed/new-name"), words(1, 10));
    assert!(!m.path("tree/gone/file").exists() && m.path("tree/nested/inside").exists());
    let (code, list) = ask(&["ls", "latest:/", "--store", &store]);
    let names: Vec<&str> = list["entries"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert!(code == 0 && names.contains(&"etc") && !names.contains(&"@"), "{names:?}");
    let (code, list) = ask(&["ls", "latest", "--store", &store]);
    assert_eq!((code, &list["volumes"][0]["mount"], &list["volumes"][0]["fs"]), (0, &"/".into(), &"btrfs".into()));
    // Files are put only onto ext file systems.
    let (code, out, _) = run(&["put", "latest:/etc/hostname", &image, "--store", &store, "--plan"]);
    assert!(code == 4 && out.contains("no ext2, ext3 or ext4"), "{code}: {out}");
    assert!(fs::read(&image).unwrap() == before);
}
