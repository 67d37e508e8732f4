//! Drawing: pure functions from the state of the front end and the run state to a frame. One module per screen.

mod bar;
pub mod changes;
mod confirm;
mod disk;
pub mod disks;
mod evidence;
pub mod files;
mod help;
mod home;
mod log;
mod outcome;
mod power;
mod progress;
mod reading;
pub mod target;
pub mod timeline;
mod unlock;
mod upkeep;

use crate::tui::state::{Key, SMALLEST, Screen, Ui};
use crate::tui::text::{self, paragraph};
use model::command::PowerAction;
use model::run_state::RunState;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// Text wider than this is hard to read.
const READABLE: usize = 100;

/// A text longer than its place.
pub struct Page {
    /// All of it, wrapped.
    pub lines: Vec<Line<'static>>,
    /// Rows there are for it.
    pub height: usize,
}

/// The text of the screen on top, where it is one that scrolls.
pub fn page(ui: &Ui, run: &RunState) -> Option<Page> {
    let (lines, height) = match ui.screen() {
        Screen::Evidence => (evidence::lines(ui, run), ui.body_height()),
        Screen::Log => (log::lines(ui, run), ui.body_height()),
        Screen::Help => (help::lines(ui), ui.body_height()),
        Screen::Confirm => (confirm::lines(ui, run), ui.body_height().saturating_sub(confirm::ASKING)),
        Screen::Forget => (upkeep::forget_lines(ui, run), ui.body_height().saturating_sub(upkeep::ASKING)),
        Screen::Home
        | Screen::Timeline
        | Screen::Unlock
        | Screen::Progress
        | Screen::Outcome
        | Screen::Files
        | Screen::Reading
        | Screen::Differences
        | Screen::Disks
        | Screen::Target
        | Screen::Store
        | Screen::Power => return None,
    };
    Some(Page { lines, height })
}

/// How many lines the text of the screen on top has, and how many rows there are for it, where it is one that scrolls.
pub fn extent(ui: &Ui, run: &RunState) -> Option<(usize, usize)> {
    match ui.screen() {
        // All of it need not be drawn for that.
        Screen::Reading => Some((ui.reading.as_ref().map_or(0, |r| r.lines().len()), reading::height(ui))),
        _ => page(ui, run).map(|page| (page.lines.len(), page.height)),
    }
}

/// Where the rows of a list stand on its screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// Rows of the body above it.
    pub top: usize,
    /// The first row that is shown.
    pub from: usize,
    /// How many are.
    pub shown: usize,
    /// The row that is chosen.
    pub at: usize,
}

impl List {
    /// One of `count` rows of which `rows` fit, the chosen one in their middle where it can be.
    pub fn around(top: usize, rows: usize, at: usize, count: usize) -> Self {
        let rows = rows.max(1);
        let at = at.min(count.saturating_sub(1));
        let from = at.saturating_sub(rows / 2).min(count.saturating_sub(rows));
        Self { top, from, shown: rows.min(count - from), at }
    }

    /// Rows that stand among lines, all of them.
    fn among(lines: &[Line<'static>], rows: &[Line<'static>], at: usize) -> Option<Self> {
        let top = lines.iter().position(|line| Some(line) == rows.first())?;
        Some(Self { top, from: 0, shown: rows.len().min(lines.len() - top), at: at.min(rows.len() - 1) })
    }
}

/// The list of the screen on top, where it has one of which a row is chosen.
pub fn list(ui: &Ui, run: &RunState) -> Option<List> {
    let (columns, height) = (ui.body_width(), ui.body_height());
    match ui.screen() {
        Screen::Home => home::list(ui, run, columns, height),
        Screen::Outcome => outcome::list(ui, run, columns, height),
        Screen::Store => upkeep::list(ui, run, columns, height),
        Screen::Power => power::list(ui, run, columns, height),
        Screen::Timeline => timeline::list(ui, run),
        Screen::Files => files::list(ui),
        Screen::Differences => changes::list(ui, run),
        Screen::Disks => disks::list(ui, run),
        Screen::Target => target::list(ui, run),
        Screen::Unlock
        | Screen::Confirm
        | Screen::Progress
        | Screen::Reading
        | Screen::Forget
        | Screen::Evidence
        | Screen::Log
        | Screen::Help => None,
    }
}

/// The key that stands in a column of the last row.
pub fn key_at(ui: &Ui, run: &RunState, column: u16) -> Option<Key> {
    bar::key_at(ui, run, usize::from(column))
}

/// Draws everything.
pub fn draw(ui: &Ui, run: &RunState, frame: &mut Frame<'_>) {
    let area = frame.area();
    if ui.too_small() {
        let says = format!(
            "This window is {} x {}. Holdfast needs {} x {}: please make it larger. Nothing is lost meanwhile.",
            area.width, area.height, SMALLEST.0, SMALLEST.1
        );
        let lines = paragraph(&says, Style::new(), 0, usize::from(area.width).max(1));
        frame.render_widget(Paragraph::new(lines), area);
    } else if let Some(action) = run.leaving {
        leaving(action, frame);
    } else {
        let [top, body, note, keys] = rows(area);
        bar::top(ui, run, frame, top);
        screen(ui, run, frame, body);
        bar::note(ui, run, frame, note);
        bar::keys(ui, run, frame, keys);
    }
    ui.look.finish(frame.buffer_mut());
}

fn rows(area: Rect) -> [Rect; 4] {
    let body = area.height.saturating_sub(3);
    let row = |y, height| Rect { y, height, ..area };
    [row(0, 1), Rect { x: 1, width: area.width.saturating_sub(2), ..row(1, body) }, row(body + 1, 1), row(body + 2, 1)]
}

fn screen(ui: &Ui, run: &RunState, frame: &mut Frame<'_>, area: Rect) {
    match ui.screen() {
        Screen::Home => home::draw(ui, run, frame, area),
        Screen::Timeline => timeline::draw(ui, run, frame, area),
        Screen::Unlock => unlock::draw(ui, frame, area),
        Screen::Confirm => confirm::draw(ui, run, frame, area),
        Screen::Progress => progress::draw(ui, run, frame, area),
        Screen::Outcome => outcome::draw(ui, run, frame, area),
        Screen::Files => files::draw(ui, run, frame, area),
        Screen::Reading => reading::draw(ui, frame, area),
        Screen::Differences => changes::draw(ui, run, frame, area),
        Screen::Disks => disks::draw(ui, run, frame, area),
        Screen::Target => target::draw(ui, run, frame, area),
        Screen::Power => power::draw(ui, run, frame, area),
        Screen::Store => upkeep::draw(ui, run, frame, area),
        Screen::Forget => {
            let asking = upkeep::asking(ui, run);
            let height = area.height.saturating_sub(u16::try_from(upkeep::ASKING).unwrap_or(u16::MAX));
            if let Some(page) = page(ui, run) {
                scrolled(ui, page, frame, Rect { height, ..area });
            }
            frame.render_widget(
                Paragraph::new(asking),
                Rect { y: area.y + height, height: area.height - height, ..area },
            );
        }
        Screen::Evidence | Screen::Log | Screen::Help => {
            if let Some(page) = page(ui, run) {
                scrolled(ui, page, frame, area);
            }
        }
    }
}

/// Shows the part of a page that fits, and says where there is more.
fn scrolled(ui: &Ui, page: Page, frame: &mut Frame<'_>, area: Rect) {
    let most = page.lines.len().saturating_sub(page.height);
    let from = ui.scroll.min(most);
    // A text that grew or was wrapped anew has another line there.
    let wanted = ui.sought.to_ascii_lowercase();
    let found = |n: usize, line: &Line<'_>| {
        ui.found == Some(n) && !wanted.is_empty() && plain(line).to_ascii_lowercase().contains(&wanted)
    };
    let shown = page.lines.into_iter().enumerate().skip(from).take(page.height);
    let lines = shown.map(|(n, line)| if found(n, &line) { line.style(ui.look.bar()) } else { line }).collect();
    frame.render_widget(Paragraph::new(with_more(ui, lines, most - from)), area);
}

/// A line without its styles.
pub(super) fn plain(line: &Line<'_>) -> String {
    line.spans.iter().map(|span| span.content.as_ref()).collect()
}

/// Says in the last of the lines that are shown how much more there is.
fn with_more(ui: &Ui, mut lines: Vec<Line<'static>>, more: usize) -> Vec<Line<'static>> {
    if more > 0
        && let Some(last) = lines.last_mut()
    {
        *last = Line::styled(format!("-- {} more below (PgDn) --", text::count(more + 1, "line")), ui.look.key());
    }
    lines
}

fn leaving(action: PowerAction, frame: &mut Frame<'_>) {
    let says = match action {
        PowerAction::Reboot => "Restarting. Take out the rescue stick if this machine's own system should start.",
        PowerAction::Poweroff => "Powering off.",
    };
    let area = frame.area();
    let lines = paragraph(says, Style::new(), 2, usize::from(area.width).saturating_sub(2));
    frame.render_widget(
        Paragraph::new(lines),
        Rect { y: area.height / 2, height: area.height - area.height / 2, ..area },
    );
}

/// A row of a list: where it is the chosen one it is shown the other way round, and begins with a marker.
fn with_marker(ui: &Ui, mut line: Line<'static>, chosen: bool) -> Line<'static> {
    if !chosen {
        return line;
    }
    if let Some(first) = line.spans.first_mut() {
        let text = first.content.strip_prefix("  ").map_or_else(|| first.content.to_string(), str::to_owned);
        first.content = format!("▸ {text}").into();
    }
    line.style(ui.look.bar())
}

/// A numbered step, the chosen one behind a marker.
fn step_line(ui: &Ui, n: usize, says: &str, chosen: bool, columns: usize) -> Line<'static> {
    let marker = if chosen { "▸ " } else { "  " };
    let style = if chosen { ui.look.strong() } else { Style::new() };
    // What stands in parentheses is the first to go.
    let before = says.rsplit_once(" (").map_or(says, |(before, _)| before);
    let says = text::fitting(&[says, before], columns.saturating_sub(5));
    Line::from(vec![
        Span::raw(marker),
        Span::styled(format!("{}", n + 1), ui.look.key()),
        Span::styled(format!("  {}", text::cut(says, columns.saturating_sub(5))), style),
    ])
}

fn step_lines(ui: &Ui, steps: &[crate::tui::steps::Step], columns: usize) -> Vec<Line<'static>> {
    steps
        .iter()
        .enumerate()
        .map(|(n, s)| step_line(ui, n, &s.says, n == ui.step.min(steps.len() - 1), columns))
        .collect()
}

/// A part of a screen that must fit a given height.
struct Section {
    lines: Vec<Line<'static>>,
    /// What to show where there is no room for all of it; none drops it.
    short: Option<Vec<Line<'static>>>,
    /// The higher, the longer it stays.
    weight: u8,
}

/// Fits sections into `height` rows: first without the blank lines between them, then the least important ones shortened or
/// dropped, at last cut off.
fn fit(mut sections: Vec<Section>, height: usize) -> Vec<Line<'static>> {
    sections.retain(|s| !s.lines.is_empty());
    let rows = |s: &[Section]| s.iter().map(|s| s.lines.len()).sum::<usize>();
    let blanks = rows(&sections) + sections.len().saturating_sub(1) <= height;
    while !blanks && rows(&sections) > height {
        let Some(at) = (0..sections.len()).min_by_key(|i| (sections[*i].weight, *i)) else { break };
        match sections[at].short.take() {
            Some(short) => {
                sections[at].lines = short;
                sections[at].weight = sections[at].weight.saturating_add(2);
            }
            None if sections.len() > 1 => {
                sections.remove(at);
            }
            None => break,
        }
    }
    let mut out = Vec::new();
    for s in sections {
        if blanks && !out.is_empty() {
            out.push(Line::default());
        }
        out.extend(s.lines);
    }
    out.truncate(height);
    out
}
