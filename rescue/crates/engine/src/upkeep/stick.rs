//! What is done with the store of a second stick: it is mounted for that alone, and let go whatever comes of it.

use super::second;
use crate::jobs::{Done, Jobs};
use crate::run::{Observer, Stop};
use crate::sticks::Sticks;
use crate::store_place::StorePlace;
use crate::worker::Desk;
use model::command::{ExitCode, Failure};
use model::event::Happening;
use model::text::DisplayText;
use model::upkeep::Kept;
use store::Store;

/// The directory of the store on a stick's own file system.
const STORE: &str = "holdfast";

/// Copies everything that is not there yet onto the stick.
pub(super) fn copy(jobs: &Jobs, desk: &Desk) -> Done<Kept> {
    // A store that cannot be read is told before anybody looks for a stick.
    jobs.store(desk)?;
    with(jobs, desk, true, |to| second::copy_into(jobs, to, &[], desk))
}

/// Writes again what is damaged, from the store of the stick too.
pub(super) fn repair(jobs: &Jobs, desk: &Desk) -> Done<Kept> {
    let store = jobs.store_to_write(desk)?;
    with(jobs, desk, false, |from| second::repair_from(jobs, &store, Some(from), desk))
}

/// Lets a stick go when dropped: also where what was done with it panicked.
struct Attached<'a> {
    sticks: &'a dyn Sticks,
    let_go: bool,
}

impl Attached<'_> {
    fn let_go(mut self) -> Result<(), DisplayText> {
        self.let_go = true;
        self.sticks.detach()
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if !self.let_go {
            // Nobody is left who could be told.
            let _ = self.sticks.detach();
        }
    }
}

/// Does something with the store of a second stick; where `write`, one is made where there is none.
fn with(jobs: &Jobs, desk: &Desk, write: bool, does: impl FnOnce(&Store) -> Done<Kept>) -> Done<Kept> {
    let Some(sticks) = jobs.config.sticks.as_deref() else {
        let says = "a second stick can be used in the rescue alone";
        return Err(Stop::failed(ExitCode::Refused, says, "name a second store with --to"));
    };
    desk.log("looking for a second stick");
    let Some(root) = sticks.attach(&|| desk.cancelled())? else {
        return Err(Stop::Cancelled("stopped before anything was done with the second stick".into()));
    };
    let attached = Attached { sticks, let_go: false };
    let place = StorePlace::Dir { path: root.join(STORE), create: write, access: Box::default() };
    // The store is closed before the stick is let go.
    let done = opened(jobs, &place).and_then(|store| does(&store));
    match (done, attached.let_go()) {
        (Ok(kept), Ok(())) => {
            desk.log("the second stick was let go: it can be taken out");
            Ok(kept)
        }
        (Ok(kept), Err(why)) if !write => {
            desk.tell(Happening::Warning(why));
            Ok(kept)
        }
        (Ok(_), Err(why)) => {
            let says = format!("all was copied, but {why}: the last of it may not be on it");
            Err(Stop::failed(ExitCode::Failed, says, AGAIN))
        }
        (Err(Stop::Failed(failure) | Stop::Full(failure)), Err(why)) => {
            Err(Stop::failed(ExitCode::Failed, format!("{why} ({})", failure.says), AGAIN))
        }
        // What did not fit is on another stick than the one that is meant by most advice.
        (Err(Stop::Full(failure)), Ok(())) if write => {
            let advice = "nothing is lost: what was copied stays there; take a larger stick, or make room on that one";
            Err(Stop::failed(failure.code, format!("the second stick: {}", failure.says), advice))
        }
        (Err(stop), _) => Err(stop),
    }
}

/// What is to be done where a stick was pulled out.
const AGAIN: &str = "the store of this rescue is as it was, and whole saved states that were copied before stay; plug the stick in and do it again";

fn opened(jobs: &Jobs, place: &StorePlace) -> Done<Store> {
    if place.is_locked() {
        let says = "the store of the second stick is encrypted, and its passphrase cannot be asked for here";
        let advice = "on a management computer `holdfast copy` and `holdfast repair` open it";
        return Err(Stop::failed(ExitCode::Refused, says, advice));
    }
    place.open(jobs.config.parser.clone()).map_err(|Failure { code, says, advice }| {
        Stop::failed(code, format!("the second stick: {says}"), advice.as_str())
    })
}
