//! `holdfast ls`, `holdfast get` and `holdfast diff`: files of saved states.

use super::args::{Diff, Get, Ls};
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, human, json};
use model::command::{Command, ExitCode};
use model::event::Outcome;
use model::text::RawName;
use std::os::unix::ffi::OsStrExt;

pub(super) fn ls(args: &Ls) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    match session.ask(Command::ListFiles { snapshot: args.snapshot.clone(), at: args.at.clone() })? {
        Outcome::Listed(listing) => {
            session.answer(args.json, || json::listed(&listing), || human::files::listed(&listing))?;
            let damaged = listing.found.iter().flat_map(|f| &f.entries).any(|e| e.attributes.is_none());
            Ok(if damaged { ExitCode::Damage } else { ExitCode::Ok })
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn get(args: &Get) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    let command = Command::GetFiles {
        snapshot: args.snapshot.clone(),
        at: args.at.clone(),
        to: Some(RawName(args.to.as_os_str().as_bytes().to_vec())),
        privileged: args.privileged,
    };
    match session.ask(command)? {
        Outcome::Got(got) => {
            session.answer(args.json, || json::got(&got), || human::files::got(&got))?;
            Ok(if got.damaged.count == 0 { ExitCode::Ok } else { ExitCode::Damage })
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn diff(args: &Diff) -> Ended {
    let mut session = Session::start(&args.disks, Some(&args.store))?;
    session.open(&args.open, false)?;
    let command = Command::Compare { before: args.before.clone(), after: args.after.clone(), text: args.text };
    match session.ask(command)? {
        Outcome::Compared(found) => {
            session.answer(args.json, || json::compared(&found), || human::differences::compared(&found))
        }
        other => Err(unexpected(&other)),
    }
}
