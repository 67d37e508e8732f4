//! The way from the caller to the packs: threads, or one call after the other.

use super::common::Common;
use super::cutter::Cut;
use super::packer::{Event, Out, Packer, Work};
use super::putter::Putter;
use super::worker::{self, Job};
use crate::error::StoreError;
use crate::frame::Squeezer;
use crate::store::Store;
use model::id::Digest;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often whoever waits for an answer is asked whether to go on.
const GLANCE: Duration = Duration::from_millis(50);

/// The way to the packer, and the number of what is sent next.
pub(super) struct Pipe {
    way: Way,
    sequence: u64,
    store: Store,
    common: Arc<Common>,
}

enum Way {
    Threads { jobs: Sender<Job>, events: Sender<Event>, threads: Vec<JoinHandle<()>> },
    Inline(Box<Packer>),
    Ended,
}

impl Pipe {
    pub(super) fn start(store: &Store, common: &Arc<Common>) -> Result<Self, StoreError> {
        let way = match store.threads() {
            0 => {
                let out = Out::Inline(Box::new(Putter::new(store.clone(), common.clone())));
                let work = Work::Inline(Box::new(Squeezer::new()));
                Way::Inline(Box::new(Packer::new(store.clone(), common.clone(), work, out)))
            }
            workers => threads(store, common, workers)?,
        };
        Ok(Self { way, sequence: 0, store: store.clone(), common: common.clone() })
    }

    fn gone(&self) -> StoreError {
        self.common.check().err().unwrap_or_else(|| StoreError::io("a thread of the store stopped"))
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }

    /// Sends what was cut, waiting for room.
    pub(super) fn cut(&mut self, cut: Cut) -> Result<(), StoreError> {
        let (Cut::Chunk { bytes, .. } | Cut::Cell { bytes, .. }) = &cut else {
            self.event(|sequence| Event::Kept { sequence, cut });
            return Ok(());
        };
        if !self.common.room.take(bytes.len()) {
            return Err(self.gone());
        }
        let job = Job::Cut { sequence: self.next(), cut };
        match &mut self.way {
            Way::Threads { jobs, .. } => {
                self.common.job_sent();
                if jobs.send(job).is_err() {
                    return Err(self.gone());
                }
            }
            Way::Inline(packer) => packer.handle(worker::work(&self.store, &self.common, None, job)),
            Way::Ended => return Err(self.gone()),
        }
        Ok(())
    }

    /// Sends a chunk that is to be stored again, waiting for room.
    pub(super) fn carry(&mut self, id: Digest, bytes: Vec<u8>, node: bool) -> Result<(), StoreError> {
        if !node && !self.common.room.take(bytes.len()) {
            return Err(self.gone());
        }
        self.event(|sequence| Event::Carried { sequence, id, bytes, node });
        self.common.check()
    }

    /// Where the packer is gone, the caller learns it from the closed answer.
    pub(super) fn event(&mut self, event: impl FnOnce(u64) -> Event) {
        let event = event(self.next());
        match &mut self.way {
            Way::Threads { events, .. } => {
                let _ = events.send(event);
            }
            Way::Inline(packer) => packer.handle(event),
            Way::Ended => {}
        }
    }

    /// Sends a question and waits for its answer.
    pub(super) fn ask<T>(
        &mut self,
        event: impl FnOnce(u64, Sender<Result<T, StoreError>>) -> Event,
    ) -> Result<T, StoreError> {
        self.ask_while(event, &mut || true)?.ok_or_else(|| self.gone())
    }

    /// As [`Pipe::ask`], while `go_on` says so: `None` where it did not any more.
    pub(super) fn ask_while<T>(
        &mut self,
        event: impl FnOnce(u64, Sender<Result<T, StoreError>>) -> Event,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<T>, StoreError> {
        let (reply, answer) = channel();
        self.event(|sequence| event(sequence, reply));
        loop {
            match answer.recv_timeout(GLANCE) {
                Ok(answer) => {
                    let answer = answer?;
                    self.common.check()?;
                    return Ok(Some(answer));
                }
                Err(RecvTimeoutError::Timeout) if go_on() => {}
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(self.gone()),
            }
        }
    }

    /// Ends the threads.
    pub(super) fn stop(&mut self) {
        if let Way::Threads { jobs, events, threads } = std::mem::replace(&mut self.way, Way::Ended) {
            let _ = events.send(Event::Stop);
            drop((jobs, events));
            for thread in threads {
                // A panic there was told as a failure, or by a closed channel.
                let _ = thread.join();
            }
        }
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
    let putter = Putter::new(store.clone(), common.clone());
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
