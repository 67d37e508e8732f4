//! The checksum of XFS.
//!
//! What lies on the volume is big-endian; log items are as the machine that wrote them has numbers (little-endian is read, nothing
//! else).

use crate::numbers::le32;

/// The bytes from `at`; none where there are none.
pub(super) fn from(b: &[u8], at: usize) -> &[u8] {
    b.get(at..).unwrap_or_default()
}

/// True where the CRC-32C that stands at `at` (little-endian, counted as zero) is that of `b` (kernel `fs/xfs/libxfs/xfs_cksum.h`).
pub(super) fn checksum_holds(b: &[u8], at: usize) -> bool {
    let (Some(head), Some(tail)) = (b.get(..at), b.get(at + 4..)) else { return false };
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(head), &[0; 4]), tail);
    sum == le32(b, at)
}
