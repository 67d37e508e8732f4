//! What one front end remembers by itself: which screen is shown, what is chosen, what was typed. Everything else is in
//! the run state, which all front ends share.

use super::files::Files;
use super::look::Look;
use super::reading::Reading;
use super::target::Target;
use model::command::Command;
use model::event::JobKind;
use model::files::FilePath;
use model::id::{DiskNo, PlanId, SnapshotId, VolumePath};
use model::text::RawName;
use serde::{Deserialize, Serialize};

/// The smallest terminal the screens are made for.
pub const SMALLEST: (u16, u16) = (60, 15);

/// The screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// What happened, and what to do next.
    Home,
    /// The snapshots, newest first.
    Timeline,
    /// The passphrase of the store, or of an encrypted volume.
    Unlock,
    /// A plan, and the word that approves it.
    Confirm,
    /// A running job.
    Progress,
    /// How the last job ended.
    Outcome,
    /// The volumes, folders and files of a snapshot.
    Files,
    /// A text.
    Reading,
    /// What differs between two states.
    Differences,
    /// The disks, and what lies on them.
    Disks,
    /// Which disk a saved state is put onto.
    Target,
    /// The store itself.
    Store,
    /// What may be forgotten of it, and the word that does that.
    Forget,
    /// Why it is thought so.
    Evidence,
    /// What was done.
    Log,
    /// The keys.
    Help,
    /// How to leave.
    Power,
}

/// What a key is, whatever the terminal sent for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// A printable character.
    Char(char),
    /// Arrow.
    Up,
    /// Arrow.
    Down,
    /// Arrow.
    Left,
    /// Arrow.
    Right,
    /// A page back.
    PageUp,
    /// A page on.
    PageDown,
    /// To the start.
    Home,
    /// To the end.
    End,
    /// Yes.
    Enter,
    /// Leave.
    Esc,
    /// Delete the character before.
    Backspace,
    /// The next system.
    Tab,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-L.
    Redraw,
}

/// What can come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(Key),
    /// The terminal has another size: columns, rows.
    Resize(u16, u16),
    /// The run state moved on.
    Changed,
    /// A command was refused; the sentence says why.
    Refused(String),
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the engine.
    Submit(Command),
    /// Draw everything anew: the line garbled the screen.
    Redraw,
    /// End this front end.
    Leave,
}

/// A line that is being typed, below the screen on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What for.
    pub what: Prompted,
    /// What was typed so far.
    pub text: String,
}

/// What a line is typed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompted {
    /// A text to be looked for on the screen on top.
    Search,
    /// The folder that something of a snapshot is put into.
    Folder {
        /// What.
        at: FilePath,
        /// The name it gets there.
        name: RawName,
    },
    /// What names a disk that is written over ([`super::target::named_by`]).
    Disk {
        /// Which.
        disk: DiskNo,
    },
}

impl Prompt {
    /// A line of which nothing was typed yet.
    pub fn of(what: Prompted) -> Self {
        Self { what, text: String::new() }
    }
}

/// What is chosen among differences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparing {
    /// The row.
    pub row: usize,
    /// They are what the plan that waits for a decision loses, not those that were looked for.
    pub of_plan: bool,
}

/// The state of one front end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ui {
    /// The screens on top of each other; the first is always [`Screen::Home`].
    screens: Vec<Screen>,
    /// Columns and rows.
    pub size: (u16, u16),
    /// What the terminal is trusted with.
    pub look: Look,
    /// True where leaving the program makes sense (not on a console of the rescue, where it is started again).
    pub may_leave: bool,
    /// Which installed system Home and Evidence speak of.
    pub system: usize,
    /// Which of the next steps is chosen on Home and on the outcome.
    pub step: usize,
    /// The snapshot chosen in the timeline; the newest where `None`.
    pub snapshot: Option<SnapshotId>,
    /// The snapshot that another is compared with.
    pub marked: Option<SnapshotId>,
    /// The snapshot whose record this front end asked for, and was not told yet.
    pub describing: Option<SnapshotId>,
    /// The snapshot whose files are looked through.
    pub files: Option<Files>,
    /// The text that is read, or was last.
    pub reading: Option<Reading>,
    /// Where somebody is among differences.
    pub comparing: Comparing,
    /// The row chosen among the disks and what lies on them.
    pub disk_row: usize,
    /// Where somebody is in the choice of a disk that a saved state is put onto.
    pub target: Option<Target>,
    /// What was looked for last.
    pub sought: String,
    /// The line that is being typed.
    pub prompt: Option<Prompt>,
    /// The present directory, where files go that are taken out; `None` where it has no name that can be typed.
    pub here: Option<String>,
    /// The second store, which is copied to and repaired from; `None` where the engine was given none.
    pub other: Option<String>,
    /// First line shown of the screen on top.
    pub scroll: usize,
    /// The line of it that was found last.
    pub found: Option<usize>,
    /// The word or passphrase typed so far.
    pub typed: String,
    /// The encrypted volume whose passphrase is typed; the store's where `None`.
    pub unlocking: Option<VolumePath>,
    /// That volume is one of a snapshot, and what is asked for again once it is open.
    pub reopening: Option<Reopening>,
    /// The passphrase of the store was sent from here, and what came of it was not told yet.
    pub opening: bool,
    /// What lies in that may be saved in clear.
    pub plain: bool,
    /// The way out chosen in the power menu; 0 stays.
    pub way_out: usize,
    /// This front end asked what may be forgotten, and was not told yet.
    pub forgetting: bool,
    /// Stopping the running job was asked for and is not confirmed.
    pub stopping: bool,
    /// A sentence about the last key, until the next one.
    pub note: Option<String>,
    /// What was on before the last change, to notice what is new.
    pub(super) seen: Seen,
}

/// An encrypted volume of a snapshot that has to be unlocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reopening {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What asked for it: it is asked again then.
    pub then: Command,
}

/// What [`super::update`] saw of the run state the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) question: Option<PlanId>,
    pub(super) job: Option<JobKind>,
    /// That job waited for somebody to stop it.
    pub(super) waiting: bool,
    /// The run state was seen at all: what ended before that is not news.
    pub(super) joined: bool,
}

impl Ui {
    /// A front end that has not seen anything yet.
    pub fn new(size: (u16, u16), look: Look, may_leave: bool) -> Self {
        Self {
            screens: vec![Screen::Home],
            size,
            look,
            may_leave,
            system: 0,
            step: 0,
            snapshot: None,
            marked: None,
            describing: None,
            files: None,
            reading: None,
            comparing: Comparing::default(),
            disk_row: 0,
            target: None,
            sought: String::new(),
            prompt: None,
            here: None,
            other: None,
            scroll: 0,
            found: None,
            typed: String::new(),
            unlocking: None,
            reopening: None,
            opening: false,
            plain: false,
            way_out: 0,
            forgetting: false,
            stopping: false,
            note: None,
            seen: Seen::default(),
        }
    }

    /// The screen on top.
    pub fn screen(&self) -> Screen {
        self.screens.last().copied().unwrap_or(Screen::Home)
    }

    /// Shows a screen on top of the others; one that is open already comes back as it was.
    pub fn show(&mut self, screen: Screen) {
        if self.screen() == screen {
            return;
        }
        match self.screens.iter().position(|s| *s == screen) {
            Some(at) => self.screens.truncate(at + 1),
            None => self.screens.push(screen),
        }
        self.fresh();
    }

    /// Back to the screen below; Home stays. True where there was one.
    pub fn back(&mut self) -> bool {
        let more = self.screens.len() > 1;
        if more {
            self.screens.pop();
            self.fresh();
        }
        more
    }

    /// True where a screen is open, be it below others.
    pub fn is_open(&self, screen: Screen) -> bool {
        self.screens.contains(&screen)
    }

    /// Closes a screen wherever it lies.
    pub fn close(&mut self, screen: Screen) {
        let before = self.screen();
        self.screens.retain(|s| *s != screen || *s == Screen::Home);
        if self.screen() != before {
            self.fresh();
        }
    }

    fn fresh(&mut self) {
        self.scroll = 0;
        self.found = None;
        self.step = 0;
        self.way_out = 0;
        self.stopping = false;
        self.typed.clear();
        self.prompt = None;
    }

    /// True where the terminal is too small to show anything but that.
    pub fn too_small(&self) -> bool {
        self.size.0 < SMALLEST.0 || self.size.1 < SMALLEST.1
    }

    /// Rows between the bars at the top and at the bottom.
    pub fn body_height(&self) -> usize {
        usize::from(self.size.1).saturating_sub(3)
    }

    /// Columns of text.
    pub fn body_width(&self) -> usize {
        usize::from(self.size.0).saturating_sub(2)
    }
}
