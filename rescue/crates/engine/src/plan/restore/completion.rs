//! The rest of a restore that was cut off.

use super::{is_open, on};
use crate::plan::disks::same_piece;
use crate::plan::firmware;
use model::id::{Digest, IntentId, VolumePath};
use model::inspection::{Content, Disk, Inspection};
use model::plan::{Action, Check, RollbackPlan, VolumeRollback};
use model::restore::DiskRestore;
use model::text::DisplayText;
use std::collections::BTreeSet;

/// How a disk stands that a restore was to write, and that no fence of it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It begins as it is to begin in the end: it is whole.
    Whole,
    /// Nothing was written yet, and it is empty.
    Empty,
    /// It holds something else.
    Other,
}

/// Plans the rest of a restore that was cut off, from its own record: the same bytes onto the same disks. `standing` tells of a disk
/// without its fence how it stands; one that holds anything is not written, whatever the record says of it. `open`: what the headers of encrypted
/// volumes are known by whose keys are here.
pub fn again(
    (of, begun): (IntentId, &RollbackPlan),
    inspection: &Inspection,
    pending: &[IntentId],
    standing: &dyn Fn(&DiskRestore, &Disk) -> Standing,
    open: &BTreeSet<Digest>,
) -> RollbackPlan {
    let mut plan = RollbackPlan {
        action: Action::Resume { of },
        checks: Vec::new(),
        warnings: Vec::new(),
        kept: Vec::new(),
        volumes: Vec::new(),
        disks: Vec::new(),
        ..begun.clone()
    };
    for wanted in &begun.disks {
        let what = DisplayText::new(&format!("the disk that is to hold {} of the snapshot is here", wanted.saved_as));
        let found = present(wanted, inspection, pending).and_then(|disk| {
            let standing = if is_fenced(disk, pending) { Standing::Empty } else { standing(wanted, disk) };
            match standing {
                Standing::Other => Err(format!("{} holds something else by now; restore onto it apart", disk.no)),
                standing => Ok((disk, standing)),
            }
        });
        let (ok, says) = match found {
            Err(says) => (false, says),
            Ok((disk, Standing::Whole)) => {
                plan.kept.push((VolumePath::whole(disk.no), "it is whole already".into()));
                continue;
            }
            Ok((disk, _)) => {
                let mut again = DiskRestore { disk: disk.no, disk_head: disk.head, ..wanted.clone() };
                for e in &mut again.encrypted {
                    e.open = open.contains(&e.sealed.header);
                    plan.checks.push(is_open(e));
                }
                plan.disks.push(again);
                let moved = |v: &VolumeRollback| VolumeRollback {
                    path: on(disk.no, &v.path),
                    disk_head: disk.head,
                    ..v.clone()
                };
                plan.volumes.extend(begun.volumes.iter().filter(|v| v.path.disk() == wanted.disk).map(moved));
                (true, format!("{}: {}, {}", disk.no, disk.hardware.model, disk.hardware.size))
            }
        };
        plan.checks.push(Check { what, ok, says: DisplayText::new(&says) });
    }
    let left = match &inspection.firmware {
        Some(now) => {
            let (writes, left) = firmware::again(&begun.firmware, now, false);
            plan.firmware = writes;
            left
        }
        None if begun.firmware.is_empty() => Vec::new(),
        None => {
            plan.firmware = Vec::new();
            vec!["the firmware's boot entries are not seen here, and are left as they are".to_owned()]
        }
    };
    plan.warnings.extend(left.iter().map(|says| DisplayText::new(says)));
    plan
}

fn is_fenced(disk: &Disk, pending: &[IntentId]) -> bool {
    disk.volumes.iter().any(|v| matches!(&v.content, Content::Fenced(f) if pending.contains(&f.intent)))
}

/// The disk that a restore was begun on: the one piece of hardware, or of several that cannot be told apart the one with its fence.
fn present<'a>(wanted: &DiskRestore, inspection: &'a Inspection, pending: &[IntentId]) -> Result<&'a Disk, String> {
    let same: Vec<&Disk> = inspection.disks.iter().filter(|d| same_piece(&d.hardware, &wanted.hardware)).collect();
    let fenced: Vec<&Disk> = same.iter().copied().filter(|d| is_fenced(d, pending)).collect();
    match (same.as_slice(), fenced.as_slice()) {
        ([one], _) | (_, [one]) => Ok(one),
        ([], _) => Err(format!("no disk here is {}, {}", wanted.hardware.model, wanted.hardware.size)),
        _ => Err("several disks here cannot be told apart; take all but one out".to_owned()),
    }
}
