//! Recorded sessions, without a terminal and without an engine.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::*;
use holdfast::tui::front::{Front, Incoming};
use holdfast::tui::look::Look;
use holdfast::tui::recording::{Playback, Recorder};
use holdfast::tui::state::{Key, Screen, Ui};
use model::event::{Event, Happening};
use model::run_state::RunState;

fn told(run: &RunState) -> Incoming {
    Incoming::Event(Box::new(Event { seq: run.seq, what: Happening::State(Box::new(run.clone())) }))
}

fn keys(typed: &str) -> Vec<Incoming> {
    typed.chars().map(|c| Incoming::Key(Key::Char(c))).collect()
}

/// A session: what is recorded of it, and how it ended.
fn lived(incoming: &[Incoming], most: u64) -> (Vec<u8>, Front) {
    let mut front = Front::new(Ui::new((80, 24), Look::PLAIN, true));
    front.ui.here = Some("/home/ann".into());
    let mut out = Vec::new();
    let mut recorder = Recorder::to(&mut out, most);
    recorder.head(&front.ui).unwrap();
    for i in incoming {
        recorder.note(&front, i).unwrap();
        front.take(i);
    }
    (out, front)
}

fn replayed(recording: &[u8]) -> Front {
    let mut playback = Playback::read(recording).unwrap();
    while playback.step() {}
    playback.front().clone()
}

#[test]
fn a_session_is_played_back_as_it_was() {
    let mut session = vec![Incoming::Size(100, 30), told(&broken_run())];
    session.extend(keys("te"));
    session.extend([Incoming::Key(Key::PageDown), Incoming::Key(Key::Esc), Incoming::Key(Key::Down)]);
    let (recording, front) = lived(&session, 1 << 20);
    assert_eq!((front.ui.screen(), front.ui.size), (Screen::Timeline, (100, 30)));
    assert_eq!(replayed(&recording), front);
    // Cut off in the middle of its last line, it is played as far as it goes.
    let cut = &recording[..recording.len() - 5];
    assert_eq!(replayed(cut).ui.snapshot, None);
}

#[test]
fn no_passphrase_is_ever_in_it() {
    let mut session = vec![told(&locked_run()), Incoming::Key(Key::Char('1'))];
    session.extend(keys("Xy7"));
    session.push(Incoming::Key(Key::Backspace));
    session.extend(keys("Zq9"));
    session.extend([Incoming::Key(Key::Enter), told(&good_run())]);
    session.extend(keys("t"));
    let (recording, front) = lived(&session, 1 << 20);
    let text = String::from_utf8(recording.clone()).unwrap();
    for c in "Xy7Zq9".chars() {
        assert!(!text.contains(&format!("{{\"char\":\"{c}\"}}")), "{c}");
    }
    assert_eq!(text.matches("{\"char\":\"*\"}").count(), 1, "how long it is is not told either");
    assert_eq!(replayed(&recording), front);
    // What was typed and never sent.
    let (recording, _) = lived(&[&session[..4], &[Incoming::Key(Key::Esc)]].concat(), 1 << 20);
    assert!(!String::from_utf8(recording).unwrap().contains("\"X\""));
}

#[test]
fn it_is_bounded_and_other_files_are_refused() {
    let session = [vec![told(&good_run())], keys(&"jk".repeat(5000))].concat();
    let (recording, _) = lived(&session, 40_000);
    assert!(recording.len() <= 40_000 && recording.ends_with(b"\n"), "{}", recording.len());
    replayed(&recording);
    let refused = |bytes: &[u8]| Playback::read(bytes).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused(b"").contains("no recording"));
    assert!(refused(b"PK\x03\x04 something else\n").contains("no recording"));
    let head = String::from_utf8(lived(&[], 1000).0).unwrap();
    assert!(refused(head.replace("\"recording\":1", "\"recording\":2").as_bytes()).contains("format 2"));
    assert!(refused(format!("{head}nonsense\n{{\"at\":1,\"key\":\"enter\"}}\n").as_bytes()).contains("line 2"));
}
