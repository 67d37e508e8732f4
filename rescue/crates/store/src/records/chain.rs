//! Reading the inventory: from its newest entry back to the last checkpoint, then forward again.
//!
//! On a place without a real lock two writers may enter something at once, under the same number. The entry that the next
//! one follows is the chain's, the other stands beside it: it counts, and the next writer enters it again at the end.

use super::record::RecordKind;
use super::{json, known_format};
use crate::error::StoreError;
use crate::layout::{entry_name, numbered_in};
use crate::store::Store;
use model::id::Digest;
use model::inventory::{InventoryEntry, InventoryEvent};
use model::ports::ObjectName;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

/// An entry as it was read, with the hash of its body.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) digest: Digest,
    pub(super) entry: InventoryEntry,
}

/// The newest part of the inventory.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The entries that follow each other, oldest first: from the last checkpoint on, or from the first.
    pub(super) links: Vec<Arc<Link>>,
    /// Those beside them, by rising number.
    pub(super) beside: Vec<Arc<Link>>,
    /// Entries behind the newest readable one that cannot be read: cut off, or spoilt since.
    pub(super) torn: Vec<ObjectName>,
    /// What is wrong with the rest.
    pub(super) damage: Vec<String>,
    /// A format newer than this program's that an entry has.
    pub(super) newer: Option<u32>,
    /// Every entry's name there is, by number.
    pub(super) names: BTreeMap<u64, Vec<ObjectName>>,
}

impl Store {
    /// Reads the newest part of the inventory. Entries read before are remembered.
    pub(super) fn chain(&self) -> Result<Chain, StoreError> {
        let mut chain = Chain::default();
        for name in self.objects().list("inventory")? {
            match numbered_in(&name, entry_name) {
                Some((number, _)) if number > 0 => chain.names.entry(number).or_default().push(name),
                _ => chain.damage.push(format!("{} is not the name of an entry of the inventory", name.as_str())),
            }
        }
        let mut remembered = HashMap::new();
        let names = std::mem::take(&mut chain.names);
        let mut above: Option<(u64, Option<Digest>)> = None;
        for (number, names) in names.iter().rev() {
            if let Some((next, _)) = above
                && next != number + 1
            {
                chain.damage.push(missing(number + 1, next - 1));
                above = None;
            }
            let mut links = Vec::new();
            for name in names {
                match self.link(*number, name) {
                    Ok(link) => {
                        remembered.insert(name.clone(), link.clone());
                        links.push(link);
                    }
                    Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                    Err(StoreError::Newer { found }) => chain.newer = Some(found),
                    Err(_) if chain.links.is_empty() && chain.newer.is_none() => chain.torn.push(name.clone()),
                    Err(e) => chain.damage.push(format!("entry {number} of the inventory: {e}")),
                }
            }
            links.sort_by_key(|l| l.digest);
            let wanted = above.and_then(|(_, before)| before);
            let found = wanted.map_or(Some(0), |w| links.iter().position(|l| l.digest == w));
            if links.is_empty() {
                above = (!chain.links.is_empty()).then_some((*number, None));
                continue;
            }
            if found.is_none() {
                chain
                    .damage
                    .push(format!("entry {number} of the inventory is not the one that the next entry follows"));
            }
            let link = links.remove(found.unwrap_or(0));
            chain.beside.extend(links.into_iter().rev());
            above = Some((*number, link.entry.before));
            let ends = matches!(link.entry.event, InventoryEvent::Checkpoint(_));
            chain.links.push(link);
            if ends {
                break;
            }
        }
        if let Some(first) = chain.links.last()
            && !matches!(first.entry.event, InventoryEvent::Checkpoint(_))
            && first.entry.number > 1
        {
            chain.damage.push(missing(1, first.entry.number - 1));
        }
        chain.links.reverse();
        chain.beside.reverse();
        chain.names = names;
        *self.records().entries.lock().unwrap_or_else(PoisonError::into_inner) = remembered;
        Ok(chain)
    }

    /// One entry.
    fn link(&self, number: u64, name: &ObjectName) -> Result<Arc<Link>, StoreError> {
        if let Some(link) = self.records().entries.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(link.clone());
        }
        let what = format!("entry {number} of the inventory");
        let body = self.read_record(RecordKind::Entry, name)?;
        let digest = Digest::of(&body);
        let bad = |why: &str| StoreError::damaged(format!("{what} {why}"));
        if entry_name(number, &self.seal().name(&digest)) != *name {
            return Err(bad("does not match its name"));
        }
        let entry = self.decoder().inventory_entry(&body).map_err(|e| StoreError::decoding(&what, e))?;
        known_format(entry.format, &what)?;
        if !json::encode(&entry, &what).is_ok_and(|again| again == body) {
            return Err(bad("was decoded to something else"));
        }
        if entry.number != number || entry.before.is_none() != (number == 1) {
            return Err(bad("has another number"));
        }
        Ok(Arc::new(Link { digest, entry }))
    }

    /// Reads every entry again from the store next time, as a check must.
    pub(crate) fn forget_entries(&self) {
        self.records().entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn missing(first: u64, last: u64) -> String {
    match first == last {
        true => format!("entry {first} of the inventory is gone: records may be gone with it"),
        false => format!("entries {first} to {last} of the inventory are gone: records may be gone with them"),
    }
}
