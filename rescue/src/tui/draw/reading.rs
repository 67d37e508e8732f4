//! A text to be read.

use super::with_more;
use crate::tui::reading::Tone;
use crate::tui::state::Ui;
use crate::tui::text::tail;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

/// Rows of the text itself: the first says what it is.
pub(super) fn height(ui: &Ui) -> usize {
    ui.body_height().saturating_sub(1)
}

/// How a line looks; signs say the same.
pub(super) fn style(ui: &Ui, tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Heading => ui.look.strong(),
        Tone::Before | Tone::Caution => ui.look.unsure(),
        Tone::After => ui.look.good(),
        Tone::Alarm => ui.look.bad(),
    }
}

pub(super) fn draw(ui: &Ui, frame: &mut Frame<'_>, area: Rect) {
    let Some(reading) = &ui.reading else { return };
    let (all, height) = (reading.lines(), height(ui));
    let most = all.len().saturating_sub(height);
    let from = ui.scroll.min(most);
    let line = |(n, (tone, text)): (usize, &(Tone, String))| {
        let line = Line::styled(text.clone(), style(ui, *tone));
        if reading.found == Some(n) { line.style(ui.look.bar()) } else { line }
    };
    let shown = all.iter().enumerate().skip(from).take(height).map(line).collect();
    let mut lines = vec![Line::styled(tail(&reading.title, usize::from(area.width)), ui.look.strong())];
    lines.extend(with_more(ui, shown, most - from));
    frame.render_widget(Paragraph::new(lines), area);
}
