//! Completions and the manual page, judged by the shells and by mandoc.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::run;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a shell or tool; where it is not there the test fails and names the package.
fn tool(name: &str, args: &[&str], at: &Path) -> Output {
    match Command::new(name).args(args).current_dir(at).output() {
        Ok(out) => out,
        Err(e) => panic!("{name} cannot be run ({e}): install the package {name}"),
    }
}

fn printed(args: &[&str]) -> String {
    let (code, out, err) = run(args);
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    out
}

/// What bash offers for the last of these words.
fn offered(at: &Path, words: &[&str]) -> Vec<String> {
    let quoted: Vec<String> = words.iter().map(|w| format!("'{w}'")).collect();
    let script = format!(
        "source ./completions; COMP_WORDS=({}); COMP_CWORD={}; _holdfast; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1
    );
    let out = tool("bash", &["--norc", "-ec", &script], at);
    assert!(out.status.success() && out.stderr.is_empty(), "{words:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap().lines().filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_options_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("completions"), printed(&["completions", "bash"])).unwrap();
    fs::write(at.join("disk of web1.img"), "").unwrap();
    fs::create_dir(at.join("store")).unwrap();
    let whole = tool("bash", &["-n", "completions"], at);
    assert!(whole.status.success() && whole.stderr.is_empty(), "{whole:?}");

    assert_eq!(offered(at, &["holdfast", "snap"]), ["snapshot", "snapshots"]);
    assert_eq!(offered(at, &["holdfast", "rollback", "--fo"]), ["--foreign-machine"]);
    assert_eq!(offered(at, &["holdfast", "rollback", "lat"]), ["latest", "latest:good"]);
    assert_eq!(offered(at, &["holdfast", "rollback", "latest", "disk"]), ["disk of web1.img"]);
    assert_eq!(offered(at, &["holdfast", "inspect", "disk.img", "--store", ""]), ["store"]);
    assert_eq!(offered(at, &["holdfast", "prove", "latest", "--bus", ""]), ["sata", "virtio", "nvme"]);
    assert_eq!(offered(at, &["holdfast", "key", "new"]), ["new-signer"]);
    assert_eq!(offered(at, &["holdfast", "export", "latest", "-o", "dis"]), ["disk of web1.img"]);
    assert_eq!(offered(at, &["holdfast", "note", "latest", "--label", "x"]), Vec::<String>::new());
    assert_eq!(offered(at, &["holdfast", "stats", "--p"]), ["--passphrase-file"]);
    // Every verb, and none of the roles that nobody types.
    let verbs = offered(at, &["holdfast", ""]);
    assert!(verbs.contains(&"repair-boot".to_owned()) && !verbs.contains(&"parser".to_owned()), "{verbs:?}");
    for verb in verbs.iter().filter(|v| !v.starts_with("--")) {
        assert!(printed(&["help", verb]).contains(verb.as_str()), "{verb}");
    }
}

#[test]
fn other_shells_can_read_theirs() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["zsh", "fish"] {
        fs::write(dir.path().join(shell), printed(&["completions", shell])).unwrap();
        let out = tool(shell, &["-n", shell], dir.path());
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    }
    // fish can be asked without a terminal.
    let script = "source fish; complete -C 'holdfast repair-b'; complete -C 'holdfast prove latest --bus '";
    let out = tool("fish", &["--no-config", "-c", script], dir.path());
    let out = String::from_utf8(out.stdout).unwrap();
    assert!(out.contains("repair-boot") && out.contains("nvme"), "{out}");
    let (code, _, err) = run(&["completions", "csh"]);
    assert!(code == 2 && err.contains("bash, zsh, fish"), "{err}");
}

#[test]
fn the_manual_page_is_one_and_has_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("holdfast.1"), printed(&["man"])).unwrap();
    let lint = tool("mandoc", &["-T", "lint", "-W", "warning", "holdfast.1"], dir.path());
    // It is of whatever day the program was built.
    let lint = String::from_utf8(lint.stdout).unwrap();
    let wrong: Vec<&str> = lint.lines().filter(|l| !l.contains("missing date")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let shown = tool("mandoc", &["-T", "ascii", "-O", "width=78", "holdfast.1"], dir.path());
    // Bold is a character, a backspace, and the character again.
    let shown = String::from_utf8(shown.stdout).unwrap();
    let shown: String = shown.chars().fold(String::new(), |mut out, c| {
        match c {
            '\u{8}' => out.truncate(out.len() - 1),
            c => out.push(c),
        }
        out
    });
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let all = plain(&shown);
    let help = printed(&["--help"]);
    let verbs: Vec<&str> = help.lines().filter_map(|l| l.strip_prefix("  holdfast ")?.split(' ').next()).collect();
    assert!(verbs.len() > 25, "{verbs:?}");
    for verb in verbs {
        let help = printed(&[verb, "--help"]);
        let words = plain(&help);
        for word in words.split(' ').filter(|w| w.starts_with("--") || w.starts_with('/')) {
            assert!(all.contains(word), "{verb}: {word} is not in the page");
        }
        // Its last sentence, word for word: nothing was lost on the way.
        let end: Vec<&str> = words.split(' ').rev().take(6).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        assert!(all.contains(&end.join(" ")), "{verb}: {end:?}");
    }
}
