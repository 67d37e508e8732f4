//! Bytes of a fixed length as lower-case hexadecimal digits: `#[serde(with = "model::hex")]`, and by hand.

use crate::text::DisplayText;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Two digits for each byte.
pub fn encode(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// The bytes; `None` for any other length, and for anything but the digits that [`encode`] writes.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(out)
}

/// For serde: as text.
///
/// # Errors
/// The serialiser's own.
pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

/// For serde: from exactly the text that [`serialize`] writes.
///
/// # Errors
/// Where the text is anything else.
pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
    let text = String::deserialize(deserializer)?;
    decode(&text).ok_or_else(|| {
        D::Error::custom(format!("{} hexadecimal digits expected, got {:?}", 2 * N, DisplayText::new(&text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_there_and_back() {
        let all: [u8; 256] = std::array::from_fn(|i| u8::try_from(i).expect("256 of them"));
        assert!(encode(&all).starts_with("000102") && encode(&all).ends_with("fdfeff"));
        assert_eq!(decode(&encode(&all)), Some(all));
    }

    #[test]
    fn other_lengths_and_digits_are_refused() {
        for bad in ["", "0", "000", "0000", "0G", "0A", "é", " 0", "+1"] {
            assert_eq!(decode::<1>(bad), None, "{bad:?}");
        }
    }
}
