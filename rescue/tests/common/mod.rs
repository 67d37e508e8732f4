//! Run states as an engine would give them, made by hand.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod files;

use holdfast::tui::look::Look;
use holdfast::tui::state::{Input, Ui};
use holdfast::tui::update::update;
use model::assessment::*;
use model::boot::*;
use model::command::{ExitCode, Failure};
use model::differences::*;
use model::event::*;
use model::evidence::*;
use model::id::*;
use model::inspection::*;
use model::plan::*;
use model::policy::*;
use model::ports::UnixMicros;
use model::run_state::RunState;
use model::snapshot::*;
use model::text::{DisplayText, RawName};
use model::units::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub(crate) fn digest(s: &str) -> Digest {
    Digest::of(s.as_bytes())
}

pub(crate) fn snapshot_id(s: &str) -> SnapshotId {
    SnapshotId(digest(s))
}

pub(crate) fn at(day: u8, hour: u8, minute: u8) -> UnixMicros {
    UnixMicros::from_civil(2026, 11, day, hour, minute, 7).unwrap()
}

pub(crate) fn path(s: &str) -> VolumePath {
    s.parse().unwrap()
}

fn extent(start: u64, len: u64) -> Extent {
    Extent::new(ByteOffset(start), ByteLen(len)).unwrap()
}

pub(crate) fn hardware() -> Hardware {
    Hardware {
        model: "ACME SSD 870".into(),
        serial: Some("S5Y1NX0R".into()),
        wwn: None,
        size: ByteLen(32 * GIB),
        sector: SectorSize::B512,
        transport: "sata".into(),
        removable: false,
        shown_as: Some("/dev/sda".into()),
    }
}

fn ext4() -> Content {
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

fn fat() -> Content {
    Content::Fat(FatInfo {
        width: 32,
        volume_id: "1A2B-3C4D".into(),
        label: "EFI".into(),
        cluster_size: 4096,
        clusters: 65_000,
        dirty: false,
    })
}

fn swap() -> Content {
    Content::Swap(SwapInfo { uuid: None, label: "".into(), page_size: 4096, hibernated: false })
}

fn partition(number: u32, extent: Extent) -> Partition {
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
    }
}

fn facet<T>(value: T, confidence: Confidence, rule: &str, for_: &[&str], against: &[&str]) -> Facet<T> {
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

fn evidence(id: &str, path: Option<&str>, says: &str, fact: Fact) -> Evidence {
    Evidence {
        id: EvidenceId(id.into()),
        origin: Origin { volume: VolumePath::partition(DiskNo(0), 2), path: path.map(RawName::from), range: None },
        fact,
        says: says.into(),
        time: Some(Stamp { at: at(23, 5, 42), trust: ClockTrust::Utc }),
    }
}

/// What the journal and apt's history tell: a session in order, and one whose records break off after packages were begun with.
fn lived() -> Vec<Evidence> {
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

fn looked_at(assessment: Assessment) -> Report {
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

pub(crate) fn summary(name: &str, counter: u64, taken: UnixMicros, good: bool, headline: &str) -> SnapshotSummary {
    let cost =
        Cost { read: ByteLen(3 * GIB), shared: ByteLen(2 * GIB), new: ByteLen(300 * MIB), stored: ByteLen(120 * MIB) };
    SnapshotSummary {
        id: snapshot_id(name),
        counter,
        purpose: Purpose::Keep,
        machine: holdfast::tui::words::machine(&Inspection {
            disks: vec![disk()],
            systems: vec![system()],
            ..Inspection::default()
        }),
        taken,
        system: Some("Debian GNU/Linux 12 (bookworm)".into()),
        headline: Some(headline.into()),
        kernel: Some("6.1.0-27-amd64".into()),
        packages: Some(1203),
        operation: None,
        good,
        captured: ByteLen(3 * GIB),
        cost,
        label: None,
        pinned: false,
        proven: None,
        unproven: None,
        signers: Vec::new(),
    }
}

pub(crate) fn store() -> StoreView {
    let mut other = summary("two", 2, at(20, 9, 30), true, "This machine shut down in order.");
    other.machine = Machine { machine_id: Some("f".repeat(32)), disks: vec![], hostname: Some("db7".into()) };
    let mut undo = summary("four", 4, at(22, 21, 10), false, "The power failed while software was being installed.");
    undo.purpose = Purpose::Undo { before: snapshot_id("three") };
    let mut crashed = summary("five", 5, at(23, 5, 12), false, "The power failed; nothing was being installed.");
    crashed.label = Some("crashed".into());
    crashed.kernel = Some("6.1.0-28-amd64".into());
    crashed.packages = Some(1207);
    let mut first = summary("one", 1, at(19, 22, 5), true, "This machine shut down in order.");
    first.proven = Some("it came up to multi-user.target in 41 s".into());
    StoreView {
        id: "5f0c".into(),
        free: Some(ByteLen(34_500_000_000)),
        snapshots: vec![
            first,
            other,
            summary(
                "three",
                3,
                at(21, 23, 59),
                true,
                "This machine shut down in order; the last installation is complete.",
            ),
            undo,
            crashed,
        ],
        damage: vec![],
    }
}

pub(crate) fn good_run() -> RunState {
    RunState { seq: 9, report: Some(report(clean())), store: Some(store()), ..RunState::default() }
}

pub(crate) fn broken_run() -> RunState {
    RunState { seq: 9, report: Some(report(broken())), store: Some(store()), ..RunState::default() }
}

pub(crate) fn no_store_run() -> RunState {
    RunState { store: None, ..broken_run() }
}

pub(crate) fn locked_run() -> RunState {
    RunState { locked: true, ..no_store_run() }
}

pub(crate) fn empty_run() -> RunState {
    let mut disk = disk();
    disk.volumes = vec![Volume::on_disk(VolumePath::whole(DiskNo(0)), extent(0, 32 * GIB), Content::Empty)];
    disk.table = None;
    let finding = Finding {
        severity: Severity::Damage,
        volume: path("d0"),
        says: "both copies of the partition table are damaged (header checksum 0x1f2e3d4c, expected 0x00000000)".into(),
        advice: "restore it from a snapshot".into(),
    };
    RunState {
        report: Some(Report {
            inspection: Inspection { disks: vec![disk], findings: vec![finding], ..Inspection::default() },
            systems: vec![],
            boot: vec![],
        }),
        store: Some(store()),
        ..RunState::default()
    }
}

pub(crate) fn fenced_run() -> RunState {
    let mut run = broken_run();
    let report = run.report.as_mut().unwrap();
    report.inspection.disks[0].volumes[1].content = Content::Fenced(FenceInfo {
        intent: IntentId(digest("intent")),
        store: "5f0c".into(),
        was: "ext4, root of Debian GNU/Linux 12 (bookworm)".into(),
    });
    report.systems.clear();
    report.inspection.systems.clear();
    run
}

/// A system that shut down in order, and whose boot loader looks for its menu where there is none.
pub(crate) fn unbootable_run() -> RunState {
    let mut run = good_run();
    let link = |part, state, says: &str, repairable| BootLink {
        part,
        way: Way::Uefi,
        volume: path("d0/p1"),
        path: Some(RawName::from("/EFI/debian/grub.cfg")),
        state,
        needed: true,
        says: says.into(),
        advice: "`holdfast repair-boot` puts the right one in".into(),
        repairable,
    };
    let says = "/EFI/debian/grub.cfg looks for the menu on the volume 0f3e1d2c-0000-4222-8333-444455556666, which is not on these disks";
    let links = vec![
        link(LinkPart::Esp, LinkState::Ok, "the EFI system partition is there, and is a FAT", false),
        link(LinkPart::LoaderConfig, LinkState::Broken, says, true),
    ];
    run.report.as_mut().unwrap().boot = vec![BootChain { root: path("d0/p2"), links }];
    run
}

/// Names and log lines as an enemy would write them.
pub(crate) fn hostile_run() -> RunState {
    let nasty = "\u{1b}[2J\u{202e}evil\u{7}\n中文字 e\u{301}\u{301}\u{301} ".repeat(40);
    let mut run = broken_run();
    let report = run.report.as_mut().unwrap();
    let system = &mut report.systems[0];
    system.system.name = DisplayText::new(&nasty);
    system.system.hostname = Some(DisplayText::new(&nasty));
    system.assessment.headline = DisplayText::new(&nasty);
    system.assessment.advice = DisplayText::new(&nasty);
    system.assessment.packages =
        vec![PackageState { name: DisplayText::new(&nasty), version: "".into(), state: "".into() }; 100];
    system.evidence[0].origin.path = Some(RawName(b"/var/\xff\x1b]0;pwned\x07/\xe4\xb8".repeat(30)));
    for e in &mut system.evidence {
        if let Fact::Transaction { packages, .. } = &mut e.fact {
            e.says = DisplayText::new(&nasty);
            *packages = vec![DisplayText::new(&nasty); 64];
        }
    }
    report.inspection.disks[0].hardware.model = DisplayText::new(&nasty);
    report.inspection.findings = vec![
        Finding {
            severity: Severity::Damage,
            volume: path("d0/p2"),
            says: DisplayText::new(&nasty),
            advice: DisplayText::new(&nasty),
        };
        300
    ];
    let volume = report.inspection.disks[0].volumes[1].clone();
    report.inspection.disks[0].volumes = vec![volume; 128];
    let disk = report.inspection.disks[0].clone();
    report.inspection.disks = vec![disk; 20];
    let store = run.store.as_mut().unwrap();
    for s in &mut store.snapshots {
        s.headline = Some(DisplayText::new(&nasty));
        s.machine.hostname = Some(DisplayText::new(&nasty));
        s.taken = UnixMicros(i64::MIN);
    }
    store.damage = vec![DisplayText::new(&nasty); 5];
    let mut boot = unbootable_run().report.unwrap().boot;
    boot[0].links[1].says = DisplayText::new(&nasty);
    run.report.as_mut().unwrap().boot = vec![boot[0].clone(); 50];
    run.log = std::iter::repeat_n(DisplayText::new(&nasty), 500).collect();
    run.last = Some((JobKind::Check, Outcome::Failed(Failure::new(ExitCode::Failed, &nasty, &nasty))));
    run
}

pub(crate) fn question(action: Action, ok: bool) -> Question {
    let map = MapRoot { node: NodeId(digest("map")), height: 2, content: digest("content") };
    let volume = |p: &str, says: &str, at_most| VolumeRollback {
        path: path(p),
        saved_as: path(p),
        extent: extent(MIB, 24 * GIB),
        through: None,
        hardware: hardware(),
        disk_head: digest("head"),
        volume_head: digest(p),
        says: says.into(),
        map,
        at_most: ByteLen(at_most),
    };
    Question {
        id: PlanId(digest("plan")),
        plan: RollbackPlan {
            action,
            to: snapshot_id("three"),
            to_says: "Debian GNU/Linux 12 (bookworm) on \"web1\", saved 2026-11-21 23:59, good".into(),
            volumes: vec![
                volume("d0/p2", "ext4, root of Debian GNU/Linux 12 (bookworm)", 3_100_000_000),
                volume("d0/p1", "vfat, /boot/efi", 42_000_000),
            ],
            tables: vec![TableRollback::Untouched { disk: DiskNo(0) }],
            disks: Vec::new(),
            kept: vec![(path("d0/p3"), "swap: its content does not matter".into())],
            checks: vec![
                Check {
                    what: "the disk is the one that was saved".into(),
                    ok: true,
                    says: "serial S5Y1NX0R, 34.3 GB".into(),
                },
                Check {
                    what: "the store has room for the undo point".into(),
                    ok,
                    says: "at most 3.1 GB needed, 34.5 GB free".into(),
                },
            ],
            warnings: vec![
                "everything that was changed on / after 2026-11-21 23:59 is undone, files of users included".into(),
            ],
            foreign: None,
            firmware: Vec::new(),
            composed: None,
            reads: (!matches!(action, Action::Resume { .. })).then(|| UndoReads {
                with: snapshot_id("three"),
                everything: false,
                against: vec![Ok(Against { doubt: None }), Err("its kind keeps no record of what changed".into())],
                says:
                    "what changed since snapshot 3f1c8a02, as the file systems tell it; bytes written below them are not noticed, and stay"
                        .into(),
            }),
        },
        losses: Some(losses()),
    }
}

/// What a session of a day leaves, on the root and the EFI partition of [`disk`].
pub(crate) fn differences() -> Differences {
    let tally = |count, bytes| Tally { count, bytes: ByteLen(bytes) };
    let difference = |path: &str, change: FileChange, before: Option<u64>, after: Option<u64>| Difference {
        path: path.into(),
        kind: FileKind::File,
        change,
        before: before.map(ByteLen),
        after: after.map(ByteLen),
        text: None,
    };
    let created = |count, bytes| Counts { created: tally(count, bytes), ..Counts::default() };
    let group = |path: &str, counts| Group { path: path.into(), counts };
    let package = |name: &str, change, before: Option<&str>, after: Option<&str>| PackageDifference {
        name: name.into(),
        change,
        before: before.map(DisplayText::from),
        after: after.map(DisplayText::from),
    };
    let changed = Counts { changed: tally(40, 9_000_000), changed_from: ByteLen(8_000_000), ..created(8, 2_100_000) };
    let mut all = created(120, 340_000_000);
    all.join(&changed);
    let notable = vec![
        difference("/etc/fstab", FileChange::Changed, Some(610), Some(640)),
        difference("/etc/hosts", FileChange::Created, None, Some(91)),
    ];
    let root = FsDifferences {
        counts: all,
        notable,
        groups: vec![group("/home/ann\u{1b}[2J", created(120, 340_000_000)), group("/usr", changed)],
        largest: vec![difference("/home/ann/film.mkv", FileChange::Created, None, Some(300_000_000))],
        packages: Some(Ok(PackageDifferences {
            changes: vec![
                package("hello", PackageChange::Installed, None, Some("2.10-3")),
                package("libc6:amd64", PackageChange::Upgraded, Some("2.36-9"), Some("2.36-10")),
            ],
            count: 2,
        })),
        ..FsDifferences::none(ComparedBy::Records)
    };
    let esp = FsDifferences::none(ComparedBy::Bytes);
    let volume = |at: &str, fs: &str, mount: &str, files| VolumeDifferences {
        before: Some(path(at)),
        after: Some(path(at)),
        fs: fs.into(),
        mount: Some(mount.into()),
        files,
    };
    let volumes = vec![volume("d0/p2", "ext4", "/", Ok(root)), volume("d0/p1", "vfat", "/boot/efi", Ok(esp))];
    Differences { before: snapshot_id("three"), after: None, volumes }
}

fn losses() -> Losses {
    Losses { plan: PlanId(digest("plan")), differences: Ok(differences()), seconds: Some((95, 240)) }
}

pub(crate) fn asking_run(action: Action, ok: bool) -> RunState {
    RunState { job: Some((JobKind::Rollback, None)), question: Some(question(action, ok)), ..broken_run() }
}

pub(crate) fn working_run(job: JobKind, fenced: bool) -> RunState {
    let saving = job == JobKind::Snapshot;
    let cost = Cost {
        read: ByteLen(1_234_000_000),
        shared: ByteLen(900_000_000),
        new: ByteLen(334_000_000),
        stored: ByteLen(150_000_000),
    };
    let progress = Progress {
        phase: if fenced { "writing d0/p2".into() } else { "saving d0/p2 (/, ext4)".into() },
        step: (2, 5),
        done: ByteLen(1_234_000_000),
        total: ByteLen(3_100_000_000),
        rate: ByteLen(182_000_000),
        remaining: Some(11),
        cost: saving.then_some(cost),
        fenced,
    };
    RunState {
        job: Some((job, Some(progress))),
        estimate: saving.then(estimate),
        log: ["plan approved", "undo point saved: 1f2e3d4c", "writing d0/p2"].map(DisplayText::from).into(),
        ..broken_run()
    }
}

/// Nothing changed since the snapshot `three`.
pub(crate) fn unchanged_run() -> RunState {
    let mut run = good_run();
    let mut since = clean();
    since.change = facet(Change::Unchanged, Confidence::Certain, "counters_equal", &["ext:1"], &[]);
    since.since = Some(snapshot_id("three"));
    run.report = Some(report(since));
    run
}

/// The rescue does something by itself unless somebody stops it.
pub(crate) fn waiting_run(seconds: Option<u32>) -> RunState {
    let next = match seconds {
        Some(_) => "the last session was cut off: everything is read and saved, as \"crashed\"",
        None => "the disks are looked at, and then done what the policy calls for",
    };
    let waiting = Some(Waiting { next: next.into(), seconds });
    let report = seconds.and(broken_run().report);
    RunState { job: Some((JobKind::Auto, None)), waiting, report, ..broken_run() }
}

pub(crate) fn acted(saved: bool) -> Acted {
    let (save, why) = match saved {
        true => (
            Some(Saving { everything: true, label: Some("crashed".into()) }),
            "the last session was cut off: everything is read and saved, as \"crashed\"",
        ),
        false => (None, "nothing changed since snapshot 8b5b9db0, which holds all of this"),
    };
    let cost = summary("six", 6, at(23, 6, 1), false, "").cost;
    Acted {
        decision: Decision { save, why: why.into() },
        saved: saved.then(|| Saved { id: snapshot_id("six"), cost, volumes: Vec::new() }),
        forgotten: if saved { vec![snapshot_id("one"), snapshot_id("two")] } else { Vec::new() },
        pruned: None,
        trouble: saved
            .then(|| Failure::new(ExitCode::Failed, "the store cannot be pruned: it is busy", "prune it later")),
        then: None,
    }
}

/// What a snapshot of the machine would take.
pub(crate) fn estimate() -> SnapshotEstimate {
    SnapshotEstimate {
        volumes: Vec::new(),
        left_out: Vec::new(),
        read: ByteLen(3_100_000_000),
        at_most: ByteLen(3_290_000_000),
        likely: ByteLen(1_550_000_000),
        likely_because: "half of what is read, as is usual".into(),
        free: Some(ByteLen(4_000_000_000)),
    }
}

pub(crate) fn ended_run(job: JobKind, outcome: Outcome) -> RunState {
    RunState { last: Some((job, outcome)), ..good_run() }
}

pub(crate) fn receipt() -> Receipt {
    Receipt {
        format: 1,
        intent: IntentId(digest("intent")),
        holds: snapshot_id("three"),
        written: ByteLen(812_000_000),
        verified: ByteLen(812_000_000),
        ended: at(23, 6, 1),
    }
}

/// A console of the rescue that joined a run in this state.
pub(crate) fn joined(run: &RunState, size: (u16, u16), look: Look) -> Ui {
    let mut ui = Ui::new(size, look, false);
    update(&mut ui, &RunState::default(), Input::Changed);
    update(&mut ui, run, Input::Changed);
    ui
}
