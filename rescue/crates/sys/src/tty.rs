//! Terminals: opening a console, putting it back in order, its size.
#![expect(unsafe_code, reason = "window size and console mode ioctls")]

use nix::libc;
use nix::sys::termios::{ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices};
use nix::sys::termios::{tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

mod raw {
    nix::ioctl_read_bad!(tiocgwinsz, libc::TIOCGWINSZ, libc::winsize);
    nix::ioctl_write_ptr_bad!(tiocswinsz, libc::TIOCSWINSZ, libc::winsize);
    // KDSETMODE (include/uapi/linux/kd.h) takes its argument by value.
    nix::ioctl_write_int_bad!(kdsetmode, 0x4b3a);
}

/// Undoes what a full-screen program may have left: modes, colours, scroll region, alternate screen, a hidden cursor,
/// mouse and paste reporting; then clears. Understood by the Linux console and by every serial terminal program.
const RESET: &[u8] = b"\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[r\x1b[0m\x1b(B\x1b%G\x1b[?7h\x1b[?25h\x1b[H\x1b[2J";

/// Opens a terminal for reading and writing, without making it the caller's own and without waiting for a modem.
///
/// # Errors
/// What the system says; also where the node exists but no hardware answers behind it (a serial port that is not there).
pub fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    tcgetattr(&file)?;
    // Later reads and writes wait as usual. The flag belongs to this opening alone.
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_RDWR))?;
    Ok(file)
}

/// Puts a terminal back in order, whatever ran on it: line by line, echoing, newline translation, text mode, and a clear
/// screen.
///
/// # Errors
/// What the system says.
pub fn reset(mut tty: &File) -> io::Result<()> {
    let mut t = tcgetattr(tty)?;
    t.input_flags = InputFlags::BRKINT | InputFlags::ICRNL | InputFlags::IXON | InputFlags::IUTF8;
    t.output_flags = OutputFlags::OPOST | OutputFlags::ONLCR;
    t.local_flags = LocalFlags::ISIG
        | LocalFlags::ICANON
        | LocalFlags::IEXTEN
        | LocalFlags::ECHO
        | LocalFlags::ECHOE
        | LocalFlags::ECHOK
        | LocalFlags::ECHOCTL
        | LocalFlags::ECHOKE;
    // Speed and parity stay as the kernel's console= set them. No modem lines: most cables have none.
    t.control_flags |= ControlFlags::CREAD | ControlFlags::CLOCAL | ControlFlags::HUPCL;
    for (index, value) in [
        (SpecialCharacterIndices::VINTR, 3),
        (SpecialCharacterIndices::VQUIT, 28),
        (SpecialCharacterIndices::VERASE, 127),
        (SpecialCharacterIndices::VKILL, 21),
        (SpecialCharacterIndices::VEOF, 4),
        (SpecialCharacterIndices::VSTART, 17),
        (SpecialCharacterIndices::VSTOP, 19),
        (SpecialCharacterIndices::VMIN, 1),
        (SpecialCharacterIndices::VTIME, 0),
    ] {
        t.control_chars[index as usize] = value;
    }
    // Input typed for the program that died is not for the next one. Output is not waited for: a terminal that sent
    // XOFF would hold us for ever.
    nix::sys::termios::tcflush(tty, nix::sys::termios::FlushArg::TCIOFLUSH)?;
    tcsetattr(tty, SetArg::TCSANOW, &t)?;
    // Only a virtual console knows this; KD_TEXT is 0.
    // SAFETY: takes a number.
    let _ = unsafe { raw::kdsetmode(tty.as_raw_fd(), 0) };
    tty.write_all(RESET)
}

/// Columns and rows; `None` where the terminal does not know (a serial one).
pub fn size(tty: impl AsFd) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: writes one struct to a live local.
    unsafe { raw::tiocgwinsz(tty.as_fd().as_raw_fd(), &raw mut size) }.ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

/// Tells the kernel what a serial terminal's size is: programs ask it there.
///
/// # Errors
/// What the system says.
pub fn set_size(tty: impl AsFd, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: reads one struct from a live local.
    unsafe { raw::tiocswinsz(tty.as_fd().as_raw_fd(), &raw const size)? };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;
    use std::io::Read;

    #[test]
    fn a_terminal_left_raw_is_put_back() {
        let pair = openpty(None, None).unwrap();
        let (mut master, slave) = (File::from(pair.master), File::from(pair.slave));
        let mut t = tcgetattr(&slave).unwrap();
        nix::sys::termios::cfmakeraw(&mut t);
        tcsetattr(&slave, SetArg::TCSANOW, &t).unwrap();
        reset(&slave).unwrap();
        let t = tcgetattr(&slave).unwrap();
        assert!(t.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
        assert!(t.output_flags.contains(OutputFlags::OPOST | OutputFlags::ONLCR));
        let mut seen = vec![0; RESET.len()];
        master.read_exact(&mut seen).unwrap();
        assert_eq!(seen, RESET);
        assert_eq!(size(&slave), None);
        set_size(&slave, 80, 25).unwrap();
        assert_eq!(size(&slave), Some((80, 25)));
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        assert!(open(Path::new("/dev/null")).is_err());
        assert!(open(Path::new("/dev/holdfast-nothing")).is_err());
    }
}
