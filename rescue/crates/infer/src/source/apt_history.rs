//! apt's history: transactions as paragraphs of `Key: value` lines (apt `apt-pkg/deb/dpkgpm.cc`), times local without a zone.
//!
//! A paragraph without `End-Date` is no proof that anything was cut off, nor is one with it of the opposite: dpkg's database
//! decides. This tells what was being done.

use super::bytes::tail;
use super::{evidence, local_time, nul_run, unreadable};
use crate::want::LOG_TAIL;
use model::evidence::{Evidence, Fact, Origin, PackageManager, Stamp};
use model::ports::ReadAt;
use model::text::DisplayText;

/// Transactions told.
const MOST_TOLD: usize = 3;
/// Packages told of each.
const MOST_PACKAGES: usize = 64;
/// Longest text told.
const MOST_TEXT: usize = 200;

#[derive(Debug, Default)]
struct Transaction {
    started: Option<Stamp>,
    command: String,
    ended: bool,
    failed: bool,
    packages: Vec<DisplayText>,
}

/// Reads the end of the history.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, LOG_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "apt's history", &e.to_string())],
    };
    let mut found = nul_run::find(origin, at, &bytes);
    for (age, t) in (0..).zip(transactions(&bytes).into_iter().rev().take(MOST_TOLD)) {
        let short = DisplayText::new(&t.command).shortened(60);
        let what = if short.is_empty() { "a transaction" } else { short.as_str() };
        let how = match (t.ended, t.failed) {
            (_, true) => "failed",
            (true, false) => "ended",
            (false, false) => "has no end in apt's history",
        };
        let says = format!("{what}: {how}");
        let fact = Fact::Transaction {
            manager: PackageManager::Apt,
            age,
            command: DisplayText::new(&t.command),
            ended: t.ended,
            failed: t.failed,
            packages: t.packages,
        };
        found.push(evidence(origin, fact, &says, t.started));
    }
    found
}

/// The transactions whose `Start-Date` lies in `bytes`, oldest first.
fn transactions(bytes: &[u8]) -> Vec<Transaction> {
    let mut all: Vec<Transaction> = Vec::new();
    for line in bytes.split(|b| matches!(b, b'\n' | 0)) {
        let text = String::from_utf8_lossy(line);
        let Some((key, value)) = text.split_once(": ") else { continue };
        if key == "Start-Date" {
            all.push(Transaction { started: local_time(value), ..Transaction::default() });
            continue;
        }
        let Some(t) = all.last_mut() else { continue };
        match key {
            "Commandline" => t.command = DisplayText::new(value).shortened(MOST_TEXT),
            "Error" => t.failed = true,
            "End-Date" => t.ended = true,
            "Install" | "Upgrade" | "Downgrade" | "Remove" | "Purge" | "Reinstall" => {
                let room = MOST_PACKAGES.saturating_sub(t.packages.len());
                t.packages.extend(packages(value).take(room));
            }
            _ => {}
        }
    }
    all
}

/// The names in `libc6:amd64 (2.36-8, 2.36-9), tar:amd64 (1.34, automatic)`.
fn packages(value: &str) -> impl Iterator<Item = DisplayText> {
    value.split("), ").filter_map(|item| {
        let name = item.split([' ', ':', '(']).next().unwrap_or_default();
        (!name.is_empty()).then(|| DisplayText::new(&DisplayText::new(name).shortened(MOST_TEXT)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    const HISTORY: &str = "\nStart-Date: 2026-11-20  10:00:00\nCommandline: apt install tar\nInstall: tar:amd64 (1.34)\n\
        End-Date: 2026-11-20  10:00:05\n\nStart-Date: 2026-11-21  10:00:00\nCommandline: apt upgrade\n\
        Upgrade: libc6:amd64 (2.36-8, 2.36-9), libc-bin:amd64 (2.36-8, 2.36-9)\n\
        Error: Sub-process /usr/bin/dpkg exited unexpectedly\nEnd-Date: 2026-11-21  10:00:09\n\n\
        Start-Date: 2026-11-22  21:00:00\nCommandline: apt-get install -y vim\nRequested-By: bob (1000)\n\
        Install: vim:amd64 (9.0, automatic), vim-runtime:amd64 (9.0)\n";

    #[test]
    fn newest_first() {
        let found = parse(&at("/var/log/apt/history.log"), &HISTORY.as_bytes().to_vec());
        let told: Vec<(u32, bool, bool, Vec<&str>)> = found
            .iter()
            .map(|e| match &e.fact {
                Fact::Transaction { age, ended, failed, packages, .. } => {
                    (*age, *ended, *failed, packages.iter().map(DisplayText::as_str).collect())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            told,
            [
                (0, false, false, vec!["vim", "vim-runtime"]),
                (1, true, true, vec!["libc6", "libc-bin"]),
                (2, true, false, vec!["tar"]),
            ]
        );
        assert_eq!(found[0].says.as_str(), "apt-get install -y vim: has no end in apt's history");
        assert_eq!(found[0].time.unwrap().at.to_string(), "2026-11-22 21:00:00");
    }

    #[test]
    fn lists_are_bounded() {
        let many = format!("Start-Date: x\nInstall: {}\n", "aaaa:amd64 (1), ".repeat(5000));
        let found = parse(&at("/var/log/apt/history.log"), &many.into_bytes());
        assert!(matches!(&found[0].fact, Fact::Transaction { packages, .. } if packages.len() == MOST_PACKAGES));
    }
}
