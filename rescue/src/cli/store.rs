//! Verbs about a store alone: `store init`, `snapshots`, `show`, `check`, `note`.

use super::args::{Check, Note, Show, StoreInit, StoreOnly};
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, human, json, secret};
use engine::{Access, StorePlace};
use model::command::{Command, ExitCode, Failure};
use model::event::{Outcome, StoreView};
use model::upkeep::{Kept, Upkeep};

pub(super) fn init(args: &StoreInit) -> Ended {
    let new_key = args.encrypt.then(|| secret::new_key(&args.store.unlock)).transpose()?;
    let access = Access { new_key, ..Access::default() };
    let place = StorePlace::Dir { path: args.store.dir.clone(), create: false, access: Box::new(access) };
    let mut session = Session::with(&[], Some(place), None)?;
    match session.ask(Command::Upkeep { what: Upkeep::Make { probe: args.probe } })? {
        Outcome::Kept(Kept::Made(made)) => session.answer(
            args.json,
            || json::made(&made),
            || {
                let probed = |n| format!("the place keeps what it is given: {n} were written and read back\n");
                let sealed = if made.encrypted { "an encrypted store" } else { "store" };
                let warning =
                    "without its passphrase or key file nothing in it can ever be read: keep it elsewhere too\n";
                format!(
                    "{}made {sealed} {} in {}\n{}",
                    made.probed.map(probed).unwrap_or_default(),
                    made.id,
                    args.store.dir.display(),
                    if made.encrypted { warning } else { "" }
                )
            },
        ),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn snapshots(args: &StoreOnly) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    session.ask(Command::ListSnapshots)?;
    let store: StoreView = session.run.store.take().ok_or_else(|| {
        Failure::new(ExitCode::Failed, "the store was read and nothing was told of it", "run it again")
    })?;
    session.answer(args.json, || json::snapshots(&store), || human::snapshots(&store))?;
    Ok(if store.damage.is_empty() { ExitCode::Ok } else { ExitCode::Damage })
}

pub(super) fn show(args: &Show) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    match session.ask(Command::Describe { snapshot: args.snapshot.clone() })? {
        Outcome::Described(d) => session.answer(args.json, || json::described(&d), || human::described(&d)),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn check(args: &Check) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    let mut accepted = None;
    if args.accept_head {
        match session.ask(Command::Upkeep { what: Upkeep::AcceptHead })? {
            Outcome::Kept(Kept::HeadAccepted { differed }) => accepted = Some(differed),
            other => return Err(unexpected(&other)),
        }
    }
    match session.ask(Command::Check { read_data: args.read_data })? {
        Outcome::Checked(report) => {
            let json = || json::checked(&report, accepted.as_ref());
            session.answer(args.json, json, || human::checked(&report, accepted.as_ref()))?;
            Ok(if report.damage.is_empty() { ExitCode::Ok } else { ExitCode::Damage })
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn note(args: &Note) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    let what = Upkeep::Note { snapshot: args.snapshot.clone(), says: args.says.clone() };
    match session.ask(Command::Upkeep { what })? {
        Outcome::Kept(Kept::Noted { snapshot, noted }) => {
            session.answer(args.json, || json::noted(snapshot, &noted), || human::noted(snapshot, &noted))
        }
        other => Err(unexpected(&other)),
    }
}
