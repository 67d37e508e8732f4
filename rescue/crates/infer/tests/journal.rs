//! Journal files written by systemd itself, read here and by `journalctl`.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::journals;
use common::{HostFile, at, facts};
use infer::{Source, combine, parse};
use journals::{Export, FORMATS, SLEEP, Told, oracle, write, write_and_kill};
use model::evidence::{EndKind, Evidence, Fact};
use std::path::Path;

const PATH: &str = "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal";

fn read(file: &Path) -> Vec<Evidence> {
    parse(Source::Journal, &at(PATH), &HostFile::open(file))
}

fn boots(evidence: &[Evidence]) -> Vec<Fact> {
    facts(evidence, |f| matches!(f, Fact::Boot { .. }))
}

/// The boots newest first, as the oracle's are oldest first.
fn told(evidence: &[Evidence]) -> Vec<(String, i64, i64, bool)> {
    let mut all: Vec<(String, i64, i64, bool)> = boots(evidence)
        .into_iter()
        .map(|f| match f {
            Fact::Boot { boot_id, first, last, journal_stopped, .. } => (boot_id, first.0, last.0, journal_stopped),
            _ => unreachable!(),
        })
        .collect();
    all.reverse();
    all
}

fn expected(oracle: &[Told]) -> Vec<(String, i64, i64, bool)> {
    oracle.iter().map(|t| (t.boot.clone(), t.first, t.last, t.last_message == "Journal stopped")).collect()
}

/// Three starts: one ended in order, one broke off after a long day, one fell into emergency mode.
fn three_starts() -> Export {
    let mut e = Export::new();
    e.boot('a').start().chatter(50).shutdown("reboot.target");
    e.boot('b').start().chatter(17_500);
    e.boot('c').kernel("Linux version 6.1.0-18-amd64").chatter(20).reached("emergency.target").finished();
    e
}

#[test]
fn every_format_reads_as_journalctl_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let export = three_starts();
    for (i, format) in FORMATS.into_iter().enumerate() {
        let file = dir.path().join(format!("{i}.journal"));
        write(&file, &export, format);
        let evidence = read(&file);
        assert_eq!(told(&evidence), expected(&oracle(&[&file])), "{format:?}");
        let [newest, middle, oldest] = &boots(&evidence)[..] else { panic!("{evidence:?}") };
        let Fact::Boot { emergency, reached_target, startup_finished, ended, .. } = newest else { panic!() };
        assert!(*emergency && reached_target.is_none() && *startup_finished && ended.is_none());
        let Fact::Boot { emergency, reached_target, ended, order, .. } = middle else { panic!() };
        assert!(!*emergency && ended.is_none());
        assert_eq!(reached_target.as_ref().unwrap().as_str(), "graphical.target");
        assert_eq!(order.as_ref().unwrap().first, 359);
        let Fact::Boot { journal_stopped, ended, .. } = oldest else { panic!() };
        assert_eq!((*journal_stopped, *ended), (true, Some(EndKind::Reboot)));
        assert!(evidence.iter().all(|e| !matches!(e.fact, Fact::Unreadable { .. })), "{evidence:?}");
        assert!(evidence.iter().any(|e| e.fact == Fact::JournalFile { state: 0, disordered: false }));
    }
}

#[test]
fn only_part_of_a_long_journal_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("system.journal");
    let mut export = Export::new();
    export.boot('a').start().chatter(60_000).shutdown("poweroff.target");
    write(&file, &export, FORMATS[0]);
    let host = HostFile::open(&file);
    let evidence = parse(Source::Journal, &at(PATH), &host);
    let Fact::Boot { ended, reached_target, journal_stopped, .. } = &boots(&evidence)[0] else { panic!() };
    assert_eq!((*ended, *journal_stopped, reached_target.is_some()), (Some(EndKind::Poweroff), true, true));
    assert!(host.bytes_read() < 16 << 20, "{} bytes read", host.bytes_read());
}

#[test]
fn a_writer_that_was_killed_leaves_the_file_online() {
    let dir = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let file = dir.path().join(format!("{}{}.journal", format.keyed, format.compact));
        let mut export = Export::new();
        export.boot('a').start().chatter(500);
        write_and_kill(&file, &export, format);
        let evidence = read(&file);
        assert!(evidence.iter().any(|e| e.fact == Fact::JournalFile { state: 1, disordered: false }), "{evidence:?}");
        assert_eq!(told(&evidence), expected(&oracle(&[&file])));
    }
}

#[test]
fn boots_over_several_files_with_a_clock_that_went_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("system.journal");
    let mut export = Export::new();
    export.boot('a').start().shutdown("poweroff.target");
    export.boot('b').clock(946_684_900).start().chatter(10);
    write(&file, &export, FORMATS[0]);
    let combined = combine(read(&file));
    let newest = facts(&combined, |f| matches!(f, Fact::Boot { age: 0, .. }));
    assert!(matches!(&newest[..], [Fact::Boot { boot_id, .. }] if boot_id.starts_with("bb")), "{newest:?}");
    // The same again from another file of another counter: still one fact a boot.
    let copy = dir.path().join("copy.journal");
    write(&copy, &export, FORMATS[1]);
    let mut both = read(&file);
    both.extend(read(&copy));
    assert_eq!(boots(&combine(both)).len(), 2);
}

#[test]
fn going_to_sleep_and_faults() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("system.journal");
    let mut export = Export::new();
    export.boot('a').start().entry(&[
        ("MESSAGE", "Performing sleep operation 'hibernate'..."),
        ("MESSAGE_ID", SLEEP),
        ("_TRANSPORT", "journal"),
        ("_UID", "0"),
        ("SLEEP", "hibernate"),
    ]);
    export
        .boot('b')
        .start()
        .kernel("BUG: unable to handle page fault for address: 0000000000001000")
        .kernel("Oops: 0002 [#1]");
    export.boot('c').start().kernel("PM: suspend entry (deep)").kernel("PM: suspend exit").chatter(3);
    write(&file, &export, FORMATS[0]);
    let flags: Vec<(bool, bool)> = boots(&read(&file))
        .into_iter()
        .map(|f| match f {
            Fact::Boot { asleep, panicked, .. } => (asleep, panicked),
            _ => unreachable!(),
        })
        .collect();
    assert_eq!(flags, [(false, false), (false, true), (true, false)]);
}

#[test]
fn nobody_but_root_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("system.journal");
    let mut export = Export::new();
    export.boot('a').chatter(5).entry(&[
        ("MESSAGE", "Reached target multi-user.target - Multi-User System."),
        ("MESSAGE_ID", journals::STARTED),
        ("UNIT", "multi-user.target"),
        ("JOB_RESULT", "done"),
        ("_TRANSPORT", "journal"),
        ("_UID", "1000"),
        ("_PID", "4711"),
    ]);
    export.entry(&[
        ("MESSAGE", "Journal stopped"),
        ("MESSAGE_ID", journals::STOPPED),
        ("_TRANSPORT", "journal"),
        ("_UID", "1000"),
    ]);
    write(&file, &export, FORMATS[0]);
    let found = boots(&read(&file));
    assert!(matches!(&found[..], [Fact::Boot { reached_target: None, journal_stopped: false, .. }]), "{found:?}");
}

#[test]
fn long_fields_are_unpacked_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("system.journal");
    let long = format!("Kernel panic - not syncing: {}", "x".repeat(3000));
    let bomb = "y".repeat(500_000);
    let mut export = Export::new();
    export.boot('a').start().kernel(&bomb).kernel(&long);
    write(&file, &export, FORMATS[0]);
    let found = boots(&read(&file));
    assert!(matches!(&found[..], [Fact::Boot { panicked: true, .. }]), "zstd is read: {found:?}");
    // The same field marked as lz4 or xz: recognised, and passed over.
    for flag in [1, 2] {
        let mut bytes = std::fs::read(&file).unwrap();
        assert!(mark_compressed(&mut bytes, flag) >= 2);
        let found = boots(&parse(Source::Journal, &at(PATH), &bytes));
        assert!(matches!(&found[..], [Fact::Boot { panicked: false, reached_target: Some(_), .. }]), "{found:?}");
    }
}

/// Walks all objects of a file and marks the compressed ones otherwise. How many there were.
fn mark_compressed(bytes: &mut [u8], flag: u8) -> usize {
    let number = |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().unwrap());
    let (mut at, tail) = (number(bytes, 88), number(bytes, 136));
    let mut marked = 0;
    while at <= tail {
        let i = usize::try_from(at).unwrap();
        if bytes[i] == 1 && bytes[i + 1] == 4 {
            bytes[i + 1] = flag;
            marked += 1;
        }
        at += number(bytes, i + 8).next_multiple_of(8);
    }
    marked
}

#[test]
fn a_torn_file_is_read_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("system.journal");
    write(&file, &three_starts(), FORMATS[0]);
    let whole = std::fs::read(&file).unwrap();
    let used = whole.iter().rposition(|b| *b != 0).unwrap();
    // The last quarter was never written, as after a power cut; then the file itself ends early.
    let mut torn = whole.clone();
    torn[used / 4 * 3..].fill(0);
    for bytes in [torn, whole[..used / 4 * 3].to_vec()] {
        let evidence = parse(Source::Journal, &at(PATH), &bytes);
        let found = boots(&evidence);
        assert!(!found.is_empty(), "{evidence:?}");
        assert!(evidence.iter().any(|e| matches!(e.fact, Fact::Unreadable { .. })), "the damage is said: {evidence:?}");
        assert!(
            !found.iter().any(|f| matches!(f, Fact::Boot { boot_id, .. } if boot_id.starts_with('c'))),
            "{found:?}"
        );
    }
}
