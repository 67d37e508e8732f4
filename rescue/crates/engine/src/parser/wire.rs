//! What is said between the engine and the parser role. Each message is a frame of JSON and a frame of plain bytes (a
//! record or a frame on the way in, plain bytes or the ranges of a coverage on the way out; else empty).

use super::{AboutFiles, Asked, OfFiles, ReadOption, Scene};
use disk::table::TableReading;
use model::boot::{BootChain, BootRepairs};
use model::coverage::{CaptureMethod, Comparison};
use model::differences::FsDifferences;
use model::esp::{CopiedBytes, EspPart, Graft, Tenancy};
use model::evidence::Evidence;
use model::files::LostFiles;
use model::firmware::Value;
use model::id::{Digest, DiskNo, VolumePath};
use model::inspection::{Content, Finding, Hardware, Inspection, System, Table, Volume};
use model::inventory::InventoryEntry;
use model::luks::LuksHeader;
use model::mapping::{Beneath, Layers};
use model::note::Note;
use model::policy::{Policy, PolicyError};
use model::restore::{FitTable, FittedTable};
use model::snapshot::{Intent, MapRoot, Receipt, Statement};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use serde::{Deserialize, Serialize};
use store::DecodeError;

/// Longest frame of JSON: a record of a store is at most 32 MiB.
pub(super) const MOST_JSON: usize = 64 << 20;
/// Most bytes of a saved volume that are asked for at a time.
pub(super) const MOST_PIECE: usize = 1 << 20;
/// Longest frame of plain bytes.
pub(super) const MOST_BULK: usize = 128 << 20;
/// Bytes of one range on the wire: start and length, little-endian.
const RANGE: usize = 16;

/// A disk as the parser is told of it; the descriptors of those that have one follow in the same order, from number 4 on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) no: DiskNo,
    pub(super) hardware: Hardware,
    /// It has no descriptor: its bytes are asked for while a question is answered ([`Answer::Wanted`]).
    pub(super) handed: bool,
}

/// What is handed over while a question is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Of {
    /// A volume of the question: the first, or the second where it has two.
    Volume(u8),
    /// A disk that the process has no descriptor of.
    Disk(DiskNo),
    /// What lies encrypted on a volume, in clear.
    Sealed(Place),
}

/// A volume with something encrypted on it: its path, and what the header is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) on: VolumePath,
    pub(super) header: Digest,
}

impl Place {
    /// Of a volume beneath another; `None` where it is not encrypted.
    pub(super) fn of(beneath: &Beneath) -> Option<Self> {
        Some(Self { on: beneath.path.clone(), header: beneath.sealed.as_ref()?.header })
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub(super) enum Request {
    /// The first message.
    Hello {
        disks: Vec<Known>,
    },
    Table {
        disk: DiskNo,
    },
    Content {
        volume: VolumePath,
        extent: Extent,
    },
    Luks {
        volume: Volume,
    },
    /// Answered as [`Request::Luks`] is. While it is, the parser asks for bytes of the saved volume, `size` bytes long.
    SavedLuks {
        size: ByteLen,
    },
    Layers {
        inspection: Inspection,
    },
    /// Answered as [`Request::Content`] is.
    MappedContent {
        volume: Volume,
    },
    Systems {
        inspection: Inspection,
    },
    Evidence {
        scene: Scene,
        want: usize,
    },
    Boot {
        inspection: Inspection,
        system: System,
    },
    BootRepairs {
        inspection: Inspection,
    },
    Coverage {
        volume: Volume,
    },
    Cuts {
        volume: Volume,
    },
    /// While it is answered, the parser asks for bytes of the earlier state, `size` bytes long ([`Answer::Wanted`]).
    Changes {
        volume: Volume,
        size: ByteLen,
    },
    /// The lost ranges are the plain bytes. While it is answered, the parser asks for bytes of the saved volume, `size` bytes
    /// long.
    Losses {
        content: Content,
        size: ByteLen,
    },
    /// While it is answered, the parser asks for bytes of the saved volume, `size` bytes long. `map` tells whether it is the
    /// one that was asked about before.
    Files {
        map: MapRoot,
        content: Content,
        size: ByteLen,
        about: AboutFiles,
    },
    /// While it is answered, the parser asks for bytes of the saved disk, `size` bytes long.
    FitTable {
        size: ByteLen,
        wanted: FitTable,
    },
    /// While it is answered, the parser asks for bytes of both states, each with what is on it and its size.
    Differences {
        before: (Content, ByteLen),
        after: (Content, ByteLen),
        asked: Asked,
    },
    /// While it is answered, the parser asks for bytes of both states, each with what is on it and its size.
    Esp {
        then: (Content, ByteLen),
        now: (Content, ByteLen),
        tenancy: Tenancy,
    },
    /// Bytes of a saved volume that were asked for; fewer where they cannot be had.
    Bytes,
    Statement,
    Note,
    InventoryEntry,
    Intent,
    Receipt,
    Frame {
        plain: u32,
    },
    /// Its text is the plain bytes.
    Policy,
    LoadOptions {
        entries: Vec<Value>,
    },
}

impl Request {
    /// What lies encrypted beneath the volumes that it is about.
    pub(super) fn sealed(&self) -> Vec<&Beneath> {
        let layered: &[Volume] = match self {
            Self::Layers { inspection } | Self::Systems { inspection } | Self::BootRepairs { inspection } => {
                &inspection.layered
            }
            Self::Boot { inspection, .. } => &inspection.layered,
            Self::Evidence { scene, .. } => &scene.volumes,
            Self::MappedContent { volume }
            | Self::Luks { volume }
            | Self::Coverage { volume }
            | Self::Cuts { volume }
            | Self::Changes { volume, .. } => std::slice::from_ref(volume),
            _ => &[],
        };
        let beneath = layered.iter().filter_map(|v| v.mapping.as_ref()).flat_map(|m| &m.beneath);
        let mut out: Vec<&Beneath> = Vec::new();
        for sealed in beneath.filter(|b| b.sealed.is_some()) {
            if !out.contains(&sealed) {
                out.push(sealed);
            }
        }
        out
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub(super) enum Answer {
    Ready,
    Table(Reading),
    Content {
        content: Content,
        findings: Vec<Finding>,
    },
    Luks {
        header: Box<LuksHeader>,
    },
    Layers {
        layers: Layers,
    },
    Systems {
        systems: Vec<System>,
        findings: Vec<Finding>,
    },
    Evidence {
        evidence: Vec<Evidence>,
    },
    Boot {
        chain: BootChain,
    },
    /// What its patches put down is the plain bytes, one behind the other; each says how long it is.
    BootRepairs {
        repairs: BootRepairs,
        lengths: Vec<u32>,
    },
    /// The ranges are the plain bytes.
    Coverage {
        method: CaptureMethod,
        why: DisplayText,
        state: Option<Digest>,
    },
    /// They are the plain bytes.
    Cuts,
    /// No answer yet: bytes of something that is handed over are wanted, in a [`Request::Bytes`].
    Wanted {
        of: Of,
        at: ByteOffset,
        len: u32,
    },
    /// The ranges are the plain bytes.
    Changes {
        comparison: Comparison,
        why: DisplayText,
    },
    Losses {
        files: LostFiles,
    },
    Files {
        told: OfFiles,
    },
    Fitted {
        table: Box<FittedTable>,
    },
    Differences {
        found: Box<FsDifferences>,
    },
    /// What is written is the plain bytes, one piece behind the other; each says where it goes, and how long it is.
    Esp {
        stays: Vec<EspPart>,
        copies: Vec<CopiedBytes>,
        patches: Vec<(ByteOffset, u32)>,
        cannot: Option<DisplayText>,
    },
    Statement {
        statement: Box<Statement>,
    },
    Note {
        note: Note,
    },
    InventoryEntry {
        entry: Box<InventoryEntry>,
    },
    Intent {
        intent: Box<Intent>,
    },
    Receipt {
        receipt: Receipt,
    },
    /// What was compressed is the plain bytes.
    Frame,
    Policy {
        read: Result<Box<Policy>, PolicyError>,
    },
    LoadOptions {
        options: Vec<ReadOption>,
    },
    /// A record could not be decoded.
    Undecodable {
        error: DecodeError,
    },
    /// Not answered; the parser goes on.
    Failed {
        why: DisplayText,
    },
}

/// A [`TableReading`] on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    table: Option<Table>,
    volumes: Vec<(VolumePath, Extent, Option<Content>)>,
    findings: Vec<Finding>,
}

impl From<TableReading> for Reading {
    fn from(r: TableReading) -> Self {
        Self { table: r.table, volumes: r.volumes, findings: r.findings }
    }
}

impl From<Reading> for TableReading {
    fn from(r: Reading) -> Self {
        Self { table: r.table, volumes: r.volumes, findings: r.findings }
    }
}

/// Takes the bytes of the patches out: they and their lengths.
pub(super) fn take_patches(repairs: &mut BootRepairs) -> (Vec<u32>, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut take = |patch: &mut model::boot::Patch| {
        let taken = std::mem::take(&mut patch.bytes);
        bytes.extend_from_slice(&taken);
        u32::try_from(taken.len()).unwrap_or(u32::MAX)
    };
    let lengths = repairs.patches.iter_mut().map(&mut take).collect();
    (lengths, bytes)
}

/// Puts them back; `None` where they do not fit each other.
pub(super) fn give_patches(mut repairs: BootRepairs, lengths: &[u32], mut bytes: &[u8]) -> Option<BootRepairs> {
    if lengths.len() != repairs.patches.len() {
        return None;
    }
    for (patch, len) in repairs.patches.iter_mut().zip(lengths) {
        let (own, rest) = bytes.split_at_checked(usize::try_from(*len).ok()?)?;
        patch.bytes = own.to_vec();
        bytes = rest;
    }
    bytes.is_empty().then_some(repairs)
}

/// What is written of a graft: where, how long, and the bytes.
pub(super) fn take_graft(graft: &Graft) -> (Vec<(ByteOffset, u32)>, Vec<u8>) {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let places = graft.patches.iter().map(|(at, bytes)| (*at, len(bytes))).collect();
    (places, graft.patches.iter().flat_map(|(_, bytes)| bytes).copied().collect())
}

/// Puts it together again; `None` where they do not fit each other.
pub(super) fn give_graft(copies: Vec<CopiedBytes>, places: &[(ByteOffset, u32)], mut bytes: &[u8]) -> Option<Graft> {
    let mut patches = Vec::new();
    for (at, len) in places {
        let (own, rest) = bytes.split_at_checked(usize::try_from(*len).ok()?)?;
        patches.push((*at, own.to_vec()));
        bytes = rest;
    }
    bytes.is_empty().then_some(Graft { copies, patches })
}

/// Ranges as plain bytes.
pub(super) fn encode_ranges(ranges: &ExtentSet) -> Vec<u8> {
    let mut out = Vec::with_capacity(ranges.ranges() * RANGE);
    for extent in ranges.iter() {
        out.extend_from_slice(&extent.start().0.to_le_bytes());
        out.extend_from_slice(&extent.len().0.to_le_bytes());
    }
    out
}

/// The ranges, or `None` where the bytes are none.
pub(super) fn decode_ranges(bytes: &[u8]) -> Option<ExtentSet> {
    if !bytes.len().is_multiple_of(RANGE) {
        return None;
    }
    let number = |b: &[u8]| Some(u64::from_le_bytes(b.try_into().ok()?));
    let range = |b: &[u8]| Extent::try_from((number(&b[..8])?, number(&b[8..])?)).ok();
    bytes.chunks_exact(RANGE).map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_back() {
        let used: ExtentSet =
            [Extent::between(0, 4096), Extent::between(8192, 1 << 40)].into_iter().flatten().collect();
        let mut bytes = encode_ranges(&used);
        assert_eq!(decode_ranges(&bytes), Some(used));
        bytes.pop();
        assert_eq!(decode_ranges(&bytes), None);
        assert_eq!(decode_ranges(&[0xff; 16]), None, "an end past 64 bits");
    }
}
