//! Moving in a list: the same keys in every one.

use super::state::Key;

/// The row that a key leads to from row `at`, in rows 0 to `last` of which `page` are in sight; `None` where it does not move.
pub(super) fn moved(k: Key, at: u64, page: u64, last: u64) -> Option<u64> {
    let to = match k {
        Key::Up | Key::Char('k') => at.saturating_sub(1),
        Key::Down | Key::Char('j') => at + 1,
        Key::PageUp => at.saturating_sub(page),
        Key::PageDown | Key::Char(' ') => at + page,
        Key::Home | Key::Char('g') => 0,
        Key::End | Key::Char('G') => last,
        _ => return None,
    };
    Some(to.min(last))
}

/// The same of rows that are all here.
pub(super) fn moved_here(k: Key, at: usize, page: usize, last: usize) -> Option<usize> {
    let to = moved(k, at as u64, page as u64, last as u64)?;
    // No more than `last`, which is one.
    usize::try_from(to).ok()
}
