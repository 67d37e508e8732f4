//! The fence: the marker that stands in a volume's first bytes, over its identifying sectors, while a rollback is unfinished.
//!
//! A disk writes a sector whole or not at all, and several in any order: the first 512 bytes alone say that there is a fence,
//! so that one half put or half taken away is still one. Layout, integers little-endian: 0 a program for a BIOS that starts
//! the volume all the same (128 bytes), 128 magic (16 bytes), 144 version (u32, 1), 148 length of the store id (u32), 152 length
//! of the description (u32), 160 intent (32 bytes), 192 store id (at most 64 bytes), 256 description (at most 220 bytes), 478
//! SHA-256 of everything before it. All else up to 4096 is zero, so that nothing else is seen in it: no boot signature at 510, no
//! ext magic at 1080, no swap signature at 4086.

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
const MAGIC_AT: usize = 128;
const VERSION_AT: usize = 144;
const STORE_LEN_AT: usize = 148;
const WAS_LEN_AT: usize = 152;
const INTENT_AT: usize = 160;
const STORE_AT: usize = 192;
const MOST_STORE: usize = 64;
const WAS_AT: usize = 256;
const MOST_WAS: usize = 220;
const SUM_AT: usize = 478;

/// What a boot sector that jumps into a fenced volume runs, in 16-bit real mode and wherever it was loaded: it says what stands
/// behind it, on the screen (BIOS interrupt 0x10, function 0x0e) and the first serial line (0x14, function 1), and stops.
/// A GRUB in the MBR jumps to the first sector of its BIOS boot area without looking at it.
const STOP: [u8; 33] = [
    0x0e, 0x1f, 0xfc, // push cs; pop ds; cld
    0xe8, 0x00, 0x00, // call the next instruction: its own place ...
    0x5e, 0x83, 0xc6, 0x1b, // ... pop si; add si, 27: the message
    0xac, 0x84, 0xc0, 0x74, 0x0f, // next: lodsb; test al, al; jz stop
    0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, // mov ah, 0x0e; mov bx, 7; int 0x10
    0xb4, 0x01, 0x31, 0xd2, 0xcd, 0x14, // mov ah, 1; xor dx, dx; int 0x14
    0xeb, 0xec, // jmp next
    0xf4, 0xeb, 0xfd, // stop: hlt; jmp stop
];
const STOP_SAYS: &[u8] =
    b"\r\nHoldfast: a rollback is not finished. Start the rescue again to finish or undo it.\r\n\0";
const _: () = assert!(STOP.len() + STOP_SAYS.len() <= MAGIC_AT, "the program and its message end before the magic");

/// The bytes of a fence. A store id or description that is too long is cut short.
pub fn encode(fence: &FenceInfo) -> [u8; 4096] {
    let mut out = [0; LEN];
    out[..STOP.len()].copy_from_slice(&STOP);
    out[STOP.len()..][..STOP_SAYS.len()].copy_from_slice(STOP_SAYS);
    out[MAGIC_AT..][..16].copy_from_slice(MAGIC);
    out[VERSION_AT..][..4].copy_from_slice(&VERSION.to_le_bytes());
    let mut put = |len_at: usize, at: usize, most: usize, text: &str| {
        let text = text.as_bytes();
        let mut end = text.len().min(most);
        // Not within a character: a byte 10xxxxxx continues one.
        while end < text.len() && text[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        out[at..at + end].copy_from_slice(&text[..end]);
        out[len_at..len_at + 4].copy_from_slice(&u32::try_from(end).expect("at most 220").to_le_bytes());
    };
    put(STORE_LEN_AT, STORE_AT, MOST_STORE, &fence.store);
    put(WAS_LEN_AT, WAS_AT, MOST_WAS, fence.was.as_str());
    out[INTENT_AT..][..32].copy_from_slice(&fence.intent.0.0);
    let sum = Digest::of(&out[..SUM_AT]);
    out[SUM_AT..SUM_AT + 32].copy_from_slice(&sum.0);
    out
}

/// The fence that the first 512 of `bytes` are, or `None` where they are none. What follows them is not looked at.
pub fn decode(bytes: &[u8]) -> Option<FenceInfo> {
    let bytes = bytes.get(..SECTOR)?;
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let sum = Digest::of(&bytes[..SUM_AT]).0;
    if bytes[MAGIC_AT..][..16] != *MAGIC || u32_at(VERSION_AT) != VERSION || bytes[SUM_AT..SUM_AT + 32] != sum {
        return None;
    }
    let text = |len_at: usize, at: usize, most: usize| {
        let len = usize::try_from(u32_at(len_at)).ok().filter(|l| *l <= most)?;
        std::str::from_utf8(&bytes[at..at + len]).ok()
    };
    Some(FenceInfo {
        intent: IntentId(Digest(bytes[INTENT_AT..][..32].try_into().expect("32 bytes"))),
        store: DisplayText::new(text(STORE_LEN_AT, STORE_AT, MOST_STORE)?).as_str().to_owned(),
        was: DisplayText::new(text(WAS_LEN_AT, WAS_AT, MOST_WAS)?),
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
        let sector_size = u16::from_le_bytes([bytes[11], bytes[12]]);
        assert!(!sector_size.is_power_of_two(), "no FAT boot sector either, whatever looks only at its fields");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let fence = FenceInfo { store: "x".repeat(1000), was: "é".repeat(1000).as_str().into(), ..sample() };
        let back = decode(&encode(&fence)).expect("a fence");
        assert_eq!(back.store, "x".repeat(64));
        assert_eq!(back.was.as_str(), "é".repeat(110));
        let odd = FenceInfo { was: format!("a{}", "é".repeat(1000)).as_str().into(), ..sample() };
        assert_eq!(decode(&encode(&odd)).expect("a fence").was.as_str(), format!("a{}", "é".repeat(109)));
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
