//! Somebody at the keys of an 80x25 screen.

use super::joined;
use holdfast::tui::look::Look;
use holdfast::tui::state::{Action, Input, Key, Ui};
use holdfast::tui::update::update;
use model::run_state::RunState;

/// Columns and rows.
pub(crate) const SIZE: (u16, u16) = (80, 25);

pub(crate) fn press(ui: &mut Ui, run: &RunState, keys: &[Key]) -> Vec<Action> {
    keys.iter().flat_map(|k| update(ui, run, Input::Key(*k))).collect()
}

pub(crate) fn typed(word: &str) -> Vec<Key> {
    word.chars().map(Key::Char).collect()
}

pub(crate) fn open(run: &RunState) -> Ui {
    joined(run, SIZE, Look::PLAIN)
}
