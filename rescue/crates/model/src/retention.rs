//! Which snapshots to keep: a policy is a value, and what it forgets is planned before anything is done.
//!
//! Three things bound what a policy can do, whatever it says. Of each machine the newest good snapshots stay (where it has
//! none, the newest of any kind). What somebody pinned stays, and so does what an unfinished write-back needs. And counts
//! apply to good snapshots and to all others apart, so that a row of broken ones never pushes out the good one before them.

use crate::assessment::Installation;
use crate::id::SnapshotId;
use crate::note::Noted;
use crate::ports::UnixMicros;
use crate::snapshot::{Machine, Manifest, Purpose};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Times before this (2020-01-01 UTC) come from clocks that lost their battery: no snapshot is older.
const EARLIEST: UnixMicros = UnixMicros(1_577_836_800_000_000);
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// What is kept of each machine. Every count is of good snapshots, and once more of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepPolicy {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many hours that have one.
    pub hourly: u32,
    /// Of each day (UTC).
    pub daily: u32,
    /// Of each week, from Monday.
    pub weekly: u32,
    /// Of each calendar month.
    pub monthly: u32,
    /// Of each year.
    pub yearly: u32,
    /// All within so many seconds before the machine's newest snapshot. No clock of the moment is asked.
    pub within: Option<u64>,
    /// Of the good ones that were followed by one that is not good, the newest so many.
    pub before_trouble: u32,
    /// Of the good ones that were followed by one in which packages had been changed, the newest so many.
    pub before_upgrade: u32,
    /// All that have a label.
    pub labelled: bool,
    /// The floor: so many of the newest good ones of each machine stay whatever else is said. At least 1.
    pub floor: u32,
}

impl Default for KeepPolicy {
    fn default() -> Self {
        Self {
            last: 3,
            hourly: 0,
            daily: 7,
            weekly: 5,
            monthly: 12,
            yearly: 0,
            within: None,
            before_trouble: 1,
            before_upgrade: 1,
            labelled: true,
            floor: 2,
        }
    }
}

impl KeepPolicy {
    /// Nothing but the floor.
    pub fn floor_only(floor: u32) -> Self {
        Self {
            last: 0,
            daily: 0,
            weekly: 0,
            monthly: 0,
            before_trouble: 0,
            before_upgrade: 0,
            labelled: false,
            floor,
            ..Self::default()
        }
    }

    /// How many it keeps by time and number in all: what stands for it where no time is known.
    fn slots(&self) -> usize {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        counts.into_iter().fold(0, |n, c| n.saturating_add(size(c)))
    }
}

/// Why a snapshot is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepReason {
    /// Somebody pinned it.
    Pinned,
    /// A write-back that is not finished goes to it, or back to it.
    WriteBack,
    /// One of the newest good ones of its machine (or the newest of a machine that has no good one).
    Floor,
    /// One of the last.
    Last,
    /// The newest of its hour.
    Hourly,
    /// Of its day.
    Daily,
    /// Of its week.
    Weekly,
    /// Of its month.
    Monthly,
    /// Of its year.
    Yearly,
    /// Young enough.
    Within,
    /// The last good one before trouble.
    BeforeTrouble,
    /// The last good one before packages were changed.
    BeforeUpgrade,
    /// It has a label.
    Labelled,
    /// When it was taken cannot be told: it is kept by number instead.
    TimeUnknown,
}

/// A snapshot as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub id: SnapshotId,
    /// What orders it.
    pub counter: u64,
    /// When, by a clock that may be wrong.
    pub taken: UnixMicros,
    /// Of which machine.
    pub machine: Machine,
    /// Taken to be kept, and good.
    pub good: bool,
    /// Packages had been changed when it was taken, or were being changed.
    pub upgraded: bool,
    /// What notes say of it.
    pub noted: Noted,
    /// An unfinished write-back goes to it or back to it.
    pub needed: bool,
}

impl Candidate {
    /// From what the store says of it.
    pub fn of(id: SnapshotId, manifest: &Manifest, noted: Noted, needed: bool) -> Self {
        let changed =
            |i: Installation| matches!(i, Installation::Completed | Installation::Interrupted | Installation::Broken);
        Self {
            id,
            counter: manifest.counter,
            taken: manifest.taken,
            machine: manifest.machine.clone(),
            good: manifest.purpose == Purpose::Keep && manifest.is_good(),
            upgraded: manifest.systems.iter().any(|s| changed(s.assessment.installation.value)),
            noted,
            needed,
        }
    }

    fn order(&self) -> (u64, UnixMicros, SnapshotId) {
        (self.counter, self.taken, self.id)
    }

    /// Machines are told apart by their id, and where it is not known by all of their disks: too many groups keep more.
    fn machine_key(&self) -> (bool, Vec<&str>) {
        match &self.machine.machine_id {
            Some(id) => (true, vec![id]),
            None => {
                let mut disks: Vec<&str> = self.machine.disks.iter().map(String::as_str).collect();
                disks.sort_unstable();
                (false, disks)
            }
        }
    }
}

/// What is to be forgotten, and why the rest is not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ForgetPlan {
    /// What stays, oldest first, each with every reason.
    pub keep: Vec<(SnapshotId, Vec<KeepReason>)>,
    /// What goes, oldest first.
    pub forget: Vec<SnapshotId>,
}

/// What a policy comes to. A function of its arguments alone: no clock is asked.
pub fn plan_forget(listing: &[Candidate], policy: &KeepPolicy) -> ForgetPlan {
    let mut machines: BTreeMap<_, Vec<&Candidate>> = BTreeMap::new();
    for candidate in listing {
        machines.entry(candidate.machine_key()).or_default().push(candidate);
    }
    let mut reasons: BTreeMap<SnapshotId, BTreeSet<KeepReason>> = BTreeMap::new();
    for mut group in machines.into_values() {
        group.sort_by_key(|c| std::cmp::Reverse(c.order()));
        one_machine(&group, policy, &mut |id, reason| {
            reasons.entry(id).or_default().insert(reason);
        });
    }
    let mut ordered: Vec<&Candidate> = listing.iter().collect();
    ordered.sort_by_key(|c| c.order());
    let mut plan = ForgetPlan::default();
    for candidate in ordered {
        match reasons.remove(&candidate.id) {
            Some(why) => plan.keep.push((candidate.id, why.into_iter().collect())),
            None => plan.forget.push(candidate.id),
        }
    }
    plan
}

/// Gives the reasons to keep snapshots of one machine; they come newest first.
fn one_machine(group: &[&Candidate], policy: &KeepPolicy, keep: &mut dyn FnMut(SnapshotId, KeepReason)) {
    let (good, others): (Vec<&Candidate>, Vec<&Candidate>) = group.iter().partition(|c| c.good);
    let floor = size(policy.floor.max(1));
    let stay = if good.is_empty() { &others } else { &good };
    stay.iter().take(floor).for_each(|c| keep(c.id, KeepReason::Floor));
    for candidate in group {
        let says = [
            (candidate.noted.pinned, KeepReason::Pinned),
            (candidate.needed, KeepReason::WriteBack),
            (policy.labelled && candidate.noted.label.is_some(), KeepReason::Labelled),
        ];
        says.into_iter().filter(|(so, _)| *so).for_each(|(_, reason)| keep(candidate.id, reason));
    }
    // Newest first: what follows a snapshot in time stands before it here.
    let followed = |most: u32, by: &dyn Fn(&Candidate) -> bool| -> Vec<SnapshotId> {
        let pairs = group.windows(2).filter(|w| by(w[0]) && w[1].good);
        pairs.take(size(most)).map(|w| w[1].id).collect()
    };
    followed(policy.before_trouble, &|c| !c.good).into_iter().for_each(|id| keep(id, KeepReason::BeforeTrouble));
    followed(policy.before_upgrade, &|c| c.upgraded).into_iter().for_each(|id| keep(id, KeepReason::BeforeUpgrade));
    let timed = timed(group);
    let newest = group.iter().find(|c| timed.contains(&c.id)).map(|c| c.taken);
    for class in [good, others] {
        counted(&class, &timed, newest, policy, keep);
    }
}

/// The hour, day, week, month or year of a time: the same number for the same one, and rising.
type Bucket = fn(UnixMicros) -> i64;

/// The rules of number and time, for snapshots of one machine and one class, newest first.
fn counted(
    class: &[&Candidate],
    timed: &BTreeSet<SnapshotId>,
    newest: Option<UnixMicros>,
    policy: &KeepPolicy,
    keep: &mut dyn FnMut(SnapshotId, KeepReason),
) {
    class.iter().take(size(policy.last)).for_each(|c| keep(c.id, KeepReason::Last));
    let (known, unknown): (Vec<&Candidate>, Vec<&Candidate>) = class.iter().partition(|c| timed.contains(&c.id));
    let rules: [(u32, KeepReason, Bucket); 5] = [
        (policy.hourly, KeepReason::Hourly, |t| t.0.div_euclid(HOUR)),
        (policy.daily, KeepReason::Daily, |t| t.0.div_euclid(DAY)),
        // 1970-01-01 was a Thursday.
        (policy.weekly, KeepReason::Weekly, |t| (t.0.div_euclid(DAY) + 3).div_euclid(7)),
        (policy.monthly, KeepReason::Monthly, |t| {
            let (year, month, ..) = t.civil();
            year * 12 + i64::from(month)
        }),
        (policy.yearly, KeepReason::Yearly, |t| t.civil().0),
    ];
    for (most, reason, bucket) in rules {
        let (mut left, mut last) = (most, None);
        for candidate in &known {
            let this = Some(bucket(candidate.taken));
            if left > 0 && this != last {
                keep(candidate.id, reason);
                left -= 1;
                last = this;
            }
        }
    }
    unknown.iter().take(policy.slots()).for_each(|c| keep(c.id, KeepReason::TimeUnknown));
    if let Some(within) = policy.within {
        let young = |t: UnixMicros| {
            newest.is_some_and(|n| u64::try_from(n.0.saturating_sub(t.0)).unwrap_or(0) / 1_000_000 <= within)
        };
        // One whose time is not known is as old as the next older one that has a time.
        let oldest = known.iter().rev().find(|c| young(c.taken)).map(|c| c.order());
        let no_time = known.is_empty();
        for candidate in class {
            if no_time || oldest.is_some_and(|o| candidate.order() >= o) {
                keep(candidate.id, KeepReason::Within);
            }
        }
    }
}

/// The snapshots of a machine whose times can be true together: the largest set of plausible times that do not fall as the
/// counters rise. A clock that jumped, for once or for a while, drops out; the order itself never depends on a time.
fn timed(newest_first: &[&Candidate]) -> BTreeSet<SnapshotId> {
    // Patience sorting: `ends[n]` is the candidate with the smallest time that ends a rising row of n + 1.
    let by_age: Vec<&Candidate> = newest_first.iter().rev().copied().filter(|c| c.taken >= EARLIEST).collect();
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(by_age.len());
    for (at, candidate) in by_age.iter().enumerate() {
        let row = ends.partition_point(|end| by_age[*end].taken <= candidate.taken);
        before.push(row.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(row) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    std::iter::successors(ends.last().copied(), |at| before[*at]).map(|at| by_age[at].id).collect()
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
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
            listing.iter_mut().zip(0i64..).for_each(|(c, n)| c.taken = UnixMicros(EARLIEST.0 + n * 7 * HOUR));
            let policy = KeepPolicy { before_trouble: 0, before_upgrade: 0, ..policy };
            let first = plan_forget(&listing, &policy);
            listing.retain(|c| !first.forget.contains(&c.id));
            let second = plan_forget(&listing, &policy);
            prop_assert!(second.forget.is_empty(), "{:?}", second.forget);
        }
    }
}
