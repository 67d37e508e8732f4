//! The content of a file, readable by position.

use super::extent::{Packed, Run, What};
use super::files::{At, Files};
use crate::fs::FsError;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::io;
use std::sync::{Arc, Mutex};

/// A file. Holes and what was never written read as zeros; what is compressed is unpacked, one extent at a time.
pub(super) struct File {
    files: Arc<Files>,
    at: At,
    size: u64,
    /// The extent that was unpacked last: by which part of it, its bytes.
    unpacked: Mutex<Option<(Packed, Arc<Vec<u8>>)>>,
}

impl File {
    pub(super) fn open(files: Arc<Files>, at: At, size: u64) -> Self {
        Self { files, at, size, unpacked: Mutex::default() }
    }

    /// Reads what lies within one run, from byte `at`; gives how much was read. `buf` is not empty.
    fn read_some(&self, at: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        let run = self.files.run(self.at, at)?;
        let n = usize::try_from(run.end - at).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..n];
        let skipped = usize::try_from(at - run.from).unwrap_or(usize::MAX);
        match &run.what {
            What::Zeros => buf.fill(0),
            What::At(address) => self.files.reader.read_address(address.saturating_add(at - run.from), buf)?,
            What::Within(bytes) => copy(bytes, skipped, buf),
            What::Packed(packed) => copy(&self.unpack(&run, *packed)?, skipped, buf),
        }
        Ok(n)
    }

    fn unpack(&self, run: &Run, packed: Packed) -> Result<Arc<Vec<u8>>, FsError> {
        let mut last = self.unpacked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, bytes)) = last.as_ref().filter(|(known, _)| *known == packed) {
            return Ok(bytes.clone());
        }
        let bytes = Arc::new(self.files.unpack(run)?);
        *last = Some((packed, bytes.clone()));
        Ok(bytes)
    }
}

/// Fills `to` with what there is from `from` on, and zeros.
fn copy(bytes: &[u8], from: usize, to: &mut [u8]) {
    let there = bytes.get(from..).unwrap_or_default();
    let n = there.len().min(to.len());
    to[..n].copy_from_slice(&there[..n]);
    to[n..].fill(0);
}

impl ReadAt for File {
    fn size(&self) -> ByteLen {
        ByteLen(self.size)
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        let mut done = 0;
        while done < buf.len() {
            done += self.read_some(at.0 + done as u64, &mut buf[done..]).map_err(|e| match e {
                FsError::Io(e) => e,
                other => ReadError::Io {
                    at: at.0,
                    len: buf.len() as u64,
                    source: io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
                },
            })?;
        }
        Ok(())
    }
}
