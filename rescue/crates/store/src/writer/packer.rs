//! The packer: puts results back into order, gathers new chunks into frames and frames into packs, and builds the map.

use super::common::Common;
use super::cutter::{Cut, Run};
use super::frames::{Draft, Drafts, Lane};
use super::putter::{Parcel, Putter};
use super::tree::Tree;
use super::worker::{self, Content, Hashes, Job, Stored, Worked};
use crate::error::StoreError;
use crate::frame::{Squeezer, looks_incompressible};
use crate::layout::{LEAF, LEAF_CELLS, big, small};
use crate::leaf::LeafBuilder;
use crate::map::SliceContent;
use crate::node::Node;
use crate::pack::{Encoding, Kind, PackBuilder};
use crate::pieces::Pieces;
use crate::seal::{self, Seal};
use crate::store::Store;
use model::id::{ChunkId, Digest, NodeId};
use model::snapshot::MapRoot;
use model::units::ByteLen;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError};

/// What comes down the pipe.
pub(super) enum Event {
    /// A volume begins.
    Begin { sequence: u64 },
    /// A chunk or a cell of `len` bytes, worked on.
    Worked { sequence: u64, len: usize, worked: Result<Worked, StoreError> },
    /// Something of an earlier map.
    Kept { sequence: u64, cut: Cut },
    /// A chunk that is stored again.
    Carried { sequence: u64, id: Digest, bytes: Vec<u8>, node: bool },
    /// What is complete of a volume is to be named.
    CutShort { sequence: u64, reply: Sender<Result<Option<(MapRoot, ByteLen)>, StoreError>> },
    /// A volume ends.
    End { sequence: u64, reply: Sender<Result<MapRoot, StoreError>> },
    /// Put everything, then say so.
    Flush { sequence: u64, reply: Sender<Result<(), StoreError>> },
    /// A frame, worked on.
    Frame { number: u64, stored: Stored },
    /// The writer goes away.
    Stop,
}

impl Event {
    fn sequence(&self) -> Option<u64> {
        match self {
            Self::Begin { sequence }
            | Self::Worked { sequence, .. }
            | Self::Kept { sequence, .. }
            | Self::Carried { sequence, .. }
            | Self::CutShort { sequence, .. }
            | Self::End { sequence, .. }
            | Self::Flush { sequence, .. } => Some(*sequence),
            Self::Frame { .. } | Self::Stop => None,
        }
    }
}

/// Who compresses frames.
pub(super) enum Work {
    Threads(Sender<Job>),
    Inline(Box<Result<Squeezer, StoreError>>),
}

/// Where packs go.
pub(super) enum Out {
    Thread(SyncSender<Parcel>),
    Inline(Box<Putter>),
}

pub(super) struct Packer {
    store: Store,
    common: Arc<Common>,
    work: Work,
    out: Out,
    /// Chunks that were stored again in this run.
    carried: HashSet<Digest>,
    drafts: Drafts,
    /// Frames being compressed, and those that were before their turn.
    under_way: BTreeMap<u64, Draft>,
    early: BTreeMap<u64, Stored>,
    next: u64,
    number: u64,
    data: PackBuilder,
    /// Nodes have packs of their own: reading a map does not seek through the data.
    nodes: PackBuilder,
    flush: Option<Sender<Result<(), StoreError>>>,
    /// The leaf being filled, and its number.
    leaf: Option<(u64, LeafBuilder)>,
    tree: Tree,
}

impl Packer {
    pub(super) fn new(store: Store, common: Arc<Common>, work: Work, out: Out) -> Self {
        Self {
            store,
            common,
            work,
            out,
            carried: HashSet::new(),
            drafts: Drafts::default(),
            under_way: BTreeMap::new(),
            early: BTreeMap::new(),
            next: 0,
            number: 0,
            data: PackBuilder::new(),
            nodes: PackBuilder::new(),
            flush: None,
            leaf: None,
            tree: Tree::default(),
        }
    }

    /// Handles events until the writer is gone: those with a sequence number in that order. After a failure the rest is let
    /// through unstored: nobody may wait for a thread that gave up.
    pub(super) fn run(mut self, events: &Receiver<Event>) {
        let common = self.common.clone();
        let _closer = common.room.closer();
        let mut early = BTreeMap::new();
        let mut next = 0;
        for event in events {
            match event.sequence() {
                Some(sequence) => {
                    early.insert(sequence, event);
                }
                None if matches!(event, Event::Stop) => return,
                None => self.handle(event),
            }
            while let Some(event) = early.remove(&next) {
                next += 1;
                self.handle(event);
            }
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        let done = match event {
            Event::Begin { .. } => {
                self.leaf = None;
                self.tree = Tree::default();
                Ok(())
            }
            Event::Worked { len, worked, .. } => {
                let (done, kept) = match worked.and_then(|w| self.worked(w)) {
                    Ok(kept) => (Ok(()), kept),
                    Err(e) => (Err(e), false),
                };
                if !kept {
                    self.common.room.release(len);
                }
                done
            }
            Event::Kept { cut, .. } => self.kept(cut),
            Event::Carried { id, bytes, node, .. } => self.carried(id, &bytes.into(), node),
            // Whoever asked may be gone: then nobody needs the answer.
            Event::CutShort { reply, .. } => {
                let _ = reply.send(self.cut_short());
                Ok(())
            }
            Event::End { reply, .. } => {
                let _ = reply.send(self.end());
                Ok(())
            }
            Event::Flush { reply, .. } => {
                self.flush = Some(reply);
                self.close_drafts()
            }
            Event::Frame { number, stored } => {
                self.early.insert(number, stored);
                self.append_ready()
            }
            Event::Stop => Ok(()),
        };
        if let Err(e) = done {
            self.common.fail(e);
        }
        self.flush_when_ready();
    }

    /// A chunk or a cell; true where its bytes are kept for a while.
    fn worked(&mut self, worked: Worked) -> Result<bool, StoreError> {
        self.common.check()?;
        let Worked { runs, content, cells } = worked;
        let (id, kept) = match content {
            None | Some(Content::Zero) => (None, false),
            Some(Content::Known { id, plain }) => {
                self.common.shared.fetch_add(u64::from(plain), Ordering::Relaxed);
                (Some(id), false)
            }
            Some(Content::New { id, bytes, noise }) => {
                let len = bytes.len() as u64;
                let new = self.is_new(&id)?;
                let count = if new { &self.common.new } else { &self.common.shared };
                count.fetch_add(len, Ordering::Relaxed);
                if new {
                    self.keep(if noise { Lane::Noise } else { Lane::Data }, id, &bytes)?;
                }
                (Some(id), new)
            }
        };
        self.map(&runs, id, cells)?;
        Ok(kept)
    }

    /// Enters a chunk's slices and cells into the leaves, in the order of their addresses.
    fn map(&mut self, runs: &[Run], id: Option<Digest>, cells: Hashes) -> Result<(), StoreError> {
        let mut cells = cells.into_iter().peekable();
        let mut from = 0;
        for (start, len) in runs {
            let (mut at, end) = (*start, start + u64::from(*len));
            while at < end {
                let number = at / LEAF;
                // Those of a leaf before: it is complete then.
                while let Some((index, hash)) = cells.next_if(|(i, _)| i / LEAF_CELLS < number) {
                    self.cell(index, hash)?;
                }
                let part = small_step(end.min((number + 1) * LEAF) - at);
                let content = id.map_or(SliceContent::Zero, |id| SliceContent::Chunk { id: ChunkId(id), at: from });
                self.leaf(number)?.slice(small_step(at % LEAF), part, content);
                at += u64::from(part);
                from += part;
            }
        }
        cells.try_for_each(|(index, hash)| self.cell(index, hash))
    }

    fn cell(&mut self, index: u64, hash: Option<Digest>) -> Result<(), StoreError> {
        let within = u8::try_from(index % LEAF_CELLS).expect("a leaf has 64 cells");
        self.leaf(index / LEAF_CELLS)?.cell(within, hash);
        Ok(())
    }

    /// The leaf of that number; the one before it is complete.
    fn leaf(&mut self, number: u64) -> Result<&mut LeafBuilder, StoreError> {
        if self.leaf.as_ref().is_some_and(|(no, _)| *no != number) {
            self.close_leaf()?;
        }
        Ok(&mut self.leaf.get_or_insert_with(|| (number, LeafBuilder::default())).1)
    }

    /// Takes over what an earlier map has.
    fn kept(&mut self, cut: Cut) -> Result<(), StoreError> {
        self.common.check()?;
        match cut {
            Cut::Slice { run: (at, len), content } => {
                self.leaf(at / LEAF)?.slice(small_step(at % LEAF), len, content);
                Ok(())
            }
            Cut::Cells { slices, hashes } => {
                for ((at, len), content) in slices {
                    self.leaf(at / LEAF)?.slice(small_step(at % LEAF), len, content);
                }
                hashes.into_iter().try_for_each(|(index, hash)| self.cell(index, hash))
            }
            Cut::Leaf { number, id, used, content } => {
                self.close_leaf()?;
                self.grow(number, id, used, content)
            }
            Cut::Chunk { .. } | Cut::Cell { .. } => Err(StoreError::misuse("bytes that nobody worked on")),
        }
    }

    fn carried(&mut self, id: Digest, bytes: &Pieces, node: bool) -> Result<(), StoreError> {
        let lane = match node {
            true => Lane::Nodes,
            false if looks_incompressible(bytes) => Lane::Noise,
            false => Lane::Data,
        };
        let checked = self.common.check();
        if checked.is_ok() && self.carried.insert(id) {
            return self.keep(lane, id, bytes);
        }
        if !node {
            self.common.room.release(bytes.len());
        }
        checked
    }

    fn grow(&mut self, number: u64, id: NodeId, used: u64, content: Digest) -> Result<(), StoreError> {
        let mut tree = std::mem::take(&mut self.tree);
        tree.add(number, id, used, content, &mut |n| self.node(n))?;
        self.tree = tree;
        Ok(())
    }

    fn close_leaf(&mut self) -> Result<(), StoreError> {
        let Some((no, leaf)) = self.leaf.take() else { return Ok(()) };
        let node = Node::Leaf(leaf.finish()?);
        let (id, used, content) = (self.node(&node)?, node.used(), node.content());
        self.grow(no, id, used, content)
    }

    /// The root over the leaves that are complete: what belongs to the one being filled may still come.
    fn cut_short(&mut self) -> Result<Option<(MapRoot, ByteLen)>, StoreError> {
        self.common.check()?;
        let tree = self.tree.clone();
        match tree.used() {
            0 => Ok(None),
            used => Ok(Some((tree.root(&mut |n| self.node(n))?, ByteLen(used)))),
        }
    }

    fn end(&mut self) -> Result<MapRoot, StoreError> {
        self.common.check()?;
        self.close_leaf()?;
        let tree = std::mem::take(&mut self.tree);
        tree.root(&mut |n| self.node(n))
    }

    /// Stores a node where it is not there yet.
    fn node(&mut self, node: &Node) -> Result<NodeId, StoreError> {
        let plain = node.encode();
        let id = self.store.seal().name(&Digest::of(&plain));
        if self.is_new(&id)? {
            self.keep(Lane::Nodes, id, &plain.into())?;
        }
        Ok(NodeId(id))
    }

    /// True where a chunk is neither on its way nor in the store; from now on it is on its way. (The putter adds to the index
    /// before it takes from what is under way.)
    fn is_new(&self, id: &Digest) -> Result<bool, StoreError> {
        if self.common.under_way().contains(id) || self.store.has(id)? {
            return Ok(false);
        }
        Ok(self.common.under_way().insert(*id))
    }

    /// Takes a new chunk into the frame being gathered.
    fn keep(&mut self, lane: Lane, id: Digest, bytes: &Pieces) -> Result<(), StoreError> {
        self.common.stock.gathered(bytes.len(), lane != Lane::Nodes);
        match self.drafts.add(lane, id, bytes) {
            Some(full) => self.compress(full),
            None => Ok(()),
        }
    }

    fn close_drafts(&mut self) -> Result<(), StoreError> {
        self.drafts.take_all().into_iter().try_for_each(|draft| self.compress(draft))
    }

    /// Sends a gathered frame on its way. Its number is its place among all, whoever is done with it first.
    fn compress(&mut self, mut draft: Draft) -> Result<(), StoreError> {
        let (number, plain) = (self.number, std::mem::take(&mut draft.plain));
        self.number += 1;
        let noise = draft.lane == Lane::Noise;
        self.under_way.insert(number, draft);
        if noise {
            self.early.insert(number, Ok((Encoding::Plain, plain)));
            return self.append_ready();
        }
        let job = Job::Frame { number, plain, level: self.common.level() };
        match &mut self.work {
            Work::Threads(jobs) => {
                self.common.job_sent();
                jobs.send(job).map_err(|_| StoreError::io("the workers of the store stopped"))
            }
            Work::Inline(squeezer) => {
                if let Event::Frame { number, stored } =
                    worker::work(&self.store, &self.common, Some(&mut **squeezer), job)
                {
                    self.early.insert(number, stored);
                }
                self.append_ready()
            }
        }
    }

    /// Takes frames whose turn it is into the packs.
    fn append_ready(&mut self) -> Result<(), StoreError> {
        let mut done = Ok(());
        while let Some(stored) = self.early.remove(&self.next) {
            let draft = self.under_way.remove(&self.next);
            self.next += 1;
            let Some(draft) = draft else { continue };
            let appended = stored.and_then(|(encoding, stored)| {
                self.common.check()?;
                self.append(&draft, encoding, &stored)
            });
            self.common.stock.framed(draft.len, draft.lane != Lane::Nodes);
            if draft.lane != Lane::Nodes {
                draft.chunks.iter().for_each(|(_, len, _)| self.common.room.release(big(*len)));
            }
            done = done.and(appended);
        }
        done
    }

    fn append(&mut self, draft: &Draft, encoding: Encoding, stored: &[u8]) -> Result<(), StoreError> {
        let kind = draft.lane.kind();
        if self.builder(kind).is_full(draft.chunks.len()) {
            self.ship(kind)?;
        }
        // The frame's place in its pack is known only here: it is what the sealed bytes are bound to.
        let bound = u32::from(self.builder(kind).next()).to_le_bytes();
        let sealed = match self.store.seal() {
            Seal::Open => None,
            seal => Some(seal.seal(seal::Kind::Frame, &bound, stored, self.store.entropy())?),
        };
        self.common.stock.packed(sealed.as_deref().unwrap_or(stored).len());
        self.builder(kind).push(encoding, small(draft.len), sealed.as_deref().unwrap_or(stored), &draft.chunks);
        Ok(())
    }

    fn builder(&mut self, kind: Kind) -> &mut PackBuilder {
        match kind {
            Kind::Data => &mut self.data,
            Kind::Node => &mut self.nodes,
        }
    }

    fn ship(&mut self, kind: Kind) -> Result<(), StoreError> {
        let builder = self.builder(kind);
        if builder.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(builder, PackBuilder::new());
        let footer = full.footer().encode();
        let footer = self.store.seal().seal(seal::Kind::Footer, &[], &footer, self.store.entropy())?;
        self.send(Parcel::Pack(full.close(&footer)))
    }

    /// Answers a flush once nothing is under way any more.
    fn flush_when_ready(&mut self) {
        if !self.under_way.is_empty() {
            return;
        }
        let Some(reply) = self.flush.take() else { return };
        let sent = self.common.check().and_then(|()| {
            self.ship(Kind::Data)?;
            self.ship(Kind::Node)?;
            self.send(Parcel::Flush(reply.clone()))
        });
        if let Err(e) = sent {
            let _ = reply.send(Err(e));
        }
    }

    fn send(&mut self, parcel: Parcel) -> Result<(), StoreError> {
        let gone = || StoreError::io("the thread that puts packs stopped");
        match &mut self.out {
            Out::Inline(putter) => {
                putter.handle(parcel);
                Ok(())
            }
            Out::Thread(packs) => match packs.try_send(parcel) {
                Ok(()) => {
                    self.common.pack_went(false);
                    Ok(())
                }
                Err(TrySendError::Full(parcel)) => {
                    packs.send(parcel).map_err(|_| gone())?;
                    self.common.pack_went(true);
                    Ok(())
                }
                Err(TrySendError::Disconnected(_)) => Err(gone()),
            },
        }
    }
}

/// A number below the length of a leaf.
fn small_step(n: u64) -> u32 {
    u32::try_from(n).expect("a leaf has 4 MiB")
}
