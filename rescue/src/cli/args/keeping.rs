//! The arguments of the verbs that look after a store and its keys.

use super::given::{Given, named};
use super::{Usage, nothing_else};
use model::id::SnapRef;
use model::note::Says;
use model::retention::KeepPolicy;
use model::signer::SignerId;
use model::text::DisplayText;
use model::upkeep::{Forgetting, ProbeSize};
use std::path::PathBuf;

/// A store, and what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreAt {
    /// Its directory.
    pub dir: PathBuf,
    /// What opens it where it is encrypted.
    pub unlock: UnlockBy,
    /// The file of the key that signs what is saved.
    pub sign_with: Option<PathBuf>,
    /// Only snapshots that one of these signed are used; all are where there are none.
    pub signers: Vec<SignerId>,
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UnlockBy {
    /// Nothing was said: the environment, else the person at the terminal.
    #[default]
    Asked,
    /// A file that holds a passphrase.
    Passphrase(PathBuf),
    /// A key file.
    KeyFile(PathBuf),
}

impl UnlockBy {
    pub(super) fn set(&mut self, by: Self) -> Result<(), Usage> {
        if *self != Self::Asked {
            return Err(Usage("one passphrase file or key file is enough".into()));
        }
        *self = by;
        Ok(())
    }
}

/// A verb that needs a store and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOnly {
    /// Its directory.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

/// `check --store S [--read-data] [--accept-head] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its directory.
    pub store: StoreAt,
    /// Read and hash every byte.
    pub read_data: bool,
    /// Take the store as it is for the one that this computer saw last.
    pub accept_head: bool,
    /// For programs.
    pub json: bool,
}

/// `store init S [--encrypt | --passphrase-file F | --key-file F] [--probe [SIZE]] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInit {
    /// Where, and with what it is to be opened.
    pub store: StoreAt,
    /// Encrypt it, with what is asked for on the terminal where nothing is given.
    pub encrypt: bool,
    /// Fill the place first and read it back.
    pub probe: Option<ProbeSize>,
    /// For programs.
    pub json: bool,
}

/// `key ...`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// `key new-signer -o FILE [--json]`
    NewSigner {
        /// The file to be made.
        out: PathBuf,
        /// For programs.
        json: bool,
    },
    /// The verbs on the keys of a store.
    OfStore {
        /// Whose keys.
        store: StoreAt,
        /// What to do.
        verb: KeyVerb,
        /// For programs.
        json: bool,
    },
}

/// What can be done with the keys of an encrypted store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyVerb {
    /// `key list --store S`
    List,
    /// `key add [--new-passphrase-file F | --new-key-file F] [--label L] --store S`
    Add {
        /// What is to open it from now on too.
        new: UnlockBy,
        /// What people call it.
        label: Option<String>,
    },
    /// `key remove ID --store S`
    Remove {
        /// Which: as `list` shows it.
        id: String,
    },
}

impl Key {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::NewSigner { json, .. } | Self::OfStore { json, .. } => *json,
        }
    }
}

/// `store init S`, and for those who type it so, `store init --store S`.
pub(super) fn store_init(given: &Given) -> Result<StoreInit, Usage> {
    let mut words = given.words.iter();
    if words.next().is_none_or(|w| w != "init") {
        return Err(Usage("`store` has one verb: `store init DIRECTORY`".into()));
    }
    let dir = match (words.next(), given.store.clone(), words.next()) {
        (Some(dir), None, None) => PathBuf::from(dir),
        (None, Some(dir), _) => dir,
        _ => return Err(Usage("`store init` needs one directory".into())),
    };
    let store = StoreAt { dir, unlock: given.unlock.clone(), sign_with: None, signers: Vec::new() };
    let encrypt = given.encrypt || given.unlock != UnlockBy::Asked;
    Ok(StoreInit { store, encrypt, probe: given.probe, json: given.json })
}

pub(super) fn key(given: &Given) -> Result<Key, Usage> {
    let (verb, words) = match given.words.split_first() {
        Some((verb, words)) => (verb.to_str().unwrap_or(""), words),
        None => ("", &[][..]),
    };
    let whole = format!("key {verb}");
    let json = given.json;
    let of_store = |verb| {
        let store = given.at().ok_or_else(|| Usage(format!("`{whole}` needs --store DIRECTORY")))?;
        Ok(Key::OfStore { store, verb, json })
    };
    match verb {
        "new-signer" => {
            nothing_else(&whole, words)?;
            if given.store.is_some() || given.unlock != UnlockBy::Asked {
                return Err(Usage("`key new-signer` needs no store".into()));
            }
            let out = given.out.clone().ok_or_else(|| Usage("`key new-signer` needs -o FILE".into()))?;
            Ok(Key::NewSigner { out, json })
        }
        "list" => {
            nothing_else(&whole, words)?;
            of_store(KeyVerb::List)
        }
        "add" => {
            nothing_else(&whole, words)?;
            of_store(KeyVerb::Add { new: given.new_key.clone(), label: given.label.clone() })
        }
        "remove" => match words {
            [id] => of_store(KeyVerb::Remove { id: id.to_string_lossy().into_owned() }),
            _ => Err(Usage("`key remove` needs the id of one key".into())),
        },
        _ => Err(Usage("`key` needs one of: list, add, remove, new-signer".into())),
    }
}

/// `forget [SNAP..] [--keep-.. N] [--dry-run | --yes] [--prune] --store S [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forget {
    /// What is to be forgotten.
    pub what: Forgetting,
    /// How it is approved.
    pub approval: ForgetApproval,
    /// Free their room then.
    pub prune: bool,
    /// Where.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

/// How forgetting is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgetApproval {
    /// By the person at the terminal, who is asked.
    Asked,
    /// `--dry-run`: not at all, the plan is all that is wanted.
    DryRun,
    /// `--yes`: whatever it is.
    Yes,
}

/// `show SNAP --store S [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Show {
    /// Which snapshot.
    pub snapshot: SnapRef,
    /// Where.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

/// `note SNAP --label TEXT | --pin | --unpin --store S [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// About which snapshot.
    pub snapshot: SnapRef,
    /// What.
    pub says: Vec<Says>,
    /// Where.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

/// Takes one `--keep-..`.
pub(super) fn keep(policy: &mut KeepPolicy, option: &str, value: &str) -> Result<(), Usage> {
    let rule = option.strip_prefix("keep-").unwrap_or(option);
    policy.set(rule, value).map_err(|right| Usage(format!("--{option} needs {right}, not {}", DisplayText::new(value))))
}

pub(super) fn forget(given: &Given, store: StoreAt) -> Result<Forget, Usage> {
    let what = match (given.words.is_empty(), given.keep.clone()) {
        (true, policy) => Forgetting::Policy(policy.unwrap_or_default()),
        (false, None) => Forgetting::Named(given.words.iter().cloned().map(named).collect::<Result<_, _>>()?),
        (false, Some(_)) => return Err(Usage("`forget` takes snapshots or what to keep, not both".into())),
    };
    let approval = match (given.dry_run, given.yes) {
        (false, false) => ForgetApproval::Asked,
        (true, false) => ForgetApproval::DryRun,
        (false, true) => ForgetApproval::Yes,
        (true, true) => return Err(Usage("only one of --dry-run and --yes can be given".into())),
    };
    Ok(Forget { what, approval, prune: given.prune, store, json: given.json })
}

pub(super) fn show(given: &Given, store: StoreAt) -> Result<Show, Usage> {
    let [snapshot] = given.words.as_slice() else {
        return Err(Usage("`show` needs one snapshot".into()));
    };
    Ok(Show { snapshot: named(snapshot.clone())?, store, json: given.json })
}

pub(super) fn note(given: &Given, store: StoreAt) -> Result<Note, Usage> {
    let [snapshot] = given.words.as_slice() else {
        return Err(Usage("`note` needs one snapshot".into()));
    };
    let snapshot = named(snapshot.clone())?;
    let mut says: Vec<Says> =
        given.label.iter().map(|l| Says::Label { text: DisplayText::new(l), automatic: false }).collect();
    match (given.pin, given.unpin) {
        (true, true) => return Err(Usage("only one of --pin and --unpin can be given".into())),
        (true, false) => says.push(Says::Pin),
        (false, true) => says.push(Says::Unpin),
        (false, false) if says.is_empty() => return Err(Usage("`note` needs --label, --pin or --unpin".into())),
        (false, false) => {}
    }
    Ok(Note { snapshot, says, store, json: given.json })
}
