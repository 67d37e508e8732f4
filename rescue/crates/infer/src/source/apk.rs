//! apk's database of installed packages, and its log (apk-tools 3.0.6, `src/database.c`, `src/print.c`).
//!
//! The database has paragraphs of lines `X:value`. It is written anew, as a whole, when a transaction ends. The log, which version 2 does
//! not write, tells each run: the command and when (UTC), what is done with each package, and `OK:` or a count of errors at the end.

use super::bytes::{head, tail};
use super::transaction::{History, Transaction, short};
use super::{evidence, local_time, nul_run, stamp, unreadable};
use crate::want::{APK_INSTALLED, LOG_TAIL};
use model::evidence::{Evidence, Fact, Origin, PackageManager, PackageState};
use model::ports::ReadAt;
use model::text::DisplayText;

/// Packages not in order that are told.
const MOST_TOLD: usize = 64;

/// Reads what is installed.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let bytes = match head(file, APK_INSTALLED) {
        Ok(bytes) => bytes,
        Err(e) => return vec![unreadable(origin, "apk's database", &e.to_string())],
    };
    let (mut installed, mut broken) = (0u32, Vec::new());
    let (mut name, mut version) = (DisplayText::default(), DisplayText::default());
    for line in bytes.split(|b| *b == b'\n') {
        let Some((key, value)) = line.split_at_checked(2) else { continue };
        let text = || short(&String::from_utf8_lossy(value));
        match key {
            b"P:" => {
                installed = installed.saturating_add(1);
                name = text();
            }
            b"V:" => version = text(),
            // `f`: files are missing, `s` and `x`: its scripts or extended attributes failed. A capital S is a matter of taste (`apk_pkg_ipkg`).
            b"f:" if value.iter().any(|b| matches!(b, b'f' | b's' | b'x')) && broken.len() < MOST_TOLD => {
                let state = DisplayText::new(&format!("marked {}", text()));
                broken.push(PackageState { name: name.clone(), version: version.clone(), state });
            }
            _ => {}
        }
    }
    if installed == 0 && !bytes.is_empty() {
        return vec![unreadable(origin, "apk's database", "it names no package")];
    }
    let says = match broken.len() {
        0 => format!("apk's database has {installed} packages, all in order"),
        n => format!("apk's database has {installed} packages, {n} of them marked as not in order"),
    };
    vec![evidence(
        origin,
        Fact::Packages { manager: PackageManager::Apk, installed: Some(installed), broken },
        &says,
        None,
    )]
}

const HISTORY: History =
    History { manager: PackageManager::Apk, program: "", ended: "ended", open: "has no end in apk's log" };

/// Reads the end of the log.
pub(super) fn parse_log(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (at, bytes) = match tail(file, LOG_TAIL) {
        Ok(read) => read,
        Err(e) => return vec![unreadable(origin, "apk's log", &e.to_string())],
    };
    let mut found = nul_run::find(origin, at, &bytes);
    found.extend(HISTORY.newest(origin, runs(&bytes)));
    found
}

/// The runs in a log that did something, oldest first.
fn runs(bytes: &[u8]) -> Vec<Transaction> {
    let mut all: Vec<Transaction> = Vec::new();
    for line in bytes.split(|b| matches!(b, b'\n' | 0)) {
        let text = String::from_utf8_lossy(line);
        if let Some((command, time)) = text.strip_prefix("Running `").and_then(|rest| rest.rsplit_once("` at ")) {
            let began = local_time(time).map(|local| stamp(local.at));
            all.push(Transaction { began, command: command.to_owned(), ..Transaction::default() });
            continue;
        }
        let Some(run) = all.last_mut() else { continue };
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["OK:", ..] => run.ended = true,
            [count, "error" | "errors" | "error;" | "errors;", ..] if count.parse::<u32>().is_ok() => run.failed = true,
            [
                count,
                "Installing" | "Upgrading" | "Downgrading" | "Purging" | "Reinstalling" | "Replacing",
                name,
                ..,
            ] if count.starts_with('(') => run.package(name),
            _ => {}
        }
    }
    all.retain(|run| !run.packages.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    #[test]
    fn marks_are_told() {
        let text =
            b"C:Q1abc\nP:musl\nV:1.2.5-r0\nF:lib\nR:x\n\nP:bash\nV:5.2-r1\nf:S\n\nP:vim\nV:9-r0\nf:fs\n\n".to_vec();
        let fact = &parse(&at("/lib/apk/db/installed"), &text)[0].fact;
        let Fact::Packages { installed: Some(3), broken, .. } = fact else { panic!("{fact:?}") };
        assert_eq!((broken.len(), broken[0].name.as_str(), broken[0].state.as_str()), (1, "vim", "marked fs"));
        assert!(matches!(parse(&at("/lib/apk/db/installed"), &b"nonsense".to_vec())[0].fact, Fact::Unreadable { .. }));
    }
}
