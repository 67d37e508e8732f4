//! Packs: many frames in one object (docs/store-format.md, "Packs").

use crate::footer::{ChunkEntry, Footer, FrameEntry, MAX_CHUNKS, MAX_FRAMES, MAX_SEAL};
use crate::layout::{MAX_PACK, PACK_TARGET, big, small};
use model::id::Digest;

/// What a pack begins with: 13 bytes of magic, a salt of two bytes, the format.
const HEADER: [u8; 16] = *b"holdfast pack\0\0\x01";
/// Where the salt lies.
const SALT: usize = 13;
/// Where the format stands.
const VERSION: usize = 15;
/// What a pack ends with.
const MAGIC: [u8; 8] = *b"packends";
/// Bytes of the trailer: hash of the footer as stored, its length, zero, magic.
pub(crate) const TRAILER: usize = 48;
/// The first frame lies here.
const FIRST: u64 = 16;

/// What a chunk is for. Informational: a data chunk may well be equal to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of a volume.
    Data,
    /// A map node.
    Node,
}

/// How a frame is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// One zstd frame, shorter than the plain bytes.
    Zstd,
}

/// What a trailer says, given the pack's length: where the footer begins, how long it is as stored, and its hash.
pub(crate) fn decode_trailer(pack_len: u64, trailer: &[u8; TRAILER]) -> Option<(u64, usize, Digest)> {
    let mut sum = [0; 32];
    sum.copy_from_slice(&trailer[..32]);
    let len = u32::from_le_bytes([trailer[32], trailer[33], trailer[34], trailer[35]]);
    let good = trailer[36..40] == [0; 4] && trailer[40..] == MAGIC && pack_len <= MAX_PACK;
    let begins = pack_len.checked_sub(TRAILER as u64)?.checked_sub(u64::from(len))?;
    (good && big(len) <= Footer::MOST + big(MAX_SEAL) && begins >= FIRST).then_some((begins, big(len), Digest(sum)))
}

/// How a pack begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    Pack,
    Newer(u32),
    Other,
}

/// What the first bytes of an object say of it.
pub(crate) fn header(bytes: &[u8]) -> Header {
    match bytes.get(..HEADER.len()) {
        Some(head) if head[..SALT] != HEADER[..SALT] => Header::Other,
        Some(head) if head[VERSION] > HEADER[VERSION] => Header::Newer(head[VERSION].into()),
        Some(head) if head[VERSION] == HEADER[VERSION] => Header::Pack,
        _ => Header::Other,
    }
}

/// A pack being filled in memory.
pub(crate) struct PackBuilder {
    bytes: Vec<u8>,
    footer: Footer,
}

/// A pack ready to be put.
pub(crate) struct Pack {
    pub(crate) bytes: Vec<u8>,
    pub(crate) footer: Footer,
}

impl Pack {
    /// The same chunks under another name: for when an object of the first name is there and damaged.
    pub(crate) fn salt(&mut self, salt: u8) {
        self.bytes[SALT] = salt;
    }
}

impl PackBuilder {
    pub(crate) fn new() -> Self {
        Self { bytes: HEADER.to_vec(), footer: Footer { frames: Vec::new(), chunks: Vec::new() } }
    }

    /// The number that the next frame will have.
    pub(crate) fn next(&self) -> u16 {
        u16::try_from(self.footer.frames.len()).expect("at most 4,096 frames")
    }

    /// Adds a frame as it is stored, and what it holds.
    pub(crate) fn push(&mut self, encoding: Encoding, plain: u32, stored: &[u8], chunks: &[(Digest, u32, Kind)]) {
        let (frame, offset) = (self.next(), small(self.bytes.len()));
        self.bytes.extend_from_slice(stored);
        self.footer.frames.push(FrameEntry { offset, stored: small(stored.len()), plain, encoding });
        self.footer.chunks.extend(chunks.iter().map(|&(id, plain, kind)| ChunkEntry { id, plain, frame, kind }));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.footer.frames.is_empty()
    }

    /// True where a frame of so many chunks and at most 4 MiB no longer belongs in it.
    pub(crate) fn is_full(&self, chunks: usize) -> bool {
        let (frames, there) = (self.footer.frames.len(), self.footer.chunks.len());
        self.bytes.len() >= PACK_TARGET || frames == MAX_FRAMES || there + chunks > MAX_CHUNKS
    }

    pub(crate) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Ends the pack with its footer as it is stored.
    pub(crate) fn close(mut self, footer: &[u8]) -> Pack {
        self.bytes.extend_from_slice(footer);
        self.bytes.extend(Digest::of(footer).0);
        self.bytes.extend(small(footer.len()).to_le_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(MAGIC);
        Pack { bytes: self.bytes, footer: self.footer }
    }
}
