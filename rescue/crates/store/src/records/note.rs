//! Notes: what is said about snapshots after they were made.

use super::inventory::Inventory;
use super::record::RecordKind;
use super::{json, known_format};
use crate::error::StoreError;
use crate::layout::{digest_in, note_name};
use crate::store::Store;
use model::id::{Digest, SnapshotId};
use model::inventory::InventoryEvent;
use model::note::{Note, Noted, Says};
use model::ports::{ObjectName, UnixMicros};
use model::snapshot::FORMAT;
use std::collections::{BTreeMap, BTreeSet};

/// What is said of one kind: the last of it counts.
fn kind(says: &Says) -> u8 {
    match says {
        Says::Label { .. } => 0,
        Says::Pin | Says::Unpin => 1,
        Says::Proven { .. } | Says::Unproven { .. } => 2,
    }
}

impl Store {
    /// Says something about a snapshot, durably. `now` is for people; the order of notes is that of the inventory.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] where there is no such snapshot; [`StoreError::Full`], [`StoreError::Io`],
    /// [`StoreError::Damaged`].
    pub fn put_note(&self, about: SnapshotId, says: Says, now: UnixMicros) -> Result<(), StoreError> {
        self.manifest(about)?;
        let note = Note { format: FORMAT, about, says, noted: now };
        let body = json::encode(&note, "a note")?;
        let id = Digest::of(&body);
        self.put_again(RecordKind::Note, &note_name(&self.seal().name(&id)), &body)?;
        self.enter(InventoryEvent::Note { id })
    }

    /// Brings what counts of the notes about some snapshots into another store that has them, as it was said: of each kind the
    /// last note, where that store does not have it yet. There it counts from then on; what was said there after it came is
    /// not said over, and nothing is decided by a clock. Gives the snapshots something was brought of.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`]; a damaged note of this store is passed over.
    pub fn copy_notes(&self, to: &Self, about: &BTreeSet<SnapshotId>) -> Result<BTreeSet<SnapshotId>, StoreError> {
        let mut last: BTreeMap<(SnapshotId, u8), (usize, Digest, Note)> = BTreeMap::new();
        for (at, id) in self.inventory()?.standing.notes.iter().enumerate() {
            match self.note_at(&note_name(&self.seal().name(id))) {
                Ok((id, note)) if about.contains(&note.about) => {
                    last.insert((note.about, kind(&note.says)), (at, id, note));
                }
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Ok(_) | Err(_) => {}
            }
        }
        let there: BTreeSet<Digest> = to.inventory()?.standing.notes.into_iter().collect();
        let mut brought: Vec<_> = last.into_values().filter(|(_, id, _)| !there.contains(id)).collect();
        brought.sort_unstable_by_key(|(at, ..)| *at);
        for (_, id, note) in &brought {
            let body = json::encode(note, "a note")?;
            to.put_again(RecordKind::Note, &note_name(&to.seal().name(id)), &body)?;
            to.enter(InventoryEvent::Note { id: *id })?;
        }
        Ok(brought.into_iter().map(|(_, _, note)| note.about).collect())
    }

    /// The note that lies under a name.
    pub(super) fn note_at(&self, name: &ObjectName) -> Result<(Digest, Note), StoreError> {
        let body = self.read_record(RecordKind::Note, name)?;
        let (id, what) = (Digest::of(&body), name.as_str());
        if note_name(&self.seal().name(&id)) != *name {
            return Err(StoreError::damaged(format!("{what} does not match its name")));
        }
        let note = self.decoder().note(&body).map_err(|e| StoreError::decoding(what, e))?;
        known_format(note.format, what)?;
        if !json::encode(&note, what).is_ok_and(|again| again == body) {
            return Err(StoreError::damaged(format!("{what} was decoded to something else")));
        }
        Ok((id, note))
    }

    /// What notes come to, by snapshot, and what is wrong with them.
    pub(super) fn noted(
        &self,
        inventory: &Inventory,
    ) -> Result<(BTreeMap<SnapshotId, Noted>, Vec<String>), StoreError> {
        let mut damage = Vec::new();
        let mut there: BTreeSet<ObjectName> = BTreeSet::new();
        for name in self.objects().list("notes")? {
            match digest_in(&name, note_name) {
                Some(_) => {
                    there.insert(name);
                }
                None => damage.push(format!("{} is not the name of a note", name.as_str())),
            }
        }
        let mut names = Vec::new();
        for id in &inventory.standing.notes {
            let name = note_name(&self.seal().name(id));
            match there.remove(&name) {
                true => names.push(name),
                false => {
                    damage.push(format!("note {} is gone: the inventory says that it must be there", id.short(12)))
                }
            }
        }
        // Not entered yet: said last.
        names.extend(there);
        let mut noted: BTreeMap<SnapshotId, Noted> = BTreeMap::new();
        for name in names {
            match self.note_at(&name) {
                Ok((_, note)) => noted.entry(note.about).or_default().take(&note.says),
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(e) => damage.push(e.to_string()),
            }
        }
        Ok((noted, damage))
    }
}
