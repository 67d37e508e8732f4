//! A year of journals, as journald leaves them: written by systemd's own library (`systemd-journal-remote`), which rotates them too.

use super::filling::Noise;
use qemu_tests::Result;
use qemu_tests::machine::run;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

const REMOTE: &str = "/usr/lib/systemd/systemd-journal-remote";
/// Bytes that the file system may hold in which a file is written: a file may have 1/80 of it by journald's limits, and is rotated at a third
/// of that, when its hash tables are full: at some 10 MB.
const ROOM: u64 = 2_560 << 20;
/// Seconds: when the year begins.
const SINCE: u64 = 1_740_000_000;
/// Entries written before finished files are looked for.
const LOOK: u32 = 5_000;
/// Lines of a kernel and services that are started in each start.
const KERNEL: u32 = 700;
const UNITS: u32 = 150;

/// A writer of journal files.
pub(super) struct Year<'a> {
    /// The folder they go to.
    to: &'a Path,
    machine: &'a str,
    room: PathBuf,
    remote: Child,
    out: BufWriter<ChildStdin>,
    noise: Noise,
    boot: String,
    /// Microseconds since 1970, and since the start.
    at: u64,
    monotonic: u64,
    entries: u32,
    finished: BTreeSet<PathBuf>,
}

/// Writes the journals of so many days, a start in each, of so many entries besides those of starting and going down; the small file
/// system in which they come to be is mounted at `room`. The last start is cut off.
///
/// # Errors
/// Where systemd-journal-remote does not run, or a file cannot be written.
pub(super) fn write(to: &Path, machine: &str, room: &Path, days: u32, entries: u32) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::create_dir_all(room)?;
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={ROOM}"), "journals"]).arg(room))?;
    let written = Year::start(to, machine, room).and_then(|mut year| {
        for day in 0..days {
            year.session(day, entries, day + 1 == days)?;
        }
        year.end()
    });
    run(Command::new("umount").arg(room))?;
    written
}

impl<'a> Year<'a> {
    fn start(to: &'a Path, machine: &'a str, room: &Path) -> Result<Self> {
        let mut remote = Command::new(REMOTE)
            .arg(format!("--output={}", room.join("system.journal").display()))
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("{REMOTE} does not run ({e}); package systemd-journal-remote"))?;
        let out = BufWriter::new(remote.stdin.take().ok_or("no pipe to systemd-journal-remote")?);
        let (noise, room) = (Noise::new(0x0dd0_5eed_1234_5679), room.to_path_buf());
        let (boot, finished) = (String::new(), BTreeSet::new());
        Ok(Self { to, machine, room, remote, out, noise, boot, at: 0, monotonic: 0, entries: 0, finished })
    }

    /// One day, from its start to its end.
    fn session(&mut self, day: u32, entries: u32, cut: bool) -> Result<()> {
        self.boot = format!("{:032x}", u128::from(day + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        (self.at, self.monotonic) = ((SINCE + u64::from(day) * 86_400) * 1_000_000, 0);
        self.kernel("Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)")?;
        for n in 0..KERNEL {
            self.kernel(&format!("pci 0000:00:{:02x}.0: reg 0x{n:02x}: [mem 0xfe{n:03x}000-0xfe{n:03x}fff]", n % 32))?;
        }
        for n in 0..UNITS {
            self.init(
                &format!("Started unit{n}.service - Something that starts."),
                &format!("unit{n}.service"),
                STARTED,
            )?;
        }
        self.init("Reached target multi-user.target - Multi-User System.", "multi-user.target", STARTED)?;
        self.init("Reached target graphical.target - Graphical Interface.", "graphical.target", STARTED)?;
        self.init("Startup finished in 2.5s (kernel) + 6.1s (userspace) = 8.6s.", "", FINISHED)?;
        for _ in 0..entries {
            self.line()?;
        }
        if cut {
            return Ok(());
        }
        for target in ["shutdown.target", "final.target", "poweroff.target"] {
            self.init(&format!("Reached target {target} - Words about it."), target, STARTED)?;
        }
        self.entry(&[("MESSAGE", "Journal stopped"), ("MESSAGE_ID", STOPPED), ("_TRANSPORT", "driver"), ("_UID", "0")])
    }

    fn kernel(&mut self, line: &str) -> Result<()> {
        let fields = [("MESSAGE", line), ("_TRANSPORT", "kernel"), ("SYSLOG_IDENTIFIER", "kernel"), ("PRIORITY", "6")];
        self.entry(&fields)
    }

    fn init(&mut self, line: &str, unit: &str, id: &str) -> Result<()> {
        let mut fields = vec![("MESSAGE", line), ("MESSAGE_ID", id), ("_TRANSPORT", "journal"), ("JOB_RESULT", "done")];
        fields.extend([("_UID", "0"), ("_PID", "1"), ("_COMM", "systemd"), ("_EXE", "/usr/lib/systemd/systemd")]);
        if !unit.is_empty() {
            fields.push(("UNIT", unit));
        }
        self.entry(&fields)
    }

    /// What a service says, with all that journald notes of it.
    fn line(&mut self) -> Result<()> {
        const SERVICES: &[&str] =
            &["sshd", "cron", "nginx", "postgres", "dbus-daemon", "rsyslogd", "NetworkManager", "smartd"];
        let service = SERVICES[self.noise.below(SERVICES.len())];
        let (number, pid) = (self.noise.below(1 << 30), 300 + self.noise.below(4000));
        let words =
            format!("connection {number:x} from 10.{}.{}.{}: request served", number % 251, number % 241, number % 239);
        let (pid, unit, exe) = (pid.to_string(), format!("{service}.service"), format!("/usr/sbin/{service}"));
        let (cgroup, arguments) = (format!("/system.slice/{unit}"), format!("{exe} -D"));
        self.entry(&[
            ("MESSAGE", &words),
            ("PRIORITY", "6"),
            ("SYSLOG_FACILITY", "3"),
            ("SYSLOG_IDENTIFIER", service),
            ("SYSLOG_PID", &pid),
            ("_TRANSPORT", "syslog"),
            ("_PID", &pid),
            ("_UID", "998"),
            ("_GID", "998"),
            ("_COMM", service),
            ("_EXE", &exe),
            ("_CMDLINE", &arguments),
            ("_CAP_EFFECTIVE", "0"),
            ("_SYSTEMD_CGROUP", &cgroup),
            ("_SYSTEMD_UNIT", &unit),
            ("_SYSTEMD_SLICE", "system.slice"),
        ])
    }

    fn entry(&mut self, fields: &[(&str, &str)]) -> Result<()> {
        let step = 1_000 + self.noise.below(8_000_000) as u64;
        (self.at, self.monotonic) = (self.at + step, self.monotonic + step);
        let (at, monotonic, boot, machine) = (self.at, self.monotonic, &self.boot, self.machine);
        writeln!(self.out, "__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={monotonic}\n_BOOT_ID={boot}")?;
        writeln!(self.out, "_MACHINE_ID={machine}\n_HOSTNAME=box\n_SOURCE_REALTIME_TIMESTAMP={}", at - 17)?;
        for (name, value) in fields {
            writeln!(self.out, "{name}={value}")?;
        }
        self.out.write_all(b"\n")?;
        self.entries += 1;
        if self.entries.is_multiple_of(LOOK) {
            self.harvest()?;
        }
        Ok(())
    }

    /// Takes the files that were rotated away to where they belong: those that were there at the look before, for the last may still be at
    /// being closed.
    fn harvest(&mut self) -> Result<()> {
        for path in files(&self.room)? {
            let rotated = path.to_string_lossy().contains('@');
            if rotated && !self.finished.insert(path.clone()) {
                take(&path, self.to)?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        self.out.flush()?;
        let Self { out, mut remote, to, room, .. } = self;
        drop(out);
        let status = remote.wait()?;
        if !status.success() {
            return Err(format!("systemd-journal-remote ended with {status}").into());
        }
        files(&room)?.iter().try_for_each(|path| take(path, to))
    }
}

/// The files of a folder, by name: the one that is written to comes last, as it is the newest.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<Result<Vec<PathBuf>>>()?;
    all.sort_by_key(|path| (!path.to_string_lossy().contains('@'), path.clone()));
    Ok(all)
}

/// Moves a file to another file system.
fn take(path: &Path, to: &Path) -> Result<()> {
    fs::copy(path, to.join(path.file_name().ok_or("a file without a name")?))?;
    Ok(fs::remove_file(path)?)
}

/// Message ids of `src/systemd/sd-messages.h`.
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
const STOPPED: &str = "d93fb3c9c24d451a97cea615ce59c00b";
const FINISHED: &str = "b07a249cd024414a82dd00cd181378ff";
