//! `holdfast auto`: what a policy makes of a machine's states.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use serde_json::{Value, json as value};
use std::fs;

/// Runs `auto` with a policy; gives what it answers.
fn auto(m: &Machine, policy: &str, more: &[&str]) -> Value {
    let (disk, store) = m.both();
    fs::write(m.path("policy.conf"), policy).unwrap();
    let policy = m.arg("policy.conf");
    let args = [&["auto", &disk, "--store", &store, "--policy", &policy, "--json"], more].concat();
    let (code, out, err) = run(&args);
    assert_eq!(code, 0, "{out}{err}");
    json(&out)
}

fn listed(m: &Machine) -> Vec<Value> {
    let (_, out, _) = run(&["snapshots", "--store", &m.arg("store"), "--json"]);
    json(&out)["snapshots"].as_array().unwrap().clone()
}

fn with_store() -> Machine {
    let m = Machine::new();
    assert_eq!(run(&["store", "init", &m.arg("store")]).0, 0);
    m
}

#[test]
fn a_state_is_saved_once() {
    let m = with_store();
    let before = m.bytes();
    let (disk, store) = m.both();
    let (code, out, err) = run(&["auto", &disk, "--store", &store]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("saved as "), "{out}");
    let id = listed(&m)[0]["id"].clone();

    let (code, out, err) = run(&["auto", &disk, "--store", &store, "--json"]);
    assert_eq!(code, 0, "a skip is a success: {err}");
    let skipped = json(&out);
    let why = skipped["skipped"].as_str().unwrap();
    assert!(why.contains(&id.as_str().unwrap()[..8]) && why.starts_with("nothing changed since"), "{why}");
    assert_eq!((&skipped["snapshot"], &skipped["decision"]["save"]), (&Value::Null, &value!(false)));
    assert_eq!(listed(&m).len(), 1);
    // The file systems of then, and a byte of the gap before the first partition written below all of them.
    let mut bytes = m.bytes();
    assert_eq!(bytes, before, "the target was only read");
    bytes[200 * 512] ^= 1;
    fs::write(m.disk(), bytes).unwrap();
    let saved = auto(&m, "", &["--dry-run"]);
    assert_eq!((&saved["decision"]["save"], &saved["done"]), (&value!(true), &value!(false)));
    assert_eq!(listed(&m).len(), 1, "a dry run saves nothing");
    assert_eq!(auto(&m, "", &[])["skipped"], Value::Null);
    assert_eq!(listed(&m).len(), 2);

    // A policy may want it all the same, and manual snapshots ask no policy.
    assert!(auto(&m, "[save]\nunchanged = save\n", &[])["snapshot"].is_string());
    m.save();
    assert_eq!(listed(&m).len(), 4);
    let full = auto(&m, "[full]\nevery = 4\n", &[]);
    assert_eq!(full["decision"]["everything"], true, "the first read everything, then three did not");
    assert!(full["volumes"].as_array().unwrap().iter().all(|v| v["by"] == "content"), "{full}");
    assert_eq!(auto(&m, "[full]\nevery = 4\n", &[])["snapshot"], Value::Null, "and that is counted anew");
}

#[test]
fn a_broken_state_is_called_so() {
    let m = with_store();
    let good = m.save();
    m.break_packages();
    let saved = auto(&m, "", &[]);
    assert_eq!(saved["decision"]["label"], "broken");
    let list = listed(&m);
    assert_eq!((&list[1]["label"], &list[1]["good"]), (&value!("broken"), &value!(false)));
    assert_eq!((&list[0]["label"], &list[0]["id"]), (&Value::Null, &value!(good)));
    let (disk, store) = m.both();
    let (_, out, _) = run(&["rollback", "latest:good", &disk, "--store", &store, "--plan", "--json"]);
    assert_eq!(json(&out)["plan"]["to"], good);
    // The label of a policy protects nothing from being forgotten; that of a person does.
    let id = saved["snapshot"].as_str().unwrap();
    m.save();
    let forget = ["forget", "--store", &store, "--keep-last", "1", "--dry-run", "--json"];
    assert_eq!(json(&run(&forget).1)["forget"], value!([id]));
    assert_eq!(run(&["note", id, "--label", "look into this", "--store", &store]).0, 0);
    assert_eq!(json(&run(&forget).1)["forget"], value!([]));
}

#[test]
fn what_is_not_kept_is_forgotten_where_the_policy_says_so() {
    let m = with_store();
    let policy = "[save]\nunchanged = save\n[keep]\nlast = 1\nprune = yes\n";
    for _ in 0..3 {
        assert_eq!(auto(&m, "[save]\nunchanged = save\n", &[])["forgotten"], value!([]), "nobody said so");
    }
    let first = listed(&m)[0]["id"].clone();
    let kept = auto(&m, policy, &[]);
    let list = listed(&m);
    assert_eq!(list.len(), 2, "the floor: two good ones");
    assert_eq!(kept["forgotten"].as_array().unwrap().len(), 2);
    assert_eq!(kept["forgotten"][0], first);
    assert!(kept["pruned"].is_object(), "{kept}");
    assert_eq!(list[1]["id"], kept["snapshot"]);
    let skipped = auto(&m, "[keep]\nlast = 1\n", &[]);
    assert_eq!((&skipped["snapshot"], &skipped["forgotten"]), (&Value::Null, &value!([])));
}

#[test]
fn a_policy_that_makes_no_sense_does_nothing() {
    let m = with_store();
    let (disk, store) = m.both();
    let policy = m.arg("policy.conf");
    for (text, says) in [
        ("[save]\nunchangd = skip\n".as_bytes(), "line 2: [save] has no key `unchangd`; it has unchanged, "),
        (b"\xff\xfe[\0s\0", "UTF-8"),
        (&[b'#'; 20_000], "at most 16384 bytes"),
    ] {
        fs::write(&policy, text).unwrap();
        let (code, out, err) = run(&["auto", &disk, "--store", &store, "--policy", &policy, "--json"]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(says), "{err}");
        assert_eq!(json(&out)["error"]["exit"], 1);
    }
    let missing = m.arg("missing");
    let (code, _, err) = run(&["auto", &disk, "--store", &store, "--policy", &missing]);
    assert!(code == 1 && err.contains("No such file"), "{err}");
    assert_eq!(run(&["auto", &disk]).0, 2);
    assert_eq!(run(&["engine", "--policy", "auto"]).0, 2);
    assert!(listed(&m).is_empty());
}
