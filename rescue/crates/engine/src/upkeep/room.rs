//! Where the room of a store goes, and freeing what nothing needs.

use super::Steps;
use crate::jobs::{Done, Jobs};
use crate::run::Stop;
use crate::worker::Desk;
use model::command::ExitCode;
use model::id::SnapshotId;
use model::snapshot::SnapshotSummary;
use model::upkeep::{Kept, PruneView, Pruning, SpaceLine, StatsView};
use std::collections::BTreeMap;
use store::{PruneOptions, StoreError};

pub(crate) fn prune(jobs: &Jobs, how: Pruning, dry_run: bool, desk: &Desk) -> Done<Kept> {
    let store = if dry_run { jobs.store(desk)? } else { jobs.store_to_write(desk)? };
    let options = PruneOptions { now: how.now, rewrite: how.rewrite };
    let mut steps = Steps::new(desk);
    let mut progress = |phase: &str, done: usize, total: usize| steps.at(phase, done, total);
    let report = if dry_run { store.would_prune(options, &mut progress) } else { store.prune(options, &mut progress) };
    let report = report.map_err(|e| not_whole(&e, "nothing was freed"))?;
    if !report.complete {
        let says = match report.freed.0 {
            0 => "stopped; nothing was freed".to_owned(),
            _ => format!("stopped; {} were freed, the rest is for the next run", report.freed),
        };
        return Err(Stop::Cancelled(says.as_str().into()));
    }
    let view = PruneView {
        deleted: report.deleted as u64,
        freed: report.freed,
        condemned: report.condemned as u64,
        to_be_freed: report.to_be_freed,
        rewritten: report.rewritten as u64,
        written: report.written,
        kept: report.kept as u64,
        free: store.free(),
    };
    Ok(if dry_run { Kept::PrunePlanned(view) } else { Kept::Pruned(view) })
}

/// Where a snapshot cannot be read whole, nobody knows what it needs.
fn not_whole(e: &StoreError, so: &str) -> Stop {
    match e {
        StoreError::Damaged { .. } => {
            let advice = format!("{so}; `holdfast repair` heals what it can, what is lost can be forgotten");
            Stop::failed(ExitCode::Damage, e.to_string(), advice)
        }
        e => e.failure().into(),
    }
}

pub(super) fn stats(jobs: &Jobs, desk: &Desk) -> Done<Kept> {
    let store = jobs.store(desk)?;
    let mut steps = Steps::new(desk);
    let stats = store.stats(&mut || steps.at("adding up what snapshots take", 0, 0));
    let Some(stats) = stats.map_err(|e| not_whole(&e, "what snapshots take cannot be told"))? else {
        return Err(Stop::Cancelled("stopped; nothing was changed".into()));
    };
    let mut summaries: BTreeMap<SnapshotId, SnapshotSummary> =
        store.list()?.summaries().into_iter().map(|summary| (summary.id, summary)).collect();
    let line = |space: &store::SnapshotSpace| {
        let summary = summaries.remove(&space.id)?;
        Some(SpaceLine { summary, logical: space.logical, unique: space.unique, shared: space.shared })
    };
    Ok(Kept::Stats(StatsView {
        logical: stats.logical,
        distinct: stats.distinct,
        live: stats.live,
        dead: stats.dead,
        stored: stats.stored,
        free: store.free(),
        snapshots: stats.snapshots.iter().filter_map(line).collect(),
    }))
}
