//! What is called the same and what is called free, held against the bytes.

use crate::mutants::Mutants;
use disk::fs::FileSystem;
use disk::fs::ext4::{Ext4, Rule};
use model::coverage::{Changes, Comparison, Coverage};
use model::ports::ReadAt;
use model::units::{Extent, ExtentSet};
use qemu_tests::Result;
use std::sync::Arc;

/// The bytes of a disk, to be kept and read by several.
pub(crate) type Bytes = Arc<Vec<u8>>;

/// What a comparison gave.
pub(crate) struct Found {
    pub(crate) comparison: Comparison,
    /// Bytes in use that were called the same, and bytes in use.
    pub(crate) same: u64,
    pub(crate) used: u64,
    /// True where something differed that nobody called the same: there was something to find.
    pub(crate) differed: bool,
}

/// Opens a file system; `None` where it cannot be read without a journal that is elsewhere.
pub(crate) fn open(bytes: &Bytes) -> Option<Ext4> {
    Ext4::load(readable(bytes)).ok()
}

fn readable(bytes: &Bytes) -> Arc<dyn ReadAt> {
    Arc::clone(bytes) as Arc<dyn ReadAt>
}

/// Asks what is the same, and looks at every byte of the answer. The mutants are asked too: where one is wrong, it is caught.
pub(crate) fn compare(before: &Bytes, now: &Bytes, mutants: &mut Mutants, place: &str) -> Result<Found> {
    let Some(fs) = open(now) else {
        return Ok(Found { comparison: Comparison::Content, same: 0, used: 0, differed: true });
    };
    let changes = fs.changes(readable(before));
    let used = fs.coverage().used;
    let same = within(&changes, &used);
    if let Some(at) = differing(&same, before, now) {
        return Err(format!("byte {at} (block of 4 KiB {}) was called the same, and is not", at / 4096).into());
    }
    for rule in mutants.alive() {
        let wrong = within(&fs.changes_without(readable(before), rule), &used);
        if let Some(at) = differing(&wrong, before, now) {
            mutants.caught(rule, &format!("{place}: byte {at}"));
        }
    }
    let rest: ExtentSet = used.iter().flat_map(|e: Extent| same.gaps(e).iter().collect::<Vec<_>>()).collect();
    Ok(Found {
        comparison: changes.comparison,
        same: same.total().0,
        used: used.total().0,
        differed: differing(&rest, before, now).is_some(),
    })
}

/// What is called the same and is in use: the rest is not saved.
fn within(changes: &Changes, used: &ExtentSet) -> ExtentSet {
    used.iter().flat_map(|e| changes.same.clip(e).iter().collect::<Vec<_>>()).collect()
}

/// The first byte within a set that is not the same.
fn differing(set: &ExtentSet, before: &[u8], now: &[u8]) -> Option<usize> {
    set.iter().find_map(|e| {
        let range = bounds(e);
        let (a, b) = (&before[range.clone()], &now[range.clone()]);
        // Whole runs first: most are the same.
        if a == b {
            return None;
        }
        a.iter().zip(b).position(|(a, b)| a != b).map(|at| range.start + at)
    })
}

/// The disk as it is after everything that is called free was lost.
pub(crate) fn without_the_free(bytes: &Bytes, fs: &Ext4, rule: Option<Rule>) -> Vec<u8> {
    let Coverage { used, .. } = rule.map_or_else(|| fs.coverage(), |rule| fs.coverage_without(rule));
    let mut kept = vec![0xa5; bytes.len()];
    for range in used.iter().map(bounds) {
        kept[range.clone()].copy_from_slice(&bytes[range]);
    }
    kept
}

fn bounds(e: Extent) -> std::ops::Range<usize> {
    let at = |n: u64| usize::try_from(n).expect("a disk in memory");
    at(e.start().0)..at(e.end().0)
}
