//! Names: UTF-16, compared without regard to case by the volume's own table (section 7.2, "Up-case Table").

use super::boot::Boot;
use super::chain::Allocation;
use crate::fs::FsError;
use crate::numbers::le16;
use model::ports::ReadAt;
use model::units::ByteLen;

/// The longest table: every one of the 65536 units by itself.
const MOST_BYTES: u64 = 128 << 10;
/// Marks a run of units that stay as they are; how many follows.
const SAME: u16 = 0xffff;

/// Which unit stands for which, where case does not matter.
pub(super) struct UpCase(Vec<u16>);

impl UpCase {
    /// What every table must say at least: the letters of ASCII (section 7.2.5.1, "mandatory first 128").
    pub(super) fn ascii() -> Self {
        let upper = |unit: u16| if (0x61..=0x7a).contains(&unit) { unit - 0x20 } else { unit };
        Self((0..128).map(upper).collect())
    }

    /// Reads the table whose entry says this of it.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where its checksum is another, or it is longer than a table can be.
    pub(super) fn read(bytes: &dyn ReadAt, boot: &Boot, at: Allocation, checksum: u32) -> Result<Self, FsError> {
        if at.len > MOST_BYTES {
            return Err(FsError::Corrupt(format!("its up-case table has {} bytes", at.len)));
        }
        let mut raw = Vec::new();
        for place in at.places(bytes, boot) {
            let place = place?;
            let len = ByteLen(place.len().0.min(at.len - raw.len() as u64)).to_usize().unwrap_or(0);
            raw.extend(bytes.read_vec(place.start(), len)?);
        }
        let sum = raw.iter().fold(0u32, |sum, b| sum.rotate_right(1).wrapping_add(u32::from(*b)));
        if sum != checksum {
            let says = format!("the checksum of its up-case table is {sum:#010x}, not {checksum:#010x} as it says");
            return Err(FsError::Corrupt(says));
        }
        Ok(Self::unpack(&raw))
    }

    fn unpack(raw: &[u8]) -> Self {
        let mut table: Vec<u16> = Vec::new();
        let mut at = 0;
        while at < raw.len() && table.len() <= usize::from(u16::MAX) {
            let unit = le16(raw, at);
            at += 2;
            if unit == SAME && at < raw.len() {
                let from = table.len();
                let run = usize::from(le16(raw, at));
                at += 2;
                table.extend((from..from + run).map_while(|same| u16::try_from(same).ok()));
            } else {
                table.push(unit);
            }
        }
        Self(table)
    }

    /// A name as it is compared.
    pub(super) fn fold(&self, name: &str) -> Vec<u16> {
        name.encode_utf16().map(|unit| self.0.get(usize::from(unit)).copied().unwrap_or(unit)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_stay_as_they_are_are_unpacked() {
        // 'a' stays, then three stay, then one changes.
        let raw: Vec<u8> = [0u16, SAME, 3, 9].iter().flat_map(|u| u.to_le_bytes()).collect();
        assert_eq!(UpCase::unpack(&raw).0, [0, 1, 2, 3, 9]);
        // A run past the last unit, and a mark without a number, end it.
        let raw: Vec<u8> = [SAME, 0xffff, SAME, 0xffff, SAME].iter().flat_map(|u| u.to_le_bytes()).collect();
        assert_eq!(UpCase::unpack(&raw).0.len(), 65_536);
        assert_eq!(UpCase::ascii().fold("aZ\u{e9}"), [0x41, 0x5a, 0xe9]);
    }
}
