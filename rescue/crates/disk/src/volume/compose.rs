//! A map over a map: volumes of a volume that lies on others itself.

use model::mapping::{Beneath, Leg, Mapping, Segment};
use model::units::{ByteLen, ByteOffset};

/// What a segment may lie on.
pub(super) enum Below<'a> {
    /// A volume of a disk.
    Volume(Beneath),
    /// A volume that lies on others.
    Mapped(&'a Mapping),
}

/// Maps under construction: the volumes beneath, each once.
#[derive(Default)]
pub(super) struct Composed {
    pub(super) beneath: Vec<Beneath>,
    pub(super) segments: Vec<Segment>,
    /// Why nothing is written through one of those beneath.
    pub(super) read_only: Option<model::text::DisplayText>,
}

impl Composed {
    fn index(&mut self, beneath: &Beneath) -> usize {
        self.beneath.iter().position(|b| b == beneath).unwrap_or_else(|| {
            self.beneath.push(beneath.clone());
            self.beneath.len() - 1
        })
    }

    /// A leg of a map, begun `by` bytes later, over the volumes of this one.
    fn moved(&mut self, below: &Mapping, leg: &Leg, by: u64) -> Option<Leg> {
        let mut place = |(on, at): (usize, ByteOffset)| {
            let on = self.index(below.beneath.get(on)?);
            Some((on, at.checked_add(ByteLen(by))?))
        };
        let (on, at) = place((leg.on, leg.at))?;
        let mirrors = leg.mirrors.iter().map(|m| place(*m)).collect::<Option<Vec<_>>>()?;
        Some(Leg { on, at, mirrors })
    }

    /// Adds a segment: so many bytes, in stripes where there are several legs, each of which begins at a byte of what it lies on.
    /// `None` where that is no map: past an end, or stripes on stripes.
    pub(super) fn add(&mut self, len: ByteLen, stripe: ByteLen, legs: &[(Below<'_>, u64)]) -> Option<()> {
        if let [(Below::Mapped(below), at)] = legs {
            return self.part(below, *at, len);
        }
        let each = ByteLen(len.0 / u64::try_from(legs.len()).ok().filter(|n| *n > 0)?);
        let mut out = Vec::new();
        for (below, at) in legs {
            out.push(match below {
                Below::Volume(beneath) => Leg::new(self.index(beneath), ByteOffset(*at)),
                Below::Mapped(below) => {
                    let (segment, from) = segment_at(below, *at)?;
                    let [leg] = segment.legs.as_slice() else { return None };
                    if from.checked_add(each.0)? > segment.len.0 {
                        return None;
                    }
                    self.restrict(below);
                    self.moved(below, leg, from)?
                }
            });
        }
        self.segments.push(Segment { len, stripe, skip: ByteLen::ZERO, legs: out });
        Some(())
    }

    /// Adds part of a volume that lies on others.
    fn part(&mut self, below: &Mapping, at: u64, len: ByteLen) -> Option<()> {
        self.restrict(below);
        let (mut at, mut left) = (at, len.0);
        while left > 0 {
            let (segment, from) = segment_at(below, at)?;
            let now = left.min(segment.len.0 - from);
            let linear = segment.legs.len() == 1;
            let by = if linear { from } else { 0 };
            let legs = segment.legs.iter().map(|leg| self.moved(below, leg, by)).collect::<Option<Vec<_>>>()?;
            let skip = if linear { ByteLen::ZERO } else { ByteLen(segment.skip.0.checked_add(from)?) };
            self.segments.push(Segment { len: ByteLen(now), stripe: segment.stripe, skip, legs });
            (at, left) = (at + now, left - now);
        }
        Some(())
    }

    fn restrict(&mut self, below: &Mapping) {
        self.read_only = self.read_only.take().or_else(|| below.read_only.clone());
    }
}

/// The segment that holds a byte of a volume, and how far into it that is.
fn segment_at(mapping: &Mapping, at: u64) -> Option<(&Segment, u64)> {
    let mut start = 0;
    mapping.segments.iter().find_map(|s| {
        let from = at.checked_sub(start).filter(|from| *from < s.len.0);
        start += s.len.0;
        Some((s, from?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{DiskNo, VolumePath};
    use model::units::Extent;

    fn beneath(n: u32) -> Beneath {
        let path = VolumePath::partition(DiskNo(0), n);
        Beneath::plain(path, Extent::new(ByteOffset(u64::from(n) << 30), ByteLen(1 << 20)).unwrap())
    }

    fn mapping(segments: Vec<Segment>) -> Mapping {
        let beneath = (1..4).map(beneath).collect();
        Mapping { says: "below".into(), id: "b".into(), beneath, segments, read_only: None }
    }

    /// Where a byte of a map lies.
    fn lies(m: &Mapping, at: u64) -> (VolumePath, u64) {
        let piece = m.pieces(Extent::new(ByteOffset(at), ByteLen(1)).unwrap()).next().unwrap();
        (m.beneath[piece.on].path.clone(), piece.at.0)
    }

    #[test]
    fn a_map_over_a_map_leads_where_both_do() {
        let legs = (0..3).map(|n| Leg::new(n, ByteOffset(4096))).collect();
        let striped = Segment { len: ByteLen(192 << 10), stripe: ByteLen(4096), skip: ByteLen::ZERO, legs };
        let below = mapping(vec![Segment::linear(ByteLen(8192), 1, ByteOffset(512 << 10)), striped]);
        assert!(below.is_sound(ByteLen(200 << 10)));
        let mut made = Composed::default();
        made.add(ByteLen(64 << 10), ByteLen::ZERO, &[(Below::Mapped(&below), 4096)]).unwrap();
        made.add(ByteLen(1024), ByteLen::ZERO, &[(Below::Volume(beneath(7)), 2048)]).unwrap();
        let above = Mapping { beneath: made.beneath, segments: made.segments, ..below.clone() };
        assert!(above.is_sound(ByteLen(65 << 10)));
        for at in (0..64 << 10).step_by(512) {
            assert_eq!(lies(&above, at), lies(&below, at + 4096), "{at}");
        }
        assert_eq!(lies(&above, 64 << 10), (beneath(7).path, 2048));
        // Stripes on stripes are no map of this kind, and nothing leads past an end.
        let two = [(Below::Mapped(&below), 16_384), (Below::Volume(beneath(7)), 0)];
        assert_eq!(Composed::default().add(ByteLen(8192), ByteLen(4096), &two), None);
        assert_eq!(Composed::default().add(ByteLen(8192), ByteLen::ZERO, &[(Below::Mapped(&below), 199 << 10)]), None);
    }
}
