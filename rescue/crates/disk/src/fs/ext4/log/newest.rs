//! The newest commit that is still to be seen in a log, be it carried out already: the last sign of life.

use super::{Committed, Kind, Log, not_before};
use crate::fs::FsError;

impl Log {
    /// The newest transaction still to be seen in the log; reads at most `most` blocks. Those already carried out stay in the
    /// log until they are written over.
    ///
    /// # Errors
    /// [`FsError::Io`] where the log cannot be read.
    pub(in super::super) fn newest(&mut self, most: u32) -> Result<Option<Committed>, FsError> {
        if self.start != 0 {
            if let Some(newest) = self.walk(self.start, self.sequence, most)?.newest {
                return Ok(Some(newest));
            }
            return self.commit_before(self.start, most);
        }
        let before_end = match self.ends_at() {
            Some(head) => self.commit_before(head, most)?,
            None => None,
        };
        let last = |found: &Committed| found.sequence.wrapping_add(1) == self.sequence;
        if before_end.as_ref().is_some_and(last) {
            return Ok(before_end);
        }
        // Kernels before 6.4 begin at the first block again with each mount, and leave the end as they found it: it may lie in the middle of
        // what they wrote.
        let Some((at, sequence)) = self.first_header(self.first, self.last, most)? else { return Ok(before_end) };
        let found = self.last_from(at, sequence, most)?.filter(|found| found.sequence.wrapping_add(1) == self.sequence);
        let from_first = match found {
            Some(found) => Some(found),
            None => self.walk(at, sequence, most)?.newest,
        };
        let from_first = from_first.filter(|newest| !not_before(newest.sequence, self.sequence));
        Ok(match (before_end, from_first) {
            (Some(end), Some(first)) if not_before(end.sequence, first.sequence) => Some(end),
            (end, first) => first.or(end),
        })
    }

    /// The last commit of those that follow each other from block `at` on, where transaction `sequence` lies: behind it are older ones, so
    /// that halving finds it. Of a log of 64 MiB that reads 2 MiB, and not all.
    fn last_from(&mut self, at: u32, sequence: u32, most: u32) -> Result<Option<Committed>, FsError> {
        let (mut newer, mut older) = (at, self.last);
        while older - newer > 1 {
            let middle = newer + (older - newer) / 2;
            match self.first_header(middle, older, most)? {
                Some((at, found)) if not_before(found, sequence) && !not_before(found, self.sequence) => newer = at,
                _ => older = middle,
            }
        }
        self.commit_before(self.after(newer, 1), 1)
    }

    /// The first block from `from` up to `to` that is no copy of another block, and its transaction. Copies that follow each other are at
    /// most as many as a descriptor block names (a tag takes eight bytes at least), and none is taken for anything else, since a magic
    /// number in them is blanked. Where a session goes round the log, copies of a transaction that began at its end come first.
    fn first_header(&mut self, from: u32, to: u32, most: u32) -> Result<Option<(u32, u32)>, FsError> {
        let tags = u32::try_from(self.reader.block_len() / 8).unwrap_or(u32::MAX);
        for at in (from..to).take(usize::try_from(tags.min(most)).unwrap_or(usize::MAX)) {
            if let Some((_, sequence)) = self.header(at)? {
                return Ok(Some((at, sequence)));
            }
        }
        Ok(None)
    }

    /// Where the log ended when it was last emptied, by a kernel that says so.
    fn ends_at(&self) -> Option<u32> {
        (self.first..self.last).contains(&self.head).then_some(self.head)
    }

    /// The newest transaction of a log with nothing to be replayed, and the number of the next. `None` where it is not known which is the
    /// newest: e2fsck replays a log and leaves the place where it began for that where it ends.
    ///
    /// # Errors
    /// As [`Log::newest`].
    pub(in super::super) fn end(&mut self, most: u32) -> Result<Option<(Committed, u32)>, FsError> {
        if self.start != 0 {
            return Ok(None);
        }
        let Some(newest) = self.newest(most)? else { return Ok(None) };
        let goes_on = self.ends_at().map(|head| self.header(head)).transpose()?.flatten();
        let newer = |(_, sequence)| {
            not_before(sequence, newest.sequence.wrapping_add(1)) && !not_before(sequence, self.sequence)
        };
        Ok((!goes_on.is_some_and(newer)).then_some((newest, self.sequence)))
    }

    /// The commit block nearest before block `at` that is older than the log's next transaction.
    fn commit_before(&mut self, at: u32, most: u32) -> Result<Option<Committed>, FsError> {
        // A transaction ends with its commit block, so that it is the very one before, unless something was cut off.
        const MOST_BACK: u32 = 64;
        for back in 1..=MOST_BACK.min(most).min(self.len()) {
            let before = self.after(at, self.len() - back);
            if let Some((Some(Kind::Commit), sequence)) = self.header(before)?
                && !not_before(sequence, self.sequence)
                && self.commit_holds(before)?
            {
                return Ok(Some(Committed { sequence, at: i64::try_from(self.committed(before)?).ok() }));
            }
        }
        Ok(None)
    }
}
