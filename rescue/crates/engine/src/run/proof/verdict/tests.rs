use super::*;
use model::assessment::SystemReport;
use model::evidence::{ClockTrust, EvidenceId, Origin};
use model::id::DiskNo;
use model::inspection::{Inspection, System};
use model::ports::UnixMicros;

/// When the machine is switched on, in seconds.
const NOW: i64 = 1_800_000_000;

fn root() -> VolumePath {
    VolumePath::partition(DiskNo(0), 1)
}

fn fact(fact: Fact, seconds: i64) -> Evidence {
    let origin = Origin { volume: root(), path: None, range: None };
    let time = Some(Stamp { at: UnixMicros(seconds * 1_000_000), trust: ClockTrust::Utc });
    Evidence { id: EvidenceId("e".into()), origin, fact, says: format!("said at {seconds}").as_str().into(), time }
}

fn boot(id: &str, age: u32, target: Option<&str>, emergency: bool) -> Evidence {
    let begun = NOW + i64::from(age == 0);
    let boot = Fact::Boot {
        boot_id: id.into(),
        age,
        first: UnixMicros(begun * 1_000_000),
        last: UnixMicros(begun * 1_000_000 + 2),
        journal_stopped: false,
        startup_finished: false,
        reached_target: target.map(Into::into),
        emergency,
        ended: None,
        asleep: false,
        panicked: false,
        order: None,
        moments: Vec::new(),
        kernel: None,
        handed_back: false,
        asked: None,
    };
    fact(boot, NOW)
}

fn login(seconds: i64, run_level: Option<char>) -> Evidence {
    fact(Fact::WtmpLastBoot { shutdown_follows: false, run_level, ended: None, before: Vec::new(), how: None }, seconds)
}

fn mounted(mount_count: u16) -> Evidence {
    let state = Fact::ExtState {
        needs_recovery: true,
        has_journal: true,
        valid: true,
        errors: false,
        mount_count,
        mounted_at: i64::from(mount_count) * 1000,
    };
    fact(state, 9)
}

fn report(evidence: Vec<Evidence>) -> Report {
    let system = System {
        name: "Debian".into(),
        os: ("debian".into(), "12".into()),
        hostname: None,
        machine_id: None,
        root: root(),
        boot: vec![],
        other: vec![],
        subvolumes: Vec::new(),
    };
    let inspection = Inspection { systems: vec![system.clone()], ..Inspection::default() };
    let assessment = infer::assess(&system, &inspection, &evidence, None);
    Report { inspection, systems: vec![SystemReport { system, assessment, evidence }], boot: Vec::new() }
}

fn of(evidence: Vec<Evidence>) -> Before {
    Before::of(&report(evidence), &[], UnixMicros(NOW * 1_000_000))
}

/// A system that came up before, as its journal says.
fn before() -> Before {
    of(vec![boot("a", 0, Some("multi-user.target"), false), mounted(3)])
}

fn seen(before: &Before, evidence: Vec<Evidence>) -> Seen {
    before.seen(&report(evidence))
}

fn old() -> Evidence {
    boot("a", 1, Some("multi-user.target"), false)
}

#[test]
fn only_this_start_counts() {
    let before = before();
    assert_eq!(seen(&before, vec![old(), mounted(3)]), Seen::Nothing, "what was up before is no proof");
    assert_eq!(seen(&before, vec![old(), mounted(4)]), Seen::Mounted);
    let begun = seen(&before, vec![boot("b", 0, None, false), old(), mounted(4)]);
    assert_eq!((begun.boot(), begun.words()), (Some("b"), "its start is on record"));
    let up = seen(&before, vec![boot("b", 0, Some("graphical.target"), false), old()]);
    assert!(matches!(&up, Seen::Reached { boot: Some(b), .. } if b == "b"), "{up:?}");
    let fell = seen(&before, vec![boot("b", 0, Some("multi-user.target"), true), old()]);
    assert!(matches!(fell, Seen::Fell { .. }), "{fell:?}");
    // A look at which nothing could be read, or a system that is gone.
    assert_eq!(seen(&before, vec![]), Seen::Nothing);
    assert_eq!(before.seen(&Report::default()), Seen::Nothing);
}

/// Records that were not seen before, for whatever reason, and that are none of this start.
#[test]
fn a_start_of_before_does_not_count() {
    let up = |seconds| {
        let mut e = boot("b", 0, Some("multi-user.target"), false);
        if let Fact::Boot { first, .. } = &mut e.fact {
            *first = UnixMicros(seconds * 1_000_000);
        }
        e
    };
    let silent = of(vec![mounted(3)]);
    let hours = 60 * 60;
    assert!(matches!(seen(&silent, vec![up(NOW - 14 * hours)]), Seen::Reached { .. }), "its clock keeps local time");
    assert_eq!(seen(&silent, vec![up(NOW - 16 * hours)]), Seen::Nothing);
    assert_eq!(seen(&silent, vec![login(NOW - 16 * hours, Some('5'))]), Seen::Nothing);
    // One that was known when the snapshot was taken.
    let then = report(vec![boot("b", 0, Some("multi-user.target"), false)]).systems;
    let knowing = Before::of(&report(vec![mounted(3)]), &then, UnixMicros(NOW * 1_000_000));
    assert_eq!(seen(&knowing, vec![up(NOW), mounted(3)]), Seen::Nothing);
}

#[test]
fn a_login_record_counts_where_it_is_new() {
    let before = of(vec![login(NOW - 10, Some('5')), mounted(3)]);
    assert_eq!(seen(&before, vec![login(NOW - 10, Some('5')), mounted(4)]), Seen::Mounted);
    assert_eq!(seen(&before, vec![login(NOW + 10, None), mounted(4)]), Seen::Mounted);
    assert_eq!(seen(&before, vec![login(NOW + 10, Some('1')), mounted(4)]), Seen::Mounted);
    assert!(matches!(seen(&before, vec![login(NOW + 10, Some('5'))]), Seen::Reached { boot: None, .. }));
    // The journal may not have come that far yet, but it knows the start.
    let both = seen(&before, vec![login(NOW + 10, Some('5')), boot("b", 0, None, false)]);
    assert!(matches!(&both, Seen::Reached { boot: Some(b), .. } if b == "b"), "{both:?}");
    // One that is on record as fallen is not up, whatever a login record says.
    let both = seen(&before, vec![login(NOW + 10, Some('5')), boot("b", 0, None, true)]);
    assert!(matches!(both, Seen::Fell { .. }), "{both:?}");
}

fn verdict(before: &Before, seen: &Seen, end: &End) -> Verdict {
    let (verdict, why) = before.judge(seen, end);
    assert!(!why.as_str().is_empty());
    verdict
}

#[test]
fn what_is_on_record_decides() {
    let (before, says) = (before(), DisplayText::new("said"));
    let reached = Seen::Reached { boot: None, says: says.clone() };
    let fell = Seen::Fell { boot: "b".into(), says };
    let begun = Seen::Begun { boot: "b".into() };
    let text = || DisplayText::new("because");
    let ends = [
        End::Late(10),
        End::Machine(Happened::Off),
        End::Machine(Happened::Reset),
        End::Machine(Happened::Panicked),
        End::Panic(text()),
    ];
    for end in &ends {
        assert_eq!(verdict(&before, &reached, end), Verdict::Proven, "{end:?}");
        for seen in [&fell, &begun, &Seen::Mounted, &Seen::Nothing] {
            assert_eq!(verdict(&before, seen, end), Verdict::NotProven, "{seen:?} {end:?}");
        }
    }
    for end in [End::Qemu(text()), End::Full(text())] {
        assert_eq!(verdict(&before, &begun, &end), Verdict::Unknown, "{end:?}");
    }
    assert_eq!(verdict(&before, &Seen::Nothing, &End::Store(text())), Verdict::NotProven);
}

#[test]
fn a_system_without_records_is_not_judged_by_their_absence() {
    let silent = of(vec![mounted(3)]);
    for end in [End::Late(10), End::Machine(Happened::Off), End::Machine(Happened::Reset)] {
        assert_eq!(verdict(&silent, &Seen::Mounted, &end), Verdict::Unknown, "{end:?}");
        assert_eq!(verdict(&silent, &Seen::Nothing, &end), Verdict::NotProven, "{end:?}");
    }
    // That a kernel gave up is told by itself.
    assert_eq!(verdict(&silent, &Seen::Mounted, &End::Machine(Happened::Panicked)), Verdict::NotProven);
    assert_eq!(verdict(&silent, &Seen::Mounted, &End::Panic("x".into())), Verdict::NotProven);
}
