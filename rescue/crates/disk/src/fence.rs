//! The fence: the marker in a volume's identifying sectors while a rollback is unfinished.

use model::inspection::FenceInfo;
use model::units::ByteLen;

/// Length of a fence.
pub const FENCE_LEN: ByteLen = ByteLen(4096);

/// The bytes of a fence.
pub fn encode(_fence: &FenceInfo) -> [u8; 4096] {
    [0; 4096]
}

/// The fence that starts at the first of `bytes`, or `None`.
pub fn decode(_bytes: &[u8]) -> Option<FenceInfo> {
    None
}
