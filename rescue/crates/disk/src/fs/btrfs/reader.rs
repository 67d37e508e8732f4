//! Tree blocks, verified before anything in them is believed.

use super::checksum::SPACE;
use super::chunk::Chunks;
use super::devices::Devices;
use super::raw::{Key, id, is_subvolume, kind};
use super::superblock::Superblock;
use super::tree::{self, Root};
use crate::fs::FsError;
use crate::numbers::{byte, le32, le64, uuid};
use model::ports::{ReadAt, ReadError};
use model::units::ByteOffset;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

/// Bytes of tree blocks that are kept in memory.
const MOST_CACHED: usize = 8 << 20;
/// Bytes of a header, of an item's entry in a leaf, of a pointer in a node.
const HEADER: usize = 101;
const ITEM: usize = 25;
const POINTER: usize = 33;

/// A tree block whose checksum, place and order hold.
pub(super) struct Node {
    bytes: Box<[u8]>,
    /// Zero for a leaf.
    pub(super) level: u8,
    /// Items of a leaf, or pointers.
    pub(super) count: usize,
}

impl Node {
    /// The key of entry `n`.
    pub(super) fn key(&self, n: usize) -> Key {
        Key::parse(&self.bytes, HEADER + n * if self.level == 0 { ITEM } else { POINTER })
    }

    /// Bytes of item `n` of a leaf.
    pub(super) fn item(&self, n: usize) -> &[u8] {
        let (at, len) = self.item_place(n);
        self.bytes.get(at..at + len).unwrap_or_default()
    }

    fn item_place(&self, n: usize) -> (usize, usize) {
        let at = HEADER + n * ITEM + Key::LEN;
        let part = |at| usize::try_from(le32(&self.bytes, at)).unwrap_or(usize::MAX);
        (HEADER.saturating_add(part(at)), part(at + 4))
    }

    /// What pointer `n` leads to, in the tree of `owner`.
    pub(super) fn child(&self, n: usize, owner: u64) -> Root {
        let at = HEADER + n * POINTER + Key::LEN;
        let level = self.level.saturating_sub(1);
        Root { owner, at: le64(&self.bytes, at), level, generation: le64(&self.bytes, at + 8) }
    }

    /// The number of the first entry whose key is not less.
    pub(super) fn first_from(&self, key: Key) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// A file system on its devices.
pub(super) struct Reader {
    bytes: Arc<dyn ReadAt>,
    /// Its devices.
    pub(super) devices: Devices,
    /// The superblock it is read by.
    pub(super) sb: Superblock,
    /// Its chunks.
    pub(super) chunks: Chunks,
    cache: Mutex<BTreeMap<u64, Arc<Node>>>,
}

impl Reader {
    /// Reads the chunks.
    ///
    /// # Errors
    /// [`FsError`] where they cannot be read, do not hold together, or have a profile that is not read.
    pub(super) fn load(bytes: Arc<dyn ReadAt>, devices: Devices) -> Result<Self, FsError> {
        let chunks = Chunks::system(&devices)?;
        let sb = devices.newest().clone();
        let mut reader = Self { bytes, devices, sb, chunks, cache: Mutex::default() };
        let (mut found, mut wrong) = (reader.chunks.clone(), None);
        let from = Key::new(id::FIRST_CHUNK_TREE, kind::CHUNK_ITEM, 0);
        tree::each(&reader, reader.sb.chunk_tree(), from, &mut |key, item| {
            if key.kind != kind::CHUNK_ITEM {
                return ControlFlow::Continue(());
            }
            match found.add(&reader.devices, key, item) {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => {
                    wrong = Some(e);
                    ControlFlow::Break(())
                }
            }
        })?;
        match wrong {
            Some(e) => Err(e),
            None => {
                reader.chunks = found;
                Ok(reader)
            }
        }
    }

    /// The volume's bytes.
    pub(super) fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.bytes
    }

    /// Bytes of a tree block.
    pub(super) fn node_len(&self) -> usize {
        usize::try_from(self.sb.node).expect("at most 65536")
    }

    /// The tree block that a pointer leads to, of whichever copy holds.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where none does, [`FsError::Io`] where none can be read.
    pub(super) fn node(&self, wanted: &Root) -> Result<Arc<Node>, FsError> {
        let mut cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = cache.get(&wanted.at) {
            // It was checked as something else: a pointer that says another thing is wrong.
            self.is_meant(&known.bytes, wanted)?;
            return Ok(known.clone());
        }
        let (places, room) = self.chunks.places(wanted.at)?;
        if room < u64::from(self.sb.node) {
            return Err(FsError::Corrupt(format!("the tree block at {} ends outside of its chunk", wanted.at)));
        }
        let mut wrong = None;
        for place in places {
            match self.read_node(place, wanted) {
                Ok(node) => {
                    let node = Arc::new(node);
                    if cache.len() * self.node_len() >= MOST_CACHED {
                        cache.clear();
                    }
                    cache.insert(wanted.at, node.clone());
                    return Ok(node);
                }
                Err(e) => wrong = wrong.or(Some(e)),
            }
        }
        Err(wrong.unwrap_or_else(|| FsError::Corrupt(format!("the tree block at {} lies nowhere", wanted.at))))
    }

    fn read_node(&self, place: ByteOffset, wanted: &Root) -> Result<Node, FsError> {
        let bytes = self.bytes.read_vec(place, self.node_len())?;
        let bad = |why: &str| FsError::Corrupt(format!("the tree block at {}: {why}", wanted.at));
        if !self.sb.checksum.holds(&bytes) {
            return Err(bad("it has a wrong checksum"));
        }
        if uuid(&bytes, SPACE) != self.sb.metadata_uuid() {
            return Err(bad("it is of another file system"));
        }
        self.is_meant(&bytes, wanted)?;
        let level = byte(&bytes, 0x64);
        let count = usize::try_from(le32(&bytes, 0x60)).unwrap_or(usize::MAX);
        let room = (bytes.len() - HEADER) / if level == 0 { ITEM } else { POINTER };
        if count > room || (count == 0 && level > 0) {
            return Err(bad(&format!("{count} entries in room for {room}")));
        }
        let node = Node { bytes: bytes.into_boxed_slice(), level, count };
        if (1..count).any(|n| node.key(n - 1) >= node.key(n)) {
            return Err(bad("its keys are out of order"));
        }
        // Data of items lies behind all entries.
        let inside = |n: usize| {
            let (at, len) = node.item_place(n);
            at >= HEADER + count * ITEM && at.checked_add(len).is_some_and(|end| end <= node.bytes.len())
        };
        if level == 0 && !(0..count).all(inside) {
            return Err(bad("an item lies outside of it"));
        }
        Ok(node)
    }

    /// Whether a block says of itself what the pointer to it says (kernel `btrfs_check_eb_owner` and `btrfs_validate_extent_buffer`).
    fn is_meant(&self, bytes: &[u8], wanted: &Root) -> Result<(), FsError> {
        let (at, generation, owner, level) =
            (le64(bytes, 0x30), le64(bytes, 0x50), le64(bytes, 0x58), byte(bytes, 0x64));
        let owned = match wanted.owner {
            id::TREE_LOG | id::TREE_RELOC => true,
            tree if is_subvolume(tree) => is_subvolume(owner),
            tree => owner == tree,
        };
        if (at, generation, level) == (wanted.at, wanted.generation, wanted.level) && owned {
            return Ok(());
        }
        Err(FsError::Corrupt(format!(
            "the tree block at {} says it is at {at}, of transaction {generation}, tree {owner}, level {level}; \
             {}, {} and {} are expected",
            wanted.at, wanted.generation, wanted.owner, wanted.level
        )))
    }

    /// Reads bytes by their address, of whichever copy can be read.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where they lie in no chunk, [`FsError::Io`] where no copy can be read.
    pub(super) fn read_address(&self, address: u64, buf: &mut [u8]) -> Result<(), FsError> {
        let mut done = 0;
        while done < buf.len() {
            let (places, room) = self.chunks.places(address.saturating_add(done as u64))?;
            let n = usize::try_from(room).unwrap_or(usize::MAX).min(buf.len() - done);
            let mut wrong: Option<ReadError> = None;
            let read = places.into_iter().any(|place| {
                self.bytes.read_exact_at(place, &mut buf[done..done + n]).map_err(|e| wrong = Some(e)).is_ok()
            });
            match wrong {
                Some(e) if !read => return Err(e.into()),
                _ => done += n,
            }
        }
        Ok(())
    }
}
