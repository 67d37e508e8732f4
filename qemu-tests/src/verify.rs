//! `cargo verify`: every check and test, in the order in which a mistake shows soonest.

use qemu_tests::{Result, rescue, target, workspace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
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
    /// The scenario of the step's name. Those that follow each other are run side by side. One that fails is tried a second time,
    /// alone, and says so: on a busy host without hardware acceleration a machine can be starved past any limit.
    Machine,
    /// The programs of the fuzzer, by this program itself.
    Fuzz,
}

/// Most scenarios at a time: each has an image of gigabytes at hand, and a limit for everything it waits for.
const MOST_LANES: usize = 2;

impl Step {
    fn is_machine(&self) -> bool {
        matches!(self.runs, Runs::Machine)
    }
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
    // `--all-targets` leaves out the tests that `cargo test` does not run by itself.
    step(
        "scenarios",
        "no warning in the scenarios either",
        Runs::Cargo(&["clippy", "--quiet", "--workspace", "--test", "*", "--", "-D", "warnings"]),
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
    long("prove", "a real Debian is proven to start, and broken in three ways it is not", Runs::Machine),
    long(
        "keep",
        "the rescue composes a state that keeps what is in /root, and a real Debian comes up with it",
        Runs::Machine,
    ),
    long(
        "grow",
        "a real Debian goes onto a larger disk, grows over all of it in the rescue, and starts from there",
        Runs::Machine,
    ),
    long(
        "sticks",
        "all that is saved is copied onto a second stick in the rescue, also where it is pulled out",
        Runs::Machine,
    ),
    long("entries", "boot entries that the firmware forgot come back by keystrokes", Runs::Machine),
    long(
        "dual",
        "a real Debian comes back by keystrokes, and of a Windows beside it not a byte changes",
        Runs::Machine,
    ),
    long(
        "stacks",
        "a real Debian on XFS, on btrfs, on LVM and on LVM in LUKS comes back by keystrokes each time",
        Runs::Machine,
    ),
    long(
        "breakages",
        "a real Debian, broken in seven ways on three machines, comes back by keystrokes each time",
        Runs::Machine,
    ),
    long(
        "cuts",
        "a rollback, cut off 200 times, is finished or undone to the byte, and nothing starts before",
        Runs::Machine,
    ),
    long(
        "oracles",
        "what is read of a real Debian is what dissect.target reads of it, record for record",
        Runs::Machine,
    ),
    long("memory", "the first screen comes in 256 MB, and 100 GB are saved and taken back in 384 MB", Runs::Machine),
    long(
        "crashes",
        "the store, cut off 100,000 times and at every fault, loses nothing it promised",
        Runs::Cargo(&["test", "--release", "-p", "store", "--test", "sim", "--", "--ignored"]),
    ),
    long(
        "xfs",
        "what a kernel recovers of an XFS that was cut off at random is what is read",
        Runs::Cargo(&["test", "--release", "-p", "disk", "--test", "xfs_reads", "--", "--ignored"]),
    ),
    long(
        "btrfs",
        "what a kernel left alone on a btrfs, in sessions that end in order or are cut off at random, is what is not read again",
        Runs::Cargo(&["test", "--release", "-p", "disk", "--test", "btrfs_reads", "--", "--ignored"]),
    ),
    long(
        "terabyte",
        "the map of a volume of 1 TiB is saved, read, compared and checked in 256 MB",
        Runs::Cargo(&["test", "--release", "-p", "store", "--test", "memory", "--", "--ignored"]),
    ),
    long("fuzz", "a fuzzer looks for bytes that bring a parser down, two minutes for each kind", Runs::Fuzz),
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
    let steps: Vec<&Step> = STEPS.iter().filter(wanted).collect();
    for batch in steps.chunk_by(|a, b| a.is_machine() && b.is_machine()) {
        let (done, to_do): (Vec<&Step>, Vec<&Step>) =
            batch.iter().partition(|s| full && record.passed.contains_key(s.name));
        for step in done {
            println!("== {}: passed already at this commit", step.name);
            passed += 1;
        }
        let run = Run { full, alone: only.is_some() };
        run.batch(&to_do, &mut |step, ok, seconds| {
            println!("== {}: {} after {seconds} s", step.name, if ok { "passed" } else { "FAILED" });
            if !ok {
                failed += 1;
                return Ok(());
            }
            passed += 1;
            record.passed.insert(step.name.to_owned(), seconds);
            if full { Ok(fs::write(&kept, serde_json::to_vec(&record)?)?) } else { Ok(()) }
        })?;
    }
    if full && failed == 0 && only.is_none() {
        write_results(&record)?;
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Told of each step whether it passed, and how many seconds it took.
type Told<'a> = &'a mut dyn FnMut(&Step, bool, u64) -> Result<()>;

/// How steps are run.
struct Run {
    full: bool,
    /// One step was asked for: a scenario makes the image it needs itself.
    alone: bool,
}

impl Run {
    /// Runs steps: one as it is, several scenarios side by side.
    fn batch(&self, steps: &[&Step], told: Told<'_>) -> Result<()> {
        if let [step] = steps {
            println!("== {}: {}", step.name, step.shows);
            let began = Instant::now();
            let mut ok = self.command(step)?.status()?.success();
            if !ok && step.is_machine() {
                println!("== {}: it failed; trying a second time", step.name);
                ok = self.command(step)?.status()?.success();
            }
            return told(step, ok, began.elapsed().as_secs());
        }
        let mut again = Vec::new();
        self.side_by_side(steps, &mut |step, ok, seconds| match ok {
            true => told(step, true, seconds),
            false => {
                again.push(step.name);
                Ok(())
            }
        })?;
        for step in steps.iter().filter(|s| again.contains(&s.name)) {
            println!("== {}: it failed; trying a second time, alone", step.name);
            let began = Instant::now();
            let ok = self.command(step)?.status()?.success();
            told(step, ok, began.elapsed().as_secs())?;
        }
        Ok(())
    }

    /// Runs scenarios, as many at a time as there are processors for: without hardware acceleration a machine keeps one busy. What
    /// each says is kept in a file until it has ended, and then shown whole.
    fn side_by_side(&self, steps: &[&Step], told: Told<'_>) -> Result<()> {
        let lanes = std::thread::available_parallelism()?.get().min(MOST_LANES).min(steps.len());
        let next = AtomicUsize::new(0);
        let cache = workspace::cache()?;
        std::thread::scope(|scope| {
            let (sender, ended) = channel();
            for _ in 0..lanes {
                let (sender, next, cache) = (sender.clone(), &next, &cache);
                scope.spawn(move || {
                    while let Some(step) = steps.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let said = cache.join(format!("{}.log", step.name));
                        println!("== {}: {} (for now to {})", step.name, step.shows, said.display());
                        let began = Instant::now();
                        let ok = self.scenario_into(step, &said).map_err(|e| e.to_string());
                        // Who is not listened to any more need not go on.
                        if sender.send((*step, ok, began.elapsed().as_secs(), said)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for (step, ok, seconds, said) in ended {
                println!("== {}: what it said", step.name);
                io::copy(&mut File::open(&said)?, &mut io::stdout())?;
                told(step, ok?, seconds)?;
            }
            Ok(())
        })
    }

    /// Runs a scenario with everything it says going into a file.
    fn scenario_into(&self, step: &Step, file: &Path) -> Result<bool> {
        let file = File::create(file)?;
        let mut command = self.command(step)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(command.status()?.success())
    }

    fn command(&self, step: &Step) -> Result<Command> {
        let mut cargo = Command::new(env!("CARGO"));
        match step.runs {
            Runs::Cargo(args) => cargo.args(args),
            Runs::Machine => cargo.args(["test", "-p", "qemu-tests", "--test", step.name]),
            Runs::Fuzz => {
                // Needs no rights, and builds for itself.
                let mut fuzz = Command::new(std::env::current_exe()?);
                fuzz.arg("fuzz").current_dir(workspace::root());
                return Ok(fuzz);
            }
        };
        cargo.current_dir(workspace::root());
        if !nix::unistd::geteuid().is_root() {
            // Some tests mount images; what is built stays the user's own.
            cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo --preserve-env");
        }
        if self.full {
            cargo.env("HOLDFAST_FULL", "1");
        }
        if !self.alone {
            cargo.env(rescue::BUILT, workspace::cache()?.join("holdfast.img"));
        }
        Ok(cargo)
    }
}

/// What the tests call on the host besides what the target recipe needs.
fn host_packages() -> Vec<&'static str> {
    let mut packages = target::HOST_PACKAGES.to_vec();
    packages.extend([
        "efibootmgr",
        "gdisk",
        "systemd-journal-remote",
        "python3-venv",
        "systemd",
        "dpkg-dev",
        "cpio",
        "mount",
        "partclone",
        "btrfs-progs",
        "cryptsetup-bin",
        "xfsprogs",
        "exfatprogs",
        "ntfs-3g",
        "mdadm",
        "sqlite3",
        "xz-utils",
        "bsdutils",
        "procps",
        "mandoc",
        "zsh",
        "fish",
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
