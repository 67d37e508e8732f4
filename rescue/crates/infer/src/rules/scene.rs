//! Scenes for the tests of rules: one machine, with what its volumes and files say.

use super::{Baseline, assess};
use crate::combine::combine;
use crate::source::boot_files::told;
use crate::source::test::at;
use crate::source::{evidence, stamp, volume_facts};
use model::assessment::Assessment;
use model::coverage::CaptureMethod;
use model::evidence::{
    BootPart, ClockTrust, EndKind, Evidence, Fact, JournalOrder, Moment, MomentKind, PackageManager, PackageState,
    Stamp, StartedKernel,
};
use model::id::{Digest, DiskNo, NodeId, SnapshotId, VolumePath};
use model::inspection::{
    BtrfsInfo, Content, Disk, ExtInfo, FatInfo, FsKind, Hardware, Inspection, NtfsInfo, NtfsLog, OS_WINDOWS, SwapInfo,
    System, Volume, XfsInfo,
};
use model::ports::UnixMicros;
use model::snapshot::{MapRoot, SavedVolume};
use model::text::DisplayText;
use model::units::{ByteLen, Extent, ExtentSet};

/// The moment scenes begin, in seconds since 1970.
pub(crate) const BEGIN: i64 = 1_795_000_000;
const MACHINE: &str = "0123456789abcdef0123456789abcdef";

/// A closed ext4 root, mounted by its own system at [`BEGIN`].
pub(crate) fn ext_info() -> ExtInfo {
    ExtInfo {
        kind: FsKind::Ext4,
        uuid: "6d2b4f0e-0000-4000-8000-000000000001".into(),
        label: "".into(),
        block_size: 4096,
        blocks: 1000,
        free_blocks: 500,
        needs_recovery: false,
        state: 1,
        errors: 0,
        has_journal: true,
        mount_count: 7,
        mounted_at: BEGIN,
        written_at: BEGIN,
        made_at: BEGIN - 1_000_000,
        checked_at: BEGIN - 1_000_000,
        last_mounted: "/root".into(),
        kbytes_written: 1234,
        journal_sequence: Some(99),
        last_commit_at: None,
        unknown_features: (0, 0, 0),
    }
}

/// A start from `first` to `last` (seconds since 1970) whose journal breaks off.
pub(crate) fn boot(id: &str, first: i64, last: i64) -> Fact {
    Fact::Boot {
        boot_id: id.into(),
        age: 0,
        first: UnixMicros::from_seconds(first),
        last: UnixMicros::from_seconds(last),
        journal_stopped: false,
        startup_finished: false,
        reached_target: None,
        emergency: false,
        ended: None,
        asleep: false,
        panicked: false,
        order: None,
        moments: Vec::new(),
        kernel: None,
        handed_back: false,
        asked: None,
    }
}

/// What a test changes in a start.
pub(crate) struct BootEdit<'a>(&'a mut Fact);

impl BootEdit<'_> {
    pub(crate) fn stop(&mut self, kind: EndKind) {
        if let Fact::Boot { journal_stopped, ended, .. } = self.0 {
            (*journal_stopped, *ended) = (true, Some(kind));
        }
    }

    pub(crate) fn sleep(&mut self) {
        if let Fact::Boot { asleep, .. } = self.0 {
            *asleep = true;
        }
    }

    pub(crate) fn reach(&mut self, target: &str) {
        if let Fact::Boot { reached_target, startup_finished, .. } = self.0 {
            (*reached_target, *startup_finished) = (Some(DisplayText::new(target)), true);
        }
    }

    pub(crate) fn fall(&mut self) {
        if let Fact::Boot { emergency, startup_finished, .. } = self.0 {
            (*emergency, *startup_finished) = (true, true);
        }
    }

    pub(crate) fn hand_back(&mut self, kind: EndKind) {
        if let Fact::Boot { handed_back, asked, .. } = self.0 {
            (*handed_back, *asked) = (true, Some(kind));
        }
    }

    pub(crate) fn kernel(&mut self, release: &str, rescue_asked: bool) {
        if let Fact::Boot { kernel, .. } = self.0 {
            *kernel = Some(StartedKernel { release: release.into(), initramfs: false, rescue_asked });
        }
    }

    pub(crate) fn first_number(&mut self, number: u64) {
        if let Fact::Boot { order: Some(order), .. } = self.0 {
            (order.first, order.last) = (number, number + 50);
        }
    }

    pub(crate) fn last(&mut self, seconds: i64) {
        if let Fact::Boot { last, .. } = self.0 {
            *last = UnixMicros::from_seconds(seconds);
        }
    }

    pub(crate) fn moment(&mut self, seconds: i64, what: MomentKind) {
        if let Fact::Boot { moments, .. } = self.0 {
            moments.push(Moment { at: UnixMicros::from_seconds(seconds), what });
        }
    }

    pub(crate) fn panic(&mut self) {
        if let Fact::Boot { panicked, .. } = self.0 {
            *panicked = true;
        }
    }
}

/// One machine: ESP on p1, root on p2, swap on p3.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) inspection: Inspection,
    pub(crate) facts: Vec<Evidence>,
    pub(crate) journal_of: String,
    pub(crate) os: &'static str,
    pub(crate) other: Vec<(String, VolumePath)>,
    pub(crate) saved: Option<Vec<SavedVolume>>,
    root: Content,
    rest: Vec<(u32, Content)>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self {
            inspection: Inspection::default(),
            facts: Vec::new(),
            journal_of: MACHINE.into(),
            os: "debian",
            other: Vec::new(),
            saved: None,
            root: Content::Ext(ext_info()),
            rest: Vec::new(),
        }
        .rebuilt()
    }

    fn rebuilt(mut self) -> Self {
        self.rebuild();
        self
    }

    fn volumes(&self) -> Vec<Volume> {
        let volume = |n: u32, content: &Content| Volume {
            path: VolumePath::partition(DiskNo(0), n),
            extent: Extent::between(u64::from(n) << 20, u64::from(n + 1) << 20).unwrap(),
            mapping: None,
            content: content.clone(),
        };
        let mut all: Vec<Volume> = self.rest.iter().map(|(n, c)| volume(*n, c)).collect();
        all.push(volume(2, &self.root));
        all.sort_by_key(|v| v.path.number());
        all
    }

    fn rebuild(&mut self) {
        let hardware = Hardware::image("", ByteLen(16 << 20));
        let disk = Disk { no: DiskNo(0), hardware, head: Digest::of(b""), table: None, volumes: self.volumes() };
        self.inspection.disks = vec![disk];
    }

    pub(crate) fn ext(&mut self, change: impl FnOnce(&mut ExtInfo)) {
        if let Content::Ext(info) = &mut self.root {
            change(info);
        }
        self.rebuild();
    }

    /// An XFS as the root; the sequence number of the end of its log.
    pub(crate) fn xfs(&mut self, needs_recovery: bool, log_head: Option<u64>) {
        self.root = Content::Xfs(XfsInfo {
            uuid: "3c1f0d8e-55aa-4b6f-8f0e-6b1f2f0a9d11".into(),
            label: "".into(),
            version: 5,
            block_size: 4096,
            blocks: 1 << 20,
            free_blocks: 1 << 18,
            features: vec!["crc".into()],
            needs_recovery,
            log_head,
            log_tail: None,
            opened: None,
            not_read: None,
        });
        self.rebuild();
    }

    pub(crate) fn unrecognised_root(&mut self) {
        self.root = Content::Recognised { name: "btrfs".into(), sealed: false };
        self.rebuild();
    }

    fn put(&mut self, n: u32, content: Content) {
        self.rest.retain(|(m, _)| *m != n);
        self.rest.push((n, content));
        self.rebuild();
    }

    pub(crate) fn swap(&mut self, hibernated: bool) {
        self.put(3, Content::Swap(SwapInfo { uuid: Some("s".into()), label: "".into(), page_size: 4096, hibernated }));
    }

    pub(crate) fn esp(&mut self, dirty: bool) {
        let info = FatInfo {
            width: 32,
            volume_id: "ABCD-0123".into(),
            label: "".into(),
            cluster_size: 4096,
            clusters: 1000,
            dirty,
        };
        self.put(1, Content::Fat(info));
    }

    /// A Windows on the root instead.
    pub(crate) fn windows(&mut self, log: NtfsLog, hibernated: Option<bool>, dirty: bool) {
        self.root = Content::Ntfs(NtfsInfo {
            volume_id: "0123456789ABCDEF".into(),
            label: "".into(),
            version: (3, 1),
            cluster_size: 4096,
            clusters: 1000,
            dirty,
            log,
            hibernated,
        });
        self.os = OS_WINDOWS;
        self.rebuild();
    }

    /// The root is a btrfs instead, with a log or without.
    pub(crate) fn btrfs(&mut self, log: bool) {
        self.root = Content::Btrfs(BtrfsInfo {
            uuid: "b".into(),
            device_uuid: "d".into(),
            label: "".into(),
            device: 1,
            devices: 1,
            generation: 9,
            size: ByteLen(1 << 30),
            used: ByteLen(1 << 20),
            log,
            not_read: None,
        });
        self.rebuild();
    }

    /// Changes the btrfs that is the root.
    pub(crate) fn change_btrfs(&mut self, change: impl FnOnce(&mut BtrfsInfo)) {
        if let Content::Btrfs(info) = &mut self.root {
            change(info);
        }
        self.rebuild();
    }

    pub(crate) fn system(&self) -> System {
        let has = |n: u32| self.rest.iter().any(|(m, _)| *m == n);
        let path = |n: u32| VolumePath::partition(DiskNo(0), n);
        let mut other = self.other.clone();
        if has(3) {
            other.push(("swap".into(), path(3)));
        }
        System {
            name: "Debian GNU/Linux 12 (bookworm)".into(),
            os: (self.os.into(), "12".into()),
            hostname: None,
            machine_id: Some(MACHINE.into()),
            root: path(2),
            boot: has(1).then(|| ("/boot/efi".to_owned(), path(1))).into_iter().collect(),
            other,
            subvolumes: Vec::new(),
        }
    }

    pub(crate) fn fact(&mut self, path: &str, fact: Fact) {
        self.facts.push(evidence(&at(path), fact, "", None));
    }

    /// The newest start in the login record.
    pub(crate) fn login(&mut self, shutdown_follows: bool, run_level: char) {
        let run_level = Some(run_level);
        let fact = Fact::WtmpLastBoot { shutdown_follows, run_level, ended: None, before: Vec::new(), how: None };
        self.fact("/var/log/wtmp", fact);
    }

    pub(crate) fn no_journal(&mut self) {
        self.fact("/var/log/journal/*/system*.journal", Fact::NotThere);
    }

    /// A start that began `after` seconds into the scene; `order` makes greater ages older.
    pub(crate) fn boot(&mut self, age: u32, after: i64, change: impl FnOnce(&mut BootEdit<'_>)) {
        let first = BEGIN + after;
        let mut fact = boot(&format!("{age:032x}"), first, first + 1000);
        if let Fact::Boot { order, .. } = &mut fact {
            let first = 1000 - u64::from(age) * 100;
            *order = Some(JournalOrder { counter: "c".into(), first, last: first + 50 });
        }
        change(&mut BootEdit(&mut fact));
        let path = format!("/var/log/journal/{}/system.journal", self.journal_of);
        self.fact(&path, fact);
        // The root was mounted by the newest start.
        if age == 0 {
            self.ext(|e| {
                if e.mounted_at != 0 {
                    e.mounted_at = first - 5;
                }
            });
        }
    }

    pub(crate) fn dpkg(&mut self, broken: &[(&str, &str)], updates: u32) {
        let broken = broken
            .iter()
            .map(|(name, state)| PackageState { name: (*name).into(), version: "1".into(), state: (*state).into() })
            .collect();
        self.fact("/var/lib/dpkg/status", Fact::DpkgState { installed: 300, broken, updates });
    }

    pub(crate) fn apt(&mut self, ended: bool, failed: bool, after: i64) {
        let fact = Fact::Transaction {
            manager: PackageManager::Apt,
            age: 0,
            command: "apt upgrade".into(),
            ended,
            failed,
            packages: vec![],
        };
        let time = Stamp { at: UnixMicros::from_seconds(BEGIN + after), trust: ClockTrust::LocalNoZone };
        self.facts.push(evidence(&at("/var/log/apt/history.log"), fact, "apt upgrade", Some(time)));
    }

    pub(crate) fn part(&mut self, path: &str, part: BootPart, broken: Option<&str>) {
        self.facts.push(told(&at(path), part, broken));
    }

    pub(crate) fn combined(&self) -> Vec<Evidence> {
        let mut all = volume_facts(&self.inspection, &self.system());
        all.extend(self.facts.iter().cloned());
        combine(all)
    }

    /// Takes the present as the snapshot to compare with.
    pub(crate) fn save(&mut self) {
        let saved = |v: Volume| SavedVolume {
            path: v.path,
            extent: v.extent,
            mapping: v.mapping,
            content: v.content,
            method: CaptureMethod::Raw,
            why: "".into(),
            captured: ByteLen(0),
            unreadable: ExtentSet::new(),
            compared: None,
            state: None,
            map: MapRoot { node: NodeId(Digest::of(b"")), height: 0, content: Digest::of(b"") },
        };
        self.saved = Some(self.volumes().into_iter().map(saved).collect());
    }

    pub(crate) fn assess(&self) -> Assessment {
        let since = self.saved.as_ref().map(|volumes| Baseline { id: SnapshotId(Digest::of(b"snapshot")), volumes });
        assess(&self.system(), &self.inspection, &self.combined(), since)
    }
}

/// Only here so that times in scenes are stamped as parsers stamp them.
#[test]
fn scenes_are_plausible() {
    assert_eq!(stamp(UnixMicros::from_seconds(BEGIN)).trust, ClockTrust::Utc);
}
