//! Runs a command and measures it: time, memory, and what it read.

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use qemu_tests::Result;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the memory of the processes is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The kernel counts processor time for user space in ticks of this many a second.
const TICKS: f64 = 100.0;

/// What one run of a command took.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Cost {
    /// Seconds until what it wrote was on the disk.
    pub(super) seconds: f64,
    /// Seconds of processor time.
    pub(super) cpu: f64,
    /// Bytes: the sum of the largest resident sizes of its processes.
    pub(super) memory: u64,
    /// Bytes it had to get from the disk.
    pub(super) read: u64,
    /// Bytes it was given by reads of files and pipes.
    pub(super) asked: u64,
}

/// Runs it with cold caches; `settle` names a file whose file system is flushed within the time. What it prints to standard
/// output goes to the file `prints`.
///
/// # Errors
/// Where it does not start, or fails: with the end of what it said.
pub(super) fn measure(command: &mut Command, settle: &Path, prints: &Path) -> Result<Cost> {
    sync(None)?;
    fs::write("/proc/sys/vm/drop_caches", "3")?;
    let errors = prints.with_extension("errors");
    command.stdin(Stdio::null()).stdout(File::create(prints)?).stderr(File::create(&errors)?);
    let began = Instant::now();
    let mut child = command.spawn()?;
    let pid = child.id();
    let over = AtomicBool::new(false);
    let (ended, memory) = thread::scope(|scope| {
        let looking = scope.spawn(|| peak(pid, &over));
        let ended = waitid(Id::Pid(Pid::from_raw(pid.cast_signed())), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        over.store(true, Ordering::Relaxed);
        (ended, looking.join().unwrap_or_default())
    });
    ended?;
    // It has ended and was not waited for: the kernel's counts of it, and of the children it waited for, still stand.
    let (read, asked) = bytes_read(pid)?;
    let cpu = processor_time(pid)?;
    let status = child.wait()?;
    if !status.success() {
        let text = fs::read_to_string(&errors).unwrap_or_default();
        let mut last: Vec<&str> = text.lines().rev().take(4).collect();
        last.reverse();
        return Err(format!("ended with {status}: {}", last.join(" / ")).into());
    }
    sync(Some(settle))?;
    Ok(Cost { seconds: began.elapsed().as_secs_f64(), cpu, memory, read, asked })
}

fn sync(of: Option<&Path>) -> Result<()> {
    let mut sync = Command::new("sync");
    if let Some(file) = of {
        sync.arg("--file-system").arg(file);
    }
    qemu_tests::machine::run(&mut sync)
}

/// Watches a process and its descendants until it is over; the sum of the peaks of all that were seen.
fn peak(root: u32, over: &AtomicBool) -> u64 {
    let mut peaks: BTreeMap<u32, u64> = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        for pid in descendants(root) {
            let now = high_water(pid).unwrap_or_default();
            peaks.entry(pid).and_modify(|p| *p = now.max(*p)).or_insert(now);
        }
        thread::sleep(LOOK);
    }
    peaks.values().sum()
}

fn descendants(root: u32) -> BTreeSet<u32> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if let Some(parent) = stat(pid).and_then(|s| s.get(1)?.parse::<u32>().ok()) {
            parents.insert(pid, parent);
        }
    }
    let mut family = BTreeSet::from([root]);
    loop {
        let more: Vec<u32> =
            parents.iter().filter(|(pid, of)| family.contains(of) && !family.contains(pid)).map(|(p, _)| *p).collect();
        if more.is_empty() {
            return family;
        }
        family.extend(more);
    }
}

/// The fields of `/proc/PID/stat` after the name: the state, the parent and so on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn high_water(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|n| n * 1024)
}

/// From the disk, and all reads.
fn bytes_read(pid: u32) -> Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let value = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.trim().parse::<u64>().ok());
    let both = value("read_bytes:").zip(value("rchar:"));
    both.ok_or_else(|| "the kernel does not count what processes read".into())
}

fn processor_time(pid: u32) -> Result<f64> {
    let fields = stat(pid).ok_or("a process that ended is gone")?;
    // proc_pid_stat(5): utime, stime, cutime and cstime are fields 14 to 17; the first here is number 3.
    let ticks = fields.get(11..15).ok_or("/proc/PID/stat is too short")?;
    let mut sum = 0;
    for field in ticks {
        sum += field.parse::<u32>()?;
    }
    Ok(f64::from(sum) / TICKS)
}
