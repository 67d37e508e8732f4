//! The next things to do: at most three, the most sensible first. None of them writes to the target's disks by itself;
//! a rollback, an undo and a completion first show their plan.

use super::state::Screen;
use super::{upkeep, words};
use model::assessment::{Assessment, Change, Report, SystemReport};
use model::boot::BootChain;
use model::command::{Command, ExitCode, Onto};
use model::event::{JobKind, Outcome, StoreView};
use model::id::{DiskNo, SnapRef, SnapshotId, VolumePath};
use model::inspection::{Content, Disk, Severity};
use model::plan;
use model::run_state::RunState;
use model::snapshot::{Purpose, SnapshotSummary};
use model::timeline::Operation;

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// Asks the engine.
    Submit(Command),
    /// Shows a screen.
    Show(Screen),
    /// Asks for the passphrase of an encrypted volume.
    Unlock(VolumePath),
    /// Goes back to the screen below.
    Back,
}

/// One thing to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// In words.
    pub says: String,
    /// And in deeds.
    pub does: Does,
}

fn submit(says: impl Into<String>, command: Command) -> Step {
    Step { says: says.into(), does: Does::Submit(command) }
}

fn show(says: impl Into<String>, screen: Screen) -> Step {
    Step { says: says.into(), does: Does::Show(screen) }
}

/// The snapshots of the machine in front of us, newest first; all of the store's where the disks were not looked at.
pub fn timeline(run: &RunState) -> Vec<&SnapshotSummary> {
    let Some(store) = &run.store else { return Vec::new() };
    let mut list: Vec<&SnapshotSummary> = store.snapshots.iter().collect();
    list.sort_by_key(|s| std::cmp::Reverse(s.counter));
    list
}

/// True where a snapshot is of the machine in front of us.
pub fn is_here(run: &RunState, s: &SnapshotSummary) -> bool {
    run.report.as_ref().is_some_and(|r| words::machine(&r.inspection).is(&s.machine))
}

/// Directories of people's data that the rollback which is asked about takes back, and that can be kept as they are instead: those that
/// lie on the root file system.
pub fn may_be_kept(run: &RunState) -> Vec<&'static str> {
    let (Some(report), Some(question)) = (&run.report, &run.question) else { return Vec::new() };
    let (inspection, plan) = (&report.inspection, &question.plan);
    let Some(system) = inspection.systems.first() else { return Vec::new() };
    let ext = inspection.volume(&system.root).is_some_and(|v| matches!(v.content, Content::Ext(_)));
    let goes_back = plan.volumes.iter().any(|v| v.path == system.root);
    if plan.action != plan::Action::Rollback || plan.foreign.is_some() || !goes_back || !ext {
        return Vec::new();
    }
    let on_root = |path: &&'static str| system.place(path).0 == &system.root;
    ["/home", "/root", "/srv"].into_iter().filter(on_root).collect()
}

/// The newest snapshot of this machine that is `wanted`: found without asking for each anew which machine this is.
fn newest(run: &RunState, wanted: impl Fn(&SnapshotSummary) -> bool) -> Option<&SnapshotSummary> {
    let machine = run.report.as_ref().map(|r| words::machine(&r.inspection))?;
    let here = |s: &&SnapshotSummary| wanted(s) && machine.is(&s.machine);
    run.store.as_ref()?.snapshots.iter().filter(here).max_by_key(|s| s.counter)
}

/// The newest good snapshot of this machine: what `latest:good` means.
pub fn last_good(run: &RunState) -> Option<&SnapshotSummary> {
    newest(run, |s| s.good && s.purpose == Purpose::Keep)
}

/// The newest good snapshot of this machine, and how it stands to the newest package operation that is on record now: whether it is from
/// before that one, where it can be told.
pub fn back_to(run: &RunState) -> Option<(&SnapshotSummary, Option<(Operation, bool)>)> {
    let good = last_good(run)?;
    let operation = run.report.as_ref()?.systems.first().and_then(SystemReport::operation);
    let told = operation.and_then(|operation| {
        let before = operation.is_after(good.operation.as_ref(), good.taken)?;
        Some((operation, before))
    });
    Some((good, told))
}

/// The snapshot since which no system in front of us changed, as far as its file systems tell: an advice, not the proof
/// that a policy asks for.
fn saved_already(run: &RunState) -> Option<&SnapshotSummary> {
    let systems = &run.report.as_ref()?.systems;
    let since = systems.first()?.assessment.since;
    let unchanged = |a: &Assessment| a.change.value == Change::Unchanged && a.since == since;
    let all = systems.iter().all(|s| unchanged(&s.assessment));
    timeline(run).into_iter().find(|s| all && Some(s.id) == since)
}

/// The one disk in front of us that a saved state can be put onto without asking which: it is empty, or else it has no partition table
/// (any more) and nothing tells what is on it. `None` where none or several are so.
pub fn bare_disk(run: &RunState) -> Option<&Disk> {
    let disks = || run.report.iter().flat_map(|r| &r.inspection.disks).filter(|d| d.table.is_none());
    let all = |d: &Disk, content: &Content| d.volumes.iter().all(|v| v.content == *content);
    let mut bare: Vec<&Disk> = disks().filter(|d| all(d, &Content::Empty)).collect();
    if bare.is_empty() {
        bare = disks().filter(|d| all(d, &Content::Unknown)).collect();
    }
    match bare.as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

/// The plan for putting a snapshot onto disks that are bare as far as can be seen at a glance, or that somebody named, in their order.
/// Where one turns out to hold something, the plan says that this is lost, and asks for another word.
pub fn onto(to: SnapshotId, disks: &[&Disk]) -> Command {
    let onto = disks.iter().map(|disk| Onto { saved: None, disk: disk.no }).collect();
    let overwrite = disks.iter().map(|disk| disk.identity()).collect();
    Command::PlanRestore { to: SnapRef::Prefix(to.to_string()), onto, overwrite, new_ids: false, grow: Vec::new() }
}

/// The same plan as one that was made before: onto the same disks, which were named then.
pub fn onto_again(plan: &plan::RollbackPlan, run: &RunState) -> Command {
    let onto = plan.disks.iter().map(|d| Onto { saved: Some(d.saved_as), disk: d.disk }).collect();
    let disk = |no: DiskNo| run.report.as_ref().and_then(|r| r.inspection.disk(no));
    let overwrite = plan.disks.iter().filter_map(|d| Some(disk(d.disk)?.identity())).collect();
    let grown = plan.disks.iter().filter_map(|d| d.growth.as_ref()).filter(|g| g.wanted);
    let grow = grown.map(|g| g.volume.clone()).collect();
    Command::PlanRestore { to: SnapRef::Prefix(plan.to.to_string()), onto, overwrite, new_ids: false, grow }
}

/// Where nothing but a bare disk is in front of us, and the store is of one machine: its newest good state, or its newest.
fn replaced(run: &RunState, report: &Report) -> Option<Step> {
    let disk = bare_disk(run).filter(|_| report.systems.is_empty() && report.inspection.disks.len() == 1)?;
    let kept: Vec<&SnapshotSummary> = timeline(run).into_iter().filter(|s| s.purpose == Purpose::Keep).collect();
    let newest = kept.first()?;
    let one_machine = kept.iter().all(|s| s.machine.is(&newest.machine));
    let to = kept.iter().find(|s| s.good).unwrap_or(newest);
    let (at, no) = (words::time(to.taken), disk.no);
    // At a glance: the plan knows more.
    let shows = if disk.volumes.iter().all(|v| v.content == Content::Empty) { "looks empty" } else { "has no table" };
    let says = format!("Put the state of {at} onto {no}, which {shows} (plan first)");
    one_machine.then(|| submit(says, onto(to.id, &[disk])))
}

/// True where the newest snapshot of this machine is the undo point of a rollback: then undo has something to go back to.
pub fn can_undo(run: &RunState) -> bool {
    newest(run, |_| true).is_some_and(|s| matches!(s.purpose, Purpose::Undo { .. }))
}

/// True where a write-back was cut off and stands on the disks.
pub fn is_unfinished(run: &RunState) -> bool {
    run.report.as_ref().is_some_and(|r| r.inspection.fences().next().is_some())
}

/// True where something is known to be wrong with an installed system or its disks.
fn is_broken(report: &Report) -> bool {
    let known_bad = |a: &Assessment| words::facets(a).iter().any(|f| f.mark == words::Mark::Bad);
    let damaged = report.inspection.findings.iter().any(|f| f.severity == Severity::Damage);
    damaged || report.systems.iter().any(|s| known_bad(&s.assessment))
}

/// The way out, in the words of where we are: in a program on some computer, or in the rescue.
fn way_out(may_leave: bool) -> Step {
    show(if may_leave { "Leave Holdfast" } else { "Start this machine's own system, or power off" }, Screen::Power)
}

/// What to do next from Home. `may_leave`: see [`super::state::Ui::may_leave`].
pub fn home(run: &RunState, may_leave: bool) -> Vec<Step> {
    let mut steps = unlocked(run, may_leave);
    if let Some((unlock, report)) = unlock(run).zip(run.report.as_ref()).filter(|_| !run.locked) {
        // Where a system lies in it, nothing else makes sense before; nor does it where a rollback may have to be finished there.
        let first = report.systems.is_empty() || is_unfinished(run);
        steps.insert(if first { 0 } else { 1.min(steps.len()) }, unlock);
        steps.truncate(3);
    }
    steps
}

/// Unlocking the first encrypted volume that is locked.
fn unlock(run: &RunState) -> Option<Step> {
    let volume = run.report.as_ref()?.inspection.locked().next()?;
    let says = format!("Unlock {}, which is encrypted", volume.path);
    Some(Step { says, does: Does::Unlock(volume.path.clone()) })
}

/// The same, whatever is locked.
fn unlocked(run: &RunState, may_leave: bool) -> Vec<Step> {
    let Some(report) = &run.report else {
        let log = show("Show what was done so far", Screen::Log);
        return match run.job {
            Some(_) => vec![log, way_out(may_leave)],
            None => vec![submit("Look at the disks and say what happened", Command::Inspect), log, way_out(may_leave)],
        };
    };
    if run.locked {
        return vec![
            show("Unlock the store with its passphrase", Screen::Unlock),
            show("Show what was found, and where", Screen::Evidence),
            way_out(may_leave),
        ];
    }
    if is_unfinished(run) {
        return vec![
            submit("Finish the rollback (shows the plan first)", Command::PlanResume),
            submit("Undo it: back to the state before (shows the plan first)", Command::PlanUndo { full: false }),
            show("Show what was found, and where", Screen::Evidence),
        ];
    }
    if report.inspection.disks.is_empty() {
        let log = show("Show what was done so far", Screen::Log);
        return match &run.store {
            Some(store) if !store.snapshots.is_empty() => vec![way_out(may_leave), all(store), log],
            _ => vec![way_out(may_leave), log],
        };
    }
    let Some(store) = &run.store else {
        return vec![
            show("Show what was found, and where", Screen::Evidence),
            submit("Look at the disks again", Command::Inspect),
            way_out(may_leave),
        ];
    };
    if let Some(step) = replaced(run, report) {
        return vec![step, all(store), way_out(may_leave)];
    }
    let mut steps = Vec::new();
    let unchanged = saved_already(run);
    let why = match unchanged {
        Some(s) => format!("nothing changed since {}: no need", words::time(s.taken)),
        None => "changes nothing on this machine's disks".to_owned(),
    };
    let save = submit(format!("Save the present state ({why})"), Command::Snapshot { full: false });
    let back = last_good(run).map(|good| {
        let to = SnapRef::Prefix(good.id.to_string());
        let says = format!("Go back to the last good state, {} (shows the plan first)", words::time(good.taken));
        submit(says, Command::PlanRollback { to, only: Vec::new(), full: false })
    });
    let undo = can_undo(run)
        .then(|| submit("Undo the last rollback (shows the plan first)", Command::PlanUndo { full: false }));
    match (back, undo) {
        (Some(back), Some(undo)) if is_broken(report) => steps.extend([back, undo]),
        (Some(back), None) if is_broken(report) => steps.extend([back, save]),
        // Somebody went back a moment ago and it is in order: the machine's own system is next.
        (_, Some(undo)) => steps.extend([way_out(may_leave), undo]),
        _ if unchanged.is_some() => steps.extend([way_out(may_leave), save]),
        (Some(back), None) => steps.extend([save, back]),
        (None, None) => steps.push(save),
    }
    if let Some(repair) = repair(report) {
        steps.insert(0, repair);
        steps.truncate(2);
    }
    steps.push(all(store));
    if steps.len() < 3 {
        steps.push(way_out(may_leave));
    }
    steps
}

/// Where something that is broken in what starts the machine may be put right without a saved state.
fn repair(report: &Report) -> Option<Step> {
    let mendable = report.boot.iter().flat_map(BootChain::broken).any(|link| link.repairable);
    let says = "Put right what keeps it from starting (shows the plan first)";
    mendable.then(|| submit(says, Command::PlanBootRepair))
}

fn all(store: &StoreView) -> Step {
    match store.snapshots.len() {
        0 => show("Show what was found, and where", Screen::Evidence),
        n => show(format!("Show the saved states ({n})"), Screen::Timeline),
    }
}

/// What to do after a job. `may_leave`, `other`: see [`super::state::Ui`].
pub fn outcome(run: &RunState, may_leave: bool, other: Option<&str>) -> Vec<Step> {
    let home = show("Back to the overview", Screen::Home);
    let start = way_out(may_leave);
    let log = || show("Show what was done", Screen::Log);
    // A save that was cut short needs no more than another.
    let saving = matches!(run.last, Some((JobKind::Snapshot, _)));
    match run.last.as_ref().map(|(_, o)| o) {
        Some(Outcome::Saved { .. } | Outcome::Acted(_)) => {
            vec![home, show("Show the saved states", Screen::Timeline), start]
        }
        Some(Outcome::WroteBack(_)) if matches!(run.last, Some((JobKind::Restore, _))) => vec![start, home],
        // What was gone back to was broken then already.
        Some(Outcome::WroteBack(_)) if run.report.as_ref().is_some_and(|r| repair(r).is_some()) => {
            let repair = run.report.as_ref().and_then(repair);
            let undo = submit("Undo it (shows the plan first)", Command::PlanUndo { full: false });
            repair.into_iter().chain([undo, home]).collect()
        }
        Some(Outcome::Kept(kept)) => upkeep::after(kept, home),
        Some(Outcome::Compared(_)) => vec![show("Show what changed", Screen::Differences), home],
        Some(Outcome::Got(_)) => vec![Step { says: "Back to where you were".into(), does: Does::Back }, home],
        Some(Outcome::WroteBack(_)) => {
            vec![start, submit("Undo it (shows the plan first)", Command::PlanUndo { full: false }), home]
        }
        Some(Outcome::Failed(f)) if (f.code == ExitCode::Interrupted && !saving) || is_unfinished(run) => {
            unfinished(home)
        }
        Some(Outcome::Cancelled(_)) if is_unfinished(run) => unfinished(home),
        // Mostly for want of room.
        Some(Outcome::Failed(f)) if f.code == ExitCode::Interrupted => {
            vec![show("See how full the store is, and what may go", Screen::Store), home, log()]
        }
        Some(Outcome::Checked(report)) => upkeep::after_check(report, other, home, log()),
        Some(Outcome::Failed(_) | Outcome::Exported(_) | Outcome::Proved(_) | Outcome::Listed(_)) => vec![home, log()],
        Some(
            Outcome::Looked | Outcome::Described(_) | Outcome::Declined | Outcome::Estimated(_) | Outcome::Cancelled(_),
        )
        | None => vec![home],
    }
}

fn unfinished(home: Step) -> Vec<Step> {
    vec![
        submit("Finish it (shows the plan first)", Command::PlanResume),
        submit("Undo it: back to the state before (shows the plan first)", Command::PlanUndo { full: false }),
        home,
    ]
}
