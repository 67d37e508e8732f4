//! What is done with a store, step by step, and what must be true of it after.

use crate::common::{self, Volume, fill};
use crate::crash::{Model, Op};
use crate::fs::SimFs;
use crate::tree::Tree;
use model::id::{Digest, SnapshotId};
use model::ports::{Entropy, ObjectStore, UnixMicros};
use model::snapshot::Manifest;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::backend::{Files, LocalDir};
use store::{InitOptions, LocalDecoder, OpenOptions, Store, StoreError};

/// Where the store lies in the simulated file system.
const ROOT: &str = "/disk/store";

/// The same bytes each time: what is random in a store must not make two runs of a history differ.
#[derive(Default)]
struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn fill(&self, out: &mut [u8]) -> std::io::Result<()> {
        for part in out.chunks_mut(32) {
            let drawn = self.0.fetch_add(1, Ordering::Relaxed);
            part.copy_from_slice(&Digest::of(&drawn.to_le_bytes()).0[..part.len()]);
        }
        Ok(())
    }
}

/// One thing a person does with a store. Each opens the store anew, as the program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Makes it.
    Init,
    /// Saves the volume of this number.
    Snapshot(usize),
}

/// The program under test: the store as it is, or with a mutation.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) files: fn(SimFs) -> Arc<dyn Files>,
    pub(crate) objects: fn(LocalDir) -> Arc<dyn ObjectStore>,
}

impl Build {
    pub(crate) const REAL: Self = Self { files: |fs| Arc::new(fs), objects: |dir| Arc::new(dir) };

    fn init(&self, fs: &SimFs) -> Result<Store, StoreError> {
        let dir = LocalDir::create_over((self.files)(fs.clone()), ROOT)?;
        let entropy = Arc::new(Seeded::default());
        Store::init_with((self.objects)(dir), InitOptions { entropy, ..InitOptions::default() })
    }

    pub(crate) fn open(&self, fs: &SimFs) -> Result<Store, StoreError> {
        let dir = LocalDir::open_over((self.files)(fs.clone()), ROOT)?;
        let entropy = Arc::new(Seeded::default());
        let options = OpenOptions { entropy, ..OpenOptions::default() };
        Store::open_with((self.objects)(dir), Arc::new(LocalDecoder), options)
    }

    /// Does a step.
    pub(crate) fn step(&self, fs: &SimFs, step: Step) -> Result<Option<SnapshotId>, StoreError> {
        match step {
            Step::Init => self.init(fs).map(|_| None),
            Step::Snapshot(n) => {
                let store = self.open(fs)?;
                let mut writer = store.writer()?;
                let map = common::save(&mut writer, &volume(n), &[])?;
                let manifest = Manifest { taken: UnixMicros(i64::try_from(n).unwrap()), ..labelled(map) };
                writer.finish(manifest).map(|(id, _)| Some(id))
            }
        }
    }
}

fn labelled(map: model::snapshot::MapRoot) -> Manifest {
    common::manifest(common::machine("a"), map)
}

/// The volume of a number: each shares most of its bytes with the one before; cells, leaves and an inner node change.
pub(crate) fn volume(n: usize) -> Volume {
    let number = u32::try_from(n).unwrap();
    let mut volume = Volume::default();
    volume.put(0, &fill(2, 1, 70_000));
    volume.put(128 << 10, &fill(2, 100 + number, 9_000 + 512 * (n % 7)));
    volume.put(1 << 20, &fill(1, 3, 30_000));
    volume.put(3 << 20, &fill(0, 0, 4_096));
    volume.put(1 << 24, &fill(3, number / 2, 20_000));
    if n % 2 == 1 {
        volume.put(1 << 36, &fill(2, 50 + number, 6_000));
    }
    volume
}

/// A step that was taken: acknowledged when the log had `ended` operations.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) step: Step,
    pub(crate) ended: usize,
    pub(crate) id: Option<SnapshotId>,
}

/// A history that was run once.
pub(crate) struct Recorded {
    pub(crate) base: Tree,
    pub(crate) log: Vec<Op>,
    pub(crate) taken: Vec<Taken>,
}

/// What a check may find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing at all.
    NothingWrong,
    /// Damage that costs no snapshot: cross-linked names on FAT, or a disk that lies, may hurt what nothing needs.
    NothingLost,
}

/// What was acknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    pub(crate) store: bool,
    pub(crate) snapshots: BTreeSet<SnapshotId>,
}

impl Recorded {
    /// Runs steps that all succeed.
    pub(crate) fn run(build: &Build, base: &Tree, model: Model, steps: &[Step]) -> Result<Self, String> {
        let fs = SimFs::new(base.clone(), model);
        let mut taken = Vec::new();
        for step in steps {
            let id = build.step(&fs, *step).map_err(|e| format!("{step:?}: {e}"))?;
            taken.push(Taken { step: *step, ended: fs.now(), id });
        }
        Ok(Self { base: base.clone(), log: fs.log(), taken })
    }

    /// What was acknowledged before operation `at`.
    pub(crate) fn expected(&self, before: &Expected, at: usize) -> Expected {
        let mut expected = before.clone();
        for t in self.taken.iter().filter(|t| t.ended <= at) {
            expected.acknowledge(t.step, t.id);
        }
        expected
    }
}

impl Expected {
    pub(crate) fn acknowledge(&mut self, step: Step, id: Option<SnapshotId>) {
        match step {
            Step::Init => self.store = true,
            Step::Snapshot(_) => self.snapshots.extend(id),
        }
    }

    /// Opens the store and looks at all of it; then saves one more snapshot and reads it back. Returns what is there then.
    pub(crate) fn verify(&self, build: &Build, fs: &SimFs, look: Look, next: usize) -> Result<Self, String> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let store = match build.open(fs) {
                Err(_) if !self.store => return self.verify_new(build, fs, look, next),
                opened => opened.map_err(|e| format!("the store does not open: {e}"))?,
            };
            self.whole(&store, look)?;
            drop(store);
            self.another(build, fs, look, next)
        }));
        done.unwrap_or_else(|_| Err("a panic".to_owned()))
    }

    /// Before the store was acknowledged it may be there or not, and can then be made.
    fn verify_new(&self, build: &Build, fs: &SimFs, look: Look, next: usize) -> Result<Self, String> {
        let id = build.step(fs, Step::Init).map_err(|e| format!("making the store again: {e}"))?;
        let mut expected = self.clone();
        expected.acknowledge(Step::Init, id);
        expected.another(build, fs, look, next)
    }

    /// One more snapshot; then everything is looked at again, since what went wrong before may show in what is written now.
    fn another(&self, build: &Build, fs: &SimFs, look: Look, next: usize) -> Result<Self, String> {
        let step = Step::Snapshot(next);
        let id = build.step(fs, step).map_err(|e| format!("the next snapshot: {e}"))?;
        let mut expected = self.clone();
        expected.acknowledge(step, id);
        let store = build.open(fs).map_err(|e| format!("opening after the next snapshot: {e}"))?;
        expected.whole(&store, look).map_err(|e| format!("after the next snapshot: {e}"))?;
        Ok(expected)
    }

    /// Every snapshot acknowledged is there, everything listed reads back, and a check agrees.
    pub(crate) fn whole(&self, store: &Store, look: Look) -> Result<(), String> {
        let listing = store.list().map_err(|e| format!("listing: {e}"))?;
        if let Some(damage) = listing.damage.first() {
            return Err(format!("something torn is listed: {damage}"));
        }
        let listed: BTreeSet<SnapshotId> = listing.snapshots.iter().map(|(id, _)| *id).collect();
        if let Some(lost) = self.snapshots.difference(&listed).next() {
            return Err(format!("snapshot {} was acknowledged and is gone", lost.0.short(12)));
        }
        if !listing.snapshots.is_sorted_by(|(_, a), (_, b)| a.counter < b.counter) {
            return Err("two snapshots have one counter".to_owned());
        }
        for (_, manifest) in &listing.snapshots {
            reads_back(store, manifest)?;
        }
        let report = store.check(true, &mut |_, _| true).map_err(|e| format!("checking: {e}"))?;
        if !report.affected.is_empty() {
            return Err(format!("the check finds snapshots affected: {:?}", report.findings));
        }
        if !report.findings.is_empty() && look == Look::NothingWrong {
            return Err(format!("the check finds damage: {:?}", report.findings));
        }
        Ok(())
    }
}

fn reads_back(store: &Store, manifest: &Manifest) -> Result<(), String> {
    match is_exact(store, manifest) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("snapshot {} reads back as something else", manifest.taken.0)),
        Err(e) => Err(format!("snapshot {} does not read back: {e}", manifest.taken.0)),
    }
}

/// Whether a snapshot reads back as what was saved; its time says which volume that was.
pub(crate) fn is_exact(store: &Store, manifest: &Manifest) -> Result<bool, StoreError> {
    let saved = volume(usize::try_from(manifest.taken.0).unwrap());
    common::load(store, manifest.volumes[0].map).map(|found| found == saved)
}
