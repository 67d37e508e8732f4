//! Looking after a store: what can be asked of it, and what comes of it. No disk is looked at for any of this.

use crate::id::{SnapRef, SnapshotId};
use crate::note::{Noted, Says};
use crate::retention::{KeepPolicy, KeepReason};
use crate::snapshot::SnapshotSummary;
use crate::text::DisplayText;
use crate::units::ByteLen;
use serde::{Deserialize, Serialize};

/// What can be done with a store itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Upkeep {
    /// Make it.
    Make {
        /// Fill the place first and read everything back.
        probe: Option<ProbeSize>,
    },
    /// Say something about a snapshot.
    Note {
        /// Which.
        snapshot: SnapRef,
        /// What.
        says: Vec<Says>,
    },
    /// Tell what would be forgotten, and why the rest would not.
    PlanForget {
        /// What is to be forgotten.
        what: Forgetting,
    },
    /// Forget it, where it is still what was told.
    Forget {
        /// What is to be forgotten.
        what: Forgetting,
        /// What was told to come of it, oldest first.
        ids: Vec<SnapshotId>,
    },
    /// List what opens it.
    Keys,
    /// Let what the engine was given as the new key open it too.
    AddKey {
        /// What people call it.
        label: DisplayText,
    },
    /// Let a key open it no more.
    RemoveKey {
        /// Its id, or the first digits of it.
        id: String,
    },
}

/// How much of a place is filled to see whether it keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeSize {
    /// All the room there is.
    All,
    /// So much at most.
    AtMost(ByteLen),
}

/// Which snapshots are to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgetting {
    /// These, and no others. Pinned ones, and what an unfinished write-back needs, are refused.
    Named(Vec<SnapRef>),
    /// All that a policy does not keep.
    Policy(KeepPolicy),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// The store was made.
    Made(Made),
    /// Something was said about a snapshot; all that counts of its notes now.
    Noted {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Its notes.
        noted: Noted,
    },
    /// What would be forgotten.
    ForgetPlanned(ForgetView),
    /// What was forgotten.
    Forgotten(ForgetView),
    /// What opens it, as it is now.
    Keys {
        /// The slots.
        keys: Vec<KeyLine>,
        /// The slot that was added.
        added: Option<String>,
    },
}

/// A store that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its id.
    pub id: String,
    /// Nobody reads it without a key.
    pub encrypted: bool,
    /// What the probe wrote and read back as it was, where there was one.
    pub probed: Option<ByteLen>,
}

/// A key slot of an encrypted store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub label: DisplayText,
}

/// What goes, and what stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetView {
    /// What stays, oldest first, with every reason; none where only what was named goes.
    pub keep: Vec<(SnapshotSummary, Vec<KeepReason>)>,
    /// What goes, oldest first.
    pub forget: Vec<ForgetLine>,
}

/// A snapshot that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetLine {
    /// Its id.
    pub id: SnapshotId,
    /// What it is; `None` where it cannot be read.
    pub summary: Option<SnapshotSummary>,
}

impl ForgetView {
    /// The ids of what goes, oldest first.
    pub fn ids(&self) -> Vec<SnapshotId> {
        self.forget.iter().map(|line| line.id).collect()
    }
}
