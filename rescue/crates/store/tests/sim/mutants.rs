//! Programs with one flaw each. What does not notice them proves nothing about the program without.

use crate::explore::{Explorer, SAMPLE};
use crate::faults;
use crate::flaws::{Flaw, Order, disordered, flawed};
use crate::history::Build;
use crate::state::{Call, What};

/// What catches a mutant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// Power cuts at operations.
    Cuts,
    /// Faults at calls, and a power cut after.
    Faults(Option<Call>, What),
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
        Trial::Cuts => match Explorer::new(build.clone(), SAMPLE) {
            Ok(explorer) => explorer.run(points, 1).err().map(|(point, e)| format!("{point:?}: {e}")),
            Err(e) => Some(e),
        },
        Trial::Faults(call, what) => {
            let faults = match faults::all(build) {
                Ok(faults) => faults,
                Err(e) => return Some(e),
            };
            let mut wanted = faults.into_iter().filter(|f| f.call == call && f.what == what);
            wanted.find_map(|f| faults::survive(build, f).err().map(|e| format!("{f:?}: {e}")))
        }
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

const fn mutant(name: &'static str, why: &'static str, build: Build, trial: Trial) -> Mutant {
    Mutant { name, why, build, trial }
}

/// All of them.
pub(crate) const MUTANTS: &[Mutant] = &[
    mutant("no fsync of files", "a name may outlive its bytes", files!(NoFileSync), Trial::Cuts),
    mutant("no fsync of packs", "a manifest may outlive its packs", files!(NoPackSync), Trial::Cuts),
    mutant("no fsync of directories", "bytes may outlive their name", files!(NoDirSync), Trial::Cuts),
    mutant(
        "no fsync of manifests' directories",
        "a snapshot is acknowledged and gone",
        files!(NoSnapshotDirSync),
        Trial::Cuts,
    ),
    mutant("no fsync of parents", "a directory's own name is lost with all in it", files!(NoParentSync), Trial::Cuts),
    mutant("the name before the bytes", "a torn object is seen under its name", files!(NameFirst), Trial::Cuts),
    mutant("renamed before fsync", "the rename may be durable first", files!(SyncAfterRename), Trial::Cuts),
    mutant("written in place", "a torn object is seen under its name", files!(InPlace), Trial::Cuts),
    mutant("temporary files are objects", "leftovers are listed", files!(TempsAreObjects), Trial::Cuts),
    mutant(
        "the twin of an object is swept",
        "on FAT both names are the same clusters",
        files!(SweepsTwins),
        Trial::Cuts,
    ),
    mutant(
        "a removal is not made durable",
        "on FAT the clusters get a new owner while the old name may come back",
        files!(UnsyncedRemoval),
        Trial::Cuts,
    ),
    mutant(
        "a failed fsync of a file is ignored",
        "the bytes were never written",
        files!(IgnoresFileSync),
        Trial::Faults(Some(Call::Sync), What::Io),
    ),
    mutant(
        "a failed fsync of a directory is ignored",
        "the name was never written",
        files!(IgnoresDirSync),
        Trial::Faults(Some(Call::SyncDir), What::Io),
    ),
    mutant(
        "a failed fsync is tried again",
        "the second says yes: the pages count as clean",
        files!(SyncsAgain),
        Trial::Faults(Some(Call::Sync), What::Io),
    ),
    mutant(
        "a full disk is ignored",
        "nothing was written",
        files!(IgnoresFull),
        Trial::Faults(Some(Call::Write), What::Full),
    ),
    mutant(
        "a short write counts as whole",
        "the rest is missing",
        files!(ShortIsWhole),
        Trial::Faults(Some(Call::Write), What::Short),
    ),
    mutant(
        "a signal is a failure",
        "nothing is wrong with the disk",
        files!(GivesUpOnSignals),
        Trial::Faults(Some(Call::Write), What::Interrupted),
    ),
    mutant(
        "what a killed process left counts as durable",
        "a snapshot is saved against a pack without a durable name",
        files!(NeverSettles),
        Trial::Faults(None, What::Killed),
    ),
    mutant(
        "reads back what is cached",
        "the medium may hold something else",
        files!(ReadsCache),
        Trial::Faults(Some(Call::Write), What::Dropped),
    ),
    mutant(
        "the manifest first",
        "a snapshot is listed whose packs are not there",
        objects!(ManifestFirst),
        Trial::Cuts,
    ),
    mutant("puts are done one late", "the last is acknowledged and not there", objects!(OneLate), Trial::Cuts),
    mutant("an object is put in two steps", "its first half is seen under its name", objects!(PutsInTwo), Trial::Cuts),
    mutant(
        "packs are not read back",
        "a disk that drops writes is believed",
        objects!(OwnCache),
        Trial::Faults(Some(Call::Write), What::Dropped),
    ),
    mutant(
        "the error of a put is swallowed",
        "a snapshot is acknowledged without it",
        objects!(Swallows),
        Trial::Faults(Some(Call::Sync), What::Io),
    ),
];
