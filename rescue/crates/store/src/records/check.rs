//! What a check asks of records that are no snapshots.

use super::record::RecordKind;
use crate::error::StoreError;
use crate::layout::{aside_name, condemned_name, digest_in, intent_name, lease_in, numbered_in, receipt_name};
use crate::store::Store;
use model::id::Digest;
use model::ports::ObjectName;
use std::collections::{BTreeMap, BTreeSet};

impl Store {
    /// What is wrong with intents, receipts, asides and condemned lists. Snapshots, notes and the inventory itself are told by
    /// [`Store::list`].
    pub(crate) fn check_records(&self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let intents = self.names_of("intents", intent_name, &mut found)?;
        let receipts = self.names_of("receipts", receipt_name, &mut found)?;
        let asides = self.names_of("asides", aside_name, &mut found)?;
        for name in intents.values() {
            told(self.intent_at(name, name.as_str()), &mut found)?;
        }
        for (hashed, name) in &receipts {
            if told(self.receipt_at(name, name.as_str()), &mut found)?.is_some() && !intents.contains_key(hashed) {
                found.push(format!("receipt {} is of a write-back that is not recorded", hashed.short(12)));
            }
        }
        for name in asides.values() {
            told(self.stated(RecordKind::Aside, name), &mut found)?;
        }
        let inventory = self.inventory()?;
        for name in &inventory.torn {
            found.push(format!("{} cannot be read: it was cut off, or is damaged since", name.as_str()));
        }
        let standing = inventory.standing;
        for (id, sum) in &standing.intents {
            let hashed = self.seal().name(&id.0);
            if !intents.contains_key(&hashed) {
                found.push(format!("the record {} of a write-back is gone", id.0.short(12)));
            }
            let receipt = told(self.receipt(*id), &mut Vec::new())?.flatten();
            if sum.is_some() && receipt.is_none() {
                found.push(format!("the receipt of write-back {} is not the one that was entered", id.0.short(12)));
            }
        }
        let there: BTreeSet<&Digest> = asides.keys().collect();
        for id in &standing.asides {
            if !there.contains(&self.seal().name(id)) {
                found.push(format!("the stopped capture {} is gone", id.short(12)));
            }
        }
        for list in self.condemned_lists()? {
            if list.packs.is_none() {
                found.push(format!("{} cannot be read; nothing is deleted for it", list.name.as_str()));
            }
        }
        let strays = |kind: &str, good: &dyn Fn(&ObjectName) -> bool| -> Result<Vec<String>, StoreError> {
            let names = self.objects().list(kind)?;
            Ok(names.iter().filter(|n| !good(n)).map(stray).collect())
        };
        found.extend(strays("condemned", &|n| numbered_in(n, condemned_name).is_some())?);
        found.extend(strays("leases", &|n| lease_in(n).is_some())?);
        for (name, _) in self.leases()? {
            if self.objects().len(&name)?.0 > 0 {
                found.push(format!("{} is not empty", name.as_str()));
            }
        }
        Ok(found)
    }

    fn names_of(
        &self,
        kind: &str,
        expected: fn(&Digest) -> ObjectName,
        found: &mut Vec<String>,
    ) -> Result<BTreeMap<Digest, ObjectName>, StoreError> {
        let mut names = BTreeMap::new();
        for name in self.objects().list(kind)? {
            match digest_in(&name, expected) {
                Some(hashed) => {
                    names.insert(hashed, name);
                }
                None => found.push(stray(&name)),
            }
        }
        Ok(names)
    }
}

fn stray(name: &ObjectName) -> String {
    format!("{} is not the name of an object of this store; it was ignored", name.as_str())
}

/// Damage goes to the findings; what keeps the check from going on is an error.
fn told<T>(read: Result<T, StoreError>, found: &mut Vec<String>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Io { says }) => Err(StoreError::Io { says }),
        Err(e) => {
            found.push(e.to_string());
            Ok(None)
        }
    }
}
