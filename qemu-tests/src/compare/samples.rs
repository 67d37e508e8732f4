//! What was measured so far.

use super::process::Cost;
use super::record::By;
use qemu_tests::Result;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// What is measured of each contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Measure {
    /// A capture into an empty store.
    First,
    /// The same again.
    Unchanged,
    /// A capture after the upgrade to this state; the capture before is of the state before.
    Change(usize),
    /// The store's own check of all its data.
    Check,
    /// sha256sum over the store's files.
    Hash,
    /// A capture of a state that is in the store, with every byte compared.
    Full,
    /// The image read from its first byte to its last.
    Disk,
    /// The blocks that the last upgrade changed, as one file: read, compressed, written.
    Bare,
    /// One file, taken out of the last capture.
    File,
    /// Back over the last upgrade.
    Rollback,
}

impl Measure {
    /// The name of a capture in its store.
    pub(super) fn tag(self) -> String {
        match self {
            Self::Change(state) => format!("state{state}"),
            other => format!("{other:?}").to_lowercase(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sample {
    contender: String,
    measure: Measure,
    cost: Cost,
    added: u64,
    /// Bytes that the contender says it read of the volumes.
    #[serde(default)]
    told: Option<u64>,
}

/// All samples, and what failed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Samples {
    /// What they are of: input, program, and who takes part.
    of: String,
    /// Who measured, and when.
    #[serde(default)]
    pub(super) by: By,
    /// Round and contender of each turn that is over.
    turns: Vec<(usize, String)>,
    samples: Vec<Sample>,
    /// Contender and what it said.
    pub(super) failures: Vec<(String, String)>,
}

/// The middle of several figures, with the least and the most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) count: usize,
}

impl Samples {
    /// Those of a run of the same that was cut off, or none yet.
    pub(super) fn taken_up(file: &Path, of: &str, by: &By) -> Self {
        let known = Self::of_input(file, of);
        known.filter(|s| s.of == of).unwrap_or_else(|| Self { of: of.to_owned(), by: by.clone(), ..Self::default() })
    }

    /// Those in a file, where they are of this input, whatever program they are of.
    pub(super) fn of_input(file: &Path, input: &str) -> Option<Self> {
        let known: Option<Self> = fs::read(file).ok().and_then(|b| serde_json::from_slice(&b).ok());
        known.filter(|s| s.of.starts_with(input))
    }

    /// Whether this turn is over.
    pub(super) fn has_turn(&self, round: usize, contender: &str) -> bool {
        self.turns.iter().any(|(r, c)| *r == round && c == contender)
    }

    /// How many rounds were gone.
    pub(super) fn rounds(&self) -> usize {
        self.turns.iter().map(|(round, _)| round + 1).max().unwrap_or_default()
    }

    /// A turn is over: from here on a run that is cut off goes on after it.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(super) fn end_turn(&mut self, round: usize, contender: &str, file: &Path) -> Result<()> {
        self.turns.push((round, contender.to_owned()));
        let partial = file.with_extension("partial");
        fs::write(&partial, serde_json::to_vec(self)?)?;
        Ok(fs::rename(partial, file)?)
    }

    /// One more, which is shown.
    pub(super) fn add(&mut self, contender: &str, measure: Measure, cost: Cost, added: u64, told: Option<u64>) {
        show(contender, &measure.tag(), &cost, added);
        self.samples.push(Sample { contender: contender.to_owned(), measure, cost, added, told });
    }

    /// A turn that ended early.
    pub(super) fn failed(&mut self, contender: &str, says: &str) {
        self.failures.push((contender.to_owned(), says.to_owned()));
    }

    /// Whether it was measured already and took longer than so many seconds.
    pub(super) fn slow(&self, contender: &str, measure: Measure, limit: f64) -> bool {
        self.of(contender, measure).any(|s| s.cost.seconds > limit)
    }

    /// Millions of bytes that a contender says it read of the volumes.
    pub(super) fn told(&self, contender: &str, measure: Measure) -> Option<f64> {
        let mut values: Vec<u64> = self.of(contender, measure).filter_map(|s| s.told).collect();
        values.sort_unstable();
        values.get(values.len() / 2).map(|bytes| megabytes(*bytes))
    }

    fn of(&self, contender: &str, measure: Measure) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |s| s.contender == contender && s.measure == measure)
    }

    /// A figure of a measure; nothing where it was not taken.
    pub(super) fn spread(
        &self,
        contender: &str,
        measure: Measure,
        figure: impl Fn(&Cost, u64) -> f64,
    ) -> Option<Spread> {
        let mut values: Vec<f64> = self.of(contender, measure).map(|s| figure(&s.cost, s.added)).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Spread { median, least, most, count: values.len() })
    }

    /// Seconds of a measure.
    pub(super) fn seconds(&self, contender: &str, measure: Measure) -> Option<Spread> {
        self.spread(contender, measure, |cost, _| cost.seconds)
    }

    /// Millions of bytes that the store grew by.
    pub(super) fn added(&self, contender: &str, measure: Measure) -> Option<Spread> {
        self.spread(contender, measure, |_, added| megabytes(added))
    }
}

/// Shows what a run took.
pub(super) fn show(contender: &str, what: &str, cost: &Cost, added: u64) {
    println!(
        "{contender:<10} {what:<10} {:>7.1} s  cpu {:>6.1} s  memory {:>5} MB  read {:>6} MB  added {:>8.1} MB",
        cost.seconds,
        cost.cpu,
        cost.memory / 1_000_000,
        cost.read / 1_000_000,
        megabytes(added)
    );
}

/// Millions of bytes, with a fraction.
#[expect(clippy::cast_precision_loss, reason = "to be shown with one digit after the point")]
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_several() {
        let mut samples = Samples::default();
        assert!(samples.seconds("a", Measure::First).is_none());
        for seconds in [9.0, 1.0, 4.0, 5.0] {
            samples.add("a", Measure::First, Cost { seconds, ..Cost::default() }, 2_000_000, None);
        }
        samples.add("a", Measure::Change(1), Cost::default(), 0, None);
        let spread = samples.seconds("a", Measure::First).unwrap();
        assert!((spread.median - 4.5).abs() < 1e-9 && (spread.least - 1.0).abs() < 1e-9 && spread.count == 4);
        assert!((samples.added("a", Measure::First).unwrap().most - 2.0).abs() < 1e-9);
        assert!(samples.slow("a", Measure::First, 8.0) && !samples.slow("a", Measure::First, 9.0));
    }

    #[test]
    fn a_run_that_is_cut_off_goes_on_after_its_last_turn() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("samples.json");
        let mut samples = Samples::taken_up(&file, "this", &By::default());
        samples.add("a", Measure::Change(2), Cost::default(), 1, None);
        samples.end_turn(0, "a", &file).unwrap();
        samples.add("b", Measure::First, Cost::default(), 1, None);
        let again = Samples::taken_up(&file, "this", &By::default());
        assert!(again.has_turn(0, "a") && !again.has_turn(1, "a") && !again.has_turn(0, "b"));
        assert!(again.seconds("a", Measure::Change(2)).is_some() && again.seconds("b", Measure::First).is_none());
        assert!(!Samples::taken_up(&file, "that", &By::default()).has_turn(0, "a"));
    }
}
