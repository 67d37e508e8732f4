//! The operating system, as Holdfast uses it: block devices and leases, roles of our own program, the parser's sandbox,
//! kernel modules, mounts, terminals, power.
//!
//! **Architecture invariant.** This is the only crate with `unsafe`; every block says why it is sound, and every file that
//! needs one opens with an `expect`. What is unsafe inside is safe to call from outside.
//!
//! **Architecture invariant.** A disk of a target is opened for writing in one place only: [`device::Machine`]'s lease.

pub mod block;
pub mod capacity;
pub mod clock;
pub mod detached;
pub mod device;
pub mod efivars;
pub mod loop_device;
pub mod memory;
pub mod module;
pub mod mount;
pub mod new_file;
pub mod new_tree;
pub mod plain_file;
pub mod power;
pub mod process;
pub mod sandbox;
pub mod scratch_file;
pub mod served_file;
pub mod signal;
pub mod sysfs;
#[cfg(feature = "trials")]
pub mod trials;
pub mod tty;
pub mod uevent;
pub mod uncached;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Waits until one of the descriptors can be read or its other end is gone; says which. All false after `most`.
///
/// # Errors
/// What the system says; an interruption by a signal counts as nothing ready.
pub fn poll(fds: &[BorrowedFd<'_>], most: Option<Duration>) -> io::Result<Vec<bool>> {
    use nix::poll::{PollFd, PollFlags, PollTimeout};
    let mut list: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // Rounded up: a wait of less than a millisecond must not become a busy loop.
    let millis = |d: Duration| i32::try_from(d.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    let timeout = most.map_or(PollTimeout::NONE, |d| PollTimeout::try_from(millis(d)).unwrap_or(PollTimeout::MAX));
    match nix::poll::poll(&mut list, timeout) {
        Ok(_) => Ok(list.iter().map(|p| p.revents().is_none_or(|r| !r.is_empty())).collect()),
        Err(nix::errno::Errno::EINTR) => Ok(vec![false; fds.len()]),
        Err(e) => Err(e.into()),
    }
}
