//! Asides: what a stopped capture had saved, to be gone on with.

use super::record::RecordKind;
use crate::error::StoreError;
use crate::layout::{aside_name, digest_in};
use crate::store::Store;
use model::id::Digest;
use model::inventory::InventoryEvent;
use model::snapshot::{Machine, Manifest};

impl Store {
    /// Puts aside what was saved so far of a snapshot that will not be finished now. Everything its maps name must be durable.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`]; nothing was put aside then.
    pub(crate) fn put_aside(&self, manifest: &mut Manifest) -> Result<Digest, StoreError> {
        self.number(manifest)?;
        Ok(self.put_stated(RecordKind::Aside, manifest)?.0)
    }

    /// What was put aside and can be read, oldest first. What cannot be read is lost work, and no damage to any snapshot.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn asides(&self) -> Result<Vec<(Digest, Manifest)>, StoreError> {
        let mut found = Vec::new();
        for name in self.objects().list("asides")? {
            if digest_in(&name, aside_name).is_none() {
                continue;
            }
            match self.stated(RecordKind::Aside, &name) {
                Ok(stated) => found.push((stated.id.0, stated.manifest)),
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(_) => {}
            }
        }
        found.sort_by_key(|(id, m)| (m.counter, m.taken, *id));
        Ok(found)
    }

    /// The newest aside of a machine: what a capture should begin with.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn newest_aside(&self, machine: &Machine) -> Result<Option<(Digest, Manifest)>, StoreError> {
        Ok(self.asides()?.into_iter().rev().find(|(_, m)| m.machine.is(machine)))
    }

    /// Drops what was put aside of a machine: a later snapshot of it is recorded.
    pub(super) fn drop_asides_of(&self, machine: &Machine) -> Result<(), StoreError> {
        for (id, manifest) in self.asides()? {
            if manifest.machine.is(machine) {
                self.enter(InventoryEvent::DropAside { id })?;
                self.objects().delete(&aside_name(&self.seal().name(&id)))?;
            }
        }
        Ok(())
    }
}
