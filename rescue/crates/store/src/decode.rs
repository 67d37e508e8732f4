//! The one door through which bytes of a store are interpreted.

use crate::format::FORMAT;
use crate::frame;
use model::inventory::InventoryEntry;
use model::note::Note;
use model::snapshot::{Intent, Receipt, Statement};
use model::text::DisplayText;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Interprets bytes of a store. The program answers these in a sandboxed process, the way [`LocalDecoder`] does; this crate
/// checks every answer again (hashes, bounds, order, sums), so that a decoder that was taken over can refuse, not lie.
pub trait Decode: Send + Sync {
    /// What a snapshot says.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] before anything else of it is read; [`DecodeError::Bad`].
    fn statement(&self, bytes: &[u8]) -> Result<Statement, DecodeError>;

    /// The record of a write-back that was begun.
    ///
    /// # Errors
    /// As [`Decode::statement`].
    fn intent(&self, bytes: &[u8]) -> Result<Intent, DecodeError>;

    /// The record of a write-back that ended.
    ///
    /// # Errors
    /// As [`Decode::statement`].
    fn receipt(&self, bytes: &[u8]) -> Result<Receipt, DecodeError>;

    /// Something said about a snapshot.
    ///
    /// # Errors
    /// As [`Decode::statement`].
    fn note(&self, bytes: &[u8]) -> Result<Note, DecodeError>;

    /// An entry of the inventory.
    ///
    /// # Errors
    /// As [`Decode::statement`].
    fn inventory_entry(&self, bytes: &[u8]) -> Result<InventoryEntry, DecodeError>;

    /// Decompresses a frame of a pack, or a record. Never takes more memory than `plain_len`, which is bounded itself
    /// (32 MiB, the most that a record can have).
    ///
    /// # Errors
    /// [`DecodeError::Bad`] where the bytes are no zstd frame of exactly `plain_len` bytes.
    fn frame(&self, stored: &[u8], plain_len: u32) -> Result<Vec<u8>, DecodeError>;
}

/// Bytes that could not be interpreted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum DecodeError {
    /// A newer program wrote them.
    #[error("format {found} is newer than this program")]
    Newer {
        /// Their format.
        found: u32,
    },
    /// They are not what they should be.
    #[error("{why}")]
    Bad {
        /// What is wrong, with the numbers.
        why: DisplayText,
    },
    /// Nobody could be asked: the decoding process is gone.
    #[error("{why}")]
    Unavailable {
        /// What happened to it.
        why: DisplayText,
    },
}

impl DecodeError {
    /// Bytes that are not what they should be.
    pub fn bad(why: impl AsRef<str>) -> Self {
        Self::Bad { why: DisplayText::new(why.as_ref()) }
    }
}

/// What decodes in the process it is in: for tests, and inside the parser process itself.
pub trait DecodeHere: Send + Sync {}

/// Decodes in this process, and does nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalDecoder;

impl DecodeHere for LocalDecoder {}

impl<T: DecodeHere> Decode for T {
    fn statement(&self, bytes: &[u8]) -> Result<Statement, DecodeError> {
        record(bytes)
    }

    fn intent(&self, bytes: &[u8]) -> Result<Intent, DecodeError> {
        record(bytes)
    }

    fn receipt(&self, bytes: &[u8]) -> Result<Receipt, DecodeError> {
        record(bytes)
    }

    fn note(&self, bytes: &[u8]) -> Result<Note, DecodeError> {
        record(bytes)
    }

    fn inventory_entry(&self, bytes: &[u8]) -> Result<InventoryEntry, DecodeError> {
        record(bytes)
    }

    fn frame(&self, stored: &[u8], plain_len: u32) -> Result<Vec<u8>, DecodeError> {
        frame::expand(stored, plain_len)
    }
}

/// A JSON record: its format is read first, so that a newer one is called newer, not damaged.
fn record<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    #[derive(Deserialize)]
    struct Probe {
        format: u32,
    }
    let bad = |e: serde_json::Error| DecodeError::bad(format!("not a record: {e}"));
    let probe: Probe = serde_json::from_slice(bytes).map_err(bad)?;
    if probe.format > FORMAT {
        return Err(DecodeError::Newer { found: probe.format });
    }
    serde_json::from_slice(bytes).map_err(bad)
}
