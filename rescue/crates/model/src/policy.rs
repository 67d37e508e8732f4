//! Policies: what is done about a state without asking anybody. A value, read from a small text (docs/policy.md).
//!
//! A policy decides whether and how a state is saved, what is forgotten then, and how an unattended rescue is left. It
//! never rolls back.

mod text;

pub use text::{MOST_TEXT, PolicyError};

use crate::command::{Failure, PowerAction};
use crate::id::SnapshotId;
use crate::retention::KeepPolicy;
use crate::snapshot::Saved;
use crate::text::DisplayText;
use crate::upkeep::PruneView;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Longest label, in characters: what a line of the timeline can show.
pub const MOST_LABEL: usize = 40;
/// Most mount points that are left out.
pub const MOST_LEFT_OUT: usize = 32;
/// Longest mount point, in bytes.
const MOST_PATH: usize = 255;
/// Seconds that somebody at the machine has to stop what it would do by itself: never none.
pub const WAIT: RangeInclusive<u32> = 3..=3600;
/// Snapshots, or days, between two that read everything.
pub const EVERY: RangeInclusive<u32> = 1..=10_000;
/// Where a system's own start lies: what is rolled back as one is saved as one.
const NEVER_LEFT_OUT: [&str; 5] = ["/", "/boot", "/boot/efi", "/efi", "/usr"];

/// What is to be done about states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Whether a state is saved that is proven to be in the newest snapshot.
    pub unchanged: Wish,
    /// Whether a system that is asleep on disk is saved, with its image.
    pub hibernated: Wish,
    /// What a snapshot is called in which an installation is cut short or out of order, or the start failed.
    pub label_broken: Option<DisplayText>,
    /// What a snapshot is called whose last session was cut off and that is not broken.
    pub label_crashed: Option<DisplayText>,
    /// Save, byte for byte, volumes that this version does not understand and no system names.
    pub not_understood: bool,
    /// Where volumes are mounted that are not saved.
    pub leave_out: Vec<String>,
    /// When everything is read, whatever file systems say of themselves.
    pub full: FullReads,
    /// What is kept of this machine's snapshots after one was taken; nothing is forgotten where `None`.
    pub keep: Option<KeepPolicy>,
    /// Free the room of what was forgotten.
    pub prune: bool,
    /// Seconds for which an unattended rescue waits for somebody to stop it.
    pub wait: u32,
    /// How an unattended rescue is left when it is done; it stays where `None`.
    pub then: Option<PowerAction>,
}

/// Save, or do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// A snapshot is taken.
    Save,
    /// None is.
    Skip,
}

/// When everything is read: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullReads {
    /// Every snapshot of that number. Counted in snapshots, which no clock can confuse.
    pub every: Option<u32>,
    /// So many days after the last one, where the clock can be believed both times.
    pub days: Option<u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            unchanged: Wish::Skip,
            hibernated: Wish::Save,
            label_broken: Some("broken".into()),
            label_crashed: Some("crashed".into()),
            not_understood: false,
            leave_out: Vec::new(),
            full: FullReads { every: Some(20), days: None },
            keep: None,
            prune: false,
            wait: 10,
            then: None,
        }
    }
}

impl Policy {
    /// Reads a policy. What it does not say is as in [`Policy::default`], but that a `[keep]` section keeps only what it names.
    ///
    /// # Errors
    /// [`PolicyError`]: the first line that makes no sense, and what would.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        text::parse(bytes)
    }

    /// True where every value is one that [`Policy::parse`] can give: what another process says it read is looked at again.
    pub fn is_sound(&self) -> bool {
        let labels = [&self.label_broken, &self.label_crashed];
        labels.into_iter().flatten().all(|label| is_label(label.as_str()))
            && self.leave_out.len() <= MOST_LEFT_OUT
            && self.leave_out.iter().all(|at| may_be_left_out(at))
            && [self.full.every, self.full.days].into_iter().flatten().all(|n| EVERY.contains(&n))
            && self.keep.as_ref().is_none_or(|keep| keep.floor >= 1 && keep.names_something())
            && (self.keep.is_some() || !self.prune)
            && WAIT.contains(&self.wait)
    }
}

fn is_label(text: &str) -> bool {
    (1..=MOST_LABEL).contains(&text.chars().count())
}

/// A mount point in its one spelling that is no part of what a system starts from.
fn may_be_left_out(at: &str) -> bool {
    at.starts_with('/')
        && at.len() <= MOST_PATH
        && at.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."))
        && !NEVER_LEFT_OUT.contains(&at)
}

/// What a policy makes of a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// How it is saved; it is not where `None`.
    pub save: Option<Saving>,
    /// What it is and why this is done about it, without a full stop.
    pub why: DisplayText,
}

/// How a state is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saving {
    /// Read everything, whatever file systems say of themselves.
    pub everything: bool,
    /// What the snapshot is called.
    pub label: Option<DisplayText>,
}

/// How a policy is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// Only the decision is wanted; nothing is written.
    DryRun,
    /// Somebody asked for it.
    Asked,
    /// Nobody may be there: whoever is has time to stop it, and in the end the rescue is left as the policy says.
    Unattended,
}

/// What came of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// What it called for.
    pub decision: Decision,
    /// The snapshot that was taken.
    pub saved: Option<Saved>,
    /// What was forgotten then, oldest first.
    pub forgotten: Vec<SnapshotId>,
    /// What was freed then.
    pub pruned: Option<PruneView>,
    /// What went wrong behind the snapshot, which is whole all the same.
    pub trouble: Option<Failure>,
    /// How the rescue is left now.
    pub then: Option<PowerAction>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_forget_nothing() {
        let policy = Policy::default();
        assert!(policy.is_sound());
        assert_eq!((&policy.keep, policy.prune, policy.then), (&None, false, None));
        assert_eq!(Policy::parse(b"").as_ref(), Ok(&policy));
    }

    #[test]
    fn what_no_text_can_say_is_not_sound() {
        let unsound: [fn(&mut Policy); 10] = [
            |p| p.label_broken = Some("".into()),
            |p| p.label_crashed = Some("x".repeat(MOST_LABEL + 1).as_str().into()),
            |p| p.leave_out = vec!["/boot".into()],
            |p| p.leave_out = vec!["/srv/../etc".into()],
            |p| p.leave_out = vec!["/srv".into(); MOST_LEFT_OUT + 1],
            |p| p.full.every = Some(0),
            |p| p.wait = 0,
            |p| p.prune = true,
            |p| p.keep = Some(KeepPolicy::floor_only(2)),
            |p| p.keep = Some(KeepPolicy { floor: 0, ..KeepPolicy::default() }),
        ];
        for change in unsound {
            let mut policy = Policy::default();
            change(&mut policy);
            assert!(!policy.is_sound(), "{policy:?}");
        }
    }
}
