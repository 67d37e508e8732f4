//! The mouse, where a terminal has one: what is clicked or scrolled becomes keys, and nothing else.
//!
//! Invariant: a click does what the keys that stand there do, never more. A row is chosen, not carried out; a word that is asked for
//! is typed. So whatever holds of keys holds of the mouse, and a recorded session has no more than keys in it.

use super::draw;
use super::state::{Key, Ui};
use model::run_state::RunState;

/// Rows that a notch of the wheel moves by.
const NOTCH: usize = 3;

/// What a mouse did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The first button went down.
    Press,
    /// The wheel was turned away from its owner.
    Up,
    /// The wheel was turned towards its owner.
    Down,
}

/// What a mouse did, and where: column and row from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mouse {
    /// What.
    pub act: Act,
    /// The column.
    pub column: u16,
    /// The row.
    pub row: u16,
}

/// Terminals that are known to tell what a mouse does, in the way of xterm (ctlseqs, "Mouse Tracking", mode 1006): the beginnings of their
/// names.
const TERMINALS: [&str; 14] = [
    "xterm",
    "screen",
    "tmux",
    "rxvt",
    "alacritty",
    "kitty",
    "foot",
    "wezterm",
    "konsole",
    "vte",
    "gnome",
    "contour",
    "ghostty",
    "st-",
];

/// True where the environment names a terminal that has a mouse, and nobody said that it is not wanted. A console of the rescue is none.
pub fn is_there(environment: impl Fn(&str) -> Option<String>) -> bool {
    let term = environment("TERM").unwrap_or_default();
    let known = TERMINALS.iter().any(|name| term.starts_with(name));
    // As with NO_COLOR: set and not empty.
    known && environment("NO_MOUSE").is_none_or(|v| v.is_empty())
}

/// The keys that do what was done with the mouse.
pub fn keys(ui: &Ui, run: &RunState, mouse: Mouse) -> Vec<Key> {
    if ui.too_small() || run.leaving.is_some() {
        return Vec::new();
    }
    match mouse.act {
        Act::Up => vec![Key::Up; NOTCH],
        Act::Down => vec![Key::Down; NOTCH],
        Act::Press if mouse.row + 1 == ui.size.1 => draw::key_at(ui, run, mouse.column).into_iter().collect(),
        Act::Press => chosen(ui, run, mouse.row).unwrap_or_default(),
    }
}

/// The keys that choose the row of a list; none where it is chosen already, or no row.
fn chosen(ui: &Ui, run: &RunState, row: u16) -> Option<Vec<Key>> {
    // While a line is typed, the list behind it is not moved.
    let list = draw::list(ui, run).filter(|_| ui.prompt.is_none())?;
    // The bar is the row above the body.
    let within = usize::from(row).checked_sub(1 + list.top).filter(|n| *n < list.shown)?;
    let to = list.from + within;
    let key = if to < list.at { Key::Up } else { Key::Down };
    Some(vec![key; to.abs_diff(list.at)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_it_is_known_and_wanted() {
        let with = |pairs: &'static [(&'static str, &'static str)]| {
            is_there(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert!(with(&[("TERM", "xterm-256color")]));
        assert!(with(&[("TERM", "tmux-256color"), ("NO_MOUSE", "")]));
        assert!(!with(&[("TERM", "xterm"), ("NO_MOUSE", "1")]));
        for console in ["linux", "vt220", "dumb", "", "ansi"] {
            assert!(!is_there(|name| (name == "TERM").then(|| console.to_owned())), "{console}");
        }
        assert!(!with(&[]));
    }
}
