//! Freeing what nothing needs: in two phases and by generations, so that nothing that a running writer counts on goes away,
//! whatever is cut off and whenever (docs/store-format.md, "Forgetting and pruning").
//!
//! A prune refuses a store in which any snapshot cannot be read whole: what it needs is then not known. And a pack that has
//! copies of live chunks goes only after the pack with the other copy was read back.

mod marks;
mod rewrite;
mod stats;

pub use stats::{SnapshotSpace, Stats};

use crate::error::StoreError;
use crate::layout::pack_name;
use crate::records::{Condemned, Needed};
use crate::store::Store;
use marks::{Bits, Ground};
use model::id::Digest;
use model::inventory::InventoryEvent;
use model::units::ByteLen;
use std::collections::{BTreeSet, HashMap};

/// Leases this many generations old are of dead writers.
const LEASE_LIFE: u64 = 8;

/// How a prune goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneOptions {
    /// Deletes what is dead at once, instead of condemning it for the next prune: only where the lock keeps every other writer
    /// out. A reader in another process may lose what it is just reading of a forgotten snapshot.
    pub now: bool,
    /// Packs of which more than so much in a hundred is dead are written again. 100: none.
    pub rewrite: u8,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self { now: false, rewrite: 50 }
    }
}

/// What a prune did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneReport {
    /// Its generation; 0 where it was stopped before it did anything.
    pub generation: u64,
    /// Packs deleted.
    pub deleted: usize,
    /// Their size.
    pub freed: ByteLen,
    /// Packs that the next prune will delete.
    pub condemned: usize,
    /// Their size.
    pub to_be_freed: ByteLen,
    /// Packs whose live chunks were written again: they are among the deleted or the condemned.
    pub rewritten: usize,
    /// About how much was written for that: what is deleted and condemned frees so much less.
    pub written: ByteLen,
    /// Packs that were to be deleted and are kept for a writer at work, or because the other copy of a chunk of theirs could
    /// not be read.
    pub kept: usize,
    /// False where it was stopped early. What is done is done, and the rest is for the next.
    pub complete: bool,
}

/// Told what is being done, and how much of how much; false stops.
pub type PruneProgress<'a> = &'a mut dyn FnMut(&str, usize, usize) -> bool;

struct Prune<'a> {
    store: &'a Store,
    /// Nothing is read whole, written or deleted: only said.
    dry: bool,
    ground: Ground<'a>,
    live: Bits,
    /// Packs that were read back whole in this prune, and whether they are good.
    proven: HashMap<usize, bool>,
    report: PruneReport,
}

impl Store {
    /// Frees what no snapshot and no aside needs.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Untrusted`], [`StoreError::Newer`] where a snapshot cannot be read whole (forget it
    /// first); [`StoreError::InUse`], [`StoreError::Full`], [`StoreError::Io`]. Whatever happens, no snapshot loses anything.
    pub fn prune(&self, options: PruneOptions, progress: PruneProgress<'_>) -> Result<PruneReport, StoreError> {
        let _hold = self.making_room(&|| self.hold())?;
        self.pruned(options, false, progress)
    }

    /// What [`Store::prune`] would do now, without touching anything. What only shows on the way is taken to go well: that
    /// there is room, and that no other writer is at work.
    ///
    /// # Errors
    /// As [`Store::prune`], but for [`StoreError::InUse`] and [`StoreError::Full`].
    pub fn would_prune(&self, options: PruneOptions, progress: PruneProgress<'_>) -> Result<PruneReport, StoreError> {
        self.pruned(options, true, progress)
    }

    fn pruned(&self, options: PruneOptions, dry: bool, progress: PruneProgress<'_>) -> Result<PruneReport, StoreError> {
        let locked = self.objects().locks_out();
        let now = options.now && locked;
        // Leases before manifests: a writer whose lease is not there any more has its manifest there.
        let generation = self.last_generation()?.saturating_add(1);
        let mut oldest = u64::MAX;
        for (name, begun) in self.leases()? {
            match begun.saturating_add(LEASE_LIFE) <= generation {
                // Whoever holds the lock finds none: they are of writers that died.
                _ if dry && locked => {}
                true if dry => {}
                true => self.objects().delete(&name)?,
                false => oldest = oldest.min(begun),
            }
        }
        let lists = self.condemned_lists()?;
        self.avoid(lists.iter().filter_map(|l| l.packs.as_ref()).flatten().copied().collect());
        // Manifests before packs: what a manifest names was there before it.
        let needed = self.needed_manifests()?;
        self.refresh()?;
        let stopped = PruneReport::default();
        let Some(ground) = Ground::survey(self, &mut || progress("reading what packs hold", 0, 0))? else {
            return Ok(stopped);
        };
        let live = ground.none();
        let mut prune = Prune { store: self, dry, ground, live, proven: HashMap::new(), report: stopped };
        if !prune.mark(&needed, progress)? {
            return Ok(prune.report);
        }
        prune.report.generation = generation;
        let done = prune.sweep(&lists, oldest, progress)? && prune.renew(options, generation, now, progress)?;
        prune.report.complete = done;
        let report = prune.report;
        self.refresh()?;
        Ok(report)
    }
}

impl Prune<'_> {
    /// Marks what snapshots and asides reach; false where it was stopped.
    fn mark(&mut self, all: &[Needed], progress: PruneProgress<'_>) -> Result<bool, StoreError> {
        for (n, needed) in all.iter().enumerate() {
            if !progress("looking at snapshots", n, all.len()) {
                return Ok(false);
            }
            let Some(manifest) = needed.read(self.store)? else { continue };
            let (ground, live) = (&mut self.ground, &mut self.live);
            let walked = ground.walk(&manifest, &mut |copies| live.set_all(copies));
            match walked {
                // A damaged aside is lost work, and holds nobody up.
                Err(StoreError::Damaged { .. }) if needed.is_aside() => {}
                walked => walked.map_err(|e| needed.blocks(e))?,
            }
        }
        Ok(true)
    }

    fn is_dead(&self, pack: usize) -> bool {
        !self.ground.bits_of(pack).any(|bit| self.live.get(bit))
    }

    /// The first phase: deletes what was condemned before and is still dead.
    fn sweep(&mut self, lists: &[Condemned], oldest: u64, progress: PruneProgress<'_>) -> Result<bool, StoreError> {
        for list in lists {
            let Some(packs) = &list.packs else {
                // Nobody can delete anything for it, and nobody is kept from anything by it.
                self.drop_list(list)?;
                continue;
            };
            let mut left = 0;
            for (n, pack) in packs.iter().enumerate() {
                let Some(no) = self.ground.number(pack) else { continue };
                if !self.is_dead(no) {
                    // A writer that began before it was condemned has counted on it: it is like any other again.
                    continue;
                }
                if !progress("deleting", n, packs.len()) {
                    return Ok(false);
                }
                if oldest < list.generation || !self.has_good_copies(no, &[])? {
                    left += 1;
                    self.report.kept += 1;
                } else {
                    self.delete(no)?;
                }
            }
            if left == 0 {
                self.drop_list(list)?;
            }
        }
        Ok(true)
    }

    /// The second phase: writes again what is mostly dead, and condemns what is dead or was written again.
    fn renew(
        &mut self,
        options: PruneOptions,
        generation: u64,
        now: bool,
        progress: PruneProgress<'_>,
    ) -> Result<bool, StoreError> {
        let fresh: Vec<usize> = (0..self.ground.packs.len()).filter(|p| !self.ground.packs[*p].condemned).collect();
        let dead: BTreeSet<usize> = fresh.iter().copied().filter(|p| self.is_dead(*p)).collect();
        let alive: Vec<usize> = fresh.into_iter().filter(|p| !dead.contains(p)).collect();
        // What is written again may be the very pack that a prune before this one wrote, and did not get to index.
        let avoided = self.ground.packs.iter().enumerate().filter(|(n, p)| p.condemned || dead.contains(n));
        self.store.avoid(avoided.map(|(_, p)| p.id).collect());
        let Some(rewritten) = self.rewrite(&alive, options.rewrite, progress)? else { return Ok(false) };
        self.report.rewritten = rewritten.len();
        for pack in &rewritten {
            let (live, _) = self.weigh(*pack)?;
            self.report.written.0 = self.report.written.0.saturating_add(live);
        }
        let all: Vec<usize> = dead.into_iter().chain(rewritten.iter().copied()).collect();
        if now {
            for (n, pack) in all.iter().enumerate() {
                if !progress("deleting", n, all.len()) {
                    return Ok(false);
                }
                match self.has_good_copies(*pack, &rewritten)? {
                    true => self.delete(*pack)?,
                    false => self.report.kept += 1,
                }
            }
        } else if !all.is_empty() {
            let packs: BTreeSet<Digest> = all.iter().map(|p| self.ground.packs[*p].id).collect();
            if !self.dry {
                self.store.making_room(&|| self.store.condemn(generation, &packs))?;
            }
            self.report.condemned = packs.len();
            self.report.to_be_freed =
                ByteLen(all.iter().map(|p| self.ground.packs[*p].len).fold(0, u64::saturating_add));
        }
        if !self.dry {
            self.store.making_room(&|| self.store.enter(InventoryEvent::Prune { generation }))?;
        }
        Ok(true)
    }

    /// What of a pack is live, and what it holds in all.
    fn weigh(&self, pack: usize) -> Result<(u64, u64), StoreError> {
        let (mut live, mut all) = (0u64, 0u64);
        for (bit, size) in self.ground.bits_of(pack).zip(self.ground.sizes(pack)?) {
            all = all.saturating_add(size);
            live = live.saturating_add(if self.live.get(bit) { size } else { 0 });
        }
        Ok((live, all))
    }

    fn drop_list(&self, list: &Condemned) -> Result<(), StoreError> {
        if self.dry { Ok(()) } else { Ok(self.store.objects().delete(&list.name)?) }
    }

    fn delete(&mut self, pack: usize) -> Result<(), StoreError> {
        let held = &self.ground.packs[pack];
        if !self.dry {
            self.store.objects().delete(&pack_name(&held.id))?;
        }
        self.report.deleted += 1;
        self.report.freed.0 = self.report.freed.0.saturating_add(held.len);
        Ok(())
    }

    /// True where every live chunk that a pack has too lies in another pack that was read back whole. What is live of `rewritten` packs was
    /// written again and read back: two of them may have the same chunks, and go one after the other.
    fn has_good_copies(&mut self, pack: usize, rewritten: &[usize]) -> Result<bool, StoreError> {
        let held = &self.ground.packs[pack];
        if !held.readable || self.dry {
            return Ok(true);
        }
        let ids: Vec<Digest> = self.store.read_footer(&held.id)?.chunks.iter().map(|c| c.id).collect();
        let mut others = BTreeSet::new();
        for id in ids {
            let copies = self.ground.copies(&id)?;
            let live = copies.into_iter().filter(|bit| self.live.get(*bit)).map(|bit| self.ground.pack_of(bit));
            others.extend(live.filter(|p| *p != pack && !rewritten.contains(p)));
        }
        for other in others {
            if !self.is_proven(other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_proven(&mut self, pack: usize) -> Result<bool, StoreError> {
        if let Some(good) = self.proven.get(&pack) {
            return Ok(*good);
        }
        let good = match self.store.prove_pack(&self.ground.packs[pack].id, &mut |_| true) {
            Ok(_) => true,
            Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
            Err(_) => false,
        };
        self.proven.insert(pack, good);
        Ok(good)
    }
}
