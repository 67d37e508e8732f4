//! The jobs of looking after a store.

mod check;
mod forget;
mod keys;
mod lost;
mod make;
mod room;
mod second;
mod stick;

pub(crate) use check::check;
pub(crate) use forget::forget_by;
pub(crate) use room::prune;

use crate::jobs::{Done, Jobs};
use crate::run::Observer;
use crate::worker::Desk;
use model::event::{Outcome, Progress};
use model::text::DisplayText;
use model::units::ByteLen;
use model::upkeep::{Kept, Upkeep};
use std::time::{Duration, Instant};

/// How often it is told how far something is.
const EVERY: Duration = Duration::from_millis(250);

/// Does it, to its end.
pub(crate) fn run(jobs: &Jobs, what: &Upkeep, desk: &Desk) -> Done {
    let kept = match what {
        Upkeep::Make { probe } => make::make(jobs, *probe, desk),
        Upkeep::Note { snapshot, says } => forget::note(jobs, snapshot, says, desk),
        Upkeep::PlanForget { what, room } => forget::plan(jobs, what, *room, desk),
        Upkeep::Forget { what, ids } => forget::forget(&jobs.store_to_write(desk)?, what, ids),
        Upkeep::Keys => keys::keys(&jobs.store(desk)?, None),
        Upkeep::AddKey { label } => keys::add_key(jobs, label, desk),
        Upkeep::RemoveKey { id } => keys::remove_key(&jobs.store_to_write(desk)?, id),
        Upkeep::Prune { how, dry_run } => prune(jobs, *how, *dry_run, desk),
        Upkeep::Stats => room::stats(jobs, desk),
        Upkeep::Copy { snapshots } => second::copy(jobs, snapshots, desk),
        Upkeep::Repair => second::repair(jobs, desk),
        Upkeep::CopyToStick => stick::copy(jobs, desk),
        Upkeep::RepairFromStick => stick::repair(jobs, desk),
        Upkeep::AcceptHead => jobs.stores.accept(&jobs.config).map(|differed| Kept::HeadAccepted { differed }),
    }?;
    // What was listed is no longer what there is.
    if matches!(kept, Kept::Forgotten(_) | Kept::Pruned(_) | Kept::Noted { .. } | Kept::Repaired(_)) {
        jobs.show_snapshots(&jobs.store(desk)?, desk);
    }
    Ok(Outcome::Kept(kept))
}

/// Tells how far something is that counts no bytes, not more often than a screen can show, and whether it is to go on.
struct Steps<'a> {
    desk: &'a Desk,
    told: Option<(String, Instant)>,
}

impl<'a> Steps<'a> {
    fn new(desk: &'a Desk) -> Self {
        Self { desk, told: None }
    }

    /// So many of so many are done (0 of 0: not known); false where somebody wants it to stop.
    fn at(&mut self, phase: &str, done: usize, total: usize) -> bool {
        let told = self.told.as_ref().is_some_and(|(last, at)| last == phase && at.elapsed() < EVERY);
        if !told {
            self.told = Some((phase.to_owned(), Instant::now()));
            self.desk.progress(Progress {
                phase: DisplayText::new(phase),
                step: (1, 1),
                done: ByteLen(done as u64),
                total: ByteLen(total as u64),
                rate: ByteLen::ZERO,
                remaining: None,
                cost: None,
                fenced: false,
            });
        }
        !self.desk.cancelled()
    }
}
