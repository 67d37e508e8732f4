//! Which volumes of a system are believed: those for which the session that ended in order was the only one.

use crate::image::noise;
use crate::increments::{SECTORS, SIZE, empty, report, save, set};
use crate::sim::Sim;
use engine::plan::snapshot::{self, Scope};
use model::assessment::{
    Assessment, Change, Confidence, Facet, Installation, Report, Start, SystemReport, Termination,
};
use model::id::{DiskNo, SnapshotId, VolumePath};
use model::inspection::{Content, System, Volume, XfsInfo};
use model::snapshot::Manifest;
use std::sync::Arc;
use store::backend::Memory;

fn facet<T>(value: T) -> Facet<T> {
    let (evidence_for, evidence_against) = (Vec::new(), Vec::new());
    Facet { value, confidence: Confidence::Certain, rule: String::new(), evidence_for, evidence_against }
}

/// A system that was shut down in order.
fn in_order() -> Assessment {
    Assessment {
        headline: "".into(),
        advice: "".into(),
        termination: facet(Termination::Clean),
        how: None,
        start: facet(Start::Reached),
        installation: facet(Installation::Idle),
        packages: Vec::new(),
        change: facet(Change::Unknown),
        since: None,
    }
}

fn path(number: u32) -> VolumePath {
    VolumePath::partition(DiskNo(0), number)
}

/// The same file system as another, at another place and so often mounted.
fn mounted(content: &Content, number: u32, times: u16) -> Content {
    let Content::Ext(info) = content else { panic!("an ext4") };
    let mut info = info.clone();
    (info.uuid, info.mount_count) = (format!("file system {number}"), times);
    Content::Ext(info)
}

/// An XFS whose log ends there, begins there by the record of the unmount, and began there when it was last mounted.
fn logged(number: u32, (head, tail, opened): (u64, u64, Option<u64>)) -> Content {
    Content::Xfs(XfsInfo {
        uuid: format!("file system {number}"),
        label: "".into(),
        version: 5,
        block_size: 4096,
        blocks: 1 << 20,
        free_blocks: 1 << 18,
        features: vec!["crc".into()],
        needs_recovery: false,
        log_head: Some(head),
        log_tail: Some(tail),
        opened,
        not_read: None,
    })
}

/// The same machine with a root and another volume at `/home`, mounted so often before and now; whether the two are in doubt.
fn doubts(saved: &(SnapshotId, Manifest), then: [u16; 2], now: [u16; 2]) -> [bool; 2] {
    let content = report(&Sim::new(noise(1, SIZE))).inspection.disks[0].volumes[0].content.clone();
    let both = |times: [u16; 2]| [mounted(&content, 1, times[0]), mounted(&content, 2, times[1])];
    doubted(saved, "/home", both(then), both(now))
}

/// The same with any content, and the other volume anywhere.
fn doubted(saved: &(SnapshotId, Manifest), at: &str, then: [Content; 2], now: [Content; 2]) -> [bool; 2] {
    let mut report = report(&Sim::new(noise(1, SIZE)));
    let disk = &mut report.inspection.disks[0];
    let extent = disk.volumes[0].extent;
    disk.volumes = (1..).zip(now).map(|(n, content)| Volume::on_disk(path(n), extent, content)).collect();
    let system = System {
        name: "Debian".into(),
        os: ("debian".into(), "12".into()),
        hostname: None,
        machine_id: None,
        root: path(1),
        boot: Vec::new(),
        other: vec![(at.to_owned(), path(2))],
        subvolumes: Vec::new(),
    };
    report.inspection.systems = vec![system.clone()];
    let systems = vec![SystemReport { system, assessment: in_order(), evidence: Vec::new() }];
    let report = Report { systems, ..report };

    let mut manifest = saved.1.clone();
    let one = manifest.volumes[0].clone();
    let saved_as = |(n, content): (u32, Content)| {
        let mut volume = one.clone();
        (volume.path, volume.content) = (path(n), content);
        volume
    };
    manifest.volumes = (1..).zip(then).map(saved_as).collect();
    let planned = snapshot::keep(&report, Some((saved.0, &manifest)), None, &Scope::default());
    let doubt = |n: u32| {
        let volume = planned.volumes.iter().find(|v| v.path == path(n)).unwrap();
        volume.against.as_ref().unwrap().doubt.is_some()
    };
    [doubt(1), doubt(2)]
}

/// A volume that was cut off in the first of two sessions and repaired in the second was mounted once, and its system's last
/// session ended in order.
#[test]
fn a_system_that_ran_twice_leaves_its_other_volumes_in_doubt() {
    let store = empty(&Arc::new(Memory::new()));
    let saved = save(&store, &noise(1, SIZE), &set(&[(0, SECTORS)]), None, false);
    assert_eq!(doubts(&saved, [7, 3], [8, 4]), [false, false]);
    assert_eq!(doubts(&saved, [7, 3], [7, 4]), [false, true], "mounted by something else");
    assert_eq!(doubts(&saved, [7, 3], [9, 4]), [false, true], "the root is judged by its own count");
    assert_eq!(doubts(&saved, [7, 3], [2, 4]), [false, true]);
}

/// The log of an XFS tells only of sessions that logged something: the logs of the system's root, and of what every start writes to, have to
/// tell of one.
#[test]
fn an_xfs_is_believed_where_the_logs_of_its_system_tell_of_one_session() {
    let store = empty(&Arc::new(Memory::new()));
    let saved = save(&store, &noise(1, SIZE), &set(&[(0, SECTORS)]), None, false);
    let then = || [logged(1, (100, 90, None)), logged(2, (50, 40, None))];
    let doubts = |at, root, other| doubted(&saved, at, then(), [logged(1, root), logged(2, other)]);
    let (once, home) = ((200, 190, Some(90)), (70, 60, Some(40)));
    assert_eq!(doubts("/home", once, home), [false, false]);
    assert_eq!(doubts("/home", once, (50, 40, None)), [false, false], "not mounted at all");
    assert_eq!(doubts("/home", once, (900, 890, None)), [false, false], "more than is told, and nothing below /var");
    assert_eq!(doubts("/var", once, (900, 890, None)), [true, true], "more than is told");
    assert_eq!(doubts("/var/lib", once, (900, 890, None)), [true, true]);
    assert_eq!(doubts("/var", once, home), [false, false]);
    assert_eq!(doubts("/home", once, (70, 60, Some(55))), [true, true], "the other was mounted twice");
    for root in [(200, 190, Some(150)), (200, 190, None), (100, 90, None)] {
        assert_eq!(doubts("/home", root, home), [true, true], "{root:?}");
    }
    // The root counts its mounts: the other is a volume like any other.
    let ext = report(&Sim::new(noise(1, SIZE))).inspection.disks[0].volumes[0].content.clone();
    let beside = |times, other| [mounted(&ext, 1, times), logged(2, other)];
    let beside = |now, other| doubted(&saved, "/var", beside(7, (50, 40, None)), beside(now, other));
    assert_eq!(beside(8, home), [false, false]);
    assert_eq!(beside(9, home), [false, true]);
}
