//! Checksums of structures: where they stand, what they are over, and how they are made.

use crate::image::Image;

type Of = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// A checksum of an image.
pub(crate) struct Sum {
    /// What it is over, piece by piece: where, and how many bytes.
    covers: Vec<(u64, u64)>,
    /// Where it stands, piece by piece. It is made with zeros there.
    fields: Vec<(u64, u64)>,
    of: Of,
}

/// The bytes of a length that is known to be small.
fn usual(len: u64) -> usize {
    usize::try_from(len).unwrap_or(0)
}

impl Sum {
    pub(crate) fn new(
        covers: Vec<(u64, u64)>,
        fields: Vec<(u64, u64)>,
        of: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self { covers, fields, of: Box::new(of) }
    }

    /// True where it is over any of these bytes.
    pub(crate) fn is_over(&self, touched: &[(u64, u64)]) -> bool {
        let meets =
            |(a, a_len): (u64, u64), (b, b_len): (u64, u64)| a < b.saturating_add(b_len) && b < a.saturating_add(a_len);
        self.covers.iter().any(|c| touched.iter().any(|t| meets(*c, *t)))
    }

    fn made(&self, image: &Image) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (start, len) in &self.covers {
            let mut piece = image.get(*start, usual(*len));
            for (at, len) in &self.fields {
                let from = usual(at.saturating_sub(*start)).min(piece.len());
                let to = usual((at + len).saturating_sub(*start)).min(piece.len());
                piece[from..to].fill(0);
            }
            bytes.extend(piece);
        }
        (self.of)(&bytes)
    }

    /// True where it is what it should be.
    pub(crate) fn holds(&self, image: &Image) -> bool {
        let end = |(at, len): &(u64, u64)| at.checked_add(*len).is_some_and(|end| end <= image.len());
        if !self.covers.iter().chain(&self.fields).all(end) {
            return false;
        }
        let made = self.made(image);
        let said: Vec<u8> = self.fields.iter().flat_map(|(at, len)| image.get(*at, usual(*len))).collect();
        made.len() >= said.len() && made[..said.len()] == said
    }

    /// Makes it hold again: the places that changed.
    pub(crate) fn renew(&self, image: &mut Image) -> Vec<(u64, u64)> {
        let made = self.made(image);
        let mut rest = &made[..];
        for (at, len) in &self.fields {
            let (now, later) = rest.split_at(usual(*len).min(rest.len()));
            image.put(*at, now);
            rest = later;
        }
        self.fields.clone()
    }
}

/// CRC-32C as the kernel's `crc32c()` has it: with a beginning, and not turned over at the end.
pub(crate) fn crc32c_from(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// CRC-32 of IEEE 802.3 (GPT, LVM), with a beginning, and not turned over at the end.
pub(crate) fn crc32_from(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// CRC-32C over a structure, little-endian in it, as XFS and btrfs have it.
pub(crate) fn usual_crc32c(bytes: &[u8]) -> Vec<u8> {
    crc32c::crc32c(bytes).to_le_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogue of parametrised CRC algorithms: the CRC of "123456789".
    #[test]
    fn checksums_have_their_check_values() {
        assert_eq!(!crc32c_from(!0, b"123456789"), 0xe306_9283, "CRC-32/ISCSI");
        assert_eq!(!crc32_from(!0, b"123456789"), 0xcbf4_3926, "CRC-32/ISO-HDLC");
    }
}
