//! Holding the store: the lock where there is a real one, and a lease that tells a prune what a writer relies on.

use crate::error::StoreError;
use crate::layout::{lease_in, lease_name};
use crate::store::Store;
use model::ports::{ObjectError, ObjectName};

/// The right to write to a store, until it is dropped.
pub(crate) struct Hold {
    store: Store,
    lease: Option<ObjectName>,
    /// Let go of after the lease is deleted.
    _lock: Box<dyn Send>,
}

impl Store {
    /// Holds the store and puts the inventory in order, for one who deletes.
    pub(crate) fn hold(&self) -> Result<Hold, StoreError> {
        let lock = self.objects().lock()?;
        if self.objects().locks_out() {
            // Whoever put these held this lock, and does not any more.
            for (name, _) in self.leases()? {
                self.objects().delete(&name)?;
            }
        }
        self.settle()?;
        Ok(Hold { store: self.clone(), lease: None, _lock: lock })
    }

    /// Holds the store for one who saves: what is there now is not deleted under it.
    pub(crate) fn hold_to_save(&self) -> Result<Hold, StoreError> {
        let mut hold = self.hold()?;
        // The generation first, then the lease, then what is condemned: a prune that did not see this lease began no later
        // than one whose list is seen here.
        let generation = self.last_generation()?;
        let mut random = [0; 16];
        self.entropy().fill(&mut random).map_err(|e| StoreError::io(format!("there are no random bytes: {e}")))?;
        let name = lease_name(generation, &random);
        self.objects().put(&name, &[])?;
        hold.lease = Some(name);
        self.avoid_condemned()?;
        Ok(hold)
    }

    /// Every lease with its generation. Other names are ignored: nothing can be relied on through them.
    pub(crate) fn leases(&self) -> Result<Vec<(ObjectName, u64)>, StoreError> {
        let lease = |n: ObjectName| lease_in(&n).map(|generation| (n, generation));
        Ok(self.objects().list("leases")?.into_iter().filter_map(lease).collect())
    }
}

impl Hold {
    /// True where a prune may still see this writer. Asked before the manifest is put: without the lease packs may be gone.
    pub(crate) fn stands(&self) -> Result<(), StoreError> {
        let Some(lease) = &self.lease else { return Ok(()) };
        match self.store.objects().len(lease) {
            Ok(_) => Ok(()),
            Err(ObjectError::Missing(_)) => Err(StoreError::io(
                "this run took so long that prunes counted it as dead and may have deleted what it relies on; run it again",
            )),
            Err(e) => Err(e.into()),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(lease) = &self.lease {
            // One that stays costs room for a while, nothing else.
            let _ = self.store.objects().delete(lease);
        }
    }
}
