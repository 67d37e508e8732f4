//! The job that puts a snapshot onto other disks, and the one that finishes it.

use crate::comparison::Planned;
use crate::jobs::{Done, Jobs, stands};
use crate::plan::restore::{Question, Standing, Target, again, plan};
use crate::run::pending::{self, Unfinished};
use crate::run::saved::Saved;
use crate::run::{Context, Stop, blank, restore};
use crate::worker::Desk;
use model::assessment::Report;
use model::command::{ExitCode, Onto};
use model::id::{Digest, DiskNo, IntentId, SnapRef};
use model::inspection::{Content, Disk};
use model::plan::Action;
use model::ports::DiskSource;
use model::restore::{FitTable, FittedTable};
use model::snapshot::{Manifest, SavedDisk};
use model::text::DisplayText;
use model::units::Extent;
use std::sync::Arc;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    /// Which snapshot.
    pub(crate) to: &'a SnapRef,
    /// Onto which disks.
    pub(crate) onto: &'a [Onto],
    /// Disks that may be written over, by their identity.
    pub(crate) overwrite: &'a [DisplayText],
    /// With new identifiers.
    pub(crate) new_ids: bool,
}

/// Makes the plan, asks, and runs what was approved.
pub(crate) fn run(jobs: &Jobs, order: &Order<'_>, desk: &Desk) -> Done {
    let store = jobs.store(desk)?;
    let cx = jobs.context(&store, desk);
    let report = jobs.look(Some(&store), desk);
    let (to, manifest) = store.find(order.to, None)?;
    let chosen = chosen(order.onto, &manifest, &report)?;
    let standing = pending::unfinished(&store, &report.inspection)?;
    let (over, fences) = match standing {
        None => (None, Vec::new()),
        Some(standing) if given_up(&standing, &chosen, &report) => (Some(standing.id), standing.fences),
        Some(standing) => return Err(stands(&standing)),
    };
    let targets =
        chosen.iter().map(|(saved, disk)| target(&cx, saved, disk, order.new_ids)).collect::<Result<Vec<_>, _>>()?;
    let mut plan = plan(&Question {
        to,
        manifest: &manifest,
        inspection: &report.inspection,
        targets: &targets,
        overwrite: order.overwrite,
        new_ids: order.new_ids,
        over,
        pending: &fences,
    });
    jobs.as_last_seen(&store, &mut plan)?;
    let planned = Planned { plan: &plan, manifest: &manifest, report: &report };
    let receipt = jobs.approved(&cx, planned, desk, |plan| restore::restore(&cx, plan));
    jobs.ended(receipt, &store, desk)
}

/// Finishes one that was cut off.
pub(crate) fn finish(jobs: &Jobs, cx: &Context<'_>, report: &Report, unfinished: &Unfinished, desk: &Desk) -> Done {
    let sources = cx.devices.disks();
    let begun = (unfinished.id, &unfinished.intent.plan);
    let mut plan = again(begun, &report.inspection, &unfinished.fences, &|wanted, disk| {
        let source = sources.iter().find(|s| s.no == disk.no);
        let blank = |s: &DiskSource| disk.table.is_none() && matches!(blank::not_zero(&*s.bytes), Ok(None));
        match source {
            Some(source) if restore::is_whole(cx, wanted, source) => Standing::Whole,
            Some(source) if blank(source) => Standing::Empty,
            _ => Standing::Other,
        }
    });
    jobs.as_last_seen(cx.store, &mut plan)?;
    let of: IntentId = unfinished.id;
    let manifest = cx.store.manifest(plan.to)?;
    let planned = Planned { plan: &plan, manifest: &manifest, report };
    let receipt = jobs.approved(cx, planned, desk, |plan| restore::resume(cx, plan, of));
    jobs.ended(receipt, cx.store, desk)
}

/// True where what stands unfinished is a restore, on no other disks than those chosen: it may be given up for this one.
fn given_up(standing: &Unfinished, chosen: &[(&SavedDisk, &Disk)], report: &Report) -> bool {
    let fenced = report.inspection.volumes().filter(|(_, v)| matches!(v.content, Content::Fenced(_)));
    matches!(standing.intent.plan.action, Action::Restore { .. })
        && fenced.into_iter().all(|(disk, _)| chosen.iter().any(|(_, d)| d.no == disk.no))
}

/// Which disk of the snapshot goes onto which: as named, or in their order.
fn chosen<'a>(
    onto: &[Onto],
    manifest: &'a Manifest,
    report: &'a Report,
) -> Result<Vec<(&'a SavedDisk, &'a Disk)>, Stop> {
    let refused = |says: String, advice: &str| Err(Stop::failed(ExitCode::Refused, says, advice));
    let held: Vec<&SavedDisk> =
        manifest.disks.iter().filter(|d| manifest.volumes.iter().any(|v| v.path.disk() == d.no)).collect();
    let listed = |disks: &[&SavedDisk]| {
        let said = |d: &&SavedDisk| format!("{} ({}, {})", d.no, d.hardware.model, d.hardware.size);
        disks.iter().map(said).collect::<Vec<_>>().join(", ")
    };
    let present = |no: DiskNo| report.inspection.disk(no);
    let mut out: Vec<(&SavedDisk, &Disk)> = Vec::new();
    let in_order = onto.iter().all(|o| o.saved.is_none());
    if in_order && onto.len() != held.len() {
        let says = format!("the snapshot holds {} disks, and {} were named: {}", held.len(), onto.len(), listed(&held));
        return refused(says, "name as many, in that order, or say which goes where: --disk d0=DISK");
    }
    for (at, pair) in onto.iter().enumerate() {
        let saved = match (in_order, pair.saved) {
            (true, _) => held.get(at).copied(),
            (false, Some(no)) => held.iter().copied().find(|d| d.no == no),
            (false, None) => {
                return refused("some disks were named with what goes onto them, and some without".into(), "");
            }
        };
        let Some(saved) = saved else {
            let no = pair.saved.unwrap_or(DiskNo(0));
            return refused(format!("the snapshot holds no {no}"), &format!("it holds {}", listed(&held)));
        };
        let Some(disk) = present(pair.disk) else {
            return refused(format!("there is no {} here", pair.disk), "look at the disks again");
        };
        if let Some((s, d)) = out.iter().find(|(s, d)| s.no == saved.no || d.no == disk.no) {
            return refused(format!("{} onto {} and {} onto {}: one disk twice", s.no, d.no, saved.no, disk.no), "");
        }
        out.push((saved, disk));
    }
    Ok(out)
}

/// Reads what a plan needs of a disk besides the inspection.
fn target<'a>(cx: &Context<'_>, saved: &'a SavedDisk, disk: &'a Disk, new_ids: bool) -> Result<Target<'a>, Stop> {
    let source = cx.devices.disks().into_iter().find(|s| s.no == disk.no);
    let not_zero = match source {
        Some(source) => blank::not_zero(&*source.bytes).map_err(|e| DisplayText::new(&e.to_string())),
        None => Err("it is gone".into()),
    };
    let holders = cx.devices.holders(disk.no, Extent::whole(disk.hardware.size));
    Ok(Target { saved, disk, not_zero, holders, fitted: fitted(cx, saved, disk, new_ids) })
}

/// The saved table for the new disk; `None` where the saved disk had none.
fn fitted(cx: &Context<'_>, saved: &SavedDisk, disk: &Disk, new_ids: bool) -> Option<Result<FittedTable, DisplayText>> {
    let table = saved.table.as_ref()?;
    let Some(map) = saved.table_map else {
        return Some(Err("it could not be read whole when it was saved".into()));
    };
    let bytes = Arc::new(Saved::new(cx.store.clone(), map, saved.hardware.size));
    let seed = new_ids.then(|| seed(saved, disk));
    let wanted = FitTable { kind: table.kind, sector: saved.hardware.sector, size: disk.hardware.size, new_ids: seed };
    Some(cx.parser.fit_table(bytes, &wanted).map_err(|e| e.why))
}

/// What new identifiers are made of: the same for the same disk and table, so that a plan can be shown first and approved; others for
/// each other disk. An image file is told by its name, which goes no further than into this sum.
fn seed(saved: &SavedDisk, disk: &Disk) -> Digest {
    let hardware = &disk.hardware;
    let text = |t: &Option<DisplayText>| t.as_ref().map_or(String::new(), ToString::to_string);
    let id = saved.table.as_ref().map_or("", |t| t.id.as_str());
    let all = [
        id.to_owned(),
        text(&hardware.serial),
        text(&hardware.wwn),
        hardware.model.to_string(),
        hardware.size.0.to_string(),
        text(&hardware.shown_as),
    ];
    Digest::of(all.join("\n").as_bytes())
}
