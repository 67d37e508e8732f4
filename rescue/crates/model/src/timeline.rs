//! What a machine did, one thing after the other: made of its evidence, never stored.

use crate::evidence::{EndKind, EvidenceId, PackageManager, Stamp};
use crate::text::DisplayText;
use serde::{Deserialize, Serialize};

/// One thing that a machine did, or that happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// What.
    pub what: Occurred,
    /// When, and how far that can be trusted; `None` where no record tells.
    pub time: Option<Stamp>,
    /// The same for people: one sentence without a full stop.
    pub says: DisplayText,
    /// Whose record it is, in a word or two: `journal`, `apt's history`.
    pub source: DisplayText,
    /// The evidence that tells of it.
    pub evidence: Vec<EvidenceId>,
}

/// Kinds of occurrences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Occurred {
    /// A start.
    Started {
        /// The default target that it reached.
        reached: Option<DisplayText>,
        /// It fell into emergency or rescue mode.
        emergency: bool,
    },
    /// A shutdown in order.
    ShutDown {
        /// Of which kind.
        how: Option<EndKind>,
    },
    /// The records of a session break off: it was cut off, or the end of them was lost.
    BrokeOff,
    /// It went to sleep.
    Slept,
    /// It woke.
    Woke,
    /// The kernel reported a fault.
    Fault,
    /// Its root file system was mounted to be written to, and no record of a start tells of that.
    Mounted,
    /// The last sign of life of a session that broke off.
    LastSign,
    /// Packages were installed, upgraded or removed.
    Packages {
        /// By whom.
        manager: PackageManager,
        /// The command line, where it is known.
        command: Option<DisplayText>,
        /// How it ended.
        ended: OperationEnd,
        /// The packages named, at most 64.
        packages: Vec<DisplayText>,
    },
}

/// How a package operation ended, as its record tells it. The database may know better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationEnd {
    /// Its end is on record.
    Ended,
    /// It is on record as failed.
    Failed,
    /// No end is on record.
    Open,
    /// The record does not tell of ends.
    Unknown,
}
