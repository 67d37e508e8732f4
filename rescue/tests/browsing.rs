//! Looking through the files of a saved state: what keys ask of the engine, and what becomes of its answers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::files::*;
use common::keyboard::typed;
use common::*;
use holdfast::tui::draw;
use holdfast::tui::files::View;
use holdfast::tui::look::Look;
use holdfast::tui::state::{Action, Input, Key, Screen, Ui};
use holdfast::tui::update::update;
use model::browse::*;
use model::command::Command;
use model::event::{JobKind, Outcome};
use model::files::FilePath;
use model::id::SnapRef;
use model::inspection::FileKind;
use model::run_state::RunState;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::{Duration, Instant};

const SIZE: (u16, u16) = (80, 25);
const MANY: u64 = 100_000;

fn open() -> (Ui, RunState) {
    (joined(&good_run(), SIZE, Look::PLAIN), good_run())
}

fn many(ask: &Browse) -> Result<Shown, model::command::Failure> {
    let name = |n: u64| entry(format!("file {n:06}").as_bytes(), FileKind::File, 0o100_644, n);
    match &ask.at {
        None => Ok(Shown::Volumes(volumes())),
        Some(at) => Ok(Shown::Folder(part_of(&at.path.display().to_string(), MANY, &ask.part, &name))),
    }
}

fn chosen(ui: &Ui) -> String {
    let files = ui.files.as_ref().unwrap();
    files.entry(files.at).map(|e| e.name.display().to_string()).unwrap_or_default()
}

fn folder(ui: &Ui) -> &Folder {
    match &ui.files.as_ref().unwrap().view {
        View::Folder(folder) => folder,
        other => panic!("{other:?}"),
    }
}

fn place(path: &str) -> FilePath {
    FilePath { volume: Some("d0/p2".parse().unwrap()), path: path.into() }
}

#[test]
fn in_at_the_root_and_up_again() {
    let (mut ui, mut run) = open();
    let keys = [Key::Char('r'), Key::Char('b')];
    assert_eq!(browse(&mut ui, &mut run, &keys, &shows), []);
    assert_eq!(ui.screen(), Screen::Files);
    assert_eq!(ui.files.as_ref().unwrap().at, 1, "the root of the system is chosen, wherever it lies");
    browse(&mut ui, &mut run, &[Key::Enter], &shows);
    assert_eq!((folder(&ui).path.clone(), chosen(&ui).as_str()), ("/".into(), ".bash_history"));
    browse(
        &mut ui,
        &mut run,
        &[Key::Char('j'), Key::Char('l'), Key::End, Key::Up, Key::Up, Key::Up, Key::Right],
        &shows,
    );
    assert_eq!(folder(&ui).path, "/Documents/bin".into(), "a link is asked for like a folder; the engine follows it");
    browse(&mut ui, &mut run, &[Key::Char('h')], &shows);
    assert_eq!((folder(&ui).path.clone(), chosen(&ui).as_str()), ("/Documents".into(), "bin"));
    browse(&mut ui, &mut run, &[Key::Backspace], &shows);
    assert_eq!((folder(&ui).path.clone(), chosen(&ui).as_str()), ("/".into(), "Documents"));
    browse(&mut ui, &mut run, &[Key::Left], &shows);
    assert!(matches!(ui.files.as_ref().unwrap().view, View::Volumes(_)));
    // Swap has no files.
    browse(&mut ui, &mut run, &[Key::Down, Key::Enter], &shows);
    assert!(ui.note.as_ref().unwrap().contains("not read by this version"), "{:?}", ui.note);
    browse(&mut ui, &mut run, &[Key::Left], &shows);
    assert_eq!((ui.screen(), ui.files.clone()), (Screen::Timeline, None));
}

#[test]
fn a_file_is_read_and_a_folder_is_not() {
    let (mut ui, mut run) = open();
    browse(&mut ui, &mut run, &TO_ROOT, &shows);
    browse(&mut ui, &mut run, &[Key::Char('v')], &shows);
    assert_eq!(ui.screen(), Screen::Reading);
    browse(&mut ui, &mut run, &[typed("/LONG"), vec![Key::Enter]].concat(), &shows);
    let found = ui.reading.as_ref().unwrap().found.unwrap();
    assert!(ui.reading.as_ref().unwrap().lines()[found].1.contains("long"));
    browse(&mut ui, &mut run, &[Key::Esc, Key::Down, Key::Char('v')], &shows);
    assert_eq!(ui.screen(), Screen::Files);
    assert!(ui.note.as_ref().unwrap().contains("no file"), "{:?}", ui.note);
    // What cannot be shown says why, and leaves the rest as it was.
    browse(&mut ui, &mut run, &[typed("/pipe"), vec![Key::Enter, Key::Enter]].concat(), &shows);
    assert_eq!((ui.screen(), ui.note.as_deref(), chosen(&ui).as_str()), (Screen::Files, Some("It is a pipe."), "pipe"));
}

/// A folder of any size is shown, and every key of it answered, by a part that fits a screen.
#[test]
fn a_large_folder_is_asked_for_part_by_part() {
    let (mut ui, mut run) = open();
    browse(&mut ui, &mut run, &TO_ROOT, &many);
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    let mut keys = vec![Key::End, Key::Up, Key::PageUp, Key::Home];
    keys.extend(std::iter::repeat_n(Key::PageDown, 100));
    keys.extend(std::iter::repeat_n(Key::Down, 100));
    let mut slowest = Duration::ZERO;
    for k in keys {
        let began = Instant::now();
        let actions = update(&mut ui, &run, Input::Key(k));
        terminal.draw(|f| draw::draw(&ui, &run, f)).unwrap();
        slowest = slowest.max(began.elapsed());
        assert_eq!(answer(&mut ui, &mut run, actions, &many), []);
        assert!(folder(&ui).entries.len() <= MOST_SHOWN);
        assert!(!chosen(&ui).is_empty(), "{k:?}: what is chosen is here");
        if k == Key::End {
            assert_eq!(chosen(&ui), "file 099999");
        }
    }
    // A computer that does many things at once may take its time; what goes through all names takes longer.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    assert!(ui.files.as_ref().unwrap().at > 1000);
    browse(&mut ui, &mut run, &[typed("/777"), vec![Key::Enter]].concat(), &many);
    assert_eq!(chosen(&ui), "file 001777");
    browse(&mut ui, &mut run, &[Key::Char('n')], &many);
    assert_eq!(chosen(&ui), "file 002777");
    let at = ui.files.as_ref().unwrap().at;
    browse(&mut ui, &mut run, &[typed("/nothing"), vec![Key::Enter]].concat(), &many);
    assert_eq!(ui.files.as_ref().unwrap().at, at);
    assert!(ui.note.as_ref().unwrap().contains("nothing"), "{:?}", ui.note);
}

#[test]
fn who_goes_away_stops_what_is_read() {
    let cancel = Action::Submit(Command::Cancel);
    let (mut ui, mut run) = open();
    browse(&mut ui, &mut run, &TO_ROOT, &shows);
    update(&mut ui, &run, Input::Key(Key::Down));
    let asked = update(&mut ui, &run, Input::Key(Key::Enter));
    assert!(matches!(asked[..], [Action::Submit(Command::BrowseFiles { .. })]), "{asked:?}");
    run.job = Some((JobKind::Browse, None));
    assert_eq!(update(&mut ui, &run, Input::Changed), []);
    assert_eq!(ui.screen(), Screen::Files, "no screen of its own for that");
    // Once for what is read, then for the screen.
    assert_eq!(update(&mut ui, &run, Input::Key(Key::Esc)), std::slice::from_ref(&cancel));
    assert_eq!((ui.screen(), folder(&ui).path.clone()), (Screen::Files, "/".into()));
    // Something else is wanted meanwhile: it is asked for as soon as the engine has time.
    assert_eq!(update(&mut ui, &run, Input::Key(Key::Char('h'))), []);
    run.job = None;
    let next = update(&mut ui, &run, Input::Changed);
    assert!(matches!(&next[..], [Action::Submit(Command::BrowseFiles { ask })] if ask.at.is_none()), "{next:?}");
    assert_eq!(answer(&mut ui, &mut run, next, &shows), []);
    assert!(matches!(ui.files.as_ref().unwrap().view, View::Volumes(_)));
    // Whatever way the screen is left.
    update(&mut ui, &run, Input::Key(Key::Enter));
    run.job = Some((JobKind::Browse, None));
    update(&mut ui, &run, Input::Changed);
    update(&mut ui, &run, Input::Key(Key::Char('t')));
    assert_eq!((ui.screen(), update(&mut ui, &run, Input::Changed)), (Screen::Timeline, vec![cancel]));
    run.job = None;
    assert_eq!(update(&mut ui, &run, Input::Changed), [], "and nothing is asked for any more");
}

/// The disks are still looked at when somebody opens a saved state: it is shown as soon as that ends.
#[test]
fn who_comes_early_waits() {
    let (_, mut run) = open();
    run.job = Some((JobKind::Inspect, None));
    let mut ui = joined(&run, SIZE, Look::PLAIN);
    assert_eq!(browse(&mut ui, &mut run, &[Key::Char('r'), Key::Char('b')], &shows), []);
    assert_eq!(ui.screen(), Screen::Files);
    // Leaving stops nothing that somebody else began.
    let mut left = ui.clone();
    assert_eq!(update(&mut left, &run, Input::Key(Key::Esc)), []);
    assert_eq!(left.screen(), Screen::Timeline);
    run.job = None;
    let asked = update(&mut ui, &run, Input::Changed);
    assert_eq!(answer(&mut ui, &mut run, asked, &shows), []);
    assert!(matches!(ui.files.as_ref().unwrap().view, View::Volumes(_)));
}

#[test]
fn what_the_engine_had_no_time_for_is_asked_again() {
    let (mut ui, mut run) = open();
    browse(&mut ui, &mut run, &TO_ROOT, &shows);
    update(&mut ui, &run, Input::Key(Key::Down));
    update(&mut ui, &run, Input::Key(Key::Enter));
    // Another console was quicker.
    run.job = Some((JobKind::Browse, None));
    assert_eq!(update(&mut ui, &run, Input::Changed), []);
    run.browsed = Some(Browsed {
        ask: Browse { snapshot: snapshot_id("one"), at: None, part: Part::Around(0) },
        shown: Ok(Shown::Volumes(Vec::new())),
    });
    assert_eq!(update(&mut ui, &run, Input::Changed), []);
    assert_eq!(folder(&ui).path, "/".into(), "that was for somebody else");
    run.job = None;
    let again = update(&mut ui, &run, Input::Changed);
    answer(&mut ui, &mut run, again, &shows);
    assert_eq!(folder(&ui).path, "/Documents".into());
    // One that stumbles over it is not asked for ever.
    let asked = update(&mut ui, &run, Input::Key(Key::Char('h')));
    assert_eq!(asked.len(), 1);
    run.job = Some((JobKind::Browse, None));
    update(&mut ui, &run, Input::Changed);
    run.job = None;
    let failure = model::command::Failure::new(model::command::ExitCode::Failed, "the program stumbled", "");
    run.last = Some((JobKind::Browse, Outcome::Failed(failure)));
    assert_eq!(update(&mut ui, &run, Input::Changed), []);
    assert_eq!(ui.screen(), Screen::Outcome);
}

#[test]
fn what_is_chosen_is_taken_out() {
    let order = |at: &str, to: Option<&str>| {
        let snapshot = SnapRef::Prefix(snapshot_id("three").to_string());
        let to = to.map(Into::into);
        [Action::Submit(Command::GetFiles { snapshot, at: place(at), to, privileged: false })]
    };
    // In the rescue it goes to the save disk.
    let (mut ui, mut run) = open();
    browse(&mut ui, &mut run, &TO_ROOT, &shows);
    assert_eq!(browse(&mut ui, &mut run, &[Key::Char('g')], &shows), order("/.bash_history", None));
    // Elsewhere into a folder that is asked for.
    let (mut ui, mut run) = open();
    (ui.may_leave, ui.here) = (true, Some("/home/ann".into()));
    browse(&mut ui, &mut run, &TO_ROOT, &shows);
    browse(&mut ui, &mut run, &[Key::Down, Key::Char('g')], &shows);
    assert!(ui.prompt.is_some());
    assert_eq!(browse(&mut ui, &mut run, &[Key::Enter], &shows), order("/Documents", Some("/home/ann/Documents")));
    // No letter is a command while it is typed, and Esc leaves it.
    let keys = [vec![Key::Char('g')], typed("/tmp/squ rest/"), vec![Key::Enter]].concat();
    assert_eq!(browse(&mut ui, &mut run, &keys, &shows), order("/Documents", Some("/tmp/squ rest/Documents")));
    let keys = [vec![Key::Char('g')], typed("/tmp"), vec![Key::Esc]].concat();
    assert_eq!((browse(&mut ui, &mut run, &keys, &shows), ui.prompt.clone()), (vec![], None));
    // A volume, all of it.
    let keys = [Key::Char('h'), Key::Char('g'), Key::Enter];
    assert_eq!(browse(&mut ui, &mut run, &keys, &shows), order("/", Some("/home/ann/d0-p2")));
    // Not while something else is going on.
    run.job = Some((JobKind::Snapshot, None));
    assert_eq!(update(&mut ui, &run, Input::Key(Key::Char('g'))), []);
    assert!(ui.note.is_some() && ui.prompt.is_none());
}

#[test]
fn a_taken_file_leads_back_to_where_it_was() {
    let (mut ui, mut run) = open();
    browse(&mut ui, &mut run, &TO_ROOT, &shows);
    browse(&mut ui, &mut run, &[Key::Down, Key::Char('g')], &shows);
    run.job = Some((JobKind::Files, None));
    update(&mut ui, &run, Input::Changed);
    assert_eq!(ui.screen(), Screen::Progress);
    run.job = None;
    run.last = Some((JobKind::Files, Outcome::Got(got())));
    update(&mut ui, &run, Input::Changed);
    assert_eq!(ui.screen(), Screen::Outcome);
    browse(&mut ui, &mut run, &[Key::Char('1')], &shows);
    assert_eq!((ui.screen(), chosen(&ui).as_str()), (Screen::Files, "Documents"));
}

#[test]
fn differences_are_walked_through_and_their_lines_read() {
    let run = compared_run();
    let mut ui =
        joined(&RunState { last: None, job: Some((JobKind::Compare, None)), ..run.clone() }, SIZE, Look::PLAIN);
    update(&mut ui, &run, Input::Changed);
    assert_eq!(ui.screen(), Screen::Differences);
    let mut press = |keys: &[Key]| {
        keys.iter().for_each(|k| drop(update(&mut ui, &run, Input::Key(*k))));
        ui.clone()
    };
    let ui = press(&[typed("/fstab"), vec![Key::Enter, Key::Enter]].concat());
    assert_eq!(ui.screen(), Screen::Reading);
    let lines: Vec<&str> = ui.reading.as_ref().unwrap().lines().iter().map(|(_, l)| l.as_str()).collect();
    assert!(
        lines.contains(&"-UUID=1111 /home ext4 defaults 0 2") && lines.contains(&"+UUID=1111 /home ext4 noatime 0 2")
    );
    let ui = press(&[Key::Esc, Key::Home, Key::Enter]);
    assert_eq!(ui.screen(), Screen::Differences, "a heading has no lines");
    let ui = press(&[Key::End, Key::PageUp, Key::Up, Key::Char('G')]);
    let last = ui.comparing.row;
    assert_eq!(press(&[Key::Down]).comparing.row, last);
    assert_eq!(press(&[Key::Esc]).screen(), Screen::Home);
}

#[test]
fn what_a_plan_loses_is_walked_through_and_nothing_typed_there_approves_it() {
    let run = asking_run(model::plan::Action::Rollback, true);
    let mut ui = joined(&run, SIZE, Look::PLAIN);
    let mut press = |run: &RunState, keys: &[Key]| -> (Vec<Action>, Ui) {
        (keys.iter().flat_map(|k| update(&mut ui, run, Input::Key(*k))).collect(), ui.clone())
    };
    let (_, shown) = press(&run, &[typed("ROLLB"), vec![Key::Tab]].concat());
    assert_eq!((shown.screen(), shown.typed.as_str()), (Screen::Differences, ""));
    let (actions, _) = press(&run, &[typed("ROLLBACK"), vec![Key::Enter]].concat());
    assert!(!actions.iter().any(|a| matches!(a, Action::Submit(Command::Answer { .. }))), "{actions:?}");
    // Somebody else decided: what it was about goes away.
    let mut ui = joined(&run, SIZE, Look::PLAIN);
    update(&mut ui, &run, Input::Key(Key::Tab));
    update(&mut ui, &working_run(JobKind::Rollback, false), Input::Changed);
    assert!(!ui.is_open(Screen::Differences) && !ui.comparing.of_plan);
    // What is not known yet is said.
    let mut early = run;
    early.question.as_mut().unwrap().losses = None;
    let mut ui = joined(&early, SIZE, Look::PLAIN);
    update(&mut ui, &early, Input::Key(Key::Tab));
    assert_eq!(ui.screen(), Screen::Confirm);
    assert!(ui.note.as_ref().unwrap().contains("worked out"), "{:?}", ui.note);
}
