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
    assert!(
        !dir.path().join("store/probe").exists() || fs::read_dir(dir.path().join("store/probe")).unwrap().count() == 0
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
