//! Key slots: from a passphrase to the volume key.
//!
//! What is asked for comes from a disk, so it is bounded by what this machine has: a slot that wants more memory than there is is passed
//! over, and that is said.

use super::cipher::{Key, keyed};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use model::luks::{Hash, Kdf, KeyDigest, KeySlot, LuksHeader};
use model::ports::{ReadAt, ReadError};
use model::units::{ByteLen, ByteOffset};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

/// After so many rounds it is looked whether somebody wants it to stop.
const GLANCE: u32 = 1 << 12;

/// What an attempt may cost, and who watches it.
pub struct Attempt<'a> {
    /// The most memory that a key slot may take.
    pub memory: ByteLen,
    /// False once it is to stop.
    pub going: &'a dyn Fn() -> bool,
    /// Told of each slot before it is tried: its number, how many there are.
    pub trying: &'a dyn Fn(u32, usize),
}

/// A volume key, and the slot that held it.
#[derive(Debug)]
pub struct Opened {
    /// The key.
    pub key: Key,
    /// The slot.
    pub slot: u32,
}

/// Why nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No slot that was tried holds the key under this passphrase; the sentences are about those that were not.
    #[error("no key slot is opened by it")]
    Wrong(Vec<String>),
    /// Somebody wanted it to stop.
    #[error("it was stopped")]
    Stopped,
    /// A key slot cannot be read.
    #[error(transparent)]
    Io(#[from] ReadError),
}

/// The volume key under a passphrase, or under the bytes of a key file. `bytes` is the volume as it lies on the disk; `header` is sound.
///
/// # Errors
/// [`Refused`].
pub fn open(
    header: &LuksHeader,
    bytes: &dyn ReadAt,
    passphrase: &[u8],
    attempt: &Attempt<'_>,
) -> Result<Opened, Refused> {
    let mut not_tried = header.unusable.iter().map(ToString::to_string).collect::<Vec<_>>();
    for slot in &header.slots {
        (attempt.trying)(slot.number, header.slots.len());
        match one(header, slot, bytes, passphrase, attempt)? {
            Tried::Opened(key) => return Ok(Opened { key, slot: slot.number }),
            Tried::Wrong => {}
            Tried::TooMuch(why) => not_tried.push(format!("key slot {} {why}", slot.number)),
        }
    }
    Err(Refused::Wrong(not_tried))
}

enum Tried {
    Opened(Key),
    Wrong,
    TooMuch(String),
}

fn one(
    header: &LuksHeader,
    slot: &KeySlot,
    bytes: &dyn ReadAt,
    passphrase: &[u8],
    attempt: &Attempt<'_>,
) -> Result<Tried, Refused> {
    let len = usize::try_from(slot.area_key).unwrap_or(0);
    let derived = match derive(&slot.kdf, passphrase, len, attempt)? {
        Ok(key) => key,
        Err(why) => return Ok(Tried::TooMuch(why)),
    };
    let Some(cipher) = keyed(slot.cipher, 512, &derived) else { return Ok(Tried::Wrong) };
    let (key, stripes) = (usize::try_from(slot.key).unwrap_or(0), usize::try_from(slot.stripes).unwrap_or(0));
    let split = key * stripes;
    let mut area = Zeroizing::new(vec![0; split.next_multiple_of(512)]);
    bytes.read_exact_at(slot.area.start(), &mut area)?;
    cipher.decrypt(ByteOffset(0), &mut area);
    let merged = merge(slot.split_by, area.get(..split).unwrap_or(&[]), key);
    let known = header.digests.get(slot.digest).map_or(Ok(false), |d| is_known(d, &merged, attempt))?;
    Ok(if known { Tried::Opened(merged) } else { Tried::Wrong })
}

/// True where a digest is of that key.
fn is_known(digest: &KeyDigest, key: &Key, attempt: &Attempt<'_>) -> Result<bool, Refused> {
    let KeyDigest { hash, rounds, salt, value } = digest;
    let found = pbkdf2(*hash, key.bytes(), salt, *rounds, value.len(), attempt)?;
    // Compared whole, whatever differs.
    Ok(found.bytes().iter().zip(value).fold(0, |all, (a, b)| all | (a ^ b)) == 0)
}

/// So many bytes of a passphrase; or why that takes too much.
fn derive(kdf: &Kdf, passphrase: &[u8], len: usize, attempt: &Attempt<'_>) -> Result<Result<Key, String>, Refused> {
    match kdf {
        Kdf::Pbkdf2 { hash, rounds, salt } => pbkdf2(*hash, passphrase, salt, *rounds, len, attempt).map(Ok),
        Kdf::Argon2 { id, passes, memory_kib, lanes, salt } => {
            if !(attempt.going)() {
                return Err(Refused::Stopped);
            }
            let wanted = ByteLen(u64::from(*memory_kib) << 10);
            if wanted > attempt.memory {
                return Ok(Err(format!("asks for {wanted} of memory, and {} can be spared here", attempt.memory)));
            }
            let algorithm = if *id { Algorithm::Argon2id } else { Algorithm::Argon2i };
            let refused = |e: argon2::Error| format!("asks for what Argon2 does not do ({e})");
            let params = match Params::new(*memory_kib, *passes, *lanes, Some(len)) {
                Ok(params) => params,
                Err(e) => return Ok(Err(refused(e))),
            };
            // Memory of our own: the crate's is not wiped.
            let mut memory = Zeroizing::new(Vec::new());
            let blocks = params.block_count();
            if memory.try_reserve_exact(blocks).is_err() {
                return Ok(Err(format!("asks for {wanted} of memory, which the system does not give")));
            }
            memory.resize(blocks, Block::new());
            let mut key = Key(Zeroizing::new(vec![0; len]));
            let argon2 = Argon2::new(algorithm, Version::V0x13, params);
            let done = argon2.hash_password_into_with_memory(passphrase, salt, &mut key.0, memory.as_mut_slice());
            Ok(done.map(|()| key).map_err(refused))
        }
    }
}

/// PBKDF2 of HMAC (RFC 8018, section 5.2), stopped when somebody wants that.
fn pbkdf2(
    hash: Hash,
    secret: &[u8],
    salt: &[u8],
    rounds: u32,
    len: usize,
    attempt: &Attempt<'_>,
) -> Result<Key, Refused> {
    match hash {
        Hash::Sha1 => pbkdf2_of::<Hmac<Sha1>>(secret, salt, rounds, len, attempt),
        Hash::Sha256 => pbkdf2_of::<Hmac<Sha256>>(secret, salt, rounds, len, attempt),
        Hash::Sha512 => pbkdf2_of::<Hmac<Sha512>>(secret, salt, rounds, len, attempt),
    }
}

fn pbkdf2_of<M: Mac + KeyInit + Clone>(
    secret: &[u8],
    salt: &[u8],
    rounds: u32,
    len: usize,
    attempt: &Attempt<'_>,
) -> Result<Key, Refused> {
    let keyed = <M as KeyInit>::new_from_slice(secret).expect("HMAC takes a key of any length");
    let mut out = Key(Zeroizing::new(vec![0; len]));
    for (number, part) in (1u32..).zip(out.0.chunks_mut(M::output_size())) {
        let mut first = keyed.clone();
        first.update(salt);
        first.update(&number.to_be_bytes());
        let mut last = first.finalize().into_bytes();
        let mut sum = Zeroizing::new(last.to_vec());
        for round in 1..rounds {
            if round % GLANCE == 0 && !(attempt.going)() {
                return Err(Refused::Stopped);
            }
            let mut next = keyed.clone();
            next.update(&last);
            last = next.finalize().into_bytes();
            sum.iter_mut().zip(&last).for_each(|(a, b)| *a ^= b);
        }
        let len = part.len();
        part.copy_from_slice(&sum[..len]);
    }
    Ok(out)
}

/// The key that was split into stripes so that all of them must be read (LUKS1 On-Disk Format, section 2.4; cryptsetup `lib/luks1/af.c`).
fn merge(hash: Hash, split: &[u8], key: usize) -> Key {
    let mut out = Key(Zeroizing::new(vec![0; key]));
    let stripes = split.chunks_exact(key.max(1));
    let last = stripes.len().saturating_sub(1);
    for (n, stripe) in stripes.enumerate() {
        out.0.iter_mut().zip(stripe).for_each(|(a, b)| *a ^= b);
        if n < last {
            match hash {
                Hash::Sha1 => diffuse::<Sha1>(&mut out.0),
                Hash::Sha256 => diffuse::<Sha256>(&mut out.0),
                Hash::Sha512 => diffuse::<Sha512>(&mut out.0),
            }
        }
    }
    out
}

/// Replaces each part of the hash's length by its hash, with its number before it.
fn diffuse<D: Digest>(bytes: &mut [u8]) {
    for (number, part) in (0u32..).zip(bytes.chunks_mut(<D as Digest>::output_size())) {
        let hashed = D::new().chain_update(number.to_be_bytes()).chain_update(&*part).finalize();
        let len = part.len();
        part.copy_from_slice(&hashed[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: Attempt<'static> = Attempt { memory: ByteLen(1 << 20), going: &|| true, trying: &|_, _| {} };

    #[test]
    fn the_vectors_of_pbkdf2() {
        // RFC 6070: HMAC-SHA1, 4096 rounds, 20 bytes; and 25 bytes, more than one block.
        let key = pbkdf2(Hash::Sha1, b"password", b"salt", 4096, 20, &ALWAYS).unwrap();
        assert_eq!(model::hex::encode(key.bytes()), "4b007901b765489abead49d926f721d065a429c1");
        let (secret, salt) = (b"passwordPASSWORDpassword", b"saltSALTsaltSALTsaltSALTsaltSALTsalt");
        let key = pbkdf2(Hash::Sha1, secret, salt, 4096, 25, &ALWAYS).unwrap();
        assert_eq!(model::hex::encode(key.bytes()), "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038");
        // RFC 7914, section 11: HMAC-SHA256, one round, 64 bytes.
        let key = pbkdf2(Hash::Sha256, b"passwd", b"salt", 1, 64, &ALWAYS).unwrap();
        assert!(
            model::hex::encode(key.bytes())
                .starts_with("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc")
        );
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        let stopped = Attempt { going: &|| false, ..ALWAYS };
        assert!(matches!(pbkdf2(Hash::Sha512, b"x", b"y", u32::MAX, 64, &stopped), Err(Refused::Stopped)));
    }

    #[test]
    fn more_memory_than_there_is_is_not_taken() {
        let kdf = Kdf::Argon2 { id: true, passes: 1, memory_kib: 4 << 20, lanes: 1, salt: vec![0; 16] };
        let why = derive(&kdf, b"x", 64, &ALWAYS).unwrap().unwrap_err();
        assert_eq!(why, "asks for 4.2 GB of memory, and 1.0 MB can be spared here");
    }
}
