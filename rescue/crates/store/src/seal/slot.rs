//! Key slots: the master key, wrapped so that a passphrase or a key file gives it back (docs/store-format.md, "Encryption").

use super::aead::{self, OVERHEAD};
use super::keys::{Cost, Key, Master, Unlock, argon2id, cipher, hkdf_sha256};
use super::{StoreId, random};
use crate::error::StoreError;
use model::hex;
use model::id::Digest;
use model::ports::Entropy;
use model::text::DisplayText;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The format of slots.
const FORMAT: u32 = 1;
/// No valid slot is longer, in bytes.
pub(crate) const MAX_SLOT: u64 = 8192;
/// Bytes of a wrapped master key.
const WRAPPED: usize = 32 + OVERHEAD;

/// What every version's slot has.
#[derive(Deserialize)]
struct Probe {
    format: u32,
}

/// One way to open an encrypted store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slot {
    format: u32,
    #[serde(with = "model::hex")]
    id: [u8; 16],
    label: DisplayText,
    by: By,
    #[serde(with = "model::hex")]
    wrapped: [u8; WRAPPED],
}

/// Where the wrapping key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum By {
    /// Argon2id of a passphrase.
    Passphrase {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        #[serde(with = "model::hex")]
        salt: [u8; 16],
    },
    /// HKDF-SHA256 of a file's bytes.
    KeyFile {
        #[serde(with = "model::hex")]
        salt: [u8; 16],
    },
}

impl By {
    fn new(with: &Unlock, cost: Cost, entropy: &dyn Entropy) -> Result<Self, StoreError> {
        let salt = random(entropy)?;
        let Cost { memory_kib, passes, lanes } = cost;
        Ok(match with {
            Unlock::Passphrase(_) => Self::Passphrase { memory_kib, passes, lanes, salt },
            Unlock::KeyFile(_) => Self::KeyFile { salt },
        })
    }

    fn cost(&self) -> Option<Cost> {
        match *self {
            Self::Passphrase { memory_kib, passes, lanes, .. } => Some(Cost { memory_kib, passes, lanes }),
            Self::KeyFile { .. } => None,
        }
    }

    /// The wrapping key; `None` where the slot takes the other kind of secret.
    fn key(&self, with: &Unlock) -> Result<Option<Key>, StoreError> {
        match (self, with) {
            (Self::Passphrase { memory_kib, passes, lanes, salt }, Unlock::Passphrase(secret)) => {
                let cost = Cost { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
                argon2id(secret.bytes(), salt, cost).map(Some)
            }
            (Self::KeyFile { salt }, Unlock::KeyFile(secret)) => {
                Ok(Some(hkdf_sha256(salt, secret.bytes(), b"holdfast key file 1")))
            }
            _ => Ok(None),
        }
    }
}

impl Slot {
    /// The bytes of a new slot, to be put under `keys/` and their hash. Whoever has what `with` holds gets `master` from it.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] where `with` is too short or too long; [`StoreError::Misuse`] where the label makes the slot
    /// longer than [`MAX_SLOT`]; [`StoreError::Io`] where there are no random bytes or not enough memory.
    pub(crate) fn create(
        master: &Master,
        store: &StoreId,
        with: &Unlock,
        label: &str,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        Self::create_at(Cost::DEFAULT, master, store, with, label, entropy)
    }

    fn create_at(
        cost: Cost,
        master: &Master,
        store: &StoreId,
        with: &Unlock,
        label: &str,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        with.check()?;
        let by = By::new(with, cost, entropy)?;
        let key = by.key(with)?.expect("made for this kind of secret");
        let (id, label) = (random(entropy)?, DisplayText::new(label));
        let wrapped = aead::seal(&cipher(&key), &associated(store, &id, &label), master.bytes(), entropy)?;
        let wrapped = wrapped.try_into().expect("32 bytes, sealed");
        let slot = Self { format: FORMAT, id, label, by, wrapped };
        let mut bytes = serde_json::to_vec_pretty(&slot).expect("strings and numbers always encode");
        bytes.push(b'\n');
        if bytes.len() as u64 > MAX_SLOT {
            return Err(StoreError::misuse(format!("a key slot of {} bytes; the most is {MAX_SLOT}", bytes.len())));
        }
        Ok(bytes)
    }

    /// The slot that lies under this name. Takes no more memory than `bytes` has, whatever they say.
    ///
    /// # Errors
    /// [`StoreError::Newer`]; [`StoreError::Damaged`] for bytes that are not those of the name, or that break any rule of a
    /// slot.
    pub(crate) fn decode(name: &Digest, bytes: &[u8]) -> Result<Self, StoreError> {
        let bad = |why: String| StoreError::damaged(format!("key slot {}: {why}", name.short(12)));
        if bytes.len() as u64 > MAX_SLOT {
            return Err(bad(format!("{} bytes; the most is {MAX_SLOT}", bytes.len())));
        }
        if Digest::of(bytes) != *name {
            return Err(bad("its bytes are not those of its name".to_owned()));
        }
        let probe: Probe = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if probe.format > FORMAT {
            return Err(StoreError::Newer { found: probe.format });
        }
        if probe.format < FORMAT {
            return Err(bad(format!("it has format {}", probe.format)));
        }
        let slot: Self = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if let Some(cost) = slot.by.cost().filter(|c| !c.is_bounded()) {
            return Err(bad(format!("{cost:?} is out of bounds")));
        }
        Ok(slot)
    }

    /// What people call it by: 32 random hexadecimal digits. Proven, with the label, once the slot has opened.
    pub(crate) fn id(&self) -> String {
        hex::encode(&self.id)
    }

    /// What whoever made it says that it is.
    pub(crate) fn label(&self) -> &DisplayText {
        &self.label
    }

    /// The master key. For a passphrase it takes the memory and the time that the slot says.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] where it does not open with this; [`StoreError::Io`] where there is not enough memory.
    pub(crate) fn unlock(&self, store: &StoreId, with: &Unlock) -> Result<Master, StoreError> {
        with.check()?;
        let wrong = || StoreError::wrong_key(format!("key slot {:?} does not open with this", self.label));
        let key = self.by.key(with)?.ok_or_else(wrong)?;
        let opened = aead::open(&cipher(&key), &associated(store, &self.id, &self.label), self.wrapped.to_vec())
            .map(Zeroizing::new);
        opened.and_then(|bytes| Master::from_bytes(&bytes)).ok_or_else(wrong)
    }
}

/// The master key from the first slot that opens.
///
/// # Errors
/// [`StoreError::WrongKey`] where none does; what else kept one of them from being tried, where that is so.
pub(crate) fn unlock(slots: &[Slot], store: &StoreId, with: &Unlock) -> Result<Master, StoreError> {
    with.check()?;
    let what = match with {
        Unlock::Passphrase(_) => "passphrase",
        Unlock::KeyFile(_) => "key file",
    };
    let mut failed = StoreError::wrong_key(format!("none of the store's key slots opens with this {what}"));
    for slot in slots {
        match slot.unlock(store, with) {
            Ok(master) => return Ok(master),
            Err(StoreError::WrongKey { .. }) => {}
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

/// What the wrapped key is bound to: the store, and what people call the slot by, so that nobody has the wrong one removed.
fn associated(store: &StoreId, id: &[u8; 16], label: &DisplayText) -> Vec<u8> {
    [b"holdfast key 1", &store[..], id, label.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::keys::Keys;
    use super::super::testing::{Broken, Fixed, Seeded, bytes};
    use super::super::{Kind, Seal, Secret};
    use super::*;
    use std::sync::Arc;

    const STORE: StoreId = *b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf";

    fn passphrase(text: &str) -> Unlock {
        Unlock::Passphrase(Secret::new(text.into()))
    }

    fn key_file(byte: u8) -> Unlock {
        Unlock::KeyFile(Secret::new(vec![byte; 32]))
    }

    fn master() -> Master {
        Master::from_bytes(&std::array::from_fn::<u8, 32, _>(|i| u8::try_from(i).unwrap())).unwrap()
    }

    /// A slot at the least cost, decoded.
    fn slot(with: &Unlock, seed: u64) -> (Slot, Vec<u8>) {
        let bytes = Slot::create_at(Cost::LEAST, &master(), &STORE, with, "a label", &Seeded::new(seed)).unwrap();
        (decode(&bytes).unwrap(), bytes)
    }

    /// Under the name that the bytes have, as somebody who can write to the store would put them.
    fn decode(bytes: &[u8]) -> Result<Slot, StoreError> {
        Slot::decode(&Digest::of(bytes), bytes)
    }

    fn is_wrong(result: Result<Master, StoreError>) -> bool {
        matches!(result, Err(StoreError::WrongKey { .. }))
    }

    #[test]
    fn the_master_key_comes_back() {
        for with in [passphrase("correct horse"), key_file(1)] {
            let (slot, bytes) = slot(&with, 1);
            assert_eq!(slot.unlock(&STORE, &with).unwrap().bytes(), master().bytes());
            assert_eq!((slot.label().as_str(), slot.id().len()), ("a label", 32));
            assert!(bytes.starts_with(b"{\n  \"format\": 1,\n  \"id\": \"") && bytes.ends_with(b"\n}\n"));
            for other in [passphrase("correct horse "), passphrase("Correct horse"), key_file(2)] {
                assert!(is_wrong(slot.unlock(&STORE, &other)));
            }
            assert!(is_wrong(slot.unlock(&[0; 16], &with)), "of another store");
        }
        // The same bytes are not the same secret.
        let (slot, _) = slot(&key_file(b'x'), 1);
        assert!(is_wrong(slot.unlock(&STORE, &passphrase(&"x".repeat(32)))));
    }

    #[test]
    fn what_another_program_wrote_opens() {
        // Made with Python's `cryptography` (OpenSSL's Argon2id, HKDF and ChaCha20-Poly1305, HChaCha20 by hand) from the
        // format's document: master key 00 01 02 .., salt c0 c1 c2 .., nonce 10 11 12 ...
        let json = |by: &str, wrapped: &str| {
            let id = "00".repeat(16);
            let salt = "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf";
            format!(
                r#"{{"format": 1, "id": "{id}", "label": "é", "by": {{{by}, "salt": "{salt}"}}, "wrapped": "{wrapped}"}}"#
            )
        };
        let by_passphrase = json(
            r#""type": "passphrase", "memory_kib": 8192, "passes": 2, "lanes": 3"#,
            "101112131415161718191a1b1c1d1e1f202122232425262730b312304afb05242ccb3c91293a62f0adaf4f4e5f3d5424b9bd4fb575b6efa6\
             64e649c30f6dd33699ede8ef53f78a74",
        );
        let by_key_file = json(
            r#""type": "key_file""#,
            "101112131415161718191a1b1c1d1e1f2021222324252627e3cad10ce749d73cfa404b891409e7caff86f8bb2d40484f67ffd020374886c2\
             6454d173bbb2bba934930a3bc2e59e0b",
        );
        let file = Unlock::KeyFile(Secret::new((0x40..0x60).collect()));
        for (slot, with) in [(by_passphrase, passphrase("correct horse")), (by_key_file, file)] {
            let unlocked = decode(slot.as_bytes()).unwrap().unlock(&STORE, &with).unwrap();
            assert_eq!(unlocked.bytes(), master().bytes());
        }

        let seal = Seal::Sealed(Arc::new(Keys::derive(&master(), &STORE)));
        let name = seal.name(&Digest::of(b"id"));
        assert_eq!(name.to_string(), "f215c99679ee33ee180f6474f45ebdb50ecac993d151ec6bc8a6f27a88e5a9d9");
        let nonce = "101112131415161718191a1b1c1d1e1f2021222324252627";
        for (what, bound, sealed) in [
            (Kind::Frame, &b"\x05\0\0\0"[..], "7c39a0655c3baf4f1d5d3493578753bb376e54c6e6"),
            (Kind::Footer, b"", "7c39a0655cfad5c8904492f08975f82c8e4ae19008"),
            (Kind::Index, b"\x01\0\0\0", "7c39a0655c6b4aa74e28be3a2bfa777eaf490ead1f"),
            (Kind::Record, b"\x01", "10f365df299537027008251d18ae078e00b3a47970"),
        ] {
            let ours = seal.seal(what, bound, b"plain", &Fixed(bytes(nonce))).unwrap();
            assert_eq!(ours, bytes(&format!("{nonce}{sealed}")), "{what:?}");
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for with in [passphrase("correct horse"), key_file(1)] {
            let (good, bytes) = slot(&with, 1);
            let name = Digest::of(&bytes);
            // Every bit for a key file; one of each byte for a passphrase, which takes its time.
            let bits = if good.by.cost().is_some() { 1 } else { 8 };
            for at in 0..bytes.len() {
                for bit in 0..bits {
                    let mut bad = bytes.clone();
                    bad[at] ^= 1 << bit;
                    assert!(
                        matches!(Slot::decode(&name, &bad), Err(StoreError::Damaged { .. })),
                        "byte {at} bit {bit}"
                    );
                    // And under a name that fits. White space is nobody's business.
                    let Ok(slot) = decode(&bad) else { continue };
                    if slot != good {
                        assert!(is_wrong(slot.unlock(&STORE, &with)), "byte {at} bit {bit}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_slot_is_bounded() {
        let (_, bytes) = slot(&passphrase("x"), 1);
        let text = String::from_utf8(bytes).unwrap();
        let hostile = [
            ("\"memory_kib\": 8192", "\"memory_kib\": 8191"),
            ("\"memory_kib\": 8192", "\"memory_kib\": 1048577"),
            ("\"memory_kib\": 8192", "\"memory_kib\": 4294967295"),
            ("\"memory_kib\": 8192", "\"memory_kib\": 4294967296"),
            ("\"memory_kib\": 8192", "\"memory_kib\": -1"),
            ("\"memory_kib\": 8192", "\"memory_kib\": 8192.0"),
            ("\"passes\": 1", "\"passes\": 0"),
            ("\"passes\": 1", "\"passes\": 17"),
            ("\"lanes\": 1", "\"lanes\": 0"),
            ("\"lanes\": 1", "\"lanes\": 5"),
            ("\"lanes\": 1", "\"lanes\": 1, \"lanes\": 1"),
            ("\"lanes\": 1", "\"lanes\": 1, \"more\": 1"),
            ("\"lanes\": 1,", ""),
            ("\"salt\": \"", "\"salt\": \"00"),
            ("\"wrapped\": \"", "\"wrapped\": \"00"),
            ("\"type\": \"passphrase\"", "\"type\": \"key_file\""),
            ("\"type\": \"passphrase\"", "\"type\": \"tpm\""),
            ("\"format\": 1", "\"format\": 0"),
            ("\"format\": 1", "\"format\": 1, \"more\": 1"),
        ];
        for (from, to) in hostile {
            assert!(text.contains(from), "{from}");
            let bad = text.replace(from, to);
            assert!(matches!(decode(bad.as_bytes()), Err(StoreError::Damaged { .. })), "{to}");
        }
        let newer = br#"{"format": 2, "id": 5, "what": ["else"]}"#;
        assert_eq!(decode(newer), Err(StoreError::Newer { found: 2 }));
        let long = text.replace("a label", &"x".repeat(8192));
        assert!(decode(long.as_bytes()).unwrap_err().to_string().contains("the most is 8192"));
        for bad in [&b""[..], b"{}", b"[]", b"null", b"\xff", &[b'['; 8192]] {
            assert!(matches!(decode(bad), Err(StoreError::Damaged { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_label_reaches_no_terminal_unescaped() {
        let (_, bytes) = slot(&key_file(1), 1);
        let text = String::from_utf8(bytes).unwrap().replace("a label", "\\u001b[2J");
        assert_eq!(decode(text.as_bytes()).unwrap().label().as_str(), "\\u{1b}[2J");
    }

    #[test]
    fn bad_secrets_and_labels_make_no_slot() {
        let create = |with: &Unlock, label: &str, entropy: &dyn Entropy| {
            Slot::create_at(Cost::LEAST, &master(), &STORE, with, label, entropy)
        };
        let entropy = Seeded::new(1);
        for with in [passphrase(""), Unlock::KeyFile(Secret::new(vec![0; 31]))] {
            assert!(matches!(create(&with, "", &entropy), Err(StoreError::WrongKey { .. })));
        }
        assert!(matches!(create(&key_file(1), &"x".repeat(8192), &entropy), Err(StoreError::Misuse { .. })));
        assert!(matches!(create(&key_file(1), "", &Broken), Err(StoreError::Io { .. })));
    }

    #[test]
    fn any_slot_opens_the_store() {
        let by_file = slot(&key_file(1), 1).0;
        let by_passphrase = slot(&passphrase("new"), 2).0;
        let mut hostile = slot(&passphrase("new"), 3).0;
        let By::Passphrase { passes, .. } = &mut hostile.by else { panic!("made for a passphrase") };
        *passes = u32::MAX;
        let slots = [hostile, by_file, by_passphrase];
        for with in [key_file(1), passphrase("new")] {
            assert_eq!(unlock(&slots, &STORE, &with).unwrap().bytes(), master().bytes());
        }
        let error = unlock(&slots[1..], &STORE, &passphrase("old")).unwrap_err();
        assert_eq!(error, StoreError::wrong_key("none of the store's key slots opens with this passphrase"));
        assert_eq!(error.failure().code.number(), 4);
        assert!(is_wrong(unlock(&[], &STORE, &key_file(1))));
        assert!(matches!(unlock(&slots, &STORE, &passphrase("old")), Err(StoreError::Damaged { .. })), "not tried");
    }

    #[test]
    fn two_slots_share_nothing() {
        let entropy = Seeded::new(1);
        let [a, b] = [(); 2].map(|()| {
            decode(&Slot::create_at(Cost::LEAST, &master(), &STORE, &key_file(1), "", &entropy).unwrap()).unwrap()
        });
        assert!(a.id != b.id && a.by != b.by && a.wrapped != b.wrapped);
    }

    #[test]
    fn a_new_passphrase_costs_what_the_format_recommends() {
        let bytes = Slot::create(&master(), &STORE, &passphrase("x"), "", &Seeded::new(1)).unwrap();
        let slot = decode(&bytes).unwrap();
        assert_eq!(slot.by.cost(), Some(Cost { memory_kib: 65536, passes: 3, lanes: 1 }));
        assert_eq!(slot.unlock(&STORE, &passphrase("x")).unwrap().bytes(), master().bytes());
    }
}
