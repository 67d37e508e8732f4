use super::*;
use model::assessment::{Change, Confidence, Facet};
use model::id::{Digest, VolumePath};
use model::inspection::System;
use proptest::prelude::*;

const TERMINATIONS: [Termination; 5] =
    [Termination::Clean, Termination::Abrupt, Termination::Hibernated, Termination::Never, Termination::Unknown];
const STARTS: [Start; 4] = [Start::Reached, Start::Failed, Start::Never, Start::Unknown];
const INSTALLATIONS: [Installation; 5] = [
    Installation::Idle,
    Installation::Completed,
    Installation::Interrupted,
    Installation::Broken,
    Installation::Unknown,
];

fn system(termination: Termination, start: Start, installation: Installation) -> SystemReport {
    fn facet<T>(value: T) -> Facet<T> {
        let rule = "told".to_owned();
        Facet { value, confidence: Confidence::Certain, rule, evidence_for: Vec::new(), evidence_against: Vec::new() }
    }
    let system = System {
        name: "Debian".into(),
        os: ("debian".into(), "12".into()),
        hostname: None,
        machine_id: None,
        root: "d0/p1".parse::<VolumePath>().expect("a volume"),
        boot: Vec::new(),
        other: Vec::new(),
        subvolumes: Vec::new(),
    };
    let assessment = Assessment {
        headline: "".into(),
        advice: "".into(),
        termination: facet(termination),
        how: None,
        start: facet(start),
        installation: facet(installation),
        packages: Vec::new(),
        change: facet(Change::Unknown),
        since: None,
    };
    SystemReport { system, assessment, evidence: Vec::new() }
}

fn snapshot() -> SnapshotId {
    SnapshotId(Digest::of(b"snapshot"))
}

fn usual(systems: &[SystemReport], since: &Since) -> Decision {
    decide(&Policy::default(), State::of(systems), None, since)
}

#[test]
fn what_states_call_for() {
    use {Installation as I, Start as S, Termination as T};
    let save = |everything: bool, label: Option<&str>| Some(Saving { everything, label: label.map(DisplayText::from) });
    for (state, saving, why) in [
        ((T::Clean, S::Reached, I::Idle), save(false, None), "the state is good: it is saved"),
        (
            (T::Clean, S::Reached, I::Interrupted),
            save(false, Some("broken")),
            "an installation was cut short: it is saved, as \"broken\"",
        ),
        (
            (T::Clean, S::Failed, I::Completed),
            save(false, Some("broken")),
            "the last start failed: it is saved, as \"broken\"",
        ),
        (
            (T::Abrupt, S::Reached, I::Idle),
            save(true, Some("crashed")),
            "the last session was cut off: everything is read and saved, as \"crashed\"",
        ),
        (
            (T::Abrupt, S::Reached, I::Broken),
            save(true, Some("broken")),
            "an installation left packages out of order, and the last session was cut off: everything is read and \
             saved, as \"broken\"",
        ),
        ((T::Hibernated, S::Reached, I::Idle), save(false, None), "the system is asleep on disk: it is saved"),
        ((T::Unknown, S::Unknown, I::Unknown), save(false, None), "how it was left is not known: it is saved"),
        ((T::Clean, S::Unknown, I::Unknown), save(false, None), "not all of the state is known: it is saved"),
    ] {
        let decision = usual(&[system(state.0, state.1, state.2)], &Since::Differs);
        assert_eq!(decision, Decision { save: saving, why: why.into() }, "{state:?}");
    }
    let none = usual(&[], &Since::NotKnown);
    assert_eq!((none.save, none.why.as_str()), (save(false, None), "no installed system was found: it is saved"));
    let two = [system(T::Clean, S::Reached, I::Idle), system(T::Abrupt, S::Reached, I::Idle)];
    assert_eq!(usual(&two, &Since::Differs).save, save(true, Some("crashed")), "the worse of two counts");
}

#[test]
fn what_is_saved_already_is_skipped() {
    let good = [system(Termination::Clean, Start::Reached, Installation::Idle)];
    let same = Since::Same(snapshot());
    let skipped = usual(&good, &same);
    let id = snapshot().0.short(8);
    assert_eq!(skipped.save, None);
    assert_eq!(skipped.why.as_str(), format!("nothing changed since snapshot {id}, which holds all of this"));
    let state = State::of(&good);
    let save = Policy { unchanged: Wish::Save, ..Policy::default() };
    assert!(decide(&save, state, None, &same).save.is_some(), "the policy wants it");
    let due = decide(&Policy::default(), state, Some("it is time"), &same);
    assert_eq!(due.save, Some(Saving { everything: true, label: None }), "unchanged is only what file systems tell");
    assert_eq!(due.why.as_str(), "the state is good: everything is read and saved (it is time)");
    let asleep = [system(Termination::Hibernated, Start::Reached, Installation::Idle)];
    assert!(usual(&asleep, &same).save.is_some(), "a sleeping system moves no counter");
    let leave = Policy { hibernated: Wish::Skip, ..Policy::default() };
    assert_eq!(decide(&leave, State::of(&asleep), None, &Since::NotKnown).save, None);
}

#[test]
fn everything_is_read_in_its_time() {
    let at = |day: i64| UnixMicros(UnixMicros::EARLIEST.0 + day * DAY);
    let history = |full: &[bool]| -> Vec<Taken> {
        full.iter().zip(0..).map(|(full, n)| Taken { everything: *full, at: at(n) }).collect()
    };
    let every = |n| FullReads { every: Some(n), days: None };
    let is_due = |reads, past: &[bool], now| full_due(reads, &history(past), now).is_some();
    assert!(!is_due(every(1), &[], at(0)), "the first reads everything anyway");
    assert!(is_due(every(1), &[true], at(1)));
    for (past, due) in
        [(&[true][..], false), (&[true, false], true), (&[true, false, true], false), (&[false], true), (&[], false)]
    {
        assert_eq!(is_due(every(3), &[past, &[false]].concat(), at(9)), due, "{past:?}");
    }
    let days = |n| FullReads { every: None, days: Some(n) };
    assert!(!is_due(days(30), &[true, false], at(29)));
    assert!(is_due(days(30), &[true, false], at(30)));
    // Clocks lie: then only counting helps.
    assert!(!is_due(days(30), &[true, false], UnixMicros(0)), "the clock lost its battery");
    let old = [Taken { everything: true, at: UnixMicros(0) }, Taken { everything: false, at: at(1) }];
    assert_eq!(full_due(days(30), &old, at(900)), None, "nobody knows when that was");
    assert_eq!(
        full_due(FullReads { every: Some(2), days: Some(30) }, &old, at(1)).as_deref(),
        Some("one snapshot was taken since that was last done")
    );
    let never = FullReads { every: None, days: None };
    assert!(!is_due(never, &[true; 50], at(999)));
}

fn any_state() -> impl Strategy<Value = Vec<SystemReport>> {
    let one = (
        prop::sample::select(&TERMINATIONS[..]),
        prop::sample::select(&STARTS[..]),
        prop::sample::select(&INSTALLATIONS[..]),
    );
    prop::collection::vec(one.prop_map(|(t, s, i)| system(t, s, i)), 0..4)
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let wish = || prop::sample::select(vec![Wish::Save, Wish::Skip]);
    let label = |text: &'static str| prop::option::of(Just(DisplayText::from(text)));
    (wish(), wish(), label("b"), label("c")).prop_map(|(unchanged, hibernated, label_broken, label_crashed)| Policy {
        unchanged,
        hibernated,
        label_broken,
        label_crashed,
        ..Policy::default()
    })
}

/// What must hold of every decision.
fn is_right(policy: &Policy, systems: &[SystemReport], due: Option<&str>, since: &Since) -> Result<(), TestCaseError> {
    let decision = decide(policy, State::of(systems), due, since);
    let any = |is: &dyn Fn(&Assessment) -> bool| systems.iter().any(|s| is(&s.assessment));
    let asleep = any(&|a| a.termination.value == Termination::Hibernated);
    prop_assert!(!decision.why.as_str().is_empty());
    let Some(saving) = decision.save else {
        let proven = matches!(since, Since::Same(_)) && policy.unchanged == Wish::Skip && due.is_none() && !asleep;
        prop_assert!(proven || asleep && policy.hibernated == Wish::Skip, "skipped without a proof: {}", decision.why);
        return Ok(());
    };
    prop_assert!(saving.everything || due.is_none(), "what is due is done");
    prop_assert!(saving.everything || !any(&|a| a.termination.value == Termination::Abrupt), "a crash hides writes");
    let good = !systems.is_empty() && systems.iter().all(|s| s.assessment.is_good());
    prop_assert!(!good || saving.label.is_none(), "a good state is no {:?}", saving.label);
    let out_of_order = any(&|a| {
        matches!(a.installation.value, Installation::Interrupted | Installation::Broken)
            || a.start.value == Start::Failed
    });
    if out_of_order {
        prop_assert_eq!(&saving.label, &policy.label_broken);
    } else {
        prop_assert!(saving.label.is_none() || saving.label == policy.label_crashed);
    }
    Ok(())
}

#[test]
fn every_combination_of_facets() {
    let sinces = [Since::NotKnown, Since::Same(snapshot()), Since::Differs];
    let mut tried = 0;
    for (t, s, i) in TERMINATIONS
        .iter()
        .flat_map(|t| STARTS.iter().flat_map(move |s| INSTALLATIONS.iter().map(move |i| (*t, *s, *i))))
    {
        for since in &sinces {
            for due in [None, Some("due")] {
                is_right(&Policy::default(), &[system(t, s, i)], due, since).expect("right");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 5 * 4 * 5 * 3 * 2);
}

proptest! {
    #[test]
    fn whatever_the_policy(systems in any_state(), policy in any_policy(), due in prop::option::of(Just("due")), since in 0..3_usize) {
        let since = [Since::NotKnown, Since::Same(snapshot()), Since::Differs][since].clone();
        is_right(&policy, &systems, due, &since)?;
    }
}
