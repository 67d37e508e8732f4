//! Mounts that stand in no place: reached through a descriptor of their root alone, by whoever has it, and gone when that is closed,
//! however the process ends (fsopen(2), fsconfig(2), fsmount(2); Linux 5.2). No other program can see them or walk into them.
#![expect(unsafe_code, reason = "system calls that libc and nix have no functions for")]

use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

// `include/uapi/linux/mount.h`.
const FSOPEN_CLOEXEC: libc::c_long = 1;
const FSCONFIG_SET_FLAG: libc::c_long = 0;
const FSCONFIG_SET_STRING: libc::c_long = 1;
const FSCONFIG_CMD_CREATE: libc::c_long = 6;
const FSMOUNT_CLOEXEC: libc::c_long = 1;
/// An argument that is not used.
const NONE: libc::c_long = 0;
/// Set-user-ID bits, device nodes and programs on it mean nothing, and reading does not change it.
const INERT: libc::c_long = 0x2 | 0x4 | 0x8 | 0x10;

/// Mounts a file system of `kind` with its own options (a name, and a value or none) so that nobody sees it; what is on it is inert.
/// Gives its root.
///
/// # Errors
/// What the kernel says, with the sentence of the file system where it has one.
pub fn mount(kind: &str, options: &[(&str, Option<&str>)]) -> io::Result<OwnedFd> {
    // What the kernel gives is for paths alone (O_PATH): nothing can be synced through it.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(attached_nowhere(kind, options)?, ".", flags, Mode::empty())?)
}

/// The root of a new mount, for looking up paths alone (`O_PATH`).
fn attached_nowhere(kind: &str, options: &[(&str, Option<&str>)]) -> io::Result<OwnedFd> {
    let text = |s: &str| CString::new(s).map_err(io::Error::other);
    let kind = text(kind)?;
    // SAFETY: fsopen(2) reads a string that ends in NUL.
    let context = made(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    for (name, value) in options {
        let name = text(name)?;
        match value {
            Some(value) => configure(&context, FSCONFIG_SET_STRING, Some(&name), Some(&text(value)?))?,
            None => configure(&context, FSCONFIG_SET_FLAG, Some(&name), None)?,
        }
    }
    configure(&context, FSCONFIG_CMD_CREATE, None, None)?;
    // SAFETY: fsmount(2) takes a descriptor and flags.
    made(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, INERT) })
}

/// Mounts the file that [`crate::served_file::Serving`] answers for: `channel` is a copy of its descriptor. Gives the root of a file
/// system with that one file, for looking that up: nothing of it was asked yet, so that it may be answered for later.
///
/// # Errors
/// As [`mount`].
pub fn served(channel: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let number = channel.as_raw_fd().to_string();
    let options = [("fd", number.as_str()), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")];
    attached_nowhere("fuse", &options.map(|(name, value)| (name, Some(value))))
}

fn configure(context: &OwnedFd, command: libc::c_long, name: Option<&CStr>, value: Option<&CStr>) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: fsconfig(2) reads two strings that end in NUL, or none.
    let done =
        unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, pointer(name), pointer(value), NONE) };
    if done == 0 {
        return Ok(());
    }
    let e = io::Error::last_os_error();
    match said(context) {
        Some(says) => Err(io::Error::new(e.kind(), format!("{e} ({says})"))),
        None => Err(e),
    }
}

/// What the file system said of an error: lines that begin with `e `.
fn said(context: &OwnedFd) -> Option<String> {
    let mut log = File::from(context.try_clone().ok()?);
    let mut line = [0; 512];
    let len = log.read(&mut line).ok()?;
    let says = String::from_utf8_lossy(line.get(..len)?).trim().trim_start_matches("e ").to_owned();
    (!says.is_empty()).then_some(says)
}

fn made(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for this process, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
