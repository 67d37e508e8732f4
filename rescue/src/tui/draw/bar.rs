//! The bars: what program and screen this is, what is going on, and which keys do what.

use crate::tui::state::{Screen, Ui};
use crate::tui::text::{self, field, width};
use crate::tui::{prompt, words};
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
    if let Some(prompt) = prompt::shown(ui, columns) {
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

/// The last row.
pub(super) fn keys(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let stopping = ui.stopping;
    let keys: &[(&str, &str)] = match ui.screen() {
        Screen::Home => &[
            ("1-3", "do"),
            ("s", "save"),
            ("r", "go back"),
            ("t", "saved"),
            ("e", "why"),
            ("l", "log"),
            ("p", "power"),
            ("?", "help"),
        ],
        Screen::Timeline => &[
            ("Enter", "plan going back"),
            ("b", "files"),
            ("d", "changes"),
            ("s", "save"),
            ("Esc", "back"),
            ("?", "help"),
            ("u", "undo last"),
            ("n", "new disk"),
            ("x", "forget"),
        ],
        _ if ui.prompt.is_some() => &[("Enter", "go on"), ("Esc", "leave it")],
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
        Screen::Unlock if ui.unlocking.is_some() => {
            &[("Enter", "unlock"), ("Tab", "may be saved in clear, or not"), ("Esc", "back")]
        }
        Screen::Unlock => &[("Enter", "unlock"), ("Esc", "back")],
        Screen::Confirm => {
            &[("Esc", "leave, nothing is written"), ("PgUp PgDn", "read on"), ("Tab", "all that is lost")]
        }
        Screen::Progress if stopping => &[("Esc", "go on")],
        Screen::Progress => &[("c", "stop"), ("l", "log"), ("Esc", "back, the work goes on"), ("?", "help")],
        Screen::Outcome => &[("1-3", "do"), ("l", "log"), ("Esc", "back"), ("?", "help")],
        Screen::Evidence => &[("Up Down", "read on"), ("Tab", "next system"), ("Esc", "back"), ("?", "help")],
        Screen::Log | Screen::Help => &[("Up Down", "read on"), ("Esc", "back")],
        Screen::Power => &[("Up Down", "choose"), ("Enter", "do it"), ("Esc", "back")],
        Screen::Store => &[("1-5", "do"), ("t", "saved"), ("l", "log"), ("Esc", "back"), ("?", "help")],
        Screen::Forget => &[("Esc", "leave, nothing is forgotten"), ("PgUp PgDn", "read on")],
    };
    let mut spans = Vec::new();
    let mut used = 0;
    let mut push = |key: &str, does: &str| {
        let len = width(key) + width(does) + 3;
        if used + len <= usize::from(area.width) {
            used += len;
            spans.push(Span::styled(format!(" {key}"), ui.look.key()));
            spans.push(Span::raw(format!(" {does} ")));
        }
    };
    for (key, does) in keys {
        push(key, does);
    }
    if ui.screen() == Screen::Home {
        if run.report.as_ref().is_some_and(|r| r.systems.len() > 1) {
            push("Tab", "next system");
        }
        if ui.may_leave {
            push("q", "quit");
        }
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}
