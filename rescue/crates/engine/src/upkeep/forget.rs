//! What is said about snapshots, and forgetting them.

use crate::jobs::{Done, Jobs};
use crate::run::Stop;
use crate::upkeep::Steps;
use crate::worker::Desk;
use model::command::ExitCode;
use model::id::{SnapRef, SnapshotId};
use model::note::Says;
use model::retention::{Candidate, ForgetPlan, KeepPolicy, plan_forget};
use model::snapshot::{Machine, SnapshotSummary};
use model::upkeep::{ForgetLine, ForgetView, Forgetting, Kept};
use std::collections::{BTreeMap, BTreeSet};
use store::{Store, StoreError};

pub(super) fn note(jobs: &Jobs, snapshot: &SnapRef, says: &[Says], desk: &Desk) -> Done<Kept> {
    let store = jobs.store_to_write(desk)?;
    let (id, _) = store.find(snapshot, None)?;
    for says in says {
        store.put_note(id, says.clone(), jobs.config.clock.now())?;
    }
    let noted = store.list()?.notes.remove(&id).unwrap_or_default();
    Ok(Kept::Noted { snapshot: id, noted })
}

pub(super) fn forget(store: &Store, what: &Forgetting, ids: &[SnapshotId]) -> Done<Kept> {
    let view = forget_view(store, what)?;
    if view.ids() != ids {
        let says = "the store changed: other snapshots would be forgotten now";
        return Err(Stop::failed(ExitCode::Refused, says, "nothing was forgotten; look again"));
    }
    store.forget(ids)?;
    Ok(Kept::Forgotten(view))
}

/// Forgets what `keep` does not keep of one machine's snapshots, but not the one that was just taken. Gives what it forgot.
pub(crate) fn forget_by(
    store: &Store,
    keep: &KeepPolicy,
    machine: &Machine,
    taken: SnapshotId,
) -> Done<Vec<SnapshotId>> {
    let mut candidates = store.candidates()?;
    candidates.retain(|c| c.machine.is(machine));
    let mut ids = plan_forget(&candidates, keep).forget;
    ids.retain(|id| *id != taken);
    if !ids.is_empty() {
        store.forget(&ids)?;
    }
    Ok(ids)
}

/// What would be forgotten, and with `room` how much room that would free.
pub(super) fn plan(jobs: &Jobs, what: &Forgetting, room: bool, desk: &Desk) -> Done<Kept> {
    let store = jobs.store(desk)?;
    let mut view = forget_view(&store, what)?;
    let ids: BTreeSet<SnapshotId> = view.ids().into_iter().collect();
    if room {
        let mut steps = Steps::new(desk);
        view.frees = match store.would_free(&ids, &mut || steps.at("adding up what would be freed", 0, 0)) {
            Ok(Some(frees)) => Some(frees),
            Ok(None) => return Err(Stop::Cancelled("stopped; nothing was forgotten".into())),
            Err(StoreError::Io { says }) => return Err(StoreError::Io { says }.into()),
            // What is damaged may be what is to be forgotten: then nobody knows.
            Err(_) => None,
        };
    }
    Ok(Kept::ForgetPlanned(view))
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
    Ok(ForgetView { keep, forget: forget.into_iter().map(line).collect(), frees: None })
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
