//! Writing a snapshot back: journaled, fenced, verified (invariant 4).
//!
//! ```text
//!  rollback    leases -> undo snapshot -> read all that will be written -> intent ─┐
//!  undo of an unfinished one                                        new intent ─┤
//!  resume                                                       its own intent ─┴─> carry_out
//!  carry_out   fences -> payload -> tables -> boot entries of the firmware -> the volumes' own heads in plan order -> receipt
//! ```
//!
//! An error or a cut before the first fence leaves the disks as they were. After it, the fences say what is pending, and
//! [`resume`] or [`undo_unfinished`] write what differs from what is on the disk.

use super::capture::{MoreTable, capture};
use super::leases::Leases;
use super::payload::{Against, Done};
use super::{Context, Meter, Stop, behind, fences, firmware, payload, tables};
use crate::plan::snapshot;
use model::assessment::Report;
use model::command::{ExitCode, Failure};
use model::id::{DiskNo, IntentId, SnapshotId, VolumePath};
use model::plan::{RollbackPlan, TableRollback, VolumeRollback};
use model::snapshot::{FORMAT, Intent, Manifest, MapRoot, Receipt};
use model::units::{ByteLen, Extent};
use std::collections::BTreeMap;

const FENCED: &str = "the disks are fenced and nothing boots from them meanwhile; `holdfast resume` finishes this, \
                      `holdfast undo` goes back to what was before";
/// Phases of a rollback, as its progress counts them.
const PHASES: u32 = 4;

/// Goes to a saved point, or back from a finished write-back: with an undo snapshot first.
///
/// # Errors
/// [`Stop`], with [`ExitCode::Interrupted`] where fences stand. With any other, nothing was written.
pub fn write_back(cx: &Context<'_>, plan: &RollbackPlan, report: &Report) -> Result<Receipt, Stop> {
    usable(plan)?;
    // What can refuse refuses first, before an hour of saving. Held from here on, nobody else writes what is saved now.
    let mut leases = Leases::take(cx, plan, true)?;
    leases.unchanged(plan)?;
    for volume in &plan.volumes {
        payload::walk(cx, volume)?;
    }
    let (undo, before) = saved(cx, plan, report)?;
    saved_then(cx, plan, report, leases, (undo, &before))
}

/// Goes to a state that is composed first, of what is saved now and what was saved: `compose` is given the undo snapshot, and gives the
/// plan that is carried out, which writes the same volumes as `plan`.
///
/// # Errors
/// As [`write_back`]; those of `compose`, of which nothing was written.
pub(crate) fn write_composed(
    cx: &Context<'_>,
    plan: &RollbackPlan,
    report: &Report,
    compose: impl FnOnce(SnapshotId, &Manifest) -> Result<RollbackPlan, Stop>,
) -> Result<Receipt, Stop> {
    usable(plan)?;
    let mut leases = Leases::take(cx, plan, true)?;
    leases.unchanged(plan)?;
    let (undo, before) = saved(cx, plan, report)?;
    let plan = compose(undo, &before)?;
    usable(&plan)?;
    for volume in &plan.volumes {
        payload::walk(cx, volume)?;
    }
    saved_then(cx, &plan, report, leases, (undo, &before))
}

/// Takes the undo snapshot.
fn saved(cx: &Context<'_>, plan: &RollbackPlan, report: &Report) -> Result<(SnapshotId, Manifest), Stop> {
    let undo_plan = snapshot::undo(&report.inspection, plan);
    let (undo, before) = capture(cx, &undo_plan, report, &more_table(cx, plan)?, (1, PHASES))?;
    whole(&before, plan)?;
    Ok((undo, before))
}

/// All that follows the undo snapshot. The leases are those of the plan's volumes.
fn saved_then(
    cx: &Context<'_>,
    plan: &RollbackPlan,
    report: &Report,
    mut leases: Leases,
    (undo, before): (SnapshotId, &Manifest),
) -> Result<Receipt, Stop> {
    let present: Before = before.volumes.iter().map(|v| (v.path.clone(), v.map)).collect();
    let against = |path: &VolumePath| present.get(path).map_or(Against::Disk, |map| Against::Map(*map));
    let mut all = 0;
    {
        let mut meter =
            Meter::start(cx.observer, cx.clock, "checking what will be written", (2, PHASES), ByteLen::ZERO, false);
        for volume in &plan.volumes {
            all += payload::rehearse(cx, volume, against(&volume.path), &mut meter)?;
            fences::wanted_head(cx, present.get(&volume.path).copied(), volume.map)?;
        }
    }
    // Nobody may have written since the volumes were saved, whatever the leases promise.
    leases.unchanged(plan)?;
    let intent = Intent { format: FORMAT, plan: plan.clone(), undo: Some(undo), after: None, begun: cx.clock.now() };
    let id = cx.store.put_intent(&intent)?;
    let work = Work { plan, intent: id, before: &present, all: ByteLen(all), from_backup: backups(report) };
    carry_out(cx, &work, leases, &against)
}

/// Finishes a write-back that was cut off: `plan` is made of its intent and a fresh inspection.
///
/// # Errors
/// As [`write_back`].
pub fn resume(cx: &Context<'_>, plan: &RollbackPlan, report: &Report, of: IntentId) -> Result<Receipt, Stop> {
    usable(plan)?;
    let intent = cx.store.intent(of)?;
    if intent.plan.to != plan.to {
        let says = "the plan goes to another snapshot than the write-back it is to finish";
        return Err(Stop::failed(ExitCode::Refused, says, "look at the disks again and make a new plan"));
    }
    let before = cx.store.manifest(intent.undo.ok_or_else(no_undo)?)?;
    // Disks may have been numbered anew since: the name in the snapshot leads to the name then, and that to what was saved.
    let then =
        |v: &VolumeRollback| intent.plan.volumes.iter().find(|w| w.saved_as == v.saved_as).map(|w| w.path.clone());
    let maps = plan.volumes.iter().filter_map(|v| Some((v.path.clone(), map_of(&before, &then(v)?)?))).collect();
    unfinished(cx, plan, report, of, &maps)
}

/// Goes back from a write-back that was cut off. Takes no undo snapshot of the half-written state: what is gone back to is the
/// undo snapshot of the one that was cut off.
///
/// # Errors
/// As [`write_back`].
pub fn undo_unfinished(cx: &Context<'_>, plan: &RollbackPlan, report: &Report, of: IntentId) -> Result<Receipt, Stop> {
    usable(plan)?;
    let undo = cx.store.intent(of)?.undo.ok_or_else(no_undo)?;
    let before = cx.store.manifest(undo)?;
    let maps = plan.volumes.iter().filter_map(|v| Some((v.path.clone(), map_of(&before, &v.saved_as)?))).collect();
    // All that can refuse refuses before the intent is put.
    let mut leases = Leases::take(cx, plan, true)?;
    leases.unchanged(plan)?;
    drop(leases);
    let intent = Intent { format: FORMAT, plan: plan.clone(), undo: Some(undo), after: None, begun: cx.clock.now() };
    let id = cx.store.put_intent(&intent)?;
    unfinished(cx, plan, report, id, &maps)
}

/// A restore is finished by `run::restore`, and nothing goes back from it.
pub(crate) fn no_undo() -> Stop {
    let says = "what the disk held before it was to hold a snapshot was not kept: that cannot be undone";
    let advice =
        "finish it with `holdfast resume`, or put another snapshot onto it with `holdfast restore` and `--overwrite`";
    Stop::failed(ExitCode::Refused, says, advice)
}

/// What stood in each volume before, by its path now.
type Before = BTreeMap<VolumePath, MapRoot>;

fn map_of(before: &Manifest, path: &VolumePath) -> Option<MapRoot> {
    before.volumes.iter().find(|v| v.path == *path).map(|v| v.map)
}

/// The part that resume and undo share: fences stand already, and what is on the disk is compared with what is wanted.
fn unfinished(
    cx: &Context<'_>,
    plan: &RollbackPlan,
    report: &Report,
    intent: IntentId,
    before: &Before,
) -> Result<Receipt, Stop> {
    let mut leases = Leases::take(cx, plan, true)?;
    leases.unchanged(plan)?;
    for volume in &plan.volumes {
        payload::walk(cx, volume)?;
        fences::wanted_head(cx, before.get(&volume.path).copied(), volume.map)?;
    }
    let work = Work { plan, intent, before, all: plan.at_most(), from_backup: backups(report) };
    carry_out(cx, &work, leases, &|_| Against::Disk)
}

/// Everything the writing part needs to know.
struct Work<'a> {
    plan: &'a RollbackPlan,
    intent: IntentId,
    before: &'a Before,
    all: ByteLen,
    from_backup: Vec<DiskNo>,
}

/// The writing: from the first fence to the receipt. The intent is durable.
fn carry_out(
    cx: &Context<'_>,
    work: &Work<'_>,
    leases: Leases,
    against: &dyn Fn(&VolumePath) -> Against,
) -> Result<Receipt, Stop> {
    let done = fenced_part(cx, work, leases, against).map_err(|stop| interrupted(stop, FENCED))?;
    let receipt = Receipt {
        format: FORMAT,
        intent: work.intent,
        holds: work.plan.to,
        written: ByteLen(done.written),
        verified: ByteLen(done.verified),
        ended: cx.clock.now(),
    };
    cx.store.put_receipt(&receipt).map_err(|e| {
        let says = format!("everything was written and verified, but the store could not take the record of it: {e}");
        Stop::failed(ExitCode::Failed, says, "the disks hold the snapshot and can be used; make room in the store")
    })?;
    Ok(receipt)
}

fn fenced_part(
    cx: &Context<'_>,
    work: &Work<'_>,
    mut leases: Leases,
    against: &dyn Fn(&VolumePath) -> Against,
) -> Result<Done, Stop> {
    let plan = work.plan;
    let mut done = Done::default();
    for volume in &plan.volumes {
        done.written += fences::raise(leases.of(volume)?, volume, work.intent, cx.store.id())?;
        done.written += behind::hide(leases.of(volume)?, volume)?;
    }
    {
        let mut meter = Meter::start(cx.observer, cx.clock, "writing", (3, PHASES), work.all, true);
        for volume in &plan.volumes {
            meter.rename(format!("writing {}", volume.path));
            let but = behind::wanted(cx, volume)?.into_iter().map(|(place, _)| place).collect();
            let part = payload::write(cx, leases.of(volume)?, volume, (against(&volume.path), &but), &mut meter)?;
            done.written += part.written;
            done.verified += part.verified;
        }
    }
    let _meter =
        Meter::start(cx.observer, cx.clock, "making the volumes valid again", (4, PHASES), ByteLen::ZERO, true);
    if tables::any(&plan.tables) {
        drop(leases);
        let part = tables::repair(cx, plan, &|disk| work.from_backup.contains(&disk))?;
        done.written += part.written;
        done.verified += part.verified;
        leases = Leases::take(cx, plan, false)?;
    }
    // The fences still stand: a cut from here on is finished or undone like any other.
    firmware::write(cx, &plan.firmware);
    for volume in &plan.volumes {
        let head = fences::wanted_head(cx, work.before.get(&volume.path).copied(), volume.map)?;
        done.written += behind::put(leases.of(volume)?, volume, &behind::wanted(cx, volume)?)?;
        done.written += fences::lower(leases.of(volume)?, volume, &head)?;
        done.verified += head.len() as u64;
    }
    Ok(done)
}

/// After the first fence every failure is one thing: interrupted, and resumable.
pub(super) fn interrupted(stop: Stop, advice: &str) -> Stop {
    match stop {
        Stop::Cancelled(says) => Stop::failed(ExitCode::Interrupted, says.as_str(), advice),
        Stop::Failed(Failure { says, .. }) | Stop::Full(Failure { says, .. }) => {
            Stop::failed(ExitCode::Interrupted, says.as_str(), advice)
        }
    }
}

pub(super) fn usable(plan: &RollbackPlan) -> Result<(), Stop> {
    let failed: Vec<String> = plan.checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.what, c.says)).collect();
    match (plan.is_usable(), failed.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => Err(Stop::failed(
            ExitCode::Refused,
            "there is nothing to write",
            "choose another snapshot or other volumes",
        )),
        (false, false) => {
            let says = format!("this plan cannot be carried out: {}", failed.join("; "));
            Err(Stop::failed(ExitCode::Refused, says, "nothing was written"))
        }
    }
}

/// An undo snapshot with holes would be a promise that cannot be kept.
fn whole(before: &Manifest, plan: &RollbackPlan) -> Result<(), Stop> {
    let lost = |disk: &DiskNo| before.disks.iter().any(|d| d.no == *disk && d.table_map.is_none());
    let mut repaired = plan.tables.iter().filter_map(|t| match t {
        TableRollback::Repair { disk, .. } => Some(disk),
        TableRollback::Untouched { .. } => None,
    });
    if let Some(disk) = repaired.find(|disk| lost(disk)) {
        let says =
            format!("the partition table of {disk} cannot be read whole, so that its repair could not be undone");
        let advice = "nothing was written; the disk is failing: copy it to another one and roll that back";
        return Err(Stop::failed(ExitCode::Refused, says, advice));
    }
    match before.volumes.iter().find(|v| !v.unreadable.is_empty()) {
        None => Ok(()),
        Some(v) => {
            let says =
                format!("{} of {} cannot be read, so that this could not be undone", v.unreadable.total(), v.path);
            let advice = "nothing was written; the disk is failing: copy it to another one and roll that back";
            Err(Stop::failed(ExitCode::Refused, says, advice))
        }
    }
}

/// Where the tables will be written: the undo snapshot must hold those bytes too.
fn more_table(cx: &Context<'_>, plan: &RollbackPlan) -> Result<MoreTable, Stop> {
    let mut more = MoreTable::new();
    for table in &plan.tables {
        if let TableRollback::Repair { disk, map, .. } = table {
            let all = Extent::whole(ByteLen(u64::MAX));
            let extents = cx.store.map(*map).slices(all).map(|s| s.map(|s| s.extent)).collect::<Result<Vec<_>, _>>()?;
            more.insert(*disk, extents);
        }
    }
    Ok(more)
}

/// The disks whose table was read from its second copy.
fn backups(report: &Report) -> Vec<DiskNo> {
    let damaged = |d: &&model::inspection::Disk| d.table.as_ref().is_some_and(|t| t.from_backup);
    report.inspection.disks.iter().filter(damaged).map(|d| d.no).collect()
}
