//! Proving that a leaf's chunks are the bytes its content digest names.
//!
//! A signature covers content digests and not the places of chunks, so that it holds in every store. Inner nodes compute
//! theirs from what lies below; what a leaf says of itself is proven by nothing but its bytes.

use crate::content::LeafHasher;
use crate::error::StoreError;
use crate::layout::{CELL, big};
use crate::node::{Leaf, LeafContent};
use crate::store::Store;
use model::id::NodeId;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Most leaves remembered: those of 256 GiB in use.
const MOST: usize = 1 << 16;

/// Leaves that were proven. Their names prove their chunks' names, and these the bytes: once is enough.
#[derive(Default)]
pub(crate) struct Believed(Mutex<HashSet<NodeId>>);

impl Believed {
    fn has(&self, id: &NodeId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    fn add(&self, id: NodeId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(id);
    }
}

impl Store {
    /// Reads all bytes of a valid leaf, where that was not done yet, and compares them with its content digest.
    ///
    /// # Errors
    /// [`StoreError::Untrusted`] where they are others: no slip of a disk does that. [`StoreError::Damaged`] where a chunk
    /// cannot be read; [`StoreError::Io`].
    pub(crate) fn prove_leaf(&self, id: &NodeId, leaf: &Leaf) -> Result<(), StoreError> {
        if self.inner.believed.has(id) {
            return Ok(());
        }
        let zeros = [0; CELL as usize];
        let mut hasher = LeafHasher::default();
        for slice in &leaf.slices {
            match slice.content {
                LeafContent::Zero => {
                    let mut at = slice.start;
                    while at < slice.end() {
                        let part = (slice.end() - at).min(CELL);
                        hasher.add(at, &zeros[..big(part)])?;
                        at += part;
                    }
                }
                LeafContent::Chunk { number, at } => {
                    let bad =
                        || StoreError::damaged(format!("map node {} uses a chunk that is shorter", id.0.short(12)));
                    let name = leaf.chunks.get(usize::from(number)).ok_or_else(bad)?;
                    let chunk = self.data(name)?;
                    let end = big(at).checked_add(big(slice.len)).ok_or_else(bad)?;
                    hasher.add(slice.start, chunk.get(big(at)..end).ok_or_else(bad)?)?;
                }
            }
        }
        if hasher.finish() != leaf.content {
            let what = format!("map node {} leads to other bytes than were signed", id.0.short(12));
            return Err(StoreError::untrusted(what));
        }
        self.inner.believed.add(*id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Node;
    use crate::writer::Writer;
    use crate::{SigningKey, Slice, SystemEntropy, backend};
    use model::id::{ChunkId, Digest, DiskNo, SnapshotId, VolumePath};
    use model::inspection::Content;
    use model::ports::UnixMicros;
    use model::snapshot::{Machine, Manifest, MapRoot, Purpose, SavedVolume};
    use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
    use std::sync::Arc;

    const LEN: ByteLen = ByteLen(1 << 20);

    fn manifest(map: MapRoot) -> Manifest {
        let volume = SavedVolume {
            path: VolumePath::whole(DiskNo(0)),
            extent: Extent::whole(LEN),
            mapping: None,
            content: Content::Unknown,
            method: model::coverage::CaptureMethod::UsedBlocks,
            why: "a test".into(),
            captured: ByteLen(0),
            unreadable: ExtentSet::new(),
            compared: None,
            state: None,
            map,
        };
        Manifest {
            format: 0,
            counter: 0,
            origin: String::new(),
            parent: None,
            purpose: Purpose::Keep,
            machine: Machine { machine_id: Some("a".to_owned()), disks: Vec::new(), hostname: None },
            taken: UnixMicros(5),
            systems: Vec::new(),
            disks: Vec::new(),
            volumes: vec![volume],
            firmware: None,
            cost: Default::default(),
        }
    }

    fn store() -> Store {
        Store::init(Arc::new(backend::Memory::new())).unwrap()
    }

    /// A signed snapshot of a volume with bytes, zeros and a hole.
    fn signed(key: &SigningKey) -> (Store, SnapshotId, Manifest) {
        let store = store();
        store.set_signer(key.clone());
        let mut writer = store.writer().unwrap();
        writer.begin(LEN);
        writer.write(ByteOffset(4096), b"what was signed. ".repeat(9000)).unwrap();
        writer.write(ByteOffset(400_000), vec![0; 300_000]).unwrap();
        writer.write(ByteOffset(900_000), vec![7; 5000]).unwrap();
        let map = writer.end().unwrap();
        let (id, manifest) = writer.finish(manifest(map)).unwrap();
        (store, id, manifest)
    }

    fn leaf(store: &Store, map: MapRoot) -> Leaf {
        match &*store.node(&map.node, 0).unwrap() {
            Node::Leaf(leaf) => leaf.clone(),
            Node::Inner(_) => unreachable!("a volume of one leaf"),
        }
    }

    /// The same snapshot, its statement and its signatures, over other bytes: in a store that whoever can write there made.
    fn forged(from: &Store, id: SnapshotId, manifest: &Manifest) -> (Store, Manifest) {
        let store = store();
        let mut leaf = leaf(from, manifest.volumes[0].map);
        let mut writer = Writer::inside(store.clone()).unwrap();
        for (number, chunk) in leaf.chunks.iter_mut().enumerate() {
            let mut plain = from.data(chunk).unwrap().to_vec();
            if number == 0 {
                plain[0] = b'W';
                *chunk = ChunkId(Digest::of(&plain));
            }
            writer.carry(chunk.0, plain, false).unwrap();
        }
        let plain = Node::Leaf(leaf).encode();
        let node = NodeId(Digest::of(&plain));
        writer.carry(node.0, plain, true).unwrap();
        assert!(writer.prove(&mut |_, _| true).unwrap());
        let mut other = manifest.clone();
        other.volumes[0].map.node = node;
        store.record_copy(from, id, &other).unwrap();
        (store, other)
    }

    fn read(store: &Store, map: MapRoot) -> Result<Vec<(Slice, Vec<u8>)>, StoreError> {
        store.read_ahead(store.map(map).slices(Extent::whole(LEN))).collect()
    }

    #[test]
    fn a_signature_covers_every_byte() {
        let key = SigningKey::generate(&SystemEntropy).unwrap();
        let (honest, id, manifest) = signed(&key);
        let map = manifest.volumes[0].map;
        let wanted = read(&honest, map).unwrap();
        honest.require_signers([key.id()].into());
        assert_eq!(read(&honest, map).unwrap(), wanted);
        assert!(honest.check(true, &mut |_, _| true).unwrap().is_clean());

        let (forged, other) = forged(&honest, id, &manifest);
        let map = other.volumes[0].map;
        assert_eq!(forged.manifest(id).unwrap(), other, "a signature that holds");
        assert_ne!(read(&forged, map).unwrap(), wanted, "whoever requires nobody is told what is there");
        forged.require_signers([key.id()].into());
        assert!(forged.manifest(id).is_ok());
        assert!(matches!(read(&forged, map), Err(StoreError::Untrusted { .. })));
        assert!(forged.diff(leafless(&forged), map).any(|s| matches!(s, Err(StoreError::Untrusted { .. }))));
        let report = forged.check(true, &mut |_, _| true).unwrap();
        assert_eq!((report.affected.as_slice(), report.findings.len()), (&[id][..], 1), "{:?}", report.findings);
    }

    /// The map of an empty volume.
    fn leafless(store: &Store) -> MapRoot {
        let mut writer = Writer::inside(store.clone()).unwrap();
        writer.begin(LEN);
        let map = writer.end().unwrap();
        writer.prove(&mut |_, _| true).unwrap();
        map
    }
}
