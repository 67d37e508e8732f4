//! What is done with two stores: copying snapshots from one into the other, and repairing one from the other.

use crate::jobs::{Done, Jobs};
use crate::run::{Meter, Stop};
use crate::stores::{To, Which};
use crate::worker::Desk;
use model::command::ExitCode;
use model::id::{SnapRef, SnapshotId};
use model::mapping::Mapping;
use model::snapshot::SavedVolume;
use model::text::DisplayText;
use model::units::ByteLen;
use model::upkeep::{Broken, CopyView, Kept, RepairView};
use std::collections::BTreeSet;
use store::{Copied, Store, StoreError};

pub(super) fn copy(jobs: &Jobs, named: &[SnapRef], desk: &Desk) -> Done<Kept> {
    let to = jobs.stores.get(&jobs.config, Which::Other, To::Write, desk)?;
    copy_into(jobs, &to, named, desk)
}

/// Copies snapshots, all where none is named, into a store.
pub(super) fn copy_into(jobs: &Jobs, to: &Store, named: &[SnapRef], desk: &Desk) -> Done<Kept> {
    let from = jobs.store(desk)?;
    if from.id() == to.id() {
        let says = "both are the same store, or one is a plain copy of the other";
        return Err(Stop::failed(
            ExitCode::Refused,
            says,
            "nothing was copied; make another store with `holdfast store init`",
        ));
    }
    let listing = from.list()?;
    let ids = match named {
        [] => listing.snapshots.iter().map(|(id, _)| *id).collect(),
        named => named.iter().map(|snapshot| Ok(from.find(snapshot, None)?.0)).collect::<Done<Vec<_>>>()?,
    };
    stays_encrypted(&from, to, &ids)?;
    let before: BTreeSet<SnapshotId> = there(to)?;
    let mut copy = Copy { jobs, desk, from: &from, to, failed: Vec::new() };
    let done = copy.all(&ids);
    // However it ended, what is there has its notes.
    let there: BTreeSet<SnapshotId> = there(to)?.into_iter().filter(|id| ids.contains(id)).collect();
    let noted = from.copy_notes(to, &there);
    let copied: BTreeSet<SnapshotId> = there.difference(&before).copied().collect();
    let done = done?;
    let noted = noted?;
    let Copy { mut failed, .. } = copy;
    if named.is_empty() {
        // What cannot even be listed cannot be copied.
        failed.extend(listing.damage.iter().map(|why| Broken { snapshot: None, why: why.clone() }));
    }
    if !done.complete {
        let says = format!("stopped; {} of {} were copied, run it again for the rest", copied.len(), ids.len());
        return Err(Stop::Cancelled(says.as_str().into()));
    }
    Ok(Kept::Copied(CopyView {
        to: to.id().to_owned(),
        copied: listing.summaries().into_iter().filter(|summary| copied.contains(&summary.id)).collect(),
        present: done.present.into_iter().filter(|id| before.contains(id)).collect(),
        noted: noted.difference(&copied).copied().collect(),
        failed,
        read: done.read,
        stored: done.stored,
    }))
}

/// Refuses to copy into a store that is not encrypted what an encrypted one holds of encrypted volumes.
fn stays_encrypted(from: &Store, to: &Store, ids: &[SnapshotId]) -> Done<()> {
    if !from.is_encrypted() || to.is_encrypted() {
        return Ok(());
    }
    for id in ids {
        // What cannot be read is told by the copying.
        let Ok(manifest) = from.manifest(*id) else { continue };
        let sealed = |v: &&SavedVolume| v.mapping.as_ref().is_some_and(Mapping::is_sealed);
        if let Some(volume) = manifest.volumes.iter().find(sealed) {
            let says = format!(
                "snapshot {} holds {}, which lies encrypted on its disk, and the other store is not encrypted",
                id.0.short(8),
                volume.path
            );
            let advice = "nothing was copied; make the other store with `holdfast store init --encrypt`, or name other snapshots";
            return Err(Stop::failed(ExitCode::Refused, says, advice));
        }
    }
    Ok(())
}

fn there(store: &Store) -> Done<BTreeSet<SnapshotId>> {
    Ok(store.list()?.snapshots.into_iter().map(|(id, _)| id).collect())
}

struct Copy<'a> {
    jobs: &'a Jobs,
    desk: &'a Desk,
    from: &'a Store,
    to: &'a Store,
    failed: Vec<Broken>,
}

impl Copy<'_> {
    /// Copies them together, and where one is damaged each by itself, so that it holds up no other.
    fn all(&mut self, ids: &[SnapshotId]) -> Done<Copied> {
        match self.some(ids) {
            Err(e) if only_this(&e) => {}
            done => return Ok(done?),
        }
        let mut sum = Copied { complete: true, ..Copied::default() };
        for id in ids {
            match self.some(&[*id]) {
                Ok(done) => {
                    sum.copied.extend(done.copied);
                    sum.present.extend(done.present);
                    sum.read.0 = sum.read.0.saturating_add(done.read.0);
                    sum.stored.0 = sum.stored.0.saturating_add(done.stored.0);
                    if !done.complete {
                        sum.complete = false;
                        break;
                    }
                }
                Err(e) if only_this(&e) => {
                    self.failed.push(Broken { snapshot: Some(*id), why: DisplayText::new(&e.to_string()) });
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(sum)
    }

    fn some(&self, ids: &[SnapshotId]) -> Result<Copied, StoreError> {
        let mut meter = meter(self.jobs, self.desk, "copying");
        self.from.copy_to(self.to, ids, &mut |done, total| meter.reach(done, total))
    }
}

/// True where a failure is of one snapshot, and others may be copied.
fn only_this(e: &StoreError) -> bool {
    matches!(
        e,
        StoreError::Damaged { .. }
            | StoreError::NoSuch { .. }
            | StoreError::Untrusted { .. }
            | StoreError::Newer { .. }
    )
}

pub(super) fn repair(jobs: &Jobs, desk: &Desk) -> Done<Kept> {
    let store = jobs.store_to_write(desk)?;
    let from = match &jobs.config.other {
        None => None,
        Some(_) => match jobs.stores.opened(&jobs.config, Which::Other)? {
            // A plain copy of the store may well be older than it.
            copy if copy.id() == store.id() => Some(copy),
            _ => Some(jobs.stores.get(&jobs.config, Which::Other, To::Read, desk)?),
        },
    };
    repair_from(jobs, &store, from.as_ref(), desk)
}

/// Writes again what is damaged in the store: from what is left of it, and from another one.
pub(super) fn repair_from(jobs: &Jobs, store: &Store, from: Option<&Store>, desk: &Desk) -> Done<Kept> {
    let mut meter = meter(jobs, desk, "repairing");
    let report = store.repair(from, &mut |done, total| meter.reach(done, total))?;
    drop(meter);
    if !report.complete {
        let says = "stopped; what was written again stays, and nothing else was changed: run it again for the rest";
        return Err(Stop::Cancelled(says.into()));
    }
    let missing = report.missing.iter().map(|m| Broken { snapshot: Some(m.snapshot), why: m.what.clone() });
    let mut broken: Vec<Broken> = missing.collect();
    for why in report.unreadable {
        // The listing names a snapshot by the first digits of its id; one that is told of already is not told of twice.
        let told = |m: &store::Missing| why.as_str().starts_with(&format!("snapshot {}", m.snapshot.0.short(12)));
        if !report.missing.iter().any(told) {
            broken.push(Broken { snapshot: None, why });
        }
    }
    Ok(Kept::Repaired(RepairView {
        damaged: report.damaged_packs,
        salvaged: report.salvaged as u64,
        indexed: report.indexed as u64,
        healed: report.healed,
        broken,
    }))
}

fn meter<'a>(jobs: &'a Jobs, desk: &'a Desk, phase: &str) -> Meter<'a> {
    Meter::start(desk, &*jobs.config.clock, phase, (1, 1), ByteLen::ZERO, false)
}
