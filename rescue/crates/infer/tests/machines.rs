//! Histories of a real Debian 12 with systemd (`fixtures/machines.sh`): shut down in each way, cut off in each state, asleep, dead, and not
//! come up. What `dumpe2fs`, `journalctl`, `last` and `dpkg --audit` say of each is kept beside what it left. What a person is told of each stands in
//! `golden/machines.txt`: look at a difference before accepting it with `HOLDFAST_BLESS=1 cargo test -p infer --test machines`.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::histories::unpacked;
use common::lived::Lived;
use model::assessment::Confidence::{self, Certain};
use model::assessment::Installation::{self, Completed, Idle, Interrupted};
use model::assessment::Start::{self, Failed, Reached};
use model::assessment::Termination::{self, Abrupt, Clean, Hibernated};
use model::evidence::{EndKind, Fact};
use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::fs;
use std::path::Path;

/// What was done, in words, and what is true of it. That a start came nowhere before it was cut off is not for anyone to tell: its facet may
/// be unknown, and only that.
struct Told {
    name: &'static str,
    done: &'static str,
    ended: (Termination, Option<EndKind>),
    start: Start,
    software: Installation,
}

const fn lived(
    name: &'static str,
    done: &'static str,
    ended: (Termination, Option<EndKind>),
    start: Start,
    software: Installation,
) -> Told {
    Told { name, done, ended, start, software }
}

const CUT: (Termination, Option<EndKind>) = (Abrupt, None);
const OFF: (Termination, Option<EndKind>) = (Clean, Some(EndKind::Poweroff));

const HISTORIES: &[Told] = &[
    lived("never", "installed, and never started", (Termination::Never, None), Start::Never, Idle),
    lived("first-cut", "cut off in its first start, before it had a machine id", CUT, Start::Unknown, Idle),
    lived("poweroff", "powered off", OFF, Reached, Idle),
    lived("rebooted", "told to reboot", (Clean, Some(EndKind::Reboot)), Reached, Idle),
    lived("halted", "halted", (Clean, Some(EndKind::Halt)), Reached, Idle),
    lived("cut-idle", "cut off while idle", CUT, Reached, Idle),
    lived("cut-writing", "cut off while it wrote", CUT, Reached, Idle),
    lived("cut-starting", "cut off while its services started", CUT, Start::Unknown, Idle),
    lived("cut-down", "cut off on the way down", CUT, Reached, Idle),
    lived("cut-unpack", "cut off while packages were unpacked", CUT, Reached, Interrupted),
    lived("cut-configure", "cut off while packages were configured", CUT, Reached, Interrupted),
    lived("cut-initramfs", "cut off in `update-initramfs`", CUT, Reached, Idle),
    lived("cut-initramfs-trigger", "cut off in `update-initramfs`, called by dpkg", CUT, Reached, Interrupted),
    lived("upgraded", "packages upgraded, and powered off", OFF, Reached, Completed),
    lived("upgraded-cut", "packages upgraded, and cut off", CUT, Reached, Completed),
    lived("panicked", "its kernel panicked", CUT, Reached, Idle),
    lived("reset", "reset by SysRq", CUT, Reached, Idle),
    lived("forced", "powered off by force, past all services", CUT, Reached, Idle),
    lived("suspended", "suspended, and cut off", CUT, Reached, Idle),
    lived("woke", "suspended, woken, and powered off", OFF, Reached, Idle),
    lived("hibernated", "hibernated", (Hibernated, None), Reached, Idle),
    lived("resumed", "hibernated, resumed, and powered off", OFF, Reached, Idle),
    lived("not-resumed", "hibernated, started without that, and cut off", CUT, Reached, Idle),
    lived("emergency", "cut off as soon as it was in emergency mode", CUT, Failed, Idle),
    lived("emergency-off", "in emergency mode, and powered off", OFF, Failed, Idle),
    lived("no-libc", "powered off, its C library taken away, and started", OFF, Failed, Idle),
    // The root is not touched by such a start: what is told is of the one before.
    lived("no-root", "powered off; in a start after that its kernel did not find the root", OFF, Reached, Idle),
];

fn lower(told: impl Debug) -> String {
    format!("{told:?}").to_lowercase()
}

/// The verdicts are true, or unknown, and the table in docs/evidence.md has them as they are.
#[test]
fn the_verdicts() {
    let all = unpacked("machines");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/evidence.md");
    let docs = fs::read_to_string(path).unwrap();
    let (mut wrong, mut lines) = (Vec::new(), String::new());
    for history in HISTORIES {
        let told = Lived::debian(&all.path().join(history.name)).assessed();
        let (ended, start, software) = (&told.termination, &told.start, &told.installation);
        let mut one = |right: bool, unknown: bool, what: &dyn Debug, sure: Confidence| {
            if !right && (!unknown || sure == Certain) {
                wrong.push(format!("{}: {what:?}, {sure:?}", history.name));
            }
        };
        let right = (ended.value, told.how) == history.ended;
        one(right, ended.value == Termination::Unknown, &(ended.value, told.how), ended.confidence);
        one(start.value == history.start, start.value == Start::Unknown, &start.value, start.confidence);
        let unknown = software.value == Installation::Unknown;
        one(software.value == history.software, unknown, &software.value, software.confidence);
        let how = told.how.map_or_else(String::new, |how| format!(" ({})", lower(how)));
        let line = format!(
            "| {} | {}{how}, {} | `{}` | {}, {} | `{}` | {}, {} |\n",
            history.done,
            lower(ended.value),
            lower(ended.confidence),
            ended.rule,
            lower(start.value),
            lower(start.confidence),
            start.rule,
            lower(software.value),
            lower(software.confidence),
        )
        .replace("``", "-");
        lines.push_str(&line);
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{lines}");
    for line in lines.lines() {
        assert!(docs.lines().any(|l| l == line), "docs/evidence.md lacks\n{line}\nof\n{lines}");
    }
}

/// Headline and advice: no more certain than the assessment.
#[test]
fn what_a_person_is_told() {
    let all = unpacked("machines");
    let mut out = String::new();
    for history in HISTORIES {
        let told = Lived::debian(&all.path().join(history.name)).assessed();
        writeln!(out, "{}\n  {}\n  {}", history.done, told.headline, told.advice).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/machines.txt");
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        fs::write(&file, &out).unwrap();
    }
    assert_eq!(out, fs::read_to_string(&file).unwrap_or_default(), "{} differs", file.display());
}

/// Rows of the tables in docs/evidence.md that are not what happened.
const WRONG: &[&str] = &["| rpm | killed in the script after unpacking | broken | likely | `packages-not-in-order` |"];

/// How many histories there are, in all the tables that tests compare with what real programs left, and what share of them is told as it was.
#[test]
fn how_many_are_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/evidence.md");
    let docs = fs::read_to_string(path).unwrap();
    let mut rows: Vec<&str> = Vec::new();
    for section in docs.split("\n## ") {
        let of_histories =
            ["Package managers,", "A machine with systemd", "Starts without a journal", "Sought to be told wrongly"];
        if of_histories.iter().any(|title| section.starts_with(title)) {
            let table = |line: &&str| line.starts_with("| ") && !line.starts_with("| --- ");
            let head = |line: &&str| line.contains("| what was done |");
            rows.extend(section.lines().filter(table).filter(|line| !head(line)));
        }
    }
    let distinct: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(distinct.len(), rows.len());
    for row in WRONG {
        assert!(distinct.contains(row) && !row.contains("certain"), "{row}");
    }
    assert!(rows.len() >= 60, "{} histories", rows.len());
    let (all, right) = (u16::try_from(rows.len()).unwrap(), u16::try_from(rows.len() - WRONG.len()).unwrap());
    let share = 100.0 * f64::from(right) / f64::from(all);
    assert!(share >= 95.0);
    let line = format!("{all} histories, of which {right} are told as they were ({share:.1} %).");
    assert!(docs.contains(&line), "docs/evidence.md lacks\n{line}");
}

/// What `journalctl --list-boots` said of the starts, `dpkg --audit` of the packages, and `last` of the login record.
#[test]
fn others_say_the_same() {
    let all = unpacked("machines");
    for history in HISTORIES {
        let (name, machine) = (history.name, Lived::debian(&all.path().join(history.name)));
        let evidence = machine.evidence();
        let mut boots: Vec<(String, String, String)> = evidence
            .iter()
            .filter_map(|e| match &e.fact {
                Fact::Boot { boot_id, first, last, .. } => Some((boot_id.clone(), first.to_string(), last.to_string())),
                _ => None,
            })
            .collect();
        boots.reverse();
        // `0 ID Mon 2026-11-30 19:16:10 UTC Mon 2026-11-30 19:16:28 UTC`, with a dash between the two.
        let listed: Vec<(String, String, String)> = machine
            .values("boots")
            .into_iter()
            .map(|line| {
                let words: Vec<&str> =
                    line.split(|c: char| c == ' ' || !c.is_ascii()).filter(|w| !w.is_empty()).collect();
                (words[1].into(), format!("{} {}", words[3], words[4]), format!("{} {}", words[7], words[8]))
            })
            .collect();
        assert_eq!(boots, listed, "{name}");
        let broken: Vec<BTreeSet<&str>> = evidence
            .iter()
            .filter_map(|e| match &e.fact {
                Fact::DpkgState { broken, .. } => Some(broken.iter().map(|p| p.name.as_str()).collect()),
                _ => None,
            })
            .collect();
        assert_eq!(broken, [machine.values("audit").into_iter().collect::<BTreeSet<&str>>()], "{name}");
        let login = evidence.iter().find_map(|e| match e.fact {
            Fact::WtmpLastBoot { ended, .. } => {
                Some((e.time.unwrap().at.0 / 1_000_000, ended.map(|t| t.0 / 1_000_000)))
            }
            _ => None,
        });
        assert_eq!(login, (!machine.values("last").is_empty()).then(|| machine.last()), "{name}");
    }
}

/// A start whose kernel does not find its root leaves nothing on it.
#[test]
fn what_no_disk_can_tell() {
    let all = unpacked("machines");
    let of = |name: &str| {
        let machine = Lived::debian(&all.path().join(name));
        (machine.evidence(), machine.number("mounts"), machine.number("mounted"))
    };
    assert_eq!(of("no-root"), of("poweroff"));
}
