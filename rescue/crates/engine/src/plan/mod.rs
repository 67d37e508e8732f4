//! Plans: pure functions from what is known to values that say exactly what a run will read or write.

pub mod disks;
pub mod elsewhere;
pub mod firmware;
pub mod policy;
pub mod restore;
pub mod rollback;
pub mod snapshot;
pub(crate) mod stacked;

use model::id::PlanId;
use model::inspection::{Disk, GPT_STORE, Inspection};
use model::plan::RollbackPlan;

/// The one encoding of a plan and its name. The same plan gives the same bytes: fields come in the order of their
/// declaration, and there is no map in it.
pub fn encode(plan: &RollbackPlan) -> (PlanId, Vec<u8>) {
    let bytes =
        serde_json::to_vec(plan).expect("a plan has no map with keys that are not text, and no number that is none");
    (RollbackPlan::id_of(&bytes), bytes)
}

/// True where a disk is a rescue stick: it has a store partition and nothing of a system.
pub fn is_store_disk(disk: &Disk, inspection: &Inspection) -> bool {
    let has_store = disk.table.as_ref().is_some_and(|t| t.partitions.iter().any(|p| p.type_id == GPT_STORE));
    let ours = |s: &model::inspection::System| {
        s.root.disk() == disk.no || s.boot.iter().chain(&s.other).any(|(_, v)| v.disk() == disk.no)
    };
    has_store && !inspection.systems.iter().any(ours)
}
