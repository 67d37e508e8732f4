//! Asides: what a stopped capture had saved, to be gone on with.

use super::manifest::Stated;
use super::record::RecordKind;
use crate::error::StoreError;
use crate::layout::{aside_name, digest_in};
use crate::store::Store;
use model::id::Digest;
use model::inventory::InventoryEvent;
use model::snapshot::{Machine, Manifest};

impl Store {
    /// Puts aside what was saved so far of a snapshot that is not finished, in the place of what was put aside of the machine
    /// before. Everything its maps name must be durable.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`]; nothing was put aside then.
    pub(crate) fn put_aside(&self, manifest: &mut Manifest) -> Result<Digest, StoreError> {
        self.number(manifest)?;
        let id = self.put_stated(RecordKind::Aside, manifest, None)?.0;
        // It is there whatever becomes of those before: they cost room until the next snapshot.
        let _ = self.drop_asides_of(&manifest.machine, Some(id));
        Ok(id)
    }

    /// What was put aside and can be read, oldest first. What cannot be read is lost work, and no damage to any snapshot.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn asides(&self) -> Result<Vec<(Digest, Manifest)>, StoreError> {
        Ok(self.readable_asides()?.into_iter().map(|stated| (stated.id.0, stated.manifest)).collect())
    }

    fn readable_asides(&self) -> Result<Vec<Stated>, StoreError> {
        let mut found = Vec::new();
        for name in self.objects().list("asides")? {
            if digest_in(&name, aside_name).is_none() {
                continue;
            }
            match self.stated(RecordKind::Aside, &name) {
                Ok(stated) => found.push(stated),
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(_) => {}
            }
        }
        found.sort_by_key(|s| (s.manifest.counter, s.manifest.taken, s.id));
        Ok(found)
    }

    /// The newest aside of a machine: what a capture should begin with. Where this store's signer is known, one that it signed:
    /// what is taken over from it will be signed again.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn newest_aside(&self, machine: &Machine) -> Result<Option<(Digest, Manifest)>, StoreError> {
        let own = self.trusting().signer.map(|key| key.id());
        let vouched = |s: &Stated| own.is_none_or(|own| s.signers.contains(&own));
        let found = self.readable_asides()?.into_iter().rev().find(|s| s.manifest.machine.is(machine) && vouched(s));
        Ok(found.map(|s| (s.id.0, s.manifest)))
    }

    /// Drops what was put aside of a machine, but for `keep`: a snapshot of it is recorded, or another aside.
    pub(super) fn drop_asides_of(&self, machine: &Machine, keep: Option<Digest>) -> Result<(), StoreError> {
        for (id, manifest) in self.asides()? {
            if manifest.machine.is(machine) && Some(id) != keep {
                self.enter(InventoryEvent::DropAside { id })?;
                self.objects().delete(&aside_name(&self.seal().name(&id)))?;
            }
        }
        Ok(())
    }
}
