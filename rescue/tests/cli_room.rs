//! The room that a store takes, and what is done with two stores, as scripts do it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use serde_json::{Value, json as value};
use std::fs;
use std::path::PathBuf;

/// Two snapshots, the second of a disk with other packages and 3 MB more on it.
fn two(m: &Machine) -> (String, String) {
    let first = m.save();
    m.break_packages();
    // Noise, so that it is not compressed: each byte of a simple generator.
    let noise = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes()[1]);
    fs::write(m.path("noise"), noise.collect::<Vec<u8>>()).unwrap();
    m.put(&m.arg("noise"), "/noise");
    (first, m.save())
}

fn sum_of_packs(m: &Machine, store: &str) -> u64 {
    packs(m, store).iter().map(|p| fs::metadata(p).unwrap().len()).sum()
}

fn packs(m: &Machine, store: &str) -> Vec<PathBuf> {
    let dirs = fs::read_dir(m.path(store).join("packs")).unwrap();
    dirs.flat_map(|d| fs::read_dir(d.unwrap().path()).unwrap()).map(|p| p.unwrap().path()).collect()
}

#[test]
fn room_is_told_and_freed() {
    let m = Machine::new();
    let store = m.arg("store");
    let (first, second) = two(&m);
    let before = sum_of_packs(&m, "store");
    let (code, stats) = ask(&["stats", "--store", &store]);
    assert_eq!((code, stats["stored"].as_u64()), (0, Some(before)));
    let number = |name: &str| stats[name].as_u64().unwrap();
    assert!(number("logical") > number("distinct") && number("distinct") > number("live"), "{stats}");
    assert_eq!((number("dead"), stats["snapshots"].as_array().unwrap().len()), (0, 2));
    let unique = stats["snapshots"][1]["unique"].as_u64().unwrap();
    assert!((3_000_000..3_300_000).contains(&unique), "{unique}");
    assert_eq!(stats["snapshots"][1]["shared"], stats["snapshots"][0]["shared"]);
    let (_, out, _) = run(&["stats", "--store", &store]);
    assert!(out.lines().all(|l| l.len() <= 80), "{out}");
    assert!(out.contains(&second[..8]) && out.contains("3.0 MB"), "{out}");

    let (code, plan) = ask(&["forget", &second, "--dry-run", "--store", &store]);
    assert_eq!((code, &plan["frees"], &plan["pruned"]), (0, &value!(unique), &Value::Null));
    let (_, plan) = ask(&["prune", "--store", &store]);
    assert_eq!((&plan["pruned"]["deleted"], &plan["pruned"]["condemned"]), (&value!(0), &value!(0)), "all is needed");

    // Forgotten and pruned at once: what is not needed is marked, and the next prune frees it.
    let (code, forgot) = ask(&["forget", &second, "--yes", "--prune", "--store", &store]);
    assert_eq!((code, &forgot["done"], &forgot["frees"]), (0, &value!(true), &Value::Null));
    let marked = forgot["pruned"]["to_be_freed"].as_u64().unwrap();
    assert!(marked >= unique, "{forgot}");
    let (_, told) = ask(&["prune", "--dry-run", "--store", &store]);
    assert_eq!((&told["done"], &told["pruned"]["freed"]), (&value!(false), &value!(marked)));
    let still = sum_of_packs(&m, "store");
    assert!(still >= before, "a dry run deletes nothing");
    let (_, out, _) = run(&["prune", "--dry-run", "--store", &store]);
    assert!(out.contains("would free"), "{out}");
    // There is nothing to forget: `--prune` prunes.
    let (code, forgot) = ask(&["forget", "--prune", "--store", &store]);
    assert_eq!((code, &forgot["done"], &forgot["pruned"]["freed"]), (0, &value!(false), &value!(marked)));
    assert_eq!(sum_of_packs(&m, "store"), still - marked);
    assert_eq!(run(&["check", "--read-data", "--store", &store]).0, 0);

    // At once, where that is wanted.
    let third = m.save();
    assert_eq!(run(&["forget", &third, "--yes", "--store", &store]).0, 0);
    let (_, told) = ask(&["prune", "--now", "--store", &store]);
    assert_eq!(told["pruned"]["condemned"], 0, "{told}");
    assert!(told["pruned"]["freed"].as_u64().unwrap() >= 3_000_000, "{told}");
    let (_, list) = ask(&["snapshots", "--store", &store]);
    assert_eq!(list["snapshots"][0]["id"], first);
    assert_eq!(run(&["check", "--read-data", "--store", &store]).0, 0);
}

#[test]
fn snapshots_are_copied_into_an_encrypted_store() {
    let m = Machine::new();
    let (disk, store) = m.both();
    let (first, second) = two(&m);
    assert_eq!(run(&["note", &first, "--label", "before", "--pin", "--store", &store]).0, 0);
    fs::write(m.path("words"), "some words").unwrap();
    let (words, to) = (m.arg("words"), m.arg("sealed"));
    let (code, _, err) = run(&["copy", "--store", &store, "--to", &to, "--to-passphrase-file", &words]);
    assert_eq!(code, 1, "no store is made by it: {err}");
    assert_eq!(run(&["store", "init", &to, "--passphrase-file", &words]).0, 0);
    let (code, _, err) = run(&["copy", "--store", &store, "--to", &to]);
    assert_eq!(code, 4);
    assert!(err.contains("--to-passphrase-file") && err.contains("HOLDFAST_TO_PASSPHRASE_FILE"), "{err}");
    let (code, _, err) = run(&["copy", "--store", &store, "--to", &store]);
    assert_eq!(code, 4);
    assert!(err.contains("same store"), "{err}");

    let copy = |named: &[&str]| {
        let rest = ["--store", &store, "--to", &to, "--to-passphrase-file", &words];
        ask(&[&["copy"], named, &rest].concat())
    };
    let (code, copied) = copy(&[&first[..12]]);
    assert_eq!((code, &copied["copied"], &copied["present"]), (0, &value!([first]), &value!([])));
    assert!(copied["read"].as_u64() > Some(0) && copied["stored"].as_u64() > Some(0), "{copied}");
    let (code, copied) = copy(&[]);
    assert_eq!((code, &copied["copied"], &copied["present"]), (0, &value!([second]), &value!([first])));
    let (_, again) = copy(&[]);
    assert_eq!((&again["copied"], &again["stored"]), (&value!([]), &value!(0)));

    // What is said of a snapshot later follows it, once; what is said there after that is not said over.
    let sealed = ["--store", &to, "--passphrase-file", &words];
    let label = |of: &str, text: &str, at: &[&str]| {
        assert_eq!(run(&[&["note", of, "--label", text], at].concat()).0, 0);
    };
    label(&second, "later", &["--store", &store]);
    let (_, again) = copy(&[]);
    assert_eq!((&again["copied"], &again["noted"]), (&value!([]), &value!([second])));
    label(&second, "there", &sealed);
    assert_eq!(copy(&[]).1["noted"], value!([]));
    let labels = || {
        let (_, list) = ask(&[&["snapshots"][..], &sealed].concat());
        [list["snapshots"][0]["label"].clone(), list["snapshots"][1]["label"].clone()]
    };
    assert_eq!(labels(), [value!("before"), value!("there")]);
    label(&second, "", &["--store", &store]);
    assert_eq!(copy(&[]).1["noted"], value!([second]));
    assert_eq!(labels(), [value!("before"), Value::Null]);

    let (_, list) = ask(&[&["snapshots"][..], &sealed].concat());
    let list = list["snapshots"].as_array().unwrap();
    assert_eq!(
        (&list[0]["id"], &list[0]["label"], &list[0]["pinned"]),
        (&value!(first), &value!("before"), &value!(true))
    );
    assert_eq!((list.len(), &list[1]["id"], &list[1]["pinned"]), (2, &value!(second), &value!(false)));

    // The copy is as good as the first: the same image comes out of it, and the disk goes back to it.
    for (name, from) in [("a.img", &["--store", &store][..]), ("b.img", &sealed)] {
        let (code, _, err) = run(&[&["export", &first, "-o", &m.arg(name)][..], from].concat());
        assert_eq!(code, 0, "{err}");
    }
    assert_eq!(fs::read(m.path("a.img")).unwrap(), fs::read(m.path("b.img")).unwrap());
    let (code, _, err) = run(&[&["rollback", &first, &disk, "--yes"][..], &sealed].concat());
    assert_eq!(code, 0, "{err}");
    let (_, out, _) = run(&["inspect", &disk, "--json"]);
    assert_eq!(json(&out)["systems"][0]["assessment"]["installation"]["value"], "idle");
}

#[test]
fn a_store_that_lost_a_pack_is_repaired_from_its_copy() {
    let m = Machine::new();
    let store = m.arg("store");
    let (first, second) = two(&m);
    let copy = m.arg("copy");
    assert_eq!(run(&["store", "init", &copy]).0, 0);
    assert_eq!(run(&["copy", "--store", &store, "--to", &copy]).0, 0);
    let (code, nothing) = ask(&["repair", "--store", &store]);
    assert_eq!((code, &nothing["damaged"], &nothing["broken"]), (0, &value!([]), &value!([])));

    let largest = packs(&m, "store").into_iter().max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap();
    fs::remove_file(&largest).unwrap();
    assert_eq!(run(&["check", "--store", &store]).0, 3);
    let (code, _, err) = run(&["prune", "--store", &store]);
    assert_eq!(code, 3);
    assert!(err.contains("nothing was freed") && err.contains("holdfast repair"), "{err}");
    assert_eq!(run(&["stats", "--store", &store]).0, 3);
    let (code, alone) = ask(&["repair", "--store", &store]);
    assert_eq!(code, 3);
    assert_eq!(alone["damaged"], value!([largest.file_name().unwrap().to_str().unwrap()]));
    let broken: Vec<&Value> = alone["broken"].as_array().unwrap().iter().map(|b| &b["snapshot"]).collect();
    assert_eq!(
        (alone["healed"].clone(), broken.contains(&&value!(first)) || broken.contains(&&value!(second))),
        (value!([]), true)
    );
    let (_, out, _) = run(&["repair", "--store", &store]);
    assert!(out.contains("STILL DAMAGED") && out.contains("--from"), "{out}");

    // What cannot be read is not copied, and holds up nothing else.
    let third = m.arg("third");
    assert_eq!(run(&["store", "init", &third]).0, 0);
    let (code, copied) = ask(&["copy", "--store", &store, "--to", &third]);
    assert_eq!((code, copied["failed"].as_array().unwrap().len()), (3, broken.len()), "{copied}");
    assert_eq!(copied["copied"].as_array().unwrap().len() + broken.len(), 2);
    assert_eq!(run(&["check", "--read-data", "--store", &third]).0, 0);

    let (code, healed) = ask(&["repair", "--store", &store, "--from", &copy]);
    assert_eq!((code, healed["healed"].as_array().unwrap().len(), &healed["broken"]), (0, broken.len(), &value!([])));
    assert_eq!(run(&["check", "--read-data", "--store", &store]).0, 0);

    // A pack of which bytes flipped: what is good in it is saved, the rest comes from a plain copy of the directory.
    tool("cp", "coreutils", &["-r", &store, &m.arg("backup")]);
    let largest = packs(&m, "store").into_iter().max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let (code, healed) = ask(&["repair", "--store", &store, "--from", &m.arg("backup")]);
    assert_eq!((code, &healed["broken"]), (0, &value!([])), "{healed}");
    assert!(healed["salvaged"].as_u64() > Some(0), "{healed}");
    // What is damaged lies there until it is pruned away.
    assert_eq!(run(&["check", "--read-data", "--store", &store]).0, 3);
    assert_eq!(run(&["prune", "--store", &store]).0, 0);
    assert!(!largest.exists());
    assert_eq!(run(&["check", "--read-data", "--store", &store]).0, 0);
}
