//! A store: its objects, its index, and the way from a chunk's name to its plain bytes.

use crate::cache::Cache;
use crate::decode::{Decode, DecodeError, LocalDecoder};
use crate::error::StoreError;
use crate::format;
use crate::index::{Index, Place, Trust, sections};
use crate::layout::{INDEX_TARGET, MAX_NODE, MAX_PACK, big, digest_in, format_name, index_name, pack_name};
use crate::node::Node;
use crate::pack::{self, Encoding, PackEntry, TRAILER};
use model::id::{ChunkId, Digest, NodeId};
use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What is read at once of a pack that is only to be hashed.
const PIECE: usize = 1 << 20;

/// A place where snapshots live. Cheap to clone; all clones share the index.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) decode: Arc<dyn Decode>,
    id: String,
    index: RwLock<Index>,
    /// Index objects read so far, good or not.
    seen: Mutex<HashSet<Digest>>,
    /// The runs of a cell share a chunk: 8 are at most 1 MiB.
    chunks: Cache<ChunkId, Vec<u8>>,
    nodes: Cache<NodeId, Node>,
}

/// A pack's entries, or what is wrong with it.
pub(crate) type Footer = Result<Vec<PackEntry>, StoreError>;

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.inner.id)
    }
}

impl Store {
    /// Makes a store where there is none.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where there is one; [`StoreError::Full`], [`StoreError::Io`].
    pub fn init(objects: Arc<dyn ObjectStore>) -> Result<Self, StoreError> {
        let held = objects.lock()?;
        let name = format_name();
        match objects.len(&name) {
            Err(ObjectError::Missing(_)) => {}
            Err(e) => return Err(e.into()),
            Ok(_) => return Err(StoreError::Exists { what: DisplayText::new("a store") }),
        }
        objects.put(&name, &format::encode(&format::random_id()?))?;
        drop(held);
        Self::open(objects, Arc::new(LocalDecoder))
    }

    /// Opens a store. Its `format` object is looked at before anything else.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`], [`StoreError::Newer`], [`StoreError::Damaged`] where `format` is, [`StoreError::Io`].
    pub fn open(objects: Arc<dyn ObjectStore>, decode: Arc<dyn Decode>) -> Result<Self, StoreError> {
        let id = format::decode(&match read_object(&*objects, &format_name(), format::MAX_FORMAT) {
            Ok(bytes) => bytes,
            Err(StoreError::NoSuch { .. }) => {
                return Err(StoreError::NotAStore { why: DisplayText::new("it has no format object") });
            }
            Err(StoreError::Damaged { what }) => return Err(StoreError::NotAStore { why: what }),
            Err(e) => return Err(e),
        })?;
        let inner = Shared {
            objects,
            decode,
            id,
            index: RwLock::new(Index::default()),
            seen: Mutex::new(HashSet::new()),
            chunks: Cache::new(8),
            nodes: Cache::new(16),
        };
        let store = Self { inner: Arc::new(inner) };
        store.refresh()?;
        Ok(store)
    }

    /// The store's own random id, 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Room left where the store lies, where that can be known.
    pub fn free(&self) -> Option<ByteLen> {
        self.inner.objects.free()
    }

    pub(crate) fn objects(&self) -> &dyn ObjectStore {
        &*self.inner.objects
    }

    pub(crate) fn decoder(&self) -> &dyn Decode {
        &*self.inner.decode
    }

    // The index is only ever replaced entry by entry, so that a thread that panicked left it usable.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.inner.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.inner.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns of packs that are not in the index yet: from index objects, and where none names a pack from its footer.
    /// Damage is no error here: what cannot be read is just not there, and `check` says so.
    pub(crate) fn refresh(&self) -> Result<(), StoreError> {
        let packs: HashSet<Digest> =
            self.objects().list("packs")?.iter().filter_map(|n| digest_in(n, pack_name)).collect();
        for name in self.objects().list("index")? {
            let Some(id) = digest_in(&name, index_name) else { continue };
            let new = self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            if !new {
                continue;
            }
            let parts = match self.index_object(&id) {
                Ok(parts) => parts,
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(_) => continue,
            };
            let mut index = self.index_mut();
            for (pack, entries) in parts {
                if packs.contains(&pack) && !index.knows(&pack) {
                    index.add(pack, Trust::Verified, &entries);
                }
            }
        }
        let unknown: Vec<Digest> = packs.into_iter().filter(|p| !self.index().knows(p)).collect();
        for pack in unknown {
            match self.footer(&pack) {
                Ok(entries) => self.index_mut().add(pack, Trust::Unknown, &entries),
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(_) => {}
            }
        }
        self.index_mut().merge();
        Ok(())
    }

    /// What an index object says.
    pub(crate) fn index_object(&self, id: &Digest) -> Result<Vec<(Digest, Vec<PackEntry>)>, StoreError> {
        let name = index_name(id);
        let bytes = self.named(&name, id, INDEX_TARGET as u64 * 2)?;
        let parts = sections(&bytes).ok_or_else(|| StoreError::damaged(format!("{} is torn", name.as_str())))?;
        parts.into_iter().map(|(pack, footer)| Ok((pack, self.entries(&pack, footer)?))).collect()
    }

    /// A pack's entries from its footer; the chunks themselves are not read.
    pub(crate) fn footer(&self, pack: &Digest) -> Footer {
        let name = pack_name(pack);
        let bad = |what: &str| StoreError::damaged(format!("{}: {what}", name.as_str()));
        let len = self.objects().len(&name)?.0;
        let at = len.checked_sub(TRAILER as u64).ok_or_else(|| bad("too short for a pack"))?;
        let mut trailer = [0; TRAILER];
        self.objects().get(&name, ByteOffset(at), &mut trailer)?;
        let (begins, footer_len, sum) =
            pack::decode_trailer(len, &trailer).ok_or_else(|| bad("it does not end as a pack does"))?;
        let mut footer = vec![0; footer_len];
        self.objects().get(&name, ByteOffset(begins), &mut footer)?;
        if Digest::of(&footer) != sum {
            return Err(bad("its footer does not match its sum"));
        }
        let entries = self.entries(pack, &footer)?;
        if pack::blobs_end(&entries).map(u64::from) != Some(begins) {
            return Err(bad("its entries do not end where the footer begins"));
        }
        Ok(entries)
    }

    fn entries(&self, pack: &Digest, footer: &[u8]) -> Footer {
        let what = || format!("the footer of pack {}", pack.short(12));
        let entries = self.decoder().pack_index(footer).map_err(|e| StoreError::decoding(what(), e))?;
        // The decoder is not believed: its answer must be these bytes, and keep the rules.
        if pack::encode_entries(&entries) != footer || pack::blobs_end(&entries).is_none() {
            return Err(StoreError::damaged(format!("{} was decoded to something else", what())));
        }
        Ok(entries)
    }

    /// A whole object whose name is the hash of its bytes.
    pub(crate) fn named(&self, name: &ObjectName, id: &Digest, most: u64) -> Result<Vec<u8>, StoreError> {
        let bytes = read_object(self.objects(), name, most)?;
        if Digest::of(&bytes) != *id {
            return Err(StoreError::damaged(format!("{} does not match its name", name.as_str())));
        }
        Ok(bytes)
    }

    /// Reads a whole pack and compares it with its name: the bytes, where they are right.
    pub(crate) fn whole_pack(&self, id: &Digest) -> Result<Vec<u8>, StoreError> {
        let bytes = self.named(&pack_name(id), id, MAX_PACK)?;
        if !pack::has_header(&bytes) {
            return Err(StoreError::damaged(format!("{} does not begin as a pack does", pack_name(id).as_str())));
        }
        Ok(bytes)
    }

    /// Reads a pack piece by piece and compares it with its name.
    pub(crate) fn prove_pack(&self, id: &Digest) -> Result<(), StoreError> {
        let name = pack_name(id);
        let len = self.objects().len(&name)?.0;
        let (mut hash, mut piece, mut at) = (Sha256::new(), vec![0; PIECE], 0);
        while at < len.min(MAX_PACK) {
            let part = &mut piece[..usize::try_from(len - at).map_or(PIECE, |l| l.min(PIECE))];
            self.objects().get(&name, ByteOffset(at), part)?;
            if at == 0 && !pack::has_header(part) {
                return Err(StoreError::damaged(format!("{} does not begin as a pack does", name.as_str())));
            }
            hash.update(&*part);
            at += part.len() as u64;
        }
        if len > MAX_PACK || hash.finalize()[..] != id.0 {
            return Err(StoreError::damaged(format!("{} does not match its name", name.as_str())));
        }
        Ok(())
    }

    /// Where a chunk lies; another process may have added it since the index was read.
    fn place(&self, id: &Digest) -> Result<(Digest, Place), StoreError> {
        for again in [false, true] {
            let index = self.index();
            if let Some(place) = index.find(id)
                && let Some(pack) = index.pack(place.pack)
            {
                return Ok((pack.id, place));
            }
            drop(index);
            if !again {
                self.refresh()?;
            }
        }
        Err(StoreError::damaged(format!("chunk {} is in no pack that can be read", id.short(12))))
    }

    /// The plain bytes of a chunk, proven by its name.
    pub(crate) fn plain(&self, id: &Digest) -> Result<Vec<u8>, StoreError> {
        let (pack, place) = self.place(id)?;
        let mut stored = vec![0; big(place.stored.min(MAX_NODE))];
        self.objects().get(&pack_name(&pack), ByteOffset(u64::from(place.offset)), &mut stored)?;
        self.open_chunk(id, &pack, place.encoding, place.plain, stored)
    }

    /// Plain bytes from stored ones.
    pub(crate) fn open_chunk(
        &self,
        id: &Digest,
        pack: &Digest,
        encoding: Encoding,
        plain_len: u32,
        stored: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let what = || format!("chunk {} in pack {}", id.short(12), pack.short(12));
        let plain = match encoding {
            Encoding::Plain => stored,
            Encoding::Zstd if plain_len > MAX_NODE => {
                return Err(StoreError::damaged(format!("{} declares {plain_len} bytes", what())));
            }
            Encoding::Zstd => self.decoder().chunk(&stored, plain_len).map_err(|e| StoreError::decoding(what(), e))?,
        };
        if plain.len() != big(plain_len) || Digest::of(&plain) != *id {
            return Err(StoreError::damaged(format!("{} does not match its name", what())));
        }
        Ok(plain)
    }

    /// The plain bytes of a data chunk, remembered for a moment: the runs of a cell share one.
    pub(crate) fn data(&self, id: &ChunkId) -> Result<Arc<Vec<u8>>, StoreError> {
        if let Some(plain) = self.inner.chunks.get(id) {
            return Ok(plain);
        }
        let plain = Arc::new(self.plain(&id.0)?);
        self.inner.chunks.put(*id, plain.clone());
        Ok(plain)
    }

    /// A map node of a given height.
    pub(crate) fn node(&self, id: &NodeId, height: u8) -> Result<Arc<Node>, StoreError> {
        let node = match self.inner.nodes.get(id) {
            Some(node) => node,
            None => {
                let plain = self.plain(&id.0)?;
                let what = || format!("map node {}", id.0.short(12));
                let node = self.decoder().node(&plain).map_err(|e| StoreError::decoding(what(), e))?;
                // Not believed either: a node has one encoding, and that must be the bytes its name proves.
                let valid = node.validate().and_then(|()| {
                    if node.encode() == plain { Ok(()) } else { Err(DecodeError::bad("decoded to something else")) }
                });
                valid.map_err(|e| StoreError::decoding(what(), e))?;
                let node = Arc::new(node);
                self.inner.nodes.put(*id, node.clone());
                node
            }
        };
        if node.height() != height {
            let text = format!("map node {} has height {}, not {height}", id.0.short(12), node.height());
            return Err(StoreError::damaged(text));
        }
        Ok(node)
    }

    /// True where the chunk is in the store, in a pack that is known to be good. A pack nobody vouches for is read first.
    pub(crate) fn has(&self, id: &Digest) -> Result<bool, StoreError> {
        let (no, pack) = {
            let index = self.index();
            let Some(place) = index.find(id) else { return Ok(false) };
            match index.pack(place.pack) {
                Some(pack) => (place.pack, pack),
                None => return Ok(false),
            }
        };
        match pack.trust {
            Trust::Verified => Ok(true),
            Trust::Bad => Ok(false),
            Trust::Unknown => {
                let trust = match self.prove_pack(&pack.id) {
                    Ok(()) => Trust::Verified,
                    Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                    Err(_) => Trust::Bad,
                };
                self.index_mut().set_trust(no, trust);
                Ok(trust == Trust::Verified)
            }
        }
    }
}

/// Reads a whole object; its length is checked before memory is taken.
pub(crate) fn read_object(objects: &dyn ObjectStore, name: &ObjectName, most: u64) -> Result<Vec<u8>, StoreError> {
    let missing = |e| match e {
        ObjectError::Missing(n) => StoreError::NoSuch { what: DisplayText::new(n.as_str()) },
        e => e.into(),
    };
    let len = objects.len(name).map_err(missing)?.0;
    if len > most {
        return Err(StoreError::damaged(format!("{} has {len} bytes; the most is {most}", name.as_str())));
    }
    let len = usize::try_from(len).map_err(|e| StoreError::damaged(e.to_string()))?;
    let mut bytes = vec![0; len];
    objects.get(name, ByteOffset(0), &mut bytes).map_err(missing)?;
    Ok(bytes)
}
