//! Home: what happened, how it is known, and what to do next, in the ten seconds somebody has for it.

use super::{List, READABLE, Section, disk, fit, step_lines};
use crate::tui::state::Ui;
use crate::tui::text::{at_most, cut, field, fitting, hanging, paragraph};
use crate::tui::words::Mark;
use crate::tui::{chain, history, steps, words};
use model::assessment::{Confidence, Report, SystemReport};
use model::boot::LinkState;
use model::event::{JobKind, Waiting};
use model::inspection::{Finding, Severity};
use model::run_state::RunState;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// Rows from which on more is told than what happened and what to do.
const ROOMY: usize = 20;

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Paragraph::new(lines(ui, run, usize::from(area.width), usize::from(area.height))), area);
}

/// Where the steps stand.
pub(super) fn list(ui: &Ui, run: &RunState, columns: usize, height: usize) -> Option<List> {
    let steps = step_lines(ui, &steps::home(run, ui.may_leave), columns);
    List::among(&lines(ui, run, columns, height), &steps, ui.step)
}

fn lines(ui: &Ui, run: &RunState, columns: usize, height: usize) -> Vec<Line<'static>> {
    let mut sections: Vec<Section> = run.waiting.iter().map(|waiting| unattended(ui, waiting, columns)).collect();
    match &run.report {
        None => sections.push(nothing_yet(ui, run, columns)),
        Some(report) => {
            if steps::is_unfinished(run) {
                sections.extend(unfinished(ui, report, columns));
            }
            match report.systems.get(ui.system).or(report.systems.first()) {
                Some(system) => sections.extend(what_happened(ui, run, report, system, columns)),
                None if report.inspection.disks.is_empty() => sections.push(no_disk(ui, columns)),
                None => sections.push(no_system(ui, run, columns)),
            }
            if run.store.is_none() {
                let says = if run.locked {
                    "The store is encrypted: nothing can be saved or brought back before it is unlocked."
                } else if ui.may_leave {
                    "No store was named (--store): nothing can be saved or brought back now."
                } else {
                    "No save disk is here: nothing can be saved or brought back now. Connect it, then start the rescue again."
                };
                let lines = hanging("[!!] ", says, ui.look.unsure(), columns.min(READABLE));
                sections.push(Section { lines, short: None, weight: 5 });
            }
            sections.push(chains(ui, report, columns));
            sections.push(findings(ui, report, columns));
            sections.push(disks(ui, report, columns, height));
        }
    }
    let heading = if run.waiting.is_some() { "Once it is stopped:" } else { "What to do next:" };
    let mut next = vec![Line::styled(heading, ui.look.strong())];
    let steps = step_lines(ui, &steps::home(run, ui.may_leave), columns);
    next.extend(steps.iter().cloned());
    sections.push(Section { lines: next, short: Some(steps), weight: 9 });
    fit(sections, height)
}

/// What is done by itself unless somebody is there.
fn unattended(ui: &Ui, waiting: &Waiting, columns: usize) -> Section {
    let when = match waiting.seconds {
        Some(1) => " IN 1 SECOND".to_owned(),
        Some(seconds) => format!(" IN {seconds} SECONDS"),
        None => String::new(),
    };
    let says = format!("BY ITSELF{when}, unless you press a key:");
    let mut lines = paragraph(&says, ui.look.bad(), 0, columns.min(READABLE));
    lines
        .extend(at_most(3, paragraph(&words::sentence(waiting.next.as_str()), Style::new(), 0, columns.min(READABLE))));
    Section { lines, short: None, weight: 10 }
}

fn nothing_yet(ui: &Ui, run: &RunState, columns: usize) -> Section {
    let says = match &run.job {
        Some((JobKind::Inspect | JobKind::Auto, _)) => "Looking at the disks. This only reads; nothing is changed.",
        _ => "The disks were not looked at yet.",
    };
    Section { lines: paragraph(says, ui.look.strong(), 0, columns.min(READABLE)), short: None, weight: 9 }
}

fn no_disk(ui: &Ui, columns: usize) -> Section {
    let mut lines = paragraph("No disk of this machine was found.", ui.look.strong(), 0, columns);
    let advice = if ui.may_leave {
        "Name the disks or images to look at."
    } else {
        "Power off and see that the disk is connected. If the firmware's set-up lists it and this screen does not, \
         it may be hidden behind a RAID or RST mode: look for that there. Then start the rescue again."
    };
    lines.extend(paragraph(advice, Style::new(), 0, columns.min(READABLE)));
    Section { lines, short: None, weight: 8 }
}

fn no_system(ui: &Ui, run: &RunState, columns: usize) -> Section {
    if steps::is_unfinished(run) {
        return Section { lines: Vec::new(), short: None, weight: 0 };
    }
    let mut lines = paragraph("No installed system was found on these disks.", ui.look.strong(), 0, columns);
    let locked = run.report.as_ref().and_then(|r| r.inspection.locked().next());
    let advice = match locked {
        Some(volume) => format!("It may lie in {}, which is encrypted: unlock that first. What was found stands below; press d or e for more.", volume.path),
        None => "Either the disk with the system is not here, or it is empty, or it is damaged. What was found stands below; press d or e for more.".to_owned(),
    };
    lines.extend(paragraph(&advice, Style::new(), 0, columns.min(READABLE)));
    Section { lines, short: None, weight: 8 }
}

fn unfinished(ui: &Ui, report: &Report, columns: usize) -> Vec<Section> {
    let fenced: Vec<String> =
        report.inspection.fences().take(3).map(|(v, f)| format!("{} ({})", v.path, f.was.shortened(60))).collect();
    let mut lines = paragraph("A ROLLBACK WAS CUT OFF AND IS NOT FINISHED.", ui.look.bad(), 0, columns);
    let says = format!(
        "Until it is finished or undone, this machine does not start: {} locked so that nothing uses half a system. \
         Both ways are safe, and both can be cut off again.",
        if fenced.len() == 1 { format!("{} is", fenced[0]) } else { format!("{} are", fenced.join(", ")) }
    );
    lines.extend(paragraph(&says, Style::new(), 0, columns.min(READABLE)));
    vec![Section { lines, short: None, weight: 10 }]
}

fn what_happened(ui: &Ui, run: &RunState, report: &Report, system: &SystemReport, columns: usize) -> Vec<Section> {
    let a = &system.assessment;
    let mut name = system.system.name.to_string();
    if let Some(host) = &system.system.hostname {
        name = format!("{name} on \"{host}\"");
    }
    if report.systems.len() > 1 {
        let at = ui.system.min(report.systems.len() - 1) + 1;
        name = format!("{name}   (system {at} of {}, Tab for the next)", report.systems.len());
    }
    let name = Section { lines: vec![Line::raw(cut(&name, columns))], short: None, weight: 3 };

    let style = if a.is_good() { ui.look.strong() } else { ui.look.bad() };
    let headline = at_most(4, paragraph(a.headline.as_str(), style, 0, columns.min(READABLE)));
    let mut long = headline.clone();
    // While a rollback is pending, advice about the half-written system would only mislead.
    if !steps::is_unfinished(run) {
        long.extend(at_most(4, paragraph(a.advice.as_str(), Style::new(), 0, columns.min(READABLE))));
        // Of the first system: that is what a snapshot tells of. Where there is little room, the advice is worth more.
        let wanted = !a.is_good() && ui.system == 0 && ui.body_height() >= ROOMY;
        if let Some((good, Some((operation, before)))) = steps::back_to(run).filter(|_| wanted) {
            let says = history::back_to(good, &operation, before);
            long.extend(at_most(3, paragraph(&says, Style::new(), 0, columns.min(READABLE))));
        }
    }
    let headline = Section { lines: long, short: Some(headline), weight: 6 };

    let facets = words::facets(a).into_iter().map(|f| {
        let style = match f.mark {
            Mark::Good => ui.look.good(),
            Mark::Bad => ui.look.bad(),
            Mark::Unsure => ui.look.unsure(),
            Mark::Plain => Style::new(),
        };
        Line::from(vec![
            Span::raw(field(f.name, 15)),
            Span::styled(f.mark.shown(), style),
            Span::raw(format!(" {}", facet(&f.says, columns.saturating_sub(20)))),
        ])
    });
    vec![name, headline, Section { lines: facets.collect(), short: None, weight: 7 }]
}

/// Columns of what a facet says from which on nothing of it is left out: those of a screen of 80.
const FACET: usize = 58;

/// What a facet says, on so many columns: where there are few, that it is certain goes first.
fn facet(says: &str, columns: usize) -> String {
    if columns >= FACET {
        return cut(says, columns);
    }
    let plain = says.replacen(&format!(" - {}", words::confidence(Confidence::Certain)), "", 1);
    cut(fitting(&[says, &plain], columns), columns)
}

/// Broken boot chains: what a start would run into.
fn chains(ui: &Ui, report: &Report, columns: usize) -> Section {
    let broken = report.boot.iter().filter(|b| b.state() == LinkState::Broken);
    let lines = broken.flat_map(|boot| {
        let says = format!("boot chain of {}: {}", boot.root, chain::sentence(boot));
        at_most(2, hanging("[!!] ", &says, ui.look.bad(), columns.min(READABLE)))
    });
    let lines: Vec<Line<'static>> = lines.take(4).collect();
    let short = || vec![Line::styled("[!!] its boot chain is broken (press e)", ui.look.bad())];
    Section { short: (!lines.is_empty()).then(short), lines, weight: 5 }
}

fn findings(ui: &Ui, report: &Report, columns: usize) -> Section {
    // What is said at the top already is not said twice.
    let fenced = |f: &Finding| report.inspection.fences().any(|(v, _)| v.path == f.volume);
    let worth = |f: &&Finding| f.severity > Severity::Note && !fenced(f);
    let mut found: Vec<&Finding> = report.inspection.findings.iter().filter(worth).collect();
    found.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let mut lines = Vec::new();
    for f in found.iter().take(2) {
        let style = if f.severity == Severity::Damage { ui.look.bad() } else { ui.look.unsure() };
        let says = format!("{}: {}", f.volume, f.says);
        lines.extend(at_most(2, hanging("[!!] ", &says, style, columns.min(READABLE))));
    }
    if found.len() > 2 {
        lines.push(Line::raw(format!("     and {} more (press e)", found.len() - 2)));
    }
    let short = (!found.is_empty()).then(|| {
        vec![Line::styled(
            format!("[!!] {} on the disks (press e)", crate::tui::text::count(found.len(), "finding")),
            ui.look.bad(),
        )]
    });
    Section { lines, short, weight: 4 }
}

fn disks(ui: &Ui, report: &Report, columns: usize, height: usize) -> Section {
    // Each disk takes three rows; leave room for what matters more.
    let most = (height / 10).max(1);
    let disks = &report.inspection.disks;
    let mut lines: Vec<_> =
        disks.iter().take(most).flat_map(|d| disk::lines(ui, &report.inspection, d, None, columns)).collect();
    if disks.len() > most {
        lines.push(Line::raw(format!("and {} (press d)", crate::tui::text::count(disks.len() - most, "more disk"))));
    }
    Section { lines, short: None, weight: 2 }
}
