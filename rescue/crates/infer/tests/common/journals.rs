//! Journal files written by the real software: `systemd-journal-remote` reads the export format from its standard input and
//! writes a journal file through systemd's own library.

use super::run;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const REMOTE: &str = "/usr/lib/systemd/systemd-journal-remote";

pub(crate) const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
pub(crate) const STOPPED: &str = "d93fb3c9c24d451a97cea615ce59c00b";
pub(crate) const FINISHED: &str = "b07a249cd024414a82dd00cd181378ff";
pub(crate) const SLEEP: &str = "6bbd95ee977941e497c48be27c254128";

/// Entries in export format.
pub(crate) struct Export {
    pub(crate) text: String,
    boot: String,
    at: u64,
    monotonic: u64,
}

impl Export {
    pub(crate) fn new() -> Self {
        Self { text: String::new(), boot: String::new(), at: 1_795_000_000_000_000, monotonic: 0 }
    }

    pub(crate) fn boot(&mut self, digit: char) -> &mut Self {
        self.boot = digit.to_string().repeat(32);
        self.at += 60_000_000;
        self.monotonic = 0;
        self
    }

    pub(crate) fn clock(&mut self, seconds: u64) -> &mut Self {
        self.at = seconds * 1_000_000;
        self
    }

    pub(crate) fn entry(&mut self, fields: &[(&str, &str)]) -> &mut Self {
        self.at += 10_000;
        self.monotonic += 10_000;
        let (at, monotonic, boot) = (self.at, self.monotonic, &self.boot);
        write!(self.text, "__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={monotonic}\n_BOOT_ID={boot}\n").unwrap();
        self.text.push_str("_MACHINE_ID=0123456789abcdef0123456789abcdef\n_HOSTNAME=box\n");
        for (name, value) in fields {
            writeln!(self.text, "{name}={value}").unwrap();
        }
        self.text.push('\n');
        self
    }

    /// Lines of services, `count` of them.
    pub(crate) fn chatter(&mut self, count: u32) -> &mut Self {
        for i in 0..count {
            let line = format!("request {i} of the day served");
            self.entry(&[
                ("MESSAGE", &line),
                ("_TRANSPORT", "syslog"),
                ("_UID", "1000"),
                ("_PID", "777"),
                ("PRIORITY", "6"),
            ]);
        }
        self
    }

    pub(crate) fn kernel(&mut self, line: &str) -> &mut Self {
        self.entry(&[
            ("MESSAGE", line),
            ("_TRANSPORT", "kernel"),
            ("SYSLOG_IDENTIFIER", "kernel"),
            ("SYSLOG_FACILITY", "0"),
            ("PRIORITY", "6"),
        ])
    }

    fn init(&mut self, line: &str, more: &[(&str, &str)]) -> &mut Self {
        let mut fields =
            vec![("MESSAGE", line), ("_TRANSPORT", "journal"), ("_UID", "0"), ("_PID", "1"), ("_COMM", "systemd")];
        fields.extend_from_slice(more);
        self.entry(&fields)
    }

    pub(crate) fn reached(&mut self, target: &str) -> &mut Self {
        let line = format!("Reached target {target} - Words about it.");
        self.init(&line, &[("UNIT", target), ("MESSAGE_ID", STARTED), ("JOB_TYPE", "start"), ("JOB_RESULT", "done")])
    }

    pub(crate) fn finished(&mut self) -> &mut Self {
        self.init("Startup finished in 1.5s (kernel) + 6.1s (userspace) = 7.6s.", &[("MESSAGE_ID", FINISHED)])
    }

    pub(crate) fn stopped(&mut self) -> &mut Self {
        self.entry(&[("MESSAGE", "Journal stopped"), ("MESSAGE_ID", STOPPED), ("_TRANSPORT", "driver"), ("_UID", "0")])
    }

    /// A start as it should be.
    pub(crate) fn start(&mut self) -> &mut Self {
        self.kernel("Linux version 6.1.0-18-amd64")
            .chatter(300)
            .reached("multi-user.target")
            .reached("graphical.target")
            .finished()
    }

    pub(crate) fn shutdown(&mut self, target: &str) -> &mut Self {
        self.reached("shutdown.target").reached("final.target").reached(target).stopped()
    }
}

/// How the file is written. This version of the tool compresses with zstd whatever one asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub(crate) compact: bool,
    pub(crate) keyed: bool,
}

pub(crate) const FORMATS: [Format; 4] = [
    Format { compact: true, keyed: true },
    Format { compact: false, keyed: false },
    Format { compact: false, keyed: true },
    Format { compact: true, keyed: false },
];

fn remote(to: &Path, format: Format) -> Command {
    let word = |yes: bool| if yes { "1" } else { "0" };
    let mut command = Command::new(REMOTE);
    command
        .arg(format!("--output={}", to.display()))
        .arg("-")
        .env("SYSTEMD_JOURNAL_COMPACT", word(format.compact))
        .env("SYSTEMD_JOURNAL_KEYED_HASH", word(format.keyed))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Writes the entries to a journal file.
pub(crate) fn write(to: &Path, export: &Export, format: Format) {
    let mut child = remote(to, format)
        .spawn()
        .unwrap_or_else(|e| panic!("{REMOTE} does not run ({e}): install the package systemd-journal-remote"));
    child.stdin.take().unwrap().write_all(export.text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Writes the entries and kills the writer before it can close the file.
pub(crate) fn write_and_kill(to: &Path, export: &Export, format: Format) {
    let mut child = remote(to, format)
        .spawn()
        .unwrap_or_else(|e| panic!("{REMOTE} does not run ({e}): install the package systemd-journal-remote"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(export.text.as_bytes()).unwrap();
    stdin.flush().unwrap();
    // An entry is written once the next one begins; wait for the file to stand still.
    let mut last = (0, 0);
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(150));
        let bytes = std::fs::read(to).unwrap_or_default();
        let now = bytes.get(152..160).map_or((0, 0), |b| (bytes.len(), u64::from_le_bytes(b.try_into().unwrap())));
        if now == last && now.1 > 0 {
            break;
        }
        last = now;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
}

/// A boot as journalctl tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) boot: String,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) last_message: String,
}

/// The boots of a file in order of its entries, by `journalctl -o export`.
pub(crate) fn oracle(files: &[&Path]) -> Vec<Told> {
    let mut command = Command::new("journalctl");
    for file in files {
        command.arg(format!("--file={}", file.display()));
    }
    let output = run(command.args(["--no-pager", "-o", "export", "--output-fields=MESSAGE,_BOOT_ID"]), "systemd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut told: Vec<Told> = Vec::new();
    for entry in text.split("\n\n").filter(|e| !e.trim().is_empty()) {
        let field = |name: &str| {
            entry.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        let (boot, at) = (field("_BOOT_ID"), field("__REALTIME_TIMESTAMP").parse().unwrap());
        match told.last_mut().filter(|t| t.boot == boot) {
            Some(t) => (t.last, t.last_message) = (at, field("MESSAGE")),
            None => told.push(Told { boot, first: at, last: at, last_message: field("MESSAGE") }),
        }
    }
    told
}
