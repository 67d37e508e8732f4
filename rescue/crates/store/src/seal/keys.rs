//! Keys, and what they are derived from.

use super::{Kind, StoreId, fill};
use crate::error::StoreError;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use model::id::Digest;
use model::ports::Entropy;
use sha2::Sha256;
use std::fmt;
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

/// 256 bits of key, wiped when dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// How long a key file may be, in bytes: the least is as long as the key it stands for, the most keeps memory small.
const KEY_FILE: RangeInclusive<usize> = 32..=1 << 20;
/// How long a passphrase may be, in bytes. An empty one is a mistake of whoever asked for it.
const PASSPHRASE: RangeInclusive<usize> = 1..=1 << 20;

/// Bytes that nobody may see: wiped when dropped, and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over. Copies made before (by a vector that grew, by a terminal) are the caller's to avoid.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What opens an encrypted store.
#[derive(Debug, Clone)]
pub enum Unlock {
    /// A passphrase: its bytes as they were typed, without the end of the line. 1 byte to 1 MiB.
    Passphrase(Secret),
    /// The bytes of a key file: 32 bytes to 1 MiB.
    KeyFile(Secret),
}

impl Unlock {
    /// Refuses what no slot was ever made with.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let (what, secret, range) = match self {
            Self::Passphrase(secret) => ("passphrase", secret, PASSPHRASE),
            Self::KeyFile(secret) => ("key file", secret, KEY_FILE),
        };
        let len = secret.bytes().len();
        if range.contains(&len) {
            return Ok(());
        }
        let why = format!("a {what} of {len} bytes; it must have {} to {}", range.start(), range.end());
        Err(StoreError::wrong_key(why))
    }
}

/// What an encrypted store's keys are derived from.
pub(crate) struct Master(Key);

impl Master {
    /// A new one.
    ///
    /// # Errors
    /// [`StoreError::Io`] where there are no random bytes.
    pub(crate) fn generate(entropy: &dyn Entropy) -> Result<Self, StoreError> {
        let mut key = Key::default();
        fill(entropy, &mut *key)?;
        Ok(Self(key))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Key::default();
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(..)")
    }
}

/// The keys of an encrypted store: one for names, one for data, one for records.
pub(crate) struct Keys {
    names: Key,
    data: XChaCha20Poly1305,
    records: XChaCha20Poly1305,
}

impl Keys {
    /// The keys of the store of that id.
    pub(crate) fn derive(master: &Master, store: &StoreId) -> Self {
        let subkey = |info: &[u8]| hkdf_sha256(store, &*master.0, info);
        Self {
            names: subkey(b"holdfast names 1"),
            data: cipher(&subkey(b"holdfast data 1")),
            records: cipher(&subkey(b"holdfast records 1")),
        }
    }

    pub(super) fn name(&self, id: &Digest) -> Digest {
        hmac_sha256(&*self.names, &id.0)
    }

    pub(super) fn cipher(&self, what: Kind) -> &XChaCha20Poly1305 {
        match what {
            Kind::Frame | Kind::Footer | Kind::Index => &self.data,
            Kind::Record => &self.records,
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// XChaCha20-Poly1305 under a key; it wipes its copy.
pub(super) fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&**key).into())
}

/// The first 32 bytes of HKDF-SHA256 (RFC 5869).
pub(super) fn hkdf_sha256(salt: &[u8], secret: &[u8], info: &[u8]) -> Key {
    let mut out = Key::default();
    Hkdf::<Sha256>::new(Some(salt), secret).expand(info, &mut *out).expect("32 bytes are within HKDF's 8160");
    out
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Digest {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    Digest(mac.finalize().into_bytes().into())
}

/// What deriving a key from a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// Memory in KiB.
    pub(super) memory_kib: u32,
    /// Passes over the memory.
    pub(super) passes: u32,
    /// Lanes of the memory. They are filled one after the other here.
    pub(super) lanes: u32,
}

impl Cost {
    /// As much memory as the rescue has to spare on a machine of 256 MiB.
    pub(super) const DEFAULT: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 1 };
    /// The least that is accepted.
    pub(super) const LEAST: Self = Self { memory_kib: 8 << 10, passes: 1, lanes: 1 };
    /// The most that is accepted: a slot comes from the store, which is hostile.
    pub(super) const MOST: Self = Self { memory_kib: 1 << 20, passes: 16, lanes: 4 };

    pub(super) fn is_bounded(self) -> bool {
        (Self::LEAST.memory_kib..=Self::MOST.memory_kib).contains(&self.memory_kib)
            && (Self::LEAST.passes..=Self::MOST.passes).contains(&self.passes)
            && (Self::LEAST.lanes..=Self::MOST.lanes).contains(&self.lanes)
    }
}

/// 32 bytes of Argon2id, version 0x13 (RFC 9106), without a secret or associated data.
///
/// # Errors
/// [`StoreError::Damaged`] where the cost is out of bounds; [`StoreError::Io`] where there is not so much memory.
pub(super) fn argon2id(passphrase: &[u8], salt: &[u8], cost: Cost) -> Result<Key, StoreError> {
    let Cost { memory_kib, passes, lanes } = cost;
    if !cost.is_bounded() {
        let what = format!("a key slot asks for {memory_kib} KiB of memory, {passes} passes and {lanes} lanes");
        return Err(StoreError::damaged(format!("{what}; that is out of bounds")));
    }
    let failed = |e: argon2::Error| StoreError::misuse(format!("Argon2id refuses bounded parameters: {e}"));
    let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(failed)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    // Memory of our own: the crate's is not wiped.
    let mut memory = Zeroizing::new(Vec::new());
    let blocks = argon2.params().block_count();
    memory.try_reserve_exact(blocks).map_err(|_| {
        StoreError::io(format!("the passphrase needs {memory_kib} KiB of memory, and the system does not give them"))
    })?;
    memory.resize(blocks, Block::new());
    let mut key = Key::default();
    argon2.hash_password_into_with_memory(passphrase, salt, &mut *key, memory.as_mut_slice()).map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Seeded, bytes};
    use super::*;
    use argon2::{AssociatedData, ParamsBuilder};

    #[test]
    fn the_vector_of_hkdf() {
        // RFC 5869, A.1: the first 32 of its 42 bytes (expansion goes in blocks of 32).
        let key = hkdf_sha256(&bytes("000102030405060708090a0b0c"), &[0x0b; 22], &bytes("f0f1f2f3f4f5f6f7f8f9"));
        assert_eq!(key.to_vec(), bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"));
    }

    #[test]
    fn the_vector_of_hmac() {
        // RFC 4231, 4.3.
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac.to_string(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn the_vectors_of_argon2id() {
        // RFC 9106, 5.3. It has a secret and associated data, and less memory than we accept.
        let mut params = ParamsBuilder::new();
        params.m_cost(32).t_cost(3).p_cost(4).data(AssociatedData::new(&[4; 12]).unwrap());
        let params = params.build().unwrap();
        let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
        let mut memory = vec![Block::new(); argon2.params().block_count()];
        let mut tag = [0; 32];
        argon2.hash_password_into_with_memory(&[1; 32], &[2; 16], &mut tag, memory.as_mut_slice()).unwrap();
        assert_eq!(tag.to_vec(), bytes("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"));
        // The reference implementation's own test (src/test.c), which has neither.
        let key = argon2id(b"password", b"somesalt", Cost { memory_kib: 65536, passes: 2, lanes: 1 }).unwrap();
        assert_eq!(key.to_vec(), bytes("09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"));
    }

    #[test]
    fn costs_are_bounded_on_both_sides() {
        for good in [Cost::LEAST, Cost::DEFAULT, Cost::MOST] {
            assert!(good.is_bounded(), "{good:?}");
        }
        let (least, most) = (Cost::LEAST, Cost::MOST);
        for bad in [
            Cost { memory_kib: least.memory_kib - 1, ..least },
            Cost { memory_kib: most.memory_kib + 1, ..most },
            Cost { memory_kib: u32::MAX, ..least },
            Cost { passes: 0, ..least },
            Cost { passes: 17, ..least },
            Cost { lanes: 0, ..least },
            Cost { lanes: 5, ..most },
        ] {
            assert!(!bad.is_bounded(), "{bad:?}");
            assert!(matches!(argon2id(b"x", &[0; 16], bad), Err(StoreError::Damaged { .. })), "{bad:?}");
        }
    }

    #[test]
    fn keys_differ_by_use() {
        let keys = Keys::derive(&Master::generate(&Seeded::new(1)).unwrap(), &[7; 16]);
        let sealed = super::super::aead::seal(&keys.data, b"", b"plain", &Seeded::new(2)).unwrap();
        assert!(super::super::aead::open(&keys.records, b"", sealed.clone()).is_none());
        assert!(super::super::aead::open(&cipher(&keys.names), b"", sealed.clone()).is_none());
        assert!(super::super::aead::open(&keys.data, b"", sealed).is_some());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let master = Master::generate(&Seeded::new(1)).unwrap();
        let keys = Keys::derive(&master, &[7; 16]);
        let unlock = Unlock::Passphrase(Secret::new(b"hunter2".to_vec()));
        assert_eq!(
            format!("{master:?} {unlock:?} {:?}", super::super::Seal::Sealed(keys.into())),
            "Master(..) Passphrase(Secret(..)) Sealed(Keys(..))"
        );
    }

    #[test]
    fn lengths_of_secrets_are_bounded() {
        let check = |unlock: fn(Secret) -> Unlock, len| unlock(Secret::new(vec![b'x'; len])).check();
        for len in [1, 1 << 20] {
            assert_eq!(check(Unlock::Passphrase, len), Ok(()));
        }
        for len in [32, 1 << 20] {
            assert_eq!(check(Unlock::KeyFile, len), Ok(()));
        }
        for (unlock, len) in [(Unlock::Passphrase as fn(Secret) -> Unlock, 0), (Unlock::Passphrase, (1 << 20) + 1)] {
            assert!(matches!(check(unlock, len), Err(StoreError::WrongKey { .. })), "{len}");
        }
        for len in [0, 31, (1 << 20) + 1] {
            assert!(matches!(check(Unlock::KeyFile, len), Err(StoreError::WrongKey { .. })), "{len}");
        }
    }
}
