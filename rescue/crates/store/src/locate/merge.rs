//! Several runs into one, reading a few pages of each at a time.

use super::pages::Page;
use super::run::{Builder, Run};
use super::{Key, MOST_SAME, PackNo, Source};
use crate::error::StoreError;
use crate::layout::{big, small};
use model::id::Digest;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Pages read of a run at once: 128 KiB.
const AT_ONCE: u32 = 32;

/// Why runs were not merged.
pub(super) enum MergeError {
    /// A page of this run cannot be read.
    Read {
        /// Which.
        run: Digest,
        /// Why.
        error: StoreError,
    },
    /// There are no random bytes, or too many entries.
    Write(StoreError),
}

/// The object that has the entries of `runs` that are in the packs `named` (rising, each once); `None` where there are none.
pub(super) fn merge(
    source: &dyn Source,
    runs: &[Arc<Run>],
    named: &[(PackNo, Digest)],
) -> Result<Option<Vec<u8>>, MergeError> {
    let most = runs.iter().map(|run| big(run.entries)).sum();
    let builder = Builder::new(source, named.iter().map(|(_, id)| *id).collect(), most);
    let mut builder = builder.map_err(MergeError::Write)?;
    let mut cursors = runs.iter().map(|run| Cursor::new(source, run)).collect::<Result<Vec<_>, _>>()?;
    let mut next: BinaryHeap<Reverse<(Key, usize)>> = BinaryHeap::with_capacity(cursors.len());
    next.extend(cursors.iter().enumerate().filter_map(|(at, c)| c.entry().map(|(key, _)| Reverse((key, at)))));
    let mut same = Vec::new();
    while let Some(Reverse((key, _))) = next.peek().copied() {
        same.clear();
        while let Some(Reverse((_, at))) = next.peek().copied().filter(|Reverse((other, _))| *other == key) {
            let cursor = &mut cursors[at];
            if let Some((_, pack)) = cursor.entry()
                && let Some(no) = cursor.run.packs.get(big(pack))
                && let Ok(pack) = named.binary_search_by_key(no, |(no, _)| *no)
                && same.len() < MOST_SAME * 4
            {
                same.push(small(pack));
            }
            cursor.advance(source)?;
            next.pop();
            next.extend(cursor.entry().map(|(key, _)| Reverse((key, at))));
        }
        same.sort_unstable();
        same.dedup();
        same.truncate(MOST_SAME);
        same.iter().try_for_each(|pack| builder.push(&key, *pack)).map_err(MergeError::Write)?;
    }
    builder.finish().map_err(MergeError::Write)
}

/// Where a run is being read.
struct Cursor {
    run: Arc<Run>,
    /// Pages read and not used up, the next one last.
    pages: Vec<Page>,
    at: usize,
    /// The first page not read.
    next: u32,
}

impl Cursor {
    fn new(source: &dyn Source, run: &Arc<Run>) -> Result<Self, MergeError> {
        let mut cursor = Self { run: run.clone(), pages: Vec::new(), at: 0, next: 0 };
        cursor.fill(source)?;
        Ok(cursor)
    }

    fn entry(&self) -> Option<(Key, u32)> {
        self.pages.last()?.get(self.at)
    }

    fn advance(&mut self, source: &dyn Source) -> Result<(), MergeError> {
        self.at += 1;
        if self.pages.last().is_some_and(|page| self.at >= page.len()) {
            self.pages.pop();
            self.at = 0;
            if self.pages.is_empty() {
                self.fill(source)?;
            }
        }
        Ok(())
    }

    fn fill(&mut self, source: &dyn Source) -> Result<(), MergeError> {
        let read = self.run.read(source, self.next, AT_ONCE);
        self.pages = read.map_err(|error| MergeError::Read { run: self.run.id, error })?;
        self.next += small(self.pages.len());
        self.pages.reverse();
        Ok(())
    }
}
