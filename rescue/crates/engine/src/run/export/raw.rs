//! Writing a plain image: the bytes of the disk at their places, holes where there is nothing or zeros.

use super::Target;
use std::io;

/// Blocks of zeros of this length, the page of every file system that knows holes, are left out.
pub(super) const BLOCK: u64 = 4096;

/// An image being written.
pub(super) struct Raw<T> {
    file: T,
    size: u64,
    /// End of what was put so far.
    end: u64,
    written: u64,
}

impl<T: Target> Raw<T> {
    /// Begins an image of `size` bytes.
    ///
    /// # Errors
    /// Where the file system holds no file of that length.
    pub(super) fn new(mut file: T, size: u64) -> io::Result<Self> {
        file.set_len(size)?;
        Ok(Self { file, size, end: 0, written: 0 })
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(at, bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl<T: Target> super::Image for Raw<T> {
    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = super::check(at, bytes.len(), self.size)?;
        if at < self.end {
            return Err(super::disordered());
        }
        self.end = at + bytes.len() as u64;
        // Runs of blocks that are not zeros, cut where the file's blocks are.
        let mut run = 0..0;
        let mut from = 0;
        while from < bytes.len() {
            let left = BLOCK - (at + from as u64) % BLOCK;
            let to = usize::try_from(left).map_or(bytes.len(), |left| bytes.len().min(from + left));
            if bytes[from..to].iter().any(|b| *b != 0) {
                if run.is_empty() {
                    run.start = from;
                }
                run.end = to;
            } else if !run.is_empty() {
                self.write(at + run.start as u64, &bytes[run])?;
                run = 0..0;
            }
            from = to;
        }
        if run.is_empty() { Ok(()) } else { self.write(at + run.start as u64, &bytes[run]) }
    }

    fn finish(&mut self) -> io::Result<u64> {
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Image;
    use super::*;
    use proptest::prelude::*;

    /// Remembers what is written where.
    #[derive(Default)]
    struct Log {
        len: u64,
        writes: Vec<(u64, usize)>,
        bytes: Vec<u8>,
    }

    impl Target for &mut Log {
        fn set_len(&mut self, len: u64) -> io::Result<()> {
            self.len = len;
            Target::set_len(&mut self.bytes, len)
        }
        fn write_all_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            self.writes.push((at, bytes.len()));
            self.bytes.write_all_at(at, bytes)
        }
    }

    #[test]
    fn zeros_are_left_out_by_whole_blocks() {
        let mut log = Log::default();
        let mut image = Raw::new(&mut log, 40_000).unwrap();
        let mut bytes = vec![0; 5 * 4096];
        bytes[4095] = 1;
        bytes[4096] = 1;
        bytes[3 * 4096] = 1;
        // It begins within a block: the rest of that block is looked at by itself.
        image.put(1000, &bytes).unwrap();
        image.put(39_999, &[1]).unwrap();
        assert_eq!(image.finish().unwrap(), 2 * 4096 + 1);
        assert_eq!(log.writes, [(4096, 4096), (12_288, 4096), (39_999, 1)]);
        assert_eq!(log.bytes.len(), 40_000);
    }

    #[test]
    fn only_forward_and_not_past_the_end() {
        let mut image = Raw::new(Vec::new(), 10).unwrap();
        image.put(4, &[1, 2]).unwrap();
        assert!(image.put(5, &[1]).is_err());
        assert!(image.put(6, &[0; 5]).is_err());
    }

    proptest! {
        /// The file holds what was put, whatever of it was left out.
        #[test]
        fn what_was_put_is_there(pieces in prop::collection::vec((0u64..9000, 0u8..2, 0usize..20_000), 0..6)) {
            let (mut file, mut expected, mut at) = (Vec::new(), vec![0; 200_000], 0);
            let mut image = Raw::new(&mut file, 200_000).unwrap();
            for (gap, byte, len) in pieces {
                at += gap;
                image.put(at, &vec![byte; len]).unwrap();
                let start = usize::try_from(at).unwrap();
                expected[start..start + len].fill(byte);
                at += len as u64;
            }
            image.finish().unwrap();
            prop_assert!(file == expected);
        }
    }
}
