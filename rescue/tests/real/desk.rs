//! Somebody at a console of the rescue, with a real engine over images of disks and a store in memory.
//!
//! Nothing of it depends on the computer: the clock is the test's, the store's id is given, and images are called what they would be called
//! as disks.

use crate::common;
use crate::common::golden::{SIZES, compare, compare_styles_of, look, screen, text};
use crate::devices::{Faults, Faulty};
use engine::parser::Local;
use engine::{Config, Engine, Handle, StorePlace};
use holdfast::tui::front::{Front, Incoming};
use holdfast::tui::look::Look;
use holdfast::tui::state::{Action, Key, Screen, Ui};
use model::command::Command;
use model::event::{Event, Happening, Question};
use model::ports::{Clock, Entropy, ObjectStore, UnixMicros};
use model::run_state::RunState;
use model::units::ByteLen;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::backend::Memory;
use store::{InitOptions, Store};

/// How long the engine may take for anything here.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes a store has room for.
pub(crate) const ROOM: ByteLen = ByteLen(4_000_000_000);
/// What the folder of a desk is called on its screens.
pub(crate) const FOLDER: &str = "/mnt/usb";

/// A clock that the test sets. What it tells of time that goes by are steps of this many milliseconds, one each time it is asked.
pub(crate) struct Set {
    now: AtomicI64,
    asked: AtomicU64,
    step: AtomicU64,
}

impl Set {
    fn new() -> Arc<Self> {
        let clock = Self { now: AtomicI64::new(0), asked: AtomicU64::new(0), step: AtomicU64::new(0) };
        clock.to(18, 9, 40);
        Arc::new(clock)
    }

    pub(crate) fn to(&self, day: u8, hour: u8, minute: u8) {
        self.now.store(common::at(day, hour, minute).0, Ordering::SeqCst);
    }

    /// From now on time goes by: so many milliseconds each time it is asked.
    pub(crate) fn runs(&self, step: u64) {
        self.step.store(step, Ordering::SeqCst);
    }
}

impl Clock for Set {
    fn now(&self) -> UnixMicros {
        UnixMicros(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.asked.fetch_add(self.step.load(Ordering::SeqCst), Ordering::SeqCst))
    }
}

/// Bytes that are the same each time.
pub(crate) struct Counted(Mutex<u8>);

impl Counted {
    pub(crate) fn from(seed: u8) -> Arc<Self> {
        Arc::new(Self(Mutex::new(seed)))
    }
}

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

/// A store in memory with room for so much; what its id is made of.
pub(crate) fn store(room: ByteLen, seed: u8) -> Arc<Memory> {
    let objects = Arc::new(Memory::with_capacity(room));
    Store::init_with(objects.clone(), InitOptions { entropy: Counted::from(seed), key: None }).unwrap();
    objects
}

/// The same store on a save disk with another room.
pub(crate) fn moved(from: &Memory, room: ByteLen) -> Arc<Memory> {
    let to = Memory::with_capacity(room);
    for name in from.list("").unwrap() {
        to.put(&name, &bytes(from, &name)).unwrap();
    }
    Arc::new(to)
}

/// All of an object.
pub(crate) fn bytes(of: &Memory, name: &model::ports::ObjectName) -> Vec<u8> {
    let mut bytes = vec![0; of.len(name).unwrap().to_usize().unwrap()];
    of.get(name, model::units::ByteOffset(0), &mut bytes).unwrap();
    bytes
}

pub(crate) fn place(objects: &Arc<Memory>) -> StorePlace {
    StorePlace::Objects { objects: objects.clone(), create: false }
}

/// One of the two states of the machine of `fixtures/machine`.
pub(crate) fn machine(state: &str) -> Vec<u8> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/machine/{state}.img.zst"));
    zstd::stream::decode_all(File::open(from).unwrap()).unwrap()
}

/// What an engine works with.
pub(crate) struct Setup {
    /// The disks: what each is called, and its bytes.
    pub(crate) disks: Vec<(&'static str, Vec<u8>)>,
    pub(crate) store: Option<StorePlace>,
    pub(crate) other: Option<StorePlace>,
    /// It is no console of the rescue.
    pub(crate) may_leave: bool,
}

impl Setup {
    /// One disk, and a store with nothing in it.
    pub(crate) fn of(name: &'static str, disk: Vec<u8>) -> Self {
        Self { disks: vec![(name, disk)], store: Some(place(&store(ROOM, 7))), other: None, may_leave: false }
    }

    pub(crate) fn and(mut self, name: &'static str, disk: Vec<u8>) -> Self {
        self.disks.push((name, disk));
        self
    }

    pub(crate) fn on(mut self, objects: &Arc<Memory>) -> Self {
        self.store = Some(place(objects));
        self
    }

    pub(crate) fn desk(self) -> Desk {
        Desk::new(self)
    }
}

/// Somebody at a console of the rescue, an engine, and its machine.
pub(crate) struct Desk {
    pub(crate) handle: Handle,
    events: Receiver<Event>,
    pub(crate) front: Front,
    /// The number of the event before which something was asked for.
    owed: Option<u64>,
    pub(crate) clock: Arc<Set>,
    pub(crate) faults: Arc<Faults>,
    dir: tempfile::TempDir,
    names: Vec<&'static str>,
}

impl Desk {
    fn new(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<&str> = setup.disks.iter().map(|(name, _)| *name).collect();
        let paths: Vec<PathBuf> = names.iter().map(|name| dir.path().join(name)).collect();
        for ((_, bytes), path) in setup.disks.iter().zip(&paths) {
            // What is zero is a hole.
            let file = File::create(path).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
            write_pieces(&file, bytes);
        }
        let opened = engine::machine::open(&paths).unwrap();
        let clock = Set::new();
        let faults = Arc::new(Faults::default());
        let devices = Arc::new(Faulty::over(opened.devices, faults.clone()));
        let handle = Engine::start(Config {
            parser: Arc::new(Local::new(model::ports::Devices::disks(&*devices))),
            devices,
            store: setup.store,
            other: setup.other,
            sticks: None,
            heads: None,
            clock: clock.clone(),
        });
        let events = handle.subscribe();
        let front = Front::new(Ui::new(SIZES[0], Look::PLAIN, setup.may_leave));
        let mut desk = Self { handle, events, front, owed: None, clock, faults, dir, names };
        desk.settle();
        desk
    }

    /// Where files of this desk lie.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Puts other bytes onto a disk: behind the engine's back, which keeps it open.
    pub(crate) fn becomes(&self, disk: usize, bytes: &[u8]) {
        let file = File::options().write(true).open(self.dir.path().join(self.names[disk])).unwrap();
        (&file).write_all(bytes).unwrap();
    }

    /// What is on a disk now.
    pub(crate) fn disk(&self, disk: usize) -> Vec<u8> {
        std::fs::read(self.dir.path().join(self.names[disk])).unwrap()
    }

    /// Takes in what the engine tells, until it waits for somebody.
    pub(crate) fn settle(&mut self) {
        loop {
            let run = &self.front.run;
            // What a repair loses is not told: it loses nothing.
            let told = |q: &Question| q.losses.is_some() || q.plan.action == model::plan::Action::Repair;
            let asked = run.question.as_ref().is_some_and(told);
            let answered = self.owed.is_none_or(|seq| run.seq > seq);
            if answered && (run.job.is_none() || asked) && self.handle.state().seq == run.seq {
                return;
            }
            self.take();
        }
    }

    /// Takes in one thing that the engine tells.
    fn take(&mut self) {
        let mut event = self.events.recv_timeout(PATIENCE).expect("the engine tells how it goes on");
        self.named(&mut event);
        let actions = self.front.take(&Incoming::Event(Box::new(event)));
        self.submit(actions);
    }

    /// Takes in what the engine tells until something is so. It goes on meanwhile.
    pub(crate) fn until(&mut self, so: impl Fn(&RunState) -> bool) {
        while !so(&self.front.run) {
            self.take();
        }
    }

    pub(crate) fn submit(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Action::Submit(command) = action {
                self.order(command);
            }
        }
    }

    /// Waits until the engine has heard all that it was told so far: what it cannot do now is refused behind that.
    pub(crate) fn is_heard(&mut self) {
        self.handle.submit(Command::Inspect);
        self.until(|run| run.log.back().is_some_and(|line| line.as_str().contains("was refused")));
    }

    /// Gives the engine a command.
    pub(crate) fn order(&mut self, command: Command) {
        self.owed = Some(self.front.run.seq);
        self.handle.submit(command);
    }

    /// Presses keys, and does not wait for what comes of them.
    pub(crate) fn touch(&mut self, keys: &[Key]) {
        for k in keys {
            let actions = self.front.take(&Incoming::Key(*k));
            self.submit(actions);
        }
    }

    pub(crate) fn press(&mut self, keys: &[Key]) {
        for k in keys {
            self.touch(&[*k]);
            self.settle();
        }
    }

    /// Types a line, with Enter behind it.
    pub(crate) fn type_word(&mut self, word: &str) {
        self.press(&typed(word));
        self.press(&[Key::Enter]);
    }

    /// Saves the present state.
    pub(crate) fn save(&mut self) {
        self.press(&[Key::Char('s')]);
        self.is_on(Screen::Outcome, &["DONE. The present state is saved."]);
        self.press(&[Key::Esc]);
    }

    /// Compares what is shown now with its goldens, at every size.
    pub(crate) fn shows(&self, name: &str) {
        for size in SIZES {
            let mut front = self.front.clone();
            front.ui.look = look(size);
            front.take(&Incoming::Size(size.0, size.1));
            compare(&format!("real-{name}"), &front.ui, &front.run);
        }
    }

    /// The same, and how it is coloured.
    pub(crate) fn shows_in_colours(&self, name: &str) {
        self.shows(name);
        compare_styles_of(&format!("real-{name}"), &self.front.ui, &self.front.run);
    }

    pub(crate) fn is_on(&self, screen_wanted: Screen, words: &[&str]) {
        let shown = text(&screen(&self.front.ui, &self.front.run));
        assert_eq!(self.front.ui.screen(), screen_wanted, "\n{shown}");
        words.iter().for_each(|w| assert!(shown.contains(w), "{w:?} is not on\n{shown}"));
    }

    /// Calls the image files what they would be called as disks, and their folder what it would be called.
    fn named(&self, event: &mut Event) {
        let report = match &mut event.what {
            Happening::Report(report) => Some(report.as_mut()),
            Happening::State(state) => state.report.as_mut(),
            _ => None,
        };
        for (disk, name) in report.into_iter().flat_map(|r| &mut r.inspection.disks).zip(&self.names) {
            disk.hardware.shown_as = Some((*name).into());
        }
        if matches!(event.what, Happening::Ended { .. } | Happening::Log(_)) {
            let told = serde_json::to_string(event).unwrap();
            let here = self.dir.path().to_str().unwrap();
            // Names are told as text, and as their bytes.
            let listed = |name: &str| name.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(",");
            let as_called = told.replace(here, FOLDER).replace(&listed(here), &listed(FOLDER));
            if as_called != told {
                *event = serde_json::from_str(&as_called).unwrap();
            }
        }
    }
}

/// Writes what is not zero.
fn write_pieces(file: &File, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    const PIECE: usize = 64 << 10;
    for (n, piece) in bytes.chunks(PIECE).enumerate().filter(|(_, piece)| piece.iter().any(|b| *b != 0)) {
        file.write_all_at(piece, (n * PIECE) as u64).unwrap();
    }
}

/// A text as keys.
pub(crate) fn typed(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}
