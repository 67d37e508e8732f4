//! A saved state is started in a virtual machine, as scripts see it: with QEMU itself on a disk that nothing starts from, and with
//! programs that stand for it. That a real system is proven is shown in a machine test (`qemu-tests/tests/prove.rs`).
#![cfg(feature = "prove")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A directory that a program which gave up root can use, with a program that stands for QEMU.
fn standing_in(script: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("qemu-system-x86_64");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    for path in [dir.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    dir
}

fn prove(m: &Machine, path: &Path, more: &[&str]) -> Command {
    let mut command = holdfast();
    command.args(["prove", "latest", "--json", "--store", &m.arg("store")]).args(more);
    command.env("PATH", path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(mut command: Command) -> (i32, serde_json::Value) {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code().unwrap(), json(std::str::from_utf8(&out.stdout).unwrap_or(&said)))
}

fn proofs(m: &Machine) -> (serde_json::Value, serde_json::Value) {
    let (code, listed) = ask(&["snapshots", "--store", &m.arg("store")]);
    assert_eq!(code, 0);
    let snapshot = &listed["snapshots"][0];
    (snapshot["proven"].clone(), snapshot["unproven"].clone())
}

/// QEMU itself, its sandbox, its firmware, and disks over sockets: nothing starts from this one, and that is what is told.
#[test]
fn what_does_not_start_is_not_proven() {
    let m = Machine::new();
    let id = m.save();
    let path = PathBuf::from("/usr/bin");
    assert!(path.join("qemu-system-x86_64").exists(), "install the package qemu-system-x86");
    let scratch = m.path("scratch");
    fs::create_dir(&scratch).unwrap();
    let mut command = prove(&m, &path, &["--timeout", "4"]);
    command.env("TMPDIR", &scratch);
    let (code, proof) = ended(command);
    assert_eq!((code, &proof["verdict"], &proof["recorded"]), (3, &"not_proven".into(), &true.into()), "{proof}");
    assert_eq!((&proof["snapshot"], &proof["firmware"]), (&id.into(), &"uefi".into()), "{proof}");
    assert!(
        proof["why"].as_str().unwrap().contains("no root file system was mounted for writing in 4 seconds"),
        "{proof}"
    );
    assert!(proof["boot"].is_null() && proof["seconds"].as_u64().unwrap() >= 4, "{proof}");
    let (proven, unproven) = proofs(&m);
    assert!(proven.is_null() && unproven.as_str().unwrap().contains("no root file system"), "{unproven}");
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left");
}

#[test]
fn without_qemu_the_package_is_named() {
    let m = Machine::new();
    m.save();
    let empty = tempfile::tempdir().unwrap();
    let (code, answer) = ended(prove(&m, empty.path(), &[]));
    assert_eq!((code, &answer["error"]["code"]), (4, &"refused".into()));
    assert!(answer["error"]["advice"].as_str().unwrap().contains("qemu-system-x86"), "{answer}");
    // One that cannot begin is a failure of this computer, and nothing is held of the snapshot.
    let broken = standing_in("echo 'there is no such machine' >&2; echo 'at all' >&2; exit 1");
    let (code, answer) = ended(prove(&m, broken.path(), &[]));
    assert_eq!(code, 1, "{answer}");
    assert!(answer["error"]["says"].as_str().unwrap().contains("there is no such machine; at all"), "{answer}");
    assert_eq!(proofs(&m), (serde_json::Value::Null, serde_json::Value::Null));
}

/// Starts it with a program that only waits, and gives the id of that.
fn waiting(m: &Machine) -> (tempfile::TempDir, Child, u32) {
    let dir = standing_in("echo $$ >\"${0%/*}/part\"; mv \"${0%/*}/part\" \"${0%/*}/pid\"; exec sleep 600");
    let child = prove(m, dir.path(), &[]).spawn().unwrap();
    let began = Instant::now();
    let pid = loop {
        match fs::read_to_string(dir.path().join("pid")) {
            Ok(pid) => break pid.trim().parse().unwrap(),
            Err(_) if began.elapsed() < Duration::from_secs(60) => std::thread::sleep(Duration::from_millis(20)),
            Err(e) => panic!("it was not started: {e}"),
        }
    };
    (dir, child, pid)
}

fn is_gone(pid: u32) {
    let began = Instant::now();
    // One that ended and that nobody has asked about yet is gone, too.
    let runs = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while runs() {
        assert!(began.elapsed() < Duration::from_secs(20), "{pid} still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn nothing_outlives_it() {
    let m = Machine::new();
    m.save();
    let (_dir, child, pid) = waiting(&m);
    let user = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(!user.lines().any(|l| l.starts_with("Uid:\t0")), "it is not root's: {user}");
    signal(&child, "-INT");
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(5), "{out:?}");
    is_gone(pid);
    let (_dir, child, pid) = waiting(&m);
    signal(&child, "-KILL");
    child.wait_with_output().unwrap();
    is_gone(pid);
    assert_eq!(proofs(&m), (serde_json::Value::Null, serde_json::Value::Null));
}
