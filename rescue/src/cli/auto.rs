//! `holdfast auto`.

use super::args::Auto;
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, complain, human, json};
use model::command::{Command, ExitCode, Failure, PolicyText};
use model::event::Outcome;
use model::policy::{MOST_TEXT, Manner};
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub(super) fn run(args: &Auto) -> Ended {
    let policy = args.policy.as_deref().map(read).transpose()?;
    let mut session = Session::start(&args.disks, Some(&args.store))?;
    session.open(&args.open, args.plain)?;
    let keys = args.policy.as_deref().map(engine::key_files);
    let manner = if args.dry_run { Manner::DryRun } else { Manner::Asked };
    let acted = match session.ask(Command::Auto { policy, keys, manner })? {
        Outcome::Acted(acted) => acted,
        other => return Err(unexpected(&other)),
    };
    let said =
        session.answer(args.json, || json::acted(&acted, args.dry_run), || human::acted(&acted, args.dry_run))?;
    match &acted.trouble {
        None => Ok(said),
        Some(trouble) => {
            // The answer is out: that the snapshot is there must not be hidden by what went wrong behind it.
            complain(&format!("the snapshot is saved and whole, but then: {trouble}"));
            Ok(if trouble.code == ExitCode::Ok { ExitCode::Failed } else { trouble.code })
        }
    }
}

/// No more of it than makes sense, and a byte: that it is too long is told by whoever reads it.
fn read(file: &Path) -> Result<PolicyText, Failure> {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|f| f.take(MOST_TEXT as u64 + 1).read_to_end(&mut text));
    match read {
        Ok(_) => Ok(PolicyText(Ok(text))),
        Err(e) => {
            let says = format!("the policy {} cannot be read: {e}", file.display());
            Err(Failure::new(ExitCode::Failed, says, "nothing was done"))
        }
    }
}
