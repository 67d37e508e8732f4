//! Reading what comes next while somebody still looks at what came before.

use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Reads shorter than this do not belong to a row of reads.
const LEAST: usize = 64 << 10;

/// Something slow to read whose reader takes it piece after piece, and does something with each: the piece after the last one is read
/// on a thread meanwhile.
pub(crate) struct Ahead {
    inner: Arc<dyn ReadAt>,
    row: Mutex<Row>,
}

#[derive(Default)]
struct Row {
    /// Where the last piece ended.
    end: u64,
    next: Option<Next>,
}

/// A piece that is being read.
struct Next {
    at: u64,
    len: usize,
    bytes: JoinHandle<Option<Vec<u8>>>,
}

impl Ahead {
    pub(crate) fn new(inner: Arc<dyn ReadAt>) -> Self {
        Self { inner, row: Mutex::default() }
    }

    /// The piece that was read ahead, where it is this one and could be read.
    fn ready(&self, at: u64, len: usize) -> Option<Vec<u8>> {
        let next = self.row.lock().unwrap_or_else(PoisonError::into_inner).next.take()?;
        let bytes = next.bytes.join().ok()??;
        // The last piece of a row may be shorter than the others.
        (next.at == at && next.len >= len).then_some(bytes)
    }

    /// Goes on reading behind a piece that ends at `at`, where it is one of a row.
    fn go_on(&self, start: u64, len: usize) {
        let mut row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        let at = start + len as u64;
        let follows = row.end == start;
        row.end = at;
        let rest = ByteLen(self.size().0.saturating_sub(at)).to_usize().unwrap_or(usize::MAX);
        let len = len.min(rest);
        if !follows || len < LEAST {
            return;
        }
        let inner = self.inner.clone();
        let read = move || inner.read_vec(ByteOffset(at), len).ok();
        // Without a thread it is read when it is asked for.
        row.next = Builder::new().name("read-ahead".to_owned()).spawn(read).ok().map(|bytes| Next { at, len, bytes });
    }
}

impl ReadAt for Ahead {
    fn size(&self) -> ByteLen {
        self.inner.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        if buf.len() < LEAST {
            return self.inner.read_exact_at(at, buf);
        }
        match self.ready(at.0, buf.len()).as_deref().and_then(|bytes| bytes.get(..buf.len())) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => self.inner.read_exact_at(at, buf)?,
        }
        self.go_on(at.0, buf.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Counts bytes, and fails where it is told to.
    struct Slow(Vec<u8>, AtomicU64, u64);

    impl ReadAt for Slow {
        fn size(&self) -> ByteLen {
            ByteLen(self.0.len() as u64)
        }

        fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
            check_range(at, buf.len(), self.size())?;
            self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
            if (at.0..at.0 + buf.len() as u64).contains(&self.2) {
                let source = std::io::Error::from_raw_os_error(5);
                return Err(ReadError::Io { at: at.0, len: buf.len() as u64, source });
            }
            self.0.read_exact_at(at, buf)
        }
    }

    #[test]
    fn a_row_is_read_once_and_anything_else_as_asked() {
        let bytes: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
        let slow = Arc::new(Slow(bytes.clone(), AtomicU64::new(0), 700_000));
        let ahead = Ahead::new(slow.clone());
        let read = |at: usize, len: usize| {
            let got = ahead.read_vec(ByteOffset(at as u64), len);
            if let Ok(got) = &got {
                assert!(got == &bytes[at..at + len], "{len} bytes at {at}");
            }
            got.is_ok()
        };
        for piece in 0..4 {
            assert!(read(piece * 100_000, 100_000));
        }
        // A short end of the row, a jump, something small.
        assert!(read(400_000, 70_000) && read(100_000, 80_000) && read(5, 9) && read(180_000, 100_000));
        assert!(slow.1.load(Ordering::Relaxed) <= 1_200_000, "{} bytes were read", slow.1.load(Ordering::Relaxed));
        // What cannot be read is told to whoever asks for it.
        assert!(read(500_000, 100_000) && read(600_000, 90_000) && !read(690_000, 100_000) && read(790_000, 210_000));
        assert!(ahead.read_vec(ByteOffset(999_999), 2).is_err());
    }
}
