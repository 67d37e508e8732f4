//! Disks and what lies on them: the bar of the disk that is chosen, a list of everything, and more about the row chosen.

use super::reading::style;
use super::{List, disk, with_marker};
use crate::tui::disk_facts;
use crate::tui::disks::{Row, cells, rows as all_rows};
use crate::tui::state::Ui;
use crate::tui::text::{cut, field, hanging, paragraph, tail, width};
use model::inspection::{Inspection, Severity};
use model::run_state::RunState;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// Rows of the bar of a disk.
const BAR: usize = 3;
/// Rows of a screen from which on there is a bar.
const ROOMY: usize = 18;
/// Columns of a size, of how much is in use, and of what a snapshot takes.
const SIZE: usize = 9;
const USED: usize = 6;
const TAKEN: usize = 6;

fn bar(ui: &Ui) -> usize {
    if ui.body_height() >= ROOMY { BAR } else { 0 }
}

/// Rows below the list: a rule, and what is told of the row chosen.
fn below(ui: &Ui) -> usize {
    (ui.body_height() * 2 / 5).max(5)
}

/// Rows of the list itself; one above it names the columns.
pub fn rows(ui: &Ui) -> usize {
    ui.body_height().saturating_sub(bar(ui) + 1 + below(ui))
}

/// Where the list stands.
pub(super) fn list(ui: &Ui, run: &RunState) -> Option<List> {
    let count = all_rows(&run.report.as_ref()?.inspection).len();
    Some(List::around(bar(ui) + 1, rows(ui), ui.disk_row, count))
}

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let all = run.report.as_ref().map(|r| all_rows(&r.inspection)).unwrap_or_default();
    let (Some(report), Some(list)) = (&run.report, list(ui, run).filter(|_| !all.is_empty())) else {
        let says = match &run.report {
            None => "The disks were not looked at yet. Press i to look.",
            Some(_) => "No disk of this machine was found.",
        };
        frame.render_widget(Paragraph::new(paragraph(says, Style::new(), 0, columns)), area);
        return;
    };
    let inspection = &report.inspection;
    let chosen = &all[list.at];
    let mut lines = Vec::new();
    if bar(ui) > 0 {
        let volume = match chosen {
            Row::Volume(_, v) => Some(&v.path),
            Row::Disk(_) | Row::Free(..) => None,
        };
        lines.extend(disk::lines(ui, inspection, chosen.disk(), volume, columns));
    }
    let shown: Vec<&Row<'_>> = all.iter().skip(list.from).take(list.shown).collect();
    let place = place_columns(inspection, &shown, columns);
    let heading = line_of("  where", "size", "what it is", ("in use", "saves"), place + 2, columns);
    lines.push(Line::styled(heading, ui.look.strong()));
    for (n, row) in shown.iter().enumerate() {
        let is_chosen = list.from + n == list.at;
        let line = one(ui, inspection, row, place, columns);
        lines.push(with_marker(ui, line, is_chosen));
    }
    lines.resize(list.top + rows(ui), Line::default());
    lines.push(Line::raw("─".repeat(columns)));
    lines.extend(about(ui, inspection, chosen, below(ui).saturating_sub(1), columns));
    frame.render_widget(Paragraph::new(lines), area);
}

/// Columns of the paths: as many as those that are shown need, and not too many.
fn place_columns(inspection: &Inspection, shown: &[&Row<'_>], columns: usize) -> usize {
    let longest = shown.iter().map(|row| width(&cells(inspection, row).place)).max().unwrap_or(0);
    longest.clamp(6, (columns / 4).max(6))
}

fn line_of(place: &str, size: &str, what: &str, (used, taken): (&str, &str), places: usize, columns: usize) -> String {
    let room = columns.saturating_sub(places + SIZE + USED + TAKEN + 4);
    let (place, what) = (field(&tail(place, places), places), field(what, room));
    format!("{place} {size:<SIZE$} {what} {used:>USED$} {}", cut(taken, TAKEN))
}

fn one(ui: &Ui, inspection: &Inspection, row: &Row<'_>, place: usize, columns: usize) -> Line<'static> {
    let c = cells(inspection, row);
    let (mark, style) = match (c.found, row) {
        (Some(Severity::Damage), _) => ("[!!] ", ui.look.bad()),
        (Some(Severity::Warning), _) => ("[??] ", ui.look.unsure()),
        (_, Row::Disk(_)) => ("", ui.look.strong()),
        _ => ("", Style::new()),
    };
    let text = line_of(&c.place, &c.size, &format!("{mark}{}", c.what), (&c.used, c.taken), place, columns - 2);
    Line::from(vec![Span::raw("  "), Span::styled(text, style)])
}

/// As much about a row as there is room for; the last line says that there is more.
fn about(ui: &Ui, inspection: &Inspection, row: &Row<'_>, height: usize, columns: usize) -> Vec<Line<'static>> {
    let (title, text) = disk_facts::all(inspection, row);
    let mut lines = vec![Line::styled(cut(&title, columns), ui.look.strong())];
    for (tone, says) in text {
        if lines.len() > height {
            break;
        }
        lines.extend(hanging("", &says, style(ui, tone), columns));
    }
    if lines.len() > height {
        lines.truncate(height);
        if let Some(last) = lines.last_mut() {
            *last = Line::styled("-- more of it: press Enter --", ui.look.key());
        }
    }
    lines
}
