//! `holdfast snapshot`.

use super::args::Snapshot;
use super::session::Session;
use super::{Ended, human, json};
use model::command::{Command, ExitCode, Failure};
use model::event::Outcome;

pub(super) fn run(args: &Snapshot) -> Ended {
    let mut session = Session::start(&args.disks, Some(&args.store))?;
    match session.ask(Command::Snapshot { full: args.full })? {
        Outcome::Saved { id, cost, volumes } => {
            session.answer(args.json, || json::saved(id, &cost, &volumes), || human::saved(id, &cost, &volumes))
        }
        other => Err(unexpected(&other)),
    }
}

/// The engine ended a job in a way that does not belong to it.
pub(super) fn unexpected(outcome: &Outcome) -> Failure {
    let says = format!("the engine ended in a way that was not expected: {outcome:?}");
    Failure::new(ExitCode::Failed, says, "please report this")
}
