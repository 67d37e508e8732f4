//! The last words of kernels that the firmware still keeps: variables `dump-type0-PART-COUNT-TIME-C` (or `-D`, where they are not
//! compressed), TIME in seconds since 1970 (kernel 6.12 `drivers/firmware/efi/efi-pstore.c`). `systemd-pstore.service` collects them at the
//! next start, and takes them away: those that are there were written since the last start came that far. Only the names are read. Each part
//! has the time at which it was written: those of one death are some seconds apart.

use super::{evidence, stamp};
use model::evidence::{Evidence, Fact, Origin};
use model::id::VolumePath;
use model::ports::UnixMicros;
use model::text::RawName;

/// Most deaths that are told, the newest.
const MOST: usize = 4;
/// Parts that are written this many seconds apart or less are of one death.
const SOON: i64 = 60;

/// The parts of one death: when the last was written, how many there are, and the name of one.
struct Death<'a> {
    seconds: i64,
    parts: u32,
    name: &'a str,
}

/// What the names of such variables tell of the system on that root, the newest first.
pub fn crash_facts(root: &VolumePath, names: &[String]) -> Vec<Evidence> {
    let mut parts: Vec<(i64, &str)> = names.iter().filter_map(|name| Some((written(name)?, name.as_str()))).collect();
    parts.sort_unstable();
    let mut deaths: Vec<Death<'_>> = Vec::new();
    for (seconds, name) in parts {
        match deaths.last_mut().filter(|death| seconds.saturating_sub(death.seconds) <= SOON) {
            Some(death) => (death.seconds, death.parts) = (seconds, death.parts.saturating_add(1)),
            None => deaths.push(Death { seconds, parts: 1, name }),
        }
    }
    let told = |Death { seconds, parts, name }: Death<'_>| {
        let path = RawName(format!("/sys/firmware/efi/efivars/{name}").into_bytes());
        let origin = Origin { volume: root.clone(), path: Some(path), range: None };
        let says =
            format!("a kernel died, and the firmware keeps its last words for the next start (in {parts} parts)");
        evidence(&origin, Fact::CrashKept { parts }, &says, Some(stamp(UnixMicros::from_seconds(seconds))))
    };
    deaths.into_iter().rev().take(MOST).map(told).collect()
}

/// When a part was written.
fn written(name: &str) -> Option<i64> {
    let mut fields = name.strip_prefix("dump-type0-")?.split('-');
    let (part, count, time) = (fields.next()?, fields.next()?, fields.next()?);
    let rest = (fields.next(), fields.next());
    let is_one = [part, count].iter().all(|n| n.parse::<u32>().is_ok());
    (is_one && matches!(rest, (Some("C" | "D") | None, None))).then_some(time.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    #[test]
    fn parts_of_one_death_are_one() {
        let names = [
            "dump-type0-1-1-1796042968-C",
            "dump-type0-2-1-1796042968-C",
            "dump-type0-1-1-1796000000-D",
            "dump-type0-1-1-1796000101",
            "dump-type0-1-1",
            "dump-type0-1-1-x-C",
            "dump-type0-1-1-1796042968-C-C",
            "dump-type1-1-1-1796042968-C",
        ];
        let found = crash_facts(&at("/").volume, &names.map(str::to_owned));
        let told: Vec<_> = found.into_iter().map(|e| (e.fact, e.time.unwrap().at.0 / 1_000_000)).collect();
        let kept = |parts| Fact::CrashKept { parts };
        assert_eq!(told, [(kept(2), 1_796_042_968), (kept(1), 1_796_000_101), (kept(1), 1_796_000_000)]);
    }

    /// What a Debian 12 (kernel 6.1) on OVMF left that was made to panic (`fixtures/starts.sh`).
    #[test]
    fn a_real_kernel_that_died() {
        let names: Vec<String> =
            include_str!("../../tests/fixtures/crash-names.txt").lines().map(str::to_owned).collect();
        let found = crash_facts(&at("/").volume, &names);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].fact, Fact::CrashKept { parts: 14 });
        assert_eq!(found[0].time.unwrap().at, UnixMicros::from_seconds(1_796_056_288));
    }
}
