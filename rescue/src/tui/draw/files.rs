//! The files of a snapshot: its volumes, or a part of a folder, and more about what is chosen.

use super::List;
use crate::tui::files::{Files, View};
use crate::tui::state::Ui;
use crate::tui::text::{broken, cut, field, paragraph, tail};
use crate::tui::words;
use model::browse::Folder;
use model::event::JobKind;
use model::files::{Attributes, ListedVolume, Named};
use model::inspection::FileKind;
use model::ports::UnixMicros;
use model::run_state::RunState;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

/// Rows above the list: where it is, and what the columns are.
const HEADING: usize = 2;
/// Rows below it: a rule, and what is told of the one chosen.
const DETAIL: usize = 4;
/// Columns from which on owner and time stand in the list.
const WIDE: usize = 76;

/// Rows of the list itself.
pub fn rows(ui: &Ui) -> usize {
    ui.body_height().saturating_sub(HEADING + DETAIL)
}

/// Where the list stands, of what is here of a long folder.
pub(super) fn list(ui: &Ui) -> Option<List> {
    let files = ui.files.as_ref()?;
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (rows, count) = (rows(ui).max(1), number(files.count()));
    let (at, from) = (number(files.at), number(files.first(rows)));
    (count > 0).then(|| List { top: HEADING, from, shown: rows.min(count - from), at })
}

pub(super) fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let Some(files) = &ui.files else {
        let says = "No saved state is looked through. Press Esc to go back.";
        frame.render_widget(Paragraph::new(paragraph(says, Style::new(), 0, columns)), area);
        return;
    };
    let lines = match &files.view {
        View::Nothing => {
            let says = match (&files.trouble, &run.job) {
                (Some(trouble), _) => trouble.clone(),
                (None, Some((job, _))) if *job != JobKind::Browse => {
                    format!("{} is still going on: the files are shown once that ends.", words::doing(*job))
                }
                (None, _) => "Reading the saved state ...".to_owned(),
            };
            paragraph(&says, Style::new(), 0, columns)
        }
        View::Volumes(list) => volumes(ui, files, list, columns),
        View::Folder(folder) => entries(ui, files, folder, columns),
    };
    frame.render_widget(Paragraph::new(lines), area);
}

/// What is waited for, in words.
pub(super) fn waiting(ui: &Ui, run: &RunState) -> Option<String> {
    let files = ui.files.as_ref()?;
    let ask = files.asked.as_ref()?;
    let what = match &ask.at {
        Some(at) if files.goes_elsewhere() => at.path.display().to_string(),
        _ => "on".to_owned(),
    };
    let far = run.job.as_ref().and_then(|(_, p)| p.as_ref()).map(|p| p.phase.to_string()).unwrap_or_default();
    Some(format!("Reading {} ... {far} (Esc stops it)", tail(&what, 40)))
}

fn volumes(ui: &Ui, files: &Files, list: &[ListedVolume], columns: usize) -> Vec<Line<'static>> {
    let mut lines = vec![
        Line::styled(cut(&format!("Snapshot {} holds", words::short(files.snapshot)), columns), ui.look.strong()),
        Line::styled(cut("  volume    holds     where the system has it", columns), ui.look.strong()),
    ];
    let rows = rows(ui).max(1);
    let from = usize::try_from(files.first(rows)).unwrap_or(0);
    for (n, v) in list.iter().enumerate().skip(from).take(rows) {
        let so = if v.readable { "" } else { "  (its files are not read by this version)" };
        let mount = v.mount.as_deref().unwrap_or("-");
        let says = format!("{} {} {mount}{so}", field(&v.volume.to_string(), 9), field(&v.fs, 9));
        lines.push(row(ui, &says, n as u64 == files.at, Style::new(), columns));
    }
    lines.resize(HEADING + rows, Line::default());
    lines.push(Line::raw("─".repeat(columns)));
    if let Some(v) = usize::try_from(files.at).ok().and_then(|at| list.get(at)) {
        let says = match v.readable {
            true => "Enter goes in; g takes all of it out.",
            false => "It is saved, and a rollback brings it back; its files cannot be told one by one.",
        };
        lines.extend(paragraph(says, Style::new(), 0, columns));
    }
    lines
}

fn entries(ui: &Ui, files: &Files, folder: &Folder, columns: usize) -> Vec<Line<'static>> {
    let wide = columns >= WIDE;
    let place = format!("{} {}:{}", words::short(files.snapshot), folder.volume, folder.path.display());
    let more = if folder.more { "+" } else { "" };
    let far = match folder.count {
        0 => "empty".to_owned(),
        count => format!("{} of {count}{more}", files.at + 1),
    };
    let head = match wide {
        true => "  mode       owner:group size     changed (UTC)    name",
        false => "  mode       size     name",
    };
    let room = columns.saturating_sub(far.chars().count() + 2);
    let mut lines = vec![
        Line::styled(format!("{}  {far}", field(&tail(&place, room), room)), ui.look.strong()),
        Line::styled(cut(head, columns), ui.look.strong()),
    ];
    let rows = rows(ui).max(1);
    let from = files.first(rows);
    for n in (from..folder.count).take(rows) {
        lines.push(match files.entry(n) {
            Some(entry) => {
                let style = if entry.attributes.is_some() { Style::new() } else { ui.look.bad() };
                row(ui, &told(entry, wide), n == files.at, style, columns)
            }
            None => row(ui, "reading ...", n == files.at, Style::new(), columns),
        });
    }
    lines.resize(HEADING + rows, Line::default());
    lines.push(Line::raw("─".repeat(columns)));
    if let Some(entry) = files.entry(files.at) {
        lines.extend(detail(entry, columns));
    }
    lines
}

fn row(ui: &Ui, says: &str, chosen: bool, style: Style, columns: usize) -> Line<'static> {
    let marker = if chosen { "▸ " } else { "  " };
    let line = Line::styled(cut(&format!("{marker}{says}"), columns), style);
    if chosen { line.style(ui.look.bar()) } else { line }
}

/// An entry in a row.
fn told(entry: &Named, wide: bool) -> String {
    let Some(a) = &entry.attributes else {
        let gap = if wide { 38 } else { 9 };
        return format!("DAMAGED    {}{}", " ".repeat(gap), entry.name.display());
    };
    let mode = words::mode(a.kind, a.mode);
    let sign = if a.kind == FileKind::Directory { "/" } else { "" };
    let target = a.target.as_ref().map(|t| format!(" -> {}", t.display())).unwrap_or_default();
    let name = format!("{}{sign}{target}", entry.name.display());
    let size = field(&size(a), 8);
    match wide {
        true => {
            let owner = field(&format!("{}:{}", a.owner, a.group), 11);
            format!("{mode} {owner} {size} {} {name}", field(&time(a), 16))
        }
        false => format!("{mode} {size} {name}"),
    }
}

fn size(a: &Attributes) -> String {
    match (a.kind, a.device) {
        (_, Some((major, minor))) => format!("{major}, {minor}"),
        (FileKind::Directory, _) => "-".to_owned(),
        _ => a.size.to_string(),
    }
}

fn time(a: &Attributes) -> String {
    a.modified.map_or_else(|| "-".to_owned(), |t| words::time(UnixMicros(t.div_euclid(1000))))
}

/// All that is known of an entry: at most as much as there is room for.
fn detail(entry: &Named, columns: usize) -> Vec<Line<'static>> {
    let target = entry.attributes.as_ref().and_then(|a| a.target.as_ref());
    let target = target.map(|t| format!(" -> {}", t.display())).unwrap_or_default();
    let name = format!("{}{target}", entry.name.display());
    let mut lines: Vec<Line<'static>> = broken(&name, columns).into_iter().map(Line::raw).collect();
    lines.truncate(DETAIL - 2);
    let says = match &entry.attributes {
        None => "What is kept of it is damaged.".to_owned(),
        Some(a) => {
            let kind = match a.kind {
                FileKind::File => {
                    format!("file, {}", if a.size.0 == 1 { "1 byte".to_owned() } else { format!("{} bytes", a.size.0) })
                }
                FileKind::Directory => "folder".to_owned(),
                FileKind::Symlink => "link".to_owned(),
                FileKind::Special => "device, pipe or socket".to_owned(),
            };
            format!("{kind}, owner {}:{}, {}", a.owner, a.group, time(a))
        }
    };
    lines.push(Line::raw(cut(&says, columns)));
    lines
}
