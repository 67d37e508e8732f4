//! Halves of numbers, and the checksums of ext4 and jbd2 besides CRC-32C.

/// The `u64` whose halves are kept apart.
pub(super) fn wide(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// A copy of `b` with the bytes of `zeroed` set to zero: what a checksum that lies inside its own bytes is taken over.
pub(super) fn without(b: &[u8], zeroed: std::ops::Range<usize>) -> Vec<u8> {
    let mut copy = b.to_vec();
    if let Some(part) = copy.get_mut(zeroed) {
        part.fill(0);
    }
    copy
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
        assert_eq!(crc16(0xffff, check), 0x4b37, "CRC-16/MODBUS");
        assert_eq!(!crc32_be(!0, check), 0xfc89_1918, "CRC-32/BZIP2");
    }
}
