//! The timeline: every saved state, newest first, and more about the one chosen.

use super::List;
use crate::tui::state::Ui;
use crate::tui::text::{count, cut, field, paragraph};
use crate::tui::words::Mark;
use crate::tui::{steps, words};
use model::run_state::RunState;
use model::snapshot::SnapshotSummary;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// Rows below the list: a rule and what is said of the one chosen.
const DETAIL: usize = 6;

/// Rows of the list itself.
pub fn rows(ui: &Ui) -> usize {
    // One for the heading.
    ui.body_height().saturating_sub(DETAIL + 1)
}

/// Where the list stands.
pub(super) fn list(ui: &Ui, run: &RunState) -> Option<List> {
    let list = steps::timeline(run);
    let at = ui.snapshot.and_then(|id| list.iter().position(|s| s.id == id)).unwrap_or(0);
    (!list.is_empty()).then(|| List::around(1, rows(ui), at, list.len()))
}

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let list = steps::timeline(run);
    if list.is_empty() {
        let says = match &run.store {
            None => "There is no store here: nothing can be saved, and nothing was.",
            Some(_) => {
                "Nothing is saved yet. Press s to save the present state; it changes nothing on this machine's disks."
            }
        };
        frame.render_widget(Paragraph::new(paragraph(says, Style::new(), 0, columns)), area);
        return;
    }
    let at = ui.snapshot.and_then(|id| list.iter().position(|s| s.id == id)).unwrap_or(0);
    let rows = rows(ui).max(1);
    let from = List::around(1, rows, at, list.len()).from;
    let last_good = steps::last_good(run).map(|s| s.id);

    let mut lines =
        vec![Line::styled(cut("  when (UTC)        state     what was known then", columns), ui.look.strong())];
    for (i, s) in list.iter().enumerate().skip(from).take(rows) {
        lines.push(row(ui, run, s, i == at, last_good == Some(s.id), columns));
    }
    lines.resize(rows + 1, Line::default());
    lines.push(Line::raw("─".repeat(columns)));
    lines.extend(detail(run, list[at], at, list.len(), columns));
    if let Some(damage) = run.store.as_ref().and_then(|s| s.damage.first()) {
        let n = run.store.as_ref().map_or(0, |s| s.damage.len());
        let says = format!("[!!] {} cannot be read: {damage}", count(n, "saved state"));
        lines.insert(rows + 1, Line::styled(cut(&says, columns), ui.look.bad()));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// What is told of a saved state: what is looked for in it.
pub fn text(s: &SnapshotSummary) -> String {
    let (_, state) = words::state(s);
    let known = [&s.machine.hostname, &s.kernel, &s.system].map(|t| t.as_ref().map_or("", |t| t.as_str()));
    let command = s.operation.as_ref().map_or("", |o| o.command.as_str());
    format!(
        "{} {} {state} {}{} {} {} {command}",
        s.id,
        words::time(s.taken),
        words::label(s),
        words::snapshot(s),
        words::proven(s),
        known.join(" ")
    )
}

fn row(ui: &Ui, run: &RunState, s: &SnapshotSummary, chosen: bool, last_good: bool, columns: usize) -> Line<'static> {
    let (mark, state) = words::state(s);
    let style = match mark {
        Mark::Good => ui.look.good(),
        Mark::Bad => ui.look.bad(),
        Mark::Unsure | Mark::Plain => Style::new(),
    };
    let proven = words::proven(s);
    let end = if last_good {
        format!(" <- last good{}", if proven.is_empty() { String::new() } else { format!(", {proven}") })
    } else if run.report.is_some() && !steps::is_here(run, s) {
        " (other machine)".to_owned()
    } else if proven.is_empty() {
        String::new()
    } else {
        format!(" ({proven})")
    };
    let says = field(&format!("{}{}", words::label(s), words::snapshot(s)), columns.saturating_sub(30 + end.len()));
    let mut line = Line::from(vec![
        Span::raw(if chosen { "▸ " } else { "  " }),
        Span::raw(field(&format!("{}{}", words::time(s.taken), if ui.marked == Some(s.id) { "*" } else { "" }), 18)),
        Span::styled(field(state, 10), style),
        Span::raw(says),
        Span::styled(end, ui.look.good()),
    ]);
    if chosen {
        line = line.style(ui.look.bar());
    }
    line
}

fn detail(run: &RunState, s: &SnapshotSummary, at: usize, of: usize, columns: usize) -> Vec<Line<'static>> {
    let machine = match (&s.machine.hostname, steps::is_here(run, s)) {
        (Some(host), true) => format!("this machine (\"{host}\")"),
        (None, true) => "this machine".to_owned(),
        (Some(host), false) => format!("machine \"{host}\""),
        (None, false) => "another machine".to_owned(),
    };
    let first = format!("{} of {of}: snapshot {} {}of {machine}", at + 1, words::short(s.id), words::label(s));
    let mut size = format!("holds {}, took {} in the store", s.captured, s.cost.stored);
    if let Some(proof) = words::proof(s) {
        size.push_str(&format!("; {proof}"));
    }
    let mut lines = vec![Line::raw(cut(&first, columns)), Line::raw(cut(&size, columns))];
    let software = software(run, s);
    if !software.is_empty() {
        lines.push(Line::raw(cut(&software, columns)));
    }
    lines.extend(paragraph(&words::snapshot(s), Style::new(), 0, columns).into_iter().take(2));
    lines
}

/// What was installed in it: its kernel, how many packages, the system; and how that compares with the saved state before it.
fn software(run: &RunState, s: &SnapshotSummary) -> String {
    let system = s.system.iter().map(ToString::to_string);
    let before = steps::timeline(run).into_iter().find(|b| b.counter < s.counter && b.machine.is(&s.machine));
    let kernel = s.kernel.iter().map(|kernel| {
        let new = before.is_some_and(|b| b.kernel.as_ref().is_some_and(|before| before != kernel));
        format!("kernel {}{}", kernel.shortened(40), if new { " (another than before)" } else { "" })
    });
    let packages = s.packages.iter().map(|n| {
        let all = count(usize::try_from(*n).unwrap_or(usize::MAX), "package");
        match before.and_then(|b| b.packages) {
            Some(before) if before < *n => format!("{all} ({} more than before)", n - before),
            Some(before) if before > *n => format!("{all} ({} fewer than before)", before - n),
            _ => all,
        }
    });
    let operation = s.operation.iter().filter_map(|o| {
        let new = before.is_some_and(|b| b.operation.as_ref() != Some(o));
        let command = o.command.shortened(40);
        (new && !command.is_empty()).then(|| format!("`{command}` since the one before"))
    });
    kernel.chain(packages).chain(operation).chain(system).collect::<Vec<_>>().join(", ")
}
