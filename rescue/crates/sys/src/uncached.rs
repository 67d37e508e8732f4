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
        let read = MEMORY.with_borrow_mut(|memory| {
            memory.resize(STEP + PAGE, 0);
            let skew = memory.as_ptr().align_offset(PAGE);
            opened.read(&mut memory[skew..skew + STEP], position, buf)
        });
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
                let text = format!("the medium ends before byte {want}");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            buf[done..done + useful].copy_from_slice(&memory[skip..skip + useful]);
            done += useful;
        }
        Ok(())
    }
}
