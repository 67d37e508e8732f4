//! apt's history: transactions as paragraphs of `Key: value` lines (apt `apt-pkg/deb/dpkgpm.cc`), times local without a zone.
//!
//! A paragraph without `End-Date` is no proof that anything was cut off, nor is one with it of the opposite: dpkg's database
//! decides. This tells what was being done.

use super::bytes::tail;
use super::transaction::{History, Transaction};
use super::{local_time, nul_run, unreadable};
use crate::want::LOG_TAIL;
use model::evidence::{Evidence, Origin, PackageManager};
use model::ports::ReadAt;

const HISTORY: History =
    History { manager: PackageManager::Apt, program: "", ended: "ended", open: "has no end in apt's history" };

/// Reads the end of the history.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, LOG_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "apt's history", &e.to_string())],
    };
    let mut found = nul_run::find(origin, at, &bytes);
    found.extend(HISTORY.newest(origin, transactions(&bytes)));
    found
}

/// The transactions whose `Start-Date` lies in `bytes`, oldest first.
fn transactions(bytes: &[u8]) -> Vec<Transaction> {
    let mut all: Vec<Transaction> = Vec::new();
    for line in bytes.split(|b| matches!(b, b'\n' | 0)) {
        let text = String::from_utf8_lossy(line);
        let Some((key, value)) = text.split_once(": ") else { continue };
        if key == "Start-Date" {
            all.push(Transaction { began: local_time(value), ..Transaction::default() });
            continue;
        }
        let Some(t) = all.last_mut() else { continue };
        match key {
            "Commandline" => t.command = value.to_owned(),
            "Error" => t.failed = true,
            "End-Date" => t.ended = true,
            "Install" | "Upgrade" | "Downgrade" | "Remove" | "Purge" | "Reinstall" => {
                packages(value).for_each(|name| t.package(name));
            }
            _ => {}
        }
    }
    all
}

/// The names in `libc6:amd64 (2.36-8, 2.36-9), tar:amd64 (1.34, automatic)`.
fn packages(value: &str) -> impl Iterator<Item = &str> {
    let name = |item: &str| item.find([' ', ':', '(']).unwrap_or(item.len());
    value.split("), ").filter_map(move |item| item.get(..name(item))).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::super::transaction::MOST_PACKAGES;
    use super::*;
    use model::evidence::Fact;
    use model::text::DisplayText;

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
