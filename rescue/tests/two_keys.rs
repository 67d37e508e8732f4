//! Nothing destructive lies within two keys of any screen.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::files::{at_root, compared_run};
use common::keyboard::open;
use common::layers::many_disks_run;
use common::*;
use holdfast::tui::reading::{Reading, Tone};
use holdfast::tui::state::{Action, Input, Screen, Ui};
use holdfast::tui::target::Target;
use holdfast::tui::update::update;
use model::command::Command;
use model::event::{JobKind, Outcome};
use model::id::{DiskNo, IntentId};
use model::plan;
use model::run_state::RunState;
use model::upkeep::Upkeep;

/// What must take more than two keys: writing to the target's disks, stopping a half-done write-back, and leaving the machine
/// (but from the menu that is there for it, and there only while nothing is going on).
fn is_destructive(action: &Action, run: &RunState, from: Screen) -> bool {
    match action {
        Action::Submit(Command::Answer { approve: true, .. }) => true,
        Action::Submit(Command::Power(_)) => from != Screen::Power || run.job.is_some(),
        Action::Submit(Command::Cancel) => run.job.as_ref().is_some_and(|(_, p)| p.as_ref().is_some_and(|p| p.fenced)),
        Action::Submit(Command::Upkeep { what: Upkeep::Forget { .. } | Upkeep::RemoveKey { .. } }) => true,
        Action::Submit(_) | Action::Redraw | Action::Leave => false,
    }
}

/// What the engine would answer at once, so that the second key meets the screen that the first one brought.
fn answered(ui: &mut Ui, run: &RunState, actions: &[Action]) -> RunState {
    let mut run = run.clone();
    for a in actions {
        let action = match a {
            Action::Submit(Command::PlanRollback { .. }) => plan::Action::Rollback,
            Action::Submit(Command::PlanRestore { .. }) => plan::Action::Restore { over: None },
            Action::Submit(Command::PlanBootRepair) => plan::Action::Repair,
            Action::Submit(Command::PlanUndo { full: false }) => plan::Action::Undo { of: IntentId(digest("intent")) },
            Action::Submit(Command::PlanResume) => plan::Action::Resume { of: IntentId(digest("intent")) },
            Action::Submit(Command::Snapshot { .. }) => {
                run.job = working_run(JobKind::Snapshot, false).job;
                update(ui, &run, Input::Changed);
                continue;
            }
            _ => continue,
        };
        run.job = Some((JobKind::Rollback, None));
        run.question = Some(question(action, true));
        update(ui, &run, Input::Changed);
    }
    run
}

/// A text that is longer than a screen.
fn text() -> Reading {
    Reading::new("a text".into(), (0..50).map(|n| (Tone::Plain, format!("line {n}"))).collect(), 78)
}

/// Two disks are wanted, and one was named.
fn target() -> Target {
    Target { snapshot: snapshot_id("three"), wanted: 2, chosen: vec![DiskNo(1)], row: 0 }
}

/// Every screen that can be on top, in every kind of run state that can stand behind it.
fn every_screen() -> Vec<(Ui, RunState)> {
    let runs = [
        RunState::default(),
        good_run(),
        broken_run(),
        fenced_run(),
        no_store_run(),
        locked_run(),
        empty_run(),
        asking_run(plan::Action::Rollback, true),
        asking_run(plan::Action::Undo { of: IntentId(digest("intent")) }, true),
        asking_run(plan::Action::Resume { of: IntentId(digest("intent")) }, true),
        asking_run(plan::Action::Rollback, false),
        asking_run(plan::Action::Repair, true),
        unbootable_run(),
        working_run(JobKind::Snapshot, false),
        working_run(JobKind::Rollback, false),
        working_run(JobKind::Rollback, true),
        ended_run(JobKind::Rollback, Outcome::WroteBack(receipt())),
        ended_run(JobKind::Snapshot, Outcome::Declined),
        waiting_run(Some(8)),
        compared_run(),
        forgetting_run(),
        many_disks_run(),
    ];
    let screens = [
        Screen::Home,
        Screen::Timeline,
        Screen::Unlock,
        Screen::Confirm,
        Screen::Progress,
        Screen::Outcome,
        Screen::Files,
        Screen::Reading,
        Screen::Differences,
        Screen::Disks,
        Screen::Target,
        Screen::Store,
        Screen::Forget,
        Screen::Evidence,
        Screen::Log,
        Screen::Help,
        Screen::Power,
    ];
    let mut out = Vec::new();
    for run in &runs {
        out.push((open(run), run.clone()));
        for s in screens {
            let mut ui = open(run);
            ui.files = (s == Screen::Files).then(at_root);
            ui.reading = (s == Screen::Reading).then(text);
            ui.target = (s == Screen::Target).then(target);
            ui.comparing.of_plan = run.question.is_some();
            ui.show(s);
            out.push((ui, run.clone()));
        }
    }
    out
}

#[test]
fn nothing_destructive_within_two_keys() {
    let keys = every_key();
    let mut tried = 0_u32;
    for (start, run) in every_screen() {
        // Most keys lead nowhere from a screen: what the second one does there was tried then.
        let mut seen: Vec<Ui> = Vec::new();
        for a in &keys {
            let mut ui = start.clone();
            let actions = update(&mut ui, &run, Input::Key(*a));
            for x in &actions {
                assert!(!is_destructive(x, &run, start.screen()), "{:?} on {:?} gives {x:?}", a, start.screen());
            }
            let mut here = ui.clone();
            here.note = None;
            if actions.is_empty() && seen.contains(&here) {
                tried += u32::try_from(keys.len()).unwrap();
                continue;
            }
            if actions.is_empty() {
                seen.push(here);
            }
            let run = answered(&mut ui, &run, &actions);
            for b in &keys {
                let mut ui = ui.clone();
                for x in update(&mut ui, &run, Input::Key(*b)) {
                    assert!(
                        !is_destructive(&x, &run, start.screen()),
                        "{a:?} {b:?} on {:?} gives {x:?}",
                        start.screen()
                    );
                }
                tried += 1;
            }
        }
    }
    // 22 states, 18 ways to see each, 109 keys.
    assert_eq!(tried, 22 * 18 * 109 * 109);
}
