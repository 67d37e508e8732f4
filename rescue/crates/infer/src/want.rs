//! What to look at in a target: a table of files and directories, each with how much of it is needed.
//!
//! Reading a file or listing a directory follows symbolic links inside the target. What a plain path does not lead to is told
//! by [`crate::absent`], with the pattern as the path of its origin.

use crate::rules::{PENDING, SYSTEMD_STATE};
use model::inspection::System;
use serde::{Deserialize, Serialize};

/// Which kind of evidence a file or directory is a source of. One parser each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A system journal file of systemd.
    Journal,
    /// `/var/log/wtmp`.
    Wtmp,
    /// wtmpdb's database, which takes its place.
    Wtmpdb,
    /// `/etc/machine-id`.
    MachineId,
    /// `/var/lib/dpkg/status`.
    DpkgStatus,
    /// A record of `/var/lib/dpkg/updates/`.
    DpkgRecord,
    /// `/var/log/dpkg.log`.
    DpkgLog,
    /// `/var/log/apt/history.log`.
    AptHistory,
    /// rpm's database, as SQLite.
    RpmDatabase,
    /// rpm's database of another kind (its head).
    RpmOther,
    /// dnf's history.
    DnfHistory,
    /// zypper's history.
    ZyppHistory,
    /// pacman's log.
    PacmanLog,
    /// pacman's lock: that it is there says it all.
    PacmanLock,
    /// The directory of one package in pacman's database (listing).
    PacmanPackage,
    /// apk's database.
    ApkInstalled,
    /// apk's log.
    ApkLog,
    /// Any text log: looked at for runs of NUL bytes.
    TextLog,
    /// A directory in which package managers leave files when they are cut off (listing).
    Leftovers,
    /// `/boot` (listing).
    BootDir,
    /// A kernel image (its head).
    Kernel,
    /// An initial RAM file system (its head).
    Initramfs,
    /// The directory of the modules of all kernels (listing).
    ModuleDirs,
    /// The modules' index of one kernel.
    ModulesDep,
    /// The init program (its head).
    Init,
    /// The C library (its head).
    Libc,
    /// The dynamic loader (its head).
    Loader,
    /// `/etc/fstab`.
    Fstab,
    /// GRUB's configuration.
    GrubConfig,
    /// What GRUB keeps from one start to the next.
    GrubEnvironment,
    /// A kernel's last words, as they were kept for the next start.
    Pstore,
    /// A directory of boot loaders on the ESP (listing).
    EspLoaders,
    /// A directory of boot entries, whose names may count their starts (listing).
    BootEntries,
    /// What hwclock notes of the hardware clock.
    Adjtime,
    /// The time, saved for a start without a hardware clock.
    SavedTime,
    /// A directory with seeds of random numbers (listing).
    Seeds,
    /// OpenRC's log.
    InitLog,
    /// The log of unattended-upgrades.
    UnattendedUpgrades,
    /// A directory of something that keeps software and is only recognised (listing).
    Recognised,
    /// What Windows has left to do to its own parts: that it is there says it all.
    WindowsPending,
}

/// How to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "look")]
pub enum Look {
    /// Read a file.
    Read {
        /// Most bytes the parser reads of it.
        most_bytes: u64,
        /// True where it reads anywhere in the file (the end, or by offsets), so that it must be given all of it. Else the
        /// first `most_bytes` will do.
        from_end: bool,
    },
    /// Read a database of SQLite, and its `-wal` and `-journal` beside it: anywhere in them, up to a bound of the parser's.
    Database,
    /// List a directory.
    List {
        /// Most entries to list.
        most: usize,
    },
}

/// One thing to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// What it is a source of.
    pub source: Source,
    /// Its absolute path in the target; `*` stands for any run of bytes within one component.
    pub pattern: &'static str,
    /// How to look at it.
    pub look: Look,
    /// Most files the pattern may give: the newest by time of change.
    pub most: usize,
}

impl Want {
    /// True where such a system may have it: nothing of Linux is looked for in a Windows, nor the other way round.
    pub fn is_for(&self, system: &System) -> bool {
        (self.source == Source::WindowsPending) == system.is_windows()
    }
}

/// Bytes of a program or kernel image that its parser needs.
const HEAD: u64 = 4096;
/// Bytes at the end of a text log that are looked at.
pub(crate) const LOG_TAIL: u64 = 256 << 10;
/// Bytes of dpkg's database that are read. A large desktop has 6 MB.
pub(crate) const DPKG_STATUS: u64 = 64 << 20;
/// Bytes of one record of dpkg's that are read.
pub(crate) const DPKG_RECORD: u64 = 1 << 20;
/// Bytes of a database of SQLite that are read, and of its log. rpm's of a large desktop has 300 MB, of which the headers are not read.
pub(crate) const DATABASE: u64 = 64 << 20;
/// Bytes of apk's database that are read. A large desktop has 10 MB.
pub(crate) const APK_INSTALLED: u64 = 64 << 20;
/// Bytes of one journal file that are read. They are 8 to 128 MiB long; a boot's beginning and end are a few of them.
pub(crate) const JOURNAL_READS: u64 = 96 << 20;
/// Bytes at the end of wtmp that are read.
pub(crate) const WTMP_TAIL: u64 = 4 << 20;

/// Bytes of the small files that tell when a system was alive.
pub(crate) const LIFE_SIGN: u64 = 512;

/// Bytes of a kernel's last words that are looked through: it keeps some tens of KiB.
pub(crate) const LAST_WORDS: u64 = 64 << 10;

const fn read(source: Source, pattern: &'static str, most_bytes: u64) -> Want {
    Want { source, pattern, look: Look::Read { most_bytes, from_end: false }, most: 1 }
}

const fn tail(source: Source, pattern: &'static str, most_bytes: u64) -> Want {
    Want { source, pattern, look: Look::Read { most_bytes, from_end: true }, most: 1 }
}

const fn database(source: Source, pattern: &'static str) -> Want {
    Want { source, pattern, look: Look::Database, most: 1 }
}

const fn list(source: Source, pattern: &'static str, most: usize) -> Want {
    Want { source, pattern, look: Look::List { most }, most: 1 }
}

const fn several(want: Want, most: usize) -> Want {
    Want { source: want.source, pattern: want.pattern, look: want.look, most }
}

/// Everything this version looks at. The order is part of nothing: wants may be looked at in any order, or all at once.
pub fn wants() -> &'static [Want] {
    WANTS
}

static WANTS: &[Want] = &[
    several(tail(Source::Journal, "/var/log/journal/*/system*.journal", JOURNAL_READS), 4),
    several(tail(Source::Journal, "/var/log/journal/*/system*.journal~", JOURNAL_READS), 2),
    tail(Source::Wtmp, "/var/log/wtmp", WTMP_TAIL),
    database(Source::Wtmpdb, "/var/log/wtmp.db"),
    database(Source::Wtmpdb, "/var/lib/wtmpdb/wtmp.db"),
    read(Source::MachineId, "/etc/machine-id", 64),
    read(Source::DpkgStatus, "/var/lib/dpkg/status", DPKG_STATUS),
    several(read(Source::DpkgRecord, "/var/lib/dpkg/updates/*", DPKG_RECORD), 512),
    tail(Source::DpkgLog, "/var/log/dpkg.log", LOG_TAIL),
    tail(Source::AptHistory, "/var/log/apt/history.log", LOG_TAIL),
    database(Source::RpmDatabase, "/usr/lib/sysimage/rpm/rpmdb.sqlite"),
    database(Source::RpmDatabase, "/var/lib/rpm/rpmdb.sqlite"),
    read(Source::RpmOther, "/usr/lib/sysimage/rpm/Packages.db", HEAD),
    read(Source::RpmOther, "/var/lib/rpm/Packages.db", HEAD),
    read(Source::RpmOther, "/var/lib/rpm/Packages", HEAD),
    database(Source::DnfHistory, "/var/lib/dnf/history.sqlite"),
    database(Source::DnfHistory, "/usr/lib/sysimage/libdnf5/transaction_history.sqlite"),
    tail(Source::ZyppHistory, "/var/log/zypp/history", LOG_TAIL),
    tail(Source::PacmanLog, "/var/log/pacman.log", LOG_TAIL),
    read(Source::PacmanLock, "/var/lib/pacman/db.lck", HEAD),
    several(list(Source::PacmanPackage, "/var/lib/pacman/local/*", 16), 24),
    read(Source::ApkInstalled, "/lib/apk/db/installed", APK_INSTALLED),
    read(Source::ApkInstalled, "/usr/lib/apk/db/installed", APK_INSTALLED),
    tail(Source::ApkLog, "/var/log/apk.log", LOG_TAIL),
    tail(Source::TextLog, "/var/log/apt/term.log", LOG_TAIL),
    tail(Source::TextLog, "/var/log/syslog", LOG_TAIL),
    tail(Source::TextLog, "/var/log/kern.log", LOG_TAIL),
    several(tail(Source::Pstore, "/var/lib/systemd/pstore/*/dmesg.txt", LAST_WORDS), 4),
    several(tail(Source::Pstore, "/var/lib/systemd/pstore/*/*/dmesg.txt", LAST_WORDS), 4),
    list(Source::Leftovers, "/var/lib/dpkg/tmp.ci", 256),
    list(Source::Leftovers, "/usr/bin", 20_000),
    list(Source::Leftovers, "/usr/sbin", 20_000),
    list(Source::Leftovers, "/usr/lib/x86_64-linux-gnu", 20_000),
    list(Source::Leftovers, "/usr/lib/aarch64-linux-gnu", 20_000),
    list(Source::Leftovers, "/usr/lib/systemd", 5_000),
    list(Source::Leftovers, "/usr/lib64", 20_000),
    list(Source::Leftovers, "/bin", 20_000),
    list(Source::Leftovers, "/lib", 5_000),
    list(Source::Leftovers, "/usr/lib", 20_000),
    list(Source::BootDir, "/boot", 2_000),
    several(read(Source::Kernel, "/boot/vmlinuz-*", HEAD), 16),
    several(read(Source::Initramfs, "/boot/initrd.img-*", HEAD), 16),
    list(Source::ModuleDirs, "/usr/lib/modules", 256),
    list(Source::ModuleDirs, "/lib/modules", 256),
    several(read(Source::ModulesDep, "/usr/lib/modules/*/modules.dep", HEAD), 16),
    several(read(Source::ModulesDep, "/lib/modules/*/modules.dep", HEAD), 16),
    read(Source::Init, "/sbin/init", HEAD),
    read(Source::Init, "/usr/sbin/init", HEAD),
    read(Source::Init, "/usr/lib/systemd/systemd", HEAD),
    read(Source::Init, "/lib/systemd/systemd", HEAD),
    several(read(Source::Libc, "/usr/lib/*-linux-*/libc.so.6", HEAD), 8),
    several(read(Source::Libc, "/lib/*-linux-*/libc.so.6", HEAD), 8),
    read(Source::Libc, "/usr/lib64/libc.so.6", HEAD),
    read(Source::Libc, "/lib64/libc.so.6", HEAD),
    read(Source::Libc, "/usr/lib/libc.so.6", HEAD),
    several(read(Source::Libc, "/lib/ld-musl-*.so.1", HEAD), 2),
    read(Source::Loader, "/lib64/ld-linux-x86-64.so.2", HEAD),
    read(Source::Loader, "/usr/lib64/ld-linux-x86-64.so.2", HEAD),
    read(Source::Loader, "/lib/ld-linux-aarch64.so.1", HEAD),
    read(Source::Loader, "/usr/lib/ld-linux-aarch64.so.1", HEAD),
    read(Source::Fstab, "/etc/fstab", 64 << 10),
    read(Source::GrubConfig, "/boot/grub/grub.cfg", 1 << 20),
    read(Source::GrubConfig, "/boot/grub2/grub.cfg", 1 << 20),
    read(Source::GrubEnvironment, "/boot/grub/grubenv", HEAD),
    read(Source::GrubEnvironment, "/boot/grub2/grubenv", HEAD),
    list(Source::EspLoaders, "/boot/efi/EFI", 64),
    several(list(Source::EspLoaders, "/boot/efi/EFI/*", 64), 16),
    list(Source::BootEntries, "/boot/loader/entries", 256),
    list(Source::BootEntries, "/boot/efi/loader/entries", 256),
    list(Source::BootEntries, "/efi/loader/entries", 256),
    list(Source::BootEntries, "/boot/EFI/Linux", 256),
    list(Source::BootEntries, "/boot/efi/EFI/Linux", 256),
    list(Source::BootEntries, "/efi/EFI/Linux", 256),
    read(Source::Adjtime, "/etc/adjtime", LIFE_SIGN),
    read(Source::SavedTime, "/etc/fake-hwclock.data", LIFE_SIGN),
    list(Source::Seeds, "/var/lib/urandom", 64),
    list(Source::Seeds, "/var/lib/seedrng", 64),
    list(Source::Seeds, SYSTEMD_STATE, 64),
    tail(Source::InitLog, "/var/log/rc.log", LOG_TAIL),
    tail(Source::UnattendedUpgrades, "/var/log/unattended-upgrades/unattended-upgrades.log", LOG_TAIL),
    list(Source::Recognised, "/var/lib/snapd/snaps", 2_000),
    list(Source::Recognised, "/var/lib/flatpak/app", 2_000),
    list(Source::Recognised, "/nix/var/nix/profiles", 2_000),
    several(list(Source::Recognised, "/ostree/deploy/*/deploy", 256), 8),
    list(Source::Recognised, "/var/db/pkg", 2_000),
    list(Source::Recognised, "/var/db/xbps", 256),
    list(Source::Recognised, "/var/lib/fwupd", 256),
    read(Source::WindowsPending, PENDING, 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_absolute_and_bounded() {
        for w in wants() {
            assert!(w.pattern.starts_with('/') && !w.pattern.ends_with('/') && !w.pattern.contains(".."), "{w:?}");
            assert!(!w.pattern.starts_with("/run"), "a tmpfs is never evidence");
            assert!((1..=512).contains(&w.most), "{w:?}");
            assert!(w.most == 1 || w.pattern.contains('*'), "{w:?}");
        }
    }

    #[test]
    fn sources_cross_a_pipe() {
        for w in wants() {
            let text = serde_json::to_string(&w.source).unwrap();
            assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), w.source);
        }
    }
}
