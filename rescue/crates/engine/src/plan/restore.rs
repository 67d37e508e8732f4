//! What a restore writes: the disks of a snapshot laid onto other disks, whole.
//!
//! Nothing of what those disks hold is kept, so one that holds anything at all is refused unless its owner named it. Where the bytes
//! of a disk come from is decided by [`layout`]; a restore that was cut off is planned again from its own record.

mod completion;
pub(crate) mod growth;
mod layout;

pub use completion::{Standing, again};

use super::disks::same_piece;
use super::rollback::{kind, mounted, plain, said, writable};
use crate::plan::firmware;
use growth::Grown;
use layout::Layout;
use model::firmware::{BootSettings, VariableWrite};
use model::id::{Digest, DiskNo, IntentId, SnapshotId, VolumePath};
use model::inspection::{Content, Disk, GPT_BIOS_BOOT, GPT_ESP, Inspection, TableKind, Volume};
use model::plan::{Action, Check, RollbackPlan, VolumeRollback};
use model::restore::{DiskRestore, Encrypted, FittedTable};
use model::snapshot::{Manifest, SavedDisk, SavedVolume};
use model::text::DisplayText;
use model::units::ByteOffset;
use std::collections::BTreeSet;

/// A disk of the snapshot, and the one it goes onto.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// As it was.
    pub saved: &'a SavedDisk,
    /// The other one, as it is.
    pub disk: &'a Disk,
    /// The first byte of it that is not zero, of those that were looked at, or why it cannot be told.
    pub not_zero: Result<Option<ByteOffset>, DisplayText>,
    /// What uses it now.
    pub holders: Vec<DisplayText>,
    /// Its table, where the saved disk had one, or why it cannot have it.
    pub fitted: Option<Result<FittedTable, DisplayText>>,
    /// The volume that is made larger, for which the table was fitted, or that could be; or why that which was named cannot be.
    pub growth: Result<Option<Growing>, DisplayText>,
}

/// A volume that could be made larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growing {
    /// Which, and by how much.
    pub grown: Grown,
    /// True where it is.
    pub wanted: bool,
}

/// Everything a plan is made of. The same question gives the same plan.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The snapshot.
    pub to: SnapshotId,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// The disks now.
    pub inspection: &'a Inspection,
    /// Which goes where.
    pub targets: &'a [Target<'a>],
    /// Disks that may be written over: [`Disk::identity`], as somebody typed it.
    pub overwrite: &'a [DisplayText],
    /// With new identifiers.
    pub new_ids: bool,
    /// Volumes that are to be made larger, as the snapshot calls them.
    pub grow: &'a [VolumePath],
    /// What the headers of encrypted volumes are known by whose keys are here.
    pub open: &'a BTreeSet<Digest>,
    /// What the firmware started then, as it would start that from the new disks; and what it starts now. Or why its boot entries are left
    /// as they are.
    pub firmware: Result<(&'a BootSettings, &'a BootSettings), DisplayText>,
    /// The restore that was cut off on these disks and is given up.
    pub over: Option<IntentId>,
    /// The write-backs whose fences may stand.
    pub pending: &'a [IntentId],
}

/// Makes the plan. What stands against it is in its checks.
pub fn plan(question: &Question<'_>) -> RollbackPlan {
    let mut made = Planner { q: question, checks: Vec::new(), warnings: Vec::new(), volumes: Vec::new() };
    made.fences();
    made.named();
    let (ok, says) = writable(question.inspection, question.targets.iter().map(|t| t.disk.no));
    made.check("each disk that will be written accepts writes", ok, says);
    let mut disks: Vec<(bool, DiskRestore)> = Vec::new();
    for target in question.targets {
        made.known(target);
        made.free(target);
        let lost = made.empty(target);
        if let Some(disk) = made.disk(target, lost) {
            disks.push((made.boots(target.saved), disk));
        }
    }
    // What the machine starts from becomes valid last.
    disks.sort_by_key(|(boots, disk)| (*boots, disk.disk));
    made.left_out();
    made.growing();
    made.state();
    let firmware = made.firmware();
    let Planner { checks, warnings, volumes, .. } = made;
    let targets = |no: DiskNo| question.targets.iter().any(|t| t.disk.no == no);
    let others = question.inspection.disks.iter().filter(|d| !targets(d.no));
    RollbackPlan {
        action: Action::Restore { over: question.over },
        to: question.to,
        to_says: said(&question.manifest.summary(question.to)),
        volumes,
        tables: Vec::new(),
        disks: disks.into_iter().map(|(_, disk)| disk).collect(),
        kept: others.map(|d| (VolumePath::whole(d.no), "it was not named".into())).collect(),
        checks,
        warnings,
        foreign: None,
        firmware,
        reads: None,
        composed: None,
        esps: Vec::new(),
    }
}

struct Planner<'a> {
    q: &'a Question<'a>,
    checks: Vec<Check>,
    warnings: Vec<DisplayText>,
    volumes: Vec<VolumeRollback>,
}

impl Planner<'_> {
    fn check(&mut self, what: impl AsRef<str>, ok: bool, says: impl AsRef<str>) {
        let (what, says) = (DisplayText::new(what.as_ref()), DisplayText::new(says.as_ref()));
        self.checks.push(Check { what, ok, says });
    }

    fn warn(&mut self, says: impl AsRef<str>) {
        let says = DisplayText::new(says.as_ref());
        if !self.warnings.contains(&says) {
            self.warnings.push(says);
        }
    }

    fn fences(&mut self) {
        let q = self.q;
        let foreign = q.inspection.fences().find(|(_, f)| !q.pending.contains(&f.intent));
        match foreign {
            None => self.check("no other rollback is unfinished", true, "no other fence stands"),
            Some((v, f)) => {
                let says = format!("finish the one on {} with its own store ({}) first", v.path, f.store);
                self.check("no other rollback is unfinished", false, says);
            }
        }
    }

    /// Whoever names a disk that may be written over means one of these.
    fn named(&mut self) {
        let q = self.q;
        let stranger = |name: &&DisplayText| !q.targets.iter().any(|t| t.disk.identity() == **name);
        if let Some(name) = q.overwrite.iter().find(stranger) {
            let known: Vec<String> =
                q.targets.iter().map(|t| format!("{} is {}", t.disk.no, t.disk.identity())).collect();
            let says = format!("no disk here is {name}: {}", known.join(", "));
            self.check("what may be written over is one of these disks", false, says);
        }
    }

    /// The disk cannot be taken for another one, now or while a fence stands on it.
    fn known(&mut self, target: &Target<'_>) {
        let q = self.q;
        let disk = target.disk;
        let targeted = |no: DiskNo| q.targets.iter().any(|t| t.disk.no == no);
        let twin = |other: &&Disk| {
            let same = same_piece(&other.hardware, &disk.hardware);
            other.no != disk.no && same && (other.head == disk.head || targeted(other.no))
        };
        let what = format!("{} cannot be taken for another disk", disk.no);
        match q.inspection.disks.iter().find(twin) {
            Some(twin) => {
                let says =
                    format!("it and {} cannot be told apart: take one of them out, or do one at a time", twin.no);
                self.check(what, false, says);
            }
            None => {
                let (model, size) = (&disk.hardware.model, disk.hardware.size);
                self.check(what, true, format!("it is {}: {model}, {size}", disk.identity()));
            }
        }
    }

    fn free(&mut self, target: &Target<'_>) {
        let what = format!("nothing uses {}", target.disk.no);
        match target.holders.as_slice() {
            [] => self.check(what, true, "no mount, no swap, no device built on it"),
            all => self.check(what, false, all.iter().map(DisplayText::as_str).collect::<Vec<_>>().join(", ")),
        }
    }

    /// Whether anything is lost by writing over the disk. That needs its name, typed.
    fn empty(&mut self, target: &Target<'_>) -> bool {
        let disk = target.disk;
        let holds = holds(target, self.q.inspection);
        let what = format!("{} holds nothing", disk.no);
        let (lost, identity) = (holds.is_some(), disk.identity());
        match holds {
            None => self.check(what, true, "no table, no file system, and zeros wherever it was looked at"),
            Some(holds) if self.q.overwrite.contains(&identity) => {
                self.check(format!("{} may be written over", disk.no), true, format!("{identity} was named"));
                self.warn(format!("all that {} holds is lost for good, there is no undo: {holds}", disk.no));
            }
            Some(holds) => {
                let says =
                    format!("it holds {holds}; to lose that for good, without any undo, add --overwrite {identity}");
                self.check(what, false, says);
            }
        }
        lost
    }

    fn disk(&mut self, target: &Target<'_>, lost: bool) -> Option<DiskRestore> {
        let (saved, disk) = (target.saved, target.disk);
        let fitted = match &target.fitted {
            Some(Ok(fitted)) => Some(fitted),
            None => None,
            Some(Err(why)) => {
                self.check(format!("the partition table of {} can be made anew", saved.no), false, why.as_str());
                return None;
            }
        };
        let sectors = self.sectors(target, fitted);
        let size = disk.hardware.size;
        let growing = match &target.growth {
            Ok(growing) => growing.as_ref(),
            Err(_) => return None,
        };
        let grown = growing.filter(|g| g.wanted).map(|g| &g.grown);
        let moved = grown.map(|grown| growth::moved(self.q.manifest, saved.no, (grown, size)));
        let manifest = moved.as_ref().unwrap_or(self.q.manifest);
        let saved = manifest.disks.iter().find(|d| d.no == saved.no).unwrap_or(saved);
        let mut layout = match Layout::of(manifest, saved, fitted, size, grown) {
            Ok(layout) => layout,
            Err(why) => {
                self.check(format!("what the snapshot holds of {} fits together", saved.no), false, why);
                return None;
            }
        };
        let large = self.size(target, &layout);
        if !sectors || !large {
            return None;
        }
        self.told(target, &layout);
        for e in &mut layout.stacked.encrypted {
            e.open = self.q.open.contains(&e.sealed.header);
            self.checks.push(is_open(e));
        }
        for volume in layout.volumes.iter().chain(layout.stacked.volumes.iter().filter(|v| v.path.disk() == saved.no)) {
            self.volume(volume, disk);
        }
        self.together(&layout);
        let empty = DisplayText::new("nothing");
        Some(DiskRestore {
            disk: disk.no,
            saved_as: saved.no,
            hardware: plain(&disk.hardware),
            disk_head: disk.head,
            holds: holds(target, self.q.inspection).map_or(empty, |h| DisplayText::new(&h)),
            lost,
            table: DisplayText::new(&self.table(target.saved, disk, fitted)),
            at_most: layout.at_most(),
            growth: growing.and_then(|g| g.grown.growth(&self.q.manifest.volumes, g.wanted)),
            parts: layout.parts,
            made: layout.made,
            cleared: layout.cleared,
            encrypted: layout.stacked.encrypted,
        })
    }

    /// A table counts in sectors, and so do file systems: it goes only onto a disk with the same.
    fn sectors(&mut self, target: &Target<'_>, fitted: Option<&FittedTable>) -> bool {
        let then = fitted.map_or(target.saved.hardware.sector, |f| f.sector).0;
        let is = target.disk.hardware.sector.0;
        let no = target.disk.no;
        let what = format!("{no} has sectors of {then} bytes");
        if then == is {
            self.check(what, true, "as the saved disk had");
            return true;
        }
        // An image file is bytes; whatever reads it decides.
        if target.disk.hardware.transport.as_str() == IMAGE {
            self.warn(format!("{no} is an image file, which does not tell its sectors: its table is for {then} bytes"));
            return true;
        }
        let says = format!(
            "it has sectors of {is}: the saved table counts in {then}, and so do FAT, boot loaders and small file systems; \
             nothing is converted"
        );
        self.check(what, false, says);
        false
    }

    fn size(&mut self, target: &Target<'_>, layout: &Layout) -> bool {
        let (disk, has, needs) = (target.disk, target.disk.hardware.size, layout.smallest);
        let what = format!("{} is large enough", disk.no);
        if has >= needs {
            self.check(what, true, format!("{} bytes, at least {} are needed", has.0, needs.0));
            return true;
        }
        let ends: Vec<String> = layout.ends.iter().map(|(path, end)| format!("{path} ends at {end}")).collect();
        let room = has.0.saturating_sub(layout.behind.0);
        let fits: Vec<String> = layout.ends.iter().filter(|(_, e)| e.0 <= room).map(|(p, _)| p.to_string()).collect();
        let fits = if fits.is_empty() { "none of them".to_owned() } else { format!("only {}", fits.join(", ")) };
        let says = format!(
            "it has {} bytes, at least {} are needed: {}; {fits} would fit, and nothing is made smaller",
            has.0,
            needs.0,
            ends.join(", ")
        );
        self.check(what, false, says);
        false
    }

    /// A volume that lies on several disks is put back onto all of them, or it is none.
    fn together(&mut self, layout: &Layout<'_>) {
        let q = self.q;
        let going = |no: DiskNo| q.targets.iter().any(|t| t.saved.no == no);
        for volume in &layout.stacked.volumes {
            let beneath = volume.mapping.iter().flat_map(|m| &m.beneath);
            let away: Vec<String> =
                beneath.filter(|b| !going(b.path.disk())).map(|b| b.path.disk().to_string()).collect();
            if !away.is_empty() {
                let says = format!("it lies on {} of the snapshot too: name a disk for that as well", away.join(", "));
                self.check(format!("all of {} is put back", volume.path), false, says);
            }
        }
    }

    fn volume(&mut self, saved: &SavedVolume, disk: &Disk) {
        let mut says = match mounted(saved, self.q.manifest) {
            Some(mount) => format!("{}, {mount}", kind(&saved.content)),
            None => kind(&saved.content).to_owned(),
        };
        let then = self.q.manifest.volumes.iter().find(|v| v.path == saved.path).map_or(saved.extent, |v| v.extent);
        if then.len() != saved.extent.len() {
            says.push_str(&format!(", made larger: from {} to {}", then.len(), saved.extent.len()));
        } else if then != saved.extent {
            says.push_str(", moved to the end of the disk");
        }
        self.volumes.push(VolumeRollback {
            path: on(disk.no, &saved.path),
            saved_as: saved.path.clone(),
            extent: saved.extent,
            // What is leased is the disk.
            through: None,
            hardware: plain(&disk.hardware),
            disk_head: disk.head,
            // It is no volume yet: the head of the disk tells whether the plan still holds.
            volume_head: Digest([0; 32]),
            says: DisplayText::new(&says),
            map: saved.map,
            at_most: saved.captured,
        });
    }

    fn table(&self, saved: &SavedDisk, disk: &Disk, fitted: Option<&FittedTable>) -> String {
        let ids = if self.q.new_ids { ", with new identifiers" } else { "" };
        let ends =
            if disk.hardware.size == saved.hardware.size { "" } else { ", its second copy at the end of the disk" };
        match (&saved.table, fitted) {
            (Some(t), Some(f)) if t.kind == TableKind::Gpt => format!("GPT {}{ends}{ids}", f.id),
            (Some(_), Some(f)) => format!("MBR {}{ids}", f.id),
            _ => "none: its file system lies straight on the disk".to_owned(),
        }
    }

    /// What a person should know of a disk that will be written.
    fn told(&mut self, target: &Target<'_>, layout: &Layout) {
        let (q, disk, saved) = (self.q, target.disk, target.saved);
        for path in &layout.left_out {
            self.warn(format!("{} is not in the snapshot: it will be an empty partition", on(disk.no, path)));
        }
        let all = layout.volumes.iter().chain(&layout.stacked.volumes);
        for volume in all.filter(|v| !v.unreadable.is_empty()) {
            let (size, path) = (volume.unreadable.total(), on(disk.no, &volume.path));
            self.warn(format!("{size} of {path} could not be read when it was saved: zeros will stand there"));
        }
        if matches!(disk.volumes.as_slice(), [v] if matches!(v.content, Content::Fenced(_))) {
            self.warn(format!("a restore onto {} that was cut off is given up for this one", disk.no));
        }
        let Some(table) = &saved.table else { return };
        if q.new_ids {
            self.warn(
                "new identifiers of tables and partitions: what finds a partition by PARTUUID (fstab, the kernel's command line) has to \
                 be changed by hand; file systems keep their UUIDs",
            );
        }
        let twin = |d: &&Disk| d.no != disk.no && d.table.as_ref().is_some_and(|t| t.id == table.id);
        if let (Some(twin), false) = (q.inspection.disks.iter().find(twin), q.new_ids) {
            self.warn(format!(
                "{} and {} will carry the same identifiers: take one of them out before the machine starts, or one is mounted \
                 for the other (--new-ids changes those of the table, not those of the file systems)",
                twin.no, disk.no
            ));
        }
        if let (Err(why), true) = (&q.firmware, table.partitions.iter().any(|p| p.type_id == GPT_ESP)) {
            self.warn(format!(
                "the firmware is not told of the new disk ({why}): where it does not start by itself, choose the disk in the firmware's \
                 menu"
            ));
        }
    }

    /// What grows, and what that costs.
    fn growing(&mut self) {
        let q = self.q;
        let elsewhere = |path: &&VolumePath| !q.targets.iter().any(|t| t.saved.no == path.disk());
        if let Some(path) = q.grow.iter().find(elsewhere) {
            self.check(format!("{path} can be made larger"), false, "it goes onto none of these disks");
        }
        for target in q.targets {
            match &target.growth {
                Ok(Some(Growing { grown, wanted: true })) => {
                    let path = &grown.volume;
                    let saved = q.manifest.volumes.iter().find(|v| v.path == *path);
                    let unclean = |v: &SavedVolume| matches!(&v.content, Content::Ext(e) if e.needs_recovery);
                    if saved.is_some_and(unclean) {
                        self.warn(format!(
                            "{path} was not unmounted when it was saved: its journal is replayed before it grows"
                        ));
                    }
                    self.warn(format!(
                        "states that were saved before {path} grew no longer fit in its place: they come back by a restore, not by a \
                         rollback"
                    ));
                }
                Ok(_) => {}
                Err(why) => {
                    let named = q.grow.iter().filter(|path| path.disk() == target.saved.no).map(VolumePath::to_string);
                    let named: Vec<String> = named.collect();
                    self.check(format!("{} can be made larger", named.join(", ")), false, why.as_str());
                }
            }
        }
    }

    /// The boot entries that started from the saved disks.
    fn firmware(&self) -> Vec<VariableWrite> {
        let Ok((then, now)) = &self.q.firmware else { return Vec::new() };
        let fitted = self.q.targets.iter().filter_map(|t| t.fitted.as_ref()?.as_ref().ok());
        firmware::restored(then, now, &fitted.flat_map(|f| &f.guids).map(|(_, guid)| guid.clone()).collect())
    }

    /// Disks of the snapshot that nothing was named for.
    fn left_out(&mut self) {
        let q = self.q;
        let held = |d: &&SavedDisk| q.manifest.volumes.iter().any(|v| v.path.disk() == d.no);
        for disk in q.manifest.disks.iter().filter(held) {
            if !q.targets.iter().any(|t| t.saved.no == disk.no) {
                let (no, model, size) = (disk.no, &disk.hardware.model, disk.hardware.size);
                self.warn(format!("{no} of the snapshot ({model}, {size}) goes nowhere: what needs it may not start"));
            }
        }
    }

    /// What was known of the systems then.
    fn state(&mut self) {
        let q = self.q;
        for s in q.manifest.systems.iter().filter(|s| !s.assessment.is_good()) {
            self.warn(format!("{} was not in order when it was saved: {}", s.system.name, s.assessment.headline));
        }
        if self.volumes.iter().any(|v| asleep(q.manifest, v)) {
            self.warn("the snapshot is of a hibernated system: it will try to wake, on hardware that may be another");
        }
        if self.volumes.is_empty() && self.checks.iter().all(|c| c.ok) {
            self.check("there is something to write", false, "the snapshot holds nothing of these disks");
        }
    }

    /// True where a machine starts from a disk of the snapshot.
    fn boots(&self, saved: &SavedDisk) -> bool {
        let system = |path: &VolumePath| path.disk() == saved.no;
        let systems = self.q.manifest.systems.iter().map(|s| &s.system);
        let starts = |p: &model::inspection::Partition| p.type_id == GPT_ESP || p.type_id == GPT_BIOS_BOOT;
        saved.table.iter().flat_map(|t| &t.partitions).any(starts)
            || systems.into_iter().any(|s| system(&s.root) || s.boot.iter().any(|(_, v)| system(v)))
    }
}

/// Whether what is encrypted as it is written can be.
fn is_open(e: &Encrypted) -> Check {
    let says = match e.open {
        true => "what lies in it is encrypted again as it is written; its header and passphrases are those of then"
            .to_owned(),
        false => format!(
            "it takes the passphrase or key file that it had then: --unlock {}, or key u on the screen",
            e.volume
        ),
    };
    Check {
        what: DisplayText::new(&format!("{} of the snapshot is unlocked", e.volume)),
        ok: e.open,
        says: DisplayText::new(&says),
    }
}

/// How an image file is attached (`sys::device`).
const IMAGE: &str = "image";

fn asleep(manifest: &Manifest, volume: &VolumeRollback) -> bool {
    let saved = manifest.volumes.iter().find(|s| s.path == volume.saved_as);
    saved.is_some_and(|s| matches!(&s.content, Content::Swap(i) if i.hibernated))
}

/// The same volume on another disk.
fn on(disk: DiskNo, path: &VolumePath) -> VolumePath {
    path.on(disk)
}

/// What would be lost with what is on a disk; `None` where it holds nothing.
fn holds(target: &Target<'_>, inspection: &Inspection) -> Option<String> {
    let disk = target.disk;
    let named = |v: &Volume| match &v.content {
        Content::Recognised { name, .. } => name.clone(),
        Content::Damaged { kind, .. } => format!("a damaged {}", kind.name()),
        _ => v.kind().to_owned(),
    };
    let systems: Vec<String> =
        inspection.systems.iter().filter(|s| s.root.disk() == disk.no).map(|s| s.name.to_string()).collect();
    let systems = if systems.is_empty() { String::new() } else { format!(": {}", systems.join(", ")) };
    if let Some(table) = &disk.table {
        let kind = match table.kind {
            TableKind::Gpt => "GPT",
            TableKind::Mbr => "MBR",
        };
        let volumes: Vec<String> = disk.volumes.iter().map(|v| format!("{} ({})", v.path, named(v))).collect();
        let volumes = if volumes.is_empty() { "no partition".to_owned() } else { volumes.join(", ") };
        return Some(format!("a partition table ({kind}) with {volumes}{systems}"));
    }
    match disk.volumes.first().map(|v| (v, &v.content)) {
        Some((_, Content::Fenced(_))) => Some("a restore that was cut off".to_owned()),
        Some((v, content)) if !matches!(content, Content::Empty | Content::Unknown) => {
            Some(format!("a file system or the like, {}{systems}", named(v)))
        }
        _ => match &target.not_zero {
            Ok(None) => None,
            Ok(Some(at)) => {
                Some(format!("bytes that are not zero (the first found at {at}), with no table to tell what they are"))
            }
            Err(why) => Some(format!("what cannot be read ({why})")),
        },
    }
}
