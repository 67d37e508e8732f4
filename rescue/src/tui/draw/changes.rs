//! What differs between two states: a list, and more about the row chosen; of a file which lines of it differ.

use super::reading::style;
use super::{List, with_marker};
use crate::tui::changes::{Row, detail, rows as all_rows, text, told};
use crate::tui::reading::Toned;
use crate::tui::state::Ui;
use crate::tui::text::{broken, cut, paragraph};
use crate::tui::{differences, words};
use model::differences::Differences;
use model::run_state::RunState;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

/// Rows of the heading: what is compared, and what that comes to.
const HEADING: usize = 2;

/// Rows below the list: a rule and what is told of the row chosen.
fn below(ui: &Ui) -> usize {
    (ui.body_height() * 2 / 5).max(4)
}

/// Rows of the list itself.
pub fn rows(ui: &Ui) -> usize {
    ui.body_height().saturating_sub(HEADING + below(ui))
}

/// Where the list stands.
pub(super) fn list(ui: &Ui, run: &RunState) -> Option<List> {
    let count = all_rows(told(ui, run)?, ui.comparing.of_plan).len();
    Some(List::around(HEADING, rows(ui), ui.comparing.row, count))
}

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let of_plan = ui.comparing.of_plan;
    let Some(d) = told(ui, run) else {
        frame.render_widget(Paragraph::new(paragraph("Nothing was compared.", Style::new(), 0, columns)), area);
        return;
    };
    let list = all_rows(d, of_plan);
    let rows = rows(ui).max(1);
    let at = ui.comparing.row.min(list.len().saturating_sub(1));
    let from = List::around(HEADING, rows, at, list.len()).from;

    let mut lines = heading(ui, d, columns);
    for (n, row) in list.iter().enumerate().skip(from).take(rows) {
        let line = Line::raw(cut(&text(row, of_plan), columns));
        lines.push(match row {
            _ if n == at => with_marker(ui, line, true),
            Row::Heading(_) => line.style(ui.look.strong()),
            _ => line,
        });
    }
    lines.resize(HEADING + rows, Line::default());
    lines.push(Line::raw("─".repeat(columns)));
    if let Some(row) = list.get(at) {
        lines.extend(below_list(ui, &detail(row, of_plan), below(ui).saturating_sub(1), columns));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn heading(ui: &Ui, d: &Differences, columns: usize) -> Vec<Line<'static>> {
    let counts = d.counts();
    let (what, sum) = if ui.comparing.of_plan {
        let says =
            format!("What going back to snapshot {} loses: {} written since.", words::short(d.before), counts.lost());
        (says, differences::lost_counts(&counts))
    } else {
        let until = d.after.map_or_else(|| "now".to_owned(), |id| format!("snapshot {}", words::short(id)));
        let says = format!("What changed from snapshot {} to {until}", words::short(d.before));
        (says, differences::counts(&counts))
    };
    vec![Line::styled(cut(&what, columns), ui.look.strong()), Line::raw(cut(&format!("Files: {sum}"), columns))]
}

/// As much of the detail as there is room for; the last line says that there is more.
fn below_list(ui: &Ui, detail: &[Toned], height: usize, columns: usize) -> Vec<Line<'static>> {
    let line = |(tone, text): &Toned| {
        broken(text, columns).into_iter().map(|part| Line::styled(part, style(ui, *tone))).collect::<Vec<_>>()
    };
    // More than fits need not be broken to lines.
    let mut lines: Vec<Line<'static>> = detail.iter().take(height + 1).flat_map(line).collect();
    if lines.len() > height {
        lines.truncate(height);
        if let Some(last) = lines.last_mut() {
            *last = Line::styled("-- more of it: press Enter --", ui.look.key());
        }
    }
    lines
}
