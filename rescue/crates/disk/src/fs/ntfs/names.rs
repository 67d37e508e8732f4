//! Names: UTF-16, compared without regard to case by the volume's own table (kernel `fs/ntfs3/upcase.c`).

use crate::numbers::le16;

/// Units there are.
const UNITS: usize = 1 << 16;

/// Which unit stands for which, where case does not matter.
pub(super) struct UpCase(Vec<u16>);

impl UpCase {
    /// The letters of ASCII: where the table cannot be read.
    pub(super) fn ascii() -> Self {
        let upper = |unit: u16| if (0x61..=0x7a).contains(&unit) { unit - 0x20 } else { unit };
        Self((0..128).map(upper).collect())
    }

    /// Out of the content of `$UpCase`.
    pub(super) fn parse(raw: &[u8]) -> Option<Self> {
        (raw.len() == UNITS * 2).then(|| Self((0..UNITS).map(|unit| le16(raw, unit * 2)).collect()))
    }

    /// A name as it is compared.
    pub(super) fn fold(&self, name: &str) -> Vec<u16> {
        name.encode_utf16().map(|unit| self.0.get(usize::from(unit)).copied().unwrap_or(unit)).collect()
    }
}

/// Text out of UTF-16; a half of a pair that stands alone becomes the sign for what is no character.
pub(super) fn text(utf16: &[u8]) -> String {
    let units = utf16.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
