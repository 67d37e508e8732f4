//! How the last job ended, and what to do then.

use super::{List, Section, fit, step_lines};
use crate::tui::differences;
use crate::tui::state::Ui;
use crate::tui::text::{at_most, hanging, paragraph};
use crate::tui::words::Mark;
use crate::tui::{chain, steps, upkeep, words};
use model::boot::BootChain;
use model::command::ExitCode;
use model::event::{CheckReport, JobKind, Outcome};
use model::files::Got;
use model::id::SnapshotId;
use model::policy::Acted;
use model::proof::Verdict;
use model::run_state::RunState;
use model::snapshot::{Cost, VolumeRead};
use model::units::ByteLen;
use model::upkeep::Kept;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

/// Lost files of a volume that are shown; `holdfast check` tells more.
const MOST_PATHS: usize = 3;

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Paragraph::new(lines(ui, run, usize::from(area.width), usize::from(area.height))), area);
}

/// Where the steps stand.
pub(super) fn list(ui: &Ui, run: &RunState, columns: usize, height: usize) -> Option<List> {
    let steps = step_lines(ui, &steps::outcome(run, ui.may_leave, ui.other.as_deref()), columns);
    List::among(&lines(ui, run, columns, height), &steps, ui.step)
}

fn lines(ui: &Ui, run: &RunState, columns: usize, height: usize) -> Vec<Line<'static>> {
    let lines = match &run.last {
        Some((job, outcome)) => said(ui, run, *job, outcome, columns.min(100)),
        None => paragraph("Nothing was done yet.", Style::new(), 0, columns),
    };
    let mut next = vec![Line::styled("What to do next:", ui.look.strong())];
    let steps = step_lines(ui, &steps::outcome(run, ui.may_leave, ui.other.as_deref()), columns);
    next.extend(steps.iter().cloned());
    let lost = match &run.last {
        Some((_, Outcome::Checked(report))) => lost(report, columns.min(100)),
        Some((_, Outcome::Got(got))) => taken_how(ui, got, columns.min(100)),
        _ => Vec::new(),
    };
    // What came of it stays, as much of it as there is room for.
    let room = height.saturating_sub(steps.len()).max(1);
    let begun = (lines.len() > room).then(|| at_most(room, lines.clone()));
    let sections = vec![
        Section { lines, short: begun, weight: 9 },
        Section { lines: lost, short: None, weight: 5 },
        Section { lines: next, short: Some(steps), weight: 8 },
    ];
    fit(sections, height)
}

fn said(ui: &Ui, run: &RunState, job: JobKind, outcome: &Outcome, columns: usize) -> Vec<Line<'static>> {
    let look = ui.look;
    let plain = |text: &str| paragraph(text, Style::new(), 0, columns);
    let mut out = Vec::new();
    match outcome {
        Outcome::Saved { id, cost, volumes } => {
            let lost = words::unread(volumes);
            match lost.is_empty() {
                true => out.extend(paragraph("DONE. The present state is saved.", look.good(), 0, columns)),
                false => {
                    out.extend(paragraph("DONE, but not all of it could be read.", look.unsure(), 0, columns));
                }
            }
            out.push(Line::default());
            for lost in lost {
                out.extend(hanging("[!!] ", &lost, look.bad(), columns));
            }
            out.extend(saved(*id, cost, volumes, columns));
        }
        Outcome::Estimated(e) => {
            out.extend(plain(&format!("{} would be read and saved; {}.", e.read, words::room(e))));
        }
        Outcome::Acted(acted) => out.extend(did(ui, acted, columns)),
        Outcome::WroteBack(receipt) => {
            let says = match job {
                JobKind::Undo => "DONE. The machine is as it was before.",
                JobKind::Resume => "DONE. The rollback is finished.",
                JobKind::Restore => "DONE. The disks hold the saved state.",
                JobKind::Put => "DONE. The saved files are back.",
                JobKind::BootRepair => "DONE. What starts the machine is put right.",
                _ => "DONE. The machine is back at the saved state.",
            };
            out.extend(paragraph(says, look.good(), 0, columns));
            out.push(Line::default());
            out.extend(plain(&format!("Its disks now hold snapshot {}.", words::short(receipt.holds))));
            out.extend(plain(&format!(
                "{} were written; {} were read back from the disk and compared.",
                receipt.written, receipt.verified
            )));
            if !matches!(job, JobKind::Undo | JobKind::Restore) {
                out.extend(plain("The state before is kept: this can be undone at any time."));
            }
            out.extend(chains(ui, run, columns));
        }
        Outcome::Exported(exported) => {
            out.extend(paragraph("DONE. The saved state is written out.", look.good(), 0, columns));
            out.push(Line::default());
            for image in &exported.images {
                out.extend(plain(&format!("{}: {}, {}.", image.file.display(), image.of, image.size)));
                for w in &image.warnings {
                    out.extend(hanging("[!!] ", w.as_str(), look.bad(), columns));
                }
            }
        }
        Outcome::Proved(proof) => {
            let (heading, style) = match proof.verdict {
                Verdict::Proven => ("PROVEN. The saved state starts.", look.good()),
                Verdict::NotProven => ("NOT PROVEN. The saved state did not come up.", look.bad()),
                Verdict::Unknown => ("NOT KNOWN. Nothing there tells how far it came.", look.unsure()),
            };
            out.extend(paragraph(heading, style, 0, columns));
            out.push(Line::default());
            out.extend(plain(&words::sentence(proof.why.as_str())));
        }
        Outcome::Checked(report) => out.extend(checked(ui, report, columns)),
        Outcome::Cancelled(left) => {
            out.extend(paragraph("STOPPED, as you asked.", look.unsure(), 0, columns));
            out.push(Line::default());
            out.extend(plain(&words::sentence(left.as_str())));
        }
        Outcome::Failed(f) => {
            let heading = if f.code == ExitCode::Interrupted && job == JobKind::Snapshot {
                "NOT ALL OF IT IS SAVED."
            } else if f.code == ExitCode::Interrupted {
                "CUT OFF. It can be finished or undone."
            } else if f.code == ExitCode::Refused {
                "NOT DONE."
            } else {
                "IT FAILED."
            };
            let (says, advice) = words::failure(f);
            out.extend(paragraph(heading, look.bad(), 0, columns));
            out.push(Line::default());
            out.extend(plain(&says));
            out.extend(plain(&advice));
            if !steps::is_unfinished(run) && f.code == ExitCode::Refused {
                out.extend(plain("Nothing was written to this machine's disks."));
            }
        }
        Outcome::Compared(d) => {
            let says = format!(
                "What changed since snapshot {}: {}.",
                words::short(d.before),
                differences::counts(&d.counts())
            );
            out.extend(paragraph(&says, look.strong(), 0, columns));
        }
        // No screen asks for it.
        Outcome::Listed(_) => out.extend(plain("Saved files were listed.")),
        // It has a screen of its own.
        Outcome::Described(d) => out.extend(plain(&format!("The record of {} was read.", words::short(d.summary.id)))),
        Outcome::Got(got) => out.extend(taken_out(ui, got, columns)),
        Outcome::Declined => out.extend(plain("Nothing was written.")),
        Outcome::Kept(kept) => {
            let (heading, lines) = upkeep::told(kept);
            out.extend(paragraph(&heading, look.strong(), 0, columns));
            out.push(Line::default());
            lines.iter().for_each(|l| out.extend(plain(l)));
            // In the rescue there is no other store than that.
            if matches!(kept, Kept::Copied(_)) && !ui.may_leave {
                out.extend(plain("The second stick was let go: it can be taken out."));
            }
            if let Kept::Stats(stats) = kept {
                out.extend(super::upkeep::stats(stats, columns));
            }
        }
        Outcome::Looked => out.extend(plain("The disks were looked at.")),
    }
    out
}

/// Whether what starts the machine leads on, link by link, as the disks are now.
fn chains(ui: &Ui, run: &RunState, columns: usize) -> Vec<Line<'static>> {
    let followed = run.report.iter().flat_map(|r| &r.boot).filter(|b| !b.links.is_empty());
    let line = |boot| {
        let (mark, style) = match chain::mark(boot) {
            Mark::Bad => (Mark::Bad, ui.look.bad()),
            Mark::Good => (Mark::Good, ui.look.good()),
            other => (other, ui.look.unsure()),
        };
        (mark.shown(), style)
    };
    followed
        .flat_map(|boot: &BootChain| {
            let (mark, style) = line(boot.state());
            hanging(&format!("{mark} "), &format!("Its boot chain: {}.", chain::sentence(boot)), style, columns)
        })
        .collect()
}

fn saved(id: SnapshotId, cost: &Cost, volumes: &[VolumeRead], columns: usize) -> Vec<Line<'static>> {
    let plain = |text: &str| paragraph(text, Style::new(), 0, columns);
    let mut out = plain(&format!("It is snapshot {}. This machine's disks were only read.", words::short(id)));
    out.extend(plain(&format!(
        "{} were read; {} were in the store already; the store grew by {}.",
        cost.read, cost.shared, cost.stored
    )));
    let resumed: u64 = volumes.iter().map(|v| v.compared.resumed.0).sum();
    if resumed > 0 {
        let resumed = ByteLen(resumed);
        out.extend(plain(&format!("It went on from one that was stopped: {resumed} were saved by that.")));
    }
    let kept: u64 = volumes.iter().map(|v| v.compared.taken_over.0).sum();
    if kept > 0 {
        let kept = ByteLen(kept);
        out.extend(plain(&format!("{kept} needed no reading: their file systems tell that they are unchanged.")));
    }
    out
}

/// Where files are that were taken out.
fn taken_out(ui: &Ui, got: &Got, columns: usize) -> Vec<Line<'static>> {
    let plain = |text: &str| paragraph(text, Style::new(), 0, columns);
    let mut out = match got.damaged.count {
        0 => paragraph("DONE. It is taken out.", ui.look.good(), 0, columns),
        _ => paragraph("DONE, BUT SOME OF IT IS DAMAGED.", ui.look.bad(), 0, columns),
    };
    out.push(Line::default());
    match words::on_save_disk(&got.to).filter(|_| !ui.may_leave) {
        Some(path) => {
            out.extend(plain(&format!("It is on the save disk, as {path}; not encrypted.")));
            let how = "To reach it: take the stick to a computer with Linux, and there, as root, run \
                       `mount LABEL=holdfast-store /mnt`.";
            out.extend(plain(&format!("{how} Then it is /mnt/{path}.")));
        }
        None => out.extend(plain(&format!("It is {}.", got.to.display()))),
    }
    out
}

/// How much was taken out, and what is not as it was.
fn taken_how(ui: &Ui, got: &Got, columns: usize) -> Vec<Line<'static>> {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let folders = if got.directories == 1 { "1 folder".to_owned() } else { format!("{} folders", got.directories) };
    let others = if got.others == 0 { String::new() } else { format!(", {} links and the like", got.others) };
    let files = crate::tui::text::count(number(got.files), "file");
    let what = format!("{} of {}: {files}, {folders}{others}; {}.", got.path.display(), got.volume, got.written);
    let mut out = paragraph(&what, Style::new(), 0, columns);
    for (remarks, head, style) in
        [(&got.damaged, "[!!] ", ui.look.bad()), (&got.left_out, "[--] left out: ", Style::new())]
    {
        for (path, why) in remarks.first.iter().take(MOST_PATHS) {
            let path = if path.0.is_empty() { got.path.display() } else { path.display() };
            out.extend(hanging(head, &format!("{path}: {why}"), style, columns));
        }
        let more = remarks.count.saturating_sub(remarks.first.len().min(MOST_PATHS) as u64);
        if more > 0 {
            out.extend(hanging(head, &format!("and {more} more"), style, columns));
        }
    }
    out
}

/// What came of a policy.
fn did(ui: &Ui, acted: &Acted, columns: usize) -> Vec<Line<'static>> {
    let plain = |text: &str| paragraph(text, Style::new(), 0, columns);
    let heading = match acted.saved {
        Some(_) => "DONE. The present state is saved.",
        None => "DONE. There was nothing to save.",
    };
    let mut out = paragraph(heading, ui.look.good(), 0, columns);
    out.push(Line::default());
    out.extend(plain(&words::sentence(acted.decision.why.as_str())));
    for why in &acted.locked {
        out.extend(hanging("[!!] ", &words::sentence(why.as_str()), ui.look.bad(), columns));
    }
    if let Some(s) = &acted.saved {
        out.extend(saved(s.id, &s.cost, &s.volumes, columns));
    }
    if !acted.forgotten.is_empty() {
        let forgotten = crate::tui::text::count(acted.forgotten.len(), "older saved state");
        let freed = acted.pruned.map(|p| format!("; {} freed", p.freed)).unwrap_or_default();
        out.extend(plain(&format!("Forgotten, as the policy says: {forgotten}{freed}.")));
    }
    if let Some(trouble) = &acted.trouble {
        out.extend(hanging("[!!] ", &words::sentence(&trouble.to_string()), ui.look.bad(), columns));
    }
    out
}

fn checked(ui: &Ui, report: &CheckReport, columns: usize) -> Vec<Line<'static>> {
    let mut out = if report.damage.is_empty() {
        paragraph("DONE. The store is in order.", ui.look.good(), 0, columns)
    } else {
        paragraph("THE STORE IS DAMAGED.", ui.look.bad(), 0, columns)
    };
    out.push(Line::default());
    let says = format!(
        "{} and {} objects were looked at, {} read.",
        crate::tui::text::count(usize::try_from(report.snapshots).unwrap_or(usize::MAX), "saved state"),
        report.objects,
        report.read
    );
    out.extend(paragraph(&says, Style::new(), 0, columns));
    for d in report.damage.iter().take(6) {
        out.extend(hanging("[!!] ", d.as_str(), ui.look.bad(), columns));
    }
    if report.damage.len() > 6 {
        out.push(Line::raw(format!("     and {} more", report.damage.len() - 6)));
    }
    if !report.affected.is_empty() {
        let ids: Vec<String> = report.affected.iter().take(6).map(|id| words::short(*id)).collect();
        out.extend(paragraph(&format!("Cannot be restored whole: {}.", ids.join(", ")), Style::new(), 0, columns));
    }
    out
}

/// What the newest snapshot that is affected lost: older ones mostly share it.
fn lost(report: &CheckReport, columns: usize) -> Vec<Line<'static>> {
    let mut out = Vec::new();
    for lost in report.lost.iter().filter(|l| Some(&l.snapshot) == report.affected.last()) {
        let of = format!("Lost of {}, {}: {}.", words::short(lost.snapshot), lost.of, lost.bytes);
        out.extend(paragraph(&of, Style::new(), 0, columns));
        for says in words::lost(lost, MOST_PATHS) {
            out.extend(hanging("     ", &says, Style::new(), columns));
        }
    }
    out
}
