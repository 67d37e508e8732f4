//! Objects and records that several tests of the store look into, copy, and write.

use model::id::{Digest, SnapshotId};
use model::plan::{Action, RollbackPlan};
use model::ports::{Entropy, ObjectName, ObjectStore, UnixMicros};
use model::snapshot::Intent;
use model::units::ByteOffset;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::backend::Memory;

/// All bytes of an object.
pub(crate) fn get(objects: &Memory, name: &ObjectName) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(objects.len(name).unwrap().0).unwrap()];
    objects.get(name, ByteOffset(0), &mut bytes).unwrap();
    bytes
}

/// Puts other bytes under a name.
pub(crate) fn replace(objects: &Memory, name: &ObjectName, bytes: &[u8]) {
    objects.delete(name).unwrap();
    objects.put(name, bytes).unwrap();
}

/// The same objects in a place of their own.
pub(crate) fn copy(objects: &Memory) -> Arc<Memory> {
    let other = Memory::new();
    objects.list("").unwrap().iter().for_each(|n| other.put(n, &get(objects, n)).unwrap());
    Arc::new(other)
}

/// A write-back that writes nothing.
pub(crate) fn intent(undo: SnapshotId, to: SnapshotId) -> Intent {
    let plan = RollbackPlan {
        action: Action::Rollback,
        to,
        to_says: "before the update".into(),
        volumes: Vec::new(),
        tables: Vec::new(),
        disks: Vec::new(),
        kept: Vec::new(),
        checks: Vec::new(),
        warnings: Vec::new(),
        foreign: None,
        firmware: Vec::new(),
        reads: None,
        composed: None,
        esps: Vec::new(),
    };
    Intent { format: 1, plan, undo: Some(undo), after: None, begun: UnixMicros(7) }
}

/// Bytes that follow from a count: for stores that are no secret.
#[derive(Default)]
pub(crate) struct Counted(AtomicU64);

impl Entropy for Counted {
    fn fill(&self, out: &mut [u8]) -> io::Result<()> {
        for part in out.chunks_mut(32) {
            let drawn = self.0.fetch_add(1, Ordering::Relaxed);
            part.copy_from_slice(&Digest::of(&drawn.to_le_bytes()).0[..part.len()]);
        }
        Ok(())
    }
}
