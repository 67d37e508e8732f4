//! Cutting what was read into chunks, at the places that `Cuts` names.

use model::cuts::Cuts;
use model::units::{ByteLen, ByteOffset, Extent};
use store::{Bytes, Pieces};

/// No chunk is longer (docs/store-format.md, "Chunks and frames").
const MOST: u64 = 512 << 10;

/// Gathers used bytes, in rising order, into chunks.
pub(crate) struct Cutter<'a> {
    cuts: &'a Cuts,
    open: Option<Chunk>,
}

/// The used bytes between two cuts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Where they lie: rising, not touching.
    pub(crate) runs: Vec<Extent>,
    /// The bytes of all runs, one after the other.
    pub(crate) bytes: Pieces,
    /// Where the next chunk begins.
    end: u64,
}

impl<'a> Cutter<'a> {
    pub(crate) fn new(cuts: &'a Cuts) -> Self {
        Self { cuts, open: None }
    }

    /// Adds bytes, which lie behind all before; gives each chunk that is whole.
    ///
    /// # Errors
    /// The first of `each`.
    pub(crate) fn add<E>(
        &mut self,
        at: ByteOffset,
        bytes: &Bytes,
        each: &mut dyn FnMut(Chunk) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut at, mut done) = (at.0, 0);
        while done < bytes.len() {
            if self.open.as_ref().is_some_and(|open| at >= open.end) {
                self.close(each)?;
            }
            let open = self.open.get_or_insert_with(|| {
                let end = self.cuts.after(at).min(at.saturating_add(MOST));
                Chunk { runs: Vec::new(), bytes: Pieces::default(), end }
            });
            let room = usize::try_from(open.end.saturating_sub(at)).unwrap_or(usize::MAX).max(1);
            let Some(part) = bytes.part(done..bytes.len().min(done.saturating_add(room))) else { break };
            at += part.len() as u64;
            done += part.len();
            open.push(at - part.len() as u64, part);
        }
        Ok(())
    }

    /// Gives the last chunk.
    ///
    /// # Errors
    /// That of `each`.
    pub(crate) fn close<E>(&mut self, each: &mut dyn FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        self.open.take().map_or(Ok(()), each)
    }
}

impl Chunk {
    fn push(&mut self, at: u64, part: Bytes) {
        let grown = self.runs.last().filter(|r| r.end().0 == at).copied();
        let start = grown.map_or(at, |r| r.start().0);
        if grown.is_some() {
            self.runs.pop();
        }
        let len = ByteLen(at - start + part.len() as u64);
        // What was read of a volume ends within it, and so within 64 bits.
        self.runs.extend(Extent::new(ByteOffset(start), len));
        self.bytes.push(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(cuts: &Cuts, pieces: &[(u64, Vec<u8>)]) -> Vec<Chunk> {
        let (mut cutter, mut chunks) = (Cutter::new(cuts), Vec::new());
        let mut each = |chunk| {
            chunks.push(chunk);
            Ok::<(), ()>(())
        };
        for (at, bytes) in pieces {
            cutter.add(ByteOffset(*at), &bytes.clone().into(), &mut each).unwrap();
        }
        cutter.close(&mut each).unwrap();
        chunks
    }

    #[test]
    fn a_file_is_cut_from_its_start_and_its_neighbours_stay_out() {
        let mut cuts = Cuts::on_grid(4096, ByteLen(1 << 20));
        cuts.lay(5, 40, 0);
        let chunks = cut(&cuts, &[(0, vec![1; 60 * 4096])]);
        let starts: Vec<u64> = chunks.iter().map(|c| c.runs[0].start().0 / 4096).collect();
        assert_eq!(starts, [0, 5, 37, 45, 48]);
        // However it was read.
        let parts: Vec<(u64, Vec<u8>)> = (0..120).map(|i| (i * 2048, vec![1; 2048])).collect();
        assert_eq!(cut(&cuts, &parts), chunks);
    }

    proptest! {
        /// Every byte comes once, in its place, and no chunk crosses a cut.
        #[test]
        fn nothing_is_lost(
            files in prop::collection::vec((0u64..300, 1u64..90, 0u64..70), 0..12),
            pieces in prop::collection::vec((0u64..9, 1usize..9000), 0..40),
        ) {
            let mut cuts = Cuts::on_grid(1024, ByteLen(400 << 10));
            files.into_iter().for_each(|(at, len, from)| cuts.lay(at, len, from));
            let mut at = 0;
            let mut given = Vec::new();
            for (gap, len) in pieces {
                at += gap * 512;
                given.push((at, (at..at + len as u64).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<u8>>()));
                at += len as u64;
            }
            let chunks = cut(&cuts, &given);
            let mut there = Vec::new();
            for chunk in &chunks {
                let first = chunk.runs[0].start().0;
                prop_assert!(chunk.runs.last().unwrap().end().0 <= cuts.after(first).max(first + 1) || first >= 400 << 10);
                prop_assert!(chunk.runs.windows(2).all(|w| w[0].end() < w[1].start()));
                let places = chunk.runs.iter().flat_map(|r| r.start().0..r.end().0);
                there.extend(places.zip(chunk.bytes.iter().flatten().copied()));
            }
            let wanted: Vec<(u64, u8)> = given.iter().flat_map(|(at, b)| (*at..).zip(b.iter().copied())).collect();
            prop_assert_eq!(there, wanted);
        }
    }
}
