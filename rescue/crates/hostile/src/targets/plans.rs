//! What a store says of a saved machine, as far as the engine plans with it: by somebody who wrote that store, and knows how to name
//! its objects.

use crate::Target;
use crate::changes::Dice;
use crate::files::{inspect, source};
use engine::plan::disks::pair;
use engine::plan::rollback::{Facts, Question, Set};
use engine::plan::{encode, restore, rollback, snapshot};
use model::assessment::Report;
use model::coverage::CaptureMethod;
use model::id::{Digest, DiskNo, NodeId, SnapshotId};
use model::plan::Action;
use model::ports::{DiskSource, UnixMicros};
use model::snapshot::{Cost, Manifest, MapRoot, Purpose, SavedDisk, SavedVolume, Statement};
use model::units::{ByteOffset, ExtentSet};
use std::sync::LazyLock;
use store::{Decode, LocalDecoder};

pub(super) const TARGET: Target = Target {
    name: "plans",
    meets: "statements of snapshots: which disk is which, plans of a rollback, a restore, a snapshot after it",
    run,
    seeds,
};

/// The machine as it is now.
static NOW: LazyLock<(Vec<DiskSource>, Report)> = LazyLock::new(|| {
    let disks = vec![source(0, super::machine::image().bytes())];
    let report = inspect(disks.clone());
    (disks, report)
});

/// Most maps of a statement that is planned with: a manifest of this many volumes is no machine's.
const MOST_MAPS: usize = 4096;

/// An input is a statement.
fn run(input: &[u8]) {
    let Ok(statement) = LocalDecoder.statement(input) else { return };
    let count = statement.maps().count();
    if count > MOST_MAPS {
        return;
    }
    let Some(manifest) = statement.placed(&vec![NodeId(Digest::of(b"node")); count]) else { return };
    let report = &NOW.1;
    let (to, inspection) = (SnapshotId(Digest::of(input)), &report.inspection);
    let machine = engine::gather::machine(inspection);
    manifest.summary(to);
    let _ = (manifest.is_good(), manifest.read_everything());
    let pairs = pair(&manifest, inspection, &[]);
    let facts = Facts { tables: [(DiskNo(0), true)].into_iter().collect(), ..Facts::default() };
    for set in [Set::Boot, Set::All] {
        let plan = rollback::plan(&Question {
            action: Action::Rollback,
            to,
            manifest: &manifest,
            inspection,
            machine: &machine,
            pairs: &pairs,
            facts: &facts,
            set,
            of: None,
            pending: &[],
        });
        for volume in &plan.volumes {
            let there =
                inspection.volume(&volume.path).is_some_and(|v| v.extent == volume.extent || v.mapping.is_some());
            assert!(there || !plan.is_usable(), "a plan that writes {} where it does not lie", volume.path);
        }
        encode(&plan);
    }
    restored(&manifest, to);
    snapshot::keep(report, Some((to, &manifest)), None, &snapshot::Scope::default());
}

/// A plan that puts its first disk onto the one there is.
fn restored(manifest: &Manifest, to: SnapshotId) {
    let inspection = &NOW.1.inspection;
    let (Some(saved), Some(disk)) = (manifest.disks.first(), inspection.disks.first()) else { return };
    let target = restore::Target {
        saved,
        disk,
        not_zero: Ok(Some(ByteOffset(0))),
        holders: Vec::new(),
        fitted: None,
        growth: Ok(None),
    };
    // As if whatever it says is encrypted had been opened.
    let mappings = manifest.volumes.iter().filter_map(|v| v.mapping.as_ref());
    let sealed = mappings.flat_map(|m| &m.beneath).filter_map(|b| b.sealed.as_deref());
    let open = sealed.map(|s| s.header).collect();
    let plan = restore::plan(&restore::Question {
        to,
        manifest,
        inspection,
        targets: &[target],
        overwrite: &[disk.identity()],
        new_ids: false,
        grow: &[],
        open: &open,
        firmware: Err("not seen".into()),
        over: None,
        pending: &[],
    });
    for part in plan.disks.iter().flat_map(|d| &d.parts) {
        let inside = part.place().is_some_and(|p| p.end().0 <= disk.hardware.size.0);
        assert!(inside || !plan.is_usable(), "a plan that writes past the end of a disk");
    }
    for encrypted in plan.disks.iter().flat_map(|d| &d.encrypted) {
        let sound =
            encrypted.sealed.is_sound(disk.hardware.size) && encrypted.places.iter().all(|p| encrypted.sealed.holds(p));
        assert!(sound || !plan.is_usable(), "a plan that encrypts what lies outside of the encrypted volume");
    }
    encode(&plan);
}

/// A snapshot of the machine as it is, and that with digits of it changed.
fn seeds() -> Vec<Vec<u8>> {
    let whole = serde_json::to_vec(&statement()).unwrap_or_default();
    let digits: Vec<usize> = (0..whole.len()).filter(|at| whole[*at].is_ascii_digit()).collect();
    let mut dice = Dice(11);
    let mut out = vec![whole.clone()];
    for _ in 0..40 {
        let mut changed = whole.clone();
        for _ in 0..3 {
            let at = digits[usize::try_from(dice.below(digits.len() as u64)).unwrap_or(0)];
            changed[at] = b'0' + dice.byte() % 10;
        }
        out.push(changed);
    }
    out
}

fn statement() -> Statement {
    let report = &NOW.1;
    let map = MapRoot { node: NodeId(Digest::of(b"n")), height: 2, content: Digest::of(b"c") };
    let disks = report.inspection.disks.iter().map(|d| SavedDisk {
        no: d.no,
        hardware: d.hardware.clone(),
        table: d.table.clone(),
        table_map: Some(map),
    });
    let volumes = report.inspection.volumes().map(|(_, v)| SavedVolume {
        path: v.path.clone(),
        extent: v.extent,
        mapping: v.mapping.clone(),
        content: v.content.clone(),
        method: CaptureMethod::UsedBlocks,
        why: "a test".into(),
        captured: v.extent.len(),
        unreadable: ExtentSet::new(),
        compared: None,
        state: None,
        map,
    });
    let manifest = Manifest {
        format: model::snapshot::FORMAT,
        counter: 7,
        origin: "0123456789abcdef0123456789abcdef".into(),
        parent: None,
        purpose: Purpose::Keep,
        machine: engine::gather::machine(&report.inspection),
        taken: UnixMicros(1_790_000_000_000_000),
        // Its evidence is long, and a target of its own.
        systems: report
            .systems
            .iter()
            .cloned()
            .map(|mut s| {
                s.evidence.truncate(2);
                s
            })
            .collect(),
        disks: disks.collect(),
        volumes: volumes.collect(),
        firmware: None,
        cost: Cost::default(),
    };
    manifest.statement()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_statement_is_planned_with() {
        let bytes = serde_json::to_vec(&statement()).unwrap();
        assert_eq!(LocalDecoder.statement(&bytes).unwrap(), statement());
    }
}
