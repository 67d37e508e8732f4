//! What rpm, dnf, zypper and pacman leave, as the real ones left it (`fixtures/managers.sh`): after transactions that ended, failed and
//! were killed. What they themselves say of it (`rpm -qa`, dnf's own tables read by SQLite, `pacman -Q`) is kept beside it.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::histories::History;
use common::{Dice, HostFile, at};
use infer::{Files, Source, parse, parse_database};
use model::assessment::Confidence::{self, Certain, Likely};
use model::assessment::Installation::{self, Broken, Idle, Interrupted};
use model::evidence::{Evidence, Fact, PackageManager};
use model::ports::ReadAt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Lines of `rpm -qa`: name and version, and when it was installed.
fn packages(oracle: &[String]) -> Vec<(String, String)> {
    let packages =
        oracle.iter().filter(|l| !l.contains('|') && !l.starts_with("info ")).filter_map(|l| l.split_once(' '));
    packages.map(|(package, time)| (package.to_owned(), time.to_owned())).collect()
}

#[test]
fn rpms_database_is_what_rpm_says() {
    for manager in ["rpm", "dnf", "dnf5", "zypper"] {
        for end in ["ended", "upgraded", "killed-after", "killed-before", "killed-amid", "failed", "killed-then-mended"]
        {
            let name = format!("{manager}-{end}");
            if !Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/managers/{name}.tar.zst")).exists() {
                continue;
            }
            let history = History::of(&name);
            let oracle = packages(&history.oracle());
            let (installed, doubled) = history.rpm();
            assert_eq!(installed, oracle.len(), "{name}");
            let of_one: Vec<&str> = oracle.iter().filter_map(|(p, _)| p.strip_prefix("one-")).collect();
            let wanted = if of_one.len() > 1 { vec![of_one] } else { vec![] };
            let versions = |(_, versions): &(String, String)| versions.replace("-1", "");
            let told: Vec<String> = doubled.iter().map(versions).collect();
            assert_eq!(told, wanted.iter().map(|v| v.join(", ")).collect::<Vec<_>>(), "{name}");
            let newest = oracle.iter().map(|(_, time)| time.parse::<i64>().unwrap()).max().unwrap();
            let time = history.evidence().iter().find_map(|e| match &e.fact {
                Fact::Packages { .. } => e.time.map(|t| t.at.0 / 1_000_000),
                _ => None,
            });
            assert_eq!(time, Some(newest), "{name}");
        }
    }
}

#[test]
fn dnfs_history_is_what_its_tables_say() {
    let ends = ["ended", "upgraded", "killed-after", "killed-before", "killed-amid", "failed", "killed-then-mended"];
    for name in ["dnf", "dnf5"].into_iter().flat_map(|dnf| ends.map(|end| format!("{dnf}-{end}"))) {
        let history = History::of(&name);
        // id, state, no end, command
        let wanted: Vec<(bool, bool, String)> = history
            .oracle()
            .iter()
            .filter_map(|line| {
                let mut fields = line.splitn(4, '|').skip(1);
                let (state, _, command) = (fields.next()?, fields.next()?, fields.next()?);
                Some((state == "1", state == "2", command.chars().take(40).collect()))
            })
            .collect();
        let evidence = history.evidence();
        let told: Vec<(bool, bool, String)> = evidence
            .iter()
            .filter_map(|e| match &e.fact {
                Fact::Transaction { manager: PackageManager::Dnf, ended, failed, command, .. } => {
                    Some((*ended, *failed, command.as_str().chars().take(40).collect()))
                }
                _ => None,
            })
            .collect();
        assert!(!told.is_empty());
        assert_eq!(told, wanted, "{name}");
        // And what dnf 5 itself says of them.
        let status = |line: &'_ String| line.strip_prefix("info Status=").map(|s| (s == "Ok", s == "Error"));
        let listed: Vec<(bool, bool)> = history.oracle().iter().filter_map(status).collect();
        assert_eq!(listed.is_empty(), !name.starts_with("dnf5"));
        assert!(
            listed.is_empty() || listed == told.iter().map(|t| (t.0, t.1)).collect::<Vec<_>>(),
            "{name}: {listed:?}"
        );
    }
    for name in ["dnf-ended", "dnf5-ended"] {
        let named = History::of(name).evidence().into_iter().find_map(|e| match e.fact {
            Fact::Transaction { age: 0, packages, .. } => {
                Some(packages.iter().map(|p| p.to_string()).collect::<Vec<_>>())
            }
            _ => None,
        });
        assert_eq!(named.unwrap(), ["one", "three", "two"]);
    }
}

/// What rpm and apk leave of files that were not yet in their places, as they name it.
#[test]
fn files_that_were_left() {
    for (name, manager, count) in [
        ("rpm-killed-amid", PackageManager::Rpm, 2),
        ("dnf-killed-amid", PackageManager::Rpm, 2),
        ("dnf5-killed-amid", PackageManager::Rpm, 2),
        ("zypper-killed-amid", PackageManager::Rpm, 2),
        ("apk-killed-amid", PackageManager::Apk, 2),
    ] {
        let history = History::of(name);
        let found: Vec<Evidence> =
            history.evidence().into_iter().filter(|e| matches!(e.fact, Fact::HalfReplaced { .. })).collect();
        let [Evidence { fact: Fact::HalfReplaced { manager: told, count: seen, .. }, time, .. }] = &found[..] else {
            panic!("{name}: {found:?}")
        };
        assert_eq!((*told, *seen), (manager, count), "{name}");
        // Of rpm they tell when it began: no sooner than what was installed before was.
        let before = packages(&history.oracle()).iter().filter_map(|(_, t)| t.parse::<i64>().ok()).max();
        let began = time.map(|t| t.at.0 / 1_000_000);
        assert_eq!(began.is_some(), manager == PackageManager::Rpm);
        let soon = |began: i64| before.is_some_and(|before| (before..before + 60).contains(&began));
        assert!(began.is_none_or(soon), "{name}: {began:?} {before:?}");
    }
}

#[test]
fn apks_database_is_what_apk_says() {
    for end in ["ended", "upgraded", "killed-after", "killed-before", "killed-amid", "failed"] {
        let history = History::of(&format!("apk-{end}"));
        let wanted = history.oracle().iter().filter(|line| line.contains("[installed]")).count();
        let found = history.evidence().into_iter().find_map(|e| match e.fact {
            Fact::Packages { manager: PackageManager::Apk, installed, broken } => Some((installed, broken)),
            _ => None,
        });
        let (installed, broken) = found.unwrap();
        assert_eq!(installed, u32::try_from(wanted).ok(), "{end}");
        assert_eq!(
            broken.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
            if end == "failed" { vec!["two"] } else { vec![] }
        );
    }
}

/// What unattended-upgrades was at when it was killed, only its own log has: dpkg's database is in order, as `dpkg-query` says too.
#[test]
fn unattended_upgrades_tell_of_their_ends() {
    for (name, whole) in [("unattended-ended", true), ("unattended-killed", false)] {
        let history = History::of(name);
        let evidence = history.evidence();
        let runs: Vec<(bool, bool, usize)> = evidence
            .iter()
            .filter_map(|e| match &e.fact {
                Fact::Transaction { manager: PackageManager::Unattended, ended, failed, packages, .. } => {
                    Some((*ended, *failed, packages.len()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(runs.len(), 1, "{name}");
        assert_eq!((runs[0].0, runs[0].1), (whole, false), "{name}");
        assert!(runs[0].2 > 5, "{name}: {runs:?}");
        let dpkg = evidence.iter().find_map(|e| match &e.fact {
            Fact::DpkgState { installed, broken, .. } => Some((installed.to_string(), broken.len())),
            _ => None,
        });
        assert_eq!(dpkg, history.oracle().first().map(|count| (count.clone(), 0)), "{name}");
        assert_eq!(history.assessed().installation.evidence_against.is_empty(), whole, "{name}");
    }
}

/// What was done, in words, what the software facet must say, and by which rule.
type Wanted = (&'static str, &'static str, Installation, Confidence, &'static str);

const WANTED: &[Wanted] = &[
    ("rpm-ended", "three packages installed", Idle, Likely, "other-in-order"),
    ("rpm-upgraded", "one upgraded, one erased", Idle, Likely, "other-in-order"),
    // Without a history of transactions: what it did not come to, nobody can tell.
    ("rpm-killed-before", "killed before the first file of an upgrade", Idle, Likely, "other-in-order"),
    ("rpm-killed-after", "killed in the script after unpacking", Broken, Likely, "packages-not-in-order"),
    ("rpm-killed-amid", "killed amid the files of an upgrade", Interrupted, Likely, "files-left"),
    ("rpm-failed", "a script before unpacking failed", Idle, Likely, "other-in-order"),
    ("dnf-ended", "three packages installed", Idle, Likely, "other-in-order"),
    ("dnf-upgraded", "one upgraded", Idle, Likely, "other-in-order"),
    ("dnf-killed-before", "killed before the first file of an upgrade", Interrupted, Likely, "transaction-cut-off"),
    ("dnf-killed-after", "killed in the script after unpacking", Interrupted, Certain, "transaction-cut-off"),
    ("dnf-killed-amid", "killed amid the files of an upgrade", Interrupted, Certain, "transaction-cut-off"),
    ("dnf-failed", "a script before unpacking failed", Idle, Likely, "other-in-order"),
    // `rpm -qa` names one package twice.
    ("dnf-killed-then-mended", "killed, then another upgrade that ended", Broken, Likely, "packages-not-in-order"),
    ("dnf5-ended", "three packages installed", Idle, Likely, "other-in-order"),
    ("dnf5-upgraded", "one upgraded", Idle, Likely, "other-in-order"),
    ("dnf5-killed-before", "killed before the first file of an upgrade", Interrupted, Likely, "transaction-cut-off"),
    ("dnf5-killed-amid", "killed amid the files of an upgrade", Interrupted, Certain, "transaction-cut-off"),
    ("dnf5-killed-after", "killed in the script after unpacking", Interrupted, Certain, "transaction-cut-off"),
    ("dnf5-failed", "a script before unpacking failed", Idle, Likely, "other-in-order"),
    ("dnf5-killed-then-mended", "killed, then another upgrade that ended", Broken, Likely, "packages-not-in-order"),
    ("zypper-ended", "three packages installed", Idle, Likely, "other-in-order"),
    ("zypper-upgraded", "one upgraded", Idle, Likely, "other-in-order"),
    // zypper saw it, and wrote that it failed.
    ("zypper-killed-after", "its rpm killed in the script after unpacking", Broken, Likely, "packages-not-in-order"),
    ("zypper-killed-amid", "its rpm killed amid the files of an upgrade", Interrupted, Likely, "files-left"),
    ("zypper-failed", "a script before unpacking failed", Idle, Likely, "other-in-order"),
    ("pacman-ended", "two packages installed", Idle, Likely, "other-in-order"),
    ("pacman-upgraded", "one upgraded", Idle, Likely, "other-in-order"),
    ("pacman-killed-before", "killed before the first file of an upgrade", Interrupted, Likely, "lock-left"),
    ("pacman-killed-amid", "killed amid the files of an upgrade", Interrupted, Certain, "lock-left"),
    ("pacman-killed-after", "killed in the script after unpacking", Interrupted, Likely, "lock-left"),
    ("apk-ended", "two packages installed", Idle, Likely, "other-in-order"),
    ("apk-upgraded", "one upgraded", Idle, Likely, "other-in-order"),
    ("apk-killed-before", "killed before the first file of an upgrade", Interrupted, Likely, "transaction-cut-off"),
    ("apk-killed-amid", "killed amid the files of an upgrade", Interrupted, Likely, "transaction-cut-off"),
    ("apk-killed-after", "killed in the script after unpacking", Interrupted, Likely, "transaction-cut-off"),
    ("apk-failed", "a script after unpacking failed", Broken, Likely, "packages-not-in-order"),
    // dpkg and apt had ended a step, and were not yet at the next.
    ("unattended-ended", "unattended-upgrades ended", Idle, Likely, "in-order"),
    ("unattended-killed", "killed between two of its steps", Idle, Likely, "in-order"),
];

/// What the real histories come to.
#[test]
fn the_verdicts() {
    let told = |name: &str| {
        let told = History::of(name).assessed();
        (told.installation.value, told.installation.confidence, told.installation.rule)
    };
    let wrong: Vec<String> = WANTED
        .iter()
        .filter_map(|(name, _, value, confidence, rule)| {
            let told = told(name);
            (told != (*value, *confidence, (*rule).to_owned())).then(|| format!("{name}: {told:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The table of histories in docs/evidence.md is the one that is tested here.
#[test]
fn the_table_in_the_docs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/evidence.md");
    let docs = fs::read_to_string(path).unwrap();
    let lower = |text: String| text.to_lowercase();
    for (name, done, value, confidence, rule) in WANTED {
        let manager = name.split('-').next().unwrap();
        let told = (lower(format!("{value:?}")), lower(format!("{confidence:?}")));
        let line = format!("| {manager} | {done} | {} | {} | `{rule}` |", told.0, told.1);
        assert!(docs.lines().any(|l| l == line), "docs/evidence.md lacks\n{line}");
    }
}

/// A database of another kind is named.
#[test]
fn other_databases_are_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Packages.db");
    fs::write(&path, b"RpmP\0\0\0\0\0\0\0\0\0\0\0\0").unwrap();
    let found = parse(Source::RpmOther, &at("/var/lib/rpm/Packages.db"), &HostFile::open(&path));
    assert!(found[0].says.as_str().contains("ndb") && matches!(found[0].fact, Fact::Unreadable { .. }), "{found:?}");
}

/// Whatever is done to their files, every parser comes to an end, soon, and tells no more than it may.
#[test]
fn damage_is_survived() {
    let mut dice = Dice(7);
    for (name, database) in
        [("dnf-killed-after", "var/lib/dnf/history.sqlite"), ("rpm-killed-after", "usr/lib/sysimage/rpm/rpmdb.sqlite")]
    {
        let history = History::of(name);
        let read = |suffix: &str| fs::read(history.path(&format!("{database}{suffix}"))).unwrap_or_default();
        let (whole, wal) = (read(""), read("-wal"));
        assert!(!whole.is_empty() && !wal.is_empty());
        for round in 0..120 {
            let (mut database, mut log) = (whole.clone(), wal.clone());
            let torn = if round % 2 == 0 { &mut database } else { &mut log };
            for _ in 0..dice.below(30) {
                let at = dice.below(torn.len());
                torn[at] = dice.roll().to_le_bytes()[0];
            }
            torn.truncate(torn.len() - dice.below(2) * dice.below(torn.len()));
            for source in [Source::RpmDatabase, Source::DnfHistory, Source::Wtmpdb] {
                // The log as a journal, too, and the other way round.
                let (wal, journal) = if round % 7 == 0 { (None, Some(&log)) } else { (Some(&log), None) };
                let files = Files {
                    database: &database,
                    wal: wal.map(|f| f as &dyn ReadAt),
                    journal: journal.map(|f| f as &dyn ReadAt),
                };
                let began = Instant::now();
                let evidence = parse_database(source, &at("/x"), files);
                assert!(began.elapsed() < Duration::from_secs(5), "{name}: {source:?} took {:?}", began.elapsed());
                assert!(evidence.len() <= 9 && serde_json::to_string(&evidence).unwrap().len() < 1 << 18, "{name}");
            }
        }
    }
}
