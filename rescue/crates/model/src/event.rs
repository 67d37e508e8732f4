//! What the engine tells its front ends.

use crate::assessment::Report;
use crate::boot::BootRepairs;
use crate::browse::Browsed;
use crate::command::{Failure, ImageFormat, PowerAction};
use crate::differences::{Differences, Losses};
use crate::files::{FileListing, Got, LostFiles};
use crate::id::{PlanId, SnapshotId, VolumePath};
use crate::plan::{RollbackPlan, SnapshotEstimate};
use crate::policy::Acted;
use crate::proof::Proof;
use crate::run_state::RunState;
use crate::snapshot::{Cost, Described, Receipt, SnapshotSummary, VolumeRead};
use crate::text::{DisplayText, RawName};
use crate::units::{ByteLen, ByteOffset, ExtentSet};
use crate::upkeep::Kept;
use serde::{Deserialize, Serialize};

/// One thing that happened, numbered from 1 without gaps; all front ends see the same sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// What happened.
    pub what: Happening,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// The whole state, for a front end that just joined. Its `seq` is that of the last event folded into it.
    State(Box<RunState>),
    /// A job began.
    Started(JobKind),
    /// How far it is.
    Progress(Progress),
    /// The running job goes on by itself unless somebody stops it.
    Waiting(Waiting),
    /// A job ended.
    Ended {
        /// Which.
        job: JobKind,
        /// How.
        outcome: Outcome,
    },
    /// The disks were looked at.
    Report(Box<Report>),
    /// What the snapshot that begins will read, and how much room it may need: told before anything is saved.
    Estimate(Box<SnapshotEstimate>),
    /// What can be put right of what starts the machine, without the bytes themselves: told before a decision is asked for.
    BootRepairs(Box<BootRepairs>),
    /// The store is encrypted, and nothing was given yet that opens it.
    Locked,
    /// The store was listed.
    Snapshots(StoreView),
    /// A person must decide; the job waits.
    DecisionNeeded(Box<Question>),
    /// What the plan that waits for a decision takes from whoever works with the machine now; told once, after the question.
    Losses(Box<Losses>),
    /// What somebody asked to see of a snapshot's files. A look that was stopped is not told.
    Browsed(Box<Browsed>),
    /// Somebody decided.
    Decided {
        /// About which plan.
        plan: PlanId,
        /// Go ahead, or not.
        approved: bool,
    },
    /// A line for the log.
    Log(DisplayText),
    /// Something about the store that a person must know whatever is done with it.
    Warning(DisplayText),
    /// The rescue is being left.
    Leaving(PowerAction),
}

/// The jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Look.
    Inspect,
    /// List the store.
    List,
    /// Open an encrypted volume.
    Open,
    /// Save.
    Snapshot,
    /// Do what a policy makes of the present state.
    Auto,
    /// Go to a saved point.
    Rollback,
    /// Put a saved point onto other disks.
    Restore,
    /// Put files of a saved point into the disks.
    Put,
    /// Go back from a write-back.
    Undo,
    /// Finish a write-back.
    Resume,
    /// Put right what starts the machine.
    BootRepair,
    /// Check the store.
    Check,
    /// Write a snapshot out as disk images.
    Export,
    /// List files of a snapshot, or take them out.
    Files,
    /// Show a part of a snapshot's files.
    Browse,
    /// Show what the record of a snapshot says.
    Describe,
    /// Start a snapshot in a virtual machine.
    Prove,
    /// Compare two states.
    Compare,
    /// Look after the store.
    Upkeep,
}

impl JobKind {
    /// The verb, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::List => "list",
            Self::Open => "opening an encrypted volume",
            Self::Snapshot => "snapshot",
            Self::Auto => "auto",
            Self::Rollback => "rollback",
            Self::Restore => "restore",
            Self::Put => "put",
            Self::Undo => "undo",
            Self::Resume => "resume",
            Self::BootRepair => "repair-boot",
            Self::Check => "check",
            Self::Export => "export",
            Self::Files => "reading saved files",
            Self::Browse => "looking through saved files",
            Self::Describe => "reading the record of a saved state",
            Self::Prove => "prove",
            Self::Compare => "comparing",
            Self::Upkeep => "work on the store",
        }
    }
}

/// A job that goes on by itself, and waits for somebody to stop it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What comes next, without a full stop.
    pub next: DisplayText,
    /// In how many seconds; `None` where that is not known yet, 0 where nobody waits any more.
    pub seconds: Option<u32>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done: `saving d0/p2`, `writing`, `verifying`.
    pub phase: DisplayText,
    /// Which of how many phases, from 1.
    pub step: (u32, u32),
    /// Bytes of this phase done.
    pub done: ByteLen,
    /// Bytes of this phase in all; zero where not known.
    pub total: ByteLen,
    /// Bytes a second over the last seconds; zero where not known.
    pub rate: ByteLen,
    /// Seconds left of this phase, where that can be told.
    pub remaining: Option<u64>,
    /// What was read, found in the store and added to it so far, where something is being saved.
    pub cost: Option<Cost>,
    /// True where cutting the power now would leave a fence (resumable), false where it would leave nothing.
    pub fenced: bool,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Looked, or listed.
    Looked,
    /// A snapshot is in the store.
    Saved {
        /// Its id.
        id: SnapshotId,
        /// What it cost.
        cost: Cost,
        /// What was read of each volume, and how it was compared with what was saved before.
        volumes: Vec<VolumeRead>,
    },
    /// What a policy called for was done.
    Acted(Box<Acted>),
    /// What a snapshot would read and need; nothing was saved.
    Estimated(SnapshotEstimate),
    /// The disks hold the snapshot of the receipt.
    WroteBack(Receipt),
    /// The store was checked.
    Checked(CheckReport),
    /// A snapshot was written out as disk images.
    Exported(Exported),
    /// Files of a snapshot were listed.
    Listed(FileListing),
    /// The record of a snapshot was read.
    Described(Box<Described>),
    /// Files of a snapshot were taken out.
    Got(Got),
    /// A snapshot was started in a virtual machine; what came of that.
    Proved(Box<Proof>),
    /// Two states were compared.
    Compared(Box<Differences>),
    /// Something was done with the store itself.
    Kept(Kept),
    /// A person said no; nothing was written.
    Declined,
    /// Cancelled; the sentence says what is left.
    Cancelled(DisplayText),
    /// Failed.
    Failed(Failure),
}

/// What a check of the store found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckReport {
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read and hashed.
    pub read: ByteLen,
    /// What is wrong, a sentence each. Leftovers of a killed snapshot are not.
    pub damage: Vec<DisplayText>,
    /// Snapshots that cannot be restored whole.
    pub affected: Vec<SnapshotId>,
    /// What of them cannot be restored, in the same order.
    pub lost: Vec<Lost>,
    /// Bytes of leftovers no snapshot names.
    pub unused: ByteLen,
}

/// Bytes of a snapshot that a damaged store cannot give back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// A volume of it, or the table of a disk.
    pub of: DisplayText,
    /// How many; of a part whose map cannot be read all, whether they were in use or not.
    pub bytes: ByteLen,
    /// How many ranges they make up.
    pub places: u64,
    /// Where the first begins, from the start of the volume.
    pub first: ByteOffset,
    /// What lies there, where that could be told.
    pub files: Option<LostFiles>,
    /// Why it could not.
    pub why_not: Option<DisplayText>,
}

/// Disk images that were made of a snapshot: durable, under their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The images.
    pub images: Vec<ExportedImage>,
}

/// One disk image, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedImage {
    /// The file.
    pub file: RawName,
    /// The disk or volume it is an image of, as the snapshot numbers it.
    pub of: VolumePath,
    /// How it is written.
    pub format: ImageFormat,
    /// The size a machine sees.
    pub size: ByteLen,
    /// Bytes written into the file; the rest of it are holes.
    pub written: ByteLen,
    /// Bytes of the image, from its start, that could not be read when they were to be saved: zeros in it.
    pub unreadable: ExtentSet,
    /// Volumes of the disk's table that the snapshot does not hold: zeros in it.
    pub left_out: Vec<VolumePath>,
    /// What a person must know of it, a sentence each; what `unreadable` and `left_out` say is among it.
    pub warnings: Vec<DisplayText>,
}

/// The store as a front end shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// The id of the store.
    pub id: String,
    /// Bytes free, where known.
    pub free: Option<ByteLen>,
    /// Every snapshot, newest last (by counter).
    pub snapshots: Vec<SnapshotSummary>,
    /// Manifests that could not be read.
    pub damage: Vec<DisplayText>,
}

/// A decision that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What a person approves.
    pub id: PlanId,
    /// The plan.
    pub plan: RollbackPlan,
    /// What going there loses; `None` while that is being worked out. No part of the plan.
    pub losses: Option<Losses>,
}
