//! An XFS: saved by what is in use, told from what was mounted since, and taken back.

use crate::sim::{Fault, Sim, must};
use disk::fs::FileSystem;
use disk::fs::xfs::Xfs;
use model::command::Command;
use model::coverage::{CaptureMethod, Comparison};
use model::event::Outcome;
use model::id::{SnapRef, SnapshotId};
use model::units::{ByteLen, ExtentSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use store::backend::Memory;

/// A state that a kernel left of one file system (made beside the tests of `disk`).
fn state(name: &str) -> Vec<u8> {
    let path = format!("../disk/tests/xfs_reads/fixtures/session-{name}.img.zst");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    zstd::stream::decode_all(File::open(path).unwrap()).unwrap()
}

fn used(bytes: &[u8]) -> ExtentSet {
    let coverage = Xfs::load(Arc::new(bytes.to_vec())).unwrap().coverage();
    assert_eq!(coverage.method, CaptureMethod::UsedBlocks, "{}", coverage.why);
    coverage.used
}

fn equal(a: &[u8], b: &[u8], within: &ExtentSet) -> bool {
    within.iter().all(|e| {
        let range = usize::try_from(e.start().0).unwrap()..usize::try_from(e.end().0).unwrap();
        a[range.clone()] == b[range]
    })
}

fn save(bytes: &[u8], objects: &Arc<Memory>) -> (SnapshotId, Comparison, ByteLen) {
    let sim = Sim::failing(bytes.to_vec(), Fault::Lease);
    let Outcome::Saved { id, volumes, .. } = must(&sim, objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    assert!(sim.ops().is_empty());
    let [volume] = volumes.as_slice() else { panic!("{volumes:?}") };
    (id, volume.compared.by, volume.read)
}

#[test]
fn an_xfs_goes_back_and_is_read_where_somebody_was() {
    let objects = Arc::new(Memory::new());
    let then = state("unmounted");
    let (id, by, read) = save(&then, &objects);
    assert_eq!((by, read), (Comparison::Content, used(&then).total()));
    let (_, by, read) = save(&then, &objects);
    assert!(by == Comparison::Untouched && read < ByteLen(1 << 20), "{by:?}, {read}");
    // Mounted, and a file overwritten: the log alone does not tell.
    let (_, by, _) = save(&state("overwritten"), &objects);
    assert_eq!(by, Comparison::Content);

    let now = state("again");
    let sim = Sim::new(now.clone());
    let to = SnapRef::Prefix(id.to_string());
    must(&sim, &objects, Command::PlanRollback { to, only: Vec::new(), full: false });
    assert!(equal(&sim.bytes(), &then, &used(&then)));
    assert!(!equal(&then, &now, &used(&then)));
    must(&sim, &objects, Command::PlanUndo { full: false });
    assert!(equal(&sim.bytes(), &now, &used(&now)));
}
