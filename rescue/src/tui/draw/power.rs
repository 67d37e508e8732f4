//! The ways out.

use super::{List, Section, fit};
use crate::tui::state::Ui;
use crate::tui::steps;
use crate::tui::text::paragraph;
use crate::tui::update::ways_out;
use model::run_state::RunState;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Paragraph::new(lines(ui, run, usize::from(area.width), usize::from(area.height))), area);
}

/// Where the ways out stand.
pub(super) fn list(ui: &Ui, run: &RunState, columns: usize, height: usize) -> Option<List> {
    List::among(&lines(ui, run, columns, height), &ways(ui), ui.way_out)
}

fn lines(ui: &Ui, run: &RunState, columns: usize, height: usize) -> Vec<Line<'static>> {
    let mut warning = Vec::new();
    if run.job.is_some() {
        warning.extend(paragraph(
            "Something is still going on: wait for it, or stop it first (press c).",
            ui.look.bad(),
            0,
            columns,
        ));
    }
    if steps::is_unfinished(run) {
        let says =
            "A rollback is not finished: this machine's own system does not start until it is finished or undone.";
        warning.extend(paragraph(says, ui.look.bad(), 0, columns));
    }
    let question = if ui.may_leave { "Leave Holdfast?" } else { "Leave the rescue?" };
    let hint = "Take out the rescue stick before restarting, if the machine starts from it first. Everything saved stays saved.";
    let mut sections = vec![
        Section { lines: paragraph(question, ui.look.strong(), 0, columns), short: None, weight: 5 },
        Section { lines: warning, short: None, weight: 9 },
        Section { lines: ways(ui), short: None, weight: 10 },
    ];
    if !ui.may_leave {
        sections.push(Section { lines: paragraph(hint, Style::new(), 0, columns.min(100)), short: None, weight: 1 });
    }
    fit(sections, height)
}

fn ways(ui: &Ui) -> Vec<Line<'static>> {
    let way = |(n, says): (usize, &str)| {
        let chosen = n == ui.way_out;
        let number = if n == 0 { " ".to_owned() } else { n.to_string() };
        Line::from(vec![
            Span::raw(if chosen { "▸ " } else { "  " }),
            Span::styled(number, ui.look.key()),
            Span::styled(format!("  {says}"), if chosen { ui.look.strong() } else { Style::new() }),
        ])
    };
    ways_out(ui).iter().map(|(_, says)| *says).enumerate().map(way).collect()
}
