use super::*;
use crate::id::DiskNo;
use proptest::prelude::*;

fn beneath(number: u32, len: u64) -> Beneath {
    let path = VolumePath::partition(DiskNo(0), number);
    Beneath::plain(path, Extent::new(ByteOffset(1 << 20), ByteLen(len)).expect("small"))
}

fn mapping(beneath: Vec<Beneath>, segments: Vec<Segment>) -> Mapping {
    Mapping { says: "a test".into(), id: "1".into(), beneath, segments, read_only: None }
}

fn striped(len: u64, stripe: u64, skip: u64, legs: &[(usize, u64)]) -> Segment {
    let legs = legs.iter().map(|(on, at)| Leg::new(*on, ByteOffset(*at))).collect();
    Segment { len: ByteLen(len), stripe: ByteLen(stripe), skip: ByteLen(skip), legs }
}

fn bytes(seed: u8, len: usize) -> Arc<dyn ReadAt> {
    Arc::new(
        (0..len).map(|i| u8::try_from((i / 512 * 7 + usize::from(seed)) % 251).expect("small")).collect::<Vec<u8>>(),
    )
}

#[test]
fn what_is_not_sound_is_refused() {
    let two = || vec![beneath(1, 8192), beneath(2, 8192)];
    let good = mapping(
        two(),
        vec![striped(4096, 1024, 0, &[(0, 0), (1, 0)]), Segment::linear(ByteLen(512), 0, ByteOffset(4096))],
    );
    assert!(good.is_sound(ByteLen(4608)));
    assert!(!good.is_sound(ByteLen(4609)), "another length");
    let bad = [
        (
            "two on the same bytes",
            vec![Segment::linear(ByteLen(1024), 0, ByteOffset(0)), Segment::linear(ByteLen(1024), 0, ByteOffset(512))],
        ),
        ("past the end", vec![Segment::linear(ByteLen(8704), 0, ByteOffset(0))]),
        ("a leg past the end", vec![striped(16_384 + 1024, 1024, 0, &[(0, 0), (1, 0)])]),
        ("no such volume", vec![Segment::linear(ByteLen(512), 2, ByteOffset(0))]),
        ("no stripe", vec![striped(1024, 0, 0, &[(0, 0), (1, 0)])]),
        ("half a sector", vec![Segment::linear(ByteLen(100), 0, ByteOffset(0))]),
        ("nothing", vec![]),
        ("no end", vec![striped(!511, 512, 1024, &[(0, 0), (1, 0)])]),
        ("far away", vec![Segment::linear(ByteLen(512), 0, ByteOffset(u64::MAX - 511))]),
    ];
    for (why, segments) in bad {
        let mapping = mapping(two(), segments);
        let len = mapping.len().unwrap_or(ByteLen::ZERO);
        assert!(!mapping.is_sound(len), "{why}");
        assert!(Mapped::new(&mapping, vec![bytes(1, 8192), bytes(2, 8192)]).is_none(), "{why}");
    }
    let same = mapping(vec![beneath(1, 8192), beneath(1, 8192)], good.segments.clone());
    assert!(!same.is_sound(ByteLen(4608)), "one volume twice");
    assert!(Mapped::new(&good, vec![bytes(1, 8192), bytes(2, 8191)]).is_none(), "shorter than it says");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Reading through the map, the pieces of a range and the places of the legs all say the same as the plain rule of striping.
    #[test]
    fn striping_is_as_the_rule_has_it(legs in 1usize..5, stripe in 1u64..5, skip in 0u64..20, len in 1u64..60, from in 0u64..70, more in 0u64..40) {
        let (stripe, skip, len) = match legs {
            1 => (0, 0, len * 512),
            _ => (stripe * 512, skip * 512, len * 512),
        };
        let volumes: Vec<Beneath> = (0..4).map(|n| beneath(n, 128 << 10)).collect();
        let list: Vec<(usize, u64)> = (0..legs).map(|n| (n, 512 * (n as u64 + 3))).collect();
        let map = mapping(volumes, vec![Segment::linear(ByteLen(1024), 3, ByteOffset(64 << 10)), striped(len, stripe, skip, &list)]);
        let size = 1024 + len;
        prop_assert!(map.is_sound(ByteLen(size)));
        let data: Vec<Arc<dyn ReadAt>> = (0..4).map(|n| bytes(n, 128 << 10)).collect();
        let of = |byte: u64| -> (usize, u64) {
            match (byte.checked_sub(1024), legs) {
                (None, _) => (3, (64 << 10) + byte),
                (Some(i), 1) => (0, list[0].1 + i),
                (Some(i), n) => {
                    let (turn, n) = ((i + skip) / stripe, n as u64);
                    let leg = usize::try_from(turn % n).expect("small");
                    (leg, list[leg].1 + turn / n * stripe + (i + skip) % stripe)
                }
            }
        };
        let range = Extent::between((from * 512).min(size), (from * 512 + more * 300).min(size).max((from * 512).min(size))).expect("ordered");
        let read = Mapped::new(&map, data.clone()).expect("sound").read_vec(range.start(), range.len().to_usize().expect("small")).expect("inside");
        let mut at = range.start().0;
        for piece in map.pieces(range) {
            prop_assert_eq!(piece.within.start().0, at);
            at = piece.within.end().0;
            prop_assert_eq!((piece.on, piece.at.0), of(piece.within.start().0));
            prop_assert_eq!((piece.on, piece.at.0 + piece.within.len().0 - 1), of(at - 1));
        }
        prop_assert_eq!(at, range.end().0);
        for (i, byte) in (range.start().0..).zip(&read) {
            let (on, at) = of(i);
            prop_assert_eq!(*byte, data[on].read_vec(ByteOffset(at), 1).expect("inside")[0]);
        }
        let held = map.held().expect("sound");
        prop_assert_eq!(held.iter().map(|s| s.total().0).sum::<u64>(), size);
        for i in (0..size).step_by(512) {
            let (on, at) = of(i);
            prop_assert!(held[on].covers(Extent::new(ByteOffset(at), ByteLen(512)).expect("small")));
        }
    }
}
