//! pacman's log, lock and local database (pacman 7.0, `lib/libalpm/{trans,log,be_local,handle}.c`).
//!
//! The lock is made when a transaction begins and taken away when it ends, however that was: one that is there was left by a run that
//! was killed, or by a power cut. A package whose directory in the local database lacks `desc` is one that was being put there.

use super::bytes::tail;
use super::transaction::{History, Transaction, short};
use super::{evidence, nul_run, trusted, unreadable};
use crate::want::LOG_TAIL;
use model::evidence::{ClockTrust, Evidence, Fact, Origin, PackageManager, PackageState, Stamp};
use model::inspection::ListedFile;
use model::ports::{ReadAt, UnixMicros};

const HISTORY: History =
    History { manager: PackageManager::Pacman, program: "", ended: "ended", open: "has no end in pacman's log" };

/// Reads the end of the log: lines of `[TIME] [WHO] TEXT`.
pub(super) fn parse_log(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, LOG_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "pacman's log", &e.to_string())],
    };
    let mut found = nul_run::find(origin, at, &bytes);
    found.extend(HISTORY.newest(origin, transactions(&bytes)));
    found
}

fn transactions(bytes: &[u8]) -> Vec<Transaction> {
    let mut all: Vec<Transaction> = Vec::new();
    let mut command = String::new();
    for line in bytes.split(|b| matches!(b, b'\n' | 0)) {
        let text = String::from_utf8_lossy(line);
        let Some((time, rest)) = text.strip_prefix('[').and_then(|t| t.split_once("] ")) else { continue };
        if let Some(run) = rest.strip_prefix("[PACMAN] Running ") {
            command = run.trim_matches('\'').to_owned();
            continue;
        }
        let Some(said) = rest.strip_prefix("[ALPM] ") else { continue };
        if said == "transaction started" {
            let began = zoned_time(time);
            all.push(Transaction { began, command: std::mem::take(&mut command), ..Transaction::default() });
            continue;
        }
        let Some(t) = all.last_mut() else { continue };
        match said {
            "transaction completed" => t.ended = true,
            "transaction failed" | "transaction interrupted" => t.failed = true,
            _ => {
                let mut words = said.split(' ');
                let work =
                    matches!(words.next(), Some("installed" | "upgraded" | "downgraded" | "reinstalled" | "removed"));
                if let Some(name) = words.next().filter(|_| work && !t.ended) {
                    t.package(name);
                }
            }
        }
    }
    all
}

/// `2026-11-22T21:03:11+0100`: local time, with its distance from UTC; older versions write `2026-11-22 21:03`, without.
fn zoned_time(text: &str) -> Option<Stamp> {
    let Some((local, zone)) = text.get(..19).zip(text.get(19..)).filter(|(local, _)| local.contains('T')) else {
        return super::local_time(&format!("{text}:00"));
    };
    let local = super::local_time(&local.replace('T', " "))?;
    let (sign, digits) = zone.split_at_checked(1)?;
    let (hours, minutes) = (digits.get(..2)?.parse::<i64>().ok()?, digits.get(2..4)?.parse::<i64>().ok()?);
    let east = (hours * 60 + minutes) * 60_000_000 * if sign == "-" { -1 } else { 1 };
    Some(trusted(UnixMicros(local.at.0 - east), ClockTrust::Utc))
}

/// The lock, which is there.
pub(super) fn parse_lock(origin: &Origin) -> Vec<Evidence> {
    let says = "pacman's lock is there: a transaction was cut off, and no other can begin";
    vec![evidence(origin, Fact::LeftLock { manager: PackageManager::Pacman }, says, None)]
}

/// The directory of one package in the local database.
pub(super) fn parse_package(origin: &Origin, entries: &[ListedFile]) -> Vec<Evidence> {
    let name = origin.path.as_ref().and_then(|p| p.0.rsplit(|b| *b == b'/').next()).unwrap_or_default();
    if entries.iter().any(|e| e.name.0 == b"desc") {
        return Vec::new();
    }
    // NAME-VERSION-RELEASE
    let text = String::from_utf8_lossy(name).into_owned();
    let mut parts = text.rsplitn(3, '-');
    let (release, version, name) = (parts.next(), parts.next(), parts.next());
    let (Some(release), Some(version), Some(name)) = (release, version, name) else { return Vec::new() };
    let package = PackageState {
        name: short(name),
        version: short(&format!("{version}-{release}")),
        state: "half installed".into(),
    };
    let says = format!("pacman's database has no description of {name}: it was being put there, or taken away");
    let fact = Fact::Packages { manager: PackageManager::Pacman, installed: None, broken: vec![package] };
    vec![evidence(origin, fact, &says, None)]
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    const LOG: &[u8] = b"[2026-11-20T10:00:00+0000] [PACMAN] Running 'pacman -Syu'\n\
        [2026-11-20T10:00:01+0000] [ALPM] transaction started\n\
        [2026-11-20T10:00:02+0000] [ALPM] upgraded glibc (2.39-1 -> 2.40-1)\n\
        [2026-11-20T10:00:03+0000] [ALPM] transaction completed\n\
        [2026-11-20T10:00:04+0000] [ALPM] running '30-systemd-update.hook'...\n\
        [2026-11-22T22:00:00+0100] [PACMAN] Running 'pacman -S vim'\n\
        [2026-11-22T22:00:01+0100] [ALPM] transaction started\n\
        [2026-11-22T22:00:01+0100] [ALPM] installed vim-runtime (9.1-1)\n";

    #[test]
    fn newest_first_and_in_utc() {
        let found = parse_log(&at("/var/log/pacman.log"), &LOG.to_vec());
        let [newest, before] = found.as_slice() else { panic!("{found:?}") };
        let Fact::Transaction { age: 0, ended: false, failed: false, packages, command, .. } = &newest.fact else {
            panic!("{newest:?}")
        };
        assert_eq!((packages.as_slice(), command.as_str()), (&["vim-runtime".into()][..], "pacman -S vim"));
        assert_eq!(newest.time.unwrap().at.to_string(), "2026-11-22 21:00:01");
        assert!(matches!(&before.fact, Fact::Transaction { age: 1, ended: true, packages, .. } if packages.len() == 1));
    }

    #[test]
    fn old_times_have_no_zone() {
        let told = zoned_time("2016-02-03 14:05").unwrap();
        assert_eq!((told.at.to_string().as_str(), told.trust), ("2016-02-03 14:05:00", ClockTrust::LocalNoZone));
        assert!(zoned_time("2026-11-22T22:00:00").is_none());
        assert!(zoned_time("x").is_none());
    }
}
