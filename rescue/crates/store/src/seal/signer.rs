//! Signatures of snapshots: Ed25519 (RFC 8032), verified strictly.

use super::{Secret, fill};
use crate::error::StoreError;
use ed25519_dalek::{Signer, VerifyingKey};
use model::hex;
use model::id::{Digest, SnapshotId};
use model::ports::Entropy;
use model::signer::{Signature, SignerId};
use model::text::DisplayText;
use std::fmt;
use zeroize::Zeroizing;

/// What a signature says of a snapshot's id, so that it can mean nothing else.
const STATEMENT: &[u8] = b"holdfast statement 1\0";
/// What one says of an aside's: an aside that somebody makes a snapshot of is signed by nobody.
const ASIDE: &[u8] = b"holdfast aside 1\0";
/// What the line of a signing key's file begins with.
const FILE: &[u8] = b"holdfast-signing-key-1 ";

/// A key that signs snapshots. Wiped when dropped, and never printed.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// [`StoreError::Io`] where there are no random bytes.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, StoreError> {
        let mut seed = Zeroizing::new([0; 32]);
        fill(entropy, &mut *seed)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Its file: one line. Whoever reads it can sign, so that it is to be written readable by its owner alone.
    pub fn to_text(&self) -> Secret {
        let seed = Zeroizing::new(hex::encode(self.0.as_bytes()));
        Secret::new([FILE, seed.as_bytes(), b"\n"].concat())
    }

    /// The key of a file; the newline at its end may be missing.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] where it is anything else; the text is not shown.
    pub fn from_text(text: &[u8]) -> Result<Self, StoreError> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let digits = line.strip_prefix(FILE).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(seed) = digits.and_then(hex::decode).map(Zeroizing::new) else {
            return Err(StoreError::wrong_key("this is not a signing key: it is not one line of a key's text"));
        };
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Who signs with it.
    pub fn id(&self) -> SignerId {
        SignerId(self.0.verifying_key().to_bytes())
    }

    /// The signature of a snapshot: the same one every time.
    pub fn sign(&self, snapshot: &SnapshotId) -> Signature {
        self.sign_bytes(&message(STATEMENT, &snapshot.0))
    }

    /// The signature of what was put aside of a snapshot: of no snapshot.
    pub(crate) fn sign_aside(&self, aside: &Digest) -> Signature {
        self.sign_bytes(&message(ASIDE, aside))
    }

    fn sign_bytes(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.id())
    }
}

/// Proves that a signer signed a snapshot. Whether the signer is one to trust is the caller's question.
///
/// # Errors
/// [`StoreError::Untrusted`] where it did not, or is no key.
pub fn verify(signer: &SignerId, snapshot: &SnapshotId, signature: &Signature) -> Result<(), StoreError> {
    proven(signer, (STATEMENT, "snapshot"), &snapshot.0, signature)
}

/// The same of an aside.
pub(crate) fn verify_aside(signer: &SignerId, aside: &Digest, signature: &Signature) -> Result<(), StoreError> {
    proven(signer, (ASIDE, "aside"), aside, signature)
}

fn proven(signer: &SignerId, (text, of): (&[u8], &str), id: &Digest, signature: &Signature) -> Result<(), StoreError> {
    if verifies(signer, &message(text, id), signature) {
        return Ok(());
    }
    let what = format!("the signature of {of} {} is not of {}", id.short(12), signer.short(12));
    Err(StoreError::Untrusted { what: DisplayText::new(&what) })
}

/// Strictly: a key of small order, which has signatures that fit almost any message, is refused, and so is a second way of writing a
/// signature.
fn verifies(signer: &SignerId, message: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    VerifyingKey::from_bytes(&signer.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

fn message(text: &[u8], id: &Digest) -> Vec<u8> {
    [text, &id.0].concat()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Broken, Seeded, bytes};
    use super::*;

    fn key(seed: u64) -> SigningKey {
        SigningKey::generate(&Seeded::new(seed)).unwrap()
    }

    fn snapshot(of: &[u8]) -> SnapshotId {
        SnapshotId(Digest::of(of))
    }

    #[test]
    fn the_vectors_of_the_rfc() {
        // RFC 8032, 7.1, tests 2 and 3: seed, public key, message, signature.
        let vectors = [
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac
                 18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ];
        for (seed, public, message, signature) in vectors {
            let key = SigningKey::from_text(format!("holdfast-signing-key-1 {seed}\n").as_bytes()).unwrap();
            assert_eq!(key.id().to_string(), public);
            let signed = key.sign_bytes(&bytes(message));
            assert_eq!(signed.0.to_vec(), bytes(signature));
            assert!(verifies(&key.id(), &bytes(message), &signed));
        }
    }

    #[test]
    fn a_signature_is_of_one_key_and_one_snapshot() {
        let (signer, other) = (key(1), key(2));
        let signature = signer.sign(&snapshot(b"a"));
        assert_eq!(verify(&signer.id(), &snapshot(b"a"), &signature), Ok(()));
        let error = verify(&signer.id(), &snapshot(b"b"), &signature).unwrap_err();
        assert!(matches!(error, StoreError::Untrusted { .. }));
        assert_eq!(error.failure().code.number(), 4);
        assert!(verify(&other.id(), &snapshot(b"a"), &signature).is_err());
        for at in 0..64 {
            let mut bad = signature;
            bad.0[at] ^= 1;
            assert!(verify(&signer.id(), &snapshot(b"a"), &bad).is_err(), "byte {at} of the signature");
        }
        for at in 0..32 {
            let mut bad = signer.id();
            bad.0[at] ^= 1;
            assert!(verify(&bad, &snapshot(b"a"), &signature).is_err(), "byte {at} of the signer");
        }
        // What is signed is the statement and the id, not the id.
        assert!(!verifies(&signer.id(), &snapshot(b"a").0.0, &signature));
        assert!(verifies(&signer.id(), &[b"holdfast statement 1\0", &snapshot(b"a").0.0[..]].concat(), &signature));
    }

    #[test]
    fn a_key_that_everything_verifies_under_is_refused() {
        // The neutral point as key and as R, and S = 0: R = S B - k A whatever the message. Only strict verification refuses it.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = Signature([0; 64]);
        signature.0[..32].copy_from_slice(&neutral);
        let lenient = VerifyingKey::from_bytes(&neutral).unwrap();
        let as_theirs = ed25519_dalek::Signature::from_bytes(&signature.0);
        assert!(ed25519_dalek::Verifier::verify(&lenient, &message(STATEMENT, &snapshot(b"a").0), &as_theirs).is_ok());
        assert!(verify(&SignerId(neutral), &snapshot(b"a"), &signature).is_err());
    }

    #[test]
    fn a_signature_is_written_in_one_way() {
        // S and S + L are the same scalar.
        const L: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let signer = key(1);
        let mut signature = signer.sign(&snapshot(b"a"));
        let mut carry = 0;
        for (byte, add) in signature.0[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            [*byte, _] = sum.to_le_bytes();
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(verify(&signer.id(), &snapshot(b"a"), &signature).is_err());
    }

    #[test]
    fn a_key_comes_back_from_its_file() {
        let signer = key(1);
        let text = signer.to_text();
        assert!(text.bytes().starts_with(b"holdfast-signing-key-1 ") && text.bytes().ends_with(b"\n"));
        assert_eq!(text.bytes().len(), 23 + 64 + 1);
        assert_eq!(SigningKey::from_text(text.bytes()).unwrap().id(), signer.id());
        assert_eq!(SigningKey::from_text(&text.bytes()[..87]).unwrap().id(), signer.id());
        let all = String::from_utf8(text.bytes().to_vec()).unwrap();
        let line = all.trim_end();
        let bad = [
            String::new(),
            line[..86].to_owned(),
            format!("{line}0"),
            format!("{line}\n\n"),
            format!("{line} "),
            format!(" {line}"),
            line.replace("key-1", "key-2"),
            line.to_uppercase(),
        ];
        for text in bad {
            let error = SigningKey::from_text(text.as_bytes()).unwrap_err();
            assert!(matches!(error, StoreError::WrongKey { .. }), "{text:?}");
            assert!(!error.to_string().contains(&line[30..40]), "the seed is not shown");
        }
        assert!(SigningKey::from_text(b"holdfast-signing-key-1 \xff").is_err());
    }

    #[test]
    fn the_seed_is_not_printed() {
        let signer = key(1);
        let seed = hex::encode(signer.0.as_bytes());
        let shown = format!("{signer:?} {:?}", signer.to_text());
        assert!(shown.contains(&signer.id().short(12)) && !shown.contains(&seed[..8]), "{shown}");
    }

    #[test]
    fn no_key_without_randomness() {
        assert!(matches!(SigningKey::generate(&Broken), Err(StoreError::Io { .. })));
    }
}
