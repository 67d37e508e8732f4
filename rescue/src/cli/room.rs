//! Verbs about the room a store takes, and about two stores: `prune`, `stats`, `copy`, `repair`.

use super::args::{Copy, Prune, Repair, StoreOnly};
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, human, json, secret};
use model::command::{Command, ExitCode, Failure};
use model::event::Outcome;
use model::upkeep::{Kept, PruneView, Pruning, Upkeep};

pub(super) fn prune(args: &Prune) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    let view = pruned(&mut session, args.how, args.dry_run)?;
    session.answer(args.json, || json::pruned(&view, !args.dry_run), || human::pruned(&view, args.dry_run))
}

/// Prunes, or with `dry_run` says what that would do.
pub(super) fn pruned(session: &mut Session, how: Pruning, dry_run: bool) -> Result<PruneView, Failure> {
    match session.ask(Command::Upkeep { what: Upkeep::Prune { how, dry_run } })? {
        Outcome::Kept(Kept::Pruned(view) | Kept::PrunePlanned(view)) => Ok(view),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn stats(args: &StoreOnly) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    match session.ask(Command::Upkeep { what: Upkeep::Stats })? {
        Outcome::Kept(Kept::Stats(view)) => session.answer(args.json, || json::stats(&view), || human::stats(&view)),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn copy(args: &Copy) -> Ended {
    let mut session = Session::between(&args.store, Some((&args.to, secret::TO)))?;
    match session.ask(Command::Upkeep { what: Upkeep::Copy { snapshots: args.snapshots.clone() } })? {
        Outcome::Kept(Kept::Copied(view)) => {
            session.answer(args.json, || json::copied(&view), || human::copied(&view))?;
            Ok(if view.failed.is_empty() { ExitCode::Ok } else { ExitCode::Damage })
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn repair(args: &Repair) -> Ended {
    let mut session = Session::between(&args.store, args.from.as_ref().map(|from| (from, secret::FROM)))?;
    match session.ask(Command::Upkeep { what: Upkeep::Repair })? {
        Outcome::Kept(Kept::Repaired(view)) => {
            let alone = args.from.is_none();
            session.answer(args.json, || json::repaired(&view), || human::repaired(&view, alone))?;
            Ok(if view.broken.is_empty() { ExitCode::Ok } else { ExitCode::Damage })
        }
        other => Err(unexpected(&other)),
    }
}
