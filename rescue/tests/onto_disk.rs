//! Which disk a saved state goes onto, and what for: by keys, without a terminal and without an engine.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::keyboard::{open, press, typed};
use common::layers::many_disks_run;
use common::*;
use holdfast::tui::state::{Action, Input, Key, Screen};
use holdfast::tui::update::update;
use model::command::{Command, ExitCode, Failure, Onto, VolumeKey};
use model::event::{JobKind, Outcome};
use model::id::{DiskNo, IntentId, SnapRef, VolumePath};
use model::inspection::{Content, Disk, Volume};
use model::luks::{Cipher, Sealed, SealedRun};
use model::plan;
use model::restore::{DiskRestore, Encrypted, Growth};
use model::run_state::RunState;
use model::snapshot::Purpose;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};

/// A saved state goes onto the one empty disk there is: the plan comes first, and a word of its own. Where none is empty, it goes onto the
/// one that has no table and nothing that is known on it: another word, for what it holds is lost. Where no disk alone is so, somebody
/// is asked which.
#[test]
fn an_empty_disk_can_be_filled() {
    let asked = |disk: Disk| {
        let onto = vec![Onto { saved: None, disk: disk.no }];
        let to = SnapRef::Prefix(snapshot_id("four").to_string());
        [Action::Submit(Command::PlanRestore {
            to,
            onto,
            overwrite: vec![disk.identity()],
            new_ids: false,
            grow: Vec::new(),
        })]
    };
    let keys = [Key::Char('t'), Key::Down, Key::Char('n')];
    let mut run = broken_run();
    let which = |run: &RunState| {
        let mut ui = open(run);
        assert_eq!(press(&mut ui, run, &keys), []);
        assert_eq!(ui.screen(), Screen::Target);
        ui.target.unwrap().row
    };
    assert_eq!(which(&run), 0, "there is no other");
    let disks = &mut run.report.as_mut().unwrap().inspection.disks;
    let bare = |no, content| Disk {
        no: DiskNo(no),
        table: None,
        volumes: vec![Volume::on_disk(VolumePath::whole(DiskNo(no)), Extent::whole(ByteLen(1 << 30)), content)],
        ..disk()
    };
    let empty = |no| bare(no, Content::Empty);
    disks.push(bare(3, Content::Unknown));
    assert_eq!(press(&mut open(&run), &run, &keys), asked(bare(3, Content::Unknown)), "its table is gone");
    let disks = &mut run.report.as_mut().unwrap().inspection.disks;
    disks.push(bare(4, Content::Unknown));
    assert_eq!(which(&run), 1, "the first that has no table");
    let disks = &mut run.report.as_mut().unwrap().inspection.disks;
    disks.push(empty(1));
    assert_eq!(press(&mut open(&run), &run, &keys), asked(empty(1)), "an empty one is meant before others");
    run.report.as_mut().unwrap().inspection.disks.push(empty(2));
    assert_eq!(which(&run), 3, "the first that is empty");

    // Where nothing else is there, and the store is of one machine, it is the first thing to do.
    let mut run = empty_run();
    assert!(!matches!(
        press(&mut open(&run), &run, &[Key::Char('1')])[..],
        [Action::Submit(Command::PlanRestore { .. })]
    ));
    let snapshots = &mut run.store.as_mut().unwrap().snapshots;
    let first = snapshots[0].machine.clone();
    snapshots.iter_mut().for_each(|s| s.machine = first.clone());
    let newest = snapshots.iter().filter(|s| s.good && s.purpose == Purpose::Keep).max_by_key(|s| s.counter).unwrap();
    let to = SnapRef::Prefix(newest.id.to_string());
    let onto = vec![Onto { saved: None, disk: DiskNo(0) }];
    let overwrite = vec![run.report.as_ref().unwrap().inspection.disks[0].identity()];
    let fill = Action::Submit(Command::PlanRestore { to, onto, overwrite, new_ids: false, grow: Vec::new() });
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('1')]), std::slice::from_ref(&fill));
    run.report.as_mut().unwrap().inspection.disks[0].volumes[0].content = Content::Unknown;
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('1')]), [fill]);

    let run = asking_run(plan::Action::Restore { over: None }, true);
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[typed("ROLLBACK"), vec![Key::Enter]].concat()), [], "another word is not enough");
    let mut ui = open(&run);
    let asked = press(&mut ui, &run, &[typed("restore"), vec![Key::Enter]].concat());
    assert!(matches!(asked[..], [Action::Submit(Command::Answer { approve: true, .. })]));

    let mut run = asking_run(plan::Action::Restore { over: None }, true);
    run.question.as_mut().unwrap().plan.disks.push(written_over());
    assert_eq!(press(&mut open(&run), &run, &[typed("RESTORE"), vec![Key::Enter]].concat()), [], "something is lost");
    let asked = press(&mut open(&run), &run, &[typed("OVERWRITE"), vec![Key::Enter]].concat());
    assert!(matches!(asked[..], [Action::Submit(Command::Answer { approve: true, .. })]));
}

/// Which disk is written over is said by what names it, typed whole; and that only leads to the plan.
#[test]
fn the_disk_that_is_meant_is_named() {
    let run = many_disks_run();
    let size = (64u64 << 30).to_string();
    let begin = [Key::Char('t'), Key::Down, Key::Down, Key::Char('n')];
    let order = |disks: &[u16]| {
        let all = &run.report.as_ref().unwrap().inspection;
        let disk = |no: &u16| all.disk(DiskNo(*no)).unwrap();
        [Action::Submit(Command::PlanRestore {
            to: SnapRef::Prefix(snapshot_id("three").to_string()),
            onto: disks.iter().map(|no| Onto { saved: None, disk: DiskNo(*no) }).collect(),
            overwrite: disks.iter().map(|no| disk(no).identity()).collect(),
            new_ids: false,
            grow: Vec::new(),
        })]
    };
    let choose = || {
        let mut ui = open(&run);
        assert_eq!(press(&mut ui, &run, &begin), []);
        assert_eq!((ui.screen(), ui.target.as_ref().unwrap().row), (Screen::Target, 1), "the first empty one");
        ui
    };
    let mut ui = choose();
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), []);
    for wrong in ["", "y", "d1", &size[1..], "S5Y1NX0R"] {
        assert_eq!(press(&mut ui, &run, &[typed(wrong), vec![Key::Enter]].concat()), [], "{wrong:?}");
        assert!(ui.note.as_ref().unwrap().contains("nothing was chosen"), "{:?}", ui.note);
        press(&mut ui, &run, &[Key::Enter]);
    }
    assert_eq!(press(&mut ui, &run, &[typed(&size), vec![Key::Enter]].concat()), order(&[1]));
    // The other of the same size, and one that holds something: by its serial number.
    let mut ui = choose();
    assert_eq!(
        press(&mut ui, &run, &[vec![Key::Down, Key::Enter], typed(&size), vec![Key::Enter]].concat()),
        order(&[2])
    );
    let mut ui = choose();
    let keys = [vec![Key::End, Key::Up, Key::Enter], typed("s5y1nx0r-3"), vec![Key::Enter]].concat();
    assert_eq!(press(&mut ui, &run, &keys), order(&[3]));
    // Never the stick; and Esc leaves everything.
    let mut ui = choose();
    assert_eq!(press(&mut ui, &run, &[Key::End, Key::Enter]), []);
    assert!(ui.prompt.is_none() && ui.note.as_ref().unwrap().contains("the rescue and its store"));
    press(&mut ui, &run, &[Key::Up, Key::Enter, Key::Esc, Key::Esc]);
    assert_eq!(ui.screen(), Screen::Timeline);
    // Where the machine had two, two are named.
    let mut two = run.clone();
    two.store.as_mut().unwrap().snapshots[2].machine.disks.push("another".into());
    let mut ui = open(&two);
    let first = [&begin[..], &[Key::Enter], &typed(&size), &[Key::Enter]].concat();
    assert_eq!(press(&mut ui, &two, &first), []);
    assert_eq!(press(&mut ui, &two, &[Key::Enter]), [], "not the same twice");
    assert!(ui.prompt.is_none());
    let second = [vec![Key::Down, Key::Enter], typed(&size), vec![Key::Enter]].concat();
    assert_eq!(press(&mut ui.clone(), &two, &second), order(&[1, 2]));
    assert_eq!(press(&mut ui.clone(), &two, &[Key::Char('g')]), order(&[1]), "as many as somebody wants");
    assert_eq!(press(&mut ui, &two, &[Key::Backspace, Key::Char('g')]), []);
}

/// What a larger disk has room for is given to its last volume, or not: another plan each time, and no word.
#[test]
fn a_volume_may_grow() {
    let mut run = asking_run(plan::Action::Restore { over: None }, true);
    let volume = VolumePath::partition(DiskNo(0), 3);
    let growth = Growth { volume, from: ByteLen(3 << 30), to: ByteLen(60 << 30), wanted: false };
    let plan = &mut run.question.as_mut().unwrap().plan;
    plan.disks.push(DiskRestore { growth: Some(growth), ..written_over() });
    let id = run.question.as_ref().unwrap().id;
    let asked = |grow| [Action::Submit(Command::Grow { plan: id, grow })];
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('g')]), asked(true));
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('O'), Key::Char('g')]), [], "in the middle of a word");
    run.question.as_mut().unwrap().plan.disks[0].growth.as_mut().unwrap().wanted = true;
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('G')]), asked(false));
    run.question.as_mut().unwrap().plan.action = plan::Action::Resume { of: IntentId(digest("intent")) };
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('g')]), [], "what was begun is finished as it was planned");
}

/// What lies encrypted takes the passphrase of then: it is asked for from the plan, which is made again once it was right.
#[test]
fn what_was_encrypted_is_unlocked_from_the_plan() {
    let mut run = asking_run(plan::Action::Restore { over: None }, true);
    let volume = VolumePath::partition(DiskNo(0), 3);
    let runs = vec![SealedRun { at: Extent::between(1 << 24, 1 << 30).unwrap(), counts: ByteOffset(0) }];
    let sealed = Sealed { header: digest("luks"), cipher: Cipher::AesXts, sector: 512, runs };
    let places = [Extent::between(1 << 24, 1 << 25).unwrap()].into_iter().collect();
    let question = run.question.as_mut().unwrap();
    let mut locked = written_over();
    locked.encrypted.push(Encrypted { volume: volume.clone(), sealed, places, open: false });
    question.plan.disks.push(locked);
    question.plan.checks.push(plan::Check { what: "it is unlocked".into(), ok: false, says: "no".into() });
    let (id, to) = (question.id, SnapRef::Prefix(question.plan.to.to_string()));
    let mut ui = open(&run);
    let asked = press(&mut ui, &run, &[Key::Char('u')]);
    assert_eq!(asked, [Action::Submit(Command::Answer { plan: id, approve: false })]);
    assert_eq!((ui.screen(), ui.unlocking.as_ref()), (Screen::Unlock, Some(&volume)));
    // The plan is gone, and what is typed stays.
    let left = RunState { question: None, job: None, ..run.clone() };
    press(&mut ui, &left, &typed("s "));
    update(&mut ui, &left, Input::Changed);
    assert_eq!((ui.screen(), ui.typed.as_str()), (Screen::Unlock, "s "));
    assert_eq!(press(&mut ui, &left, &[Key::Tab]), [], "it is not saved, in clear or otherwise");
    assert!(!ui.plain);
    let by = VolumeKey::new(b"s q".to_vec());
    let opening = Command::OpenSaved { snapshot: to.clone(), volume, by };
    assert_eq!(press(&mut ui, &left, &[Key::Char('q'), Key::Enter]), [Action::Submit(opening)]);
    let during = RunState { job: Some((JobKind::Open, None)), ..left.clone() };
    update(&mut ui, &during, Input::Changed);
    // A wrong one is typed again; with the right one the same plan is asked for.
    let failure = Failure::new(ExitCode::Refused, "this does not open d0/p3 (1 try so far)", "");
    let wrong = RunState { last: Some((JobKind::Open, Outcome::Failed(failure))), ..left.clone() };
    assert_eq!(update(&mut ui, &wrong, Input::Changed), []);
    assert_eq!(ui.screen(), Screen::Unlock);
    press(&mut ui, &wrong, &[typed("x"), vec![Key::Enter]].concat());
    update(&mut ui, &during, Input::Changed);
    let right = RunState { last: None, ..left.clone() };
    let again = update(&mut ui, &right, Input::Changed);
    let onto = vec![Onto { saved: Some(DiskNo(0)), disk: DiskNo(0) }];
    let overwrite = vec![disk().identity()];
    assert_eq!(again, [Action::Submit(Command::PlanRestore { to, onto, overwrite, new_ids: false, grow: Vec::new() })]);
    assert_eq!((&ui.unlocking, &ui.reopening), (&None, &None));
}

/// A disk that a plan writes over, though it holds something.
fn written_over() -> DiskRestore {
    DiskRestore {
        disk: DiskNo(0),
        saved_as: DiskNo(0),
        hardware: hardware(),
        disk_head: digest("head"),
        holds: "bytes that are not zero".into(),
        lost: true,
        table: "GPT".into(),
        parts: Vec::new(),
        made: Vec::new(),
        cleared: ExtentSet::new(),
        encrypted: Vec::new(),
        at_most: ByteLen(1 << 30),
        growth: None,
    }
}
