//! What the records of a system say of a start that was watched: told from what stood there before, and never from a screen.

use super::qmp::Happened;
use model::assessment::{Report, SystemReport};
use model::evidence::{Evidence, Fact, Stamp};
use model::id::VolumePath;
use model::ports::UnixMicros;
use model::proof::Verdict;
use model::text::DisplayText;
use std::collections::BTreeSet;

/// How far the clock of a machine may be from ours, which it was given: hardware clocks may keep local time.
const APART: i64 = 15 * 60 * 60 * 1_000_000;

/// The records before the machine was switched on.
pub(super) struct Before {
    systems: Vec<Records>,
    /// No start that began before that is this one.
    since: UnixMicros,
}

/// The records of one system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Records {
    root: VolumePath,
    /// Ids of the starts in its journal.
    boots: BTreeSet<String>,
    /// The newest start in its login record, and its run level.
    login: Option<(Option<Stamp>, Option<char>)>,
    /// How often its root was mounted for writing, and when last.
    mounts: Option<(u16, i64)>,
}

/// What is seen of the start, from little to much.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    /// Nothing: no root was mounted for writing.
    Nothing,
    /// A root was mounted for writing.
    Mounted,
    /// The start is on record.
    Begun {
        /// Its id.
        boot: String,
    },
    /// It fell into emergency or rescue mode.
    Fell {
        /// Its id.
        boot: String,
        /// What the record says.
        says: DisplayText,
    },
    /// It came up.
    Reached {
        /// Its id, where the journal tells it.
        boot: Option<String>,
        /// What the record says.
        says: DisplayText,
    },
}

impl Seen {
    /// The id of the start.
    pub(super) fn boot(&self) -> Option<&str> {
        match self {
            Self::Begun { boot } | Self::Fell { boot, .. } => Some(boot),
            Self::Reached { boot, .. } => boot.as_deref(),
            Self::Nothing | Self::Mounted => None,
        }
    }

    /// What is seen, in a few words.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Nothing => "no root file system was mounted for writing",
            Self::Mounted => "its root file system is mounted",
            Self::Begun { .. } => "its start is on record",
            Self::Fell { .. } => "it is in emergency mode",
            Self::Reached { .. } => "it is up",
        }
    }
}

/// How the watching ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It was seen to be up, or to be in emergency mode.
    Seen,
    /// The time was over, after so many seconds.
    Late(u32),
    /// It ended by itself.
    Machine(Happened),
    /// Its kernel said on the serial line that it gave up.
    Panic(DisplayText),
    /// QEMU ended in a way that says nothing of the machine.
    Qemu(DisplayText),
    /// It could not write any more.
    Full(DisplayText),
    /// Something could not be read of the store.
    Store(DisplayText),
}

impl Before {
    /// The records in a report of the disks, and in what was known of them when they were saved. `now` is when the machine is
    /// switched on.
    pub(super) fn of(report: &Report, then: &[SystemReport], now: UnixMicros) -> Self {
        let records = |s: &SystemReport| {
            let mut records = Records::of(&s.system.root, &s.evidence);
            for then in then.iter().filter(|t| t.system.root == s.system.root) {
                records.boots.extend(Records::of(&then.system.root, &then.evidence).boots);
            }
            records
        };
        let systems = report.systems.iter().map(records).collect();
        Self { systems, since: UnixMicros(now.0.saturating_sub(APART)) }
    }

    /// What is seen now of a start since then, in whichever system it was.
    pub(super) fn seen(&self, report: &Report) -> Seen {
        let one = |before: &Records| {
            let system = report.systems.iter().find(|s| s.system.root == before.root)?;
            Some(before.seen(&system.evidence, self.since))
        };
        self.systems.iter().filter_map(one).max().unwrap_or(Seen::Nothing)
    }

    /// True where a system here that started would have left a record of it.
    fn keeps_records(&self) -> bool {
        self.systems.iter().any(|r| !r.boots.is_empty() || r.login.is_some_and(|(_, level)| level.is_some()))
    }

    /// What is held of it, and why.
    pub(super) fn judge(&self, seen: &Seen, end: &End) -> (Verdict, DisplayText) {
        let (verdict, why) = match (seen, end) {
            // Whatever became of it afterwards.
            (Seen::Reached { says, .. }, _) => (Verdict::Proven, says.to_string()),
            (_, End::Store(why)) => (Verdict::NotProven, format!("the store does not give all of it back: {why}")),
            (_, End::Full(why)) => (Verdict::Unknown, format!("{why}: it could not go on")),
            (_, End::Qemu(why)) => (Verdict::Unknown, format!("QEMU {why}")),
            (Seen::Fell { says, .. }, _) => (Verdict::NotProven, says.to_string()),
            (seen, End::Panic(line)) => (Verdict::NotProven, format!("its kernel gave up ({}): {line}", seen.words())),
            (seen, End::Machine(Happened::Panicked)) => {
                (Verdict::NotProven, format!("its kernel gave up ({})", seen.words()))
            }
            (seen, End::Machine(happened)) => {
                let what =
                    if *happened == Happened::Reset { "it started again by itself" } else { "it switched itself off" };
                self.without_record(seen, format!("{what}, and nothing on record says that it was up before"))
            }
            (Seen::Nothing, End::Late(seconds)) => {
                (Verdict::NotProven, format!("no root file system was mounted for writing in {seconds} seconds"))
            }
            (seen, End::Late(seconds)) => self.without_record(
                seen,
                format!("{}, and nothing on record says after {seconds} seconds that it came up", seen.words()),
            ),
            (seen, End::Seen) => (Verdict::Unknown, seen.words().to_owned()),
        };
        (verdict, DisplayText::new(&why))
    }

    /// What is held of a start that is not on record: nothing, where its root was mounted and it is not known to keep a record.
    fn without_record(&self, seen: &Seen, why: String) -> (Verdict, String) {
        if *seen != Seen::Mounted || self.keeps_records() {
            return (Verdict::NotProven, why);
        }
        (Verdict::Unknown, format!("{why}; it is not known to keep a record of how far its starts come"))
    }
}

impl Records {
    fn of(root: &VolumePath, evidence: &[Evidence]) -> Self {
        let logins = evidence.iter().filter_map(|e| match e.fact {
            Fact::WtmpLastBoot { run_level, .. } => Some((e.time, run_level)),
            _ => None,
        });
        // Of two records (wtmp, and wtmpdb which took its place) the one that goes on.
        let login = logins.max_by_key(|(time, _)| time.map(|time| time.at));
        let mut out = Self { root: root.clone(), boots: BTreeSet::new(), login, mounts: None };
        for e in evidence {
            match &e.fact {
                Fact::Boot { boot_id, .. } => {
                    out.boots.insert(boot_id.clone());
                }
                Fact::ExtState { mount_count, mounted_at, .. } if e.origin.volume == *root => {
                    out.mounts = Some((*mount_count, *mounted_at));
                }
                _ => {}
            }
        }
        out
    }

    fn seen(&self, evidence: &[Evidence], since: UnixMicros) -> Seen {
        let boots = evidence.iter().filter_map(|e| self.new_boot(e, since));
        let now = Self::of(&self.root, evidence);
        let login = || match now.login {
            // The same run level of the start before says nothing of this one.
            Some((Some(at), Some(level @ '2'..='5')))
                if at.at >= since && self.login.is_none_or(|(before, _)| before != Some(at)) =>
            {
                let says = format!("the login record has run level {level} of this start");
                Some(Seen::Reached { boot: None, says: DisplayText::new(&says) })
            }
            _ => None,
        };
        let mounted = || (now.mounts.is_some() && now.mounts != self.mounts).then_some(Seen::Mounted);
        match (boots.max(), login()) {
            (Some(Seen::Begun { boot }), Some(Seen::Reached { says, .. })) => Seen::Reached { boot: Some(boot), says },
            // The journal knows better than a run level what became of it.
            (Some(fell @ Seen::Fell { .. }), _) => fell,
            (boot, login) => boot.into_iter().chain(login).max().or_else(mounted).unwrap_or(Seen::Nothing),
        }
    }

    /// A start that was not on record before.
    fn new_boot(&self, e: &Evidence, since: UnixMicros) -> Option<Seen> {
        let Fact::Boot { boot_id, first, startup_finished, reached_target, emergency, .. } = &e.fact else {
            return None;
        };
        if self.boots.contains(boot_id) || *first < since {
            return None;
        }
        let boot = boot_id.clone();
        Some(match (emergency, reached_target) {
            (true, _) => Seen::Fell { boot, says: "it fell into emergency or rescue mode".into() },
            (false, Some(target)) => {
                Seen::Reached { boot: Some(boot), says: DisplayText::new(&format!("it reached {target}")) }
            }
            (false, None) if *startup_finished => {
                Seen::Reached { boot: Some(boot), says: "its start was finished".into() }
            }
            (false, None) => Seen::Begun { boot },
        })
    }
}

#[cfg(test)]
mod tests;
