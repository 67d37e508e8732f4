//! The file systems the rescue itself lives on: all in memory, all the kernel's own.

use crate::report::Report;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use sys::mount::{Options, mount};

/// Where, kind, options, wanted: false where a machine may well lack it.
type Mount = (&'static str, &'static str, &'static str, bool);

const MOUNTS: [Mount; 6] = [
    ("/proc", "proc", "", true),
    ("/sys", "sysfs", "", true),
    ("/dev", "devtmpfs", "mode=0755", true),
    // Bounded: a program that writes errors without end must not eat the memory the engine needs.
    ("/run", "tmpfs", "mode=0755,size=16m", true),
    ("/tmp", "tmpfs", "mode=1777,size=64m", true),
    ("/sys/fs/pstore", "pstore", "", false),
];
/// Those of drivers: the kernel would ask for them by a program that is not there.
const OF_DRIVERS: [Mount; 1] = [("/sys/firmware/efi/efivars", "efivarfs", "", false)];

/// Mounts what the kernel has of itself, where it is not mounted yet; a set-up that runs a second time finds everything in place.
pub(crate) fn built_in(report: &mut Report) {
    all(&MOUNTS, report);
}

/// Mounts what a driver brought, likewise. Before that is loaded, nothing happens.
pub(crate) fn of_drivers(report: &mut Report) {
    all(&OF_DRIVERS, report);
}

fn all(mounts: &[Mount], report: &mut Report) {
    for &(point, kind, data, wanted) in mounts {
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
