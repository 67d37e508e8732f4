//! Repairing: what is damaged stays as it is, and what can be had again is stored anew beside it; a damaged manifest makes way
//! for the same one of another store, once everything that names is there and proven.
//!
//! In this order: every pack is read; chunks of damaged packs that still prove their names go into new packs; maps that are
//! still not whole are read from another store that has the same snapshot, whose writer stores what is nowhere good; packs
//! that no index object names are indexed, and damaged packs are left to the next prune.

mod salvage;

use crate::copy::{Over, feed};
use crate::error::StoreError;
use crate::layout::{digest_in, index_name, pack_name};
use crate::locate::{Source, Trust, read_head};
use crate::map::Sub;
use crate::node::Node;
use crate::records::maps;
use crate::store::Store;
use crate::writer::Writer;
use model::id::{Digest, SnapshotId};
use model::snapshot::{Manifest, MapRoot};
use model::text::DisplayText;
use model::units::ByteLen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Repaired {
    /// Packs whose bytes are not what their names say, and where anything is missing those that are gone. The next prune
    /// deletes those of them that nothing needs any more.
    pub damaged_packs: Vec<Digest>,
    /// Chunks of damaged packs that were good and were stored anew.
    pub salvaged: usize,
    /// Packs that no index object named and one does now.
    pub indexed: usize,
    /// Snapshots that were not whole and are now.
    pub healed: Vec<SnapshotId>,
    /// Snapshots that are still not whole, and why.
    pub missing: Vec<Missing>,
    /// Records that still cannot be read.
    pub unreadable: Vec<DisplayText>,
    /// False where the repair was stopped early: nothing is lost by that, and another one goes on.
    pub complete: bool,
}

/// A snapshot that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Which.
    pub snapshot: SnapshotId,
    /// What could not be healed and why.
    pub what: DisplayText,
}

/// Told bytes done and to do; returns false to stop.
type Progress<'a> = &'a mut dyn FnMut(ByteLen, ByteLen) -> bool;

impl Store {
    /// Writes again what is damaged or gone and can be had: from damaged packs, and from another store that has the same
    /// snapshots. Nothing is deleted but index objects, and damaged manifests that the other store has, and nothing is changed.
    /// `progress` is told bytes done and to do, of each part anew, and stops the
    /// repair by returning false.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::InUse`], [`StoreError::Io`]; [`StoreError::Damaged`] where what was written does
    /// not read back. What cannot be healed is in the report.
    pub fn repair(
        &self,
        from: Option<&Store>,
        progress: &mut dyn FnMut(ByteLen, ByteLen) -> bool,
    ) -> Result<Repaired, StoreError> {
        let mut writer = self.writer()?;
        let mut repair = Repair {
            store: self,
            known: HashMap::new(),
            good: Vec::new(),
            gone: Vec::new(),
            why: HashMap::new(),
            report: Repaired::default(),
        };
        if repair.read_packs(progress)? {
            let listing = self.list()?;
            let mut broken = Vec::new();
            for (id, manifest) in listing.snapshots {
                if !repair.is_whole(&manifest)? {
                    broken.push((id, manifest));
                }
            }
            repair.salvage()?;
            repair.index_packs()?;
            repair.condemn()?;
            if broken.is_empty() && listing.unusable.is_empty() {
                // Nobody misses what is gone: prunes delete packs that index objects still name.
                repair.report.damaged_packs.retain(|id| !repair.gone.contains(id));
            }
            repair.report.complete = repair.fetch(from, &broken, &mut writer, progress)?;
            repair.conclude(&broken)?;
            // A copy holds the store itself.
            drop(writer);
            if repair.report.complete {
                repair.report.complete = repair.records(from, &listing.unusable, progress)?;
            }
            repair.report.unreadable = self.list()?.damage;
        }
        Ok(repair.report)
    }
}

struct Repair<'a> {
    store: &'a Store,
    /// Whether parts of maps are whole, however many snapshots share them.
    known: HashMap<Sub, bool>,
    /// Packs that are what their names say.
    good: Vec<Digest>,
    /// Packs that index objects name and that are not there.
    gone: Vec<Digest>,
    /// Why a snapshot could not be healed.
    why: HashMap<SnapshotId, String>,
    report: Repaired,
}

/// Lets through what only means that the store cannot be reached or written to.
fn lost<T>(result: Result<T, StoreError>) -> Result<Result<T, StoreError>, StoreError> {
    match result {
        Err(e @ (StoreError::Io { .. } | StoreError::Full { .. } | StoreError::InUse { .. })) => Err(e),
        other => Ok(other),
    }
}

impl Repair<'_> {
    /// Reads every pack; false where the caller stopped it.
    fn read_packs(&mut self, progress: Progress<'_>) -> Result<bool, StoreError> {
        let names = self.store.objects().list("packs")?;
        let mut there = Vec::new();
        for id in names.iter().filter_map(|n| digest_in(n, pack_name)) {
            there.push((id, self.store.objects().len(&pack_name(&id))?.0));
        }
        let total = ByteLen(there.iter().fold(0, |n, (_, len)| n.saturating_add(*len)));
        let mut done = 0u64;
        for (id, _) in &there {
            let read = self.store.prove_pack(id, &mut |len| {
                done = done.saturating_add(len);
                progress(ByteLen(done), total)
            });
            match lost(read)? {
                Ok(true) => {
                    self.store.trust(id, Trust::Verified);
                    self.good.push(*id);
                }
                Ok(false) => return Ok(false),
                Err(_) => self.report.damaged_packs.push(*id),
            }
        }
        let there: HashSet<Digest> = there.into_iter().map(|(id, _)| id).collect();
        let named = self.named()?;
        self.gone = named.into_iter().filter(|id| !there.contains(id)).collect();
        self.report.damaged_packs.extend(&self.gone);
        for id in &self.report.damaged_packs {
            self.store.trust(id, Trust::Bad);
        }
        Ok(true)
    }

    fn is_whole(&mut self, manifest: &Manifest) -> Result<bool, StoreError> {
        for (root, ..) in maps(manifest) {
            if !self.whole(root.into())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a part of a map lies in good packs, with everything below it. The depth is bounded by the height, at most 5.
    fn whole(&mut self, sub: Sub) -> Result<bool, StoreError> {
        if let Some(whole) = self.known.get(&sub) {
            return Ok(*whole);
        }
        let mut whole = self.store.has(&sub.id.0)?;
        if whole {
            match lost(sub.open(self.store))? {
                Ok(node) => match &*node {
                    Node::Leaf(leaf) => {
                        for id in &leaf.chunks {
                            whole = whole && self.store.has(&id.0)?;
                        }
                    }
                    Node::Inner(inner) => {
                        for child in &inner.children {
                            whole = whole && self.whole(Sub::child(inner, child))?;
                        }
                    }
                },
                Err(_) => whole = false,
            }
        }
        self.known.insert(sub, whole);
        Ok(whole)
    }

    /// What was not whole may be by now.
    fn look_again(&mut self) {
        self.known.retain(|_, whole| *whole);
    }

    /// Every pack that an index object names.
    fn named(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let mut named = BTreeSet::new();
        for name in self.store.objects().list("index")? {
            let Some(id) = digest_in(&name, index_name) else { continue };
            if let Ok(head) = lost(read_head(self.store, &id))? {
                named.extend(head.packs);
            }
        }
        Ok(named)
    }

    /// Indexes good packs that no index object names.
    fn index_packs(&mut self) -> Result<(), StoreError> {
        let named = self.named()?;
        self.report.indexed += self.good.iter().filter(|id| !named.contains(id)).count();
        if self.is_lied_to()? {
            return self.store.index().rebuild(self.store);
        }
        self.store.flush_index()
    }

    /// Leaves damaged packs to the next prune: it deletes one where everything in it that is needed lies in a good pack too.
    fn condemn(&self) -> Result<(), StoreError> {
        let damaged = self.report.damaged_packs.iter();
        let damaged: BTreeSet<Digest> =
            damaged.filter(|id| !self.gone.contains(id) && !self.store.is_condemned(id)).copied().collect();
        if damaged.is_empty() {
            return Ok(());
        }
        let generation = self.store.last_generation()?.saturating_add(1);
        self.store.condemn(generation, &damaged)
    }

    /// True where the index does not lead to a chunk of a good pack.
    fn is_lied_to(&self) -> Result<bool, StoreError> {
        for pack in &self.good {
            for id in self.store.ids(pack)? {
                if self.store.index().candidates(self.store, &id)?.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Has the writer store what another store has of snapshots that are not whole; false where the caller stopped it.
    fn fetch(
        &mut self,
        from: Option<&Store>,
        broken: &[(SnapshotId, Manifest)],
        writer: &mut Writer,
        progress: Progress<'_>,
    ) -> Result<bool, StoreError> {
        let Some(from) = from else { return Ok(true) };
        for (id, manifest) in broken {
            if self.is_whole(manifest)? {
                continue;
            }
            let theirs = match lost(from.manifest(*id))? {
                Ok(theirs) => theirs,
                Err(e) => {
                    self.why.insert(*id, format!("the other store: {e}"));
                    continue;
                }
            };
            for ((ours, _, name), (theirs, ..)) in maps(manifest).into_iter().zip(maps(&theirs)) {
                if self.whole(ours.into())? {
                    continue;
                }
                match lost(fetch_map(from, ours, theirs, writer, progress))? {
                    Ok(true) => {}
                    Ok(false) => return Ok(false),
                    Err(e) => {
                        self.why.insert(*id, format!("{name}: {e}"));
                    }
                }
            }
            if !writer.prove(progress)? {
                return Ok(false);
            }
            self.look_again();
        }
        Ok(true)
    }

    /// Copies snapshots whose record is gone or damaged from another store; false where the caller stopped it.
    fn records(
        &mut self,
        from: Option<&Store>,
        gone: &BTreeSet<SnapshotId>,
        progress: Progress<'_>,
    ) -> Result<bool, StoreError> {
        for id in gone {
            let copied =
                from.map_or(Ok(None), |from| from.copy_over(self.store, &[*id], Over::Damaged, progress).map(Some));
            let why = match lost(copied)? {
                Ok(Some(copied)) if !copied.complete => return Ok(false),
                Ok(Some(_)) => {
                    self.report.healed.push(*id);
                    continue;
                }
                Ok(None) => "its record cannot be read".to_owned(),
                Err(e) => format!("its record cannot be read, nor copied from the other store: {e}"),
            };
            self.report.missing.push(Missing { snapshot: *id, what: DisplayText::new(&why) });
        }
        Ok(true)
    }

    /// Says what became of the snapshots that were not whole.
    fn conclude(&mut self, broken: &[(SnapshotId, Manifest)]) -> Result<(), StoreError> {
        self.look_again();
        for (id, manifest) in broken {
            if self.is_whole(manifest)? {
                self.report.healed.push(*id);
                continue;
            }
            let why =
                self.why.remove(id).unwrap_or_else(|| "chunks of it are in no pack that is known to be good".into());
            self.report.missing.push(Missing { snapshot: *id, what: DisplayText::new(&why) });
        }
        Ok(())
    }
}

/// Hands a map of another store to the writer; false where the caller stopped it.
fn fetch_map(
    from: &Store,
    ours: MapRoot,
    theirs: MapRoot,
    writer: &mut Writer,
    progress: Progress<'_>,
) -> Result<bool, StoreError> {
    let total = from.map(theirs).used()?;
    let mut done = 0u64;
    let made = feed(writer, from, theirs, None, &mut |len| {
        done = done.saturating_add(len);
        progress(ByteLen(done), total)
    })?;
    match made {
        Some(made) if made.content != ours.content => Err(StoreError::damaged("the other store has other bytes")),
        Some(made) if made != ours => Err(StoreError::damaged("the other store has the same bytes cut in another way")),
        made => Ok(made.is_some()),
    }
}
