//! A root in an encrypted partition, as scripts work with it: cryptsetup encrypted it, and what is read of it comes from the sandboxed
//! parser, which never has the key.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::fs;
use std::os::unix::fs::FileExt;

const MIB: u64 = 1 << 20;

/// The machine's root, encrypted: on a disk of its own, with the header before it.
fn encrypted(m: &Machine) -> String {
    let whole = m.bytes();
    let container = m.path("container");
    let root = &whole[usize::try_from(9 * MIB).unwrap()..usize::try_from(57 * MIB).unwrap()];
    fs::write(&container, root).unwrap();
    fs::File::options().write(true).open(&container).unwrap().set_len(50 * MIB).unwrap();
    fs::write(m.path("words"), "correct horse\n").unwrap();
    fs::write(m.path("key"), "correct horse").unwrap();
    let args = [
        "-q",
        "reencrypt",
        "--encrypt",
        "--type",
        "luks2",
        "--reduce-device-size",
        "2M",
        "--luks2-metadata-size",
        "16k",
    ];
    let quick = [
        "--luks2-keyslots-size",
        "512k",
        "--pbkdf",
        "argon2id",
        "--pbkdf-force-iterations",
        "4",
        "--pbkdf-memory",
        "32",
    ];
    let key = m.arg("key");
    let rest = ["--pbkdf-parallel", "1", "--key-file", &key, container.to_str().unwrap()];
    tool("cryptsetup", "cryptsetup-bin", &[&args[..], &quick, &rest].concat());
    let disk = m.arg("luks.img");
    let file = fs::File::create(&disk).unwrap();
    file.set_len(64 * MIB).unwrap();
    tool("sgdisk", "gdisk", &["-n1:1M:+8M", "-t1:ef00", "-n2:9M:+50M", "-t2:8309", &disk]);
    file.write_all_at(&fs::read(container).unwrap(), 9 * MIB).unwrap();
    disk
}

#[test]
fn an_encrypted_root_is_unlocked_saved_and_taken_back() {
    let m = Machine::new();
    let disk = encrypted(&m);
    let before = fs::read(&disk).unwrap();
    let (store, words, key) = (m.arg("store"), m.arg("words"), m.arg("key"));
    let (by_words, by_key) = (format!("--unlock=d0/p2={words}"), format!("--unlock-key=d0/p2={key}"));
    let (code, seen) = ask(&["inspect", &disk]);
    assert_eq!((code, seen["systems"].as_array().unwrap().len()), (0, 0));
    let volume = &seen["disks"][0]["volumes"][1];
    assert_eq!((&volume["fs"], &volume["content"]["open"]), (&"luks".into(), &false.into()), "{volume}");
    for by in [&by_words, &by_key] {
        let (code, seen) = ask(&["inspect", &disk, by]);
        assert_eq!(code, 0, "{seen}");
        let system = &seen["systems"][0];
        assert_eq!((&system["root"]["volume"], &system["hostname"]), (&"d0/p2/luks".into(), &"web1".into()));
    }
    // Nobody is there to be asked, and another file does not open it.
    let (code, _, err) = run(&["inspect", &disk, "--unlock", "d0/p2"]);
    assert!(code == 4 && err.contains("--unlock d0/p2=FILE"), "{code}: {err}");
    let (code, _, err) = run(&["inspect", &disk, &format!("--unlock=d0/p2={disk}")]);
    assert!(code != 0, "{code}: {err}");
    fs::write(m.path("wrong"), "correct hose").unwrap();
    let (code, _, err) = run(&["inspect", &disk, &format!("--unlock=d0/p2={}", m.arg("wrong"))]);
    assert!(code == 4 && err.contains("this does not open d0/p2 (1 try so far)"), "{code}: {err}");

    assert_eq!(run(&["store", "init", &store]).0, 0);
    let (code, _, err) = run(&["snapshot", &disk, "--store", &store, &by_words]);
    assert!(code == 4 && err.contains("d0/p2/luks would be saved in clear"), "{code}: {err}");
    let (code, saved) = ask(&["snapshot", &disk, "--store", &store, &by_words, "--allow-plain"]);
    assert_eq!(code, 0, "{saved}");
    assert!(fs::read(&disk).unwrap() == before, "looking and saving write nothing");
    let out = m.arg("hostname");
    assert_eq!(run(&["get", "latest:/etc/hostname", "-o", &out, "--store", &store]).0, 0);
    assert_eq!(fs::read_to_string(out).unwrap(), "web1\n");

    // Into an encrypted one without a word more.
    let sealed = m.arg("sealed");
    let opens = ["--store", &sealed, "--passphrase-file", &words];
    assert_eq!(run(&["store", "init", &sealed, "--passphrase-file", &words]).0, 0);
    let (code, _, err) = run(&[&["snapshot", &disk, &by_key][..], &opens].concat());
    assert_eq!(code, 0, "{err}");

    let plain = m.arg("plain");
    assert_eq!(run(&["store", "init", &plain]).0, 0);
    let (code, _, err) = run(&[&["copy", "--to", &plain][..], &opens].concat());
    assert!(code == 4 && err.contains("holds d0/p2/luks, which lies encrypted"), "{code}: {err}");

    // The superblock of the inner file system and more is lost below it.
    let file = fs::File::options().write(true).open(&disk).unwrap();
    file.write_all_at(&noise(64 << 10, 5), 10 * MIB).unwrap();
    let rollback = [&["rollback", "latest", &disk, "--only", "d0/p2/luks", &by_key, "--full"][..], &opens].concat();
    let (code, out, err) = run(&[&rollback[..], &["--plan"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = run(&[&rollback[..], &["--yes"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    let used =
        |bytes: &[u8]| bytes[usize::try_from(10 * MIB).unwrap()..].iter().copied().take(64 << 10).collect::<Vec<u8>>();
    let after = fs::read(&disk).unwrap();
    assert!(after[..4096] == before[..4096] && used(&after)[..4096] == used(&before)[..4096], "encrypted as it was");
    let (code, seen) = ask(&["inspect", &disk, &by_key]);
    assert_eq!((code, &seen["systems"][0]["hostname"]), (0, &"web1".into()), "{seen}");
    let (code, _, err) = run(&[&["rollback", "latest", &disk, "--plan"][..], &opens].concat());
    assert!(code == 4 || err.is_empty(), "{code}: {err}");
}
