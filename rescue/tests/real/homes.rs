//! The first screen of machines in other states than the one whose upgrade was cut off, and what leads on from there.

use crate::desk::{ROOM, Setup, machine, place, store};
use crate::images::{file_system, gpt, on_lvm, without};
use Key::{Char, Down, Enter, Esc};
use engine::Access;
use holdfast::tui::state::{Key, Screen};
use model::command::Command;
use model::policy::Manner;

/// What starts the machine is broken: that is told, and put right, or gone back behind.
#[test]
fn a_machine_that_does_not_start() {
    let broken =
        without(&machine("then"), &["/EFI/BOOT/BOOTX64.EFI", "/EFI/debian/shimx64.efi", "/EFI/debian/grub.cfg"]);
    let mut desk = Setup::of("web1.img", broken.clone()).desk();
    desk.press(&[Char('i')]);
    desk.save();
    // What is gone back to is broken as well.
    desk.becomes(0, &machine("then"));
    desk.clock.to(19, 9, 40);
    desk.press(&[Char('r'), Enter]);
    desk.type_word("ROLLBACK");
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("rolled-back-broken");

    let mut desk = Setup::of("web1.img", machine("then")).desk();
    desk.press(&[Char('i')]);
    desk.save();
    desk.becomes(0, &broken);
    desk.clock.to(19, 9, 40);
    desk.press(&[Char('i')]);
    desk.shows("home-unbootable");
    desk.press(&[Char('e')]);
    desk.shows("evidence-unbootable");
    desk.press(&[Esc, Char('1')]);
    desk.is_on(Screen::Confirm, &["To put it right, type REPAIR"]);
    desk.shows("plan-repair");
    desk.type_word("repair");
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("repaired-boot");
}

/// No store, no disk, no system; nothing known yet.
#[test]
fn little_is_there() {
    let mut desk = Setup { store: None, ..Setup::of("web1.img", machine("now")) }.desk();
    desk.press(&[Char('d')]);
    desk.shows("disks-none");
    desk.press(&[Esc]);
    desk.touch(&[Char('i')]);
    desk.until(|run| run.job.is_some());
    desk.shows("home-looking");
    desk.settle();
    desk.shows("home-no-store");

    // Both copies of the table are gone.
    let mut torn = machine("then");
    let len = torn.len();
    torn[512..1024].fill(0x55);
    torn[len - 512..].fill(0x55);
    let mut desk = Setup::of("web1.img", torn).desk();
    desk.press(&[Char('i')]);
    desk.shows("home-no-system");
    desk.press(&[Char('t')]);
    desk.shows("saved-states-none");

    // Only a bare disk, and a store of one machine: a new disk was put in.
    let objects = store(ROOM, 7);
    let mut desk = Setup::of("web1.img", machine("then")).on(&objects).desk();
    desk.press(&[Char('i')]);
    desk.save();
    let mut desk = Setup::of("new.img", vec![0; 96 << 20]).on(&objects).desk();
    desk.press(&[Char('i')]);
    desk.shows("home-new-disk");
}

/// Several systems on several disks.
#[test]
fn several_systems() {
    let other = gpt(7, &[("8e00", on_lvm()), ("8300", file_system("boot"))]);
    let mut desk =
        Setup::of("web1.img", machine("now")).and("db7.img", other).and("spare.img", vec![0; 32 << 20]).desk();
    desk.press(&[Char('i')]);
    desk.shows("home-several");
    desk.press(&[Key::Tab]);
    desk.shows("home-several-second");
    desk.press(&[Char('e')]);
    desk.shows("evidence-several-second");
    desk.press(&[Esc, Char('d')]);
    desk.shows("disks-several");
}

/// A name, a hostname and a package that try to clear the screen, to colour it, and to write it from right to left.
#[test]
fn names_that_are_an_attack() {
    let mut desk = Setup::of("web1.img", gpt(8, &[("8300", file_system("names"))])).desk();
    desk.press(&[Char('i')]);
    desk.shows("home-hostile");
    desk.press(&[Char('e')]);
    desk.shows("evidence-hostile");
}

/// The store is locked; what was typed does not show.
#[test]
fn a_locked_store() {
    let dir = tempfile::tempdir().unwrap();
    let objects = std::sync::Arc::new(store::backend::LocalDir::create(dir.path()).unwrap());
    let key = engine::Unlock::Passphrase(engine::Secret::new(b"correct horse".to_vec()));
    let options = store::InitOptions { key: Some((key, "first".to_owned())), ..store::InitOptions::default() };
    store::Store::init_with(objects, options).unwrap();
    let place =
        engine::StorePlace::Dir { path: dir.path().to_owned(), create: false, access: Box::<Access>::default() };
    let mut desk = Setup { store: Some(place), ..Setup::of("web1.img", machine("now")) }.desk();
    desk.press(&[Char('i')]);
    desk.shows("home-locked");
    desk.press(&[Char('1')]);
    desk.press(&crate::desk::typed("correct hose"));
    desk.shows("unlock");
    desk.press(&[Enter]);
    desk.is_on(Screen::Unlock, &[]);
    desk.shows("unlock-wrong");
}

/// Nothing changed since it was saved; a policy that waits for somebody, saves, and saves nothing.
#[test]
fn by_itself() {
    let auto = || Command::Auto { policy: None, keys: None, manner: Manner::Unattended };
    let at_once = || Command::Auto { policy: None, keys: None, manner: Manner::Asked };
    let mut desk = Setup::of("web1.img", machine("now")).desk();
    desk.order(auto());
    desk.until(|run| run.waiting.is_some());
    desk.shows("home-waiting-to-look");
    desk.until(|run| run.waiting.as_ref().is_some_and(|w| w.seconds.is_some()));
    desk.shows("home-waiting");
    desk.press(&[Down]);
    desk.shows("home-stopped");

    desk.order(at_once());
    desk.settle();
    desk.is_on(Screen::Outcome, &[]);
    desk.shows("auto-saved");
    let mut desk = Setup { store: Some(place(&store(ROOM, 7))), ..Setup::of("web1.img", machine("then")) }.desk();
    desk.press(&[Char('i')]);
    desk.save();
    desk.clock.to(18, 10, 40);
    desk.press(&[Char('i')]);
    desk.shows("home-unchanged");
    desk.order(at_once());
    desk.settle();
    desk.shows("auto-skipped");
}
