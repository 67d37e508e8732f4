//! What tests ask of an index: what it holds, and what memory it takes.

use super::lookup::Index;
use super::{Pack, PackNo};
use model::id::Digest;

/// Bytes of memory that an index takes, computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Numbers, ids and flags of packs.
    pub(super) packs: usize,
    /// Heads of runs.
    pub(super) runs: usize,
    /// Entries that no run has.
    pub(super) recent: usize,
    /// Chunks of packs that no run names.
    pub(super) hints: usize,
    /// Pages read lately.
    pub(super) pages: usize,
}

impl Sizes {
    /// All of it.
    pub(super) fn total(&self) -> usize {
        self.packs + self.runs + self.recent + self.hints + self.pages
    }
}

impl Index {
    /// Every pack that is there.
    pub(super) fn packs(&self) -> Vec<(PackNo, Pack)> {
        let state = self.state();
        state.packs.iter().filter(|(_, known)| known.present).map(|(no, known)| (no, known.pack)).collect()
    }

    /// False where packs without an index have more chunks than fit memory: a chunk that is not found may still be there.
    /// Reading packs whole ([`Index::set_trust`]) and [`Index::flush`] mend that.
    pub(super) fn is_complete(&self) -> bool {
        !self.state().packs.iter().any(|(_, known)| known.is_uncovered())
    }

    /// The index objects in use and how many entries each has.
    pub(super) fn runs(&self) -> Vec<(Digest, u32)> {
        self.state().runs.iter().map(|run| (run.id, run.entries)).collect()
    }

    /// Bytes of memory, computed.
    pub(super) fn sizes(&self) -> Sizes {
        let state = self.state();
        Sizes {
            packs: state.packs.size(),
            runs: state.runs.iter().map(|run| run.size()).sum(),
            // A node of the tree is about two thirds full.
            recent: state.recent.len() * 30 + state.leaving.len() * 20,
            hints: state.hints.size(),
            pages: self.pages.size(),
        }
    }
}
