//! The stores that jobs work with: opened once, and compared each time with what this computer remembers of them.

use crate::handle::Config;
use crate::heads::Heads;
use crate::jobs::Done;
use crate::run::Stop;
use crate::store_place::StorePlace;
use crate::worker::Desk;
use model::command::ExitCode;
use model::event::Happening;
use model::inventory::Head;
use model::text::DisplayText;
use std::sync::{Mutex, PoisonError};
use store::{Store, StoreError, Unlock};

/// What to do about a store that is not as it was.
const ADVICE: &str = "look for the newer copy first; nothing is written to this one until `holdfast check --accept-head` \
                      says that it is right";

/// The stores of an engine.
#[derive(Default)]
pub(crate) struct Stores {
    store: Mutex<Option<Store>>,
    other: Mutex<Option<Store>>,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The store.
    Own,
    /// The one that is copied to, or repaired from.
    Other,
}

/// What is to be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// Only read it: where it is not as it was, that is told.
    Read,
    /// Write to it: where it is not as it was, that is refused.
    Write,
}

impl Stores {
    /// A store, opened where it is not yet, and seen to be no older than it was.
    pub(crate) fn get(&self, config: &Config, which: Which, to: To, desk: &Desk) -> Done<Store> {
        let store = self.opened(config, which)?;
        match (differs(config, &store)?, to) {
            (None, _) => {}
            (Some(how), To::Write) => return Err(Stop::failed(ExitCode::Refused, how.as_str(), ADVICE)),
            (Some(how), To::Read) => desk.tell(Happening::Warning(advised(&how))),
        }
        Ok(store)
    }

    /// A store, whatever is remembered of it.
    pub(crate) fn opened(&self, config: &Config, which: Which) -> Done<Store> {
        let (open, place) = match which {
            Which::Own => (&self.store, &config.store),
            Which::Other => (&self.other, &config.other),
        };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*open {
            return Ok(store.clone());
        }
        let place = place.as_ref().ok_or_else(|| none(which))?;
        let store = place.open(config.parser.clone())?;
        *open = Some(store.clone());
        Ok(store)
    }

    /// Opens the store with what somebody typed.
    pub(crate) fn unlock(&self, config: &Config, unlock: Unlock) -> Done<()> {
        let mut open = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            *open = Some(config.place()?.unlocked_by(unlock).open(config.parser.clone())?);
        }
        Ok(())
    }

    /// True where there is a store, and opening it takes a key that nobody gave yet.
    pub(crate) fn is_locked(&self, config: &Config) -> bool {
        let open = self.store.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        !open && config.store.as_ref().is_some_and(StorePlace::is_locked)
    }

    /// Remembers every open store as it is now, but one that is not as it was.
    pub(crate) fn remember(&self, config: &Config, desk: &Desk) {
        let Some(heads) = &config.heads else { return };
        let [own, other] =
            [&self.store, &self.other].map(|open| open.lock().unwrap_or_else(PoisonError::into_inner).clone());
        // A plain copy of the store, which it is repaired from, is not what is remembered under their id.
        let other = other.filter(|other| own.as_ref().is_none_or(|own| own.id() != other.id()));
        for store in own.into_iter().chain(other) {
            // What cannot be read now was told by the job, or the next one tells it.
            let (Ok(None), Ok(Some(head))) = (differs(config, &store), store.head()) else { continue };
            if let Err(e) = remembered(heads, &store, head) {
                let says = format!("this computer cannot remember how it last saw the store: {e}");
                desk.tell(Happening::Warning(DisplayText::new(&says)));
            }
        }
    }

    /// Takes the store as it is now for the one that was last seen. Gives how it differed.
    pub(crate) fn accept(&self, config: &Config) -> Done<Option<DisplayText>> {
        let store = self.opened(config, Which::Own)?;
        let Some(heads) = &config.heads else { return Ok(None) };
        let differed = differs(config, &store)?;
        let accepted = match store.head()? {
            Some(head) => remembered(heads, &store, head),
            None => heads.forget(store.id()),
        };
        accepted.map_err(|e| {
            let says = format!("this computer cannot remember how it last saw the store: {e}");
            Stop::failed(ExitCode::Failed, says, "make room in the home directory, or set XDG_STATE_HOME")
        })?;
        Ok(differed)
    }
}

/// How a store is not what this computer last saw, in a sentence; `None` where it is that or a later state of it.
pub(crate) fn differs(config: &Config, store: &Store) -> Done<Option<DisplayText>> {
    let Some(last) = config.heads.as_ref().and_then(|heads| heads.recall(store.id())) else { return Ok(None) };
    match store.verify_head(last) {
        Ok(()) => Ok(None),
        Err(StoreError::Damaged { .. }) => {
            let now = store.head()?.map_or(0, |head| head.number);
            let says = match last.number.saturating_sub(now) {
                0 => "this store is not as this computer last saw it: it has another history; another copy of it, or \
                      somebody else's work, stands in its place"
                    .to_owned(),
                lost => format!(
                    "this store is older than when this computer last saw it: {} not there; objects were lost, or \
                     the whole store was put back to an older state",
                    if lost == 1 {
                        "the newest record it had then is".to_owned()
                    } else {
                        format!("the newest {lost} records it had then are")
                    },
                ),
            };
            Ok(Some(DisplayText::new(&says)))
        }
        Err(e) => Err(e.into()),
    }
}

/// The sentence with what to do.
pub(crate) fn advised(how: &DisplayText) -> DisplayText {
    DisplayText::new(&format!("{how}; {ADVICE}"))
}

fn remembered(heads: &Heads, store: &Store, head: Head) -> std::io::Result<()> {
    if heads.recall(store.id()) == Some(head) { Ok(()) } else { heads.remember(store.id(), head) }
}

fn none(which: Which) -> Stop {
    match which {
        Which::Own => {
            Stop::failed(ExitCode::Failed, "there is no store", "attach a save disk, or name a store with --store")
        }
        Which::Other => Stop::failed(ExitCode::Failed, "there is no second store", "name its directory"),
    }
}

impl Config {
    /// The store's place.
    pub(crate) fn place(&self) -> Done<&StorePlace> {
        self.store.as_ref().ok_or_else(|| none(Which::Own))
    }
}
