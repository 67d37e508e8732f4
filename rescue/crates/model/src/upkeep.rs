//! Looking after a store: what can be asked of it, and what comes of it. No disk is looked at for any of this.

use crate::text::DisplayText;
use crate::units::ByteLen;
use serde::{Deserialize, Serialize};

/// What can be done with a store itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Upkeep {
    /// Make it.
    Make {
        /// Fill the place first and read everything back.
        probe: Option<ProbeSize>,
    },
    /// List what opens it.
    Keys,
    /// Let what the engine was given as the new key open it too.
    AddKey {
        /// What people call it.
        label: DisplayText,
    },
    /// Let a key open it no more.
    RemoveKey {
        /// Its id, or the first digits of it.
        id: String,
    },
}

/// How much of a place is filled to see whether it keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeSize {
    /// All the room there is.
    All,
    /// So much at most.
    AtMost(ByteLen),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// The store was made.
    Made(Made),
    /// What opens it, as it is now.
    Keys {
        /// The slots.
        keys: Vec<KeyLine>,
        /// The slot that was added.
        added: Option<String>,
    },
}

/// A store that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its id.
    pub id: String,
    /// Nobody reads it without a key.
    pub encrypted: bool,
    /// What the probe wrote and read back as it was, where there was one.
    pub probed: Option<ByteLen>,
}

/// A key slot of an encrypted store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub label: DisplayText,
}
