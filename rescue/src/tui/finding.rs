//! Looking for a text on a screen that is one long text.

use super::state::{Key, Prompt, Prompted, Ui};
use super::text::next_from;
use super::{draw, words};
use model::run_state::RunState;

/// A key that begins it, or goes on with it.
pub(super) fn key(ui: &mut Ui, run: &RunState, k: Key) {
    match k {
        Key::Char('n') => search(ui, run, false),
        Key::Char('N') => search(ui, run, true),
        _ if draw::page(ui, run).is_some() => ui.prompt = Some(Prompt::of(Prompted::Search)),
        _ => {}
    }
}

/// Goes to the next line that has what was sought in it, small letters and capitals of ASCII taken for the same.
pub(super) fn search(ui: &mut Ui, run: &RunState, back: bool) {
    let Some(page) = draw::page(ui, run) else { return };
    let wanted = ui.sought.to_ascii_lowercase();
    let has = |n: &usize| draw::plain(&page.lines[*n]).to_ascii_lowercase().contains(&wanted);
    let from = match (ui.found, back) {
        (Some(found), false) => found + 1,
        (Some(found), true) => found,
        (None, _) => ui.scroll,
    };
    ui.found = next_from(page.lines.len(), from, back, has).filter(|_| !wanted.is_empty());
    match ui.found {
        // Some lines before it are worth seeing.
        Some(found) => {
            let most = page.lines.len().saturating_sub(page.height);
            ui.scroll = found.saturating_sub(page.height / 3).min(most);
        }
        None => ui.note = Some(words::not_found(&ui.sought)),
    }
}
