use super::*;
use model::coverage::CaptureMethod;
use model::id::{Digest, DiskNo, NodeId};
use model::inspection::{Content, Hardware, Partition};
use model::ports::UnixMicros;
use model::snapshot::{Cost, FORMAT, Machine, MapRoot, Purpose};
use model::units::SectorSize;

const MIB: u64 = 1 << 20;

fn map(n: u8) -> MapRoot {
    MapRoot { node: NodeId(Digest([n; 32])), height: 0, content: Digest([n; 32]) }
}

fn extent(start: u64, end: u64) -> Extent {
    Extent::between(start, end).unwrap()
}

fn volume(number: u32, start: u64, end: u64) -> SavedVolume {
    SavedVolume {
        path: VolumePath::partition(DiskNo(0), number),
        extent: extent(start, end),
        mapping: None,
        content: Content::Unknown,
        method: CaptureMethod::Raw,
        why: "".into(),
        captured: ByteLen(end - start),
        unreadable: ExtentSet::new(),
        compared: None,
        state: None,
        map: map(u8::try_from(number).unwrap()),
    }
}

fn partition(number: u32, start: u64, end: u64, type_id: &str) -> Partition {
    let type_id = type_id.to_owned();
    Partition { number, extent: extent(start, end), type_id, guid: None, name: None, bootable: false }
}

/// An MBR disk of 100 MiB: p1, p2 that was not saved, and p5 in an extended one.
fn manifest() -> Manifest {
    let hardware = Hardware { transport: "memory".into(), ..Hardware::image("test", ByteLen(100 * MIB)) };
    let partitions = vec![
        partition(1, MIB, 20 * MIB, "83"),
        partition(2, 20 * MIB, 40 * MIB, "83"),
        partition(3, 40 * MIB, 80 * MIB, "05"),
        partition(5, 41 * MIB, 80 * MIB, "83"),
    ];
    let raw = vec![extent(0, MIB), extent(40 * MIB, 40 * MIB + 512)];
    let table = Table { kind: TableKind::Mbr, id: "0badcafe".into(), partitions, raw, from_backup: false };
    Manifest {
        format: FORMAT,
        counter: 1,
        origin: String::new(),
        parent: None,
        purpose: Purpose::Keep,
        machine: Machine { machine_id: None, disks: vec![], hostname: None },
        taken: UnixMicros(0),
        systems: vec![],
        disks: vec![SavedDisk { no: DiskNo(0), hardware, table: Some(table), table_map: Some(map(0)) }],
        volumes: vec![volume(1, MIB, 20 * MIB), volume(5, 41 * MIB, 80 * MIB)],
        firmware: None,
        cost: Cost::default(),
    }
}

fn fitted(smallest: u64) -> FittedTable {
    let made = vec![MadeBytes::new(ByteOffset(0), &[7; 512]).unwrap()];
    let (id, guids) = ("0badcafe".into(), Vec::new());
    FittedTable { sector: SectorSize::B512, smallest: ByteLen(smallest), made, id, guids, room: ByteLen::ZERO }
}

fn of(manifest: &Manifest, size: u64) -> Result<Layout<'_>, String> {
    Layout::of(manifest, &manifest.disks[0], Some(&fitted(80 * MIB)), ByteLen(size), None)
}

/// Each byte of the disk is of one part, or made, or neither.
fn apart(layout: &Layout<'_>) {
    let mut taken: ExtentSet = layout.made.iter().map(|m| m.place).collect();
    let mut at = 0;
    for part in &layout.parts {
        let place = part.place().unwrap();
        assert!(!taken.meets(place) && place.start().0 >= at, "{place:?}");
        taken.insert(place);
        at = place.end().0;
    }
    let made: ExtentSet = layout.made.iter().map(|m| m.place).collect();
    assert!(layout.cleared.iter().all(|e| !made.meets(e)));
}

#[test]
fn everything_stands_where_it_stood() {
    let manifest = manifest();
    let layout = of(&manifest, 300 * MIB).unwrap();
    apart(&layout);
    let places: Vec<_> = layout.parts.iter().map(|p| (p.map.node.0.0[0], p.within.start().0, p.at.0)).collect();
    let (first, chain) = ((0, 512, 512), (0, 40 * MIB, 40 * MIB));
    assert_eq!(
        places,
        [first, (1, 0, MIB), chain, (5, 0, 41 * MIB)],
        "sector 0 is made, the chain of logical ones is not"
    );
    assert_eq!(layout.left_out, ["d0/p2".parse().unwrap()]);
    let cleared = |start: u64, end: u64| layout.cleared.covers(extent(start, end));
    assert!(cleared(512, MIB) && cleared(299 * MIB, 300 * MIB), "the ends of the disk");
    assert!(cleared(20 * MIB, 21 * MIB) && cleared(39 * MIB, 40 * MIB), "the ends of what is left out");
    assert!(cleared(20 * MIB - TAIL, 20 * MIB) && cleared(80 * MIB - TAIL, 80 * MIB), "the last bytes of volumes");
    assert!(!layout.cleared.meets(extent(2 * MIB, 19 * MIB)) && !layout.cleared.meets(extent(81 * MIB, 299 * MIB)));
    // A disk that ends where the last volume does: its end is the volume's, and is left.
    let tight = of(&manifest, 80 * MIB).unwrap();
    apart(&tight);
    assert!(!tight.cleared.meets(extent(79 * MIB, 80 * MIB - TAIL)));
}

#[test]
fn what_could_not_be_read_becomes_zeros() {
    let mut manifest = manifest();
    manifest.volumes[0].unreadable.insert(extent(4096, 8192));
    // A range that is none of the volume's: a lie, and clipped.
    manifest.volumes[0].unreadable.insert(extent(18 * MIB, 60 * MIB));
    let layout = of(&manifest, 300 * MIB).unwrap();
    assert!(layout.cleared.covers(extent(MIB + 4096, MIB + 8192)));
    assert!(layout.cleared.covers(extent(19 * MIB, 20 * MIB)) && !layout.cleared.meets(extent(42 * MIB, 79 * MIB)));
}

#[test]
fn a_disk_that_is_too_small_is_told_with_its_numbers() {
    let manifest = manifest();
    let layout = of(&manifest, 80 * MIB - 1).unwrap();
    assert!(layout.parts.is_empty() && layout.cleared.is_empty());
    assert_eq!(layout.smallest, ByteLen(80 * MIB));
    let ends: Vec<_> = layout.ends.iter().map(|(path, end)| (path.to_string(), end.0 / MIB)).collect();
    assert_eq!(ends, [("d0/p1".into(), 20), ("d0/p2".into(), 40), ("d0/p5".into(), 80)]);
}

#[test]
fn a_snapshot_that_does_not_hold_together_is_refused() {
    let refused = |change: &dyn Fn(&mut Manifest), part: &str| {
        let mut manifest = manifest();
        change(&mut manifest);
        let said = of(&manifest, 300 * MIB).unwrap_err();
        assert!(said.contains(part), "{said}");
    };
    refused(&|m| m.volumes.clear(), "no volume");
    refused(&|m| m.volumes[1].extent = extent(19 * MIB, 30 * MIB), "on the same bytes");
    refused(&|m| m.volumes[0].extent = extent(0, MIB), "on the partition table");
    refused(&|m| m.disks[0].table_map = None, "could not be read whole");
    refused(&|m| (0..2000).for_each(|n| m.volumes.push(volume(1, 81 * MIB + n, 81 * MIB + n + 1))), "more pieces");
    // A table that says it stands everywhere is written around the volumes only.
    let mut lie = manifest();
    lie.disks[0].table.as_mut().unwrap().raw = vec![extent(0, u64::MAX)];
    apart(&of(&lie, 300 * MIB).unwrap());
    let mut beyond = manifest();
    beyond.volumes[1].extent = extent(u64::MAX - 10, u64::MAX);
    assert!(of(&beyond, 300 * MIB).unwrap().parts.is_empty(), "told as too small");
}
