//! docs/tour.md and the capture in README.md: made of the goldens, so that they show what the program shows. `HOLDFAST_BLESS=1 cargo test
//! -p holdfast --test screens --test tour` writes both anew.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::golden::{compare, compare_file, file};
use common::*;
use holdfast::tui::look::Look;
use model::assessment::Assessment;
use model::evidence::{ClockTrust, EvidenceId, Fact, Origin, PackageManager, PackageState, Stamp};
use model::id::{Digest, DiskNo, SnapshotId, VolumePath};
use model::inspection::{Content, Hardware, System, Volume};
use model::run_state::RunState;
use model::text::RawName;
use model::timeline::Operation;
use model::units::{ByteLen, Extent};
use std::path::{Path, PathBuf};

/// The screens of the tour: a golden, a heading, and what is to be seen there.
const TOUR: &[(&str, &str, &str)] = &[
    (
        "home-broken",
        "What happened",
        "The first screen, when the disks were looked at: what happened, how sure that is, what is on the disks, and what to do next. \
         `[ok]`, `[!!]`, `[??]` and `[--]` say in words what colours say again.",
    ),
    (
        "evidence",
        "Why (e)",
        "What the machine did last, with the clock that each time is by and whose record tells of it; then, for each of the four lines, the \
         rule that decided and the evidence for and against it; further down everything that was read.",
    ),
    (
        "timeline",
        "The saved states (t)",
        "Newest first. Enter shows the plan for going back to one; nothing is written yet.",
    ),
    (
        "confirm",
        "The plan",
        "What going back would write, what it keeps, and what would be lost. Only the whole word approves it.",
    ),
    ("confirm-losses", "What would be lost", "The plan read on: packages, configuration, and files by directory."),
    (
        "progress-writing",
        "At work",
        "While disks are written: how far it is, and that being cut off here does no harm.",
    ),
    ("outcome-rolled-back", "How it ended", "What was done, and that it can be undone."),
    (
        "home-unfinished",
        "After a power cut in the middle",
        "A rollback that was cut off is recognised at the next start. Until it is finished or undone, nothing starts half a system.",
    ),
    ("files", "Files of a saved state (b)", "Looked through, read (v) and taken out (g) without restoring anything."),
    (
        "changes",
        "What changed since (d)",
        "Packages, what starts the machine, `/etc` line by line, and everything else by directory.",
    ),
    ("store", "The store (o)", "How full it is, whether it is whole, and what may go."),
    (
        "forget",
        "Forgetting",
        "What would go and why the rest stays, before anything does; the whole word does it. x among the saved states asks for one alone.",
    ),
    (
        "disks-volume",
        "The disks (d)",
        "Every disk, what lies on it, and what layers make of that: what it is, how much of it is in use, and what a save takes of it. Below the \
         list more about the row that is chosen, with Enter all of it; / finds.",
    ),
    (
        "target",
        "Onto another disk (n among the saved states)",
        "Where no disk alone is empty it is asked which one is meant. It is named by what is typed; then the plan is shown.",
    ),
    ("home-good", "When nothing is wrong", "Then that is said, and nothing more is made of it."),
    ("power", "The way out (p)", "Staying is chosen first."),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_tour_shows_the_goldens() {
    let mut out = "# A tour of the screens\n\nAs a serial line of 80x25 shows them, in plain ASCII without colours. They are made by \
                   `rescue/tests/tour.rs` of the checked-in screens that the tests compare with, of a machine that was made up.\n"
        .to_owned();
    for (name, heading, says) in TOUR {
        let screen = std::fs::read_to_string(file(&format!("{name}-80x25.txt"))).unwrap();
        out.push_str(&format!("\n## {heading}\n\n{says}\n\n```\n{screen}```\n"));
    }
    compare_file(&root().join("docs/tour.md"), &out);
}

/// The machine of `cargo demo` after the power was cut in its upgrade.
fn demo() -> RunState {
    let mut run = broken_run();
    let report = run.report.as_mut().unwrap();
    let disk = &mut report.inspection.disks[0];
    let size = ByteLen(3_221_225_472);
    disk.hardware = Hardware {
        model: "virtio disk".into(),
        serial: None,
        wwn: None,
        size,
        transport: "virtio".into(),
        shown_as: Some("/dev/vda".into()),
        ..disk.hardware.clone()
    };
    let of = |n: usize| disk.volumes[n].content.clone();
    let (boot, root, swap) = (of(0), of(1), of(2));
    let mut at = 1 << 20;
    let mut volume = |n: u32, len: u64, content: Content| {
        let extent = Extent::between(at, at + len).unwrap();
        at += len;
        Volume::on_disk(VolumePath::partition(DiskNo(0), n), extent, content)
    };
    disk.volumes = vec![
        volume(1, 1 << 20, Content::BiosBoot),
        volume(2, 64 << 20, boot),
        volume(3, 2862 << 20, root),
        volume(4, 128 << 20, swap),
    ];
    let system = System {
        name: "Debian GNU/Linux 12 (bookworm)".into(),
        hostname: Some("target".into()),
        root: VolumePath::partition(DiskNo(0), 3),
        boot: vec![("/boot/efi".into(), VolumePath::partition(DiskNo(0), 2))],
        other: vec![("none".into(), VolumePath::partition(DiskNo(0), 4))],
        ..system()
    };
    report.inspection.systems = vec![system.clone()];
    report.systems[0].system = system;
    let mut id = [0; 32];
    id[..4].copy_from_slice(&[0x39, 0x81, 0x89, 0xce]);
    let saved = SnapshotId(Digest(id));
    let mut start = clean().start;
    start.evidence_for.clear();
    let broken = |name: &str| PackageState { name: name.into(), version: "1".into(), state: "unpacked".into() };
    report.systems[0].assessment = Assessment {
        headline: "It lost power or crashed around 2026-11-23 07:35 UTC; an installation was cut short: 4 packages are not in order \
                   (libc-bin, libperl5.36, perl, ...)."
            .into(),
        advice: "Take a snapshot, then either go back to the newest good one, or start it and run `dpkg --configure -a` and \
                 `apt-get -f install`."
            .into(),
        packages: ["libc-bin", "libperl5.36:amd64", "perl", "perl-base"].map(broken).into(),
        start,
        since: Some(saved),
        ..common::broken()
    };
    let apt = |command: &str, minute| Operation {
        manager: PackageManager::Apt,
        command: command.into(),
        began: Stamp { at: common::at(23, 7, minute), trust: ClockTrust::LocalNoZone },
    };
    let (before, upgrade) = (apt("apt-get install", 31), apt("apt-get upgrade", 34));
    report.systems[0].evidence = vec![model::evidence::Evidence {
        id: EvidenceId("apt:1".into()),
        origin: Origin {
            volume: VolumePath::partition(DiskNo(0), 3),
            path: Some(RawName::from("/var/log/apt/history.log")),
            range: None,
        },
        fact: Fact::Transaction {
            manager: PackageManager::Apt,
            age: 0,
            command: upgrade.command.clone(),
            ended: false,
            failed: false,
            packages: Vec::new(),
        },
        says: "apt-get upgrade: has no end in apt's history".into(),
        time: Some(upgrade.began),
    }];
    let machine = holdfast::tui::words::machine(&report.inspection);
    let store = run.store.as_mut().unwrap();
    store.free = Some(ByteLen(4_000_000_000));
    let mut good = summary("three", 1, common::at(23, 7, 33), true, "");
    (good.id, good.machine, good.operation) = (saved, machine, Some(before));
    store.snapshots = vec![good];
    run
}

#[test]
fn the_capture_in_the_readme_is_what_is_shown() {
    let run = demo();
    let ui = joined(&run, (80, 25), Look { ascii: true, colour: false });
    compare("readme", &ui, &run);
    let screen = std::fs::read_to_string(file("readme-80x25.txt")).unwrap();
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("```\n HOLDFAST").unwrap();
    let (_, after) = rest.split_once("\n```\n").unwrap();
    compare_file(&path, &format!("{before}```\n{screen}```\n{after}"));
}
