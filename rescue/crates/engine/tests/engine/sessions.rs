//! Which volumes of a system are believed: those for which the session that ended in order was the only one.

use crate::image::noise;
use crate::increments::{SECTORS, SIZE, empty, report, save, set};
use crate::sim::Sim;
use engine::plan::snapshot::{self, Scope};
use model::assessment::{
    Assessment, Change, Confidence, Facet, Installation, Report, Start, SystemReport, Termination,
};
use model::id::{DiskNo, SnapshotId, VolumePath};
use model::inspection::{Content, System, Volume};
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

/// The same machine with a root and another volume, mounted so often before and now; whether the two are in doubt.
fn doubts(saved: &(SnapshotId, Manifest), then: [u16; 2], now: [u16; 2]) -> [bool; 2] {
    let mut report = report(&Sim::new(noise(1, SIZE)));
    let disk = &mut report.inspection.disks[0];
    let Volume { extent, content, .. } = disk.volumes[0].clone();
    let volume = |n: u32, times| Volume::on_disk(path(n), extent, mounted(&content, n, times));
    disk.volumes = vec![volume(1, now[0]), volume(2, now[1])];
    let system = System {
        name: "Debian".into(),
        os: ("debian".into(), "12".into()),
        hostname: None,
        machine_id: None,
        root: path(1),
        boot: Vec::new(),
        other: vec![("/home".to_owned(), path(2))],
        subvolumes: Vec::new(),
    };
    report.inspection.systems = vec![system.clone()];
    let systems = vec![SystemReport { system, assessment: in_order(), evidence: Vec::new() }];
    let report = Report { systems, ..report };

    let mut manifest = saved.1.clone();
    let one = manifest.volumes[0].clone();
    let saved_as = |n: u32, times| {
        let mut volume = one.clone();
        (volume.path, volume.content) = (path(n), mounted(&content, n, times));
        volume
    };
    manifest.volumes = vec![saved_as(1, then[0]), saved_as(2, then[1])];
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
