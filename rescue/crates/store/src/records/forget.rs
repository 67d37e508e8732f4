//! Forgetting snapshots.

use crate::error::StoreError;
use crate::layout::snapshot_name;
use crate::store::Store;
use model::id::SnapshotId;
use model::inventory::InventoryEvent;
use model::ports::ObjectError;
use model::text::DisplayText;
use std::collections::BTreeSet;

/// What was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// The snapshots that are not there any more, each once.
    pub ids: Vec<SnapshotId>,
}

impl Store {
    /// Forgets snapshots: all of them or, where the first step fails, none. Their bytes stay until a prune. Ids of damaged and
    /// of missing snapshots are good too. Asks nothing: what must not be forgotten is [`model::retention`]'s and the
    /// caller's to know.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] with nothing changed where an id is not a snapshot's; [`StoreError::InUse`],
    /// [`StoreError::Full`] (not even after the index was given up), [`StoreError::Io`]. After an error in deleting a manifest
    /// it is forgotten all the same, and the next writer deletes it.
    pub fn forget(&self, ids: &[SnapshotId]) -> Result<Forgotten, StoreError> {
        let _hold = self.making_room(&|| self.hold())?;
        let ids: Vec<SnapshotId> = ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let inventory = self.inventory()?;
        for id in &ids {
            let name = snapshot_name(&self.seal().name(&id.0));
            let there = match self.objects().len(&name) {
                Ok(_) => true,
                Err(ObjectError::Missing(_)) => false,
                Err(e) => return Err(e.into()),
            };
            if !there && !inventory.standing.snapshots.contains_key(id) {
                let what = format!("snapshot {}", id.0.short(12));
                return Err(StoreError::NoSuch { what: DisplayText::new(&what) });
            }
        }
        if ids.is_empty() {
            return Ok(Forgotten::default());
        }
        self.making_room(&|| self.enter(InventoryEvent::Forget { ids: ids.clone() }))?;
        for id in &ids {
            self.objects().delete(&snapshot_name(&self.seal().name(&id.0)))?;
        }
        Ok(Forgotten { ids })
    }

    /// Does something that needs a little room. Where there is none, index objects make way, one after the other: they cost
    /// time and nothing else, and what is done here is the way to more room.
    pub(crate) fn making_room<T>(&self, act: &dyn Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        loop {
            match act() {
                Err(StoreError::Full { says }) => {
                    let Some(index) = self.objects().list("index")?.pop() else {
                        return Err(StoreError::Full { says });
                    };
                    self.objects().delete(&index)?;
                }
                done => return done,
            }
        }
    }
}
