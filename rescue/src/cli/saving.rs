//! `holdfast snapshot`.

use super::args::Snapshot;
use super::session::Session;
use super::{Ended, human, json};
use model::command::{Command, ExitCode, Failure};
use model::event::Outcome;

pub(super) fn run(args: &Snapshot) -> Ended {
    let mut session = Session::start(&args.disks, Some(&args.store))?;
    session.open(&args.open, args.plain)?;
    let full = args.full;
    let command = if args.dry_run { Command::EstimateSnapshot { full } } else { Command::Snapshot { full } };
    match session.ask(command)? {
        Outcome::Saved { id, cost, volumes } => {
            let told = session.run.estimate.as_ref();
            session.answer(args.json, || json::saved(id, &cost, &volumes, told), || human::saved(id, &cost, &volumes))
        }
        Outcome::Estimated(estimate) => {
            session.answer(args.json, || json::estimate(&estimate), || human::estimate(&estimate))
        }
        other => Err(unexpected(&other)),
    }
}

/// The engine ended a job in a way that does not belong to it.
pub(super) fn unexpected(outcome: &Outcome) -> Failure {
    let says = format!("the engine ended in a way that was not expected: {outcome:?}");
    Failure::new(ExitCode::Failed, says, "please report this")
}
