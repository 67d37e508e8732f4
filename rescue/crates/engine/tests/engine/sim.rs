//! A simulated machine: disks in memory that log what is written, fail on demand, and can be cut off.

use engine::parser::{Local, Parser, ParserError, Scene, State as FsState};
use engine::{Config, Engine, Handle, Sticks, StorePlace};
use model::command::Command;
use model::esp::{EspReading, Tenancy};
use model::event::{Event, Outcome};
use model::evidence::Evidence;
use model::id::{Digest, DiskNo, SnapshotId, VolumePath};
use model::inspection::{Content, Finding, Hardware, Inspection, System, Volume};
use model::mapping::Beneath;
use model::ports::{
    Clear, Clock, Devices, DiskSource, HEAD_LEN, LeaseError, LeaseRequest, ObjectStore, ReadAt, ReadError, UnixMicros,
    WriteError, WriteLease, check_range,
};
use model::restore::{FitTable, FittedTable};
use model::units::{ByteLen, ByteOffset, Extent};
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::backend::Memory;
use store::{DecodeHere, LocalDecoder, Store};

/// Something a lease did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Write {
        at: usize,
        bytes: Vec<u8>,
    },
    /// Makes durable what was written within these bytes, and nothing else.
    Sync {
        from: usize,
        to: usize,
    },
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The call of that number (writes, syncs and reads back, from 0) fails once with EIO.
    Call(usize),
    /// Taking a lease is a test failure.
    Lease,
    /// Reading these bytes of the disk fails (not through a lease).
    Read {
        from: usize,
        to: usize,
    },
}

struct State {
    bytes: Vec<u8>,
    ops: Vec<Op>,
    calls: usize,
    fault: Fault,
    leased: Vec<Extent>,
}

/// A machine with one disk.
pub(crate) struct Sim {
    pub(crate) hardware: Hardware,
    state: Arc<Mutex<State>>,
}

impl Sim {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Self::failing(bytes, Fault::None)
    }

    pub(crate) fn failing(bytes: Vec<u8>, fault: Fault) -> Arc<Self> {
        let hardware = Hardware {
            serial: Some("S1".into()),
            transport: "memory".into(),
            ..Hardware::image("simulated", ByteLen(bytes.len() as u64))
        };
        let state = State { bytes, ops: Vec::new(), calls: 0, fault, leased: Vec::new() };
        Arc::new(Self { hardware, state: Arc::new(Mutex::new(state)) })
    }

    /// A machine whose disk is another piece of hardware.
    pub(crate) fn with(bytes: Vec<u8>, change: impl FnOnce(&mut Hardware)) -> Arc<Self> {
        Self::failing_with(bytes, Fault::None, change)
    }

    pub(crate) fn failing_with(bytes: Vec<u8>, fault: Fault, change: impl FnOnce(&mut Hardware)) -> Arc<Self> {
        let mut sim = Arc::into_inner(Self::failing(bytes, fault)).unwrap();
        change(&mut sim.hardware);
        Arc::new(sim)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.lock().unwrap().bytes.clone()
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.state.lock().unwrap().ops.clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }
}

struct View(Arc<Mutex<State>>, u64);

impl ReadAt for View {
    fn size(&self) -> ByteLen {
        ByteLen(self.1)
    }
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        let state = self.0.lock().unwrap();
        let start = usize::try_from(at.0).unwrap();
        if let Fault::Read { from, to } = state.fault
            && start < to
            && start + buf.len() > from
        {
            let source = io::Error::from_raw_os_error(5);
            return Err(ReadError::Io { at: at.0, len: buf.len() as u64, source });
        }
        buf.copy_from_slice(&state.bytes[start..start + buf.len()]);
        Ok(())
    }
}

impl Devices for Sim {
    fn disks(&self) -> Vec<DiskSource> {
        let bytes = Arc::new(View(self.state.clone(), self.hardware.size.0));
        vec![DiskSource { no: DiskNo(0), hardware: self.hardware.clone(), bytes, clear: None }]
    }

    fn lease(&self, request: &LeaseRequest) -> Result<Box<dyn WriteLease>, LeaseError> {
        let mut state = self.state.lock().unwrap();
        assert_ne!(state.fault, Fault::Lease, "nothing may be leased here");
        let other = |what: &str| Err(LeaseError::OtherDisk { disk: request.disk, what: what.into() });
        if request.hardware != self.hardware {
            return other("its hardware");
        }
        let head = Digest::of(&state.bytes[..usize::try_from(HEAD_LEN.0).unwrap()]);
        if request.head.is_some_and(|h| h != head) {
            return other("its head");
        }
        // The kernel gives the whole disk to one, or its partitions to several.
        let part = |e: &Extent| e.start().0.is_multiple_of(1 << 20) && e.len().0 >= 1 << 20 && e.start().0 > 0;
        let clash =
            state.leased.iter().any(|e| e.intersect(request.extent).is_some() || part(e) != part(&request.extent));
        if clash {
            return Err(LeaseError::InUse { disk: request.disk, holder: "another lease".into() });
        }
        state.leased.push(request.extent);
        Ok(Box::new(Lease { state: self.state.clone(), extent: request.extent, poisoned: false }))
    }
}

struct Lease {
    state: Arc<Mutex<State>>,
    extent: Extent,
    poisoned: bool,
}

impl Lease {
    /// Counts a call and fails it where that was asked for.
    fn call(&self, state: &mut State, what: &'static str, at: ByteOffset, len: usize) -> Result<usize, WriteError> {
        let size = self.extent.len().0;
        if at.0 + len as u64 > size {
            return Err(WriteError::OutOfRange { at: at.0, len: len as u64, size });
        }
        let number = state.calls;
        state.calls += 1;
        if self.poisoned || state.fault == Fault::Call(number) {
            return Err(WriteError::Io { what, at: at.0, source: io::Error::from_raw_os_error(5) });
        }
        Ok(usize::try_from(self.extent.start().0 + at.0).unwrap())
    }
}

impl WriteLease for Lease {
    fn size(&self) -> ByteLen {
        self.extent.len()
    }

    fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError> {
        let mut state = self.state.lock().unwrap();
        let start = self.call(&mut state, "write", at, bytes.len())?;
        state.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        state.ops.push(Op::Write { at: start, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        let mut state = self.state.lock().unwrap();
        if let Err(e) = self.call(&mut state, "sync", ByteOffset(0), 0) {
            self.poisoned = true;
            return Err(e);
        }
        let from = usize::try_from(self.extent.start().0).unwrap();
        let to = usize::try_from(self.extent.end().0).unwrap();
        state.ops.push(Op::Sync { from, to });
        Ok(())
    }

    fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        let mut state = self.state.lock().unwrap();
        let start = self.call(&mut state, "read back", at, buf.len())?;
        buf.copy_from_slice(&state.bytes[start..start + buf.len()]);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.lock().unwrap().leased.retain(|e| *e != self.extent);
    }
}

/// How writes that were not made durable are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of them.
    All,
    /// None.
    Nothing,
    /// Sector by sector, by this seed: an early write may be lost and a late one kept, and one write may be torn.
    Torn(u64),
}

/// What stands on the disk after the power was cut behind the first `count` operations.
pub(crate) fn after_cut(before: &[u8], ops: &[Op], count: usize, loss: Loss) -> Vec<u8> {
    let mut durable = before.to_vec();
    let mut pending: Vec<(usize, &[u8])> = Vec::new();
    for op in &ops[..count] {
        match op {
            Op::Write { at, bytes } => pending.push((*at, bytes)),
            Op::Sync { from, to } => pending.retain(|(at, bytes)| {
                let covered = at >= from && at + bytes.len() <= *to;
                if covered {
                    durable[*at..at + bytes.len()].copy_from_slice(bytes);
                }
                !covered
            }),
        }
    }
    let mut x = match loss {
        Loss::All => return durable,
        Loss::Nothing => 0,
        Loss::Torn(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
    };
    for (at, bytes) in pending {
        for sector in (0..bytes.len()).step_by(512) {
            if x != 0 {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
            }
            if x >> 40 & 1 == 0 {
                let end = (sector + 512).min(bytes.len());
                durable[at + sector..at + end].copy_from_slice(&bytes[sector..end]);
            }
        }
    }
    durable
}

/// A clock that moves one second each time it is asked.
#[derive(Default)]
pub(crate) struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> UnixMicros {
        UnixMicros::from_seconds(1_790_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap_or(0))
    }
}

/// A parser in this process that gathers no evidence: these tests are about bytes, and evidence takes most of the time.
pub(crate) struct Hasty(pub(crate) Local);

impl Parser for Hasty {
    fn table(&self, disk: DiskNo) -> Result<disk::table::TableReading, ParserError> {
        self.0.table(disk)
    }
    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        self.0.content(volume, extent)
    }
    fn layers(&self, inspection: &Inspection) -> Result<model::mapping::Layers, ParserError> {
        self.0.layers(inspection)
    }
    fn luks(&self, volume: &Volume) -> Result<model::luks::LuksHeader, ParserError> {
        self.0.luks(volume)
    }
    fn saved_luks(&self, saved: Arc<dyn ReadAt>) -> Result<model::luks::LuksHeader, ParserError> {
        self.0.saved_luks(saved)
    }
    fn given(&self, devices: Arc<dyn Devices>) {
        self.0.given(devices);
    }
    fn mapped_content(&self, volume: &Volume) -> Result<(Content, Vec<Finding>), ParserError> {
        self.0.mapped_content(volume)
    }
    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
        self.0.systems(inspection)
    }
    fn evidence(&self, _: &Scene, _: usize) -> Result<Vec<Evidence>, ParserError> {
        Ok(Vec::new())
    }
    fn coverage(&self, volume: &Volume) -> Result<model::coverage::Coverage, ParserError> {
        self.0.coverage(volume)
    }
    fn boot_repairs(&self, inspection: &Inspection) -> Result<model::boot::BootRepairs, ParserError> {
        self.0.boot_repairs(inspection)
    }
    fn changes(&self, volume: &Volume, before: Arc<dyn ReadAt>) -> Result<model::coverage::Changes, ParserError> {
        self.0.changes(volume, before)
    }
    fn fit_table(&self, saved: Arc<dyn ReadAt>, wanted: &FitTable) -> Result<FittedTable, ParserError> {
        self.0.fit_table(saved, wanted)
    }
    fn esp(&self, then: &FsState, now: &FsState, tenancy: &Tenancy) -> Result<EspReading, ParserError> {
        self.0.esp(then, now, tenancy)
    }
    fn over(&self, disks: Vec<DiskSource>) -> Result<Box<dyn Parser>, ParserError> {
        self.0.over(disks)
    }
}

impl DecodeHere for Hasty {}

/// No encrypted volume was opened.
pub(crate) struct NoKeys;

impl Clear for NoKeys {
    fn view(&self, _: &Beneath, _: Arc<dyn ReadAt>) -> Option<Arc<dyn ReadAt>> {
        None
    }
}

/// An engine on a machine, with a store in memory.
pub(crate) fn engine(sim: &Arc<Sim>, objects: &Arc<Memory>) -> Handle {
    engine_at(sim, StorePlace::Objects { objects: objects.clone(), create: true })
}

/// An engine whose store is anywhere.
pub(crate) fn engine_at(sim: &Arc<Sim>, store: StorePlace) -> Handle {
    engine_with(sim, store, None)
}

/// One that a second stick can be plugged in beside.
pub(crate) fn engine_with(sim: &Arc<Sim>, store: StorePlace, sticks: Option<Arc<dyn Sticks>>) -> Handle {
    let parser = Arc::new(Hasty(Local::new(sim.disks())));
    Engine::start(Config {
        devices: sim.clone(),
        parser,
        store: Some(store),
        other: None,
        sticks,
        heads: None,
        clock: Arc::new(Ticking::default()),
    })
}

/// Runs a command on a machine and says yes to its plan. Returns how it ended and every event.
pub(crate) fn run(sim: &Arc<Sim>, objects: &Arc<Memory>, command: Command) -> (Outcome, Vec<Event>) {
    let handle = engine(sim, objects);
    let mut events = Vec::new();
    let outcome = handle.run(command, &mut |e| events.push(e.clone()), &mut |_, _| Some(true));
    (outcome, events)
}

/// Runs a command that must succeed.
pub(crate) fn must(sim: &Arc<Sim>, objects: &Arc<Memory>, command: Command) -> Outcome {
    let (outcome, events) = run(sim, objects, command.clone());
    assert!(
        !matches!(outcome, Outcome::Failed(_) | Outcome::Cancelled(_) | Outcome::Declined),
        "{command:?}: {outcome:?}\n{:?}",
        events
            .iter()
            .filter(|e| matches!(e.what, model::event::Happening::Log(_) | model::event::Happening::DecisionNeeded(_)))
            .collect::<Vec<_>>()
    );
    outcome
}

pub(crate) fn store(objects: &Arc<Memory>) -> Store {
    Store::open(objects.clone(), Arc::new(LocalDecoder)).unwrap()
}

/// Deletes what runs left in the store beyond what it had.
pub(crate) fn reset(objects: &Memory, intents: &[model::ports::ObjectName]) {
    for name in objects.list("receipts").unwrap() {
        objects.delete(&name).unwrap();
    }
    for name in objects.list("intents").unwrap().iter().filter(|n| !intents.contains(n)) {
        objects.delete(name).unwrap();
    }
}

/// Whether the disk holds every byte that a snapshot has of these volumes; if not, the first that differs.
pub(crate) fn holds(store: &Store, id: SnapshotId, volumes: &[u32], bytes: &[u8]) -> Result<(), String> {
    let manifest = store.manifest(id).unwrap();
    for volume in manifest.volumes.iter().filter(|v| volumes.contains(&v.path.number().unwrap())) {
        for slice in store.map(volume.map).slices(Extent::whole(volume.extent.len())) {
            let slice = slice.unwrap();
            let wanted = store.read(&slice).unwrap();
            let at = usize::try_from(volume.extent.start().0 + slice.extent.start().0).unwrap();
            if bytes[at..at + wanted.len()] != wanted[..] {
                let first = wanted.iter().zip(&bytes[at..]).position(|(a, b)| a != b).unwrap();
                return Err(format!("{} differs at byte {}", volume.path, slice.extent.start().0 + first as u64));
            }
        }
    }
    Ok(())
}

/// True for every byte of the disk that a snapshot has of these volumes.
pub(crate) fn used(store: &Store, id: SnapshotId, volumes: &[u32], mask: &mut [bool]) {
    let manifest = store.manifest(id).unwrap();
    for volume in manifest.volumes.iter().filter(|v| volumes.contains(&v.path.number().unwrap())) {
        for slice in store.map(volume.map).slices(Extent::whole(volume.extent.len())) {
            let extent = slice.unwrap().extent;
            let at = usize::try_from(volume.extent.start().0 + extent.start().0).unwrap();
            mask[at..at + extent.len().to_usize().unwrap()].fill(true);
        }
    }
}

impl Sim {
    /// Changes a byte behind everybody's back.
    pub(crate) fn poke(&self, at: usize, byte: u8) {
        self.state.lock().unwrap().bytes[at] = byte;
    }
}

/// CRC-32 as GPT uses it (IEEE 802.3, reflected).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// Rewrites both GPT headers (and the sums) after `change` has had the header and the entries of each.
fn edit(bytes: &mut [u8], change: impl Fn(&mut [u8], &mut [u8])) {
    let last = bytes.len() / 512 - 1;
    for header in [1, last] {
        let mut head = bytes[header * 512..header * 512 + 92].to_vec();
        let at = usize::try_from(u64::from_le_bytes(head[72..80].try_into().unwrap())).unwrap() * 512;
        let mut entries = bytes[at..at + 128 * 128].to_vec();
        change(&mut head, &mut entries);
        head[88..92].copy_from_slice(&crc(&entries).to_le_bytes());
        head[16..20].fill(0);
        let sum = crc(&head);
        head[16..20].copy_from_slice(&sum.to_le_bytes());
        bytes[header * 512..header * 512 + 92].copy_from_slice(&head);
        bytes[at..at + 128 * 128].copy_from_slice(&entries);
    }
}

/// Gives the disk another GUID.
pub(crate) fn reguid(bytes: &mut [u8]) {
    edit(bytes, |head, _| head[56] ^= 0xff);
}

/// Makes a partition end `sectors` earlier.
pub(crate) fn retable(bytes: &mut [u8], number: usize, sectors: u64) {
    edit(bytes, |_, entries| {
        let at = (number - 1) * 128 + 40;
        let end = u64::from_le_bytes(entries[at..at + 8].try_into().unwrap()) - sectors;
        entries[at..at + 8].copy_from_slice(&end.to_le_bytes());
    });
}
