//! `holdfast forget`: what goes and why the rest stays, its approval, and the forgetting.

use super::args::{Forget, ForgetApproval};
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, complain, human, json, print, room, secret};
use model::command::{Command, ExitCode, Failure};
use model::event::Outcome;
use model::upkeep::{ForgetView, Kept, Pruning, Upkeep};
use std::io;

pub(super) fn run(args: &Forget) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    // Whoever decides is told what it is good for; a script that has decided need not wait for that.
    let room = args.approval != ForgetApproval::Yes;
    let what = Upkeep::PlanForget { what: args.what.clone(), room };
    let view = match session.ask(Command::Upkeep { what })? {
        Outcome::Kept(Kept::ForgetPlanned(view)) => view,
        other => return Err(unexpected(&other)),
    };
    if !args.json {
        print(&human::forget(&view))?;
    }
    let nothing = view.forget.is_empty();
    let go = !nothing
        && match args.approval {
            ForgetApproval::Yes => true,
            ForgetApproval::DryRun => false,
            ForgetApproval::Asked => !args.json && secret::has_person() && agreed(&view)?,
        };
    // Where there is nothing to decide, pruning is what is left to do: what was forgotten before may still take room.
    if !go && (!nothing || !args.prune || args.approval == ForgetApproval::DryRun) {
        if args.json {
            session.answer(true, || json::forget(&view, false, None), String::new)?;
        }
        if nothing || args.approval == ForgetApproval::DryRun {
            return Ok(ExitCode::Ok);
        }
        complain("nothing was forgotten; --yes forgets them");
        return Ok(ExitCode::Refused);
    }
    if go {
        let what = Upkeep::Forget { what: args.what.clone(), ids: view.ids() };
        match session.ask(Command::Upkeep { what })? {
            Outcome::Kept(Kept::Forgotten(_)) => {}
            other => return Err(unexpected(&other)),
        }
        if !args.json {
            print(&format!("forgotten: {}\n", human::count(view.forget.len(), "snapshot")))?;
        }
    }
    let pruned = args.prune.then(|| room::pruned(&mut session, Pruning::default(), false)).transpose()?;
    let json = || json::forget(&view, go, pruned.as_ref());
    session.answer(args.json, json, || match &pruned {
        Some(pruned) => human::pruned(pruned, false),
        None => "their room is not free yet: `holdfast prune` frees it\n".to_owned(),
    })
}

/// Asks the person at the terminal.
fn agreed(view: &ForgetView) -> Result<bool, Failure> {
    eprint!("Forget {} for ever? Type yes: ", human::count(view.forget.len(), "snapshot"));
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|e| {
        Failure::new(ExitCode::Failed, format!("the terminal cannot be read: {e}"), "nothing was forgotten")
    })?;
    Ok(line.trim() == "yes")
}
