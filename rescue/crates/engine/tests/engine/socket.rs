//! Front ends in other processes: the same events, the same state, over a socket.

use crate::image::machine;
use crate::sim::{Sim, engine};
use engine::link;
use model::command::Command;
use model::event::{Happening, Outcome};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::backend::Memory;

fn attach(handle: &engine::Handle) -> engine::Handle {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serving = handle.clone();
    std::thread::spawn(move || link::serve(&serving, theirs));
    link::connect(ours).unwrap()
}

#[test]
fn two_front_ends_show_the_same() {
    let sim = Sim::new(machine().then.clone());
    let handle = engine(&sim, &Arc::new(Memory::new()));
    let (one, two) = (attach(&handle), attach(&handle));
    let outcome = one.run(Command::Snapshot { full: false }, &mut |_| {}, &mut |_, _| None);
    assert!(matches!(outcome, Outcome::Saved { .. }), "{outcome:?}");
    // A late one joins with the whole state.
    let late = attach(&handle);
    let until = Instant::now() + Duration::from_secs(10);
    while two.state() != handle.state() || late.state() != handle.state() || one.state() != handle.state() {
        assert!(Instant::now() < until, "the front ends differ");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(late.state().report.is_some());
    assert_eq!(late.state().store.unwrap().snapshots.len(), 1);
    assert!(matches!(late.subscribe().recv().unwrap().what, Happening::State(_)));
}

#[test]
fn a_front_end_that_leaves_takes_nothing_with_it() {
    let sim = Sim::new(machine().then.clone());
    let handle = engine(&sim, &Arc::new(Memory::new()));
    for _ in 0..3 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        link::serve(&handle, theirs).unwrap();
    }
    drop(attach(&handle));
    let outcome = handle.run(Command::Inspect, &mut |_| {}, &mut |_, _| None);
    assert_eq!(outcome, Outcome::Looked);
}

#[test]
fn nonsense_is_refused() {
    let sim = Sim::new(machine().then.clone());
    let handle = engine(&sim, &Arc::new(Memory::new()));
    for nonsense in [&b"\x04\0\0\0nope"[..], &[0xff; 64][..], b"\x02\0\0\0{}"] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(nonsense).unwrap();
        assert!(link::serve(&handle, theirs).is_err(), "{nonsense:?}");
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(link::connect(ours).is_err(), "an engine that is gone");
}

#[test]
fn the_end_of_the_engine_is_the_end_of_the_events() {
    let sim = Sim::new(machine().then.clone());
    let handle = engine(&sim, &Arc::new(Memory::new()));
    let events = handle.subscribe();
    drop(handle);
    let first = events.recv().unwrap();
    assert!(matches!(first.what, Happening::State(_)));
    assert!(events.recv_timeout(Duration::from_secs(10)).is_err());
}
