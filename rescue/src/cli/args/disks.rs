//! The arguments of the verbs that look at disks and write to them, and of the roles.

use super::given::{Given, named};
use super::{Opening, StoreAt, Usage, files};
use model::command::ImageFormat;
use model::files::FilePath;
use model::id::{DiskNo, PlanId, SnapRef, VolumePath};
use model::text::{DisplayText, RawName};
use std::ffi::OsStr;
use std::path::PathBuf;

/// `inspect DISK.. [--unlock VOLUME] [--store S] [--json] [--explain] [--timeline]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspect {
    /// Devices or image files.
    pub disks: Vec<PathBuf>,
    /// Encrypted volumes that are unlocked first.
    pub open: Vec<Opening>,
    /// With a store, what changed since its newest snapshot is told too.
    pub store: Option<StoreAt>,
    /// For programs.
    pub json: bool,
    /// Show the evidence.
    pub explain: bool,
    /// Show all that is known of what it did.
    pub timeline: bool,
}

/// `snapshot DISK.. --store S [--full] [--dry-run] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Devices or image files.
    pub disks: Vec<PathBuf>,
    /// Encrypted volumes that are unlocked first.
    pub open: Vec<Opening>,
    /// What lies in them may be saved in clear.
    pub plain: bool,
    /// Its directory.
    pub store: StoreAt,
    /// Compare everything by hash.
    pub full: bool,
    /// Say what would be read and needed; save nothing.
    pub dry_run: bool,
    /// For programs.
    pub json: bool,
}

/// `auto DISK.. --store S [--policy FILE] [--dry-run] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auto {
    /// Devices or image files.
    pub disks: Vec<PathBuf>,
    /// Encrypted volumes that are unlocked first.
    pub open: Vec<Opening>,
    /// What lies in them may be saved in clear.
    pub plain: bool,
    /// Its directory.
    pub store: StoreAt,
    /// The policy's file; the built-in policy where `None`.
    pub policy: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// For programs.
    pub json: bool,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteBackTo {
    /// A saved state.
    Snapshot {
        /// Which.
        to: SnapRef,
        /// Only these volumes.
        only: Vec<VolumePath>,
        /// What is kept as it is now.
        keep: Vec<RawName>,
        /// Read everything in use first.
        full: bool,
    },
    /// Files of a saved state, into the disks as they are now.
    Files {
        /// Which.
        from: SnapRef,
        /// Which files and directories of it.
        at: Vec<FilePath>,
    },
    /// A saved state, onto other disks, whole.
    Disks {
        /// Which.
        to: SnapRef,
        /// What goes onto each of the disks; by order where `None`.
        saved: Vec<Option<DiskNo>>,
        /// Disks that may be written over, by their identity.
        overwrite: Vec<DisplayText>,
        /// With new identifiers.
        new_ids: bool,
        /// Volumes that are made larger, as the snapshot calls them.
        grow: Vec<VolumePath>,
    },
    /// The state before the last write-back.
    Undo {
        /// Read everything in use first.
        full: bool,
    },
    /// The end of a write-back that was cut off.
    Resume,
    /// What starts the machine, put right without a saved state.
    BootRepair,
}

/// How it is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// Not: the plan is shown and a decision asked for.
    Missing,
    /// `--plan`: the plan is all that is wanted.
    PlanOnly,
    /// `--approve PLANID`.
    Plan(PlanId),
    /// `--yes`: whatever the plan.
    Yes,
}

/// `rollback`, `put`, `restore`, `undo`, `resume`, `repair-boot`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteBack {
    /// What is to be written.
    pub to: WriteBackTo,
    /// Devices or image files.
    pub disks: Vec<PathBuf>,
    /// Encrypted volumes that are unlocked first.
    pub open: Vec<Opening>,
    /// What lies in them may be saved in clear.
    pub plain: bool,
    /// The store's directory.
    pub store: StoreAt,
    /// How it is approved.
    pub approval: Approval,
    /// `--foreign-machine NAME`: the snapshot is of that machine, which is another one, and that is meant.
    pub foreign: Option<String>,
    /// For programs.
    pub json: bool,
}

/// `export SNAP -o FILE.img|FILE.qcow2 [--only VOLUME] --store S [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Which snapshot.
    pub snapshot: SnapRef,
    /// One disk or volume of it.
    pub only: Option<VolumePath>,
    /// The file to be made.
    pub to: PathBuf,
    /// How, as its extension says.
    pub format: ImageFormat,
    /// Encrypted volumes of the snapshot that are unlocked first.
    pub open: Vec<Opening>,
    /// The store's directory.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

/// `tui [DISK..] [--store S] [--to S2] [--ascii] [--record FILE]`, `tui --replay FILE [--ascii]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tui {
    /// Devices or image files; every disk of this computer where empty.
    pub disks: Vec<PathBuf>,
    /// The store's directory.
    pub store: Option<StoreAt>,
    /// The second store, which is copied to and repaired from.
    pub other: Option<StoreAt>,
    /// Plain ASCII, whatever the terminal.
    pub ascii: bool,
    /// The new file that the session is recorded to.
    pub record: Option<PathBuf>,
    /// A recording that is played back, and nothing else.
    pub replay: Option<PathBuf>,
}

pub(super) fn tui(given: &Given, store: Option<StoreAt>, disks: Vec<PathBuf>) -> Result<Tui, Usage> {
    let other = given.other_at()?;
    let alone = disks.is_empty() && store.is_none() && other.is_none() && given.record.is_none();
    if given.replay.is_some() && !alone {
        return Err(Usage("`tui --replay` shows what was recorded: it takes no disk, no store and no --record".into()));
    }
    if other.is_some() && store.is_none() {
        return Err(Usage("`tui --to` names a second store: it needs --store too".into()));
    }
    Ok(Tui { disks, store, other, ascii: given.ascii, record: given.record.clone(), replay: given.replay.clone() })
}

/// `engine`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRole {
    /// PID 1's inherited socket, over which front ends come in; without it, one front end on stdin.
    pub control: Option<i32>,
    /// The store's directory, made on first use.
    pub store: Option<StoreAt>,
    /// The second store, which is copied to and repaired from.
    pub other: Option<StoreAt>,
    /// Devices or image files; every disk of this computer where empty.
    pub disks: Vec<PathBuf>,
    /// Disks of this computer that are left out, by their kernel names.
    pub leave_out: Vec<String>,
    /// What it does by itself: the policy of this file beside the store's directory, or the built-in one that is called `auto`.
    pub policy: Option<PathBuf>,
}

pub(super) fn engine(given: &Given, store: Option<StoreAt>, disks: Vec<PathBuf>) -> Result<EngineRole, Usage> {
    if given.policy.is_some() && given.control.is_none() {
        return Err(Usage("`engine --policy` is for the rescue: it needs --control".into()));
    }
    let other = given.other_at()?;
    let (policy, leave_out) = (given.policy.clone(), given.leave_out.clone());
    Ok(EngineRole { control: given.control, store, other, disks, leave_out, policy })
}

/// Refuses a verb without a disk.
pub(super) fn some(verb: &str, disks: Vec<PathBuf>) -> Result<Vec<PathBuf>, Usage> {
    if disks.is_empty() { Err(Usage(format!("`{verb}` needs a disk or an image file"))) } else { Ok(disks) }
}

/// `rollback`, `put`, `restore`, `undo`, `resume` or `repair-boot`.
pub(super) fn write_back(verb: &str, given: &Given, store: StoreAt) -> Result<WriteBack, Usage> {
    let (to, disks) = write_back_to(verb, given)?;
    let approval = approval(given)?;
    // What is saved besides, which is gone to or gone back to.
    let saved = match verb {
        "resume" => None,
        "restore" if given.grow.is_empty() => None,
        "restore" => Some("what is put there is saved first, and"),
        _ => Some("the undo point"),
    };
    let writes = matches!(approval, Approval::Plan(_) | Approval::Yes);
    if let (Some(what), true, None) = (saved, writes && !given.signers.is_empty(), &given.sign_with) {
        return Err(Usage(format!("with --require-signer {what} must be signed too: add --sign-with FILE")));
    }
    let (open, plain, foreign) = (given.open.clone(), given.allow_plain, given.foreign.clone());
    Ok(WriteBack { to, disks: some(verb, disks)?, open, plain, store, approval, foreign, json: given.json })
}

fn write_back_to(verb: &str, given: &Given) -> Result<(WriteBackTo, Vec<PathBuf>), Usage> {
    let mut words = given.words.iter().peekable();
    let to = match verb {
        "rollback" => {
            let Some(snapshot) = words.next() else {
                return Err(Usage("`rollback` needs a snapshot, then the disks".into()));
            };
            let (only, keep) = (given.only.clone(), given.kept.clone());
            WriteBackTo::Snapshot { to: named(snapshot.clone())?, only, keep, full: given.full }
        }
        "put" => {
            let (from, at) = files::places(&mut words)?;
            WriteBackTo::Files { from, at }
        }
        "restore" => {
            let Some(snapshot) = words.next() else {
                return Err(Usage("`restore` needs a snapshot, then the disks it is put onto".into()));
            };
            let to = named(snapshot.clone())?;
            let plain: Vec<PathBuf> = words.map(PathBuf::from).collect();
            if !plain.is_empty() && !given.disk.is_empty() {
                return Err(Usage("name the disks in their order, or each with --disk, not both".into()));
            }
            let mut saved: Vec<Option<DiskNo>> = vec![None; plain.len()];
            saved.extend(given.disk.iter().map(|(no, _)| Some(*no)));
            let disks = plain.into_iter().chain(given.disk.iter().map(|(_, path)| path.clone())).collect();
            let (overwrite, new_ids, grow) = (given.overwrite.clone(), given.new_ids, given.grow.clone());
            return Ok((WriteBackTo::Disks { to, saved, overwrite, new_ids, grow }, disks));
        }
        "undo" => WriteBackTo::Undo { full: given.full },
        "repair-boot" => WriteBackTo::BootRepair,
        _ => WriteBackTo::Resume,
    };
    Ok((to, words.map(PathBuf::from).collect()))
}

pub(super) fn export(given: &Given, store: StoreAt) -> Result<Export, Usage> {
    let usage = |says: &str| Usage(says.to_owned());
    let snapshot = match given.words.as_slice() {
        [snapshot] => named(snapshot.clone())?,
        [] => return Err(usage("`export` needs a snapshot")),
        _ => return Err(usage("`export` takes one snapshot and no disk")),
    };
    let only = match given.only.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => return Err(usage("`export --only` takes one volume, or one disk")),
    };
    let to = given.out.clone().ok_or_else(|| usage("`export` needs -o FILE.img or -o FILE.qcow2"))?;
    let extension = to.extension().map(OsStr::to_ascii_lowercase);
    let format = match extension.as_deref().and_then(OsStr::to_str) {
        Some("img" | "raw") => ImageFormat::Raw,
        Some("qcow2") => ImageFormat::Qcow2,
        _ => return Err(usage("`export -o` makes a new file: FILE.img (plain) or FILE.qcow2")),
    };
    Ok(Export { snapshot, only, to, format, open: given.open.clone(), store, json: given.json })
}

fn approval(given: &Given) -> Result<Approval, Usage> {
    match (given.plan, given.approve, given.yes) {
        (false, None, false) => Ok(Approval::Missing),
        (true, None, false) => Ok(Approval::PlanOnly),
        (false, Some(id), false) => Ok(Approval::Plan(id)),
        (false, None, true) => Ok(Approval::Yes),
        _ => Err(Usage("only one of --plan, --approve and --yes can be given".into())),
    }
}
