//! `/init` of the rescue: PID 1, and the set-up child that does everything PID 1 must not.
//!
//! **Architecture invariant.** PID 1 starts one child, reaps, and starts it again. It parses nothing, mounts nothing and
//! waits for nobody else, for its end is the machine's.

mod cmdline;
mod console;
mod devices;
mod failure;
mod mounts;
mod reaper;
mod report;
mod second;
mod setup;
mod store;
mod store_partition;
mod supervisor;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The kernel hands PID 1 words of its command line as arguments: the number decides, not they.
    if std::process::id() == 1 {
        reaper::run();
    }
    if std::env::args().nth(1).as_deref() == Some(reaper::SETUP) {
        setup::run();
    }
    eprintln!("this is PID 1 of the Holdfast rescue image; the kernel starts it");
    ExitCode::from(2)
}
