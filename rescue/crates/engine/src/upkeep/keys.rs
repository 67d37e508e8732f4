//! The keys of an encrypted store.

use crate::jobs::{Done, Jobs};
use crate::run::Stop;
use crate::store_place::StorePlace;
use crate::worker::Desk;
use model::command::ExitCode;
use model::text::DisplayText;
use model::upkeep::{Kept, KeyLine};
use store::Store;

fn sealed(store: &Store) -> Done<()> {
    if store.is_encrypted() {
        return Ok(());
    }
    let advice = "only a new store can be encrypted: `holdfast store init --encrypt`";
    Err(Stop::failed(ExitCode::Refused, "the store is not encrypted: it has no keys", advice))
}

pub(super) fn keys(store: &Store, added: Option<String>) -> Done<Kept> {
    sealed(store)?;
    let keys = store.keys()?.into_iter().map(|slot| KeyLine { id: slot.id, label: slot.label }).collect();
    Ok(Kept::Keys { keys, added })
}

pub(super) fn add_key(jobs: &Jobs, label: &DisplayText, desk: &Desk) -> Done<Kept> {
    let store = jobs.store_to_write(desk)?;
    sealed(&store)?;
    let access = jobs.config.store.as_ref().map(StorePlace::access).unwrap_or_default();
    let (Some(have), Some(new)) = (access.unlock, access.new_key) else {
        let says = "there is no new key to add";
        return Err(Stop::failed(ExitCode::Refused, says, "give a passphrase or a key file for it"));
    };
    let added = store.add_key(&have, &new, label.as_str())?;
    keys(&store, Some(added))
}

pub(super) fn remove_key(store: &Store, id: &str) -> Done<Kept> {
    sealed(store)?;
    let slots = store.keys()?;
    let found: Vec<_> = slots.iter().filter(|slot| !id.is_empty() && slot.id.starts_with(id)).collect();
    let refused = |says: String, advice: &str| Err(Stop::failed(ExitCode::Refused, says, advice));
    match found.as_slice() {
        [] => refused(format!("there is no key {}", DisplayText::new(id)), "`holdfast key list` lists them"),
        [_] if slots.len() == 1 => {
            refused("it is the only key: nothing would open the store any more".into(), "add another one first")
        }
        [one] => {
            store.remove_key(&one.id)?;
            keys(store, None)
        }
        many => refused(format!("{} keys begin with {}", many.len(), DisplayText::new(id)), "give more digits"),
    }
}
