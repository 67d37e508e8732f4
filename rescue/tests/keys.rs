//! What keys lead to, without a terminal and without an engine.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::keyboard::{SIZE, open, press, typed};
use common::layers::layered_run;
use common::*;
use holdfast::tui::look::Look;
use holdfast::tui::state::{Action, Input, Key, Screen, Ui};
use holdfast::tui::update::update;
use model::command::{Command, ExitCode, Failure, Passphrase, PowerAction, VolumeKey};
use model::esp::SharedEsp;
use model::event::{JobKind, Outcome};
use model::id::{IntentId, SnapRef, VolumePath};
use model::inspection::{Content, LuksInfo};
use model::plan;
use model::run_state::RunState;
use model::units::{ByteLen, ExtentSet};
use model::upkeep::Upkeep;

/// What is done by itself is stopped by any key, on any screen and in a window of any size, and by nothing else.
#[test]
fn any_key_stops_what_is_done_by_itself() {
    for run in [waiting_run(Some(8)), waiting_run(None)] {
        for key in every_key() {
            for size in [SIZE, (20, 5)] {
                let mut ui = joined(&run, size, Look::PLAIN);
                assert_eq!(ui.screen(), Screen::Home, "what will be done is told there");
                assert_eq!(press(&mut ui, &run, &[key]), [Action::Submit(Command::Cancel)], "{key:?}");
            }
        }
        let mut ui = open(&run);
        assert_eq!(update(&mut ui, &run, Input::Resize(90, 30)), [Action::Redraw]);
        assert_eq!(update(&mut ui, &run, Input::Changed), []);
        // It ends where it was begun to be told, without a screen of its own.
        let stopped = Outcome::Cancelled("somebody is here; nothing more is done by itself".into());
        update(&mut ui, &ended_run(JobKind::Auto, stopped), Input::Changed);
        assert_eq!(ui.screen(), Screen::Home);
        assert_eq!(ui.note.as_deref(), Some("Somebody is here; nothing more is done by itself."));
    }
    // What goes on is shown like any job, and how it ended too, wherever it waited last.
    let run = waiting_run(Some(1));
    let mut ui = open(&run);
    let working = RunState { waiting: None, ..run.clone() };
    update(&mut ui, &working, Input::Changed);
    assert_eq!(ui.screen(), Screen::Progress);
    assert_eq!(press(&mut ui, &working, &[Key::Char('x')]), []);
    for before in [&working, &run] {
        update(&mut ui, before, Input::Changed);
        update(&mut ui, &ended_run(JobKind::Auto, Outcome::Acted(Box::new(acted(true)))), Input::Changed);
        assert_eq!(ui.screen(), Screen::Outcome);
    }
}

#[test]
fn a_locked_store_is_opened_by_what_is_typed() {
    let run = locked_run();
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('s')]), [], "nothing can be saved");
    assert!(ui.note.as_ref().unwrap().contains("unlock it first"), "{:?}", ui.note);
    press(&mut ui, &run, &[Key::Char('1')]);
    assert_eq!(ui.screen(), Screen::Unlock);
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), [], "not with nothing");
    // Letters that are commands elsewhere, and capitals, are themselves here.
    let keys = [typed("qs Lp?x"), vec![Key::Backspace, Key::Char('é')]].concat();
    assert_eq!(press(&mut ui, &run, &keys), []);
    let mut busy = run.clone();
    busy.job = Some((JobKind::Inspect, None));
    assert_eq!(press(&mut ui, &busy, &[Key::Enter]), [], "it waits for the look at the disks");
    let passphrase = Passphrase::new("qs Lp?é".to_owned());
    let unlock = Command::Unlock { passphrase };
    assert!(!format!("{unlock:?}").contains("Lp"), "{unlock:?}");
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), [Action::Submit(unlock)]);
    assert_eq!((ui.screen(), ui.typed.as_str()), (Screen::Home, ""));
    // Somebody opened it on another console.
    press(&mut ui, &run, &[Key::Char('1'), Key::Char('x')]);
    update(&mut ui, &good_run(), Input::Changed);
    assert_eq!((ui.screen(), ui.typed.as_str()), (Screen::Home, ""));
}

/// A machine whose last volume is encrypted and locked.
fn sealed_run() -> RunState {
    let mut run = good_run();
    let report = run.report.as_mut().unwrap();
    let volume = report.inspection.disks[0].volumes.last_mut().unwrap();
    volume.content = Content::Luks(LuksInfo {
        version: 2,
        uuid: "1a9bfc6d-6aa8-4e54-b245-63398a60e1c9".into(),
        label: "".into(),
        cipher: "aes-xts-plain64".into(),
        sealed: false,
        not_opened: None,
        open: false,
        apart: ExtentSet::new(),
    });
    run
}

#[test]
fn an_encrypted_volume_is_unlocked_by_what_is_typed() {
    let run = sealed_run();
    let path = run.report.as_ref().unwrap().inspection.locked().next().unwrap().path.clone();
    let mut ui = open(&run);
    press(&mut ui, &run, &[Key::Char('2')]);
    assert_eq!(
        (ui.screen(), ui.unlocking.as_ref()),
        (Screen::Unlock, Some(&path)),
        "the second step, a system being there"
    );
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), [], "not with nothing");
    let open_with = |plain| {
        let by = VolumeKey::new("s q".as_bytes().to_vec());
        Command::OpenVolume { volume: path.clone(), by, plain }
    };
    press(&mut ui, &run, &typed("s q"));
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), [Action::Submit(open_with(false))]);
    assert!(!format!("{:?}", open_with(false)).contains('q'), "{:?}", open_with(false));
    assert_eq!((ui.screen(), ui.typed.as_str()), (Screen::Home, ""));
    // It goes on in the background; what does not open it is typed again.
    let working = RunState { job: Some((JobKind::Open, None)), ..run.clone() };
    update(&mut ui, &working, Input::Changed);
    assert_eq!(ui.screen(), Screen::Home);
    let failure = Failure::new(ExitCode::Refused, "this does not open d0/p4 (1 try so far)", "nothing was changed");
    let failed = RunState { last: Some((JobKind::Open, Outcome::Failed(failure))), ..run.clone() };
    update(&mut ui, &failed, Input::Changed);
    assert_eq!(ui.screen(), Screen::Unlock);
    assert_eq!(ui.note.as_deref(), Some("This does not open d0/p4 (1 try so far)."));
    press(&mut ui, &failed, &[Key::Tab]);
    press(&mut ui, &failed, &typed("s q"));
    assert_eq!(press(&mut ui, &failed, &[Key::Enter]), [Action::Submit(open_with(true))]);
    assert_eq!(ui.note, None, "what was said of the first try is no longer so");
    // Somebody opened it meanwhile.
    press(&mut ui, &run, &[Key::Char('2'), Key::Char('x')]);
    update(&mut ui, &good_run(), Input::Changed);
    assert_eq!((ui.screen(), ui.typed.as_str()), (Screen::Home, ""));
}

/// A broken boot chain is the first thing to do, by a plan and a word of its own.
#[test]
fn what_keeps_a_machine_from_starting_is_offered_first() {
    let run = unbootable_run();
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('1')]), [Action::Submit(Command::PlanBootRepair)]);
    let run = asking_run(plan::Action::Repair, true);
    let mut ui = open(&run);
    press(&mut ui, &run, &typed("ROLLBACK"));
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), []);
    let mut ui = open(&run);
    press(&mut ui, &run, &typed("repair"));
    let plan = question(plan::Action::Repair, true).id;
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), [Action::Submit(Command::Answer { plan, approve: true })]);
}

#[test]
fn a_plan_is_approved_by_its_word_and_nothing_else() {
    let id = question(plan::Action::Rollback, true).id;
    let yes = Action::Submit(Command::Answer { plan: id, approve: true });
    let no = Action::Submit(Command::Answer { plan: id, approve: false });
    let run = asking_run(plan::Action::Rollback, true);
    assert_eq!(open(&run).screen(), Screen::Confirm);

    for word in ["ROLLBACK", "rollback", "RollBack"] {
        let mut ui = open(&run);
        assert_eq!(press(&mut ui, &run, &typed(word)), []);
        assert_eq!(press(&mut ui, &run, &[Key::Enter]), std::slice::from_ref(&yes));
        assert_eq!(press(&mut ui, &run, &[Key::Enter]), [], "not twice");
    }
    for word in ["", "y", "yes", "ROLLBAC", "ROLLBACKK", "UNDO", "FINISH", "ROLL BAC"] {
        let mut ui = open(&run);
        press(&mut ui, &run, &typed(word));
        assert_eq!(press(&mut ui, &run, &[Key::Enter]), [], "{word:?}");
        assert!(ui.note.is_some());
    }
    // A slip of the finger can be taken back.
    let mut ui = open(&run);
    press(&mut ui, &run, &typed("ROLLBAX"));
    press(&mut ui, &run, &[Key::Backspace]);
    press(&mut ui, &run, &typed("CK"));
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), [yes]);
    // Esc leaves at any time.
    let mut ui = open(&run);
    press(&mut ui, &run, &typed("ROLLBACK"));
    assert_eq!(press(&mut ui, &run, &[Key::Esc]), [no]);
}

#[test]
fn a_plan_that_fails_its_checks_cannot_be_approved() {
    let run = asking_run(plan::Action::Rollback, false);
    let mut ui = open(&run);
    press(&mut ui, &run, &typed("ROLLBACK"));
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), []);
}

#[test]
fn what_was_typed_for_one_plan_does_not_count_for_the_next() {
    let mut run = asking_run(plan::Action::Rollback, true);
    let mut ui = open(&run);
    press(&mut ui, &run, &typed("ROLLBACK"));
    run.question.as_mut().unwrap().id = model::id::PlanId(digest("another"));
    update(&mut ui, &run, Input::Changed);
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), []);
}

#[test]
fn undo_and_completion_have_words_of_their_own() {
    let of = IntentId(digest("intent"));
    for (action, word) in [(plan::Action::Undo { of }, "UNDO"), (plan::Action::Resume { of }, "FINISH")] {
        let run = asking_run(action, true);
        let mut ui = open(&run);
        press(&mut ui, &run, &typed("ROLLBACK"));
        assert_eq!(press(&mut ui, &run, &[Key::Enter]), []);
        let mut ui = open(&run);
        press(&mut ui, &run, &typed(word));
        assert!(matches!(
            press(&mut ui, &run, &[Key::Enter])[..],
            [Action::Submit(Command::Answer { approve: true, .. })]
        ));
    }
}

#[test]
fn the_screens_follow_the_engine() {
    let mut ui = open(&good_run());
    assert_eq!(ui.screen(), Screen::Home);
    press(&mut ui, &good_run(), &[Key::Char('t')]);

    let saving = working_run(JobKind::Snapshot, false);
    update(&mut ui, &saving, Input::Changed);
    assert_eq!(ui.screen(), Screen::Progress);
    // Leaving the screen does not stop the work; c comes back to it.
    assert_eq!(press(&mut ui, &saving, &[Key::Esc]), []);
    assert_eq!(ui.screen(), Screen::Timeline);
    press(&mut ui, &saving, &[Key::Char('c')]);
    assert_eq!(ui.screen(), Screen::Progress);

    let ended = ended_run(JobKind::Snapshot, Outcome::Cancelled("nothing was saved".into()));
    update(&mut ui, &ended, Input::Changed);
    assert_eq!(ui.screen(), Screen::Outcome);
    press(&mut ui, &ended, &[Key::Esc]);
    assert_eq!(ui.screen(), Screen::Timeline);
}

#[test]
fn a_question_answered_elsewhere_goes_away_here() {
    let asking = asking_run(plan::Action::Rollback, true);
    let mut ui = open(&asking);
    press(&mut ui, &asking, &typed("ROLL"));
    let working = working_run(JobKind::Rollback, false);
    update(&mut ui, &working, Input::Changed);
    assert_eq!(ui.screen(), Screen::Progress);
    let declined = ended_run(JobKind::Rollback, Outcome::Declined);
    update(&mut ui, &declined, Input::Changed);
    assert_eq!(ui.screen(), Screen::Home);
    assert_eq!(ui.note.as_deref(), Some("Nothing was written."));
}

#[test]
fn who_joins_late_is_not_told_old_news() {
    let ended = ended_run(JobKind::Rollback, Outcome::WroteBack(receipt()));
    assert_eq!(open(&ended).screen(), Screen::Home);
    assert_eq!(open(&working_run(JobKind::Rollback, true)).screen(), Screen::Progress);
    assert_eq!(open(&asking_run(plan::Action::Rollback, true)).screen(), Screen::Confirm);
}

#[test]
fn numbers_and_letters_do_what_they_say() {
    let run = broken_run();
    let good = SnapRef::Prefix(snapshot_id("three").to_string());
    let back = Action::Submit(Command::PlanRollback { to: good.clone(), only: vec![], full: false });
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('1')]), std::slice::from_ref(&back));
    assert_eq!(press(&mut open(&run), &run, &[Key::Enter]), std::slice::from_ref(&back));
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('r'), Key::Enter]), [back]);
    let save = Action::Submit(Command::Snapshot { full: false });
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('2')]), std::slice::from_ref(&save));
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('j'), Key::Enter]), std::slice::from_ref(&save));
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('s')]), std::slice::from_ref(&save));
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('9')]), []);
    assert_eq!(press(&mut open(&good_run()), &good_run(), &[Key::Char('1')]), [save]);
    assert_eq!(
        press(&mut open(&fenced_run()), &fenced_run(), &[Key::Char('1')]),
        [Action::Submit(Command::PlanResume)]
    );
    assert_eq!(
        press(&mut open(&fenced_run()), &fenced_run(), &[Key::Char('2')]),
        [Action::Submit(Command::PlanUndo { full: false })]
    );
    let none = RunState::default();
    assert_eq!(press(&mut open(&none), &none, &[Key::Char('1')]), [Action::Submit(Command::Inspect)]);
}

/// A locked volume is unlocked from its row; elsewhere the same key is what it is on every screen.
#[test]
fn a_volume_is_unlocked_from_its_row() {
    let run = layered_run();
    let mut ui = open(&run);
    assert_eq!(
        press(&mut ui, &run, &[Key::Char('d'), Key::Char('u')]),
        [Action::Submit(Command::PlanUndo { full: false })]
    );
    press(&mut ui, &run, &[vec![Key::Char('/')], typed("locked"), vec![Key::Enter]].concat());
    assert_eq!(press(&mut ui, &run, &[Key::Char('u')]), []);
    let path: VolumePath = "d0/p4".parse().unwrap();
    assert_eq!((ui.screen(), &ui.unlocking), (Screen::Unlock, &Some(path.clone())));
    let asked = press(&mut ui, &run, &[typed("pw"), vec![Key::Enter]].concat());
    assert!(matches!(&asked[..], [Action::Submit(Command::OpenVolume { volume, .. })] if *volume == path), "{asked:?}");
    assert_eq!(ui.screen(), Screen::Disks);
}

#[test]
fn without_a_store_nothing_is_asked_of_it() {
    let run = no_store_run();
    for k in ['s', 'u'] {
        let mut ui = open(&run);
        assert_eq!(press(&mut ui, &run, &[Key::Char(k)]), []);
        assert!(ui.note.is_some());
    }
}

#[test]
fn the_timeline_keeps_the_one_chosen() {
    let mut run = broken_run();
    let mut ui = open(&run);
    press(&mut ui, &run, &[Key::Char('t'), Key::Down]);
    assert_eq!(ui.snapshot, Some(snapshot_id("four")));
    // Another snapshot comes in above it.
    run.store.as_mut().unwrap().snapshots.push(summary("six", 6, at(23, 7, 0), true, "Fine."));
    update(&mut ui, &run, Input::Changed);
    let want = SnapRef::Prefix(snapshot_id("four").to_string());
    assert_eq!(
        press(&mut ui, &run, &[Key::Enter]),
        [Action::Submit(Command::PlanRollback { to: want, only: vec![], full: false })]
    );
}

#[test]
fn leaving_the_machine_takes_a_choice() {
    let run = good_run();
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('p'), Key::Enter]), []);
    assert_eq!(ui.screen(), Screen::Home, "the first choice stays");
    let mut ui = open(&run);
    let off = Action::Submit(Command::Power(PowerAction::Poweroff));
    assert_eq!(press(&mut ui, &run, &[Key::Char('p'), Key::Char('2'), Key::Enter]), [off]);
    // Not while something is going on.
    let run = working_run(JobKind::Rollback, true);
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('p'), Key::Char('2'), Key::Enter]), []);
}

#[test]
fn stopping_is_asked_twice_and_by_a_word_where_the_disks_are_half_written() {
    let stop = Action::Submit(Command::Cancel);
    let run = working_run(JobKind::Snapshot, false);
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('c'), Key::Char('y')]), std::slice::from_ref(&stop));
    assert_eq!(press(&mut open(&run), &run, &[Key::Char('c'), Key::Char('n'), Key::Char('y')]), []);
    let run = working_run(JobKind::Rollback, true);
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('c'), Key::Char('y'), Key::Enter]), []);
    let mut ui = open(&run);
    press(&mut ui, &run, &[Key::Interrupt]);
    press(&mut ui, &run, &typed("stop"));
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), [stop]);
}

#[test]
fn only_a_program_that_may_be_left_is_left() {
    let run = good_run();
    let mut console = open(&run);
    assert_eq!(press(&mut console, &run, &[Key::Char('q'), Key::Interrupt]), []);
    assert!(console.note.is_some());
    let mut program = Ui::new(SIZE, Look::PLAIN, true);
    update(&mut program, &run, Input::Changed);
    assert_eq!(press(&mut program.clone(), &run, &[Key::Char('q')]), [Action::Leave]);
    // A computer that only runs the program is not switched off by it.
    let keys = [Key::Char('p'), Key::Char('2'), Key::Down, Key::Down, Key::Enter];
    assert_eq!(press(&mut program.clone(), &run, &keys), [Action::Leave]);
    let run = working_run(JobKind::Snapshot, false);
    assert_eq!(press(&mut program, &run, &[Key::Char('q')]), [], "not in the middle of something");
}

/// The engine looks by itself, once for all of them: two that asked would have one refused.
#[test]
fn a_front_end_asks_for_nothing_by_itself() {
    for run in [RunState::default(), no_store_run(), good_run()] {
        assert_eq!(update(&mut Ui::new(SIZE, Look::PLAIN, false), &run, Input::Changed), []);
    }
}

#[test]
fn that_there_is_no_store_takes_no_screen_of_its_own() {
    let mut ui = open(&no_store_run());
    let listing = RunState { job: Some((JobKind::List, None)), ..no_store_run() };
    update(&mut ui, &listing, Input::Changed);
    let failure = Failure::new(ExitCode::Failed, "there is no store", "attach one");
    let failed = RunState { last: Some((JobKind::List, Outcome::Failed(failure))), ..no_store_run() };
    update(&mut ui, &failed, Input::Changed);
    assert_eq!(ui.screen(), Screen::Home);
    assert_eq!(ui.note.as_deref(), Some("There is no store; attach one."));
}

#[test]
fn nothing_is_decided_blindly_in_a_window_too_small() {
    let run = asking_run(plan::Action::Rollback, true);
    let mut ui = open(&run);
    update(&mut ui, &run, Input::Resize(40, 10));
    let mut keys = typed("ROLLBACK");
    keys.push(Key::Enter);
    assert_eq!(press(&mut ui, &run, &keys), []);
    update(&mut ui, &run, Input::Resize(80, 25));
    assert_eq!(press(&mut ui, &run, &[Key::Enter]), [], "nothing was typed while it could not be seen");
}

#[test]
fn a_refusal_is_shown() {
    let run = good_run();
    let mut ui = open(&run);
    update(&mut ui, &run, Input::Refused("a save is still running".into()));
    assert_eq!(ui.note.as_deref(), Some("A save is still running."));
    press(&mut ui, &run, &[Key::Down]);
    assert_eq!(ui.note, None);
}

/// A key asks for the plan that reads the other way; it approves nothing, and is no letter of the word.
#[test]
fn a_plan_is_asked_again_with_everything_read() {
    let run = asking_run(plan::Action::Rollback, true);
    let id = run.question.as_ref().unwrap().id;
    let mut ui = open(&run);
    let again = Action::Submit(Command::Reread { plan: id, full: true });
    assert_eq!(press(&mut ui, &run, &[Key::Char('f')]), [again]);
    assert_eq!(press(&mut ui, &run, &[Key::Char('r'), Key::Char('f')]), []);
    assert_eq!(ui.typed, "RF", "a letter among letters");
    let run = asking_run(plan::Action::Resume { of: IntentId(digest("intent")) }, true);
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('f')]), []);
    assert_eq!(ui.typed, "F", "FINISH begins with it, and saves nothing first");
}

/// Another machine's state takes another word.
#[test]
fn another_machines_state_has_a_word_of_its_own() {
    let mut run = asking_run(plan::Action::Rollback, true);
    let question = run.question.as_mut().unwrap();
    question.plan.foreign = Some("web2".into());
    let id = question.id;
    let mut ui = open(&run);
    let mut keys = typed("ROLLBACK");
    keys.push(Key::Enter);
    assert_eq!(press(&mut ui, &run, &keys), []);
    let mut keys: Vec<Key> = std::iter::repeat_n(Key::Backspace, 8).chain(typed("ANOTHER")).collect();
    keys.push(Key::Enter);
    let approve = Action::Submit(Command::Answer { plan: id, approve: true });
    assert_eq!(press(&mut ui, &run, &keys), [approve]);
}

/// Where what others have on an EFI system partition cannot be kept, a key leaves that as it is, and takes it back after all.
#[test]
fn a_partition_that_others_start_from_is_left_by_a_key() {
    let mut run = asking_run(plan::Action::Rollback, true);
    let id = run.question.as_ref().unwrap().id;
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('e')]), [], "there is none");
    assert_eq!(ui.typed, "E");
    for left in [false, true] {
        run.question.as_mut().unwrap().plan.esps = vec![SharedEsp {
            volume: "d0/p1".parse().unwrap(),
            saved_as: "d0/p1".parse().unwrap(),
            stays: Vec::new(),
            cannot: Some("it cannot be read".into()),
            left,
        }];
        let mut ui = open(&run);
        let asked = Action::Submit(Command::LeaveEsps { plan: id, leave: !left });
        assert_eq!(press(&mut ui, &run, &[Key::Char('e')]), [asked]);
    }
}

/// A key asks for the plan that keeps people's data on the root file system, and again for the one that does not.
#[test]
fn a_plan_is_asked_again_with_what_is_kept() {
    let mut run = asking_run(plan::Action::Rollback, true);
    let id = run.question.as_ref().unwrap().id;
    let mut ui = open(&run);
    let paths: Vec<model::text::RawName> = ["/home", "/root", "/srv"].map(model::text::RawName::from).to_vec();
    let keep = Action::Submit(Command::Keep { plan: id, paths: paths.clone() });
    assert_eq!(press(&mut ui, &run, &[Key::Char('k')]), [keep]);
    assert_eq!(press(&mut ui, &run, &[Key::Char('r'), Key::Char('k')]), []);
    assert_eq!(ui.typed, "RK", "a letter among letters");
    let composed = plan::Composition { of: None, with: None, paths: Vec::new(), room: ByteLen::ZERO };
    run.question.as_mut().unwrap().plan.composed = Some(composed);
    let mut ui = open(&run);
    let nothing = Action::Submit(Command::Keep { plan: id, paths: Vec::new() });
    assert_eq!(press(&mut ui, &run, &[Key::Char('k')]), [nothing]);
    // A /home of its own is no part of the plan.
    let mut run = asking_run(plan::Action::Rollback, true);
    let report = run.report.as_mut().unwrap();
    report.inspection.systems[0].other.push(("/home".into(), "d0/p3".parse().unwrap()));
    let mut ui = open(&run);
    let keep = Action::Submit(Command::Keep { plan: id, paths: paths[1..].to_vec() });
    assert_eq!(press(&mut ui, &run, &[Key::Char('k')]), [keep]);
    let run = asking_run(plan::Action::Undo { of: IntentId(digest("intent")) }, true);
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('k')]), []);
}

/// Two saved states are compared once one is marked, the earlier first whichever that is; without a mark it is the one that is chosen and now.
#[test]
fn two_states_are_compared_by_a_mark() {
    let run = broken_run();
    let name = |s: &str| SnapRef::Prefix(snapshot_id(s).to_string());
    let compare = |before: &str, after: Option<&str>| {
        let (before, after) = (name(before), after.map(name));
        Action::Submit(Command::Compare { before, after, text: true })
    };
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('t'), Key::Char('m')]), []);
    assert!(ui.note.as_ref().unwrap().contains("is marked"), "{:?}", ui.note);
    assert_eq!(press(&mut ui, &run, &[Key::Char('d')]), [compare("five", None)], "it is the marked one itself");
    assert_eq!(press(&mut ui, &run, &[Key::Down, Key::Char('d')]), [compare("four", Some("five"))]);
    assert_eq!(press(&mut ui, &run, &[Key::Char('m'), Key::Up, Key::Char('d')]), [compare("four", Some("five"))]);
    assert_eq!(press(&mut ui, &run, &[Key::Down, Key::Char('m'), Key::Char('d')]), [compare("four", None)]);
}

/// A text is found on every screen that is a list or a long text, and by the same keys.
#[test]
fn a_text_is_found_on_every_list() {
    let run = broken_run();
    let find = |text: &str| [vec![Key::Char('/')], typed(text), vec![Key::Enter]].concat();
    let mut ui = open(&run);
    press(&mut ui, &run, &[&[Key::Char('t')], &find("UNDO")[..]].concat());
    assert_eq!((ui.screen(), ui.snapshot), (Screen::Timeline, Some(snapshot_id("four"))));
    press(&mut ui, &run, &find("no such thing"));
    assert_eq!(ui.snapshot, Some(snapshot_id("four")));
    assert_eq!(ui.note.as_deref(), Some("Nothing here has \"no such thing\" in it."));
    for key in ['e', 'l', '?'] {
        let mut run = run.clone();
        run.log = (0..60).map(|n| if n % 20 == 19 { "by the rule".into() } else { "line".into() }).collect();
        let mut ui = open(&run);
        let wanted = if key == '?' { "saved states" } else { "BY THE rule" };
        press(&mut ui, &run, &[&[Key::Char(key), Key::Home], &find(wanted)[..]].concat());
        let first = ui.found.unwrap();
        press(&mut ui, &run, &[Key::Char('n')]);
        let second = ui.found.unwrap();
        assert!(second > first, "{key}");
        press(&mut ui, &run, &[Key::Char('N')]);
        assert_eq!(ui.found, Some(first), "{key}");
        assert!(ui.scroll <= first, "{key}: it is in sight");
    }
    // While a word is typed, a letter is a letter; what begins a search is none.
    let run = asking_run(plan::Action::Rollback, true);
    let mut ui = open(&run);
    press(&mut ui, &run, &[&typed("ROLL")[..], &find("lose"), &typed("BACK")].concat());
    assert_eq!(ui.typed, "ROLLBACK");
    assert!(ui.found.is_some());
}

/// All about a saved state is shown to whoever asked for it, and stayed.
#[test]
fn a_saved_state_is_told_of() {
    let run = broken_run();
    let mut ui = open(&run);
    let snapshot = SnapRef::Prefix(snapshot_id("five").to_string());
    let asked = press(&mut ui, &run, &[Key::Char('t'), Key::Char('v')]);
    assert_eq!(asked, [Action::Submit(Command::Describe { snapshot })]);
    let summary = run.store.as_ref().unwrap().snapshots.iter().find(|s| s.id == snapshot_id("five")).unwrap().clone();
    let statement = described(&summary);
    let working = RunState { job: Some((JobKind::Describe, None)), ..run.clone() };
    let ended = RunState {
        last: Some((
            JobKind::Describe,
            Outcome::Described(Box::new(model::snapshot::Described { summary, statement })),
        )),
        ..run.clone()
    };
    let mut elsewhere = ui.clone();
    update(&mut ui, &working, Input::Changed);
    assert_eq!(ui.screen(), Screen::Timeline, "it takes no screen of its own meanwhile");
    update(&mut ui, &ended, Input::Changed);
    assert_eq!(ui.screen(), Screen::Reading);
    let reading = ui.reading.as_ref().unwrap();
    assert!(reading.title.starts_with("Snapshot "), "{}", reading.title);
    update(&mut elsewhere, &working, Input::Changed);
    press(&mut elsewhere, &working, &[Key::Char('e')]);
    update(&mut elsewhere, &ended, Input::Changed);
    assert_eq!(elsewhere.screen(), Screen::Evidence);
}

/// In the rescue a second stick is offered; elsewhere a second store is named.
#[test]
fn a_second_stick_is_for_the_rescue() {
    let run = good_run();
    let upkeep = |what| Action::Submit(Command::Upkeep { what });
    let mut ui = open(&run);
    assert_eq!(press(&mut ui, &run, &[Key::Char('o'), Key::Char('7')]), [upkeep(Upkeep::CopyToStick)]);
    assert_eq!(press(&mut ui, &run, &[Key::Char('8')]), [upkeep(Upkeep::RepairFromStick)]);
    let mut program = Ui::new(SIZE, Look::PLAIN, true);
    update(&mut program, &run, Input::Changed);
    assert_eq!(press(&mut program, &run, &[Key::Char('o'), Key::Char('7')]), []);
}
