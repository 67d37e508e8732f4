//! dpkg's log: what it did last. Written ahead of the database, in local time without a zone; the database outranks it.

use super::bytes::tail;
use super::{evidence, local_time, nul_run, unreadable};
use crate::want::LOG_TAIL;
use model::evidence::{Evidence, Fact, Origin};
use model::ports::ReadAt;
use model::text::DisplayText;

/// Longest line that is told.
const MOST_LINE: usize = 200;

/// Reads the end of the log.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, LOG_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "dpkg's log", &e.to_string())],
    };
    let mut found = nul_run::find(origin, at, &bytes);
    // A line is `DATE TIME WORD ...`; one that was cut off, or starts amid zeros, has no date in front or no word behind.
    let last = bytes.rsplit(|b| matches!(b, b'\n' | 0)).find_map(|line| {
        let text = String::from_utf8_lossy(line);
        let (stamp, rest) = text.split_at_checked(19)?;
        Some((local_time(stamp)?, DisplayText::new(rest.trim()).shortened(MOST_LINE)))
    });
    if let Some((time, line)) = last.filter(|(_, line)| !line.is_empty()) {
        let says = format!("the last line of dpkg's log is \"{line}\"");
        found.push(evidence(origin, Fact::DpkgLogTail { line: DisplayText::new(&line) }, &says, Some(time)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    #[test]
    fn the_last_whole_line() {
        let log =
            b"2026-11-22 21:03:10 startup archives unpack\n2026-11-22 21:03:11 status half-installed x:amd64 1.0\n"
                .to_vec();
        let found = parse(&at("/var/log/dpkg.log"), &log);
        assert_eq!(found[0].fact, Fact::DpkgLogTail { line: "status half-installed x:amd64 1.0".into() });
        assert_eq!(found[0].time.unwrap().at.to_string(), "2026-11-22 21:03:11");
    }

    #[test]
    fn zeros_after_the_last_line() {
        let log = [&b"2026-11-22 21:03:10 startup archives unpack\n"[..], &[0; 500]].concat();
        let facts: Vec<Fact> = parse(&at("/var/log/dpkg.log"), &log).into_iter().map(|e| e.fact).collect();
        assert_eq!(
            facts,
            [Fact::NulRun { len: 500, at_end: true }, Fact::DpkgLogTail { line: "startup archives unpack".into() }]
        );
    }

    #[test]
    fn nothing_in_nothing() {
        assert!(parse(&at("/var/log/dpkg.log"), &Vec::new()).is_empty());
        assert!(parse(&at("/var/log/dpkg.log"), &"öäü".repeat(30).into_bytes()).is_empty());
    }
}
