//! Looking for damage in a store.

use super::lost;
use crate::jobs::{Done, Jobs};
use crate::run::{Meter, Stop};
use crate::stores::{Which, advised, differs};
use crate::worker::Desk;
use model::event::{CheckReport, Outcome};
use model::units::ByteLen;

pub(crate) fn check(jobs: &Jobs, read_data: bool, desk: &Desk) -> Done {
    let store = jobs.stores.opened(&jobs.config, Which::Own)?;
    let mut meter = Meter::start(desk, &*jobs.config.clock, "checking the store", (1, 1), ByteLen::ZERO, false);
    let found = store.check(read_data, &mut |done, total| meter.reach(done, total))?;
    drop(meter);
    if !found.complete {
        return Err(Stop::Cancelled("stopped; not everything was checked".into()));
    }
    // What nothing in the store itself can show.
    let older = differs(&jobs.config, &store)?.map(|how| advised(&how));
    let damage = older.into_iter().chain(found.findings.iter().map(|f| f.what.clone()));
    Ok(Outcome::Checked(CheckReport {
        snapshots: found.snapshots as u64,
        objects: found.packs as u64 + found.snapshots as u64,
        read: found.read,
        damage: damage.collect(),
        affected: found.affected,
        lost: lost::tell(&store, &*jobs.config.parser, found.lost, desk),
        unused: found.leftover,
    }))
}
