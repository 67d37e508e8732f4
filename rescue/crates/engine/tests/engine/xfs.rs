//! An XFS: saved by what is in use, told from what was mounted since, and taken back.

use crate::sim::{Fault, NoKeys, Sim, Ticking, must};
use disk::fs::FileSystem;
use disk::fs::xfs::Xfs;
use engine::parser::Local;
use engine::plan::snapshot::{self, Scope};
use engine::run::capture::{MoreTable, capture};
use engine::run::{Context, Unwatched};
use model::command::Command;
use model::coverage::{CaptureMethod, Comparison};
use model::event::Outcome;
use model::id::{SnapRef, SnapshotId};
use model::plan::Against;
use model::ports::{Devices, ObjectStore};
use model::snapshot::MapContent;
use model::units::{ByteLen, ExtentSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use store::backend::Memory;
use store::{LocalDecoder, Store};

/// A state that a kernel left of one file system (made beside the tests of `disk`).
fn state(name: &str) -> Vec<u8> {
    let path = format!("../disk/tests/xfs_reads/fixtures/{name}.img.zst");
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
    let then = state("session-unmounted");
    let (id, by, read) = save(&then, &objects);
    assert_eq!((by, read), (Comparison::Content, used(&then).total()));
    let (_, by, read) = save(&then, &objects);
    assert!(by == Comparison::Untouched && read < ByteLen(1 << 20), "{by:?}, {read}");
    // Mounted, and a file overwritten: the log alone does not tell.
    let (_, by, _) = save(&state("session-overwritten"), &objects);
    assert_eq!(by, Comparison::Content);

    let now = state("session-again");
    let sim = Sim::new(now.clone());
    let to = SnapRef::Prefix(id.to_string());
    must(&sim, &objects, Command::PlanRollback { to, only: Vec::new(), full: false });
    assert!(equal(&sim.bytes(), &then, &used(&then)));
    assert!(!equal(&then, &now, &used(&then)));
    must(&sim, &objects, Command::PlanUndo { full: false });
    assert!(equal(&sim.bytes(), &now, &used(&now)));
}

/// No system vouches for how it was used: nothing but that nobody mounted it is believed. A session that was cut off before it logged
/// anything may lie between.
#[test]
fn without_a_system_that_ran_once_all_of_an_xfs_is_read() {
    for (then, now) in [("session-unmounted", "session-again"), ("one-then", "one-now")] {
        let objects = Arc::new(Memory::new());
        save(&state(then), &objects);
        let now = state(now);
        let (_, by, read) = save(&now, &objects);
        assert_eq!((by, read), (Comparison::Content, used(&now).total()));
    }
}

/// Where the system vouches for it, what is saved by the inodes is what is saved by reading everything.
#[test]
fn what_one_session_changed_is_the_whole() {
    let (then, now) = (state("one-then"), state("one-now"));
    let objects = Arc::new(Memory::new());
    let (first, _, _) = save(&then, &objects);
    let objects: Arc<dyn ObjectStore> = objects;
    let store = Store::open(objects, Arc::new(LocalDecoder)).unwrap();
    let sim = Sim::new(now.clone());
    let local = Local::new(sim.disks());
    let clock = Ticking::default();
    let (store, observer) = (&store, &Unwatched);
    let cx = Context { devices: &*sim, parser: &local, store, clock: &clock, observer, keys: &NoKeys };
    let report = engine::gather::report(&sim.disks(), &local, &|_| None);
    let mut maps = Vec::new();
    for against in [Ok(Against { doubt: None }), Err("everything was asked for".into())] {
        let mut plan = snapshot::keep(&report, None, None, &Scope::default());
        plan.parent = Some(first);
        plan.volumes[0].against = against;
        let (_, manifest) = capture(&cx, &plan, &report, &MoreTable::new(), (1, 1)).unwrap();
        maps.push((MapContent::of(&manifest.volumes[0].map), manifest.cost.read, manifest.volumes[0].captured));
    }
    let [inodes, all] = maps.as_slice() else { panic!("two") };
    assert_eq!((&inodes.0, &inodes.2), (&all.0, &all.2));
    assert!(inodes.1 < all.1, "{} of {}", inodes.1, all.1);
    println!("{} of {}", inodes.1, all.1);
}
