//! Small reads answered from larger ones.

use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Something readable, read in aligned windows of which the last ones used are kept: for what lies behind a socket or a
/// decompressor, where a read of four bytes costs as much as one of a window.
///
/// A window that cannot be read whole costs nothing of what lies beside the fault: then exactly what was asked for is read.
pub struct ReadAhead {
    inner: Arc<dyn ReadAt>,
    window: usize,
    most: usize,
    /// Windows by their number, the one used last at the end.
    kept: Mutex<VecDeque<(u64, Arc<[u8]>)>>,
}

impl ReadAhead {
    /// Windows of `window` bytes (at least 1), `most` of them kept.
    pub fn new(inner: Arc<dyn ReadAt>, window: usize, most: usize) -> Self {
        Self { inner, window: window.max(1), most: most.max(1), kept: Mutex::default() }
    }

    /// A window, or `None` where it cannot be read.
    fn window(&self, no: u64) -> Option<Arc<[u8]>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(known, _)| *known == no) {
            let found = kept.remove(at)?;
            let bytes = found.1.clone();
            kept.push_back(found);
            return Some(bytes);
        }
        let start = no.checked_mul(self.window as u64)?;
        let left = ByteLen(self.size().0.checked_sub(start)?).to_usize().unwrap_or(usize::MAX);
        let bytes: Arc<[u8]> = self.inner.read_vec(ByteOffset(start), left.min(self.window)).ok()?.into();
        if kept.len() >= self.most {
            kept.pop_front();
        }
        kept.push_back((no, bytes.clone()));
        Some(bytes)
    }
}

impl ReadAt for ReadAhead {
    fn size(&self) -> ByteLen {
        self.inner.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        if buf.len() >= self.window {
            return self.inner.read_exact_at(at, buf);
        }
        let mut done = 0;
        while done < buf.len() {
            let here = at.0 + done as u64;
            let within = usize::try_from(here % self.window as u64).expect("less than a window, which is a usize");
            let n = (self.window - within).min(buf.len() - done);
            let part = &mut buf[done..done + n];
            match self.window(here / self.window as u64).as_ref().and_then(|w| w.get(within..within + n)) {
                Some(bytes) => part.copy_from_slice(bytes),
                None => self.inner.read_exact_at(ByteOffset(here), part)?,
            }
            done += n;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io;

    /// Bytes with a hole that cannot be read.
    struct Holed(Vec<u8>, std::ops::Range<usize>);

    impl ReadAt for Holed {
        fn size(&self) -> ByteLen {
            self.0.size()
        }
        fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
            self.0.read_exact_at(at, buf)?;
            let start = usize::try_from(at.0).unwrap();
            if start.max(self.1.start) < (start + buf.len()).min(self.1.end) {
                return Err(ReadError::Io { at: at.0, len: buf.len() as u64, source: io::Error::other("a hole") });
            }
            Ok(())
        }
    }

    proptest! {
        /// It reads what lies below, and fails where that fails, whatever the windows.
        #[test]
        fn it_reads_what_lies_below(
            size in 1usize..400,
            window in 1usize..70,
            most in 1usize..4,
            hole in (0usize..400, 0usize..20),
            reads in prop::collection::vec((0u64..420, 0usize..90), 1..30),
        ) {
            let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let below = Arc::new(Holed(bytes, hole.0..hole.0 + hole.1));
            let ahead = ReadAhead::new(below.clone(), window, most);
            for (at, len) in reads {
                let (is, wanted) = (ahead.read_vec(ByteOffset(at), len), below.read_vec(ByteOffset(at), len));
                prop_assert_eq!(is.ok(), wanted.ok());
            }
        }
    }
}
