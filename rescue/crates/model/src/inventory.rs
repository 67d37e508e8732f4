//! The inventory of a store: the chain of entries that says which records there are (docs/store-format.md, "The inventory").

use crate::id::{Digest, IntentId, SnapshotId};
use serde::{Deserialize, Serialize};

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryEntry {
    /// [`crate::snapshot::FORMAT`].
    pub format: u32,
    /// 1, 2, 3 and so on.
    pub number: u64,
    /// Hash of the body of the entry before; none for the first.
    pub before: Option<Digest>,
    /// What happened.
    pub event: InventoryEvent,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum InventoryEvent {
    /// A snapshot was recorded: from now on it must be there.
    Snapshot {
        /// Which.
        id: SnapshotId,
        /// Its counter.
        counter: u64,
        /// Which packs there were, where whoever recorded it can tell.
        packs: Option<PackSets>,
    },
    /// Snapshots must not be there any more; a manifest that still is, is none.
    Forget {
        /// Which.
        ids: Vec<SnapshotId>,
    },
    /// A stopped capture was put aside.
    Aside {
        /// Hash of its statement.
        id: Digest,
    },
    /// It is not needed any more.
    DropAside {
        /// Hash of its statement.
        id: Digest,
    },
    /// A write-back began.
    Intent {
        /// Which.
        id: IntentId,
    },
    /// A write-back ended.
    Receipt {
        /// Which.
        intent: IntentId,
        /// Hash of the receipt's body.
        sum: Digest,
    },
    /// Something was said about a snapshot.
    Note {
        /// Hash of the note's body.
        id: Digest,
    },
    /// A prune ended.
    Prune {
        /// Its generation.
        generation: u64,
    },
    /// Everything that must be there.
    Checkpoint(Standing),
}

/// The packs of the store when a snapshot was begun and when it was recorded: each the hash of their ids, rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackSets {
    /// Before the first pack was put.
    pub before: Digest,
    /// After the last.
    pub after: Digest,
}

/// Everything that must be there: what all entries up to some number come to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// The greatest counter of any snapshot ever recorded, forgotten ones included.
    pub counter: u64,
    /// The generation of the last prune; 0 before the first.
    pub generation: u64,
    /// The packs there were when the last snapshot was recorded, as in [`PackSets::after`], where that is known.
    pub packs: Option<Digest>,
    /// Between the recording of a snapshot with a counter of at least this and that of the last one, no pack came or went unaccounted for.
    pub unbroken: u64,
    /// Snapshots with their counters, by rising id.
    pub snapshots: Vec<(SnapshotId, u64)>,
    /// Asides, by rising id.
    pub asides: Vec<Digest>,
    /// Write-backs with the hash of the receipt's body where they ended, by rising id.
    pub intents: Vec<(IntentId, Option<Digest>)>,
    /// Notes, in the order in which they count.
    pub notes: Vec<Digest>,
}

/// The newest entry of a store: what a reader remembers to find out when the whole store is replaced by an older copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Hash of its body.
    pub digest: Digest,
}
