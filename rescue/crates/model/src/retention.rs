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
    /// All that somebody gave a label; those that a policy gave by itself do not count.
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

    /// What stays where no rule is named: the floor, and what somebody gave a label.
    pub fn nothing_named() -> Self {
        Self { labelled: true, ..Self::floor_only(Self::default().floor) }
    }

    /// True where it keeps more than that.
    pub fn names_something(&self) -> bool {
        self.slots() > 0 || self.within.is_some() || self.before_trouble > 0 || self.before_upgrade > 0
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
            (policy.labelled && candidate.noted.is_named(), KeepReason::Labelled),
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
    let by_age: Vec<&Candidate> = newest_first.iter().rev().copied().filter(|c| c.taken.is_plausible()).collect();
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

/// A span of time in seconds: `36h`, `10d`, `2w`, `6m` (of 30 days), `1y` (of 365), or several: `1y6m`. `None` where it is
/// none.
pub fn span(text: &str) -> Option<u64> {
    let (mut rest, mut seconds) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.chars().next()?;
        let hours = match unit {
            'h' => 1,
            'd' => 24,
            'w' => 24 * 7,
            'm' => 24 * 30,
            'y' => 24 * 365,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(hours * 3600)?;
        seconds = seconds.checked_add(part)?;
        rest = &behind[unit.len_utf8()..];
    }
    Some(seconds).filter(|s| *s > 0)
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
