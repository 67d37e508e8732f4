//! Verbs about a store alone: `store init`, `snapshots`, `check`.

use super::args::{Check, StoreInit, StoreOnly};
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, human, json, print};
use model::command::{Command, ExitCode, Failure};
use model::event::{Outcome, StoreView};
use model::upkeep::{Kept, Upkeep};

pub(super) fn init(args: &StoreInit) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    match session.ask(Command::Upkeep { what: Upkeep::Make { probe: args.probe } })? {
        Outcome::Kept(Kept::Made { id, probed }) if args.json => print(&json::text(&json::made(&id, probed))),
        Outcome::Kept(Kept::Made { id, probed }) => {
            let probed = probed.map(|n| format!("the place keeps what it is given: {n} were written and read back\n"));
            print(&format!("{}made store {id} in {}\n", probed.unwrap_or_default(), args.store.display()))
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn snapshots(args: &StoreOnly) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    session.ask(Command::ListSnapshots)?;
    let store: StoreView = session.run.store.take().ok_or_else(|| {
        Failure::new(ExitCode::Failed, "the store was read and nothing was told of it", "run it again")
    })?;
    print(&if args.json { json::text(&json::snapshots(&store)) } else { human::snapshots(&store) })?;
    Ok(if store.damage.is_empty() { ExitCode::Ok } else { ExitCode::Damage })
}

pub(super) fn check(args: &Check) -> Ended {
    let mut session = Session::start(&[], Some(&args.store))?;
    match session.ask(Command::Check { read_data: args.read_data })? {
        Outcome::Checked(report) => {
            print(&if args.json { json::text(&json::checked(&report)) } else { human::checked(&report) })?;
            Ok(if report.damage.is_empty() { ExitCode::Ok } else { ExitCode::Damage })
        }
        other => Err(unexpected(&other)),
    }
}
