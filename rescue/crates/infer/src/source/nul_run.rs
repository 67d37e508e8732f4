//! Runs of NUL bytes in text logs: where a machine was cut off, blocks that were allocated and never written read as zeros.

use super::bytes::tail;
use super::{evidence, unreadable};
use crate::want::LOG_TAIL;
use model::evidence::{Evidence, Fact, Origin};
use model::ports::ReadAt;
use model::units::Extent;

/// Shorter runs are not told: a program may write a stray NUL.
const LEAST: usize = 16;

/// Looks at the end of a text log.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    match tail(file, LOG_TAIL) {
        Ok((at, bytes)) => find(origin, at, &bytes),
        Err(e) => vec![unreadable(origin, "a log", &e.to_string())],
    }
}

/// The last run, where there is one; `bytes` are the end of the file and lie at `at`.
pub(super) fn find(origin: &Origin, at: u64, bytes: &[u8]) -> Vec<Evidence> {
    let mut end = bytes.len();
    while let Some(last) = bytes[..end].iter().rposition(|b| *b == 0) {
        let start = bytes[..last].iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        let len = last + 1 - start;
        if len >= LEAST {
            let at_end = last + 1 == bytes.len();
            let says = if at_end {
                format!("the log ends in {len} zero bytes: the machine was cut off while it was written")
            } else {
                format!("{len} zero bytes within the log: the scar of a crash some time ago")
            };
            let from = at + start as u64;
            let origin = Origin { range: Extent::between(from, from + len as u64), ..origin.clone() };
            return vec![evidence(&origin, Fact::NulRun { len: len as u64, at_end }, &says, None)];
        }
        end = start;
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    fn facts(parts: &[&[u8]]) -> Vec<Fact> {
        parse(&at("/var/log/syslog"), &parts.concat()).into_iter().map(|e| e.fact).collect()
    }

    #[test]
    fn runs_at_the_end_and_within() {
        assert_eq!(facts(&[b"line\n", &[0; 100]]), [Fact::NulRun { len: 100, at_end: true }]);
        assert_eq!(facts(&[b"line\n", &[0; 100], b"line\n", &[0; 3]]), [Fact::NulRun { len: 100, at_end: false }]);
        assert_eq!(facts(&[b"line\n", &[0; 3]]), []);
        assert_eq!(facts(&[]), []);
        assert_eq!(facts(&[&[0; 64]]), [Fact::NulRun { len: 64, at_end: true }]);
    }
}
