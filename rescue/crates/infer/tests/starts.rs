//! Starts and shutdowns of real machines whose init is not systemd (`fixtures/starts.sh`): shut down in order, restarted, and cut off. What
//! `last` says of their login records, and `dumpe2fs` of their roots, is kept beside what they left.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::histories::History;
use common::lived::Lived;
use model::assessment::Confidence::{self, Likely};
use model::assessment::Start::{self, Failed, Reached};
use model::assessment::Termination::{self, Abrupt, Clean};
use model::evidence::{EndKind, Fact, LifeSign};
use std::fs;
use std::path::Path;

/// What was done, in words; how it ended, how sure that is, and of which kind it was; how far it came; and the rules.
type Wanted =
    (&'static str, &'static str, (Termination, Confidence, Option<EndKind>), Start, (&'static str, &'static str));

const WANTED: &[Wanted] = &[
    (
        "sysvinit-ended",
        "started, and powered off",
        (Clean, Likely, Some(EndKind::Poweroff)),
        Reached,
        ("on-record-and-closed", "reached-run-level"),
    ),
    (
        "sysvinit-rebooted",
        "started, and told to reboot",
        (Clean, Likely, Some(EndKind::Reboot)),
        Reached,
        ("on-record-and-closed", "reached-run-level"),
    ),
    ("sysvinit-cut", "started, and cut off", (Abrupt, Likely, None), Reached, ("cut-off", "reached-run-level")),
    // Its login record has the shutdown already.
    (
        "sysvinit-cut-down",
        "started, and cut off on the way down",
        (Abrupt, Likely, None),
        Reached,
        ("cut-off", "reached-run-level"),
    ),
    (
        "openrc-ended",
        "started, and powered off",
        (Clean, Likely, Some(EndKind::Poweroff)),
        Reached,
        ("on-record-and-closed", "reached-run-level"),
    ),
    (
        "openrc-rebooted",
        "started, and told to reboot",
        (Clean, Likely, Some(EndKind::Reboot)),
        Reached,
        ("on-record-and-closed", "reached-run-level"),
    ),
    ("openrc-cut", "started, and cut off", (Abrupt, Likely, None), Reached, ("cut-off", "reached-run-level")),
];

#[test]
fn the_verdicts() {
    let mut wrong = Vec::new();
    for (name, _, ended, start, rules) in WANTED {
        let told = Lived::of("starts", name).assessed();
        let termination = (told.termination.value, told.termination.confidence, told.how);
        let by = (told.termination.rule.as_str(), told.start.rule.as_str());
        if termination != *ended || told.start.value != *start || by != *rules {
            wrong.push(format!("{name}: {termination:?} {:?} {by:?}", told.start.value));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// OpenRC's log says of it what the login record says.
#[test]
fn the_log_of_init_agrees() {
    for (name, _, (ended, ..), start, _) in WANTED.iter().filter(|w| w.0.starts_with("openrc")) {
        let machine = Lived::of("starts", name);
        let told = machine.evidence().into_iter().find_map(|e| match e.fact {
            Fact::InitLog { reached, going_down } => Some((reached.is_some(), going_down, e.time)),
            _ => None,
        });
        let (reached, going_down, began) = told.unwrap();
        let (last_began, last_ended) = machine.last();
        // The machine's clock is set between the two.
        let near = |at: i64, other: i64| (at / 1_000_000 - other).abs() < 120;
        assert!(near(began.unwrap().at.0, last_began), "{name}: {began:?} {last_began}");
        assert_eq!((reached, going_down.is_some()), (*start == Reached, last_ended.is_some()), "{name}: {ended:?}");
    }
}

/// A shutdown in order sets the hardware clock and saves the time, and the seed is saved by every start: all of it between the start and the
/// end that `last` tells. A machine that was cut off has the clock and the time of the shutdown before.
#[test]
fn what_is_written_on_the_way_down() {
    for (name, _, (ended, ..), ..) in WANTED {
        // Cut off on the way down, some of it was written and some not.
        if name.ends_with("cut-down") {
            continue;
        }
        let machine = Lived::of("starts", name);
        let (began, _) = machine.last();
        let evidence = machine.evidence();
        let written = |wanted: &dyn Fn(&Fact) -> bool| {
            let found = evidence.iter().find(|e| wanted(&e.fact)).unwrap_or_else(|| panic!("{name}: {evidence:#?}"));
            found.time.unwrap().at.0 / 1_000_000
        };
        let sign = |sign| move |f: &Fact| *f == Fact::SignOfLife { sign };
        let clock = written(&|f| *f == Fact::HardwareClock { local: false });
        let (time, seed) = (written(&sign(LifeSign::TimeSaved)), written(&sign(LifeSign::SeedSaved)));
        let session = began - 60..began + 300;
        for at in [clock, time] {
            assert_eq!(session.contains(&at), *ended == Clean, "{name}: {at}, began {began}");
        }
        assert!(session.contains(&seed), "{name}: {seed}, began {began}");
    }
}

/// What was done to counted entries, in words, and the rule that says by it that the last start likely failed, if one does.
type Counted = (&'static str, &'static str, Option<&'static str>);

const COUNTED: &[Counted] = &[
    ("tries-fresh", "added, and not tried yet", None),
    ("tries-once", "tried once, and cut off", Some("start-not-confirmed")),
    ("tries-used-up", "tried three times, and cut off each time", Some("tries-used-up")),
    ("tries-blessed", "tried, and confirmed", None),
];

/// What `bootctl list` says of them.
#[test]
fn counters_are_what_bootctl_says() {
    for (name, ..) in COUNTED {
        let history = History::within("starts", name);
        let oracle = history.oracle();
        let tries = oracle.iter().find_map(|line| line.strip_prefix("tries "));
        let number = |word: &str| {
            let count = tries?.split("; ").find_map(|part| part.strip_suffix(word))?;
            count.trim().parse::<u32>().ok()
        };
        let id = oracle.iter().find_map(|line| line.strip_prefix("id ")?.strip_suffix(".conf")).unwrap();
        let wanted = number("left").map(|left| (id.to_owned(), left, number("done").unwrap_or(0)));
        let told = history.evidence().into_iter().find_map(|e| match e.fact {
            Fact::BootTries { entry, left, done, .. } => Some((entry.as_str().to_owned(), left, done)),
            _ => None,
        });
        assert_eq!(told, wanted, "{name}");
        assert_eq!(told.is_none(), *name == "tries-blessed");
    }
}

/// What kernel-install, systemd-boot and systemd-bless-boot leave (`fixtures/boot-tries.sh`).
#[test]
fn starts_that_are_counted() {
    let mut wrong = Vec::new();
    for (name, _, rule) in COUNTED {
        let told = History::within("starts", name).assessed().start;
        // Nothing else is there of that machine, which a rule holds against it, weakly.
        let by_counters = Some(told.rule.as_str()).filter(|rule| *rule != "cannot-start");
        if by_counters != *rule || rule.is_some() != ((told.value, told.confidence) == (Failed, Likely)) {
            wrong.push(format!("{name}: {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The tables in docs/evidence.md are those that are tested here.
#[test]
fn the_tables_in_the_docs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/evidence.md");
    let docs = fs::read_to_string(path).unwrap();
    let lower = |text: String| text.to_lowercase();
    let mut lines = Vec::new();
    for (name, done, (ended, sure, how), start, (ended_by, start_by)) in WANTED {
        let init = name.split('-').next().unwrap();
        let how = how.map_or_else(String::new, |how| format!(" ({})", lower(format!("{how:?}"))));
        let (ended, sure, start) = (format!("{ended:?}"), format!("{sure:?}"), format!("{start:?}"));
        let (ended, sure, start) = (lower(ended), lower(sure), lower(start));
        lines.push(format!("| {init} | {done} | {ended}{how}, {sure} | `{ended_by}` | {start} | `{start_by}` |"));
    }
    for (_, done, rule) in COUNTED {
        let told = rule.map_or_else(|| "nothing".to_owned(), |rule| format!("failed, likely, by `{rule}`"));
        lines.push(format!("| {done} | {told} |"));
    }
    for line in lines {
        assert!(docs.lines().any(|l| l == line), "docs/evidence.md lacks\n{line}");
    }
}

/// What is read of the login record is what `last` reads of it.
#[test]
fn the_login_record_is_what_last_says() {
    for (name, ..) in WANTED {
        let machine = Lived::of("starts", name);
        let told = machine.evidence().into_iter().find_map(|e| match e.fact {
            Fact::WtmpLastBoot { ended, .. } => {
                Some((e.time.unwrap().at.0 / 1_000_000, ended.map(|t| t.0 / 1_000_000)))
            }
            _ => None,
        });
        assert_eq!(told, Some(machine.last()), "{name}");
    }
}
