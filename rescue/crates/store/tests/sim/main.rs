//! The store on a simulated file system: power cuts at every operation, faults at every call, disks that lie, and mutants
//! that must be caught.
//!
//! `HOLDFAST_CRASH_POINTS` sets the number of power cuts of the full run.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/contract.rs"]
mod contract;
mod crash;
mod explore;
mod faults;
mod flaws;
mod fs;
mod history;
mod mutants;
mod rng;
mod state;
mod tree;

use crash::{Model, Op};
use explore::{Explorer, Point, SAMPLE, Tally};
use fs::SimFs;
use history::{Build, Recorded};
use state::{Call, Fault, What};
use std::sync::Arc;
use std::time::Instant;
use store::backend::LocalDir;
use tree::Tree;

/// The histories of a full run.
const HISTORIES: usize = 10;

/// Power cuts that showed a flaw of the store or of a mutant: always tried.
const CUTS: &[Point] = &[
    // The twin of an object was swept, and with it the object's clusters.
    Point { history: 0, fat: true, after: 9, seed: 12_623_609_056_511_380_039 },
    // A removal was not synced, and its clusters had another owner when the name came back.
    Point { history: 0, fat: true, after: 27, seed: 13_157_387_464_470_375_412 },
    // An object was renamed before its bytes were synced.
    Point { history: 0, fat: false, after: 21, seed: 3_900_778_703_475_868_044 },
];

/// Faults that showed a flaw of the store: always tried.
const FAULTS: &[Fault] = &[
    // A directory whose own name could not be synced was found by the next put, and taken for durable.
    Fault { call: Some(Call::SyncDir), nth: 6, what: What::Io },
    // The disk dropped the object `format`, and a store that nobody could open took a snapshot.
    Fault { call: Some(Call::Write), nth: 0, what: What::Dropped },
];

#[test]
fn the_simulation_keeps_the_contract() {
    contract::all(&|| {
        let files = Arc::new(SimFs::new(Tree::new(), Model::Journal));
        Box::new(LocalDir::create_over(files, "/deep/er").unwrap())
    });
}

fn cut(histories: usize, points: usize, seed: u64) {
    let explorer = Explorer::new(Build::REAL, histories).unwrap();
    let began = Instant::now();
    let tally = explorer.run(points, seed).unwrap_or_else(|(point, e)| panic!("{point:?}: {e}"));
    let seconds = began.elapsed().as_secs_f64();
    let Tally { points, states, second } = tally;
    let operations = explorer.operations();
    println!("{points} power cuts in {operations} operations, {second} of them twice, {states} states, {seconds:.1} s");
}

#[test]
fn no_power_cut_loses_what_was_acknowledged() {
    cut(SAMPLE, 1500, 1);
}

#[test]
#[ignore = "minutes long: part of a full run"]
fn no_power_cut_of_many_loses_what_was_acknowledged() {
    let points = std::env::var("HOLDFAST_CRASH_POINTS").map_or(100_000, |n| n.parse().unwrap());
    cut(HISTORIES, points, 0x5eed);
}

#[test]
fn a_history_is_logged_alike_each_time() {
    // But for the store's random id, which is why the bytes are left out: else a seed would say nothing about another run.
    let shape = |op: &Op| match op {
        Op::Write { ino, at, bytes } => format!("write {ino} {at} {}", bytes.len()),
        op => format!("{op:?}"),
    };
    let log = || -> Vec<String> {
        let recorded = Recorded::run(&Build::REAL, &Tree::new(), Model::Journal, &explore::steps(1)).unwrap();
        recorded.log.iter().map(shape).collect()
    };
    assert_eq!(log(), log());
}

#[test]
fn what_failed_once_does_not_again() {
    let explorer = Explorer::new(Build::REAL, SAMPLE).unwrap();
    for point in CUTS {
        explorer.cut(*point).unwrap_or_else(|e| panic!("{point:?}: {e}"));
    }
    for fault in FAULTS {
        faults::survive(&Build::REAL, *fault).unwrap_or_else(|e| panic!("{fault:?}: {e}"));
    }
}

fn fault(stride: usize) {
    let faults = faults::all(&Build::REAL).unwrap();
    let chosen: Vec<_> = faults.iter().step_by(stride).collect();
    for fault in &chosen {
        faults::survive(&Build::REAL, **fault).unwrap_or_else(|e| panic!("{fault:?}: {e}"));
    }
    println!("{} faults of {}", chosen.len(), faults.len());
}

#[test]
fn a_fault_at_any_call_costs_nothing_acknowledged() {
    fault(11);
}

#[test]
#[ignore = "minutes long: part of a full run"]
fn a_fault_at_every_call_costs_nothing_acknowledged() {
    fault(1);
}

#[test]
fn a_disk_that_wraps_around_is_found_out() {
    let mut spoilt = 0;
    for size in (8 << 10..400 << 10).step_by(8 << 10) {
        spoilt += faults::wraps(&Build::REAL, size).unwrap_or_else(|e| panic!("{size} bytes: {e}"));
    }
    assert!(spoilt > 0, "no size was small enough to spoil anything");
}

#[test]
fn every_mutant_is_caught() {
    let mut trials = Vec::new();
    for mutant in mutants::MUTANTS {
        let caught = mutants::try_out(&mutant.build, mutant.trial, 4000);
        println!("{}: {}", mutant.name, caught.as_deref().unwrap_or("NOT CAUGHT"));
        if caught.is_none() {
            trials.push(format!("{} ({})", mutant.name, mutant.why));
        }
    }
    assert!(trials.is_empty(), "not caught: {trials:?}");
}
