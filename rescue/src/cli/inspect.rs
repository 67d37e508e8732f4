//! `holdfast inspect`.

use super::args::Inspect;
use super::session::Session;
use super::{Ended, human, json};
use model::command::{Command, ExitCode, Failure};
use model::inspection::Severity;

pub(super) fn run(args: &Inspect) -> Ended {
    let mut session = Session::start(&args.disks, args.store.as_ref())?;
    session.open(&args.open, false)?;
    session.ask(Command::Inspect)?;
    let run = session.run.clone();
    let report = run.report.as_ref().ok_or_else(|| {
        Failure::new(ExitCode::Failed, "the disks were looked at and nothing was told of them", "run it again")
    })?;
    session.answer(
        args.json,
        || json::report(&run, report),
        || human::report(&run, report, args.explain, args.timeline),
    )?;
    let damage = report.inspection.findings.iter().any(|f| f.severity == Severity::Damage);
    Ok(if damage { ExitCode::Damage } else { ExitCode::Ok })
}
