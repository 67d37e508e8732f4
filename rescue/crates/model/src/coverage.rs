//! Which bytes of a volume a snapshot holds, and why those.

use crate::id::Digest;
use crate::text::DisplayText;
use crate::units::ExtentSet;
use serde::{Deserialize, Serialize};

/// How the bytes to save were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureMethod {
    /// The file system's own allocation maps, journal taken into account: what is free is not saved.
    UsedBlocks,
    /// Every byte.
    Raw,
    /// The header alone (swap without a hibernation image).
    HeaderOnly,
    /// The bytes of the partition table.
    Table,
}

/// How it was told which of the bytes to save are as a snapshot before has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Not at all: everything is read, and compared by its hash.
    Content,
    /// By the file system's own records: files whose inodes and places are the same have the same bytes. All else is read.
    Metadata,
    /// Nobody wrote to the file system since: only what is written below it is read.
    Untouched,
}

/// What the records of a file system prove to be as a snapshot before has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// By what.
    pub comparison: Comparison,
    /// Why by that and nothing better, in words.
    pub why: DisplayText,
    /// Bytes of the volume that, where both have them, are the same in both. Empty for [`Comparison::Content`].
    pub same: ExtentSet,
}

impl Changes {
    /// Nothing is proven.
    pub fn unknown(why: &str) -> Self {
        Self { comparison: Comparison::Content, why: why.into(), same: ExtentSet::new() }
    }
}

/// Which bytes of a volume are to be saved. What is outside is a hole: never stored, never written back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// How they were chosen.
    pub method: CaptureMethod,
    /// Why, in words: `ext4, clean`, `unknown feature 0x…: captured raw`.
    pub why: DisplayText,
    /// The bytes, from the start of the volume.
    pub used: ExtentSet,
    /// Names the state its file system is in: another one as soon as anybody has it mounted to be written to. `None` where its kind
    /// does not tell, or where it was not unmounted.
    pub state: Option<Digest>,
}
