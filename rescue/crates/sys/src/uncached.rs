//! Reading past the page cache.

use model::units::SectorSize;
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much is read in one go.
const STEP: usize = 1 << 20;
/// Alignment of memory and positions that satisfies O_DIRECT on every disk and file system in use: a page.
pub(crate) const PAGE: usize = 4096;

thread_local! {
    /// What a thread reads into: fresh memory for every read would cost as much as the cache does.
    static MEMORY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A second, read-only opening of a file or device with O_DIRECT, made when it is first wanted.
#[derive(Debug)]
pub struct Uncached {
    sector: u64,
    opened: OnceLock<Option<Opened>>,
    /// The file system does not offer it (tmpfs before Linux 6.6, some network ones).
    refused: AtomicBool,
}

#[derive(Debug)]
struct Opened {
    file: File,
    /// What positions are aligned to.
    align: u64,
}

impl Uncached {
    /// Nothing is opened yet. `sector` is the logical sector size; an image file is aligned to pages, which covers what lies below it.
    pub fn new(sector: SectorSize) -> Self {
        let sector = usize::try_from(sector.0).unwrap_or(PAGE).clamp(512, PAGE) as u64;
        Self { sector, opened: OnceLock::new(), refused: AtomicBool::new(false) }
    }

    /// Fills `buf` from `position` of `file`, always the same one; `None` where that cannot be done past the cache.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::UnexpectedEof`] where the file ends before.
    pub fn read_exact_at(&self, file: &File, position: u64, buf: &mut [u8]) -> Option<io::Result<()>> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let opened = self.opened.get_or_init(|| self.open(file)).as_ref()?;
        let read = match opened.takes(position, buf) {
            true => opened.read_straight(position, buf),
            false => MEMORY.with_borrow_mut(|memory| {
                memory.resize(STEP + PAGE, 0);
                let skew = memory.as_ptr().align_offset(PAGE);
                opened.read(&mut memory[skew..skew + STEP], position, buf)
            }),
        };
        match read {
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                self.refuse();
                None
            }
            read => Some(read),
        }
    }

    /// From now on it is not offered.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    fn open(&self, file: &File) -> Option<Opened> {
        let align = if file.metadata().is_ok_and(|m| m.is_file()) { PAGE as u64 } else { self.sector };
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).ok()?;
        Some(Opened { file, align })
    }
}

impl Opened {
    /// Whether memory and position are such that the system reads into it directly.
    fn takes(&self, position: u64, buf: &[u8]) -> bool {
        let aligned = position.is_multiple_of(self.align) && (buf.len() as u64).is_multiple_of(self.align);
        aligned && buf.as_ptr().align_offset(PAGE) == 0
    }

    /// Fills `buf` from `position` without a copy; for what [`Opened::takes`] says can be.
    fn read_straight(&self, position: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let end = buf.len().min(done + STEP);
            match self.file.read_at(&mut buf[done..end], position + done as u64) {
                // A short read that is not the end goes on at a sector.
                Ok(0) => return Err(ended(position + done as u64)),
                Ok(got) => done += got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Fills `buf` from `position` by aligned reads into `memory`.
    fn read(&self, memory: &mut [u8], position: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let want = position + done as u64;
            let first = want / self.align * self.align;
            let skip = usize::try_from(want - first).expect("less than a page");
            let end = (position + buf.len() as u64).next_multiple_of(self.align).min(first + memory.len() as u64);
            let len = usize::try_from(end - first).expect("no longer than the memory");
            let got = match self.file.read_at(&mut memory[..len], first) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            // A short read ends at the end of the file, or is taken up again from there.
            let useful = got.saturating_sub(skip).min(buf.len() - done);
            if useful == 0 {
                return Err(ended(want));
            }
            buf[done..done + useful].copy_from_slice(&memory[skip..skip + useful]);
            done += useful;
        }
        Ok(())
    }
}

fn ended(at: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the medium ends before byte {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_same_bytes_whatever_the_memory_and_the_place() {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let bytes: Vec<u8> = (0..3_000_100u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        file.write_all(&bytes).unwrap();
        let uncached = Uncached::new(SectorSize(512));
        let mut memory = vec![0; 3 * STEP];
        let skew = memory.as_ptr().align_offset(PAGE);
        for (from, at, len) in [(0, 0, PAGE), (0, PAGE, 2 * STEP), (1, 0, PAGE), (0, 1, 5000), (0, 2_990_000, 10_100)] {
            let buf = &mut memory[skew + from..skew + from + len];
            // A file system without it is told by `None`, and there is nothing to try then.
            let Some(read) = uncached.read_exact_at(&file, at as u64, buf) else { return };
            read.unwrap();
            assert_eq!(buf, &bytes[at..at + len], "{len} at {at}");
        }
        for (from, at) in [(0, 2_998_272), (1, 2_998_000)] {
            let buf = &mut memory[skew + from..skew + from + 2 * PAGE];
            let error = uncached.read_exact_at(&file, at, buf).unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        }
    }
}
