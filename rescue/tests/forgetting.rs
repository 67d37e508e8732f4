//! The screen of the store, and forgetting saved states: what keys lead to, and what is shown.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::golden::{SIZES, compare, look};
use common::keyboard::{press, typed};
use common::*;
use holdfast::tui::look::Look;
use holdfast::tui::state::{Action, Input, Key, Screen, Ui};
use holdfast::tui::update::update;
use model::command::Command;
use model::event::{JobKind, Outcome};
use model::id::SnapRef;
use model::run_state::RunState;
use model::units::ByteLen;
use model::upkeep::{Forgetting, Kept, PruneView, SpaceLine, StatsView, Upkeep};

/// Asks what may be forgotten, and is told.
fn asked(size: (u16, u16), look: Look) -> (Ui, RunState) {
    let run = good_run();
    let mut ui = joined(&run, size, look);
    let actions = press(&mut ui, &run, &[Key::Char('o'), Key::Char('4')]);
    assert!(matches!(
        &actions[..],
        [Action::Submit(Command::Upkeep { what: Upkeep::PlanForget { what: Forgetting::Policy(_), room: true } })]
    ));
    let working = RunState { job: Some((JobKind::Upkeep, None)), ..run };
    update(&mut ui, &working, Input::Changed);
    let run = forgetting_run();
    update(&mut ui, &run, Input::Changed);
    (ui, run)
}

#[test]
fn only_the_whole_word_forgets() {
    let (mut ui, run) = asked((80, 25), Look::PLAIN);
    assert_eq!(ui.screen(), Screen::Forget);
    for word in ["", "y", "forge", "ROLLBACK", "FORGETT"] {
        let mut ui = ui.clone();
        assert_eq!(press(&mut ui, &run, &[typed(word), vec![Key::Enter]].concat()), [], "{word:?}");
        assert!(ui.note.is_some());
    }
    // What goes is what was shown, and nothing else.
    let ids = vec![snapshot_id("one"), snapshot_id("torn"), snapshot_id("four")];
    let named = ids.iter().map(|id| SnapRef::Prefix(id.to_string())).collect();
    let forget = Upkeep::Forget { what: Forgetting::Named(named), ids };
    let mut leaving = ui.clone();
    assert_eq!(
        press(&mut ui, &run, &[typed("forget"), vec![Key::Enter]].concat()),
        [Action::Submit(Command::Upkeep { what: forget })]
    );
    assert_eq!(ui.screen(), Screen::Store);
    assert_eq!(press(&mut leaving, &run, &[typed("FORGET"), vec![Key::Esc]].concat()), []);
    assert_eq!((leaving.screen(), leaving.note.as_deref()), (Screen::Store, Some("Nothing was forgotten.")));
}

/// Nobody is asked about what somebody else wanted to know, or about what is no longer so.
#[test]
fn it_is_asked_where_it_was_wanted_and_while_it_holds() {
    let mut ui = joined(&RunState { job: Some((JobKind::Upkeep, None)), ..good_run() }, (80, 25), Look::PLAIN);
    update(&mut ui, &forgetting_run(), Input::Changed);
    assert_eq!(ui.screen(), Screen::Outcome);
    let (mut ui, _) = asked((80, 25), Look::PLAIN);
    update(&mut ui, &ended_run(JobKind::Snapshot, Outcome::Declined), Input::Changed);
    assert_ne!(ui.screen(), Screen::Forget);
}

#[test]
fn one_saved_state_is_forgotten_from_the_list() {
    let run = good_run();
    let mut ui = joined(&run, (80, 25), Look::PLAIN);
    let actions = press(&mut ui, &run, &[Key::Char('t'), Key::Down, Key::Char('x')]);
    let chosen = vec![SnapRef::Prefix(snapshot_id("four").to_string())];
    let plan = Upkeep::PlanForget { what: Forgetting::Named(chosen), room: true };
    assert_eq!(actions, [Action::Submit(Command::Upkeep { what: plan })]);
    // Without a store there is nothing to look after.
    let mut ui = joined(&no_store_run(), (80, 25), Look::PLAIN);
    assert_eq!(press(&mut ui, &no_store_run(), &[Key::Char('o'), Key::Char('2')]), []);
}

#[test]
fn how_it_looks() {
    for size in SIZES {
        let run = good_run();
        let mut ui = joined(&run, size, look(size));
        press(&mut ui, &run, &[Key::Char('o')]);
        compare("store", &ui, &run);
        let (mut ui, run) = asked(size, look(size));
        compare("forget", &ui, &run);
        press(&mut ui, &run, &typed("forget"));
        compare("forget-typed", &ui, &run);
        let done = |kept: Kept, name: &str| {
            let run = ended_run(JobKind::Upkeep, Outcome::Kept(kept));
            let mut ui = joined(&RunState { job: Some((JobKind::Upkeep, None)), ..good_run() }, size, look(size));
            update(&mut ui, &run, Input::Changed);
            assert_eq!(ui.screen(), Screen::Outcome);
            compare(name, &ui, &run);
        };
        let Some((_, Outcome::Kept(Kept::ForgetPlanned(view)))) = run.last else { panic!() };
        done(Kept::Forgotten(view), "outcome-forgotten");
        let pruned = PruneView {
            deleted: 12,
            freed: ByteLen(190_000_000),
            condemned: 3,
            to_be_freed: ByteLen(48_000_000),
            rewritten: 0,
            written: ByteLen(0),
            kept: 0,
            free: Some(ByteLen(34_700_000_000)),
        };
        done(Kept::Pruned(pruned), "outcome-pruned");
        let line = |summary, unique| SpaceLine {
            summary,
            logical: ByteLen(3_200_000_000),
            unique: ByteLen(unique),
            shared: ByteLen(900_000_000),
        };
        let unique = [12_000_000, 800_000, 310_000_000, 4_000_000, 55_000_000];
        let stats = StatsView {
            logical: ByteLen(16_000_000_000),
            distinct: ByteLen(3_900_000_000),
            live: ByteLen(1_400_000_000),
            dead: ByteLen(238_000_000),
            stored: ByteLen(1_700_000_000),
            free: Some(ByteLen(34_500_000_000)),
            snapshots: store().snapshots.into_iter().zip(unique).map(|(s, n)| line(s, n)).collect(),
        };
        done(Kept::Stats(stats), "outcome-room");
    }
}
