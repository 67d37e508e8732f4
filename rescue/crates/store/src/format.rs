//! The object `format`: what makes a directory a store.

use crate::error::StoreError;
use crate::seal::StoreId;
use model::hex;
use model::id::Digest;
use model::text::DisplayText;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

pub use model::snapshot::FORMAT;

/// The word a store begins with.
const MAGIC: &str = "holdfast-store";
/// No valid `format` object is longer.
pub(crate) const MAX_FORMAT: u64 = 4096;

/// What every version's `format` has: read before anything else is believed.
#[derive(Deserialize)]
struct Probe {
    magic: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Format {
    magic: String,
    version: u32,
    id: String,
    encrypted: bool,
    sum: Digest,
}

/// What the object `format` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    /// The store's id: 32 hexadecimal digits.
    pub(crate) id: String,
    /// Whether all else is sealed.
    pub(crate) encrypted: bool,
}

impl About {
    /// The id as 16 raw bytes.
    pub(crate) fn raw_id(&self) -> Result<StoreId, StoreError> {
        let bytes: Option<StoreId> = hex::decode(&self.id);
        bytes.ok_or_else(|| StoreError::damaged("the format object has no good id"))
    }
}

/// The bytes of the object for a store.
pub(crate) fn encode(about: &About) -> Vec<u8> {
    let About { id, encrypted } = about.clone();
    let kept = if encrypted { "sealed" } else { "plain" };
    let sum = Digest::of(format!("{MAGIC} {FORMAT} {id} {kept}").as_bytes());
    let format = Format { magic: MAGIC.to_owned(), version: FORMAT, id, encrypted, sum };
    let mut bytes = serde_json::to_vec_pretty(&format).expect("strings and numbers always encode");
    bytes.push(b'\n');
    bytes
}

/// What it says.
pub(crate) fn decode(bytes: &[u8]) -> Result<About, StoreError> {
    let not = |why: String| StoreError::NotAStore { why: DisplayText::new(&why) };
    let probe: Probe =
        serde_json::from_slice(bytes).map_err(|e| not(format!("its format object is not readable: {e}")))?;
    if probe.magic != MAGIC {
        return Err(not(format!("its format object begins with {:?}", DisplayText::new(&probe.magic))));
    }
    match probe.version.cmp(&FORMAT) {
        Ordering::Equal => {}
        Ordering::Greater => return Err(StoreError::Newer { found: probe.version }),
        Ordering::Less => {
            let found = probe.version;
            return Err(not(format!("its format is {found}, which existed in development only: make a new store")));
        }
    }
    let format: Format =
        serde_json::from_slice(bytes).map_err(|e| StoreError::damaged(format!("the format object: {e}")))?;
    let good = format.id.len() == 32 && format.id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let about = About { id: format.id, encrypted: format.encrypted };
    if !good || encode(&about) != bytes {
        return Err(StoreError::damaged("the format object does not match its own sum"));
    }
    Ok(about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_shows() {
        for encrypted in [false, true] {
            let about = About { id: "0123456789abcdef".repeat(2), encrypted };
            let bytes = encode(&about);
            assert_eq!(decode(&bytes), Ok(about));
            every_bit(&bytes);
        }
    }

    fn every_bit(bytes: &[u8]) {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.to_vec();
                bad[at] ^= 1 << bit;
                assert!(decode(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_newer_store_is_newer_whatever_else_it_has() {
        let bytes = br#"{"magic": "holdfast-store", "version": 7, "id": 5, "what": ["else"]}"#;
        let error = decode(bytes).unwrap_err();
        assert_eq!(error, StoreError::Newer { found: 7 });
        assert!(error.to_string().contains("newer version"));
        assert_eq!(error.failure().code.number(), 6);
        let error = decode(br#"{"magic": "holdfast-store", "version": 0, "id": "", "sum": ""}"#);
        assert!(FORMAT == 0 || error.unwrap_err().to_string().contains("development only"));
    }
}
