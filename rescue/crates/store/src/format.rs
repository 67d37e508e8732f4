//! The object `format`: what makes a directory a store.

use crate::error::StoreError;
use model::id::Digest;
use model::text::DisplayText;
use serde::{Deserialize, Serialize};
use std::io::Read;

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
    sum: Digest,
}

impl Format {
    fn new(id: &str) -> Self {
        let sum = Digest::of(format!("{MAGIC} {FORMAT} {id}").as_bytes());
        Self { magic: MAGIC.to_owned(), version: FORMAT, id: id.to_owned(), sum }
    }
}

/// The bytes of the object for a store of that id.
pub(crate) fn encode(id: &str) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(&Format::new(id)).expect("strings and numbers always encode");
    bytes.push(b'\n');
    bytes
}

/// The store's id.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, StoreError> {
    let not = |why: String| StoreError::NotAStore { why: DisplayText::new(&why) };
    let probe: Probe =
        serde_json::from_slice(bytes).map_err(|e| not(format!("its format object is not readable: {e}")))?;
    if probe.magic != MAGIC {
        return Err(not(format!("its format object begins with {:?}", DisplayText::new(&probe.magic))));
    }
    if probe.version > FORMAT {
        return Err(StoreError::Newer { found: probe.version });
    }
    let format: Format =
        serde_json::from_slice(bytes).map_err(|e| StoreError::damaged(format!("the format object: {e}")))?;
    let good = format.id.len() == 32 && format.id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !good || encode(&format.id) != bytes {
        return Err(StoreError::damaged("the format object does not match its own sum"));
    }
    Ok(format.id)
}

/// 128 random bits, as 32 hexadecimal digits.
pub(crate) fn random_id() -> Result<String, StoreError> {
    let mut bits = [0u8; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bits))
        .map_err(|e| StoreError::io(format!("reading /dev/urandom failed: {e}")))?;
    Ok(bits.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_shows() {
        let bytes = encode(&random_id().unwrap());
        assert!(decode(&bytes).is_ok());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
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
    }
}
