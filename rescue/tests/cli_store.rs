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
