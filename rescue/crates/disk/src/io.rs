//! Views of bytes: a sparse overlay in memory over something readable, one that reads ahead, and a stream for libraries that
//! want to seek.

mod read_ahead;

pub use read_ahead::ReadAhead;

use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blocks in memory laid over something readable: how a journal is replayed without writing, and where a library that
/// insists on writing may write.
///
/// Memory is bounded: a write that would need more than `most` bytes of blocks is refused.
#[derive(Clone)]
pub struct Overlay {
    inner: Arc<dyn ReadAt>,
    block: usize,
    most: ByteLen,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

/// A write to an [`Overlay`] was refused.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The block under the write could not be read, or the write lies outside.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The overlay may not grow further.
    #[error("an overlay of more than {most} bytes would be needed")]
    Full {
        /// The bound.
        most: u64,
    },
}

impl Overlay {
    /// An overlay that so far changes nothing, in blocks of `block` bytes (at least 1), holding at most `most` bytes.
    pub fn new(inner: Arc<dyn ReadAt>, block: u32, most: ByteLen) -> Self {
        let block = usize::try_from(block.max(1)).unwrap_or(usize::MAX);
        Self { inner, block, most, blocks: BTreeMap::new() }
    }

    /// Lays `bytes` over the bytes from `at`. What was written later wins.
    ///
    /// # Errors
    /// [`OverlayError::Read`] where the range lies outside or the rest of a block cannot be read; [`OverlayError::Full`]
    /// where the bound is reached. Blocks before the failing one are changed then.
    pub fn write(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), OverlayError> {
        check_range(at, bytes.len(), self.size())?;
        let mut at = at.0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (no, within) = self.locate(at);
            let n = rest.len().min(self.block - within);
            let (now, later) = rest.split_at(n);
            self.block_mut(no)?[within..within + n].copy_from_slice(now);
            rest = later;
            at += n as u64;
        }
        Ok(())
    }

    /// Number of bytes held in memory.
    pub fn held(&self) -> ByteLen {
        ByteLen(self.blocks.len() as u64 * self.block as u64)
    }

    /// The block numbers (in units of the block size) that differ from what lies below, in rising order.
    pub fn changed(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.keys().copied()
    }

    /// The bytes that differ from what lies below, in whole blocks, joined where they touch, in rising order.
    ///
    /// # Errors
    /// [`ReadError`] where what lies below cannot be read.
    pub fn differences(&self) -> Result<Vec<(ByteOffset, Vec<u8>)>, ReadError> {
        let mut out: Vec<(ByteOffset, Vec<u8>)> = Vec::new();
        for (no, block) in &self.blocks {
            let start = no * self.block as u64;
            let there = usize::try_from(self.size().0 - start).unwrap_or(usize::MAX).min(self.block);
            if self.inner.read_vec(ByteOffset(start), there)? == block[..there] {
                continue;
            }
            match out.last_mut() {
                Some((at, bytes)) if at.0 + bytes.len() as u64 == start => bytes.extend_from_slice(&block[..there]),
                _ => out.push((ByteOffset(start), block[..there].to_vec())),
            }
        }
        Ok(out)
    }

    /// The block that holds byte `at`, and the place within it.
    fn locate(&self, at: u64) -> (u64, usize) {
        let block = self.block as u64;
        (at / block, usize::try_from(at % block).expect("less than the block size, which is a usize"))
    }

    fn block_mut(&mut self, no: u64) -> Result<&mut [u8], OverlayError> {
        if !self.blocks.contains_key(&no) {
            if self.held().0.saturating_add(self.block as u64) > self.most.0 {
                return Err(OverlayError::Full { most: self.most.0 });
            }
            // The last block may be shorter than the others; its tail past the end is never read.
            let start = no * self.block as u64;
            let there = usize::try_from(self.size().0 - start).unwrap_or(usize::MAX).min(self.block);
            let mut fresh = vec![0; self.block].into_boxed_slice();
            self.inner.read_exact_at(ByteOffset(start), &mut fresh[..there])?;
            self.blocks.insert(no, fresh);
        }
        Ok(self.blocks.get_mut(&no).expect("inserted above"))
    }
}

impl ReadAt for Overlay {
    fn size(&self) -> ByteLen {
        self.inner.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        if buf.is_empty() {
            return Ok(());
        }
        let (first, _) = self.locate(at.0);
        let (last, _) = self.locate(at.0 + (buf.len() as u64 - 1));
        // Reads what lies below between the changed blocks only: a changed block may be unreadable there.
        let mut done = 0;
        for (no, block) in self.blocks.range(first..=last) {
            let start = (no * self.block as u64).max(at.0);
            let end = (no * self.block as u64).saturating_add(self.block as u64).min(at.0 + buf.len() as u64);
            let from = usize::try_from(start - at.0).expect("inside the buffer");
            let to = usize::try_from(end - at.0).expect("inside the buffer");
            if from > done {
                self.inner.read_exact_at(ByteOffset(at.0 + done as u64), &mut buf[done..from])?;
            }
            let (_, within) = self.locate(start);
            buf[from..to].copy_from_slice(&block[within..within + (to - from)]);
            done = to;
        }
        if done < buf.len() {
            self.inner.read_exact_at(ByteOffset(at.0 + done as u64), &mut buf[done..])?;
        }
        Ok(())
    }
}

/// A seekable stream over something readable, for libraries that know no positional reads. What is written stays in a bounded
/// overlay; nothing below is changed.
///
/// It answers a bounded number of calls, so that a chain on the disk that runs in a circle ends in an error rather than never.
pub struct Stream {
    over: Overlay,
    at: u64,
    end: u64,
    calls: u64,
    /// The block read last: libraries ask for two bytes at a time.
    cache: Option<(u64, Vec<u8>)>,
}

const CACHE: u64 = 4096;

/// Calls a [`Stream`] answers in its life.
const STREAM_CALLS: u64 = 8_000_000;

impl Stream {
    /// A stream over `bytes` that keeps at most `most` bytes of writes.
    pub fn new(bytes: Arc<dyn ReadAt>, most: ByteLen) -> Self {
        Self::over(Overlay::new(bytes, 512, most))
    }

    /// A stream over an overlay that may have been written to already.
    pub fn over(over: Overlay) -> Self {
        let end = over.size().0;
        Self { over, at: 0, end, calls: STREAM_CALLS, cache: None }
    }

    /// The overlay, with all that was written.
    pub fn into_overlay(self) -> Overlay {
        self.over
    }

    fn spend(&mut self, len: usize) -> std::io::Result<usize> {
        self.calls = self
            .calls
            .checked_sub(1)
            .ok_or_else(|| std::io::Error::other("reading took too long: a chain on the disk runs in a circle"))?;
        Ok(usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(len))
    }

    /// Fills `buf`, which ends before the end, or a part of it.
    fn read_some(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        let start = self.at - self.at % CACHE;
        let len = ByteLen(CACHE.min(self.over.size().0.saturating_sub(start))).to_usize().unwrap_or(0);
        let within = usize::try_from(self.at - start).expect("less than a block");
        if buf.is_empty() {
            return Ok(0);
        }
        if buf.len() >= len {
            self.over.read_exact_at(ByteOffset(self.at), buf)?;
            return Ok(buf.len());
        }
        let block = match self.cache.take() {
            Some((at, block)) if at == start => block,
            _ => self.over.read_vec(ByteOffset(start), len)?,
        };
        let n = buf.len().min(block.len() - within);
        buf[..n].copy_from_slice(&block[within..within + n]);
        self.cache = Some((start, block));
        Ok(n)
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({} of {})", self.at, self.end)
    }
}

impl std::io::Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.spend(buf.len())?;
        let n = self.read_some(&mut buf[..n]).map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl std::io::Write for Stream {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.spend(buf.len())?;
        self.cache = None;
        self.over.write(ByteOffset(self.at), &buf[..n]).map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl std::io::Seek for Stream {
    fn seek(&mut self, pos: std::io::SeekFrom) -> std::io::Result<u64> {
        let to = match pos {
            std::io::SeekFrom::Start(n) => Some(n),
            std::io::SeekFrom::End(n) => self.end.checked_add_signed(n),
            std::io::SeekFrom::Current(n) => self.at.checked_add_signed(n),
        };
        self.at = to.ok_or_else(|| std::io::Error::other("seek before the start or past 64 bits"))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Reads and writes agree with a plain vector, whatever the block size.
        #[test]
        fn an_overlay_is_a_vector(
            size in 1usize..300,
            block in 1u32..40,
            writes in prop::collection::vec((0usize..300, prop::collection::vec(any::<u8>(), 0..60)), 0..12),
            reads in prop::collection::vec((0usize..300, 0usize..300), 0..12),
        ) {
            let base: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut plain = base.clone();
            let mut overlay = Overlay::new(Arc::new(base), block, ByteLen(10_000));
            for (at, bytes) in writes {
                let fits = at + bytes.len() <= size;
                prop_assert_eq!(overlay.write(ByteOffset(at as u64), &bytes).is_ok(), fits);
                if fits {
                    plain[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
            for (at, len) in reads {
                let got = overlay.read_vec(ByteOffset(at as u64), len).ok();
                prop_assert_eq!(got.as_deref(), plain.get(at..at + len));
            }
        }
    }

    proptest! {
        /// A stream reads, writes and seeks as a cursor over a vector does.
        #[test]
        fn a_stream_is_a_cursor(
            size in 1usize..20_000,
            steps in prop::collection::vec((0u64..20_000, 0usize..6000, any::<bool>()), 0..20),
        ) {
            use std::io::{Cursor, Read, Seek, SeekFrom, Write};
            let base: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut cursor = Cursor::new(base.clone());
            let mut stream = Stream::new(Arc::new(base), ByteLen(1 << 20));
            for (at, len, write) in steps {
                prop_assert_eq!(stream.seek(SeekFrom::Start(at)).unwrap(), at);
                cursor.seek(SeekFrom::Start(at)).unwrap();
                if write {
                    // A vector would grow; a disk does not.
                    let fits = usize::try_from((size as u64).saturating_sub(at)).unwrap().min(len);
                    if fits > 0 {
                        cursor.write_all(&vec![7; fits]).unwrap();
                    }
                    prop_assert_eq!(stream.write_all(&vec![7; len]).is_ok(), fits == len);
                } else {
                    let (mut a, mut b) = (Vec::new(), Vec::new());
                    (&mut stream).take(len as u64).read_to_end(&mut a).unwrap();
                    (&mut cursor).take(len as u64).read_to_end(&mut b).unwrap();
                    prop_assert_eq!(a, b);
                }
            }
        }
    }

    #[test]
    fn an_overlay_has_a_bound() {
        let mut o = Overlay::new(Arc::new(vec![0u8; 100]), 10, ByteLen(20));
        o.write(ByteOffset(5), &[1; 10]).unwrap();
        assert!(matches!(o.write(ByteOffset(50), &[1]), Err(OverlayError::Full { most: 20 })));
        assert_eq!(o.changed().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(o.held(), ByteLen(20));
    }

    #[test]
    fn an_overlay_tells_what_differs() {
        let mut o = Overlay::new(Arc::new(vec![0u8; 25]), 10, ByteLen(100));
        for (at, byte) in [(3, 0), (19, 1), (24, 2)] {
            o.write(ByteOffset(at), &[byte]).unwrap();
        }
        let differences = o.differences().unwrap();
        let [(at, bytes)] = differences.as_slice() else { panic!("{differences:?}") };
        assert_eq!((at.0, bytes.len(), bytes[9], bytes[14]), (10, 15, 1, 2), "what was written as it was is none");
    }
}
