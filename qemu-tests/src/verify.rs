//! `cargo verify`: every check and test, in the order in which a mistake shows soonest.

use qemu_tests::{Result, rescue, target, workspace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// One step: a name, what it shows, and what runs it.
struct Step {
    name: &'static str,
    shows: &'static str,
    runs: Runs,
    full_only: bool,
}

enum Runs {
    /// A cargo command.
    Cargo(&'static [&'static str]),
    /// The scenario of the step's name. One that fails is tried a second time, and says so: on a busy host without hardware
    /// acceleration a machine can be starved past any limit.
    Machine,
}

const fn step(name: &'static str, shows: &'static str, runs: Runs) -> Step {
    Step { name, shows, runs, full_only: false }
}

/// A step that a full run alone has time for.
const fn long(name: &'static str, shows: &'static str, runs: Runs) -> Step {
    Step { name, shows, runs, full_only: true }
}

const STEPS: &[Step] = &[
    step("format", "the sources are formatted", Runs::Cargo(&["fmt", "--all", "--check"])),
    step(
        "lints",
        "no warning anywhere",
        Runs::Cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ),
    step(
        "tests",
        "unit, property, crash and hostile-input tests",
        Runs::Cargo(&["test", "--workspace", "--no-fail-fast"]),
    ),
    step(
        "image",
        "the USB image is built within its budget",
        Runs::Cargo(&["image", "usb", "-o", "target/qemu/holdfast.img"]),
    ),
    step("spine", "a real Debian, broken twice, comes back by keystrokes over the serial line", Runs::Machine),
    step("histories", "what a real kernel leaves alone on ext4 is known, and nothing else is", Runs::Machine),
    step("uefi", "the USB image starts on UEFI from a USB stick", Runs::Machine),
    step("netboot", "the netboot bundle starts over PXE", Runs::Machine),
    step("table", "damaged partition tables are brought back on SATA, and the target starts on UEFI", Runs::Machine),
    step(
        "trouble",
        "no disk, no store, a broken program, damaged disks: each is said, nothing is written",
        Runs::Machine,
    ),
    step("consoles", "screen and serial line at once: one state, one decision", Runs::Machine),
    long("memory", "the first screen comes in 256 MB, and 100 GB are saved and taken back in 384 MB", Runs::Machine),
    long(
        "crashes",
        "the store, cut off 100,000 times and at every fault, loses nothing it promised",
        Runs::Cargo(&["test", "--release", "-p", "store", "--test", "sim", "--", "--ignored"]),
    ),
    long(
        "terabyte",
        "the map of a volume of 1 TiB is saved, read, compared and checked in 256 MB",
        Runs::Cargo(&["test", "--release", "-p", "store", "--test", "memory", "--", "--ignored"]),
    ),
];

/// What a full run has done so far, so that it can be taken up again.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    commit: String,
    passed: BTreeMap<String, u64>,
}

/// Names the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:<10}{}", step.name, step.shows);
    }
}

/// Runs the steps. A full run sets `HOLDFAST_FULL=1`, leaves out what passed already at this commit, and writes
/// `docs/results`.
pub(crate) fn run(full: bool, only: Option<&str>) -> Result<ExitCode> {
    if let Some(name) = only
        && !STEPS.iter().any(|s| s.name == name)
    {
        return Err(format!("there is no step {name:?}; cargo verify --list names them").into());
    }
    image_builder::host::require(&host_packages())?;
    let kept = workspace::cache()?.join("full-run.json");
    let commit = commit()?;
    let mut record: Record = fs::read(&kept)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .filter(|r: &Record| r.commit == commit)
        .unwrap_or_default();
    record.commit.clone_from(&commit);
    let (mut passed, mut failed) = (0, 0);
    let wanted = |s: &&Step| only.map_or(full || !s.full_only, |o| o == s.name);
    for step in STEPS.iter().filter(wanted) {
        if full && record.passed.contains_key(step.name) {
            println!("== {}: passed already at this commit", step.name);
            passed += 1;
            continue;
        }
        println!("== {}: {}", step.name, step.shows);
        let began = Instant::now();
        let ok = run_step(step, full, only)?;
        let seconds = began.elapsed().as_secs();
        println!("== {}: {} after {seconds} s", step.name, if ok { "passed" } else { "FAILED" });
        if ok {
            passed += 1;
            record.passed.insert(step.name.to_owned(), seconds);
            if full {
                fs::write(&kept, serde_json::to_vec(&record)?)?;
            }
        } else {
            failed += 1;
        }
    }
    if full && failed == 0 && only.is_none() {
        write_results(&record)?;
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_step(step: &Step, full: bool, only: Option<&str>) -> Result<bool> {
    let scenario = ["test", "-p", "qemu-tests", "--test", step.name];
    let (args, tries): (&[&str], u32) = match step.runs {
        Runs::Cargo(args) => (args, 1),
        Runs::Machine => (&scenario, 2),
    };
    for attempt in 1..=tries {
        if attempt > 1 {
            println!("== {}: it failed; trying a second time", step.name);
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(args).current_dir(workspace::root());
        if !nix::unistd::geteuid().is_root() {
            // Some tests mount images; what is built stays the user's own.
            cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo --preserve-env");
        }
        if full {
            cargo.env("HOLDFAST_FULL", "1");
        }
        if only.is_none() {
            cargo.env(rescue::BUILT, workspace::cache()?.join("holdfast.img"));
        }
        if cargo.status()?.success() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the tests call on the host besides what the target recipe needs.
fn host_packages() -> Vec<&'static str> {
    let mut packages = target::HOST_PACKAGES.to_vec();
    packages.extend([
        "gdisk",
        "systemd-journal-remote",
        "systemd",
        "dpkg-dev",
        "cpio",
        "mount",
        "xz-utils",
        "bsdutils",
        "procps",
    ]);
    packages
}

/// The commit that the sources are at.
pub(crate) fn commit() -> Result<String> {
    let git = |args: &[&str]| -> Result<String> {
        // Under sudo the sources are another user's, which git would not read.
        let out =
            Command::new("git").args(["-c", "safe.directory=*"]).args(args).current_dir(workspace::root()).output()?;
        Ok(String::from_utf8(out.stdout)?.trim().to_owned())
    };
    let changes = git(&["status", "--porcelain"])?;
    Ok(format!("{}{}", git(&["rev-parse", "HEAD"])?, if changes.is_empty() { "" } else { " with uncommitted changes" }))
}

fn write_results(record: &Record) -> Result<()> {
    let out = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    let day = String::from_utf8(out.stdout)?.trim().to_owned();
    let folder = workspace::root().join("docs/results");
    fs::create_dir_all(&folder)?;
    let mut text = format!(
        "# Full run of {day}\n\nAt {}. Every step passed.\n\n| step | shows | seconds |\n| --- | --- | --- |\n",
        record.commit
    );
    for step in STEPS {
        let seconds = record.passed.get(step.name).copied().unwrap_or_default();
        text.push_str(&format!("| {} | {} | {seconds} |\n", step.name, step.shows));
    }
    fs::write(folder.join(format!("{day}.md")), text)?;
    Ok(())
}
