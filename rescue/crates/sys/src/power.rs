//! Leaving: the machine starts again or is switched off (reboot(2)).

use model::command::PowerAction;
use nix::sys::reboot::RebootMode;
use std::convert::Infallible;
use std::io;

/// Writes out everything the kernel still holds (sync(2)).
pub fn sync() {
    nix::unistd::sync();
}

/// Leaves at once: nothing is synced or unmounted here. See [`sync`] and [`crate::mount`].
///
/// # Errors
/// Returns only where the kernel refuses (not root).
pub fn leave(how: PowerAction) -> io::Result<Infallible> {
    let mode = match how {
        PowerAction::Reboot => RebootMode::RB_AUTOBOOT,
        PowerAction::Poweroff => RebootMode::RB_POWER_OFF,
    };
    Ok(nix::sys::reboot::reboot(mode)?)
}

/// Whether Ctrl-Alt-Del restarts the machine on the spot. Off, the kernel tells PID 1 by SIGINT instead.
///
/// # Errors
/// Where the kernel refuses (not root).
pub fn set_ctrl_alt_del(on: bool) -> io::Result<()> {
    Ok(nix::sys::reboot::set_cad_enabled(on)?)
}
