//! Plans: values that say exactly what a run will read or write. Shown first, approved by their id, then run.

use crate::coverage::CaptureMethod;
use crate::esp::SharedEsp;
use crate::firmware::VariableWrite;
use crate::id::{Digest, DiskNo, IntentId, PlanId, SnapshotId, VolumePath};
use crate::inspection::{Content, Hardware, Volume};
use crate::mapping::Mapping;
use crate::restore::DiskRestore;
use crate::snapshot::{MapRoot, Purpose, VolumeRead};
use crate::text::{DisplayText, RawName};
use crate::units::{ByteLen, Extent};
use serde::{Deserialize, Serialize};

/// What a snapshot will read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPlan {
    /// Why it is taken.
    pub purpose: Purpose,
    /// The snapshot that the disks are compared with: of the same machine, and the last that they were known to hold, or the one that
    /// a rollback goes to.
    pub parent: Option<SnapshotId>,
    /// What a capture that was stopped had put aside of the machine, where this one may go on from there.
    pub aside: Option<Digest>,
    /// The volumes, in order.
    pub volumes: Vec<VolumeCapture>,
    /// Volumes that are not saved, with the reason.
    pub left_out: Vec<(VolumePath, DisplayText)>,
    /// Disks whose tables are saved.
    pub tables: Vec<DiskNo>,
    /// Why this, in one sentence.
    pub why: DisplayText,
}

/// One volume of a snapshot to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeCapture {
    /// Which volume.
    pub path: VolumePath,
    /// How its bytes will be chosen.
    pub method: CaptureMethod,
    /// Why so.
    pub why: DisplayText,
    /// Whether the file system's records may tell what is as in the snapshot before, or why all of it must be read.
    pub against: Result<Against, DisplayText>,
    /// What will be written over it afterwards: where that differs from the snapshot before, and where a fence will stand, the bytes
    /// are read whatever the records say.
    pub written: Option<MapRoot>,
}

/// How far the records of a file system may be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Against {
    /// Why a session since then may not have ended in order, where that is so: then only a file system that nobody wrote to is
    /// believed.
    pub doubt: Option<DisplayText>,
}

/// What a snapshot will read, and how much room it may need. Told once the allocation maps are read and compared with what is saved,
/// before anything is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEstimate {
    /// Of each volume, what will be read to be saved and what is taken over.
    pub volumes: Vec<VolumeEstimate>,
    /// Volumes that are not saved, with the reason.
    pub left_out: Vec<(VolumePath, DisplayText)>,
    /// Bytes to be read and saved.
    pub read: ByteLen,
    /// Room for all of that if the store has nothing of it yet and nothing gets smaller: more is not needed.
    pub at_most: ByteLen,
    /// Room as it went before: a guess.
    pub likely: ByteLen,
    /// What the guess rests on.
    pub likely_because: DisplayText,
    /// Room for snapshots that is free in the store, without what is kept for records; where that is known.
    pub free: Option<ByteLen>,
}

impl SnapshotEstimate {
    /// True where the guess does not fit: then the save will most likely stop before its end.
    pub fn is_tight(&self) -> bool {
        self.free.is_some_and(|free| free < self.likely)
    }
}

/// One volume of a snapshot to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeEstimate {
    /// How its bytes are chosen.
    pub method: CaptureMethod,
    /// Why so.
    pub method_why: DisplayText,
    /// Bytes in use: what the snapshot will hold of it.
    pub used: ByteLen,
    /// What is read, and what is taken over.
    pub read: VolumeRead,
}

/// What a rollback will write. Made from a snapshot and a fresh inspection; the same inputs give the same plan, and any
/// change of the disks gives another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackPlan {
    /// What for.
    pub action: Action,
    /// The snapshot the disks will hold.
    pub to: SnapshotId,
    /// What that snapshot is, for people.
    pub to_says: DisplayText,
    /// What will be written, in the order in which the volumes become valid again: root first, the boot set after it, the ESP last.
    pub volumes: Vec<VolumeRollback>,
    /// What happens to each disk's table.
    pub tables: Vec<TableRollback>,
    /// The disks that are written whole, with the volumes on them: of a restore. They become valid in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskRestore>,
    /// Volumes left alone, with the reason.
    pub kept: Vec<(VolumePath, DisplayText)>,
    /// What had to be so, and whether it is. One that failed makes the plan unusable.
    pub checks: Vec<Check>,
    /// What a person must agree to beyond the plan itself.
    pub warnings: Vec<DisplayText>,
    /// The machine that the snapshot is of, where that is another one than this: whoever approves must say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<DisplayText>,
    /// Boot variables of the firmware that are written, in this order, once the volumes hold what they are to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<VariableWrite>,
    /// What the undo snapshot reads; `None` where none is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<UndoReads>,
    /// How what is gone to is composed first, where it is no snapshot that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composed: Option<Composition>,
    /// EFI system partitions of the plan with something on them that is not of the systems that go back: that stays as it is now, or comes
    /// to be so by what is composed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub esps: Vec<SharedEsp>,
}

/// Two states that are made one before anything is written: files of the one in the place of those of the other. What comes of it is
/// saved as a snapshot, and the disks go to that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composition {
    /// The snapshot that files are put into; the disks as they are now, saved just before, where `None`.
    pub of: Option<SnapshotId>,
    /// The snapshot that they are taken from; likewise.
    pub with: Option<SnapshotId>,
    /// What is carried over.
    pub paths: Vec<ComposedPath>,
    /// Room for what is put aside meanwhile, beside the store, and for what is saved of it: more is not needed, mostly much less.
    pub room: ByteLen,
}

/// A file or directory that is carried over, with everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposedPath {
    /// The volume it goes to, as it is called now.
    pub volume: VolumePath,
    /// Its path, as the system has it; where no system says, that on the volume.
    pub path: RawName,
    /// Whatever has a name in it, itself included.
    pub files: u64,
    /// Their bytes: an upper bound where there are more than were counted.
    pub bytes: ByteLen,
    /// All of it was counted.
    pub counted: bool,
}

/// What the undo snapshot of a write-back reads. What is written over is read in any case, so that an undo restores it whatever the
/// records of a file system say; the rest decides what the write-back can find to be different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoReads {
    /// The snapshot that the disks are compared with.
    pub with: SnapshotId,
    /// Everything in use is read because that was asked for.
    pub everything: bool,
    /// Of each volume of the plan, in its order, what [`VolumeCapture::against`] says.
    pub against: Vec<Result<Against, DisplayText>>,
    /// Which it is, and what that means, for people.
    pub says: DisplayText,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Action {
    /// Go to a saved point, after an undo snapshot.
    Rollback,
    /// Put a saved point onto other disks, whole. What they held before is not kept: it cannot be undone.
    Restore {
        /// A restore onto the same disks that was cut off, and whose place this one takes.
        over: Option<IntentId>,
    },
    /// Put right what keeps a machine from starting, without a snapshot. [`RollbackPlan::to`] and the maps are digests of the bytes
    /// that change: once it is approved the volumes are saved with them, and what is carried out and recorded is a rollback to that.
    Repair,
    /// Put files of a snapshot into the disks as they are now ([`RollbackPlan::composed`]). [`RollbackPlan::to`] is that snapshot, and the
    /// maps are digests of what is asked for: once it is approved the state with them is composed, and what is carried out and recorded
    /// is a rollback to that.
    Put,
    /// Go back to what was before a write-back, finished or not.
    Undo {
        /// The write-back to be undone.
        of: IntentId,
    },
    /// Finish a write-back that was cut off.
    Resume {
        /// The write-back to be finished.
        of: IntentId,
    },
}

/// One volume of a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRollback {
    /// Where it is now.
    pub path: VolumePath,
    /// What it was called in the snapshot.
    pub saved_as: VolumePath,
    /// Where it lies on its disk now. Of a mapped one: all of it, from 0 on.
    pub extent: Extent,
    /// How its bytes lie on other volumes now, and what is leased to write them; `None` where it lies straight on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Through>,
    /// The disk it must lie on: re-checked on the descriptor.
    pub hardware: Hardware,
    /// SHA-256 of the disk's head at inspection, and of the first 64 KiB of the volume: what makes a plan stale.
    pub disk_head: Digest,
    /// See `disk_head`.
    pub volume_head: Digest,
    /// What is on it, for people: `ext4, root of Debian GNU/Linux 12`.
    pub says: DisplayText,
    /// The content it will have.
    pub map: MapRoot,
    /// The most that can be written: bytes the snapshot holds of it. Only what differs is.
    pub at_most: ByteLen,
}

impl VolumeRollback {
    /// The volume, without what is on it.
    pub fn volume(&self) -> Volume {
        let mapping = self.through.as_ref().map(|t| t.mapping.clone());
        Volume { path: self.path.clone(), extent: self.extent, mapping, content: Content::Unknown }
    }
}

/// What a mapped volume is written through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Through {
    /// Its map.
    pub mapping: Mapping,
    /// The disk of each volume beneath, in their order: re-checked on the descriptor. With what `disk_head` is of it.
    pub disks: Vec<(Hardware, Digest)>,
}

/// What happens to a disk's table.
#[expect(clippy::large_enum_variant, reason = "a plan has one of these for each disk")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum TableRollback {
    /// It is as the snapshot has it, or no planned volume depends on the difference.
    Untouched {
        /// The disk.
        disk: DiskNo,
    },
    /// The raw bytes of the saved table are written: the disk has the same partitions and only a damaged copy.
    Repair {
        /// The disk.
        disk: DiskNo,
        /// What is wrong now.
        why: DisplayText,
        /// The saved bytes, from the start of the disk.
        map: MapRoot,
        /// The disk it must be.
        hardware: Hardware,
        /// SHA-256 of the disk's head at inspection.
        disk_head: Digest,
    },
}

/// A precondition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What had to be so.
    pub what: DisplayText,
    /// Whether it is.
    pub ok: bool,
    /// The numbers or names behind it.
    pub says: DisplayText,
}

impl RollbackPlan {
    /// The plan's name: the SHA-256 of its encoding.
    pub fn id_of(encoded: &[u8]) -> PlanId {
        PlanId(Digest::of(encoded))
    }

    /// True where every check passed and there is something to write.
    pub fn is_usable(&self) -> bool {
        self.checks.iter().all(|c| c.ok) && !self.volumes.is_empty()
    }

    /// True where the state it goes to has to be composed before anything is written.
    pub fn is_composed(&self) -> bool {
        self.composed.is_some() || self.esps.iter().any(SharedEsp::is_composed)
    }

    /// The most that can be written.
    pub fn at_most(&self) -> ByteLen {
        let sum = |parts: &mut dyn Iterator<Item = u64>| ByteLen(parts.fold(0, u64::saturating_add));
        match self.disks.is_empty() {
            true => sum(&mut self.volumes.iter().map(|v| v.at_most.0)),
            false => sum(&mut self.disks.iter().map(|d| d.at_most.0)),
        }
    }
}
