//! The store: what is in it and what can be done with it, what may be forgotten, and where its room goes.

use super::{List, READABLE, Section, fit, step_lines};
use crate::tui::state::Ui;
use crate::tui::text::{count, cut, fitting, hanging, paragraph, width};
use crate::tui::{upkeep, words};
use model::run_state::RunState;
use model::snapshot::SnapshotSummary;
use model::units::ByteLen;
use model::upkeep::StatsView;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

/// Saved states of which it is told what they take.
const MOST: usize = 10;
/// Rows at the end of the question whether to forget.
pub(super) const ASKING: usize = 3;

/// The screen of the store.
pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Paragraph::new(lines(ui, run, usize::from(area.width), usize::from(area.height))), area);
}

/// Where the steps stand.
pub(super) fn list(ui: &Ui, run: &RunState, columns: usize, height: usize) -> Option<List> {
    let steps = step_lines(ui, &upkeep::steps(run, ui.other.as_deref(), !ui.may_leave), columns);
    List::among(&lines(ui, run, columns, height), &steps, ui.step)
}

fn lines(ui: &Ui, run: &RunState, columns: usize, height: usize) -> Vec<Line<'static>> {
    let mut sections = Vec::new();
    match &run.store {
        Some(store) => {
            let free = store
                .free
                .map_or_else(|| "how much is free is not known".to_owned(), |free| format!("{free} are free"));
            let says = format!(
                "The store {} has {} in it; {free}.",
                cut(&store.id, 8),
                count(store.snapshots.len(), "saved state")
            );
            sections.push(Section {
                lines: paragraph(&says, ui.look.strong(), 0, columns.min(READABLE)),
                short: None,
                weight: 8,
            });
            let damage: Vec<Line<'static>> = store
                .damage
                .iter()
                .take(3)
                .flat_map(|d| hanging("[!!] ", &words::sentence(d.as_str()), ui.look.bad(), columns))
                .collect();
            sections.push(Section { lines: damage, short: None, weight: 7 });
            let says = "Forgetting takes saved states out of the list; their room is never freed by itself, only when it is asked for. \
                        What is pinned or labelled, the newest good states of each machine, and what an unfinished rollback needs stay.";
            sections.push(Section {
                lines: paragraph(says, Style::new(), 0, columns.min(READABLE)),
                short: None,
                weight: 2,
            });
        }
        None => {
            let says = if run.locked {
                "The store is locked: unlock it first, from the overview."
            } else {
                "There is no store here."
            };
            sections.push(Section { lines: paragraph(says, ui.look.strong(), 0, columns), short: None, weight: 8 });
        }
    }
    let steps = step_lines(ui, &upkeep::steps(run, ui.other.as_deref(), !ui.may_leave), columns);
    sections.push(Section { lines: steps, short: None, weight: 9 });
    fit(sections, height)
}

/// What may be forgotten, and why the rest stays.
pub(super) fn forget_lines(ui: &Ui, run: &RunState) -> Vec<Line<'static>> {
    let columns = ui.body_width();
    let Some(view) = upkeep::planned(run) else { return Vec::new() };
    let mut out = Vec::new();
    if view.forget.is_empty() {
        out.extend(paragraph("There is nothing to forget: everything stays.", ui.look.strong(), 0, columns));
    } else {
        let says = format!("{} would be forgotten, for ever:", count(view.forget.len(), "saved state"));
        out.extend(paragraph(&says, ui.look.bad(), 0, columns));
        for f in &view.forget {
            let says = f.summary.as_ref().map_or_else(|| format!("{}, which cannot be read", words::short(f.id)), line);
            out.extend(hanging("  ", &says, Style::new(), columns));
        }
        out.extend(
            view.frees.map(|frees| Line::raw(format!("Once it is freed too, that makes about {frees} of room."))),
        );
    }
    if !view.keep.is_empty() {
        out.push(Line::default());
        let stay = if view.keep.len() == 1 { "stays" } else { "stay" };
        let says = format!("{} {stay}, and why:", count(view.keep.len(), "saved state"));
        out.push(Line::styled(says, ui.look.strong()));
        for (s, why) in view.keep.iter().rev() {
            let why: Vec<&str> = why.iter().map(|why| upkeep::reason(*why)).collect();
            out.extend(hanging("  ", &format!("{}: {}", line(s), why.join(", ")), Style::new(), columns));
        }
    }
    out
}

fn line(s: &SnapshotSummary) -> String {
    let host = s.machine.hostname.as_ref().map(|h| format!(" of \"{h}\"")).unwrap_or_default();
    let (_, state) = words::state(s);
    format!("{} {} {state} {}{host}", words::short(s.id), words::time(s.taken), words::label(s)).trim_end().to_owned()
}

/// The question below it.
pub(super) fn asking(ui: &Ui, run: &RunState) -> Vec<Line<'static>> {
    let columns = ui.body_width();
    let rule = Line::raw("─".repeat(columns));
    let going = upkeep::planned(run).map_or(0, |view| view.forget.len());
    if going == 0 {
        return vec![rule, Line::raw("Enter or Esc: back.")];
    }
    let says = format!("To forget {}, type {}", if going == 1 { "it" } else { "them" }, upkeep::WORD);
    let next: &[&str] = match ui.typed == upkeep::WORD {
        true => &["; now press Enter."],
        false => &["; Esc leaves everything as it is.", "; Esc leaves all as it is."],
    };
    let next = fitting(next, columns.saturating_sub(width(&says)));
    vec![
        rule,
        Line::raw(cut(&format!("{says}{next}"), columns)),
        Line::styled(format!("> {}_", ui.typed), ui.look.strong()),
    ]
}

/// Where the room goes.
pub(super) fn stats(stats: &StatsView, columns: usize) -> Vec<Line<'static>> {
    let line = |name: &str, size: ByteLen, what: &str| {
        Line::raw(cut(&format!("{name:<14}{:>9}  {what}", size.to_string()), columns))
    };
    let mut out = vec![
        line("saved", stats.logical, "all saved states, each counted whole"),
        line("distinct", stats.distinct, "what several have counted once"),
        line("compressed", stats.live, "as it lies in the store"),
        line("not needed", stats.dead, "by any saved state: can be freed"),
        line("in all", stats.stored, "what the store's packs take"),
    ];
    out.extend(stats.free.map(|free| line("free", free, "where the store lies")));
    let mut most: Vec<_> = stats.snapshots.iter().collect();
    most.sort_by_key(|s| std::cmp::Reverse((s.unique, s.summary.counter)));
    if !most.is_empty() {
        out.push(Line::default());
        out.push(Line::raw(cut("Forgetting one, and freeing its room, frees about so much:", columns)));
    }
    for s in most.into_iter().take(MOST) {
        let host = s.summary.machine.hostname.as_ref().map_or("", |h| h.as_str());
        let says = format!(
            "  {:>9}  {} {:<16} {}",
            s.unique.to_string(),
            words::short(s.summary.id),
            words::time(s.summary.taken),
            host
        );
        out.push(Line::raw(cut(&says, columns)));
    }
    out
}
