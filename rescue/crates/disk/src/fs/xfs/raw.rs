//! Numbers out of bytes, and the checksum of XFS.
//!
//! What lies on the volume is big-endian; log items are as the machine that wrote them has numbers (little-endian is read, nothing
//! else). Reading past the end of a slice gives zero: the parsers check lengths where they matter, and none of them can panic.

/// Big-endian `u16` at `at`.
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

/// The byte at `at`.
pub(super) fn byte(b: &[u8], at: usize) -> u8 {
    b.get(at).copied().unwrap_or(0)
}

/// The bytes from `at`; none where there are none.
pub(super) fn from(b: &[u8], at: usize) -> &[u8] {
    b.get(at..).unwrap_or_default()
}

fn array<const N: usize>(b: &[u8], at: usize) -> Option<[u8; N]> {
    b.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// True where the CRC-32C that stands at `at` (little-endian, counted as zero) is that of `b` (kernel `fs/xfs/libxfs/xfs_cksum.h`).
pub(super) fn checksum_holds(b: &[u8], at: usize) -> bool {
    let (Some(head), Some(tail)) = (b.get(..at), b.get(at + 4..)) else { return false };
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(head), &[0; 4]), tail);
    sum == le32(b, at)
}
