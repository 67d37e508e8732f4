//! zypper's history (libzypp 17.36, `zypp/HistoryLog.cc`): lines of fields with `|` between, local times without a zone.
//!
//! `TIME|command|USER@HOST|COMMAND|` stands before what it does: `TIME|install|NAME|VERSION|ARCH|...` after each package. What fails is
//! told in comments. A command after which nothing stands did nothing, or was killed before its first package was done.

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

#[derive(Default)]
struct Transaction {
    began: Option<Stamp>,
    command: String,
    failed: bool,
    packages: Vec<DisplayText>,
}

/// Reads the end of the history.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, LOG_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "zypper's history", &e.to_string())],
    };
    let mut found = nul_run::find(origin, at, &bytes);
    for (age, t) in (0..).zip(transactions(&bytes).into_iter().rev().take(MOST_TOLD)) {
        let ended = !t.packages.is_empty() && !t.failed;
        let how = match (ended, t.failed) {
            (_, true) => "failed",
            (true, false) => "changed packages",
            (false, false) => "has nothing behind it in zypper's history",
        };
        let says = format!("{}: {how}", DisplayText::new(&t.command).shortened(60));
        let fact = Fact::Transaction {
            manager: PackageManager::Zypper,
            age,
            command: DisplayText::new(&DisplayText::new(&t.command).shortened(MOST_TEXT)),
            ended,
            failed: t.failed,
            packages: t.packages,
        };
        found.push(evidence(origin, fact, &says, t.began));
    }
    found
}

fn transactions(bytes: &[u8]) -> Vec<Transaction> {
    let mut all: Vec<Transaction> = Vec::new();
    for line in bytes.split(|b| matches!(b, b'\n' | 0)) {
        let text = String::from_utf8_lossy(line);
        if let Some(comment) = text.strip_prefix("# ") {
            let bad = comment.ends_with(" failed") || comment.contains("Commit was aborted");
            if let Some(t) = all.last_mut().filter(|_| bad) {
                t.failed = true;
            }
            continue;
        }
        let mut fields = text.split('|');
        let (Some(time), Some(what), Some(name)) = (fields.next(), fields.next(), fields.next()) else { continue };
        match what.trim() {
            "command" => {
                let command = fields.next().unwrap_or_default().replace('\'', "");
                all.push(Transaction { began: local_time(time), command, ..Transaction::default() });
            }
            "install" | "remove" => {
                if let Some(t) = all.last_mut().filter(|t| t.packages.len() < MOST_PACKAGES) {
                    t.packages.push(DisplayText::new(&DisplayText::new(name.trim()).shortened(MOST_TEXT)));
                }
            }
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    const HISTORY: &[u8] = b"2026-11-20 10:00:00|command|root@host|'zypper' 'install' 'vim'|\n\
        2026-11-20 10:00:02|install|vim|9.1-1.1|x86_64|root@host|repo|abc|\n\
        2026-11-21 10:00:00|command|root@host|'zypper' 'up'|\n# 2026-11-21 10:00:01 bash-5.2-1.x86_64.rpm install failed\n\
        # rpm output:\n2026-11-22 10:00:00|command|root@host|'zypper' 'dup'|\n";

    #[test]
    fn newest_first() {
        let found = parse(&at("/var/log/zypp/history"), &HISTORY.to_vec());
        let told: Vec<(bool, bool, usize)> = found
            .iter()
            .filter_map(|e| match &e.fact {
                Fact::Transaction { ended, failed, packages, .. } => Some((*ended, *failed, packages.len())),
                _ => None,
            })
            .collect();
        assert_eq!(told, [(false, false, 0), (false, true, 0), (true, false, 1)]);
        assert_eq!(found[0].says.as_str(), "zypper dup: has nothing behind it in zypper's history");
    }
}
