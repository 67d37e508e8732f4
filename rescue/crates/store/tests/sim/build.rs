//! The program under test, and what a person does with it.

use crate::common::objects::intent;
use crate::common::{self, Volume, fill};
use crate::fs::SimFs;
use model::id::{Digest, SnapshotId};
use model::note::Says;
use model::ports::{Entropy, ObjectError, ObjectName, ObjectStore, UnixMicros};
use model::snapshot::{Manifest, MapRoot, Receipt};
use model::units::{ByteLen, ByteOffset, Extent};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use store::backend::{Files, LocalDir};
use store::{InitOptions, LEAF, LocalDecoder, OpenOptions, PruneOptions, Secret, Store, StoreError, Unlock, Writer};

/// Where the store lies in the simulated file system.
const ROOT: &str = "/disk/store";
/// Packs of which so much in a hundred is dead are written again: those of the volumes here are never dead by half.
const REWRITE: u8 = 5;

/// The same bytes each time: what is random in a store must not make two runs of a history differ.
struct Seeded {
    seed: u64,
    drawn: AtomicU64,
}

impl Seeded {
    /// Whoever opens the store later, with something written in between, draws others.
    fn after(fs: &SimFs) -> Arc<Self> {
        Arc::new(Self { seed: fs.made() as u64, drawn: AtomicU64::new(0) })
    }
}

impl Entropy for Seeded {
    fn fill(&self, out: &mut [u8]) -> std::io::Result<()> {
        for part in out.chunks_mut(32) {
            let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
            let bytes = Digest::of(&[self.seed.to_le_bytes(), drawn.to_le_bytes()].concat()).0;
            part.copy_from_slice(&bytes[..part.len()]);
        }
        Ok(())
    }
}

/// What is said of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Label,
    Pin,
    Unpin,
}

impl Word {
    pub(crate) fn says(self) -> Says {
        match self {
            Self::Label => Says::Label { text: "before the upgrade".into(), automatic: false },
            Self::Pin => Says::Pin,
            Self::Unpin => Says::Unpin,
        }
    }
}

/// One thing a person does with a store. Each opens the store anew, as the program does. Snapshots are told by the order in
/// which they were saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Makes it.
    Init,
    /// Saves the volume of this number.
    Snapshot(usize),
    /// Begins to save the volume of this number, going on from what was put aside, and puts aside what was saved so far.
    Stop(usize),
    /// Saves the volume of this number, going on from what was put aside.
    GoOn(usize),
    /// Forgets a snapshot.
    Forget(usize),
    /// Says something of a snapshot.
    Note(usize, Word),
    /// Begins a write-back to a snapshot.
    Intent(usize),
    /// Ends it.
    Receipt(usize),
    /// Frees what nothing needs: at once, or in two phases.
    Prune { now: bool },
    /// Saves the volume of this number while others prune: so often before the packs are put, and so often after.
    Beside(usize, usize, usize),
}

/// A step, and the snapshot it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) step: Step,
    pub(crate) about: Option<SnapshotId>,
}

impl Step {
    /// The step, where these snapshots were saved before it.
    pub(crate) fn of(self, saved: &[SnapshotId]) -> Deed {
        let about = match self {
            Self::Forget(n) | Self::Note(n, _) | Self::Intent(n) | Self::Receipt(n) => Some(saved[n]),
            _ => None,
        };
        Deed { step: self, about }
    }
}

/// The program under test: the store as it is, or with a mutation.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) files: fn(SimFs) -> Arc<dyn Files>,
    pub(crate) objects: fn(LocalDir) -> Arc<dyn ObjectStore>,
    /// Stores are encrypted.
    pub(crate) sealed: bool,
    /// Stores lie where nothing keeps two writers from each other.
    pub(crate) shared: bool,
}

impl Build {
    pub(crate) const REAL: Self =
        Self { files: |fs| Arc::new(fs), objects: |dir| Arc::new(dir), sealed: false, shared: false };

    /// The objects of the directory.
    pub(crate) fn objects(&self, dir: LocalDir) -> Arc<dyn ObjectStore> {
        let objects = (self.objects)(dir);
        if self.shared { Arc::new(Shared(objects)) } else { objects }
    }

    pub(crate) fn dir(&self, fs: &SimFs) -> Result<LocalDir, StoreError> {
        Ok(LocalDir::open_over((self.files)(fs.clone()), ROOT)?)
    }

    /// What opens a sealed store: the cheapest key there is to try.
    fn key(&self) -> Option<Unlock> {
        self.sealed.then(|| Unlock::KeyFile(Secret::new(vec![7; 32])))
    }

    fn init(&self, fs: &SimFs) -> Result<Store, StoreError> {
        let dir = LocalDir::create_over((self.files)(fs.clone()), ROOT)?;
        let key = self.key().map(|key| (key, "a file".to_owned()));
        Store::init_with(self.objects(dir), InitOptions { entropy: Seeded::after(fs), key })
    }

    pub(crate) fn open(&self, fs: &SimFs) -> Result<Store, StoreError> {
        let options = OpenOptions { entropy: Seeded::after(fs), unlock: self.key() };
        let store = Store::open_with(self.objects(self.dir(fs)?), Arc::new(LocalDecoder), options)?;
        // Threads would draw nonces in an order of their own, and write beside a prune in one.
        Ok(if self.sealed || self.shared { store.with_threads(0) } else { store })
    }

    /// Does a step; where it saves a snapshot, that is the answer.
    pub(crate) fn act(&self, fs: &SimFs, deed: Deed) -> Result<Option<SnapshotId>, StoreError> {
        let about = || deed.about.unwrap();
        match deed.step {
            Step::Init => self.init(fs).map(|_| None),
            Step::Snapshot(n) => self.save(fs, n, 0, 0).map(Some),
            Step::Beside(n, before, after) => self.save(fs, n, before, after).map(Some),
            Step::Stop(n) => self.stop(fs, n).map(|()| None),
            Step::GoOn(n) => self.go_on(fs, n).map(Some),
            Step::Forget(_) => self.open(fs)?.forget(&[about()]).map(|_| None),
            Step::Note(_, word) => self.open(fs)?.put_note(about(), word.says(), UnixMicros(1)).map(|()| None),
            Step::Intent(_) => self.open(fs)?.put_intent(&intent(about(), about())).map(|_| None),
            Step::Receipt(_) => self.end(fs, about()).map(|()| None),
            Step::Prune { now } => self.prune(fs, now).map(|()| None),
        }
    }

    fn end(&self, fs: &SimFs, to: SnapshotId) -> Result<(), StoreError> {
        let store = self.open(fs)?;
        let (intent, ..) = store.intents()?.into_iter().find(|(_, intent, _)| intent.plan.to == to).unwrap();
        let (written, verified, ended) = (ByteLen(1), ByteLen(1), UnixMicros(8));
        store.put_receipt(&Receipt { format: 1, intent, holds: to, written, verified, ended })
    }

    fn prune(&self, fs: &SimFs, now: bool) -> Result<(), StoreError> {
        let report = self.open(fs)?.prune(PruneOptions { now, rewrite: REWRITE }, &mut |_, _, _| true)?;
        assert!(report.complete, "nobody stopped it");
        Ok(())
    }

    fn stop(&self, fs: &SimFs, n: usize) -> Result<(), StoreError> {
        let store = self.open(fs)?;
        let mut writer = store.writer()?;
        let map = hand_over(&store, &mut writer, n, false)?;
        let put = writer.put_aside(Manifest { taken: number(n), ..labelled(map) }, &mut || true)?;
        assert!(put.is_some(), "nobody is in a hurry");
        Ok(())
    }

    fn go_on(&self, fs: &SimFs, n: usize) -> Result<SnapshotId, StoreError> {
        let store = self.open(fs)?;
        let mut writer = store.writer()?;
        let map = hand_over(&store, &mut writer, n, true)?;
        writer.finish(Manifest { taken: number(n), ..labelled(map) }).map(|(id, _)| id)
    }

    fn save(&self, fs: &SimFs, n: usize, before: usize, after: usize) -> Result<SnapshotId, StoreError> {
        let store = self.open(fs)?;
        let mut writer = store.writer()?;
        let map = common::save(&mut writer, volume(n, self.sealed), &[])?;
        (0..before).try_for_each(|_| self.prune(fs, false))?;
        writer.prove(&mut |_, _| true)?;
        (0..after).try_for_each(|_| self.prune(fs, false))?;
        let manifest = Manifest { taken: number(n), ..labelled(map) };
        writer.finish(manifest).map(|(id, _)| id)
    }
}

/// Where nothing of a volume lies but what is far away.
const BEHIND: u64 = 1 << 30;

/// Hands a volume over; leaves that the aside has of this very volume are taken over instead. Where not all of it is wanted, it stops with
/// the first bytes of a leaf that is never complete.
fn hand_over(store: &Store, writer: &mut Writer, n: usize, all: bool) -> Result<MapRoot, StoreError> {
    let aside = store.newest_aside(&common::machine("a"))?.filter(|(_, aside)| aside.taken == number(n));
    writer.begin(common::LEN);
    let mut from = 0;
    if let Some((_, aside)) = aside {
        let map = aside.volumes[0].map;
        for leaf in store.map(map).leaves(Extent::whole(common::LEN)) {
            // What cannot be had is handed over like all else, as a capture reads it again.
            let Ok(leaf) = leaf else { break };
            match writer.keep(map, leaf.extent) {
                Err(StoreError::Damaged { .. }) => break,
                kept => kept?,
            }
            from = leaf.extent.end().0;
        }
    }
    let end = if all { u64::MAX } else { BEHIND };
    let volume = volume(n, store.is_encrypted());
    for (at, bytes) in volume.cells().into_values().flatten().filter(|(at, _)| (from..end).contains(at)) {
        writer.write(ByteOffset(at), bytes)?;
    }
    if all {
        return writer.end();
    }
    writer.write(ByteOffset(BEHIND), fill(2, 9, usize::try_from(common::CELL).unwrap()))?;
    let (map, _) = writer.cut_short()?.unwrap();
    Ok(map)
}

fn number(n: usize) -> UnixMicros {
    UnixMicros(i64::try_from(n).unwrap())
}

fn labelled(map: MapRoot) -> Manifest {
    common::manifest(common::machine("a"), map)
}

/// How many volumes there are.
const VOLUMES: usize = 10;

/// The volume of a number. That of a sealed store is a small one: unoptimised, sealing is slow.
fn volume(n: usize, sealed: bool) -> &'static Volume {
    static MADE: [[OnceLock<Volume>; VOLUMES]; 2] = [const { [const { OnceLock::new() }; VOLUMES] }; 2];
    MADE[usize::from(sealed)][n].get_or_init(|| make(n, if sealed { 8 } else { 1 }))
}

/// Each shares most of its bytes with the one before; cells, leaves and an inner node change.
fn make(n: usize, part: usize) -> Volume {
    let number = u32::try_from(n).unwrap();
    let mut volume = Volume::default();
    volume.put(0, &fill(2, 1, 70_000 / part));
    volume.put(128 << 10, &fill(2, 100 + number, (9_000 + 512 * (n % 7)) / part));
    volume.put(1 << 20, &fill(1, 3, 30_000 / part));
    volume.put(3 << 20, &fill(0, 0, 4_096 / part));
    volume.put(1 << 24, &fill(3, number / 2, 20_000 / part));
    if n % 2 == 1 {
        volume.put(1 << 36, &fill(2, 50 + number, 6_000 / part));
    }
    volume
}

/// Whether a snapshot reads back as what was saved; its time says which volume that was.
pub(crate) fn is_exact(store: &Store, manifest: &Manifest) -> Result<bool, StoreError> {
    let saved = volume(usize::try_from(manifest.taken.0).unwrap(), store.is_encrypted());
    common::load(store, manifest.volumes[0].map).map(|found| found == *saved)
}

/// Whether what was put aside is part of what was being saved then, leaf by leaf.
pub(crate) fn is_part(store: &Store, aside: &Manifest) -> Result<bool, StoreError> {
    let saved = volume(usize::try_from(aside.taken.0).unwrap(), store.is_encrypted());
    let found = common::load(store, aside.volumes[0].map)?;
    let leaves: BTreeSet<u64> = found.runs.keys().map(|at| at / LEAF).collect();
    let mut expected = Volume::default();
    for (at, bytes) in saved.cells().into_values().flatten().filter(|(at, _)| leaves.contains(&(at / LEAF))) {
        expected.put(at, &bytes);
    }
    Ok(found == expected)
}

/// A place whose lock keeps nobody out, as over a network.
struct Shared(Arc<dyn ObjectStore>);

impl ObjectStore for Shared {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.0.put(name, bytes)
    }

    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        self.0.get(name, at, buf)
    }

    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        self.0.len(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        self.0.list(prefix)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.0.delete(name)
    }

    fn free(&self) -> Option<ByteLen> {
        self.0.free()
    }

    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        Ok(Box::new(()))
    }
}
