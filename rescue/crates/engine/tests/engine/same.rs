//! What is skipped is proven to be saved already.

use crate::image::{machine, range};
use crate::sim::{Fault, Sim, must, store, used};
use model::command::{Command, PolicyText};
use model::event::Outcome;
use model::id::SnapshotId;
use model::policy::{Acted, Manner};
use std::sync::Arc;
use store::backend::Memory;

fn auto(bytes: Vec<u8>, objects: &Arc<Memory>, policy: &str, manner: Manner) -> Acted {
    let sim = Sim::failing(bytes, Fault::Lease);
    let policy = Some(PolicyText(Ok(policy.into())));
    let Outcome::Acted(acted) = must(&sim, objects, Command::Auto { policy, keys: None, manner }) else {
        panic!("nothing came of it")
    };
    *acted
}

fn saved(objects: &Arc<Memory>) -> SnapshotId {
    auto(machine().then.clone(), objects, "", Manner::Asked).saved.unwrap().id
}

/// Where the last byte lies that a snapshot holds of a volume.
fn last(objects: &Arc<Memory>, id: SnapshotId, number: u32) -> usize {
    let mut mask = vec![false; machine().then.len()];
    used(&store(objects), id, &[number], &mut mask);
    mask.iter().rposition(|used| *used).unwrap()
}

#[test]
fn one_other_byte_is_a_change() {
    let objects = Arc::new(Memory::new());
    let id = saved(&objects);
    let dry = |bytes| auto(bytes, &objects, "", Manner::DryRun).decision;
    let same = dry(machine().then.clone());
    assert!(same.save.is_none() && same.why.as_str().contains("nothing changed"), "{}", same.why);
    let root = range(3).start;
    for (what, at) in [
        ("the boot code", 100),
        ("the gap before the first partition", 300 * 512),
        ("the ESP", last(&objects, id, 1)),
        ("/boot, which has no journal", last(&objects, id, 2)),
        ("the boot block of root", root),
        ("root's mount count", root + 1024 + 0x34),
        ("root's identity", root + 1024 + 0x68),
        ("the header of the swap", range(5).start + 1024 + 3),
    ] {
        let mut bytes = machine().then.clone();
        bytes[at] ^= 1;
        let decision = dry(bytes);
        assert!(decision.save.is_some(), "{what} at {at}: {}", decision.why);
    }
    assert!(dry(machine().now.clone()).save.is_some(), "another session");
    // Below a file system that proves that nobody wrote to it: seen when everything is read.
    let mut below = machine().then.clone();
    below[last(&objects, id, 3)] ^= 1;
    assert!(dry(below.clone()).save.is_none(), "a file system cannot tell");
    let seen = auto(below, &objects, "[full]\nevery = 1\n", Manner::Asked);
    assert!(seen.saved.unwrap().cost.new.0 > 0);
}

/// A volume that a policy leaves out is in no snapshot of it, and the next one is not taken for its sake.
#[test]
fn what_was_left_out_is_no_difference() {
    let objects = Arc::new(Memory::new());
    let policy = "[save]\nleave-out = /home\n";
    let first = auto(machine().then.clone(), &objects, policy, Manner::Asked);
    let id = first.saved.unwrap().id;
    let volumes = store(&objects).manifest(id).unwrap().volumes;
    assert!(volumes.iter().all(|v| v.path.number() != Some(4)), "/home is not in it");
    assert!(volumes.iter().any(|v| v.path.number() == Some(3)));
    assert!(auto(machine().then.clone(), &objects, policy, Manner::Asked).saved.is_none());
    let more = auto(machine().then.clone(), &objects, "", Manner::DryRun);
    assert!(more.decision.save.is_some(), "without that policy /home is still to be saved");
}
