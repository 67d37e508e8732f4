//! Looking after the store: a second one, damage, what is forgotten, and what is taken out as an image.

use crate::desk::{Desk, ROOM, Setup, bytes, machine, place, store};
use Key::{Char, Enter};
use holdfast::tui::state::{Key, Screen};
use model::command::{Command, ImageFormat};
use model::id::SnapRef;
use model::ports::ObjectStore;
use model::text::RawName;
use model::units::ByteLen;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use store::backend::Memory;

/// A store with two states of the machine in it, and a second one beside it.
fn two() -> (Desk, Arc<Memory>) {
    let objects = store(ROOM, 7);
    let setup = Setup::of("web1.img", machine("then")).on(&objects);
    let mut desk = Setup { other: Some(place(&store(ByteLen(5_000_000_000), 9))), ..setup }.desk();
    (desk.front.ui.other, desk.front.ui.may_leave) = (Some("/mnt/second/holdfast".into()), true);
    desk.press(&[Char('i')]);
    desk.save();
    desk.becomes(0, &machine("now"));
    desk.clock.to(23, 5, 50);
    desk.save();
    (desk, objects)
}

/// Loses the largest pack.
fn lose(objects: &Memory) -> Vec<u8> {
    let packs = objects.list("packs").unwrap();
    let pack = packs.into_iter().max_by_key(|name| objects.len(name).unwrap()).unwrap();
    let lost = bytes(objects, &pack);
    objects.delete(&pack).unwrap();
    lost
}

#[test]
fn a_second_store() {
    let (mut desk, objects) = two();
    desk.press(&[Char('o')]);
    desk.shows("store-second");
    desk.press(&[Char('7')]);
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("copied");
    lose(&objects);
    desk.press(&[Char('1'), Char('2')]);
    desk.is_on(Screen::Outcome, &["THE STORE IS DAMAGED."]);
    desk.shows("store-damaged");
    desk.press(&[Char('1')]);
    desk.is_on(Screen::Outcome, &["DONE. "]);
    desk.shows("repaired");
}

/// What is lost of a store, by the names of files; and what cannot be put right without another.
#[test]
fn a_store_that_lost_something() {
    let (mut desk, objects) = two();
    desk.front.ui.other = None;
    assert!(!lose(&objects).is_empty());
    desk.press(&[Char('o'), Char('3')]);
    desk.is_on(Screen::Outcome, &["THE STORE IS DAMAGED."]);
    desk.shows("store-lost");
}

/// One saved state is forgotten, and its room freed.
#[test]
fn what_is_forgotten() {
    let (mut desk, _) = two();
    desk.press(&[Char('t'), Char('x')]);
    desk.is_on(Screen::Forget, &[]);
    desk.shows("forget");
    desk.press(&crate::desk::typed("forget"));
    desk.shows("forget-typed");
    desk.press(&[Enter]);
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("forgotten");
    desk.press(&[Char('1')]);
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("pruned");
}

#[test]
fn an_image_is_made() {
    let (mut desk, _) = two();
    let to = RawName(desk.folder().join("web1.qcow2").as_os_str().as_bytes().to_vec());
    desk.order(Command::Export { snapshot: SnapRef::Latest, only: None, to, format: ImageFormat::Qcow2 });
    desk.settle();
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("exported");
}
