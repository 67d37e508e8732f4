//! `holdfast export`.

use super::args::Export;
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, human, json};
use model::command::{Command, ExitCode};
use model::event::Outcome;
use model::text::RawName;
use std::os::unix::ffi::OsStrExt;

pub(super) fn run(args: &Export) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    session.open_saved(&args.snapshot, &args.open)?;
    let command = Command::Export {
        snapshot: args.snapshot.clone(),
        only: args.only.clone(),
        to: RawName(args.to.as_os_str().as_bytes().to_vec()),
        format: args.format,
    };
    match session.ask(command)? {
        Outcome::Exported(exported) => {
            session.answer(args.json, || json::exported(&exported), || human::exported(&exported))?;
            let whole = exported.images.iter().all(|i| i.unreadable.is_empty());
            Ok(if whole { ExitCode::Ok } else { ExitCode::Damage })
        }
        other => Err(unexpected(&other)),
    }
}
