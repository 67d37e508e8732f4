//! What a machine did, one thing after the other: made of its evidence, never stored.

use crate::evidence::{ClockTrust, EndKind, EvidenceId, PackageManager, Stamp};
use crate::ports::UnixMicros;
use crate::text::DisplayText;
use serde::{Deserialize, Serialize};

/// One thing that a machine did, or that happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// What.
    pub what: Occurred,
    /// When, and how far that can be trusted; `None` where no record tells.
    pub time: Option<Stamp>,
    /// The same for people: one sentence without a full stop.
    pub says: DisplayText,
    /// Whose record it is, in a word or two: `journal`, `apt's history`.
    pub source: DisplayText,
    /// The evidence that tells of it.
    pub evidence: Vec<EvidenceId>,
}

/// Kinds of occurrences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Occurred {
    /// A start.
    Started {
        /// The default target that it reached.
        reached: Option<DisplayText>,
        /// It fell into emergency or rescue mode.
        emergency: bool,
    },
    /// A shutdown in order.
    ShutDown {
        /// Of which kind.
        how: Option<EndKind>,
    },
    /// The records of a session break off: it was cut off, or the end of them was lost.
    BrokeOff,
    /// It went to sleep.
    Slept,
    /// It woke.
    Woke,
    /// The kernel reported a fault.
    Fault,
    /// Its root file system was mounted to be written to, and no record of a start tells of that.
    Mounted,
    /// The last sign of life of a session that broke off.
    LastSign,
    /// Packages were installed, upgraded or removed.
    Packages {
        /// By whom.
        manager: PackageManager,
        /// The command line, where it is known.
        command: Option<DisplayText>,
        /// How it ended.
        ended: OperationEnd,
        /// The packages named, at most 64.
        packages: Vec<DisplayText>,
    },
}

/// How a package operation ended, as its record tells it. The database may know better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationEnd {
    /// Its end is on record.
    Ended,
    /// It is on record as failed.
    Failed,
    /// No end is on record.
    Open,
    /// The record does not tell of ends.
    Unknown,
}

/// A package operation, as far as it takes to tell it from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// By whom.
    pub manager: PackageManager,
    /// The command line, as far as it is recorded.
    pub command: DisplayText,
    /// When it began.
    pub began: Stamp,
}

impl Operation {
    /// Whether a state that was saved at `taken`, in which `then` was the newest operation on record, is from before this one; `None`
    /// where it cannot be told. It is told by the records themselves where both have one, else by clocks that differ by more than a
    /// zone can.
    pub fn is_after(&self, then: Option<&Self>, taken: UnixMicros) -> Option<bool> {
        /// The most that a local time can be ahead of UTC, in microseconds.
        const ZONE: i64 = 14 * 3_600_000_000;
        match then {
            Some(then) if then == self => Some(false),
            // A history that goes back is another history.
            Some(then) if then.manager == self.manager => (then.began.at < self.began.at).then_some(true),
            Some(_) => None,
            None => {
                let sure = self.began.trust != ClockTrust::Suspect && taken.is_plausible();
                (sure && self.began.at.0 > taken.0.saturating_add(ZONE)).then_some(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_after_an_operation() {
        let operation = |seconds: i64| Operation {
            manager: PackageManager::Apt,
            command: "apt upgrade".into(),
            began: Stamp { at: UnixMicros::from_seconds(1_795_000_000 + seconds), trust: ClockTrust::LocalNoZone },
        };
        let taken = |seconds: i64| UnixMicros::from_seconds(1_795_000_000 + seconds);
        let now = operation(0);
        // By the records, whatever the clock that it was saved by says.
        assert_eq!(now.is_after(Some(&now), taken(-900_000)), Some(false));
        assert_eq!(now.is_after(Some(&operation(-60)), taken(900_000)), Some(true));
        assert_eq!(now.is_after(Some(&operation(60)), taken(0)), None);
        let other = Operation { manager: PackageManager::Dnf, ..operation(-60) };
        assert_eq!(now.is_after(Some(&other), taken(0)), None);
        // By the clock only where no zone explains the difference.
        assert_eq!(now.is_after(None, taken(-3600)), None);
        assert_eq!(now.is_after(None, taken(-15 * 3600)), Some(true));
        assert_eq!(now.is_after(None, UnixMicros(0)), None, "a clock that was not set");
    }
}
