//! Run states as an engine would give them, made by hand.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod files;
pub(crate) mod golden;
pub(crate) mod keyboard;
pub(crate) mod layers;
mod plan;
mod report;
mod runs;
mod store;

pub(crate) use plan::*;
pub(crate) use report::*;
pub(crate) use runs::*;
pub(crate) use store::*;

use holdfast::tui::look::Look;
use holdfast::tui::state::{Input, Key, Ui};
use holdfast::tui::update::update;
use model::assessment::*;
use model::boot::*;
use model::command::{ExitCode, Failure};
use model::differences::*;
use model::event::*;
use model::evidence::*;
use model::id::*;
use model::inspection::*;
use model::mapping::{Beneath, Mapping, Segment};
use model::plan::*;
use model::policy::*;
use model::ports::UnixMicros;
use model::retention::KeepReason;
use model::run_state::RunState;
use model::snapshot::*;
use model::text::{DisplayText, RawName};
use model::units::*;
use model::upkeep::*;

pub(crate) fn digest(s: &str) -> Digest {
    Digest::of(s.as_bytes())
}

pub(crate) fn snapshot_id(s: &str) -> SnapshotId {
    SnapshotId(digest(s))
}

pub(crate) fn at(day: u8, hour: u8, minute: u8) -> UnixMicros {
    UnixMicros::from_civil(2026, 11, day, hour, minute, 7).unwrap()
}

pub(crate) fn path(s: &str) -> VolumePath {
    s.parse().unwrap()
}

/// A console of the rescue that joined a run in this state.
pub(crate) fn joined(run: &RunState, size: (u16, u16), look: Look) -> Ui {
    let mut ui = Ui::new(size, look, false);
    update(&mut ui, &RunState::default(), Input::Changed);
    update(&mut ui, run, Input::Changed);
    ui
}

/// Every key there is.
pub(crate) fn every_key() -> Vec<Key> {
    use Key::*;
    let named = [Up, Down, Left, Right, PageUp, PageDown, Home, End, Enter, Esc, Backspace, Tab, Interrupt, Redraw];
    named.into_iter().chain((' '..='~').map(Char)).collect()
}
