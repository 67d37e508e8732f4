//! `holdfast prove`.

use super::args::Prove;
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, human, json};
use model::command::{Command, ExitCode};
use model::event::Outcome;
use model::proof::Verdict;

pub(super) fn run(args: &Prove) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    match session.ask(Command::Prove { snapshot: args.snapshot.clone(), trial: args.trial })? {
        Outcome::Proved(proof) => {
            session.answer(args.json, || json::proved(&proof), || human::proved(&proof))?;
            Ok(match proof.verdict {
                Verdict::Proven => ExitCode::Ok,
                Verdict::NotProven => ExitCode::Damage,
                Verdict::Unknown => ExitCode::Refused,
            })
        }
        other => Err(unexpected(&other)),
    }
}
