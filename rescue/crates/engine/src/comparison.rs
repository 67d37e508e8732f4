//! The job that compares two states, and what is worked out beside a plan that waits for a decision: what going there loses, and
//! how long it will take.

use crate::gather;
use crate::jobs::{Done, Jobs};
use crate::plan as plans;
use crate::run::differences::{Side, compare};
use crate::run::{Context, Observer, Stop};
use crate::worker::{Desk, Reply};
use model::assessment::Report;
use model::command::ExitCode;
use model::differences::{Differences, Losses};
use model::esp::SharedEsp;
use model::event::{Happening, Outcome, Question};
use model::id::{Digest, PlanId, SnapRef};
use model::inspection::{Content, Inspection, Volume};
use model::plan::{Action, RollbackPlan, VolumeRollback};
use model::ports::ReadAt;
use model::snapshot::Manifest;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder};
use std::time::Duration;

/// Groups of files, and files, that are told beside a plan.
const MOST_GROUPS: usize = 12;
const MOST_FILES: usize = 100;
/// How long the disk's pace is measured at most, in how many places.
const PACE: Duration = Duration::from_secs(2);
const PLACES: u64 = 8;

/// Tells what differs between a snapshot and another, or the disks as they are now.
pub(crate) fn run(jobs: &Jobs, before: &SnapRef, after: Option<&SnapRef>, text: bool, desk: &Desk) -> Done {
    let store = jobs.store(desk)?;
    let cx = jobs.context(&store, desk);
    let going = || !desk.cancelled();
    let differences = match after {
        Some(after) => {
            let (b, was) = store.find(before, None)?;
            let (a, is) = store.find(after, None)?;
            compare(&cx, &Side::saved(&cx, b, &was), &Side::saved(&cx, a, &is), text, &going)?
        }
        None => {
            let report = jobs.look(Some(&store), desk);
            if report.inspection.disks.is_empty() {
                let advice = "name its disks or images after `now`";
                return Err(Stop::failed(ExitCode::Failed, "there is no disk to compare with", advice));
            }
            let machine = gather::machine(&report.inspection);
            let (b, was) = store.find(before, Some(&machine))?;
            compare(&cx, &Side::saved(&cx, b, &was), &Side::now(&cx, &report.inspection)?, text, &going)?
        }
    };
    Ok(Outcome::Compared(Box::new(differences)))
}

/// A plan, and what it was made of.
#[derive(Clone, Copy)]
pub(crate) struct Planned<'a> {
    pub(crate) plan: &'a RollbackPlan,
    pub(crate) manifest: &'a Manifest,
    pub(crate) report: &'a Report,
}

/// Asks whether a plan is to be carried out; meanwhile it is worked out, and told, what that loses. As [`Desk::ask`]. Whoever
/// decides before that is known need not wait for it.
pub(crate) fn ask(cx: &Context<'_>, planned: Planned<'_>, desk: &Desk) -> Option<Reply> {
    let (id, _) = plans::encode(planned.plan);
    // Of disks that are written whole nothing is kept, and what they hold is in the plan.
    let put = planned.plan.action == Action::Put;
    let usable = planned.plan.is_usable() && planned.plan.disks.is_empty() && !put;
    let why = match planned.plan.is_usable() {
        false => "this plan cannot be carried out",
        true if put => "nothing but what is put in its place changes",
        true => "nothing of what these disks hold is kept",
    };
    let nothing = Losses { plan: id, differences: Err(why.into()), seconds: None };
    let question = Question { id, plan: planned.plan.clone(), losses: (!usable).then_some(nothing) };
    // What a repair changes is told with it, and is no state to go to.
    if planned.plan.action == Action::Repair {
        return desk.ask(question, || {});
    }
    let answered = AtomicBool::new(false);
    let going = || !answered.load(Ordering::Relaxed) && !desk.cancelled();
    thread::scope(|scope| {
        let meanwhile = || {
            let work = || {
                let told = catch_unwind(AssertUnwindSafe(|| losses(cx, planned, id, &going)));
                let losses = told.unwrap_or_else(|_| untold(id, "the program stumbled over it"));
                if going() {
                    desk.tell(Happening::Losses(Box::new(losses)));
                }
            };
            if usable && Builder::new().name("losses".to_owned()).spawn_scoped(scope, work).is_err() {
                desk.tell(Happening::Losses(Box::new(untold(id, "there are no more threads"))));
            }
        };
        let answer = desk.ask(question, meanwhile);
        answered.store(true, Ordering::Relaxed);
        answer
    })
}

fn untold(plan: PlanId, why: &str) -> Losses {
    Losses { plan, differences: Err(why.into()), seconds: None }
}

fn losses(cx: &Context<'_>, planned: Planned<'_>, id: PlanId, going: &(dyn Fn() -> bool + Sync)) -> Losses {
    let Planned { plan, manifest, report } = planned;
    let differences = differences(cx, planned, going).map_err(|stop| match stop {
        Stop::Cancelled(says) => says,
        Stop::Failed(failure) | Stop::Full(failure) => failure.says,
    });
    let returning = differences.as_ref().ok().filter(|d| d.volumes.iter().all(|v| v.files.is_ok()));
    let returning = returning.map(|d| d.counts().returning());
    let seconds = pace(cx, plan, manifest, going).and_then(|pace| duration(plan, report, returning, pace));
    Losses { plan: id, differences: differences.map(|d| d.shortened(MOST_GROUPS, MOST_FILES)), seconds }
}

/// From the saved state to the present one, of the volumes that are written.
fn differences(cx: &Context<'_>, planned: Planned<'_>, going: &dyn Fn() -> bool) -> Done<Differences> {
    let Planned { plan, manifest, report } = planned;
    let saved: Vec<_> = plan.volumes.iter().map(|v| (v.saved_as.clone(), v.path.clone())).collect();
    let now: Vec<_> = plan.volumes.iter().map(|v| (v.path.clone(), v.saved_as.clone())).collect();
    let before = Side::saved(cx, plan.to, manifest).only(&saved);
    // What is kept is not lost.
    let kept = plan.composed.iter().flat_map(|c| &c.paths).map(|p| p.path.clone());
    let kept = kept.chain(on_esps(plan, &report.inspection)).collect();
    let after = Side::now(cx, &report.inspection)?.only(&now).but(kept);
    compare(cx, &before, &after, true, going)
}

/// What stays on EFI system partitions, as the system that has them mounted calls it.
fn on_esps(plan: &RollbackPlan, inspection: &Inspection) -> Vec<RawName> {
    let kept = plan.esps.iter().filter(|esp| esp.cannot.is_none());
    let called = |esp: &SharedEsp| -> Vec<RawName> {
        let mounts = inspection.systems.iter().flat_map(|s| &s.boot);
        let at = mounts.filter(|(at, v)| *v == esp.volume && at.starts_with('/')).map(|(at, _)| at).next();
        let path = |at: &String| esp.stays.iter().map(|p| RawName([at.as_bytes(), &p.path.0].concat())).collect();
        at.map(path).unwrap_or_default()
    };
    kept.flat_map(called).collect()
}

/// Bytes a second that the disk of the largest volume is read and hashed with, at places that the snapshot has in use.
fn pace(cx: &Context<'_>, plan: &RollbackPlan, manifest: &Manifest, going: &dyn Fn() -> bool) -> Option<u64> {
    let largest = plan.volumes.iter().max_by_key(|v| v.at_most)?;
    let saved = manifest.volumes.iter().find(|v| v.path == largest.saved_as)?;
    let bytes = disk::volume::bytes(&cx.devices.disks(), &largest.volume())?;
    let size = saved.extent.len().0;
    let began = cx.clock.monotonic();
    let mut read = 0;
    for place in 0..PLACES {
        if !going() || cx.clock.monotonic().saturating_sub(began) > PACE {
            break;
        }
        let part = Extent::between(size / PLACES * place, (size / PLACES * (place + 1)).min(size))?;
        let leaf = cx.store.map(saved.map).leaves(part).next().and_then(Result::ok);
        let Some(wanted) = leaf.and_then(|leaf| leaf.extent.intersect(Extent::whole(bytes.size()))) else { continue };
        let Some(len) = wanted.len().to_usize() else { continue };
        let content = bytes.read_vec(ByteOffset(wanted.start().0), len).ok()?;
        std::hint::black_box(Digest::of(&content));
        read += wanted.len().0;
    }
    let micros = u64::try_from(cx.clock.monotonic().saturating_sub(began).as_micros()).ok()?;
    read.checked_mul(1_000_000)?.checked_div(micros).filter(|pace| *pace > 0)
}

/// Seconds at that pace: all that is in use is read and saved (of what the records prove, nothing at the least), and what differs (at most
/// all) written and read back.
fn duration(plan: &RollbackPlan, report: &Report, returning: Option<ByteLen>, pace: u64) -> Option<(u64, u64)> {
    let used = |v: &VolumeRollback| report.inspection.volume(&v.path).map_or(v.at_most.0, |now| in_use(now, v));
    let read = plan.volumes.iter().map(used).fold(0, u64::saturating_add);
    let by_proof = plan.reads.as_ref().is_some_and(|reads| !reads.everything);
    let twice = |bytes: ByteLen| bytes.0.saturating_mul(2);
    let most = plan.at_most();
    let at_least = twice(returning.unwrap_or_default().min(most)).saturating_add(if by_proof { 0 } else { read });
    Some((at_least.div_ceil(pace), read.saturating_add(twice(most)).div_ceil(pace)))
}

/// What is in use of a volume; where it does not say, what the snapshot has of it.
fn in_use(now: &Volume, then: &VolumeRollback) -> u64 {
    match &now.content {
        Content::Ext(e) => e.blocks.saturating_sub(e.free_blocks).saturating_mul(u64::from(e.block_size)),
        Content::Btrfs(b) if b.not_read.is_none() => b.used.0,
        Content::Xfs(x) if x.not_read.is_none() => {
            x.blocks.saturating_sub(x.free_blocks).saturating_mul(u64::from(x.block_size))
        }
        Content::Swap(_) => 0,
        Content::Fat(_) | Content::Exfat(_) => then.at_most.0,
        Content::Ntfs(n) if n.is_settled() => then.at_most.0,
        _ => now.extent.len().0,
    }
}
