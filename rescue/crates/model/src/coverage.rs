//! Which bytes of a volume a snapshot holds, and why those.

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

/// Which bytes of a volume are to be saved. What is outside is a hole: never stored, never written back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// How they were chosen.
    pub method: CaptureMethod,
    /// Why, in words: `ext4, clean`, `unknown feature 0x…: captured raw`.
    pub why: DisplayText,
    /// The bytes, from the start of the volume.
    pub used: ExtentSet,
}
