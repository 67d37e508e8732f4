//! Evidence parsers, one file each.

mod apk;
mod apt_history;
mod boot_chain;
pub(crate) mod boot_files;
mod boot_tries;
mod bytes;
mod crash_kept;
mod dnf_history;
mod dpkg_log;
mod dpkg_packages;
mod dpkg_status;
mod grub_environment;
mod init_log;
mod journal;
mod leftovers;
mod life_sign;
mod machine_id;
mod nul_run;
mod pacman;
mod pstore;
mod recognised;
mod rpm_database;
mod sqlite;
mod swap_file;
mod transaction;
mod unattended_upgrades;
mod volume;
mod windows_pending;
mod wtmp;
mod wtmpdb;
mod zypp_history;

use crate::want::Source;
use model::evidence::{BootPart, ClockTrust, Evidence, EvidenceId, Fact, Origin, Stamp};
use model::inspection::ListedFile;
use model::ports::{ReadAt, UnixMicros};
use model::text::DisplayText;

pub use boot_chain::chain_facts;
pub use crash_kept::crash_facts;
pub use dpkg_packages::Packages;
pub(crate) use dpkg_status::at_rest;
pub use sqlite::Files;
pub use volume::volume_facts;

/// Reads one file. Never fails: what cannot be understood is evidence too ([`Fact::Unreadable`]).
///
/// Of a source that is read from its end, `file` must be the whole file.
pub fn parse(source: Source, origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    match source {
        Source::Journal => journal::parse(origin, file),
        Source::Wtmp => wtmp::parse(origin, file),
        Source::MachineId => machine_id::parse(origin, file),
        Source::DpkgStatus => dpkg_status::parse(origin, file),
        Source::DpkgRecord => dpkg_status::parse_record(origin, file),
        Source::DpkgLog => dpkg_log::parse(origin, file),
        Source::AptHistory => apt_history::parse(origin, file),
        Source::TextLog => nul_run::parse(origin, file),
        Source::RpmOther => rpm_database::recognised(origin, file),
        Source::ZyppHistory => zypp_history::parse(origin, file),
        Source::PacmanLog => pacman::parse_log(origin, file),
        Source::PacmanLock => pacman::parse_lock(origin),
        Source::WindowsPending => windows_pending::parse(origin),
        Source::Pstore => pstore::parse(origin, file),
        Source::SwapFile => swap_file::parse(origin, file),
        Source::GrubEnvironment => grub_environment::parse(origin, file),
        Source::ApkInstalled => apk::parse(origin, file),
        Source::ApkLog => apk::parse_log(origin, file),
        Source::Adjtime => life_sign::parse_adjtime(origin, file),
        Source::SavedTime => life_sign::parse_saved_time(origin, file),
        Source::InitLog => init_log::parse(origin, file),
        Source::UnattendedUpgrades => unattended_upgrades::parse(origin, file),
        Source::Kernel
        | Source::Initramfs
        | Source::ModulesDep
        | Source::Init
        | Source::Libc
        | Source::Loader
        | Source::Fstab
        | Source::GrubConfig => boot_files::parse(source, origin, file),
        // Looked at in other ways: `parse_database`, `parse_listing`.
        Source::Wtmpdb
        | Source::RpmDatabase
        | Source::DnfHistory
        | Source::Leftovers
        | Source::BootDir
        | Source::ModuleDirs
        | Source::EspLoaders
        | Source::BootEntries
        | Source::Seeds
        | Source::Recognised
        | Source::PacmanPackage => Vec::new(),
    }
}

/// Reads a database of SQLite, with what lies beside it.
pub fn parse_database(source: Source, origin: &Origin, files: Files<'_>) -> Vec<Evidence> {
    match source {
        Source::Wtmpdb => wtmpdb::parse(origin, files),
        Source::RpmDatabase => rpm_database::parse(origin, files),
        Source::DnfHistory => dnf_history::parse(origin, files),
        _ => Vec::new(),
    }
}

/// True where the parser of a listing looks at an entry of that name: the others need not be in it.
pub fn reads_entry(source: Source, directory: &Origin, name: &[u8]) -> bool {
    match source {
        Source::Leftovers => leftovers::is_one(directory, name),
        Source::BootEntries => boot_tries::is_entry(name),
        Source::Seeds => life_sign::is_seed(name),
        _ => true,
    }
}

/// Reads the listing of a directory, of the entries that [`reads_entry`] names at least.
pub fn parse_listing(source: Source, origin: &Origin, entries: &[ListedFile]) -> Vec<Evidence> {
    match source {
        Source::Leftovers => leftovers::parse(origin, entries),
        Source::PacmanPackage => pacman::parse_package(origin, entries),
        Source::BootEntries => boot_tries::parse(origin, entries),
        Source::Seeds => life_sign::parse_seeds(origin, entries),
        Source::Recognised => recognised::parse(origin, entries),
        Source::BootDir | Source::ModuleDirs | Source::EspLoaders => boot_files::parse_listing(source, origin, entries),
        _ => Vec::new(),
    }
}

/// What it says that a source was looked for and is not there (the path of `origin` is the want's pattern); `None` where
/// that is usual and says nothing.
pub fn absent(source: Source, origin: &Origin) -> Option<Evidence> {
    let path = origin.path.as_ref().map(|p| p.display()).unwrap_or_default();
    let not_there = |what: &str| Some(evidence(origin, Fact::NotThere, &format!("{what} ({path})"), None));
    match source {
        // The pattern of files that a later boot found open: usually there are none.
        Source::Journal if path.as_str().ends_with('~') => None,
        Source::Journal => not_there("there is no journal that outlives a session"),
        Source::Wtmp => not_there("there is no login record"),
        Source::MachineId => not_there("there is no machine id"),
        Source::DpkgStatus => not_there("there is no dpkg database"),
        Source::BootDir => not_there("there is no boot directory"),
        Source::WindowsPending => not_there("no changes to the parts of Windows are left to do"),
        Source::ModuleDirs => not_there("there is no directory of kernel modules"),
        Source::Init => Some(boot_files::missing(origin, BootPart::Init)),
        Source::Libc | Source::Loader => Some(boot_files::missing(origin, BootPart::Libc)),
        Source::Fstab => Some(boot_files::missing(origin, BootPart::Fstab)),
        _ => None,
    }
}

/// One piece of evidence, not yet named.
pub(crate) fn evidence(origin: &Origin, fact: Fact, says: &str, time: Option<Stamp>) -> Evidence {
    Evidence { id: EvidenceId(String::new()), origin: origin.clone(), fact, says: DisplayText::new(says), time }
}

/// Something that is there and could not be understood.
fn unreadable(origin: &Origin, what: &str, why: &str) -> Evidence {
    let says = format!("{what} could not be understood: {why}");
    evidence(origin, Fact::Unreadable { why: DisplayText::new(why) }, &says, None)
}

/// Starts told of a login record, before its newest.
const MOST_STARTS: usize = 8;

/// 2000-01-01: no machine of today wrote anything before.
const PLAUSIBLE_FROM: i64 = 946_684_800_000_000;
/// 2100-01-01.
const PLAUSIBLE_TO: i64 = 4_102_444_800_000_000;

/// A time by the kernel's clock; improbable ones are marked.
pub(crate) fn stamp(at: UnixMicros) -> Stamp {
    trusted(at, ClockTrust::Utc)
}

fn trusted(at: UnixMicros, trust: ClockTrust) -> Stamp {
    let plausible = (PLAUSIBLE_FROM..PLAUSIBLE_TO).contains(&at.0);
    Stamp { at, trust: if plausible { trust } else { ClockTrust::Suspect } }
}

/// `2026-11-22 21:03:11` or with any blanks between (apt writes two), as local time; `None` where it is no time.
fn local_time(text: &str) -> Option<Stamp> {
    civil_time(text).map(|at| trusted(at, ClockTrust::LocalNoZone))
}

/// As [`local_time`]: the time as written, read as if it were UTC.
fn civil_time(text: &str) -> Option<UnixMicros> {
    let (date, time) = text.trim().split_once(' ')?;
    let three = |text: &str, by: char| -> Option<[i64; 3]> {
        let mut parts = text.trim().split(by).map(|p| p.parse::<i64>().ok());
        let all = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(all)
    };
    let ([year, month, day], [hour, minute, second]) = (three(date, '-')?, three(time, ':')?);
    let small = |n: i64| u8::try_from(n).ok();
    UnixMicros::from_civil(year, small(month)?, small(day)?, small(hour)?, small(minute)?, small(second)?)
}

#[cfg(test)]
pub(crate) mod test {
    use model::evidence::Origin;
    use model::id::{DiskNo, VolumePath};
    use model::text::RawName;

    /// An origin in partition 2 of disk 0.
    pub(crate) fn at(path: &str) -> Origin {
        Origin { volume: VolumePath::partition(DiskNo(0), 2), path: Some(RawName::from(path)), range: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times() {
        let t = local_time("2026-11-22  21:03:11").unwrap();
        assert_eq!((t.at.to_string().as_str(), t.trust), ("2026-11-22 21:03:11", ClockTrust::LocalNoZone));
        assert_eq!(local_time("1970-01-01 00:00:10").unwrap().trust, ClockTrust::Suspect);
        for bad in ["", "x", "2026-11-22", "2026-13-22 21:03:11", "2026-11-22 21:03", "2026-11-22 21:03:11:1"] {
            assert!(local_time(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn absence_is_said_where_it_matters() {
        let at = test::at;
        assert!(absent(Source::Journal, &at("/var/log/journal/*/system*.journal")).is_some());
        assert!(absent(Source::Journal, &at("/var/log/journal/*/system*.journal~")).is_none());
        assert!(absent(Source::DpkgRecord, &at("/var/lib/dpkg/updates/*")).is_none());
        assert!(matches!(
            absent(Source::Libc, &at("/usr/lib64/libc.so.6")).unwrap().fact,
            Fact::BootPart { part: BootPart::Libc, broken: Some(_) }
        ));
    }
}
