//! Signals taken one at a time, never in a handler: what PID 1 and its set-up child live by.
#![expect(unsafe_code, reason = "sigtimedwait")]

use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use std::time::Duration;

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// A child ended (SIGCHLD).
    Child,
    /// Ctrl-Alt-Del, once the kernel hands it over (SIGINT), or an interrupt from a terminal.
    Interrupt,
    /// Asked to end (SIGTERM), or to switch off (SIGPWR, from a power supply; SIGUSR2 by custom).
    Terminate,
    /// Another one; of no meaning.
    Other,
}

/// Blocks every signal that can be blocked, in this thread and those it starts later: from here on they are taken by
/// [`wait`]. Programs started by [`crate::process::Launch`] begin with none blocked.
pub fn block_all() {
    // Cannot fail with these arguments (pthread_sigmask(3)); faults of this thread's own still end it.
    let mut set = SigSet::all();
    for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE] {
        set.remove(fault);
    }
    let _ = set.thread_block();
}

/// Takes the next signal, waiting at most so long.
pub fn wait(most: Duration) -> Option<Came> {
    let set = SigSet::all();
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(most.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: most.subsec_nanos().into(),
    };
    // SAFETY: reads the set and the timeout, writes nothing.
    match unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const timeout) } {
        libc::SIGCHLD => Some(Came::Child),
        libc::SIGINT => Some(Came::Interrupt),
        libc::SIGTERM | libc::SIGPWR | libc::SIGUSR2 => Some(Came::Terminate),
        n if n > 0 => Some(Came::Other),
        _ => None,
    }
}
