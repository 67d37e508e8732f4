//! The jobs about the files of saved states: listing them, showing them part by part, and taking them out. None of them needs a
//! disk.

use crate::jobs::{Done, Jobs};
use crate::run::Stop;
use crate::run::files::{self, To};
use crate::store_place::StorePlace;
use crate::worker::Desk;
use model::browse::{Browse, Browsed};
use model::command::ExitCode;
use model::event::{Happening, Outcome};
use model::files::FilePath;
use model::id::SnapRef;
use model::text::RawName;

/// Lists what a snapshot holds at a place.
pub(crate) fn list(jobs: &Jobs, snapshot: &SnapRef, at: Option<&FilePath>, desk: &Desk) -> Done {
    let store = jobs.store(desk)?;
    files::list(&store, &*jobs.config.parser, snapshot, at).map(Outcome::Listed)
}

/// Shows a part of a snapshot's files. That it cannot be had is an answer too; whoever stops it waits for none.
pub(crate) fn browse(jobs: &Jobs, ask: &Browse, desk: &Desk) -> Done {
    let shown =
        jobs.store(desk).and_then(|store| files::browse(&store, &*jobs.config.parser, (&jobs.shelf, desk), ask));
    let shown = match shown {
        Ok(shown) => Ok(shown),
        Err(Stop::Cancelled(_)) => return Ok(Outcome::Looked),
        Err(Stop::Failed(failure) | Stop::Full(failure)) => Err(failure),
    };
    desk.tell(Happening::Browsed(Box::new(Browsed { ask: ask.clone(), shown })));
    Ok(Outcome::Looked)
}

/// Takes a file or directory out: as something that was named, or to the save disk.
pub(crate) fn get(
    jobs: &Jobs,
    (snapshot, at): (&SnapRef, &FilePath),
    to: Option<&RawName>,
    privileged: bool,
    desk: &Desk,
) -> Done {
    let store = jobs.store(desk)?;
    let to = match (to, jobs.config.place()?) {
        (Some(path), _) => To::Path(path),
        (None, StorePlace::Dir { path, .. }) => To::Beside(path),
        (None, StorePlace::Objects { .. }) => {
            let says = "the store is no directory that anything could be put beside";
            return Err(Stop::failed(ExitCode::Refused, says, "name what is to be made"));
        }
    };
    let order = files::Order { snapshot, at, to, privileged };
    files::get(&store, &*jobs.config.parser, (&*jobs.config.clock, desk), &order).map(Outcome::Got)
}
