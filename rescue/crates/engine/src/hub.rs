//! The run state, folded as events happen, and everybody who listens.

use model::event::{Event, Happening};
use model::run_state::RunState;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Numbers events, folds them into the state and passes them on, all in one order.
#[derive(Default)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    state: RunState,
    listeners: Vec<Sender<Event>>,
    closed: bool,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened here: it gets the next number.
    pub(crate) fn tell(&self, what: Happening) {
        let mut inner = self.lock();
        let event = Event { seq: inner.state.seq + 1, what };
        inner.pass(event);
    }

    /// Something happened elsewhere, numbered there.
    pub(crate) fn relay(&self, event: Event) {
        self.lock().pass(event);
    }

    /// Events from now on; the first is the state as it is.
    pub(crate) fn subscribe(&self) -> Receiver<Event> {
        let (sender, receiver) = channel();
        let mut inner = self.lock();
        let whole = Event { seq: inner.state.seq, what: Happening::State(Box::new(inner.state.clone())) };
        // The receiver is still here, so this cannot fail.
        let _ = sender.send(whole);
        if !inner.closed {
            inner.listeners.push(sender);
        }
        receiver
    }

    /// The state as it is.
    pub(crate) fn state(&self) -> RunState {
        self.lock().state.clone()
    }

    /// No more events will come: every listener's channel ends.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.listeners.clear();
    }
}

impl Inner {
    fn pass(&mut self, event: Event) {
        self.state.apply(&event);
        self.listeners.retain(|l| l.send(event.clone()).is_ok());
    }
}
