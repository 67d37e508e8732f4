//! Screens of real runs: a real engine looks at real images of disks, saves them, tells what an upgrade that was cut off did to one,
//! takes it back and undoes that, as keys ask for it. What is drawn on the way is kept (`golden/real-*`, see `common/golden.rs`).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod desk;
mod devices;
mod failures;
mod files;
mod homes;
mod images;
mod layers;
#[path = "../../crates/disk/tests/mirror/mod.rs"]
mod mirror;
mod stores;
mod targets;

use desk::{Setup, machine, typed};
use holdfast::tui::state::{Key, Screen};

#[test]
fn a_machine_is_saved_broken_and_taken_back() {
    use Key::{Char, Down, End, Enter, Esc, PageDown, Tab};
    // Beside it a spare disk, larger and empty.
    let mut desk = Setup::of("web1.img", machine("then")).and("spare.img", vec![0; 96 << 20]).desk();
    desk.press(&[Char('i')]);
    desk.shows("home-first");
    desk.press(&[Char('s')]);
    desk.is_on(Screen::Outcome, &["DONE. The present state is saved."]);
    desk.shows("saved");

    // Days later its power is cut in the middle of an upgrade.
    desk.becomes(0, &machine("now"));
    desk.clock.to(23, 5, 50);
    desk.press(&[Esc, Char('i')]);
    desk.shows_in_colours("home");
    desk.press(&[Char('e')]);
    desk.shows_in_colours("evidence");
    desk.press(&[PageDown]);
    desk.shows("evidence-further");
    desk.press(&[Esc, Char('t')]);
    desk.shows_in_colours("saved-states");
    desk.press(&[Char('v')]);
    desk.is_on(Screen::Reading, &["What was known then"]);
    desk.shows("about");
    desk.press(&[Esc, Char('d')]);
    desk.is_on(Screen::Differences, &["Packages: "]);
    desk.shows("changes");
    desk.press(&[End]);
    desk.shows("changes-end");
    desk.press(&[Char('/'), Char('f'), Char('s'), Char('t'), Enter, Enter]);
    desk.is_on(Screen::Reading, &["noatime"]);
    desk.shows("changes-lines");
    desk.press(&[Esc, Esc, Char('t'), Char('b'), Enter]);
    desk.is_on(Screen::Files, &["etc"]);
    desk.shows("files");

    // The plan, what it loses, and its word.
    desk.press(&[Esc, Esc, Char('r')]);
    desk.shows("go-back");
    desk.touch(&[Enter]);
    desk.until(|run| run.question.is_some());
    desk.shows("plan-early");
    desk.settle();
    desk.is_on(Screen::Confirm, &["To go back, type ROLLBACK"]);
    desk.shows_in_colours("plan");
    desk.press(&[PageDown]);
    desk.shows("plan-further");
    desk.press(&[Key::Home]);
    desk.type_word("y");
    desk.shows("plan-wrong-word");
    desk.press(&[Key::Backspace]);
    desk.press(&[Tab]);
    desk.is_on(Screen::Differences, &["Packages: "]);
    desk.shows("plan-losses");
    desk.press(&[Esc]);
    desk.press(&typed("rollback"));
    desk.shows("plan-typed");
    desk.press(&[Enter]);
    desk.is_on(Screen::Outcome, &["DONE. The machine is back at the saved state."]);
    desk.shows("rolled-back");
    desk.press(&[Esc, Esc]);
    desk.is_on(Screen::Home, &["What to do next"]);
    desk.shows_in_colours("home-after");
    desk.press(&[Char('u')]);
    desk.is_on(Screen::Confirm, &["To undo, type UNDO"]);
    desk.shows("undo");
    desk.type_word("UNDO");
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("undone");
    desk.press(&[Esc, Char('t')]);
    desk.shows("saved-states-all");
    // Two of them are compared: what the rollback took back.
    desk.press(&[Key::Home, Down, Char('m'), Down, Char('d')]);
    desk.is_on(Screen::Differences, &["Packages: "]);
    desk.shows("changes-two");

    // The disks, the store, and what may go.
    desk.press(&[Esc, Esc, Char('d'), Down, Down]);
    desk.is_on(Screen::Disks, &["100 MB"]);
    desk.shows("disks");
    desk.press(&[Esc, Char('o')]);
    desk.shows("store");
    desk.press(&[Char('1')]);
    desk.is_on(Screen::Outcome, &["Where the store's room goes"]);
    desk.shows("store-room");
    desk.press(&[Esc, Char('o'), Char('3')]);
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("store-checked");
    desk.press(&[Esc, Char('o'), Char('4')]);
    desk.shows("store-forget");

    // Onto the spare disk.
    desk.press(&[Esc, Esc, Char('r'), Char('n')]);
    desk.is_on(Screen::Confirm, &["RESTORE"]);
    desk.shows("restore");
    desk.press(&[Esc, Char('l')]);
    desk.is_on(Screen::Log, &[]);
    desk.shows("log");
    desk.press(&[Esc, Char('?')]);
    desk.shows("help");
    desk.press(&[Esc, Char('p')]);
    desk.is_on(Screen::Power, &[]);
    desk.shows("power");
    desk.press(&[Down, Enter]);
    desk.shows("leaving");
}
