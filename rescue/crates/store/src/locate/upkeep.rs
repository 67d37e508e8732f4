//! Reading and writing index objects: what is new in the store, what is recent here, what is better merged.

use super::run::{Builder, Run, read_head};
use super::{Index, Key, PackNo, Source, Trust};
use crate::error::StoreError;
use crate::layout::{big, digest_in, index_name, pack_name, small};
use model::id::Digest;
use model::ports::ObjectError;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};

/// Bytes of heads in memory at most: those of more than a hundred million chunks. Index objects beyond are not used.
const MOST_HEADS: usize = 256 * 1024 * 1024;
/// Bytes that a pack takes in memory, about.
const PER_PACK: usize = 64;

/// What only one thread at a time needs.
#[derive(Default)]
pub(super) struct Upkeep {
    serial: u32,
    /// Index objects that are not used, and whether that is because they are damaged.
    lost: HashMap<Digest, bool>,
}

impl Upkeep {
    fn serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    pub(super) fn lose(&mut self, id: Digest, damaged: bool) {
        self.lost.insert(id, damaged);
    }
}

impl Index {
    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns of what other processes did: packs and index objects that came or are gone.
    ///
    /// # Errors
    /// As [`Index::load`]; what was known before stays.
    pub(crate) fn refresh(&self, source: &dyn Source) -> Result<(), StoreError> {
        self.refresh_with(&mut self.upkeep(), source)
    }

    pub(super) fn refresh_with(&self, up: &mut Upkeep, source: &dyn Source) -> Result<(), StoreError> {
        let done = self.read_store(up, source);
        if done.is_err() {
            // What could not be read for a fault that may pass is tried again.
            up.lost.retain(|_, damaged| *damaged);
        }
        done
    }

    fn read_store(&self, up: &mut Upkeep, source: &dyn Source) -> Result<(), StoreError> {
        self.state_mut().packs.iter_mut().for_each(|known| known.touched = false);
        // Index objects first: a pack is put before the index object that names it.
        let listed = source.objects().list("index")?;
        let listed: HashSet<Digest> = listed.iter().filter_map(|name| digest_in(name, index_name)).collect();
        let packs = source.objects().list("packs")?;
        up.lost.retain(|id, _| listed.contains(id));
        let runs = self.state().runs.clone();
        let loaded: HashSet<Digest> = runs.iter().map(|run| run.id).collect();
        let mut heads: usize = runs.iter().map(|run| run.size()).sum();
        let mut fresh = Vec::new();
        for id in listed.iter().filter(|id| !loaded.contains(id)) {
            if up.lost.contains_key(id) {
                continue;
            }
            match self.load_run(up, source, id, MOST_HEADS.saturating_sub(heads)) {
                Ok(Some(run)) => {
                    heads += run.size() + run.packs.len() * PER_PACK;
                    fresh.push(run);
                }
                Ok(None) => up.lose(*id, false),
                Err(error) => up.lose(*id, matches!(error, StoreError::Damaged { .. })),
            }
        }
        let gone: Vec<Digest> =
            loaded.iter().filter(|id| !listed.contains(id) || up.lost.contains_key(id)).copied().collect();
        {
            let state = &mut *self.state_mut();
            state.packs.iter_mut().filter(|known| !known.touched).for_each(|known| known.present = false);
            for id in packs.iter().filter_map(|name| digest_in(name, pack_name)) {
                let no = state.packs.meet(&id);
                if let Some(known) = state.packs.get_mut(no).filter(|known| !known.touched) {
                    known.present = true;
                }
            }
            state.replace(&[], fresh);
        }
        drop(packs);
        self.cover(source, &gone)?;
        if !gone.is_empty() {
            self.state_mut().replace(&gone, []);
        }
        Ok(())
    }

    /// Loads an index object; `None` where its head takes more than `room`.
    fn load_run(
        &self,
        up: &mut Upkeep,
        source: &dyn Source,
        id: &Digest,
        room: usize,
    ) -> Result<Option<Arc<Run>>, StoreError> {
        let head = read_head(source, id)?;
        if head.size() + head.packs.len() * PER_PACK > room {
            return Ok(None);
        }
        let serial = up.serial();
        Ok(Some(Arc::new(self.state_mut().bind(*id, head, serial))))
    }

    /// Reads the footers of packs that nothing here knows, or would know without the runs `gone`.
    fn cover(&self, source: &dyn Source, gone: &[Digest]) -> Result<(), StoreError> {
        let todo: Vec<(PackNo, Digest)> = {
            let state = self.state();
            let mut named = vec![false; state.packs.len()];
            for no in state.runs.iter().filter(|run| !gone.contains(&run.id)).flat_map(|run| run.packs.iter()) {
                if let Some(named) = named.get_mut(big(no.0)) {
                    *named = true;
                }
            }
            let left = state.packs.iter().zip(named).filter(|((_, known), named)| {
                known.present && !named && !known.held && !known.hinted && !known.unreadable
            });
            left.map(|((no, known), _)| (no, known.pack.id)).collect()
        };
        for (no, pack) in todo {
            let Some(ids) = self.ids(source, no, &pack)? else { continue };
            if !self.state_mut().hint(no, &ids) {
                break;
            }
        }
        Ok(())
    }

    /// A pack's chunks; `None`, and the pack is bad, where it cannot be told.
    fn ids(&self, source: &dyn Source, no: PackNo, pack: &Digest) -> Result<Option<Vec<Digest>>, StoreError> {
        match source.ids(pack) {
            Ok(ids) => Ok(Some(ids)),
            Err(StoreError::Io { says }) => Err(StoreError::Io { says }),
            Err(_) => {
                if let Some(known) = self.state_mut().packs.get_mut(no) {
                    known.unreadable = true;
                    known.pack.trust = Trust::Bad;
                }
                Ok(None)
            }
        }
    }

    /// Goes on without a run of which a page could not be read.
    pub(super) fn lose(&self, source: &dyn Source, run: &Run, error: &StoreError) -> Result<(), StoreError> {
        let up = &mut *self.upkeep();
        if self.state().runs.iter().any(|other| other.id == run.id) {
            up.lose(run.id, matches!(error, StoreError::Damaged { .. }));
            self.refresh_with(up, source)?;
        }
        Ok(())
    }

    /// Writes index objects for every verified pack that none names, merges small ones and those with many packs gone, and
    /// deletes what is replaced or damaged. Only while the store's lock is held. A cut at any point leaves duplicates, which the
    /// next call removes.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`]: nothing is lost by it, here or in the store.
    pub(crate) fn flush(&self, source: &dyn Source) -> Result<(), StoreError> {
        let up = &mut *self.upkeep();
        // Others may have replaced runs: what is merged and deleted below must be what is there.
        self.refresh_with(up, source)?;
        self.write_recent(up, source)?;
        let proven = self.verified(false);
        self.index_packs(up, source, &proven)?;
        self.compact(up, source)?;
        self.cover(source, &[])?;
        self.delete_damaged(up, source)
    }

    /// Writes the index anew from the footers of all packs, as if there had been no index objects: for when one is found to have
    /// lied. Only while the store's lock is held.
    ///
    /// # Errors
    /// As [`Index::flush`].
    pub(crate) fn rebuild(&self, source: &dyn Source) -> Result<(), StoreError> {
        let up = &mut *self.upkeep();
        self.refresh_with(up, source)?;
        let old: Vec<Digest> = self.state().runs.iter().map(|run| run.id).collect();
        let mut new = self.write_recent(up, source)?;
        let all = self.verified(true);
        new.extend(self.index_packs(up, source, &all)?);
        let gone: Vec<Digest> = old.into_iter().filter(|id| !new.contains(id)).collect();
        self.cover(source, &gone)?;
        self.state_mut().replace(&gone, []);
        delete(source, &gone)?;
        self.delete_damaged(up, source)
    }

    /// Packs that a run may name; with those that are in a run or on their way into one, or without.
    fn verified(&self, all: bool) -> Vec<(PackNo, Digest)> {
        let state = self.state();
        let wanted =
            state.packs.iter().filter(|(_, known)| known.may_be_named() && (all || !(known.named || known.held)));
        wanted.map(|(no, known)| (no, known.pack.id)).collect()
    }

    /// Reads footers and writes their chunks into index objects, a run at a time.
    fn index_packs(
        &self,
        up: &mut Upkeep,
        source: &dyn Source,
        packs: &[(PackNo, Digest)],
    ) -> Result<Vec<Digest>, StoreError> {
        let mut written = Vec::new();
        for (no, pack) in packs {
            let Some(ids) = self.ids(source, *no, pack)? else { continue };
            let is_due = {
                let state = &mut *self.state_mut();
                state.hold(*no, &ids);
                state.is_due()
            };
            if is_due {
                written.extend(self.write_recent(up, source)?);
            }
        }
        written.extend(self.write_recent(up, source)?);
        Ok(written)
    }

    /// Writes the recent entries into one index object: their number and that of their packs is bounded far below a run's.
    fn write_recent(&self, up: &mut Upkeep, source: &dyn Source) -> Result<Vec<Digest>, StoreError> {
        let (entries, packs) = {
            let state = &mut *self.state_mut();
            if state.recent.is_empty() {
                return Ok(Vec::new());
            }
            state.recent_packs = 0;
            state.leaving = Arc::new(std::mem::take(&mut state.recent).into_iter().collect());
            let mut packs: Vec<PackNo> = state.leaving.iter().map(|(_, no)| *no).collect();
            packs.sort_unstable();
            packs.dedup();
            (state.leaving.clone(), packs)
        };
        let written = self.write_entries(up, source, &entries, &packs);
        let state = &mut *self.state_mut();
        state.leaving = Arc::default();
        match written {
            Ok(run) => {
                for no in &packs {
                    if let Some(known) = state.packs.get_mut(*no) {
                        known.held = false;
                    }
                }
                let written = run.iter().map(|run| run.id).collect();
                state.replace(&[], run);
                Ok(written)
            }
            Err(error) => {
                state.recent_packs += packs.len();
                state.recent.extend(entries.iter().copied());
                Err(error)
            }
        }
    }

    fn write_entries(
        &self,
        up: &mut Upkeep,
        source: &dyn Source,
        entries: &[(Key, PackNo)],
        packs: &[PackNo],
    ) -> Result<Option<Arc<Run>>, StoreError> {
        let named = self.named_as(packs);
        let mut builder = Builder::new(source, named.iter().map(|(_, id)| *id).collect(), entries.len())?;
        for (key, no) in entries {
            if let Ok(pack) = named.binary_search_by_key(no, |(no, _)| *no) {
                builder.push(key, small(pack))?;
            }
        }
        builder.finish()?.map(|bytes| self.put_run(up, source, &bytes)).transpose()
    }

    /// Those of some packs that a run may name, in order, each once.
    pub(super) fn named_as(&self, packs: &[PackNo]) -> Vec<(PackNo, Digest)> {
        let state = self.state();
        let known = packs.iter().filter_map(|no| state.packs.get(*no).map(|known| (*no, known)));
        let mut named: Vec<_> = known.filter(|(_, k)| k.may_be_named()).map(|(no, k)| (no, k.pack.id)).collect();
        named.sort_unstable_by_key(|(no, _)| *no);
        named.dedup();
        named
    }

    /// Puts an index object and reads its head back.
    pub(super) fn put_run(&self, up: &mut Upkeep, source: &dyn Source, bytes: &[u8]) -> Result<Arc<Run>, StoreError> {
        let id = Digest::of(bytes);
        let name = index_name(&id);
        match source.objects().put(&name, bytes) {
            // A damaged object of this name, which is of no use to anybody.
            Err(ObjectError::Exists(_)) => {
                source.objects().delete(&name)?;
                source.objects().put(&name, bytes)?;
            }
            done => done?,
        }
        up.lost.remove(&id);
        let run = self.load_run(up, source, &id, usize::MAX)?;
        run.ok_or_else(|| StoreError::damaged(format!("{} was not kept", name.as_str())))
    }

    fn delete_damaged(&self, up: &mut Upkeep, source: &dyn Source) -> Result<(), StoreError> {
        let damaged: Vec<Digest> = up.lost.iter().filter(|(_, damaged)| **damaged).map(|(id, _)| *id).collect();
        delete(source, &damaged)?;
        up.lost.retain(|_, damaged| !*damaged);
        Ok(())
    }
}

pub(super) fn delete(source: &dyn Source, runs: &[Digest]) -> Result<(), StoreError> {
    runs.iter().try_for_each(|id| Ok(source.objects().delete(&index_name(id))?))
}
