//! Volumes to save, manifests to save them under, and what they must come back as. Shared by the tests of the store.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod objects;

use model::id::{DiskNo, SnapshotId, VolumePath};
use model::inspection::{Content, Hardware};
use model::ports::{ObjectStore, UnixMicros};
use model::snapshot::{Cost, Machine, Manifest, MapRoot, Purpose, SavedDisk, SavedVolume};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{LocalDecoder, SliceContent, Store, StoreError, Writer};

pub(crate) const CELL: u64 = store::CELL as u64;

/// The used bytes of a volume: runs that do not touch, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Volume {
    pub(crate) runs: BTreeMap<u64, Vec<u8>>,
}

impl Volume {
    pub(crate) fn of(runs: &[(u64, Vec<u8>)]) -> Self {
        let mut volume = Self::default();
        runs.iter().for_each(|(at, bytes)| volume.put(*at, bytes));
        volume
    }

    /// Adds bytes where nothing is yet; what overlaps is cut away, what touches is joined.
    pub(crate) fn put(&mut self, at: u64, bytes: &[u8]) {
        let (mut at, mut bytes) = (at, bytes);
        if let Some((start, before)) = self.runs.range(..=at).next_back() {
            let end = start + before.len() as u64;
            if end > at {
                let cut = usize::try_from(end - at).unwrap().min(bytes.len());
                bytes = &bytes[cut..];
                at = end;
            }
        }
        if let Some((next, _)) = self.runs.range(at..).next() {
            bytes = &bytes[..bytes.len().min(usize::try_from(next - at).unwrap())];
        }
        if bytes.is_empty() {
            return;
        }
        let mut joined = bytes.to_vec();
        if let Some(after) = self.runs.remove(&(at + joined.len() as u64)) {
            joined.extend(after);
        }
        if let Some((start, before)) = self.runs.range_mut(..at).next_back()
            && start + before.len() as u64 == at
        {
            before.extend(joined);
            return;
        }
        self.runs.insert(at, joined);
    }

    pub(crate) fn used(&self) -> u64 {
        self.runs.values().map(|b| b.len() as u64).sum()
    }

    /// The used parts of each cell.
    pub(crate) fn cells(&self) -> BTreeMap<u64, Vec<(u64, Vec<u8>)>> {
        let mut cells: BTreeMap<u64, Vec<(u64, Vec<u8>)>> = BTreeMap::new();
        for (start, bytes) in &self.runs {
            let (mut at, mut rest) = (*start, bytes.as_slice());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(usize::try_from(CELL - at % CELL).unwrap().min(rest.len()));
                cells.entry(at / CELL).or_default().push((at, part.to_vec()));
                at += part.len() as u64;
                rest = after;
            }
        }
        cells
    }
}

/// Bytes of a kind: zeros, words, noise, or noise that ends in zeros.
pub(crate) fn fill(kind: u8, seed: u32, len: usize) -> Vec<u8> {
    let noise = |len: usize| {
        let mut state = u64::from(seed) | 1 << 40;
        let mut out = vec![0; len];
        for b in &mut out {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *b = state.to_le_bytes()[3];
        }
        out
    };
    match kind % 4 {
        0 => vec![0; len],
        1 => format!("{seed} bottles of rum, and ").into_bytes().into_iter().cycle().take(len).collect(),
        2 => noise(len),
        _ => {
            let mut out = noise(len / 2);
            out.resize(len, 0);
            out
        }
    }
}

/// Volumes over seven leaves and one place far away, with holes of all sizes down to 512 bytes.
pub(crate) fn volumes() -> impl Strategy<Value = Volume> {
    let unit = 512u64;
    let far = prop_oneof![9 => Just(0u64), 1 => Just(1u64 << 36)];
    // Mostly few cells, so that runs meet, and two volumes have the same ones.
    let cell = prop_oneof![3 => 0u64..5, 2 => 0u64..400];
    let run = (far, cell, 0u64..256, prop_oneof![1usize..8, 1usize..600], any::<u8>(), 0u32..6);
    prop::collection::vec(run, 0..14).prop_map(move |runs| {
        let mut volume = Volume::default();
        for (far, cell, offset, len, kind, seed) in runs {
            volume.put(far + cell * CELL + offset * unit, &fill(kind, seed, len * 512));
        }
        volume
    })
}

pub(crate) const LEN: ByteLen = ByteLen(1 << 37);

/// Saves a volume, its runs cut into pieces of the given lengths, in turn.
pub(crate) fn save(writer: &mut Writer, volume: &Volume, cuts: &[usize]) -> Result<MapRoot, StoreError> {
    writer.begin(LEN);
    let mut cuts = cuts.iter().copied().cycle();
    for (start, bytes) in &volume.runs {
        let (mut at, mut rest) = (*start, bytes.as_slice());
        while !rest.is_empty() {
            let (part, after) = rest.split_at(cuts.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
            writer.write(ByteOffset(at), part.to_vec())?;
            at += part.len() as u64;
            rest = after;
        }
    }
    writer.end()
}

/// Reads a volume back.
pub(crate) fn load(store: &Store, root: MapRoot) -> Result<Volume, StoreError> {
    let mut volume = Volume::default();
    let mut at = 0;
    for slice in store.map(root).slices(Extent::whole(LEN)) {
        let slice = slice?;
        assert!(slice.extent.start().0 >= at && !slice.extent.is_empty(), "slices rise");
        at = slice.extent.end().0;
        let bytes = store.read(&slice)?;
        assert_eq!(bytes.len() as u64, slice.extent.len().0);
        if slice.content == SliceContent::Zero {
            assert!(bytes.iter().all(|b| *b == 0));
        }
        volume.put(slice.extent.start().0, &bytes);
    }
    Ok(volume)
}

pub(crate) fn machine(name: &str) -> Machine {
    Machine { machine_id: Some(name.to_owned()), disks: vec![format!("disk of {name}")], hostname: None }
}

/// A manifest of one volume.
pub(crate) fn manifest(machine: Machine, map: MapRoot) -> Manifest {
    let hardware = Hardware::image("image", LEN);
    Manifest {
        format: 99,
        counter: 0,
        origin: String::new(),
        parent: None,
        purpose: Purpose::Keep,
        machine,
        taken: UnixMicros(5),
        systems: Vec::new(),
        disks: vec![SavedDisk { no: DiskNo(0), hardware, table: None, table_map: Some(map) }],
        volumes: vec![SavedVolume {
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
        }],
        firmware: None,
        cost: Cost::default(),
    }
}

/// Saves one volume as one snapshot.
pub(crate) fn snapshot(store: &Store, volume: &Volume) -> Result<(SnapshotId, Manifest), StoreError> {
    let mut writer = store.writer()?;
    let map = save(&mut writer, volume, &[])?;
    writer.finish(manifest(machine("a"), map))
}

pub(crate) fn open(objects: &Arc<impl ObjectStore + 'static>) -> Result<Store, StoreError> {
    Store::open(objects.clone(), Arc::new(LocalDecoder))
}
