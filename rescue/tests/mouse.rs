//! The mouse: what is clicked does what its key does, a row that is clicked is chosen and no more, and the wheel moves.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::golden::{screen, text};
use common::keyboard::open;
use common::layers::*;
use common::*;
use holdfast::tui::look::Look;
use holdfast::tui::mouse::{Act, Mouse, keys};
use holdfast::tui::state::{Action, Input, Key, Screen, Ui};
use holdfast::tui::update::update;
use model::command::Command;
use model::event::JobKind;
use model::plan;
use model::run_state::RunState;
use model::upkeep::Upkeep;

const SIZE: (u16, u16) = (80, 25);

/// Does what was done with the mouse; gives what comes of it.
fn did(ui: &mut Ui, run: &RunState, act: Act, column: u16, row: u16) -> Vec<Action> {
    let keys = keys(ui, run, Mouse { act, column, row });
    keys.into_iter().flat_map(|k| update(ui, run, Input::Key(k))).collect()
}

fn press(ui: &mut Ui, run: &RunState, keys: &[Key]) {
    keys.iter().for_each(|k| drop(update(ui, run, Input::Key(*k))));
}

/// Where a text stands on the screen.
fn place(ui: &Ui, run: &RunState, wanted: &str) -> (u16, u16) {
    let shown = text(&screen(ui, run));
    let (row, line) = shown
        .lines()
        .enumerate()
        .find(|(_, line)| line.contains(wanted))
        .unwrap_or_else(|| panic!("no {wanted}:\n{shown}"));
    (u16::try_from(line.find(wanted).unwrap()).unwrap(), u16::try_from(row).unwrap())
}

fn click(ui: &mut Ui, run: &RunState, wanted: &str) -> Vec<Action> {
    let (column, row) = place(ui, run, wanted);
    did(ui, run, Act::Press, column, row)
}

#[test]
fn a_click_on_a_key_is_that_key() {
    let run = broken_run();
    let mut ui = open(&run);
    assert_eq!(click(&mut ui, &run, "t saved"), []);
    assert_eq!(ui.screen(), Screen::Timeline);
    click(&mut ui, &run, "Esc back");
    assert_eq!(ui.screen(), Screen::Home);
    // What it does may be clicked too, and what stands between two is nothing.
    let (column, row) = place(&ui, &run, "d disks");
    did(&mut ui, &run, Act::Press, column + 4, row);
    assert_eq!(ui.screen(), Screen::Disks);
    let (column, row) = place(&ui, &run, "Up Down");
    did(&mut ui, &run, Act::Press, column + 3, row);
    assert_eq!(ui.disk_row, 1);
    did(&mut ui, &run, Act::Press, column, row);
    assert_eq!(ui.disk_row, 0);
    click(&mut ui, &run, "Esc back");
    assert_eq!(click(&mut ui, &run, "s save"), [Action::Submit(Command::Snapshot { full: false })]);
    for column in [0, 79] {
        assert_eq!(did(&mut ui, &run, Act::Press, column, 24), []);
    }
}

#[test]
fn a_click_on_a_row_chooses_it() {
    let run = broken_run();
    let mut ui = open(&run);
    assert_eq!(click(&mut ui, &run, "2  Save the present state"), [], "it is not done");
    assert_eq!((ui.screen(), ui.step), (Screen::Home, 1));
    press(&mut ui, &run, &[Key::Char('t')]);
    assert_eq!(click(&mut ui, &run, "2026-11-20 09:30"), []);
    assert_eq!(ui.snapshot, Some(snapshot_id("two")));
    assert_eq!(click(&mut ui, &run, "2026-11-23 05:12"), []);
    assert_eq!(ui.snapshot, Some(snapshot_id("five")));
    press(&mut ui, &run, &[Key::Esc, Key::Char('p')]);
    assert_eq!(click(&mut ui, &run, "Power off"), []);
    assert_eq!(ui.way_out, 2);
    let run = layered_run();
    let mut ui = open(&run);
    press(&mut ui, &run, &[Key::Char('d'), Key::End]);
    let (_, first) = place(&ui, &run, "where ");
    let before = text(&screen(&ui, &run));
    let clicked = before.lines().nth(usize::from(first) + 2).unwrap().trim();
    did(&mut ui, &run, Act::Press, 5, first + 2);
    let shown = text(&screen(&ui, &run));
    let chosen = shown.lines().find_map(|line| line.strip_prefix(" > ")).unwrap();
    assert_eq!(chosen.trim(), clicked, "{shown}");
}

#[test]
fn the_wheel_moves_and_does_nothing_else() {
    let run = broken_run();
    let mut ui = open(&run);
    press(&mut ui, &run, &[Key::Char('e')]);
    assert_eq!(did(&mut ui, &run, Act::Down, 5, 5), []);
    assert_eq!(ui.scroll, 3);
    did(&mut ui, &run, Act::Up, 5, 5);
    assert_eq!(ui.scroll, 0);
    press(&mut ui, &run, &[Key::Esc, Key::Char('t')]);
    did(&mut ui, &run, Act::Down, 5, 5);
    assert_eq!(ui.snapshot, Some(snapshot_id("two")));
    // While a line is typed it types nothing.
    let run = layered_run();
    let mut ui = open(&run);
    press(&mut ui, &run, &[Key::Char('d'), Key::Char('/'), Key::Char('x')]);
    for act in [Act::Up, Act::Down, Act::Press] {
        assert_eq!(did(&mut ui, &run, act, 5, 8), []);
    }
    assert_eq!(ui.prompt.as_ref().unwrap().text, "x");
}

/// Whatever is clicked on, a plan is approved by its word alone, and a disk is named by what is typed.
#[test]
fn no_click_decides() {
    let runs = [
        asking_run(plan::Action::Rollback, true),
        growing_run(true),
        working_run(JobKind::Rollback, true),
        many_disks_run(),
        forgetting_run(),
        layered_run(),
        fenced_run(),
    ];
    for run in &runs {
        let mut keyed = vec![vec![], vec![Key::Char('t'), Key::Char('n')], vec![Key::Char('o'), Key::Char('4')]];
        keyed.push(vec![Key::Char('d')]);
        for keys in keyed {
            let mut before = open(run);
            press(&mut before, run, &keys);
            let last = SIZE.1 - 1;
            let places = (0..last).map(|row| (5, row)).chain((0..SIZE.0).step_by(2).map(|column| (column, last)));
            for (column, row) in places {
                for action in did(&mut before.clone(), run, Act::Press, column, row) {
                    assert!(is_safe(&action), "{keys:?}, {column} {row}: {action:?}");
                }
            }
        }
    }
}

/// True for what asks, reads, saves, shows a plan, or says no.
fn is_safe(action: &Action) -> bool {
    let Action::Submit(command) = action else { return true };
    match command {
        Command::Answer { approve, .. } => !approve,
        Command::Upkeep { what } => matches!(what, Upkeep::PlanForget { .. }),
        Command::Snapshot { .. }
        | Command::PlanRollback { .. }
        | Command::PlanUndo { .. }
        | Command::PlanRestore { .. }
        | Command::Compare { .. }
        | Command::BrowseFiles { .. }
        | Command::Inspect => true,
        _ => false,
    }
}

#[test]
fn nothing_is_clicked_in_a_window_too_small() {
    let run = broken_run();
    let mut ui = joined(&run, (40, 10), Look::PLAIN);
    for row in 0..10 {
        assert_eq!(did(&mut ui, &run, Act::Press, 5, row), []);
    }
    assert_eq!(ui.screen(), Screen::Home);
}
