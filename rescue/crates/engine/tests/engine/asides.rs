//! A capture that stops loses nothing: what it saved is put aside, and the next one goes on from there, as far as the file systems
//! prove that they were left alone.

use crate::image::{MIB, noise, tool};
use crate::sim::{Hasty, NoKeys, Sim, Ticking, store as open};
use engine::parser::Local;
use engine::plan::snapshot::{self, Scope};
use engine::run::capture::{MoreTable, capture};
use engine::run::choice::estimate;
use engine::run::{Context, Observer, Stop};
use model::assessment::Report;
use model::command::ExitCode;
use model::event::Progress;
use model::id::{Digest, DiskNo, SnapshotId, VolumePath};
use model::inspection::{Content, Disk, Inspection, Volume};
use model::plan::SnapshotEstimate;
use model::ports::{Clock, Devices, ObjectError, ObjectName, ObjectStore, ReadAt, UnixMicros};
use model::snapshot::{Compared, Manifest, MapContent};
use model::units::{ByteLen, ByteOffset, Extent};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use store::backend::Memory;
use store::{LocalDecoder, PruneOptions, SigningKey, Store};

const SIZE: usize = 40 * MIB;

fn ext4(command: &str, args: &[&str], image: &Path) {
    let out = tool(command, "e2fsprogs").args(args).arg(image).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A disk that is one ext4 of 40 MiB, more than half full: its journal lies in the middle, behind most of the files.
fn disk() -> Vec<u8> {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
        std::fs::create_dir_all(tree.join("boot/grub")).unwrap();
        for n in 0..12u8 {
            std::fs::write(tree.join(format!("file{n}")), noise(n.into(), 2 * MIB)).unwrap();
        }
        // What a boot loader writes below the file system: whole sectors.
        std::fs::write(tree.join("boot/grub/grubenv"), [b'#'; 1024]).unwrap();
        std::fs::File::create(&image).unwrap().set_len(SIZE as u64).unwrap();
        let uuid = "11111111-aaaa-4aaa-8aaa-000000000009";
        ext4("mke2fs", &["-q", "-F", "-t", "ext4", "-U", uuid, "-d", tree.to_str().unwrap()], &image);
        std::fs::read(image).unwrap()
    };
    DISK.get_or_init(make).clone()
}

/// The same, after `debugfs` wrote to it: a session, as far as its superblock tells.
fn used_since(disk: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    std::fs::write(&image, disk).unwrap();
    std::fs::write(dir.path().join("new"), noise(77, MIB)).unwrap();
    let script = dir.path().join("script");
    let new = dir.path().join("new");
    std::fs::write(&script, format!("rm file3\nwrite {} file3\n", new.display())).unwrap();
    let mut debugfs = tool("debugfs", "e2fsprogs");
    debugfs.env("E2FSPROGS_FAKE_TIME", "1790001000").args(["-w", "-f"]).arg(&script).arg(&image);
    assert!(debugfs.output().unwrap().status.success());
    std::fs::read(image).unwrap()
}

/// Where grubenv's bytes lie.
fn grubenv(disk: &[u8]) -> usize {
    disk.chunks(1024).position(|block| block == [b'#'; 1024]).unwrap() * 1024
}

/// Says stop after so many bytes were saved, and keeps what it was told.
struct Watcher {
    stop_at: u64,
    done: AtomicU64,
    told: Mutex<(Vec<Progress>, Option<SnapshotEstimate>)>,
}

impl Watcher {
    fn stopping_at(bytes: usize) -> Self {
        Self { stop_at: bytes as u64, done: AtomicU64::new(0), told: Mutex::default() }
    }

    fn patient() -> Self {
        Self::stopping_at(usize::MAX)
    }

    fn estimate(&self) -> SnapshotEstimate {
        self.told.lock().unwrap().1.clone().unwrap()
    }
}

impl Observer for Watcher {
    fn progress(&self, progress: Progress) {
        if let Some(cost) = progress.cost {
            self.done.store(cost.read.0, Ordering::Relaxed);
        }
        self.told.lock().unwrap().0.push(progress);
    }
    fn log(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= self.stop_at
    }
    fn estimate(&self, estimate: SnapshotEstimate) {
        self.told.lock().unwrap().1 = Some(estimate);
    }
}

/// A clock of which each look takes so many milliseconds.
struct Slow(Ticking, u32);

impl Clock for Slow {
    fn now(&self) -> UnixMicros {
        self.0.now()
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic() * self.1
    }
}

fn report(sim: &Sim, bytes: &[u8]) -> Report {
    let (path, extent) = (VolumePath::whole(DiskNo(0)), Extent::whole(ByteLen(bytes.len() as u64)));
    let ext: Arc<dyn ReadAt> = Arc::new(bytes.to_vec());
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

/// A machine with that disk, and what is done with it.
struct Machine {
    sim: Arc<Sim>,
    bytes: Vec<u8>,
    full: bool,
    /// Milliseconds that each look at the clock takes: every piece read is told.
    tick: u32,
}

impl Machine {
    fn new(bytes: Vec<u8>) -> Self {
        Self { sim: Sim::new(bytes.clone()), bytes, full: false, tick: 250 }
    }

    fn with<T>(
        &self,
        store: &Store,
        observer: &dyn Observer,
        run: impl FnOnce(&Context<'_>, &model::plan::SnapshotPlan, &Report) -> T,
    ) -> T {
        let (clock, parser) = (Slow(Ticking::default(), self.tick), Hasty(Local::new(self.sim.disks())));
        let cx = Context { devices: &*self.sim, parser: &parser, store, clock: &clock, observer, keys: &NoKeys };
        let report = report(&self.sim, &self.bytes);
        let machine = engine::gather::machine(&report.inspection);
        let aside = store.newest_aside(&machine).unwrap().map(|(id, _)| id);
        let base = engine::run::pending::last_known(store, &machine);
        let base = base.as_ref().map(|(id, manifest)| (*id, manifest));
        let scope = if self.full { Scope::full() } else { Scope::default() };
        let plan = snapshot::keep(&report, base, aside, &scope);
        run(&cx, &plan, &report)
    }

    fn save(&self, store: &Store, observer: &dyn Observer) -> Result<(SnapshotId, Manifest), Stop> {
        self.with(store, observer, |cx, plan, report| capture(cx, plan, report, &MoreTable::new(), (1, 1)))
    }

    /// Saves until so much is read.
    fn stop(&self, store: &Store, at: usize) -> String {
        match self.save(store, &Watcher::stopping_at(at)) {
            Err(Stop::Cancelled(says)) => says.to_string(),
            other => panic!("not stopped: {other:?}"),
        }
    }

    /// What a store of its own gets of it.
    fn alone(&self) -> (MapContent, ByteLen) {
        static KNOWN: Mutex<BTreeMap<Digest, (MapContent, ByteLen)>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap();
        *known.entry(Digest::of(&self.bytes)).or_insert_with(|| {
            let (_, alone) = self.save(&empty(), &Watcher::patient()).unwrap();
            (MapContent::of(&alone.volumes[0].map), alone.volumes[0].captured)
        })
    }

    /// Saves all of it, and sees that it is what a store of its own gets.
    fn whole(&self, store: &Store) -> (Manifest, Compared) {
        let (_, made) = self.save(store, &Watcher::patient()).unwrap();
        let is = (MapContent::of(&made.volumes[0].map), made.volumes[0].captured);
        assert_eq!(is, self.alone());
        assert!(store.check(true, &mut |_, _| true).unwrap().is_clean());
        assert!(store.asides().unwrap().is_empty());
        let compared = made.volumes[0].compared.clone().unwrap();
        let read = made.cost.read.0;
        assert_eq!(read + compared.taken_over.0 + compared.resumed.0, made.volumes[0].captured.0);
        (made, compared)
    }
}

fn empty() -> Store {
    made(&Arc::new(Memory::new()))
}

fn made(objects: &Arc<Memory>) -> Store {
    Store::init(objects.clone()).unwrap();
    Store::open(objects.clone(), Arc::new(LocalDecoder)).unwrap().with_threads(2)
}

#[test]
fn what_was_saved_before_a_stop_is_not_read_again() {
    let objects = Arc::new(Memory::new());
    let machine = Machine::new(disk());
    let says = machine.stop(&made(&objects), 10 * MIB);
    assert!(says.contains("goes on from here"), "{says}");
    assert!(open(&objects).list().unwrap().snapshots.is_empty());
    // And stopped again further on: there is one aside, and it has more.
    let held = |objects: &Arc<Memory>| {
        open(objects).asides().unwrap().iter().map(|(_, a)| a.volumes[0].captured.0).collect::<Vec<_>>()
    };
    let first = held(&objects);
    assert_eq!(first.len(), 1);
    assert!(first[0] >= 4 << 20, "{first:?}");
    machine.stop(&open(&objects), 8 * MIB);
    let second = held(&objects);
    assert!(second.len() == 1 && second[0] > first[0] + (2 << 20), "{first:?} {second:?}");
    // One that comes to nothing takes nothing away.
    let says = machine.stop(&open(&objects), 1);
    assert!(says.contains("before"), "{says}");
    assert_eq!(held(&objects), second);
    let store = open(&objects);
    let (_, compared) = machine.whole(&store);
    // A leaf with what a boot loader may write is read and found to be the same.
    assert!(compared.resumed.0 <= second[0] && compared.resumed.0 + (1 << 20) > second[0], "{compared:?} {second:?}");
}

#[test]
fn what_a_boot_loader_wrote_in_between_is_read() {
    let store = empty();
    let before = Machine::new(disk());
    before.stop(&store, 20 * MIB);
    let mut bytes = disk();
    let at = grubenv(&bytes);
    bytes[at + 7] = b'!';
    bytes[3] = 9;
    let (made, compared) = Machine::new(bytes.clone()).whole(&store);
    assert!(compared.resumed.0 > 8 << 20, "{compared:?}");
    let slice =
        |at: u64| store.map(made.volumes[0].map).slices(Extent::between(at, at + 16).unwrap()).next().unwrap().unwrap();
    assert_eq!(store.read(&slice(at as u64)).unwrap()[..16], bytes[at..at + 16]);
    assert_eq!(store.read(&slice(0)).unwrap()[..16], bytes[..16]);
}

#[test]
fn after_a_session_nothing_is_taken_from_it() {
    let store = empty();
    Machine::new(disk()).stop(&store, 20 * MIB);
    let (made, compared) = Machine::new(used_since(&disk())).whole(&store);
    assert_eq!((compared.resumed.0, made.cost.read), (0, made.volumes[0].captured));
    assert!(made.cost.shared.0 > 8 << 20, "but it is not stored again");
}

#[test]
fn with_full_everything_is_read() {
    let store = empty();
    let mut machine = Machine::new(disk());
    machine.stop(&store, 20 * MIB);
    machine.full = true;
    let (_, compared) = machine.whole(&store);
    assert_eq!(compared.resumed.0, 0);
}

/// What the snapshot before has and what was put aside since: one comes on top of the other.
#[test]
fn an_increment_goes_on_too() {
    let objects = Arc::new(Memory::new());
    let store = made(&objects);
    let (_, then) = Machine::new(disk()).save(&store, &Watcher::patient()).unwrap();
    let now = Machine::new(used_since(&disk()));
    now.stop(&store, 12 * MIB);
    let (made, compared) = now.whole(&store);
    assert!(compared.resumed.0 >= 4 << 20 && made.cost.read.0 < then.cost.read.0 - (4 << 20), "{compared:?}");
    // Nobody wrote to it since the snapshot: nothing is left for the aside, which there was no time to make.
    let (_, again) = now.whole(&store);
    assert!(again.taken_over.0 > 20 << 20 && again.resumed.0 == 0, "{again:?}");
}

/// A stick that is pulled out while it is saved to.
struct Pulled {
    stick: Arc<Memory>,
    out: AtomicBool,
}

impl Pulled {
    fn stick(&self) -> Result<&Memory, ObjectError> {
        match self.out.load(Ordering::Relaxed) {
            false => Ok(&self.stick),
            true => Err(ObjectError::Io { what: "the stick".into(), source: io::Error::from_raw_os_error(19) }),
        }
    }
}

impl ObjectStore for Pulled {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.stick()?.put(name, bytes)
    }
    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        self.stick()?.get(name, at, buf)
    }
    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        self.stick()?.len(name)
    }
    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        self.stick()?.list(prefix)
    }
    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.stick()?.delete(name)
    }
    fn free(&self) -> Option<ByteLen> {
        None
    }
    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        self.stick()?.lock()
    }
}

/// Whoever is killed, or loses the stick, puts nothing aside any more: what was put aside on the way is there.
#[test]
fn now_and_then_it_is_put_aside_on_the_way() {
    struct Pulling<'a>(&'a Pulled);
    impl Observer for Pulling<'_> {
        fn progress(&self, progress: Progress) {
            if progress.cost.is_some_and(|cost| cost.read.0 >= 20 << 20) {
                self.0.out.store(true, Ordering::Relaxed);
            }
        }
        fn log(&self, _: &str) {}
        fn cancelled(&self) -> bool {
            false
        }
    }
    let stick = Arc::new(Memory::new());
    Store::init(stick.clone()).unwrap();
    let pulled = Arc::new(Pulled { stick: stick.clone(), out: AtomicBool::new(false) });
    let machine = Machine { tick: 10_000, ..Machine::new(disk()) };
    let store = Store::open(pulled.clone(), Arc::new(LocalDecoder)).unwrap();
    let stopped = machine.save(&store, &Pulling(&pulled));
    assert!(matches!(stopped, Err(Stop::Failed(_))), "{stopped:?}");
    drop(store);
    let (_, compared) = machine.whole(&open(&stick));
    assert!(compared.resumed.0 > 8 << 20, "{compared:?}");
}

#[test]
fn where_the_store_becomes_full_it_says_what_is_needed_and_goes_on_when_there_is_room() {
    let objects = Arc::new(Memory::with_capacity(ByteLen(34 << 20)));
    let store = made(&objects);
    // Something else lies there.
    let other = noise(55, 6 * MIB);
    let mut writer = store.writer().unwrap();
    writer.begin(ByteLen(1 << 30));
    writer.write(ByteOffset(0), other).unwrap();
    let map = writer.end().unwrap();
    let machine = Machine::new(disk());
    let mut manifest = machine.save(&empty(), &Watcher::patient()).unwrap().1;
    manifest.machine.disks = vec!["another".into()];
    manifest.machine.machine_id = Some("another".into());
    manifest.volumes[0].map = map;
    let (first, _) = writer.finish(manifest).unwrap();

    let watcher = Watcher::patient();
    let Err(Stop::Full(failure)) = machine.save(&store, &watcher) else { panic!("it fits") };
    let said = watcher.estimate();
    assert!(said.is_tight() || said.free.unwrap() < said.at_most, "{said:?}");
    assert_eq!(failure.code, ExitCode::Interrupted);
    let (says, advice) = (failure.says.to_string(), failure.advice.to_string());
    assert!(says.contains("full") && says.contains("more are needed"), "{says}");
    assert!(advice.contains("forget") && advice.contains("goes on from here"), "{advice}");
    assert!(store.check(true, &mut |_, _| true).unwrap().is_clean());

    store.forget(&[first]).unwrap();
    store.prune(PruneOptions { now: true, rewrite: 50 }, &mut |_, _, _| true).unwrap();
    // What is free now is not enough either: it comes further, and no more is lost.
    let had = store.asides().unwrap()[0].1.volumes[0].captured.0;
    let Err(Stop::Full(_)) = machine.save(&store, &Watcher::patient()) else { panic!("it fits") };
    let has = store.asides().unwrap()[0].1.volumes[0].captured.0;
    assert!(has >= had + (4 << 20), "{had} {has}");
}

#[test]
fn what_it_will_take_is_told_before() {
    let store = empty();
    let machine = Machine::new(disk());
    let told = machine.with(&store, &Watcher::patient(), estimate).unwrap();
    assert!(store.list().unwrap().snapshots.is_empty() && store.asides().unwrap().is_empty());
    let watcher = Watcher::patient();
    let (_, made) = machine.save(&store, &watcher).unwrap();
    assert_eq!(told, watcher.estimate());
    assert_eq!((told.read, told.volumes[0].used, told.free), (made.cost.read, made.volumes[0].captured, None));
    assert!(made.cost.stored <= told.at_most && told.likely <= told.at_most, "{told:?} {:?}", made.cost);
    let again = machine.with(&store, &Watcher::patient(), estimate).unwrap();
    assert!(again.read.0 < 1 << 20 && again.volumes[0].read.compared.taken_over.0 > 20 << 20, "{again:?}");
    // Progress says what became of what was read.
    let seen = watcher.told.lock().unwrap().0.clone();
    let saving: Vec<_> = seen.iter().filter(|p| p.phase.as_str().starts_with("saving d0 (ext4)")).collect();
    let last = saving.last().unwrap();
    assert_eq!((last.done, last.total, last.cost.unwrap().read), (told.read, told.read, made.cost.read));
    assert!(saving.iter().any(|p| p.rate.0 > 0 && p.remaining.is_some()));
}

/// What another put aside would be signed as if it had been read here.
#[test]
fn what_nobody_vouches_for_is_read() {
    let objects = Arc::new(Memory::new());
    let machine = Machine::new(disk());
    machine.stop(&made(&objects), 20 * MIB);
    let store = open(&objects);
    store.set_signer(SigningKey::generate(&store::SystemEntropy).unwrap());
    let (_, compared) = machine.whole(&store);
    assert_eq!(compared.resumed.0, 0);
}
