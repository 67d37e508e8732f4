//! `holdfast rollback`, `put`, `restore`, `undo`, `resume` and `repair-boot`: a plan, its approval, its execution.

use super::args::{Approval, WriteBack, WriteBackTo};
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, complain, human, json, print};
use model::boot::LinkState;
use model::command::{Command, ExitCode, Onto};
use model::event::{Outcome, Question};
use model::id::{DiskNo, PlanId};
use model::plan::RollbackPlan;
use model::text::DisplayText;

pub(super) fn run(args: &WriteBack) -> Ended {
    let command = match &args.to {
        WriteBackTo::Snapshot { to, only, keep, full } if keep.is_empty() => {
            Command::PlanRollback { to: to.clone(), only: only.clone(), full: *full }
        }
        // All that is in use is read then.
        WriteBackTo::Snapshot { to, only, keep, .. } => {
            Command::PlanKeeping { to: to.clone(), only: only.clone(), keep: keep.clone() }
        }
        WriteBackTo::Files { from, at } => Command::PlanPut { from: from.clone(), at: at.clone() },
        WriteBackTo::Disks { to, saved, overwrite, new_ids, grow } => Command::PlanRestore {
            to: to.clone(),
            // The disks of this run are numbered in the order in which they are named.
            onto: (0..).zip(saved).map(|(no, saved)| Onto { saved: *saved, disk: DiskNo(no) }).collect(),
            overwrite: overwrite.clone(),
            new_ids: *new_ids,
            grow: grow.clone(),
        },
        WriteBackTo::Undo { full } => Command::PlanUndo { full: *full },
        WriteBackTo::Resume => Command::PlanResume,
        WriteBackTo::BootRepair => return repair_boot(args),
    };
    let mut session = Session::start(&args.disks, Some(&args.store))?;
    match &args.to {
        // What is to be written there is encrypted as it was, not as what is there.
        WriteBackTo::Disks { to, .. } => session.open_saved(to, &args.open)?,
        _ => session.open(&args.open, args.plain)?,
    }
    let mut asked: Option<Question> = None;
    // Whoever approves a plan by its id, or whatever it is, has seen what it loses, or need not.
    let waits = matches!(args.approval, Approval::Missing | Approval::PlanOnly);
    let outcome = session.decided(command, &mut |question| {
        if waits && question.losses.is_none() {
            return None;
        }
        asked = Some(question.clone());
        let (id, plan) = (question.id, &question.plan);
        // Shown before anything is done; where that fails, nothing is.
        let shown = args.json || print(&human::plan(question, waits)).is_ok();
        Some(shown && approves(args, id, plan))
    })?;
    match (outcome, asked) {
        (Outcome::WroteBack(receipt), Some(question)) => {
            let after = session.run.report.as_ref();
            let boot = after.map_or(&[][..], |r| &r.boot);
            let said = || human::wrote(&receipt) + &human::chains(boot);
            session.answer(args.json, || json::plan(&question, Some(&receipt), after), said)
        }
        (Outcome::Declined, Some(question)) => {
            if args.json {
                session.answer(true, || json::plan(&question, None, None), String::new)?;
            }
            declined(args, question.id, &question.plan)
        }
        (other, _) => Err(unexpected(&other)),
    }
}

/// `repair-boot`: what can be put right is told first; where that is nothing, there is no plan.
fn repair_boot(args: &WriteBack) -> Ended {
    let mut session = Session::start(&args.disks, Some(&args.store))?;
    let mut asked: Option<Question> = None;
    let mut shown = true;
    let outcome = session.decided_told(Command::PlanBootRepair, &mut |question, run| {
        asked = Some(question.clone());
        if !args.json {
            // Shown before anything is done; where that fails, nothing is.
            let what = run.boot_repairs.as_ref().map(human::boot_repairs).unwrap_or_default();
            shown = print(&(what + &human::plan(question, false))).is_ok();
        }
        Some(shown && approves(args, question.id, &question.plan))
    })?;
    let repairs = session.run.boot_repairs.clone().unwrap_or_default();
    let after = session.run.report.as_ref();
    let planned = asked.as_ref();
    match (&outcome, planned) {
        (Outcome::WroteBack(receipt), Some(_)) => {
            let boot = after.map_or(&[][..], |r| &r.boot);
            let said = || human::wrote(receipt) + &human::chains(boot);
            session.answer(args.json, || json::boot_repairs(&repairs, planned, Some(receipt), after), said)
        }
        (Outcome::Declined, Some(question)) => {
            if args.json {
                session.answer(true, || json::boot_repairs(&repairs, planned, None, None), String::new)?;
            }
            declined(args, question.id, &question.plan)
        }
        (Outcome::Looked, None) => {
            let said = || human::boot_repairs(&repairs);
            session.answer(args.json, || json::boot_repairs(&repairs, None, None, None), said)?;
            // Something is broken all the same: that is told like any other damage.
            let broken = repairs.after.iter().any(|c| c.state() == LinkState::Broken);
            Ok(if broken { ExitCode::Damage } else { ExitCode::Ok })
        }
        (other, _) => Err(unexpected(other)),
    }
}

fn approves(args: &WriteBack, id: PlanId, plan: &RollbackPlan) -> bool {
    plan.is_usable()
        && is_meant(args, plan)
        && match args.approval {
            Approval::Missing | Approval::PlanOnly => false,
            Approval::Plan(wanted) => wanted == id,
            Approval::Yes => true,
        }
}

/// True where the snapshot is of this machine, or of the one that was named.
fn is_meant(args: &WriteBack, plan: &RollbackPlan) -> bool {
    let named = |of: &DisplayText| args.foreign.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(of.as_str()));
    plan.foreign.as_ref().is_none_or(named)
}

/// Nothing was written: why, and with which code.
fn declined(args: &WriteBack, id: PlanId, plan: &RollbackPlan) -> Ended {
    let says = match (args.approval, &plan.foreign) {
        _ if !plan.is_usable() => "this plan cannot be carried out; nothing was written".to_owned(),
        (Approval::PlanOnly, _) => return Ok(ExitCode::Ok),
        (_, Some(of)) if !is_meant(args, plan) => {
            format!(
                "nothing was written: the snapshot is of another machine; where that is meant, add --foreign-machine {of}"
            )
        }
        (Approval::Plan(wanted), _) if wanted != id => {
            format!("the plan is another one now: {id}; nothing was written")
        }
        _ => format!("nothing was written: approve it with --approve {id}"),
    };
    // The plan itself is on stdout, as asked for.
    complain(&says);
    Ok(ExitCode::Refused)
}
