//! What a machine in use has besides its packages: logs, and what its user made. The same bytes each time.

use qemu_tests::Result;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const WORDS: &[&str] = &[
    "system",
    "started",
    "session",
    "of",
    "user",
    "the",
    "connection",
    "closed",
    "from",
    "by",
    "device",
    "link",
    "is",
    "ready",
    "failed",
    "to",
    "open",
    "a",
    "file",
    "in",
    "unit",
    "entered",
    "state",
    "after",
    "timeout",
    "with",
    "code",
    "and",
    "was",
    "not",
    "found",
    "network",
    "service",
    "reached",
    "target",
    "new",
    "request",
    "for",
    "address",
    "memory",
    "process",
    "on",
    "seat",
    "power",
    "button",
    "clock",
    "stepped",
    "forward",
    "mounted",
    "volume",
    "letter",
    "about",
    "next",
    "year",
    "we",
    "shall",
    "have",
    "it",
    "then",
    "house",
    "garden",
    "meeting",
    "draft",
    "version",
];
const UNITS: &[&str] = &["sshd", "systemd", "kernel", "NetworkManager", "gdm", "cron", "dbus-daemon", "postgres"];
/// Seconds: the first day of the logs.
const SINCE: u64 = 1_700_000_000;

/// Marsaglia's xorshift64.
pub(super) struct Noise(u64);

impl Noise {
    /// By a seed other than 0.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or_default() % end
    }

    /// Bytes that do not compress, as of a photograph.
    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(len).collect()
    }

    fn sentence(&mut self, words: usize) -> String {
        let words: Vec<&str> = (0..words).map(|_| WORDS[self.below(WORDS.len())]).collect();
        words.join(" ")
    }
}

/// systemd's journal, written by its own program, and text logs.
///
/// # Errors
/// Where the program fails or the disk is full.
pub(super) fn logs(root: &Path, share: u32) -> Result<()> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let folder = root.join("var/log/journal/5b0c8f3e5d6a4f0e9c0f8a7b6c5d4e40");
    fs::create_dir_all(&folder)?;
    let mut journal = Command::new("/lib/systemd/systemd-journal-remote")
        .arg(format!("--output={}", folder.join("system.journal").display()))
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("systemd-journal-remote does not start ({e})"))?;
    let mut to = BufWriter::new(journal.stdin.take().ok_or("no pipe to systemd-journal-remote")?);
    let mut text = BufWriter::new(File::create(root.join("var/log/syslog.1"))?);
    for n in 0..u64::from(160_000 / share) {
        let (unit, count) = (UNITS[noise.below(UNITS.len())], 4 + noise.below(14));
        let says = noise.sentence(count);
        let (at, pid) = (SINCE + n * 7, 300 + noise.below(9000));
        write!(
            to,
            "__REALTIME_TIMESTAMP={at}000000\n__MONOTONIC_TIMESTAMP={}000000\n\
             _BOOT_ID=1d5c2b6f0d5f4b2ba0a5a5d1c0f3b7aa\n_MACHINE_ID=5b0c8f3e5d6a4f0e9c0f8a7b6c5d4e40\n\
             _HOSTNAME=workstation\nPRIORITY=6\nSYSLOG_IDENTIFIER={unit}\n_PID={pid}\nMESSAGE={says}\n\n",
            n * 7
        )?;
        writeln!(text, "{at} workstation {unit}[{pid}]: {says}")?;
    }
    text.flush()?;
    to.flush()?;
    drop(to);
    if journal.wait()?.success() { Ok(()) } else { Err("systemd-journal-remote failed".into()) }
}

/// Pictures, a film, letters, mail and a database.
///
/// # Errors
/// Where the disk is full.
pub(super) fn user_files(home: &Path, share: u32) -> Result<()> {
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let part = |n: u32| n / share;
    for (folder, count, least, spread) in
        [("Pictures", part(100), 1_200_000, 2_000_000), ("Videos", part(16), 8_000_000, 1)]
    {
        fs::create_dir_all(home.join(folder))?;
        for n in 0..count {
            let len = least + noise.below(spread);
            fs::write(home.join(folder).join(format!("{n:04}")), noise.bytes(len))?;
        }
    }
    for n in 0..part(4000) {
        let folder = home.join(format!("Documents/{:02}", n % 40));
        fs::create_dir_all(&folder)?;
        let count = 40 + noise.below(3000);
        fs::write(folder.join(format!("letter {n}.txt")), noise.sentence(count))?;
    }
    let mut mail = BufWriter::new(File::create(home.join("mail"))?);
    for n in 0..part(20_000) {
        let count = 60 + noise.below(300);
        writeln!(mail, "From user@example.org {n}\nSubject: {}\n\n{}\n", noise.sentence(5), noise.sentence(count))?;
    }
    mail.flush()?;
    let mut database = BufWriter::new(File::create(home.join("places.sqlite"))?);
    for _ in 0..part(8000) {
        let mut page = noise.sentence(400).into_bytes();
        page.resize(2048, 0);
        page.extend(noise.bytes(2048));
        database.write_all(&page)?;
    }
    database.flush()?;
    Ok(())
}
