//! Numbers and UUIDs out of bytes, and the checksum that most of Linux goes by.
//!
//! Reading past the end of a slice gives zero: the parsers check lengths where they matter, and none of them can panic.

/// Little-endian `u16` at `at`.
pub(crate) fn le16(b: &[u8], at: usize) -> u16 {
    array(b, at).map_or(0, u16::from_le_bytes)
}

/// Little-endian `u32` at `at`.
pub(crate) fn le32(b: &[u8], at: usize) -> u32 {
    array(b, at).map_or(0, u32::from_le_bytes)
}

/// Little-endian `u64` at `at`.
pub(crate) fn le64(b: &[u8], at: usize) -> u64 {
    array(b, at).map_or(0, u64::from_le_bytes)
}

/// Big-endian `u16` at `at`.
pub(crate) fn be16(b: &[u8], at: usize) -> u16 {
    array(b, at).map_or(0, u16::from_be_bytes)
}

/// Big-endian `u32` at `at`.
pub(crate) fn be32(b: &[u8], at: usize) -> u32 {
    array(b, at).map_or(0, u32::from_be_bytes)
}

/// Big-endian `u64` at `at`.
pub(crate) fn be64(b: &[u8], at: usize) -> u64 {
    array(b, at).map_or(0, u64::from_be_bytes)
}

/// The byte at `at`.
pub(crate) fn byte(b: &[u8], at: usize) -> u8 {
    b.get(at).copied().unwrap_or(0)
}

/// A UUID at `at`.
pub(crate) fn uuid(b: &[u8], at: usize) -> [u8; 16] {
    array(b, at).unwrap_or_default()
}

/// A UUID whose bytes stand in the order they are written, as people write it.
pub(crate) fn uuid_text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(36);
    for (i, b) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{b:02x}"));
    }
    out
}

/// CRC-32C as the kernel's `crc32c()` has it: carried on from `seed`, inverted neither before nor after.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

fn array<const N: usize>(b: &[u8], at: usize) -> Option<[u8; N]> {
    b.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_past_the_end_are_zero() {
        assert_eq!(le32(&[1, 2, 3, 4], 0), 0x0403_0201);
        assert_eq!(be32(&[1, 2, 3, 4], 0), 0x0102_0304);
        assert_eq!(le32(&[1, 2, 3, 4], 1), 0);
        assert_eq!(le64(&[1; 8], usize::MAX), 0);
    }

    /// The check value of the catalogue of parametrised CRC algorithms: the CRC of "123456789".
    #[test]
    fn the_checksum_has_its_check_value() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283, "CRC-32/ISCSI");
    }
}
