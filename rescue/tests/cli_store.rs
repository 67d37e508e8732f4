//! Looking after a store, as scripts do it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_place_is_probed_before_a_store_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let store = store.to_str().unwrap();
    let (code, out, err) = run(&["store", "init", store, "--probe", "20MiB", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(json(&out)["store"]["probed"], 32 << 20, "whole objects of 16 MiB");
    let left = fs::read_dir(dir.path().join("store/probe")).unwrap();
    assert!(
        left.flat_map(|d| fs::read_dir(d.unwrap().path()).unwrap()).next().is_none(),
        "what was written is deleted"
    );
    assert_eq!(run(&["check", "--store", store]).0, 0);
    let (code, _, err) = run(&["store", "init", store, "--probe", "20MiB"]);
    assert_eq!(code, 4);
    assert!(err.contains("exists already"), "{err}");
}

#[test]
fn a_signing_key_is_made_once_and_for_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("signer");
    let name = file.to_str().unwrap();
    let (code, out, err) = run(&["key", "new-signer", "-o", name, "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(json(&out)["signer"].as_str().unwrap().len(), 64);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&file).unwrap();
    let (code, _, err) = run(&["key", "new-signer", "-o", name]);
    assert_eq!(code, 4);
    assert!(err.contains("exists already"), "{err}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn an_encrypted_store_opens_with_each_of_its_keys_and_nothing_else() {
    let m = Machine::new();
    let (disk, store) = m.both();
    for (name, text) in [("one", "first words\n"), ("two", "other words")] {
        fs::write(m.path(name), text).unwrap();
    }
    fs::write(m.path("short"), [7; 31]).unwrap();
    let [one, two, short] = ["one", "two", "short"].map(|n| m.arg(n));
    let (code, _, err) = run(&["store", "init", &store, "--key-file", &short]);
    assert_eq!(code, 4, "{err}");
    assert!(!m.path("store/format").exists());
    let (code, out, err) = run(&["store", "init", &store, "--passphrase-file", &one, "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(json(&out)["store"]["encrypted"], true);

    let (code, _, err) = run(&["snapshot", &disk, "--store", &store]);
    assert_eq!(code, 4);
    assert!(err.contains("is encrypted") && err.contains("--passphrase-file"), "{err}");
    let (code, _, err) = run(&["snapshot", &disk, "--store", &store, "--passphrase-file", &two]);
    assert_eq!(code, 4, "{err}");
    let (code, _, err) = run(&["snapshot", &disk, "--store", &store, "--passphrase-file", &one]);
    assert_eq!(code, 0, "{err}");

    let add = ["key", "add", "--store", &store, "--passphrase-file", &one, "--new-passphrase-file", &two];
    let (code, out, err) = run(&[&add[..], &["--label", "ann", "--json"]].concat());
    assert_eq!(code, 0, "{err}");
    let keys = json(&out);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    let labelled = keys["keys"].as_array().unwrap().iter().find(|k| k["label"] == "ann").unwrap();
    assert_eq!(labelled["id"], keys["added"]);
    let first = keys["keys"].as_array().unwrap().iter().find(|k| k["label"] != "ann").unwrap()["id"].clone();

    // The environment names the key for every verb.
    let out =
        holdfast().args(["snapshots", "--store", &store, "--json"]).env("HOLDFAST_PASSPHRASE_FILE", &two).output();
    assert_eq!(json(&String::from_utf8(out.unwrap().stdout).unwrap())["snapshots"].as_array().unwrap().len(), 1);

    let remove = |id: &str, with: &str| run(&["key", "remove", id, "--store", &store, "--passphrase-file", with]);
    assert_eq!(remove(first.as_str().unwrap(), &two).0, 0);
    assert_eq!(run(&["check", "--store", &store, "--passphrase-file", &one]).0, 4, "it was removed");
    let (code, _, err) = remove(labelled["id"].as_str().unwrap(), &two);
    assert_eq!(code, 4);
    assert!(err.contains("only key"), "{err}");
    assert_eq!(run(&["check", "--store", &store, "--read-data", "--passphrase-file", &two]).0, 0);
}

#[test]
fn a_key_is_never_used_on_a_store_without_encryption() {
    let m = Machine::new();
    m.save();
    let store = m.arg("store");
    fs::write(m.path("words"), "words").unwrap();
    let (code, _, err) = run(&["check", "--store", &store, "--passphrase-file", &m.arg("words")]);
    assert_eq!(code, 4);
    assert!(err.contains("not encrypted"), "{err}");
    assert_eq!(run(&["key", "list", "--store", &store]).0, 4);
}

#[test]
fn snapshots_are_named_pinned_and_forgotten() {
    let m = Machine::new();
    let (disk, store) = m.both();
    let first = m.save();
    let save = || {
        let (_, out, _) = run(&["snapshot", &disk, "--store", &store, "--json"]);
        json(&out)["snapshot"].as_str().unwrap().to_owned()
    };
    let others: Vec<String> = (0..3).map(|_| save()).collect();
    let note = |args: &[&str]| run(&[&["note", &first[..12], "--store", &store, "--json"], args].concat());
    let (code, out, err) = note(&["--label", "before the upgrade", "--pin"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!((&json(&out)["label"], &json(&out)["pinned"]), (&"before the upgrade".into(), &true.into()));
    let (_, out, _) = run(&["snapshots", "--store", &store]);
    assert!(out.contains("\"before the upgrade\", pinned"), "{out}");

    let forget = |args: &[&str]| run(&[&["forget", "--store", &store, "--json"], args].concat());
    let ids = |out: &str| json(out)["forget"].as_array().unwrap().clone();
    let (code, out, _) = forget(&["--keep-last", "1", "--dry-run"]);
    assert_eq!((code, ids(&out)), (0, vec![others[0].clone().into()]), "two good ones stay, and the pinned one");
    assert_eq!(json(&out)["keep"][0]["reasons"], serde_json::json!(["pinned", "labelled"]));
    let (code, out, err) = forget(&["--keep-last", "1"]);
    assert_eq!((code, &json(&out)["done"]), (4, &false.into()));
    assert!(err.contains("--yes"), "{err}");
    let (code, _, err) = forget(&[&first, "--yes"]);
    assert_eq!(code, 4);
    assert!(err.contains("pinned") && err.contains("--unpin"), "{err}");

    assert_eq!(forget(&["--keep-last", "1", "--yes"]).0, 0);
    assert_eq!(note(&["--unpin"]).0, 0);
    let (code, out, err) = forget(&[&first, &others[2], "--yes"]);
    assert_eq!((code, &json(&out)["done"]), (0, &true.into()), "{err}");
    let (_, out, _) = run(&["snapshots", "--store", &store, "--json"]);
    let left = json(&out)["snapshots"].clone();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["id"]), (1, &others[1].clone().into()));
    assert_eq!(run(&["check", "--store", &store, "--read-data"]).0, 0);
}

#[test]
fn a_required_signer_must_have_signed() {
    let m = Machine::new();
    let (disk, store) = m.both();
    let (file, other) = (m.arg("signer"), m.arg("other"));
    let signer = |file: &str| run(&["key", "new-signer", "-o", file]).1.trim().to_owned();
    let (ours, theirs) = (signer(&file), signer(&other));
    let unsigned = m.save();
    let (code, out, err) = run(&["snapshot", &disk, "--store", &store, "--sign-with", &file, "--json"]);
    assert_eq!(code, 0, "{err}");
    let signed = json(&out)["snapshot"].clone();

    let list = |signers: &str| run(&["snapshots", "--store", &store, "--require-signer", signers, "--json"]);
    let (code, out, _) = list(&ours);
    let listed = json(&out);
    assert_eq!((code, &listed["snapshots"][0]["id"]), (3, &signed), "the other one cannot be used");
    assert_eq!(listed["snapshots"][0]["signers"], serde_json::json!([ours]));
    assert_eq!(list(&theirs).0, 3);
    let rollback = |snapshot: &str, more: &[&str]| {
        run(&[&["rollback", snapshot, &disk, "--store", &store, "--require-signer", &ours], more].concat())
    };
    let (code, _, err) = rollback(&unsigned, &["--plan"]);
    assert_eq!(code, 4, "{err}");
    m.break_packages();
    let (code, _, err) = rollback(signed.as_str().unwrap(), &["--sign-with", &file, "--yes"]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = run(&["snapshot", &disk, "--store", &store, "--sign-with", &m.arg("disk.img")]);
    assert_eq!(code, 1, "{err}");
}
