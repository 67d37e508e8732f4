//! What a run that was cut off left, put in order by the next writer.

use super::inventory::Inventory;
use super::record::RecordKind;
use crate::error::StoreError;
use crate::layout::{aside_name, digest_in, intent_name, note_name, receipt_name, snapshot_name};
use crate::store::Store;
use model::id::Digest;
use model::inventory::InventoryEvent;
use model::ports::ObjectName;
use std::collections::BTreeSet;

impl Store {
    /// Puts the inventory in order: enters valid records that have no entry, deletes manifests that are forgotten, and enters
    /// again what concurrent writers left beside the chain. What is damaged stays as it is, for `check` to tell.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        let inventory = self.inventory()?;
        inventory.writable()?;
        for name in &inventory.torn {
            // A put that was cut off, on a medium that leaves half of it. If it was whole once, its record is entered again below.
            self.objects().delete(name)?;
        }
        for event in &inventory.loose {
            self.enter(event.clone())?;
        }
        self.delete_forgotten(&inventory)?;
        for event in self.unentered(&inventory)? {
            self.enter(event)?;
        }
        Ok(())
    }

    /// Deletes the manifests of forgotten snapshots.
    pub(super) fn delete_forgotten(&self, inventory: &Inventory) -> Result<(), StoreError> {
        let there: BTreeSet<ObjectName> = match inventory.forgotten.is_empty() {
            true => BTreeSet::new(),
            false => self.objects().list("snapshots")?.into_iter().collect(),
        };
        for name in inventory.forgotten.iter().map(|id| snapshot_name(&self.seal().name(&id.0))) {
            if there.contains(&name) {
                self.objects().delete(&name)?;
            }
        }
        Ok(())
    }

    /// Events of valid records that are there without an entry, in an order in which they can have happened.
    fn unentered(&self, inventory: &Inventory) -> Result<Vec<InventoryEvent>, StoreError> {
        let standing = &inventory.standing;
        let names = |ids: &mut dyn Iterator<Item = &Digest>| -> BTreeSet<Digest> {
            ids.map(|id| self.seal().name(id)).collect()
        };
        let snapshots = names(&mut standing.snapshots.keys().map(|id| &id.0));
        let forgotten = names(&mut inventory.forgotten.iter().map(|id| &id.0));
        let asides = names(&mut standing.asides.iter());
        let intents = names(&mut standing.intents.keys().map(|id| &id.0));
        let ended = names(&mut standing.intents.iter().filter(|(_, sum)| sum.is_some()).map(|(id, _)| &id.0));
        let notes = names(&mut standing.notes.iter());
        let mut events = Vec::new();
        for (name, hashed) in self.named_in("snapshots", snapshot_name)? {
            if !snapshots.contains(&hashed) && !forgotten.contains(&hashed) {
                let stated = usable(self.stated(RecordKind::Manifest, &name))?;
                events.extend(stated.map(|s| InventoryEvent::Snapshot {
                    id: s.id,
                    counter: s.manifest.counter,
                    packs: None,
                }));
            }
        }
        for (name, hashed) in self.named_in("asides", aside_name)? {
            if !asides.contains(&hashed) {
                let stated = usable(self.stated(RecordKind::Aside, &name))?;
                events.extend(stated.map(|s| InventoryEvent::Aside { id: s.id.0 }));
            }
        }
        for (name, hashed) in self.named_in("intents", intent_name)? {
            if !intents.contains(&hashed) {
                let intent = usable(self.intent_at(&name, "a write-back"))?;
                events.extend(intent.map(|(id, _)| InventoryEvent::Intent { id }));
            }
        }
        for (name, hashed) in self.named_in("receipts", receipt_name)? {
            if !ended.contains(&hashed) {
                let receipt = usable(self.receipt_at(&name, "a receipt"))?.flatten();
                events.extend(receipt.map(|(r, sum)| InventoryEvent::Receipt { intent: r.intent, sum }));
            }
        }
        for (name, hashed) in self.named_in("notes", note_name)? {
            if !notes.contains(&hashed) {
                let note = usable(self.note_at(&name))?;
                events.extend(note.map(|(id, _)| InventoryEvent::Note { id }));
            }
        }
        Ok(events)
    }

    fn named_in(
        &self,
        kind: &str,
        expected: fn(&Digest) -> ObjectName,
    ) -> Result<Vec<(ObjectName, Digest)>, StoreError> {
        let named = |n: ObjectName| digest_in(&n, expected).map(|d| (n, d));
        Ok(self.objects().list(kind)?.into_iter().filter_map(named).collect())
    }
}

/// What can be used; damage is none, but what keeps from knowing is an error.
fn usable<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Io { says }) => Err(StoreError::Io { says }),
        Err(_) => Ok(None),
    }
}
