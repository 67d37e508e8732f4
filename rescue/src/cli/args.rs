//! The arguments. Pure: nothing is opened here.

mod disks;
mod files;
mod given;
mod keeping;
mod opening;
mod prove;
mod room;
#[cfg(feature = "manual")]
mod shell;
mod values;

pub use disks::{Approval, Auto, EngineRole, Export, Inspect, Snapshot, Tui, WriteBack, WriteBackTo};
pub use files::{Diff, Get, Ls};
pub use keeping::{Check, Forget, ForgetApproval, Key, KeyVerb, Note, Show, StoreAt, StoreInit, StoreOnly, UnlockBy};
pub use opening::Opening;
pub use prove::Prove;
pub use room::{Copy, Prune, Repair};
#[cfg(feature = "manual")]
pub use shell::Shell;

use super::verbs;
use given::Given;
use lexopt::{Arg, Parser, ValueExt};
use model::text::DisplayText;
use std::ffi::OsString;
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
    /// `auto`.
    Auto(Auto),
    /// `snapshots`.
    Snapshots(StoreOnly),
    /// `show`.
    Show(Show),
    /// `rollback`, `restore`, `undo`, `resume` or `repair-boot`.
    WriteBack(WriteBack),
    /// `check`.
    Check(Check),
    /// `export`.
    Export(Export),
    /// `ls`.
    Ls(Ls),
    /// `get`.
    Get(Get),
    /// `prove`.
    Prove(Prove),
    /// `diff`.
    Diff(Diff),
    /// `forget`.
    Forget(Forget),
    /// `note`.
    Note(Note),
    /// `prune`.
    Prune(Prune),
    /// `stats`.
    Stats(StoreOnly),
    /// `copy`.
    Copy(Copy),
    /// `repair`.
    Repair(Repair),
    /// `tui`.
    Tui(Tui),
    /// `completions`.
    #[cfg(feature = "manual")]
    Completions(Shell),
    /// `man`.
    #[cfg(feature = "manual")]
    Man,
    /// The engine role.
    Engine(EngineRole),
    /// The front-end role.
    Console {
        /// The inherited socket to the engine.
        engine: i32,
    },
    /// The parser role.
    Parser,
    /// The role that puts files onto a saved volume.
    Composer,
}

impl Invocation {
    /// True where the answer goes to a program.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Inspect(i) => i.json,
            Self::Snapshot(s) => s.json,
            Self::Auto(a) => a.json,
            Self::StoreInit(s) => s.json,
            Self::Key(k) => k.wants_json(),
            Self::Snapshots(s) | Self::Stats(s) => s.json,
            Self::Show(s) => s.json,
            Self::WriteBack(w) => w.json,
            Self::Check(c) => c.json,
            Self::Export(e) => e.json,
            Self::Ls(l) => l.json,
            Self::Get(g) => g.json,
            Self::Prove(p) => p.json,
            Self::Diff(d) => d.json,
            Self::Forget(f) => f.json,
            Self::Note(n) => n.json,
            Self::Prune(p) => p.json,
            Self::Copy(c) => c.json,
            Self::Repair(r) => r.json,
            #[cfg(feature = "manual")]
            Self::Completions(_) | Self::Man => false,
            Self::Help(_)
            | Self::Version
            | Self::Tui(_)
            | Self::Engine(_)
            | Self::Console { .. }
            | Self::Parser
            | Self::Composer => false,
        }
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
    let allowed =
        verbs::allowed(&verb).ok_or_else(|| Usage(format!("there is no verb `{}`", DisplayText::new(&verb))))?;
    let given = given::collect(&mut parser, allowed, &verb)?;
    if given.help {
        return Ok(Invocation::Help(Some(verb)));
    }
    build(&verb, given)
}

fn build(verb: &str, given: Given) -> Result<Invocation, Usage> {
    let disks: Vec<PathBuf> = given.words.iter().map(PathBuf::from).collect();
    let some = |disks| disks::some(verb, disks);
    let at = given.at();
    let store = || at.clone().ok_or_else(|| Usage(format!("`{verb}` needs --store DIRECTORY")));
    Ok(match verb {
        "help" => Invocation::Help(given.words.first().map(|w| w.to_string_lossy().into_owned())),
        "inspect" => {
            let (json, explain, timeline) = (given.json, given.explain, given.timeline);
            let (disks, open) = (some(disks)?, given.open.clone());
            Invocation::Inspect(Inspect { disks, open, store: at, json, explain, timeline })
        }
        "store" => Invocation::StoreInit(keeping::store_init(&given)?),
        "key" => Invocation::Key(keeping::key(&given)?),
        "snapshot" => {
            let (full, dry_run, json) = (given.full, given.dry_run, given.json);
            let (open, plain) = (given.open.clone(), given.allow_plain);
            Invocation::Snapshot(Snapshot { disks: some(disks)?, open, plain, store: store()?, full, dry_run, json })
        }
        "auto" => {
            let (policy, dry_run, json) = (given.policy.clone(), given.dry_run, given.json);
            let (open, plain) = (given.open.clone(), given.allow_plain);
            Invocation::Auto(Auto { disks: some(disks)?, open, plain, store: store()?, policy, dry_run, json })
        }
        "snapshots" => {
            nothing_else(verb, &given.words)?;
            Invocation::Snapshots(StoreOnly { store: store()?, json: given.json })
        }
        "show" => Invocation::Show(keeping::show(&given, store()?)?),
        "check" => {
            nothing_else(verb, &given.words)?;
            let (read_data, accept_head) = (given.read_data, given.accept_head);
            Invocation::Check(Check { store: store()?, read_data, accept_head, json: given.json })
        }
        "export" => Invocation::Export(disks::export(&given, store()?)?),
        "ls" => Invocation::Ls(files::ls(&given, store()?)?),
        "get" => Invocation::Get(files::get(&given, store()?)?),
        "prove" => Invocation::Prove(prove::prove(&given, store()?)?),
        "diff" => Invocation::Diff(files::diff(&given, store()?)?),
        "forget" => Invocation::Forget(keeping::forget(&given, store()?)?),
        "note" => Invocation::Note(keeping::note(&given, store()?)?),
        "prune" => Invocation::Prune(room::prune(&given, store()?)?),
        "stats" => {
            nothing_else(verb, &given.words)?;
            Invocation::Stats(StoreOnly { store: store()?, json: given.json })
        }
        "copy" => Invocation::Copy(room::copy(&given, store()?)?),
        "repair" => Invocation::Repair(room::repair(&given, store()?)?),
        "rollback" | "put" | "restore" | "undo" | "resume" | "repair-boot" => {
            Invocation::WriteBack(disks::write_back(verb, &given, store()?)?)
        }
        "tui" => Invocation::Tui(disks::tui(&given, at, disks)?),
        "engine" => Invocation::Engine(disks::engine(&given, at, disks)?),
        "console" => {
            nothing_else(verb, &given.words)?;
            let engine = given.engine.ok_or_else(|| Usage("`console` needs --engine FD".into()))?;
            Invocation::Console { engine }
        }
        #[cfg(feature = "manual")]
        "completions" => Invocation::Completions(shell::shell(&given)?),
        #[cfg(feature = "manual")]
        "man" => {
            nothing_else(verb, &given.words)?;
            Invocation::Man
        }
        "composer" => Invocation::Composer,
        _ => Invocation::Parser,
    })
}

/// Refuses words that a verb does not take.
fn nothing_else(verb: &str, words: &[OsString]) -> Result<(), Usage> {
    match words.first() {
        Some(w) => Err(Usage(format!("`{verb}` takes no `{}`", DisplayText::new(&w.to_string_lossy())))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
