//! A superblock that is taken away while a rollback is unfinished: Linux finds no btrfs there, and this program still finds which device of which
//! file system it is.
//!
//! It is told by its first sector alone, which a disk writes whole or not at all: other 8 bytes stand in the place of its magic, and in the place
//! of its checksum the SHA-256 of the sector behind that. The other sectors stay what they are.

use super::checksum::SPACE;
use super::superblock::{AT, LEN, MAGIC, MAGIC_AT, Superblock, has_magic};
use model::id::Digest;
use model::ports::ReadAt;
use model::units::ByteOffset;

/// What stands in the place of the magic.
const HIDDEN: &[u8; 8] = b"HfFenced";
const SECTOR: usize = 512;

/// A superblock as it stands while it is hidden; `None` for what is none.
pub fn hide(superblock: &[u8]) -> Option<Vec<u8>> {
    let mut out = superblock.to_vec();
    if !has_magic(superblock) || out.len() < SECTOR {
        return None;
    }
    out[MAGIC_AT..MAGIC_AT + HIDDEN.len()].copy_from_slice(HIDDEN);
    let sum = Digest::of(&out[SPACE..SECTOR]);
    out[..SPACE].copy_from_slice(&sum.0);
    Some(out)
}

/// The hidden superblock of a volume, as far as its first sector tells it; `None` where there is none.
pub(super) fn read(bytes: &dyn ReadAt) -> Option<Superblock> {
    let mut block = bytes.read_vec(ByteOffset(AT), SECTOR).ok()?;
    let sum = Digest::of(&block[SPACE..]).0;
    if block[MAGIC_AT..].starts_with(HIDDEN) && block[..SPACE] == sum {
        block[MAGIC_AT..MAGIC_AT + MAGIC.len()].copy_from_slice(MAGIC);
        block.resize(LEN, 0);
        return Superblock::summed(block, AT, bytes.size()).ok();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_known_again_and_is_no_superblock() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/btrfs/today.img.zst");
        let mut decoder = zstd::stream::read::Decoder::new(std::fs::File::open(path).unwrap()).unwrap();
        decoder.window_log_max(27).unwrap();
        let mut image = Vec::new();
        std::io::Read::read_to_end(&mut decoder, &mut image).unwrap();
        let at = usize::try_from(AT).unwrap();
        let was = Superblock::read(&image).unwrap().unwrap();
        let block = image[at..at + LEN].to_vec();
        let hidden = hide(&block).unwrap();
        image[at..at + LEN].copy_from_slice(&hidden);
        assert!(matches!(Superblock::read(&image), Ok(None)) && hide(&hidden).is_none());
        let known = read(&image).unwrap();
        assert_eq!((known.info(None), known.not_read()), (was.info(None), was.not_read()));
        assert_eq!(hidden[SECTOR..], block[SECTOR..], "the rest stays");
        // Whatever becomes of the rest, it is known; and not where its own sector is another.
        image[at + SECTOR..at + LEN].fill(7);
        assert_eq!(read(&image).unwrap().info(None).uuid, was.info(None).uuid);
        image[at + 300] ^= 1;
        assert!(read(&image).is_none());
        assert!(hide(&[0; LEN]).is_none() && read(&vec![0u8; 1 << 20]).is_none() && read(&vec![0u8; 100]).is_none());
    }
}
