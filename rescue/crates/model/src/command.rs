//! What a front end can ask of the engine, and how a run ends.

use crate::browse::Browse;
use crate::files::FilePath;
use crate::id::{DiskNo, PlanId, SnapRef, VolumePath};
use crate::policy::Manner;
use crate::proof::Trial;
use crate::text::{DisplayText, RawName};
use crate::upkeep::Upkeep;
use serde::{Deserialize, Serialize};

/// What a front end can ask. One job runs at a time; a command that needs another job's end is refused with a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Command {
    /// Look at the disks and say what happened.
    Inspect,
    /// List the store's snapshots again.
    ListSnapshots,
    /// Open the encrypted store. For a front end at the machine itself: it goes no further than from one process to another.
    Unlock {
        /// As it was typed.
        passphrase: Passphrase,
    },
    /// Open an encrypted volume of the disks, for as long as this session lasts. As [`Command::Unlock`] it goes no further than to the
    /// engine of the same machine.
    OpenVolume {
        /// The LUKS volume.
        volume: VolumePath,
        /// What opens it.
        by: VolumeKey,
        /// What lies in it may be saved in clear, in a store that is not encrypted.
        plain: bool,
    },
    /// Open an encrypted volume of a snapshot, whose header it holds, for as long as this session lasts: what lay in it can be put onto
    /// another disk then, or into an image of the whole disk. As [`Command::OpenVolume`] it goes no further than to the engine.
    OpenSaved {
        /// Which snapshot.
        snapshot: SnapRef,
        /// The LUKS volume, as the snapshot calls it.
        volume: VolumePath,
        /// What opens it.
        by: VolumeKey,
    },
    /// Save the present state.
    Snapshot {
        /// Also save, byte for byte, what is not understood.
        full: bool,
    },
    /// Do what a policy makes of the present state.
    Auto {
        /// The policy's text, as it lies in its file; the built-in one where `None`.
        policy: Option<PolicyText>,
        /// The folder of the key files that it names, as the system names it, seen from the engine's working directory.
        keys: Option<RawName>,
        /// How.
        manner: Manner,
    },
    /// Work out what a snapshot would read, and how much room it may need. Nothing is saved.
    EstimateSnapshot {
        /// As of [`Command::Snapshot`].
        full: bool,
    },
    /// Work out a rollback and ask for approval.
    PlanRollback {
        /// To which snapshot.
        to: SnapRef,
        /// Only these volumes; all of the boot set where empty.
        only: Vec<VolumePath>,
        /// Read everything in use first, whatever the file systems say of it.
        full: bool,
    },
    /// Work out a rollback that keeps some files and directories as they are now, and ask for approval.
    PlanKeeping {
        /// To which snapshot.
        to: SnapRef,
        /// As of [`Command::PlanRollback`].
        only: Vec<VolumePath>,
        /// What is kept: paths as the system has them.
        keep: Vec<RawName>,
    },
    /// Work out how files of a snapshot are put into the disks as they are now, and ask for approval.
    PlanPut {
        /// Which snapshot.
        from: SnapRef,
        /// Which files and directories of it, and where they go.
        at: Vec<FilePath>,
    },
    /// Work out how a snapshot is put onto other disks, whole, and ask for approval.
    PlanRestore {
        /// Which snapshot.
        to: SnapRef,
        /// Onto which disks.
        onto: Vec<Onto>,
        /// Disks that may be written over though they hold something, by [`crate::inspection::Disk::identity`].
        overwrite: Vec<DisplayText>,
        /// With new identifiers of the tables and their partitions.
        new_ids: bool,
        /// Volumes that are made larger, to the ends of their disks, as the snapshot calls them.
        grow: Vec<VolumePath>,
    },
    /// Work out the way back from the last write-back, and ask for approval.
    PlanUndo {
        /// As of [`Command::PlanRollback`].
        full: bool,
    },
    /// Work out the completion of a write-back that was cut off, and ask for approval.
    PlanResume,
    /// Work out what can be put right of what starts the machine, without a snapshot, and ask for approval.
    PlanBootRepair,
    /// Answer a [`crate::event::Question`]. The first answer counts.
    Answer {
        /// The plan the answer is about.
        plan: PlanId,
        /// Go ahead, or not.
        approve: bool,
    },
    /// Ask a [`crate::event::Question`] again with a plan whose undo snapshot reads everything, or what changed.
    Reread {
        /// The plan as it was asked.
        plan: PlanId,
        /// Everything in use.
        full: bool,
    },
    /// Ask a [`crate::event::Question`] about a rollback again with a plan that keeps those of these paths that can be kept as they are
    /// now; none where empty.
    Keep {
        /// The plan as it was asked.
        plan: PlanId,
        /// Paths as the system has them.
        paths: Vec<RawName>,
    },
    /// Ask a [`crate::event::Question`] about a rollback again with a plan that leaves the EFI system partitions as they are on which what
    /// others have cannot be kept ([`crate::esp::SharedEsp::cannot`]), or one that takes them back with all that is on them.
    LeaveEsps {
        /// The plan as it was asked.
        plan: PlanId,
        /// To leave them.
        leave: bool,
    },
    /// Ask a [`crate::event::Question`] about a restore again with a plan in which every volume that can be is made larger
    /// ([`crate::restore::Growth`]), or none.
    Grow {
        /// The plan as it was asked.
        plan: PlanId,
        /// Make them larger.
        grow: bool,
    },
    /// Check the store.
    Check {
        /// Read and hash every byte.
        read_data: bool,
    },
    /// Write a snapshot out as disk images that other tools read.
    Export {
        /// Which snapshot.
        snapshot: SnapRef,
        /// One disk or volume of it; every disk where `None`.
        only: Option<VolumePath>,
        /// The file to be made, as the system names it, seen from the engine's working directory. Several disks make
        /// several files, each with its disk's number before the extension.
        to: RawName,
        /// How the images are written.
        format: ImageFormat,
    },
    /// Show all that the record of a snapshot says.
    Describe {
        /// Which snapshot.
        snapshot: SnapRef,
    },
    /// List what a snapshot holds at a place.
    ListFiles {
        /// Which snapshot.
        snapshot: SnapRef,
        /// Where; its volumes alone where `None`.
        at: Option<FilePath>,
    },
    /// Show a part of a snapshot's files; told as [`crate::event::Happening::Browsed`].
    BrowseFiles {
        /// Which.
        ask: Browse,
    },
    /// Take a file or directory out of a snapshot.
    GetFiles {
        /// Which snapshot.
        snapshot: SnapRef,
        /// Where in it.
        at: FilePath,
        /// What is to be made, as the system names it, seen from the engine's working directory. `None`: something new, in the
        /// folder `files` beside the store, where that is a directory.
        to: Option<RawName>,
        /// With what gives power: devices, set-user-ID and set-group-ID bits, capabilities.
        privileged: bool,
    },
    /// Start a snapshot in a virtual machine, and note in the store what came of it.
    Prove {
        /// Which snapshot.
        snapshot: SnapRef,
        /// How.
        trial: Trial,
    },
    /// Tell what differs between two states of a machine.
    Compare {
        /// The earlier: a snapshot.
        before: SnapRef,
        /// The later: a snapshot, or the disks as they are now where `None`.
        after: Option<SnapRef>,
        /// Also which lines of text files differ, in places of note.
        text: bool,
    },
    /// Look after the store.
    Upkeep {
        /// How.
        what: Upkeep,
    },
    /// Stop the running job as soon as nothing is lost by it.
    Cancel,
    /// Leave the rescue.
    Power(PowerAction),
}

/// A disk that a snapshot's disk is put onto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onto {
    /// Which disk of the snapshot; by order where `None`.
    pub saved: Option<DiskNo>,
    /// The disk, as numbered in this run.
    pub disk: DiskNo,
}

/// A passphrase on its way from a keyboard to the engine. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Passphrase(String);

impl Passphrase {
    /// What was typed, without the end of the line.
    pub fn new(typed: String) -> Self {
        Self(typed)
    }

    /// Its bytes, UTF-8.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// What opens an encrypted volume: a passphrase, or what a key file holds. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeKey(#[serde(with = "as_text")] Vec<u8>);

/// Bytes as hexadecimal digits: a key file is no text.
mod as_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crate::hex::encode(bytes))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let pair = |p: &[u8; 2]| Some(digit(p[0])? << 4 | digit(p[1])?);
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(D::Error::custom("half a byte")) };
        pairs.iter().map(pair).collect::<Option<_>>().ok_or_else(|| D::Error::custom("no hexadecimal digits"))
    }
}

impl VolumeKey {
    /// What was typed, without the end of the line, or what a file holds.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for VolumeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VolumeKey(..)")
    }
}

/// The bytes of a policy's file, not interpreted yet (at most [`crate::policy::MOST_TEXT`] make sense), or why they cannot be
/// had: that is told like any other reason for doing nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyText(pub Result<Vec<u8>, DisplayText>);

/// How a disk image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// The bytes of the disk, holes where there is nothing.
    Raw,
    /// QEMU's format, version 3.
    Qcow2,
}

/// How to leave the rescue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerAction {
    /// Start again, into the target.
    Reboot,
    /// Switch off.
    Poweroff,
}

/// Exit codes of the machine contract (docs/scripting.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// 0: done.
    Ok,
    /// 1: failed; the sentence says why.
    Failed,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: done, and damage was found.
    Damage,
    /// 4: refused, or a decision is needed.
    Refused,
    /// 5: interrupted, and can be resumed.
    Interrupted,
    /// 6: written by a newer version.
    Newer,
}

impl ExitCode {
    /// The number the process ends with.
    pub fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Damage => 3,
            Self::Refused => 4,
            Self::Interrupted => 5,
            Self::Newer => 6,
        }
    }
}

/// Something went wrong: what happened, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub code: ExitCode,
    /// What happened, one sentence without a full stop.
    pub says: DisplayText,
    /// What is safe and what to do.
    pub advice: DisplayText,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.says)?;
        if !self.advice.as_str().is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// A failure of a kind, with what to do about it.
    pub fn new(code: ExitCode, says: impl AsRef<str>, advice: impl AsRef<str>) -> Self {
        Self { code, says: DisplayText::new(says.as_ref()), advice: DisplayText::new(advice.as_ref()) }
    }
}
