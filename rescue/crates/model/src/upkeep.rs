//! Looking after a store: what can be asked of it, and what comes of it. No disk is looked at for any of this.

use crate::id::{Digest, SnapRef, SnapshotId};
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
        /// Add up how much room that would free too: it takes reading every map of the store.
        room: bool,
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
    /// Free what nothing needs.
    Prune {
        /// How.
        how: Pruning,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// Tell where its room goes.
    Stats,
    /// Copy snapshots into the other store that the engine was given.
    Copy {
        /// Which; all where there are none.
        snapshots: Vec<SnapRef>,
    },
    /// Write again what is damaged or gone: from what is left of it, and from the other store, where the engine was given one.
    Repair,
    /// Copy every snapshot onto a second stick that is plugged into the rescue; a store is made there where there is none.
    CopyToStick,
    /// As [`Upkeep::Repair`], from the store of a second stick.
    RepairFromStick,
    /// Take the store as it is now for the one that this computer saw last.
    AcceptHead,
}

/// How a prune goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruning {
    /// Delete at once what is not needed, instead of at the next prune.
    pub now: bool,
    /// Write packs again of which more than so much in a hundred is not needed; 100: none.
    pub rewrite: u8,
}

impl Default for Pruning {
    fn default() -> Self {
        Self { now: false, rewrite: 50 }
    }
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
    /// What a prune did.
    Pruned(PruneView),
    /// What a prune would do.
    PrunePlanned(PruneView),
    /// Where the room goes.
    Stats(StatsView),
    /// What was copied.
    Copied(CopyView),
    /// What was repaired.
    Repaired(RepairView),
    /// The store as it is now is the one that was seen last.
    HeadAccepted {
        /// How it differed from what was remembered, where it did.
        differed: Option<DisplayText>,
    },
}

/// What a prune did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneView {
    /// Packs deleted.
    pub deleted: u64,
    /// Their size.
    pub freed: ByteLen,
    /// Packs that the next prune will delete.
    pub condemned: u64,
    /// Their size.
    pub to_be_freed: ByteLen,
    /// Packs of which the rest was written again; they are among the deleted or the condemned.
    pub rewritten: u64,
    /// About how much was written for that.
    pub written: ByteLen,
    /// Packs that were to be deleted and had to stay: another writer may need them, or another copy of theirs is damaged.
    pub kept: u64,
    /// Room left where the store lies, where that can be known.
    pub free: Option<ByteLen>,
}

/// Where the room of a store goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsView {
    /// Bytes of all snapshots, each counted whole.
    pub logical: ByteLen,
    /// The same, with what several have counted once; not compressed.
    pub distinct: ByteLen,
    /// That as it lies in the store: compressed, and what tells where it belongs.
    pub live: ByteLen,
    /// What no snapshot needs: a prune frees it.
    pub dead: ByteLen,
    /// What it takes in all.
    pub stored: ByteLen,
    /// Room left where the store lies, where that can be known.
    pub free: Option<ByteLen>,
    /// Each snapshot, newest last.
    pub snapshots: Vec<SpaceLine>,
}

/// What one snapshot takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceLine {
    /// The snapshot.
    pub summary: SnapshotSummary,
    /// Its bytes.
    pub logical: ByteLen,
    /// In the store, and needed by no other: forgetting it alone frees so much.
    pub unique: ByteLen,
    /// In the store, and needed by others too.
    pub shared: ByteLen,
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyView {
    /// The id of the store that was copied to.
    pub to: String,
    /// Snapshots that were copied, oldest first.
    pub copied: Vec<SnapshotSummary>,
    /// Snapshots that were there already.
    pub present: Vec<SnapshotId>,
    /// Snapshots that were there already, and about which something newer was said here.
    pub noted: Vec<SnapshotId>,
    /// Snapshots that could not be copied whole, and why. Nothing of them is in the other store.
    pub failed: Vec<Broken>,
    /// Bytes that were read.
    pub read: ByteLen,
    /// What the other store grew by.
    pub stored: ByteLen,
}

/// A snapshot that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Which; `None` where it is a record of another kind, or where not even its id can be read.
    pub snapshot: Option<SnapshotId>,
    /// What is wrong.
    pub why: DisplayText,
}

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairView {
    /// Packs that are damaged or gone.
    pub damaged: Vec<Digest>,
    /// Pieces of damaged packs that were good and were written again.
    pub salvaged: u64,
    /// Packs that the index did not know, and does now.
    pub indexed: u64,
    /// Snapshots that were not whole and are now.
    pub healed: Vec<SnapshotId>,
    /// What is still not whole, and why.
    pub broken: Vec<Broken>,
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
    /// About how much forgetting them, and pruning then, frees, where it was asked for and can be told.
    pub frees: Option<ByteLen>,
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
