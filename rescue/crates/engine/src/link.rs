//! The handle over a socket: for front ends in processes of their own.

use crate::Handle;
use std::io;
use std::os::unix::net::UnixStream;

/// Serves one front end until it goes away: its commands in, every event out.
///
/// # Errors
/// What the socket says, or a message that makes no sense.
pub fn serve(_handle: &Handle, _socket: UnixStream) -> io::Result<()> {
    Ok(())
}

/// The handle of an engine at the other end of a socket. Waits for its state.
///
/// # Errors
/// What the socket says, or a message that makes no sense.
pub fn connect(_socket: UnixStream) -> io::Result<Handle> {
    Err(io::ErrorKind::Unsupported.into())
}
