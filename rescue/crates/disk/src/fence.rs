//! The fence: the marker that stands in a volume's first bytes, over its identifying sectors, while a rollback is unfinished.
//!
//! A disk writes a sector whole or not at all, and several in any order: the first 512 bytes alone say that there is a fence,
//! so that one half put or half taken away is still one. Layout, integers little-endian: 0 magic (16 bytes), 16 version
//! (u32, 1), 20 length of the store id (u32), 24 length of the description (u32), 32 intent (32 bytes), 64 store id (at most
//! 128 bytes), 192 description (at most 256 bytes), 478 SHA-256 of everything before it. All else up to 4096 is zero, so that
//! nothing else is seen in it: no boot signature at 510, no ext magic at 1080, no swap signature at 4086.

use model::id::{Digest, IntentId};
use model::inspection::FenceInfo;
use model::text::DisplayText;
use model::units::ByteLen;

/// Length of a fence, from the start of the volume: it covers a FAT boot sector and its backup, the ext superblock and a swap
/// header of 4096 bytes.
pub const FENCE_LEN: ByteLen = ByteLen(4096);

const LEN: usize = 4096;
const MAGIC: &[u8; 16] = b"HOLDFAST FENCE\r\n";
const VERSION: u32 = 1;
const SECTOR: usize = 512;
const STORE_AT: usize = 64;
const MOST_STORE: usize = 128;
const WAS_AT: usize = 192;
const MOST_WAS: usize = 256;
const SUM_AT: usize = 478;

/// The bytes of a fence. A store id or description that is too long is cut short.
pub fn encode(fence: &FenceInfo) -> [u8; 4096] {
    let mut out = [0; LEN];
    out[..16].copy_from_slice(MAGIC);
    out[16..20].copy_from_slice(&VERSION.to_le_bytes());
    let mut put = |len_at: usize, at: usize, most: usize, text: &str| {
        let text = text.as_bytes();
        let mut end = text.len().min(most);
        // Not within a character: a byte 10xxxxxx continues one.
        while end < text.len() && text[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        out[at..at + end].copy_from_slice(&text[..end]);
        out[len_at..len_at + 4].copy_from_slice(&u32::try_from(end).expect("at most 256").to_le_bytes());
    };
    put(20, STORE_AT, MOST_STORE, &fence.store);
    put(24, WAS_AT, MOST_WAS, fence.was.as_str());
    out[32..64].copy_from_slice(&fence.intent.0.0);
    let sum = Digest::of(&out[..SUM_AT]);
    out[SUM_AT..SUM_AT + 32].copy_from_slice(&sum.0);
    out
}

/// The fence that the first 512 of `bytes` are, or `None` where they are none. What follows them is not looked at.
pub fn decode(bytes: &[u8]) -> Option<FenceInfo> {
    let bytes = bytes.get(..SECTOR)?;
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if bytes[..16] != *MAGIC || u32_at(16) != VERSION || bytes[SUM_AT..SUM_AT + 32] != Digest::of(&bytes[..SUM_AT]).0 {
        return None;
    }
    let text = |len_at: usize, at: usize, most: usize| {
        let len = usize::try_from(u32_at(len_at)).ok().filter(|l| *l <= most)?;
        std::str::from_utf8(&bytes[at..at + len]).ok()
    };
    Some(FenceInfo {
        intent: IntentId(Digest(bytes[32..64].try_into().expect("32 bytes"))),
        store: DisplayText::new(text(20, STORE_AT, MOST_STORE)?).as_str().to_owned(),
        was: DisplayText::new(text(24, WAS_AT, MOST_WAS)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> FenceInfo {
        FenceInfo {
            intent: IntentId(Digest::of(b"intent")),
            store: "3f2a".into(),
            was: "ext4, root of Debian GNU/Linux 12".into(),
        }
    }

    #[test]
    fn nothing_else_is_seen_in_a_fence() {
        let bytes = encode(&sample());
        assert_ne!(bytes[510..512], [0x55, 0xaa], "no boot signature");
        assert_eq!(bytes[1024..2048], [0; 1024], "no ext superblock");
        assert_ne!(&bytes[4086..], b"SWAPSPACE2");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let fence = FenceInfo { store: "x".repeat(1000), was: "é".repeat(1000).as_str().into(), ..sample() };
        let back = decode(&encode(&fence)).expect("a fence");
        assert_eq!(back.store, "x".repeat(128));
        assert_eq!(back.was.as_str(), "é".repeat(128));
        let odd = FenceInfo { was: format!("a{}", "é".repeat(1000)).as_str().into(), ..sample() };
        assert_eq!(decode(&encode(&odd)).expect("a fence").was.as_str(), format!("a{}", "é".repeat(127)));
    }

    proptest! {
        #[test]
        fn a_fence_comes_back(store in "[a-z0-9-]{0,64}", was in "\\PC{0,80}", seed in any::<[u8; 8]>()) {
            let fence = FenceInfo { intent: IntentId(Digest::of(&seed)), store, was: was.as_str().into() };
            prop_assert_eq!(decode(&encode(&fence)), Some(fence));
        }

        /// Any flipped bit of what it says makes it no fence; what stands behind its first sector does not matter.
        #[test]
        fn a_fence_is_its_first_sector(at in 0usize..4096, bit in 0u8..8) {
            let mut bytes = encode(&sample());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(decode(&bytes), if at < SUM_AT + 32 { None } else { Some(sample()) });
        }
    }
}
