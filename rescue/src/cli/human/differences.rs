//! What differs between two states, for people.

use super::{line_of, paragraph};
use crate::tui::{differences as said, words};
use model::differences::{Difference, Differences, LineMark, PackageDifferences, Place, TextChange, VolumeDifferences};

/// Groups, and the largest files, that are told to people; programs are told more.
const MOST_GROUPS: usize = 24;
const MOST_LARGEST: usize = 12;
/// Files that are told one by one.
const MOST_FILES: usize = 200;
const MOST_REMARKS: usize = 10;

/// `diff`.
pub(in crate::cli) fn compared(d: &Differences) -> String {
    let mut out = String::new();
    let after = d.after.map_or_else(|| "now".to_owned(), |id| format!("snapshot {}", words::short(id)));
    let head = format!("from snapshot {} to {after}: ", words::short(d.before));
    paragraph(&mut out, "", &format!("{head}{}", said::counts(&d.counts())));
    match d.packages() {
        Some(Ok(p)) => packages(&mut out, p),
        Some(Err(why)) => paragraph(&mut out, "packages: ", why.as_str()),
        None => {}
    }
    for (place, what) in [(Place::Boot, "boot files:"), (Place::Configuration, "configuration:")] {
        let found: Vec<(&VolumeDifferences, &Difference)> = said::notable(d, place).collect();
        if !found.is_empty() {
            line_of(&mut out, format_args!("{what}"));
        }
        for (v, difference) in found.iter().take(MOST_FILES) {
            file(&mut out, v, difference);
        }
        if found.len() > MOST_FILES {
            line_of(&mut out, format_args!("  and {} more", found.len() - MOST_FILES));
        }
    }
    let groups = said::groups(d, MOST_GROUPS);
    if !groups.is_empty() {
        line_of(&mut out, format_args!("everything else, by directory:"));
    }
    for (name, counts) in groups {
        paragraph(&mut out, &format!("  {name}  "), &said::counts(&counts));
    }
    largest(&mut out, d);
    for v in &d.volumes {
        let name = v.volume().map(ToString::to_string).unwrap_or_default();
        match &v.files {
            Err(why) => paragraph(&mut out, &format!("{name}: "), &format!("not compared: {why}")),
            Ok(f) => {
                for why in said::by(f).map(str::to_owned).into_iter().chain(said::unseen(v, f, MOST_REMARKS)) {
                    paragraph(&mut out, &format!("{name}: "), &why);
                }
            }
        }
    }
    out
}

fn packages(out: &mut String, p: &PackageDifferences) {
    paragraph(out, "packages: ", &said::packages(p));
    for one in p.changes.iter().take(MOST_FILES) {
        paragraph(out, &format!("  {:<11}", said::package_change(one.change)), &said::package(one));
    }
    let more = p.count.saturating_sub(p.changes.len().min(MOST_FILES) as u64);
    if more > 0 {
        line_of(out, format_args!("  and {more} more"));
    }
}

fn largest(out: &mut String, d: &Differences) {
    let of = |v: &'_ VolumeDifferences| v.files.as_ref().map(|f| f.largest.clone()).unwrap_or_default();
    let mut all: Vec<(&VolumeDifferences, Difference)> =
        d.volumes.iter().flat_map(|v| of(v).into_iter().map(move |d| (v, d))).collect();
    all.sort_by_key(|(_, d)| std::cmp::Reverse(d.weight()));
    if !all.is_empty() {
        line_of(out, format_args!("the largest of it:"));
    }
    for (v, difference) in all.iter().take(MOST_LARGEST) {
        file(out, v, difference);
    }
}

fn file(out: &mut String, v: &VolumeDifferences, d: &Difference) {
    line_of(out, format_args!("  {:<11}{}", said::change(&d.change), said::file(v, d)));
    match &d.text {
        None => {}
        Some(TextChange::Untold(why)) => line_of(out, format_args!("    ({why})")),
        Some(TextChange::Lines { hunks, more }) => {
            for hunk in hunks {
                line_of(out, format_args!("    @@ {} {}", hunk.before, hunk.after));
                for (mark, line) in &hunk.lines {
                    let mark = match mark {
                        LineMark::Both => ' ',
                        LineMark::Before => '-',
                        LineMark::After => '+',
                    };
                    line_of(out, format_args!("    {mark}{line}"));
                }
            }
            if *more {
                line_of(out, format_args!("    (and more)"));
            }
        }
    }
}
