//! The jobs: each takes a fresh look, makes its plan, asks where it must, and runs.

use crate::comparison::Planned;
use crate::gather::{self, Since, VOLUME_HEAD};
use crate::handle::Config;
use crate::keys::{Keyed, Keyring};
use crate::plan::disks::{Pair, pair};
use crate::plan::elsewhere;
use crate::plan::rollback::{Facts, Question as Planning, Set, plan};
use crate::plan::snapshot::reads;
use crate::run::export::{Order, export};
use crate::run::files;
use crate::run::pending::{self, Unfinished};
#[cfg(feature = "prove")]
use crate::run::proof;
use crate::run::write_back;
use crate::run::{Context, Observer, Stop, tables};
use crate::stores::{Stores, To, Which, differs};
use crate::worker::{Desk, Reply};
use crate::{comparison, composing, restoring, saved_files, saving, shared_esp, unlocking, upkeep};
use model::assessment::Report;
use model::command::{Command, ExitCode, Passphrase};
use model::esp::SharedEsp;
use model::event::{Happening, Outcome, Progress, StoreView};
use model::id::{Digest, IntentId, SnapRef, SnapshotId, VolumePath};
use model::inspection::Severity;
use model::plan::{Action, RollbackPlan};
use model::ports::{Devices, ReadAt};
use model::proof::Trial;
use model::snapshot::{Described, Machine, Manifest, Purpose, Receipt};
use model::text::{DisplayText, RawName};
use model::units::ByteLen;
use std::sync::Arc;
use store::{Secret, Store, Unlock};

/// What the jobs work with.
pub(crate) struct Jobs {
    pub(crate) config: Config,
    pub(crate) stores: Stores,
    pub(crate) shelf: files::Shelf,
    /// Of encrypted volumes that somebody opened.
    pub(crate) keys: Arc<Keyring>,
}

pub(crate) type Done<T = Outcome> = Result<T, Stop>;

impl Jobs {
    pub(crate) fn new(config: Config) -> Self {
        let keys = Arc::new(Keyring::default());
        let devices: Arc<dyn Devices> = Arc::new(Keyed::over(config.devices, keys.clone()));
        config.parser.given(devices.clone());
        let config = Config { devices, ..config };
        Self { config, stores: Stores::default(), shelf: files::Shelf::default(), keys }
    }

    /// Runs a command that is a job, to its end.
    pub(crate) fn run(&self, command: &Command, desk: &Desk) -> Outcome {
        if !matches!(command, Command::BrowseFiles { .. } | Command::GetFiles { .. }) {
            self.shelf.clear();
        }
        let done = match command {
            Command::ListSnapshots => self.list(desk),
            Command::Unlock { passphrase } => self.unlock(passphrase.clone(), desk),
            Command::OpenVolume { volume, by, plain } => unlocking::open(self, volume, (by, *plain), desk),
            Command::OpenSaved { snapshot, volume, by } => unlocking::open_saved(self, (snapshot, volume), by, desk),
            Command::Snapshot { full } => saving::snapshot(self, *full, desk),
            Command::Auto { policy, keys, manner } => {
                saving::auto(self, (policy.as_ref(), keys.as_ref()), *manner, desk)
            }
            Command::EstimateSnapshot { full } => saving::estimated(self, *full, desk),
            Command::PlanRollback { to, only, full } => self.rollback((to, only), *full, &[], desk),
            Command::PlanKeeping { to, only, keep } => self.rollback((to, only), false, keep, desk),
            Command::PlanPut { from, at } => composing::put(self, from, at, desk),
            Command::PlanRestore { to, onto, overwrite, new_ids, grow } => {
                restoring::run(self, &restoring::Order { to, onto, overwrite, new_ids: *new_ids, grow }, desk)
            }
            Command::PlanUndo { full } => self.undo(*full, desk),
            Command::PlanResume => self.resume(desk),
            Command::PlanBootRepair => crate::boot::repair(self, desk),
            Command::Check { read_data } => upkeep::check(self, *read_data, desk),
            Command::Export { snapshot, only, to, format } => {
                self.export(&Order { snapshot, only: only.as_ref(), to, format: *format }, desk)
            }
            Command::Describe { snapshot } => self.describe(snapshot, desk),
            Command::ListFiles { snapshot, at } => saved_files::list(self, snapshot, at.as_ref(), desk),
            Command::BrowseFiles { ask } => saved_files::browse(self, ask, desk),
            Command::GetFiles { snapshot, at, to, privileged } => {
                saved_files::get(self, (snapshot, at), to.as_ref(), *privileged, desk)
            }
            Command::Prove { snapshot, trial } => self.prove(snapshot, trial, desk),
            Command::Compare { before, after, text } => comparison::run(self, before, after.as_ref(), *text, desk),
            Command::Upkeep { what } => upkeep::run(self, what, desk),
            Command::Inspect
            | Command::Answer { .. }
            | Command::Reread { .. }
            | Command::Keep { .. }
            | Command::LeaveEsps { .. }
            | Command::Grow { .. }
            | Command::Cancel
            | Command::Power(_) => self.inspect(desk),
        };
        self.stores.remember(&self.config, desk);
        match done {
            Ok(outcome) => outcome,
            Err(Stop::Cancelled(says)) => Outcome::Cancelled(says),
            Err(Stop::Failed(failure) | Stop::Full(failure)) => Outcome::Failed(failure),
        }
    }

    /// The store, to be read.
    pub(crate) fn store(&self, desk: &Desk) -> Done<Store> {
        self.stores.get(&self.config, Which::Own, To::Read, desk)
    }

    /// The store, to be written to.
    pub(crate) fn store_to_write(&self, desk: &Desk) -> Done<Store> {
        self.stores.get(&self.config, Which::Own, To::Write, desk)
    }

    pub(crate) fn context<'a>(&'a self, store: &'a Store, desk: &'a Desk) -> Context<'a> {
        Context {
            devices: &*self.config.devices,
            parser: &*self.config.parser,
            store,
            clock: &*self.config.clock,
            observer: desk,
            keys: &*self.keys,
        }
    }

    /// Looks at everything and tells it.
    pub(crate) fn look(&self, store: Option<&Store>, desk: &Desk) -> Report {
        let since = |machine: &Machine| newest(store?, machine);
        let mut step = |phase: &str, at: u32, of: u32| {
            desk.progress(Progress {
                phase: DisplayText::new(phase),
                step: (at, of),
                done: ByteLen::ZERO,
                total: ByteLen::ZERO,
                rate: ByteLen::ZERO,
                remaining: None,
                cost: None,
                fenced: false,
            });
        };
        let disks = self.config.devices.disks();
        let mut report = gather::report_by_step(&disks, &*self.config.parser, &since, &mut step);
        match gather::boot_settings(&*self.config.devices, &*self.config.parser, &report.inspection) {
            Ok(settings) => report.inspection.firmware = settings,
            Err(why) => desk.log(&why),
        }
        if report.inspection.firmware.is_some() {
            let since = since(&gather::machine(&report.inspection));
            gather::follow_entries(&mut report, since.as_ref());
            if let Err(why) = gather::add_crashes(&*self.config.devices, &mut report, since.as_ref()) {
                desk.log(&why);
            }
        }
        desk.tell(Happening::Report(Box::new(report.clone())));
        report
    }

    pub(crate) fn show(&self, store: &Store, desk: &Desk) -> Done<()> {
        let listing = store.list()?;
        let snapshots = listing.summaries();
        let view = StoreView { id: store.id().to_owned(), free: store.free(), snapshots, damage: listing.damage };
        desk.tell(Happening::Snapshots(view));
        Ok(())
    }

    /// After something was saved: what there is now, for every screen. The disks are as they were looked at.
    pub(crate) fn show_saved(&self, report: &Report, store: &Store, desk: &Desk) {
        let since = newest(store, &gather::machine(&report.inspection));
        desk.tell(Happening::Report(Box::new(gather::compared(report, since.as_ref()))));
        self.show_snapshots(store, desk);
    }

    /// After something changed: what there is now, for every screen. Its failure does not undo what was done.
    pub(crate) fn show_all(&self, store: &Store, desk: &Desk) {
        self.look(Some(store), desk);
        self.show_snapshots(store, desk);
    }

    pub(crate) fn show_snapshots(&self, store: &Store, desk: &Desk) {
        if self.show(store, desk).is_err() {
            desk.log("the store could not be listed again");
        }
    }

    pub(crate) fn inspect(&self, desk: &Desk) -> Done {
        let store = match &self.config.store {
            None => None,
            Some(_) => match self.store(desk) {
                Ok(store) => Some(store),
                Err(stop) => {
                    // Looking needs no store.
                    if self.stores.is_locked(&self.config) {
                        desk.tell(Happening::Locked);
                    }
                    if let Stop::Failed(failure) = stop {
                        desk.log(&failure.to_string());
                    }
                    None
                }
            },
        };
        // The store first: a report without one says that nothing can be saved.
        if let Some(store) = &store
            && let Err(Stop::Failed(failure)) = self.show(store, desk)
        {
            desk.log(&failure.to_string());
        }
        self.look(store.as_ref(), desk);
        Ok(Outcome::Looked)
    }

    fn list(&self, desk: &Desk) -> Done {
        self.show(&self.store(desk)?, desk)?;
        Ok(Outcome::Looked)
    }

    /// Needs no disk: looks at none.
    fn describe(&self, snapshot: &SnapRef, desk: &Desk) -> Done {
        let store = self.store(desk)?;
        let (id, manifest) = store.find(snapshot, None)?;
        // With what notes and signatures say of it, where it is listed.
        let listed = store.list()?.summaries().into_iter().find(|s| s.id == id);
        let summary = listed.unwrap_or_else(|| manifest.summary(id));
        Ok(Outcome::Described(Box::new(Described { summary, statement: manifest.statement() })))
    }

    fn unlock(&self, passphrase: Passphrase, desk: &Desk) -> Done {
        self.stores.unlock(&self.config, Unlock::Passphrase(Secret::new(passphrase.into_bytes())))?;
        // What changed since the newest snapshot can be told from now on.
        self.inspect(desk)
    }

    /// Needs no disk: looks at none.
    fn export(&self, order: &Order<'_>, desk: &Desk) -> Done {
        let store = self.store(desk)?;
        export(&self.context(&store, desk), order).map(Outcome::Exported)
    }

    /// Needs no disk of this computer: looks at none.
    #[cfg(feature = "prove")]
    fn prove(&self, snapshot: &SnapRef, trial: &Trial, desk: &Desk) -> Done {
        let store = self.store_to_write(desk)?;
        let proof = proof::prove(&self.context(&store, desk), snapshot, trial)?;
        Ok(Outcome::Proved(Box::new(proof)))
    }

    #[cfg(not(feature = "prove"))]
    fn prove(&self, _: &SnapRef, _: &Trial, _: &Desk) -> Done {
        let says = "this program was built without what proves a snapshot: the rescue has no virtual machines";
        Err(Stop::failed(ExitCode::Refused, says, "run it on a management computer that the store is attached to"))
    }

    fn rollback(&self, (to, only): (&SnapRef, &[VolumePath]), full: bool, keep: &[RawName], desk: &Desk) -> Done {
        let store = self.store(desk)?;
        let cx = self.context(&store, desk);
        let report = self.look(Some(&store), desk);
        if let Some(unfinished) = pending::unfinished(&store, &report.inspection)? {
            return Err(stands(&unfinished));
        }
        let machine = gather::machine(&report.inspection);
        let (to, manifest) = store.find(to, Some(&machine))?;
        let set = match (only, manifest.purpose) {
            ([], Purpose::Keep) => Set::Boot,
            // An undo snapshot, named by its id, holds what was written over and nothing else; that of a repair likewise.
            ([], Purpose::Undo { .. } | Purpose::Repair | Purpose::Composed { .. }) => Set::All,
            (only, _) => Set::Only(only),
        };
        let making = Making { action: Action::Rollback, to, manifest: &manifest, set, of: None, pending: &[] };
        let plan = self.make(&cx, &report, &making)?;
        let planned = Planned { plan: &plan, manifest: &manifest, report: &report };
        let receipt = match keep {
            [] => self.saved_first(&cx, planned, full, desk),
            keep => composing::keep(self, &cx, planned, keep.to_vec(), desk),
        };
        self.ended(receipt, &store, desk)
    }

    fn undo(&self, full: bool, desk: &Desk) -> Done {
        let store = self.store(desk)?;
        let cx = self.context(&store, desk);
        let report = self.look(Some(&store), desk);
        if let Some(unfinished) = pending::unfinished(&store, &report.inspection)? {
            let Unfinished { id, intent, fences } = &unfinished;
            if matches!(intent.plan.action, Action::Undo { .. }) {
                desk.log("the unfinished run is an undo already: it will be finished");
                return self.finish(&cx, &report, &unfinished, desk);
            }
            let undo = intent.undo.ok_or_else(write_back::no_undo)?;
            let manifest = store.manifest(undo)?;
            let making = Making {
                action: Action::Undo { of: *id },
                to: undo,
                manifest: &manifest,
                set: Set::All,
                of: Some(&intent.plan),
                pending: fences,
            };
            let plan = self.make(&cx, &report, &making)?;
            let planned = Planned { plan: &plan, manifest: &manifest, report: &report };
            let receipt =
                self.approved(&cx, planned, desk, |plan| write_back::undo_unfinished(&cx, plan, &report, *id));
            return self.ended(receipt, &store, desk);
        }
        let finished = pending::finished(&cx, &report.inspection)?;
        let manifest = store.manifest(finished.undo)?;
        let making = Making {
            action: Action::Undo { of: finished.id },
            to: finished.undo,
            manifest: &manifest,
            set: Set::All,
            of: Some(&finished.intent.plan),
            pending: &[],
        };
        let plan = self.make(&cx, &report, &making)?;
        let planned = Planned { plan: &plan, manifest: &manifest, report: &report };
        let receipt = self.saved_first(&cx, planned, full, desk);
        self.ended(receipt, &store, desk)
    }

    fn resume(&self, desk: &Desk) -> Done {
        let store = self.store(desk)?;
        let cx = self.context(&store, desk);
        let report = self.look(Some(&store), desk);
        match pending::unfinished(&store, &report.inspection)? {
            Some(unfinished) => self.finish(&cx, &report, &unfinished, desk),
            None => {
                let advice = "no fence stands on these disks; they can be used as they are";
                Err(Stop::failed(ExitCode::Refused, "there is nothing to resume", advice))
            }
        }
    }

    fn finish(&self, cx: &Context<'_>, report: &Report, unfinished: &Unfinished, desk: &Desk) -> Done {
        let Unfinished { id, intent, fences } = unfinished;
        if !intent.plan.disks.is_empty() {
            return restoring::finish(self, cx, report, unfinished, desk);
        }
        let manifest = cx.store.manifest(intent.plan.to)?;
        let making = Making {
            action: Action::Resume { of: *id },
            to: intent.plan.to,
            manifest: &manifest,
            set: Set::Of(&intent.plan),
            of: Some(&intent.plan),
            pending: fences,
        };
        let plan = self.make(cx, report, &making)?;
        let planned = Planned { plan: &plan, manifest: &manifest, report };
        let receipt = self.approved(cx, planned, desk, |plan| write_back::resume(cx, plan, report, *id));
        self.ended(receipt, cx.store, desk)
    }

    /// Asks about a plan before which the present is saved, as often as somebody wants that read otherwise; and runs what was approved.
    pub(crate) fn saved_first(
        &self,
        cx: &Context<'_>,
        planned: Planned<'_>,
        mut full: bool,
        desk: &Desk,
    ) -> Done<Option<Receipt>> {
        let Planned { plan, report, .. } = planned;
        let base = pending::last_known(cx.store, &gather::machine(&report.inspection));
        let mut plan = plan.clone();
        loop {
            plan.reads = Some(reads(report, &plan, base.as_ref().map(|(id, manifest)| (*id, manifest)), full));
            match ask(cx, Planned { plan: &plan, ..planned }, desk)? {
                Reply::Approved if plan.is_composed() => return composing::shared(self, cx, planned, &plan).map(Some),
                Reply::Approved => return write_back::write_back(cx, &plan, report).map(Some),
                Reply::Declined => return Ok(None),
                Reply::Reread(everything) => full = everything,
                Reply::Keep(paths) if plan.action == Action::Rollback => {
                    return composing::keep_some(self, cx, planned, &paths, desk);
                }
                Reply::LeaveEsps(leave) if plan.action == Action::Rollback => {
                    plan = if leave { self.leaving(cx, planned)? } else { planned.plan.clone() };
                }
                Reply::Keep(_) | Reply::LeaveEsps(_) | Reply::Grow(_) => {}
            }
        }
    }

    /// The plan that leaves the EFI system partitions as they are on which what others have cannot be kept.
    fn leaving(&self, cx: &Context<'_>, Planned { plan, manifest, report }: Planned<'_>) -> Done<RollbackPlan> {
        let left: Vec<SharedEsp> = plan.esps.iter().filter(|esp| esp.cannot.is_some()).cloned().collect();
        let paths: Vec<VolumePath> = left.iter().map(|esp| esp.volume.clone()).collect();
        let set = Set::BootBut(&paths);
        let making = Making { action: Action::Rollback, to: plan.to, manifest, set, of: None, pending: &[] };
        let mut plan = self.make(cx, report, &making)?;
        plan.esps.extend(left.into_iter().map(|esp| SharedEsp { left: true, ..esp }));
        Ok(plan)
    }

    /// Asks about a plan before which nothing is saved, and runs what was approved.
    pub(crate) fn approved(
        &self,
        cx: &Context<'_>,
        planned: Planned<'_>,
        desk: &Desk,
        run: impl FnOnce(&RollbackPlan) -> Done<Receipt>,
    ) -> Done<Option<Receipt>> {
        loop {
            match ask(cx, planned, desk)? {
                Reply::Approved => return run(planned.plan).map(Some),
                Reply::Declined => return Ok(None),
                // It compares every byte with the disk anyway, and keeps what it keeps.
                Reply::Reread(_) | Reply::Keep(_) | Reply::LeaveEsps(_) | Reply::Grow(_) => {}
            }
        }
    }

    pub(crate) fn ended(&self, receipt: Done<Option<Receipt>>, store: &Store, desk: &Desk) -> Done {
        let outcome = match receipt? {
            None => return Ok(Outcome::Declined),
            Some(receipt) => Outcome::WroteBack(receipt),
        };
        self.show_all(store, desk);
        Ok(outcome)
    }

    /// Makes a plan: reads what it needs to know of the disks, and lays the snapshot against them.
    pub(crate) fn make(&self, cx: &Context<'_>, report: &Report, making: &Making<'_>) -> Done<RollbackPlan> {
        let inspection = &report.inspection;
        let pairs = pair(making.manifest, inspection, making.pending);
        let mut facts = facts(cx, report, making.manifest, &pairs)?;
        if making.action == Action::Rollback {
            let from = (making.to, making.manifest);
            facts.elsewhere = files::which(cx.store, cx.parser, from, &elsewhere::MARKS);
        }
        let machine = gather::machine(inspection);
        let planned = |facts: &Facts| {
            plan(&Planning {
                action: making.action,
                to: making.to,
                manifest: making.manifest,
                inspection,
                machine: &machine,
                pairs: &pairs,
                facts,
                set: making.set,
                of: making.of,
                pending: making.pending,
            })
        };
        let mut plan = planned(&facts);
        if making.action == Action::Rollback && making.manifest.purpose == Purpose::Keep {
            facts.esps = shared_esp::look(cx, report, making.manifest, &plan);
            if !facts.esps.is_empty() {
                plan = planned(&facts);
            }
        }
        self.as_last_seen(cx.store, &mut plan)?;
        self.stays_encrypted(cx.store, &mut plan);
        Ok(plan)
    }

    /// Adds to a plan what stands against it where what it writes over lies encrypted now, and would be saved in clear before.
    fn stays_encrypted(&self, store: &Store, plan: &mut RollbackPlan) {
        let mappings: Vec<_> =
            plan.volumes.iter().filter_map(|v| Some((&v.path, &v.through.as_ref()?.mapping))).collect();
        let clear = saving::in_clear(store, &self.keys, mappings.into_iter());
        if let Some((says, advice)) = clear {
            plan.checks.push(model::plan::Check {
                what: "what lies encrypted is not saved in clear".into(),
                ok: false,
                says: DisplayText::new(&format!("{says}; {advice}")),
            });
        }
    }

    /// Adds to a plan what stands against it where the store is not as this computer last saw it.
    pub(crate) fn as_last_seen(&self, store: &Store, plan: &mut RollbackPlan) -> Done<()> {
        if let Some(how) = differs(&self.config, store)? {
            let says = format!("{how}; `holdfast check --accept-head` takes it as it is");
            plan.checks.push(model::plan::Check {
                what: "the store is as this computer last saw it, or newer".into(),
                ok: false,
                says: DisplayText::new(&says),
            });
        }
        Ok(())
    }
}

pub(crate) fn ask(cx: &Context<'_>, planned: Planned<'_>, desk: &Desk) -> Done<Reply> {
    let reply = comparison::ask(cx, planned, desk);
    reply.ok_or_else(|| Stop::Cancelled("stopped before anything was written".into()))
}

/// What a plan is made for.
pub(crate) struct Making<'a> {
    pub(crate) action: Action,
    pub(crate) to: SnapshotId,
    pub(crate) manifest: &'a Manifest,
    pub(crate) set: Set<'a>,
    pub(crate) of: Option<&'a RollbackPlan>,
    pub(crate) pending: &'a [IntentId],
}

pub(crate) fn stands(unfinished: &Unfinished) -> Stop {
    let says = format!("an earlier rollback is unfinished (to {})", unfinished.intent.plan.to_says);
    let advice = match unfinished.intent.undo {
        Some(_) => "finish it with `holdfast resume`, or go back with `holdfast undo`",
        None => "finish it with `holdfast resume`",
    };
    Stop::failed(ExitCode::Refused, says, advice)
}

/// Reads what a plan needs besides the inspection: how each volume begins, and whether the tables' bytes are the saved ones.
fn facts(cx: &Context<'_>, report: &Report, manifest: &Manifest, pairs: &[Pair]) -> Done<Facts> {
    let sources = cx.devices.disks();
    let mut facts = Facts::default();
    for pair in pairs {
        let Ok(no) = pair.present else { continue };
        let (Some(source), Some(disk)) = (sources.iter().find(|s| s.no == no), report.inspection.disk(no)) else {
            continue;
        };
        let layered = report.inspection.layered.iter().filter(|v| v.path.disk() == no);
        for volume in disk.volumes.iter().chain(layered) {
            let len = VOLUME_HEAD.0.min(volume.extent.len().0);
            let head = disk::volume::bytes(&sources, volume)
                .and_then(|bytes| bytes.read_vec(model::units::ByteOffset(0), usize::try_from(len).unwrap_or(0)).ok());
            // A volume that cannot be read has no digest: its plan is refused when its lease reads it again.
            if let Some(head) = head {
                facts.heads.insert(volume.path.clone(), Digest::of(&head));
            }
            let holders = match &volume.mapping {
                None => cx.devices.holders(no, volume.extent),
                Some(m) => m.beneath.iter().flat_map(|b| cx.devices.holders(b.path.disk(), b.extent)).collect(),
            };
            if !holders.is_empty() {
                facts.holders.insert(volume.path.clone(), holders);
            }
        }
        let saved = manifest.disks.iter().find(|d| d.no == pair.saved);
        let (Some(saved), Some(now)) = (saved, &disk.table) else { continue };
        let (Some(map), Some(then)) = (saved.table_map, &saved.table) else { continue };
        // A table of another shape is no copy of this one, and will not be written (`plan::rollback`).
        let differs = then.raw != now.raw || tables::differs(cx, map, now, source)?;
        facts.tables.insert(pair.saved, differs);
    }
    Ok(facts)
}

/// The newest snapshot of a machine, to compare with.
fn newest(store: &Store, machine: &Machine) -> Option<Since> {
    let (id, manifest) = store.find(&SnapRef::Latest, Some(machine)).ok()?;
    Some(Since { id, volumes: manifest.volumes, firmware: manifest.firmware })
}

/// The exit code a look asks for: damage is found, or not.
pub fn exit_code(report: &Report) -> ExitCode {
    let damage = report.inspection.findings.iter().any(|f| f.severity == Severity::Damage);
    if damage { ExitCode::Damage } else { ExitCode::Ok }
}
