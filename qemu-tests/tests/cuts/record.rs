//! What was measured and done so far.

use crate::point::Point;
use qemu_tests::Result;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// A rollback that was not cut, from its first write on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Uncut {
    /// Bytes written to the target's disk.
    pub(crate) bytes: u64,
    /// In so many requests.
    pub(crate) requests: u64,
    /// From the first to the last.
    pub(crate) millis: u64,
}

/// A cut after which everything was right.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Which.
    pub(crate) number: u64,
    /// Where it was meant to be.
    pub(crate) point: Point,
    /// Bytes that were written when it was last asked for.
    pub(crate) written: u64,
    /// Partitions on which a fence stood.
    pub(crate) fenced: Vec<u32>,
    /// What was done then, or how the disk was found.
    pub(crate) seen: String,
    /// Seconds that all of it took.
    pub(crate) seconds: f64,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, point, written, fenced, seen, seconds } = self;
        write!(f, "cut {number} ({point:?}): {written} bytes written, fences on {fenced:?}; {seen}; {seconds:.1} s")
    }
}

/// All of it, in a file of the folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What it was made of: another image or target begins anew.
    pub(crate) made_of: String,
    pub(crate) uncut: Uncut,
    pub(crate) done: Vec<Done>,
}

const NAME: &str = "record.json";

impl Record {
    /// What is kept in a folder; `None` where there is nothing that can be gone on with.
    pub(crate) fn kept(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(NAME)).ok()?).ok()
    }

    /// Keeps it there, whole or not at all.
    pub(crate) fn keep(&self, folder: &Path) -> Result<()> {
        let beside = folder.join("record.partial");
        fs::write(&beside, serde_json::to_vec_pretty(self)?)?;
        Ok(fs::rename(beside, folder.join(NAME))?)
    }

    /// Tells what the cuts were, and that they were what they should be: most of them in the middle.
    pub(crate) fn sum_up(&self, wanted: u64, say: &mut dyn FnMut(&str)) -> Result<()> {
        let done: Vec<&Done> = self.done.iter().filter(|d| d.number < wanted).collect();
        let fenced: Vec<&&Done> = done.iter().filter(|d| !d.fenced.is_empty()).collect();
        let tenth = |d: &Done| (d.written * 10 / self.uncut.bytes.max(1)).min(9);
        let places: Vec<usize> = (0..10).map(|i| done.iter().filter(|d| tenth(d) == i).count()).collect();
        let ways = |what: &str| fenced.iter().filter(|d| d.seen.starts_with(what)).count();
        let rescue = fenced.iter().filter(|d| d.seen.contains("in the rescue")).count();
        let mut seconds: Vec<f64> = done.iter().map(|d| d.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        say(&format!(
            "{} cuts; by tenths of what is written: {places:?}; {} left fences: {} were finished, {} undone, {rescue} of these in the \
             rescue; half of them took at most {:.1} s",
            done.len(),
            fenced.len(),
            ways("Finish"),
            ways("Undo"),
            seconds.get(seconds.len() / 2).copied().unwrap_or_default(),
        ));
        match fenced.len() * 2 > done.len() {
            true => Ok(()),
            false => Err("most cuts left no fence: they were not in the middle of anything".into()),
        }
    }
}
