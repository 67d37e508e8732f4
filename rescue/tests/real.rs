//! Screens of a real run: a real engine looks at a real disk image (`fixtures/machine`), saves it, tells what an upgrade that was cut off did to
//! it, takes it back and undoes that, as keys ask for it. What is drawn on the way is kept (`golden/real-*`, see `common/golden.rs`).
//!
//! Nothing of it depends on the computer: the clock is the test's, the store is in memory and its id is given.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::golden::{SIZES, compare, look, screen, text};
use engine::parser::Local;
use engine::{Config, Engine, Handle, StorePlace};
use holdfast::tui::front::{Front, Incoming};
use holdfast::tui::look::Look;
use holdfast::tui::state::{Action, Key, Screen, Ui};
use model::event::{Event, Happening};
use model::ports::{Clock, Entropy, UnixMicros};
use model::units::ByteLen;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::backend::Memory;
use store::{InitOptions, Store};

/// How long the engine may take for anything here.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes the store has room for.
const ROOM: ByteLen = ByteLen(4_000_000_000);

/// A clock that the test sets.
struct Set(AtomicI64);

impl Set {
    fn to(&self, day: u8, hour: u8, minute: u8) {
        self.0.store(common::at(day, hour, minute).0, Ordering::SeqCst);
    }
}

impl Clock for Set {
    fn now(&self) -> UnixMicros {
        UnixMicros(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Bytes that are the same each time.
struct Counted(Mutex<u8>);

impl Entropy for Counted {
    fn fill(&self, out: &mut [u8]) -> io::Result<()> {
        let mut next = self.0.lock().unwrap();
        for b in out {
            *next = next.wrapping_mul(13).wrapping_add(41);
            *b = *next;
        }
        Ok(())
    }
}

/// Puts one of the two states of the machine into an image file that is there already, or makes it.
fn put(state: &str, disk: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/machine/{state}.img.zst"));
    let bytes = zstd::stream::decode_all(File::open(from).unwrap()).unwrap();
    // Written over in place: the engine keeps it open.
    let mut file = File::options().write(true).create(true).truncate(false).open(disk).unwrap();
    file.write_all(&bytes).unwrap();
}

/// Somebody at a console of the rescue, an engine, and its machine.
struct Desk {
    handle: Handle,
    events: Receiver<Event>,
    front: Front,
    /// The number of the event before which something was asked for.
    owed: Option<u64>,
    clock: Arc<Set>,
    _dir: tempfile::TempDir,
    disk: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("web1.img");
        put("then", &disk);
        // A spare disk, larger and empty.
        let spare = dir.path().join("spare.img");
        File::create(&spare).unwrap().set_len(96 << 20).unwrap();
        let opened = engine::machine::open(&[disk.clone(), spare]).unwrap();
        let clock = Arc::new(Set(AtomicI64::new(0)));
        clock.to(18, 9, 40);
        let objects = Arc::new(Memory::with_capacity(ROOM));
        let entropy = Arc::new(Counted(Mutex::new(7)));
        Store::init_with(objects.clone(), InitOptions { entropy, key: None }).unwrap();
        let handle = Engine::start(Config {
            parser: Arc::new(Local::new(opened.devices.disks())),
            devices: opened.devices,
            store: Some(StorePlace::Objects { objects, create: false }),
            other: None,
            sticks: None,
            heads: None,
            clock: clock.clone(),
        });
        let events = handle.subscribe();
        let front = Front::new(Ui::new(SIZES[0], Look::PLAIN, false));
        let mut desk = Self { handle, events, front, owed: None, clock, _dir: dir, disk };
        desk.settle();
        desk
    }

    /// Takes in what the engine tells, until it waits for somebody.
    fn settle(&mut self) {
        loop {
            let run = &self.front.run;
            let asked = run.question.as_ref().is_some_and(|q| q.losses.is_some());
            let answered = self.owed.is_none_or(|seq| run.seq > seq);
            if answered && (run.job.is_none() || asked) && self.handle.state().seq == run.seq {
                return;
            }
            let mut event = self.events.recv_timeout(PATIENCE).expect("the engine tells how it goes on");
            named(&mut event);
            let actions = self.front.take(&Incoming::Event(Box::new(event)));
            self.submit(actions);
        }
    }

    fn submit(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Action::Submit(command) = action {
                self.owed = Some(self.front.run.seq);
                self.handle.submit(command);
            }
        }
    }

    fn press(&mut self, keys: &[Key]) {
        for k in keys {
            let actions = self.front.take(&Incoming::Key(*k));
            self.submit(actions);
            self.settle();
        }
    }

    fn type_word(&mut self, word: &str) {
        let keys: Vec<Key> = word.chars().map(Key::Char).chain([Key::Enter]).collect();
        self.press(&keys);
    }

    /// Compares what is shown now with its goldens, at every size.
    fn shows(&self, name: &str) {
        for size in SIZES {
            let mut front = self.front.clone();
            front.ui.look = look(size);
            front.take(&Incoming::Size(size.0, size.1));
            compare(&format!("real-{name}"), &front.ui, &front.run);
        }
    }

    fn is_on(&self, screen_wanted: Screen, words: &[&str]) {
        let shown = text(&screen(&self.front.ui, &self.front.run));
        assert_eq!(self.front.ui.screen(), screen_wanted, "\n{shown}");
        words.iter().for_each(|w| assert!(shown.contains(w), "{w:?} is not on\n{shown}"));
    }
}

/// Calls the image files what they would be called as disks.
fn named(event: &mut Event) {
    let report = match &mut event.what {
        Happening::Report(report) => report,
        Happening::State(state) => match &mut state.report {
            Some(report) => report,
            None => return,
        },
        _ => return,
    };
    for (disk, name) in report.inspection.disks.iter_mut().zip(["web1.img", "spare.img"]) {
        disk.hardware.shown_as = Some(name.into());
    }
}

#[test]
fn a_machine_is_saved_broken_and_taken_back() {
    use Key::{Char, Down, Enter, Esc, Tab};
    let mut desk = Desk::new();
    desk.press(&[Char('i')]);
    desk.shows("home-first");
    desk.press(&[Char('s')]);
    desk.is_on(Screen::Outcome, &["DONE. The present state is saved."]);
    desk.shows("saved");

    // Days later its power is cut in the middle of an upgrade.
    put("now", &desk.disk);
    desk.clock.to(23, 5, 50);
    desk.press(&[Esc, Char('i')]);
    desk.shows("home");
    desk.press(&[Char('e')]);
    desk.shows("evidence");
    desk.press(&[Esc, Char('t')]);
    desk.shows("saved-states");
    desk.press(&[Char('v')]);
    desk.is_on(Screen::Reading, &["What was known then"]);
    desk.shows("about");
    desk.press(&[Esc, Char('d')]);
    desk.is_on(Screen::Differences, &["Packages: "]);
    desk.shows("changes");
    desk.press(&[Char('/'), Char('f'), Char('s'), Char('t'), Enter, Enter]);
    desk.is_on(Screen::Reading, &["noatime"]);
    desk.shows("changes-lines");
    desk.press(&[Esc, Esc, Char('t'), Char('b'), Enter]);
    desk.is_on(Screen::Files, &["etc"]);
    desk.shows("files");

    // The plan, what it loses, and its word.
    desk.press(&[Esc, Esc, Char('r'), Enter]);
    desk.is_on(Screen::Confirm, &["To go back, type ROLLBACK"]);
    desk.shows("plan");
    desk.press(&[Tab]);
    desk.is_on(Screen::Differences, &["Packages: "]);
    desk.shows("plan-losses");
    desk.press(&[Esc]);
    desk.type_word("ROLLBACK");
    desk.is_on(Screen::Outcome, &["DONE. The machine is back at the saved state."]);
    desk.shows("rolled-back");
    desk.press(&[Esc]);
    desk.shows("home-after");
    desk.press(&[Char('u')]);
    desk.is_on(Screen::Confirm, &["To undo, type UNDO"]);
    desk.shows("undo");
    desk.type_word("UNDO");
    desk.is_on(Screen::Outcome, &["DONE."]);
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
    desk.press(&[Esc, Char('p')]);
    desk.is_on(Screen::Power, &[]);
}
