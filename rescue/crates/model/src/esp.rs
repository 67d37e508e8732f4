//! An EFI system partition that several systems start from: what of it is whose, and how the saved state of one and the present state of
//! the others are made one.

use crate::id::VolumePath;
use crate::text::{DisplayText, RawName};
use crate::units::{ByteLen, ByteOffset};
use serde::{Deserialize, Serialize};

/// A system that may have files on the partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// What it is called.
    pub name: DisplayText,
    /// `ID` of os-release; [`crate::inspection::OS_WINDOWS`] for a Windows.
    pub os: DisplayText,
    /// Its machine id, which names its loader entries and the directory of its kernels.
    pub machine_id: Option<String>,
    /// The UUIDs of its volumes but this one, which its boot loader and its kernels' command lines name.
    pub uuids: Vec<String>,
    /// It has the partition mounted where its kernels are (`/boot`, `/boot/firmware`): what lies at the root of it is its own.
    pub boot: bool,
}

/// Who has files on the partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tenancy {
    /// The systems that go back.
    pub going: Vec<Tenant>,
    /// The systems that stay as they are.
    pub staying: Vec<Tenant>,
}

/// Something on the partition that is not of the systems that go back: a file, or a directory with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EspPart {
    /// Its path from the root of the partition: `/EFI/Microsoft`.
    pub path: RawName,
    /// Whose it is, for people.
    pub whose: DisplayText,
    /// It is not as it was saved.
    pub differs: bool,
    /// It is missing now, and comes back as it was saved: the system it belongs to is still there.
    pub returns: bool,
    /// Whatever has a name in it, itself included.
    pub files: u64,
    /// Their bytes.
    pub bytes: ByteLen,
}

impl EspPart {
    /// Its path without the slash it begins with.
    pub fn shown(&self) -> DisplayText {
        DisplayText::from_bytes(self.path.0.strip_prefix(b"/").unwrap_or(&self.path.0))
    }
}

/// What differs on a partition between a saved state and one in which the others' files are as they are now: bytes that are copied from the
/// present state, and bytes that are written over both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Graft {
    /// What is copied: files.
    pub copies: Vec<CopiedBytes>,
    /// What is written: directories and the allocation table.
    pub patches: Vec<(ByteOffset, Vec<u8>)>,
}

/// Bytes of the present state that are put into the saved one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedBytes {
    /// Where they lie in the present state.
    pub from: ByteOffset,
    /// Where they go.
    pub to: ByteOffset,
    /// How many.
    pub len: ByteLen,
}

/// What was read of the two states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EspReading {
    /// What is not of the systems that go back.
    pub stays: Vec<EspPart>,
    /// How that is put into the saved state, or why it cannot be.
    pub graft: Result<Graft, DisplayText>,
}

/// A partition that goes back with its system, and on which something is not of that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedEsp {
    /// Where it is now.
    pub volume: VolumePath,
    /// What it was called in the snapshot.
    pub saved_as: VolumePath,
    /// What is not of the systems that go back.
    pub stays: Vec<EspPart>,
    /// Why that cannot be kept as it is now: then all of the partition goes back.
    pub cannot: Option<DisplayText>,
    /// It is left as it is, for somebody wanted that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

impl SharedEsp {
    /// True where the state it goes to is composed of the saved one and what stays.
    pub fn is_composed(&self) -> bool {
        self.cannot.is_none() && self.stays.iter().any(|part| part.differs)
    }

    /// What is carried over.
    pub fn bytes(&self) -> ByteLen {
        ByteLen(self.stays.iter().filter(|p| p.differs).map(|p| p.bytes.0).fold(0, u64::saturating_add))
    }
}
