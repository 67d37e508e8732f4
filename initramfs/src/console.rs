//! The consoles people look at.

use crate::cmdline::Options;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use sys::tty;

/// Where no console is named.
const DEFAULT: [&str; 2] = ["tty1", "ttyS0"];
/// What a serial terminal is taken to be: it cannot say.
const SERIAL_SIZE: (u16, u16) = (80, 24);
/// Where stderr of the programs goes: on the console it would tear the picture.
pub(crate) const LOG: &str = "/run/holdfast.log";
/// A log this long is begun anew when a program is started.
const MOST_LOG: u64 = 256 * 1024;

/// A terminal by its name under /dev.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Console {
    pub(crate) name: String,
}

/// The consoles of the command line, the preferred one last, or the usual two; those only that answer.
pub(crate) fn all(options: &Options) -> Vec<Console> {
    let answer = |c: &Console| tty::open(&c.node()).is_ok();
    let named: Vec<Console> = options.consoles.iter().map(|n| Console { name: n.clone() }).filter(answer).collect();
    if !named.is_empty() {
        return named;
    }
    DEFAULT.iter().map(|n| Console { name: (*n).to_owned() }).filter(answer).collect()
}

impl Console {
    fn node(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Opens it, in order and clear, whatever was on it.
    pub(crate) fn open(&self) -> io::Result<File> {
        let tty = tty::open(&self.node())?;
        tty::reset(&tty)?;
        if tty::size(&tty).is_none() {
            // Not all terminals can be told; then the program asks in its own way.
            let _ = tty::set_size(&tty, SERIAL_SIZE.0, SERIAL_SIZE.1);
        }
        Ok(tty)
    }

    /// `TERM` for a program on it.
    pub(crate) fn term(&self) -> &'static str {
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if self.name.strip_prefix("tty").is_some_and(digits) { "TERM=linux" } else { "TERM=vt220" }
    }
}

/// Where the stderr of a program is to go; a file in memory unless the command line names a device.
pub(crate) fn log(options: &Options) -> io::Result<File> {
    if let Some(device) = &options.log
        && let Ok(tty) = tty::open(&Path::new("/dev").join(device))
    {
        return Ok(tty);
    }
    if std::fs::metadata(LOG).is_ok_and(|m| m.len() > MOST_LOG) {
        let _ = std::fs::remove_file(LOG);
    }
    OpenOptions::new().create(true).append(true).open(LOG)
}

/// The last few lines of the log.
pub(crate) fn log_tail(lines: usize) -> Vec<String> {
    let bytes = std::fs::read(LOG).unwrap_or_default();
    let tail = &bytes[bytes.len().saturating_sub(4096)..];
    let text = String::from_utf8_lossy(tail);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|l| (*l).to_owned()).collect()
}
