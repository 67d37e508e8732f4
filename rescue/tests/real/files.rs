//! Files of a saved state: found, read and taken out, with names that are an attack on whoever shows them.

use crate::desk::{Desk, Setup, typed};
use crate::images::{file_system, gpt};
use Key::{Char, Down, End, Enter, Esc, Up};
use holdfast::tui::state::{Key, Screen};

/// Somebody at the root of the saved system.
fn at_root() -> Desk {
    let disk = gpt(8, &[("8300", file_system("names")), ("8300", file_system("boot"))]);
    let mut desk = Setup { may_leave: true, ..Setup::of("web1.img", disk) }.desk();
    desk.front.ui.here = Some(crate::desk::FOLDER.into());
    desk.press(&[Char('i')]);
    desk.save();
    desk.press(&[Char('t'), Char('b')]);
    desk.is_on(Screen::Files, &[]);
    desk.shows("files-volumes");
    desk.press(&[Enter]);
    desk
}

/// Looks for a name and goes there.
fn go(desk: &mut Desk, name: &str) {
    desk.press(&[Char('/')]);
    desk.press(&typed(name));
    desk.press(&[Enter, Enter]);
}

#[test]
fn names_that_are_no_good_names() {
    let mut desk = at_root();
    go(&mut desk, "home");
    go(&mut desk, "ann");
    desk.shows("files-names");
    desk.press(&[Down, Down]);
    desk.shows("files-long-name");
    desk.press(&[Char('/')]);
    desk.press(&typed("ev"));
    desk.press(&[Enter]);
    desk.shows("files-hostile");
    desk.press(&[Char('/')]);
    desk.press(&typed("torn"));
    desk.shows("files-find");
    desk.press(&[Enter]);
    desk.shows("files-damaged");
    desk.press(&[Char('/')]);
    desk.press(&typed("pipe"));
    desk.press(&[Enter, Enter]);
    desk.shows("files-refused");
    desk.press(&[Key::Home, Char('v')]);
    desk.is_on(Screen::Reading, &["full-upgrade"]);
    desk.shows("reading");
    desk.press(&[Esc]);
    desk.press(&[Char('/')]);
    desk.press(&typed("program"));
    desk.press(&[Enter, Char('v')]);
    desk.shows("reading-binary");
    desk.press(&[Esc, Key::Home, Char('g'), Char('/'), Char('t')]);
    desk.shows("files-take-out");
    desk.press(&[Key::Backspace, Key::Backspace]);
    let folder = desk.folder().to_str().unwrap().to_owned();
    desk.type_word(&folder);
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("got");
    desk.press(&[Char('1'), Char('g')]);
    desk.type_word(&folder);
    desk.is_on(Screen::Outcome, &["NOT DONE."]);
    desk.shows("got-nothing");
}

/// A folder of 5,000 names is read, and walked through.
#[test]
fn a_folder_full_of_names() {
    let mut desk = at_root();
    desk.press(&[Char('/')]);
    desk.press(&typed("many"));
    desk.press(&[Enter]);
    desk.touch(&[Enter]);
    desk.until(|run| run.job.as_ref().is_some_and(|(_, p)| p.is_some()));
    desk.shows("files-reading");
    desk.settle();
    desk.press(&[End, Up]);
    desk.shows("files-many");
}

/// What differs, where names are an attack.
#[test]
fn changes_of_such_names() {
    let disk = |name: &str| gpt(8, &[("8300", file_system(name))]);
    let mut desk = Setup::of("web1.img", disk("names")).desk();
    desk.press(&[Char('i')]);
    desk.save();
    desk.becomes(0, &crate::images::emptied(&disk("names"), "/home/ann"));
    desk.clock.to(19, 9, 40);
    desk.press(&[Char('i'), Char('t'), Char('d')]);
    desk.is_on(Screen::Differences, &[]);
    desk.shows("changes-hostile");
    desk.press(&[End]);
    desk.shows("changes-hostile-end");
}
