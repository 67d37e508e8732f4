//! What single journal entries mean.

use super::file::{Entry, Journal};
use model::evidence::EndKind;
use std::collections::HashMap;

/// Message ids of `src/systemd/sd-messages.h`.
mod id {
    pub(super) const JOURNAL_STOP: &str = "d93fb3c9c24d451a97cea615ce59c00b";
    pub(super) const STARTUP_FINISHED: &str = "b07a249cd024414a82dd00cd181378ff";
    pub(super) const SHUTDOWN: &str = "98268866d1d54a499c4e98921d93bc40";
    pub(super) const SLEEP_START: &str = "6bbd95ee977941e497c48be27c254128";
    pub(super) const SLEEP_STOP: &str = "8811e6df2a8e40f58a94cea26f8ebf14";
    pub(super) const UNIT_STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
    pub(super) const UNIT_STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    JournalStopped,
    StartupFinished,
    Reached(String),
    Emergency,
    /// Somebody asked for it.
    Requested(EndKind),
    /// The final target was reached.
    Ended(EndKind),
    SleepStart,
    SleepStop,
    Panic,
    /// The kernel of that release began.
    Kernel(String),
    /// The kernel was given an initial RAM file system.
    Initramfs,
    /// The kernel's command line asks for emergency or rescue mode.
    RescueAsked,
    /// All but the kernel starts anew (systemd 254 and later): what was reached before does not count.
    SoftReboot,
    /// `systemd-journal-flush.service` is being stopped: where `/var` is a file system of its own, journald lets go of it now, and
    /// nothing after this is on it (`journalctl --smart-relinquish-var`).
    HandedBack,
    /// `systemd-journal-flush.service` was started: the journal is on `/var`.
    TakenUp,
}

/// The service that moves the journal to `/var`, and away from it.
const FLUSH: &str = "systemd-journal-flush.service";

/// One field, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Message(String),
    MessageId(String),
    Unit(String),
    JobFailed,
    /// `_TRANSPORT=kernel`.
    Kernel,
    /// `SYSLOG_FACILITY=0`. What a process writes to `/dev/kmsg` comes from there too, but never has the kernel's facility (kernel
    /// `kernel/printk/printk.c`, `devkmsg_write`).
    KernelsOwn,
    /// `_TRANSPORT=driver`: written by journald itself.
    Journald,
    /// Written by a process of root: nobody else's word counts.
    Root,
    /// `_PID=1`.
    Init,
    /// `_COMM=systemd-logind`.
    Logind,
    /// `SYSLOG_IDENTIFIER=systemd`, and `SYSLOG_PID=1`: what the writer says of himself.
    CallsItselfSystemd,
    CallsItselfFirst,
    Other,
}

impl Field {
    fn of(bytes: &[u8]) -> Self {
        let Some(eq) = bytes.iter().take(64).position(|b| *b == b'=') else { return Self::Other };
        let (name, value) = (&bytes[..eq], &bytes[eq + 1..]);
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"MESSAGE" => Self::Message(text()),
            b"MESSAGE_ID" => Self::MessageId(text()),
            b"UNIT" => Self::Unit(text()),
            b"JOB_RESULT" if value != b"done" => Self::JobFailed,
            b"_TRANSPORT" if value == b"kernel" => Self::Kernel,
            b"_TRANSPORT" if value == b"driver" => Self::Journald,
            b"SYSLOG_FACILITY" if value == b"0" => Self::KernelsOwn,
            b"SYSLOG_IDENTIFIER" if value == b"systemd" => Self::CallsItselfSystemd,
            b"SYSLOG_PID" if value == b"1" => Self::CallsItselfFirst,
            b"_UID" if value == b"0" => Self::Root,
            b"_PID" if value == b"1" => Self::Init,
            b"_COMM" if value == b"systemd-logind" => Self::Logind,
            _ => Self::Other,
        }
    }
}

/// Fields seen, by where they lie: most are shared by many entries.
#[derive(Default)]
pub(super) struct Fields {
    seen: HashMap<u64, Field>,
    read: usize,
    asked: usize,
}

/// Most data objects read of one file.
const MOST_READ: usize = 600_000;
/// Most fields asked for of one file: 25 an entry, for all the entries that are read.
const MOST_ASKED: usize = 3_000_000;
/// Most fields remembered at a time.
const MOST_SEEN: usize = 50_000;

impl Fields {
    /// True where as much was read as may be.
    pub(super) fn exhausted(&self) -> bool {
        self.read >= MOST_READ || self.asked >= MOST_ASKED
    }

    fn get(&mut self, journal: &mut Journal<'_>, at: u64) -> Field {
        self.asked += 1;
        if self.exhausted() {
            return Field::Other;
        }
        if let Some(field) = self.seen.get(&at) {
            return field.clone();
        }
        self.read += 1;
        let field = journal.field(at).map_or(Field::Other, |bytes| Field::of(&bytes));
        if self.seen.len() >= MOST_SEEN {
            self.seen.clear();
        }
        self.seen.insert(at, field.clone());
        field
    }

    /// What an entry says, where it says anything of interest.
    pub(super) fn event(&mut self, journal: &mut Journal<'_>, entry: &Entry) -> Option<Event> {
        let mut seen = Seen::default();
        for at in journal.fields(entry) {
            match self.get(journal, at) {
                Field::Message(text) => seen.message = text,
                Field::MessageId(text) => seen.id = text,
                Field::Unit(text) => seen.unit = Some(text),
                Field::JobFailed => seen.failed = true,
                Field::Kernel => seen.kernel = true,
                Field::KernelsOwn => seen.kernels_own = true,
                Field::Journald => seen.journald = true,
                Field::Root => seen.root = true,
                Field::Init => seen.init = true,
                Field::Logind => seen.logind = true,
                Field::CallsItselfSystemd => seen.says_systemd = true,
                Field::CallsItselfFirst => seen.says_first = true,
                Field::Other => {}
            }
        }
        seen.event()
    }
}

/// An entry's fields.
#[derive(Debug, Default)]
struct Seen {
    message: String,
    id: String,
    unit: Option<String>,
    failed: bool,
    kernel: bool,
    kernels_own: bool,
    journald: bool,
    root: bool,
    init: bool,
    logind: bool,
    says_systemd: bool,
    says_first: bool,
}

impl Seen {
    fn event(&self) -> Option<Event> {
        // Anyone may write a message into the journal; the fields that begin with `_` are journald's own.
        if self.kernel {
            return if self.kernels_own { kernel_event(&self.message) } else { self.by_way_of_the_kernel() };
        }
        if self.journald {
            return (self.id == id::JOURNAL_STOP).then_some(Event::JournalStopped);
        }
        if self.init {
            match self.id.as_str() {
                id::STARTUP_FINISHED => return Some(Event::StartupFinished),
                id::UNIT_STARTED if self.failed => return None,
                id::UNIT_STARTED if self.unit.as_deref() == Some(FLUSH) => return Some(Event::TakenUp),
                id::UNIT_STOPPING if self.unit.as_deref() == Some(FLUSH) => return Some(Event::HandedBack),
                _ => return self.unit_event(),
            }
        }
        if !self.root {
            return None;
        }
        match self.id.as_str() {
            id::SHUTDOWN => asked(&self.message).map(Event::Requested),
            id::SLEEP_START => Some(Event::SleepStart),
            id::SLEEP_STOP => Some(Event::SleepStop),
            _ if self.logind => logind_event(&self.message),
            _ => None,
        }
    }

    /// Before journald is up (in emergency mode that is late), or where it is told to, systemd writes to the kernel's log. So does every
    /// process of root that wants to, and says of itself there what it likes: that a target was reached is believed to a degree, that it fell
    /// into emergency mode as long as nothing was, that it begins anew, and nothing else.
    fn by_way_of_the_kernel(&self) -> Option<Event> {
        match self.unit_event().filter(|_| self.says_systemd && self.says_first)? {
            Event::Reached(_) => Some(Event::StartupFinished),
            Event::Emergency => Some(Event::Emergency),
            // journald is stopped by then.
            Event::SoftReboot => Some(Event::SoftReboot),
            _ => None,
        }
    }

    fn unit_event(&self) -> Option<Event> {
        if self.message.starts_with("You are in emergency mode") {
            return Some(Event::Emergency);
        }
        // "Reached target multi-user.target - Multi-User System." since systemd 251, "Reached target Multi-User System." before.
        let target = match self.message.strip_prefix("Reached target ") {
            Some(rest) => self.unit.as_deref().unwrap_or_else(|| rest.split([' ', '.']).next().unwrap_or(rest)),
            None if self.id == id::UNIT_STARTED => self.unit.as_deref()?,
            None => return None,
        };
        let rest = self.message.strip_prefix("Reached target ").unwrap_or_default();
        let is = |name: &str, words: &str| {
            target.strip_suffix(".target") == Some(name)
                || (self.unit.is_none() && (rest.starts_with(&format!("{name}.target")) || rest.starts_with(words)))
        };
        if is("multi-user", "Multi-User System") {
            Some(Event::Reached("multi-user.target".into()))
        } else if is("graphical", "Graphical Interface") {
            Some(Event::Reached("graphical.target".into()))
        } else if is("emergency", "Emergency Mode") || is("rescue", "Rescue Mode") {
            Some(Event::Emergency)
        } else if is("poweroff", "System Power Off") || is("poweroff", "Power-Off") {
            Some(Event::Ended(EndKind::Poweroff))
        } else if is("reboot", "System Reboot") || is("reboot", "Reboot") {
            Some(Event::Ended(EndKind::Reboot))
        } else if is("halt", "System Halt") || is("halt", "Halt") {
            Some(Event::Ended(EndKind::Halt))
        } else if is("kexec", "Reboot via kexec") {
            Some(Event::Ended(EndKind::Kexec))
        } else if is("soft-reboot", "Reboot System Userspace") {
            Some(Event::SoftReboot)
        } else {
            None
        }
    }
}

/// What logind's announcement asks for (`src/login/logind-action.c`).
fn asked(message: &str) -> Option<EndKind> {
    let message = message.to_ascii_lowercase();
    let has = |word: &str| message.contains(word);
    if has("kexec") {
        Some(EndKind::Kexec)
    } else if has("reboot") {
        Some(EndKind::Reboot)
    } else if has("halt") {
        Some(EndKind::Halt)
    } else if has("power") {
        Some(EndKind::Poweroff)
    } else {
        None
    }
}

/// Lines of `init/{version,main,initramfs}.c`, `kernel/power/{suspend,hibernate}.c`, `kernel/panic.c` and the architectures' oops handlers.
fn kernel_event(message: &str) -> Option<Event> {
    let starts = |words: &[&str]| words.iter().any(|w| message.starts_with(w));
    if let Some(rest) = message.strip_prefix("Linux version ") {
        rest.split(' ').next().filter(|release| !release.is_empty()).map(|release| Event::Kernel(release.to_owned()))
    } else if let Some(line) = message.strip_prefix("Kernel command line: ").or(message.strip_prefix("Command line: "))
    {
        line.split_ascii_whitespace().any(asks_for_rescue).then_some(Event::RescueAsked)
    } else if starts(&["Trying to unpack rootfs image as initramfs", "Unpacking initramfs"]) {
        Some(Event::Initramfs)
    } else if starts(&["PM: suspend entry", "PM: hibernation: hibernation entry", "PM: hibernation entry"]) {
        Some(Event::SleepStart)
    } else if starts(&["PM: suspend exit", "PM: hibernation: hibernation exit", "PM: hibernation exit"]) {
        Some(Event::SleepStop)
    } else if starts(&[
        "Kernel panic - not syncing",
        "kernel BUG at",
        "BUG: unable to handle",
        "Oops:",
        "Internal error: Oops",
    ]) {
        Some(Event::Panic)
    } else {
        None
    }
}

/// systemd(1), "Kernel Command Line".
fn asks_for_rescue(word: &str) -> bool {
    let unit = word.strip_prefix("systemd.unit=").map(|unit| unit.strip_suffix(".target").unwrap_or(unit));
    matches!(word, "emergency" | "-b" | "rescue" | "single" | "s" | "S" | "1")
        || matches!(unit, Some("rescue" | "emergency"))
}

/// logind's last words before a sleep (`manager_message_...`).
fn logind_event(message: &str) -> Option<Event> {
    let sleeping = [
        "The system will suspend now!",
        "The system will hibernate now!",
        "The system will suspend and later hibernate now!",
    ];
    sleeping.iter().any(|w| message.starts_with(w)).then_some(Event::SleepStart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(message: &str, unit: Option<&str>, id: &str) -> Option<Event> {
        let (message, id, unit) = (message.into(), id.into(), unit.map(str::to_owned));
        Seen { message, id, unit, root: true, init: true, ..Seen::default() }.event()
    }

    #[test]
    fn targets_of_old_and_new_systemd() {
        let reached = Some(Event::Reached("multi-user.target".into()));
        let started = id::UNIT_STARTED;
        assert_eq!(
            init("Reached target multi-user.target - Multi-User System.", Some("multi-user.target"), started),
            reached
        );
        assert_eq!(init("Reached target Multi-User System.", Some("multi-user.target"), started), reached);
        assert_eq!(init("Reached target Multi-User System.", None, ""), reached);
        assert_eq!(init("Reached target multi-user.target - Multi-User System.", None, ""), reached);
        assert_eq!(init("Reached target Reboot.", Some("reboot.target"), started), Some(Event::Ended(EndKind::Reboot)));
        assert_eq!(
            init("Reached target reboot.target - System Reboot.", None, ""),
            Some(Event::Ended(EndKind::Reboot))
        );
        assert_eq!(init("Reached target Basic System.", Some("basic.target"), started), None);
        assert_eq!(init("Started Reboot helper", Some("my-reboot.service"), started), None);
    }

    #[test]
    fn only_root_and_the_kernel_are_believed() {
        let lie =
            Seen { message: "Reached target multi-user.target".into(), id: id::JOURNAL_STOP.into(), ..Seen::default() };
        assert_eq!(lie.event(), None);
        // A process of root that is not init cannot reach a target either.
        let lie = Seen { message: "Reached target multi-user.target".into(), root: true, ..Seen::default() };
        assert_eq!(lie.event(), None);
        // Nor stop the journal, which journald alone does.
        let lie = Seen { id: id::JOURNAL_STOP.into(), root: true, ..Seen::default() };
        assert_eq!(lie.event(), None);
        let stop = Seen { id: id::JOURNAL_STOP.into(), root: true, journald: true, ..Seen::default() };
        assert_eq!(stop.event(), Some(Event::JournalStopped));
        // Nor speak for the kernel by way of its log.
        let lie = |message: &str| Seen { message: message.into(), kernel: true, ..Seen::default() };
        for message in ["Kernel panic - not syncing: so", "PM: suspend entry (deep)", "Reached target graphical.target"]
        {
            assert_eq!(lie(message).event(), None, "{message}");
        }
        let as_systemd = |message| Seen { says_systemd: true, says_first: true, ..lie(message) }.event();
        assert_eq!(as_systemd("Reached target poweroff.target - System Power Off."), None);
        assert_eq!(as_systemd("Reached target emergency.target"), Some(Event::Emergency), "until one is reached");
        let anew = "Reached target soft-reboot.target - Reboot System Userspace.";
        assert_eq!((lie(anew).event(), as_systemd(anew)), (None, Some(Event::SoftReboot)));
        assert_eq!(as_systemd("Reached target graphical.target"), Some(Event::StartupFinished), "likely at most");
    }

    #[test]
    fn a_failed_job_reached_nothing() {
        let failed = Seen {
            message: "Dependency failed for multi-user.target".into(),
            id: id::UNIT_STARTED.into(),
            unit: Some("multi-user.target".into()),
            failed: true,
            init: true,
            ..Seen::default()
        };
        assert_eq!(failed.event(), None);
    }

    #[test]
    fn kernel_lines() {
        let kernel = |message: &str| {
            Seen { message: message.into(), kernel: true, kernels_own: true, ..Seen::default() }.event()
        };
        assert_eq!(kernel("Linux version 6.1.0-49-amd64 (x@y)"), Some(Event::Kernel("6.1.0-49-amd64".into())));
        assert_eq!(kernel("Kernel command line: root=/dev/sda1 ro single"), Some(Event::RescueAsked));
        assert_eq!(kernel("Command line: root=/dev/sda1 systemd.unit=rescue.target"), Some(Event::RescueAsked));
        assert_eq!(kernel("Command line: root=/dev/sda1 ro quiet"), None);
        assert_eq!(kernel("Kernel panic - not syncing: sysrq triggered crash"), Some(Event::Panic));
        assert_eq!(kernel("PM: suspend entry (deep)"), Some(Event::SleepStart));
        assert_eq!(kernel("PM: suspend exit"), Some(Event::SleepStop));
        assert_eq!(kernel("usb 1-1: Oops: no"), None);
    }

    #[test]
    fn fields_by_name() {
        assert_eq!(Field::of(b"MESSAGE=a=b"), Field::Message("a=b".into()));
        assert_eq!(Field::of(b"_PID=1"), Field::Init);
        assert_eq!(Field::of(b"_PID=12"), Field::Other);
        assert_eq!(Field::of(b"JOB_RESULT=done"), Field::Other);
        assert_eq!(Field::of(b"JOB_RESULT=failed"), Field::JobFailed);
        assert_eq!(Field::of(b"no name"), Field::Other);
    }
}
