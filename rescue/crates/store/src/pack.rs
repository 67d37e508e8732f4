//! Packs: many chunks in one object (docs/store-format.md, "Packs").

use crate::decode::DecodeError;
use crate::layout::{MAX_DATA, MAX_ENTRIES, MAX_NODE, MAX_PACK, PACK_TARGET, big, small};
use model::id::Digest;
use serde::{Deserialize, Serialize};

/// What a pack begins with: 13 bytes of magic, a salt of two bytes, the format.
const HEADER: [u8; 16] = *b"holdfast pack\0\0\0";
/// Where the salt lies.
const SALT: usize = 13;
/// What a pack ends with.
const MAGIC: [u8; 8] = *b"packends";
/// Bytes of an entry of the footer.
pub(crate) const ENTRY: usize = 48;
/// Bytes of the trailer: SHA-256 of the footer, its length, zero, magic.
pub(crate) const TRAILER: usize = 48;
/// The first chunk lies here.
pub(crate) const FIRST: u32 = 16;

/// What a chunk is for. Informational: a data chunk may well be equal to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bytes of a volume.
    Data,
    /// A map node.
    Node,
}

/// How a chunk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    Plain,
    /// One zstd frame, shorter than the plain bytes.
    Zstd,
}

/// Where a chunk lies in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackEntry {
    /// SHA-256 of its plain bytes.
    pub id: Digest,
    /// First stored byte, from the start of the pack.
    pub offset: u32,
    /// Stored bytes.
    pub stored: u32,
    /// Plain bytes.
    pub plain: u32,
    /// What it is for.
    pub kind: Kind,
    /// How it is stored.
    pub encoding: Encoding,
}

impl PackEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.id.0);
        out.extend(self.offset.to_le_bytes());
        out.extend(self.stored.to_le_bytes());
        out.extend(self.plain.to_le_bytes());
        out.push(match self.kind {
            Kind::Data => 0,
            Kind::Node => 1,
        });
        out.push(match self.encoding {
            Encoding::Plain => 0,
            Encoding::Zstd => 1,
        });
        out.extend([0; 2]);
    }

    fn decode(b: &[u8; ENTRY]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let mut id = [0; 32];
        id.copy_from_slice(&b[..32]);
        let kind = match b[44] {
            0 => Kind::Data,
            1 => Kind::Node,
            _ => return None,
        };
        let encoding = match b[45] {
            0 => Encoding::Plain,
            1 => Encoding::Zstd,
            _ => return None,
        };
        let entry = Self { id: Digest(id), offset: word(32), stored: word(36), plain: word(40), kind, encoding };
        (b[46..] == [0, 0]).then_some(entry)
    }

    fn is_valid(&self) -> bool {
        let most = match self.kind {
            Kind::Data => MAX_DATA,
            Kind::Node => MAX_NODE,
        };
        let stored = match self.encoding {
            Encoding::Plain => self.stored == self.plain,
            Encoding::Zstd => self.stored < self.plain && self.stored > 0,
        };
        self.plain <= most && self.plain > 0 && stored
    }
}

/// The entries of a footer; each is within its limits, and they follow each other without gap from the header on.
pub(crate) fn decode_entries(footer: &[u8]) -> Result<Vec<PackEntry>, DecodeError> {
    let (parts, rest) = footer.as_chunks::<ENTRY>();
    if parts.is_empty() || parts.len() > MAX_ENTRIES || !rest.is_empty() {
        return Err(DecodeError::bad(format!("a pack footer of {} bytes", footer.len())));
    }
    let entries: Option<Vec<PackEntry>> = parts.iter().map(PackEntry::decode).collect();
    let entries = entries.ok_or_else(|| DecodeError::bad("a pack footer has an entry of unknown kind"))?;
    blobs_end(&entries).ok_or_else(|| DecodeError::bad("the entries of a pack footer do not follow each other"))?;
    Ok(entries)
}

/// Where the last chunk ends, or `None` where any entry breaks a rule.
pub(crate) fn blobs_end(entries: &[PackEntry]) -> Option<u32> {
    entries.iter().try_fold(
        FIRST,
        |at, e| {
            if !e.is_valid() || e.offset != at { None } else { at.checked_add(e.stored) }
        },
    )
}

pub(crate) fn encode_entries(entries: &[PackEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY);
    entries.iter().for_each(|e| e.encode(&mut out));
    out
}

/// What a trailer says, given the pack's length: where the footer begins, how long it is, and its sum.
pub(crate) fn decode_trailer(pack_len: u64, trailer: &[u8; TRAILER]) -> Option<(u64, usize, Digest)> {
    let mut sum = [0; 32];
    sum.copy_from_slice(&trailer[..32]);
    let len = u32::from_le_bytes([trailer[32], trailer[33], trailer[34], trailer[35]]);
    let good = trailer[36..40] == [0; 4] && trailer[40..] == MAGIC && pack_len <= MAX_PACK;
    let fits = big(len) <= MAX_ENTRIES * ENTRY && big(len).is_multiple_of(ENTRY);
    let begins = pack_len.checked_sub(TRAILER as u64)?.checked_sub(u64::from(len))?;
    (good && fits && begins >= u64::from(FIRST)).then_some((begins, big(len), Digest(sum)))
}

/// True where a pack begins as one of this format does.
pub(crate) fn has_header(bytes: &[u8]) -> bool {
    bytes.len() > 16 && bytes[..SALT] == HEADER[..SALT] && bytes[15] == HEADER[15]
}

/// A pack being filled in memory.
pub(crate) struct PackBuilder {
    bytes: Vec<u8>,
    entries: Vec<PackEntry>,
}

/// A pack ready to be put.
pub(crate) struct Sealed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<PackEntry>,
}

impl Sealed {
    /// The same chunks under another name: for when an object of the first name is there and damaged.
    pub(crate) fn salt(&mut self, salt: u8) {
        self.bytes[SALT] = salt;
    }
}

impl PackBuilder {
    pub(crate) fn new() -> Self {
        Self { bytes: HEADER.to_vec(), entries: Vec::new() }
    }

    pub(crate) fn push(&mut self, id: Digest, kind: Kind, encoding: Encoding, plain: u32, stored: &[u8]) {
        let offset = small(self.bytes.len());
        self.bytes.extend_from_slice(stored);
        self.entries.push(PackEntry { id, offset, stored: small(stored.len()), plain, kind, encoding });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= PACK_TARGET || self.entries.len() >= MAX_ENTRIES
    }

    pub(crate) fn seal(mut self) -> Sealed {
        let footer = encode_entries(&self.entries);
        self.bytes.extend_from_slice(&footer);
        self.bytes.extend(Digest::of(&footer).0);
        self.bytes.extend(small(footer.len()).to_le_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(MAGIC);
        Sealed { bytes: self.bytes, entries: self.entries }
    }
}
