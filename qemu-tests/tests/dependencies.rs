//! Every dependency comes from crates.io, under a licence that fits ours, is pinned by the lock file, and is argued for.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// Licences whose terms a program under MIT OR Apache-2.0 can meet. An expression passes where one of its alternatives does.
const ACCEPTED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Zlib",
    "Unlicense",
    "Unicode-3.0",
    "BSL-1.0",
    "ISC",
    "0BSD",
    "CC0-1.0",
];

fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(qemu_tests::workspace::root())
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "cargo metadata --locked: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo prints JSON")
}

/// `A OR B`, `A/B`, `(A OR B) AND C`: every part joined by AND needs one accepted alternative.
fn accepted(expression: &str) -> bool {
    let alternatives = |part: &str| {
        part.trim_matches(['(', ')', ' '])
            .replace('/', " OR ")
            .split(" OR ")
            .any(|licence| ACCEPTED.contains(&licence.trim()))
    };
    expression.split(" AND ").all(alternatives)
}

#[test]
fn licences_are_read_rightly() {
    assert!(accepted("MIT/Apache-2.0") && accepted("(MIT OR GPL-2.0) AND Unicode-3.0"));
    assert!(!accepted("GPL-3.0-only") && !accepted("MIT AND GPL-2.0") && !accepted(""));
}

#[test]
fn every_dependency_is_known_and_free() {
    let metadata = metadata();
    let argued =
        fs::read_to_string(qemu_tests::workspace::root().join("docs/dependencies.md")).expect("docs/dependencies.md");
    let packages = metadata["packages"].as_array().expect("packages");
    let mut wrong = Vec::new();
    let mut direct = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        match package["source"].as_str() {
            None => direct.extend(
                package["dependencies"]
                    .as_array()
                    .expect("dependencies")
                    .iter()
                    .filter(|d| d["source"].is_string())
                    .filter_map(|d| d["name"].as_str()),
            ),
            Some("registry+https://github.com/rust-lang/crates.io-index") => {
                if !accepted(package["license"].as_str().unwrap_or_default()) {
                    wrong.push(format!("{name}: licence {}", package["license"]));
                }
            }
            Some(other) => wrong.push(format!("{name}: comes from {other}")),
        }
    }
    for name in direct {
        if !argued.contains(&format!("| `{name}` |")) {
            wrong.push(format!("{name}: docs/dependencies.md does not say why it is here"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
