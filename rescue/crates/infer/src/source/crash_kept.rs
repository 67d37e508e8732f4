//! The last words of kernels that the firmware still keeps: variables `dump-type0-PART-COUNT-TIME-C` (or `-D`, where they are not
//! compressed), TIME in seconds since 1970 (kernel 6.12 `drivers/firmware/efi/efi-pstore.c`). `systemd-pstore.service` collects them at the
//! next start, and takes them away: those that are there were written since the last start came that far. Only the names are read.

use super::{evidence, stamp};
use model::evidence::{Evidence, Fact, Origin};
use model::id::VolumePath;
use model::ports::UnixMicros;
use model::text::RawName;
use std::collections::BTreeMap;

/// Most deaths that are told, the newest.
const MOST: usize = 4;

/// What the names of such variables tell of the system on that root, the newest first.
pub fn crash_facts(root: &VolumePath, names: &[String]) -> Vec<Evidence> {
    let mut deaths: BTreeMap<(i64, u32), (u32, &String)> = BTreeMap::new();
    for (name, death) in names.iter().filter_map(|name| Some((name, death(name)?))) {
        deaths.entry(death).or_insert((0, name)).0 += 1;
    }
    let told = |((seconds, _), (parts, name)): ((i64, u32), (u32, &String))| {
        let path = RawName(format!("/sys/firmware/efi/efivars/{name}").into_bytes());
        let origin = Origin { volume: root.clone(), path: Some(path), range: None };
        let says =
            format!("a kernel died, and the firmware keeps its last words for the next start (in {parts} parts)");
        evidence(&origin, Fact::CrashKept { parts }, &says, Some(stamp(UnixMicros::from_seconds(seconds))))
    };
    deaths.into_iter().rev().take(MOST).map(told).collect()
}

/// When a kernel died, and which time of that kernel it was to write its last words.
fn death(name: &str) -> Option<(i64, u32)> {
    let mut fields = name.strip_prefix("dump-type0-")?.split('-');
    let (part, count, time) = (fields.next()?, fields.next()?, fields.next()?);
    let rest = (fields.next(), fields.next());
    part.parse::<u32>().ok()?;
    matches!(rest, (Some("C" | "D") | None, None)).then_some((time.parse().ok()?, count.parse().ok()?))
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
            "dump-type0-1-1-1796000001",
            "dump-type0-1-1",
            "dump-type0-1-1-x-C",
            "dump-type0-1-1-1796042968-C-C",
            "dump-type1-1-1-1796042968-C",
        ];
        let found = crash_facts(&at("/").volume, &names.map(str::to_owned));
        let told: Vec<_> = found.into_iter().map(|e| (e.fact, e.time.unwrap().at.0 / 1_000_000)).collect();
        let kept = |parts| Fact::CrashKept { parts };
        assert_eq!(told, [(kept(2), 1_796_042_968), (kept(1), 1_796_000_001), (kept(1), 1_796_000_000)]);
    }
}
