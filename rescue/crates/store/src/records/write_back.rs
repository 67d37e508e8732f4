//! Write-backs: an intent before the first byte, a receipt after the last.

use super::record::RecordKind;
use super::{json, known_format, renamed};
use crate::error::StoreError;
use crate::layout::{digest_in, intent_name, receipt_name};
use crate::store::Store;
use model::id::{Digest, IntentId, SnapshotId};
use model::inventory::InventoryEvent;
use model::plan::Action;
use model::ports::ObjectName;
use model::snapshot::{Intent, Receipt};
use std::collections::{BTreeMap, BTreeSet, HashMap};

impl Store {
    /// Records, durably, that a write-back begins.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`] where it does not read back.
    pub fn put_intent(&self, intent: &Intent) -> Result<IntentId, StoreError> {
        let body = json::encode(intent, "an intent")?;
        let id = Intent::id(&body);
        self.put_again(RecordKind::Intent, &intent_name(&self.seal().name(&id.0)), &body)?;
        self.enter(InventoryEvent::Intent { id })?;
        Ok(id)
    }

    /// One intent.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Damaged`], [`StoreError::Newer`], [`StoreError::Io`].
    pub fn intent(&self, id: IntentId) -> Result<Intent, StoreError> {
        self.intent_at(&intent_name(&self.seal().name(&id.0)), &what_intent(id)).map(|(_, intent)| intent)
    }

    pub(super) fn intent_at(&self, name: &ObjectName, what: &str) -> Result<(IntentId, Intent), StoreError> {
        let body = self.read_record(RecordKind::Intent, name).map_err(|e| renamed(e, what))?;
        let id = Intent::id(&body);
        if intent_name(&self.seal().name(&id.0)) != *name {
            return Err(StoreError::damaged(format!("{what} does not match its name")));
        }
        let intent = self.decoder().intent(&body).map_err(|e| StoreError::decoding(what, e))?;
        known_format(intent.format, what)?;
        if !json::encode(&intent, what).is_ok_and(|again| again == body) {
            return Err(StoreError::damaged(format!("{what} was decoded to something else")));
        }
        Ok((id, intent))
    }

    /// Every write-back that was begun, in the order of their undo snapshots, with its receipt where it ended. A restore, which has none,
    /// comes behind what had the newest snapshot of then for one.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Damaged`] where the record of one without a receipt cannot be read or is gone:
    /// whether something is pending is then not known. (One that ended and is damaged is left out; `check` names it.)
    pub fn intents(&self) -> Result<Vec<(IntentId, Intent, Option<Receipt>)>, StoreError> {
        let counters: HashMap<SnapshotId, u64> =
            self.list()?.snapshots.iter().map(|(id, m)| (*id, m.counter)).collect();
        let mut known: BTreeMap<Digest, IntentId> =
            self.inventory()?.standing.intents.keys().map(|id| (self.seal().name(&id.0), *id)).collect();
        let mut found = Vec::new();
        for name in self.objects().list("intents")? {
            let Some(hashed) = digest_in(&name, intent_name) else { continue };
            known.remove(&hashed);
            let receipt = self.receipt_at(&receipt_name(&hashed), &format!("the receipt {}", hashed.short(12)));
            match (self.intent_at(&name, &what_intent(IntentId(hashed))), receipt) {
                (Ok((id, intent)), Ok(receipt)) => {
                    let receipt = receipt.map(|(receipt, sum)| self.entered(receipt, sum)).transpose()?;
                    found.push((id, intent, receipt));
                }
                (_, Err(e)) => return Err(e),
                (Err(e), Ok(None)) => return Err(e),
                (Err(StoreError::Io { says }), _) => return Err(StoreError::Io { says }),
                (Err(_), Ok(Some(_))) => {}
            }
        }
        for id in known.into_values() {
            if self.receipt(id)?.is_none() {
                return Err(StoreError::damaged(format!("{} is gone", what_intent(id))));
            }
        }
        found.sort_by_key(|(id, intent, _)| {
            let undo = intent.undo.map(|undo| counters.get(&undo).copied().unwrap_or(u64::MAX));
            (undo.or(intent.after).unwrap_or(u64::MAX), intent.undo.is_none(), intent.begun, *id)
        });
        Ok(found)
    }

    /// Records, durably, that a write-back ended.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where it ended before, in another way; [`StoreError::Full`], [`StoreError::Io`].
    pub fn put_receipt(&self, receipt: &Receipt) -> Result<(), StoreError> {
        let body = json::encode(receipt, "a receipt")?;
        let name = receipt_name(&self.seal().name(&receipt.intent.0));
        self.put_again(RecordKind::Receipt, &name, &body)?;
        self.enter(InventoryEvent::Receipt { intent: receipt.intent, sum: Digest::of(&body) })
    }

    /// The receipt of a write-back, where it ended.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] also where the inventory says that there must be one, or another; [`StoreError::Newer`],
    /// [`StoreError::Io`].
    pub fn receipt(&self, id: IntentId) -> Result<Option<Receipt>, StoreError> {
        let what = format!("the receipt of write-back {}", id.0.short(12));
        match self.receipt_at(&receipt_name(&self.seal().name(&id.0)), &what)? {
            Some((receipt, sum)) => self.entered(receipt, sum).map(Some),
            None => match self.inventory()?.standing.intents.get(&id) {
                Some(Some(_)) => {
                    Err(StoreError::damaged(format!("{what} is gone: the inventory says that it must be there")))
                }
                _ => Ok(None),
            },
        }
    }

    /// The receipt under a name, with the hash of its body.
    pub(super) fn receipt_at(&self, name: &ObjectName, what: &str) -> Result<Option<(Receipt, Digest)>, StoreError> {
        let body = match self.read_record(RecordKind::Receipt, name) {
            Ok(body) => body,
            Err(StoreError::NoSuch { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        let receipt = self.decoder().receipt(&body).map_err(|e| StoreError::decoding(what, e))?;
        known_format(receipt.format, what)?;
        if !json::encode(&receipt, what).is_ok_and(|again| again == body) {
            return Err(StoreError::damaged(format!("{what} was decoded to something else")));
        }
        if receipt_name(&self.seal().name(&receipt.intent.0)) != *name {
            return Err(StoreError::damaged(format!("{what} is of another one")));
        }
        Ok(Some((receipt, Digest::of(&body))))
    }

    /// The receipt, where the inventory does not know another one.
    fn entered(&self, receipt: Receipt, sum: Digest) -> Result<Receipt, StoreError> {
        match self.inventory()?.standing.intents.get(&receipt.intent) {
            Some(Some(known)) if *known != sum => {
                let what = receipt.intent.0.short(12);
                Err(StoreError::damaged(format!("the receipt of write-back {what} is not the one that was entered")))
            }
            _ => Ok(receipt),
        }
    }

    /// The snapshots that unfinished write-backs go to or back to.
    ///
    /// # Errors
    /// As [`Store::intents`].
    pub fn needed_by_write_backs(&self) -> Result<BTreeSet<SnapshotId>, StoreError> {
        let all = self.intents()?;
        let mut ended: BTreeSet<IntentId> = all.iter().filter(|(.., r)| r.is_some()).map(|(id, ..)| *id).collect();
        // One that was taken up by another ends with it. Records are in no order of time: each round finds at least one more.
        loop {
            let of = |i: &Intent| match i.plan.action {
                Action::Undo { of } | Action::Resume { of } => Some(of),
                Action::Restore { over } => over,
                Action::Rollback | Action::Repair | Action::Put => None,
            };
            let more: Vec<IntentId> =
                all.iter().filter(|(id, ..)| ended.contains(id)).filter_map(|(_, i, _)| of(i)).collect();
            let before = ended.len();
            ended.extend(more);
            if ended.len() == before {
                break;
            }
        }
        let open = all.iter().filter(|(id, ..)| !ended.contains(id));
        Ok(open.flat_map(|(_, intent, _)| intent.undo.into_iter().chain([intent.plan.to])).collect())
    }
}

fn what_intent(id: IntentId) -> String {
    format!("the record {} of a write-back", id.0.short(12))
}
