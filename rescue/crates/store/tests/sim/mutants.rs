//! Programs with one flaw each. What does not notice them proves nothing about the program without.

use crate::build::Build;
use crate::crash::Model;
use crate::explore::Explorer;
use crate::faults::{self, Doing};
use crate::flaws::{Flaw, Order, disordered, flawed};
use crate::haste::{Haste, hasty};
use crate::state::{Call, What};

/// The histories that save snapshots and do nothing else.
const SAVING: &[usize] = &[0, 1];
/// The history that frees what nothing needs in two phases, and the one that does it at once.
const IN_TWO: &[usize] = &[2];
const AT_ONCE: &[usize] = &[3];
/// The histories in which a store is pruned while it is saved into, before what is saved again is condemned, and after.
const BEFORE: &[usize] = &[4];
const AFTER: &[usize] = &[5];

/// What catches a mutant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// Power cuts at the operations of histories.
    Cuts(&'static [usize]),
    /// The same on FAT alone.
    OnFat(&'static [usize]),
    /// Faults at calls, and a power cut after.
    Faults(Doing, Option<Call>, What),
}

/// A program with a flaw.
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// Why it must not be.
    pub(crate) why: &'static str,
    pub(crate) build: Build,
    pub(crate) trial: Trial,
}

/// How a mutant was caught: `None` where it was not.
pub(crate) fn try_out(build: &Build, trial: Trial, points: usize) -> Option<String> {
    match trial {
        Trial::Cuts(histories) => cut(build, histories, &Model::ALL, points),
        Trial::OnFat(histories) => cut(build, histories, &[Model::Fat], points),
        Trial::Faults(doing, call, what) => {
            let faults = match faults::all(build, doing) {
                Ok(faults) => faults,
                Err(e) => return Some(e),
            };
            let mut wanted = faults.into_iter().filter(|f| f.call == call && f.what == what);
            wanted.find_map(|f| faults::survive(build, doing, f).err().map(|e| format!("{f:?}: {e}")))
        }
    }
}

fn cut(build: &Build, histories: &[usize], models: &[Model], points: usize) -> Option<String> {
    match Explorer::new(build, histories, models) {
        Ok(explorer) => explorer.run(points, 1).err().map(|(point, e)| format!("{point:?}: {e}")),
        Err(e) => Some(e),
    }
}

macro_rules! files {
    ($flaw:ident) => {
        Build { files: |fs| flawed(fs, Flaw::$flaw), ..Build::REAL }
    };
}

macro_rules! objects {
    ($order:ident) => {
        Build { objects: |dir| disordered(dir, Order::$order), ..Build::REAL }
    };
}

macro_rules! hasty {
    ($haste:ident) => {
        Build { objects: |dir| hasty(dir, Haste::$haste), ..Build::REAL }
    };
}

const fn mutant(name: &'static str, why: &'static str, build: Build, trial: Trial) -> Mutant {
    Mutant { name, why, build, trial }
}

/// All of them.
pub(crate) const MUTANTS: &[Mutant] = &[
    mutant("no fsync of files", "a name may outlive its bytes", files!(NoFileSync), Trial::Cuts(SAVING)),
    mutant("no fsync of packs", "a manifest may outlive its packs", files!(NoPackSync), Trial::Cuts(SAVING)),
    mutant("no fsync of directories", "bytes may outlive their name", files!(NoDirSync), Trial::Cuts(SAVING)),
    mutant(
        "no fsync of manifests' directories",
        "a snapshot is acknowledged and gone",
        files!(NoSnapshotDirSync),
        Trial::Cuts(SAVING),
    ),
    mutant(
        "no fsync of parents",
        "a directory's own name is lost with all in it",
        files!(NoParentSync),
        Trial::Cuts(SAVING),
    ),
    mutant("the name before the bytes", "a torn object is seen under its name", files!(NameFirst), Trial::Cuts(SAVING)),
    mutant("renamed before fsync", "the rename may be durable first", files!(SyncAfterRename), Trial::Cuts(SAVING)),
    mutant("written in place", "a torn object is seen under its name", files!(InPlace), Trial::Cuts(SAVING)),
    mutant("temporary files are objects", "leftovers are listed", files!(TempsAreObjects), Trial::Cuts(SAVING)),
    mutant(
        "the twin of an object is swept",
        "on FAT both names are the same clusters",
        files!(SweepsTwins),
        Trial::OnFat(SAVING),
    ),
    mutant(
        "a removal is not made durable",
        "on FAT the clusters get a new owner while the old name may come back",
        files!(UnsyncedRemoval),
        Trial::OnFat(SAVING),
    ),
    mutant(
        "a failed fsync of a file is ignored",
        "the bytes were never written",
        files!(IgnoresFileSync),
        Trial::Faults(Doing::Saving, Some(Call::Sync), What::Io),
    ),
    mutant(
        "a failed fsync of a directory is ignored",
        "the name was never written",
        files!(IgnoresDirSync),
        Trial::Faults(Doing::Saving, Some(Call::SyncDir), What::Io),
    ),
    mutant(
        "a failed fsync is tried again",
        "the second says yes: the pages count as clean",
        files!(SyncsAgain),
        Trial::Faults(Doing::Saving, Some(Call::Sync), What::Io),
    ),
    mutant(
        "a full disk is ignored",
        "nothing was written",
        files!(IgnoresFull),
        Trial::Faults(Doing::Saving, Some(Call::Write), What::Full),
    ),
    mutant(
        "a short write counts as whole",
        "the rest is missing",
        files!(ShortIsWhole),
        Trial::Faults(Doing::Saving, Some(Call::Write), What::Short),
    ),
    mutant(
        "a signal is a failure",
        "nothing is wrong with the disk",
        files!(GivesUpOnSignals),
        Trial::Faults(Doing::Saving, Some(Call::Write), What::Interrupted),
    ),
    mutant(
        "what a killed process left counts as durable",
        "a snapshot is saved against a pack without a durable name",
        files!(NeverSettles),
        Trial::Faults(Doing::Saving, None, What::Killed),
    ),
    mutant(
        "reads back what is cached",
        "the medium may hold something else",
        files!(ReadsCache),
        Trial::Faults(Doing::Saving, Some(Call::Write), What::Dropped),
    ),
    mutant(
        "the manifest first",
        "a snapshot is listed whose packs are not there",
        objects!(ManifestFirst),
        Trial::Cuts(SAVING),
    ),
    mutant("puts are done one late", "the last is acknowledged and not there", objects!(OneLate), Trial::Cuts(SAVING)),
    mutant(
        "an object is put in two steps",
        "its first half is seen under its name",
        objects!(PutsInTwo),
        Trial::Cuts(SAVING),
    ),
    mutant(
        "packs are not read back",
        "a disk that drops writes is believed",
        objects!(OwnCache),
        Trial::Faults(Doing::Saving, Some(Call::Write), What::Dropped),
    ),
    mutant(
        "the error of a put is swallowed",
        "a snapshot is acknowledged without it",
        objects!(Swallows),
        Trial::Faults(Doing::Saving, Some(Call::Sync), What::Io),
    ),
    mutant("no fsync of notes", "a note is acknowledged and gone", files!(NoNoteSync), Trial::Cuts(IN_TWO)),
    mutant(
        "no fsync of the inventory",
        "a manifest is deleted and still has to be there",
        files!(NoEntrySync),
        Trial::Cuts(IN_TWO),
    ),
    mutant(
        "the manifest is deleted before the forget is entered",
        "a snapshot that must be there is gone",
        hasty!(DeletesManifestFirst),
        Trial::Cuts(IN_TWO),
    ),
    mutant(
        "the old packs are deleted before the new ones are put",
        "their live chunks are nowhere",
        hasty!(PutsRewrittenLast),
        Trial::Cuts(AT_ONCE),
    ),
    mutant(
        "rewritten packs are not read back before the old are deleted",
        "a disk that drops writes is believed",
        hasty!(TrustsRewritten),
        Trial::Faults(Doing::Freeing, Some(Call::Write), What::Dropped),
    ),
    mutant(
        "leases are not looked at",
        "what was condemned is deleted under a writer that counts on it",
        hasty!(IgnoresLeases),
        Trial::Cuts(BEFORE),
    ),
    mutant(
        "what is condemned is deleted in the same generation",
        "a writer began to count on it before",
        hasty!(DeletesAtOnce),
        Trial::Cuts(BEFORE),
    ),
    mutant(
        "a writer counts on what is condemned",
        "the next prune deletes it: the writer's lease is of the same generation",
        hasty!(CountsOnCondemned),
        Trial::Cuts(AFTER),
    ),
];
