//! What a look at a machine gives: a disk, a system, its evidence, and what it comes to.

use super::*;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

pub(crate) fn extent(start: u64, len: u64) -> Extent {
    Extent::new(ByteOffset(start), ByteLen(len)).unwrap()
}

pub(crate) fn hardware() -> Hardware {
    Hardware {
        serial: Some("S5Y1NX0R".into()),
        transport: "sata".into(),
        shown_as: Some("/dev/sda".into()),
        ..Hardware::image("ACME SSD 870", ByteLen(32 * GIB))
    }
}

pub(crate) fn ext4() -> Content {
    Content::Ext(ExtInfo {
        kind: FsKind::Ext4,
        uuid: "0f3e1d2c-1111-4222-8333-444455556666".into(),
        label: "root".into(),
        block_size: 4096,
        blocks: 7 << 18,
        free_blocks: 4 << 18,
        needs_recovery: true,
        state: 1,
        errors: 0,
        has_journal: true,
        mount_count: 7,
        mounted_at: 1_795_000_000,
        written_at: 1_795_000_100,
        made_at: 1_790_000_000,
        checked_at: 1_790_000_000,
        last_mounted: "/".into(),
        kbytes_written: 1234,
        journal_sequence: Some(99),
        last_commit_at: Some(1_795_000_099),
        unknown_features: (0, 0, 0),
    })
}

pub(crate) fn fat() -> Content {
    Content::Fat(FatInfo {
        width: 32,
        volume_id: "1A2B-3C4D".into(),
        label: "EFI".into(),
        cluster_size: 4096,
        clusters: 65_000,
        dirty: false,
    })
}

pub(crate) fn swap() -> Content {
    Content::Swap(SwapInfo { uuid: None, label: "".into(), page_size: 4096, hibernated: false })
}

pub(crate) fn partition(number: u32, extent: Extent) -> Partition {
    Partition { number, extent, type_id: GPT_ESP.into(), guid: None, name: None, bootable: false }
}

pub(crate) fn disk() -> Disk {
    let places = [extent(MIB, 512 * MIB), extent(513 * MIB, 24 * GIB), extent(513 * MIB + 24 * GIB, 2 * GIB)];
    Disk {
        no: DiskNo(0),
        hardware: hardware(),
        head: digest("head"),
        table: Some(Table {
            kind: TableKind::Gpt,
            id: "6d0f7a1e-0000-4000-8000-000000000001".into(),
            partitions: (1..).zip(places).map(|(n, e)| partition(n, e)).collect(),
            raw: vec![extent(0, MIB)],
            from_backup: false,
        }),
        volumes: [fat(), ext4(), swap()]
            .into_iter()
            .zip(places)
            .zip(1..)
            .map(|((content, extent), n)| Volume::on_disk(VolumePath::partition(DiskNo(0), n), extent, content))
            .collect(),
    }
}

pub(crate) fn system() -> System {
    System {
        name: "Debian GNU/Linux 12 (bookworm)".into(),
        os: ("debian".into(), "12".into()),
        hostname: Some("web1".into()),
        machine_id: Some("0123456789abcdef0123456789abcdef".into()),
        root: path("d0/p2"),
        boot: vec![("/boot/efi".into(), path("d0/p1"))],
        other: vec![("none".into(), path("d0/p3"))],
        subvolumes: Vec::new(),
    }
}

pub(crate) fn facet<T>(value: T, confidence: Confidence, rule: &str, for_: &[&str], against: &[&str]) -> Facet<T> {
    let ids = |ids: &[&str]| ids.iter().map(|i| EvidenceId((*i).into())).collect();
    Facet { value, confidence, rule: rule.into(), evidence_for: ids(for_), evidence_against: ids(against) }
}

pub(crate) fn clean() -> Assessment {
    Assessment {
        headline: "This machine shut down in order; nothing is wrong that can be seen from here.".into(),
        advice: "Save the present state, then start the machine.".into(),
        termination: facet(Termination::Clean, Confidence::Certain, "journal_ended", &["ext:1", "journal:1"], &[]),
        how: Some(EndKind::Poweroff),
        start: facet(Start::Reached, Confidence::Certain, "reached_target", &["journal:1"], &[]),
        installation: facet(Installation::Completed, Confidence::Certain, "dpkg_in_order", &["dpkg:1"], &[]),
        packages: vec![],
        change: facet(Change::Unknown, Confidence::Weak, "no_baseline", &[], &[]),
        since: None,
    }
}

pub(crate) fn broken() -> Assessment {
    Assessment {
        headline: "The power failed while software was being installed; libc6 and 11 more packages are half installed."
            .into(),
        advice: "Going back to the last good state is the sure way. Starting the machine as it is may fail.".into(),
        termination: facet(
            Termination::Abrupt,
            Confidence::Certain,
            "journal_not_closed",
            &["ext:1", "journal:1"],
            &[],
        ),
        how: None,
        start: facet(Start::Reached, Confidence::Likely, "reached_target", &["journal:1"], &["wtmp:1"]),
        installation: facet(Installation::Interrupted, Confidence::Certain, "dpkg_updates_left", &["dpkg:1"], &[]),
        packages: ["libc6", "libc-bin", "locales", "openssl", "systemd"]
            .map(|n| PackageState { name: n.into(), version: "2.36-9".into(), state: "half-configured".into() })
            .into(),
        change: facet(Change::Changed, Confidence::Certain, "superblock_moved", &["ext:1"], &[]),
        since: Some(snapshot_id("three")),
    }
}

pub(crate) fn evidence(id: &str, path: Option<&str>, says: &str, fact: Fact) -> Evidence {
    Evidence {
        id: EvidenceId(id.into()),
        origin: Origin { volume: VolumePath::partition(DiskNo(0), 2), path: path.map(RawName::from), range: None },
        fact,
        says: says.into(),
        time: Some(Stamp { at: at(23, 5, 42), trust: ClockTrust::Utc }),
    }
}

/// What the journal and apt's history tell: a session in order, and one whose records break off after packages were begun with.
pub(crate) fn lived() -> Vec<Evidence> {
    let journal = "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal";
    let boot = |age: u32, (first, last): (UnixMicros, UnixMicros), ended: Option<EndKind>, moments: Vec<Moment>| {
        let fact = Fact::Boot {
            boot_id: format!("{age:032x}"),
            age,
            first,
            last,
            journal_stopped: ended.is_some(),
            startup_finished: true,
            reached_target: Some("graphical.target".into()),
            emergency: false,
            ended,
            asleep: false,
            panicked: false,
            order: None,
            moments,
            kernel: None,
            handed_back: false,
            asked: None,
        };
        let id = format!("boot:{}", age + 1);
        Evidence {
            time: Some(Stamp { at: last, trust: ClockTrust::Utc }),
            ..evidence(&id, Some(journal), "a start", fact)
        }
    };
    let moment = |at, what| Moment { at, what };
    let slept = vec![moment(at(22, 20, 55), MomentKind::Slept), moment(at(23, 4, 58), MomentKind::Woke)];
    let upgrade = Fact::Transaction {
        manager: PackageManager::Apt,
        age: 0,
        command: "apt-get -y upgrade".into(),
        ended: false,
        failed: false,
        packages: ["libc6", "libc-bin", "locales", "openssl", "systemd", "udev"].map(DisplayText::from).into(),
    };
    let says = "apt-get -y upgrade: has no end in apt's history";
    let upgrade = Evidence {
        time: Some(Stamp { at: at(23, 6, 40), trust: ClockTrust::LocalNoZone }),
        ..evidence("apt:1", Some("/var/log/apt/history.log"), says, upgrade)
    };
    vec![
        boot(0, (at(22, 20, 11), at(23, 5, 42)), None, slept),
        boot(1, (at(21, 7, 59), at(21, 23, 58)), Some(EndKind::Poweroff), Vec::new()),
        upgrade,
    ]
}

pub(crate) fn report(assessment: Assessment) -> Report {
    let mut report = looked_at(assessment);
    report.systems[0].evidence.extend(lived());
    report
}

pub(crate) fn looked_at(assessment: Assessment) -> Report {
    Report {
        inspection: Inspection { disks: vec![disk()], systems: vec![system()], ..Inspection::default() },
        systems: vec![SystemReport {
            system: system(),
            assessment,
            evidence: vec![
                evidence("ext:1", None, "the file system was mounted and never unmounted", Fact::NotThere),
                evidence(
                    "journal:1",
                    Some("/var/log/journal/0123456789abcdef0123456789abcdef/system.journal"),
                    "the last boot's journal ends in the middle of a line about apt",
                    Fact::JournalFile { state: 1, disordered: false },
                ),
                evidence("wtmp:1", Some("/var/log/wtmp"), "the last boot has no run level", Fact::NotThere),
                evidence(
                    "dpkg:1",
                    Some("/var/lib/dpkg/updates"),
                    "3 records are not merged into the database",
                    Fact::NotThere,
                ),
            ],
        }],
        boot: vec![],
    }
}
