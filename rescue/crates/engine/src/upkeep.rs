//! The jobs of looking after a store.

use crate::jobs::{Done, Jobs};
use crate::run::{Meter, Observer, Stop};
use crate::store_place::StorePlace;
use crate::worker::Desk;
use model::command::ExitCode;
use model::event::Outcome;
use model::id::{SnapRef, SnapshotId};
use model::note::Says;
use model::ports::{Entropy, ObjectError, ObjectName, ObjectStore};
use model::retention::{Candidate, ForgetPlan, plan_forget};
use model::snapshot::SnapshotSummary;
use model::text::DisplayText;
use model::units::ByteLen;
use model::upkeep::{ForgetLine, ForgetView, Forgetting, Kept, KeyLine, Made, ProbeSize, Upkeep};
use std::collections::{BTreeMap, BTreeSet};
use store::{InitOptions, Probed, Store, StoreError, SystemEntropy};

/// Does it, to its end.
pub(crate) fn run(jobs: &Jobs, what: &Upkeep, desk: &Desk) -> Done {
    match what {
        Upkeep::Make { probe } => make(jobs, *probe, desk),
        Upkeep::Note { snapshot, says } => note(jobs, snapshot, says),
        Upkeep::PlanForget { what } => forget_view(&jobs.store()?, what).map(Kept::ForgetPlanned),
        Upkeep::Forget { what, ids } => forget(&jobs.store()?, what, ids),
        Upkeep::Keys => keys(&jobs.store()?, None),
        Upkeep::AddKey { label } => add_key(jobs, label),
        Upkeep::RemoveKey { id } => remove_key(&jobs.store()?, id),
    }
    .map(Outcome::Kept)
}

fn make(jobs: &Jobs, probe: Option<ProbeSize>, desk: &Desk) -> Done<Kept> {
    let place = jobs.config.store.as_ref().ok_or_else(|| {
        Stop::failed(ExitCode::Failed, "there is no place for a store", "name its directory, or attach a save disk")
    })?;
    let objects = place.objects(true)?;
    // A place that holds a store is not filled.
    let format = ObjectName::new("format").expect("one lower-case word");
    match objects.len(&format) {
        Err(ObjectError::Missing(_)) => {}
        Err(e) => return Err(StoreError::from(e).into()),
        Ok(_) => return Err(StoreError::Exists { what: DisplayText::new("a store") }.into()),
    }
    let probed = probe.map(|size| probed(jobs, &*objects, size, desk)).transpose()?;
    let key = place.access().new_key.map(|key| (key, "first".to_owned()));
    let encrypted = key.is_some();
    let store = Store::init_with(objects, InitOptions { key, ..InitOptions::default() })?;
    Ok(Kept::Made(Made { id: store.id().to_owned(), encrypted, probed }))
}

fn sealed(store: &Store) -> Done<()> {
    if store.is_encrypted() {
        return Ok(());
    }
    let advice = "only a new store can be encrypted: `holdfast store init --encrypt`";
    Err(Stop::failed(ExitCode::Refused, "the store is not encrypted: it has no keys", advice))
}

fn keys(store: &Store, added: Option<String>) -> Done<Kept> {
    sealed(store)?;
    let keys = store.keys()?.into_iter().map(|slot| KeyLine { id: slot.id, label: slot.label }).collect();
    Ok(Kept::Keys { keys, added })
}

fn add_key(jobs: &Jobs, label: &DisplayText) -> Done<Kept> {
    let store = jobs.store()?;
    sealed(&store)?;
    let access = jobs.config.store.as_ref().map(StorePlace::access).unwrap_or_default();
    let (Some(have), Some(new)) = (access.unlock, access.new_key) else {
        let says = "there is no new key to add";
        return Err(Stop::failed(ExitCode::Refused, says, "give a passphrase or a key file for it"));
    };
    let added = store.add_key(&have, &new, label.as_str())?;
    keys(&store, Some(added))
}

fn remove_key(store: &Store, id: &str) -> Done<Kept> {
    sealed(store)?;
    let slots = store.keys()?;
    let found: Vec<_> = slots.iter().filter(|slot| !id.is_empty() && slot.id.starts_with(id)).collect();
    let refused = |says: String, advice: &str| Err(Stop::failed(ExitCode::Refused, says, advice));
    match found.as_slice() {
        [] => refused(format!("there is no key {}", DisplayText::new(id)), "`holdfast key list` lists them"),
        [_] if slots.len() == 1 => {
            refused("it is the only key: nothing would open the store any more".into(), "add another one first")
        }
        [one] => {
            store.remove_key(&one.id)?;
            keys(store, None)
        }
        many => refused(format!("{} keys begin with {}", many.len(), DisplayText::new(id)), "give more digits"),
    }
}

fn probed(jobs: &Jobs, objects: &dyn ObjectStore, size: ProbeSize, desk: &Desk) -> Done<ByteLen> {
    let most = match size {
        ProbeSize::All => None,
        ProbeSize::AtMost(most) => Some(most),
    };
    let mut nonce = [0; 8];
    SystemEntropy.fill(&mut nonce).map_err(|e| {
        let says = format!("there are no random bytes to probe with: {e}");
        Stop::failed(ExitCode::Failed, says, "nothing was written; run this again")
    })?;
    let mut meter = Meter::start(desk, &*jobs.config.clock, "probing the place", (1, 1), ByteLen::ZERO, false);
    let mut before = 0;
    let found = store::probe(objects, most, u64::from_le_bytes(nonce), &mut |done, total| {
        meter.set_total(total);
        meter.add(done.0.saturating_sub(before));
        before = done.0;
        !desk.cancelled()
    })?;
    match found {
        Probed::Keeps { written } if written == ByteLen::ZERO => {
            let says = "there is no room to probe: not even 16 MiB could be written";
            Err(Stop::failed(ExitCode::Failed, says, "make room, or use another place; no store was made"))
        }
        Probed::Keeps { written } => Ok(written),
        Probed::Loses { kept, written, first } => {
            let says = format!("this place loses data: of {written} written, {kept} came back; {first}");
            let advice =
                "do not keep anything on this medium: it may be worn out, or smaller than it says; no store was made";
            Err(Stop::failed(ExitCode::Damage, says, advice))
        }
        Probed::Stopped => {
            Err(Stop::Cancelled("the probe was stopped and its files were deleted; no store was made".into()))
        }
    }
}

fn note(jobs: &Jobs, snapshot: &SnapRef, says: &[Says]) -> Done<Kept> {
    let store = jobs.store()?;
    let (id, _) = store.find(snapshot, None)?;
    for says in says {
        store.put_note(id, says.clone(), jobs.config.clock.now())?;
    }
    let noted = store.list()?.notes.remove(&id).unwrap_or_default();
    Ok(Kept::Noted { snapshot: id, noted })
}

fn forget(store: &Store, what: &Forgetting, ids: &[SnapshotId]) -> Done<Kept> {
    let view = forget_view(store, what)?;
    if view.ids() != ids {
        let says = "the store changed: other snapshots would be forgotten now";
        return Err(Stop::failed(ExitCode::Refused, says, "nothing was forgotten; look again"));
    }
    store.forget(ids)?;
    Ok(Kept::Forgotten(view))
}

/// What would go, and what would stay.
fn forget_view(store: &Store, what: &Forgetting) -> Done<ForgetView> {
    let candidates = store.candidates()?;
    let listing = store.list()?;
    let summaries: BTreeMap<SnapshotId, SnapshotSummary> =
        listing.summaries().into_iter().map(|summary| (summary.id, summary)).collect();
    let (keep, forget) = match what {
        Forgetting::Policy(policy) => {
            let ForgetPlan { keep, forget } = plan_forget(&candidates, policy);
            let keep = keep.into_iter().filter_map(|(id, why)| Some((summaries.get(&id)?.clone(), why)));
            (keep.collect(), forget)
        }
        Forgetting::Named(named) => {
            let known: BTreeSet<SnapshotId> = summaries.keys().chain(&listing.unusable).copied().collect();
            let mut ids = BTreeSet::new();
            for snapshot in named {
                ids.insert(one_of(store, snapshot, &known)?);
            }
            for candidate in candidates.iter().filter(|c| ids.contains(&c.id)) {
                may_go(candidate)?;
            }
            let mut ids: Vec<SnapshotId> = ids.into_iter().collect();
            ids.sort_by_key(|id| (summaries.get(id).map(|s| (s.counter, s.taken)), *id));
            (Vec::new(), ids)
        }
    };
    let line = |id| ForgetLine { id, summary: summaries.get(&id).cloned() };
    Ok(ForgetView { keep, forget: forget.into_iter().map(line).collect() })
}

/// The snapshot that is meant; one that cannot be read can be named by its id too.
fn one_of(store: &Store, snapshot: &SnapRef, known: &BTreeSet<SnapshotId>) -> Done<SnapshotId> {
    if let SnapRef::Prefix(prefix) = snapshot {
        let mut found = known.iter().filter(|id| id.to_string().starts_with(prefix.as_str()));
        if let (Some(id), None) = (found.next(), found.next()) {
            return Ok(*id);
        }
    }
    Ok(store.find(snapshot, None)?.0)
}

/// Refuses to forget by name what somebody pinned, and what a write-back that is not finished needs.
fn may_go(candidate: &Candidate) -> Done<()> {
    let id = candidate.id.0.short(12);
    if candidate.needed {
        let says = format!("snapshot {id} is needed by a rollback that is not finished");
        return Err(Stop::failed(
            ExitCode::Refused,
            says,
            "finish it with `holdfast resume`, or go back with `holdfast undo`",
        ));
    }
    if candidate.noted.pinned {
        let advice = format!("nothing was forgotten; `holdfast note {id} --unpin` lets it go");
        return Err(Stop::failed(ExitCode::Refused, format!("snapshot {id} is pinned"), advice));
    }
    Ok(())
}
