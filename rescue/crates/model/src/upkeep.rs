//! Looking after a store: what can be asked of it, and what comes of it. No disk is looked at for any of this.

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
    Made {
        /// Its id.
        id: String,
        /// What the probe wrote and read back as it was, where there was one.
        probed: Option<ByteLen>,
    },
}
