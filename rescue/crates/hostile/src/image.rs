//! Images in memory: without their holes, and with changes laid over them.

use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

const BLOCK: usize = 4096;
const ZERO: [u8; BLOCK] = [0; BLOCK];

type Blocks = BTreeMap<u64, Box<[u8; BLOCK]>>;

/// An image: what it was, and what was changed of it. Cheap to clone as long as little is changed.
#[derive(Clone)]
pub(crate) struct Image {
    size: u64,
    base: Arc<Blocks>,
    changed: Blocks,
}

impl Image {
    /// One of zeros.
    pub(crate) fn blank(size: u64) -> Self {
        Self { size, base: Arc::default(), changed: Blocks::new() }
    }

    /// One that is kept compressed.
    ///
    /// # Panics
    /// Where it is no such thing: it is part of this program.
    pub(crate) fn unpack(kept: &[u8]) -> Self {
        let mut from = zstd::stream::read::Decoder::new(kept).expect("a frame of zstd");
        from.window_log_max(27).expect("a window that zstd knows");
        let (mut size, mut blocks) = (0, Blocks::new());
        loop {
            let mut block = Box::new(ZERO);
            let mut n = 0;
            while n < BLOCK {
                match from.read(&mut block[n..]).expect("a whole frame") {
                    0 => break,
                    more => n += more,
                }
            }
            if *block != ZERO {
                blocks.insert(size / BLOCK as u64, block);
            }
            size += n as u64;
            if n < BLOCK {
                return Self { size, base: Arc::new(blocks), changed: Blocks::new() };
            }
        }
    }

    /// Bytes that are there.
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut image = Self::blank(bytes.len() as u64);
        image.put(0, bytes);
        image.settled()
    }

    /// The `nth` of images of `size` bytes each (whole blocks) that lie in it, one behind the other; without changes.
    pub(crate) fn part(&self, nth: u64, size: u64) -> Self {
        let blocks = size / BLOCK as u64;
        let own = self.base.range(nth * blocks..(nth + 1) * blocks);
        let base = own.map(|(number, block)| (number - nth * blocks, block.clone())).collect();
        Self { size, base: Arc::new(base), changed: Blocks::new() }
    }

    /// What it is by now is what it was.
    pub(crate) fn settled(self) -> Self {
        let mut base = Arc::unwrap_or_clone(self.base);
        base.extend(self.changed);
        Self { size: self.size, base: Arc::new(base), changed: Blocks::new() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.size
    }

    /// Lays bytes over it; those past its end are lost.
    pub(crate) fn put(&mut self, at: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let place = at.saturating_add(done as u64);
            if place >= self.size {
                return;
            }
            let (number, within) = split(place);
            let n = (BLOCK - within).min(bytes.len() - done).min(clamped(self.size - place));
            let base = &self.base;
            let block =
                self.changed.entry(number).or_insert_with(|| base.get(&number).cloned().unwrap_or(Box::new(ZERO)));
            block[within..within + n].copy_from_slice(&bytes[done..done + n]);
            done += n;
        }
    }

    /// Bytes of it; what lies past its end reads as zeros.
    pub(crate) fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        let there = clamped(self.size.saturating_sub(at)).min(len);
        self.copy(at, &mut out[..there]);
        out
    }

    /// A little-endian number of `len` bytes, at most 8.
    pub(crate) fn le(&self, at: u64, len: usize) -> u64 {
        self.get(at, len.min(8)).iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
    }

    /// A big-endian number of `len` bytes, at most 8.
    pub(crate) fn be(&self, at: u64, len: usize) -> u64 {
        self.get(at, len.min(8)).iter().fold(0, |n, b| n << 8 | u64::from(*b))
    }

    /// Where its blocks of 4096 bytes begin that were not zero.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = u64> + '_ {
        self.base.keys().map(|n| n * BLOCK as u64)
    }

    /// As something to read.
    pub(crate) fn bytes(&self) -> Arc<dyn ReadAt> {
        Arc::new(self.clone())
    }

    fn copy(&self, at: u64, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let (number, within) = split(at + done as u64);
            let n = (BLOCK - within).min(out.len() - done);
            match self.changed.get(&number).or_else(|| self.base.get(&number)) {
                Some(block) => out[done..done + n].copy_from_slice(&block[within..within + n]),
                None => out[done..done + n].fill(0),
            }
            done += n;
        }
    }
}

/// The number of the block that holds a byte, and the place within.
fn split(at: u64) -> (u64, usize) {
    (at / BLOCK as u64, clamped(at % BLOCK as u64))
}

fn clamped(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl ReadAt for Image {
    fn size(&self) -> ByteLen {
        ByteLen(self.size)
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        self.copy(at.0, buf);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_lie_over_what_was_there() {
        let mut image = Image::of(&[7; 5000]);
        let was = image.clone();
        image.put(4090, &[1; 10]);
        image.put(4999, &[2; 10]);
        assert_eq!(image.get(4088, 4), [7, 7, 1, 1]);
        assert_eq!(image.get(4998, 4), [7, 2, 0, 0]);
        assert_eq!((was.get(4090, 1), image.le(4089, 2), image.be(4089, 2)), (vec![7], 0x0107, 0x0701));
        assert!(image.read_vec(ByteOffset(4999), 2).is_err());
    }
}
