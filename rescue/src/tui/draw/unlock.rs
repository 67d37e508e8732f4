//! Asking for the passphrase of the store, or of an encrypted volume.

use super::READABLE;
use crate::tui::state::Ui;
use crate::tui::text::paragraph;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

pub(super) fn draw(ui: &Ui, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width).min(READABLE);
    let ask = match &ui.unlocking {
        Some(volume) if ui.reopening.is_some() => format!(
            "{volume} was encrypted when it was saved. Type the passphrase that it had then, and press Enter: what lay in it is encrypted \
             with the same key again."
        ),
        Some(volume) => format!("{volume} is encrypted. Type its passphrase, then press Enter."),
        None => "The store is encrypted. Type its passphrase, then press Enter.".to_owned(),
    };
    let mut lines = paragraph(&ask, ui.look.strong(), 0, columns);
    lines.push(Line::default());
    // One star too many says that there is more than fits.
    let stars = "*".repeat(ui.typed.chars().count().min(columns.saturating_sub(14)));
    lines.push(Line::from(vec![Span::raw("Passphrase: "), Span::styled(format!("{stars}_"), ui.look.strong())]));
    lines.push(Line::default());
    let mut says =
        "It is not shown, and it is asked for again after the next start. Opening takes a few seconds: that is \
                    what makes guessing slow."
            .to_owned();
    if !ui.may_leave {
        says.push_str(
            " The screen of this machine reads its keyboard as a US one; a serial line reads what its terminal sends.",
        );
    }
    lines.extend(paragraph(&says, Style::new(), 0, columns));
    if ui.unlocking.is_some() && ui.reopening.is_none() {
        let (style, says) = match ui.plain {
            false => (
                Style::new(),
                "What lies in it is only saved into a store that is encrypted too. Tab allows any store, in clear.",
            ),
            true => (
                ui.look.bad(),
                "What lies in it may be saved IN CLEAR, in a store that is not encrypted: whoever has that can read it. Tab takes \
                 that back.",
            ),
        };
        lines.push(Line::default());
        lines.extend(paragraph(says, style, 0, columns));
    }
    frame.render_widget(Paragraph::new(lines), area);
}
