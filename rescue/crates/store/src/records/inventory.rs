//! What the inventory comes to, and entering something into it.

use super::chain::Chain;
use super::json;
use super::record::RecordKind;
use crate::error::StoreError;
use crate::layout::entry_name;
use crate::store::Store;
use model::id::{Digest, IntentId, SnapshotId};
use model::inventory::{Head, InventoryEntry, InventoryEvent, Standing};
use model::ports::ObjectName;
use model::snapshot::FORMAT;
use std::collections::{BTreeMap, BTreeSet};

/// Entries between two checkpoints: what is read to know the store is at most this much.
const CHECKPOINT: usize = 256;
/// Where something is wrong between the last checkpoint and now, it is told for so many entries more before it is left behind.
const WITH_DAMAGE: usize = 4096;
/// How often something is tried again where another writer was faster.
const TRIES: usize = 16;

/// Everything that must be there.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) counter: u64,
    pub(crate) generation: u64,
    pub(crate) packs: Option<Digest>,
    pub(crate) unbroken: u64,
    pub(crate) snapshots: BTreeMap<SnapshotId, u64>,
    pub(crate) asides: BTreeSet<Digest>,
    pub(crate) intents: BTreeMap<IntentId, Option<Digest>>,
    /// In the order in which they count.
    pub(crate) notes: Vec<Digest>,
}

/// The inventory as it stands.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) standing: State,
    /// Forgotten since the last checkpoint: a manifest of one of these that is still there is none.
    pub(crate) forgotten: BTreeSet<SnapshotId>,
    pub(crate) head: Option<Head>,
    /// What is wrong with it.
    pub(crate) damage: Vec<String>,
    /// Events of writers that were beside the chain and are not entered in it yet.
    pub(super) loose: Vec<InventoryEvent>,
    /// Objects behind the head that are no entries.
    pub(super) torn: Vec<ObjectName>,
    newer: Option<u32>,
    /// Entries since the last checkpoint, and that one's number.
    since: usize,
    checkpoint: Option<u64>,
    names: BTreeMap<u64, Vec<ObjectName>>,
}

impl State {
    fn of(s: &Standing) -> Self {
        Self {
            counter: s.counter,
            generation: s.generation,
            packs: s.packs,
            unbroken: s.unbroken,
            snapshots: s.snapshots.iter().copied().collect(),
            asides: s.asides.iter().copied().collect(),
            intents: s.intents.iter().copied().collect(),
            notes: s.notes.clone(),
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            counter: self.counter,
            generation: self.generation,
            packs: self.packs,
            unbroken: self.unbroken,
            snapshots: self.snapshots.iter().map(|(id, counter)| (*id, *counter)).collect(),
            asides: self.asides.iter().copied().collect(),
            intents: self.intents.iter().map(|(id, sum)| (*id, *sum)).collect(),
            notes: self.notes.clone(),
        }
    }
}

impl Inventory {
    fn of(chain: Chain) -> Self {
        let mut inventory = Self {
            head: chain.links.last().map(|l| Head { number: l.entry.number, digest: l.digest }),
            damage: chain.damage,
            torn: chain.torn,
            newer: chain.newer,
            names: chain.names,
            since: chain.links.len(),
            ..Self::default()
        };
        if let Some(found) = chain.newer {
            let what = StoreError::Newer { found };
            inventory.damage.push(format!("the inventory: {what}"));
        }
        let mut beside = chain.beside.iter().peekable();
        for (at, link) in chain.links.iter().enumerate() {
            if let InventoryEvent::Checkpoint(standing) = &link.entry.event {
                inventory.standing = State::of(standing);
                inventory.checkpoint = Some(link.entry.number);
                inventory.since = chain.links.len() - at - 1;
            }
            inventory.apply(&link.entry.event);
            while let Some(other) = beside.next_if(|o| o.entry.number <= link.entry.number) {
                let entered = chain.links[at + 1..].iter().any(|l| l.entry.event == other.entry.event);
                if !entered && !matches!(other.entry.event, InventoryEvent::Checkpoint(_)) {
                    inventory.apply(&other.entry.event);
                    inventory.loose.push(other.entry.event.clone());
                }
            }
        }
        inventory
    }

    fn apply(&mut self, event: &InventoryEvent) {
        let s = &mut self.standing;
        match event {
            InventoryEvent::Snapshot { id, counter, packs } => {
                // Packs that nobody speaks of here came or went before it was begun.
                if s.packs.is_none() || s.packs != packs.map(|p| p.before) {
                    s.unbroken = s.unbroken.max(*counter);
                }
                s.packs = packs.map(|p| p.after);
                s.counter = s.counter.max(*counter);
                s.snapshots.insert(*id, *counter);
                self.forgotten.remove(id);
            }
            InventoryEvent::Forget { ids } => {
                ids.iter().for_each(|id| {
                    s.snapshots.remove(id);
                });
                self.forgotten.extend(ids);
            }
            InventoryEvent::Aside { id } => {
                s.asides.insert(*id);
            }
            InventoryEvent::DropAside { id } => {
                s.asides.remove(id);
            }
            InventoryEvent::Intent { id } => {
                s.intents.entry(*id).or_default();
            }
            InventoryEvent::Receipt { intent, sum } => {
                s.intents.insert(*intent, Some(*sum));
            }
            InventoryEvent::Note { id } => {
                s.notes.retain(|n| n != id);
                s.notes.push(*id);
            }
            InventoryEvent::Prune { generation } => s.generation = s.generation.max(*generation),
            InventoryEvent::Checkpoint(_) => {}
        }
    }

    /// True where a checkpoint should come next.
    fn is_due(&self) -> bool {
        self.since >= if self.damage.is_empty() { CHECKPOINT } else { WITH_DAMAGE }
    }

    /// Refuses to write where a newer program wrote what this one cannot read.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        self.newer.map_or(Ok(()), |found| Err(StoreError::Newer { found }))
    }
}

impl Store {
    /// The inventory as it stands. What is wrong with it is in it; an error is only where it cannot be read at all.
    pub(crate) fn inventory(&self) -> Result<Inventory, StoreError> {
        self.chain().map(Inventory::of)
    }

    /// True where every pack that was there when a snapshot was recorded still is, and none came untold: what that snapshot relies on is
    /// as whole as it was then. By the names of packs alone: their bytes are for [`Store::check`] to prove.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn is_unbroken(&self, since: SnapshotId) -> Result<bool, StoreError> {
        self.was_unbroken(since, self.index().set())
    }

    /// The same of a moment when there were these packs.
    pub(crate) fn was_unbroken(&self, since: SnapshotId, packs: Digest) -> Result<bool, StoreError> {
        let standing = self.inventory()?.standing;
        let recorded = standing.snapshots.get(&since).is_some_and(|counter| *counter >= standing.unbroken);
        Ok(recorded && standing.packs == Some(packs))
    }

    /// The newest entry of the inventory, to be remembered outside the store; none in a store that nothing was entered into.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn head(&self) -> Result<Option<Head>, StoreError> {
        Ok(self.inventory()?.head)
    }

    /// Refuses a store that was replaced as a whole by an older copy of itself, or by another history of it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where it is not a later state of the store whose head was `remembered`; [`StoreError::Io`].
    pub fn verify_head(&self, remembered: Head) -> Result<(), StoreError> {
        let inventory = self.inventory()?;
        let number = inventory.head.map_or(0, |h| h.number);
        if number < remembered.number {
            return Err(StoreError::damaged(format!(
                "it is older than when it was last seen: its inventory ends at entry {number}, and had entry {} then. \
                 Somebody put an older copy in its place, or its newest records are lost",
                remembered.number
            )));
        }
        let there = inventory.names.get(&remembered.number).map_or(&[][..], Vec::as_slice);
        let same = entry_name(remembered.number, &self.seal().name(&remembered.digest));
        // Entries from before the last checkpoint but one are deleted in time: then there is nothing to compare.
        let oldest = inventory.names.keys().next().copied().unwrap_or(0);
        if remembered.number >= oldest && !there.contains(&same) {
            return Err(StoreError::damaged(format!(
                "it has another history than when it was last seen: entry {} of its inventory is another one",
                remembered.number
            )));
        }
        Ok(())
    }

    /// Enters an event at the end of the inventory.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`] where it does not read back.
    pub(crate) fn enter(&self, event: InventoryEvent) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let inventory = self.inventory()?;
            inventory.writable()?;
            if inventory.is_due() {
                // Before anything is left out, nothing that was forgotten may be there any more.
                self.delete_forgotten(&inventory)?;
                let standing = inventory.standing.standing();
                self.append(&inventory, InventoryEvent::Checkpoint(standing))?;
                self.trim(&inventory)?;
                continue;
            }
            match self.append(&inventory, event.clone()) {
                // Another writer put the very same entry: what it says is entered, once for both, but this one may come later.
                Err(StoreError::Exists { .. }) => {}
                done => return done,
            }
        }
        Err(StoreError::io("other writers were faster each time something was to be entered into the inventory"))
    }

    fn append(&self, inventory: &Inventory, event: InventoryEvent) -> Result<(), StoreError> {
        let number = inventory.head.map_or(0, |h| h.number);
        let number = number.checked_add(1).ok_or_else(|| StoreError::damaged("the inventory has no number left"))?;
        let entry = InventoryEntry { format: FORMAT, number, before: inventory.head.map(|h| h.digest), event };
        let body = json::encode(&entry, "an entry of the inventory")?;
        let name = entry_name(number, &self.seal().name(&Digest::of(&body)));
        self.put_record(RecordKind::Entry, &name, &body).inspect_err(|e| {
            if !matches!(e, StoreError::Exists { .. }) {
                // Whatever lies there is not what was to be: it must not become part of the chain.
                let _ = self.objects().delete(&name);
            }
        })
    }

    /// Deletes the entries before the last checkpoint but one, which a newer one has just followed.
    fn trim(&self, before: &Inventory) -> Result<(), StoreError> {
        let Some(last) = before.checkpoint else { return Ok(()) };
        for name in before.names.range(..last).flat_map(|(_, names)| names) {
            self.objects().delete(name)?;
        }
        Ok(())
    }
}
