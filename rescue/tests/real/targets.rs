//! Onto another disk: which one, by what it is named, and the plan.

use crate::desk::{ROOM, Setup, machine, store};
use crate::images::{MIB, file_system, gpt};
use Key::{Char, Down, End, Enter, Esc, Up};
use holdfast::tui::state::{Key, Screen};

const EMPTY: usize = 96 * MIB;

#[test]
fn the_choice_of_a_disk() {
    let data = gpt(4, &[("8300", file_system("home")), ("8300", file_system("boot"))]);
    let stick = gpt(5, &[("ef00", vec![0; 2 * MIB]), ("ad53fb9e-1f4d-4a3f-9f34-7d8ed2a6d3f1", file_system("home"))]);
    let objects = store(ROOM, 7);
    let mut desk = Setup::of("web1.img", machine("then")).on(&objects).desk();
    desk.press(&[Char('i')]);
    desk.save();
    let desk = Setup::of("web1.img", machine("then")).and("spare.img", vec![0; EMPTY]).on(&objects);
    let mut desk = desk.and("other.img", vec![0; EMPTY + MIB]).and("data.img", data).and("stick.img", stick).desk();
    desk.press(&[Char('i'), Char('t'), Char('n')]);
    desk.is_on(Screen::Target, &[]);
    desk.shows("target");
    desk.press(&[End]);
    desk.shows("target-end");
    desk.press(&[Up]);
    desk.shows("target-holds");
    // It is named by what is typed: by its size, for an image has no serial number.
    desk.press(&[Enter]);
    desk.press(&crate::desk::typed("86"));
    desk.shows("target-typing");
    desk.press(&[Key::Backspace, Key::Backspace]);
    let size = desk.disk(3).len().to_string();
    desk.type_word(&size);
    desk.is_on(Screen::Confirm, &[]);
    desk.shows("restore-holds");
    desk.press(&[Esc, Esc]);
}

/// A machine with two disks is put onto two.
#[test]
fn onto_two_disks() {
    let objects = store(ROOM, 7);
    let data = gpt(4, &[("8300", file_system("home")), ("8300", file_system("boot"))]);
    let mut desk = Setup::of("web1.img", machine("then")).and("data.img", data).on(&objects).desk();
    desk.press(&[Char('i')]);
    desk.save();
    let mut desk = Setup::of("first.img", vec![0; EMPTY]).and("second.img", vec![0; EMPTY + MIB]).on(&objects).desk();
    desk.press(&[Char('i'), Char('t'), Char('n')]);
    desk.is_on(Screen::Target, &[]);
    desk.shows("target-two");
    desk.press(&[Enter]);
    let size = desk.disk(0).len().to_string();
    desk.type_word(&size);
    desk.shows("target-second");
    desk.press(&[Down, Enter]);
    let size = desk.disk(1).len().to_string();
    desk.type_word(&size);
    desk.is_on(Screen::Confirm, &["RESTORE"]);
    desk.shows("restore-two");
}
