//! What unattended-upgrades wrote of its runs (`/var/log/unattended-upgrades/unattended-upgrades.log`, version 2.9.1): lines with a local
//! time, a level and a message. Only runs that had something to upgrade are told. What became of the packages, dpkg's database has.

use super::bytes::tail;
use super::transaction::{History, Transaction};
use super::{local_time, nul_run, unreadable};
use crate::want::LOG_TAIL;
use model::evidence::{Evidence, Origin, PackageManager};
use model::ports::ReadAt;

const HISTORY: History =
    History { manager: PackageManager::Unattended, program: "", ended: "ended", open: "has no end in its log" };

/// What it is called in sentences.
const COMMAND: &str = "unattended-upgrades";

/// Reads the end of the log.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, LOG_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "the log of unattended-upgrades", &e.to_string())],
    };
    let mut found = nul_run::find(origin, at, &bytes);
    found.extend(HISTORY.newest(origin, runs(&bytes)));
    found
}

fn runs(bytes: &[u8]) -> Vec<Transaction> {
    let mut all: Vec<Transaction> = Vec::new();
    let mut open = false;
    for line in bytes.split(|b| matches!(b, b'\n' | 0)) {
        let text = String::from_utf8_lossy(line);
        // The time ends in thousandths of a second.
        let Some((time, rest)) = text.split_once(',') else { continue };
        let Some((level, message)) = rest.split_once(' ').and_then(|(_, r)| r.split_once(' ')) else { continue };
        if let Some(packages) = message.strip_prefix("Packages that will be upgraded: ") {
            let mut run =
                Transaction { began: local_time(time), command: COMMAND.to_owned(), ..Transaction::default() };
            packages.split_ascii_whitespace().for_each(|name| run.package(name));
            open = !run.packages.is_empty();
            if open {
                all.push(run);
            }
            continue;
        }
        // A later run that had nothing to do says nothing of the one before.
        open &= !message.starts_with("Starting unattended upgrades script");
        let Some(run) = all.last_mut().filter(|_| open) else { continue };
        match message.trim_end() {
            "All upgrades installed" => run.ended = !run.failed,
            _ if level == "ERROR" => (run.failed, run.ended) = (true, false),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;
    use model::evidence::{ClockTrust, Fact};

    fn told(text: &str) -> Vec<(bool, bool, usize, String)> {
        let found = parse(&at("/var/log/unattended-upgrades/unattended-upgrades.log"), &text.as_bytes().to_vec());
        let fact = |e: Evidence| match e.fact {
            Fact::Transaction { manager: PackageManager::Unattended, ended, failed, packages, .. } => {
                let time = e.time.unwrap();
                assert_eq!(time.trust, ClockTrust::LocalNoZone);
                (ended, failed, packages.len(), time.at.to_string())
            }
            other => panic!("{other:?}"),
        };
        found.into_iter().map(fact).collect()
    }

    #[test]
    fn runs_that_ended_failed_and_did_not_end() {
        let start = "2026-11-30 06:00:00,100 INFO Starting unattended upgrades script\n";
        let some = "2026-11-30 06:00:02,100 INFO Packages that will be upgraded: libc6 tar\n";
        let end = "2026-11-30 06:00:09,100 INFO All upgrades installed\n";
        let bad = "2026-11-30 06:00:08,100 ERROR Installing the upgrades failed!\n";
        let at = "2026-11-30 06:00:02".to_owned();
        assert_eq!(told(&[start, some, end].concat()), [(true, false, 2, at.clone())]);
        assert_eq!(told(&[start, some, bad].concat()), [(false, true, 2, at.clone())]);
        assert_eq!(told(&[start, some, start, end].concat()), [(false, false, 2, at)]);
        assert_eq!(told(&[start, end].concat()), []);
    }
}
