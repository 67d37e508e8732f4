//! What becomes of partition tables and of the firmware's boot entries.

use super::{Planner, plain};
use crate::plan::disks::same_partitions;
use crate::plan::firmware;
use model::firmware::VariableWrite;
use model::id::DiskNo;
use model::inspection::Disk;
use model::plan::{Action, TableRollback, VolumeRollback};
use model::snapshot::SavedDisk;

impl Planner<'_> {
    pub(super) fn tables(&mut self, volumes: &[VolumeRollback]) -> Vec<TableRollback> {
        let q = self.q;
        let mut tables = Vec::new();
        for pair in q.pairs {
            let Ok(no) = pair.present else { continue };
            if !volumes.iter().any(|v| v.path.disk() == no) {
                continue;
            }
            let (Some(saved), Some(disk)) = (self.saved_disk(pair.saved), q.inspection.disk(no)) else { continue };
            tables.push(self.table(saved, disk, volumes));
        }
        tables
    }

    /// The firmware's boot entries that start from what is written.
    pub(super) fn firmware(&mut self, volumes: &[VolumeRollback]) -> Vec<VariableWrite> {
        let q = self.q;
        let Some(now) = &q.inspection.firmware else { return Vec::new() };
        match (q.of, &q.manifest.firmware) {
            // An undo or a completion treats them as the write-back did.
            (Some(of), _) => {
                let (writes, left) = firmware::again(&of.firmware, now, matches!(q.action, Action::Undo { .. }));
                left.iter().for_each(|says| self.warn(says));
                writes
            }
            (None, Some(saved)) => {
                let guid = |v: &VolumeRollback| {
                    let table = self.saved_disk(v.saved_as.disk())?.table.as_ref()?;
                    table.partitions.iter().find(|p| Some(p.number) == v.saved_as.number())?.guid.clone()
                };
                firmware::restored(&self.without_staying(saved), now, &volumes.iter().filter_map(guid).collect())
            }
            (None, None) => Vec::new(),
        }
    }

    fn table(&mut self, saved: &SavedDisk, disk: &Disk, volumes: &[VolumeRollback]) -> TableRollback {
        let q = self.q;
        let untouched = TableRollback::Untouched { disk: disk.no };
        let (Some(then), Some(now), Some(map)) = (&saved.table, &disk.table, saved.table_map) else { return untouched };
        let differs = q.facts.tables.get(&saved.no).copied().unwrap_or(false);
        let why = match q.of {
            // An undo or a completion treats the table as the write-back did.
            Some(of) => {
                // Disks may have been numbered anew since: their numbers then are those of the undo snapshot, and lead to those
                // of the snapshot gone to through its volumes.
                let then = |d: DiskNo| match q.action {
                    Action::Undo { .. } => d == saved.no,
                    Action::Rollback
                    | Action::Restore { .. }
                    | Action::Repair
                    | Action::Put
                    | Action::Resume { .. } => {
                        of.volumes.iter().any(|v| v.path.disk() == d && v.saved_as.disk() == saved.no)
                    }
                };
                let repaired = |t: &TableRollback| matches!(t, TableRollback::Repair { disk: d, .. } if then(*d));
                if !of.tables.iter().any(repaired) {
                    return untouched;
                }
                "the write-back rewrote it"
            }
            None if now.from_backup => "its first copy is damaged",
            None if differs && self.boots(volumes, disk.no) => {
                "a copy of it, or the boot code before the partitions, differs"
            }
            None => return untouched,
        };
        let on_a_volume = disk.volumes.iter().any(|v| now.raw.iter().any(|raw| raw.intersect(v.extent).is_some()));
        if on_a_volume
            || !same_partitions(then, now)
            || then.raw != now.raw
            || saved.hardware.size != disk.hardware.size
        {
            self.warn(format!("the partition table of {} differs from the snapshot's and is left as it is", disk.no));
            return untouched;
        }
        let (hardware, disk_head) = (plain(&disk.hardware), disk.head);
        TableRollback::Repair { disk: disk.no, why: why.into(), map, hardware, disk_head }
    }
}
