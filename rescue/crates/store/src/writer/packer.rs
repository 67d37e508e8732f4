//! The packer thread: puts results back into order, fills packs, and builds the map above them.

use super::Common;
use super::putter::Parcel;
use super::tree::Tree;
use super::worker::{Run, Squeezer};
use crate::error::StoreError;
use crate::layout::{CELL, LEAF_CELLS, small};
use crate::leaf::LeafBuilder;
use crate::map::SliceContent;
use crate::node::Node;
use crate::pack::{Encoding, Kind, PackBuilder};
use crate::store::Store;
use model::id::{ChunkId, Digest, NodeId};
use model::snapshot::MapRoot;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

/// What comes down the pipe, each with its place in the order.
pub(super) enum Event {
    /// A volume begins.
    Begin,
    /// A cell, worked on.
    Cell { index: u64, runs: Vec<Run>, content: Result<Content, StoreError> },
    /// A volume ends.
    End(Sender<Result<MapRoot, StoreError>>),
    /// Put everything and prove it.
    Flush(Sender<Result<(), StoreError>>),
}

/// What the bytes of a cell turned out to be.
pub(super) enum Content {
    Zero,
    Known { id: Digest, plain: u32 },
    New { id: Digest, plain: u32, encoding: Encoding, stored: Vec<u8> },
}

/// Ids of chunks that are in a pack but not in the index yet.
pub(super) type Pending = Arc<Mutex<HashSet<Digest>>>;

pub(super) struct Packer {
    store: Store,
    common: Arc<Common>,
    pending: Pending,
    packs: SyncSender<Parcel>,
    tokens: SyncSender<()>,
    data: PackBuilder,
    /// Nodes have packs of their own: reading a map does not seek through the data.
    nodes: PackBuilder,
    squeezer: Result<Squeezer, StoreError>,
    /// The leaf being filled, and its number.
    leaf: Option<(u64, LeafBuilder)>,
    tree: Tree,
}

impl Packer {
    pub(super) fn new(
        store: Store,
        common: Arc<Common>,
        pending: Pending,
        packs: SyncSender<Parcel>,
        tokens: SyncSender<()>,
    ) -> Self {
        let (data, nodes) = (PackBuilder::new(), PackBuilder::new());
        let (squeezer, tree) = (Squeezer::new(), Tree::default());
        Self { store, common, pending, packs, tokens, data, nodes, squeezer, leaf: None, tree }
    }

    /// Handles events in their order until the writer is gone. After a failure the rest is let through unstored: nobody
    /// may wait for a thread that gave up.
    pub(super) fn run(mut self, events: &Receiver<(u64, Event)>) {
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (sequence, event) in events {
            early.insert(sequence, event);
            while let Some(event) = early.remove(&next) {
                next += 1;
                self.handle(event);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let done = match event {
            Event::Begin => {
                self.leaf = None;
                self.tree = Tree::default();
                Ok(())
            }
            Event::Cell { index, runs, content } => {
                let done = content.and_then(|c| self.cell(index, runs, c));
                // Room for exactly as many tokens as exist; where the writer is gone nobody needs them.
                let _ = self.tokens.try_send(());
                done
            }
            // Whoever asked may be gone: then nobody needs the answer.
            Event::End(reply) => {
                let _ = reply.send(self.end());
                Ok(())
            }
            Event::Flush(reply) => {
                if let Err(e) = self.flush(&reply) {
                    let _ = reply.send(Err(e));
                }
                Ok(())
            }
        };
        if let Err(e) = done {
            self.common.fail(e);
        }
    }

    fn cell(&mut self, index: u64, runs: Vec<Run>, content: Content) -> Result<(), StoreError> {
        self.common.check()?;
        let content = match content {
            Content::Zero => None,
            Content::Known { id, plain } => {
                self.common.shared.fetch_add(u64::from(plain), Ordering::Relaxed);
                Some(id)
            }
            Content::New { id, plain, encoding, stored } => {
                if self.is_there(&id)? {
                    self.common.shared.fetch_add(u64::from(plain), Ordering::Relaxed);
                } else {
                    self.common.new.fetch_add(u64::from(plain), Ordering::Relaxed);
                    self.store_chunk(id, Kind::Data, encoding, plain, &stored)?;
                }
                Some(id)
            }
        };
        let leaf_no = index / LEAF_CELLS;
        if self.leaf.as_ref().is_some_and(|(no, _)| *no != leaf_no) {
            self.close_leaf()?;
        }
        let index = u8::try_from(index % LEAF_CELLS).expect("a leaf has 64 cells");
        let (_, leaf) = self.leaf.get_or_insert_with(|| (leaf_no, LeafBuilder::default()));
        // On the grid a chunk is the used bytes of a cell, and its hash is the cell's.
        leaf.cell(index, content);
        let mut at = 0;
        for run in runs {
            let content = content.map_or(SliceContent::Zero, |id| SliceContent::Chunk { id: ChunkId(id), at });
            leaf.slice(u32::from(index) * CELL + run.start, run.len, content);
            at += run.len;
        }
        Ok(())
    }

    fn close_leaf(&mut self) -> Result<(), StoreError> {
        let Some((no, leaf)) = self.leaf.take() else { return Ok(()) };
        let node = Node::Leaf(leaf.finish()?);
        let (id, used, content) = (self.node(&node)?, node.used(), node.content());
        let mut tree = std::mem::take(&mut self.tree);
        tree.add(no, id, used, content, &mut |n| self.node(n))?;
        self.tree = tree;
        Ok(())
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
        let id = Digest::of(&plain);
        if !self.is_there(&id)? {
            let mut squeezer = std::mem::replace(&mut self.squeezer, Err(StoreError::io("in use")));
            let stored = match &mut squeezer {
                Ok(squeezer) => squeezer.squeeze(&plain).map(|(e, s)| (e, s.to_vec())),
                Err(e) => Err(e.clone()),
            };
            self.squeezer = squeezer;
            let (encoding, stored) = stored?;
            self.store_chunk(id, Kind::Node, encoding, small(plain.len()), &stored)?;
        }
        Ok(NodeId(id))
    }

    /// Pending first, then the index: the putter adds to the index before it takes from the pending.
    fn is_there(&self, id: &Digest) -> Result<bool, StoreError> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).contains(id);
        Ok(pending || self.store.has(id)?)
    }

    fn store_chunk(
        &mut self,
        id: Digest,
        kind: Kind,
        encoding: Encoding,
        plain: u32,
        stored: &[u8],
    ) -> Result<(), StoreError> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        let builder = match kind {
            Kind::Data => &mut self.data,
            Kind::Node => &mut self.nodes,
        };
        builder.push(id, kind, encoding, plain, stored);
        if builder.is_full() { self.ship(kind) } else { Ok(()) }
    }

    fn ship(&mut self, kind: Kind) -> Result<(), StoreError> {
        let builder = match kind {
            Kind::Data => &mut self.data,
            Kind::Node => &mut self.nodes,
        };
        if builder.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(builder, PackBuilder::new());
        self.send(Parcel::Pack(full.seal()))
    }

    fn flush(&mut self, reply: &Sender<Result<(), StoreError>>) -> Result<(), StoreError> {
        self.common.check()?;
        self.ship(Kind::Data)?;
        self.ship(Kind::Node)?;
        self.send(Parcel::Flush(reply.clone()))
    }

    fn send(&self, parcel: Parcel) -> Result<(), StoreError> {
        self.packs.send(parcel).map_err(|_| StoreError::io("the thread that puts packs stopped"))
    }
}
