//! The checksums that stand in front of a superblock and of every tree block (`enum btrfs_csum_type`): 32 bytes are kept for them,
//! and they are taken over everything behind.

use crate::numbers::le64;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use model::id::Digest;

/// `BTRFS_CSUM_SIZE`.
pub(super) const SPACE: usize = 32;

/// How blocks are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    Crc32c,
    XxHash64,
    Sha256,
    Blake2b,
}

impl Checksum {
    /// By its number in the superblock; `None` for one not known here.
    pub(super) fn of_type(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Crc32c,
            1 => Self::XxHash64,
            2 => Self::Sha256,
            3 => Self::Blake2b,
            _ => return None,
        })
    }

    /// Bytes of one.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::XxHash64 => 8,
            Self::Sha256 | Self::Blake2b => 32,
        }
    }

    /// True where the sum in front of a block is that of what follows.
    pub(super) fn holds(self, block: &[u8]) -> bool {
        let Some((sum, covered)) = block.split_at_checked(SPACE) else { return false };
        self.of(covered) == sum[..self.len()]
    }

    /// The sum of bytes.
    pub(super) fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32c => crc32c::crc32c(bytes).to_le_bytes().to_vec(),
            Self::XxHash64 => xxhash64(bytes).to_le_bytes().to_vec(),
            Self::Sha256 => Digest::of(bytes).0.to_vec(),
            Self::Blake2b => Blake2b::<U32>::digest(bytes).to_vec(),
        }
    }
}

const PRIMES: [u64; 5] =
    [0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63, 0x27d4_eb2f_1656_67c5];

/// xxHash, 64 bits wide, with seed 0 (xxHash specification 0.1.1, "XXH64 Algorithm Description").
fn xxhash64(bytes: &[u8]) -> u64 {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let round = |acc: u64, lane: u64| acc.wrapping_add(lane.wrapping_mul(p2)).rotate_left(31).wrapping_mul(p1);
    let merge = |acc: u64, other: u64| (acc ^ round(0, other)).wrapping_mul(p1).wrapping_add(p4);
    let (stripes, rest) = bytes.split_at(bytes.len() / 32 * 32);
    let mut acc = if stripes.is_empty() {
        p5
    } else {
        let mut lanes = [p1.wrapping_add(p2), p2, 0, 0u64.wrapping_sub(p1)];
        for stripe in stripes.chunks_exact(32) {
            for (n, lane) in lanes.iter_mut().enumerate() {
                *lane = round(*lane, le64(stripe, n * 8));
            }
        }
        let [a, b, c, d] = lanes;
        let turned = [a.rotate_left(1), b.rotate_left(7), c.rotate_left(12), d.rotate_left(18)];
        lanes.into_iter().fold(turned.into_iter().fold(0, u64::wrapping_add), merge)
    };
    acc = acc.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        acc = (acc ^ round(0, u64::from_le_bytes(*word))).rotate_left(27).wrapping_mul(p1).wrapping_add(p4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        let half = u64::from(u32::from_le_bytes(*half));
        acc = (acc ^ half.wrapping_mul(p1)).rotate_left(23).wrapping_mul(p2).wrapping_add(p3);
    }
    for byte in rest {
        acc = (acc ^ u64::from(*byte).wrapping_mul(p5)).rotate_left(11).wrapping_mul(p1);
    }
    acc = (acc ^ acc >> 33).wrapping_mul(p2);
    acc = (acc ^ acc >> 29).wrapping_mul(p3);
    acc ^ acc >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published values; longer ones are tried on tree blocks that btrfs-progs wrote.
    #[test]
    fn xxhash64_has_its_values() {
        assert_eq!(xxhash64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxhash64(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxhash64(b"abc"), 0x44bc_2cf5_ad77_0999);
    }

    #[test]
    fn a_block_is_held_against_its_sum() {
        for number in 0..4 {
            let sum = Checksum::of_type(number).unwrap();
            let mut block = vec![7; 4096];
            let of = sum.of(&block[SPACE..]);
            block[..of.len()].copy_from_slice(&of);
            assert!(sum.holds(&block) && of.len() == sum.len());
            block[4095] ^= 1;
            assert!(!sum.holds(&block) && !sum.holds(&block[..10]));
        }
        assert_eq!(Checksum::of_type(4), None);
    }
}
