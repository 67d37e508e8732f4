//! A snapshot that takes over what is proven to be unchanged is the snapshot that reads everything, whatever the proof leaves out.

use crate::image::{MIB, machine, noise, range};
use crate::sim::{NoKeys, Sim, Ticking};
use engine::parser::{Local, Parser, ParserError, Scene};
use engine::plan::snapshot::{self, Scope};
use engine::run::capture::{MoreTable, capture};
use engine::run::{Context, Observer, Stop, Unwatched};
use model::assessment::Report;
use model::coverage::{CaptureMethod, Changes, Comparison, Coverage};
use model::event::Progress;
use model::evidence::Evidence;
use model::id::{Digest, DiskNo, SnapshotId, VolumePath};
use model::inspection::{Content, Disk, Finding, Inspection, System, Volume};
use model::plan::Against;
use model::ports::{Devices, ObjectStore, ReadAt};
use model::snapshot::{Manifest, MapContent};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use store::backend::Memory;
use store::{DecodeHere, LocalDecoder, Store};

/// Three leaves and a bit.
pub(crate) const SIZE: usize = 13 * MIB;

/// A parser that is told what is in use and what is the same.
pub(crate) struct Told {
    pub(crate) local: Local,
    pub(crate) used: ExtentSet,
    pub(crate) same: ExtentSet,
    /// Names the state: the hash of all bytes.
    pub(crate) state: Digest,
}

impl Parser for Told {
    fn table(&self, disk: DiskNo) -> Result<disk::table::TableReading, ParserError> {
        self.local.table(disk)
    }
    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        self.local.content(volume, extent)
    }
    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
        self.local.systems(inspection)
    }
    fn evidence(&self, _: &Scene, _: usize) -> Result<Vec<Evidence>, ParserError> {
        Ok(Vec::new())
    }
    fn coverage(&self, _: &Volume) -> Result<Coverage, ParserError> {
        Ok(Coverage {
            method: CaptureMethod::UsedBlocks,
            why: "told".into(),
            used: self.used.clone(),
            state: Some(self.state),
        })
    }
    fn changes(&self, _: &Volume, before: Arc<dyn ReadAt>) -> Result<Changes, ParserError> {
        assert_eq!(before.size(), ByteLen(SIZE as u64));
        let now = before.read_vec(ByteOffset(0), SIZE).is_ok_and(|bytes| Digest::of(&bytes) == self.state);
        let comparison = if now { Comparison::Untouched } else { Comparison::Metadata };
        Ok(Changes { comparison, why: "told".into(), same: self.same.clone() })
    }
}

impl DecodeHere for Told {}

/// A disk that is one ext4, as far as anybody asks here.
pub(crate) fn report(sim: &Sim) -> Report {
    let (path, extent) = (VolumePath::whole(DiskNo(0)), Extent::whole(ByteLen(SIZE as u64)));
    let ext: Arc<dyn ReadAt> = Arc::new(machine().then[range(3)].to_vec());
    let (content, _) = disk::content::identify(&path, &ext);
    assert!(matches!(content, Content::Ext(_)));
    let volumes = vec![Volume::on_disk(path, extent, content)];
    let disk = Disk { no: DiskNo(0), hardware: sim.hardware.clone(), head: Digest([0; 32]), table: None, volumes };
    Report {
        inspection: Inspection { disks: vec![disk], ..Inspection::default() },
        systems: Vec::new(),
        boot: Vec::new(),
    }
}

pub(crate) fn save(
    store: &Store,
    bytes: &[u8],
    used: &ExtentSet,
    against: Option<(SnapshotId, &ExtentSet)>,
    believed: bool,
) -> (SnapshotId, Manifest) {
    attempt(store, bytes, used, against, believed, &Unwatched).unwrap()
}

/// Says stop at the call of that number.
struct Countdown(AtomicU32);

impl Observer for Countdown {
    fn progress(&self, _: Progress) {}
    fn log(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_err()
    }
}

fn attempt(
    store: &Store,
    bytes: &[u8],
    used: &ExtentSet,
    against: Option<(SnapshotId, &ExtentSet)>,
    believed: bool,
    observer: &dyn Observer,
) -> Result<(SnapshotId, Manifest), Stop> {
    let sim = Sim::new(bytes.to_vec());
    let same = against.map(|(_, same)| same.clone()).unwrap_or_default();
    let state = Digest::of(bytes);
    let told = Told { local: Local::new(sim.disks()), used: used.clone(), same, state };
    let clock = Ticking::default();
    let cx = Context { devices: &*sim, parser: &told, store, clock: &clock, observer, keys: &NoKeys };
    let report = report(&sim);
    let machine = engine::gather::machine(&report.inspection);
    let aside = store.newest_aside(&machine).unwrap().map(|(id, _)| id);
    let mut plan = snapshot::keep(&report, None, aside, &Scope::default());
    assert_eq!(plan.volumes.len(), 1);
    if let Some((snapshot, _)) = against {
        plan.parent = Some(snapshot);
        if believed {
            plan.volumes[0].against = Ok(Against { doubt: None });
        }
    }
    capture(&cx, &plan, &report, &MoreTable::new(), (1, 1))
}

pub(crate) fn empty(objects: &Arc<Memory>) -> Store {
    let objects: Arc<dyn ObjectStore> = objects.clone();
    Store::init(objects.clone()).unwrap();
    Store::open(objects, Arc::new(LocalDecoder)).unwrap().with_threads(2)
}

pub(crate) fn set(ranges: &[(usize, usize)]) -> ExtentSet {
    let within = |(from, len): &(usize, usize)| {
        Extent::between((from * 512) as u64, ((from + len) * 512).min(SIZE) as u64).filter(|e| !e.is_empty())
    };
    // The head is always saved.
    ranges.iter().filter_map(within).chain(Extent::between(0, 4096)).collect::<Vec<_>>().into()
}

pub(crate) const SECTORS: usize = SIZE / 512;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn an_increment_is_the_whole(
        then in prop::collection::vec((0..SECTORS, 1usize..6000), 1..7),
        now in prop::collection::vec((0..SECTORS, 1usize..6000), 1..7),
        keeps in any::<bool>(),
        changed in prop::collection::vec((0..SECTORS, 1usize..40), 0..4),
        doubted in prop::collection::vec((0..SECTORS, 1usize..400), 0..3),
        believed in any::<bool>(),
        stop in prop::option::of(4u32..30),
        seed in 0u64..8,
    ) {
        let before = noise(seed, SIZE);
        let mut after = before.clone();
        let changed = set(&changed);
        for e in changed.iter() {
            let range = usize::try_from(e.start().0).unwrap()..usize::try_from(e.end().0).unwrap();
            after[range].iter_mut().for_each(|b| *b ^= 0x55);
        }
        let whole = Extent::whole(ByteLen(SIZE as u64));
        let same = changed.union(&set(&doubted)).gaps(whole);
        let used_then = set(&then);
        // Mostly the same blocks are in use; else others too, and some no more.
        let used_now = if keeps { used_then.clone() } else { set(&[&now[..], &then[..1]].concat()) };

        let store = empty(&Arc::new(Memory::new()));
        let (first, _) = save(&store, &before, &used_then, None, true);
        // One that is stopped somewhere, and what goes on from there: both on top of the first.
        let stopped = stop.map(|n| attempt(&store, &after, &used_now, Some((first, &same)), believed, &Countdown(n.into())));
        let (id, increment) = save(&store, &after, &used_now, Some((first, &same)), believed);
        let other = empty(&Arc::new(Memory::new()));
        let (_, full) = save(&other, &after, &used_now, None, true);
        prop_assert_eq!(MapContent::of(&increment.volumes[0].map), MapContent::of(&full.volumes[0].map));
        prop_assert_eq!(increment.volumes[0].captured, full.volumes[0].captured);

        let compared = increment.volumes[0].compared.clone().unwrap();
        let taken_over = compared.taken_over.0 + compared.resumed.0;
        prop_assert_eq!(taken_over + increment.cost.read.0, used_now.total().0, "read or taken over");
        prop_assert!(compared.resumed.0 == 0 || stopped.is_some_and(|s| s.is_err()), "only what was put aside is resumed");
        prop_assert!(store.asides().unwrap().is_empty());
        prop_assert_eq!(compared.with.is_some(), compared.taken_over.0 > 0);
        prop_assert!(believed || compared.taken_over.0 == 0, "what is not believed is read");
        // What it needs of the first, it has by itself.
        store.forget(&[first]).unwrap();
        let report = store.check(true, &mut |_, _| true).unwrap();
        prop_assert!(report.findings.is_empty(), "{:?}", report.findings);
        prop_assert!(store.manifest(id).is_ok());
    }
}

#[test]
fn nothing_is_read_where_nothing_changed() {
    let (bytes, used) = (noise(3, SIZE), set(&[(0, SECTORS)]));
    let store = empty(&Arc::new(Memory::new()));
    let (first, _) = save(&store, &bytes, &used, None, true);
    let (_, again) = save(&store, &bytes, &used, Some((first, &used)), true);
    assert_eq!((again.cost.read, again.cost.stored), (ByteLen::ZERO, ByteLen::ZERO));
    assert_eq!(again.volumes[0].compared.as_ref().unwrap().taken_over, ByteLen(SIZE as u64));
}

/// What is not believed is read, hashed, and found: the store is asked for nothing but leaves, and grows by nothing.
#[test]
fn what_is_found_to_be_the_same_is_taken_by_its_leaf() {
    let (bytes, used) = (noise(3, SIZE), set(&[(0, SECTORS)]));
    let store = empty(&Arc::new(Memory::new()));
    let (first, manifest) = save(&store, &bytes, &used, None, true);
    let (_, again) = save(&store, &bytes, &used, Some((first, &used)), false);
    assert_eq!((again.cost.read, again.cost.stored), (ByteLen(SIZE as u64), ByteLen::ZERO));
    assert_eq!(again.cost.shared, ByteLen(SIZE as u64));
    assert_eq!(again.volumes[0].map, manifest.volumes[0].map, "the very same nodes");
    // One byte: its leaf is cut again, and the others stay.
    let mut changed = bytes;
    changed[5 * MIB] ^= 1;
    let (_, third) = save(&store, &changed, &used, Some((first, &used)), false);
    assert_eq!(third.cost.read, ByteLen(SIZE as u64));
    let leaves = |m: &Manifest| store.map(m.volumes[0].map).leaves(Extent::whole(ByteLen(SIZE as u64)));
    let same = leaves(&manifest).zip(leaves(&third)).filter(|(a, b)| a.as_ref().unwrap().id == b.as_ref().unwrap().id);
    assert_eq!((leaves(&third).count(), same.count()), (4, 3));
}

/// What the store lost is read from the disk again, and the snapshot is whole.
#[test]
fn what_the_store_lost_is_read_again() {
    let (bytes, used) = (noise(4, SIZE), set(&[(0, SECTORS)]));
    let objects = Arc::new(Memory::new());
    let (first, _) = save(&empty(&objects), &bytes, &used, None, true);
    let packs = objects.list("packs").unwrap();
    let largest = packs.iter().max_by_key(|name| objects.len(name).unwrap()).unwrap();
    objects.delete(largest).unwrap();
    let store = Store::open(objects.clone(), Arc::new(LocalDecoder)).unwrap();
    let (id, again) = save(&store, &bytes, &used, Some((first, &used)), true);
    assert!(again.cost.read.0 > 0);
    let manifest = store.manifest(id).unwrap();
    let mut at = 0;
    for slice in store.map(manifest.volumes[0].map).slices(Extent::whole(ByteLen(SIZE as u64))) {
        let slice = slice.unwrap();
        assert_eq!(slice.extent.start().0, at);
        let read = store.read(&slice).unwrap();
        assert_eq!(read, bytes[usize::try_from(at).unwrap()..][..read.len()]);
        at = slice.extent.end().0;
    }
    assert_eq!(at, SIZE as u64);
}
