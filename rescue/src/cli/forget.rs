//! `holdfast forget`: what goes and why the rest stays, its approval, and the forgetting.

use super::args::{Forget, ForgetApproval};
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, human, json, print, secret};
use model::command::{Command, ExitCode, Failure};
use model::event::Outcome;
use model::upkeep::{ForgetView, Kept, Upkeep};
use std::io;

pub(super) fn run(args: &Forget) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    let view = match session.ask(Command::Upkeep { what: Upkeep::PlanForget { what: args.what.clone() } })? {
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
    if !go {
        if args.json {
            print(&json::text(&json::forget(&view, false)))?;
        }
        if nothing || args.approval == ForgetApproval::DryRun {
            return Ok(ExitCode::Ok);
        }
        eprintln!("holdfast: nothing was forgotten; --yes forgets them");
        return Ok(ExitCode::Refused);
    }
    let what = Upkeep::Forget { what: args.what.clone(), ids: view.ids() };
    match session.ask(Command::Upkeep { what })? {
        Outcome::Kept(Kept::Forgotten(view)) if args.json => print(&json::text(&json::forget(&view, true))),
        Outcome::Kept(Kept::Forgotten(view)) => print(&format!("forgotten: {}\n", view.forget.len())),
        other => Err(unexpected(&other)),
    }
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
