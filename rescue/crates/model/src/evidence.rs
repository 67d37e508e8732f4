//! Evidence: single facts read off a target, each with where it was read and how far its time can be trusted.

use crate::boot::{LinkPart, Way};
use crate::id::VolumePath;
use crate::inspection::NtfsLog;
use crate::ports::UnixMicros;
use crate::text::{DisplayText, RawName};
use crate::units::Extent;
use serde::{Deserialize, Serialize};

/// Names one piece of evidence within an inspection, for example `journal:1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EvidenceId(pub String);

/// Where a fact was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The volume.
    pub volume: VolumePath,
    /// The file, or `None` for the volume's own structures.
    pub path: Option<RawName>,
    /// The bytes within the file (or the volume), where known.
    pub range: Option<Extent>,
}

/// How far a time can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockTrust {
    /// UTC, from the kernel's clock.
    Utc,
    /// Local time without a zone; up to 14 hours off.
    LocalNoZone,
    /// Impossible or improbable (before 2000, after the present); order by counters only.
    Suspect,
}

/// A time, with how far it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The time as written, read as if it were UTC.
    pub at: UnixMicros,
    /// How far that is true.
    pub trust: ClockTrust,
}

/// One fact, and where it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its name in this inspection.
    pub id: EvidenceId,
    /// Where it was read.
    pub origin: Origin,
    /// The fact, for the rules.
    pub fact: Fact,
    /// The fact, for people: one sentence.
    pub says: DisplayText,
    /// When it happened, where that is known.
    pub time: Option<Stamp>,
}

/// How a session was ended on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndKind {
    /// Powered off.
    Poweroff,
    /// Rebooted.
    Reboot,
    /// Halted.
    Halt,
    /// Another kernel was started.
    Kexec,
}

/// A program that installs packages, and keeps records of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageManager {
    /// dpkg, and apt above it.
    Apt,
    /// rpm itself.
    Rpm,
    /// dnf, above rpm.
    Dnf,
    /// zypper, above rpm.
    Zypper,
    /// pacman.
    Pacman,
    /// apk.
    Apk,
    /// unattended-upgrades, above apt.
    Unattended,
    /// One that a newer version knows.
    #[serde(other)]
    Other,
}

/// A package that is not in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageState {
    /// Its name.
    pub name: DisplayText,
    /// Its version as the database has it.
    pub version: DisplayText,
    /// The database's own word: `half-configured`, `unpacked`, `half-installed`, `triggers-pending`.
    pub state: DisplayText,
}

/// The journal's own numbers of a run of entries (`seqnum_id` and `seqnum` of systemd's journal file format).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalOrder {
    /// The counter the numbers come from, 32 hexadecimal digits.
    pub counter: String,
    /// Number of the first entry.
    pub first: u64,
    /// Number of the last entry.
    pub last: u64,
}

/// The kernel of a start, as it tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedKernel {
    /// Its release, such as `6.1.0-49-amd64`.
    pub release: DisplayText,
    /// It was given an initial RAM file system.
    pub initramfs: bool,
    /// Its command line asked for emergency or rescue mode.
    pub rescue_asked: bool,
}

/// What happened within a session, at a moment that its journal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When.
    pub at: UnixMicros,
    /// What.
    pub what: MomentKind,
}

/// Kinds of moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MomentKind {
    /// It went to sleep: suspend or hibernation.
    Slept,
    /// It woke, or wrote again after it went to sleep.
    Woke,
    /// The kernel reported a fault.
    Fault,
}

/// What a system writes from time to time, as it comes up, or as it goes down: each time it does, it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LifeSign {
    /// The time was saved for a start without a hardware clock.
    TimeSaved,
    /// A seed of random numbers was saved for the next start.
    SeedSaved,
    /// One that a newer version knows.
    #[serde(other)]
    Other,
}

/// A start in the login record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedStart {
    /// When.
    pub began: UnixMicros,
    /// When it was shut down, where that is on record.
    pub ended: Option<UnixMicros>,
}

/// The facts this version can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Fact {
    /// The superblock of the ext file system of this root.
    ExtState {
        /// `needs_recovery` is set.
        needs_recovery: bool,
        /// The file system has a journal (without one only `valid` tells).
        has_journal: bool,
        /// `s_state` bit 0.
        valid: bool,
        /// `s_error_count` or `s_state` bit 1.
        errors: bool,
        /// `s_mnt_count`.
        mount_count: u16,
        /// `s_mtime`, seconds since 1970.
        mounted_at: i64,
    },
    /// The superblock of the btrfs of this root. It keeps no mark of having been unmounted.
    BtrfsState {
        /// There is a log: something was synced after the last transaction, and none followed.
        log: bool,
        /// The last transaction.
        generation: u64,
    },
    /// The log of the XFS of this root.
    XfsState {
        /// It does not end with the record of an unmount.
        needs_recovery: bool,
        /// The sequence number of its last record, where that can be told.
        log_head: Option<u64>,
    },
    /// The newest commit in the file system's journal: last sign of life.
    LastCommit {
        /// Transaction number.
        sequence: u32,
    },
    /// A FAT volume of the boot set has its dirty bit set (or not).
    FatState {
        /// The bit.
        dirty: bool,
    },
    /// An exFAT volume of the boot set has its dirty bit set (or not).
    ExfatState {
        /// The bit.
        dirty: bool,
    },
    /// How an NTFS of this system was left.
    NtfsState {
        /// It is marked dirty.
        dirty: bool,
        /// How its log was left.
        log: NtfsLog,
        /// The memory of a system stands on it; `None` where that cannot be told.
        hibernated: Option<bool>,
    },
    /// Windows has changes to its own parts left to do when it starts.
    WindowsPending,
    /// A swap area of this system.
    SwapState {
        /// A hibernation image stands in it.
        hibernated: bool,
    },
    /// A systemd journal file's header.
    JournalFile {
        /// `state` of the header: 0 offline, 1 online, 2 archived.
        state: u8,
        /// Renamed with `~`: found not closed by a later boot.
        disordered: bool,
    },
    /// One boot, as the system journal tells it.
    Boot {
        /// Its boot id, 32 hexadecimal digits.
        boot_id: String,
        /// 0 for the newest, 1 for the one before, ...
        age: u32,
        /// First entry.
        first: UnixMicros,
        /// Last entry.
        last: UnixMicros,
        /// The journal was stopped and nothing follows.
        journal_stopped: bool,
        /// `Startup finished` was logged.
        startup_finished: bool,
        /// Reached multi-user, graphical or another default target.
        reached_target: Option<DisplayText>,
        /// Fell into emergency or rescue mode.
        emergency: bool,
        /// Reached the final target of this kind of shutdown.
        ended: Option<EndKind>,
        /// Was going to sleep and nothing says that it woke.
        asleep: bool,
        /// Kernel panic or oops lines are in it.
        panicked: bool,
        /// The journal's own numbers of its entries: what orders boots, across files too.
        order: Option<JournalOrder>,
        /// What happened in it, as far as its entries were read; the newest 16.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        moments: Vec<Moment>,
        /// Its kernel, where the kernel's first words are on record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kernel: Option<StartedKernel>,
        /// Going down, it let go of the file system that the journal lies on: where that is another one than the root, nothing
        /// after this is in the journal.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        handed_back: bool,
        /// It was asked to go down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<EndKind>,
    },
    /// The newest boot in the login record (wtmp, or wtmpdb) and whether a shutdown follows it.
    WtmpLastBoot {
        /// A `shutdown` record follows.
        shutdown_follows: bool,
        /// The run level reached, as ASCII (`5` graphical), where recorded.
        run_level: Option<char>,
        /// When that shutdown was, where that is on record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<UnixMicros>,
        /// The starts before it, newest first; at most 8.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        before: Vec<RecordedStart>,
        /// Where init was told to go to a run level of going down after that start: 0 is told as power off, as it is set up
        /// everywhere, and 6 as a reboot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        how: Option<EndKind>,
    },
    /// The newest start in the log of an init program other than systemd, whose time is the evidence's.
    InitLog {
        /// The run level whose services were all started.
        reached: Option<DisplayText>,
        /// When the services of going down were begun, where they were.
        going_down: Option<UnixMicros>,
    },
    /// What is noted of the hardware clock; the evidence's time is when it was last set by the system's.
    HardwareClock {
        /// It keeps local time: what a kernel takes from it is off by the zone, until the system corrects that.
        local: bool,
    },
    /// The newest of the signs of life of one kind; when is the evidence's time.
    SignOfLife {
        /// Which kind.
        sign: LifeSign,
    },
    /// The machine id file says that the first boot never completed.
    FirstBootPending,
    /// dpkg's database: its state now.
    DpkgState {
        /// Installed packages, by the database's own count: records not applied.
        installed: u32,
        /// Packages that are not in order.
        broken: Vec<PackageState>,
        /// Records in `updates/` not yet merged.
        updates: u32,
    },
    /// One record of dpkg's `updates/`: what a package's state in the database is about to become.
    DpkgRecord {
        /// The packages in it (one, as dpkg writes them).
        packages: Vec<PackageState>,
    },
    /// The end of dpkg's log: the last line about an action.
    DpkgLogTail {
        /// The last line, shortened.
        line: DisplayText,
    },
    /// What a database of packages holds, of others than dpkg.
    Packages {
        /// Whose it is.
        manager: PackageManager,
        /// Installed packages, where it was read as a whole.
        installed: Option<u32>,
        /// Packages that are not in order, at most 64.
        broken: Vec<PackageState>,
    },
    /// A lock is left that its owner takes away however it ends, unless it is killed.
    LeftLock {
        /// Whose it is.
        manager: PackageManager,
    },
    /// A transaction, as the history of a package manager has it.
    Transaction {
        /// Whose history.
        manager: PackageManager,
        /// 0 for the newest, 1 for the one before, ...
        age: u32,
        /// The command line.
        command: DisplayText,
        /// Its end is on record (of apt: `End-Date`).
        ended: bool,
        /// It is on record as failed (of apt: `Error`).
        failed: bool,
        /// Packages named, at most 64.
        packages: Vec<DisplayText>,
    },
    /// Files that a package manager leaves while it replaces others (dpkg: `.dpkg-new`, `.dpkg-tmp`).
    HalfReplaced {
        /// Whose they are.
        manager: PackageManager,
        /// How many were seen.
        count: u32,
        /// The first of them.
        example: RawName,
    },
    /// A run of NUL bytes in a log: the scar of a crash some time ago.
    NulRun {
        /// How many bytes.
        len: u64,
        /// It is the end of the file.
        at_end: bool,
    },
    /// Something that starting needs: there, or not.
    BootPart {
        /// Which part.
        part: BootPart,
        /// What is wrong, or `None` where it is in order.
        broken: Option<DisplayText>,
    },
    /// The machine that the init program is made for.
    ProgramMachine {
        /// As the names of libraries have it: `x86_64`, `i386`, `aarch64`.
        machine: DisplayText,
    },
    /// A link of the boot chain that a start needs does not hold.
    ChainBroken {
        /// Which one.
        part: LinkPart,
        /// Which kind of firmware comes by it.
        way: Way,
    },
    /// A kernel died, and what it said was kept for the next start.
    KernelDied {
        /// The line that says why.
        line: DisplayText,
    },
    /// A kernel of this machine died, and the firmware keeps what it said until the next start collects it; when is the evidence's time.
    CrashKept {
        /// In how many parts.
        parts: u32,
    },
    /// The boot loader noted that it started a kernel, and the system did not confirm since that it came up.
    StartNotConfirmed,
    /// The boot loader's last start was confirmed by a user's session.
    StartConfirmed,
    /// The boot loader counts the starts of an entry until the system confirms one.
    BootTries {
        /// The entry, without its counters.
        entry: DisplayText,
        /// How often it may still be tried.
        left: u32,
        /// How often it was tried, and none was confirmed.
        done: u32,
        /// Other entries beside it that may be started.
        others: u32,
    },
    /// The next start was to be of another entry, once, and there was none since.
    NextEntry {
        /// The entry, as it is named for the boot loader.
        entry: DisplayText,
    },
    /// Something that keeps software is there, and what it says of itself is not read.
    Recognised {
        /// Its name.
        name: DisplayText,
        /// How many of what it keeps were seen.
        count: u32,
    },
    /// A source that was looked for and gave nothing; `unknown` must be able to say what was looked at.
    NotThere,
    /// A source that is there and could not be understood.
    Unreadable {
        /// Why, with numbers.
        why: DisplayText,
    },
    /// A fact that a newer version read, in a snapshot of that version; what it says is told by its sentence.
    #[serde(other)]
    Other,
}

/// What a system needs to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootPart {
    /// A kernel image.
    Kernel,
    /// The initial RAM file system that belongs to it.
    Initramfs,
    /// Its modules.
    Modules,
    /// The boot loader on the ESP.
    Loader,
    /// The boot loader's configuration.
    LoaderConfig,
    /// The init program.
    Init,
    /// The C library and its loader.
    Libc,
    /// fstab.
    Fstab,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// And one of an earlier version is what it was.
    #[test]
    fn facts_of_earlier_versions_are_read() {
        let login = r#"{"type":"wtmp_last_boot","shutdown_follows":true,"run_level":"5"}"#;
        let told =
            Fact::WtmpLastBoot { shutdown_follows: true, run_level: Some('5'), ended: None, before: vec![], how: None };
        assert_eq!(serde_json::from_str::<Fact>(login).unwrap(), told);
        assert_eq!(serde_json::to_string(&told).unwrap(), login, "and is written as it was");
        let boot = r#"{"type":"boot","boot_id":"a","age":0,"first":1,"last":2,"journal_stopped":true,"startup_finished":true,
            "reached_target":null,"emergency":false,"ended":null,"asleep":false,"panicked":false,"order":null}"#;
        assert!(matches!(serde_json::from_str(boot).unwrap(), Fact::Boot { moments, .. } if moments.is_empty()));
    }

    #[test]
    fn package_managers_of_later_versions_are_read() {
        let json = r#"{"type":"left_lock","manager":"guix"}"#;
        assert_eq!(serde_json::from_str::<Fact>(json).unwrap(), Fact::LeftLock { manager: PackageManager::Other });
    }

    /// Snapshots outlive the program that made them: a fact of a later version costs its kind, not the snapshot.
    #[test]
    fn facts_of_later_versions_are_read() {
        let json = r#"{"id":"moon:1","origin":{"volume":"d0/p1","path":null,"range":null},
            "fact":{"type":"moon_phase","full":true,"of":[1,2]},"says":"the moon was full","time":null}"#;
        let evidence: Evidence = serde_json::from_str(json).unwrap();
        assert_eq!(evidence.fact, Fact::Other);
        assert_eq!(evidence.says.as_str(), "the moon was full");
    }
}
