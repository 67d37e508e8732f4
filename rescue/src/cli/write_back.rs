//! `holdfast rollback`, `undo`, `resume` and `repair-boot`: a plan, its approval, its execution.

use super::args::{Approval, WriteBack, WriteBackTo};
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, complain, human, json, print};
use model::boot::LinkState;
use model::command::{Command, ExitCode};
use model::event::Outcome;
use model::id::PlanId;
use model::plan::RollbackPlan;

pub(super) fn run(args: &WriteBack) -> Ended {
    let command = match &args.to {
        WriteBackTo::Snapshot { to, only } => Command::PlanRollback { to: to.clone(), only: only.clone() },
        WriteBackTo::Undo => Command::PlanUndo,
        WriteBackTo::Resume => Command::PlanResume,
        WriteBackTo::BootRepair => return repair_boot(args),
    };
    let mut session = Session::start(&args.disks, Some(&args.store))?;
    let mut asked: Option<(PlanId, RollbackPlan)> = None;
    let outcome = session.command(command, &mut |id, plan| {
        asked = Some((id, plan.clone()));
        if !args.json {
            // Shown before anything is done; where that fails, nothing is.
            return Some(print(&human::plan(id, plan)).is_ok() && approves(args.approval, id, plan));
        }
        Some(approves(args.approval, id, plan))
    })?;
    match (outcome, asked) {
        (Outcome::WroteBack(receipt), Some((id, plan))) => {
            let after = session.run.report.as_ref();
            let boot = after.map_or(&[][..], |r| &r.boot);
            let said = || human::wrote(&receipt) + &human::chains(boot);
            session.answer(args.json, || json::plan(id, &plan, Some(&receipt), after), said)
        }
        (Outcome::Declined, Some((id, plan))) => {
            if args.json {
                session.answer(true, || json::plan(id, &plan, None, None), String::new)?;
            }
            declined(args.approval, id, &plan)
        }
        (other, _) => Err(unexpected(&other)),
    }
}

/// `repair-boot`: what can be put right is told first; where that is nothing, there is no plan.
fn repair_boot(args: &WriteBack) -> Ended {
    let mut session = Session::start(&args.disks, Some(&args.store))?;
    let mut asked: Option<(PlanId, RollbackPlan)> = None;
    let mut shown = true;
    let outcome = session.command_telling(Command::PlanBootRepair, &mut |id, plan, run| {
        asked = Some((id, plan.clone()));
        if !args.json {
            // Shown before anything is done; where that fails, nothing is.
            let what = run.boot_repairs.as_ref().map(human::boot_repairs).unwrap_or_default();
            shown = print(&(what + &human::plan(id, plan))).is_ok();
        }
        Some(shown && approves(args.approval, id, plan))
    })?;
    let repairs = session.run.boot_repairs.clone().unwrap_or_default();
    let after = session.run.report.as_ref();
    let planned = asked.as_ref().map(|(id, plan)| (*id, plan));
    match (&outcome, planned) {
        (Outcome::WroteBack(receipt), Some(_)) => {
            let boot = after.map_or(&[][..], |r| &r.boot);
            let said = || human::wrote(receipt) + &human::chains(boot);
            session.answer(args.json, || json::boot_repairs(&repairs, planned, Some(receipt), after), said)
        }
        (Outcome::Declined, Some((id, plan))) => {
            if args.json {
                session.answer(true, || json::boot_repairs(&repairs, planned, None, None), String::new)?;
            }
            declined(args.approval, id, plan)
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

fn approves(approval: Approval, id: PlanId, plan: &RollbackPlan) -> bool {
    match approval {
        Approval::Missing | Approval::PlanOnly => false,
        Approval::Plan(wanted) => wanted == id && plan.is_usable(),
        Approval::Yes => plan.is_usable(),
    }
}

/// Nothing was written: why, and with which code.
fn declined(approval: Approval, id: PlanId, plan: &RollbackPlan) -> Ended {
    let says = match approval {
        _ if !plan.is_usable() => "this plan cannot be carried out; nothing was written".to_owned(),
        Approval::PlanOnly => return Ok(ExitCode::Ok),
        Approval::Plan(_) => format!("the plan is another one now: {id}; nothing was written"),
        Approval::Missing | Approval::Yes => format!("nothing was written: approve it with --approve {id}"),
    };
    // The plan itself is on stdout, as asked for.
    complain(&says);
    Ok(ExitCode::Refused)
}
