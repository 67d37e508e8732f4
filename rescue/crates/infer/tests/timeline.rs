//! What is told of the histories that real machines and package managers left, one thing after the other, against the checked-in
//! `golden/timelines.txt`. Look at a difference before accepting it with `HOLDFAST_BLESS=1 cargo test -p infer --test timeline`.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::histories::{History, system};
use common::machine::{journals, wtmp, wtmpdb};
use infer::{combine, timeline};
use model::evidence::{ClockTrust, Evidence};
use model::inspection::Inspection;
use std::fmt::Write;
use std::path::Path;

fn told(out: &mut String, what: &str, evidence: Vec<Evidence>) {
    writeln!(out, "{what}").unwrap();
    for o in timeline(&system(), &Inspection::default(), &combine(evidence)) {
        let time = o.time.map_or_else(String::new, |t| {
            let trust = match t.trust {
                ClockTrust::Utc => "UTC",
                ClockTrust::LocalNoZone => "local",
                ClockTrust::Suspect => "wrong",
            };
            format!("{} {trust}", t.at)
        });
        let ids: Vec<&str> = o.evidence.iter().map(|id| id.0.as_str()).collect();
        writeln!(out, "  {time:<25} {} [{}: {}]", o.says, o.source, ids.join(" ")).unwrap();
    }
}

#[test]
fn real_histories() {
    let mut out = String::new();
    told(&mut out, "a machine, three starts: journal and wtmp", [journals(), wtmp()].concat());
    told(&mut out, "the same, wtmp alone", wtmp());
    told(&mut out, "another, wtmpdb, shut down", wtmpdb(false));
    told(&mut out, "the same, started again and cut off", wtmpdb(true));
    for name in [
        "rpm-upgraded",
        "dnf-upgraded",
        "dnf-failed",
        "dnf-killed-then-mended",
        "zypper-failed",
        "pacman-upgraded",
        "pacman-killed-after",
        "dnf5-killed-amid",
        "unattended-killed",
    ] {
        told(&mut out, name, History::of(name).evidence());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/timelines.txt");
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(&file, &out).unwrap();
    }
    let want = std::fs::read_to_string(&file).unwrap();
    assert_eq!(out, want, "{} differs.\nGot:\n{out}", file.display());
}
