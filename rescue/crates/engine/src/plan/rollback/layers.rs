//! Volumes that lie on others: found again, and refused where they do not lie as they did.

use super::{Planner, plain};
use model::inspection::{Content, Disk, LvmInfo, Volume};
use model::mapping::{Beneath, Mapping};
use model::plan::{Action, Through, VolumeRollback};
use model::snapshot::SavedVolume;
use model::text::DisplayText;

const KEPT: &str = "what LVM, md and LUKS keep themselves is left as it is";

impl<'a> Planner<'a> {
    /// Where a saved volume that lay on others lies now: the same volume by its identifier, on the same bytes of the same partitions.
    pub(super) fn mapped(&self, saved: &SavedVolume, then: &Mapping) -> Result<(&'a Disk, &'a Volume), String> {
        let q = self.q;
        let named = q.inspection.layered.iter();
        let mut same = named.filter_map(|v| Some((v, v.mapping.as_ref()?))).filter(|(_, m)| m.id == then.id);
        let (volume, now) = match (same.next(), same.next()) {
            (Some(one), None) => one,
            (None, _) if then.is_sealed() && q.inspection.locked().next().is_some() => {
                let locked: Vec<String> = q.inspection.locked().map(|v| v.path.to_string()).collect();
                let locked = locked.join(", ");
                return Err(format!("{} is not here while {locked} is locked; unlock that first", then.says));
            }
            (None, _) => {
                return Err(format!("there is no {} any more; `restore` makes it anew on an empty disk", then.says));
            }
            (Some(_), Some(_)) => return Err(format!("there are two of {}", then.says)),
        };
        let renamed = then.renamed(|b| {
            let no = self.pair(b.path.disk())?.present.clone().ok()?;
            Some(Beneath { path: b.path.on(no), ..b.clone() })
        });
        let renamed = renamed.ok_or("a disk that it lay on is not here")?;
        if let (Some(why), false) = (&now.read_only, renamed.beneath.len() == now.beneath.len()) {
            return Err(format!("{} does not lie as it did: {why}", volume.path));
        }
        let keys = |m: &Mapping| m.beneath.iter().map(|b| Some(b.sealed.as_ref()?.header)).collect::<Vec<_>>();
        if keys(&renamed) != keys(now) {
            return Err(format!("{} is encrypted in another way, or with another key, than then", volume.path));
        }
        if (&renamed.beneath, &renamed.segments) != (&now.beneath, &now.segments) || volume.extent != saved.extent {
            return Err(format!(
                "{} was moved or resized: it does not lie on the same bytes as then; `restore` makes it as it was on an empty disk",
                volume.path
            ));
        }
        let disk = q.inspection.disk(volume.path.disk()).ok_or_else(|| format!("{} is gone", volume.path.disk()))?;
        Ok((disk, volume))
    }

    /// Why what carries other volumes is left as it is. Volumes of LVM that are not read lie there too, and are told.
    pub(super) fn kept_beneath(&mut self, saved: &SavedVolume) -> &'static str {
        let Content::Lvm(LvmInfo { group, unread, .. }) = &saved.content else { return KEPT };
        if unread.is_empty() {
            return KEPT;
        }
        if self.q.action == Action::Rollback {
            let names: Vec<&str> = unread.iter().map(DisplayText::as_str).collect();
            self.warn(format!(
                "{} of LVM group {group} on {} {} not read here, and {} as now: what was saved of that comes back with the whole disk \
                 alone (`restore`)",
                names.join(", "),
                saved.path,
                if names.len() == 1 { "is" } else { "are" },
                if names.len() == 1 { "stays" } else { "stay" },
            ));
        }
        "volumes of LVM on it are not read here: they come back with the whole disk alone (`restore`)"
    }

    /// What stands against writing a volume because of what lies on it or beneath it.
    pub(super) fn beneath(&mut self, saved: &SavedVolume, now: &Volume) {
        let path = &now.path;
        if saved.content.apart().is_some() {
            let says = match &saved.content {
                Content::Luks(_) => "the snapshot holds of it its header alone; what lies in it goes back by itself",
                Content::BtrfsDevice(_) => {
                    "it is a device of a btrfs on several: they go back together, as the volume that they make"
                }
                _ => {
                    "the snapshot holds of it what LVM or md keep themselves; with its volumes it goes onto an empty disk (`restore`)"
                }
            };
            self.check(format!("{path} can be taken back by itself"), false, says);
        } else if now.content.apart().is_some() {
            let says = match &now.content {
                Content::Luks(_) => "it is unlocked; as it is, whole, it goes back while it is locked",
                Content::BtrfsDevice(_) => "it is a device of a btrfs on several now: they go back together",
                _ => "other volumes lie on it now, and would be lost without an undo",
            };
            self.check(format!("{path} holds nothing but itself"), false, says);
        }
        let Some(mapping) = &now.mapping else { return };
        if let Some(why) = &mapping.read_only {
            self.check(format!("{path} can be written to"), false, why.as_str());
        }
        for b in &mapping.beneath {
            let sector = |no| self.q.inspection.disk(no).map(|d| d.hardware.sector.0);
            let (own, other) = (sector(path.disk()), sector(b.path.disk()));
            if own != other {
                let says = format!("{} has other sectors than {}", b.path.disk(), path.disk());
                self.check(format!("{path} can be written to"), false, says);
            }
        }
    }

    /// Devices of one file system that were saved byte for byte go back together or not at all: among devices of several times the newest is
    /// believed, and what the others hold is taken for as new.
    pub(super) fn together(&mut self, volumes: &[VolumeRollback]) {
        let written = |v: &&SavedVolume| v.mapping.is_none() && volumes.iter().any(|w| w.saved_as == v.path);
        let of = |v: &SavedVolume| match &v.content {
            Content::Btrfs(b) if b.devices > 1 => Some((b.uuid.clone(), b.devices)),
            _ => None,
        };
        let all: Vec<(String, u64)> = self.q.manifest.volumes.iter().filter(written).filter_map(of).collect();
        for (n, (uuid, devices)) in all.iter().enumerate() {
            let here = all.iter().filter(|(other, _)| other == uuid).count();
            if !all[..n].iter().any(|(other, _)| other == uuid) && here as u64 != *devices {
                let says = format!("{here} of them would, and the others would hold another time");
                self.check(format!("the {devices} devices of btrfs {uuid} go back together"), false, says);
            }
        }
    }

    /// What a mapped volume is written through; a disk that is gone makes the plan unusable before.
    pub(super) fn through(&self, now: &Volume) -> Option<Through> {
        let mapping = now.mapping.clone()?;
        let disk = |b: &Beneath| self.q.inspection.disk(b.path.disk()).map(|d| (plain(&d.hardware), d.head));
        let disks = mapping.beneath.iter().filter_map(disk).collect();
        Some(Through { mapping, disks })
    }
}
