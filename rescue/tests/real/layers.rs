//! Disks with layers between partitions and file systems: an array that lost step, LVM on one disk and on two, encrypted volumes.

use crate::common::keyboard::typed;
use crate::desk::Setup;
use crate::images::{MIB, PASSPHRASE, container, file_system, gpt, on_lvm, on_two};
use crate::mirror::member;
use Key::{Char, Down, End, Enter, Esc, Tab};
use holdfast::tui::state::{Key, Screen};

const LOCKED: &str = "9d2c0c5e-1111-4222-8333-444455556666";

fn find(what: &str) -> Vec<Key> {
    [Char('/')].into_iter().chain(typed(what)).chain([Enter]).collect()
}

#[test]
fn an_array_lvm_and_an_encrypted_volume() {
    let boot = file_system("boot");
    let first = gpt(
        1,
        &[
            ("ef00", vec![0; 2 * MIB]),
            ("fd00", member("db7:boot", &boot, 0, 118)),
            ("8e00", on_lvm()),
            ("8e00", on_two(0)),
            ("8309", container(&file_system("home"), LOCKED)),
        ],
    );
    let second = gpt(2, &[("8300", vec![0; MIB]), ("fd00", member("db7:boot", &boot, 1, 97)), ("8e00", on_two(1))]);
    let mut desk =
        Setup::of("first.img", first).and("second.img", second).and("archive.img", file_system("home")).desk();
    desk.press(&[Char('i')]);
    desk.shows("home-layers");
    desk.press(&[Char('d')]);
    desk.shows("disks-layers");
    desk.press(&find("target/root"));
    desk.shows("disks-volume");
    desk.press(&[Enter]);
    desk.is_on(Screen::Reading, &["d0/p3/target/root"]);
    desk.shows("disks-read");
    desk.press(&[Esc]);
    desk.press(&find("member"));
    desk.press(&[Char('n')]);
    desk.shows("disks-member");
    desk.press(&find("locked"));
    desk.shows("disks-locked");
    desk.press(&[End]);
    desk.shows("disks-end");
    desk.press(&[Esc, Char('e')]);
    desk.shows("evidence-layers");
}

/// The root itself is encrypted: unlocked with a passphrase that was mistyped first.
#[test]
fn an_encrypted_root() {
    let disk =
        gpt(3, &[("ef00", vec![0; 2 * MIB]), ("8300", file_system("boot")), ("8309", container(&on_lvm(), LOCKED))]);
    let mut desk = Setup::of("db7.img", disk).desk();
    desk.press(&[Char('i')]);
    desk.shows("home-encrypted");
    desk.press(&[Char('1')]);
    desk.is_on(Screen::Unlock, &["d0/p3"]);
    desk.press(&typed("correct hose"));
    desk.shows("unlock-volume");
    desk.press(&[Enter]);
    desk.is_on(Screen::Unlock, &[]);
    desk.shows("unlock-volume-wrong");
    desk.press(&[Tab]);
    desk.shows("unlock-volume-plain");
    desk.press(&typed(PASSPHRASE));
    desk.press(&[Enter]);
    desk.is_on(Screen::Home, &["db7"]);
    assert_eq!(desk.front.ui.note, None, "what was said of the wrong one no longer stands there");
    desk.shows("home-unlocked");
    desk.press(&[Char('d'), Down, Down, Down, Down]);
    desk.shows("disks-unlocked");
}
