//! The index of a store: which packs may hold a chunk.

use super::packs::Known;
use super::run::PageCache;
use super::state::State;
use super::upkeep::Upkeep;
use super::{Pack, PackNo, Source, Trust, key_of};
use crate::error::StoreError;
use model::id::Digest;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Bytes of pages that are kept.
const PAGES: usize = 4 * 1024 * 1024;
/// How often a lookup begins again because runs were replaced under it, besides once for each run that it finds damaged.
const AGAIN: usize = 16;

/// Which packs may hold which chunk. Shared by threads: nothing is read or written while a lock is held that a lookup takes.
pub(crate) struct Index {
    state: RwLock<State>,
    pub(super) pages: PageCache,
    /// Held by whoever reads or writes index objects other than by looking up.
    pub(super) upkeep: Mutex<Upkeep>,
}

impl Index {
    /// Reads the heads of the index objects, and the footers of packs that none of them names: those packs are of
    /// [`Trust::Unknown`]. Damaged index objects are as if they were not there.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the store cannot be listed or a footer cannot be read.
    #[cfg(test)]
    pub(crate) fn load(source: &dyn Source) -> Result<Self, StoreError> {
        let index = Self::new();
        index.refresh(source)?;
        Ok(index)
    }

    /// One that knows nothing yet.
    pub(crate) fn new() -> Self {
        Self { state: RwLock::default(), pages: PageCache::new(PAGES), upkeep: Mutex::new(Upkeep::default()) }
    }

    // Whatever changes the state leaves it usable at every step but for memory that ran out, which ends the program.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The packs that may hold a chunk: those known to be good first, bad ones last, each once, gone ones not at all.
    /// Usually none or one. Hints only: a footer proves them, or does not.
    ///
    /// # Errors
    /// [`StoreError::Io`] where a damaged index object was to be replaced by footers and the disk fails.
    pub(crate) fn candidates(&self, source: &dyn Source, id: &Digest) -> Result<Vec<PackNo>, StoreError> {
        let key = key_of(id);
        let mut left = AGAIN + self.state().runs.len();
        loop {
            let mut found = Vec::new();
            let runs = {
                let state = self.state();
                state.find(&key, &mut found);
                state.runs.clone()
            };
            let asked = runs
                .iter()
                .try_for_each(|run| run.find(source, &self.pages, &key, &mut found).map_err(|error| (run, error)));
            match asked {
                Ok(()) if found.is_empty() => return Ok(found),
                Ok(()) => return Ok(self.in_order(&found)),
                Err((_, error)) if left == 0 => return Err(error),
                Err((run, error)) => self.lose(source, run, &error)?,
            }
            left -= 1;
        }
    }

    fn in_order(&self, found: &[PackNo]) -> Vec<PackNo> {
        let state = self.state();
        let known = |no: &PackNo| state.packs.get(*no).filter(|k| k.present).map(|k| (k.pack.trust, *no));
        let mut order: Vec<(Trust, PackNo)> = found.iter().filter_map(known).collect();
        order.sort_unstable();
        order.dedup();
        order.into_iter().map(|(_, no)| no).collect()
    }

    /// A pack, where it is there.
    pub(crate) fn pack(&self, no: PackNo) -> Option<Pack> {
        self.state().packs.get(no).filter(|known| known.present).map(|known| known.pack)
    }

    /// The number of a pack that is there.
    pub(crate) fn number(&self, pack: &Digest) -> Option<PackNo> {
        let state = self.state();
        state.packs.number(pack).filter(|no| state.packs.get(*no).is_some_and(|known| known.present))
    }

    /// Names the set of the packs that are there: the hash of their ids, rising.
    pub(crate) fn set(&self) -> Digest {
        let state = self.state();
        let mut packs: Vec<[u8; 32]> =
            state.packs.iter().filter(|(_, k)| k.present).map(|(_, k)| k.pack.id.0).collect();
        packs.sort_unstable();
        Digest::of(packs.as_flattened())
    }

    /// Adds a pack with its chunks, or what is newly known of it. Chunks of verified packs are written out by the next
    /// [`Index::flush`]; a pack that is not read back yet is to be added as [`Trust::Unknown`] and again, with its chunks, once it
    /// is. Nothing is read or written here.
    pub(crate) fn add(&self, pack: &Digest, trust: Trust, ids: &[Digest]) -> PackNo {
        self.state_mut().add(pack, trust, ids)
    }

    /// True where [`Index::flush`] should be called soon. Where nobody does, memory is bounded all the same.
    pub(crate) fn is_due(&self) -> bool {
        self.state().is_due()
    }

    /// Says how far a pack is known to be good. One that is verified gets into an index object with the next
    /// [`Index::flush`], a bad one out of those that name it.
    pub(crate) fn set_trust(&self, no: PackNo, trust: Trust) {
        self.change(no, |known| known.pack.trust = trust);
    }

    /// Forgets a pack that was deleted.
    pub(crate) fn forget_pack(&self, no: PackNo) {
        self.change(no, |known| (known.present, known.touched) = (false, true));
    }

    fn change(&self, no: PackNo, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.state_mut().packs.get_mut(no) {
            change(known);
        }
    }
}
