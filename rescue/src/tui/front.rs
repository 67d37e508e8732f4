//! One front end without its terminal: what comes in changes what is shown, and says what is to be done. A session that was recorded
//! goes through the same.

use super::state::{Action, Input, Key, Ui};
use super::update::update;
use model::event::{Event, Happening};
use model::run_state::RunState;
use serde::{Deserialize, Serialize};

/// What comes in from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Incoming {
    /// A key.
    Key(Key),
    /// The terminal has this size: columns, rows.
    Size(u16, u16),
    /// The engine told something.
    Event(Box<Event>),
}

/// A front end.
#[derive(Debug, Clone, PartialEq)]
pub struct Front {
    /// What it remembers by itself.
    pub ui: Ui,
    /// What the engine told.
    pub run: RunState,
}

impl Front {
    /// One that was told nothing yet.
    pub fn new(ui: Ui) -> Self {
        Self { ui, run: RunState::default() }
    }

    /// Takes something in.
    pub fn take(&mut self, incoming: &Incoming) -> Vec<Action> {
        match incoming {
            Incoming::Key(key) => self.input(Input::Key(*key)),
            Incoming::Size(columns, rows) => self.input(Input::Resize(*columns, *rows)),
            Incoming::Event(event) => {
                self.run.apply(event);
                // The engine refuses a command by a line in the log.
                let mut actions = match (&event.what, &self.run.job) {
                    (Happening::Log(line), None) => self.input(Input::Refused(line.to_string())),
                    _ => Vec::new(),
                };
                actions.extend(self.input(Input::Changed));
                actions
            }
        }
    }

    fn input(&mut self, input: Input) -> Vec<Action> {
        update(&mut self.ui, &self.run, input)
    }
}
