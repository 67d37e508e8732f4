//! Headers of version 1 (cryptsetup's LUKS1 On-Disk Format 1.2.3, section 3.1). Numbers are big-endian.

use super::Reading;
use crate::fs::FsError;
use model::inspection::LuksInfo;
use model::luks::{Cipher, Hash, Kdf, KeyDigest, KeySlot, LuksHeader};
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};

/// Bytes of it.
const LEN: usize = 592;
/// Where the key slots begin, how many there are and how long each is.
const SLOTS: usize = 208;
const SLOT: usize = 48;
const COUNT: usize = 8;
/// `LUKS_KEY_ENABLED`.
const ENABLED: u32 = 0x00ac_71f3;
/// Everything is counted in these.
const SECTOR: u64 = 512;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// A text that ends at its first zero byte.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The UUID in its field, of 40 bytes. What is none is told in digits, the first half of it: nobody's text goes from there into a name.
pub(super) fn uuid(field: &[u8]) -> String {
    let said = text(field);
    match said.len() <= 36 && said.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        true => said,
        false => model::hex::encode(&field[..field.len() / 2]),
    }
}

pub(super) fn read(bytes: &dyn ReadAt) -> Result<Reading, FsError> {
    let head = bytes.read_vec(ByteOffset(0), LEN)?;
    let named = format!("{}-{}", text(&head[8..40]), text(&head[40..72]));
    let info = LuksInfo {
        version: 1,
        uuid: uuid(&head[168..208]),
        label: DisplayText::default(),
        cipher: DisplayText::new(&named),
        sealed: false,
        not_opened: None,
        open: false,
        apart: ExtentSet::new(),
    };
    let header = header(&head, &named, &info.uuid, bytes.size());
    super::reading(info, header, None, bytes.size())
}

fn header(head: &[u8], named: &str, uuid: &str, size: ByteLen) -> Result<LuksHeader, String> {
    let cipher = Cipher::named(named).ok_or_else(|| super::luks2::unknown("cipher", named))?;
    let hash = text(&head[72..104]);
    let hash = Hash::named(&hash).ok_or_else(|| super::luks2::unknown("hash", &hash))?;
    let start = u64::from(u32_at(head, 104)) * SECTOR;
    if start == 0 {
        return Err("its header lies apart from its data".to_owned());
    }
    let payload = Extent::between(start, size.0 / SECTOR * SECTOR).filter(|p| !p.is_empty());
    let payload = payload.ok_or("its data would begin behind its end")?;
    let key = u32_at(head, 108);
    let slot = |n: usize| {
        let at = SLOTS + n * SLOT;
        let slot = head.get(at..at + SLOT).filter(|s| u32_at(s, 0) == ENABLED)?;
        let stripes = u32_at(slot, 44);
        let len = (u64::from(key) * u64::from(stripes)).next_multiple_of(SECTOR);
        Some(KeySlot {
            number: u32::try_from(n).unwrap_or(0),
            kdf: Kdf::Pbkdf2 { hash, rounds: u32_at(slot, 4), salt: slot[8..40].to_vec() },
            area: Extent::new(ByteOffset(u64::from(u32_at(slot, 40)) * SECTOR), ByteLen(len))?,
            cipher,
            area_key: key,
            key,
            stripes,
            split_by: hash,
            digest: 0,
        })
    };
    let digest =
        KeyDigest { hash, rounds: u32_at(head, 164), salt: head[132..164].to_vec(), value: head[112..132].to_vec() };
    Ok(LuksHeader {
        uuid: uuid.to_owned(),
        cipher,
        sector: 512,
        payload,
        tweak: 0,
        slots: (0..COUNT).filter_map(slot).collect(),
        digests: vec![digest],
        unusable: Vec::new(),
    })
}
