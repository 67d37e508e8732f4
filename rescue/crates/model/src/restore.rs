//! A saved disk put onto another disk, whole: table, boot code and volumes, each where it lay.

use crate::hex;
use crate::id::{Digest, DiskNo, VolumePath};
use crate::inspection::{Hardware, TableKind};
use crate::luks::Sealed;
use crate::snapshot::MapRoot;
use crate::text::DisplayText;
use crate::units::{ByteLen, ByteOffset, Extent, ExtentSet, SectorSize};
use serde::{Deserialize, Serialize};

/// One disk that a restore writes. The plan holds all of it: the same plan gives the same bytes, at its first run and after a cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRestore {
    /// The disk it is put onto.
    pub disk: DiskNo,
    /// What it was called in the snapshot.
    pub saved_as: DiskNo,
    /// The disk it must be: re-checked on the descriptor.
    pub hardware: Hardware,
    /// SHA-256 of the disk's head at inspection: what makes a plan stale.
    pub disk_head: Digest,
    /// What it holds now, for people.
    pub holds: DisplayText,
    /// True where something is lost by writing over it: its owner was named, and it cannot be undone.
    pub lost: bool,
    /// What its table will be, for people.
    pub table: DisplayText,
    /// Bytes of maps at their places, in rising order, none over another and none over `made`.
    pub parts: Vec<DiskPart>,
    /// Bytes that are made for this disk: its table, fitted to its size.
    pub made: Vec<MadeBytes>,
    /// Where zeros are written if the maps have nothing there, so that nothing is seen of what lay on the disk before.
    pub cleared: ExtentSet,
    /// Bytes that are encrypted as they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encrypted: Vec<Encrypted>,
    /// Bytes the snapshot holds for it, the cleared ones among them: the most that is written.
    pub at_most: ByteLen,
    /// The volume that is made larger, or could be: the disk has room behind its last partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
}

/// Bytes of a disk that lay in an encrypted volume and were saved in clear: they are encrypted again as they are written, with the key of
/// that volume, whose header comes back as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encrypted {
    /// The encrypted volume, as the snapshot calls it.
    pub volume: VolumePath,
    /// How, and where it lies on the disk.
    pub sealed: Sealed,
    /// Which bytes of the disk. What else lies there comes from the store as it was saved, encrypted.
    pub places: ExtentSet,
    /// True where its key was there when the plan was made.
    pub open: bool,
}

/// A volume that reaches to the end of a disk that is larger than the saved one. Swap that lies behind it moves along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// As the snapshot calls it.
    pub volume: VolumePath,
    /// Its size in the snapshot.
    pub from: ByteLen,
    /// Its size on this disk.
    pub to: ByteLen,
    /// True where the plan does that, false where it is only possible.
    pub wanted: bool,
}

/// Bytes of a map that stand together on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPart {
    /// Which map.
    pub map: MapRoot,
    /// Which bytes of it.
    pub within: Extent,
    /// Where the first of them stands on the disk.
    pub at: ByteOffset,
}

impl DiskPart {
    /// Where it stands on the disk; `None` past all that can be addressed.
    pub fn place(&self) -> Option<Extent> {
        Extent::new(self.at, self.within.len())
    }
}

/// Bytes at a place of a disk: those told, then zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeBytes {
    /// Where.
    pub place: Extent,
    /// How it begins, never longer than the place.
    pub bytes: HexBytes,
}

impl MadeBytes {
    /// The bytes for a place; zeros at their end are left out. `None` where the place cannot be addressed.
    pub fn new(at: ByteOffset, bytes: &[u8]) -> Option<Self> {
        let place = Extent::new(at, ByteLen(bytes.len() as u64))?;
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        Some(Self { place, bytes: HexBytes(bytes[..end].to_vec()) })
    }

    /// All of them, or `None` where the place is longer than `most` or than memory.
    pub fn whole(&self, most: usize) -> Option<Vec<u8>> {
        let len = self.place.len().to_usize().filter(|len| *len <= most && *len >= self.bytes.0.len())?;
        let mut bytes = self.bytes.0.clone();
        bytes.resize(len, 0);
        Some(bytes)
    }
}

/// Bytes, written as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HexBytes(pub Vec<u8>);

impl TryFrom<String> for HexBytes {
    type Error = &'static str;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        let pairs = digits.as_bytes().chunks(2);
        pairs
            .map(|pair| hex::decode::<1>(std::str::from_utf8(pair).ok()?).map(|[b]| b))
            .collect::<Option<_>>()
            .map(Self)
            .ok_or("hexadecimal digits expected")
    }
}

impl std::fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {:?}", self.0.len(), Digest::of(&self.0))
    }
}

impl From<HexBytes> for String {
    fn from(bytes: HexBytes) -> Self {
        hex::encode(&bytes.0)
    }
}

/// How a saved table is to be fitted to another disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FitTable {
    /// Which kind it is.
    pub kind: TableKind,
    /// The sectors of the disk it was on, as the system told; an image file does not tell.
    pub sector: SectorSize,
    /// The size of the disk it is for.
    pub size: ByteLen,
    /// What its new identifiers are made of; it keeps its own where `None`.
    pub new_ids: Option<Digest>,
    /// The partition that is made larger.
    #[serde(default)]
    pub grow: Option<GrowPartition>,
}

/// A partition that is made larger. Those behind it move as far towards the end of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowPartition {
    /// Its number; no logical one.
    pub number: u32,
    /// By how much, in whole sectors: at most [`FittedTable::room`].
    pub by: ByteLen,
}

/// A table for a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FittedTable {
    /// The sectors it counts in.
    pub sector: SectorSize,
    /// The size of the smallest disk that all of it and its partitions fit on.
    pub smallest: ByteLen,
    /// Its bytes: sector 0 and, of a GPT, both copies. Nothing where the disk is smaller than `smallest`.
    pub made: Vec<MadeBytes>,
    /// Its id: the disk GUID or the MBR signature, as [`crate::inspection::Table::id`] writes it.
    pub id: String,
    /// The unique GUID of each partition, by its number; nothing of an MBR. Written as [`crate::inspection::Partition::guid`].
    #[serde(default)]
    pub guids: Vec<(u32, String)>,
    /// What the disk has free behind all partitions, in whole MiB: by so much one of them can be made larger.
    #[serde(default)]
    pub room: ByteLen,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_bytes_come_back_with_their_zeros() {
        let bytes = [0, 1, 0xff, 0, 0, 0];
        let made = MadeBytes::new(ByteOffset(512), &bytes).expect("it can be addressed");
        assert_eq!(made.bytes.0, [0, 1, 0xff]);
        let text = serde_json::to_string(&made).expect("plain data");
        assert!(text.contains("\"0001ff\""), "{text}");
        let back: MadeBytes = serde_json::from_str(&text).expect("what was written");
        assert_eq!(back.whole(6).as_deref(), Some(&bytes[..]));
        assert_eq!(back.whole(5), None, "longer than it may be");
        for bad in ["\"0\"", "\"0g\"", "\"000\"", "\"é0\""] {
            assert!(serde_json::from_str::<HexBytes>(bad).is_err(), "{bad}");
        }
        let lie = MadeBytes { place: Extent::whole(ByteLen(2)), ..made };
        assert_eq!(lie.whole(100), None, "more bytes than room");
    }
}
