//! What lies in bytes that are lost, as it is found.

pub(super) mod census;

use super::FsError;
use model::files::{LostFiles, LostPath, MOST_PATHS};
use model::inspection::FileKind;
use model::text::{DisplayText, RawName};
use model::units::{Extent, ExtentSet};
use std::collections::BTreeSet;

/// Pieces of what was found before they are put together.
const MOST_PIECES: usize = 1 << 20;

/// Gathers what lies in lost bytes. Whatever a file system holds, it takes no more memory than a hundred paths and the lost
/// ranges themselves.
pub(super) struct Losses<'a> {
    lost: &'a ExtentSet,
    /// Lost bytes that belong to something.
    claimed: Vec<Extent>,
    paths: BTreeSet<LostPath>,
    found: LostFiles,
}

impl<'a> Losses<'a> {
    pub(super) fn new(lost: &'a ExtentSet) -> Self {
        Self { lost, claimed: Vec::new(), paths: BTreeSet::new(), found: LostFiles::default() }
    }

    /// True where any of these bytes is lost.
    pub(super) fn meets(&self, extent: Extent) -> bool {
        self.lost.meets(extent)
    }

    /// Says that bytes belong to something; true where any of them is lost.
    pub(super) fn claim(&mut self, extent: Extent) -> bool {
        let before = self.claimed.len();
        self.claimed.extend(self.lost.clip(extent).iter());
        let met = self.claimed.len() > before;
        if self.claimed.len() > MOST_PIECES {
            self.claimed = ExtentSet::from(std::mem::take(&mut self.claimed)).into();
        }
        met
    }

    /// Bytes of the file system's own structure.
    pub(super) fn metadata(&mut self, extent: Extent) {
        self.found.metadata |= self.claim(extent);
    }

    /// Bytes of the journal.
    pub(super) fn journal(&mut self, extent: Extent) {
        self.found.journal |= self.claim(extent);
    }

    /// Something that is lost has a name; no path where that is longer than a path can be.
    pub(super) fn name(&mut self, path: Option<Vec<u8>>, kind: FileKind) {
        self.found.count += 1;
        let Some(path) = path else { return self.unseen("some paths are longer than a path can be") };
        self.paths.insert(LostPath { path: RawName(path), kind });
        if self.paths.len() > MOST_PATHS {
            self.paths.pop_last();
        }
    }

    /// So many files have no name any more.
    pub(super) fn nameless(&mut self, count: u64) {
        self.found.nameless += count;
    }

    /// Not everything could be seen. The first reason is told.
    pub(super) fn unseen(&mut self, why: &str) {
        self.found.unseen.get_or_insert_with(|| DisplayText::new(why));
    }

    /// A map that cannot be followed: true where it cannot be read, and so is lost; else nobody knows.
    pub(super) fn broken(&mut self, e: &FsError) -> bool {
        if let FsError::Io(_) = e {
            return true;
        }
        self.unseen(&e.to_string());
        false
    }

    pub(super) fn finish(self) -> LostFiles {
        let claimed = ExtentSet::from(self.claimed).total();
        let mut found = self.found;
        found.paths = self.paths.into_iter().collect();
        found.unclaimed.0 = self.lost.total().0.saturating_sub(claimed.0);
        found
    }
}
