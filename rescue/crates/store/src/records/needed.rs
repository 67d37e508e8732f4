//! What a prune must not take anything from.

use super::record::RecordKind;
use crate::error::StoreError;
use crate::layout::{aside_name, digest_in, snapshot_name};
use crate::store::Store;
use model::id::Digest;
use model::ports::ObjectName;
use model::snapshot::Manifest;
use std::collections::BTreeSet;

/// A manifest whose maps are needed.
pub(crate) struct Needed {
    kind: RecordKind,
    name: ObjectName,
}

impl Needed {
    /// The manifest; none where it was forgotten meanwhile, or where it is an aside that cannot be read.
    pub(crate) fn read(&self, store: &Store) -> Result<Option<Manifest>, StoreError> {
        match store.stated(self.kind, &self.name) {
            Ok(stated) => Ok(Some(stated.manifest)),
            Err(StoreError::NoSuch { .. }) => Ok(None),
            Err(StoreError::Damaged { .. }) if self.is_aside() => Ok(None),
            Err(e) => Err(self.blocks(e)),
        }
    }

    pub(crate) fn is_aside(&self) -> bool {
        self.kind == RecordKind::Aside
    }

    /// Why nothing can be freed.
    pub(crate) fn blocks(&self, e: StoreError) -> StoreError {
        match e {
            StoreError::Damaged { what } => StoreError::damaged(format!(
                "{}: {what}; what it needs is not known: forget it first",
                self.name.as_str()
            )),
            e => e,
        }
    }
}

impl Store {
    /// Every snapshot and every aside there is.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where a snapshot that must be there is not; [`StoreError::Io`].
    pub(crate) fn needed_manifests(&self) -> Result<Vec<Needed>, StoreError> {
        let inventory = self.inventory()?;
        inventory.writable()?;
        let hashed = |ids: &mut dyn Iterator<Item = &Digest>| -> BTreeSet<Digest> {
            ids.map(|id| self.seal().name(id)).collect()
        };
        let mut missing = hashed(&mut inventory.standing.snapshots.keys().map(|id| &id.0));
        let forgotten = hashed(&mut inventory.forgotten.iter().map(|id| &id.0));
        let mut needed = Vec::new();
        for name in self.objects().list("snapshots")? {
            let Some(hashed) = digest_in(&name, snapshot_name) else { continue };
            missing.remove(&hashed);
            if !forgotten.contains(&hashed) {
                needed.push(Needed { kind: RecordKind::Manifest, name });
            }
        }
        if let Some(gone) = missing.first() {
            let text = format!("snapshot {} is gone, and may come back: forget it first", gone.short(12));
            return Err(StoreError::damaged(text));
        }
        let asides = self.objects().list("asides")?;
        let asides = asides.into_iter().filter(|n| digest_in(n, aside_name).is_some());
        needed.extend(asides.map(|name| Needed { kind: RecordKind::Aside, name }));
        Ok(needed)
    }
}
