//! The set-up child: from a bare kernel to a running session, and out again.

use crate::cmdline::Options;
use crate::devices::Devices;
use crate::report::Report;
use crate::supervisor::Session;
use crate::{console, mounts, second, store};
use model::command::PowerAction;
use std::time::{Duration, Instant};
use sys::process::{Ending, signal_everyone};

/// How long everybody else gets to end when the machine is left.
const GRACE: Duration = Duration::from_secs(2);

/// Never returns: in the end the machine starts again or is switched off. A panic ends the process, and PID 1 starts it
/// anew; everything here finds in place what an earlier run has done.
pub(crate) fn run() -> ! {
    sys::signal::block_all();
    let mut report = Report::new();
    mounts::built_in(&mut report);
    let options = options(&mut report);
    if !options.verbose {
        quiet_kernel(&mut report);
    }
    if let Err(e) = sys::power::set_ctrl_alt_del(false) {
        report.trouble(format!("taking over Ctrl-Alt-Del failed: {e}"));
    }
    report.note("looking for the disks");
    let mut devices = Devices::cold_plug(&mut report);
    mounts::of_drivers(&mut report);
    let guid = options.store.clone();
    let found = || guid.as_deref().is_none_or(|g| !store::search(g).is_empty());
    devices.settle(options.settle, guid.is_some(), &mut report, found);
    let store = guid.as_deref().is_some_and(|g| store::bring_up(g, &mut report));
    let how = Session { options: &options, report: &mut report, devices: &mut devices, store }.run();
    leave(how, &options, &mut report)
}

/// Lets only panics through to the consoles: other messages would tear the screen. They stay in the kernel's log.
fn quiet_kernel(report: &mut Report) {
    // Of an image started with ignore_loglevel; a kernel without the parameter was not.
    let _ = std::fs::write("/sys/module/printk/parameters/ignore_loglevel", "N");
    // Kernel Documentation/admin-guide/sysctl/kernel.rst, printk: the console's level comes first.
    if let Err(e) = std::fs::write("/proc/sys/kernel/printk", "1") {
        report.trouble(format!("quieting the kernel failed: {e}"));
    }
}

fn options(report: &mut Report) -> Options {
    let text = match std::fs::read_to_string("/proc/cmdline") {
        Ok(text) => text,
        Err(e) => {
            report.trouble(format!("reading /proc/cmdline failed: {e}"));
            String::new()
        }
    };
    report.cmdline = text.trim().to_owned();
    let options = Options::parse(&text);
    for word in &options.unknown {
        report.trouble(format!("the kernel command line says {word}, which means nothing to this version"));
    }
    options
}

/// Ends everybody, makes the store whole, leaves.
fn leave(how: PowerAction, options: &Options, report: &mut Report) -> ! {
    for console in console::all(options) {
        // Clear, and in order for whoever uses the terminal next (a serial line outlives us).
        if let Ok(mut tty) = console.open() {
            let says = if how == PowerAction::Reboot { "starting again" } else { "switching off" };
            let _ = std::io::Write::write_all(&mut tty, format!("holdfast: {says}\n").as_bytes());
        }
    }
    report.aloud = true;
    let _ = signal_everyone(Ending::Ask);
    let until = Instant::now() + GRACE;
    while Instant::now() < until && anybody_writes() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = signal_everyone(Ending::Kill);
    sys::power::sync();
    if let Err(e) = store::let_go(second::MOUNT_POINT) {
        report.note(&format!("the second stick could not be unmounted ({e}); everything was synced"));
    }
    if let Err(e) = store::put_away() {
        report.note(&format!("the store could not be unmounted ({e}); everything was synced"));
    }
    sys::power::sync();
    loop {
        let Err(e) = sys::power::leave(how);
        report.note(&format!("leaving failed: {e}; switch the machine off by hand, it is safe"));
        std::thread::sleep(Duration::from_secs(10));
    }
}

/// True while any process but PID 1, this one and the kernel's threads is left.
fn anybody_writes() -> bool {
    let own = std::process::id().to_string();
    let other = |n: &str| n != "1" && n != own && n.bytes().all(|b| b.is_ascii_digit());
    let lives = |n: &str| std::fs::read(format!("/proc/{n}/cmdline")).is_ok_and(|c| !c.is_empty());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.into_iter().any(|e| e.file_name().to_str().is_some_and(|n| other(n) && lives(n)))
}
