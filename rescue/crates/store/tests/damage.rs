//! Damage of any byte is found; nothing a store says makes this program take memory or believe a lie.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::objects::{get, intent, replace};
use common::*;
use model::id::{ChunkId, Digest, SnapshotId};
use model::inventory::InventoryEntry;
use model::note::Note;
use model::ports::{ObjectError, ObjectName, ObjectStore, UnixMicros};
use model::snapshot::{Intent, Receipt, Statement};
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::backend::Memory;
use store::{
    CheckReport, Decode, DecodeError, InitOptions, LocalDecoder, Node, OpenOptions, Secret, Store, StoreError, Unlock,
};

/// Two snapshots that share a part, a finished write-back and one that is not.
fn small() -> (Arc<Memory>, SnapshotId, SnapshotId) {
    small_with(InitOptions::default())
}

fn small_with(options: InitOptions) -> (Arc<Memory>, SnapshotId, SnapshotId) {
    let objects = Arc::new(Memory::new());
    let store = Store::init_with(objects.clone(), options).unwrap();
    let mut volume = Volume::of(&[(0, fill(1, 1, 3000)), (1 << 25, fill(2, 1, 700))]);
    let (one, _) = snapshot(&store, &volume).unwrap();
    volume.put(1 << 30, &fill(2, 8, 600));
    let (two, _) = snapshot(&store, &volume).unwrap();
    let done = store.put_intent(&intent(two, one)).unwrap();
    let receipt = Receipt {
        format: 1,
        intent: done,
        holds: one,
        written: ByteLen(5),
        verified: ByteLen(5),
        ended: UnixMicros(9),
    };
    store.put_receipt(&receipt).unwrap();
    store.put_intent(&intent(one, two)).unwrap();
    (objects, one, two)
}

fn check(objects: &Arc<Memory>) -> Result<CheckReport, StoreError> {
    open(objects)?.check(true, &mut |_, _| true)
}

fn key() -> Unlock {
    Unlock::KeyFile(Secret::new(vec![7; 32]))
}

fn check_sealed(objects: &Arc<Memory>) -> Result<CheckReport, StoreError> {
    let options = OpenOptions { unlock: Some(key()), ..OpenOptions::default() };
    let store = Store::open_with(objects.clone(), Arc::new(LocalDecoder), options)?;
    store.with_threads(0).check(true, &mut |_, _| true)
}

#[test]
fn a_good_store_is_good() {
    let (objects, one, two) = small();
    let report = check(&objects).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.snapshots, report.leftover_packs), (2, 0));
    let intents = open(&objects).unwrap().intents().unwrap();
    let what: Vec<_> = intents.iter().map(|(_, i, r)| (i.undo, r.is_some())).collect();
    assert_eq!(what, [(Some(one), false), (Some(two), true)], "in the order of their undo snapshots");
}

#[test]
fn every_flipped_bit_is_found() {
    every_flipped_bit(&small().0, &check);
}

#[test]
fn every_flipped_bit_of_a_sealed_store_is_found() {
    let options = InitOptions { key: Some((key(), "one".into())), ..InitOptions::default() };
    let (objects, ..) = small_with(options);
    // A second slot, so that one that is damaged does not keep everybody out.
    let options = OpenOptions { unlock: Some(key()), ..OpenOptions::default() };
    let store = Store::open_with(objects.clone(), Arc::new(LocalDecoder), options).unwrap();
    store.add_key(&key(), &key(), "two").unwrap();
    every_flipped_bit(&objects, &check_sealed);
}

fn every_flipped_bit(objects: &Arc<Memory>, check: &dyn Fn(&Arc<Memory>) -> Result<CheckReport, StoreError>) {
    let mut tried = 0;
    for name in objects.list("").unwrap() {
        let good = get(objects, &name);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            replace(objects, &name, &bad);
            let clean = check(objects).is_ok_and(|r| r.is_clean());
            assert!(!clean, "{} byte {at}", name.as_str());
            tried += 1;
        }
        // Torn, and with something behind it.
        for bad in [&good[..good.len() / 2], &good[..good.len() - 1], &[good.as_slice(), b"\0"].concat(), &[]] {
            replace(objects, &name, bad);
            assert!(!check(objects).is_ok_and(|r| r.is_clean()), "{} of {}", bad.len(), name.as_str());
        }
        replace(objects, &name, &good);
    }
    assert!(tried > 5000, "{tried}");
    assert!(check(objects).unwrap().is_clean());
}

#[test]
fn the_snapshots_a_damage_affects_are_named() {
    let objects = Arc::new(Memory::new());
    let store = Store::init(objects.clone()).unwrap();
    let shared = Volume::of(&[(0, fill(2, 1, 5000))]);
    let (one, _) = snapshot(&store, &shared).unwrap();
    let first_packs = objects.list("packs").unwrap();
    let mut more = shared.clone();
    more.put(1 << 30, &fill(2, 2, 5000));
    let (two, _) = snapshot(&store, &more).unwrap();
    let later: Vec<ObjectName> =
        objects.list("packs").unwrap().into_iter().filter(|n| !first_packs.contains(n)).collect();
    assert_eq!((first_packs.len(), later.len()), (2, 2), "data and nodes each time");
    let affected = |change: &dyn Fn(&ObjectName), names: &[ObjectName]| -> Vec<Vec<SnapshotId>> {
        names
            .iter()
            .map(|name| {
                let good = get(&objects, name);
                change(name);
                let report = check(&objects).unwrap();
                let named: Vec<SnapshotId> = report.findings.iter().flat_map(|f| f.snapshots.clone()).collect();
                assert!(report.affected.iter().all(|id| named.contains(id)), "{report:?}");
                replace(&objects, name, &good);
                report.affected
            })
            .collect()
    };
    let flip = |name: &ObjectName| {
        let mut bytes = get(&objects, name);
        bytes[40] ^= 1;
        replace(&objects, name, &bytes);
    };
    let drop = |name: &ObjectName| objects.delete(name).unwrap();
    assert_eq!(affected(&flip, &later), [vec![two], vec![two]]);
    assert_eq!(affected(&drop, &later), [vec![two], vec![two]]);
    // And so is what of them is lost: of a data pack its bytes, of a node pack all that the node covers.
    let lost = |name: &ObjectName| {
        let good = get(&objects, name);
        flip(name);
        let lost = check(&objects).unwrap().lost;
        replace(&objects, name, &good);
        let of: Vec<&str> = lost.iter().map(|l| l.of.as_str()).collect();
        assert_eq!(of, ["the table of d0", "d0"], "both have the same map here");
        assert!(lost.iter().all(|l| l.snapshot == two && l.places == 1));
        (lost[1].ranges.iter().next().unwrap().start().0, lost[1].bytes)
    };
    let mut parts: Vec<(u64, ByteLen)> = later.iter().map(lost).collect();
    parts.sort_unstable();
    assert_eq!(parts, [(1 << 30, ByteLen(5000)), (1 << 30, ByteLen(1 << 30))]);
    // The first snapshot's data is part of the second, and so is its leaf.
    let both = vec![one, two];
    assert_eq!(affected(&drop, &first_packs), [both.clone(), both.clone()]);
    assert_eq!(affected(&flip, &first_packs), [both.clone(), both]);
    // Reading the damaged part fails, the rest can be read.
    flip(&later[0]);
    flip(&later[1]);
    let store = open(&objects).unwrap();
    let map = store.manifest(two).unwrap().volumes[0].map;
    let results: Vec<bool> =
        store.map(map).slices(Extent::whole(LEN)).map(|s| s.and_then(|s| store.read(&s)).is_ok()).collect();
    assert!(results.contains(&false), "{results:?}");
    assert_eq!(load(&store, store.manifest(one).unwrap().volumes[0].map).unwrap(), shared);
}

#[test]
fn the_index_is_disposable() {
    let (objects, ..) = small();
    let store = open(&objects).unwrap();
    let before = store.list().unwrap();
    for name in objects.list("index").unwrap() {
        objects.delete(&name).unwrap();
    }
    let fresh = open(&objects).unwrap();
    assert_eq!(fresh.list().unwrap(), before);
    for (_, manifest) in &before.snapshots {
        let map = manifest.volumes[0].map;
        assert_eq!(load(&fresh, map).unwrap(), load(&store, map).unwrap());
    }
    assert!(check(&objects).unwrap().is_clean());
}

#[test]
fn a_check_can_be_stopped() {
    let (objects, ..) = small();
    let mut told = Vec::new();
    let report = open(&objects)
        .unwrap()
        .check(true, &mut |done, total| {
            told.push((done, total));
            told.len() < 2
        })
        .unwrap();
    assert!(!report.complete && !report.is_clean());
    assert_eq!(told.len(), 2);
    assert!(told[0].0 < told[1].0 && told[1].0 <= told[1].1);
}

/// Asks nothing of a store but its `format`.
struct OnlyFormat(Memory);

impl ObjectStore for OnlyFormat {
    fn put(&self, _: &ObjectName, _: &[u8]) -> Result<(), ObjectError> {
        panic!("written to")
    }
    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        assert_eq!(name.as_str(), "format");
        self.0.get(name, at, buf)
    }
    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        assert_eq!(name.as_str(), "format");
        self.0.len(name)
    }
    fn list(&self, _: &str) -> Result<Vec<ObjectName>, ObjectError> {
        panic!("listed")
    }
    fn delete(&self, _: &ObjectName) -> Result<(), ObjectError> {
        panic!("deleted from")
    }
    fn free(&self) -> Option<ByteLen> {
        None
    }
}

#[test]
fn a_newer_store_is_refused_before_anything_else() {
    let memory = Memory::new();
    let format = br#"{"magic": "holdfast-store", "version": 3, "new": {"things": []}}"#;
    memory.put(&ObjectName::new("format").unwrap(), format).unwrap();
    let error = Store::open(Arc::new(OnlyFormat(memory)), Arc::new(LocalDecoder)).unwrap_err();
    assert_eq!(error, StoreError::Newer { found: 3 });
    assert!(error.to_string().contains("newer version of Holdfast"), "{error}");
    assert_eq!(error.failure().code.number(), 6);
    let nothing = Store::open(Arc::new(Memory::new()), Arc::new(LocalDecoder)).unwrap_err();
    assert!(matches!(nothing, StoreError::NotAStore { .. }), "{nothing}");
    let twice = Arc::new(Memory::new());
    Store::init(twice.clone()).unwrap();
    assert!(matches!(Store::init(twice), Err(StoreError::Exists { .. })));
}

#[test]
fn a_newer_manifest_is_newer_not_damaged() {
    let (objects, one, _) = small();
    let hexed = |id: &SnapshotId| ObjectName::new(&format!("snapshots/{}/{id}", id.0.short(2))).unwrap();
    let mut bytes = get(&objects, &hexed(&one));
    bytes[15] = 9;
    let id = Digest::of(b"of the future");
    objects.put(&hexed(&SnapshotId(id)), &bytes).unwrap();
    let store = open(&objects).unwrap();
    assert_eq!(store.manifest(SnapshotId(id)), Err(StoreError::Newer { found: 9 }));
    let listing = store.list().unwrap();
    assert_eq!((listing.snapshots.len(), listing.damage.len()), (2, 1));
    assert!(listing.damage[0].as_str().contains("newer version"), "{:?}", listing.damage);
}

/// A decoder that was taken over: it answers, with something else; of frames only since it was told to.
struct Liar(LocalDecoder, AtomicBool);

impl Decode for Liar {
    fn statement(&self, bytes: &[u8]) -> Result<Statement, DecodeError> {
        self.0.statement(bytes)
    }
    fn note(&self, bytes: &[u8]) -> Result<Note, DecodeError> {
        self.0.note(bytes)
    }
    fn inventory_entry(&self, bytes: &[u8]) -> Result<InventoryEntry, DecodeError> {
        self.0.inventory_entry(bytes)
    }
    fn intent(&self, bytes: &[u8]) -> Result<Intent, DecodeError> {
        self.0.intent(bytes)
    }
    fn receipt(&self, bytes: &[u8]) -> Result<Receipt, DecodeError> {
        self.0.receipt(bytes).map(|r| Receipt { intent: model::id::IntentId(Digest::of(b"other")), ..r })
    }
    fn frame(&self, stored: &[u8], plain_len: u32) -> Result<Vec<u8>, DecodeError> {
        let mut plain = self.0.frame(stored, plain_len)?;
        plain[0] ^= u8::from(self.1.load(Ordering::Relaxed));
        Ok(plain)
    }
}

#[test]
fn a_decoder_is_not_believed() {
    let (objects, one, _) = small();
    let liar = Arc::new(Liar(LocalDecoder, AtomicBool::new(false)));
    let store = Store::open(objects.clone(), liar.clone()).unwrap();
    let map = store.manifest(one).unwrap().volumes[0].map;
    liar.1.store(true, Ordering::Relaxed);
    let first = store.map(map).slices(Extent::whole(LEN)).next().unwrap();
    assert!(matches!(first, Err(StoreError::Damaged { .. })), "{first:?}");
    assert!(matches!(store.intents(), Err(StoreError::Damaged { .. })));
    assert!(!store.check(true, &mut |_, _| true).unwrap().is_clean());
}

#[test]
fn hostile_nodes_are_refused() {
    let (objects, one, _) = small();
    let store = open(&objects).unwrap();
    let map = store.manifest(one).unwrap().volumes[0].map;
    let hash = |bytes: &[u8]| Some(Digest(*blake3::hash(bytes).as_bytes()));
    let mut hasher = store::LeafHasher::default();
    for (start, bytes) in [(0, &[0; 512][..]), (600, b"seven b"), (4_000_000, &[1; 72])] {
        hasher.add(start, bytes).unwrap();
    }
    // Nodes of every shape from random changes of good ones: never a panic, and what is accepted is canonical.
    let seeds: Vec<Vec<u8>> = [
        Node::Leaf(store::Leaf {
            content: hasher.finish(),
            cells: vec![hash(&[[0; 512].as_slice(), b"seven b"].concat()), hash(&[1; 72])],
            chunks: vec![ChunkId(Digest::of(b"x"))],
            slices: vec![
                store::LeafSlice { start: 0, len: 512, content: store::LeafContent::Zero },
                store::LeafSlice { start: 600, len: 7, content: store::LeafContent::Chunk { number: 0, at: 500 } },
                store::LeafSlice { start: 4_000_000, len: 72, content: store::LeafContent::Chunk { number: 0, at: 0 } },
            ],
        }),
        Node::Inner(store::Inner {
            height: 2,
            used: 77,
            children: vec![
                store::Child { index: 3, id: map.node, content: map.content },
                store::Child { index: 255, id: map.node, content: map.content },
            ],
        }),
    ]
    .iter()
    .map(Node::encode)
    .collect();
    let mut state = 88172645463325252u64;
    let mut random = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % most as u64).unwrap()
    };
    assert!(seeds.iter().all(|seed| Node::decode(seed).is_ok()));
    for round in 0..40_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = [0, 1, 0xff, 0x80, bytes[at].wrapping_add(1)][random(5)];
        }
        if random(4) == 0 {
            bytes.truncate(random(bytes.len()));
        }
        if let Ok(node) = Node::decode(&bytes) {
            assert_eq!(node.encode(), bytes);
            assert!(node.validate().is_ok());
        }
        let _ = store::Footer::decode(&bytes);
        let _ = LocalDecoder.frame(&bytes, 1000);
        let _ = LocalDecoder.statement(&bytes);
    }
}
