//! The arguments. Pure: nothing is opened here.

mod keeping;
mod values;

pub use keeping::{Forget, ForgetApproval, Key, KeyVerb, Note, StoreAt, StoreInit, UnlockBy};

use lexopt::{Arg, Parser, ValueExt};
use model::command::ImageFormat;
use model::id::{PlanId, SnapRef, VolumePath};
use model::retention::KeepPolicy;
use model::signer::SignerId;
use model::upkeep::ProbeSize;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The command line makes no sense; the sentence says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage(pub String);

impl From<lexopt::Error> for Usage {
    fn from(e: lexopt::Error) -> Self {
        Self(e.to_string())
    }
}

/// What the program is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// `--help`, of one verb or of all.
    Help(Option<String>),
    /// `--version`.
    Version,
    /// `inspect`.
    Inspect(Inspect),
    /// `store init`.
    StoreInit(StoreInit),
    /// `key`.
    Key(Key),
    /// `snapshot`.
    Snapshot(Snapshot),
    /// `snapshots`.
    Snapshots(StoreOnly),
    /// `rollback`, `undo` or `resume`.
    WriteBack(WriteBack),
    /// `check`.
    Check(Check),
    /// `export`.
    Export(Export),
    /// `forget`.
    Forget(Forget),
    /// `note`.
    Note(Note),
    /// `tui`.
    Tui(Tui),
    /// The engine role.
    Engine(EngineRole),
    /// The front-end role.
    Console {
        /// The inherited socket to the engine.
        engine: i32,
    },
    /// The parser role.
    Parser,
}

impl Invocation {
    /// True where the answer goes to a program.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Inspect(i) => i.json,
            Self::Snapshot(s) => s.json,
            Self::StoreInit(s) => s.json,
            Self::Key(k) => k.wants_json(),
            Self::Snapshots(s) => s.json,
            Self::WriteBack(w) => w.json,
            Self::Check(c) => c.json,
            Self::Export(e) => e.json,
            Self::Forget(f) => f.json,
            Self::Note(n) => n.json,
            Self::Help(_) | Self::Version | Self::Tui(_) | Self::Engine(_) | Self::Console { .. } | Self::Parser => {
                false
            }
        }
    }
}

/// `inspect DISK.. [--store S] [--json] [--explain]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspect {
    /// Devices or image files.
    pub disks: Vec<PathBuf>,
    /// With a store, what changed since its newest snapshot is told too.
    pub store: Option<StoreAt>,
    /// For programs.
    pub json: bool,
    /// Show the evidence.
    pub explain: bool,
}

/// A verb that needs a store and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOnly {
    /// Its directory.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

/// `snapshot DISK.. --store S [--full] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Devices or image files.
    pub disks: Vec<PathBuf>,
    /// Its directory.
    pub store: StoreAt,
    /// Compare everything by hash.
    pub full: bool,
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
    },
    /// The state before the last write-back.
    Undo,
    /// The end of a write-back that was cut off.
    Resume,
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

/// `rollback`, `undo`, `resume`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteBack {
    /// What is to be written.
    pub to: WriteBackTo,
    /// Devices or image files.
    pub disks: Vec<PathBuf>,
    /// The store's directory.
    pub store: StoreAt,
    /// How it is approved.
    pub approval: Approval,
    /// For programs.
    pub json: bool,
}

/// `check --store S [--read-data] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its directory.
    pub store: StoreAt,
    /// Read and hash every byte.
    pub read_data: bool,
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
    /// The store's directory.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

/// `tui [DISK..] [--store S] [--ascii]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tui {
    /// Devices or image files; every disk of this computer where empty.
    pub disks: Vec<PathBuf>,
    /// The store's directory.
    pub store: Option<StoreAt>,
    /// Plain ASCII, whatever the terminal.
    pub ascii: bool,
}

/// `engine`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRole {
    /// PID 1's inherited socket, over which front ends come in; without it, one front end on stdin.
    pub control: Option<i32>,
    /// The store's directory, made on first use.
    pub store: Option<StoreAt>,
    /// Devices or image files; every disk of this computer where empty.
    pub disks: Vec<PathBuf>,
}

/// Verbs of the design that a later version will have.
const LATER: [&str; 6] = ["diff", "ls", "get", "stats", "copy", "prune"];

/// Everything that can stand behind a verb. Which of it may, the verb says.
#[derive(Default)]
struct Given {
    words: Vec<OsString>,
    store: Option<PathBuf>,
    unlock: UnlockBy,
    new_key: UnlockBy,
    label: Option<String>,
    encrypt: bool,
    sign_with: Option<PathBuf>,
    signers: Vec<SignerId>,
    keep: Option<KeepPolicy>,
    dry_run: bool,
    pin: bool,
    unpin: bool,
    json: bool,
    explain: bool,
    full: bool,
    read_data: bool,
    ascii: bool,
    plan: bool,
    yes: bool,
    approve: Option<PlanId>,
    only: Vec<VolumePath>,
    out: Option<PathBuf>,
    probe: Option<ProbeSize>,
    control: Option<i32>,
    engine: Option<i32>,
    help: bool,
}

impl Given {
    fn at(&self) -> Option<StoreAt> {
        self.store.clone().map(|dir| StoreAt {
            dir,
            unlock: self.unlock.clone(),
            sign_with: self.sign_with.clone(),
            signers: self.signers.clone(),
        })
    }
}

/// Reads the arguments.
///
/// # Errors
/// [`Usage`] where they make no sense.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Usage> {
    let mut parser = Parser::from_args(arguments);
    let verb = match parser.next()? {
        None => return Err(Usage("a verb is missing".into())),
        Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Invocation::Help(None)),
        Some(Arg::Short('V') | Arg::Long("version")) => return Ok(Invocation::Version),
        Some(Arg::Value(verb)) => verb.string()?,
        Some(other) => return Err(other.unexpected().into()),
    };
    let allowed: &[&str] = match verb.as_str() {
        "inspect" => &["store", "json", "explain"],
        "store" => &["store", "json", "probe", "encrypt"],
        "snapshots" => &["store", "json", "require-signer"],
        "key" => &["store", "json", "out", "new-passphrase-file", "new-key-file", "label"],
        "snapshot" => &["store", "json", "full", "sign-with"],
        "rollback" => &["store", "json", "plan", "approve", "yes", "only", "sign-with", "require-signer"],
        "undo" => &["store", "json", "plan", "approve", "yes", "sign-with", "require-signer"],
        "resume" => &["store", "json", "plan", "approve", "yes", "require-signer"],
        "check" => &["store", "json", "read-data", "require-signer"],
        "export" => &["store", "json", "only", "out", "require-signer"],
        "forget" => &[
            "store",
            "json",
            "yes",
            "dry-run",
            "keep-last",
            "keep-hourly",
            "keep-daily",
            "keep-weekly",
            "keep-monthly",
            "keep-yearly",
            "keep-within",
            "keep-before-upgrade",
            "keep-before-trouble",
        ],
        "note" => &["store", "json", "label", "pin", "unpin"],
        "tui" => &["store", "ascii"],
        "engine" => &["store", "control"],
        "console" => &["engine"],
        "parser" => &[],
        "help" => &[],
        later if LATER.contains(&later) => return Err(Usage(format!("`{later}` is not in this version"))),
        other => return Err(Usage(format!("there is no verb `{}`", model::text::DisplayText::new(other)))),
    };
    let given = collect(&mut parser, allowed, &verb)?;
    if given.help {
        return Ok(Invocation::Help(Some(verb)));
    }
    build(&verb, given)
}

fn collect(parser: &mut Parser, allowed: &[&str], verb: &str) -> Result<Given, Usage> {
    let mut given = Given::default();
    while let Some(arg) = parser.next()? {
        let name = match arg {
            Arg::Value(word) => {
                given.words.push(word);
                continue;
            }
            Arg::Short('h') | Arg::Long("help") => {
                given.help = true;
                continue;
            }
            Arg::Short('o') if allowed.contains(&"out") => "out".to_owned(),
            Arg::Short(c) => return Err(Usage(format!("`{verb}` has no option `-{c}`"))),
            Arg::Long(name) => name.to_owned(),
        };
        // What needs a store may need what opens it.
        let opens = allowed.contains(&"store") && ["passphrase-file", "key-file"].contains(&name.as_str());
        if !opens && !allowed.contains(&name.as_str()) {
            return Err(Usage(format!("`{verb}` has no option `--{}`", model::text::DisplayText::new(&name))));
        }
        match name.as_str() {
            "store" => given.store = Some(parser.value()?.into()),
            "passphrase-file" => given.unlock.set(UnlockBy::Passphrase(parser.value()?.into()))?,
            "key-file" => given.unlock.set(UnlockBy::KeyFile(parser.value()?.into()))?,
            "new-passphrase-file" => given.new_key.set(UnlockBy::Passphrase(parser.value()?.into()))?,
            "new-key-file" => given.new_key.set(UnlockBy::KeyFile(parser.value()?.into()))?,
            "label" => given.label = Some(parser.value()?.string()?),
            "sign-with" => given.sign_with = Some(parser.value()?.into()),
            "require-signer" => {
                for signer in parser.value()?.string()?.split(',') {
                    given.signers.push(named(signer.into())?);
                }
            }
            keep if keep.starts_with("keep-") => {
                let policy = given.keep.get_or_insert_with(keeping::nothing_kept);
                keeping::keep(policy, keep, &parser.value()?.string()?)?;
            }
            "dry-run" => given.dry_run = true,
            "pin" => given.pin = true,
            "unpin" => given.unpin = true,
            "encrypt" => given.encrypt = true,
            "json" => given.json = true,
            "explain" => given.explain = true,
            "full" => given.full = true,
            "read-data" => given.read_data = true,
            "ascii" => given.ascii = true,
            "plan" => given.plan = true,
            "yes" => given.yes = true,
            "approve" => given.approve = Some(named(parser.value()?)?),
            "only" => {
                for volume in parser.value()?.string()?.split(',') {
                    given.only.push(named(volume.into())?);
                }
            }
            "out" => given.out = Some(parser.value()?.into()),
            "probe" => given.probe = Some(probe_size(parser)?),
            "control" => given.control = Some(parser.value()?.parse()?),
            "engine" => given.engine = Some(parser.value()?.parse()?),
            _ => return Err(Usage(format!("`{verb}` has no option `--{name}`"))),
        }
    }
    Ok(given)
}

/// `--probe`, `--probe=SIZE` or `--probe SIZE`: a word that is no size belongs to somebody else.
fn probe_size(parser: &mut Parser) -> Result<ProbeSize, Usage> {
    if let Some(size) = parser.optional_value() {
        return Ok(ProbeSize::AtMost(values::size(&size.string()?)?));
    }
    let next = parser.try_raw_args().and_then(|args| args.as_slice().first().cloned());
    match next.as_deref().and_then(OsStr::to_str).and_then(|word| values::size(word).ok()) {
        Some(size) => {
            parser.value()?;
            Ok(ProbeSize::AtMost(size))
        }
        None => Ok(ProbeSize::All),
    }
}

/// Parses a value whose error says what was expected.
fn named<T: std::str::FromStr<Err = model::id::BadName>>(value: OsString) -> Result<T, Usage> {
    value.string()?.parse::<T>().map_err(|e| Usage(e.to_string()))
}

fn build(verb: &str, given: Given) -> Result<Invocation, Usage> {
    let disks: Vec<PathBuf> = given.words.iter().map(PathBuf::from).collect();
    let some = |disks: Vec<PathBuf>| {
        if disks.is_empty() { Err(Usage(format!("`{verb}` needs a disk or an image file"))) } else { Ok(disks) }
    };
    let at = given.at();
    let store = || at.clone().ok_or_else(|| Usage(format!("`{verb}` needs --store DIRECTORY")));
    Ok(match verb {
        "help" => Invocation::Help(given.words.first().map(|w| w.to_string_lossy().into_owned())),
        "inspect" => {
            let (store, json, explain) = (at, given.json, given.explain);
            Invocation::Inspect(Inspect { disks: some(disks)?, store, json, explain })
        }
        "store" => Invocation::StoreInit(keeping::store_init(&given)?),
        "key" => Invocation::Key(keeping::key(&given)?),
        "snapshot" => {
            Invocation::Snapshot(Snapshot { disks: some(disks)?, store: store()?, full: given.full, json: given.json })
        }
        "snapshots" => {
            nothing_else(verb, &given.words)?;
            Invocation::Snapshots(StoreOnly { store: store()?, json: given.json })
        }
        "check" => {
            nothing_else(verb, &given.words)?;
            Invocation::Check(Check { store: store()?, read_data: given.read_data, json: given.json })
        }
        "export" => Invocation::Export(export(&given, store()?)?),
        "forget" => Invocation::Forget(keeping::forget(&given, store()?)?),
        "note" => Invocation::Note(keeping::note(&given, store()?)?),
        "rollback" | "undo" | "resume" => {
            let (to, disks) = write_back_to(verb, &given)?;
            let approval = approval(&given)?;
            let writes = matches!(approval, Approval::Plan(_) | Approval::Yes) && verb != "resume";
            if writes && !given.signers.is_empty() && given.sign_with.is_none() {
                let says = "with --require-signer the undo point must be signed too: add --sign-with FILE";
                return Err(Usage(says.into()));
            }
            Invocation::WriteBack(WriteBack { to, disks: some(disks)?, store: store()?, approval, json: given.json })
        }
        "tui" => Invocation::Tui(Tui { disks, store: at, ascii: given.ascii }),
        "engine" => Invocation::Engine(EngineRole { control: given.control, store: at, disks }),
        "console" => {
            nothing_else(verb, &given.words)?;
            let engine = given.engine.ok_or_else(|| Usage("`console` needs --engine FD".into()))?;
            Invocation::Console { engine }
        }
        _ => Invocation::Parser,
    })
}

/// Refuses words that a verb does not take.
fn nothing_else(verb: &str, words: &[OsString]) -> Result<(), Usage> {
    match words.first() {
        Some(w) => Err(Usage(format!("`{verb}` takes no `{}`", model::text::DisplayText::new(&w.to_string_lossy())))),
        None => Ok(()),
    }
}

fn write_back_to(verb: &str, given: &Given) -> Result<(WriteBackTo, Vec<PathBuf>), Usage> {
    let mut words = given.words.iter();
    let to = match verb {
        "rollback" => {
            let Some(snapshot) = words.next() else {
                return Err(Usage("`rollback` needs a snapshot, then the disks".into()));
            };
            WriteBackTo::Snapshot { to: named(snapshot.clone())?, only: given.only.clone() }
        }
        "undo" => WriteBackTo::Undo,
        _ => WriteBackTo::Resume,
    };
    Ok((to, words.map(PathBuf::from).collect()))
}

fn export(given: &Given, store: StoreAt) -> Result<Export, Usage> {
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
    Ok(Export { snapshot, only, to, format, store, json: given.json })
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

#[cfg(test)]
mod tests;
