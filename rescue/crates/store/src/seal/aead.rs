//! Sealed bytes: a random nonce, the XChaCha20-Poly1305 ciphertext, the tag (draft-irtf-cfrg-xchacha-03).

use super::random;
use crate::error::StoreError;
use chacha20poly1305::{AeadInOut, Tag, XChaCha20Poly1305, XNonce};
use model::ports::Entropy;

/// 192 bits: long enough to be drawn for each sealing, with no state to keep.
const NONCE: usize = 24;
const TAG: usize = 16;
/// Bytes that sealing adds.
pub(super) const OVERHEAD: usize = NONCE + TAG;

pub(super) fn seal(
    cipher: &XChaCha20Poly1305,
    associated: &[u8],
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StoreError> {
    let nonce = random::<NONCE>(entropy)?;
    let mut stored = Vec::with_capacity(plain.len() + OVERHEAD);
    stored.extend_from_slice(&nonce);
    stored.extend_from_slice(plain);
    let tag = cipher
        .encrypt_inout_detached(&XNonce::from(nonce), associated, (&mut stored[NONCE..]).into())
        .map_err(|_| StoreError::misuse(format!("{} bytes are too many to seal at once", plain.len())))?;
    stored.extend_from_slice(&tag);
    Ok(stored)
}

/// The plain bytes, in the memory of the sealed ones; `None` where they are not what [`seal`] made under this key and with
/// this associated data. The tag is compared before anything is decrypted.
pub(super) fn open(cipher: &XChaCha20Poly1305, associated: &[u8], mut stored: Vec<u8>) -> Option<Vec<u8>> {
    let (nonce, rest) = stored.split_first_chunk_mut::<NONCE>()?;
    let (body, tag) = rest.split_last_chunk_mut::<TAG>()?;
    let plain = body.len();
    cipher.decrypt_inout_detached(&XNonce::from(*nonce), associated, body.into(), &Tag::from(*tag)).ok()?;
    stored.copy_within(NONCE..NONCE + plain, 0);
    stored.truncate(plain);
    Some(stored)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixed, Seeded, bytes};
    use super::*;
    use chacha20poly1305::KeyInit;

    fn cipher(key: u8) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&[key; 32].into())
    }

    #[test]
    fn the_vector_of_the_draft() {
        // draft-irtf-cfrg-xchacha-03, A.3.1.
        let key: [u8; 32] = std::array::from_fn(|i| 0x80 + u8::try_from(i).unwrap());
        let nonce = bytes("404142434445464748494a4b4c4d4e4f5051525354555657");
        let associated = bytes("50515253c0c1c2c3c4c5c6c7");
        let plain = b"Ladies and Gentlemen of the class of '99: \
            If I could offer you only one tip for the future, sunscreen would be it.";
        let ciphertext = bytes(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c2
             16cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c6
             8b13b52e",
        );
        let tag = bytes("c0875924c1c7987947deafd8780acf49");
        let cipher = XChaCha20Poly1305::new(&key.into());
        let stored = seal(&cipher, &associated, plain, &Fixed(nonce.clone())).unwrap();
        assert_eq!(stored, [nonce, ciphertext, tag].concat());
        assert_eq!(open(&cipher, &associated, stored).unwrap(), plain);
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() {
        let stored = seal(&cipher(1), b"bound", b"plain bytes", &Seeded::new(1)).unwrap();
        assert_eq!(open(&cipher(1), b"bound", stored.clone()).unwrap(), b"plain bytes");
        for at in 0..stored.len() {
            for bit in 0..8 {
                let mut bad = stored.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(open(&cipher(1), b"bound", bad), None, "byte {at} bit {bit}");
            }
        }
        for len in 0..stored.len() {
            assert_eq!(open(&cipher(1), b"bound", stored[..len].to_vec()), None, "cut at {len}");
        }
        assert_eq!(open(&cipher(1), b"bound", [&stored[..], &[0]].concat()), None);
        assert_eq!(open(&cipher(2), b"bound", stored), None, "another key");
    }

    #[test]
    fn equal_bytes_are_sealed_differently() {
        let entropy = Seeded::new(1);
        let [a, b] = [(); 2].map(|()| seal(&cipher(1), b"", b"plain bytes", &entropy).unwrap());
        assert_ne!(a[..NONCE], b[..NONCE]);
        assert_ne!(a[NONCE..], b[NONCE..]);
    }
}
