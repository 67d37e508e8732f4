//! What the header of a LUKS volume says: where its encrypted bytes lie, how they are encrypted, and what opens it.
//!
//! A parser reads it, and whoever uses it looks at it again: [`LuksHeader::is_sound`]. There is nothing secret in it.

use crate::id::Digest;
use crate::text::DisplayText;
use crate::units::{ByteLen, ByteOffset, Extent};
use serde::{Deserialize, Serialize};

/// Most key slots: LUKS2 has at most 32, LUKS1 eight (LUKS2 On-Disk Format 1.1.1, section 3.2; cryptsetup `luks2.h`).
pub const MOST_SLOTS: usize = 32;
/// Longest volume key in bytes: of AES-256 in XTS.
pub const LONGEST_KEY: usize = 64;
/// Most stripes that a key may be split into; every tool writes 4000.
const MOST_STRIPES: u32 = 4000;
/// Longest salt, and longest digest of a key, in bytes.
const LONGEST_SALT: usize = 64;
/// Most rounds of PBKDF2: minutes of work here, where cryptsetup chooses some millions.
pub const MOST_ROUNDS: u32 = 500_000_000;
/// Most passes and lanes of Argon2.
pub const MOST_PASSES: u32 = 4096;
/// See [`MOST_PASSES`].
pub const MOST_LANES: u32 = 16;

/// A hash function that keys are derived and split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// SHA-1: of old LUKS1 headers.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// By the name that headers give it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// How sectors are encrypted (kernel `drivers/md/dm-crypt.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cipher {
    /// `aes-xts-plain64`: a key of 32 or 64 bytes. Every 16 bytes are encrypted by themselves.
    AesXts,
    /// `aes-cbc-essiv:sha256`: a key of 16, 24 or 32 bytes. Within a sector, bytes depend on all before them.
    AesCbcEssiv,
}

impl Cipher {
    /// By the name that headers give it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "aes-xts-plain64" => Some(Self::AesXts),
            "aes-cbc-essiv:sha256" => Some(Self::AesCbcEssiv),
            _ => None,
        }
    }

    /// The name that headers give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesXts => "aes-xts-plain64",
            Self::AesCbcEssiv => "aes-cbc-essiv:sha256",
        }
    }

    /// True for a length of a key, in bytes, that it takes.
    pub fn takes(self, key: usize) -> bool {
        match self {
            Self::AesXts => matches!(key, 32 | 64),
            Self::AesCbcEssiv => matches!(key, 16 | 24 | 32),
        }
    }
}

/// What makes a key of a passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Kdf {
    /// PBKDF2 (RFC 8018).
    Pbkdf2 {
        /// Of HMAC with this hash.
        hash: Hash,
        /// So many rounds.
        rounds: u32,
        /// The salt.
        salt: Vec<u8>,
    },
    /// Argon2, version 0x13 (RFC 9106).
    Argon2 {
        /// Argon2id, else Argon2i.
        id: bool,
        /// So many passes over the memory.
        passes: u32,
        /// The memory, in KiB.
        memory_kib: u32,
        /// So many lanes.
        lanes: u32,
        /// The salt.
        salt: Vec<u8>,
    },
}

impl Kdf {
    fn is_sound(&self) -> bool {
        match self {
            Self::Pbkdf2 { rounds, salt, .. } => (1..=MOST_ROUNDS).contains(rounds) && salt.len() <= LONGEST_SALT,
            Self::Argon2 { passes, memory_kib, lanes, salt, .. } => {
                (1..=MOST_PASSES).contains(passes)
                    && (1..=MOST_LANES).contains(lanes)
                    && *memory_kib >= 8 * lanes
                    && (8..=LONGEST_SALT).contains(&salt.len())
            }
        }
    }
}

/// One of the places that hold the volume key, each under another passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySlot {
    /// Its number in the header.
    pub number: u32,
    /// What makes of a passphrase the key of its area.
    pub kdf: Kdf,
    /// Bytes of the volume with the key in it, split and encrypted.
    pub area: Extent,
    /// How these are encrypted, in sectors of 512 bytes numbered from 0 on.
    pub cipher: Cipher,
    /// Bytes of the key of the area.
    pub area_key: u32,
    /// Bytes of the volume key.
    pub key: u32,
    /// Into so many parts the volume key is split.
    pub stripes: u32,
    /// With this hash.
    pub split_by: Hash,
    /// Which of [`LuksHeader::digests`] knows the key that it holds.
    pub digest: usize,
}

/// What a volume key is known again by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDigest {
    /// PBKDF2 of HMAC with this hash.
    pub hash: Hash,
    /// So many rounds.
    pub rounds: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// What comes of it.
    pub value: Vec<u8>,
}

/// The header of a LUKS volume that can be opened here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LuksHeader {
    /// Its UUID, as it is written there.
    pub uuid: String,
    /// How the volume is encrypted.
    pub cipher: Cipher,
    /// Bytes that are encrypted together: 512 to 4096.
    pub sector: u32,
    /// The encrypted bytes of the volume.
    pub payload: Extent,
    /// The number of the first sector, counted in 512 bytes (`iv_tweak`).
    pub tweak: u64,
    /// What may open it.
    pub slots: Vec<KeySlot>,
    /// What the volume key is known by.
    pub digests: Vec<KeyDigest>,
    /// Key slots that cannot be used here, a sentence each.
    pub unusable: Vec<DisplayText>,
}

impl LuksHeader {
    /// What it is known again by, where its volume key and its layout are the same: a digest of all but the key slots, which a change of
    /// passphrases changes.
    pub fn identity(&self) -> Digest {
        let mut text = format!("{}\n{}\n{}\n", self.uuid, self.cipher.name(), self.sector).into_bytes();
        for number in [self.payload.start().0, self.payload.len().0, self.tweak] {
            text.extend_from_slice(&number.to_le_bytes());
        }
        for digest in &self.digests {
            text.extend_from_slice(&(digest.salt.len() as u64).to_le_bytes());
            text.extend_from_slice(&digest.salt);
            text.extend_from_slice(&digest.value);
        }
        Digest::of(&text)
    }

    /// True where it is the header of a volume of that length: bounded, and all that it names lies where it can.
    pub fn is_sound(&self, len: ByteLen) -> bool {
        let whole = Extent::whole(len);
        let sector = u64::from(self.sector);
        let layout = matches!(self.sector, 512 | 1024 | 2048 | 4096)
            && whole.contains(self.payload)
            && !self.payload.is_empty()
            && self.payload.start().0.is_multiple_of(512)
            && self.payload.len().0.is_multiple_of(sector)
            && self.tweak.checked_add(self.payload.len().0 / 512).is_some()
            && self.payload.len().0.checked_add(self.tweak.saturating_mul(512)).is_some()
            && (self.cipher == Cipher::AesXts || self.sector == 512);
        let slot = |s: &KeySlot| {
            let split = u64::from(s.key) * u64::from(s.stripes);
            let key = |n: u32, cipher: Cipher| usize::try_from(n).is_ok_and(|n| cipher.takes(n));
            s.kdf.is_sound()
                && key(s.key, self.cipher)
                && key(s.area_key, s.cipher)
                && (1..=MOST_STRIPES).contains(&s.stripes)
                && s.area.len().0 >= split.next_multiple_of(512)
                && s.area.end() <= self.payload.start()
                && s.digest < self.digests.len()
        };
        let digest = |d: &KeyDigest| {
            (1..=MOST_ROUNDS).contains(&d.rounds)
                && d.salt.len() <= LONGEST_SALT
                && (16..=LONGEST_SALT).contains(&d.value.len())
        };
        layout
            && (1..=64).contains(&self.uuid.len())
            && self.slots.len() <= MOST_SLOTS
            && (1..=MOST_SLOTS).contains(&self.digests.len())
            && self.unusable.len() <= MOST_SLOTS
            && self.unusable.iter().all(|u| u.as_str().len() <= 1024)
            && self.slots.iter().all(slot)
            && self.digests.iter().all(digest)
    }
}

/// Bytes of a volume that lie encrypted on another, and what is needed to read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// [`LuksHeader::identity`] of its header.
    pub header: Digest,
    /// How they are encrypted.
    pub cipher: Cipher,
    /// Bytes that are encrypted together.
    pub sector: u32,
    /// Where they lie, in order of place. Nothing else of the volume beneath is of the encrypted one.
    pub runs: Vec<SealedRun>,
}

/// Bytes that follow each other, on the volume beneath and in the encrypted one; whole sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedRun {
    /// Bytes of the volume beneath.
    pub at: Extent,
    /// What the first of them counts as for the cipher: its byte in the encrypted volume, with the header's tweak.
    pub counts: ByteOffset,
}

impl Sealed {
    /// The run that holds a byte of the volume beneath, and how many of its bytes are before that one.
    pub fn run(&self, at: ByteOffset) -> Option<(&SealedRun, u64)> {
        let n = self.runs.partition_point(|r| r.at.start() <= at).checked_sub(1)?;
        let run = self.runs.get(n).filter(|r| at < r.at.end())?;
        Some((run, at.0 - run.at.start().0))
    }

    /// True where every byte of a range is one of them.
    pub fn holds(&self, range: Extent) -> bool {
        let mut at = range.start();
        while at < range.end() {
            let Some((run, _)) = self.run(at) else { return false };
            at = run.at.end();
        }
        true
    }

    /// True where it holds together on a volume of that length: in order, within it, in whole sectors.
    pub fn is_sound(&self, len: ByteLen) -> bool {
        let sector = u64::from(self.sector);
        let whole = Extent::whole(len);
        let run = |r: &SealedRun| {
            whole.contains(r.at)
                && !r.at.is_empty()
                && r.at.start().0.is_multiple_of(512)
                && r.at.len().0.is_multiple_of(sector)
                && r.counts.0.is_multiple_of(512)
                && r.counts.checked_add(r.at.len()).is_some()
        };
        matches!(self.sector, 512 | 1024 | 2048 | 4096)
            && (1..=crate::mapping::MOST_SEGMENTS).contains(&self.runs.len())
            && self.runs.iter().all(run)
            && self.runs.windows(2).all(|w| w[0].at.end() <= w[1].at.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> LuksHeader {
        let digest = KeyDigest { hash: Hash::Sha256, rounds: 1000, salt: vec![1; 32], value: vec![2; 32] };
        let slot = KeySlot {
            number: 0,
            kdf: Kdf::Argon2 { id: true, passes: 4, memory_kib: 1 << 20, lanes: 4, salt: vec![3; 32] },
            area: Extent::between(32768, 32768 + 258_048).expect("ordered"),
            cipher: Cipher::AesXts,
            area_key: 64,
            key: 64,
            stripes: 4000,
            split_by: Hash::Sha256,
            digest: 0,
        };
        LuksHeader {
            uuid: "1a9bfc6d-6aa8-4e54-b245-63398a60e1c9".into(),
            cipher: Cipher::AesXts,
            sector: 4096,
            payload: Extent::between(1 << 24, 1 << 26).expect("ordered"),
            tweak: 0,
            slots: vec![slot],
            digests: vec![digest],
            unusable: Vec::new(),
        }
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let len = ByteLen(1 << 26);
        assert!(header().is_sound(len));
        let unsound: [fn(&mut LuksHeader); 13] = [
            |h| h.sector = 768,
            |h| h.payload = Extent::between(1 << 24, (1 << 26) + 4096).expect("ordered"),
            |h| h.payload = Extent::between(1 << 24, (1 << 25) + 512).expect("ordered"),
            |h| h.tweak = u64::MAX,
            |h| h.cipher = Cipher::AesCbcEssiv,
            |h| h.uuid.clear(),
            |h| h.digests.clear(),
            |h| h.slots[0].digest = 1,
            |h| h.slots[0].stripes = 4001,
            |h| h.slots[0].key = 48,
            |h| h.slots[0].area = Extent::between((1 << 24) - 512, (1 << 24) + 300_000).expect("ordered"),
            |h| h.slots[0].kdf = Kdf::Pbkdf2 { hash: Hash::Sha1, rounds: u32::MAX, salt: Vec::new() },
            |h| h.slots = vec![h.slots[0].clone(); MOST_SLOTS + 1],
        ];
        for (n, change) in unsound.iter().enumerate() {
            let mut header = header();
            change(&mut header);
            assert!(!header.is_sound(len), "{n}");
        }
    }

    #[test]
    fn another_passphrase_is_the_same_volume_and_another_key_is_not() {
        let mut changed = header();
        changed.slots.clear();
        assert_eq!(changed.identity(), header().identity());
        changed.digests[0].value[0] ^= 1;
        assert_ne!(changed.identity(), header().identity());
    }

    #[test]
    fn runs_lead_to_their_places() {
        let run = |from, to, counts| SealedRun {
            at: Extent::between(from, to).expect("ordered"),
            counts: ByteOffset(counts),
        };
        let sealed = Sealed {
            header: Digest([0; 32]),
            cipher: Cipher::AesXts,
            sector: 512,
            runs: vec![run(1024, 2048, 0), run(2048, 4096, 8192), run(8192, 9216, 1024)],
        };
        assert!(sealed.is_sound(ByteLen(9216)) && !sealed.is_sound(ByteLen(9215)));
        let at = |at| sealed.run(ByteOffset(at)).map(|(run, into)| (run.counts.0, into));
        assert_eq!((at(1023), at(1024), at(1536), at(2048)), (None, Some((0, 0)), Some((0, 512)), Some((8192, 0))));
        assert_eq!((at(4096), at(9215), at(9216)), (None, Some((1024, 1023)), None));
        let holds = |from, to| sealed.holds(Extent::between(from, to).expect("ordered"));
        assert!(holds(1024, 4096) && holds(8192, 9216) && !holds(1000, 2000) && !holds(3000, 9000));
    }
}
