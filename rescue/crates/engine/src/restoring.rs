//! The job that puts a snapshot onto other disks, and the one that finishes it.
//!
//! Where volumes are to be larger there, the snapshot is composed first that is so ([`compose::grow`]), once the plan is approved; then it
//! is put onto the disks as any is.

use crate::comparison::Planned;
use crate::jobs::{Done, Jobs, ask, stands};
use crate::plan::firmware::repointed;
use crate::plan::restore::growth::grown;
use crate::plan::restore::{Growing, Question, Standing, Target, again, plan};
use crate::run::pending::{self, Unfinished};
use crate::run::saved::Saved;
use crate::run::{Context, Stop, blank, compose, restore};
use crate::worker::{Desk, Reply};
use crate::{composing, gather};
use model::assessment::Report;
use model::command::{ExitCode, Onto};
use model::firmware::BootSettings;
use model::id::{Digest, DiskNo, IntentId, SnapRef, SnapshotId, VolumePath};
use model::inspection::{Content, Disk};
use model::luks::Sealed;
use model::mapping::Mapping;
use model::plan::{Action, Composition, RollbackPlan};
use model::ports::DiskSource;
use model::restore::{DiskRestore, FitTable, FittedTable, GrowPartition, Growth};
use model::snapshot::{Manifest, Receipt, SavedDisk};
use model::text::DisplayText;
use model::units::{ByteLen, Extent};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Free room of a disk is given away in these steps where it has no table that would.
const MIB: u64 = 1 << 20;

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
    /// Volumes that are made larger, as the snapshot calls them.
    pub(crate) grow: &'a [VolumePath],
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
    let asked = Asked { to, manifest: &manifest, report: &report, chosen: &chosen, over, fences: &fences };
    let receipt = decided(jobs, &cx, &asked, order, desk);
    jobs.ended(receipt, &store, desk)
}

/// What a plan is made of, whatever it is to do with the room of a larger disk.
struct Asked<'a> {
    to: SnapshotId,
    manifest: &'a Manifest,
    report: &'a Report,
    chosen: &'a [(&'a SavedDisk, &'a Disk)],
    over: Option<IntentId>,
    fences: &'a [IntentId],
}

/// Asks, as often as somebody wants volumes made larger or not; and runs what was approved.
fn decided(jobs: &Jobs, cx: &Context<'_>, asked: &Asked<'_>, order: &Order<'_>, desk: &Desk) -> Done<Option<Receipt>> {
    let mut grow = order.grow.to_vec();
    loop {
        let plan = planned(jobs, cx, asked, &Order { grow: &grow, ..*order })?;
        match ask(cx, Planned { plan: &plan, manifest: asked.manifest, report: asked.report }, desk)? {
            Reply::Approved => return carry_out(jobs, cx, asked, &plan).map(Some),
            Reply::Declined => return Ok(None),
            Reply::Grow(true) => grow = growths(&plan).map(|g| g.volume.clone()).collect(),
            Reply::Grow(false) => grow.clear(),
            // Nothing is there that could be read first, or kept.
            Reply::Reread(_) | Reply::Keep(_) | Reply::LeaveEsps(_) => {}
        }
    }
}

fn growths(plan: &RollbackPlan) -> impl Iterator<Item = &Growth> {
    plan.disks.iter().filter_map(|d| d.growth.as_ref())
}

fn planned(jobs: &Jobs, cx: &Context<'_>, asked: &Asked<'_>, order: &Order<'_>) -> Done<RollbackPlan> {
    let Asked { to, manifest, report, .. } = *asked;
    let targets: Vec<Target<'_>> = asked.chosen.iter().map(|chosen| target(cx, manifest, *chosen, order)).collect();
    let settings = boot_entries(cx, asked, &targets);
    let mut plan = plan(&Question {
        to,
        manifest,
        inspection: &report.inspection,
        targets: &targets,
        overwrite: order.overwrite,
        new_ids: order.new_ids,
        grow: order.grow,
        open: &opened(cx, manifest.volumes.iter().filter_map(|v| v.mapping.as_ref()).flat_map(sealed_beneath)),
        firmware: settings.as_ref().map(|(then, now)| (then, *now)).map_err(DisplayText::clone),
        over: asked.over,
        pending: asked.fences,
    });
    if growths(&plan).any(|g| g.wanted) {
        let room = compose::growing_takes(manifest, growths(&plan).filter(|g| g.wanted));
        plan.composed = Some(Composition { of: Some(to), with: Some(to), paths: Vec::new(), room });
        plan.checks.push(composing::may_grow_here());
    }
    jobs.as_last_seen(cx.store, &mut plan)?;
    Ok(plan)
}

/// Composes what is larger than it was saved, and writes the disks.
fn carry_out(jobs: &Jobs, cx: &Context<'_>, asked: &Asked<'_>, shown: &RollbackPlan) -> Done<Receipt> {
    let Some(composition) = shown.composed.as_ref().filter(|_| shown.is_usable()) else {
        return restore::restore(cx, shown);
    };
    let scratch = composing::scratch(jobs);
    let base = (asked.to, asked.manifest);
    restore::restore(cx, &compose::grow(cx, base, shown, (composition.room, &scratch))?)
}

/// What the firmware started of the saved disks, as it would start it from the new ones, and what it starts now.
///
/// # Errors
/// Why its entries are left as they are.
fn boot_entries<'a>(
    cx: &Context<'_>,
    asked: &'a Asked<'_>,
    targets: &[Target<'_>],
) -> Result<(BootSettings, &'a BootSettings), DisplayText> {
    if cx.devices.are_named() {
        return Err("the disks were named, and this may not be the computer that starts from them".into());
    }
    let now = asked.report.inspection.firmware.as_ref();
    let now = now.ok_or("no boot entries are seen here, as where it was not started by UEFI")?;
    let then = asked.manifest.firmware.as_ref().ok_or("the snapshot holds no boot entries")?;
    let then = gather::reread(cx.parser, then).map_err(|why| DisplayText::new(&why))?;
    let mut guids = BTreeMap::new();
    for target in targets {
        let (Some(table), Some(Ok(fitted))) = (&target.saved.table, &target.fitted) else { continue };
        let new = |number: u32| fitted.guids.iter().find(|(n, _)| *n == number).map(|(_, guid)| guid.clone());
        guids.extend(table.partitions.iter().filter_map(|p| Some((p.guid.clone()?, new(p.number)?))));
    }
    Ok((repointed(&then, &guids), now))
}

/// Finishes one that was cut off.
pub(crate) fn finish(jobs: &Jobs, cx: &Context<'_>, report: &Report, unfinished: &Unfinished, desk: &Desk) -> Done {
    let sources = cx.devices.disks();
    let begun = (unfinished.id, &unfinished.intent.plan);
    let encrypted = unfinished.intent.plan.disks.iter().flat_map(|d| &d.encrypted);
    let open = opened(cx, encrypted.map(|e| &e.sealed));
    let standing = |wanted: &DiskRestore, disk: &Disk| {
        let source = sources.iter().find(|s| s.no == disk.no);
        let blank = |s: &DiskSource| disk.table.is_none() && matches!(blank::not_zero(&*s.bytes), Ok(None));
        match source {
            Some(source) if restore::is_whole(cx, wanted, source) => Standing::Whole,
            Some(source) if blank(source) => Standing::Empty,
            _ => Standing::Other,
        }
    };
    let mut plan = again(begun, &report.inspection, &unfinished.fences, &standing, &open);
    jobs.as_last_seen(cx.store, &mut plan)?;
    let of: IntentId = unfinished.id;
    let manifest = cx.store.manifest(plan.to)?;
    let planned = Planned { plan: &plan, manifest: &manifest, report };
    let receipt = jobs.approved(cx, planned, desk, |plan| restore::resume(cx, plan, of));
    jobs.ended(receipt, cx.store, desk)
}

/// What the headers of encrypted volumes are known by, of those whose keys are here.
fn opened<'a>(cx: &Context<'_>, sealed: impl Iterator<Item = &'a Sealed>) -> BTreeSet<Digest> {
    sealed.filter(|s| cx.keys.cipher(s).is_some()).map(|s| s.header).collect()
}

/// What lies encrypted beneath a volume.
fn sealed_beneath(mapping: &Mapping) -> impl Iterator<Item = &Sealed> {
    mapping.beneath.iter().filter_map(|b| b.sealed.as_deref())
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
fn target<'a>(
    cx: &Context<'_>,
    manifest: &Manifest,
    (saved, disk): (&'a SavedDisk, &'a Disk),
    order: &Order<'_>,
) -> Target<'a> {
    let source = cx.devices.disks().into_iter().find(|s| s.no == disk.no);
    let not_zero = match source {
        Some(source) => blank::not_zero(&*source.bytes).map_err(|e| DisplayText::new(&e.to_string())),
        None => Err("it is gone".into()),
    };
    let holders = cx.devices.holders(disk.no, Extent::whole(disk.hardware.size));
    let plain = fitted(cx, (saved, disk), order.new_ids, None);
    let growth = growing(manifest, (saved, disk), plain.as_ref(), order.grow);
    let number = |g: &Growing| g.grown.volume.number();
    let fitted =
        match growth.as_ref().ok().and_then(Option::as_ref).filter(|g| g.wanted).map(|g| (number(g), g.grown.by)) {
            Some((Some(number), by)) => fitted(cx, (saved, disk), order.new_ids, Some(GrowPartition { number, by })),
            _ => plain,
        };
    Target { saved, disk, not_zero, holders, fitted, growth }
}

/// The volume that is to be made larger on a disk, or could be.
fn growing(
    manifest: &Manifest,
    (saved, disk): (&SavedDisk, &Disk),
    fitted: Option<&Result<FittedTable, DisplayText>>,
    wanted: &[VolumePath],
) -> Result<Option<Growing>, DisplayText> {
    let room = match fitted {
        Some(Ok(fitted)) => fitted.room,
        // Why it cannot be laid out is told elsewhere.
        Some(Err(_)) => return Ok(None),
        None => {
            let ends = manifest.volumes.iter().filter(|v| v.path.disk() == saved.no).map(|v| v.extent.end().0).max();
            ByteLen(disk.hardware.size.0.saturating_sub(ends.unwrap_or(u64::MAX)) / MIB * MIB)
        }
    };
    let named: Vec<&VolumePath> = wanted.iter().filter(|path| path.disk() == saved.no).collect();
    let found = match named.as_slice() {
        [] if !composing::may_grow_here().ok => Ok(None),
        [] => grown(manifest, saved, room, None),
        [one] => grown(manifest, saved, room, Some(one)),
        [_, _, ..] => Err("only one volume of a disk can be".to_owned()),
    };
    let wanted = !named.is_empty();
    found.map(|found| found.map(|grown| Growing { grown, wanted })).map_err(|why| DisplayText::new(&why))
}

/// The saved table for the new disk; `None` where the saved disk had none.
fn fitted(
    cx: &Context<'_>,
    (saved, disk): (&SavedDisk, &Disk),
    new_ids: bool,
    grow: Option<GrowPartition>,
) -> Option<Result<FittedTable, DisplayText>> {
    let table = saved.table.as_ref()?;
    let Some(map) = saved.table_map else {
        return Some(Err("it could not be read whole when it was saved".into()));
    };
    let bytes = Arc::new(Saved::new(cx.store.clone(), map, saved.hardware.size));
    let seed = new_ids.then(|| seed(saved, disk));
    let (sector, size) = (saved.hardware.sector, disk.hardware.size);
    let wanted = FitTable { kind: table.kind, sector, size, new_ids: seed, grow };
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
