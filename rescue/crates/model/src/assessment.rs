//! What the evidence supports: four facets, each with its value, how sure, and the evidence for and against.

use crate::boot::BootChain;
use crate::evidence::{BootPart, EndKind, Evidence, EvidenceId, Fact, PackageManager, PackageState};
use crate::id::SnapshotId;
use crate::inspection::{Inspection, System};
use crate::text::DisplayText;
use crate::timeline::Operation;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// How sure a facet is. A confident wrong answer is the worst bug in this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// A hint.
    Weak,
    /// More likely than not, by independent signs.
    Likely,
    /// It cannot have been otherwise unless the evidence was forged.
    Certain,
}

/// How the last session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Termination {
    /// Shut down in order.
    Clean,
    /// Cut off: power, crash, reset.
    Abrupt,
    /// Asleep on disk.
    Hibernated,
    /// Never ran.
    Never,
    /// The evidence does not say.
    Unknown,
}

/// How far the last start got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Reached its default target.
    Reached,
    /// Did not: stopped on the way, or cannot.
    Failed,
    /// Never started.
    Never,
    /// The evidence does not say.
    Unknown,
}

/// What the package manager was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Installation {
    /// Nothing recent.
    Idle,
    /// The last operation is complete.
    Completed,
    /// Cut off in the middle.
    Interrupted,
    /// Ended, and left packages that are not in order.
    Broken,
    /// The evidence does not say.
    Unknown,
}

/// Whether data changed since the last snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// No file system was written since.
    Unchanged,
    /// Something was written.
    Changed,
    /// There is nothing to compare with, or it cannot be told.
    Unknown,
}

/// One facet: a value and its argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facet<T> {
    /// What is held to be so.
    pub value: T,
    /// How sure.
    pub confidence: Confidence,
    /// The rule that decided, by name.
    pub rule: String,
    /// Evidence for it.
    #[serde(rename = "for")]
    pub evidence_for: Vec<EvidenceId>,
    /// Evidence against it.
    #[serde(rename = "against")]
    pub evidence_against: Vec<EvidenceId>,
}

/// What happened to one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// One sentence a tired person understands.
    pub headline: DisplayText,
    /// What to do next; never more certain than the facets.
    pub advice: DisplayText,
    /// How the last session ended.
    pub termination: Facet<Termination>,
    /// By what kind of shutdown, where it was clean and is known.
    pub how: Option<EndKind>,
    /// How far the last start got.
    pub start: Facet<Start>,
    /// What the package manager was doing.
    pub installation: Facet<Installation>,
    /// The packages that are not in order.
    pub packages: Vec<PackageState>,
    /// Whether data changed since the last snapshot.
    pub change: Facet<Change>,
    /// The snapshot `change` compares with.
    pub since: Option<SnapshotId>,
}

impl Assessment {
    /// Good, defined once: termination clean or never, installation idle or completed, start not failed.
    pub fn is_good(&self) -> bool {
        matches!(self.termination.value, Termination::Clean | Termination::Never)
            && matches!(self.installation.value, Installation::Idle | Installation::Completed)
            && self.start.value != Start::Failed
    }
}

/// An installed system, what happened to it, and the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemReport {
    /// The system.
    #[serde(flatten)]
    pub system: System,
    /// What happened to it.
    pub assessment: Assessment,
    /// Every fact read of it.
    pub evidence: Vec<Evidence>,
}

impl SystemReport {
    /// The version of the newest kernel in `/boot` that is in order, by the numbers in it.
    pub fn kernel(&self) -> Option<DisplayText> {
        let version = |e: &'_ Evidence| match (&e.fact, &e.origin.path) {
            (Fact::BootPart { part: BootPart::Kernel, broken: None }, Some(path)) => {
                path.0.strip_prefix(b"/boot/vmlinuz-").map(<[u8]>::to_vec)
            }
            _ => None,
        };
        let newest = self.evidence.iter().filter_map(version).max_by(|a, b| by_numbers(a, b));
        newest.map(|version| DisplayText::from_bytes(&version))
    }

    /// The newest package operation on record.
    pub fn operation(&self) -> Option<Operation> {
        let operation = |e: &Evidence| match &e.fact {
            // What unattended-upgrades does, apt has in its own history.
            Fact::Transaction { manager, age: 0, command, .. } if *manager != PackageManager::Unattended => {
                Some(Operation { manager: *manager, command: command.clone(), began: e.time? })
            }
            _ => None,
        };
        self.evidence.iter().filter_map(operation).max_by_key(|o| o.began.at)
    }

    /// How many packages are installed, as their database has it; of several, the one that has most.
    pub fn packages(&self) -> Option<u32> {
        let count = |e: &Evidence| match e.fact {
            Fact::DpkgState { installed, .. } => Some(installed),
            Fact::Packages { installed, .. } => installed,
            _ => None,
        };
        self.evidence.iter().filter_map(count).max()
    }
}

/// The order of versions: digits that stand together are a number.
fn by_numbers(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let number = |text: &[u8]| text.iter().take_while(|c| c.is_ascii_digit()).count();
        let (m, n) = (number(a), number(b));
        let order = if m > 0 && n > 0 {
            let value = |digits: &[u8]| digits[digits.iter().take_while(|c| **c == b'0').count()..].to_vec();
            let (x, y) = (value(&a[..m]), value(&b[..n]));
            (a, b) = (&a[m..], &b[n..]);
            x.len().cmp(&y.len()).then(x.cmp(&y))
        } else {
            let order = a.first().cmp(&b.first());
            if a.is_empty() && b.is_empty() {
                return Ordering::Equal;
            }
            (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default());
            order
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Everything a look at the disks gave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Disks, volumes, findings.
    pub inspection: Inspection,
    /// Each installed system with what happened to it, in the order of `inspection.systems`.
    pub systems: Vec<SystemReport>,
    /// The boot chain of each, as far as it could be looked at.
    pub boot: Vec<BootChain>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_the_one_with_the_greatest_numbers() {
        let newest = |versions: &[&'static str]| {
            versions.iter().copied().max_by(|a, b| by_numbers(a.as_bytes(), b.as_bytes())).unwrap()
        };
        assert_eq!(newest(&["6.1.0-30-amd64", "6.1.0-9-amd64", "5.10.0-35-amd64"]), "6.1.0-30-amd64");
        assert_eq!(newest(&["6.1", "6.1.5"]), "6.1.5");
        assert_eq!(by_numbers(b"6.01", b"6.1"), Ordering::Equal);
    }
}
