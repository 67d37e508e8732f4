//! Saving: the caller reads disks and hands over runs of bytes, worker threads hash them and compress frames, one packer
//! thread gathers frames and packs and builds the map in address order, one more puts the packs.
//!
//! Memory is bounded whatever the volume's size: 8 MiB of plain bytes are between the caller and the packs, with what they
//! were compressed to, and at most four packs of 16 MiB exist at once (data and nodes being filled, one waiting, one being
//! put). Without threads the same parts are called one after the other.

mod common;
mod frames;
mod packer;
mod proof;
mod putter;
mod room;
pub(crate) mod tree;
mod worker;

use crate::error::StoreError;
use crate::frame::Squeezer;
use crate::index::{IndexBuilder, Trust};
use crate::layout::{CELL, INDEX_TARGET, MAX_RUNS, MAX_VOLUME, big, index_name, small, snapshot_name};
use crate::snapshots::{encode, maps};
use crate::store::Store;
use common::Common;
use model::id::{Digest, SnapshotId};
use model::snapshot::{Cost, FORMAT, Manifest, MapRoot, Purpose};
use model::units::{ByteLen, ByteOffset};
use packer::{Event, Out, Packer, Work};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use worker::Job;

/// One snapshot being saved. Holds the store's lock until it is finished or dropped; dropped, it leaves packs that nothing
/// names, and a later run saves against them.
pub struct Writer {
    store: Store,
    pipe: Option<Pipe>,
    common: Arc<Common>,
    volume: Option<Volume>,
    made: HashSet<MapRoot>,
    /// Everything handed over is put, read back and indexed.
    proven: bool,
    lock: Option<Box<dyn Send>>,
}

/// The way to the packer, and the number of what is sent next.
struct Pipe {
    way: Way,
    sequence: u64,
}

enum Way {
    Threads { jobs: Sender<Job>, events: Sender<Event>, threads: Vec<JoinHandle<()>> },
    Inline(Box<Packer>),
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
        let common = Arc::new(Common::new());
        let way = match store.threads() {
            0 => {
                let out = Out::Inline(Box::new(putter::Putter::new(store.clone(), common.clone())));
                let work = Work::Inline(Box::new(Squeezer::new()));
                Way::Inline(Box::new(Packer::new(store.clone(), common.clone(), work, out)))
            }
            workers => threads(&store, &common, workers)?,
        };
        let pipe = Some(Pipe { way, sequence: 0 });
        Ok(Self { store, pipe, common, volume: None, made: HashSet::new(), proven: false, lock: Some(lock) })
    }

    /// Begins a volume (or a table) of `len` bytes. What an unended one before it was given is part of no map.
    pub fn begin(&mut self, len: ByteLen) {
        self.volume = Some(Volume { len: len.0, at: 0, open: None });
        self.proven = false;
        if let Some(pipe) = &mut self.pipe {
            pipe.send(|sequence| Event::Begin { sequence });
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
        let OpenCell { index, runs, bytes } = cell;
        if !self.common.room.take(bytes.len()) {
            return Err(gone());
        }
        let sequence = pipe.next();
        let job = Job::Cell { sequence, index, runs, bytes };
        match &mut pipe.way {
            Way::Threads { jobs, .. } => jobs.send(job).map_err(|_| gone()),
            Way::Inline(packer) => {
                packer.handle(worker::work(&self.store, &self.common, &mut Err(StoreError::io("no frame")), job));
                Ok(())
            }
        }
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
        let root = self.ask(|sequence, reply| Event::End { sequence, reply })?;
        self.made.insert(root);
        Ok(root)
    }

    /// What was read, found and stored so far.
    pub fn cost(&self) -> Cost {
        self.common.cost()
    }

    /// Makes everything durable, reads all of it back, and lets the index know it. `progress` is told bytes read back and
    /// bytes to read; where it returns false this stops, and so does the answer say. What [`Writer::finish`] does first,
    /// for whoever wants to watch.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`] where something does not read back.
    pub fn prove(&mut self, progress: &mut dyn FnMut(ByteLen, ByteLen) -> bool) -> Result<bool, StoreError> {
        if self.proven {
            return Ok(true);
        }
        self.ask(|sequence, reply| Event::Flush { sequence, reply })?;
        let packs = self.common.packs().clone();
        if !proof::prove(&self.store, &packs, self.store.threads(), progress)? {
            return Ok(false);
        }
        for pack in &packs {
            self.store.trust(&pack.id, Trust::Verified);
        }
        self.put_index(&packs)?;
        self.common.packs().clear();
        self.proven = true;
        Ok(true)
    }

    /// Also indexes packs of an earlier run that this one had to read to rely on: the next need not read them again.
    fn put_index(&self, packs: &[common::Put]) -> Result<(), StoreError> {
        let mut index = IndexBuilder::new();
        for pack in packs {
            index.push(&pack.id, &pack.footer);
            if index.len() >= INDEX_TARGET {
                self.put_index_object(&mut index)?;
            }
        }
        let earlier = self.store.index_mut().take_proven();
        for id in earlier {
            index.push(&id, &*self.store.footer(&id)?);
            if index.len() >= INDEX_TARGET {
                self.put_index_object(&mut index)?;
            }
        }
        if index.is_empty() { Ok(()) } else { self.put_index_object(&mut index) }
    }

    fn put_index_object(&self, index: &mut IndexBuilder) -> Result<(), StoreError> {
        let bytes = index.take();
        self.store.objects().put(&index_name(&Digest::of(&bytes)), &bytes)?;
        self.common.stored.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
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
        self.prove(&mut |_, _| true)?;
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
    fn ask<T>(&mut self, event: impl FnOnce(u64, Sender<Result<T, StoreError>>) -> Event) -> Result<T, StoreError> {
        let gone = |c: &Common| c.check().err().unwrap_or_else(|| StoreError::io("a thread of the store stopped"));
        let (reply, answer) = channel();
        match &mut self.pipe {
            Some(pipe) => pipe.send(|sequence| event(sequence, reply)),
            None => return Err(gone(&self.common)),
        }
        let answer = answer.recv().map_err(|_| gone(&self.common))??;
        self.common.check()?;
        Ok(answer)
    }

    /// Ends the threads, then lets go of the store.
    fn stop(&mut self) {
        if let Some(Pipe { way: Way::Threads { jobs, events, threads }, .. }) = self.pipe.take() {
            let _ = events.send(Event::Stop);
            drop((jobs, events));
            for thread in threads {
                // A panic there was told as a failure, or by a closed channel.
                let _ = thread.join();
            }
        }
        // Whole, most likely, but not read back: whoever wants to rely on one reads it first.
        for pack in self.common.packs().drain(..) {
            self.store.trust(&pack.id, Trust::Unknown);
        }
        self.lock = None;
    }
}

/// Starts the threads of a run.
fn threads(store: &Store, common: &Arc<Common>, workers: usize) -> Result<Way, StoreError> {
    let (jobs, job_queue) = channel();
    let (events, event_queue) = channel();
    let (packs, pack_queue) = sync_channel(1);
    let mut threads = Vec::new();
    let mut spawn = |name: &str, body: Box<dyn FnOnce() + Send>| -> Result<(), StoreError> {
        let thread = Builder::new().name(name.to_owned()).spawn(body);
        threads.push(thread.map_err(|e| StoreError::io(format!("starting a thread failed: {e}")))?);
        Ok(())
    };
    let putter = putter::Putter::new(store.clone(), common.clone());
    spawn("store-put", Box::new(move || putter.run(&pack_queue)))?;
    let (work, out) = (Work::Threads(jobs.clone()), Out::Thread(packs));
    let packer = Packer::new(store.clone(), common.clone(), work, out);
    spawn("store-pack", Box::new(move || packer.run(&event_queue)))?;
    let job_queue = Arc::new(Mutex::new(job_queue));
    for _ in 0..workers {
        let (store, common) = (store.clone(), common.clone());
        let (queue, events) = (job_queue.clone(), events.clone());
        spawn("store-work", Box::new(move || worker::run(&store, &common, &queue, &events)))?;
    }
    Ok(Way::Threads { jobs, events, threads })
}

impl Pipe {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }

    /// Where the packer is gone, the caller learns it from the closed answer.
    fn send(&mut self, event: impl FnOnce(u64) -> Event) {
        let event = event(self.next());
        match &mut self.way {
            Way::Threads { events, .. } => {
                let _ = events.send(event);
            }
            Way::Inline(packer) => packer.handle(event),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}
