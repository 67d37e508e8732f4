//! Volumes that are no partitions: how their bytes lie on disks, through LVM, a RAID array or encryption.
//!
//! A [`Mapping`] leads from each byte of such a volume to a byte of a volume that lies straight on a disk. It is told by a parser, so
//! whoever uses one asks [`Mapping::is_sound`] first. Reading goes through [`Mapped`]; nothing is assembled, and no byte is written.

use crate::id::VolumePath;
use crate::inspection::{Content, Finding};
use crate::luks::Sealed;
use crate::ports::{ReadAt, ReadError, check_range};
use crate::text::DisplayText;
use crate::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most segments of a volume, and most volumes beneath one: far more than anybody has, and a bound on what a disk can ask for.
pub const MOST_SEGMENTS: usize = 16_384;
/// See [`MOST_SEGMENTS`].
pub const MOST_BENEATH: usize = 256;
/// Everything begins and ends at sectors.
const SECTOR: u64 = 512;
/// What the identifier of a map begins with that is made of the devices of a btrfs.
const BTRFS: &str = "btrfs/";

/// How the bytes of a volume lie on others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// What makes it, for people: `LVM volume root of vg0`.
    pub says: DisplayText,
    /// The identifier that was made with it: what it is known again by (of LVM, the group's and the volume's).
    pub id: String,
    /// The volumes that hold its bytes; each lies straight on a disk.
    pub beneath: Vec<Beneath>,
    /// Its bytes from the first on, without gaps.
    pub segments: Vec<Segment>,
    /// Why nothing may be written through it, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<DisplayText>,
}

/// A volume that holds bytes of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beneath {
    /// Its path.
    pub path: VolumePath,
    /// Where it lies on its disk.
    pub extent: Extent,
    /// What of it is encrypted, where the map leads to bytes that are: each stands in its place, and is another byte there. Boxed: it is rare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Box<Sealed>>,
}

impl Beneath {
    /// One whose bytes are those of the volume above.
    pub fn plain(path: VolumePath, extent: Extent) -> Self {
        Self { path, extent, sealed: None }
    }
}

/// Bytes that follow each other in a volume, and lie in one or several places in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// How many.
    pub len: ByteLen,
    /// Bytes in one place before the next one has its turn. Zero where there is only one place.
    pub stripe: ByteLen,
    /// Bytes of the striped space before the first one of the segment. Zero where there is only one place.
    pub skip: ByteLen,
    /// The places, in turn.
    pub legs: Vec<Leg>,
}

/// Where part of a segment begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// Which of [`Mapping::beneath`].
    pub on: usize,
    /// The byte of that volume with which the leg begins.
    pub at: ByteOffset,
    /// Where the same bytes are kept once more. What is read is read of the first place; what is written, in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<(usize, ByteOffset)>,
}

impl Leg {
    /// One whose bytes are kept once.
    pub fn new(on: usize, at: ByteOffset) -> Self {
        Self { on, at, mirrors: Vec::new() }
    }
}

/// Bytes that stand together, above and beneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Which bytes of the mapped volume.
    pub within: Extent,
    /// Which of [`Mapping::beneath`].
    pub on: usize,
    /// The byte of that volume at which the first of them stands.
    pub at: ByteOffset,
}

impl Piece {
    /// The bytes beneath.
    pub fn place(&self) -> Option<Extent> {
        Extent::new(self.at, self.within.len())
    }
}

impl Segment {
    /// Bytes in one place.
    pub fn linear(len: ByteLen, on: usize, at: ByteOffset) -> Self {
        Self { len, stripe: ByteLen::ZERO, skip: ByteLen::ZERO, legs: vec![Leg::new(on, at)] }
    }

    /// The piece that begins with byte `from` of the segment, whose first byte is byte `start` of the volume; `None` past its end, or
    /// where it does not hold together.
    fn piece(&self, start: u64, from: u64) -> Option<Piece> {
        let (leg, offset, within) = self.turn(start, from)?;
        Some(Piece { within, on: leg.on, at: leg.at.checked_add(ByteLen(offset))? })
    }

    /// The same pieces of the mirrors.
    fn copies(&self, start: u64, from: u64) -> Option<Vec<Piece>> {
        let (leg, offset, within) = self.turn(start, from)?;
        let copy =
            |(on, at): &(usize, ByteOffset)| Some(Piece { within, on: *on, at: at.checked_add(ByteLen(offset))? });
        leg.mirrors.iter().map(copy).collect()
    }

    /// The leg that has byte `from`, how far into it that is, and which bytes of the volume follow there.
    fn turn(&self, start: u64, from: u64) -> Option<(&Leg, u64, Extent)> {
        let left = self.len.0.checked_sub(from).filter(|left| *left > 0)?;
        let (leg, offset, len) = match self.legs.as_slice() {
            [only] => (only, from, left),
            legs => {
                let place = self.skip.0.checked_add(from)?;
                let (turn, inside) = (place.checked_div(self.stripe.0)?, place % self.stripe.0);
                let count = legs.len() as u64;
                let leg = legs.get(usize::try_from(turn.checked_rem(count)?).ok()?)?;
                let offset = (turn / count).checked_mul(self.stripe.0)?.checked_add(inside)?;
                (leg, offset, left.min(self.stripe.0 - inside))
            }
        };
        Some((leg, offset, Extent::new(ByteOffset(start.checked_add(from)?), ByteLen(len))?))
    }

    /// The bytes that each leg has of it, and its mirrors; `None` where they cannot be addressed.
    fn places(&self) -> Option<Vec<(usize, Extent)>> {
        let all = |leg: &Leg, first: u64, len: ByteLen| -> Option<Vec<(usize, Extent)>> {
            let once = std::iter::once((leg.on, leg.at)).chain(leg.mirrors.iter().copied());
            once.map(|(on, at)| Some((on, Extent::new(at.checked_add(ByteLen(first))?, len)?))).collect()
        };
        if let [only] = self.legs.as_slice() {
            return all(only, 0, self.len);
        }
        let (count, stripe) = (self.legs.len() as u64, self.stripe.0);
        let (from, to) = (self.skip.0, self.skip.0.checked_add(self.len.0)?);
        // Bytes that leg `n` has of the first `end` bytes of the striped space.
        let before = |n: u64, end: u64| -> Option<u64> {
            let (turns, rest) = (end / stripe.checked_mul(count)?, end % stripe.checked_mul(count)?);
            Some(turns * stripe + rest.saturating_sub(n * stripe).min(stripe))
        };
        let leg = |(n, leg): (u64, &Leg)| {
            let (first, end) = (before(n, from)?, before(n, to)?);
            all(leg, first, ByteLen(end - first))
        };
        let legs = (0..).zip(&self.legs).map(leg).collect::<Option<Vec<_>>>()?;
        Some(legs.concat())
    }

    fn is_sound(&self, beneath: usize) -> bool {
        let whole = |n: u64| n.is_multiple_of(SECTOR);
        let aligned = whole(self.len.0) && whole(self.stripe.0) && whole(self.skip.0);
        let turns = match self.legs.len() {
            0 => false,
            1 => self.stripe.0 == 0 && self.skip.0 == 0,
            n => n <= MOST_BENEATH && self.stripe.0 > 0,
        };
        let place = |on: usize, at: ByteOffset| on < beneath && whole(at.0);
        let leg = |l: &Leg| {
            l.mirrors.len() <= MOST_BENEATH && place(l.on, l.at) && l.mirrors.iter().all(|(on, at)| place(*on, *at))
        };
        self.len.0 > 0 && aligned && turns && self.legs.iter().all(leg)
    }
}

impl Mapping {
    /// Bytes of the volume; `None` where that is past all that can be addressed.
    pub fn len(&self) -> Option<ByteLen> {
        self.segments.iter().try_fold(ByteLen::ZERO, |sum, s| sum.0.checked_add(s.len.0).map(ByteLen))
    }

    /// True where nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// True where it is the map of a volume of that length: bounded, every byte inside one of the volumes beneath, no two on the same.
    pub fn is_sound(&self, len: ByteLen) -> bool {
        let small = (1..=MOST_SEGMENTS).contains(&self.segments.len())
            && (1..=MOST_BENEATH).contains(&self.beneath.len())
            && self.id.len() <= 256
            && self.says.as_str().len() <= 4096;
        let parts = || (0..).zip(&self.beneath);
        let twice = parts().any(|(n, b)| parts().any(|(m, c)| n < m && b.path == c.path));
        let stacked = self.beneath.iter().any(|b| b.path.is_layered());
        let shaped = small && !twice && !stacked && self.segments.iter().all(|s| s.is_sound(self.beneath.len()));
        shaped && self.len() == Some(len) && self.held().is_some_and(|held| self.opens(&held))
    }

    /// True where what it has of volumes that are encrypted is.
    fn opens(&self, held: &[ExtentSet]) -> bool {
        self.beneath.iter().zip(held).all(|(b, held)| match &b.sealed {
            None => true,
            Some(sealed) => sealed.is_sound(b.extent.len()) && held.iter().all(|e| sealed.holds(e)),
        })
    }

    /// The identifier of the map of a btrfs on several devices, by its `fsid`.
    pub fn id_of_btrfs(fsid: &str) -> String {
        format!("{BTRFS}{fsid}")
    }

    /// Where each device of a btrfs that lies on several begins, and how long it is: in the order of its segments, of which each is one. None
    /// where the map is of something else.
    pub fn btrfs_devices(&self) -> Vec<Extent> {
        let mut at = 0u64;
        let segments = self.segments.iter().filter(|_| self.id.starts_with(BTRFS));
        let device = |s: &Segment| {
            let extent = Extent::new(ByteOffset(at), s.len)?;
            at = extent.end().0;
            Some(extent)
        };
        segments.map_while(device).collect()
    }

    /// True where any of its bytes lies encrypted.
    pub fn is_sealed(&self) -> bool {
        self.beneath.iter().any(|b| b.sealed.is_some())
    }

    /// The pieces of the mirrors, from the first byte of the volume on.
    pub fn copies(&self) -> Vec<Piece> {
        let mut out = Vec::new();
        let mut start = 0;
        for segment in &self.segments {
            let mut from = 0;
            while segment.legs.iter().any(|l| !l.mirrors.is_empty()) && from < segment.len.0 {
                let Some((_, _, within)) = segment.turn(start, from) else { break };
                out.extend(segment.copies(start, from).unwrap_or_default());
                from += within.len().0.max(1);
            }
            start += segment.len.0;
        }
        out
    }

    /// The pieces of the mirrors that hold a range of the volume once more.
    pub fn copies_of(&self, range: Extent) -> Vec<Piece> {
        let mut out = Vec::new();
        let mut start = 0u64;
        for segment in &self.segments {
            let end = start.saturating_add(segment.len.0);
            let mut at = range.start().0.max(start);
            while at < range.end().0.min(end) && segment.legs.iter().any(|l| !l.mirrors.is_empty()) {
                let Some((_, _, within)) = segment.turn(start, at - start) else { break };
                let part = |piece: Piece| {
                    let within = Extent::between(at, piece.within.end().0.min(range.end().0))?;
                    Some(Piece { within, ..piece })
                };
                out.extend(segment.copies(start, at - start).unwrap_or_default().into_iter().filter_map(part));
                at += within.len().0.max(1);
            }
            start = end;
        }
        out
    }

    /// True where any of its bytes is kept more than once.
    pub fn is_mirrored(&self) -> bool {
        self.segments.iter().flat_map(|s| &s.legs).any(|l| !l.mirrors.is_empty())
    }

    /// The bytes that it has of each volume beneath, in their order; `None` where any lies outside, or two are the same.
    pub fn held(&self) -> Option<Vec<ExtentSet>> {
        let mut held = vec![Vec::new(); self.beneath.len()];
        for segment in &self.segments {
            for (on, place) in segment.places()? {
                let inside = Extent::whole(self.beneath.get(on)?.extent.len()).contains(place);
                held.get_mut(on)?.extend((inside && !place.is_empty()).then_some(place));
                if !inside {
                    return None;
                }
            }
        }
        let set = |mut places: Vec<Extent>| {
            places.sort_unstable();
            let apart = places.windows(2).all(|w| w[0].end() <= w[1].start());
            apart.then(|| places.into_iter().collect::<ExtentSet>())
        };
        held.into_iter().map(set).collect()
    }

    /// The bytes that it has of one volume beneath.
    pub fn held_of(&self, path: &VolumePath) -> ExtentSet {
        let sets = self.held().unwrap_or_default();
        let of = |(b, set): (&Beneath, ExtentSet)| (b.path == *path).then_some(set);
        self.beneath.iter().zip(sets).find_map(of).unwrap_or_default()
    }

    /// The pieces that hold a range of the volume, in order. Ends early where the range goes past the volume's end.
    pub fn pieces(&self, range: Extent) -> impl Iterator<Item = Piece> + '_ {
        let mut at = range.start().0;
        let end = range.end().0;
        let mut start = 0;
        let mut segments = self.segments.iter().peekable();
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            while let Some(segment) = segments.peek() {
                if at - start < segment.len.0 {
                    let piece = segment.piece(start, at - start)?;
                    let within = Extent::between(at, piece.within.end().0.min(end))?;
                    at = within.end().0;
                    return Some(Piece { within, ..piece });
                }
                start += segment.len.0;
                segments.next();
            }
            None
        })
    }

    /// The same with the volumes beneath by other names, where all of them have one.
    pub fn renamed(&self, new: impl Fn(&Beneath) -> Option<Beneath>) -> Option<Self> {
        let beneath = self.beneath.iter().map(new).collect::<Option<Vec<_>>>()?;
        Some(Self { beneath, ..self.clone() })
    }
}

/// What layers make of the volumes on disks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layers {
    /// The volumes, in order of their paths.
    pub volumes: Vec<(VolumePath, Mapping)>,
    /// What lies on volumes beneath them, now that it is known.
    pub physical: Vec<(VolumePath, Content)>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// A volume, read through its map.
pub struct Mapped {
    size: ByteLen,
    mapping: Mapping,
    /// First byte of each segment.
    starts: Vec<u64>,
    beneath: Vec<Arc<dyn ReadAt>>,
}

impl Mapped {
    /// The bytes of a mapped volume over those of the volumes beneath, in their order. `None` where the map is not sound or one of them
    /// is shorter than it says.
    pub fn new(mapping: &Mapping, beneath: Vec<Arc<dyn ReadAt>>) -> Option<Self> {
        let size = mapping.len().filter(|len| mapping.is_sound(*len))?;
        let fit = beneath.len() == mapping.beneath.len()
            && beneath.iter().zip(&mapping.beneath).all(|(bytes, b)| bytes.size() >= b.extent.len());
        let mut at = 0;
        let mut start = |s: &Segment| {
            let start = at;
            at += s.len.0;
            start
        };
        let starts = mapping.segments.iter().map(&mut start).collect();
        fit.then(|| Self { size, mapping: mapping.clone(), starts, beneath })
    }
}

impl ReadAt for Mapped {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size)?;
        let outside = || ReadError::OutOfRange { at: at.0, len: buf.len() as u64, size: self.size.0 };
        let mut pieces = Vec::new();
        let (mut from, end) = (at.0, at.0 + buf.len() as u64);
        while from < end {
            let n = self.starts.partition_point(|s| *s <= from).checked_sub(1).ok_or_else(outside)?;
            let (segment, start) = (&self.mapping.segments[n], self.starts[n]);
            let piece = segment.piece(start, from - start).ok_or_else(outside)?;
            let len = piece.within.len().0.min(end - from);
            pieces.push((piece, usize::try_from(len).map_err(|_| outside())?));
            from += len;
        }
        let mut rest = buf;
        for (piece, len) in pieces {
            let (now, later) = rest.split_at_mut(len);
            self.beneath[piece.on].read_exact_at(piece.at, now)?;
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
