//! As much of FUSE as one file takes (kernel `include/uapi/linux/fuse.h`, protocol 7.31; `Documentation/filesystems/fuse`).

use nix::mount::MsFlags;
use qemu_tests::Result;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The name of the file.
pub(crate) const NAME: &str = "disk";

/// What is served: bytes of a fixed size.
pub(crate) trait Served: Send {
    fn size(&self) -> u64;
    /// The bytes there, as far as there are any.
    fn read(&self, at: usize, len: usize) -> &[u8];
    /// False where there is no such place.
    fn write(&mut self, at: usize, bytes: &[u8]) -> bool;
    fn sync(&mut self);
}

/// Node ids: the root's is the protocol's.
const ROOT: u64 = 1;
const FILE: u64 = 2;
/// Of a request, before its own arguments.
const HEADER: usize = 40;
/// Arguments of a write before its bytes.
const WRITE: usize = 40;
const MOST_WRITTEN: usize = 1 << 20;

/// Mounts the file in a directory and answers for it, until it is unmounted.
pub(crate) fn serve(at: &Path, served: Arc<Mutex<impl Served + 'static>>) -> Result<JoinHandle<()>> {
    let channel = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", channel.as_raw_fd());
    nix::mount::mount(Some("histories"), at, Some("fuse"), MsFlags::empty(), Some(options.as_str()))?;
    Ok(std::thread::spawn(move || answer(channel, &served)))
}

fn answer(mut channel: File, served: &Mutex<impl Served>) {
    let mut buffer = vec![0; HEADER + WRITE + MOST_WRITTEN + 4096];
    loop {
        let request = match channel.read(&mut buffer) {
            Ok(len) => &buffer[..len],
            // Interrupted before it was handed on.
            Err(e) if matches!(e.raw_os_error(), Some(nix::libc::EINTR | nix::libc::ENOENT)) => continue,
            // Unmounted.
            Err(_) => return,
        };
        let reply = {
            let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
            reply(request, &mut *served)
        };
        if let Some(reply) = reply
            && channel.write_all(&encoded(u64_at(request, 8), reply)).is_err()
        {
            return;
        }
    }
}

/// What is said to a request: bytes, or an error. `None` where nothing is expected.
fn reply(request: &[u8], served: &mut impl Served) -> Option<std::result::Result<Vec<u8>, i32>> {
    let (node, arguments) = (u64_at(request, 16), &request[HEADER..]);
    let place = || (number(u64_at(arguments, 8)), number(u64::from(u32_at(arguments, 16))));
    Some(match u32_at(request, 4) {
        // Forget, interrupt, batch forget.
        2 | 36 | 42 => return None,
        // Look-up.
        1 if arguments == [NAME.as_bytes(), &[0]].concat() => {
            // Node and generation; what is known of it is known for an hour.
            let head = [FILE, 0, 3600, 3600, 0].map(u64::to_le_bytes).concat();
            Ok([head, attributes(FILE, served.size())].concat())
        }
        1 => Err(nix::libc::ENOENT),
        // Get and set attributes.
        3 | 4 => Ok([[3600u64, 0].map(u64::to_le_bytes).concat(), attributes(node, served.size())].concat()),
        // Open: no page is kept (FOPEN_DIRECT_IO).
        14 => Ok([0u64, 1].map(u64::to_le_bytes).concat()),
        15 => {
            let (at, len) = place();
            Ok(served.read(at, len).to_vec())
        }
        16 => {
            let (at, len) = place();
            match served.write(at, &arguments[WRITE..WRITE + len]) {
                true => Ok((len as u64).to_le_bytes().to_vec()),
                false => Err(nix::libc::ENOSPC),
            }
        }
        20 => {
            served.sync();
            Ok(Vec::new())
        }
        // Release, flush, destroy.
        18 | 25 | 38 => Ok(Vec::new()),
        26 => Ok(welcome()),
        // Fallocate: not for this file.
        43 => Err(nix::libc::EOPNOTSUPP),
        _ => Err(nix::libc::ENOSYS),
    })
}

/// `struct fuse_init_out`: version, no read-ahead, FUSE_BIG_WRITES and FUSE_MAX_PAGES, the most in flight, the most written at
/// once, times to the nanosecond.
fn welcome() -> Vec<u8> {
    let words: [u32; 8] = [7, 31, 0, 1 << 5 | 1 << 22, 12 << 16 | 16, 1 << 20, 1, 256];
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

fn encoded(unique: u64, reply: std::result::Result<Vec<u8>, i32>) -> Vec<u8> {
    let (error, body) = match reply {
        Ok(body) => (0, body),
        Err(errno) => (-errno, Vec::new()),
    };
    let len = u32::try_from(16 + body.len()).expect("a reply of a mebibyte");
    [&len.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes(), &body].concat()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn number(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
