//! Encryption and signatures (docs/store-format.md, "Encryption" and "Signatures"). No cryptography of our own: the
//! primitives are those of well-kept crates, and here is only how they are joined.
//!
//! [`Seal`] is what the rest of the store meets: it names objects and seals and opens their bytes, and does nothing to them in
//! a store without encryption. Its [`Keys`] come from a [`keys::Master`] key, which a [`slot::Slot`] gives to whoever has the
//! passphrase or the key file.

mod aead;
pub(crate) mod keys;
mod signer;
pub(crate) mod slot;
#[cfg(test)]
mod testing;

pub use keys::{Secret, Unlock};
pub(crate) use signer::verify_aside;
pub use signer::{SigningKey, verify};

use crate::error::StoreError;
use keys::Keys;
use model::id::Digest;
use model::ports::Entropy;
use std::sync::Arc;

/// A store's id, as 16 raw bytes.
pub(crate) type StoreId = [u8; 16];

/// What sealed bytes are. Part of the associated data, so that one kind cannot be put in the place of another; what binds
/// them further (a frame's number, a record's kind) is told with each structure in the format's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Chunks in a pack.
    Frame,
    /// The footer of a pack.
    Footer,
    /// A section of an index object.
    Index,
    /// The body of a record.
    Record,
}

impl Kind {
    /// No context is the beginning of another, so that context and bound bytes need nothing between them.
    fn context(self) -> &'static [u8] {
        match self {
            Self::Frame => b"frame",
            Self::Footer => b"footer",
            Self::Index => b"index",
            Self::Record => b"record",
        }
    }
}

/// How a store keeps its bytes.
#[derive(Debug, Clone)]
pub(crate) enum Seal {
    /// As they are.
    Open,
    /// Encrypted and authenticated.
    Sealed(Arc<Keys>),
}

impl Seal {
    /// The name of an id.
    pub(crate) fn name(&self, id: &Digest) -> Digest {
        match self {
            Self::Open => *id,
            Self::Sealed(keys) => keys.name(id),
        }
    }

    pub(crate) fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }

    /// Bytes that sealing adds.
    pub(crate) fn overhead(&self) -> usize {
        match self {
            Self::Open => 0,
            Self::Sealed(_) => aead::OVERHEAD,
        }
    }

    /// The bytes to store for `plain`; without encryption a copy.
    ///
    /// # Errors
    /// [`StoreError::Io`] where there are no random bytes.
    pub(crate) fn seal(
        &self,
        what: Kind,
        bound: &[u8],
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Open => Ok(plain.to_vec()),
            Self::Sealed(keys) => aead::seal(keys.cipher(what), &[what.context(), bound].concat(), plain, entropy),
        }
    }

    /// The plain bytes of what [`Seal::seal`] made of the same kind and with the same bound bytes, in the same memory.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for anything else; not one byte of it is given away then.
    pub(crate) fn open(&self, what: Kind, bound: &[u8], stored: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Open => Ok(stored),
            Self::Sealed(keys) => {
                aead::open(keys.cipher(what), &[what.context(), bound].concat(), stored).ok_or_else(|| {
                    let what = String::from_utf8_lossy(what.context());
                    StoreError::damaged(format!("this {what} cannot be opened with this store's key"))
                })
            }
        }
    }
}

/// Random bytes for a salt or a nonce.
fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], StoreError> {
    let mut out = [0; N];
    fill(entropy, &mut out)?;
    Ok(out)
}

/// Random bytes for a key, where it will stay: a key that is moved leaves a copy behind.
fn fill(entropy: &dyn Entropy, out: &mut [u8]) -> Result<(), StoreError> {
    entropy.fill(out).map_err(|e| StoreError::io(format!("there are no random bytes: {e}")))
}

#[cfg(test)]
mod tests {
    use super::keys::Master;
    use super::testing::{Broken, Seeded};
    use super::*;

    const KINDS: [Kind; 4] = [Kind::Frame, Kind::Footer, Kind::Index, Kind::Record];

    fn sealed(seed: u64, store: StoreId) -> Seal {
        Seal::Sealed(Arc::new(Keys::derive(&Master::generate(&Seeded::new(seed)).unwrap(), &store)))
    }

    #[test]
    fn no_context_begins_another() {
        for a in KINDS {
            for b in KINDS {
                assert!(a == b || !a.context().starts_with(b.context()), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn an_open_store_keeps_bytes_and_names() {
        let id = Digest::of(b"id");
        assert_eq!(Seal::Open.name(&id), id);
        assert_eq!((Seal::Open.is_sealed(), Seal::Open.overhead()), (false, 0));
        let stored = Seal::Open.seal(Kind::Frame, &[], b"plain", &Broken).unwrap();
        assert_eq!(stored, b"plain");
        assert_eq!(Seal::Open.open(Kind::Record, b"x", stored).unwrap(), b"plain");
    }

    #[test]
    fn every_kind_opens_as_itself_only() {
        let (seal, entropy) = (sealed(1, [7; 16]), Seeded::new(2));
        for what in KINDS {
            for plain in [&b""[..], b"x", &[0x5a; 4096]] {
                let stored = seal.seal(what, b"\x01", plain, &entropy).unwrap();
                assert_eq!(stored.len(), plain.len() + seal.overhead());
                assert_eq!(seal.open(what, b"\x01", stored.clone()).unwrap(), plain);
                for other in KINDS.into_iter().filter(|k| *k != what) {
                    assert!(seal.open(other, b"\x01", stored.clone()).is_err(), "{what:?} as {other:?}");
                }
                for bound in [&b""[..], b"\x02", b"\x01\x00"] {
                    assert!(seal.open(what, bound, stored.clone()).is_err(), "{what:?} bound to {bound:?}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_opened_is_damage() {
        let seal = sealed(1, [7; 16]);
        let error = seal.open(Kind::Index, &[], vec![0; 100]).unwrap_err();
        assert_eq!(error, StoreError::damaged("this index cannot be opened with this store's key"));
    }

    #[test]
    fn another_master_or_store_is_another_key() {
        let (here, entropy) = (sealed(1, [7; 16]), Seeded::new(2));
        let id = Digest::of(b"id");
        assert_ne!(here.name(&id), id);
        assert_eq!(here.name(&id), sealed(1, [7; 16]).name(&id), "names are a function of key and id");
        for other in [sealed(2, [7; 16]), sealed(1, [8; 16])] {
            assert_ne!(here.name(&id), other.name(&id));
            for what in KINDS {
                let stored = here.seal(what, &[], b"plain", &entropy).unwrap();
                assert!(other.open(what, &[], stored).is_err());
            }
        }
    }

    #[test]
    fn nothing_is_sealed_without_randomness() {
        assert!(matches!(sealed(1, [7; 16]).seal(Kind::Frame, &[], b"x", &Broken), Err(StoreError::Io { .. })));
    }
}
