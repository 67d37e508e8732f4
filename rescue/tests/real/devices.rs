//! Disks that work until a test says otherwise.

use model::id::DiskNo;
use model::ports::{Devices, DiskSource, LeaseError, LeaseRequest, ReadAt, ReadError, WriteError, WriteLease};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong.
#[derive(Default)]
pub(crate) struct Faults {
    /// Reading these bytes fails.
    pub(crate) unreadable: Mutex<Vec<(DiskNo, Range<u64>)>>,
    /// This disk takes no writes.
    pub(crate) protected: Mutex<Option<DiskNo>>,
    /// So many bytes are written, then it fails.
    pub(crate) room: Mutex<Option<u64>>,
    /// Reading these bytes takes until this is taken away.
    pub(crate) slow_read: Mutex<Option<(DiskNo, Range<u64>)>>,
    /// So many bytes are written, then it takes until this is taken away.
    pub(crate) slow_write: Mutex<Option<u64>>,
}

/// Waits until something is no longer so.
fn wait_while(so: impl Fn() -> bool) {
    while so() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Faults {
    fn read(&self, disk: DiskNo, at: ByteOffset, len: usize) -> Result<(), ReadError> {
        let wanted = at.0..at.0 + len as u64;
        let bad =
            |(no, range): &(DiskNo, Range<u64>)| *no == disk && range.start < wanted.end && wanted.start < range.end;
        wait_while(|| self.slow_read.lock().unwrap().as_ref().is_some_and(bad));
        match self.unreadable.lock().unwrap().iter().any(bad) {
            true => Err(ReadError::Io { at: at.0, len: len as u64, source: io::Error::from_raw_os_error(5) }),
            false => Ok(()),
        }
    }

    fn write(&self, at: ByteOffset, len: usize) -> Result<(), WriteError> {
        if let Some(left) = self.slow_write.lock().unwrap().as_mut() {
            *left = left.saturating_sub(len as u64);
        }
        wait_while(|| *self.slow_write.lock().unwrap() == Some(0));
        let mut room = self.room.lock().unwrap();
        if let Some(left) = room.as_mut() {
            let Some(less) = left.checked_sub(len as u64) else {
                *left = 0;
                return Err(WriteError::Io { what: "write", at: at.0, source: io::Error::from_raw_os_error(5) });
            };
            *left = less;
        }
        Ok(())
    }
}

/// Disks, and what goes wrong with them.
pub(crate) struct Faulty {
    inner: Arc<dyn Devices>,
    faults: Arc<Faults>,
}

impl Faulty {
    pub(crate) fn over(inner: Arc<dyn Devices>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

struct Bytes {
    inner: Arc<dyn ReadAt>,
    disk: DiskNo,
    faults: Arc<Faults>,
}

impl ReadAt for Bytes {
    fn size(&self) -> ByteLen {
        self.inner.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        self.faults.read(self.disk, at, buf.len())?;
        self.inner.read_exact_at(at, buf)
    }
}

impl Devices for Faulty {
    fn disks(&self) -> Vec<DiskSource> {
        let faulty = |disk: DiskSource| {
            let bytes = Arc::new(Bytes { inner: disk.bytes.clone(), disk: disk.no, faults: self.faults.clone() });
            let mut hardware = disk.hardware.clone();
            hardware.write_protected |= *self.faults.protected.lock().unwrap() == Some(disk.no);
            DiskSource { bytes, hardware, ..disk }
        };
        self.inner.disks().into_iter().map(faulty).collect()
    }

    fn lease(&self, request: &LeaseRequest) -> Result<Box<dyn WriteLease>, LeaseError> {
        let inner = self.inner.lease(request)?;
        Ok(Box::new(Lease { inner, faults: self.faults.clone() }))
    }

    fn holders(&self, disk: DiskNo, extent: Extent) -> Vec<DisplayText> {
        self.inner.holders(disk, extent)
    }

    fn are_named(&self) -> bool {
        self.inner.are_named()
    }
}

struct Lease {
    inner: Box<dyn WriteLease>,
    faults: Arc<Faults>,
}

impl WriteLease for Lease {
    fn size(&self) -> ByteLen {
        self.inner.size()
    }

    fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError> {
        self.faults.write(at, bytes.len())?;
        self.inner.write_all_at(at, bytes)
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        self.inner.sync()
    }

    fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        self.inner.read_back(at, buf)
    }

    fn read_first(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        self.inner.read_first(at, buf)
    }
}
