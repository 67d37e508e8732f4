//! The file systems the rescue itself lives on: all in memory, all the kernel's own.

use crate::report::Report;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use sys::mount::{Options, mount};

/// (where, kind, options, wanted: false where a machine may well lack it)
const MOUNTS: [(&str, &str, &str, bool); 7] = [
    ("/proc", "proc", "", true),
    ("/sys", "sysfs", "", true),
    ("/dev", "devtmpfs", "mode=0755", true),
    // Bounded: a program that writes errors without end must not eat the memory the engine needs.
    ("/run", "tmpfs", "mode=0755,size=16m", true),
    ("/tmp", "tmpfs", "mode=1777,size=64m", true),
    ("/sys/firmware/efi/efivars", "efivarfs", "", false),
    ("/sys/fs/pstore", "pstore", "", false),
];

/// Mounts what is not mounted yet; a set-up that runs a second time finds everything in place.
pub(crate) fn all(report: &mut Report) {
    for (point, kind, data, wanted) in MOUNTS {
        let path = Path::new(point);
        if wanted && let Err(e) = fs::create_dir_all(path) {
            report.trouble(format!("making {point} failed: {e}"));
        }
        if !path.is_dir() || is_mounted(point) {
            continue;
        }
        // Devices live on devtmpfs alone.
        let inert = kind != "devtmpfs";
        match mount(Path::new(kind), path, kind, Options { inert, ..Options::default() }, data) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::ResourceBusy => {}
            Err(e) if wanted => report.trouble(format!("mounting {kind} on {point} failed: {e}")),
            Err(_) => {}
        }
    }
}

/// True where something is mounted exactly there. Before /proc is, nothing is.
pub(crate) fn is_mounted(point: &str) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|l| l.split(' ').nth(4) == Some(point))
}
