//! Disks with layers between partitions and file systems: an array that lost step, an LVM group on two disks, a locked volume; and disks
//! that a saved state could be put onto.

use super::*;

fn md(role: u32, events: u64) -> Content {
    Content::Md(MdInfo {
        uuid: format!("{role:08}-aaaa-4bbb-8ccc-000000000000"),
        array: "boot".into(),
        array_uuid: "5c2f0c5e-1111-4222-8333-444455556666".into(),
        level: "raid1".into(),
        role,
        events,
        apart: ExtentSet::new(),
    })
}

fn lvm(uuid: &str) -> Content {
    Content::Lvm(LvmInfo {
        unread: Vec::new(),
        uuid: uuid.into(),
        group: "vg0".into(),
        group_uuid: "hGzVnR-0000-0000-0000-0000-0000-aBcDeF".into(),
        seqno: 7,
        apart: ExtentSet::new(),
    })
}

fn other(name: &str) -> Content {
    Content::Recognised { name: name.into(), sealed: false }
}

fn luks() -> Content {
    Content::Luks(LuksInfo {
        version: 2,
        uuid: "9d2c0c5e-1111-4222-8333-444455556666".into(),
        label: "".into(),
        cipher: "aes-xts-plain64".into(),
        sealed: false,
        not_opened: None,
        open: false,
        apart: ExtentSet::new(),
    })
}

fn gpt(id: &str, parts: &[(u64, Content)], no: u16, size: u64) -> Disk {
    let mut at = MIB;
    let mut table = Vec::new();
    let mut volumes = Vec::new();
    for (number, (len, content)) in (1..).zip(parts) {
        let place = extent(at, *len);
        at += *len;
        table.push(Partition {
            type_id: if number == 1 { GPT_ESP.into() } else { "0fc63daf-8483-4772-8e79-3d69d8477de4".into() },
            guid: Some(format!("{id}-0000-4000-8000-00000000000{number}")),
            name: (number == 1).then(|| "EFI".into()),
            ..partition(number, place)
        });
        volumes.push(Volume::on_disk(VolumePath::partition(DiskNo(no), number), place, content.clone()));
    }
    Disk {
        no: DiskNo(no),
        hardware: Hardware {
            serial: Some(DisplayText::new(&format!("S5Y1NX0R-{no}"))),
            size: ByteLen(size),
            shown_as: shown_as(no),
            ..hardware()
        },
        head: digest("head"),
        table: Some(Table {
            kind: TableKind::Gpt,
            id: format!("{id}-0000-4000-8000-000000000000"),
            partitions: table,
            raw: vec![extent(0, MIB)],
            from_backup: no == 1,
        }),
        volumes,
    }
}

fn shown_as(no: u16) -> Option<DisplayText> {
    let letter = ["a", "b", "c", "d", "e"][usize::from(no)];
    Some(DisplayText::new(&format!("/dev/sd{letter}")))
}

/// A disk without a table.
pub(crate) fn plain_disk(no: u16, size: u64, content: Content) -> Disk {
    Disk {
        no: DiskNo(no),
        hardware: Hardware {
            model: "Ultra USB 3.0".into(),
            serial: None,
            transport: "usb".into(),
            removable: true,
            size: ByteLen(size),
            shown_as: shown_as(no),
            ..hardware()
        },
        table: None,
        volumes: vec![Volume::on_disk(VolumePath::whole(DiskNo(no)), extent(0, size), content)],
        ..disk()
    }
}

fn mapped(at: &str, says: &str, len: u64, on: &[(&str, Extent)], content: Content) -> Volume {
    let beneath = on.iter().map(|(p, extent)| Beneath::plain(path(p), *extent)).collect();
    let share = len / on.len() as u64;
    let segments = (0..on.len()).map(|n| Segment::linear(ByteLen(share), n, ByteOffset(MIB))).collect();
    let mapping = Mapping { says: says.into(), id: at.into(), beneath, segments, read_only: None };
    Volume { content, ..Volume::mapped(path(at), mapping).unwrap() }
}

fn ext4_called(label: &str, unmounted: bool) -> Content {
    let Content::Ext(info) = ext4() else { panic!("it is ext4") };
    Content::Ext(ExtInfo { label: label.into(), needs_recovery: !unmounted, ..info })
}

/// The disks.
pub(crate) fn layered_run() -> RunState {
    let first = gpt(
        "aaaaaaaa",
        &[(512 * MIB, fat()), (GIB, md(0, 118)), (20 * GIB, lvm("PV0")), (4 * GIB, luks())],
        0,
        32 * GIB,
    );
    let second = gpt(
        "bbbbbbbb",
        &[(512 * MIB, Content::Empty), (GIB, md(1, 97)), (20 * GIB, lvm("PV1")), (8 * GIB, other("ntfs"))],
        1,
        32 * GIB,
    );
    let place = |disk: &Disk, n: usize| disk.volumes[n].extent;
    let mut array = mapped(
        "d0/p2/md/boot",
        "md array boot (raid1)",
        GIB - 2 * MIB,
        &[("d0/p2", place(&first, 1))],
        ext4_called("boot", true),
    );
    array.mapping.as_mut().unwrap().read_only = Some("its mirrors would no longer be the same".into());
    let root = mapped(
        "d0/p3/vg0/root",
        "LVM volume root of vg0",
        18 * GIB,
        &[("d0/p3", place(&first, 2))],
        ext4_called("root", false),
    );
    let home = mapped(
        "d0/p3/vg0/home",
        "LVM volume home of vg0",
        4 * GIB,
        &[("d0/p3", place(&first, 2)), ("d1/p3", place(&second, 2))],
        ext4_called("", true),
    );
    let mut run = good_run();
    let report = run.report.as_mut().unwrap();
    let system = System {
        root: path("d0/p3/vg0/root"),
        boot: vec![("/boot".into(), path("d0/p2/md/boot")), ("/boot/efi".into(), path("d0/p1"))],
        other: vec![("/home".into(), path("d0/p3/vg0/home"))],
        ..system()
    };
    report.systems[0].system = system.clone();
    let stale = Finding {
        severity: Severity::Warning,
        volume: path("d1/p2"),
        says: "it is a stale member of md array boot (raid1): 21 changes behind".into(),
        advice: "it is not read; add it to the array again".into(),
    };
    report.inspection = Inspection {
        disks: vec![first, second, plain_disk(2, 64 * GIB, ext4_called("archive", true))],
        layered: vec![array, home, root],
        systems: vec![system],
        findings: vec![stale],
        firmware: None,
    };
    run
}

/// The machine of [`broken_run`] with other disks beside its own: two that are empty, one with something on it, and the stick.
pub(crate) fn many_disks_run() -> RunState {
    let mut run = broken_run();
    let disks = &mut run.report.as_mut().unwrap().inspection.disks;
    let mut stick =
        gpt("cccccccc", &[(512 * MIB, fat()), (20 * GIB, ext4_called("holdfast-store", true))], 4, 32 * GIB);
    stick.table.as_mut().unwrap().partitions[1].type_id = GPT_STORE.into();
    disks.push(plain_disk(1, 64 * GIB, Content::Empty));
    disks.push(plain_disk(2, 64 * GIB, Content::Empty));
    disks.push(gpt("dddddddd", &[(512 * MIB, fat()), (8 * GIB, other("ntfs"))], 3, 32 * GIB));
    disks.push(stick);
    run
}

/// A plan for putting a saved state onto a larger disk, with what may grow there.
pub(crate) fn growing_run(wanted: bool) -> RunState {
    let mut run = asking_run(Action::Restore { over: None }, true);
    run.job = Some((JobKind::Restore, None));
    let question = run.question.as_mut().unwrap();
    question.losses = None;
    let plan = &mut question.plan;
    plan.volumes.iter_mut().for_each(|v| v.path = path(&format!("d1/p{}", v.path.number().unwrap())));
    plan.tables.clear();
    plan.kept.clear();
    plan.reads = None;
    plan.warnings.clear();
    let growth =
        model::restore::Growth { volume: path("d0/p2"), from: ByteLen(24 * GIB), to: ByteLen(56 * GIB), wanted };
    plan.disks.push(model::restore::DiskRestore {
        disk: DiskNo(1),
        saved_as: DiskNo(0),
        hardware: Hardware { size: ByteLen(64 * GIB), serial: Some("NEW1".into()), ..hardware() },
        disk_head: digest("zeros"),
        holds: "nothing: every byte of it is zero".into(),
        lost: false,
        table: "the saved GPT, its end moved to the end of this disk".into(),
        parts: Vec::new(),
        made: Vec::new(),
        cleared: ExtentSet::new(),
        encrypted: Vec::new(),
        at_most: ByteLen(3_300_000_000),
        growth: Some(growth),
    });
    if wanted {
        let to = Some(snapshot_id("three"));
        plan.composed = Some(Composition { of: to, with: to, paths: Vec::new(), room: ByteLen(700_000_000) });
    }
    run
}
