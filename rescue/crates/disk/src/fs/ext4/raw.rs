//! Numbers out of bytes, and the checksums of ext4 and jbd2.
//!
//! Reading past the end of a slice gives zero: the parsers check lengths where they matter, and none of them can panic.

/// Little-endian `u16` at `at`.
pub(super) fn le16(b: &[u8], at: usize) -> u16 {
    array(b, at).map_or(0, u16::from_le_bytes)
}

/// Little-endian `u32` at `at`.
pub(super) fn le32(b: &[u8], at: usize) -> u32 {
    array(b, at).map_or(0, u32::from_le_bytes)
}

/// Little-endian `u64` at `at`.
pub(super) fn le64(b: &[u8], at: usize) -> u64 {
    array(b, at).map_or(0, u64::from_le_bytes)
}

/// Big-endian `u16` at `at` (jbd2 is big-endian).
pub(super) fn be16(b: &[u8], at: usize) -> u16 {
    array(b, at).map_or(0, u16::from_be_bytes)
}

/// Big-endian `u32` at `at`.
pub(super) fn be32(b: &[u8], at: usize) -> u32 {
    array(b, at).map_or(0, u32::from_be_bytes)
}

/// Big-endian `u64` at `at`.
pub(super) fn be64(b: &[u8], at: usize) -> u64 {
    array(b, at).map_or(0, u64::from_be_bytes)
}

/// The `u64` whose halves are kept apart.
pub(super) fn wide(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn array<const N: usize>(b: &[u8], at: usize) -> Option<[u8; N]> {
    b.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A copy of `b` with the bytes of `zeroed` set to zero: what a checksum that lies inside its own bytes is taken over.
pub(super) fn without(b: &[u8], zeroed: std::ops::Range<usize>) -> Vec<u8> {
    let mut copy = b.to_vec();
    if let Some(part) = copy.get_mut(zeroed) {
        part.fill(0);
    }
    copy
}

/// CRC-32C as the kernel's `crc32c()` has it: carried on from `seed`, inverted neither before nor after.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// CRC-16 (polynomial 0x8005, reflected) as the kernel's `crc16()` has it: the group descriptors of `uninit_bg`.
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(seed, |crc, b| (0..8).fold(crc ^ u16::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xa001 } else { c >> 1 }))
}

/// CRC-32 with the most significant bit first, as the kernel's `crc32_be()` has it: the transaction checksums (version 1)
/// of jbd2.
pub(super) fn crc32_be(seed: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            #[expect(clippy::cast_possible_truncation, reason = "less than 256, in a constant")]
            let mut c = (i as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                c = if c & 0x8000_0000 != 0 { c << 1 ^ 0x04c1_1db7 } else { c << 1 };
                bit += 1;
            }
            table[i] = c;
            i += 1;
        }
        table
    };
    bytes.iter().fold(seed, |crc, b| {
        let [top, ..] = crc.to_be_bytes();
        crc << 8 ^ TABLE[usize::from(top ^ b)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogue of parametrised CRC algorithms: the CRC of "123456789".
    #[test]
    fn checksums_have_their_check_values() {
        let check = b"123456789";
        assert_eq!(!crc32c(!0, check), 0xe306_9283, "CRC-32/ISCSI");
        assert_eq!(crc16(0xffff, check), 0x4b37, "CRC-16/MODBUS");
        assert_eq!(!crc32_be(!0, check), 0xfc89_1918, "CRC-32/BZIP2");
    }

    #[test]
    fn numbers_past_the_end_are_zero() {
        assert_eq!(le32(&[1, 2, 3, 4], 0), 0x0403_0201);
        assert_eq!(be32(&[1, 2, 3, 4], 0), 0x0102_0304);
        assert_eq!(le32(&[1, 2, 3, 4], 1), 0);
        assert_eq!(le64(&[1; 8], usize::MAX), 0);
    }
}
