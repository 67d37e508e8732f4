//! What tells of starts and shutdowns where there is no journal that outlives them, or beside it: files that are written as a
//! system comes up, goes down, or lives.
//!
//! `/etc/adjtime` is hwclock's (util-linux `sys-utils/hwclock.c`, `save_adjtime`): drift, when the clock was last adjusted, and 0;
//! when it was last set; `UTC` or `LOCAL`. Where sysvinit or OpenRC is init, it is set from the system's clock at each shutdown.
//! `/etc/fake-hwclock.data` is one line in UTC, written each hour and at shutdown (Debian's fake-hwclock). A seed of random numbers is
//! written at each start and at each shutdown: by Debian's initscripts below `/var/lib/urandom`, by OpenRC below `/var/lib/seedrng`
//! (`src/seedrng/seedrng.c`), by systemd in `/var/lib/systemd` (`systemd-random-seed.service`). Of those the time of the file counts.

use super::bytes::head;
use super::{civil_time, evidence, stamp, trusted, unreadable};
use crate::rules::SYSTEMD_STATE;
use crate::want::LIFE_SIGN;
use model::evidence::{ClockTrust, Evidence, Fact, LifeSign, Origin};
use model::inspection::ListedFile;
use model::ports::{ReadAt, UnixMicros};

/// Reads hwclock's notes.
pub(super) fn parse_adjtime(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let text = match head(file, LIFE_SIGN) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => return vec![unreadable(origin, "what is noted of the hardware clock", &e.to_string())],
    };
    let mut lines = text.lines();
    let (_, set, zone) = (lines.next(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let local = match zone.trim() {
        "LOCAL" => true,
        // One that was cut short is read as UTC by hwclock, too.
        "UTC" | "" => false,
        _ => return vec![unreadable(origin, "what is noted of the hardware clock", "it names neither UTC nor LOCAL")],
    };
    let set = set.trim().parse::<i64>().ok().filter(|seconds| *seconds > 0).map(UnixMicros::from_seconds);
    if !local && set.is_none() {
        return Vec::new();
    }
    let zone = if local { "local time" } else { "UTC" };
    let says = match set {
        Some(_) => format!("the hardware clock was last set from the system's; it keeps {zone}"),
        None => format!("the hardware clock keeps {zone}"),
    };
    vec![evidence(origin, Fact::HardwareClock { local }, &says, set.map(stamp))]
}

/// Reads the time that was saved for a start without a hardware clock.
pub(super) fn parse_saved_time(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let at = head(file, LIFE_SIGN).map_err(|e| e.to_string()).and_then(|bytes| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        civil_time(&text).ok_or_else(|| "it is no time".to_owned())
    });
    match at {
        Ok(at) => {
            let says = "the time was saved for the next start, which has no hardware clock to ask";
            let time = trusted(at, ClockTrust::Utc);
            vec![evidence(origin, Fact::SignOfLife { sign: LifeSign::TimeSaved }, says, Some(time))]
        }
        Err(why) => vec![unreadable(origin, "the time that was saved for the next start", &why)],
    }
}

/// True for the names that seeds of random numbers have.
pub(super) fn is_seed(name: &[u8]) -> bool {
    matches!(name, b"random-seed" | b"seed.credit" | b"seed.no-credit")
}

/// The newest seed in a directory.
pub(super) fn parse_seeds(origin: &Origin, entries: &[ListedFile]) -> Vec<Evidence> {
    let newest = entries.iter().filter(|e| is_seed(&e.name.0)).filter_map(|e| e.modified).max();
    let says = "a seed of random numbers was saved for the next start, as each start and each shutdown does";
    // Times of files are in nanoseconds.
    let time = |at: i64| stamp(UnixMicros(at / 1000));
    let told = |at| evidence(origin, Fact::SignOfLife { sign: LifeSign::SeedSaved }, says, Some(time(at)));
    let systemd = origin.path.as_ref().is_some_and(|p| p.0 == SYSTEMD_STATE.as_bytes());
    match newest {
        Some(at) => vec![told(at)],
        None if systemd => {
            let says = "systemd saved no seed of random numbers here, as each start of it does";
            vec![evidence(origin, Fact::NotThere, says, None)]
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn systemd_without_a_seed_never_started() {
        let told = |path: &str| parse_seeds(&at(path), &[]).into_iter().map(|e| e.fact).collect::<Vec<_>>();
        assert_eq!(told("/var/lib/systemd"), [Fact::NotThere]);
        assert_eq!(told("/var/lib/urandom"), []);
    }

    use super::super::test::at;
    use super::*;
    use model::inspection::FileKind;
    use model::text::RawName;
    use model::units::ByteLen;

    #[test]
    fn what_hwclock_notes() {
        let told = |text: &str| {
            let found = parse_adjtime(&at("/etc/adjtime"), &text.as_bytes().to_vec());
            found.into_iter().map(|e| (e.fact, e.time.map(|t| t.at))).collect::<Vec<_>>()
        };
        let clock = |local| Fact::HardwareClock { local };
        let set = Some(UnixMicros::from_seconds(1_796_052_262));
        assert_eq!(told("0.000000 1796052262 0.000000\n1796052262\nUTC\n"), [(clock(false), set)]);
        assert_eq!(told("0.0 0 0.0\n0\nLOCAL\n"), [(clock(true), None)]);
        assert_eq!(told("0.0 0 0.0\n0\nUTC\n"), []);
        assert_eq!(told(""), []);
        assert!(matches!(told("0\n0\nMARS\n")[..], [(Fact::Unreadable { .. }, None)]));
    }

    #[test]
    fn the_time_that_was_saved() {
        let told = |text: &str| parse_saved_time(&at("/etc/fake-hwclock.data"), &text.as_bytes().to_vec()).remove(0);
        let saved = told("2026-11-30 15:17:01\n");
        assert_eq!(saved.fact, Fact::SignOfLife { sign: LifeSign::TimeSaved });
        assert_eq!(saved.time.unwrap().at.to_string(), "2026-11-30 15:17:01");
        assert_eq!(saved.time.unwrap().trust, ClockTrust::Utc);
        assert!(matches!(told("yesterday").fact, Fact::Unreadable { .. }));
    }

    #[test]
    fn the_newest_seed_counts() {
        let file = |name: &str, seconds: i64| ListedFile {
            name: RawName::from(name),
            kind: FileKind::File,
            size: ByteLen(512),
            modified: Some(seconds * 1_000_000_000),
        };
        let listing =
            [file("seed.no-credit", 1_796_000_000), file("seed.credit", 1_796_000_100), file("x", 1_797_000_000)];
        let found = parse_seeds(&at("/var/lib/seedrng"), &listing);
        assert_eq!(found[0].time.unwrap().at, UnixMicros::from_seconds(1_796_000_100));
        assert!(parse_seeds(&at("/var/lib/seedrng"), &listing[2..]).is_empty());
    }
}
