//! A store with 10,000 snapshots: every key is answered at once.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::golden::screen;
use common::*;
use holdfast::tui::look::Look;
use holdfast::tui::state::{Input, Key};
use holdfast::tui::update::update;
use model::run_state::RunState;
use model::snapshot::Machine;
use std::time::{Duration, Instant};

/// What a key may take, on average: update and frame, in a program that is not optimised.
const MOST: Duration = Duration::from_millis(50);

/// 10,000 snapshots, of which the oldest alone is of the machine in front of us: what looks for one must look at all.
fn run() -> RunState {
    let mut run = broken_run();
    let store = run.store.as_mut().unwrap();
    store.snapshots = (0..10_000)
        .map(|n| {
            let mut s = summary(&n.to_string(), n, at(20, 9, 30), true, "This machine shut down in order.");
            if n > 0 {
                s.machine = Machine { machine_id: Some(format!("{n:032x}")), disks: vec![], hostname: None };
            }
            s
        })
        .collect();
    run
}

#[test]
fn every_key_is_answered_at_once() {
    let run = run();
    let mut ui = joined(&run, (120, 40), Look::PLAIN);
    let moves = [Key::Down, Key::PageDown, Key::Down, Key::PageUp, Key::End, Key::Up, Key::Home, Key::Char('e')];
    let keys =
        [Key::Char('t')].into_iter().chain(moves).chain([Key::Esc, Key::Esc, Key::Char('r'), Key::Esc, Key::Char('u')]);
    let keys: Vec<Key> = keys.cycle().take(140).collect();
    let mut times: Vec<(Duration, Key)> = Vec::new();
    for k in keys {
        let began = Instant::now();
        update(&mut ui, &run, Input::Key(k));
        screen(&ui, &run);
        times.push((began.elapsed(), k));
    }
    let all: Duration = times.iter().map(|(t, _)| *t).sum();
    let longest = times.iter().max_by_key(|(t, _)| *t).unwrap();
    let mean = all / u32::try_from(times.len()).unwrap();
    println!("mean {mean:?}, longest {longest:?}");
    assert!(mean < MOST, "a key takes {mean:?} on average, the longest {longest:?}");
}
