//! PID 1 proper.

use std::panic::catch_unwind;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use sys::process::{Child, Ending, Launch, reap, signal_everyone};
use sys::signal::{Came, block_all, wait};

/// The argument that makes `/init` the set-up child.
pub(crate) const SETUP: &str = "setup";
const INIT: &str = "/init";
/// A set-up child that lived shorter than this did not get far.
const SHORT: Duration = Duration::from_secs(10);
/// What those who are told to end get before they are ended.
const GRACE: Duration = Duration::from_secs(3);

/// Never returns: a kernel whose PID 1 ends panics. A panic of our own is let pass and all begins anew.
pub(crate) fn run() -> ! {
    block_all();
    let mut quick = 0;
    loop {
        let started = Instant::now();
        // Nothing is shared with what panicked: every round starts from nothing.
        let _ = catch_unwind(watch);
        quick = if started.elapsed() < SHORT { quick + 1 } else { 0 };
        // A fault that comes back at once must not fill the screen.
        sleep(if quick < 5 { Duration::from_secs(1) } else { Duration::from_secs(30) });
    }
}

/// Starts the set-up child and reaps until it ends; then ends what it left behind.
fn watch() {
    let mut id = 0;
    match start() {
        Ok(child) => {
            id = child.id();
            attend(&child);
        }
        Err(e) => eprintln!("holdfast: starting {INIT} {SETUP} failed: {e}"),
    }
    if id != 0 {
        eprintln!("holdfast: the set-up process ended; starting it again");
    }
    let _ = signal_everyone(Ending::Ask);
    collect_for(GRACE);
    let _ = signal_everyone(Ending::Kill);
    collect_for(Duration::from_millis(200));
}

fn start() -> std::io::Result<Child> {
    // Not /proc/self/exe: /proc is mounted by the child.
    Launch::program(Path::new(INIT))?.arg(SETUP)?.environment(&["PATH=/bin", "TERM=linux"])?.spawn()
}

fn attend(child: &Child) {
    loop {
        while let Some((pid, _)) = reap() {
            if pid == child.id() {
                return;
            }
        }
        // Ctrl-Alt-Del: the child decides whether the moment is right. The time limit is for a signal that was lost.
        if wait(Duration::from_secs(5)) == Some(Came::Interrupt) {
            let _ = child.interrupt();
        }
    }
}

fn collect_for(most: Duration) {
    let until = Instant::now() + most;
    while Instant::now() < until {
        while reap().is_some() {}
        wait(Duration::from_millis(50));
        if !others() {
            return;
        }
    }
}

/// True while any process but kernel threads and this one is left. Without /proc, nobody can tell: true.
fn others() -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return true };
    let is_process = |name: &str| name.bytes().all(|b| b.is_ascii_digit()) && name != "1";
    // A kernel thread has no command line, nor has a zombie.
    let lives = |name: &str| std::fs::read(format!("/proc/{name}/cmdline")).is_ok_and(|c| !c.is_empty());
    entries.flatten().any(|e| e.file_name().to_str().is_some_and(|n| is_process(n) && lives(n)))
}
