//! Screens of states that were made by hand, for what no small image shows (all others are of real runs: `real/`), against the checked-in
//! files in `golden/` (see `common/golden.rs`); and what must hold for any state.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::files::{compared_run, got};
use common::golden::*;
use common::layers::*;
use common::*;
use holdfast::tui::look::Look;
use holdfast::tui::state::{Input, Key, Screen};
use holdfast::tui::update::update;
use model::coverage::Comparison;
use model::event::{CheckReport, JobKind, Lost, Outcome};
use model::files::{LostFiles, LostPath};
use model::id::{DiskNo, VolumePath};
use model::inspection::FileKind;
use model::plan::{Action, ComposedPath, Composition};
use model::run_state::RunState;
use model::snapshot::{Compared, Cost, VolumeRead};
use model::units::{ByteLen, ByteOffset};
use model::upkeep::{Broken, Kept, RepairView};

/// Compares what these keys show, at every size.
fn golden(name: &str, run: &RunState, keys: &[Key]) {
    for size in SIZES {
        let mut ui = joined(run, size, look(size));
        for k in keys {
            update(&mut ui, run, Input::Key(*k));
        }
        compare(name, &ui, run);
    }
}

/// What no small image shows: a parser that takes too long to tell what is lost; and a plan that keeps paths, which the kernel of whoever
/// tests has to compose.
#[test]
fn confirmation() {
    let mut untold = asking_run(Action::Rollback, true);
    let losses = untold.question.as_mut().unwrap().losses.as_mut().unwrap();
    losses.differences = Err("the parser took too long and was ended".into());
    golden("confirm-untold", &untold, &[]);
    let mut kept = asking_run(Action::Rollback, true);
    let path = |path: &str, counted| ComposedPath {
        volume: VolumePath::partition(DiskNo(0), 2),
        path: path.into(),
        files: 12_345,
        bytes: ByteLen(678_000_000),
        counted,
    };
    let (paths, room) = (vec![path("/home", true), path("/srv", false)], ByteLen(2_600_000_000));
    let composed = Composition { of: Some(snapshot_id("three")), with: None, paths, room };
    kept.question.as_mut().unwrap().plan.composed = Some(composed);
    golden("confirm-kept", &kept, &[Key::PageDown]);
}

/// Of several saved states one is whole again, and another is not.
#[test]
fn repaired_in_part() {
    let repaired = Kept::Repaired(RepairView {
        damaged: vec![digest("pack"), digest("another")],
        salvaged: 812,
        indexed: 0,
        healed: vec![snapshot_id("three")],
        broken: vec![Broken { snapshot: Some(snapshot_id("five")), why: "12 pieces of it are nowhere".into() }],
    });
    let run = ended_run(JobKind::Upkeep, Outcome::Kept(repaired));
    for size in SIZES {
        let mut ui = joined(&working_run(JobKind::Upkeep, false), size, look(size));
        update(&mut ui, &run, Input::Changed);
        compare("outcome-repaired", &ui, &run);
    }
}

/// What a larger disk has room for: the engine offers that only where the kernel may make file systems larger.
#[test]
fn growth() {
    golden("confirm-grow", &growing_run(false), &[]);
    golden("confirm-grown", &growing_run(true), &[]);
}

/// What takes more than a small image: much that was saved of a volume, work by a policy that met with trouble, damage that tells of files,
/// and what is left out of what is taken out.
#[test]
fn outcomes() {
    let show = |name: &str, job: JobKind, outcome: Outcome| {
        let run = ended_run(job, outcome);
        for size in SIZES {
            let mut ui = joined(&working_run(job, false), size, look(size));
            update(&mut ui, &run, Input::Changed);
            assert_eq!(ui.screen(), Screen::Outcome, "{name}");
            compare(name, &ui, &run);
        }
    };
    let cost = Cost {
        read: ByteLen(3_100_000_000),
        shared: ByteLen(2_900_000_000),
        new: ByteLen(200_000_000),
        stored: ByteLen(81_000_000),
    };
    let compared = |by: Comparison, taken_over: u64| Compared {
        by,
        why: "one session since, which ended in order".into(),
        with: (taken_over > 0).then(|| snapshot_id("five")),
        taken_over: ByteLen(taken_over),
        resumed: ByteLen(0),
    };
    let read = |number: u32, read: u64, compared: Compared| VolumeRead {
        unreadable: ByteLen(0),
        path: VolumePath::partition(DiskNo(0), number),
        read: ByteLen(read),
        compared,
    };
    let went_on = Compared { resumed: ByteLen(2_000_000_000), ..compared(Comparison::Content, 0) };
    let went_on = vec![read(2, 1_094_000_000, went_on)];
    show("outcome-auto-saved", JobKind::Auto, Outcome::Acted(Box::new(acted(true))));
    let id = snapshot_id("six");
    show("outcome-went-on", JobKind::Snapshot, Outcome::Saved { id, cost, volumes: went_on });
    let damage = CheckReport {
        snapshots: 5,
        objects: 412,
        read: ByteLen(800_000_000),
        damage: vec!["pack 3f2a is 12 bytes short (1048564 of 1048576)".into()],
        affected: vec![snapshot_id("three")],
        lost: vec![Lost {
            snapshot: snapshot_id("three"),
            of: "d0/p2".into(),
            bytes: ByteLen(1_048_576),
            places: 7,
            first: ByteOffset(81_920),
            files: Some(LostFiles {
                paths: ["/etc", "/etc/passwd", "/home/ann/a\u{1b}[2Jb", "/usr/lib/libc.so.6"]
                    .map(|path| LostPath {
                        path: path.into(),
                        kind: if path == "/etc" { FileKind::Directory } else { FileKind::File },
                    })
                    .into(),
                count: 12,
                nameless: 3,
                metadata: true,
                journal: false,
                unclaimed: ByteLen(8192),
                unseen: Some("a directory cannot be read whole: it is lost".into()),
            }),
            why_not: None,
        }],
        unused: ByteLen(0),
    };
    show("outcome-check", JobKind::Check, Outcome::Checked(damage));
    show("outcome-got", JobKind::Files, Outcome::Got(got()));
}

/// No state, size or screen panics, shows a control character, or (in ASCII) anything but ASCII.
#[test]
fn nothing_breaks_it() {
    let runs = [
        RunState::default(),
        good_run(),
        hostile_run(),
        fenced_run(),
        asking_run(Action::Rollback, true),
        working_run(JobKind::Snapshot, false),
        no_store_run(),
        empty_run(),
        RunState { question: asking_run(Action::Rollback, true).question, ..hostile_run() },
        compared_run(),
        layered_run(),
        many_disks_run(),
        growing_run(true),
    ];
    let screens = "rtdelp?".chars().map(Key::Char).chain([Key::Down, Key::Esc]).map(Some).chain([None]);
    for key in screens {
        for run in &runs {
            for size in
                [(0, 0), (1, 1), (59, 15), (60, 14), (60, 15), (61, 16), (80, 24), (80, 25), (255, 15), (60, 100)]
            {
                for ascii in [true, false] {
                    let mut ui = joined(run, size, Look { ascii, colour: true });
                    if let Some(k) = key {
                        update(&mut ui, run, Input::Key(k));
                        update(&mut ui, run, Input::Key(Key::End));
                    }
                    if size == (0, 0) {
                        continue;
                    }
                    let buffer = screen(&ui, run);
                    for cell in &buffer.content {
                        assert!(!cell.symbol().chars().any(char::is_control), "{:?}", cell.symbol());
                        assert!(!ascii || cell.symbol().is_ascii(), "{:?}", cell.symbol());
                    }
                }
            }
        }
    }
}

/// Without colour, nothing that a colour said is lost: the same text, and no colour at all.
#[test]
fn colour_only_repeats() {
    for run in [broken_run(), good_run(), fenced_run(), asking_run(Action::Rollback, false)] {
        let with = |colour| {
            let look = Look { ascii: true, colour };
            screen(&joined(&run, (80, 25), look), &run)
        };
        assert_eq!(text(&with(true)), text(&with(false)));
        assert!(
            with(false)
                .content
                .iter()
                .all(|c| c.fg == ratatui::style::Color::Reset && c.bg == ratatui::style::Color::Reset)
        );
        assert!(
            with(true).content.iter().any(|c| c.fg != ratatui::style::Color::Reset),
            "colours are used where they may be"
        );
    }
}
