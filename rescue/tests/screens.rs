//! The screens, as text, against the checked-in files in `golden/` (see `common/golden.rs`).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::files::{TO_ROOT, browse, compared_run, got, shows};
use common::golden::*;
use common::layers::*;
use common::*;
use holdfast::tui::look::Look;
use holdfast::tui::state::{Input, Key, Screen};
use holdfast::tui::update::update;
use model::boot::{BootRepair, BootRepairs};
use model::command::{ExitCode, Failure, ImageFormat, PowerAction};
use model::coverage::Comparison;
use model::event::{CheckReport, Exported, ExportedImage, JobKind, Lost, Outcome};
use model::files::{LostFiles, LostPath};
use model::id::{DiskNo, IntentId, VolumePath};
use model::inspection::FileKind;
use model::plan::{Action, ComposedPath, Composition};
use model::run_state::RunState;
use model::snapshot::{Compared, Cost, VolumeRead};
use model::units::{ByteLen, ByteOffset, ExtentSet};
use model::upkeep::{Broken, CopyView, Kept, RepairView};

/// Compares what these keys show, at every size.
fn golden(name: &str, run: &RunState, keys: &[Key]) {
    for size in SIZES {
        let mut ui = joined(run, size, look(size));
        for k in keys {
            update(&mut ui, run, Input::Key(*k));
        }
        compare(name, &ui, run);
    }
}

#[test]
fn home() {
    golden("home-broken", &broken_run(), &[]);
    golden("home-good", &good_run(), &[]);
    golden("home-unbootable", &unbootable_run(), &[]);
    golden("evidence-unbootable", &unbootable_run(), &[Key::Char('e')]);
    golden("home-unfinished", &fenced_run(), &[]);
    golden("home-no-store", &no_store_run(), &[]);
    golden("home-locked", &locked_run(), &[]);
    let typed = [Key::Char('1')].into_iter().chain("secret".chars().map(Key::Char)).collect::<Vec<_>>();
    golden("unlock", &locked_run(), &typed);
    golden("home-no-system", &empty_run(), &[]);
    golden("home-unchanged", &unchanged_run(), &[]);
    golden("home-waiting", &waiting_run(Some(8)), &[]);
    golden("home-waiting-to-look", &waiting_run(None), &[]);
    golden("home-looking", &RunState { job: Some((JobKind::Inspect, None)), ..RunState::default() }, &[]);
}

#[test]
fn timeline() {
    golden("timeline", &broken_run(), &[Key::Char('t'), Key::Down]);
    golden("timeline-go-back", &broken_run(), &[Key::Char('r')]);
    let mut none = good_run();
    none.store.as_mut().unwrap().snapshots.clear();
    golden("timeline-empty", &none, &[Key::Char('t')]);
}

#[test]
fn confirmation() {
    golden("confirm", &asking_run(Action::Rollback, true), &[]);
    let mut repair = RunState { question: asking_run(Action::Repair, true).question, ..unbootable_run() };
    let item = |says: &str| BootRepair { volume: VolumePath::partition(DiskNo(0), 1), path: None, says: says.into() };
    let items =
        vec![item("copies /EFI/debian/shimx64.efi to /EFI/BOOT/BOOTX64.EFI"), item("writes /EFI/debian/grub.cfg")];
    repair.boot_repairs = Some(BootRepairs { items, ..BootRepairs::default() });
    golden("confirm-repair", &repair, &[]);
    let typed = "rollback".chars().map(Key::Char).collect::<Vec<_>>();
    golden("confirm-typed", &asking_run(Action::Rollback, true), &typed);
    golden("confirm-wrong-word", &asking_run(Action::Rollback, true), &[Key::Char('y'), Key::Enter]);
    golden("confirm-refused", &asking_run(Action::Rollback, false), &[]);
    let mut early = asking_run(Action::Rollback, true);
    early.question.as_mut().unwrap().losses = None;
    golden("confirm-early", &early, &[]);
    let mut untold = asking_run(Action::Rollback, true);
    let losses = untold.question.as_mut().unwrap().losses.as_mut().unwrap();
    losses.differences = Err("the parser took too long and was ended".into());
    golden("confirm-untold", &untold, &[]);
    golden("confirm-losses", &asking_run(Action::Rollback, true), &[Key::PageDown]);
    let mut kept = asking_run(Action::Rollback, true);
    let path = |path: &str, counted| ComposedPath {
        volume: VolumePath::partition(DiskNo(0), 2),
        path: path.into(),
        files: 12_345,
        bytes: ByteLen(678_000_000),
        counted,
    };
    let (paths, room) = (vec![path("/home", true), path("/srv", false)], ByteLen(2_600_000_000));
    let composed = Composition { of: Some(snapshot_id("three")), with: None, paths, room };
    kept.question.as_mut().unwrap().plan.composed = Some(composed);
    golden("confirm-kept", &kept, &[Key::PageDown]);
    golden("confirm-changes", &asking_run(Action::Rollback, true), &[Key::Tab, Key::Down]);
    golden("confirm-undo", &asking_run(Action::Undo { of: IntentId(digest("intent")) }, true), &[]);
}

/// A second store that was named is copied to, and helps where this one is damaged.
#[test]
fn two_stores() {
    for size in SIZES {
        let run = good_run();
        let mut ui = joined(&run, size, look(size));
        (ui.other, ui.may_leave) = (Some("/mnt/second/holdfast".into()), true);
        update(&mut ui, &run, Input::Key(Key::Char('o')));
        compare("store-second", &ui, &run);
    }
    let show = |name: &str, kept: Kept| {
        let run = ended_run(JobKind::Upkeep, Outcome::Kept(kept));
        for size in SIZES {
            let mut ui = joined(&working_run(JobKind::Upkeep, false), size, look(size));
            update(&mut ui, &run, Input::Changed);
            compare(name, &ui, &run);
        }
    };
    let torn = |name: &str, why: &str| Broken { snapshot: Some(snapshot_id(name)), why: why.into() };
    show(
        "outcome-copied",
        Kept::Copied(CopyView {
            to: "77aa".into(),
            copied: store().snapshots[2..4].to_vec(),
            present: vec![snapshot_id("one")],
            noted: vec![snapshot_id("one")],
            failed: vec![torn("five", "a pack that it needs is gone: 3f2a")],
            read: ByteLen(3_100_000_000),
            stored: ByteLen(1_400_000_000),
        }),
    );
    show(
        "outcome-repaired",
        Kept::Repaired(RepairView {
            damaged: vec![digest("pack"), digest("another")],
            salvaged: 812,
            indexed: 0,
            healed: vec![snapshot_id("three")],
            broken: vec![torn("five", "12 pieces of it are nowhere")],
        }),
    );
}

/// What a larger disk has room for.
#[test]
fn growth() {
    golden("confirm-grow", &growing_run(false), &[]);
    golden("confirm-grown", &growing_run(true), &[]);
}

#[test]
fn disks() {
    let run = layered_run();
    golden("disks", &run, &[Key::Char('d')]);
    let root =
        [Key::Char('d'), Key::Char('/')].into_iter().chain("vg0/root".chars().map(Key::Char)).chain([Key::Enter]);
    let root: Vec<Key> = root.collect();
    golden("disks-volume", &run, &root);
    golden("disks-read", &run, &[&root[..], &[Key::Enter]].concat());
    golden("disks-end", &run, &[Key::Char('d'), Key::End]);
    let member = [Key::Char('d'), Key::Char('/')].into_iter().chain("member".chars().map(Key::Char));
    let member: Vec<Key> = member.chain([Key::Enter, Key::Char('n')]).collect();
    golden("disks-member", &run, &member);
    let locked =
        [Key::Char('d'), Key::Char('/')].into_iter().chain("locked".chars().map(Key::Char)).chain([Key::Enter]);
    golden("disks-locked", &run, &locked.collect::<Vec<_>>());
    golden("disks-one", &good_run(), &[Key::Char('d'), Key::Down, Key::Down]);
    golden("disks-unfinished", &fenced_run(), &[Key::Char('d'), Key::Down, Key::Down]);
    golden("disks-none", &RunState::default(), &[Key::Char('d')]);
}

#[test]
fn another_disk() {
    let run = many_disks_run();
    let ask = [Key::Char('t'), Key::Down, Key::Down, Key::Char('n')];
    golden("target", &run, &ask);
    golden("target-holds", &run, &[&ask[..], &[Key::End, Key::Up]].concat());
    golden("target-typing", &run, &[&ask[..], &[Key::Enter, Key::Char('6'), Key::Char('8')]].concat());
    let mut two = run.clone();
    two.store.as_mut().unwrap().snapshots[2].machine.disks.push("another".into());
    golden("target-two", &two, &ask);
}

#[test]
fn at_work() {
    golden("progress-saving", &working_run(JobKind::Snapshot, false), &[]);
    golden("progress-before-writing", &working_run(JobKind::Rollback, false), &[]);
    golden("progress-writing", &working_run(JobKind::Rollback, true), &[]);
    golden("progress-stopping", &working_run(JobKind::Rollback, true), &[Key::Char('c')]);
    let mut tight = working_run(JobKind::Snapshot, false);
    tight.estimate.as_mut().unwrap().free = Some(ByteLen(1_000_000_000));
    golden("progress-tight", &tight, &[]);
    let mut early = working_run(JobKind::Snapshot, false);
    early.estimate = None;
    early.job = Some((JobKind::Snapshot, None));
    golden("progress-early", &early, &[]);
}

#[test]
fn outcomes() {
    let show_run = |name: &str, job: JobKind, run: RunState| {
        for size in SIZES {
            let mut ui = joined(&working_run(job, false), size, look(size));
            update(&mut ui, &run, Input::Changed);
            assert_eq!(ui.screen(), Screen::Outcome, "{name}");
            compare(name, &ui, &run);
        }
    };
    let show = |name: &str, job: JobKind, outcome: Outcome| show_run(name, job, ended_run(job, outcome));
    let cost = Cost {
        read: ByteLen(3_100_000_000),
        shared: ByteLen(2_900_000_000),
        new: ByteLen(200_000_000),
        stored: ByteLen(81_000_000),
    };
    let compared = |by: Comparison, taken_over: u64| Compared {
        by,
        why: "one session since, which ended in order".into(),
        with: (taken_over > 0).then(|| snapshot_id("five")),
        taken_over: ByteLen(taken_over),
        resumed: ByteLen(0),
    };
    let read = |number: u32, read: u64, compared: Compared| VolumeRead {
        path: VolumePath::partition(DiskNo(0), number),
        read: ByteLen(read),
        compared,
    };
    let volumes = vec![
        read(1, 6_000_000, compared(Comparison::Content, 0)),
        read(2, 3_094_000_000, compared(Comparison::Metadata, 5_200_000_000)),
    ];
    let went_on = Compared { resumed: ByteLen(2_000_000_000), ..compared(Comparison::Content, 0) };
    let went_on = vec![read(2, 1_094_000_000, went_on)];
    show("outcome-saved", JobKind::Snapshot, Outcome::Saved { id: snapshot_id("six"), cost, volumes });
    show("outcome-auto-saved", JobKind::Auto, Outcome::Acted(Box::new(acted(true))));
    show("outcome-auto-skipped", JobKind::Auto, Outcome::Acted(Box::new(acted(false))));
    let id = snapshot_id("six");
    show("outcome-went-on", JobKind::Snapshot, Outcome::Saved { id, cost, volumes: went_on });
    let says = "the store is full: 8.6 MB are free, and 8.4 MB are kept for records; about 610 MB more are needed, at most 2.1 GB";
    let advice = "make room with `holdfast forget` and `holdfast prune`, which need none, or use another store; then save again; \
                  the next one goes on from here, and 1.2 GB need not be read again as long as the system is not started before";
    let full = Failure::new(ExitCode::Interrupted, says, advice);
    show("outcome-full", JobKind::Snapshot, Outcome::Failed(full));
    show("outcome-rolled-back", JobKind::Rollback, Outcome::WroteBack(receipt()));
    show("outcome-undone", JobKind::Undo, Outcome::WroteBack(receipt()));
    let broken =
        RunState { last: ended_run(JobKind::Rollback, Outcome::WroteBack(receipt())).last, ..unbootable_run() };
    show_run("outcome-unbootable", JobKind::Rollback, broken);
    let says = "the store is full: 0 B are free, at least 120 MB are needed";
    let advice = "nothing was written to the disks; make room on the save disk or bring another, then begin again";
    show("outcome-failed", JobKind::Rollback, Outcome::Failed(Failure::new(ExitCode::Failed, says, advice)));
    let says = "writing d0/p2 at 1048576 failed: input/output error";
    let advice = "the snapshot is whole; check the cable, then finish or undo";
    show("outcome-cut-off", JobKind::Rollback, Outcome::Failed(Failure::new(ExitCode::Interrupted, says, advice)));
    show("outcome-stopped", JobKind::Snapshot, Outcome::Cancelled("nothing was saved; the store is as it was".into()));
    let damage = CheckReport {
        snapshots: 5,
        objects: 412,
        read: ByteLen(800_000_000),
        damage: vec!["pack 3f2a is 12 bytes short (1048564 of 1048576)".into()],
        affected: vec![snapshot_id("three")],
        lost: vec![Lost {
            snapshot: snapshot_id("three"),
            of: "d0/p2".into(),
            bytes: ByteLen(1_048_576),
            places: 7,
            first: ByteOffset(81_920),
            files: Some(LostFiles {
                paths: ["/etc", "/etc/passwd", "/home/ann/a\u{1b}[2Jb", "/usr/lib/libc.so.6"]
                    .map(|path| LostPath {
                        path: path.into(),
                        kind: if path == "/etc" { FileKind::Directory } else { FileKind::File },
                    })
                    .into(),
                count: 12,
                nameless: 3,
                metadata: true,
                journal: false,
                unclaimed: ByteLen(8192),
                unseen: Some("a directory cannot be read whole: it is lost".into()),
            }),
            why_not: None,
        }],
        unused: ByteLen(0),
    };
    show("outcome-check", JobKind::Check, Outcome::Checked(damage));
    let image = ExportedImage {
        file: "/mnt/usb/web1.qcow2".into(),
        of: "d0".parse().unwrap(),
        format: ImageFormat::Qcow2,
        size: ByteLen(34_300_000_000),
        written: ByteLen(3_100_000_000),
        unreadable: ExtentSet::new(),
        left_out: vec!["d0/p4".parse().unwrap()],
        warnings: vec!["d0/p4 is not in the snapshot: zeros stand there".into()],
    };
    let exported = Exported { snapshot: snapshot_id("three"), images: vec![image] };
    show("outcome-got", JobKind::Files, Outcome::Got(got()));
    show("outcome-exported", JobKind::Export, Outcome::Exported(exported));
}

/// Compares what these keys show once the engine has answered each, at every size.
fn golden_files(name: &str, may_leave: bool, keys: &[Key]) {
    for size in SIZES {
        let (mut ui, mut run) = (joined(&good_run(), size, look(size)), good_run());
        (ui.may_leave, ui.here) = (may_leave, Some("/home/ann".into()));
        browse(&mut ui, &mut run, &[&TO_ROOT[..2], keys].concat(), &shows);
        compare(name, &ui, &run);
    }
}

#[test]
fn files() {
    use Key::*;
    golden_files("files-volumes", false, &[]);
    golden_files("files", false, &[Enter]);
    golden_files("files-long-name", false, &[Enter, Down, Down]);
    golden_files("files-hostile", false, &[Enter, Char('/'), Char('e'), Char('v'), Enter]);
    golden_files("files-damaged", false, &[Enter, End]);
    golden_files("files-refused", false, &[Enter, End, Up, Enter]);
    golden_files("files-find", true, &[Enter, Char('/'), Char('b'), Char('i')]);
    golden_files("files-take-out", true, &[Enter, Char('g'), Char('/'), Char('t')]);
    golden_files("reading", false, &[Enter, Char('v')]);
    golden_files("reading-binary", false, &[Enter, Down, Down, Char('v')]);
    // What is not here yet.
    for size in SIZES {
        let (mut ui, mut run) = (joined(&good_run(), size, look(size)), good_run());
        browse(&mut ui, &mut run, &TO_ROOT, &shows);
        update(&mut ui, &run, Input::Key(Down));
        update(&mut ui, &run, Input::Key(Enter));
        run.job = working_run(JobKind::Browse, false).job;
        run.job.as_mut().unwrap().1.as_mut().unwrap().phase = "51200 names so far".into();
        update(&mut ui, &run, Input::Changed);
        compare("files-reading", &ui, &run);
    }
}

#[test]
fn changes() {
    let before = working_run(JobKind::Compare, false);
    for (name, keys) in [
        ("changes", &[][..]),
        ("changes-lines", &[Key::Char('/'), Key::Char('f'), Key::Char('s'), Key::Enter][..]),
        ("changes-read", &[Key::Char('/'), Key::Char('f'), Key::Char('s'), Key::Enter, Key::Enter][..]),
        ("changes-end", &[Key::End][..]),
    ] {
        for size in SIZES {
            let mut ui = joined(&before, size, look(size));
            update(&mut ui, &compared_run(), Input::Changed);
            keys.iter().for_each(|k| drop(update(&mut ui, &compared_run(), Input::Key(*k))));
            compare(name, &ui, &compared_run());
        }
    }
}

#[test]
fn the_rest() {
    golden("evidence", &broken_run(), &[Key::Char('e')]);
    golden("evidence-further", &broken_run(), &[Key::Char('e'), Key::PageDown]);
    golden("log", &working_run(JobKind::Rollback, true), &[Key::Char('l')]);
    golden("help", &good_run(), &[Key::Char('?')]);
    golden("power", &good_run(), &[Key::Char('p')]);
    golden("power-unfinished", &fenced_run(), &[Key::Char('p'), Key::Char('2')]);
    golden("leaving", &RunState { leaving: Some(PowerAction::Reboot), ..good_run() }, &[]);
    golden("hostile", &hostile_run(), &[]);
}

/// No state, size or screen panics, shows a control character, or (in ASCII) anything but ASCII.
#[test]
fn nothing_breaks_it() {
    let runs = [
        RunState::default(),
        good_run(),
        hostile_run(),
        fenced_run(),
        asking_run(Action::Rollback, true),
        working_run(JobKind::Snapshot, false),
        no_store_run(),
        empty_run(),
        RunState { question: asking_run(Action::Rollback, true).question, ..hostile_run() },
        compared_run(),
        layered_run(),
        many_disks_run(),
        growing_run(true),
    ];
    let screens = "rtdelp?".chars().map(Key::Char).chain([Key::Down, Key::Esc]).map(Some).chain([None]);
    for key in screens {
        for run in &runs {
            for size in
                [(0, 0), (1, 1), (59, 15), (60, 14), (60, 15), (61, 16), (80, 24), (80, 25), (255, 15), (60, 100)]
            {
                for ascii in [true, false] {
                    let mut ui = joined(run, size, Look { ascii, colour: true });
                    if let Some(k) = key {
                        update(&mut ui, run, Input::Key(k));
                        update(&mut ui, run, Input::Key(Key::End));
                    }
                    if size == (0, 0) {
                        continue;
                    }
                    let buffer = screen(&ui, run);
                    for cell in &buffer.content {
                        assert!(!cell.symbol().chars().any(char::is_control), "{:?}", cell.symbol());
                        assert!(!ascii || cell.symbol().is_ascii(), "{:?}", cell.symbol());
                    }
                }
            }
        }
    }
}

/// Which words are coloured, and how.
#[test]
fn colours() {
    compare_styles("home-broken", &broken_run(), &[]);
    compare_styles("home-good", &good_run(), &[]);
    compare_styles("home-unfinished", &fenced_run(), &[]);
    compare_styles("timeline", &broken_run(), &[Key::Char('t'), Key::Down]);
    compare_styles("evidence", &broken_run(), &[Key::Char('e')]);
    compare_styles("confirm", &asking_run(Action::Rollback, true), &[]);
    compare_styles("confirm-refused", &asking_run(Action::Rollback, false), &[]);
    compare_styles("progress-writing", &working_run(JobKind::Rollback, true), &[]);
}

/// Without colour, nothing that a colour said is lost: the same text, and no colour at all.
#[test]
fn colour_only_repeats() {
    for run in [broken_run(), good_run(), fenced_run(), asking_run(Action::Rollback, false)] {
        let with = |colour| {
            let look = Look { ascii: true, colour };
            screen(&joined(&run, (80, 25), look), &run)
        };
        assert_eq!(text(&with(true)), text(&with(false)));
        assert!(
            with(false)
                .content
                .iter()
                .all(|c| c.fg == ratatui::style::Color::Reset && c.bg == ratatui::style::Color::Reset)
        );
        assert!(
            with(true).content.iter().any(|c| c.fg != ratatui::style::Color::Reset),
            "colours are used where they may be"
        );
    }
}
