//! Runs: what reads and writes. A run is given a plan and does exactly that.
//!
//! **Architecture invariant.** The order of a write-back is in one function, [`write_back::carry_out`], as a list of phases.

mod ahead;
mod behind;
pub(crate) mod blank;
pub mod capture;
pub mod choice;
pub(crate) mod compose;
mod cut;
pub(crate) mod differences;
pub mod export;
mod fences;
pub(crate) mod files;
mod firmware;
mod kept;
mod known;
mod leases;
mod mapped_lease;
mod memory;
mod meter;
mod overlay;
mod payload;
pub mod pending;
#[cfg(feature = "prove")]
pub(crate) mod proof;
mod reader;
pub mod restore;
pub(crate) mod same;
pub(crate) mod saved;
mod saved_disk;
mod sealed_image;
mod sealed_lease;
mod stopped;
pub(crate) mod tables;
mod taking;
mod target;
pub(crate) mod unwritable;
mod whole_disk;
pub mod write_back;

pub(crate) use meter::Meter;

use crate::parser::Parser;
use model::command::{ExitCode, Failure};
use model::event::Progress;
use model::plan::SnapshotEstimate;
use model::ports::{Clear, Clock, Devices};
use model::text::DisplayText;
use store::{Store, StoreError};

/// Who watches a run: told how far it is, and asked whether to go on.
pub trait Observer: Sync {
    /// How far it is.
    fn progress(&self, progress: Progress);

    /// A line for the log.
    fn log(&self, line: &str);

    /// True where somebody wants it to stop.
    fn cancelled(&self) -> bool;

    /// True where somebody wants it to stop at once, whatever has to be done again then.
    fn is_hurried(&self) -> bool {
        false
    }

    /// What a snapshot will read and need, before it is saved.
    fn estimate(&self, _: SnapshotEstimate) {}
}

/// Watches nothing.
pub struct Unwatched;

impl Observer for Unwatched {
    fn progress(&self, _: Progress) {}
    fn log(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

/// What every run works with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The disks.
    pub devices: &'a dyn Devices,
    /// Who interprets bytes.
    pub parser: &'a dyn Parser,
    /// The store.
    pub store: &'a Store,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// The keys of encrypted volumes that were opened.
    pub keys: &'a dyn Clear,
}

/// A run that did not reach its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Somebody wanted it; the sentence says what is left.
    Cancelled(DisplayText),
    /// The store has no room for more.
    Full(Failure),
    /// Something else went wrong.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(f: Failure) -> Self {
        Self::Failed(f)
    }
}

impl From<StoreError> for Stop {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Full { .. } => Self::Full(e.failure()),
            e => Self::Failed(e.failure()),
        }
    }
}

impl Stop {
    pub(crate) fn failed(code: ExitCode, says: impl AsRef<str>, advice: impl AsRef<str>) -> Self {
        Self::Failed(Failure::new(code, says, advice))
    }
}
