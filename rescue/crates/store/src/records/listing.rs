//! What snapshots there are, and which one a person means.

use super::record::RecordKind;
use crate::error::StoreError;
use crate::layout::{digest_in, snapshot_name};
use crate::store::Store;
use model::id::{Digest, SnapRef, SnapshotId};
use model::note::Noted;
use model::retention::Candidate;
use model::signer::SignerId;
use model::snapshot::{Machine, Manifest, Purpose, SnapshotSummary};
use model::text::DisplayText;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The snapshots of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Those that can be read, in order: by counter, then time, then id.
    pub snapshots: Vec<(SnapshotId, Manifest)>,
    /// What is wrong with the others: damaged, missing, of a newer format, not signed as required.
    pub damage: Vec<DisplayText>,
    /// What notes say of them.
    pub notes: BTreeMap<SnapshotId, Noted>,
    /// Who signed them; every signature was verified.
    pub signers: BTreeMap<SnapshotId, Vec<SignerId>>,
    /// Snapshots that are not there as they should be, and cannot be used: those `damage` tells of whose ids are known.
    pub unusable: BTreeSet<SnapshotId>,
}

impl Listing {
    /// The newest snapshot of a machine that is not an undo snapshot.
    pub fn newest_of(&self, machine: &Machine) -> Option<&(SnapshotId, Manifest)> {
        self.snapshots.iter().rev().find(|(_, m)| m.purpose == Purpose::Keep && m.machine.is(machine))
    }

    /// The lines of a timeline, in order.
    pub fn summaries(&self) -> Vec<SnapshotSummary> {
        let line = |(id, manifest): &(SnapshotId, Manifest)| {
            let Noted { label, pinned, proven, unproven, .. } = self.notes.get(id).cloned().unwrap_or_default();
            let signers = self.signers.get(id).cloned().unwrap_or_default();
            SnapshotSummary { label, pinned, proven, unproven, signers, ..manifest.summary(*id) }
        };
        self.snapshots.iter().map(line).collect()
    }
}

impl Store {
    /// Every snapshot, in order. One that cannot be read is told as damage and hides no other.
    ///
    /// # Errors
    /// [`StoreError::Io`]: an error is never an empty list.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let inventory = self.inventory()?;
        let mut listing = Listing::default();
        let mut told = |what: String| listing.damage.push(DisplayText::new(&what));
        inventory.damage.iter().for_each(|what| told(what.clone()));
        let mut missing: HashMap<Digest, SnapshotId> =
            inventory.standing.snapshots.keys().map(|id| (self.seal().name(&id.0), *id)).collect();
        let forgotten: BTreeSet<Digest> = inventory.forgotten.iter().map(|id| self.seal().name(&id.0)).collect();
        for name in self.objects().list("snapshots")? {
            let Some(hashed) = digest_in(&name, snapshot_name) else {
                told(format!("{} is not the name of a snapshot", name.as_str()));
                continue;
            };
            let known = missing.remove(&hashed);
            if forgotten.contains(&hashed) {
                continue;
            }
            match self.stated(RecordKind::Manifest, &name) {
                Ok(stated) => {
                    if !stated.signers.is_empty() {
                        listing.signers.insert(stated.id, stated.signers);
                    }
                    listing.snapshots.push((stated.id, stated.manifest));
                }
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(e) => {
                    told(format!("snapshot {}: {e}", known.map_or(hashed, |id| id.0).short(12)));
                    listing.unusable.extend(known);
                }
            }
        }
        for id in missing.into_values().collect::<BTreeSet<_>>() {
            told(format!("snapshot {} is gone: the inventory says that it must be there", id.0.short(12)));
            listing.unusable.insert(id);
        }
        listing.snapshots.sort_by_key(|(id, m)| (m.counter, m.taken, *id));
        let (notes, damage) = self.noted(&inventory)?;
        listing.notes = notes;
        listing.damage.extend(damage.iter().map(|what| DisplayText::new(what)));
        Ok(listing)
    }

    /// The snapshots as a policy sees them.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Damaged`] where it is not known which write-backs are unfinished.
    pub fn candidates(&self) -> Result<Vec<Candidate>, StoreError> {
        let listing = self.list()?;
        let needed = self.needed_by_write_backs()?;
        let candidate = |(id, manifest): &(SnapshotId, Manifest)| {
            let noted = listing.notes.get(id).cloned().unwrap_or_default();
            Candidate::of(*id, manifest, noted, needed.contains(id))
        };
        Ok(listing.snapshots.iter().map(candidate).collect())
    }

    /// The snapshot a person means. `latest` and `latest:good` are of one machine and never an undo snapshot; without a
    /// machine they are refused where the store holds more than one.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Ambiguous`], and those of [`Store::manifest`].
    pub fn find(&self, which: &SnapRef, machine: Option<&Machine>) -> Result<(SnapshotId, Manifest), StoreError> {
        let none = |what: String| StoreError::NoSuch { what: DisplayText::new(&what) };
        if let SnapRef::Prefix(prefix) = which {
            let mut found = self.ids()?;
            found.retain(|id| id.to_string().starts_with(prefix.as_str()));
            let found: Vec<SnapshotId> = found.into_iter().collect();
            return match found.as_slice() {
                [] => Err(none(format!("a snapshot {prefix}"))),
                [one] => self.manifest(*one).map(|m| (*one, m)),
                many => {
                    let first: Vec<String> = many.iter().take(4).map(|d| d.0.short(prefix.len() + 4)).collect();
                    let text = format!("{prefix} could be {} snapshots: {} ...", many.len(), first.join(", "));
                    Err(StoreError::Ambiguous { what: DisplayText::new(&text) })
                }
            };
        }
        let good_only = *which == SnapRef::LatestGood;
        let mut kept = self.list()?.snapshots;
        kept.retain(|(_, m)| m.purpose == Purpose::Keep && machine.is_none_or(|wanted| m.machine.is(wanted)));
        if let (None, Some((_, newest))) = (machine, kept.last())
            && kept.iter().any(|(_, m)| !m.machine.is(&newest.machine))
        {
            let text = format!("the store holds snapshots of several machines: {which} could be of any; give an id");
            return Err(StoreError::Ambiguous { what: DisplayText::new(&text) });
        }
        kept.retain(|(_, m)| !good_only || m.is_good());
        let missing = if good_only { "a good snapshot of this machine" } else { "a snapshot of this machine" };
        kept.pop().ok_or_else(|| none(missing.to_owned()))
    }

    /// The ids of all snapshots, those that cannot be read included, where they can be known without reading them.
    fn ids(&self) -> Result<BTreeSet<SnapshotId>, StoreError> {
        let inventory = self.inventory()?;
        let mut ids: BTreeSet<SnapshotId> = inventory.standing.snapshots.keys().copied().collect();
        let known: BTreeSet<Digest> =
            ids.iter().chain(&inventory.forgotten).map(|id| self.seal().name(&id.0)).collect();
        for name in self.objects().list("snapshots")? {
            let Some(hashed) = digest_in(&name, snapshot_name).filter(|h| !known.contains(h)) else { continue };
            // Not entered yet. In an encrypted store the name does not say the id.
            match self.stated(RecordKind::Manifest, &name) {
                Ok(stated) => {
                    ids.insert(stated.id);
                }
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(_) if self.seal().is_sealed() => {}
                Err(_) => {
                    ids.insert(SnapshotId(hashed));
                }
            }
        }
        Ok(ids)
    }
}
