//! Who signed a snapshot. Making and proving signatures is the store's: `store::SigningKey` and `store::verify`.

use crate::hex;
use crate::id::BadName;
use crate::text::DisplayText;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The public half of an Ed25519 key (RFC 8032), shown as 64 hexadecimal digits. Any 32 bytes may stand here: whether they
/// are a key shows when something is verified with them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignerId(#[serde(with = "crate::hex")] pub [u8; 32]);

/// An Ed25519 signature (RFC 8032), shown as 128 hexadecimal digits. Says nothing until it was verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "crate::hex")] pub [u8; 64]);

impl SignerId {
    /// The first `n` hexadecimal digits, for people.
    pub fn short(&self, n: usize) -> String {
        let mut s = self.to_string();
        s.truncate(n);
        s
    }
}

impl fmt::Display for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerId({})", self.short(12))
    }
}

impl FromStr for SignerId {
    type Err = BadName;

    fn from_str(s: &str) -> Result<Self, BadName> {
        hex::decode(s)
            .map(Self)
            .ok_or_else(|| BadName { what: "a signer: 64 hexadecimal digits", got: DisplayText::new(s) })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", hex::encode(&self.0[..6]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_hexadecimal_in_json() {
        let (signer, signature) = (SignerId([0xa5; 32]), Signature([0x3c; 64]));
        let json = serde_json::to_string(&(signer, signature)).expect("plain values");
        assert_eq!(json, format!("[\"{}\",\"{}\"]", "a5".repeat(32), "3c".repeat(64)));
        assert_eq!(serde_json::from_str::<(SignerId, Signature)>(&json).expect("as written"), (signer, signature));
        assert_eq!(signer.to_string().parse::<SignerId>().expect("as shown"), signer);
        assert!(serde_json::from_str::<SignerId>(&json[1..65]).is_err(), "a digit less");
        assert!("A5".repeat(32).parse::<SignerId>().is_err(), "one way of writing it");
    }
}
