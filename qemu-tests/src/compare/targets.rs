//! What Holdfast is meant to reach, and whether it does, computed from what was measured.

use super::OURS;
use super::input::Facts;
use super::report::{Page, READ, best, ratio, speed};
use super::samples::{Measure, Samples, megabytes};
use super::{inspection, roots};
use std::fmt::Write;

/// Gigabytes a second that are enough where the disk is faster than two processors.
const ENOUGH: f64 = 1.5;

/// One of them: what, the words for what is wanted, and what was measured with its verdict.
struct Target {
    what: String,
    wanted: &'static str,
    measured: Option<(String, bool)>,
}

/// A figure that is to be no more than a limit.
fn most(what: &str, wanted: &'static str, limit: f64, figure: Option<f64>) -> Target {
    Target { what: what.to_owned(), wanted, measured: figure.map(|f| (format!("{f:.2}"), f <= limit)) }
}

/// The table.
pub(super) fn table(page: &Page<'_>) -> String {
    let mut targets = Vec::new();
    if let Some((facts, samples)) = &page.contenders {
        targets.extend(of_contenders(facts, samples));
    }
    let store = page.roots.as_ref().and_then(roots::of_smallest_peer);
    targets.push(most("many roots: store, of the smallest peer's", "at most 1.00", 1.0, store));
    targets.extend(of_inspection(page));
    let mut out = "| target | wanted | measured | |\n| --- | --- | --- | --- |\n".to_owned();
    for Target { what, wanted, measured } in targets {
        let (figure, verdict) = match measured {
            Some((figure, true)) => (figure, "met"),
            Some((figure, false)) => (figure, "**not met**"),
            None => ("-".to_owned(), "not measured"),
        };
        let _ = writeln!(out, "| {what} | {wanted} | {figure} | {verdict} |");
    }
    out
}

fn of_inspection(page: &Page<'_>) -> Vec<Target> {
    let (cpu, memory, faster) = page.inspection.as_ref().map_or((None, None, None), inspection::reached);
    vec![
        most("inspection of 100 GB with a year of journals: seconds of a processor", "at most 2.00", 2.0, cpu),
        most("the same: peak memory, MB", "at most 128", 128.0, memory),
        Target {
            what: "the same: times as fast as dissect.target, which is stopped after 200 s".to_owned(),
            wanted: "at least 20",
            measured: faster.map(|f| (format!("{f:.1}"), f >= 20.0)),
        },
    ]
}

fn of_contenders(facts: &Facts, samples: &Samples) -> Vec<Target> {
    let repeat = Measure::Change(facts.states.len());
    let seconds = |measure| Some((samples.seconds(OURS, measure)?.median, best(samples, measure, Samples::seconds)?));
    let added = |measure| Some((samples.added(OURS, measure)?.median, best(samples, measure, Samples::added)?));
    let check = samples.seconds(OURS, Measure::Check).zip(samples.seconds(OURS, Measure::Hash));
    let check = ratio(check.map(|(c, h)| (c.median, h.median)));
    let changed = facts.states.last().map_or(0.0, |s| megabytes(s.changed));
    let allowed = megabytes(facts.metadata) + 1.3 * changed;
    let read = (READ.figure)(samples, OURS, repeat).map(|read| read.median / allowed);
    let faster = seconds(repeat).map(|(ours, peer)| peer / ours);
    vec![
        most("first capture: time, of the fastest peer's", "at most 0.60", 0.6, ratio(seconds(Measure::First))),
        most("first capture: store, of the smallest peer's", "at most 1.00", 1.0, ratio(added(Measure::First))),
        Target {
            what: format!("repeat after an upgrade ({changed:.0} MB differ): times as fast as the fastest peer"),
            wanted: "at least 20",
            measured: faster.map(|f| (format!("{f:.1}"), f >= 20.0)),
        },
        most(
            &format!("the same: read from disk, of metadata + 1.3 x what differs ({allowed:.0} MB)"),
            "at most 1.00",
            1.0,
            read,
        ),
        most("the same: added, of the least of the peers", "at most 1.00", 1.0, ratio(added(repeat))),
        most(
            "repeat, nothing changed: seconds",
            "at most 0.30",
            0.3,
            samples.seconds(OURS, Measure::Unchanged).map(|s| s.median),
        ),
        most("the same: MB read of the file system", "at most 1.00", 1.0, samples.told(OURS, Measure::Unchanged)),
        every_byte(samples),
        most("`check --read-data`: time, of sha256sum's over the same files", "at most 1.25", 1.25, check),
        most("rollback: time, of the fastest peer's", "at most 0.10", 0.1, ratio(seconds(Measure::Rollback))),
    ]
}

/// Every byte compared, beside the speed of the disk.
fn every_byte(samples: &Samples) -> Target {
    let both = speed(samples, Measure::Full).zip(speed(samples, Measure::Disk));
    Target {
        what: "every byte compared (`--full`): speed, of the disk's by dd".to_owned(),
        wanted: "at least 0.80, or 1.5 GB/s",
        measured: both.map(|(ours, disk)| (format!("{:.2} ({ours:.2} GB/s)", ours / disk), reached(ours, disk))),
    }
}

fn reached(ours: f64, disk: f64) -> bool {
    ours >= 0.8 * disk || ours >= ENOUGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_met_up_to_itself() {
        assert_eq!(most("", "", 1.0, Some(1.0)).measured, Some(("1.00".to_owned(), true)));
        assert_eq!(most("", "", 1.0, Some(1.004)).measured, Some(("1.00".to_owned(), false)));
        assert_eq!(most("", "", 1.0, None).measured, None);
    }

    #[test]
    fn a_disk_that_is_too_fast_does_not_count() {
        assert!(reached(0.8, 1.0) && !reached(0.79, 1.0));
        assert!(reached(1.5, 9.0));
    }
}
