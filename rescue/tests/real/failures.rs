//! Work in progress, and what goes wrong with it: a full store, disks that fail, that take no writes, and somebody who stops it.

use crate::desk::{Desk, ROOM, Setup, machine, moved, place, store, typed};
use Key::{Char, Down, Enter, Esc};
use holdfast::tui::state::{Key, Screen};
use model::id::DiskNo;
use model::run_state::RunState;
use model::units::ByteLen;
use std::ops::Range;

/// Room for the records of a store, and next to nothing of a disk.
const TIGHT: ByteLen = ByteLen(8_700_000);

/// Where a file of the machine lies that begins so.
fn lies(disk: &[u8], begins: &[u8]) -> Range<u64> {
    let at = disk.windows(begins.len()).position(|w| w == begins).unwrap() as u64;
    at..at + 1
}

/// Somebody in front of the machine whose upgrade was cut off, with its last good state.
fn broken() -> Desk {
    let mut desk = Setup::of("web1.img", machine("then")).desk();
    desk.press(&[Char('i')]);
    desk.save();
    desk.becomes(0, &machine("now"));
    desk.clock.to(23, 5, 50);
    desk.press(&[Char('i')]);
    desk
}

fn is_saving(run: &RunState) -> bool {
    run.job.as_ref().and_then(|(_, p)| p.as_ref()).is_some_and(|p| p.phase.as_str().starts_with("saving d0/p2"))
}

fn is_writing(run: &RunState) -> bool {
    run.job.as_ref().and_then(|(_, p)| p.as_ref()).is_some_and(|p| p.fenced && p.done.0 > 0)
}

#[test]
fn saving_takes_a_while_and_is_stopped() {
    let mut desk = Setup::of("web1.img", machine("then")).desk();
    desk.press(&[Char('i')]);
    let letter = lies(&machine("then"), b"Dear Ben,\n\nthe machine runs again.");
    *desk.faults.slow_read.lock().unwrap() = Some((DiskNo(0), letter));
    desk.clock.runs(300);
    desk.touch(&[Char('s')]);
    desk.until(|run| run.job.is_some());
    desk.shows("progress-early");
    desk.until(is_saving);
    desk.shows("progress-saving");
    desk.touch(&[Char('c')]);
    desk.shows("progress-stopping-save");
    desk.touch(&[Char('y')]);
    desk.is_heard();
    *desk.faults.slow_read.lock().unwrap() = None;
    desk.settle();
    desk.is_on(Screen::Outcome, &[]);
    desk.shows("stopped");
    desk.clock.runs(0);
    desk.press(&[Esc, Char('s')]);
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("went-on");
}

#[test]
fn the_store_is_full() {
    let objects = store(TIGHT, 7);
    let mut desk = Setup::of("web1.img", machine("now")).on(&objects).desk();
    desk.press(&[Char('i')]);
    desk.touch(&[Char('s')]);
    desk.until(|run| run.estimate.is_some());
    desk.until(is_saving);
    desk.shows("progress-tight");
    desk.settle();
    desk.is_on(Screen::Outcome, &["The store is full"]);
    desk.shows("full");
}

/// A plan that cannot be carried out says why: a disk takes no writes. And one that comes to nothing before anything is written: the store
/// has no room for what is saved first.
#[test]
fn a_plan_is_refused() {
    let objects = store(ROOM, 7);
    let mut desk = Setup::of("web1.img", machine("then")).on(&objects).desk();
    desk.press(&[Char('i')]);
    desk.save();
    let mut desk = Setup::of("web1.img", machine("now")).on(&moved(&objects, TIGHT)).desk();
    desk.clock.to(23, 5, 50);
    desk.press(&[Char('i'), Char('1')]);
    desk.is_on(Screen::Confirm, &["type ROLLBACK"]);
    desk.type_word("rollback");
    desk.is_on(Screen::Outcome, &["The store is full"]);
    desk.shows("failed");

    let mut desk = Setup { store: Some(place(&objects)), ..Setup::of("web1.img", machine("now")) }.desk();
    *desk.faults.protected.lock().unwrap() = Some(DiskNo(0));
    desk.clock.to(23, 5, 50);
    desk.press(&[Char('i'), Char('1')]);
    desk.is_on(Screen::Confirm, &["cannot be carried out"]);
    desk.shows_in_colours("plan-refused");
    desk.press(&[Enter]);
    desk.is_on(Screen::Confirm, &["see the checks"]);
}

/// The disk fails in the middle of a rollback. Then the rescue starts anew: what stands is recognised, and finished.
#[test]
fn a_rollback_is_cut_off() {
    let mut desk = broken();
    desk.press(&[Char('1')]);
    *desk.faults.room.lock().unwrap() = Some(150_000);
    desk.type_word("rollback");
    desk.is_on(Screen::Outcome, &[]);
    desk.shows("cut-off");
    desk.press(&[Esc, Char('i')]);
    desk.shows_in_colours("home-unfinished");
    desk.press(&[Char('d'), Down, Down]);
    desk.shows("disks-unfinished");
    desk.press(&[Esc, Char('p'), Char('2')]);
    desk.shows("power-unfinished");
    desk.press(&[Esc, Char('1')]);
    desk.is_on(Screen::Confirm, &["type FINISH"]);
    desk.shows("plan-finish");
    *desk.faults.room.lock().unwrap() = None;
    desk.type_word("finish");
    desk.is_on(Screen::Outcome, &["DONE."]);
    desk.shows("finished");
}

/// While disks are written, and somebody who stops it all the same.
#[test]
fn writing_takes_a_while_and_is_stopped() {
    let mut desk = broken();
    desk.press(&[Char('1')]);
    *desk.faults.slow_write.lock().unwrap() = Some(100_000);
    desk.clock.runs(300);
    desk.touch(&typed("rollback"));
    desk.touch(&[Enter]);
    desk.until(|run| {
        run.job.as_ref().and_then(|(_, p)| p.as_ref()).is_some_and(|p| p.phase.as_str().starts_with("saving"))
    });
    desk.shows("progress-before-writing");
    desk.until(is_writing);
    desk.shows_in_colours("progress-writing");
    desk.touch(&[Char('c')]);
    desk.touch(&typed("sto"));
    desk.shows("progress-stopping");
    desk.touch(&[Enter]);
    desk.shows("progress-stop-wrong-word");
    desk.touch(&typed("p"));
    desk.touch(&[Enter]);
    desk.is_heard();
    *desk.faults.slow_write.lock().unwrap() = None;
    desk.settle();
    desk.is_on(Screen::Outcome, &[]);
    desk.shows("stopped-writing");
}

/// A disk that cannot be read everywhere: what is lost of it is said, and the rest is saved.
#[test]
fn a_disk_that_cannot_be_read_everywhere() {
    let mut desk = Setup::of("web1.img", machine("then")).desk();
    let letter = lies(&machine("then"), b"Dear Ben,\n\nthe machine runs again.");
    *desk.faults.unreadable.lock().unwrap() =
        vec![(DiskNo(0), letter), (DiskNo(0), (9 << 20) + 1024..(9 << 20) + 1025)];
    desk.press(&[Char('i')]);
    desk.shows("home-failing");
    desk.faults.unreadable.lock().unwrap().pop();
    desk.press(&[Char('i'), Char('s')]);
    desk.is_on(Screen::Outcome, &["DONE, but not all of it could be read.", "512 B of d0/p2 could not be read"]);
    desk.shows("saved-in-part");
    desk.press(&[Esc, Char('l')]);
    desk.shows("log-failing");
}
