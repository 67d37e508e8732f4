//! The ciphers of sectors: AES in XTS (IEEE 1619) and in CBC, as dm-crypt uses them (kernel `drivers/md/dm-crypt.c`). AES is the `aes`
//! crate's, which takes the processor's instructions for it where there are any.

use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use model::luks::Cipher;
use model::ports::SectorCipher;
use model::units::{ByteLen, ByteOffset};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of a block of AES.
const BLOCK: usize = 16;
/// Sectors are numbered in these, whatever their size (dm-crypt without `iv_large_sectors`).
const NUMBERED: u64 = 512;
/// Blocks of the largest sector.
const MOST_BLOCKS: usize = 4096 / BLOCK;

/// The key of a volume or of a key slot; wiped when it goes. Never printed.
#[derive(Clone)]
pub struct Key(pub(super) Zeroizing<Vec<u8>>);

impl Key {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A block cipher of blocks of 16 bytes.
trait Aes: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send + Sync + 'static {}
impl<C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send + Sync + 'static> Aes for C {}

type Blocks<'a> = &'a mut [Array<u8, U16>];

/// The blocks of a sector.
fn blocks(bytes: &mut [u8]) -> Blocks<'_> {
    Array::slice_as_chunks_mut(bytes).0
}

/// The cipher of a volume or a key slot with its key; `None` where the key is too long or short for it, or sectors are of no known size.
pub(super) fn keyed(cipher: Cipher, sector: u32, key: &Key) -> Option<Arc<dyn SectorCipher>> {
    let key = key.bytes();
    let sector = usize::try_from(sector).ok().filter(|s| s.is_multiple_of(512) && *s <= MOST_BLOCKS * BLOCK)?;
    Some(match (cipher, key.len()) {
        (Cipher::AesXts, 32) => Arc::new(Xts::<Aes128>::new(key, sector)?),
        (Cipher::AesXts, 64) => Arc::new(Xts::<Aes256>::new(key, sector)?),
        (Cipher::AesCbcEssiv, 16) => Arc::new(Cbc::<Aes128>::new(key, sector)?),
        (Cipher::AesCbcEssiv, 24) => Arc::new(Cbc::<Aes192>::new(key, sector)?),
        (Cipher::AesCbcEssiv, 32) => Arc::new(Cbc::<Aes256>::new(key, sector)?),
        _ => return None,
    })
}

/// AES in XTS: the first half of the key is that of the data, the second that of the sectors' numbers.
struct Xts<C> {
    sector: usize,
    data: C,
    tweak: C,
}

impl<C: Aes + KeyInit> Xts<C> {
    fn new(key: &[u8], sector: usize) -> Option<Self> {
        let (data, tweak) = key.split_at(key.len() / 2);
        Some(Self { sector, data: C::new_from_slice(data).ok()?, tweak: C::new_from_slice(tweak).ok()? })
    }

    /// Each sector, between what is laid over its blocks before and after.
    fn each(&self, counts: ByteOffset, bytes: &mut [u8], work: impl Fn(&C, Blocks<'_>)) {
        let mut over = [0u128; MOST_BLOCKS];
        for (number, sector) in numbered(counts, self.sector).zip(bytes.chunks_mut(self.sector)) {
            let mut first = Array::from(u128::from(number).to_le_bytes());
            self.tweak.encrypt_block(&mut first);
            let mut tweak = u128::from_le_bytes(first.into());
            for place in &mut over[..sector.len() / BLOCK] {
                *place = tweak;
                // Times x in GF(2^128), modulo x^128 + x^7 + x^2 + x + 1.
                tweak = (tweak << 1) ^ ((tweak >> 127) * 0x87);
            }
            lay(sector, &over);
            work(&self.data, blocks(sector));
            lay(sector, &over);
        }
    }
}

/// Adds to each block what belongs over it.
fn lay(sector: &mut [u8], over: &[u128]) {
    for (block, over) in sector.as_chunks_mut::<BLOCK>().0.iter_mut().zip(over) {
        *block = (u128::from_le_bytes(*block) ^ over).to_le_bytes();
    }
}

/// The numbers of sectors that follow each other.
fn numbered(counts: ByteOffset, sector: usize) -> impl Iterator<Item = u64> {
    (counts.0 / NUMBERED..).step_by(sector / 512)
}

impl<C: Aes + KeyInit> SectorCipher for Xts<C> {
    fn sector(&self) -> ByteLen {
        ByteLen(self.sector as u64)
    }

    fn decrypt(&self, counts: ByteOffset, bytes: &mut [u8]) {
        self.each(counts, bytes, |data, blocks| data.decrypt_blocks(blocks));
    }

    fn encrypt(&self, counts: ByteOffset, bytes: &mut [u8]) {
        self.each(counts, bytes, |data, blocks| data.encrypt_blocks(blocks));
    }
}

/// AES in CBC; a sector begins with its number, encrypted with the SHA-256 of the key (dm-crypt's `essiv:sha256`).
struct Cbc<C> {
    sector: usize,
    data: C,
    number: Aes256,
}

impl<C: Aes + KeyInit> Cbc<C> {
    fn new(key: &[u8], sector: usize) -> Option<Self> {
        let hash = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(key)));
        Some(Self { sector, data: C::new_from_slice(key).ok()?, number: Aes256::new_from_slice(&*hash).ok()? })
    }

    fn first(&self, number: u64) -> Array<u8, U16> {
        let mut first = Array::from(u128::from(number).to_le_bytes());
        self.number.encrypt_block(&mut first);
        first
    }
}

fn add(to: &mut Array<u8, U16>, what: &Array<u8, U16>) {
    to.iter_mut().zip(what).for_each(|(a, b)| *a ^= b);
}

impl<C: Aes + KeyInit> SectorCipher for Cbc<C> {
    fn sector(&self) -> ByteLen {
        ByteLen(self.sector as u64)
    }

    fn decrypt(&self, counts: ByteOffset, bytes: &mut [u8]) {
        for (number, sector) in numbered(counts, self.sector).zip(bytes.chunks_mut(self.sector)) {
            let mut before = self.first(number);
            for block in blocks(sector) {
                let sealed = *block;
                self.data.decrypt_block(block);
                add(block, &before);
                before = sealed;
            }
        }
    }

    fn encrypt(&self, counts: ByteOffset, bytes: &mut [u8]) {
        for (number, sector) in numbered(counts, self.sector).zip(bytes.chunks_mut(self.sector)) {
            let mut before = self.first(number);
            for block in blocks(sector) {
                add(block, &before);
                self.data.encrypt_block(block);
                before = *block;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: impl IntoIterator<Item = u8>) -> Key {
        Key(Zeroizing::new(bytes.into_iter().collect()))
    }

    /// IEEE 1619-2007, annex B, vector 4 (XTS-AES-128, sector 0) and vector 10 (XTS-AES-256, sector 255): the first 16 bytes.
    #[test]
    fn the_vectors_of_xts() {
        let k1 = [0x27, 0x18, 0x28, 0x18, 0x28, 0x45, 0x90, 0x45, 0x23, 0x53, 0x60, 0x28, 0x74, 0x71, 0x35, 0x26];
        let k2 = [0x31, 0x41, 0x59, 0x26, 0x53, 0x58, 0x97, 0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95];
        let plain: Vec<u8> = (0..=255).cycle().take(512).collect();
        let cipher = keyed(Cipher::AesXts, 512, &key(k1.into_iter().chain(k2))).unwrap();
        let mut bytes = plain.clone();
        cipher.encrypt(ByteOffset(0), &mut bytes);
        let wanted = [0x27, 0xa7, 0x47, 0x9b, 0xef, 0xa1, 0xd4, 0x76, 0x48, 0x9f, 0x30, 0x8c, 0xd4, 0xcf, 0xa6, 0xe2];
        assert_eq!(bytes[..16], wanted);
        cipher.decrypt(ByteOffset(0), &mut bytes);
        assert_eq!(bytes, plain);
        let long = [
            0x27, 0x18, 0x28, 0x18, 0x28, 0x45, 0x90, 0x45, 0x23, 0x53, 0x60, 0x28, 0x74, 0x71, 0x35, 0x26, 0x62, 0x49,
            0x77, 0x57, 0x24, 0x70, 0x93, 0x69, 0x99, 0x59, 0x57, 0x49, 0x66, 0x96, 0x76, 0x27, 0x31, 0x41, 0x59, 0x26,
            0x53, 0x58, 0x97, 0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95, 0x02, 0x88, 0x41, 0x97, 0x16, 0x93,
            0x99, 0x37, 0x51, 0x05, 0x82, 0x09, 0x74, 0x94, 0x45, 0x92,
        ];
        let cipher = keyed(Cipher::AesXts, 512, &key(long)).unwrap();
        cipher.encrypt(ByteOffset(255 * 512), &mut bytes);
        let wanted = [0x1c, 0x3b, 0x3a, 0x10, 0x2f, 0x77, 0x03, 0x86, 0xe4, 0x83, 0x6c, 0x99, 0xe3, 0x70, 0xcf, 0x9b];
        assert_eq!(bytes[..16], wanted);
    }

    #[test]
    fn what_is_encrypted_comes_back() {
        for (cipher, len, sector) in [
            (Cipher::AesXts, 32, 4096),
            (Cipher::AesXts, 64, 512),
            (Cipher::AesCbcEssiv, 16, 512),
            (Cipher::AesCbcEssiv, 24, 512),
            (Cipher::AesCbcEssiv, 32, 512),
        ] {
            let cipher = keyed(cipher, sector, &key((0..len).map(|n| n * 3))).unwrap();
            let plain: Vec<u8> = (0..=250).cycle().take(16_384).collect();
            let mut bytes = plain.clone();
            cipher.encrypt(ByteOffset(8192), &mut bytes);
            assert_ne!(bytes[..512], plain[..512]);
            // In parts, in any order.
            let (a, b) = bytes.split_at_mut(4096);
            cipher.decrypt(ByteOffset(8192 + 4096), b);
            cipher.decrypt(ByteOffset(8192), a);
            assert_eq!(bytes, plain);
        }
        assert!(keyed(Cipher::AesXts, 512, &key([0; 48])).is_none());
        assert_eq!(format!("{:?}", key([1; 32])), "Key(..)");
    }
}
