//! wtmp: fixed-size login records (glibc `struct utmp`, `bits/types/struct_utmp.h`).
//!
//! 384 bytes where `ut_tv` is 32 bits wide for compatibility (x86), 400 bytes where it is not (aarch64, riscv64). Nothing in the
//! file tells which: both are tried, and the one that makes sense is taken. Debian 13 still writes the file, without boot
//! records; then it says nothing.
//!
//! Where sysvinit is init, it notes each run level it goes to (`src/init.c`, `write_utmp_wtmp`), 0 and 6 too, and Debian's
//! `umountnfs.sh` has `halt -w` note the shutdown before the file systems are unmounted.

use super::bytes::{tail, u16_at, u32_at, u64_at};
use super::{MOST_STARTS, evidence, stamp, unreadable};
use crate::want::WTMP_TAIL;
use model::evidence::{EndKind, Evidence, Fact, Origin, RecordedStart};
use model::ports::{ReadAt, UnixMicros};
use model::units::Extent;

/// `ut_type` of a run level change or shutdown, and of a boot.
const RUN_LVL: u16 = 1;
const BOOT_TIME: u16 = 2;
/// `DEAD_PROCESS` and `ACCOUNTING` are the last types there are.
const LAST_TYPE: u16 = 9;

/// Where things lie in a record: `ut_pid`, `ut_user` (32 bytes), and the time, by width of the record.
const PID: usize = 4;
const USER: std::ops::Range<usize> = 0x2c..0x4c;

/// The two layouts.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// 32-bit times.
    Narrow,
    /// 64-bit times.
    Wide,
}

impl Layout {
    fn len(self) -> usize {
        match self {
            Self::Narrow => 384,
            Self::Wide => 400,
        }
    }

    fn seconds(self, record: &[u8]) -> i64 {
        match self {
            Self::Narrow => u32_at(record, 0x154).map_or(0, i64::from),
            Self::Wide => u64_at(record, 0x158).map_or(0, |s| i64::try_from(s).unwrap_or(i64::MAX)),
        }
    }

    fn time(self, record: &[u8]) -> UnixMicros {
        UnixMicros::from_seconds(self.seconds(record))
    }

    fn microseconds(self, record: &[u8]) -> i64 {
        match self {
            Self::Narrow => u32_at(record, 0x158).map_or(0, i64::from),
            Self::Wide => u64_at(record, 0x160).map_or(0, |s| i64::try_from(s).unwrap_or(0)),
        }
    }

    /// A record of this layout: a known type, a user name that is text, a time of this age; or nothing but zeros.
    fn fits(self, record: &[u8]) -> bool {
        let user = record.get(USER).unwrap_or_default();
        let name = user.split(|b| *b == 0).next().unwrap_or_default();
        let seconds = self.seconds(record);
        record.iter().all(|b| *b == 0)
            || (u16_at(record, 0).is_some_and(|t| t <= LAST_TYPE)
                && name.iter().all(|b| (0x20..0x7f).contains(b) || *b >= 0x80)
                && (0..4_102_444_800).contains(&seconds)
                && (0..1_000_000).contains(&self.microseconds(record)))
    }
}

/// Reads the end of a wtmp file.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, WTMP_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "the login record", &e.to_string())],
    };
    let Some((layout, start)) = layout_of(at, &bytes) else {
        let why = format!("{} bytes that are records of neither 384 nor 400 bytes", bytes.len());
        return vec![unreadable(origin, "the login record", &why)];
    };
    let mut boot: Option<(usize, &[u8])> = None;
    let (mut ended, mut run_level, mut how) = (None, None, None);
    let mut before = Vec::new();
    let records = bytes.get(start..).unwrap_or_default().chunks_exact(layout.len());
    for (i, record) in records.enumerate() {
        let user = record.get(USER).unwrap_or_default().split(|b| *b == 0).next().unwrap_or_default();
        match (u16_at(record, 0), user) {
            (Some(BOOT_TIME), b"reboot") => {
                if let Some((_, older)) = boot.replace((i, record)) {
                    before.insert(0, RecordedStart { began: layout.time(older), ended });
                    before.truncate(MOST_STARTS);
                }
                (ended, run_level, how) = (None, None, None);
            }
            (Some(RUN_LVL), b"shutdown") => ended = Some(layout.time(record)),
            (Some(RUN_LVL), b"runlevel") => match record.get(PID) {
                // Which one it reached before it went down stays told.
                Some(b'0') => how = Some(EndKind::Poweroff),
                Some(b'6') => how = Some(EndKind::Reboot),
                Some(level) if level.is_ascii_graphic() => (run_level, how) = (Some(char::from(*level)), None),
                _ => {}
            },
            _ => {}
        }
    }
    let Some((i, record)) = boot else {
        return vec![evidence(origin, Fact::NotThere, "no start is recorded in the login record", None)];
    };
    let from = at + (start + i * layout.len()) as u64;
    let origin = Origin { range: Extent::between(from, from + layout.len() as u64), ..origin.clone() };
    let shutdown_follows = ended.is_some();
    let says = match (shutdown_follows, run_level) {
        (false, _) if how.is_some() => {
            "the login record has the beginning of a shutdown after the last start, and not its end".to_owned()
        }
        (true, _) => "the login record has a shutdown after the last start".to_owned(),
        (false, Some(level)) => {
            format!("the login record has no shutdown after the last start, which reached run level {level}")
        }
        (false, None) => "the login record has neither a shutdown nor a run level after the last start".to_owned(),
    };
    let fact = Fact::WtmpLastBoot { shutdown_follows, run_level, ended, before, how };
    vec![evidence(&origin, fact, &says, Some(stamp(layout.time(record))))]
}

/// The layout that fits nearly all records, and where the first whole one begins in `bytes`, which lie at `at` of the file.
fn layout_of(at: u64, bytes: &[u8]) -> Option<(Layout, usize)> {
    let mut best = None;
    for layout in [Layout::Narrow, Layout::Wide] {
        let len = layout.len() as u64;
        let start = usize::try_from((len - at % len) % len).unwrap_or(0);
        let records = bytes.get(start..).unwrap_or_default().chunks_exact(layout.len());
        let count = records.len();
        let fitting = records.filter(|r| layout.fits(r)).count();
        // A crash may have torn some.
        if fitting * 10 >= count * 9
            && best.is_none_or(|(most, _, _)| fitting > most)
            && (count > 0 || bytes.is_empty())
        {
            best = Some((fitting, layout, start));
        }
    }
    best.map(|(_, layout, start)| (layout, start))
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    fn record(layout: Layout, kind: u16, user: &str, pid: u8, seconds: u32) -> Vec<u8> {
        let mut r = vec![0; layout.len()];
        r[..2].copy_from_slice(&kind.to_le_bytes());
        r[PID] = pid;
        r[USER][..user.len()].copy_from_slice(user.as_bytes());
        let at = if matches!(layout, Layout::Narrow) { 0x154 } else { 0x158 };
        r[at..at + 4].copy_from_slice(&seconds.to_le_bytes());
        r
    }

    fn session(layout: Layout, stopped: bool) -> Vec<u8> {
        let mut all = record(layout, BOOT_TIME, "reboot", 0, 1_795_000_000);
        all.extend(record(layout, RUN_LVL, "shutdown", 0, 1_795_000_500));
        all.extend(record(layout, BOOT_TIME, "reboot", 0, 1_795_001_000));
        all.extend(record(layout, RUN_LVL, "runlevel", b'5', 1_795_001_010));
        all.extend(record(layout, 7, "bob", 200, 1_795_001_020));
        if stopped {
            all.extend(record(layout, RUN_LVL, "shutdown", 0, 1_795_001_500));
        }
        all
    }

    #[test]
    fn both_layouts_tell_the_same() {
        for layout in [Layout::Narrow, Layout::Wide] {
            for stopped in [false, true] {
                let found = parse(&at("/var/log/wtmp"), &session(layout, stopped));
                assert_eq!(found.len(), 1);
                let at = |seconds| Some(UnixMicros::from_seconds(seconds));
                let told = Fact::WtmpLastBoot {
                    shutdown_follows: stopped,
                    run_level: Some('5'),
                    ended: at(1_795_001_500).filter(|_| stopped),
                    before: vec![RecordedStart {
                        began: UnixMicros::from_seconds(1_795_000_000),
                        ended: at(1_795_000_500),
                    }],
                    how: None,
                };
                assert_eq!(found[0].fact, told, "{layout:?}");
                assert_eq!(found[0].time.unwrap().at, UnixMicros::from_seconds(1_795_001_000), "{layout:?}");
            }
        }
    }

    #[test]
    fn run_levels_of_going_down_tell_how() {
        let mut bytes = session(Layout::Narrow, false);
        bytes.extend(record(Layout::Narrow, RUN_LVL, "runlevel", b'6', 1_795_001_400));
        let told = |bytes: &Vec<u8>| match parse(&at("/var/log/wtmp"), bytes)[0].fact.clone() {
            Fact::WtmpLastBoot { shutdown_follows, run_level, how, .. } => (shutdown_follows, run_level, how),
            other => panic!("{other:?}"),
        };
        assert_eq!(told(&bytes), (false, Some('5'), Some(EndKind::Reboot)));
        bytes.extend(record(Layout::Narrow, RUN_LVL, "shutdown", 0, 1_795_001_401));
        assert_eq!(told(&bytes), (true, Some('5'), Some(EndKind::Reboot)));
        bytes.extend(record(Layout::Narrow, BOOT_TIME, "reboot", 0, 1_795_002_000));
        assert_eq!(told(&bytes), (false, None, None));
    }

    #[test]
    fn older_starts_are_told_newest_first_and_not_all() {
        let starts = (0..20).flat_map(|n| record(Layout::Narrow, BOOT_TIME, "reboot", 0, 1_795_000_000 + n * 1000));
        let found = parse(&at("/var/log/wtmp"), &starts.collect::<Vec<u8>>());
        let Fact::WtmpLastBoot { before, .. } = &found[0].fact else { panic!("{found:?}") };
        assert_eq!(before.len(), MOST_STARTS);
        assert_eq!(before[0], RecordedStart { began: UnixMicros::from_seconds(1_795_018_000), ended: None });
    }

    #[test]
    fn no_boot_record_is_no_evidence() {
        let logins = record(Layout::Narrow, 7, "bob", 0, 1_795_000_000);
        for bytes in [Vec::new(), logins] {
            assert_eq!(parse(&at("/var/log/wtmp"), &bytes)[0].fact, Fact::NotThere);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let text = b"2026-11-22 not a login record at all, but text\n".repeat(40);
        assert!(matches!(parse(&at("/var/log/wtmp"), &text)[0].fact, Fact::Unreadable { .. }));
    }

    #[test]
    fn a_torn_tail_is_stepped_over() {
        let mut bytes = session(Layout::Narrow, false);
        bytes.extend(vec![0; 384 * 2 + 100]);
        let fact = &parse(&at("/var/log/wtmp"), &bytes)[0].fact;
        let told =
            matches!(fact, Fact::WtmpLastBoot { shutdown_follows: false, run_level: Some('5'), ended: None, .. });
        assert!(told, "{fact:?}");
    }
}
