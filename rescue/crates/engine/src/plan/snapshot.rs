//! What a snapshot reads, and why.

use super::is_store_disk;
use disk::fence::FENCE_LEN;
use model::assessment::{Confidence, Report, SystemReport, Termination};
use model::coverage::CaptureMethod;
use model::id::{Digest, DiskNo, LUKS, SnapshotId, VolumePath};
use model::inspection::{Content, Disk, GPT_STORE, Inspection, System, Volume};
use model::plan::{Against, RollbackPlan, SnapshotPlan, UndoReads, VolumeCapture, VolumeRollback};
use model::snapshot::{Manifest, Purpose, SavedVolume};
use model::text::DisplayText;
use std::collections::BTreeSet;

/// A BIOS GRUB's core area is about 1 MiB; a partition of that type which is larger holds something else.
const MOST_BIOS_BOOT: u64 = 64 << 20;

/// What is saved, and how much of it is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Read everything, whatever the file systems say of it.
    pub everything: bool,
    /// Also save, byte for byte, what is not understood.
    pub not_understood: bool,
    /// Mount points of volumes that are not saved. Those that a system starts from are saved all the same.
    pub leave_out: Vec<String>,
}

impl Scope {
    /// All of both.
    pub fn full() -> Self {
        Self { everything: true, not_understood: true, leave_out: Vec::new() }
    }

    /// True for a volume that is mounted at one of those places and in no boot set.
    fn leaves_out(&self, volume: &VolumePath, inspection: &Inspection) -> bool {
        let starts = |s: &System| s.root == *volume || s.boot.iter().any(|(_, v)| v == volume);
        let named = |s: &System| s.other.iter().any(|(at, v)| v == volume && self.leave_out.contains(at));
        inspection.systems.iter().any(named) && !inspection.systems.iter().any(starts)
    }
}

/// A snapshot of the same machine, to compare with.
pub type Base<'a> = Option<(SnapshotId, &'a Manifest)>;

/// Plans a snapshot of everything worth keeping. `aside` is what a capture that was stopped had put aside of the machine.
pub fn keep(report: &Report, base: Base<'_>, aside: Option<Digest>, scope: &Scope) -> SnapshotPlan {
    let inspection = &report.inspection;
    let mut volumes = Vec::new();
    let mut left_out = Vec::new();
    let mut tables = BTreeSet::new();
    for (disk, volume) in inspection.volumes() {
        match choose(disk, volume, inspection, scope) {
            Ok((method, why)) => {
                tables.insert(disk.no);
                let against = match scope.everything {
                    true => Err("everything was asked for".into()),
                    false => against(volume, report, base).map_err(DisplayText::from),
                };
                volumes.push(VolumeCapture {
                    path: volume.path.clone(),
                    method,
                    why: DisplayText::new(&why),
                    against,
                    written: None,
                });
            }
            Err(why) => left_out.push((volume.path.clone(), DisplayText::new(why))),
        }
    }
    let why = match (inspection.systems.as_slice(), scope.not_understood) {
        ([], _) => "no installed system was found: every file system is saved".to_owned(),
        ([one], false) => format!("{} and every other file system of this machine", one.name),
        ([one], true) => format!("{} and everything else on its disks, understood or not", one.name),
        (many, _) => format!("{} systems and every other file system of this machine", many.len()),
    };
    let tables = with_table(inspection, tables);
    let parent = base.map(|(id, _)| id);
    let aside = aside.filter(|_| !scope.everything);
    let (purpose, why) = (Purpose::Keep, DisplayText::new(&why));
    SnapshotPlan { purpose, parent, aside, volumes, left_out, tables, why }
}

/// What the undo snapshot of a write-back to `to` reads of these volumes. By default what any snapshot reads; `everything` in use where
/// somebody wants that. `base` is what the disks were last known to hold.
pub fn reads(report: &Report, plan: &RollbackPlan, base: Base<'_>, everything: bool) -> UndoReads {
    let of = |v: &VolumeRollback| match (everything, report.inspection.volume(&v.path)) {
        (true, _) => Err("everything was asked for".into()),
        (false, Some(volume)) => against(volume, report, base).map_err(DisplayText::from),
        (false, None) => Err("it is gone".into()),
    };
    let against: Vec<Result<Against, DisplayText>> = plan.volumes.iter().map(of).collect();
    let why = || {
        let mut told: Vec<String> = Vec::new();
        for (volume, against) in plan.volumes.iter().zip(&against) {
            let why = match against {
                Ok(Against { doubt }) => {
                    doubt.as_ref().map(|why| format!("of {} unless nobody wrote to it: {why}", volume.path))
                }
                Err(why) => Some(format!("of {}: {why}", volume.path)),
            };
            told.extend(why);
        }
        told.join("; ")
    };
    // Nothing is believed: then the bytes are compared with what it goes back to, of which mostly little differs.
    let with = base.map(|(id, _)| id).filter(|_| against.iter().any(Result::is_ok)).unwrap_or(plan.to);
    let changed = format!(
        "what changed since snapshot {}, as the file systems tell it; bytes written below them are not noticed, and stay",
        with.0.short(8)
    );
    let says = match (everything, against.iter().any(Result::is_ok)) {
        (true, _) => {
            "everything in use is read, as was asked for; bytes written below the file systems go back too".to_owned()
        }
        (false, false) => format!("everything in use is read ({})", why()),
        (false, true) if why().is_empty() => changed,
        (false, true) => format!("{changed}. Everything is read {}", why()),
    };
    UndoReads { with, everything, against, says: DisplayText::new(&says) }
}

/// Plans the undo snapshot of a write-back: exactly the volumes and tables it may write.
///
/// What is written over is read whatever the file systems say: an undo restores it exactly, even where their records are wrong.
pub fn undo(inspection: &Inspection, plan: &RollbackPlan) -> SnapshotPlan {
    let not_told = || Err("the plan does not say what proves it unchanged".into());
    let capture = |(at, v): (usize, &VolumeRollback)| {
        let volume = inspection.volume(&v.path)?;
        let against = plan.reads.as_ref().and_then(|r| r.against.get(at)).cloned();
        Some(VolumeCapture {
            path: v.path.clone(),
            method: method(&volume.content),
            why: "what the rollback may write over".into(),
            against: against.unwrap_or_else(not_told),
            written: Some(v.map),
        })
    };
    let disks: BTreeSet<DiskNo> = plan.volumes.iter().map(|v| v.path.disk()).collect();
    SnapshotPlan {
        purpose: Purpose::Undo { before: plan.to },
        parent: Some(plan.reads.as_ref().map_or(plan.to, |r| r.with)),
        aside: None,
        volumes: plan.volumes.iter().enumerate().filter_map(capture).collect(),
        left_out: Vec::new(),
        tables: with_table(inspection, disks),
        why: "taken before anything is written, so that the rollback can be undone".into(),
    }
}

/// Plans the snapshot that a repair of what starts the machine goes to: the volumes it writes, with what it puts right. All of them is
/// read, as for the undo snapshot that follows. `tables`: the disks whose tables change; of others none is saved, nor written.
pub fn repaired(
    inspection: &Inspection,
    volumes: &BTreeSet<VolumePath>,
    tables: BTreeSet<DiskNo>,
    parent: Option<SnapshotId>,
) -> SnapshotPlan {
    let capture = |v: &Volume| VolumeCapture {
        path: v.path.clone(),
        method: method(&v.content),
        why: "with what is put right".into(),
        against: Err("something of it is to be changed".into()),
        written: None,
    };
    SnapshotPlan {
        purpose: Purpose::Repair,
        parent,
        aside: None,
        volumes: volumes.iter().filter_map(|v| inspection.volume(v)).map(capture).collect(),
        left_out: Vec::new(),
        tables: with_table(inspection, tables),
        why: "what a repair of what starts the machine goes to".into(),
    }
}

fn with_table(inspection: &Inspection, disks: BTreeSet<DiskNo>) -> Vec<DiskNo> {
    let has = |no: &DiskNo| inspection.disk(*no).is_some_and(|d| d.table.is_some());
    disks.into_iter().filter(has).collect()
}

/// What a volume may be compared with by its file system's records, or why with nothing: what a session that was cut off wrote may
/// be in files whose inodes do not tell.
fn against(volume: &Volume, report: &Report, base: Base<'_>) -> Result<Against, &'static str> {
    let needs_recovery = match &volume.content {
        Content::Ext(now) => now.needs_recovery,
        Content::Xfs(now) if now.not_read.is_none() => now.needs_recovery,
        // What it tells is true also of sessions that were cut off: what has checksums is never written in place.
        Content::Btrfs(now) if now.not_read.is_none() => false,
        _ => return Err("its kind keeps no record of what changed"),
    };
    let (_, manifest) = base.ok_or("no snapshot of this machine is there yet")?;
    if needs_recovery {
        return Err("it was not unmounted");
    }
    if same(volume, manifest).is_none() {
        return Err("the newest snapshot does not hold it");
    }
    let in_order = |s: &&SystemReport| {
        let ended = &s.assessment.termination;
        ended.value == Termination::Clean && ended.confidence >= Confidence::Likely
    };
    if matches!(volume.content, Content::Btrfs(_)) {
        return Ok(Against { doubt: None });
    }
    let users: Vec<&SystemReport> = report.systems.iter().filter(|s| s.system.uses(&volume.path)).collect();
    let counts = matches!(volume.content, Content::Ext(_));
    let once =
        |s: &&SystemReport| counts && s.system.root == volume.path || ran_once(&s.system, &report.inspection, manifest);
    let doubt = match users.as_slice() {
        [] => Some("it belongs to no system that would tell how it was used"),
        all if !all.iter().all(in_order) => Some("it is not certain that the system was shut down in order"),
        all if !all.iter().all(once) => Some("its system did not run just once since"),
        _ => None,
    };
    Ok(Against { doubt: doubt.map(DisplayText::from) })
}

/// True where a system is known to have run once since the snapshot, by the mount count of its root. Where it ran twice, another
/// volume of it may have been cut off in the first session, and repaired in the second by a check, or by being mounted to be
/// read: its own mount count tells of one session then, and the system of one that ended in order. Where it did not run, what it
/// tells is of an earlier session.
///
/// The log of an XFS tells only of sessions that logged something. Where it is the root, what lies below `/var` has to tell the same: early in
/// each start something is written there and synced (`systemd-random-seed`, `journald`), before anything runs that writes in place. No
/// other volume of the system may tell of more.
fn ran_once(system: &System, inspection: &Inspection, manifest: &Manifest) -> bool {
    let told = |path: &VolumePath| {
        let volume = inspection.volume(path)?;
        sessions(&same(volume, manifest)?.content, &volume.content)
    };
    if told(&system.root) != Some(1) {
        return false;
    }
    let content = |path: &VolumePath| inspection.volume(path).map(|v| &v.content);
    let keeps_no_count = matches!(content(&system.root), Some(Content::Xfs(_)));
    let mut others = system.boot.iter().chain(&system.other);
    !keeps_no_count
        || others.all(|(at, path)| match (content(path), told(path)) {
            (_, Some(sessions)) => sessions <= 1,
            (Some(Content::Ext(_) | Content::Xfs(_) | Content::Btrfs(_)), None) => {
                at != "/var" && !at.starts_with("/var/")
            }
            _ => true,
        })
}

/// How often a file system was mounted between two states, as far as it tells: an ext by its count, an XFS by its log, of which two stand
/// for more.
fn sessions(was: &Content, now: &Content) -> Option<u32> {
    match (was, now) {
        (Content::Ext(was), Content::Ext(now)) => u32::from(now.mount_count).checked_sub(was.mount_count.into()),
        (Content::Xfs(was), Content::Xfs(now)) if was.needs_recovery || now.needs_recovery => None,
        (Content::Xfs(was), Content::Xfs(now)) => match (was.log_tail?, now.opened) {
            _ if was.log_head == now.log_head => Some(0),
            (left, Some(found)) => Some(if found == left { 1 } else { 2 }),
            (_, None) => None,
        },
        _ => None,
    }
}

/// The same file system in a snapshot, where there is exactly one and all of it could be read.
pub(crate) fn same<'a>(volume: &Volume, manifest: &'a Manifest) -> Option<&'a SavedVolume> {
    let uuid = |content: &Content| match content {
        Content::Ext(e) => Some(e.uuid.clone()),
        Content::Btrfs(b) => Some(b.uuid.clone()),
        Content::Xfs(x) => Some(x.uuid.clone()),
        _ => None,
    };
    let is = |v: &&SavedVolume| {
        uuid(&v.content).is_some() && uuid(&v.content) == uuid(&volume.content) && v.extent.len() == volume.extent.len()
    };
    let mut found = manifest.volumes.iter().filter(is);
    let (one, other) = (found.next()?, found.next());
    (other.is_none() && one.unreadable.is_empty() && one.method == CaptureMethod::UsedBlocks).then_some(one)
}

/// What a snapshot holds of a volume, to compare bytes with: whatever was saved in its place.
pub(crate) fn there<'a>(volume: &Volume, manifest: &'a Manifest) -> Option<&'a SavedVolume> {
    let lies = |v: &&SavedVolume| v.path == volume.path && v.extent.len() == volume.extent.len();
    same(volume, manifest).or_else(|| manifest.volumes.iter().find(lies))
}

/// How the bytes of a volume will be chosen, as far as that can be told before its maps are read.
fn method(content: &Content) -> CaptureMethod {
    match content {
        Content::Ext(e) if e.unknown_features == (0, 0, 0) => CaptureMethod::UsedBlocks,
        Content::Fat(_) | Content::Exfat(_) => CaptureMethod::UsedBlocks,
        Content::Lvm(_) | Content::Md(_) | Content::BtrfsDevice(_) => CaptureMethod::UsedBlocks,
        Content::Ntfs(n) if n.is_settled() => CaptureMethod::UsedBlocks,
        Content::Luks(l) if l.open => CaptureMethod::UsedBlocks,
        Content::Xfs(x) if x.not_read.is_none() => CaptureMethod::UsedBlocks,
        Content::Btrfs(b) if b.not_read.is_none() => CaptureMethod::UsedBlocks,
        Content::Swap(s) if !s.hibernated => CaptureMethod::HeaderOnly,
        _ => CaptureMethod::Raw,
    }
}

/// Whether a snapshot saves a volume: how and why, or why not.
///
/// # Errors
/// Why it is left out.
pub fn choose(
    disk: &Disk,
    volume: &Volume,
    inspection: &Inspection,
    scope: &Scope,
) -> Result<(CaptureMethod, String), &'static str> {
    let partition =
        disk.table.as_ref().and_then(|t| t.partitions.iter().find(|p| Some(p.number) == volume.path.number()));
    if is_store_disk(disk, inspection) {
        return Err("it is on the disk of the rescue and its store");
    }
    if partition.is_some_and(|p| p.type_id == GPT_STORE) {
        return Err("it is the store itself");
    }
    if volume.extent.len() < FENCE_LEN {
        return Err("it is smaller than 4096 bytes: no file system fits there");
    }
    if scope.leaves_out(&volume.path, inspection) {
        return Err("the policy leaves it out");
    }
    let full = scope.not_understood;
    let mounted = mount_point(volume, inspection);
    let used = |what: &str| match &mounted {
        Some((at, system)) => format!("{what}, {at} of {system}"),
        None => what.to_owned(),
    };
    let method = method(&volume.content);
    let known = |what: &str| Ok((method, used(what)));
    let raw = |what: &str| Ok((CaptureMethod::Raw, used(&format!("{what}: every byte is saved"))));
    match &volume.content {
        read if read.is_file_system() && method == CaptureMethod::UsedBlocks => known(volume.kind()),
        Content::Ntfs(n) if n.hibernated == Some(true) => {
            raw("an NTFS on which the memory of a hibernated system stands")
        }
        Content::Ntfs(_) => raw("an NTFS whose log was not closed"),
        Content::Ext(_) => raw("ext4 with features not known here"),
        Content::Xfs(_) => raw("an XFS of a kind not read here"),
        Content::Btrfs(b) => raw(&format!("btrfs: {}", b.not_read.as_ref().map_or("", |why| why.as_str()))),
        Content::Swap(s) if s.hibernated => raw("swap with a hibernation image"),
        Content::Swap(_) => known("swap, its header only"),
        Content::BiosBoot if volume.extent.len().0 <= MOST_BIOS_BOOT => raw("the core of a BIOS boot loader"),
        Content::Damaged { kind, .. } => raw(&format!("a damaged {}", kind.name())),
        Content::Lvm(l) if full || carries(volume, inspection, scope) => {
            known(&format!("what LVM keeps itself of group {}", l.group))
        }
        Content::Md(m) if full || carries(volume, inspection, scope) => {
            known(&format!("what md keeps itself of array {}", m.array))
        }
        Content::BtrfsDevice(b) if full || carries(volume, inspection, scope) => {
            known(&format!("what lies behind device {} of a btrfs on {}", b.device, b.devices))
        }
        Content::Luks(l) if l.open && (full || carries(volume, inspection, scope)) => {
            known("the header and the key slots of an encrypted volume")
        }
        Content::Luks(l) if !l.open && (full || mounted.is_some()) => raw("an encrypted volume, as it is"),
        Content::Luks(l) if !l.open => {
            Err("it is encrypted and locked: unlock it, or `--full` saves every byte as it is")
        }
        Content::Lvm(_) | Content::Md(_) | Content::BtrfsDevice(_) | Content::Luks(_) => {
            Err("no volume that lies on it is saved")
        }
        Content::Recognised { name, .. } if full || mounted.is_some() => raw(name),
        Content::Unknown | Content::Empty | Content::BiosBoot if full || mounted.is_some() => {
            raw("content not understood")
        }
        Content::Fenced(_) => Err("an unfinished rollback stands there"),
        Content::Recognised { .. } => Err("its kind is not read by this version; `--full` saves every byte of it"),
        Content::Empty => Err("it is empty"),
        Content::Unknown | Content::BiosBoot => Err("its content is not understood; `--full` saves every byte of it"),
        Content::Fat(_) | Content::Exfat(_) => Err("its content is not understood"),
    }
}

/// True where a volume that lies on this one is saved.
fn carries(volume: &Volume, inspection: &Inspection, scope: &Scope) -> bool {
    let saved = |v: &Volume| inspection.disk(v.path.disk()).is_some_and(|d| choose(d, v, inspection, scope).is_ok());
    // What was opened of a volume that lies on others itself is called after it.
    let opened =
        inspection.layered.iter().filter(|v| v.is_sealed() && volume.path.above(&[LUKS]).as_ref() == Some(&v.path));
    inspection.above(&volume.path).chain(opened).any(saved)
}

/// Where a volume is mounted, and in which system.
pub(crate) fn mount_point(volume: &Volume, inspection: &Inspection) -> Option<(String, DisplayText)> {
    inspection.systems.iter().find_map(|s| {
        if s.root == volume.path {
            return Some(("root".to_owned(), s.name.clone()));
        }
        let (at, _) = s.boot.iter().chain(&s.other).find(|(_, v)| *v == volume.path)?;
        Some((at.clone(), s.name.clone()))
    })
}
