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
}

/// Everything that counts of the notes about one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Noted {
    /// Its name.
    pub label: Option<DisplayText>,
    /// Kept whatever a policy says.
    pub pinned: bool,
    /// How it was proven.
    pub proven: Option<DisplayText>,
}

impl Noted {
    /// Takes the next note, in the order of the inventory.
    pub fn take(&mut self, says: &Says) {
        match says {
            Says::Label { text } => self.label = Some(text.clone()).filter(|t| !t.as_str().is_empty()),
            Says::Pin => self.pinned = true,
            Says::Unpin => self.pinned = false,
            Says::Proven { how } => self.proven = Some(how.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_kind_counts() {
        let mut noted = Noted::default();
        let label = |text: &str| Says::Label { text: text.into() };
        for says in [Says::Pin, label("a"), Says::Proven { how: "boot".into() }, label("b"), Says::Unpin, Says::Pin] {
            noted.take(&says);
        }
        let expected = Noted { label: Some("b".into()), pinned: true, proven: Some("boot".into()) };
        assert_eq!(noted, expected);
        noted.take(&label(""));
        noted.take(&Says::Unpin);
        assert_eq!(noted, Noted { proven: expected.proven, ..Noted::default() });
    }
}
