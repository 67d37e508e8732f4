//! What is said about a snapshot after it was made. Manifests never change; notes are added.

use crate::id::SnapshotId;
use crate::ports::UnixMicros;
use crate::text::DisplayText;
use serde::{Deserialize, Serialize};

/// Something said about a snapshot. Of what is said of one kind the last counts, in the order of the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// [`crate::snapshot::FORMAT`].
    pub format: u32,
    /// The snapshot.
    pub about: SnapshotId,
    /// What.
    pub says: Says,
    /// When, by the clock of whoever said it. For people: it orders nothing.
    pub noted: UnixMicros,
}

/// What a note says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Says {
    /// What the snapshot is called from now on; an empty text takes the name away.
    Label {
        /// The name.
        text: DisplayText,
        /// A policy gave it, and no person: it keeps nothing by itself.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        automatic: bool,
    },
    /// No policy forgets it.
    Pin,
    /// It is like any other again.
    Unpin,
    /// It was shown that it can be restored.
    Proven {
        /// By what.
        how: DisplayText,
    },
    /// It was tried, and did not start.
    Unproven {
        /// What was seen.
        why: DisplayText,
    },
}

/// Everything that counts of the notes about one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Noted {
    /// Its name.
    pub label: Option<DisplayText>,
    /// A policy gave it that name, and no person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
    /// Kept whatever a policy says.
    pub pinned: bool,
    /// How it was proven.
    pub proven: Option<DisplayText>,
    /// Why it is not, where it was tried last without success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven: Option<DisplayText>,
}

impl Noted {
    /// True where a person gave it a name.
    pub fn is_named(&self) -> bool {
        self.label.is_some() && !self.automatic
    }

    /// Takes the next note, in the order of the inventory.
    pub fn take(&mut self, says: &Says) {
        match says {
            Says::Label { text, automatic } => {
                self.label = Some(text.clone()).filter(|t| !t.as_str().is_empty());
                self.automatic = *automatic && self.label.is_some();
            }
            Says::Pin => self.pinned = true,
            Says::Unpin => self.pinned = false,
            Says::Proven { how } => (self.proven, self.unproven) = (Some(how.clone()), None),
            Says::Unproven { why } => (self.proven, self.unproven) = (None, Some(why.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_kind_counts() {
        let mut noted = Noted::default();
        let label = |text: &str| Says::Label { text: text.into(), automatic: false };
        let broken = Says::Label { text: "broken".into(), automatic: true };
        for says in [Says::Pin, broken.clone(), Says::Proven { how: "boot".into() }, label("b"), Says::Unpin, Says::Pin]
        {
            noted.take(&says);
        }
        let proven = Some("boot".into());
        let expected = Noted { label: Some("b".into()), automatic: false, pinned: true, proven, unproven: None };
        assert_eq!(noted, expected);
        assert!(noted.is_named());
        noted.take(&broken);
        assert!(noted.label.is_some() && !noted.is_named(), "nobody gave it that name");
        noted.take(&label(""));
        noted.take(&Says::Unpin);
        assert_eq!(noted, Noted { proven: expected.proven, ..Noted::default() });
        noted.take(&Says::Unproven { why: "it hung".into() });
        assert_eq!(noted, Noted { unproven: Some("it hung".into()), ..Noted::default() }, "the last trial counts");
    }
}
