//! Who may import whom: `cargo metadata` against the table of docs/architecture.md. Dev-dependencies are exempt.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each crate of ours may depend on among our own. `None`: anything.
const ALLOWED: &[(&str, Option<&[&str]>)] = &[
    ("model", Some(&[])),
    ("infer", Some(&["model"])),
    ("disk", Some(&["model"])),
    ("store", Some(&["model"])),
    ("sys", Some(&["model"])),
    ("engine", Some(&["infer", "disk", "store", "sys", "model"])),
    ("hostile", Some(&["engine", "infer", "disk", "store", "model"])),
    ("holdfast", Some(&["engine", "model"])),
    ("initramfs", Some(&["sys", "model"])),
    ("image-builder", Some(&["disk", "sys", "model"])),
    ("qemu-tests", None),
];

/// Crates from outside that only some of ours may name: drawing belongs to the program, raw system calls to `sys`.
const KEPT_FROM: &[(&str, &[&str])] = &[
    ("ratatui", &["model", "infer", "disk", "store", "sys", "engine", "initramfs", "image-builder"]),
    ("crossterm", &["model", "infer", "disk", "store", "sys", "engine", "initramfs", "image-builder"]),
    ("libc", &["model", "infer", "disk", "store", "engine", "holdfast"]),
];

#[derive(serde::Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(serde::Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(serde::Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let out = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Metadata = serde_json::from_slice(&out.stdout).unwrap();
    let real = |p: Package| {
        let used = p.dependencies.into_iter().filter(|d| d.kind.as_deref() != Some("dev")).map(|d| d.name).collect();
        (p.name, used)
    };
    metadata.packages.into_iter().map(real).collect()
}

#[test]
fn nobody_imports_upwards() {
    let all = dependencies();
    let known: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    let ours: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(ours, known, "a crate was added or removed: say here what it may import");
    for (name, allowed) in ALLOWED {
        let Some(allowed) = allowed else { continue };
        for used in all[*name].iter().filter(|d| ours.contains(d.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{name} imports {used}; it may import {allowed:?}");
        }
    }
    for (foreign, kept) in KEPT_FROM {
        for name in *kept {
            assert!(!all[*name].contains(*foreign), "{name} names {foreign}");
        }
    }
}
