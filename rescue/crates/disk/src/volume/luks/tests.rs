use super::*;
use model::id::{Digest, DiskNo};
use model::inspection::Content;
use model::luks::{Cipher, Hash, Kdf, KeyDigest, KeySlot};
use proptest::prelude::*;
use std::sync::Arc;
use zeroize::Zeroizing;

fn header(payload: Extent, sector: u32) -> LuksHeader {
    let slot = KeySlot {
        number: 0,
        kdf: Kdf::Pbkdf2 { hash: Hash::Sha256, rounds: 10, salt: vec![1; 32] },
        area: Extent::between(4096, 4096 + 64 * 4000).unwrap(),
        cipher: Cipher::AesXts,
        area_key: 64,
        key: 64,
        stripes: 4000,
        split_by: Hash::Sha256,
        digest: 0,
    };
    let digest = KeyDigest { hash: Hash::Sha256, rounds: 10, salt: vec![2; 32], value: vec![3; 32] };
    LuksHeader {
        uuid: "1a9bfc6d-6aa8-4e54-b245-63398a60e1c9".into(),
        cipher: Cipher::AesXts,
        sector,
        payload,
        tweak: 24,
        slots: vec![slot],
        digests: vec![digest],
        unusable: Vec::new(),
    }
}

const MIB: u64 = 1 << 20;

fn on(number: u32, mib: u64) -> (VolumePath, Extent) {
    (VolumePath::partition(DiskNo(0), number), Extent::new(ByteOffset(MIB), ByteLen(mib * MIB)).unwrap())
}

#[test]
fn straight_on_a_partition_it_is_its_payload() {
    let (path, extent) = on(3, 8);
    let volume = Volume::on_disk(path.clone(), extent, Content::Unknown);
    let header = header(Extent::between(MIB, 8 * MIB).unwrap(), 4096);
    assert!(header.is_sound(extent.len()));
    let (inner, mapping) = mapping(&volume, &header).unwrap();
    assert_eq!(inner.to_string(), "d0/p3/luks");
    assert_eq!((mapping.beneath.len(), mapping.segments.len()), (1, 1));
    let sealed = mapping.beneath[0].sealed.as_deref().unwrap();
    let run = SealedRun { at: Extent::between(MIB, 8 * MIB).unwrap(), counts: ByteOffset(24 * 512) };
    assert_eq!((sealed.header, &sealed.runs), (header.identity(), &vec![run]));
    // What is beneath must be whole, and the map never leads out of what is encrypted.
    let mut wrong = mapping.clone();
    wrong.segments[0].legs[0].at = ByteOffset(MIB - 512);
    assert!(mapping.is_sound(ByteLen(7 * MIB)) && !wrong.is_sound(ByteLen(7 * MIB)));
}

#[test]
fn over_a_volume_of_lvm_each_piece_counts_on() {
    let (first, second) = (on(1, 8), on(2, 8));
    let beneath = vec![Beneath::plain(first.0.clone(), first.1), Beneath::plain(second.0, second.1)];
    let part = |mib: u64, on, at: u64| Segment::linear(ByteLen(mib * MIB), on, ByteOffset(at * MIB));
    let segments = vec![part(2, 0, 5), part(1, 1, 3), part(2, 0, 1)];
    let below = Mapping { says: "LVM".into(), id: "x".into(), beneath, segments, read_only: None };
    let volume = Volume::mapped(first.0.above(&["vg0", "crypt"]).unwrap(), below.clone()).unwrap();
    let header = header(Extent::between(MIB, 5 * MIB).unwrap(), 512);
    let (inner, made) = mapping(&volume, &header).unwrap();
    assert_eq!(inner.to_string(), "d0/p1/vg0/crypt/luks");
    let lies = |at: u64| {
        let piece = made.pieces(Extent::new(ByteOffset(at), ByteLen(1)).unwrap()).next().unwrap();
        let sealed = made.beneath[piece.on].sealed.as_deref().unwrap();
        let (run, into) = sealed.run(piece.at).unwrap();
        (piece.on, piece.at.0, run.counts.0 + into)
    };
    for at in (0..4 * MIB).step_by(512) {
        let plain = below.pieces(Extent::new(ByteOffset(at + MIB), ByteLen(1)).unwrap()).next().unwrap();
        assert_eq!(lies(at), (plain.on, plain.at.0, at + 24 * 512), "{at}");
    }
    // Stripes, and what is encrypted twice, are not read.
    let legs = vec![Leg::new(0, ByteOffset(0)), Leg::new(1, ByteOffset(0))];
    let striped = Segment { len: ByteLen(6 * MIB), stripe: ByteLen(4096), skip: ByteLen::ZERO, legs };
    let striped = Volume::mapped(volume.path.clone(), Mapping { segments: vec![striped], ..below }).unwrap();
    assert!(mapping(&striped, &header).unwrap_err().contains("stripes"));
    let twice = Volume::mapped(inner, made).unwrap();
    let short = LuksHeader { payload: Extent::between(MIB, 2 * MIB).unwrap(), ..header };
    assert!(mapping(&twice, &short).unwrap_err().contains("twice"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However it is read, it is what was encrypted; nothing else is seen.
    #[test]
    fn any_part_is_read(at in 0u64..20_000, len in 0usize..9000, big in any::<bool>()) {
        let sector = if big { 4096 } else { 512 };
        let run = |from, to, counts| SealedRun { at: Extent::between(from, to).unwrap(), counts: ByteOffset(counts) };
        let runs = vec![run(4096, 12_288, 512), run(12_288, 16_384, 1 << 40)];
        let sealed = Sealed { header: Digest([0; 32]), cipher: Cipher::AesXts, sector, runs };
        let key = Key(Zeroizing::new((0..64).collect()));
        let with = cipher(&sealed, &key).unwrap();
        let plain: Vec<u8> = (0..20_480u32).map(|n| u8::try_from(n / 16 % 251).unwrap()).collect();
        let mut raw = plain.clone();
        for run in &sealed.runs {
            let part = usize::try_from(run.at.start().0).unwrap()..usize::try_from(run.at.end().0).unwrap();
            with.encrypt(run.counts, &mut raw[part]);
        }
        let view = Unsealed::new(Arc::new(raw), &sealed, with).unwrap();
        let read = view.read_vec(ByteOffset(at), len);
        let from = usize::try_from(at).unwrap();
        let inside = len == 0 || (at >= 4096 && at + len as u64 <= 16_384);
        prop_assert_eq!(read.is_ok(), inside && from + len <= plain.len());
        if let Ok(read) = read {
            prop_assert!(read == plain[from..from + len]);
        }
    }
}

/// What stands where the UUID should be is made to harm: bytes that are no text, and what a terminal would obey.
#[test]
fn a_uuid_that_is_none_is_told_in_digits() {
    let mut bytes = vec![0u8; 1 << 20];
    bytes[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01");
    for (field, wanted) in [
        (&[0xff; 40][..], "ff".repeat(20)),
        (b"\x1b[2Jx", format!("1b5b324a78{}", "00".repeat(15))),
        (b"1a9bfc6d-6aa8-4e54-b245-63398a60e1c9", "1a9bfc6d-6aa8-4e54-b245-63398a60e1c9".to_owned()),
    ] {
        bytes[168..208].fill(0);
        bytes[168..168 + field.len()].copy_from_slice(field);
        assert_eq!(read(&bytes).unwrap().unwrap().info.uuid, wanted);
    }
}
