//! What the machine did, and why it is thought so: each facet with its rule and the evidence for and against it, what is wrong on the disks, and everything that was read.

use crate::tui::state::Ui;
use crate::tui::text::{count, field, hanging, paragraph};
use crate::tui::{chain, history, words};
use model::assessment::{Report, SystemReport};
use model::evidence::{ClockTrust, Evidence};
use model::inspection::{Inspection, Severity};
use model::run_state::RunState;
use model::timeline::{Occurred, Occurrence, OperationEnd};
use ratatui::style::Style;
use ratatui::text::Line;

/// Occurrences that are told before anything else.
const NEWEST: usize = 10;

/// All of it, wrapped.
pub(super) fn lines(ui: &Ui, run: &RunState) -> Vec<Line<'static>> {
    let columns = ui.body_width();
    let Some(report) = &run.report else {
        return paragraph("The disks were not looked at yet. Press i to look.", Style::new(), 0, columns);
    };
    let mut out = Vec::new();
    match report.systems.get(ui.system).or(report.systems.first()) {
        Some(system) => {
            let told = engine::gather::timeline(&report.inspection, system);
            let (newest, before) = told.split_at(told.len().min(NEWEST));
            out.extend(headline(ui, system, columns));
            out.extend(timeline(ui, newest, "What it did, newest first", columns));
            if !before.is_empty() {
                let says = format!("{} further below", count(before.len(), "older one"));
                out.extend(paragraph(&says, Style::new(), 2, columns));
            }
            out.extend(facet_lines(ui, system, columns));
            out.extend(chain_lines(ui, report, system, columns));
            out.extend(timeline(ui, before, "What it did before that", columns));
        }
        None => out.extend(paragraph("No installed system was found.", ui.look.strong(), 0, columns)),
    }
    out.extend(findings(ui, &report.inspection, columns));
    out.extend(volumes(ui, &report.inspection, columns));
    if let Some(system) = report.systems.get(ui.system).or(report.systems.first()) {
        heading(ui, &mut out, "Everything that was read");
        for e in &system.evidence {
            out.extend(one(e, columns));
        }
    }
    out
}

fn heading(ui: &Ui, out: &mut Vec<Line<'static>>, says: &str) {
    if !out.is_empty() {
        out.push(Line::default());
    }
    out.push(Line::styled(says.to_owned(), ui.look.strong()));
}

fn headline(ui: &Ui, system: &SystemReport, columns: usize) -> Vec<Line<'static>> {
    paragraph(&format!("{}: {}", system.system.name, system.assessment.headline), ui.look.strong(), 0, columns)
}

/// What the machine did, one thing after the other.
fn timeline(ui: &Ui, told: &[Occurrence], heading: &str, columns: usize) -> Vec<Line<'static>> {
    if told.is_empty() {
        return Vec::new();
    }
    let mut out = vec![Line::default(), Line::styled(heading.to_owned(), ui.look.strong())];
    for o in told {
        let head = format!("  {} ", field(&history::moment(o.time), history::MOMENT));
        let style = match o.what {
            Occurred::BrokeOff | Occurred::Fault => ui.look.bad(),
            Occurred::Packages { ended: OperationEnd::Failed | OperationEnd::Open, .. } => ui.look.unsure(),
            _ => Style::new(),
        };
        out.extend(hanging(&head, &history::occurrence(o), style, columns));
    }
    out.extend(history::clocks(told).map(|says| paragraph(says, Style::new(), 2, columns)).unwrap_or_default());
    out
}

/// Each facet, and why.
fn facet_lines(ui: &Ui, system: &SystemReport, columns: usize) -> Vec<Line<'static>> {
    let mut out = Vec::new();
    for f in words::facets(&system.assessment) {
        out.push(Line::default());
        out.extend(paragraph(&format!("{}: {}", f.name, f.says), ui.look.strong(), 0, columns));
        out.extend(paragraph(&format!("by the rule: {}", f.rule), Style::new(), 2, columns));
        for (head, ids) in [("  for:     ", &f.evidence_for), ("  against: ", &f.evidence_against)] {
            for id in ids {
                let says = system.evidence.iter().find(|e| e.id.0 == *id).map_or_else(|| id.clone(), said);
                out.extend(hanging(head, &says, Style::new(), columns));
            }
        }
        if f.evidence_for.is_empty() && f.evidence_against.is_empty() {
            out.push(Line::raw("  no evidence either way"));
        }
    }
    out
}

/// What starts it, link by link.
fn chain_lines(ui: &Ui, report: &Report, system: &SystemReport, columns: usize) -> Vec<Line<'static>> {
    let Some(boot) = chain::of(report, &system.system.root) else { return Vec::new() };
    let mut out = vec![Line::default()];
    out.extend(paragraph(&format!("Boot chain: {}", chain::sentence(boot)), ui.look.strong(), 0, columns));
    for link in &boot.links {
        let head = format!("  {} ", chain::mark(link.state).shown());
        out.extend(hanging(&head, &chain::link(link), Style::new(), columns));
        if !link.advice.as_str().is_empty() {
            out.extend(hanging("       ", link.advice.as_str(), Style::new(), columns));
        }
    }
    out
}

/// A fact, where it was read, and when it happened.
fn said(e: &Evidence) -> String {
    let place = match &e.origin.path {
        Some(path) => format!("{}:{}", e.origin.volume, path.display()),
        None => e.origin.volume.to_string(),
    };
    let time = e.time.map_or_else(String::new, |t| {
        let trust = match t.trust {
            ClockTrust::Utc => "UTC",
            ClockTrust::LocalNoZone => "local time",
            ClockTrust::Suspect => "by a clock that cannot be right",
        };
        format!(", {} {trust}", t.at)
    });
    format!("{} ({place}{time})", e.says)
}

fn one(e: &Evidence, columns: usize) -> Vec<Line<'static>> {
    hanging("  - ", &said(e), Style::new(), columns)
}

fn findings(ui: &Ui, inspection: &Inspection, columns: usize) -> Vec<Line<'static>> {
    let mut out = Vec::new();
    if inspection.findings.is_empty() {
        return out;
    }
    out.push(Line::default());
    out.push(Line::styled("What is not as it should be", ui.look.strong()));
    for f in &inspection.findings {
        let (head, style) = match f.severity {
            Severity::Note => ("  note    ", Style::new()),
            Severity::Warning => ("  warning ", ui.look.unsure()),
            Severity::Damage => ("  DAMAGE  ", ui.look.bad()),
        };
        let says = format!("{}: {} {}", f.volume, words::sentence(f.says.as_str()), words::sentence(f.advice.as_str()));
        out.extend(hanging(head, &says, style, columns));
    }
    out
}

fn volumes(ui: &Ui, inspection: &Inspection, columns: usize) -> Vec<Line<'static>> {
    let mut out = Vec::new();
    heading(ui, &mut out, "Disks and what is on them");
    out.insert(0, Line::default());
    for d in &inspection.disks {
        let h = &d.hardware;
        let serial = h.serial.as_ref().map(|s| format!(", serial {s}")).unwrap_or_default();
        let shown = h.shown_as.as_ref().map(|s| format!(", seen as {s}")).unwrap_or_default();
        let says = format!("{} {}, {}{serial}{shown}", h.size, h.model, h.transport);
        out.extend(hanging(&format!("  {:<7} ", d.no.to_string()), &says, Style::new(), columns));
        for v in inspection.volumes_of(d) {
            let uuid = v.uuid().map(|u| format!(", {u}")).unwrap_or_default();
            let says = format!("{}, {}{uuid}", words::volume(inspection, v), v.extent.len());
            out.extend(hanging(&format!("  {:<7} ", v.path.to_string()), &says, Style::new(), columns));
        }
    }
    if let Some(settings) = &inspection.firmware {
        heading(ui, &mut out, "What the firmware starts, in this order");
        for line in words::boot_entries(settings) {
            out.extend(paragraph(&line, Style::new(), 2, columns));
        }
    }
    out
}
