//! The jobs that save: because somebody asked, and because a policy says so.

use crate::gather;
use crate::jobs::{Done, Jobs};
use crate::keys::Keyring;
use crate::plan::policy::{self, Since, State, Taken};
use crate::plan::snapshot::{Scope, keep};
use crate::run::capture::{MoreTable, capture};
use crate::run::choice::estimate;
use crate::run::pending;
use crate::run::same::same;
use crate::run::{Context, Observer, Stop};
use crate::worker::Desk;
use crate::{policy_keys, upkeep};
use model::assessment::Report;
use model::command::{ExitCode, Failure, PolicyText, PowerAction};
use model::event::{Happening, Outcome, Waiting};
use model::id::{SnapshotId, VolumePath};
use model::mapping::Mapping;
use model::note::Says;
use model::plan::SnapshotPlan;
use model::policy::{Acted, Decision, Manner, Policy, Saving};
use model::snapshot::{Manifest, Purpose, Saved};
use model::text::{DisplayText, RawName};
use model::upkeep::{Kept, Pruning};
use std::time::{Duration, Instant};
use store::Store;

/// How often a job that waits looks whether somebody stopped it.
const GLANCE: Duration = Duration::from_millis(100);

/// Saves the present state. `full`: everything is read, understood or not.
pub(crate) fn snapshot(jobs: &Jobs, full: bool, desk: &Desk) -> Done {
    let store = jobs.store_to_write(desk)?;
    let cx = jobs.context(&store, desk);
    let report = jobs.look(Some(&store), desk);
    let base = base(&cx, &report)?;
    let scope = if full { Scope::full() } else { Scope::default() };
    let plan = plan(jobs, (&cx, &report), base.as_ref(), &scope)?;
    let Saved { id, cost, volumes } = save(&cx, &report, &plan)?;
    jobs.show_saved(&report, &store, desk);
    Ok(Outcome::Saved { id, cost, volumes })
}

/// What that would read, and how much room it may need.
pub(crate) fn estimated(jobs: &Jobs, full: bool, desk: &Desk) -> Done {
    let store = jobs.store(desk)?;
    let cx = jobs.context(&store, desk);
    let report = jobs.look(Some(&store), desk);
    let base = base(&cx, &report)?;
    let scope = if full { Scope::full() } else { Scope::default() };
    let plan = plan(jobs, (&cx, &report), base.as_ref(), &scope)?;
    estimate(&cx, &plan, &report).map(Outcome::Estimated)
}

/// A snapshot of the machine on these disks: what they were last known to hold.
type Base = Option<(SnapshotId, Manifest)>;

fn base(cx: &Context<'_>, report: &Report) -> Done<Base> {
    if let Some((volume, _)) = report.inspection.fences().next() {
        let says = format!("an unfinished rollback stands on {}", volume.path);
        let advice = "finish it with `holdfast resume` or go back with `holdfast undo`, then save";
        return Err(Stop::failed(ExitCode::Refused, says, advice));
    }
    Ok(pending::last_known(cx.store, &gather::machine(&report.inspection)))
}

/// What would be saved in clear though it lies encrypted on its disk, and nobody said that it may be: what is wrong, and what to do.
pub(crate) fn in_clear<'a>(
    store: &Store,
    keys: &Keyring,
    volumes: impl Iterator<Item = (&'a VolumePath, &'a Mapping)>,
) -> Option<(String, &'static str)> {
    if store.is_encrypted() {
        return None;
    }
    let sealed = |m: &Mapping| m.beneath.iter().filter_map(|b| b.sealed.as_deref()).any(|s| !keys.may_be_plain(s));
    let paths: Vec<String> = volumes.filter(|(_, m)| sealed(m)).map(|(path, _)| path.to_string()).collect();
    (!paths.is_empty()).then(|| {
        let says = format!("{} would be saved in clear: the disk is encrypted, and the store is not", paths.join(", "));
        let advice = "use an encrypted store, or save the encrypted volume as it is (locked, with `--full`), or unlock with \
                      `--allow-plain` (Tab on the screen)";
        (says, advice)
    })
}

fn plan(
    jobs: &Jobs,
    (cx, report): (&Context<'_>, &Report),
    base: Option<&(SnapshotId, Manifest)>,
    scope: &Scope,
) -> Done<SnapshotPlan> {
    let aside = cx.store.newest_aside(&gather::machine(&report.inspection))?.map(|(id, _)| id);
    let plan = keep(report, base.map(|(id, manifest)| (*id, manifest)), aside, scope);
    if plan.volumes.is_empty() {
        let advice = "check that the right disk was named; `--full` saves what is not understood";
        return Err(Stop::failed(ExitCode::Failed, "there is nothing on these disks that can be saved", advice));
    }
    let saved = plan.volumes.iter().filter_map(|v| report.inspection.volume(&v.path));
    if let Some((says, advice)) =
        in_clear(cx.store, &jobs.keys, saved.filter_map(|v| Some((&v.path, v.mapping.as_ref()?))))
    {
        return Err(Stop::failed(ExitCode::Refused, says, advice));
    }
    for (path, why) in &plan.left_out {
        cx.observer.log(&format!("{path} is not saved: {why}"));
    }
    Ok(plan)
}

fn save(cx: &Context<'_>, report: &Report, plan: &SnapshotPlan) -> Done<Saved> {
    let (id, manifest) = capture(cx, plan, report, &MoreTable::new(), (1, 1))?;
    Ok(Saved { id, cost: manifest.cost, volumes: manifest.compared() })
}

/// Does what a policy makes of the present state.
pub(crate) fn auto(
    jobs: &Jobs,
    (text, keys): (Option<&PolicyText>, Option<&RawName>),
    manner: Manner,
    desk: &Desk,
) -> Done {
    if manner == Manner::Unattended {
        let next = "the disks are looked at, and then done what the policy calls for".into();
        desk.tell(Happening::Waiting(Waiting { next, seconds: None }));
    }
    let ready = policy_of(jobs, text).and_then(|policy| {
        let store = if manner == Manner::DryRun { jobs.store(desk)? } else { jobs.store_to_write(desk)? };
        Ok((policy, store))
    });
    match ready {
        Ok((policy, store)) => {
            let locked = policy_keys::unlock(jobs, (&policy, keys), &store, desk)?;
            Run { jobs, desk, policy, manner, locked }.carry_out(&store)
        }
        Err(stop) => {
            if manner == Manner::Unattended {
                // Whoever comes to see why nothing was done is told what happened all the same.
                jobs.inspect(desk)?;
            }
            Err(stop)
        }
    }
}

fn policy_of(jobs: &Jobs, text: Option<&PolicyText>) -> Done<Policy> {
    let Some(PolicyText(text)) = text else { return Ok(Policy::default()) };
    let unread = |e: &dyn std::fmt::Display| {
        let says = format!("the policy cannot be read: {e}");
        Stop::failed(ExitCode::Failed, says, "nothing was done; docs/policy.md says what a policy is")
    };
    let text = text.as_ref().map_err(|e| unread(e))?;
    let read = jobs.config.parser.policy(text).map_err(|e| unread(&e))?;
    read.map_err(|e| unread(&e))
}

struct Run<'a> {
    jobs: &'a Jobs,
    desk: &'a Desk,
    policy: Policy,
    manner: Manner,
    /// Of the volumes that it names, which stayed locked, and why.
    locked: Vec<DisplayText>,
}

impl Run<'_> {
    fn carry_out(&self, store: &Store) -> Done {
        let (jobs, desk, policy) = (self.jobs, self.desk, &self.policy);
        let cx = jobs.context(store, desk);
        jobs.show(store, desk)?;
        let report = jobs.look(Some(store), desk);
        let base = base(&cx, &report)?;
        let leave_out = policy.leave_out.clone();
        let mut scope = Scope { everything: false, not_understood: policy.not_understood, leave_out };
        let planned = plan(jobs, (&cx, &report), base.as_ref(), &scope)?;
        let decision = self.decide(&cx, &report, base.as_ref(), &planned)?;
        desk.log(&decision.why.to_string());
        let locked = self.locked.clone();
        let mut acted =
            Acted { decision, locked, saved: None, forgotten: Vec::new(), pruned: None, trouble: None, then: None };
        if self.manner == Manner::DryRun {
            return Ok(Outcome::Acted(Box::new(acted)));
        }
        if let Some(saving) = acted.decision.save.clone() {
            self.wait(&acted.decision.why)?;
            scope.everything = saving.everything;
            let planned = plan(jobs, (&cx, &report), base.as_ref(), &scope)?;
            let saved = save(&cx, &report, &planned)?;
            acted.trouble = self.afterwards(store, &report, &saving, saved.id, &mut acted).err();
            acted.saved = Some(saved);
            jobs.show_saved(&report, store, desk);
        }
        acted.then = self.leaves(&acted);
        Ok(Outcome::Acted(Box::new(acted)))
    }

    fn decide(
        &self,
        cx: &Context<'_>,
        report: &Report,
        base: Option<&(SnapshotId, Manifest)>,
        planned: &SnapshotPlan,
    ) -> Done<Decision> {
        let machine = gather::machine(&report.inspection);
        let listing = cx.store.list()?;
        let of_this = |m: &&Manifest| m.purpose == Purpose::Keep && m.machine.is(&machine);
        let history: Vec<Taken> = listing.snapshots.iter().map(|(_, m)| m).filter(of_this).map(Taken::of).collect();
        let due = policy::full_due(self.policy.full, &history, cx.clock.now());
        let state = State::of(&report.systems);
        let since = match base {
            Some((id, manifest)) if policy::asks(&self.policy, state, due.as_deref()) => {
                match same(cx, report, planned, (*id, manifest))? {
                    Ok(()) => Since::Same(*id),
                    Err(why) => {
                        self.desk.log(&format!("it is not proven to be in snapshot {}: {why}", id.0.short(8)));
                        Since::Differs
                    }
                }
            }
            _ => Since::NotKnown,
        };
        Ok(policy::decide(&self.policy, state, due.as_deref(), &since))
    }

    /// What follows a snapshot. It is whole and stays, whatever goes wrong here.
    fn afterwards(
        &self,
        store: &Store,
        report: &Report,
        saving: &Saving,
        saved: SnapshotId,
        acted: &mut Acted,
    ) -> Result<(), Failure> {
        if let Some(text) = saving.label.clone() {
            let says = Says::Label { text, automatic: true };
            store.put_note(saved, says, self.jobs.config.clock.now()).map_err(|e| e.failure())?;
        }
        let Some(keep) = &self.policy.keep else { return Ok(()) };
        let machine = gather::machine(&report.inspection);
        acted.forgotten = upkeep::forget_by(store, keep, &machine, saved).map_err(failure)?;
        if self.policy.prune {
            let pruned = upkeep::prune(self.jobs, Pruning::default(), false, self.desk).map_err(failure)?;
            acted.pruned = if let Kept::Pruned(view) = pruned { Some(view) } else { None };
        }
        Ok(())
    }

    /// How the rescue is left: not where something went wrong, and not where somebody is there.
    fn leaves(&self, acted: &Acted) -> Option<PowerAction> {
        let action = self.policy.then.filter(|_| self.manner == Manner::Unattended && acted.trouble.is_none())?;
        let done = if acted.saved.is_some() { "the state is saved" } else { acted.decision.why.as_str() };
        let leaving = match action {
            PowerAction::Reboot => "the machine is restarted",
            PowerAction::Poweroff => "the machine is switched off",
        };
        self.wait(&DisplayText::new(&format!("{done}; {leaving}"))).is_ok().then_some(action)
    }

    /// Gives whoever is at the machine time to stop what comes next.
    fn wait(&self, next: &DisplayText) -> Done<()> {
        if self.manner != Manner::Unattended {
            return Ok(());
        }
        let until = Instant::now() + Duration::from_secs(self.policy.wait.into());
        let mut told = None;
        loop {
            if self.desk.cancelled() {
                return Err(Stop::Cancelled("somebody is here; nothing more is done by itself".into()));
            }
            let left = until.saturating_duration_since(Instant::now());
            let seconds = u32::try_from(left.as_millis().div_ceil(1000)).ok();
            if seconds != told {
                self.desk.tell(Happening::Waiting(Waiting { next: next.clone(), seconds }));
                told = seconds;
            }
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(GLANCE.min(left));
        }
    }
}

fn failure(stop: Stop) -> Failure {
    match stop {
        Stop::Failed(failure) | Stop::Full(failure) => failure,
        Stop::Cancelled(says) => Failure::new(ExitCode::Interrupted, says.as_str(), "the snapshot is whole"),
    }
}
