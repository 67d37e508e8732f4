//! What has to hold before anything is written, whatever the volumes are: no other write-back is unfinished, disks take writes, nobody else uses
//! them, nothing lies on anything else, and it is this machine.

use super::Planner;
use crate::plan::disks::same_machine;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Inspection, Volume};
use model::plan::{Action, VolumeRollback};
use model::snapshot::Machine;
use model::units::Extent;
use std::collections::BTreeSet;

/// Whether these disks take writes, and how that is said.
pub(in crate::plan) fn writable(inspection: &Inspection, disks: impl IntoIterator<Item = DiskNo>) -> (bool, String) {
    let protected = |no: &DiskNo| inspection.disk(*no).is_some_and(|d| d.hardware.write_protected);
    let protected: Vec<String> = disks.into_iter().filter(protected).map(|no| no.to_string()).collect();
    match protected.is_empty() {
        true => (true, "none is write-protected".to_owned()),
        false => {
            let says = "write-protected: look for a switch on the disk or its case; without one it may be worn out, or a file without the right to write it";
            (false, format!("{} is {says}", protected.join(", ")))
        }
    }
}

impl Planner<'_> {
    /// A disk that takes no writes makes every plan unusable that writes to it.
    pub(super) fn writable(&mut self, volumes: &[VolumeRollback]) {
        let beneath = |v: &VolumeRollback| {
            v.through.iter().flat_map(|t| t.mapping.beneath.iter().map(|b| b.path.disk())).collect::<Vec<_>>()
        };
        let written: BTreeSet<DiskNo> =
            volumes.iter().flat_map(|v| [vec![v.path.disk()], beneath(v)].concat()).collect();
        let (ok, says) = writable(self.q.inspection, written);
        self.check("each disk that will be written accepts writes", ok, says);
    }

    /// Fences that are not of this write-back make every plan unusable.
    pub(super) fn fences(&mut self) {
        let q = self.q;
        let foreign: Vec<String> = q
            .inspection
            .fences()
            .filter(|(_, f)| !q.pending.contains(&f.intent))
            .map(|(v, f)| format!("{} (begun from store {})", v.path, f.store))
            .collect();
        let what = "no other rollback is unfinished";
        match foreign.is_empty() {
            true => self.check(what, true, "no other fence stands"),
            false => self.check(what, false, format!("finish it with its own store first: {}", foreign.join(", "))),
        }
    }

    /// What is written is written over nothing else: in a table that is wrong or hybrid, partitions may lie on each other or on
    /// the table itself, and a fence on the table would hide the whole disk. And disks without a table, once fenced, must still
    /// be told apart.
    pub(super) fn apart(&mut self, volumes: &[VolumeRollback]) {
        let q = self.q;
        let mut wrong = Vec::new();
        for v in volumes {
            let places: Vec<(&VolumePath, Extent)> = match &v.through {
                None => vec![(&v.path, v.extent)],
                Some(t) => t.mapping.beneath.iter().map(|b| (&b.path, b.extent)).collect(),
            };
            for (path, extent) in places {
                let Some(disk) = q.inspection.disk(path.disk()) else { continue };
                let others = disk.volumes.iter().filter(|o| o.path != *path && o.extent.intersect(extent).is_some());
                wrong.extend(others.map(|o| format!("{path} and {} lie on the same bytes", o.path)));
                let table = disk.table.iter().flat_map(|t| &t.raw).any(|raw| raw.intersect(extent).is_some());
                wrong.extend(table.then(|| format!("{path} lies on the partition table")));
            }
        }
        if !wrong.is_empty() {
            self.check("what is written lies on nothing else", false, wrong.join("; "));
        }
        let whole = |v: &&VolumeRollback| v.path.is_whole();
        let twins = |a: &VolumeRollback, b: &VolumeRollback| {
            let (a, b) = (&a.hardware, &b.hardware);
            a.size == b.size && (a.serial.is_none() || b.serial.is_none() || a.serial == b.serial)
        };
        let wholes: Vec<&VolumeRollback> = volumes.iter().filter(whole).collect();
        let pair = wholes.iter().enumerate().find_map(|(i, a)| Some((a, wholes[..i].iter().find(|b| twins(a, b))?)));
        if let (Some((a, b)), true) = (pair, q.pending.is_empty()) {
            let says =
                format!("{b} and {a} could not be told apart while fenced; name one at a time", a = a.path, b = b.path);
            self.check("disks without a partition table stay known", false, says);
        }
    }

    /// What is mounted, swapped to or part of another device is not written over. (A lease would be refused; that is told before anybody
    /// approves.)
    pub(super) fn held(&mut self, volumes: &[VolumeRollback]) {
        let held = volumes.iter().filter_map(|v| self.q.facts.holders.get(&v.path));
        let says: BTreeSet<String> = held.flatten().map(ToString::to_string).collect();
        match says.is_empty() {
            true => self.check("nothing else uses what is written", true, "no mount, no swap, no device on it"),
            false => {
                let says = says.into_iter().collect::<Vec<_>>().join(", ");
                let says = format!("{says}; unmount or stop that first");
                self.check("nothing else uses what is written", false, says);
            }
        }
    }

    /// The snapshot is of this machine, or else every volume lies on a disk known again by its identity. Or whoever approves says
    /// that it is meant to go to another machine (installed anew on the same partitions, say).
    pub(super) fn machine(&mut self, volumes: &[VolumeRollback]) {
        let q = self.q;
        let name = |m: &Machine| m.hostname.as_ref().map_or("a machine without a name".to_owned(), ToString::to_string);
        // What this very run left unfinished may be all that is left to know the machine by.
        let unfinished = q.inspection.fences().any(|(_, f)| q.pending.contains(&f.intent));
        let same = unfinished || same_machine(q.manifest, q.machine, q.inspection);
        let by_disk = !volumes.is_empty() && volumes.iter().all(|v| self.same_content_or_fence(v));
        let what = "the snapshot is of this machine";
        let says = match (same, by_disk) {
            (true, _) if unfinished => "its unfinished rollback stands on these disks".to_owned(),
            (true, _) => format!("{}, as in the snapshot", name(q.machine)),
            (false, true) => "its machine id differs, but these are the very volumes of the snapshot".to_owned(),
            (false, false) if q.of.is_some() => {
                "the rollback to another machine's snapshot is gone back from".to_owned()
            }
            (false, false) if q.action == Action::Rollback && !volumes.is_empty() => {
                let then = &q.manifest.machine;
                let id = || then.machine_id.as_ref().and_then(|id| id.get(..8)).unwrap_or("unknown").into();
                self.foreign = Some(then.hostname.clone().unwrap_or_else(id));
                self.warn(format!(
                    "the snapshot is of {}, and this is {}: what is on these volumes is another machine's, and is written over",
                    name(then),
                    name(q.machine)
                ));
                return;
            }
            (false, false) => format!("the snapshot is of {}, this is {}", name(&q.manifest.machine), name(q.machine)),
        };
        self.check(what, same || by_disk || q.of.is_some(), says);
        if !same && by_disk {
            self.warn(
                "the machine id on the disk is not the one of the snapshot: the system was installed anew, or copied",
            );
        }
    }

    fn same_content_or_fence(&self, v: &VolumeRollback) -> bool {
        let now = self.q.inspection.volume(&v.path);
        let then = self.q.manifest.volumes.iter().find(|s| s.path == v.saved_as);
        match (now, then) {
            (Some(now), _) if matches!(now.content, Content::Fenced(_)) => true,
            (Some(now), Some(then)) => {
                let then = Volume::on_disk(now.path.clone(), now.extent, then.content.clone());
                now.uuid().is_some() && now.uuid() == then.uuid()
            }
            _ => false,
        }
    }
}
