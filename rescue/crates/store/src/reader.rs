//! From the name of a chunk to its plain bytes: locate, read the frame, decompress, cut, prove.

use crate::error::StoreError;
use crate::footer::{FrameEntry, InFrame};
use crate::layout::{big, pack_name};
use crate::locate::{Found, Trust};
use crate::map::Slice;
use crate::node::Node;
use crate::pack::Encoding;
use crate::seal::{self, Seal};
use crate::store::Store;
use model::id::{ChunkId, Digest, NodeId};
use model::units::ByteOffset;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Deref, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Bytes that one thread is given to read at a time.
const BATCH: u64 = 1 << 20;
/// Slices that one thread is given to read at a time.
const BATCH_SLICES: usize = 256;
/// Batches between the one who wants slices and the threads, for each thread.
const AHEAD: usize = 2;

/// The plain bytes of a frame. Those of a chunk in it are given out once they are proven by its name.
pub(crate) struct OpenFrame {
    plain: Vec<u8>,
    proven: Mutex<HashMap<Digest, Range<usize>>>,
}

/// A frame that is open or being opened: two threads that want the same one decode it once.
#[derive(Default)]
pub(crate) struct FrameSlot {
    frame: Mutex<Option<Arc<OpenFrame>>>,
}

/// The plain bytes of a chunk, proven by its name.
pub(crate) struct Chunk {
    frame: Arc<OpenFrame>,
    range: Range<usize>,
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.frame.plain[self.range.clone()]
    }
}

impl OpenFrame {
    pub(crate) fn new(plain: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { plain, proven: Mutex::new(HashMap::new()) })
    }

    /// A chunk of it, where it is what its name says.
    pub(crate) fn chunk(self: &Arc<Self>, seal: &Seal, id: &Digest, place: InFrame) -> Option<Chunk> {
        let range = big(place.at)..big(place.at).checked_add(big(place.len))?;
        let chunk = |range| Some(Chunk { frame: self.clone(), range });
        let proven = || self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if proven().get(id) == Some(&range) {
            return chunk(range);
        }
        if seal.name(&Digest::of(self.plain.get(range.clone())?)) != *id {
            return None;
        }
        proven().insert(*id, range.clone());
        chunk(range)
    }
}

impl Store {
    /// The plain bytes of a chunk, proven by its name, from any pack that has it whole.
    pub(crate) fn chunk(&self, id: &Digest) -> Result<Chunk, StoreError> {
        if let Some(found) = self.inner.footers.near(id)
            && let Ok(chunk) = self.chunk_at(id, found)
        {
            return Ok(chunk);
        }
        let mut error = StoreError::damaged(format!("chunk {} is in no pack that can be read", id.short(12)));
        // Another process may have added it since the index was read.
        for again in [false, true] {
            if again {
                self.refresh()?;
            }
            for no in self.index().candidates(self, id)? {
                let got = match self.found_in(no, id) {
                    Ok(Some(found)) => self.chunk_at(id, found),
                    Ok(None) => continue,
                    Err(e) => Err(e),
                };
                match got {
                    Err(e @ (StoreError::Damaged { .. } | StoreError::NoSuch { .. })) => {
                        // From now on others that have its chunks are asked first.
                        self.index().set_trust(no, Trust::Bad);
                        error = e;
                    }
                    got => return got,
                }
            }
        }
        Err(error)
    }

    fn chunk_at(&self, id: &Digest, (no, entry, place): Found) -> Result<Chunk, StoreError> {
        let pack = self.index().pack(no).ok_or_else(|| StoreError::damaged("a pack is gone"))?.id;
        let frame = self.frame(&pack, place.frame, &entry)?;
        let chunk = frame.chunk(self.seal(), id, place);
        chunk.ok_or_else(|| {
            let (chunk, pack) = (id.short(12), pack.short(12));
            StoreError::damaged(format!("chunk {chunk} in pack {pack} does not match its name"))
        })
    }

    /// A frame of a pack, remembered for a while.
    fn frame(&self, pack: &Digest, number: u16, entry: &FrameEntry) -> Result<Arc<OpenFrame>, StoreError> {
        let key = (*pack, number);
        let slot = match self.inner.frames.get(&key) {
            Some(slot) => slot,
            None => self.inner.frames.put(key, Arc::default(), big(entry.plain)),
        };
        let mut frame = slot.frame.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = &*frame {
            return Ok(frame.clone());
        }
        let opened = OpenFrame::new(self.read_frame(pack, number, entry)?);
        *frame = Some(opened.clone());
        Ok(opened)
    }

    /// Reads a frame.
    pub(crate) fn read_frame(&self, pack: &Digest, number: u16, entry: &FrameEntry) -> Result<Vec<u8>, StoreError> {
        let mut stored = vec![0; big(entry.stored)];
        self.objects().get(&pack_name(pack), ByteOffset(u64::from(entry.offset)), &mut stored)?;
        self.open_frame(pack, number, entry, stored)
    }

    /// The plain bytes of a frame from its stored ones.
    pub(crate) fn open_frame(
        &self,
        pack: &Digest,
        number: u16,
        entry: &FrameEntry,
        stored: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let what = || format!("frame {number} of pack {}", pack.short(12));
        let stored = self.seal().open(seal::Kind::Frame, &u32::from(number).to_le_bytes(), stored)?;
        let plain = match entry.encoding {
            Encoding::Plain => stored,
            Encoding::Zstd => {
                self.decoder().frame(&stored, entry.plain).map_err(|e| StoreError::decoding(what(), e))?
            }
        };
        if plain.len() != big(entry.plain) {
            return Err(StoreError::damaged(format!("{} has {} bytes, not {}", what(), plain.len(), entry.plain)));
        }
        Ok(plain)
    }

    /// The plain bytes of a data chunk.
    pub(crate) fn data(&self, id: &ChunkId) -> Result<Chunk, StoreError> {
        self.chunk(&id.0)
    }

    /// A map node of a given height.
    pub(crate) fn node(&self, id: &NodeId, height: u8) -> Result<Arc<Node>, StoreError> {
        let node = match self.inner.nodes.get(id) {
            Some(node) => node,
            None => {
                let plain = self.chunk(&id.0)?;
                let what = || format!("map node {}", id.0.short(12));
                let node = Node::decode(&plain).map_err(|e| StoreError::decoding(what(), e))?;
                self.inner.nodes.put(*id, Arc::new(node), 1)
            }
        };
        if node.height() != height {
            let text = format!("map node {} has height {}, not {height}", id.0.short(12), node.height());
            return Err(StoreError::damaged(text));
        }
        Ok(node)
    }

    /// Reads slices in their order, ahead of who wants them and on as many threads as [`Store::with_threads`]
    /// says. An error takes the place of its slice, and those after it follow.
    pub fn read_ahead<I>(&self, slices: I) -> ReadAhead
    where
        I: Iterator<Item = Result<Slice, StoreError>> + Send + 'static,
    {
        match Pool::start(self, self.threads()) {
            Some(pool) => {
                ReadAhead(Mode::Ahead(Ahead { slices: Box::new(slices), pool, ready: Vec::new().into_iter() }))
            }
            None => ReadAhead(Mode::Inline(self.clone(), Box::new(slices))),
        }
    }
}

type Wanted = Box<dyn Iterator<Item = Result<Slice, StoreError>> + Send>;
type Got = Result<(Slice, Vec<u8>), StoreError>;

/// Slices with their bytes, in order; see [`Store::read_ahead`].
pub struct ReadAhead(Mode);

enum Mode {
    Inline(Store, Wanted),
    Ahead(Ahead),
}

struct Ahead {
    slices: Wanted,
    pool: Pool,
    ready: std::vec::IntoIter<Got>,
}

impl Iterator for ReadAhead {
    type Item = Got;

    fn next(&mut self) -> Option<Got> {
        let ahead = match &mut self.0 {
            Mode::Inline(store, slices) => return slices.next().map(|slice| read(store, slice)),
            Mode::Ahead(ahead) => ahead,
        };
        loop {
            if let Some(got) = ahead.ready.next() {
                return Some(got);
            }
            while ahead.pool.has_room()
                && let Some(batch) = batch(&mut ahead.slices)
            {
                ahead.pool.give(batch);
            }
            ahead.ready = ahead.pool.take()?.into_iter();
        }
    }
}

fn read(store: &Store, slice: Result<Slice, StoreError>) -> Got {
    slice.and_then(|s| store.read(&s).map(|bytes| (s, bytes)))
}

type Batch = Vec<Result<Slice, StoreError>>;

fn batch(slices: &mut Wanted) -> Option<Batch> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH && batch.len() < BATCH_SLICES {
        let Some(slice) = slices.next() else { break };
        bytes += slice.as_ref().map_or(0, |s| s.extent.len().0);
        batch.push(slice);
    }
    (!batch.is_empty()).then_some(batch)
}

/// Threads that read batches, and the order in which these were given.
struct Pool {
    jobs: Option<SyncSender<(u64, Batch)>>,
    results: Receiver<(u64, Vec<Got>)>,
    early: BTreeMap<u64, Vec<Got>>,
    threads: Vec<JoinHandle<()>>,
    given: u64,
    taken: u64,
}

impl Pool {
    /// `None` where no thread is wanted or can be had.
    fn start(store: &Store, threads: usize) -> Option<Self> {
        let most = threads.checked_mul(AHEAD).filter(|n| *n > 0)?;
        let (jobs, queue) = sync_channel(most);
        let (done, results) = sync_channel(most);
        let queue = Arc::new(Mutex::new(queue));
        let body = || {
            let (store, queue, done) = (store.clone(), queue.clone(), done.clone());
            move || work(&store, &queue, &done)
        };
        let spawn = |_| Builder::new().name("store-read".to_owned()).spawn(body()).ok();
        let threads: Vec<_> = (0..threads).filter_map(spawn).collect();
        let pool = Self { jobs: Some(jobs), results, early: BTreeMap::new(), threads, given: 0, taken: 0 };
        (!pool.threads.is_empty()).then_some(pool)
    }

    fn has_room(&self) -> bool {
        let under_way = usize::try_from(self.given - self.taken).unwrap_or(usize::MAX);
        under_way < self.threads.len() * AHEAD
    }

    fn give(&mut self, batch: Batch) {
        if let Some(jobs) = &self.jobs {
            // As many fit as are ever under way; a thread that is gone shows when its result is missed.
            let _ = jobs.send((self.given, batch));
        }
        self.given += 1;
    }

    /// The next batch in order; `None` where nothing is under way.
    fn take(&mut self) -> Option<Vec<Got>> {
        if self.taken == self.given {
            return None;
        }
        let number = self.taken;
        self.taken += 1;
        loop {
            if let Some(got) = self.early.remove(&number) {
                return Some(got);
            }
            match self.results.recv() {
                Ok((other, got)) => self.early.insert(other, got),
                Err(_) => return Some(vec![Err(StoreError::io("a thread that reads the store stopped"))]),
            };
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        // What is still being read is let through, so that no thread waits for room.
        while self.results.recv().is_ok() {}
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(store: &Store, queue: &Mutex<Receiver<(u64, Batch)>>, done: &SyncSender<(u64, Vec<Got>)>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, batch)) = job else { return };
        let got = catch_unwind(AssertUnwindSafe(|| batch.into_iter().map(|slice| read(store, slice)).collect()));
        let got = got.unwrap_or_else(|_| vec![Err(StoreError::io("a thread that reads the store panicked"))]);
        if done.send((number, got)).is_err() {
            return;
        }
    }
}
