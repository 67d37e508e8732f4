//! zypper's history (libzypp 17.36, `zypp/HistoryLog.cc`): lines of fields with `|` between, local times without a zone.
//!
//! `TIME|command|USER@HOST|COMMAND|` stands before what it does: `TIME|install|NAME|VERSION|ARCH|...` after each package. What fails is
//! told in comments. A command after which nothing stands did nothing, or was killed before its first package was done.

use super::bytes::tail;
use super::transaction::{History, Transaction};
use super::{local_time, nul_run, unreadable};
use crate::want::LOG_TAIL;
use model::evidence::{Evidence, Origin, PackageManager};
use model::ports::ReadAt;

const HISTORY: History = History {
    manager: PackageManager::Zypper,
    program: "",
    ended: "changed packages",
    open: "has nothing behind it in zypper's history",
};

/// Reads the end of the history.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, LOG_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "zypper's history", &e.to_string())],
    };
    let mut found = nul_run::find(origin, at, &bytes);
    found.extend(HISTORY.newest(origin, transactions(&bytes)));
    found
}

fn transactions(bytes: &[u8]) -> Vec<Transaction> {
    let mut all: Vec<Transaction> = Vec::new();
    for line in bytes.split(|b| matches!(b, b'\n' | 0)) {
        let text = String::from_utf8_lossy(line);
        if let Some(comment) = text.strip_prefix("# ") {
            let bad = comment.ends_with(" failed") || comment.contains("Commit was aborted");
            if let Some(t) = all.last_mut().filter(|_| bad) {
                (t.failed, t.ended) = (true, false);
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
                if let Some(t) = all.last_mut() {
                    t.package(name.trim());
                    t.ended = !t.failed;
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
    use model::evidence::Fact;

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
