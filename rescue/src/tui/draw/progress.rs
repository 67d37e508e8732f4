//! A running job: what, how far, how long still, and whether the power may go.

use super::{Section, fit};
use crate::tui::look::Look;
use crate::tui::state::Ui;
use crate::tui::text::{cut, fitting, paragraph};
use crate::tui::update::STOP_WORD;
use crate::tui::{steps, words};
use model::event::{JobKind, Progress};
use model::plan::SnapshotEstimate;
use model::run_state::RunState;
use model::snapshot::Cost;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let Some((job, progress)) = &run.job else { return };
    let columns = usize::from(area.width);
    let look = ui.look;
    let mut sections = vec![Section {
        lines: vec![Line::styled(format!("{}.", words::doing(*job)), look.strong())],
        short: None,
        weight: 8,
    }];
    sections.push(Section {
        lines: match progress {
            Some(p) => far(ui, p, columns),
            None => paragraph("Getting ready ...", Style::new(), 0, columns),
        },
        short: None,
        weight: 9,
    });
    if let Some(estimate) = run.estimate.as_ref().filter(|_| *job == JobKind::Snapshot) {
        sections.push(room(estimate, look, columns.min(100)));
    }
    let (heading, style, says) = safe(run, *job, progress.as_ref(), look);
    let mut lines = paragraph(heading, style, 0, columns);
    lines.extend(paragraph(says, Style::new(), 0, columns.min(100)));
    sections.push(Section { lines, short: None, weight: 7 });
    if ui.stopping {
        sections.push(Section { lines: stopping(ui, progress.as_ref(), columns), short: None, weight: 10 });
    }
    let log: Vec<Line<'static>> =
        run.log.iter().rev().take(3).rev().map(|l| Line::raw(cut(l.as_str(), columns))).collect();
    sections.push(Section { lines: log, short: None, weight: 1 });
    frame.render_widget(Paragraph::new(fit(sections, usize::from(area.height))), area);
}

fn far(ui: &Ui, p: &Progress, columns: usize) -> Vec<Line<'static>> {
    let step = match p.step.1 > 1 {
        true => format!("Step {} of {}: {}", p.step.0, p.step.1, p.phase),
        // Where it begins the line, it begins as one.
        false => words::sentence(p.phase.as_str()).trim_end_matches('.').to_owned(),
    };
    let mut lines = vec![Line::raw(cut(&step, columns))];
    let percent = words::percent(p.done, p.total);
    if let Some(percent) = percent {
        let room = columns.saturating_sub(8).min(92);
        let full = room * usize::from(percent) / 100;
        lines.push(Line::from(vec![
            Span::raw("["),
            Span::styled("█".repeat(full), ui.look.good()),
            Span::raw("░".repeat(room - full)),
            Span::raw(format!("] {percent:>3} %")),
        ]));
    }
    let mut says = Vec::new();
    match (p.done.0, p.total.0) {
        (0, 0) => {}
        (_, 0) => says.push(p.done.to_string()),
        _ => says.push(format!("{} of {}", p.done, p.total)),
    }
    if p.rate.0 > 0 {
        says.push(format!("{} a second", p.rate));
    }
    if let Some(seconds) = p.remaining {
        says.push(format!("about {} left", words::duration(seconds)));
    }
    if !says.is_empty() {
        let says = says.join(", ");
        let step = if p.remaining.is_some() { format!("{says} of this step") } else { says.clone() };
        lines.push(Line::raw(cut(fitting(&[&step, &says], columns), columns)));
    }
    if let Some(cost) = p.cost.filter(|cost| cost.read.0 > 0) {
        let Cost { shared, new, stored, .. } = cost;
        let long = format!("{shared} of that in the store already, {new} new; the store grew by {stored}");
        let short = format!("{shared} in the store already, {new} new; it grew by {stored}");
        lines.push(Line::raw(cut(fitting(&[&long, &short], columns), columns)));
    }
    lines
}

/// How much room it may need, against what there is.
fn room(estimate: &SnapshotEstimate, look: Look, columns: usize) -> Section {
    let mut lines = paragraph(&words::sentence(&words::room(estimate)), Style::new(), 0, columns);
    if !estimate.is_tight() {
        return Section { lines, short: None, weight: 6 };
    }
    let tight = paragraph(&words::sentence(words::TIGHT), look.unsure(), 0, columns);
    lines.extend(tight.iter().cloned());
    Section { lines, short: Some(tight), weight: 6 }
}

type Safe = (&'static str, Style, &'static str);

fn safe(run: &RunState, job: JobKind, progress: Option<&Progress>, look: Look) -> Safe {
    let fenced = progress.map_or(steps::is_unfinished(run), |p| p.fenced);
    match job {
        JobKind::Restore if fenced => (
            "Please leave the power on.",
            look.unsure(),
            "If it fails all the same, this can be finished after the next start of the rescue.",
        ),
        JobKind::Rollback | JobKind::Put | JobKind::Undo | JobKind::Resume | JobKind::BootRepair if fenced => (
            "Please leave the power on.",
            look.unsure(),
            "If it fails all the same, nothing is lost: this can be finished or undone after the next start of the rescue.",
        ),
        JobKind::Rollback | JobKind::Put | JobKind::Restore | JobKind::Undo | JobKind::Resume | JobKind::BootRepair => {
            (
                "Cutting the power now is safe: nothing was written to this machine's disks yet.",
                look.good(),
                "It would simply have to be begun again.",
            )
        }
        JobKind::Snapshot | JobKind::Auto => (
            "Cutting the power now is safe for this machine: saving only reads its disks.",
            look.good(),
            "This save would have to be begun again, and goes on where it can; what was saved before stays whole.",
        ),
        JobKind::Export => (
            "Cutting the power now is safe for this machine: its disks are not touched.",
            look.good(),
            "The image would have to be begun again; the store is only read.",
        ),
        JobKind::Prove => (
            "Cutting the power now is safe for this machine: its disks are not touched.",
            look.good(),
            "The saved state would have to be started again; what its machine wrote is gone in any case.",
        ),
        JobKind::Upkeep => (
            "Cutting the power now is safe for this machine: its disks are not touched.",
            look.good(),
            "The store stays whole; this would have to be begun again.",
        ),
        JobKind::Files => (
            "Cutting the power now is safe for this machine: its disks are not touched.",
            look.good(),
            "What is taken out would have to be begun again; the saved state is only read.",
        ),
        JobKind::Inspect
        | JobKind::List
        | JobKind::Open
        | JobKind::Browse
        | JobKind::Describe
        | JobKind::Compare
        | JobKind::Check => {
            ("Cutting the power now is safe: this only reads.", look.good(), "It would simply have to be begun again.")
        }
    }
}

fn stopping(ui: &Ui, progress: Option<&Progress>, columns: usize) -> Vec<Line<'static>> {
    if progress.is_some_and(|p| p.fenced) {
        let says = format!(
            "STOP NOW? The machine will not start until this is finished or undone. To stop, type {STOP_WORD} and press Enter; Esc goes on."
        );
        let mut lines = paragraph(&says, ui.look.bad(), 0, columns);
        lines.push(Line::from(vec![Span::raw("> "), Span::styled(format!("{}_", ui.typed), ui.look.strong())]));
        lines
    } else {
        paragraph("Stop? Press y to stop, any other key to go on.", ui.look.bad(), 0, columns)
    }
}
