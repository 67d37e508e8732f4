//! The bars: what program and screen this is, what is going on, and which keys do what.

use crate::tui::state::{Key, Screen, Ui};
use crate::tui::text::{self, field, width};
use crate::tui::{disks, prompt, unlocking, words};
use model::event::JobKind;
use model::run_state::RunState;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

fn title(ui: &Ui) -> &'static str {
    match ui.screen() {
        Screen::Home => "what happened",
        Screen::Timeline => "saved states",
        Screen::Unlock if ui.unlocking.is_some() => "unlock a volume",
        Screen::Unlock => "unlock the store",
        Screen::Confirm => "please read, then decide",
        Screen::Progress => "at work",
        Screen::Outcome => "how it ended",
        Screen::Files => "files of a saved state",
        Screen::Reading => "reading",
        Screen::Differences if ui.comparing.of_plan => "what would be lost",
        Screen::Differences => "what changed",
        Screen::Disks => "disks and layers",
        Screen::Target => "onto which disk",
        Screen::Store => "the store",
        Screen::Forget => "what may be forgotten",
        Screen::Evidence => "what was found, and where",
        Screen::Log => "what was done",
        Screen::Help => "help",
        Screen::Power if ui.may_leave => "leave",
        Screen::Power => "restart or power off",
    }
}

/// The first row.
pub(super) fn top(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let left = format!(" HOLDFAST  {}", title(ui));
    let right = match (&run.store, &run.report) {
        (Some(s), _) => match s.free {
            Some(free) => format!("store: {free} free "),
            None => "store ready ".to_owned(),
        },
        (None, _) if run.locked => "store: locked ".to_owned(),
        (None, Some(_)) => "no store: can only look ".to_owned(),
        (None, None) => String::new(),
    };
    let columns = usize::from(area.width);
    let line = format!("{}{right}", field(&left, columns.saturating_sub(width(&right))));
    frame.render_widget(Paragraph::new(Line::styled(line, ui.look.bar())), area);
}

/// The row above the keys: the answer to the last key, or what is going on behind this screen.
pub(super) fn note(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width).saturating_sub(2);
    if let Some(prompt) = prompt::shown(ui, run, columns) {
        frame.render_widget(Paragraph::new(Line::styled(format!(" {prompt}"), ui.look.strong())), area);
        return;
    }
    let waiting = if ui.screen() == Screen::Files { super::files::waiting(ui, run) } else { None };
    let says = match (&ui.note, &run.job) {
        (Some(note), _) => note.clone(),
        (None, Some((JobKind::Browse, _))) => match waiting {
            Some(says) => says,
            None => return,
        },
        (None, Some((job, progress)))
            if ui.screen() != Screen::Progress && run.question.is_none() && run.waiting.is_none() =>
        {
            let percent = progress.as_ref().and_then(|p| words::percent(p.done, p.total));
            let far = percent.map(|p| format!(", {p} %")).unwrap_or_default();
            format!("{}{far} ... (c shows it)", words::doing(*job))
        }
        _ => return,
    };
    let says = text::cut(&says, columns);
    frame.render_widget(Paragraph::new(Line::styled(format!(" {says}"), ui.look.unsure())), area);
}

/// A key that stands in the last row.
struct Shown {
    /// The first column it takes, with a space before it.
    at: usize,
    /// How it is called.
    key: &'static str,
    /// What it does.
    does: &'static str,
}

/// The last row.
pub(super) fn keys(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let spans = shown(ui, run, usize::from(area.width)).into_iter().flat_map(|Shown { key, does, .. }| {
        [Span::styled(format!(" {key}"), ui.look.key()), Span::raw(format!(" {does} "))]
    });
    frame.render_widget(Paragraph::new(Line::from(spans.collect::<Vec<_>>())), area);
}

/// The key of which the name or what it does stands in that column of the last row. Of two that stand together it is the one whose name
/// is there, or the last.
pub(super) fn key_at(ui: &Ui, run: &RunState, column: usize) -> Option<Key> {
    let all = shown(ui, run, usize::from(ui.size.0));
    let hit = all.iter().find(|s| (s.at + 1..s.at + 1 + width(s.key) + 1 + width(s.does)).contains(&column))?;
    let within = column - hit.at - 1;
    let name = match hit.key.split_once(' ') {
        Some((first, _)) if within <= width(first) => first,
        Some((_, last)) => last,
        None => hit.key,
    };
    named(name)
}

/// A key by the name it has in the last row; `None` for several.
fn named(name: &str) -> Option<Key> {
    let mut chars = name.chars();
    Some(match name {
        "Enter" => Key::Enter,
        "Esc" => Key::Esc,
        "Tab" => Key::Tab,
        "Up" => Key::Up,
        "Down" => Key::Down,
        "PgUp" => Key::PageUp,
        "PgDn" => Key::PageDown,
        "Bksp" => Key::Backspace,
        _ => match (chars.next(), chars.next()) {
            (Some(one), None) => Key::Char(one),
            _ => return None,
        },
    })
}

/// The keys of the last row, as many as there is room for.
fn shown(ui: &Ui, run: &RunState, columns: usize) -> Vec<Shown> {
    let stopping = ui.stopping;
    let keys: &[(&'static str, &'static str)] = match ui.screen() {
        _ if ui.prompt.is_some() => &[("Enter", "go on"), ("Esc", "leave it")],
        Screen::Home => &[
            ("1-3", "do"),
            ("s", "save"),
            ("r", "go back"),
            ("t", "saved"),
            ("d", "disks"),
            ("e", "why"),
            ("?", "help"),
        ],
        Screen::Timeline => &[
            ("Enter", "go back (plan)"),
            ("v", "about it"),
            ("b", "files"),
            ("?", "help"),
            ("d", "changes"),
            ("/", "find"),
            ("Esc", "back"),
            ("s", "save"),
            ("m", "mark"),
            ("n", "other disk"),
            ("x", "forget"),
            ("u", "undo last"),
        ],
        Screen::Files => &[
            ("Enter", "open"),
            ("h", "up"),
            ("v", "view"),
            ("g", "take out"),
            ("/", "find"),
            ("Esc", "leave"),
            ("?", "help"),
            ("n", "next"),
        ],
        Screen::Reading => &[("Up Down", "read on"), ("/", "find"), ("n", "next"), ("Esc", "back")],
        Screen::Differences => &[
            ("Up Down", "choose"),
            ("Enter", "all lines"),
            ("/", "find"),
            ("n", "next"),
            ("Esc", "back"),
            ("?", "help"),
        ],
        Screen::Disks => &[
            ("Up Down", "choose"),
            ("Enter", "all of it"),
            ("/", "find"),
            ("n", "next"),
            ("Esc", "back"),
            ("?", "help"),
            ("i", "look again"),
        ],
        Screen::Target if ui.target.as_ref().is_some_and(|t| t.wanted > 1) => {
            &[("Enter", "choose"), ("Bksp", "take back"), ("g", "plan"), ("Esc", "leave"), ("?", "help")]
        }
        Screen::Target => {
            &[("Up Down", "choose"), ("Enter", "this one"), ("/", "find"), ("Esc", "leave"), ("?", "help")]
        }
        Screen::Unlock if ui.unlocking.is_some() && ui.reopening.is_none() => {
            &[("Enter", "unlock"), ("Tab", "may be saved in clear, or not"), ("Esc", "back")]
        }
        Screen::Unlock => &[("Enter", "unlock"), ("Esc", "back")],
        Screen::Confirm => &[
            ("Esc", "leave, nothing is written"),
            ("PgUp PgDn", "read on"),
            ("Tab", "all that is lost"),
            ("/", "find"),
        ],
        Screen::Progress if stopping => &[("Esc", "go on")],
        Screen::Progress => &[("c", "stop"), ("l", "log"), ("Esc", "back, the work goes on"), ("?", "help")],
        Screen::Outcome => &[("1-3", "do"), ("l", "log"), ("Esc", "back"), ("?", "help")],
        Screen::Evidence => &[
            ("Up Down", "read on"),
            ("/", "find"),
            ("n", "next"),
            ("Tab", "next system"),
            ("Esc", "back"),
            ("?", "help"),
        ],
        Screen::Log | Screen::Help => &[("Up Down", "read on"), ("/", "find"), ("n", "next"), ("Esc", "back")],
        Screen::Power => &[("Up Down", "choose"), ("Enter", "do it"), ("Esc", "back")],
        Screen::Store if run.store.is_none() => &[("Enter", "back"), ("l", "log"), ("?", "help")],
        Screen::Store if !ui.may_leave => {
            &[("1-8", "do"), ("t", "saved"), ("l", "log"), ("Esc", "back"), ("?", "help")]
        }
        Screen::Store if ui.other.is_some() => {
            &[("1-7", "do"), ("t", "saved"), ("l", "log"), ("Esc", "back"), ("?", "help")]
        }
        Screen::Store => &[("1-6", "do"), ("t", "saved"), ("l", "log"), ("Esc", "back"), ("?", "help")],
        Screen::Forget => &[("Esc", "leave, nothing is forgotten"), ("PgUp PgDn", "read on"), ("/", "find")],
    };
    let mut out = Vec::new();
    let mut used = 0;
    let mut push = |key: &'static str, does: &'static str| {
        let len = width(key) + width(does) + 3;
        if used + len <= columns {
            out.push(Shown { at: used, key, does });
            used += len;
        }
    };
    if ui.screen() == Screen::Disks && ui.prompt.is_none() && disks::chosen_locked(ui, run).is_some() {
        push("u", "unlock");
    }
    if ui.screen() == Screen::Confirm && unlocking::locked_there(run).is_some() {
        push("u", "unlock");
    }
    for (key, does) in keys {
        push(key, does);
    }
    if ui.screen() == Screen::Home {
        let (key, does) = if ui.may_leave { ("q", "quit") } else { ("p", "power") };
        push(key, does);
        if run.report.as_ref().is_some_and(|r| r.systems.len() > 1) {
            push("Tab", "next system");
        }
        push("l", "log");
    }
    out
}
