//! What a rollback writes: a snapshot laid against the disks as they are now.

mod beside;
pub(crate) mod esps;
mod layers;
mod preconditions;
mod role;
mod tables;

use super::disks::Pair;
use super::elsewhere::{self, Mark};
use super::snapshot::mount_point;
use disk::fence::FENCE_LEN;
use model::assessment::SystemReport;
use model::esp::SharedEsp;
use model::id::{Digest, DiskNo, IntentId, SnapshotId, VolumePath};
use model::inspection::{Content, Disk, Hardware, Inspection, System, Volume};
use model::plan::{Action, Check, RollbackPlan, TableRollback, VolumeRollback};
use model::snapshot::{Machine, Manifest, Purpose, SavedDisk, SavedVolume, SnapshotSummary};
use model::text::DisplayText;
use model::units::Extent;
pub(super) use preconditions::writable;
use role::Role;
use std::collections::{BTreeMap, BTreeSet};

/// Which volumes of the snapshot are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set<'a> {
    /// Root and what it boots from; everything where the snapshot knows no system.
    Boot,
    /// The same without these, by their path now.
    BootBut(&'a [VolumePath]),
    /// These, by their path now.
    Only(&'a [VolumePath]),
    /// All that the snapshot holds: an undo snapshot holds what was written over and nothing else.
    All,
    /// Those of an earlier plan, by their path in the snapshot.
    Of(&'a RollbackPlan),
}

/// What had to be read to plan, besides the snapshot and the inspection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// SHA-256 of the first 64 KiB of each volume.
    pub heads: BTreeMap<VolumePath, Digest>,
    /// For each disk of the snapshot that was found: whether the bytes of its saved table differ from those on the disk.
    pub tables: BTreeMap<DiskNo, bool>,
    /// What holds each volume, where anything does.
    pub holders: BTreeMap<VolumePath, Vec<DisplayText>>,
    /// What the snapshot holds that has its other half elsewhere, and on which volume of it.
    pub elsewhere: Vec<(VolumePath, Mark)>,
    /// EFI system partitions with something on them that is not of the systems that go back.
    pub esps: Vec<SharedEsp>,
}

/// Everything a plan is made of. The same question gives the same plan.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What for.
    pub action: Action,
    /// The snapshot to go to.
    pub to: SnapshotId,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// The disks now.
    pub inspection: &'a Inspection,
    /// Which machine they are.
    pub machine: &'a Machine,
    /// Which disk is which: [`super::disks::pair`].
    pub pairs: &'a [Pair],
    /// What was read of them.
    pub facts: &'a Facts,
    /// Which volumes.
    pub set: Set<'a>,
    /// The plan of the write-back that is undone or finished: its tables are treated likewise.
    pub of: Option<&'a RollbackPlan>,
    /// The write-backs whose fences may stand.
    pub pending: &'a [IntentId],
}

/// Makes the plan. What stands against it is in its checks.
pub fn plan(question: &Question<'_>) -> RollbackPlan {
    let mut made = Planner { q: question, checks: Vec::new(), warnings: Vec::new(), kept: Vec::new(), foreign: None };
    let mut volumes: Vec<(u8, VolumeRollback)> = Vec::new();
    made.fences();
    for saved in &question.manifest.volumes {
        if let Some(volume) = made.volume(saved) {
            volumes.push((made.rank(saved), volume));
        }
    }
    volumes.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.path.cmp(&y.path)));
    let mut volumes: Vec<VolumeRollback> = volumes.into_iter().map(|(_, v)| v).collect();
    let esps = made.esps(&mut volumes);
    made.apart(&volumes);
    made.together(&volumes);
    made.writable(&volumes);
    made.held(&volumes);
    made.machine(&volumes);
    made.state(&volumes);
    made.swap(&volumes);
    made.beside(&volumes);
    made.elsewhere(&volumes);
    made.nothing_left_out(&volumes);
    let tables = made.tables(&volumes);
    let firmware = made.firmware(&volumes);
    let Planner { checks, warnings, kept, foreign, .. } = made;
    let summary = question.manifest.summary(question.to);
    let what = said(&summary);
    RollbackPlan {
        action: question.action,
        to: question.to,
        to_says: what,
        volumes,
        tables,
        disks: Vec::new(),
        kept,
        checks,
        warnings,
        foreign,
        firmware,
        reads: None,
        composed: None,
        esps,
    }
}

/// True where both write the same volumes, as they were when both were made, and the same tables.
pub(crate) fn writes_the_same(a: &RollbackPlan, b: &RollbackPlan) -> bool {
    let volumes = |p: &RollbackPlan| -> Vec<_> {
        p.volumes.iter().map(|v| (v.path.clone(), v.extent, v.through.clone(), v.disk_head, v.volume_head)).collect()
    };
    let tables = |p: &RollbackPlan| -> BTreeMap<DiskNo, bool> {
        let one = |t: &TableRollback| match t {
            TableRollback::Repair { disk, .. } => (*disk, true),
            TableRollback::Untouched { disk } => (*disk, false),
        };
        p.tables.iter().map(one).collect()
    };
    volumes(a) == volumes(b) && tables(a) == tables(b)
}

/// What a snapshot is, for people.
pub(super) fn said(summary: &SnapshotSummary) -> DisplayText {
    if let Purpose::Composed { of, with } = summary.purpose {
        let (of, with) = (of.0.short(8), with.0.short(8));
        if of == with {
            return DisplayText::new(&format!("snapshot {of}, with volumes made larger {} UTC", summary.taken));
        }
        return DisplayText::new(&format!("composed {} UTC of snapshot {of} and files of {with}", summary.taken));
    }
    let what = match (&summary.headline, &summary.system) {
        (Some(headline), Some(system)) => format!("{system}, {} UTC: {headline}", summary.taken),
        (_, _) => format!("snapshot of {} UTC", summary.taken),
    };
    DisplayText::new(&what)
}

struct Planner<'a> {
    q: &'a Question<'a>,
    checks: Vec<Check>,
    warnings: Vec<DisplayText>,
    kept: Vec<(VolumePath, DisplayText)>,
    foreign: Option<DisplayText>,
}

impl<'a> Planner<'a> {
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

    fn pair(&self, saved: DiskNo) -> Option<&'a Pair> {
        self.q.pairs.iter().find(|p| p.saved == saved)
    }

    fn saved_disk(&self, no: DiskNo) -> Option<&'a SavedDisk> {
        self.q.manifest.disks.iter().find(|d| d.no == no)
    }

    /// Where a saved volume lies now.
    fn place(&self, saved: &SavedVolume) -> Result<(&'a Disk, &'a Volume), String> {
        if let Some(mapping) = &saved.mapping {
            return self.mapped(saved, mapping);
        }
        let pair = self.pair(saved.path.disk()).ok_or("the snapshot does not say on which disk it lay")?;
        let no = pair.present.clone()?;
        let disk = self.q.inspection.disk(no).ok_or_else(|| format!("{no} is gone"))?;
        let by_number = disk.volumes.iter().find(|v| v.path.number() == saved.path.number());
        match by_number {
            Some(v) if v.extent == saved.extent => Ok((disk, v)),
            Some(v) => Err(format!(
                "{} was moved or resized: {} bytes at {} then, {} at {} now",
                v.path,
                saved.extent.len().0,
                saved.extent.start(),
                v.extent.len().0,
                v.extent.start()
            )),
            None => match disk.volumes.iter().find(|v| v.extent == saved.extent) {
                Some(v) => Err(format!("{} lies where it was: the partitions were numbered anew", v.path)),
                None => Err(format!("{no} has no partition there any more")),
            },
        }
    }

    /// Whether a saved volume is of the set, and if not, why it is kept.
    fn chosen(&self, saved: &SavedVolume, now: Option<&Volume>) -> Result<(), &'static str> {
        let mount = self.role(saved);
        match self.q.set {
            Set::All => Ok(()),
            Set::Of(plan) if plan.volumes.iter().any(|v| v.saved_as == saved.path) => Ok(()),
            Set::Of(_) => Err("it was not part of what was begun"),
            Set::Only(list) => {
                let named = list.contains(now.map_or(&saved.path, |v| &v.path));
                if named { Ok(()) } else { Err("it was not named") }
            }
            Set::BootBut(list) if list.contains(now.map_or(&saved.path, |v| &v.path)) => {
                Err("it is left as it is, as was asked for")
            }
            Set::Boot | Set::BootBut(_) => match (mount, &saved.content) {
                _ if self.woken(saved, now) => Ok(()),
                _ if self.is_of_windows_beside(saved) => {
                    Err("it is Windows', beside another system; name it to take it back too")
                }
                (_, Content::Swap(_)) => Err("swap is kept as it is"),
                (Role::Root | Role::Boot | Role::Esp, _) | (_, Content::BiosBoot) => Ok(()),
                (Role::Other, _) => Err("its data is kept; name it to take it back too"),
                (Role::None, _) if self.q.manifest.systems.is_empty() => Ok(()),
                (Role::None, _) => Err("it belongs to no system; name it to take it back too"),
            },
        }
    }

    /// True where a swap area is part of the set after all: a hibernated system must not wake over another root, and one that
    /// was saved asleep needs its image.
    fn woken(&self, saved: &SavedVolume, now: Option<&Volume>) -> bool {
        let asleep = |c: &Content| matches!(c, Content::Swap(s) if s.hibernated);
        asleep(&saved.content) || now.is_some_and(|v| asleep(&v.content))
    }

    fn volume(&mut self, saved: &SavedVolume) -> Option<VolumeRollback> {
        let place = self.place(saved);
        let now = place.as_ref().ok().map(|(_, v)| *v);
        let laid_out = saved.content.apart().is_some() && !matches!(self.q.set, Set::Only(_));
        let chosen = match laid_out {
            true => Err(self.kept_beneath(saved)),
            false => self.chosen(saved, now),
        };
        if let Err(why) = chosen {
            let path = now.map_or_else(|| saved.path.clone(), |v| v.path.clone());
            self.kept.push((path, why.into()));
            return None;
        }
        let what = format!("{} is where it was", saved.path);
        let (disk, now) = match place {
            Ok(found) => found,
            Err(why) => {
                self.check(what, false, why);
                return None;
            }
        };
        let at = match &now.mapping {
            Some(mapping) => format!("{}, where it lay", mapping.says),
            None => format!("{} bytes at {}", now.extent.len().0, now.extent.start()),
        };
        self.check(what, true, at);
        self.compare(saved, disk, now);
        self.beneath(saved, now);
        let says = match self.mount(saved) {
            Some(mount) => format!("{}, {mount}", kind(&saved.content)),
            None => kind(&saved.content).to_owned(),
        };
        Some(VolumeRollback {
            path: now.path.clone(),
            saved_as: saved.path.clone(),
            extent: now.extent,
            through: self.through(now),
            hardware: plain(&disk.hardware),
            disk_head: disk.head,
            volume_head: self.q.facts.heads.get(&now.path).copied().unwrap_or(Digest([0; 32])),
            says: DisplayText::new(&says),
            map: saved.map,
            at_most: saved.captured,
        })
    }

    /// What a person should know about a volume that will be written.
    fn compare(&mut self, saved: &SavedVolume, disk: &Disk, now: &Volume) {
        let path = &now.path;
        if now.extent.len() < FENCE_LEN {
            self.check(format!("{path} can be fenced"), false, format!("it has only {} bytes", now.extent.len().0));
        }
        if let Some(saved_disk) = self.saved_disk(saved.path.disk()) {
            let (then, is) = (saved_disk.hardware.sector.0, disk.hardware.sector.0);
            if then != is {
                self.check(
                    format!("{} has sectors of {then} bytes", disk.no),
                    false,
                    format!("it has sectors of {is}"),
                );
            }
        }
        if let Some(pair) = self.pair(saved.path.disk()) {
            pair.notes.iter().for_each(|n| self.warn(n));
        }
        let uuid = |c: &Content| Volume::on_disk(path.clone(), now.extent, c.clone()).uuid().map(str::to_owned);
        let same = uuid(&saved.content).is_some() && uuid(&saved.content) == uuid(&now.content);
        match &now.content {
            Content::Fenced(_) => {}
            _ if same => {}
            Content::BiosBoot if saved.content == Content::BiosBoot => {}
            Content::Damaged { kind, why } => {
                self.warn(format!("{path} now holds a damaged {}: {why}; all of it is saved first", kind.name()));
            }
            _ => self.warn(format!(
                "{path} now holds something else ({}) than the snapshot's {}; it is saved first, then written over",
                now.kind(),
                kind(&saved.content)
            )),
        }
        if !saved.unreadable.is_empty() {
            self.warn(format!(
                "{} of {path} could not be read when the snapshot was taken; those bytes stay as they are now",
                saved.unreadable.total()
            ));
        }
    }

    /// What was known of the system then, and whether it sleeps now.
    fn state(&mut self, volumes: &[VolumeRollback]) {
        let q = self.q;
        if q.action == Action::Rollback {
            let concerns = |s: &&SystemReport| !s.assessment.is_good() && !self.stays(&s.system, volumes);
            let doubtful: Vec<&SystemReport> = q.manifest.systems.iter().filter(concerns).collect();
            for s in doubtful {
                self.warn(format!("{} was not in order when it was saved: {}", s.system.name, s.assessment.headline));
            }
        }
        for (_, volume) in q.inspection.volumes() {
            if matches!(&volume.content, Content::Swap(s) if s.hibernated) {
                let covered = volumes.iter().any(|v| v.path == volume.path);
                let touches = self.may_wake(&volume.path, volumes);
                if covered {
                    self.warn(format!(
                        "the system is hibernated: what it had in memory is in {}; it is saved with the undo snapshot, \
                         and gone from the machine",
                        volume.path
                    ));
                } else if touches {
                    let says = format!(
                        "{} holds a hibernation image that the snapshot cannot replace; wake the \
                                        system and shut it down first",
                        volume.path
                    );
                    self.check("no sleeping system wakes over what is written", false, says);
                }
            }
        }
    }

    /// True where a system that sleeps in a swap area may be one whose volumes are written, whatever disk that area lies on.
    fn may_wake(&self, swap: &VolumePath, volumes: &[VolumeRollback]) -> bool {
        let written = |path: &VolumePath| volumes.iter().any(|v| v.path == *path);
        let uses = |s: &System| s.other.iter().any(|(_, path)| path == swap);
        let touched = |s: &System| written(&s.root) || s.boot.iter().chain(&s.other).any(|(_, path)| written(path));
        let mut users = self.q.inspection.systems.iter().filter(|s| uses(s)).peekable();
        match users.peek() {
            // Nobody knows whose it is: a root too damaged to be known would not say.
            None => !volumes.is_empty(),
            Some(_) => users.any(touched),
        }
    }

    /// Swap that was saved asleep and is not now, or the other way round, is told by [`Self::woken`]'s volumes.
    fn swap(&mut self, volumes: &[VolumeRollback]) {
        let q = self.q;
        let asleep = |s: &&SavedVolume| matches!(&s.content, Content::Swap(i) if i.hibernated);
        for saved in q.manifest.volumes.iter().filter(asleep) {
            if volumes.iter().any(|v| v.saved_as == saved.path) {
                self.warn("the snapshot is of a hibernated system: it will wake where it went to sleep");
            }
        }
    }

    /// What dislikes going back is told.
    fn elsewhere(&mut self, volumes: &[VolumeRollback]) {
        let q = self.q;
        if q.action != Action::Rollback {
            return;
        }
        let goes_back = |path: &VolumePath| volumes.iter().any(|v| v.saved_as == *path);
        let found: Vec<Mark> =
            q.facts.elsewhere.iter().filter(|(path, _)| goes_back(path)).map(|(_, mark)| *mark).collect();
        elsewhere::warnings(&found).iter().for_each(|says| self.warn(says));
        let disks: BTreeSet<DiskNo> = volumes.iter().map(|v| v.path.disk()).collect();
        if disks.iter().any(|disk| self.boots(volumes, *disk))
            && let Some(says) = elsewhere::sealed(q.inspection)
        {
            self.warn(says);
        }
    }

    /// A named volume that the snapshot does not hold, or half a boot set, is told.
    fn nothing_left_out(&mut self, volumes: &[VolumeRollback]) {
        let q = self.q;
        if let Set::Only(list) = q.set {
            for path in list {
                let ok = volumes.iter().any(|v| v.path == *path);
                let failed = self.checks.iter().any(|c| !c.ok);
                if !ok && !failed {
                    self.check(format!("the snapshot holds {path}"), false, "it does not");
                }
            }
        }
        let whole: Vec<&System> =
            q.manifest.systems.iter().map(|s| &s.system).filter(|s| !self.stays(s, volumes)).collect();
        for system in whole {
            let parts: Vec<&VolumePath> =
                std::iter::once(&system.root).chain(system.boot.iter().map(|(_, v)| v)).collect();
            let has = |v: &&&VolumePath| volumes.iter().any(|p| p.saved_as == ***v);
            let some = parts.iter().filter(has).count();
            if q.action == Action::Rollback && some > 0 && some < parts.len() {
                self.warn(format!(
                    "root, /boot and the EFI partition of {} belong together, and only {some} of {} go back: it may not start",
                    system.name,
                    parts.len()
                ));
            }
        }
        if volumes.is_empty() && self.checks.iter().all(|c| c.ok) {
            self.check("there is something to write", false, "the snapshot holds none of these volumes");
        }
        for (_, volume) in q.inspection.volumes() {
            let told =
                volumes.iter().any(|v| v.path == volume.path) || self.kept.iter().any(|(p, _)| *p == volume.path);
            if !told {
                self.kept.push((volume.path.clone(), "the snapshot does not hold it".into()));
            }
        }
    }

    fn mount(&self, saved: &SavedVolume) -> Option<String> {
        mounted(saved, self.q.manifest)
    }
}

/// Where a volume was mounted, in words.
pub(super) fn mounted(saved: &SavedVolume, manifest: &Manifest) -> Option<String> {
    let systems = manifest.systems.iter().map(|s| s.system.clone()).collect();
    let then = Inspection { systems, ..Inspection::default() };
    let volume = Volume::on_disk(saved.path.clone(), saved.extent, Content::Unknown);
    let (at, system) = mount_point(&volume, &then)?;
    Some(format!("{at} of {system}"))
}

pub(super) fn kind(content: &Content) -> &'static str {
    let path = VolumePath::whole(DiskNo(0));
    let extent = Extent::whole(model::units::ByteLen::ZERO);
    Volume::on_disk(path, extent, content.clone()).kind()
}

/// Hardware as it is kept: without the name it had this time.
pub(crate) fn plain(hardware: &Hardware) -> Hardware {
    Hardware { shown_as: None, write_protected: false, ..hardware.clone() }
}
