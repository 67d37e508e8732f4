//! One file that this process answers for, through FUSE: as much of the protocol as it takes (kernel `include/uapi/linux/fuse.h`,
//! version 7.31). The kernel's loop driver makes a block device of it.
//!
//! Whoever answers must not wait for memory that is freed by writing to this very file: the threads that answer say so to the kernel
//! (`PR_SET_IO_FLUSHER`, Linux 5.6).
#![expect(unsafe_code, reason = "prctl")]

use nix::libc;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// The name of the file in its file system.
pub const NAME: &str = "volume";

/// What is served: bytes of a fixed size.
pub trait Served: Send + Sync {
    /// How many bytes.
    fn size(&self) -> u64;

    /// Reads all of `buf` at a byte of it.
    ///
    /// # Errors
    /// What whoever reads is told, by its number where it has one.
    fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As [`Served::read`].
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes `len` bytes zero.
    ///
    /// # Errors
    /// As [`Served::read`].
    fn zero(&self, at: u64, len: u64) -> io::Result<()>;
}

/// The way to the kernel, before and after it is mounted (by [`crate::detached::served`], of this process or another). When the last
/// copy of it is closed, everything that waits for the file gets an error.
#[derive(Debug)]
pub struct Serving(Arc<File>);

/// Whether this process can make a block device of such a file, and mount it.
///
/// # Errors
/// Why not: it is not root's, or a driver is not there.
pub fn can_be_mounted() -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(io::Error::other("only root can mount, and this is not root"));
    }
    Serving::open()?;
    let control = OpenOptions::new().read(true).write(true).open(crate::loop_device::CONTROL);
    control.map_err(|e| io::Error::new(e.kind(), format!("{} cannot be opened: {e}", crate::loop_device::CONTROL)))?;
    Ok(())
}

/// Node ids: the root's is the protocol's.
const ROOT: u64 = 1;
const FILE: u64 = 2;
/// Of a request, before its own arguments.
const HEADER: usize = 40;
/// Arguments of a write before its bytes.
const WRITE: usize = 40;
/// Most bytes of one request (`max_write`, and 256 pages).
const MOST: usize = 1 << 20;
/// `include/uapi/linux/prctl.h`.
const PR_SET_IO_FLUSHER: libc::c_int = 57;
/// Modes of fallocate(2): a hole, and zeros.
const PUNCH_HOLE: u32 = 2;
const ZERO_RANGE: u32 = 16;

impl Serving {
    /// Opens the kernel's FUSE device.
    ///
    /// # Errors
    /// What the system says: `/dev/fuse` is not there, or not for us.
    pub fn open() -> io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|e| io::Error::new(e.kind(), format!("/dev/fuse cannot be opened: {e}")))?;
        Ok(Self(Arc::new(device)))
    }

    /// A copy of the descriptor, to be mounted with.
    ///
    /// # Errors
    /// What the system says.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }

    /// Answers on this many threads until the file is mounted nowhere any more. Only once it is mounted.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn answer(&self, served: &Arc<dyn Served>, threads: usize) -> io::Result<()> {
        for _ in 0..threads {
            let (device, served) = (self.0.clone(), served.clone());
            std::thread::Builder::new().name("served".to_owned()).spawn(move || {
                flushes();
                answer(&device, &*served);
            })?;
        }
        Ok(())
    }
}

/// Tells the kernel that this thread is needed to write memory out.
fn flushes() {
    let (yes, none): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: it takes integers. Where the kernel does not know it, or it is not for us, nothing is different.
    unsafe { libc::prctl(PR_SET_IO_FLUSHER, yes, none, none, none) };
}

fn answer(mut device: &File, served: &dyn Served) {
    let mut buffer = vec![0; HEADER + WRITE + MOST + 4096];
    loop {
        let request = match device.read(&mut buffer) {
            Ok(len) => &buffer[..len],
            // Interrupted before it was handed on.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::ENOENT)) => continue,
            // Unmounted.
            Err(_) => return,
        };
        let Some(reply) = reply(request, served) else { continue };
        let unique = word(request, 8);
        if device.write_all(&encoded(unique, reply)).is_err() {
            return;
        }
    }
}

/// What is said to a request: bytes, or an error's number. `None` where nothing is expected.
fn reply(request: &[u8], served: &dyn Served) -> Option<Result<Vec<u8>, i32>> {
    let arguments = request.get(HEADER..).unwrap_or_default();
    let number = |e: io::Error| match e.kind() {
        io::ErrorKind::StorageFull => libc::ENOSPC,
        _ => e.raw_os_error().unwrap_or(libc::EIO),
    };
    let (at, len) = (word(arguments, 8), half(arguments, 16) as usize);
    Some(match half(request, 4) {
        // Forget, interrupt, batch forget.
        2 | 36 | 42 => return None,
        // Look-up: node and generation; what is known of it is known for an hour.
        1 if arguments == [NAME.as_bytes(), &[0]].concat() => {
            let head = [FILE, 0, 3600, 3600, 0].map(u64::to_le_bytes).concat();
            Ok([head, attributes(FILE, served.size())].concat())
        }
        1 => Err(libc::ENOENT),
        // Get and set attributes.
        3 | 4 => {
            Ok([[3600u64, 0].map(u64::to_le_bytes).concat(), attributes(word(request, 16), served.size())].concat())
        }
        // Open: no page is kept (FOPEN_DIRECT_IO); what is written is here at once, and memory holds it once.
        14 => Ok([0u64, 1].map(u64::to_le_bytes).concat()),
        // Past its end there is nothing.
        15 if at >= served.size() => Ok(Vec::new()),
        15 if len <= MOST => {
            // No more than there is.
            let len = len.min(usize::try_from(served.size().saturating_sub(at)).unwrap_or(usize::MAX));
            let mut bytes = vec![0; len];
            served.read(at, &mut bytes).map(|()| bytes).map_err(number)
        }
        16 => match arguments.get(WRITE..WRITE.saturating_add(len)) {
            Some(bytes) => served.write(at, bytes).map(|()| (len as u64).to_le_bytes().to_vec()).map_err(number),
            None => Err(libc::EINVAL),
        },
        // Release, sync, flush, destroy: nothing is held back here.
        18 | 20 | 25 | 38 => Ok(Vec::new()),
        26 => Ok(welcome()),
        // Fallocate: offset, length and mode.
        43 if half(arguments, 24) & (PUNCH_HOLE | ZERO_RANGE) != 0 => {
            served.zero(word(arguments, 8), word(arguments, 16)).map(|()| Vec::new()).map_err(number)
        }
        43 => Err(libc::EOPNOTSUPP),
        _ => Err(libc::ENOSYS),
    })
}

/// `struct fuse_init_out`: version, no read-ahead, FUSE_ASYNC_READ, FUSE_BIG_WRITES and FUSE_MAX_PAGES, the most in flight, the most
/// written at once, times to the nanosecond.
fn welcome() -> Vec<u8> {
    let words: [u32; 8] = [7, 31, 0, 1 | 1 << 5 | 1 << 22, 12 << 16 | 16, 1 << 20, 1, 256];
    let mut out = words.map(u32::to_le_bytes).concat();
    out.resize(64, 0);
    out
}

/// `struct fuse_attr`.
fn attributes(node: u64, size: u64) -> Vec<u8> {
    let (mode, size) = if node == ROOT { (0o40700u32, 0) } else { (0o100_600, size) };
    let wide = [node, size, size / 512, 0, 0, 0].map(u64::to_le_bytes).concat();
    // Nanoseconds of the three times, mode, links, owners, device, block size, flags.
    let narrow = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_le_bytes).concat();
    [wide, narrow].concat()
}

/// `struct fuse_out_header` and what follows it.
fn encoded(unique: u64, reply: Result<Vec<u8>, i32>) -> Vec<u8> {
    let (error, body) = match reply {
        Ok(body) => (0, body),
        Err(errno) => (-errno, Vec::new()),
    };
    let len = u32::try_from(16 + body.len()).unwrap_or(16);
    [&len.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes(), &body].concat()
}

/// A number of a request; zero past its end.
fn half(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    found.map_or(0, u32::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
    found.map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Bytes(Mutex<Vec<u8>>);

    impl Served for Bytes {
        fn size(&self) -> u64 {
            self.0.lock().unwrap().len() as u64
        }
        fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
            let at = usize::try_from(at).unwrap();
            buf.copy_from_slice(&self.0.lock().unwrap()[at..at + buf.len()]);
            Ok(())
        }
        fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
            let at = usize::try_from(at).unwrap();
            let mut all = self.0.lock().unwrap();
            let place = all.get_mut(at..at + bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            place.copy_from_slice(bytes);
            Ok(())
        }
        fn zero(&self, at: u64, len: u64) -> io::Result<()> {
            self.write(at, &vec![0; usize::try_from(len).unwrap()])
        }
    }

    fn ask(served: &Bytes, op: u32, arguments: &[u8]) -> Option<Result<Vec<u8>, i32>> {
        let head = [&0u32.to_le_bytes()[..], &op.to_le_bytes(), &7u64.to_le_bytes(), &FILE.to_le_bytes(), &[0; 16]];
        reply(&[&head.concat(), arguments].concat(), served)
    }

    fn place(at: u64, len: u32) -> Vec<u8> {
        [&[0; 8][..], &at.to_le_bytes(), &len.to_le_bytes(), &[0; 20]].concat()
    }

    #[test]
    fn requests_are_answered_within_the_file() {
        let served = Bytes(Mutex::new((0..100).collect()));
        assert_eq!(ask(&served, 15, &place(90, 100)), Some(Ok((90..100).collect())), "no more than there is");
        assert_eq!(ask(&served, 15, &place(200, 10)), Some(Ok(Vec::new())));
        assert_eq!(ask(&served, 16, &[place(3, 2), vec![9, 8]].concat()), Some(Ok(2u64.to_le_bytes().to_vec())));
        assert_eq!(ask(&served, 16, &[place(99, 2), vec![9, 8]].concat()), Some(Err(libc::ENOSPC)));
        assert_eq!(ask(&served, 16, &place(0, 5)), Some(Err(libc::EINVAL)), "bytes that did not come");
        let hole = [&[0; 8][..], &10u64.to_le_bytes(), &5u64.to_le_bytes(), &3u32.to_le_bytes(), &[0; 4]].concat();
        assert_eq!(ask(&served, 43, &hole), Some(Ok(Vec::new())));
        assert_eq!(ask(&served, 15, &place(2, 14)), Some(Ok(vec![2, 9, 8, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 15])));
        assert_eq!(ask(&served, 2, &[]), None);
        assert_eq!(ask(&served, 99, &[]), Some(Err(libc::ENOSYS)));
        assert_eq!(ask(&served, 1, b"other\0"), Some(Err(libc::ENOENT)));
    }
}
