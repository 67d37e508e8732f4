//! A store that was put back as a whole is noticed by the computer that saw it before.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use serde_json::Value;
use std::fs;
use std::process::Stdio;

/// The program of a computer whose memory lies in a directory of the machine's.
struct Computer<'a>(&'a Machine, &'a str);

impl Computer<'_> {
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = holdfast();
        command.env("XDG_STATE_HOME", self.0.path(self.1)).args(args).stdin(Stdio::null());
        let out = command.output().unwrap();
        (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    }

    /// With `--json`.
    fn ask(&self, args: &[&str]) -> (i32, Value) {
        let (code, out, _) = self.run(&[args, &["--json"]].concat());
        (code, json(&out))
    }

    /// The file in which it remembers the only store that it knows.
    fn memory(&self) -> std::path::PathBuf {
        let files = fs::read_dir(self.0.path(self.1).join("holdfast/heads")).unwrap();
        let files: Vec<_> = files.map(|f| f.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn warned(answer: &Value) -> bool {
    let warnings = answer["warnings"].as_array().unwrap();
    warnings.iter().any(|w| w.as_str().unwrap().contains("older than when this computer last saw it"))
}

#[test]
fn a_store_that_was_put_back_is_read_with_a_warning_and_not_written_to() {
    let m = Machine::new();
    let (disk, store) = m.both();
    let (here, elsewhere) = (Computer(&m, "here"), Computer(&m, "elsewhere"));
    assert_eq!(here.run(&["store", "init", &store]).0, 0);
    let save = ["snapshot", &disk, "--store", &store];
    assert_eq!(here.run(&save).0, 0);
    tool("cp", "coreutils", &["-r", &store, &m.arg("old")]);
    assert_eq!(here.run(&save).0, 0);
    assert_eq!(here.run(&save).0, 0);
    let remembered = fs::read(here.memory()).unwrap();
    let id = here.ask(&["snapshots", "--store", &store]).1["store"]["id"].as_str().unwrap().to_owned();
    assert_eq!(here.memory().file_name().unwrap().to_str(), Some(id.as_str()));

    // A plain copy may be older than the store that is repaired from it.
    let (code, repaired) = here.ask(&["repair", "--store", &store, "--from", &m.arg("old")]);
    assert_eq!((code, &repaired["warnings"]), (0, &serde_json::json!([])));
    assert_eq!(fs::read(here.memory()).unwrap(), remembered);

    fs::rename(&store, m.path("new")).unwrap();
    tool("cp", "coreutils", &["-r", &m.arg("old"), &store]);
    // Whoever has not seen it has nothing to say.
    let (code, _, err) = elsewhere.run(&["check", "--store", &store]);
    assert_eq!((code, err.as_str()), (0, ""));

    for args in [&["snapshots"][..], &["stats"], &["inspect", &disk], &["prune", "--dry-run"], &["forget", "--dry-run"]]
    {
        let (code, answer) = here.ask(&[args, &["--store", &store]].concat());
        assert_eq!((code, warned(&answer)), (0, true), "{args:?}: {answer}");
    }
    let (_, _, err) = here.run(&["snapshots", "--store", &store]);
    assert!(err.contains("warning: this store is older") && err.contains("newest 2 records"), "{err}");
    let (code, checked) = here.ask(&["check", "--store", &store]);
    assert_eq!((code, checked["damage"].as_array().unwrap().len()), (3, 1), "{checked}");
    let (code, plan) = here.ask(&["rollback", "latest", &disk, "--plan", "--store", &store]);
    assert_eq!((code, &plan["plan"]["usable"]), (4, &false.into()), "{plan}");

    let before = m.bytes();
    for args in [
        &["snapshot", &disk][..],
        &["note", "latest", "--pin"],
        &["forget", "latest", "--yes"],
        &["prune"],
        &["repair"],
        &["rollback", "latest", &disk, "--yes"],
    ] {
        let (code, _, err) = here.run(&[args, &["--store", &store]].concat());
        assert_eq!(code, 4, "{args:?}: {err}");
        assert!(args[0] == "rollback" || err.contains("holdfast check --accept-head"), "{args:?}: {err}");
    }
    assert_eq!(m.bytes(), before);
    let other = m.arg("other");
    assert_eq!(elsewhere.run(&["store", "init", &other]).0, 0);
    assert_eq!(elsewhere.run(&["snapshot", &disk, "--store", &other]).0, 0);
    assert_eq!(here.run(&["copy", "--store", &other, "--to", &store]).0, 4, "nor is anything copied into it");
    let same = tool("diff", "diffutils", &["-r", "-x", ".lock", &m.arg("old"), &store]);
    assert!(same.stdout.is_empty(), "{same:?}");

    // The newer copy is found: all is well again, and nothing was forgotten meanwhile.
    fs::rename(&store, m.path("older")).unwrap();
    fs::rename(m.path("new"), &store).unwrap();
    assert_eq!(fs::read(m.path("here/holdfast/heads").join(&id)).unwrap(), remembered);
    let (code, _, err) = here.run(&["check", "--store", &store]);
    assert_eq!((code, err.as_str()), (0, ""));

    // Or it is right as it is, and somebody says so.
    fs::rename(&store, m.path("new")).unwrap();
    fs::rename(m.path("older"), &store).unwrap();
    let (code, checked) = here.ask(&["check", "--accept-head", "--store", &store]);
    assert_eq!(code, 0, "{checked}");
    assert!(checked["accepted"]["differed"].as_str().unwrap().contains("older"), "{checked}");
    let (code, _, err) = here.run(&save);
    assert_eq!((code, err.as_str()), (0, ""));
    // From there on it is the other one that has another history.
    fs::rename(&store, m.path("older")).unwrap();
    fs::rename(m.path("new"), &store).unwrap();
    let (code, checked) = here.ask(&["check", "--store", &store]);
    assert_eq!(code, 3);
    assert!(checked["damage"][0].as_str().unwrap().contains("another history"), "{checked}");
}

#[test]
fn a_memory_that_is_of_no_use_is_none() {
    let m = Machine::new();
    let (disk, store) = m.both();
    let here = Computer(&m, "here");
    assert_eq!(here.run(&["store", "init", &store]).0, 0);
    assert_eq!(here.run(&["snapshot", &disk, "--store", &store]).0, 0);
    fs::write(here.memory(), "{\"number\": ").unwrap();
    let (code, _, err) = here.run(&["snapshot", &disk, "--store", &store]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(serde_json::from_slice::<Value>(&fs::read(here.memory()).unwrap()).is_ok(), "it is written anew");

    // A place that cannot be written to is a warning, and what was asked for is done.
    fs::write(m.path("file"), "").unwrap();
    let nowhere = Computer(&m, "file");
    let (code, answer) = nowhere.ask(&["snapshot", &disk, "--store", &store]);
    assert_eq!(code, 0, "{answer}");
    let warnings = answer["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("cannot remember"), "{answer}");
    // Without a home there is no memory, and nothing to say.
    let mut command = holdfast();
    command.env_remove("XDG_STATE_HOME").env_remove("HOME").args(["check", "--store", &store]);
    let out = command.output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
}
