//! Files of a real machine (see `fixtures/README.md`). What is expected is what `journalctl --list-boots`, `journalctl -b` and
//! `utmpdump` said of them.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::{at, facts};
use infer::{Files, Source, combine, parse, parse_database};
use model::evidence::{EndKind, Evidence, Fact};

const DIR: &str = "/var/log/journal/51cf6ccc767e4b04a52ea314ea229dd7";

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::decompress(bytes, 9 << 20).unwrap()
}

fn journals() -> Vec<Evidence> {
    let new = unpacked(include_bytes!("fixtures/cut.journal.zst"));
    let old = unpacked(include_bytes!("fixtures/ended-then-cut.journal.zst"));
    let mut all = parse(Source::Journal, &at(&format!("{DIR}/system.journal")), &new);
    let renamed = format!("{DIR}/system@000660ebd7df145e-06116874038ece40.journal~");
    all.extend(parse(Source::Journal, &at(&renamed), &old));
    all
}

#[test]
fn three_starts_over_two_files() {
    let combined = combine(journals());
    let told: Vec<(String, u32, String, String, bool, Option<EndKind>)> =
        facts(&combined, |f| matches!(f, Fact::Boot { .. }))
            .into_iter()
            .map(|f| match f {
                Fact::Boot { boot_id, age, first, last, journal_stopped, ended, .. } => {
                    (boot_id, age, first.to_string(), last.to_string(), journal_stopped, ended)
                }
                _ => unreachable!(),
            })
            .collect();
    let start = |id: &str, age, first: &str, last: &str, stopped, ended| {
        (id.to_owned(), age, format!("2026-11-23 {first}"), format!("2026-11-23 {last}"), stopped, ended)
    };
    assert_eq!(
        told,
        [
            start("7db38a9b6bbf46b2a8cd731e870d3a7d", 0, "06:38:32", "06:38:59", false, None),
            start("909b9490e3b44137b6ba75521819de94", 1, "06:36:55", "06:37:27", false, None),
            start("63ddac59d67d4873ba7aba9b33c34359", 2, "06:35:45", "06:36:11", true, Some(EndKind::Poweroff)),
        ]
    );
    for fact in facts(&combined, |f| matches!(f, Fact::Boot { .. })) {
        let Fact::Boot { reached_target, startup_finished, emergency, asleep, panicked, .. } = fact else {
            unreachable!()
        };
        assert_eq!(reached_target.unwrap().as_str(), "graphical.target");
        assert!(startup_finished && !emergency && !asleep && !panicked);
    }
    assert_eq!(
        facts(&combined, |f| matches!(f, Fact::JournalFile { .. })),
        [Fact::JournalFile { state: 1, disordered: false }, Fact::JournalFile { state: 1, disordered: true },]
    );
}

#[test]
fn the_login_record() {
    let found = parse(Source::Wtmp, &at("/var/log/wtmp"), &unpacked(include_bytes!("fixtures/wtmp.zst")));
    assert_eq!(found[0].fact, Fact::WtmpLastBoot { shutdown_follows: false, run_level: Some('5') });
    assert_eq!(found[0].time.unwrap().at.to_string(), "2026-11-23 06:38:22");
}

#[test]
fn the_login_record_that_took_its_place() {
    let parsed = |bytes: &[u8]| {
        let files = Files { database: &unpacked(bytes), wal: None, journal: None };
        parse_database(Source::Wtmpdb, &at("/var/log/wtmp.db"), files)
    };
    let cut = parsed(include_bytes!("fixtures/wtmpdb-cut.db.zst"));
    assert_eq!(cut[0].fact, Fact::WtmpLastBoot { shutdown_follows: false, run_level: None });
    assert_eq!(cut[0].time.unwrap().at.to_string(), "2026-11-30 09:23:22");
    let ended = parsed(include_bytes!("fixtures/wtmpdb-ended.db.zst"));
    assert_eq!(ended[0].fact, Fact::WtmpLastBoot { shutdown_follows: true, run_level: None });
    assert_eq!(ended[0].time.unwrap().at.to_string(), "2026-11-30 09:23:21");
}
