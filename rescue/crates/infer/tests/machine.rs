//! Files of a real machine (see `fixtures/README.md`). What is expected is what `journalctl --list-boots`, `journalctl -b` and
//! `utmpdump` said of them.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::facts;
use common::machine::{journals, wtmp, wtmpdb};
use infer::combine;
use model::evidence::{EndKind, Fact, RecordedStart};

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
    let found = wtmp();
    let Fact::WtmpLastBoot { shutdown_follows: false, run_level: Some('5'), ended: None, before, how: None } =
        &found[0].fact
    else {
        panic!("{found:?}")
    };
    let told: Vec<(String, Option<String>)> =
        before.iter().map(|s| (s.began.to_string(), s.ended.map(|at| at.to_string()))).collect();
    let at = |time: &str| format!("2026-11-23 {time}");
    assert_eq!(told, [(at("06:36:47"), None), (at("06:35:39"), Some(at("06:36:08")))]);
    assert_eq!(found[0].time.unwrap().at.to_string(), "2026-11-23 06:38:22");
}

#[test]
fn the_login_record_that_took_its_place() {
    let cut = wtmpdb(true);
    let Fact::WtmpLastBoot { shutdown_follows: false, run_level: None, ended: None, before, how: None } = &cut[0].fact
    else {
        panic!("{cut:?}")
    };
    assert!(matches!(&before[..], [RecordedStart { ended: Some(_), .. }]), "{before:?}");
    assert_eq!(cut[0].time.unwrap().at.to_string(), "2026-11-30 09:23:22");
    let ended = wtmpdb(false);
    let Fact::WtmpLastBoot { shutdown_follows: true, run_level: None, ended: Some(at), before, how: None } =
        &ended[0].fact
    else {
        panic!("{ended:?}")
    };
    assert_eq!((at.to_string().as_str(), before.len()), ("2026-11-30 09:23:21", 0));
    assert_eq!(ended[0].time.unwrap().at.to_string(), "2026-11-30 09:23:21");
}
