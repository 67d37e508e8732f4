//! Saving: the caller reads disks and hands over runs of bytes, worker threads hash and compress them, one packer thread
//! builds packs and maps in address order, one more puts the packs and reads them back.
//!
//! Memory is bounded whatever the volume's size: at most [`IN_FLIGHT`] cells are between the caller and the packer (8 MiB),
//! and at most four packs of 16 MiB exist at once (data and nodes being filled, one waiting, one being put).

mod packer;
mod putter;
mod tree;
mod worker;

use crate::error::StoreError;
use crate::layout::{CELL, MAX_RUNS, MAX_VOLUME, big, small, snapshot_name};
use crate::snapshots::{encode, maps};
use crate::store::Store;
use model::id::{Digest, SnapshotId};
use model::snapshot::{Cost, FORMAT, Manifest, MapRoot, Purpose};
use model::units::{ByteLen, ByteOffset};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Cells between the caller and the packer.
const IN_FLIGHT: usize = 128;

/// One snapshot being saved. Holds the store's lock until it is finished or dropped; dropped, it leaves packs that nothing
/// names, and a later run saves against them.
pub struct Writer {
    store: Store,
    pipe: Option<Pipe>,
    common: Arc<Common>,
    volume: Option<Volume>,
    made: HashSet<MapRoot>,
    lock: Option<Box<dyn Send>>,
}

/// What every thread of a run shares.
#[derive(Default)]
pub(crate) struct Common {
    failure: Mutex<Option<StoreError>>,
    read: AtomicU64,
    shared: AtomicU64,
    new: AtomicU64,
    stored: AtomicU64,
}

impl Common {
    /// The first failure is the one that is told, at every call from then on.
    fn fail(&self, e: StoreError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
    }

    fn check(&self) -> Result<(), StoreError> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }
}

/// The way to the threads.
struct Pipe {
    jobs: Sender<worker::Job>,
    events: Sender<(u64, packer::Event)>,
    tokens: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
    sequence: u64,
}

/// A volume being written.
struct Volume {
    len: u64,
    /// Everything below is written or a hole.
    at: u64,
    open: Option<OpenCell>,
}

/// The used bytes of one cell, being gathered.
struct OpenCell {
    index: u64,
    runs: Vec<worker::Run>,
    bytes: Vec<u8>,
}

impl Store {
    /// Begins a snapshot. One at a time can be saved into a store.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another is being saved; [`StoreError::Io`].
    pub fn writer(&self) -> Result<Writer, StoreError> {
        let lock = self.objects().lock()?;
        self.refresh()?;
        Writer::start(self.clone(), lock)
    }
}

impl Writer {
    fn start(store: Store, lock: Box<dyn Send>) -> Result<Self, StoreError> {
        let common = Arc::new(Common::default());
        let (jobs, job_queue) = channel();
        let (events, event_queue) = channel();
        let (packs, pack_queue) = sync_channel(1);
        let (give_back, tokens) = sync_channel(IN_FLIGHT);
        for _ in 0..IN_FLIGHT {
            // There is room for exactly so many.
            let _ = give_back.try_send(());
        }
        let pending = Arc::new(Mutex::new(HashSet::new()));
        let mut threads = Vec::new();
        let mut spawn = |name: &str, body: Box<dyn FnOnce() + Send>| -> Result<(), StoreError> {
            let thread = Builder::new().name(name.to_owned()).spawn(body);
            threads.push(thread.map_err(|e| StoreError::io(format!("starting a thread failed: {e}")))?);
            Ok(())
        };
        let putter = putter::Putter::new(store.clone(), common.clone(), pending.clone());
        spawn("store-put", Box::new(move || putter.run(&pack_queue)))?;
        let packer = packer::Packer::new(store.clone(), common.clone(), pending, packs, give_back);
        spawn("store-pack", Box::new(move || packer.run(&event_queue)))?;
        let job_queue = Arc::new(Mutex::new(job_queue));
        let workers = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 8);
        for _ in 0..workers {
            let (store, common) = (store.clone(), common.clone());
            let (queue, events) = (job_queue.clone(), events.clone());
            spawn("store-work", Box::new(move || worker::run(&store, &common, &queue, &events)))?;
        }
        let pipe = Pipe { jobs, events, tokens, threads, sequence: 0 };
        Ok(Self { store, pipe: Some(pipe), common, volume: None, made: HashSet::new(), lock: Some(lock) })
    }

    /// Begins a volume (or a table) of `len` bytes. What an unended one before it was given is part of no map.
    pub fn begin(&mut self, len: ByteLen) {
        self.volume = Some(Volume { len: len.0, at: 0, open: None });
        if let Some(pipe) = &mut self.pipe {
            pipe.send(packer::Event::Begin);
        }
    }

    /// Hands over used bytes of the volume. Calls rise in address and do not overlap; runs may be of any length, and runs
    /// that touch are one. What is not handed over is a hole.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where the rules are broken; [`StoreError::Full`], [`StoreError::Io`] where anything handed
    /// over before could not be stored: the writer is of no more use then.
    pub fn write(&mut self, at: ByteOffset, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.common.check()?;
        let volume = self.volume.as_mut().ok_or_else(|| StoreError::misuse("write before begin"))?;
        let end = at.0.checked_add(bytes.len() as u64).filter(|e| *e <= volume.len.min(MAX_VOLUME));
        let end = end.ok_or_else(|| {
            StoreError::misuse(format!("{} bytes at {at} of a volume of {} bytes", bytes.len(), volume.len))
        })?;
        if at.0 < volume.at {
            return Err(StoreError::misuse(format!("bytes at {at} after bytes up to {}", volume.at)));
        }
        volume.at = end;
        self.common.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let cell = u64::from(CELL);
        if bytes.len() == big(CELL) && at.0.is_multiple_of(cell) {
            // A whole cell moves on without being copied.
            self.close_cell()?;
            return self.send(OpenCell { index: at.0 / cell, runs: vec![worker::Run { start: 0, len: CELL }], bytes });
        }
        let (mut at, mut rest) = (at.0, bytes.as_slice());
        while !rest.is_empty() {
            let room = usize::try_from(cell - at % cell).expect("a cell fits memory");
            let (part, after) = rest.split_at(room.min(rest.len()));
            self.add(at, part)?;
            at += part.len() as u64;
            rest = after;
        }
        Ok(())
    }

    /// Adds bytes of one cell.
    fn add(&mut self, at: u64, part: &[u8]) -> Result<(), StoreError> {
        let cell = u64::from(CELL);
        let (index, start) = (at / cell, usize::try_from(at % cell).expect("a cell fits memory"));
        if self.volume.as_ref().and_then(|v| v.open.as_ref()).is_some_and(|o| o.index != index) {
            self.close_cell()?;
        }
        let Some(volume) = &mut self.volume else { return Ok(()) };
        let open = volume.open.get_or_insert_with(|| OpenCell { index, runs: Vec::new(), bytes: Vec::new() });
        let full = open.runs.len() == MAX_RUNS;
        match open.runs.last_mut() {
            Some(last) if big(last.start + last.len) == start => last.len += small(part.len()),
            _ if full => {
                let text = format!("more than {MAX_RUNS} separate runs within 64 KiB at {}", index * cell);
                return Err(StoreError::misuse(text));
            }
            _ => open.runs.push(worker::Run { start: small(start), len: small(part.len()) }),
        }
        open.bytes.extend_from_slice(part);
        if start + part.len() == big(CELL) { self.close_cell() } else { Ok(()) }
    }

    fn close_cell(&mut self) -> Result<(), StoreError> {
        match self.volume.as_mut().and_then(|v| v.open.take()) {
            Some(open) => self.send(open),
            None => Ok(()),
        }
    }

    fn send(&mut self, cell: OpenCell) -> Result<(), StoreError> {
        let gone = || self.common.check().err().unwrap_or_else(|| StoreError::io("a thread of the store stopped"));
        let pipe = self.pipe.as_mut().ok_or_else(gone)?;
        pipe.tokens.recv().map_err(|_| gone())?;
        let sequence = pipe.sequence;
        pipe.sequence += 1;
        let OpenCell { index, runs, bytes } = cell;
        pipe.jobs.send(worker::Job { sequence, index, runs, bytes }).map_err(|_| gone())
    }

    /// Ends the volume: its map is in memory or on the way to the store, and names everything written since `begin`.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn end(&mut self) -> Result<MapRoot, StoreError> {
        if self.volume.is_none() {
            return Err(StoreError::misuse("end before begin"));
        }
        self.close_cell()?;
        self.volume = None;
        let root = self.ask(packer::Event::End)?;
        self.made.insert(root);
        Ok(root)
    }

    /// What was read, found and stored so far.
    pub fn cost(&self) -> Cost {
        let of = |n: &AtomicU64| ByteLen(n.load(Ordering::Relaxed));
        let c = &self.common;
        Cost { read: of(&c.read), shared: of(&c.shared), new: of(&c.new), stored: of(&c.stored) }
    }

    /// Makes everything durable and proven, then writes the manifest, last, and reads it back. `format`, `counter`,
    /// `parent` and `cost` are filled in here.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where a volume is not ended or the manifest names a map that is not whole in this store;
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`] where something does not read back. No snapshot
    /// was made in any of these cases.
    pub fn finish(mut self, mut manifest: Manifest) -> Result<(SnapshotId, Manifest), StoreError> {
        if self.volume.is_some() {
            return Err(StoreError::misuse("finish before end"));
        }
        self.ask(packer::Event::Flush)?;
        for (root, _, name) in maps(&manifest) {
            if !self.made.contains(&root) {
                self.store.is_whole(root).map_err(|e| StoreError::misuse(format!("the map of {name}: {e}")))?;
            }
        }
        let before = self.store.list()?.snapshots;
        manifest.format = FORMAT;
        manifest.counter = before.last().map_or(0, |(_, m)| m.counter).saturating_add(1);
        let same = before.iter().rev().find(|(_, m)| m.purpose == Purpose::Keep && m.machine.is(&manifest.machine));
        manifest.parent = same.map(|(id, _)| *id);
        manifest.cost = self.cost();
        let bytes = encode(&manifest, "a manifest")?;
        // What this program could not read again must not be written: found out now, not at the rollback.
        let again = serde_json::from_slice::<Manifest>(&bytes);
        if !again.as_ref().is_ok_and(|m| *m == manifest) {
            let why = again.err().map_or_else(|| "it comes back changed".to_owned(), |e| e.to_string());
            return Err(StoreError::misuse(format!("the manifest cannot be read back: {why}")));
        }
        let id = Digest::of(&bytes);
        let name = snapshot_name(&id);
        if let Err(e) = self.store.put_and_read_back(&name, &bytes) {
            // Where the put succeeded and only the proof failed, there must be no snapshot by that name.
            let _ = self.store.objects().delete(&name);
            return Err(e);
        }
        self.stop();
        Ok((SnapshotId(id), manifest))
    }

    /// Sends a question down the pipe and waits for its answer.
    fn ask<T>(&mut self, event: impl FnOnce(Sender<Result<T, StoreError>>) -> packer::Event) -> Result<T, StoreError> {
        let gone = |c: &Common| c.check().err().unwrap_or_else(|| StoreError::io("a thread of the store stopped"));
        let (reply, answer) = channel();
        match &mut self.pipe {
            Some(pipe) => pipe.send(event(reply)),
            None => return Err(gone(&self.common)),
        }
        let answer = answer.recv().map_err(|_| gone(&self.common))??;
        self.common.check()?;
        Ok(answer)
    }

    /// Ends the threads, then lets go of the store.
    fn stop(&mut self) {
        if let Some(Pipe { jobs, events, tokens, threads, .. }) = self.pipe.take() {
            drop((jobs, events, tokens));
            for thread in threads {
                // A panic there was told as a failure, or by a closed channel.
                let _ = thread.join();
            }
        }
        self.lock = None;
    }
}

impl Pipe {
    /// Where the packer is gone, the caller learns it from the closed answer or token channel.
    fn send(&mut self, event: packer::Event) {
        let _ = self.events.send((self.sequence, event));
        self.sequence += 1;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}
