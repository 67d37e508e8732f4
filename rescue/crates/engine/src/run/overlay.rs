//! What is written beside a saved disk or volume: pages over bytes that are only read. A virtual machine writes there, and so does
//! the kernel where a state is composed.
//!
//! Pages lie in memory first, beyond that in a scratch file without a name, and are gone with the run. A view is the disk as
//! it was at one moment, as a power cut would have left it; whoever writes goes on beside it.

use model::ports::{ReadAt, ReadError, check_range};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is kept as one: the page of every file system that may lie there.
const PAGE: usize = 4096;

/// Where pages of all disks of a run lie, and how many there may be.
pub(super) struct Room {
    /// Bytes that may lie in memory.
    memory: u64,
    /// Bytes that may be written in all.
    most: u64,
    /// Where the scratch file is made when it is needed.
    dir: PathBuf,
    held: AtomicU64,
    /// Pages that were written, of zeros too: what tells of them takes memory.
    pages: AtomicU64,
    scratch: Mutex<Scratch>,
}

/// The scratch file, and which pages of it are in use.
#[derive(Default)]
struct Scratch {
    file: Option<Arc<File>>,
    /// Pages it has; none beyond was ever used.
    pages: u64,
    free: Vec<u64>,
    /// Why nothing more could be taken, the first time.
    full: Option<DisplayText>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Room {
    pub(super) fn new(memory: ByteLen, most: ByteLen, dir: PathBuf) -> Arc<Self> {
        let (held, pages, scratch) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::default());
        Arc::new(Self { memory: memory.0, most: most.0, dir, held, pages, scratch })
    }

    /// Why nothing more could be written, where that happened.
    pub(super) fn full(&self) -> Option<DisplayText> {
        lock(&self.scratch).full.clone()
    }

    /// Counts a page that was not written before.
    fn count(&self) -> io::Result<()> {
        let page = PAGE as u64;
        if (self.pages.fetch_add(1, Ordering::Relaxed) + 1).saturating_mul(page) <= self.most {
            return Ok(());
        }
        self.pages.fetch_sub(1, Ordering::Relaxed);
        let says = format!("more than {} was written", ByteLen(self.most));
        lock(&self.scratch).full.get_or_insert_with(|| DisplayText::new(&says));
        Err(io::Error::new(io::ErrorKind::StorageFull, says))
    }

    /// Keeps a page.
    fn keep(self: &Arc<Self>, bytes: &[u8; PAGE]) -> io::Result<Page> {
        let page = PAGE as u64;
        let before = self.held.fetch_add(page, Ordering::Relaxed);
        if before + page <= self.memory {
            return Ok(Page::Held(Arc::new(Held { bytes: Box::new(*bytes), room: self.clone() })));
        }
        self.held.fetch_sub(page, Ordering::Relaxed);
        let (file, no) = self.slot().inspect_err(|e| {
            lock(&self.scratch).full.get_or_insert_with(|| DisplayText::new(&e.to_string()));
        })?;
        let slot = Slot { no, file, room: self.clone() };
        slot.file.write_all_at(bytes, no * page).inspect_err(|e| {
            let says = format!("the scratch file in {} cannot be written: {e}", self.dir.display());
            lock(&self.scratch).full.get_or_insert_with(|| DisplayText::new(&says));
        })?;
        Ok(Page::Spilled(Arc::new(slot)))
    }

    /// A page of the scratch file that nobody uses.
    fn slot(&self) -> io::Result<(Arc<File>, u64)> {
        let mut scratch = lock(&self.scratch);
        let file = match &scratch.file {
            Some(file) => file.clone(),
            None => {
                let made = sys::scratch_file::unnamed(&self.dir).map_err(|e| {
                    io::Error::new(e.kind(), format!("no scratch file can be made in {}: {e}", self.dir.display()))
                })?;
                scratch.file.insert(Arc::new(made)).clone()
            }
        };
        if let Some(no) = scratch.free.pop() {
            return Ok((file, no));
        }
        // A view may hold what was written over since: as much again.
        if (scratch.pages + 1) * PAGE as u64 > self.most.saturating_mul(2) {
            let says = format!("more than {} was written", ByteLen(self.most));
            return Err(io::Error::new(io::ErrorKind::StorageFull, says));
        }
        let no = scratch.pages;
        scratch.pages += 1;
        Ok((file, no))
    }
}

/// A page in memory.
struct Held {
    bytes: Box<[u8; PAGE]>,
    room: Arc<Room>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.held.fetch_sub(PAGE as u64, Ordering::Relaxed);
    }
}

/// A page in the scratch file.
struct Slot {
    no: u64,
    file: Arc<File>,
    room: Arc<Room>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.room.scratch).free.push(self.no);
    }
}

/// What was written to a page of a disk.
#[derive(Clone)]
enum Page {
    Zero,
    Held(Arc<Held>),
    Spilled(Arc<Slot>),
}

type Pages = BTreeMap<u64, Page>;

/// A disk that is written to beside what it is made of.
pub(super) struct Overlay {
    base: Arc<dyn ReadAt>,
    room: Arc<Room>,
    pages: Mutex<Pages>,
    writes: AtomicU64,
}

impl Overlay {
    pub(super) fn new(base: Arc<dyn ReadAt>, room: Arc<Room>) -> Arc<Self> {
        Arc::new(Self { base, room, pages: Mutex::default(), writes: AtomicU64::new(0) })
    }

    /// How often it was written to: what has the same number was not.
    #[cfg(feature = "prove")]
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Bytes of it that were written, by whole pages.
    #[cfg(feature = "prove")]
    pub(super) fn written(&self) -> ByteLen {
        ByteLen(lock(&self.pages).len() as u64 * PAGE as u64)
    }

    /// Where it was written to, by whole pages.
    pub(super) fn changed(&self) -> ExtentSet {
        let size = self.size().0;
        let page = |no: &u64| Extent::between(no * PAGE as u64, ((no + 1) * PAGE as u64).min(size));
        lock(&self.pages).keys().filter_map(page).collect()
    }

    /// The disk as it is now: what is written from now on does not show.
    pub(super) fn view(&self) -> Arc<dyn ReadAt> {
        Arc::new(View { base: self.base.clone(), pages: lock(&self.pages).clone() })
    }

    /// Writes bytes. After an error some of them may be there.
    ///
    /// # Errors
    /// Where there is no room, the bytes do not lie within the disk, or a page cannot be completed from what lies below.
    pub(super) fn write(&self, at: ByteOffset, bytes: &[u8]) -> io::Result<()> {
        self.put(at, bytes.len() as u64, Some(bytes))
    }

    /// Makes bytes zero.
    ///
    /// # Errors
    /// As [`Overlay::write`].
    pub(super) fn zero(&self, at: ByteOffset, len: ByteLen) -> io::Result<()> {
        self.put(at, len.0, None)
    }

    fn put(&self, at: ByteOffset, len: u64, bytes: Option<&[u8]>) -> io::Result<()> {
        let end = at.0.checked_add(len).filter(|end| *end <= self.size().0);
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut pages = lock(&self.pages);
        let mut here = at.0;
        while here < end {
            let no = here / PAGE as u64;
            let from = within(here);
            let n = (PAGE - from).min(usize::try_from(end - here).unwrap_or(PAGE));
            let done = usize::try_from(here - at.0).map_err(io::Error::other)?;
            let new = bytes.map(|bytes| &bytes[done..done + n]);
            let page = match new {
                None if n == PAGE => Page::Zero,
                _ => {
                    let mut page = [0; PAGE];
                    if n < PAGE {
                        // The end of a disk may lie within a page.
                        let there = usize::try_from(self.size().0 - no * PAGE as u64).unwrap_or(PAGE).min(PAGE);
                        fill(&*self.base, pages.get(&no), no, &mut page[..there]).map_err(io::Error::other)?;
                    }
                    match new {
                        Some(new) => page[from..from + n].copy_from_slice(new),
                        None => page[from..from + n].fill(0),
                    }
                    if page == [0; PAGE] { Page::Zero } else { self.room.keep(&page)? }
                }
            };
            if !pages.contains_key(&no) {
                self.room.count()?;
            }
            pages.insert(no, page);
            here += n as u64;
        }
        Ok(())
    }
}

impl ReadAt for Overlay {
    fn size(&self) -> ByteLen {
        self.base.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        // What lies below may take its time: other requests do not wait for it.
        let touched = touched(&lock(&self.pages), at, buf.len());
        read(&*self.base, &touched, at, buf)
    }
}

/// A disk at one moment.
struct View {
    base: Arc<dyn ReadAt>,
    pages: Pages,
}

impl ReadAt for View {
    fn size(&self) -> ByteLen {
        self.base.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        read(&*self.base, &touched(&self.pages, at, buf.len()), at, buf)
    }
}

/// Bytes from the start of a page to a place in it.
fn within(at: u64) -> usize {
    usize::try_from(at % PAGE as u64).expect("less than a page")
}

/// The pages that a read meets.
fn touched(pages: &Pages, at: ByteOffset, len: usize) -> Pages {
    let first = at.0 / PAGE as u64;
    let end = (at.0 + len as u64).div_ceil(PAGE as u64).max(first);
    pages.range(first..end).map(|(no, page)| (*no, page.clone())).collect()
}

/// Fills a buffer from pages, and from what lies below where there is none: in one read for pages that follow each other.
fn read(base: &dyn ReadAt, pages: &Pages, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
    let end = at.0 + buf.len() as u64;
    let mut here = at.0;
    while here < end {
        let no = here / PAGE as u64;
        let begin = usize::try_from(here - at.0).expect("within a buffer");
        if let Some(page) = pages.get(&no) {
            let n = (PAGE - within(here)).min(buf.len() - begin);
            written(page, within(here), &mut buf[begin..begin + n]).map_err(|source| ReadError::Io {
                at: here,
                len: n as u64,
                source,
            })?;
            here += n as u64;
            continue;
        }
        let next = pages.range(no..).next().map_or(end, |(no, _)| (no * PAGE as u64).min(end));
        let stop = usize::try_from(next - at.0).expect("within a buffer");
        base.read_exact_at(ByteOffset(here), &mut buf[begin..stop])?;
        here = next;
    }
    Ok(())
}

/// What a page holds, from its first byte on.
fn fill(base: &dyn ReadAt, page: Option<&Page>, no: u64, buf: &mut [u8]) -> Result<(), ReadError> {
    let at = no * PAGE as u64;
    match page {
        Some(page) => written(page, 0, buf).map_err(|source| ReadError::Io { at, len: buf.len() as u64, source }),
        None => base.read_exact_at(ByteOffset(at), buf),
    }
}

fn written(page: &Page, from: usize, buf: &mut [u8]) -> io::Result<()> {
    match page {
        Page::Zero => buf.fill(0),
        Page::Held(held) => buf.copy_from_slice(&held.bytes[from..from + buf.len()]),
        Page::Spilled(slot) => slot.file.read_exact_at(buf, slot.no * PAGE as u64 + from as u64)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
