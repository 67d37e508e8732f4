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
/// The folder of the key files, beside the file of the policy.
pub const KEYS: &str = "keys";
/// Most volumes that a policy unlocks.
pub const MOST_UNLOCKED: usize = 32;
/// Longest name of a key file, in bytes.
const MOST_NAME: usize = 64;
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
    /// Encrypted volumes that are unlocked first.
    pub unlock: Vec<UnlockBy>,
    /// What lies in those may be saved in clear, in a store that is not encrypted.
    pub allow_plain: bool,
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

/// An encrypted volume, and the file that has its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnlockBy {
    /// The UUID in its header, in lower case.
    pub uuid: String,
    /// The name of a key file in the folder [`KEYS`] beside the policy.
    pub file: String,
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
            unlock: Vec::new(),
            allow_plain: false,
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
            && self.unlock.len() <= MOST_UNLOCKED
            && self.unlock.iter().all(|u| is_uuid(&u.uuid) && is_key_file(&u.file))
            && [self.full.every, self.full.days].into_iter().flatten().all(|n| EVERY.contains(&n))
            && self.keep.as_ref().is_none_or(|keep| keep.floor >= 1 && keep.names_something())
            && (self.keep.is_some() || !self.prune)
            && WAIT.contains(&self.wait)
    }
}

fn is_label(text: &str) -> bool {
    (1..=MOST_LABEL).contains(&text.chars().count())
}

/// A UUID as `cryptsetup luksUUID` tells it, in lower case.
fn is_uuid(text: &str) -> bool {
    let right = |(at, c): (usize, u8)| match at {
        8 | 13 | 18 | 23 => c == b'-',
        _ => matches!(c, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == 36 && text.bytes().enumerate().all(right)
}

/// A plain name: it leads nowhere else than into its folder.
fn is_key_file(name: &str) -> bool {
    let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    (1..=MOST_NAME).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(known)
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
    /// Encrypted volumes that it names and that stayed locked, and why, a sentence each.
    #[serde(default)]
    pub locked: Vec<DisplayText>,
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
        let unlock = |uuid: &str, file: &str| vec![UnlockBy { uuid: uuid.into(), file: file.into() }];
        let mut known =
            Policy { unlock: unlock("1a9bfc6d-6aa8-4e54-b245-63398a60e1c9", "laptop.key"), ..Policy::default() };
        assert!(known.is_sound());
        for (uuid, file) in [("1a9bfc6d-6aa8-4e54-b245-63398a60e1c9", "../x"), ("1A9BFC6D", "x")] {
            known.unlock = unlock(uuid, file);
            assert!(!known.is_sound(), "{known:?}");
        }
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
