use super::*;
use crate::id::Digest;
use proptest::prelude::*;

fn candidate(counter: u64, taken: &str, good: bool) -> Candidate {
    let field = |at: usize, len: usize| taken.get(at..at + len).and_then(|s| s.parse::<u8>().ok()).unwrap_or(0);
    let year = taken[..4].parse().expect("a year");
    let taken = UnixMicros::from_civil(year, field(5, 2), field(8, 2), field(11, 2), 0, 0).expect("a time");
    Candidate {
        id: SnapshotId(Digest::of(&counter.to_le_bytes())),
        counter,
        taken,
        machine: Machine { machine_id: Some("m".to_owned()), disks: Vec::new(), hostname: None },
        good,
        upgraded: false,
        noted: Noted::default(),
        needed: false,
    }
}

/// Counters of what is kept.
fn kept(listing: &[Candidate], policy: &KeepPolicy) -> Vec<u64> {
    let plan = plan_forget(listing, policy);
    let counter = |id: &SnapshotId| listing.iter().find(|c| c.id == *id).map(|c| c.counter).expect("listed");
    assert_eq!(plan.keep.len() + plan.forget.len(), listing.len());
    plan.keep.iter().map(|(id, _)| counter(id)).collect()
}

fn days(list: &[&str]) -> Vec<Candidate> {
    (1..).zip(list).map(|(n, day)| candidate(n, day, true)).collect()
}

#[test]
fn each_rule_by_itself() {
    let listing = days(&[
        "2025-12-30 01", // 1
        "2026-01-01 01", // 2
        "2026-01-01 09", // 3
        "2026-01-04 09", // 4: a Sunday
        "2026-01-05 09", // 5: a Monday
        "2026-02-01 00", // 6
        "2026-02-01 01", // 7
        "2026-02-01 01", // 8
    ]);
    let none = KeepPolicy::floor_only(1);
    let cases: [(&str, KeepPolicy, &[u64]); 10] = [
        ("the floor", none.clone(), &[8]),
        ("a floor of none is one", KeepPolicy::floor_only(0), &[8]),
        ("a floor of three", KeepPolicy::floor_only(3), &[6, 7, 8]),
        ("last", KeepPolicy { last: 2, ..none.clone() }, &[7, 8]),
        ("hourly", KeepPolicy { hourly: 3, ..none.clone() }, &[5, 6, 8]),
        ("daily", KeepPolicy { daily: 4, ..none.clone() }, &[3, 4, 5, 8]),
        ("weekly", KeepPolicy { weekly: 3, ..none.clone() }, &[4, 5, 8]),
        ("monthly", KeepPolicy { monthly: 9, ..none.clone() }, &[1, 5, 8]),
        ("yearly", KeepPolicy { yearly: 2, ..none.clone() }, &[1, 8]),
        ("within", KeepPolicy { within: Some(3600), ..none.clone() }, &[6, 7, 8]),
    ];
    for (what, policy, expected) in cases {
        assert_eq!(kept(&listing, &policy), expected, "{what}");
    }
}

#[test]
fn trouble_never_pushes_out_what_was_good_before_it() {
    let mut listing = days(&["2026-01-01"; 12]);
    listing[3].upgraded = true;
    for broken in &mut listing[6..] {
        broken.good = false;
    }
    let last = KeepPolicy { last: 2, ..KeepPolicy::floor_only(1) };
    assert_eq!(kept(&listing, &last), [5, 6, 11, 12], "good and others are counted apart");
    let trouble = KeepPolicy { before_trouble: 1, ..KeepPolicy::floor_only(1) };
    assert_eq!(kept(&listing, &trouble), [6]);
    let upgrade = KeepPolicy { before_upgrade: 5, ..KeepPolicy::floor_only(1) };
    assert_eq!(kept(&listing, &upgrade), [3, 6]);
}

#[test]
fn pins_labels_write_backs_and_machines_without_a_good_snapshot() {
    let mut listing = days(&["2026-01-01"; 6]);
    listing[0].noted.pinned = true;
    listing[1].needed = true;
    listing[2].noted.label = Some("before the move".into());
    listing[3].machine.machine_id = Some("other".to_owned());
    listing[3].good = false;
    let mut policy = KeepPolicy::floor_only(1);
    assert_eq!(kept(&listing, &policy), [1, 2, 4, 6]);
    policy.labelled = true;
    assert_eq!(kept(&listing, &policy), [1, 2, 3, 4, 6]);
}

#[test]
fn a_clock_that_is_wrong_loses_nothing_a_right_one_would_not_have_lost() {
    let policy = KeepPolicy { daily: 3, ..KeepPolicy::floor_only(1) };
    // One reading from the future in the middle: the days around it count as they would have without it.
    let jump = days(&["2026-01-01", "2026-01-02", "2099-01-01", "2026-01-03", "2026-01-04"]);
    assert_eq!(kept(&jump, &policy), [2, 3, 4, 5]);
    // No battery: each one says 1970, and as many stay as the policy has places.
    let dead = days(&["1970-01-01"; 6]);
    assert_eq!(kept(&dead, &policy), [4, 5, 6]);
    // The newest are from a clock that went back: those before it are not "newer" for that.
    let back = days(&["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", "2021-05-05", "2021-05-06"]);
    assert_eq!(kept(&back, &policy), [2, 3, 4, 5, 6]);
    let within = KeepPolicy { within: Some(86_400), ..KeepPolicy::floor_only(1) };
    assert_eq!(kept(&jump, &within), [4, 5]);
    assert_eq!(kept(&dead, &within), [1, 2, 3, 4, 5, 6], "no time: none is too old");
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let taken = prop_oneof![
        Just(0i64),
        Just(i64::MAX),
        Just(i64::MIN),
        1_577_836_800_000_000i64..1_800_000_000_000_000,
        any::<i64>()
    ];
    (0u64..40, taken, 0u8..3, any::<[bool; 4]>(), any::<u64>()).prop_map(|(counter, taken, machine, is, salt)| {
        let id = (machine > 0).then(|| machine.to_string());
        let disks = vec![if machine > 0 { "d".to_owned() } else { format!("d{}", salt % 2) }];
        Candidate {
            id: SnapshotId(Digest::of(&salt.to_le_bytes())),
            counter,
            taken: UnixMicros(taken),
            machine: Machine { machine_id: id, disks, hostname: None },
            good: is[0],
            upgraded: is[1],
            noted: Noted { pinned: is[2] && salt % 5 == 0, ..Noted::default() },
            needed: is[3] && salt % 7 == 0,
        }
    })
}

fn any_policy() -> impl Strategy<Value = KeepPolicy> {
    let n = || prop_oneof![0u32..4, Just(u32::MAX)];
    let within = prop_oneof![Just(None), any::<u64>().prop_map(Some), (0u64..100_000_000).prop_map(Some)];
    ((n(), n(), n(), n(), n(), n()), within, (n(), n(), any::<bool>(), 0u32..4)).prop_map(
        |(
            (last, hourly, daily, weekly, monthly, yearly),
            within,
            (before_trouble, before_upgrade, labelled, floor),
        )| {
            KeepPolicy {
                last,
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
                within,
                before_trouble,
                before_upgrade,
                labelled,
                floor,
            }
        },
    )
}

proptest! {
    #[test]
    fn the_floor_holds(listing in prop::collection::vec(any_candidate(), 0..40), policy in any_policy()) {
        let plan = plan_forget(&listing, &policy);
        let kept: BTreeSet<SnapshotId> = plan.keep.iter().map(|(id, _)| *id).collect();
        prop_assert!(plan.forget.iter().all(|id| !kept.contains(id)));
        prop_assert_eq!(plan.keep.len() + plan.forget.len(), listing.len());
        for c in &listing {
            prop_assert!(!(c.noted.pinned || c.needed) || kept.contains(&c.id));
            // Forgotten: then enough newer good ones of the same machine stay, or it is not good itself.
            if !kept.contains(&c.id) {
                let same: Vec<&Candidate> = listing.iter().filter(|o| o.machine_key() == c.machine_key()).collect();
                let has_good = same.iter().any(|o| o.good);
                let newer = same.iter().filter(|o| (o.good || !has_good) && o.order() > c.order() && kept.contains(&o.id));
                let floor = size(policy.floor.max(1));
                prop_assert!((has_good && !c.good) || newer.count() >= floor);
            }
        }
    }

    #[test]
    fn bad_ones_change_nothing_for_good_ones(
        listing in prop::collection::vec(any_candidate(), 0..30),
        policy in any_policy(),
    ) {
        // Without times, so that only number is left: taking all others away forgets no good one that stayed.
        let mut listing = listing;
        listing.iter_mut().for_each(|c| c.taken = UnixMicros(0));
        let policy = KeepPolicy { before_trouble: 0, before_upgrade: 0, ..policy };
        let good: Vec<Candidate> = listing.iter().filter(|c| c.good).cloned().collect();
        let all = plan_forget(&listing, &policy);
        let alone = plan_forget(&good, &policy);
        for (id, _) in &alone.keep {
            prop_assert!(all.keep.iter().any(|(kept, _)| kept == id));
        }
    }

    #[test]
    fn forgetting_twice_is_forgetting_once(
        listing in prop::collection::vec(any_candidate(), 0..30),
        policy in any_policy(),
    ) {
        let mut listing = listing;
        listing.sort_by_key(Candidate::order);
        listing.dedup_by_key(|c| c.id);
        // The rules about what follows look at neighbours, which forgetting changes; so may trust in a time.
        listing.iter_mut().zip(0i64..).for_each(|(c, n)| c.taken = UnixMicros(UnixMicros::EARLIEST.0 + n * 7 * HOUR));
        let policy = KeepPolicy { before_trouble: 0, before_upgrade: 0, ..policy };
        let first = plan_forget(&listing, &policy);
        listing.retain(|c| !first.forget.contains(&c.id));
        let second = plan_forget(&listing, &policy);
        prop_assert!(second.forget.is_empty(), "{:?}", second.forget);
    }
}

#[test]
fn spans() {
    for (text, seconds) in [("36h", 36 * 3600), ("1y6m", (365 + 180) * 86_400), ("2w1d", 15 * 86_400)] {
        assert_eq!(span(text), Some(seconds), "{text}");
    }
    for bad in ["", "3", "d", "0d", "1d2", "-1d", "1\u{e4}", "99999999999999999y"] {
        assert_eq!(span(bad), None, "{bad}");
    }
}

/// What a policy called something is kept by its rules, as if it had no name.
#[test]
fn a_label_of_a_policy_keeps_nothing() {
    let mut listing = days(&["2026-01-01 01", "2026-01-02 01", "2026-01-03 01"]);
    listing[0].noted = Noted { label: Some("before 13".into()), ..Noted::default() };
    listing[1].noted = Noted { label: Some("broken".into()), automatic: true, ..Noted::default() };
    let policy = KeepPolicy { labelled: true, ..KeepPolicy::floor_only(1) };
    assert_eq!(kept(&listing, &policy), [1, 3]);
}
