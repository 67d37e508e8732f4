//! A whole disk as a snapshot has it, read by position: its table and its volumes at their places, zeros between them.

use crate::run::export::layout::{Layout, Part};
use crate::run::saved::Saved;
use disk::io::ReadAhead;
use model::ports::{ReadAt, ReadError, check_range};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset};
use std::sync::{Arc, Mutex, PoisonError};
use store::Store;

/// What is read of a store at once where little is wanted, and how many such windows are kept of a disk: a machine that starts
/// reads a file in pieces of 4 to 128 KiB, and most files more than once. 64 MiB.
const WINDOW: usize = 128 << 10;
const WINDOWS: usize = 512;

/// A disk of a snapshot.
pub(super) struct SavedDisk {
    size: ByteLen,
    /// In rising order of place, none over another.
    parts: Vec<(Part, Saved)>,
    trouble: Arc<Trouble>,
}

/// What could not be read of a store, the first time.
#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<DisplayText>>);

impl Trouble {
    /// What it was.
    pub(super) fn first(&self) -> Option<DisplayText> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, e: &ReadError) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| DisplayText::new(&e.to_string()));
    }
}

/// The disk of a layout. What cannot be read of the store is an error to whoever reads, and noted.
pub(super) fn saved(store: &Store, layout: &Layout, trouble: &Arc<Trouble>) -> Arc<dyn ReadAt> {
    let part = |part: &Part| (*part, Saved::new(store.clone(), part.map, ByteLen(part.within.end().0)));
    let parts = layout.parts.iter().map(part).collect();
    let disk = SavedDisk { size: layout.size, parts, trouble: trouble.clone() };
    Arc::new(ReadAhead::new(Arc::new(disk), WINDOW, WINDOWS))
}

impl ReadAt for SavedDisk {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size)?;
        buf.fill(0);
        let (start, end) = (at.0, at.0 + buf.len() as u64);
        let first = self.parts.partition_point(|(p, _)| p.at + p.within.len().0 <= start);
        for (part, saved) in self.parts[first..].iter().take_while(|(p, _)| p.at < end) {
            let from = part.at.max(start);
            let to = (part.at + part.within.len().0).min(end);
            let place = |at: u64| usize::try_from(at - start).expect("within a buffer");
            let there = ByteOffset(part.within.start().0 + (from - part.at));
            saved.read_exact_at(there, &mut buf[place(from)..place(to)]).inspect_err(|e| self.trouble.note(e))?;
        }
        Ok(())
    }
}
