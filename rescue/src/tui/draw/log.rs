//! What was done, as the engine logged it.

use crate::tui::state::Ui;
use crate::tui::text::paragraph;
use model::run_state::RunState;
use ratatui::style::Style;
use ratatui::text::Line;

/// All of it, wrapped, oldest first.
pub(super) fn lines(ui: &Ui, run: &RunState) -> Vec<Line<'static>> {
    if run.log.is_empty() {
        return vec![Line::raw("Nothing was logged yet.")];
    }
    run.log.iter().flat_map(|l| paragraph(l.as_str(), Style::new(), 0, ui.body_width())).collect()
}
