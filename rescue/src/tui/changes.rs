//! The rows of the screen that tells what differs between two states, and what its keys do.

use super::reading::{Reading, Tone, Toned};
use super::state::{Action, Comparing, Key, Prompt, Prompted, Screen, Ui};
use super::text::next_of;
use super::{differences as said, draw, list, update, words};
use model::differences::{
    Counts, Difference, Differences, LineMark, PackageDifference, Place, TextChange, VolumeDifferences,
};
use model::event::Outcome;
use model::inspection::FileKind;
use model::run_state::RunState;

/// Most directories that are told by themselves, and most remarks about what could not be compared.
const MOST_GROUPS: usize = 64;
const MOST_REMARKS: usize = 100;

/// One row.
#[derive(Debug, Clone)]
pub enum Row<'a> {
    /// What the rows below it are.
    Heading(String),
    /// A package.
    Package(&'a PackageDifference),
    /// A file, directory or link.
    File(&'a VolumeDifferences, &'a Difference),
    /// What became of many files below a directory.
    Group(String, Counts),
    /// Something that could not be compared, or not well.
    Remark(String),
}

/// What is told on the screen: what the plan loses that waits for a decision, or what was looked for last.
pub fn told<'a>(ui: &Ui, run: &'a RunState) -> Option<&'a Differences> {
    if ui.comparing.of_plan {
        return run.question.as_ref()?.losses.as_ref()?.differences.as_ref().ok();
    }
    match &run.last {
        Some((_, Outcome::Compared(d))) => Some(d),
        _ => None,
    }
}

/// All of it, in the order of how much it means.
pub fn rows(d: &Differences, of_plan: bool) -> Vec<Row<'_>> {
    let mut out = Vec::new();
    match d.packages() {
        Some(Ok(p)) if p.count > 0 => {
            out.push(Row::Heading(format!("Packages: {}", said::packages(p))));
            out.extend(p.changes.iter().map(Row::Package));
            let more = p.count.saturating_sub(p.changes.len() as u64);
            if more > 0 {
                out.push(Row::Remark(format!("and {more} packages more")));
            }
        }
        Some(Err(why)) => out.push(Row::Remark(format!("packages: {why}"))),
        _ => {}
    }
    for (place, what) in [(Place::Boot, "Boot files"), (Place::Configuration, "Configuration, below /etc")] {
        let found: Vec<Row<'_>> = said::notable(d, place).map(|(v, d)| Row::File(v, d)).collect();
        if !found.is_empty() {
            out.push(Row::Heading(what.to_owned()));
            out.extend(found);
        }
    }
    for v in &d.volumes {
        let told = v.files.as_ref().map_or((0, 0), |f| (f.notable.len() as u64, f.notable_counts.total()));
        if told.1 > told.0 {
            out.push(Row::Remark(format!("of {} files in such places the first {} are told", told.1, told.0)));
        }
    }
    let groups = said::groups(d, MOST_GROUPS);
    if !groups.is_empty() {
        out.push(Row::Heading("Everything else, by directory".to_owned()));
        out.extend(groups.into_iter().map(|(name, counts)| Row::Group(name, counts)));
    }
    let mut largest: Vec<(&VolumeDifferences, &Difference)> = Vec::new();
    for v in &d.volumes {
        let list = v.files.as_ref().map(|f| &f.largest[..]).unwrap_or_default();
        largest.extend(list.iter().map(|d| (v, d)));
    }
    largest.sort_by_key(|(_, d)| std::cmp::Reverse(d.weight()));
    if !largest.is_empty() {
        out.push(Row::Heading("The largest of it".to_owned()));
        out.extend(largest.into_iter().map(|(v, d)| Row::File(v, d)));
    }
    out.extend(remarks(d));
    if out.is_empty() {
        let says = if of_plan { "Nothing is lost: no file changed since." } else { "Nothing differs." };
        out.push(Row::Remark(says.to_owned()));
    }
    out
}

fn remarks(d: &Differences) -> Vec<Row<'_>> {
    let mut out = Vec::new();
    for v in &d.volumes {
        let name = v.volume().map(ToString::to_string).unwrap_or_default();
        let of: Vec<String> = match &v.files {
            Err(why) => vec![format!("not compared, because {why}")],
            Ok(f) => said::by(f).map(str::to_owned).into_iter().chain(said::unseen(v, f, MOST_REMARKS)).collect(),
        };
        out.extend(of.into_iter().map(|why| Row::Remark(format!("{name}: {why}"))));
    }
    if !out.is_empty() {
        out.insert(0, Row::Heading("What may be missing here".to_owned()));
    }
    out
}

/// What a row says; of a plan, what becomes of it by going back.
pub fn text(row: &Row<'_>, of_plan: bool) -> String {
    match row {
        Row::Heading(says) => says.clone(),
        Row::Package(p) => {
            let what = if of_plan { said::package_lost(p.change) } else { said::package_change(p.change) };
            let says = if of_plan { said::package_back(p) } else { said::package(p) };
            format!("  {what}: {says}")
        }
        Row::File(v, d) => {
            let what = if of_plan { said::change_lost(&d.change) } else { said::change(&d.change) };
            format!("  {what:<11} {}", said::file(v, d))
        }
        Row::Group(name, counts) => {
            let says = if of_plan { said::lost_counts(counts) } else { said::counts(counts) };
            format!("  {name}: {says}")
        }
        Row::Remark(says) => format!("  {says}"),
    }
}

/// More about a row: of a file which lines of it differ.
pub fn detail(row: &Row<'_>, of_plan: bool) -> Vec<Toned> {
    let Row::File(v, d) = row else { return vec![(Tone::Plain, text(row, of_plan).trim_start().to_owned())] };
    let kind = match d.kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "link",
        FileKind::Special => "device, pipe or socket",
    };
    let mut out = vec![(Tone::Heading, format!("{} ({kind}, {})", said::file(v, d), said::change(&d.change)))];
    match &d.text {
        Some(TextChange::Untold(why)) => {
            out.push((Tone::Plain, format!("Which lines differ is not told: {why}.")));
        }
        Some(TextChange::Lines { hunks, more }) => {
            for hunk in hunks {
                out.push((Tone::Heading, place_of(hunk.before, hunk.after)));
                for (mark, line) in &hunk.lines {
                    let (tone, sign) = match mark {
                        LineMark::Both => (Tone::Plain, ' '),
                        LineMark::Before => (Tone::Before, '-'),
                        LineMark::After => (Tone::After, '+'),
                    };
                    out.push((tone, format!("{sign}{line}")));
                }
            }
            if *more {
                out.push((Tone::Heading, "-- and more --".to_owned()));
            }
        }
        None => {}
    }
    out
}

fn place_of(before: u32, after: u32) -> String {
    match (before, after) {
        (0, line) | (line, 0) => format!("from line {line}"),
        (before, after) if before == after => format!("from line {before}"),
        (before, after) => format!("from line {before}, later {after}"),
    }
}

/// True where a row has lines that can be read.
fn has_lines(row: &Row<'_>) -> bool {
    matches!(row, Row::File(_, Difference { text: Some(TextChange::Lines { .. }), .. }))
}

/// Shows what was looked for last, or what the plan loses that waits for a decision.
pub(super) fn open(ui: &mut Ui, of_plan: bool) {
    ui.comparing = Comparing { row: 0, of_plan };
    ui.show(Screen::Differences);
}

/// A key on the screen of differences.
pub(super) fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let of_plan = ui.comparing.of_plan;
    let Some(d) = told(ui, run) else {
        ui.close(Screen::Differences);
        return Vec::new();
    };
    let rows = rows(d, of_plan);
    let last = rows.len().saturating_sub(1);
    let page = draw::changes::rows(ui).max(1);
    let at = ui.comparing.row.min(last);
    let to = match k {
        Key::Char('/') => {
            ui.prompt = Some(Prompt::of(Prompted::Search));
            at
        }
        Key::Char('n') => search(ui, run, false),
        Key::Char('N') => search(ui, run, true),
        Key::Enter | Key::Right | Key::Char('l' | 'v') => {
            read(ui, &rows, at);
            at
        }
        Key::Char('h') => return update::common(ui, run, Key::Left),
        _ => match list::moved_here(k, at, page, last) {
            Some(to) => to,
            None => return update::common(ui, run, k),
        },
    };
    ui.comparing.row = to.min(last);
    Vec::new()
}

/// Shows all lines of a file that differ.
fn read(ui: &mut Ui, rows: &[Row<'_>], at: usize) {
    let Some(row) = rows.get(at).filter(|row| has_lines(row)) else {
        ui.note = Some(match rows.get(at) {
            Some(Row::File(..)) => "Which lines of it differ is not told; see below.".into(),
            _ => "All that is known of it stands here.".into(),
        });
        return;
    };
    let mut text = detail(row, ui.comparing.of_plan);
    let (_, title) = text.remove(0);
    ui.reading = Some(Reading::new(title, text, ui.body_width()));
    ui.show(Screen::Reading);
}

/// The next row that has what was sought in it, or the present one.
pub(super) fn search(ui: &mut Ui, run: &RunState, back: bool) -> usize {
    let (at, of_plan) = (ui.comparing.row, ui.comparing.of_plan);
    let rows = told(ui, run).map(|d| rows(d, of_plan)).unwrap_or_default();
    let wanted = ui.sought.to_ascii_lowercase();
    let has = |n: &usize| text(&rows[*n], of_plan).to_ascii_lowercase().contains(&wanted);
    let found = next_of(rows.len(), at, back, has).filter(|_| !wanted.is_empty());
    if found.is_none() {
        ui.note = Some(words::not_found(&ui.sought));
    }
    found.unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_placed_in_both_states() {
        assert_eq!(place_of(0, 3), "from line 3");
        assert_eq!(place_of(3, 3), "from line 3");
        assert_eq!(place_of(3, 9), "from line 3, later 9");
    }
}
