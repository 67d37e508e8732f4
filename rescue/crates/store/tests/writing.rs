//! How bytes get into a store: cut in any way, kept from an earlier map, sealed, in one order, and proven at the end.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::objects::Counted;
use common::*;
use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::snapshot::MapRoot;
use model::units::{ByteLen, ByteOffset, Extent};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use store::backend::Memory;
use store::{InitOptions, LocalDecoder, OpenOptions, Secret, Store, StoreError, Unlock};

fn key(n: u8) -> Unlock {
    Unlock::KeyFile(Secret::new(vec![n; 32]))
}

fn sealed() -> (Arc<Memory>, Store) {
    let objects = Arc::new(Memory::new());
    let options = InitOptions { entropy: Arc::new(Counted::default()), key: Some((key(1), "a key file".into())) };
    let store = Store::init_with(objects.clone(), options).unwrap();
    (objects, store)
}

fn unlocked(objects: &Arc<Memory>, unlock: Option<Unlock>) -> Result<Store, StoreError> {
    let options = OpenOptions { unlock, ..OpenOptions::default() };
    Store::open_with(objects.clone(), Arc::new(LocalDecoder), options)
}

fn all(objects: &dyn ObjectStore) -> BTreeMap<ObjectName, Vec<u8>> {
    let get = |name: &ObjectName| {
        let mut bytes = vec![0; usize::try_from(objects.len(name).unwrap().0).unwrap()];
        objects.get(name, ByteOffset(0), &mut bytes).unwrap();
        bytes
    };
    objects.list("").unwrap().into_iter().map(|name| (name.clone(), get(&name))).collect()
}

#[test]
fn a_sealed_store_opens_with_its_keys_only() {
    let (objects, store) = sealed();
    let volume = Volume::of(&[(0, fill(1, 7, 300_000)), (1 << 24, fill(2, 3, 200_000)), (1 << 30, fill(1, 8, 5000))]);
    let mut writer = store.writer().unwrap();
    let map = save(&mut writer, &volume, &[]).unwrap();
    assert!(writer.prove(&mut |_, _| true).unwrap());
    drop(writer);
    for (name, bytes) in all(&*objects) {
        let needle = b"bottles of rum";
        assert!(!bytes.windows(needle.len()).any(|w| w == needle), "{}", name.as_str());
    }
    assert!(matches!(unlocked(&objects, None), Err(StoreError::Locked { .. })));
    assert!(matches!(unlocked(&objects, Some(key(2))), Err(StoreError::WrongKey { .. })));
    assert_eq!(load(&unlocked(&objects, Some(key(1))).unwrap(), map).unwrap(), volume);
    // The content is named alike everywhere, the nodes are not.
    let plain_objects = Arc::new(Memory::new());
    let plain = Store::init(plain_objects.clone()).unwrap();
    let there = save(&mut plain.writer().unwrap(), &volume, &[]).unwrap();
    assert_eq!((there.content, there.height), (map.content, map.height));
    assert_ne!(there.node, map.node);
    assert!(matches!(unlocked(&plain_objects, Some(key(1))), Err(StoreError::WrongKey { .. })));
    // One that was made to look open is not believed.
    let name = ObjectName::new("format").unwrap();
    let open = all(&*plain_objects)[&name].clone();
    objects.delete(&name).unwrap();
    objects.put(&name, &open).unwrap();
    assert!(matches!(unlocked(&objects, None), Err(StoreError::Damaged { .. })));
}

#[test]
fn keys_are_added_and_removed() {
    let (objects, store) = sealed();
    let first = store.keys().unwrap()[0].clone();
    assert_eq!(first.label.as_str(), "a key file");
    assert!(matches!(store.remove_key(&first.id), Err(StoreError::Misuse { .. })), "never the last");
    assert!(matches!(store.add_key(&key(9), &key(2), "no"), Err(StoreError::WrongKey { .. })));
    let second = store.add_key(&key(1), &key(2), "another").unwrap();
    assert_eq!(store.keys().unwrap().len(), 2);
    store.remove_key(&first.id).unwrap();
    assert!(matches!(store.remove_key(&first.id), Err(StoreError::NoSuch { .. })));
    assert!(matches!(unlocked(&objects, Some(key(1))), Err(StoreError::WrongKey { .. })));
    assert_eq!(unlocked(&objects, Some(key(2))).unwrap().keys().unwrap()[0].id, second);
    let plain = Store::init(Arc::new(Memory::new())).unwrap();
    assert!(plain.keys().unwrap().is_empty() && plain.add_key(&key(1), &key(1), "x").is_err());
}

/// Hands a volume over in chunks of up to so many bytes and runs, some on the grid.
fn save_in_chunks(store: &Store, volume: &Volume, lens: &[usize]) -> Result<MapRoot, StoreError> {
    let mut writer = store.writer()?;
    writer.begin(LEN);
    let mut lens = lens.iter().copied().cycle();
    let mut want = lens.next().unwrap_or(1);
    let (mut runs, mut bytes) = (Vec::new(), Vec::new());
    for (start, run) in &volume.runs {
        let (mut at, mut rest) = (*start, run.as_slice());
        while !rest.is_empty() {
            let (part, after) = rest.split_at((want - bytes.len()).min(rest.len()));
            runs.push(Extent::between(at, at + part.len() as u64).unwrap());
            bytes.extend_from_slice(part);
            at += part.len() as u64;
            rest = after;
            if bytes.len() == want {
                match want % 3 {
                    0 => {
                        let mut from = 0;
                        for run in &runs {
                            let to = from + usize::try_from(run.len().0).unwrap();
                            writer.write(run.start(), bytes[from..to].to_vec())?;
                            from = to;
                        }
                    }
                    _ => writer.chunk(&runs, std::mem::take(&mut bytes))?,
                }
                (runs, bytes) = (Vec::new(), Vec::new());
                want = lens.next().unwrap_or(1);
            }
        }
    }
    if !bytes.is_empty() {
        writer.chunk(&runs, bytes)?;
    }
    let root = writer.end()?;
    assert_eq!(writer.cost().read.0, volume.used());
    writer.finish(manifest(machine("a"), root))?;
    Ok(root)
}

/// The parts of two volumes, by cells: of the second where `second` says so.
fn mixed(a: &Volume, b: &Volume, second: &dyn Fn(u64) -> bool) -> Volume {
    let mut out = Volume::default();
    for (volume, wanted) in [(a, false), (b, true)] {
        for (cell, runs) in volume.cells() {
            if second(cell) == wanted {
                runs.iter().for_each(|(at, bytes)| out.put(*at, bytes));
            }
        }
    }
    out
}

/// Used bytes of a cell: where they lie, what they are, and which of them changed.
type Run = (u64, Vec<u8>, Vec<bool>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_content_does_not_depend_on_the_cutting(
        volume in volumes(),
        lens in prop::collection::vec(prop_oneof![1usize..70_000, 100_000usize..524_289], 1..5),
        threads in 0usize..3,
    ) {
        let store = Store::init(Arc::new(Memory::new())).unwrap().with_threads(threads);
        let on_grid = save(&mut store.writer().unwrap(), &volume, &[]).unwrap();
        let root = save_in_chunks(&store, &volume, &lens).unwrap();
        prop_assert_eq!((root.content, root.height), (on_grid.content, on_grid.height));
        prop_assert_eq!(&load(&store, root).unwrap(), &volume);
        let report = store.check(true, &mut |_, _| true).unwrap();
        prop_assert!(report.is_clean(), "{:?}", report);
        let ahead = store.read_ahead(store.map(root).slices(Extent::whole(LEN)));
        let mut again = Volume::default();
        ahead.for_each(|read| {
            let (slice, bytes) = read.unwrap();
            again.put(slice.extent.start().0, &bytes);
        });
        prop_assert_eq!(again, volume);
    }

    #[test]
    fn what_is_kept_is_as_if_written(
        a in volumes(),
        b in volumes(),
        period in 1u64..200,
        share in 0u64..200,
        sealed_store in any::<bool>(),
    ) {
        let store = if sealed_store { sealed().1 } else { Store::init(Arc::new(Memory::new())).unwrap() };
        let mut writer = store.writer().unwrap();
        let parent = save(&mut writer, &a, &[]).unwrap();
        writer.prove(&mut |_, _| true).unwrap();
        let changed = |cell: u64| cell % period < share.min(period);
        let wanted = mixed(&a, &b, &changed);
        let whole = save(&mut writer, &wanted, &[]).unwrap();
        writer.begin(LEN);
        // The changed parts are written, what lies between is kept.
        let (mut kept_to, mut cell) = (0, 0);
        let cells = b.cells();
        let end = 410 + (1 << 36) / CELL;
        while cell < end {
            if changed(cell) {
                writer.keep(parent, Extent::between(kept_to, cell * CELL).unwrap()).unwrap();
                for (at, bytes) in cells.get(&cell).into_iter().flatten() {
                    writer.write(ByteOffset(*at), bytes.clone()).unwrap();
                }
                kept_to = (cell + 1) * CELL;
            }
            // Nothing lies between the near part and the far one.
            cell = if cell == 410 { ((1 << 36) / CELL) - period } else { cell + 1 };
        }
        writer.keep(parent, Extent::between(kept_to, LEN.0).unwrap()).unwrap();
        let root = writer.end().unwrap();
        prop_assert_eq!(root, whole);
    }

    #[test]
    fn what_is_known_is_stored_no_more_than_once(
        volume in volumes(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..50_000, 1usize..3_000), 1..12),
        sealed_store in any::<bool>(),
    ) {
        let store = if sealed_store { sealed().1 } else { Store::init(Arc::new(Memory::new())).unwrap() };
        let mut writer = store.writer().unwrap();
        let parent = save(&mut writer, &volume, &[]).unwrap();
        writer.prove(&mut |_, _| true).unwrap();
        // Some used bytes are others now, and nothing else is known of their cells than that the rest of them is not.
        let cells: Vec<_> = volume.cells().into_iter().collect();
        let mut wanted: BTreeMap<u64, Vec<Run>> = BTreeMap::new();
        for (which, at, len) in changes {
            if cells.is_empty() {
                break;
            }
            let (cell, runs) = which.get(&cells);
            let run = |(at, bytes): &(u64, Vec<u8>)| (*at, bytes.clone(), vec![false; bytes.len()]);
            let runs = wanted.entry(*cell).or_insert_with(|| runs.iter().map(run).collect());
            let (count, all) = (runs.len(), cells.len());
            let (_, bytes, changed) = &mut runs[at % all.min(count)];
            let from = at % bytes.len();
            let to = (from + len).min(bytes.len());
            bytes[from..to].iter_mut().for_each(|b| *b = b.wrapping_add(1));
            changed[from..to].fill(true);
        }
        let mut now = Volume::default();
        // Where there is something already, nothing is put.
        wanted.values().flatten().for_each(|(at, bytes, _)| now.put(*at, bytes));
        cells.iter().flat_map(|(_, runs)| runs).for_each(|(at, bytes)| now.put(*at, bytes));
        let before = writer.cost();
        writer.begin(LEN);
        let mut kept_to = 0;
        let mut handed = 0;
        for (cell, runs) in &wanted {
            writer.keep(parent, Extent::between(kept_to, cell * CELL).unwrap()).unwrap();
            kept_to = (cell + 1) * CELL;
            for (at, bytes, changed) in runs {
                let mut from = 0;
                while from < bytes.len() {
                    let to = from + changed[from..].iter().take_while(|c| **c == changed[from]).count();
                    let place = at + from as u64;
                    if changed[from] {
                        let run = Extent::between(place, place + (to - from) as u64).unwrap();
                        writer.chunk(&[run], bytes[from..to].to_vec()).unwrap();
                        handed += to - from;
                    } else {
                        writer.known(parent, ByteOffset(place), &bytes[from..to].to_vec().into()).unwrap();
                    }
                    from = to;
                }
            }
        }
        writer.keep(parent, Extent::between(kept_to, LEN.0).unwrap()).unwrap();
        let root = writer.end().unwrap();
        let new = writer.cost().new.0 - before.new.0;
        prop_assert!(new <= handed as u64, "{} bytes of {}", new, handed);
        let again = save(&mut writer, &now, &[]).unwrap();
        prop_assert_eq!((root.content, root.height), (again.content, again.height));
        let refused = writer.known(parent, ByteOffset(1 << 50), &b"no".to_vec().into());
        prop_assert!(matches!(refused, Err(StoreError::Damaged { .. })), "nothing is there");
        writer.finish(manifest(machine("a"), root)).unwrap();
        prop_assert_eq!(&load(&store, root).unwrap(), &now);
        prop_assert!(store.check(true, &mut |_, _| true).unwrap().is_clean());
    }
}

#[test]
fn without_threads_a_run_is_a_function_of_its_calls() {
    let volume =
        Volume::of(&[(0, fill(1, 7, 3_000_000)), (1 << 24, fill(2, 3, 2_000_000)), (1 << 30, fill(3, 8, 90_000))]);
    let run = |threads| {
        let (objects, store) = sealed();
        let store = store.with_threads(threads);
        let mut writer = store.writer().unwrap();
        let map = save_in_pieces(&mut writer, &volume);
        writer.prove(&mut |_, _| true).unwrap();
        drop(writer);
        (map, all(&*objects))
    };
    let (map, objects) = run(0);
    assert_eq!(run(0), (map, objects));
    assert_eq!(run(2).0, map, "and the map is the same with threads");
}

fn save_in_pieces(writer: &mut store::Writer, volume: &Volume) -> MapRoot {
    save(writer, volume, &[100_000, 7]).unwrap()
}

/// A disk that is smaller than it says: what was put first is overwritten by what is put last.
struct Wrapping {
    inner: Memory,
    packs: Mutex<Vec<ObjectName>>,
}

impl ObjectStore for Wrapping {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.inner.put(name, bytes)?;
        let mut packs = self.packs.lock().unwrap();
        if name.as_str().starts_with("packs/") {
            packs.push(name.clone());
            if packs.len() == 3 {
                let first = packs[0].clone();
                let len = usize::try_from(self.inner.len(&first)?.0).unwrap();
                self.inner.delete(&first)?;
                self.inner.put(&first, &bytes.iter().copied().cycle().take(len).collect::<Vec<u8>>())?;
            }
        }
        Ok(())
    }
    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        self.inner.get(name, at, buf)
    }
    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        self.inner.len(name)
    }
    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        self.inner.list(prefix)
    }
    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.inner.delete(name)
    }
    fn free(&self) -> Option<ByteLen> {
        None
    }
    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        self.inner.lock()
    }
}

#[test]
fn a_disk_that_wraps_around_is_found_out() {
    let objects = Arc::new(Wrapping { inner: Memory::new(), packs: Mutex::default() });
    let store = Store::init(objects.clone()).unwrap();
    let volume = Volume::of(&[(0, fill(2, 5, 34 << 20))]);
    let mut told = Vec::new();
    let mut writer = store.writer().unwrap();
    save(&mut writer, &volume, &[]).unwrap();
    let proven = writer.prove(&mut |done, total| {
        told.push((done, total));
        true
    });
    assert!(matches!(&proven, Err(StoreError::Damaged { what }) if what.as_str().contains("give back")), "{proven:?}");
    assert!(told.iter().all(|(done, total)| done <= total && total.0 > 34 << 20), "{told:?}");
    drop(writer);
    assert!(objects.list("index").unwrap().is_empty());
    // With the disk as it now is, the next run is whole.
    let (_, made) = snapshot(&store, &volume).unwrap();
    assert_eq!(load(&open(&objects).unwrap(), made.volumes[0].map).unwrap(), volume);
}

#[test]
fn crumbs_do_not_hold_anybody_up() {
    // More small chunks than anything counts in one go, of words and of noise, none filling a frame.
    let store = Store::init(Arc::new(Memory::new())).unwrap().with_threads(2);
    let mut volume = Volume::default();
    for n in 0..9000u32 {
        let len = if n % 2 == 0 { 10 } else { 5000 };
        volume.put(u64::from(n) * CELL, &fill(u8::try_from(n / 2 % 2).unwrap() + 1, n, len));
    }
    let mut writer = store.writer().unwrap();
    let map = save(&mut writer, &volume, &[]).unwrap();
    writer.finish(manifest(machine("a"), map)).unwrap();
    assert_eq!(load(&store, map).unwrap(), volume);
}

#[test]
fn reading_back_can_be_stopped() {
    let objects = Arc::new(Memory::new());
    for threads in [0, 2] {
        let store = open(&{
            let _ = Store::init(objects.clone());
            objects.clone()
        });
        let store = store.unwrap().with_threads(threads);
        let mut writer = store.writer().unwrap();
        save(&mut writer, &Volume::of(&[(0, fill(2, 9, 3 << 20))]), &[]).unwrap();
        if threads == 0 {
            assert!(!writer.prove(&mut |_, _| false).unwrap());
            assert!(objects.list("index").unwrap().is_empty());
        }
        assert!(writer.prove(&mut |_, _| true).unwrap());
    }
    assert_eq!(objects.list("index").unwrap().len(), 1, "the second run found everything");
}
