//! Everything that interprets bytes of a target or of a store, behind one trait.
//!
//! [`Local`] answers in this process: for tests. [`Child`] asks a process that can do nothing but compute and read the
//! disks it inherited (`sys::sandbox`); [`serve()`] is that process's main loop. Whoever answered, the answer is looked at
//! again (the `checked` module): ranges lie on the disk, names were asked for, counts are bounded.
//!
//! What lies in an encrypted volume is handed to the parser in clear, piece by piece; it never has a key.

mod checked;
mod child;
mod desk;
mod handed;
mod overruled;
#[cfg(feature = "fuzzing")]
pub mod probe;
mod role;
mod wire;

pub use child::Child;
pub use desk::Local;
pub(crate) use overruled::{Overrule, Overruled};
pub use role::serve;

use disk::table::TableReading;
use model::boot::{BootChain, BootRepairs};
use model::browse::FileHead;
use model::coverage::{Changes, Coverage};
use model::cuts::Cuts;
use model::differences::FsDifferences;
use model::esp::{EspReading, Tenancy};
use model::evidence::Evidence;
use model::files::{FileId, Layout, LostFiles, Named};
use model::firmware::{LoadOption, Value};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding, Inspection, System, Volume};
use model::luks::LuksHeader;
use model::mapping::Layers;
use model::policy::{Policy, PolicyError};
use model::ports::{Devices, DiskSource, ReadAt};
use model::restore::{FitTable, FittedTable};
use model::snapshot::MapRoot;
use model::text::{DisplayText, RawName};
use model::units::{ByteOffset, Extent, ExtentSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A question was not answered: the parser refused, panicked, died or took too long. Costs one finding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct ParserError {
    /// What happened.
    pub why: DisplayText,
}

impl ParserError {
    pub(crate) fn new(why: impl AsRef<str>) -> Self {
        Self { why: DisplayText::new(why.as_ref()) }
    }
}

/// A system and the volumes its paths lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scene {
    /// The system.
    pub system: System,
    /// Its volumes.
    pub volumes: Vec<Volume>,
}

impl Scene {
    /// The scene of a system of an inspection.
    pub fn of(system: &System, inspection: &Inspection) -> Self {
        let volumes = inspection.volumes().map(|(_, v)| v).filter(|v| system.uses(&v.path)).cloned().collect();
        Self { system: system.clone(), volumes }
    }
}

/// A saved file system that is asked about.
#[derive(Clone)]
pub struct SavedFs {
    /// What tells it from any other.
    pub map: MapRoot,
    /// What it is.
    pub content: Content,
    /// Its bytes, read from a store.
    pub bytes: Arc<dyn ReadAt>,
}

/// A question about the files of a saved file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AboutFiles {
    /// What stands at a path; see [`disk::fs::FileSystem::find`].
    Find(RawName),
    /// The entries of a directory after the first so many, [`MOST_LISTED`] at most.
    List(FileId, usize),
    /// Where the content of a file lies from a byte on, in about [`MOST_PIECES`] pieces.
    Layout(FileId, ByteOffset),
    /// How the regular file at a path begins.
    Head(RawName),
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfFiles {
    /// What stands there, where something does.
    Found(Option<Named>),
    /// The entries; fewer than there may be where those are all.
    Listed(Vec<Named>),
    /// Where it lies.
    Lies(Layout),
    /// How it begins, where there is such a file.
    Begins(Option<FileHead>),
}

/// A boot entry, or why it is none.
pub type ReadOption = Result<LoadOption, DisplayText>;

/// Reads boot entries, each by itself.
fn load_options(entries: &[Value]) -> Vec<ReadOption> {
    let read = |entry: &Value| disk::load_option::read(&entry.0).map_err(|why| DisplayText::new(&why));
    entries.iter().map(read).collect()
}

/// One of two states of a volume.
#[derive(Clone)]
pub struct State {
    /// What is on it.
    pub content: Content,
    /// Its bytes, read from a store or a disk.
    pub bytes: Arc<dyn ReadAt>,
}

/// What is asked of the difference between two states of a file system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// What lies in or below these paths is told one by one: see [`disk::fs::Two::differences`].
    pub notable: Vec<RawName>,
    /// What lies in or below these paths in the later state, or was deleted there, is not told.
    pub but: Vec<RawName>,
    /// Of what is notable, which lines of text differ.
    pub text: bool,
    /// Where dpkg's database is: the directory with `status` in it.
    pub packages: Option<RawName>,
}

/// Most entries of one answer.
pub const MOST_LISTED: usize = 4096;
/// Most pieces of one answer.
pub const MOST_PIECES: usize = 16_384;

/// Answers what needs bytes interpreted. Small questions: one that ends in a crash costs one answer.
pub trait Parser: store::Decode {
    /// The partition table of a disk.
    ///
    /// # Errors
    /// [`ParserError`], here and below.
    fn table(&self, disk: DiskNo) -> Result<TableReading, ParserError>;

    /// What lies on a part of a disk.
    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError>;

    /// The header of a LUKS volume that can be opened here.
    fn luks(&self, _volume: &Volume) -> Result<LuksHeader, ParserError> {
        Err(ParserError::new("nothing is there to look at encrypted volumes"))
    }

    /// The header of a LUKS volume that was saved; `saved` are its bytes, read from a store.
    fn saved_luks(&self, _saved: Arc<dyn ReadAt>) -> Result<LuksHeader, ParserError> {
        Err(ParserError::new("nothing is there to look at encrypted volumes"))
    }

    /// The disks of whoever asks, which show what was opened of encrypted volumes: what is asked about those is answered by these.
    fn given(&self, _devices: Arc<dyn Devices>) {}

    /// What layers make of the volumes on the disks: see [`disk::volume::layers`].
    fn layers(&self, _inspection: &Inspection) -> Result<Layers, ParserError> {
        Ok(Layers::default())
    }

    /// What lies on a volume that layers make.
    fn mapped_content(&self, _volume: &Volume) -> Result<(Content, Vec<Finding>), ParserError> {
        Err(ParserError::new("nothing is there to look at volumes that lie on others"))
    }

    /// The systems installed on the volumes of an inspection.
    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError>;

    /// The evidence of one of [`infer::wants`], by its place in that list.
    fn evidence(&self, scene: &Scene, want: usize) -> Result<Vec<Evidence>, ParserError>;

    /// The boot chain of a system: see [`disk::boot`]. One without links was not looked at.
    fn boot(&self, _inspection: &Inspection, system: &System) -> Result<BootChain, ParserError> {
        Ok(BootChain { root: system.root.clone(), links: Vec::new() })
    }

    /// What of the boot chains of an inspection's systems can be put right, and which bytes would change.
    fn boot_repairs(&self, _inspection: &Inspection) -> Result<BootRepairs, ParserError> {
        Ok(BootRepairs::default())
    }

    /// Which bytes of a volume are worth saving.
    fn coverage(&self, volume: &Volume) -> Result<Coverage, ParserError>;

    /// Where a volume is best cut into chunks. Only sharing depends on it: where it cannot be told, it is the grid.
    fn cuts(&self, volume: &Volume) -> Cuts {
        Cuts::grid(volume.extent.len())
    }

    /// Which bytes of a volume its own records prove to be as they were in `before`, an earlier state of it that is read from
    /// a store: see [`disk::coverage::changes`].
    fn changes(&self, _volume: &Volume, _before: Arc<dyn ReadAt>) -> Result<Changes, ParserError> {
        Ok(Changes::unknown("its records are not looked at"))
    }

    /// What the text of a policy says; it may lie on a stick that anybody had in hands.
    fn policy(&self, text: &[u8]) -> Result<Result<Policy, PolicyError>, ParserError> {
        Ok(Policy::parse(text))
    }

    /// What boot entries of the firmware mean, in their order: whatever started there may have written them.
    fn load_options(&self, entries: &[Value]) -> Result<Vec<ReadOption>, ParserError> {
        Ok(load_options(entries))
    }

    /// What lies in bytes of a saved volume that are lost; `saved` is read from a store, and fails where they are. See
    /// [`disk::fs::losses`].
    fn losses(&self, _content: &Content, _saved: Arc<dyn ReadAt>, _lost: &ExtentSet) -> Result<LostFiles, ParserError> {
        Err(ParserError::new("nothing is there to look at saved files"))
    }

    /// The table of a saved disk, fitted to another disk; `saved` are the saved disk's bytes, read from a store. See
    /// [`disk::table::fit`].
    fn fit_table(&self, _saved: Arc<dyn ReadAt>, _wanted: &FitTable) -> Result<FittedTable, ParserError> {
        Err(ParserError::new("nothing is there to look at saved tables"))
    }

    /// Answers a question about the files of a saved file system. What was opened for it is kept for the next one.
    fn files(&self, _saved: &SavedFs, _ask: &AboutFiles) -> Result<OfFiles, ParserError> {
        Err(ParserError::new("nothing is there to look at saved files"))
    }

    /// What differs between two states of a file system. Where `going` says no before it is told, it is not told.
    fn differences(
        &self,
        _before: &State,
        _after: &State,
        _asked: &Asked,
        _going: &dyn Fn() -> bool,
    ) -> Result<FsDifferences, ParserError> {
        Err(ParserError::new("nothing is there to compare saved files"))
    }

    /// What of an EFI system partition is not of the systems that go back, and how that, as the present state has it, is put into the
    /// earlier one: see [`disk::boot::tenants`].
    fn esp(&self, _then: &State, _now: &State, _tenancy: &Tenancy) -> Result<EspReading, ParserError> {
        Err(ParserError::new("nothing is there to look at EFI system partitions"))
    }

    /// The disks may have changed: nothing remembered of them holds.
    fn forget(&self) {}

    /// Another parser of this kind, for disks that no process can be given a descriptor of: their bytes are handed to it piece
    /// by piece.
    ///
    /// # Errors
    /// [`ParserError`] where there is none of this kind.
    fn over(&self, _disks: Vec<DiskSource>) -> Result<Box<dyn Parser>, ParserError> {
        Err(ParserError::new("nothing is there to look at other disks"))
    }
}
