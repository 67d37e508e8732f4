//! The choice of the disk that a saved state is put onto.

use super::reading::style;
use super::{List, READABLE, with_marker};
use crate::tui::disk_facts;
use crate::tui::disks::Row;
use crate::tui::state::Ui;
use crate::tui::target::{Glance, glance, holds, named, named_by, progress};
use crate::tui::text::{at_most, cut, field, fitting, hanging, paragraph, width};
use crate::tui::words;
use model::inspection::{Disk, Inspection};
use model::run_state::RunState;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// Rows above the list: what is asked, what it costs, and what the columns are.
const HEADING: usize = 4;
/// Most columns of a model, and of what names a disk.
const MODEL: usize = 18;
const NAME: usize = 22;

/// Rows below the list: a rule, and what is told of the disk chosen.
fn below(ui: &Ui) -> usize {
    (ui.body_height() / 3).max(4)
}

/// Rows of the list itself.
pub fn rows(ui: &Ui) -> usize {
    ui.body_height().saturating_sub(HEADING + below(ui))
}

/// Where the list stands.
pub(super) fn list(ui: &Ui, run: &RunState) -> Option<List> {
    let count = run.report.as_ref()?.inspection.disks.len();
    Some(List::around(HEADING, rows(ui), ui.target.as_ref()?.row, count))
}

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let (Some(target), Some(report), Some(list)) = (&ui.target, &run.report, list(ui, run)) else { return };
    let inspection = &report.inspection;
    let saved = run.store.as_ref().and_then(|s| s.snapshots.iter().find(|s| s.id == target.snapshot));
    let host = saved.and_then(|s| s.machine.hostname.as_ref()).map(|h| format!(" of \"{h}\"")).unwrap_or_default();
    let when = saved.map(|s| format!(", {}", words::time(s.taken))).unwrap_or_default();
    let id = words::short(target.snapshot);
    let long = format!("Onto which disk goes snapshot {id}{host}{when}?");
    let short = format!("Onto which disk goes {id}{host}{when}?");
    let asks = fitting(&[&long, &short], columns);
    let costs = progress(target, run).unwrap_or_else(|| {
        "What is on that disk now is lost. You name it first; then the plan is shown; nothing is written before that."
            .to_owned()
    });
    let mut lines = vec![Line::styled(cut(asks, columns), ui.look.strong())];
    lines.extend(at_most(2, paragraph(&costs, ui.look.unsure(), 0, columns.min(READABLE))));
    lines.resize(HEADING - 1, Line::default());
    let named_columns =
        inspection.disks.iter().map(|d| width(&named_by(d))).max().unwrap_or(0).clamp(6, NAME.min(columns / 4));
    let model = MODEL.min(columns / 5);
    let heading = format!(
        "  disk  {} {} {} what is on it",
        field("size", 9),
        field("model", model),
        field("named by", named_columns)
    );
    lines.push(Line::styled(cut(&heading, columns), ui.look.strong()));
    for (n, disk) in inspection.disks.iter().enumerate().skip(list.from).take(list.shown) {
        let chosen = target.chosen.iter().position(|no| *no == disk.no);
        let line = one(ui, inspection, disk, chosen, (model, named_columns), columns);
        lines.push(with_marker(ui, line, n == list.at));
    }
    lines.resize(HEADING + rows(ui), Line::default());
    lines.push(Line::raw("─".repeat(columns)));
    if let Some(disk) = inspection.disks.get(list.at) {
        lines.extend(about(ui, inspection, disk, below(ui).saturating_sub(1), columns));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn one(
    ui: &Ui,
    inspection: &Inspection,
    disk: &Disk,
    chosen: Option<usize>,
    (model, named): (usize, usize),
    columns: usize,
) -> Line<'static> {
    let style = match glance(inspection, disk) {
        Glance::Empty => ui.look.good(),
        Glance::Bare | Glance::Holds => ui.look.unsure(),
        Glance::Store => Style::new(),
    };
    let holds = match chosen {
        Some(n) => format!("chosen, number {}; {}", n + 1, holds(inspection, disk)),
        None => holds(inspection, disk),
    };
    let head = format!(
        "  {} {} {} {} ",
        field(&disk.no.to_string(), 5),
        field(&disk.hardware.size.to_string(), 9),
        field(called(disk), model),
        field(&named_by(disk), named)
    );
    let holds = cut(&holds, columns.saturating_sub(width(&head)));
    Line::from(vec![Span::raw("  "), Span::raw(head[2..].to_owned()), Span::styled(holds, style)])
}

/// What a disk is called: its model; of an image, which has none, its file.
fn called(disk: &Disk) -> &str {
    let h = &disk.hardware;
    let file = h.shown_as.as_ref().filter(|_| h.transport.as_str() == "image");
    file.unwrap_or(&h.model).as_str()
}

fn about(ui: &Ui, inspection: &Inspection, disk: &Disk, height: usize, columns: usize) -> Vec<Line<'static>> {
    let (title, text) = disk_facts::all(inspection, &Row::Disk(disk));
    let mut lines = vec![Line::styled(cut(&title, columns), ui.look.strong())];
    if glance(inspection, disk) != Glance::Store {
        lines.extend(hanging("", &format!("Enter, then type {}.", named(disk)), Style::new(), columns));
    }
    for (tone, says) in text {
        if lines.len() > height {
            break;
        }
        lines.extend(hanging("", &says, style(ui, tone), columns));
    }
    lines.truncate(height);
    lines
}
