//! Cost against change: repeat captures after upgrades of different size.

use super::chart::{self, Panel};
use super::contender::CONTENDERS;
use super::input::Facts;
use super::report::READ;
use super::samples::{Measure, Samples, Spread, megabytes};
use std::fmt::Write;

/// The drawing's file name.
pub(super) const CHART: &str = "change.svg";

/// The measures of the chart, each with the name of its place.
fn places(facts: &Facts) -> Vec<(Measure, String)> {
    let changes = facts.states.iter().enumerate().map(|(n, s)| {
        let place = format!("{:.0}", megabytes(s.files));
        (Measure::Change(n + 1), place)
    });
    std::iter::once((Measure::Unchanged, "0".to_owned())).chain(changes).collect()
}

/// The section of the page; the drawing lies in this folder beside it.
pub(super) fn section(facts: &Facts, samples: &Samples, folder: &str) -> String {
    let places = places(facts);
    let mut out =
        format!("## Cost against change\n\n![repeat captures after changes of different size]({folder}/{CHART})\n\n");
    out.push_str("Seconds, and MB added, by MB of files written since the capture before.\n\n| |");
    for (_, place) in &places {
        let _ = write!(out, " {place} MB |");
    }
    let _ = writeln!(out, "\n| --- |{}", " --- |".repeat(places.len()));
    for contender in CONTENDERS {
        let _ = write!(out, "| {} |", contender.name);
        for (measure, _) in &places {
            let both = samples.seconds(contender.name, *measure).zip(samples.added(contender.name, *measure));
            let cell = both.map_or("-".to_owned(), |(s, a)| format!("{:.1} s, {:.1} MB", s.median, a.median));
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    out.push('\n');
    out
}

/// The drawing.
pub(super) fn drawn(facts: &Facts, samples: &Samples) -> String {
    let places = places(facts);
    let panel = |title: &str, figure: fn(&Samples, &str, Measure) -> Option<Spread>| Panel {
        title: title.to_owned(),
        least: 0.1,
        lines: CONTENDERS
            .iter()
            .map(|c| {
                let figures = places.iter().map(|(m, _)| Some(figure(samples, c.name, *m)?.median));
                (c.name.to_owned(), figures.collect())
            })
            .collect(),
    };
    let names: Vec<String> = places.iter().map(|(_, place)| place.clone()).collect();
    let panels = [
        panel("repeat capture, seconds", Samples::seconds),
        panel("read from disk, MB", READ.figure),
        panel("added to the store, MB", Samples::added),
    ];
    chart::svg(&names, "MB of files written since the capture before", &panels)
}
