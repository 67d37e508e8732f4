//! The footer of a pack: which frames it has, and which chunks lie in each (docs/store-format.md, "Packs").

use crate::decode::DecodeError;
use crate::layout::{MAX_DATA, big, small};
use crate::pack::{Encoding, Kind};
use model::id::Digest;

/// Most frames of a pack.
pub(crate) const MAX_FRAMES: usize = 4096;
/// Most chunks of a pack.
pub(crate) const MAX_CHUNKS: usize = 16_384;
/// Most plain bytes of a frame: zstd makes a root file system 1 % smaller than in frames of half that size.
pub(crate) const MAX_FRAME: u32 = 4 * 1024 * 1024;
/// What sealing adds to bytes at most: a nonce of 24 and a tag of 16.
pub(crate) const MAX_SEAL: u32 = 40;

/// The first frame lies here: behind the pack's header.
const FIRST: u32 = 16;
/// Bytes before the first entry.
const HEAD: usize = 8;
/// Bytes of a frame's entry.
const FRAME: usize = 16;
/// Bytes of a chunk's entry.
const CHUNK: usize = 40;

/// A frame of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEntry {
    /// First stored byte, from the start of the pack.
    pub offset: u32,
    /// Stored bytes, sealing included.
    pub stored: u32,
    /// Plain bytes.
    pub plain: u32,
    /// How the plain bytes are stored.
    pub encoding: Encoding,
}

/// A chunk of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkEntry {
    /// The name of the hash of its plain bytes.
    pub id: Digest,
    /// Plain bytes.
    pub plain: u32,
    /// The frame it lies in.
    pub frame: u16,
    /// What it is for.
    pub kind: Kind,
}

/// What a pack says that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Its frames, in their order.
    pub frames: Vec<FrameEntry>,
    /// Its chunks, in their order: those of a frame are its plain bytes, one after the other.
    pub chunks: Vec<ChunkEntry>,
}

/// Where a chunk lies within its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFrame {
    /// The number of the frame.
    pub frame: u16,
    /// Its first byte, from the start of the frame's plain bytes.
    pub at: u32,
    /// Its plain bytes.
    pub len: u32,
}

impl Footer {
    /// No footer has more plain bytes.
    pub const MOST: usize = HEAD + MAX_FRAMES * FRAME + MAX_CHUNKS * CHUNK;

    /// The one encoding of this footer.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.frames.len() * FRAME + self.chunks.len() * CHUNK);
        out.extend(small(self.frames.len()).to_le_bytes());
        out.extend(small(self.chunks.len()).to_le_bytes());
        for f in &self.frames {
            out.extend(f.offset.to_le_bytes());
            out.extend(f.stored.to_le_bytes());
            out.extend(f.plain.to_le_bytes());
            out.extend([matches!(f.encoding, Encoding::Zstd).into(), 0, 0, 0]);
        }
        for c in &self.chunks {
            out.extend(c.id.0);
            out.extend(c.plain.to_le_bytes());
            out.extend(c.frame.to_le_bytes());
            out.extend([matches!(c.kind, Kind::Node).into(), 0]);
        }
        out
    }

    /// The footer whose one encoding these bytes are.
    ///
    /// # Errors
    /// [`DecodeError::Bad`] where there is no such footer.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bad = || DecodeError::bad(format!("a pack footer of {} bytes is none", bytes.len()));
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or_else(bad)?;
        let (frames, chunks) = (big(word(head, 0)), big(word(head, 4)));
        // Before memory is taken: the counts are what the length says, and within their limits.
        let lists = (1..=MAX_FRAMES).contains(&frames) && (1..=MAX_CHUNKS).contains(&chunks);
        if !lists || rest.len() != frames * FRAME + chunks * CHUNK {
            return Err(bad());
        }
        let (frames, chunks) = rest.split_at(frames * FRAME);
        let frames = frames.as_chunks::<FRAME>().0.iter().map(frame).collect::<Option<Vec<_>>>();
        let chunks = chunks.as_chunks::<CHUNK>().0.iter().map(chunk).collect::<Option<Vec<_>>>();
        let footer = frames.zip(chunks).map(|(frames, chunks)| Self { frames, chunks });
        let footer = footer.ok_or_else(|| DecodeError::bad("a pack footer has an entry of unknown kind"))?;
        footer.validate()?;
        Ok(footer)
    }

    /// Checks every rule that does not depend on how the store is sealed: limits, order, sums.
    ///
    /// # Errors
    /// [`DecodeError::Bad`] with the first rule broken.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let bad = |what: &str| Err(DecodeError::bad(format!("a pack footer whose {what}")));
        let lists = (1..=MAX_FRAMES).contains(&self.frames.len()) && (1..=MAX_CHUNKS).contains(&self.chunks.len());
        if !lists {
            return bad("number of entries is beyond the limits");
        }
        if self.end().is_none() {
            return bad("frames do not follow each other");
        }
        let mut chunks = self.chunks.as_slice();
        for (number, frame) in (0u16..).zip(&self.frames) {
            let own = chunks.iter().take_while(|c| c.frame == number).count();
            let (here, after) = chunks.split_at(own);
            if here.iter().any(|c| c.plain == 0 || c.plain > MAX_DATA) {
                return bad("chunks are beyond the limits");
            }
            // At most 16,384 chunks of 512 KiB: the sum needs more than 32 bits, but not more than 64.
            if own == 0 || here.iter().map(|c| u64::from(c.plain)).sum::<u64>() != u64::from(frame.plain) {
                return bad("chunks do not add up to their frames");
            }
            chunks = after;
        }
        if chunks.is_empty() { Ok(()) } else { bad("chunks are out of order") }
    }

    /// True where every frame is as long as its encoding says, in a store in which sealing adds `seal` bytes.
    pub fn is_sealed(&self, seal: u32) -> bool {
        self.frames.iter().all(|f| match f.encoding {
            Encoding::Plain => Some(f.stored) == f.plain.checked_add(seal),
            Encoding::Zstd => f.stored.checked_sub(seal).is_some_and(|s| s > 0 && s < f.plain),
        })
    }

    /// Where the last frame ends, or `None` where any breaks a rule.
    pub fn end(&self) -> Option<u32> {
        self.frames.iter().try_fold(FIRST, |at, f| {
            let lengths = f.plain > 0 && f.plain <= MAX_FRAME && f.stored > 0 && f.stored <= f.plain + MAX_SEAL;
            if lengths && f.offset == at { at.checked_add(f.stored) } else { None }
        })
    }

    /// Where a chunk lies.
    pub fn find(&self, id: &Digest) -> Option<InFrame> {
        self.places().find(|(chunk, _)| chunk.id == *id).map(|(_, place)| place)
    }

    /// Every chunk and where it lies.
    pub fn places(&self) -> impl Iterator<Item = (&ChunkEntry, InFrame)> {
        let (mut frame, mut at) = (0, 0u32);
        self.chunks.iter().map(move |c| {
            if c.frame != frame {
                (frame, at) = (c.frame, 0);
            }
            let place = InFrame { frame, at, len: c.plain };
            at = at.saturating_add(c.plain);
            (c, place)
        })
    }
}

fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn frame(b: &[u8; FRAME]) -> Option<FrameEntry> {
    let encoding = match b[12] {
        0 => Encoding::Plain,
        1 => Encoding::Zstd,
        _ => return None,
    };
    let entry = FrameEntry { offset: word(b, 0), stored: word(b, 4), plain: word(b, 8), encoding };
    (b[13..] == [0; 3]).then_some(entry)
}

fn chunk(b: &[u8; CHUNK]) -> Option<ChunkEntry> {
    let mut id = [0; 32];
    id.copy_from_slice(&b[..32]);
    let kind = match b[38] {
        0 => Kind::Data,
        1 => Kind::Node,
        _ => return None,
    };
    let entry = ChunkEntry { id: Digest(id), plain: word(b, 32), frame: u16::from_le_bytes([b[36], b[37]]), kind };
    (b[39] == 0).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Footer {
        let frame = |offset, stored, plain| FrameEntry {
            offset,
            stored,
            plain,
            encoding: [Encoding::Zstd, Encoding::Plain][usize::from(stored == plain)],
        };
        let chunk = |n: u8, plain, frame| ChunkEntry { id: Digest::of(&[n]), plain, frame, kind: Kind::Data };
        Footer {
            frames: vec![frame(16, 50, 100), frame(66, 7, 7), frame(73, 1, 30)],
            chunks: vec![chunk(1, 60, 0), chunk(2, 40, 0), chunk(3, 7, 1), chunk(4, 10, 2), chunk(5, 20, 2)],
        }
    }

    #[test]
    fn comes_back_and_finds() {
        let footer = sample();
        assert_eq!(Footer::decode(&footer.encode()).unwrap(), footer);
        assert_eq!(footer.end(), Some(74));
        assert!(footer.is_sealed(0) && !footer.is_sealed(40));
        let at = |n: u8| footer.find(&Digest::of(&[n])).map(|p| (p.frame, p.at, p.len));
        assert_eq!([at(1), at(2), at(3)], [Some((0, 0, 60)), Some((0, 60, 40)), Some((1, 0, 7))]);
        assert_eq!([at(4), at(5), at(6)], [Some((2, 0, 10)), Some((2, 10, 20)), None]);
    }

    #[test]
    fn every_rule_is_kept() {
        type Break = fn(&mut Footer);
        let breaks: &[Break] = &[
            |f| f.frames[0].offset = 17,
            |f| f.frames[1].offset += 1,
            |f| f.frames[1].stored += 41,
            |f| f.frames[2].plain = 0,
            |f| f.frames[2].stored = 0,
            |f| f.frames[0].plain = MAX_FRAME + 1,
            |f| f.chunks[0].plain += 1,
            |f| f.chunks[2].frame = 0,
            |f| f.chunks[3].frame = 1,
            |f| f.chunks.swap(0, 2),
            |f| f.chunks[4].frame = 3,
            |f| f.chunks[1].plain = 0,
            |f| f.chunks.clear(),
            |f| f.frames.clear(),
            |f| f.frames.truncate(2),
            |f| f.frames.push(FrameEntry { offset: 74, stored: 1, plain: 1, encoding: Encoding::Plain }),
        ];
        for (n, change) in breaks.iter().enumerate() {
            let mut bad = sample();
            change(&mut bad);
            assert!(bad.validate().is_err(), "{n}");
            assert!(Footer::decode(&bad.encode()).is_err(), "{n}");
        }
        let good = sample().encode();
        for len in 0..good.len() {
            assert!(Footer::decode(&good[..len]).is_err(), "{len}");
        }
        for at in 0..good.len() {
            let mut other = good.clone();
            other[at] ^= 0x80;
            // What is accepted has one encoding.
            assert!(
                Footer::decode(&other).is_ok_and(|f| f.encode() == other) || Footer::decode(&other).is_err(),
                "{at}"
            );
        }
    }
}
