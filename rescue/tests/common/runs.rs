//! Run states as an engine would give them.

use super::*;

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
    report.inspection.disks = (0..20).map(|n| Disk { no: DiskNo(n), ..disk.clone() }).collect();
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

/// What may be forgotten was asked for, and told.
pub(crate) fn forgetting_run() -> RunState {
    let all = store().snapshots;
    let line = |s: &SnapshotSummary| ForgetLine { id: s.id, summary: Some(s.clone()) };
    let view = ForgetView {
        keep: vec![
            (all[1].clone(), vec![KeepReason::Floor, KeepReason::Last]),
            (all[2].clone(), vec![KeepReason::Floor, KeepReason::BeforeTrouble]),
            (all[4].clone(), vec![KeepReason::Labelled]),
        ],
        forget: vec![line(&all[0]), ForgetLine { id: snapshot_id("torn"), summary: None }, line(&all[3])],
        frees: Some(ByteLen(310_000_000)),
    };
    ended_run(JobKind::Upkeep, Outcome::Kept(Kept::ForgetPlanned(view)))
}

pub(crate) fn ended_run(job: JobKind, outcome: Outcome) -> RunState {
    RunState { last: Some((job, outcome)), ..good_run() }
}
