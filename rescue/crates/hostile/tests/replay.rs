//! What the fuzzer found once (`rescue/fuzz/corpus`), and a sample of what it begins with, put to the same targets again.

use hostile::{Limits, TARGETS, target};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Inputs to begin with that are replayed of each target: the fuzzer has all of them.
const SAMPLE: usize = 16;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// What was found of a target, by name of the file.
fn found(name: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(fuzz().join("corpus").join(name)).into_iter().flatten().flatten();
    let read = entries.map(|e| (e.path().display().to_string(), fs::read(e.path()).expect("a file of the corpus")));
    let mut all: Vec<_> = read.collect();
    all.sort();
    all
}

fn replay(name: &str) {
    let target = target(name).unwrap_or_else(|| panic!("there is no target {name}"));
    for (file, bytes) in found(name) {
        println!("{file}");
        target.run(&bytes, Limits::TESTING);
    }
    let seeds = target.seeds();
    assert!(!seeds.is_empty(), "{name} has nothing to begin with");
    for (nth, bytes) in seeds.iter().enumerate().step_by(seeds.len().div_ceil(SAMPLE)) {
        println!("seed {nth} of {name}");
        target.run(bytes, Limits::TESTING);
    }
}

macro_rules! replayed {
    ($($name:ident),* $(,)?) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*
    };
}

replayed!(
    answers, boot, btrfs, content, database, esp, evidence, exfat, ext4, fat, firmware, journal, listing, luks, lvm,
    machine, md, ntfs, objects, plans, policy, store, table, talk, xfs,
);

/// Each target is replayed here, and has its program, and there is no program or corpus without one.
#[test]
fn every_target_has_its_program() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|t| t.name.to_owned()).collect();
    assert_eq!(targets, REPLAYED.iter().map(|name| (*name).to_owned()).collect());
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(folder)).into_iter().flatten().flatten();
        entries.filter_map(|e| Some(e.path().file_stem()?.to_str()?.to_owned())).collect()
    };
    assert_eq!(names("fuzz_targets"), targets);
    assert!(names("corpus").is_subset(&targets));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("the programs' manifest");
    for name in &targets {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name} is not in rescue/fuzz/Cargo.toml"
        );
        let program = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).expect("its program");
        assert!(
            program.contains(&format!("hostile::fuzz(\"{name}\", bytes)")),
            "the program of {name} runs another target"
        );
    }
}

/// Inputs that begin with anything at all cost an answer, too.
#[test]
fn bytes_without_sense_are_answered() {
    for target in TARGETS {
        for bytes in [&[][..], &[0], &[0xff; 40], b"\n\n\0\0", &[0x80; 700]] {
            target.run(bytes, Limits::TESTING);
        }
    }
}
