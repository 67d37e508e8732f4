//! A plan in words, and the word that approves it.

use super::{Page, scrolled};
use crate::tui::differences;
use crate::tui::state::Ui;
use crate::tui::text::{cut, fitting, hanging, paragraph, width};
use crate::tui::update::word;
use crate::tui::{steps, words};
use model::plan::{Action, RollbackPlan, TableRollback};
use model::run_state::RunState;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// Rows below the plan: a rule, what to type, what was typed.
pub(super) const ASKING: usize = 3;
/// How the sentence ends that says what to type, as there is room.
const ENDINGS: [&str; 4] =
    [" and press Enter. Esc leaves; nothing is written.", ", then Enter. Esc leaves.", ", then Enter.", ""];

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let Some(question) = &run.question else { return };
    let asking = u16::try_from(ASKING).unwrap_or(3).min(area.height);
    let plan = Rect { height: area.height - asking, ..area };
    let ask = Rect { y: area.y + plan.height, height: asking, ..area };
    scrolled(ui, Page { lines: lines(ui, run), height: usize::from(plan.height) }, frame, plan);

    let columns = usize::from(area.width);
    let rule = Line::raw("─".repeat(columns));
    let lines = if question.plan.is_usable() {
        let word = word(&question.plan);
        let does = match question.plan.action {
            _ if question.plan.foreign.is_some() => "To put another machine's state here, type",
            Action::Rollback => "To go back, type",
            Action::Put => "To put it back, type",
            Action::Restore { .. } => "To write these disks, type",
            Action::Repair => "To put it right, type",
            Action::Undo { .. } => "To undo, type",
            Action::Resume { .. } => "To finish, type",
        };
        let ready = ui.typed.eq_ignore_ascii_case(word);
        let then = if ready { "   now press Enter to begin, or Esc to leave" } else { "" };
        vec![
            rule,
            Line::from(vec![
                Span::raw(format!("{does} ")),
                Span::styled(word, ui.look.key()),
                Span::raw(fitting(&ENDINGS, columns.saturating_sub(width(does) + 1 + width(word)))),
            ]),
            Line::from(vec![
                Span::raw("> "),
                Span::styled(format!("{}_", ui.typed), ui.look.strong()),
                Span::styled(then, ui.look.strong()),
            ]),
        ]
    } else {
        let says = "This plan cannot be carried out: see what is marked [!!] above.";
        vec![
            rule,
            Line::styled(cut(says, columns), ui.look.bad()),
            Line::raw("Press Esc to leave. Nothing was written."),
        ]
    };
    frame.render_widget(Paragraph::new(lines), ask);
}

/// The plan, wrapped.
pub(super) fn lines(ui: &Ui, run: &RunState) -> Vec<Line<'static>> {
    let Some(question) = &run.question else { return Vec::new() };
    let plan = &question.plan;
    let columns = ui.body_width();
    let strong = ui.look.strong();
    let plain = Style::new();
    let mut out = Vec::new();

    let title = match plan.action {
        Action::Rollback => "Go back to",
        Action::Put => "Put back from",
        Action::Restore { .. } => "Put onto other disks:",
        Action::Repair => "Put right what starts the machine",
        Action::Undo { .. } => "Undo the last rollback: go back to",
        Action::Resume { .. } => "Finish the rollback that was cut off: go to",
    };
    let title = match plan.action {
        Action::Repair => title.to_owned(),
        _ => format!("{title} snapshot {}", words::short(plan.to)),
    };
    // Of several consoles each shows which plan it is about.
    out.extend(paragraph(&format!("{title} - plan {}", question.id.0.short(12)), strong, 0, columns));
    out.extend(paragraph(plan.to_says.as_str(), plain, 2, columns));
    let repairs = run.boot_repairs.as_ref().filter(|_| plan.action == Action::Repair);
    for item in repairs.iter().flat_map(|r| r.items.iter().chain(&r.left)) {
        out.extend(hanging(&format!("  {:<7} ", item.volume.to_string()), item.says.as_str(), plain, columns));
    }
    for w in &plan.warnings {
        out.extend(hanging("[!!] ", w.as_str(), ui.look.bad(), columns));
    }
    for c in plan.checks.iter().filter(|c| !c.ok) {
        out.extend(hanging("[!!] not so: ", &format!("{} ({})", c.what, c.says), ui.look.bad(), columns));
    }
    out.extend(written(ui, plan, columns));
    for said in plan.composed.iter().flat_map(words::composed) {
        out.extend(paragraph(&said, plain, 2, columns));
    }
    for said in words::shared(plan) {
        out.extend(paragraph(&said, plain, 2, columns));
    }
    for esp in plan.esps.iter().filter(|esp| esp.cannot.is_some()) {
        let says = match esp.left {
            false => format!("Key e: leave {} as it is, and take the rest back.", esp.volume),
            true => format!("Key e: take {} back too, with all that is on it.", esp.volume),
        };
        out.extend(paragraph(&says, plain, 2, columns));
    }
    for growth in plan.disks.iter().filter_map(|d| d.growth.as_ref()) {
        let says = match growth.wanted {
            true => format!("Key g: leave {} as large as it was, {}.", growth.volume, growth.from),
            false => format!("{}. Key g does that.", words::may_grow(growth)),
        };
        out.extend(paragraph(&says, plain, 2, columns));
    }
    match (&plan.composed, steps::may_be_kept(run)) {
        (Some(_), _) if plan.action == Action::Rollback => {
            out.extend(paragraph("Key k: keep nothing, take all of it back.", plain, 2, columns));
        }
        (None, paths) if !paths.is_empty() => {
            let says = format!("Key k: keep {} as they are now, where they are there.", paths.join(", "));
            out.extend(paragraph(&says, plain, 2, columns));
        }
        _ => {}
    }
    if plan.is_usable() && plan.action != Action::Repair {
        for said in differences::losses(plan, question.losses.as_ref()) {
            let style = if said.strong { strong } else { plain };
            out.extend(hanging(&said.head, &said.text, style, columns));
        }
    }
    if !plan.kept.is_empty() {
        out.push(Line::styled("What is left as it is", strong));
        for (volume, why) in &plan.kept {
            out.extend(hanging(&format!("  {:<7} ", volume.to_string()), why.as_str(), plain, columns));
        }
    }
    let saved = plan.reads.as_ref().map(|reads| {
        let key = match (reads.everything, plan.composed.is_some()) {
            (_, true) => String::new(),
            (true, false) => " (f reads only what changed)".to_owned(),
            (false, false) => " (f reads everything, as after a break-in)".to_owned(),
        };
        format!("First the present state is saved, so that this can be undone: {}{key}. ", reads.says)
    });
    let saved = match plan.action {
        Action::Repair => Some("First the present state is saved, so that this can be undone. ".to_owned()),
        _ => saved,
    };
    let then = match plan.disks.is_empty() {
        true => "If the power fails meanwhile, it can be finished or undone after the next start.",
        false => "This cannot be undone. If the power fails meanwhile, it can be finished after the next start.",
    };
    let then = format!("{}{then}", saved.unwrap_or_default());
    out.extend(paragraph(&then, plain, 0, columns));
    let passed = plan.checks.iter().filter(|c| c.ok);
    if passed.clone().next().is_some() {
        out.push(Line::styled("What was checked", strong));
        for c in passed {
            let says = if c.says.as_str().is_empty() { c.what.to_string() } else { format!("{}: {}", c.what, c.says) };
            out.extend(hanging("  [ok] ", &says, plain, columns));
        }
    }
    out
}

fn written(ui: &Ui, plan: &RollbackPlan, columns: usize) -> Vec<Line<'static>> {
    let heading = match plan.disks.is_empty() {
        _ if plan.at_most().0 == 0 => "What is written: nothing".to_owned(),
        true => format!("What is written: only what differs, at most {}", plan.at_most()),
        false => format!("What is written: at most {}", plan.at_most()),
    };
    let mut out = vec![Line::styled(heading, ui.look.strong())];
    for d in &plan.disks {
        let h = &d.hardware;
        let says =
            format!("{}, {} as {} of the snapshot; it holds {}; {}", h.model, h.size, d.saved_as, d.holds, d.table);
        out.extend(hanging(&format!("  {:<7} ", d.disk.to_string()), &says, Style::new(), columns));
    }
    for v in &plan.volumes {
        let says = format!("{} (at most {})", v.says, v.at_most);
        out.extend(hanging(&format!("  {:<7} ", v.path.to_string()), &says, Style::new(), columns));
    }
    for t in &plan.tables {
        if let TableRollback::Repair { disk, why, .. } = t {
            let says = format!("the partition table is repaired: {why}");
            out.extend(hanging(&format!("  {:<7} ", disk.to_string()), &says, Style::new(), columns));
        }
    }
    for w in &plan.firmware {
        out.extend(hanging(&format!("  {:<7} ", w.name), w.says.as_str(), Style::new(), columns));
    }
    out
}
