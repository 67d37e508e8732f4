//! Putting a boot chain right without a snapshot.
//!
//! ```text
//!  parser: what is broken, and which bytes would put it right (on copies in memory)
//!     -> looked at again -> a plan, shown and approved by its id
//!     -> the volumes as they would be are saved: a snapshot like any other
//!     -> the ordinary write-back to it: undo snapshot, intent, fence, payload, read back, receipt
//! ```
//!
//! So a repair that is cut off is finished or undone as any rollback is, and one that is done can be undone.

mod edit;
mod patched;

use crate::comparison::Planned;
use crate::gather;
use crate::jobs::{Done, Jobs, Making, stands};
use crate::parser::Overruled;
use crate::plan::rollback::{Set, plain, writes_the_same};
use crate::plan::snapshot;
use crate::run::capture::{MoreTable, capture};
use crate::run::pending;
use crate::run::{Context, Stop, write_back};
use crate::worker::Desk;
use model::assessment::Report;
use model::boot::{BootChain, BootRepairs, LinkState, Patch};
use model::command::ExitCode;
use model::coverage::CaptureMethod;
use model::cuts::PIECE;
use model::event::{Happening, Outcome};
use model::id::{Digest, DiskNo, NodeId, SnapshotId, VolumePath};
use model::plan::{Action, RollbackPlan, TableRollback};
use model::snapshot::{Cost, FORMAT, Manifest, MapRoot, Purpose, Receipt, SavedDisk, SavedVolume};
use model::text::DisplayText;
use model::units::{ByteLen, ExtentSet};
use patched::{Patched, patched};
use std::collections::BTreeSet;

/// Works out what can be put right, asks, and does it.
pub(crate) fn repair(jobs: &Jobs, desk: &Desk) -> Done {
    let store = jobs.store(desk)?;
    let cx = jobs.context(&store, desk);
    let report = jobs.look(Some(&store), desk);
    if let Some(unfinished) = pending::unfinished(&store, &report.inspection)? {
        return Err(stands(&unfinished));
    }
    let repairs = cx.parser.boot_repairs(&report.inspection).map_err(|e| {
        let advice = "nothing was written; please report this";
        Stop::failed(ExitCode::Failed, format!("what can be put right could not be worked out: {e}"), advice)
    })?;
    edit::check(&repairs.patches, &report.inspection, &cx.devices.disks()).map_err(|why| {
        let says = format!("what the parser wants changed was refused: {why}");
        Stop::failed(
            ExitCode::Failed,
            says,
            "nothing was written; please report this with a copy of the volume's files",
        )
    })?;
    let told = BootRepairs { patches: Vec::new(), ..repairs.clone() };
    desk.tell(Happening::BootRepairs(Box::new(told)));
    if repairs.items.is_empty() || repairs.patches.is_empty() {
        return Ok(Outcome::Looked);
    }
    let repair = Repair { repairs: &repairs, volumes: volumes(&repairs, &report)? };
    let manifest = repair.manifest(&cx, &report);
    let plan = repair.plan(jobs, &cx, &report, &manifest)?;
    let planned = Planned { plan: &plan, manifest: &manifest, report: &report };
    let receipt = jobs.approved(&cx, planned, desk, |plan| repair.carry_out(jobs, &cx, &report, plan));
    jobs.ended(receipt, &store, desk)
}

/// A repair that is to be planned and carried out.
struct Repair<'a> {
    repairs: &'a BootRepairs,
    /// The volumes that are written, each fenced meanwhile.
    volumes: BTreeSet<VolumePath>,
}

/// The volumes that change. A table alone is written while a volume of its disk's boot set is fenced: the smallest.
fn volumes(repairs: &BootRepairs, report: &Report) -> Result<BTreeSet<VolumePath>, Stop> {
    let inspection = &report.inspection;
    let is_volume = |p: &&Patch| inspection.volume(&p.volume).is_some();
    let mut volumes: BTreeSet<VolumePath> =
        repairs.patches.iter().filter(is_volume).map(|p| p.volume.clone()).collect();
    for disk in tables(repairs, report) {
        if volumes.iter().any(|v| v.disk() == disk) {
            continue;
        }
        let sets = inspection.systems.iter().flat_map(|s| s.boot.iter().map(|(_, v)| v).chain([&s.root]));
        let own = sets.filter(|v| v.disk() == disk).filter_map(|v| inspection.volume(v));
        let smallest = own.min_by_key(|v| (v.extent.len(), v.path.clone())).ok_or_else(|| {
            let says = format!("{disk} has no volume of a system that could be fenced meanwhile");
            Stop::failed(ExitCode::Refused, says, "nothing was written")
        })?;
        volumes.insert(smallest.path.clone());
    }
    Ok(volumes)
}

/// The disks whose tables change.
fn tables(repairs: &BootRepairs, report: &Report) -> BTreeSet<DiskNo> {
    let whole = |p: &&Patch| report.inspection.volume(&p.volume).is_none();
    repairs.patches.iter().filter(whole).map(|p| p.volume.disk()).collect()
}

impl Repair<'_> {
    /// The plan that is shown: everything a write-back is checked for, and in the place of a snapshot's id and maps the digests of the
    /// bytes that change, so that its id says them.
    fn plan(&self, jobs: &Jobs, cx: &Context<'_>, report: &Report, manifest: &Manifest) -> Done<RollbackPlan> {
        let to = SnapshotId(self.digest(&|_| true));
        let making = Making { action: Action::Repair, to, manifest, set: Set::All, of: None, pending: &[] };
        let mut plan = jobs.make(cx, report, &making)?;
        for disk in report.inspection.disks.iter().filter(|d| tables(self.repairs, report).contains(&d.no)) {
            plan.tables.retain(|t| !matches!(t, TableRollback::Untouched { disk: no } if *no == disk.no));
            plan.tables.push(TableRollback::Repair {
                disk: disk.no,
                why: "its first copy, or what announces it, is damaged".into(),
                map: self.map(&VolumePath::whole(disk.no)),
                hardware: plain(&disk.hardware),
                disk_head: disk.head,
            });
        }
        plan.kept.iter_mut().for_each(|(_, why)| *why = "nothing on it changes".into());
        let left = match resolves(&self.repairs.after) {
            LinkState::Ok => "the boot chain resolves then".to_owned(),
            LinkState::NotChecked => "nothing that was checked is broken then".to_owned(),
            LinkState::Broken => {
                let broken = self.repairs.after.iter().flat_map(BootChain::broken);
                let says: Vec<&str> = broken.map(|l| l.says.as_str()).take(3).collect();
                format!("what stays broken: {}", says.join("; "))
            }
        };
        let count = self.repairs.items.len();
        let things =
            if count == 1 { "one thing is put right".to_owned() } else { format!("{count} things are put right") };
        plan.to_says = DisplayText::new(&format!("{things}; {left}"));
        Ok(plan)
    }

    /// What a snapshot of the repaired volumes will say, before it is made.
    fn manifest(&self, cx: &Context<'_>, report: &Report) -> Manifest {
        let inspection = &report.inspection;
        let saved = |path: &VolumePath| {
            let volume = inspection.volume(path)?;
            let own = self.repairs.patches.iter().filter(|p| p.volume == *path);
            Some(SavedVolume {
                path: path.clone(),
                extent: volume.extent,
                mapping: volume.mapping.clone(),
                content: volume.content.clone(),
                method: CaptureMethod::UsedBlocks,
                why: "with what is put right".into(),
                captured: ByteLen(own.map(at_most).sum::<u64>().min(volume.extent.len().0)),
                unreadable: ExtentSet::new(),
                compared: None,
                state: None,
                map: self.map(path),
            })
        };
        let disks: BTreeSet<DiskNo> = self.volumes.iter().map(VolumePath::disk).collect();
        let disk = |no: &DiskNo| {
            let disk = inspection.disk(*no)?;
            let hardware = plain(&disk.hardware);
            Some(SavedDisk { no: *no, hardware, table: disk.table.clone(), table_map: None })
        };
        Manifest {
            format: FORMAT,
            counter: 0,
            origin: String::new(),
            parent: None,
            purpose: Purpose::Repair,
            machine: gather::machine(inspection),
            taken: cx.clock.now(),
            systems: report.systems.clone(),
            disks: disks.iter().filter_map(disk).collect(),
            volumes: self.volumes.iter().filter_map(saved).collect(),
            firmware: inspection.firmware.clone(),
            cost: Cost::default(),
        }
    }

    /// The digest of the bytes that change, with where they lie.
    fn digest(&self, which: &dyn Fn(&Patch) -> bool) -> Digest {
        let mut all = Vec::new();
        for patch in self.repairs.patches.iter().filter(|p| which(p)) {
            all.extend_from_slice(patch.volume.to_string().as_bytes());
            all.push(0);
            all.extend_from_slice(&patch.at.0.to_le_bytes());
            all.extend_from_slice(&(patch.bytes.len() as u64).to_le_bytes());
            all.extend_from_slice(&patch.bytes);
        }
        Digest::of(&all)
    }

    fn map(&self, path: &VolumePath) -> MapRoot {
        let content = self.digest(&|p| p.volume == *path);
        MapRoot { node: NodeId(content), height: 0, content }
    }

    /// Saves the volumes as they would be, and writes them back.
    fn carry_out(&self, jobs: &Jobs, cx: &Context<'_>, report: &Report, shown: &RollbackPlan) -> Done<Receipt> {
        if !shown.is_usable() {
            let says = "this plan cannot be carried out";
            return Err(Stop::failed(ExitCode::Refused, says, "nothing was written; see what had to be so"));
        }
        let devices = patched(cx.devices.disks(), &report.inspection, &self.repairs.patches);
        let devices = devices.map_err(|why| Stop::failed(ExitCode::Failed, why, "nothing was written"))?;
        let parser = Overruled { parser: cx.parser, by: Patched(&self.repairs.patches) };
        let with = Context { devices: &devices, parser: &parser, ..*cx };
        let machine = gather::machine(&report.inspection);
        let parent = pending::last_known(cx.store, &machine).map(|(id, _)| id);
        let plan = snapshot::repaired(&report.inspection, &self.volumes, tables(self.repairs, report), parent);
        let (to, manifest) = capture(&with, &plan, report, &self.more_table(), (1, 1))?;
        let making =
            Making { action: Action::Rollback, to, manifest: &manifest, set: Set::All, of: None, pending: &[] };
        let plan = jobs.make(cx, report, &making)?;
        if !writes_the_same(shown, &plan) {
            let says = "the disks are not as they were when the plan was shown";
            return Err(Stop::failed(ExitCode::Refused, says, "nothing was written; make a new plan"));
        }
        write_back::write_back(cx, &plan, report)
    }

    /// Where the table changes: it is saved there whatever else is saved of it.
    fn more_table(&self) -> MoreTable {
        let mut more = MoreTable::new();
        for patch in self.repairs.patches.iter().filter(|p| p.volume.is_whole()) {
            let extent = model::units::Extent::new(patch.at, ByteLen(patch.bytes.len() as u64));
            more.entry(patch.volume.disk()).or_default().extend(extent);
        }
        more
    }
}

/// The most that is written for a patch: the chunks it lies in.
fn at_most(patch: &Patch) -> u64 {
    patch.bytes.len() as u64 + 2 * PIECE
}

/// How all chains together stand.
fn resolves(chains: &[BootChain]) -> LinkState {
    chains.iter().map(BootChain::state).max().unwrap_or(LinkState::NotChecked)
}
