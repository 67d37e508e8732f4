//! Plans, what they lose, and what came of them.

use super::*;

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
            esps: Vec::new(),
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
        subvolumes: Vec::new(),
        files,
    };
    let volumes = vec![volume("d0/p2", "ext4", "/", Ok(root)), volume("d0/p1", "vfat", "/boot/efi", Ok(esp))];
    Differences { before: snapshot_id("three"), after: None, volumes }
}

pub(crate) fn losses() -> Losses {
    Losses { plan: PlanId(digest("plan")), differences: Ok(differences()), seconds: Some((95, 240)) }
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
        locked: Vec::new(),
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
