//! The arguments of the verbs that look after a store and its keys.

use super::{Given, Usage, nothing_else};
use model::upkeep::ProbeSize;
use std::path::PathBuf;

/// `store init S [--probe [SIZE]] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInit {
    /// Its directory.
    pub store: PathBuf,
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
}

impl Key {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::NewSigner { json, .. } => *json,
        }
    }
}

/// `store init S`, and for those who type it so, `store init --store S`.
pub(super) fn store_init(given: &Given) -> Result<StoreInit, Usage> {
    let mut words = given.words.iter();
    if words.next().is_none_or(|w| w != "init") {
        return Err(Usage("`store` has one verb: `store init DIRECTORY`".into()));
    }
    let store = match (words.next(), given.store.clone(), words.next()) {
        (Some(dir), None, None) => PathBuf::from(dir),
        (None, Some(dir), _) => dir,
        _ => return Err(Usage("`store init` needs one directory".into())),
    };
    Ok(StoreInit { store, probe: given.probe, json: given.json })
}

pub(super) fn key(given: &Given) -> Result<Key, Usage> {
    let mut words = given.words.iter();
    match words.next().and_then(|w| w.to_str()) {
        Some("new-signer") => {
            nothing_else("key new-signer", words.as_slice())?;
            let out = given.out.clone().ok_or_else(|| Usage("`key new-signer` needs -o FILE".into()))?;
            Ok(Key::NewSigner { out, json: given.json })
        }
        _ => Err(Usage("`key` needs one of: new-signer".into())),
    }
}
