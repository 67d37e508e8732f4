//! LVM, against what LVM itself says of volumes that it made (`fixtures/lvm.sh`).
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod host;

use disk::inspect;
use host::source;
use model::id::VolumePath;
use model::inspection::{Content, Inspection, Severity, Volume};
use model::mapping::Mapping;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

const EXTENT: u64 = 1 << 20;

/// A physical volume: its size and how it begins.
fn physical(case: &str, number: usize) -> Vec<u8> {
    let name = format!("{case}.{number}.zst");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lvm").join(name);
    let mut bytes = zstd::decode_all(&*std::fs::read(path).unwrap()).unwrap();
    let line = told(case).lines().nth(number).unwrap().to_owned();
    let size = line.split(' ').nth(2).unwrap().parse().unwrap();
    bytes.resize(size, 0);
    bytes
}

/// What LVM says of a case.
fn told(case: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lvm").join(format!("{case}.txt"));
    std::fs::read_to_string(path).unwrap()
}

/// Looks at physical volumes that lie straight on disks.
fn look(volumes: Vec<Vec<u8>>) -> Inspection {
    let disks: Vec<_> = (0..).zip(volumes).map(|(n, bytes)| source(n, Arc::new(bytes))).collect();
    inspect(&disks)
}

fn volume<'a>(inspection: &'a Inspection, path: &str) -> &'a Volume {
    inspection.volume(&path.parse().unwrap()).unwrap_or_else(|| panic!("{path}: {:?}", inspection.layered))
}

fn mapping(v: &Volume) -> &Mapping {
    v.mapping.as_ref().unwrap()
}

/// Where LVM says that each MiB of a volume lies: physical volume and extent. Of a striped one, each stripe.
fn oracle(case: &str, name: &str) -> Vec<(u64, usize, u64)> {
    let told = told(case);
    let mut out = Vec::new();
    // Segments of a volume come in order. Two legs are written one after the other: `pv0:0-2pv1:0-2`.
    for line in told.lines().filter_map(|l| l.strip_prefix("seg ")) {
        let fields: Vec<&str> = line.split('|').collect();
        if fields[1] != name {
            continue;
        }
        let number = |n: usize| fields[n].parse::<u64>().unwrap();
        let (start, len, stripe) = (number(4), number(5), number(6));
        let legs: Vec<(usize, u64)> = fields[7]
            .split("pv")
            .filter(|l| !l.is_empty())
            .map(|l| {
                let (pv, extents) = l.split_once(':').unwrap();
                (pv.parse().unwrap(), extents.split_once('-').unwrap().0.parse().unwrap())
            })
            .collect();
        let step = if legs.len() == 1 { EXTENT } else { stripe };
        for at in (0..len).step_by(usize::try_from(step).unwrap()) {
            let turn = at / step;
            let (pv, first) = legs[usize::try_from(turn).unwrap() % legs.len()];
            out.push((start + at, pv, first * EXTENT + turn / legs.len() as u64 * step));
        }
    }
    out
}

/// The first byte of the first extent, as the text of the group has it.
fn first_extent(inspection: &Inspection, path: &str) -> u64 {
    let Content::Lvm(l) = &inspection.volume(&path.parse().unwrap()).unwrap().content else {
        panic!("no LVM on {path}")
    };
    l.apart.iter().next().unwrap().start().0
}

#[test]
fn volumes_lie_where_lvm_says() {
    for (case, names) in [("machine", &["root", "home", "swap-1"][..]), ("two", &["data", "big-one"])] {
        let count = if case == "machine" { 1 } else { 2 };
        let inspection = look((0..count).map(|n| physical(case, n)).collect());
        assert_eq!(inspection.findings, [], "{case}");
        let group = if case == "machine" { "target" } else { "vg-0" };
        assert_eq!(inspection.layered.len(), names.len());
        for name in names {
            let v = volume(&inspection, &format!("d0/{group}/{name}"));
            let map = mapping(v);
            let wanted = oracle(case, name);
            assert!(!wanted.is_empty());
            for (at, pv, place) in wanted {
                let piece = map.pieces(Extent::new(ByteOffset(at), ByteLen(512)).unwrap()).next().unwrap();
                let beneath = &map.beneath[piece.on].path;
                assert_eq!(beneath.to_string(), format!("d{pv}"), "{name} at {at}");
                assert_eq!(piece.at.0, place + first_extent(&inspection, &format!("d{pv}")), "{name} at {at}");
            }
            let uuid = told(case)
                .lines()
                .find(|l| l.contains(&format!("|{name}|")))
                .unwrap()
                .split('|')
                .nth(2)
                .unwrap()
                .to_owned();
            assert!(map.id.ends_with(&uuid), "{} is not {uuid}", map.id);
        }
        for n in 0..count {
            let pv = volume(&inspection, &format!("d{n}"));
            let uuid = told(case).lines().nth(n).unwrap().split(' ').nth(3).unwrap().to_owned();
            assert_eq!(pv.uuid(), Some(uuid.as_str()));
            // What is saved of it is what stands before the first extent, and behind the last.
            let coverage = disk::coverage::of(&pv.content, Arc::new(physical(case, n)));
            assert!(coverage.used.covers(Extent::whole(ByteLen(128 << 10))));
            assert!(coverage.used.total().0 <= 2 << 20, "{}", coverage.used.total());
        }
    }
}

#[test]
fn what_is_not_read_is_saved_with_the_physical_volume() {
    let bytes = [physical("kinds", 0), physical("kinds", 1)];
    let inspection = look(bytes.to_vec());
    let names: Vec<String> = inspection.layered.iter().map(|v| v.path.to_string()).collect();
    assert_eq!(names, ["d0/vg0/kept", "d0/vg0/plain"]);
    let plain = mapping(volume(&inspection, "d0/vg0/plain"));
    assert_eq!(plain.read_only, None);
    let kept = mapping(volume(&inspection, "d0/vg0/kept")).read_only.clone().unwrap();
    assert!(kept.as_str().contains("snapshot0"), "{kept}");
    let [note] = inspection.findings.as_slice() else { panic!("{:?}", inspection.findings) };
    assert_eq!(note.severity, Severity::Note);
    for unread in
        ["mirrored (it is of the kind raid1)", "pool (it is of the kind thin-pool)", "thin (it is of the kind thin)"]
    {
        assert!(note.says.as_str().contains(unread), "{}", note.says);
    }
    // Every extent that LVM says a volume has which is not read.
    for (n, bytes) in bytes.into_iter().enumerate() {
        let pv = volume(&inspection, &format!("d{n}"));
        let Content::Lvm(l) = &pv.content else { panic!() };
        let coverage = disk::coverage::of(&pv.content, Arc::new(bytes));
        let first = (1 << 20) * l.apart.iter().next().map_or(1, |e| (e.start().0 >> 20).min(1));
        let mut unread = ExtentSet::new();
        for name in [
            "[mirrored_rimage_0]",
            "[mirrored_rimage_1]",
            "[mirrored_rmeta_0]",
            "[mirrored_rmeta_1]",
            "[pool_tdata]",
            "[pool_tmeta]",
            "snap",
        ] {
            for (_, pv, at) in oracle("kinds", name).iter().filter(|(_, pv, _)| *pv == n) {
                assert!(
                    coverage.used.covers(Extent::new(ByteOffset(first + at), ByteLen(EXTENT)).unwrap()),
                    "{name} on {pv}"
                );
                unread.insert(Extent::new(ByteOffset(first + at), ByteLen(EXTENT)).unwrap());
            }
        }
        // And nothing else but what LVM keeps before them and behind.
        let size = pv.extent.len().0;
        let own = ExtentSet::from(vec![
            Extent::whole(ByteLen(first)),
            Extent::between(size / EXTENT * EXTENT, size).unwrap(),
        ]);
        let more: ExtentSet = unread.union(&own).gaps(Extent::whole(pv.extent.len())).iter().collect();
        assert!(more.iter().all(|e| !coverage.used.meets(e)), "{:?}", coverage.used);
    }
}

#[test]
fn what_is_wrong_is_told() {
    let says = |i: &Inspection| i.findings.iter().map(|f| f.says.to_string()).collect::<Vec<_>>().join("\n");
    let two = || [physical("two", 0), physical("two", 1)];
    // One is away: its volume that is striped over both cannot be read, nor the one that ends on it.
    let [first, second] = two();
    let alone = look(vec![first.clone()]);
    assert!(alone.layered.is_empty() && says(&alone).contains("are not here"), "{}", says(&alone));
    assert!(matches!(&alone.disks[0].volumes[0].content, Content::Recognised { name, .. } if name == "lvm2"));
    // A copy of one beside both.
    let twins = look(vec![first.clone(), second.clone(), second.clone()]);
    assert!(twins.layered.is_empty() && says(&twins).contains("d1 and d2 are both"), "{}", says(&twins));
    // The text of one is damaged: the other has a copy.
    let ring = u64::from_le_bytes(first[4096 + 40..4096 + 48].try_into().unwrap());
    let mut torn = first.clone();
    torn[4096 + usize::try_from(ring).unwrap() + 5] ^= 1;
    let torn = look(vec![torn, second.clone()]);
    assert_eq!(torn.layered.len(), 2);
    assert!(says(&torn).contains("checksum of the text"), "{}", says(&torn));
    // The label of one is damaged.
    let mut label = first.clone();
    label[512 + 40] ^= 1;
    let label = look(vec![label, second.clone()]);
    assert!(label.layered.is_empty() && says(&label).contains("checksum of its label"), "{}", says(&label));
    // The disk was cut off.
    let mut short = second;
    short.truncate(20 << 20);
    let short = look(vec![first, short]);
    assert!(
        short.layered.iter().all(|v| mapping(v).beneath.iter().all(|b| b.path == "d0".parse::<VolumePath>().unwrap()))
    );
    assert!(says(&short).contains("not whole"), "{}", says(&short));
}

/// LVM's own sum (LVM2 `lib/misc/crc.c`).
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |crc: u32, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// Changes the newest text on a physical volume, with every checksum made right.
fn retold(physical: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let number = |b: &[u8], at: usize| usize::try_from(u64::from_le_bytes(b[at..at + 8].try_into().unwrap())).unwrap();
    let (offset, len, size) = (number(physical, 4096 + 40), number(physical, 4096 + 48), number(physical, 4096 + 32));
    // The text goes round in a ring behind the header.
    let places: Vec<usize> =
        (0..len).map(|n| 4096 + if offset + n < size { offset + n } else { offset + n - size + 512 }).collect();
    let mut text: Vec<u8> = places.iter().map(|at| physical[*at]).collect();
    change(&mut text);
    places.iter().zip(&text).for_each(|(at, byte)| physical[*at] = *byte);
    let sum = crc(&text).to_le_bytes();
    physical[4096 + 56..4096 + 60].copy_from_slice(&sum);
    let sum = crc(&physical[4100..4608]).to_le_bytes();
    physical[4096..4100].copy_from_slice(&sum);
}

/// The text on one physical volume is of another group of the same name, over the same physical volumes: whose they are is not guessed,
/// and no volume is told twice.
#[test]
fn two_groups_over_the_same_physical_volumes_are_not_read() {
    let [first, mut second] = [physical("two", 0), physical("two", 1)];
    retold(&mut second, |text| {
        let id = text.windows(6).position(|w| w == b"id = \"").unwrap() + 6;
        text[id] = if text[id] == b'X' { b'Y' } else { b'X' };
    });
    let inspection = look(vec![first, second]);
    assert!(inspection.layered.is_empty(), "{:?}", inspection.layered);
    let says: Vec<String> = inspection.findings.iter().map(|f| f.says.to_string()).collect();
    assert!(
        says.iter().filter(|s| s.contains("another group, vg-0, has its physical volume")).count() >= 2,
        "{says:?}"
    );
}

/// A stripe that does not go up in the extents would end outside of them, on bytes of another volume.
#[test]
fn stripes_that_do_not_fill_their_extents_are_not_read() {
    let mut both = [physical("two", 0), physical("two", 1)];
    for physical in &mut both {
        retold(physical, |text| {
            let stripe = b"stripe_size = ";
            let at = text.windows(stripe.len()).position(|w| w == stripe).unwrap() + stripe.len();
            text[at..at + 3].copy_from_slice(b"777");
        });
    }
    let inspection = look(both.into());
    assert_eq!(inspection.layered.len(), 1, "{:?}", inspection.layered);
    let says: Vec<String> = inspection.findings.iter().map(|f| f.says.to_string()).collect();
    assert!(says.iter().any(|s| s.contains("do not fill its extents")), "{says:?}");
}

#[test]
fn a_group_of_which_nothing_is_whole_is_told() {
    let mut short = physical("machine", 0);
    short.truncate(15 << 20);
    let short = look(vec![short]);
    assert!(short.layered.is_empty());
    let says: Vec<String> = short.findings.iter().map(|f| f.says.to_string()).collect();
    assert!(says.iter().any(|s| s.contains("not whole")), "{says:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is changed in what LVM wrote, a look ends, and what it tells holds together.
    #[test]
    fn hostile_bytes_cost_an_answer(at in 512usize..8192, byte in any::<u8>(), text in any::<bool>(), len in 1usize..24) {
        let mut bytes = physical("machine", 0);
        // Bytes of the text with its sum made right are a case for the reader of texts: its own tests have those.
        let at = if text { at } else { 512 + at % 128 };
        bytes[at..at + len].fill(byte);
        let inspection = look(vec![bytes]);
        for v in &inspection.layered {
            prop_assert!(mapping(v).is_sound(v.extent.len()));
        }
    }
}
