//! OpenRC's log of what it started (`/var/log/rc.log`, where `rc_logger` is set), of which only the lines about the log itself are read:
//! `rc LEVEL logging started at TIME` and `stopped at TIME` (OpenRC 0.45, `src/openrc/rc-logger.c`, `write_time`), TIME as asctime(3)
//! writes it, local and without a zone.
//!
//! A start begins with the level `sysinit`. That the log of a level other than those of going down was stopped says that its services were
//! started, as far as they could be. OpenRC goes down by the level `shutdown`; Debian's, where sysvinit is process 1, by `off` and `reboot`.

use super::bytes::tail;
use super::{evidence, nul_run, trusted, unreadable};
use crate::want::LOG_TAIL;
use model::evidence::{ClockTrust, Evidence, Fact, Origin};
use model::ports::{ReadAt, UnixMicros};
use model::text::DisplayText;

/// Levels that are on the way to the one that is started.
const ON_THE_WAY: [&str; 2] = ["sysinit", "boot"];
/// Levels of going down.
const DOWN: [&str; 3] = ["shutdown", "off", "reboot"];
/// Longest name of a level.
const MOST_NAME: usize = 64;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[derive(Debug, Default)]
struct Start {
    began: Option<UnixMicros>,
    reached: Option<DisplayText>,
    going_down: Option<UnixMicros>,
}

/// Reads the end of the log.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, LOG_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "the log of init", &e.to_string())],
    };
    let mut found = nul_run::find(origin, at, &bytes);
    let Some(Start { began, reached, going_down }) = newest(&bytes) else { return found };
    let how_far = reached.as_ref().map_or_else(|| "came to no run level".to_owned(), |r| format!("reached {r}"));
    let end = match going_down {
        Some(_) => "; the services of going down were begun",
        None => "; nothing says that it was shut down",
    };
    let says = format!("the newest start in the log of init {how_far}{end}");
    let time = began.map(|at| trusted(at, ClockTrust::LocalNoZone));
    found.push(evidence(origin, Fact::InitLog { reached, going_down }, &says, time));
    found
}

fn newest(bytes: &[u8]) -> Option<Start> {
    let mut start: Option<Start> = None;
    for line in bytes.split(|b| matches!(b, b'\n' | 0)) {
        let text = String::from_utf8_lossy(line);
        let Some((level, rest)) = text.strip_prefix("rc ").and_then(|t| t.split_once(" logging ")) else { continue };
        let Some((what, time)) = rest.split_once(" at ").filter(|_| level.len() <= MOST_NAME) else { continue };
        let at = asctime(time);
        match (level, what) {
            ("sysinit", "started") => start = Some(Start { began: at, ..Start::default() }),
            (level, _) if DOWN.contains(&level) => {
                let start = start.get_or_insert_default();
                // What was written on the way down may be written once more by the next start.
                let is_older = at.zip(start.began).is_some_and(|(at, began)| at < began);
                start.going_down = start.going_down.or(at.filter(|_| !is_older));
            }
            (level, "stopped") if !ON_THE_WAY.contains(&level) => {
                start.get_or_insert_default().reached = Some(DisplayText::new(level));
            }
            _ => {}
        }
    }
    start
}

/// `Mon Nov 30 15:27:10 2026`.
fn asctime(text: &str) -> Option<UnixMicros> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let (month, day, time, year) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let mut clock = time.split(':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    UnixMicros::from_civil(year.parse().ok()?, month, day.parse().ok()?, hour, minute, second)
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    fn told(text: &str) -> Vec<(Fact, Option<String>)> {
        let found = parse(&at("/var/log/rc.log"), &text.as_bytes().to_vec());
        found.into_iter().map(|e| (e.fact, e.time.map(|t| t.at.to_string()))).collect()
    }

    fn lines(lines: &[&str]) -> String {
        lines.iter().map(|line| format!("\nrc {line}\n\n")).collect()
    }

    #[test]
    fn the_newest_start_and_how_far_it_came() {
        let older = [
            "sysinit logging started at Mon Nov 30 10:00:01 2026",
            "default logging stopped at Mon Nov 30 10:00:09 2026",
            "shutdown logging started at Mon Nov 30 11:00:00 2026",
            "shutdown logging stopped at Mon Nov 30 11:00:03 2026",
        ];
        // As Debian's calls it.
        let down = UnixMicros::from_civil(2026, 11, 30, 11, 0, 0);
        let off = "rc off logging stopped at Mon Nov 30 11:00:00 2026\n";
        assert_eq!(told(off), [(Fact::InitLog { reached: None, going_down: down }, None)]);
        let fact =
            |reached: Option<&str>, going_down| Fact::InitLog { reached: reached.map(DisplayText::new), going_down };
        let time = |t: &str| Some(format!("2026-11-30 {t}"));
        assert_eq!(told(&lines(&older)), [(fact(Some("default"), down), time("10:00:01"))]);
        let begun = [&older[..], &["sysinit logging started at Mon Nov 30 12:00:00 2026", "boot logging started at x"]]
            .concat();
        assert_eq!(told(&lines(&begun)), [(fact(None, None), time("12:00:00"))]);
        // As the real one writes the lines of the last way down again.
        let again =
            ["sysinit logging started at Mon Nov 30 12:00:00 2026", "off logging started at Mon Nov 30 11:00:00 2026"];
        assert_eq!(told(&lines(&again)), [(fact(None, None), time("12:00:00"))]);
        assert_eq!(told(" * Starting sshd ... [ ok ]\n"), []);
        // Only its end is there.
        assert_eq!(told(&lines(&older[2..])), [(fact(None, down), None)]);
    }

    #[test]
    fn times_that_are_none() {
        assert_eq!(asctime("Mon Nov 30 15:27:10 2026").unwrap().to_string(), "2026-11-30 15:27:10");
        for bad in ["", "Mon Nov", "Mon Nov 31 15:27:10 2026x", "Mon Foo 30 15:27:10 2026", "Mon Nov 30 15:27 2026"] {
            assert_eq!(asctime(bad), None, "{bad}");
        }
    }
}
