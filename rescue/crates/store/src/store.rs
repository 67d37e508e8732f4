//! A store: its objects, its index, and what is read of packs as a whole.

use crate::cache::Cache;
use crate::decode::Decode;
use crate::error::StoreError;
use crate::footer::Footer;
use crate::index::{Index, Trust, sections};
use crate::layout::{INDEX_TARGET, MAX_PACK, digest_in, index_name, pack_name, small};
use crate::node::Node;
use crate::pack::{self, Header, TRAILER};
use crate::reader::FrameSlot;
use crate::records::Records;
use crate::seal::{self, Seal};
use model::id::{Digest, NodeId};
use model::ports::{Entropy, ObjectError, ObjectName, ObjectStore};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What is read at once of a pack that is only to be hashed.
const PIECE: usize = 1 << 20;
/// Plain bytes of frames kept: those of neighbouring slices lie mostly in the same ones.
const FRAMES: usize = 8 << 20;
/// Bytes of footers kept: an entry has 40, and a pack some hundred.
const FOOTERS: usize = 4 << 20;
/// Most threads that compute at once.
const MOST_THREADS: usize = 8;
/// Map nodes kept.
const NODES: usize = 16;

/// A place where snapshots live. Cheap to clone; all clones share the index.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Shared>,
    threads: usize,
}

pub(crate) struct Shared {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) decode: Arc<dyn Decode>,
    pub(crate) entropy: Arc<dyn Entropy>,
    id: String,
    seal: Seal,
    index: RwLock<Index>,
    /// Index objects read so far, good or not.
    seen: Mutex<HashSet<Digest>>,
    pub(crate) records: Records,
    pub(crate) frames: Cache<(Digest, u16), FrameSlot>,
    footers: Cache<Digest, Footer>,
    pub(crate) nodes: Cache<NodeId, Node>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.inner.id)
    }
}

impl Store {
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        decode: Arc<dyn Decode>,
        entropy: Arc<dyn Entropy>,
        id: String,
        seal: Seal,
    ) -> Result<Self, StoreError> {
        let inner = Shared {
            objects,
            decode,
            entropy,
            id,
            seal,
            index: RwLock::new(Index::default()),
            seen: Mutex::new(HashSet::new()),
            records: Records::default(),
            frames: Cache::new(FRAMES),
            footers: Cache::new(FOOTERS),
            nodes: Cache::new(NODES),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, MOST_THREADS);
        let store = Self { inner: Arc::new(inner), threads };
        store.refresh()?;
        Ok(store)
    }

    /// This store with so many threads for what takes computing; with 0 everything happens in the calling thread, in one
    /// order that depends on nothing but the calls.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.min(MOST_THREADS);
        self
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// The store's own random id, 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Room left where the store lies, where that can be known.
    pub fn free(&self) -> Option<ByteLen> {
        self.inner.objects.free()
    }

    pub(crate) fn seal(&self) -> &Seal {
        &self.inner.seal
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.inner.entropy
    }

    /// True where the store is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.seal().is_sealed()
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
        let mut last = Vec::new();
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
            for (pack, footer) in parts {
                if self.is_condemned(&pack) {
                    last.push((pack, footer));
                } else if packs.contains(&pack) && !index.knows(&pack) {
                    index.add(pack, Trust::Verified, &footer.chunks);
                }
            }
        }
        let mut unknown: Vec<Digest> = packs.iter().filter(|p| !self.index().knows(p)).copied().collect();
        unknown.retain(|p| !last.iter().any(|(pack, _)| pack == p));
        unknown.sort_by_key(|p| self.is_condemned(p));
        for pack in unknown {
            match self.footer(&pack) {
                Ok(footer) => self.index_mut().add(pack, Trust::Unknown, &footer.chunks),
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(_) => {}
            }
        }
        // A copy in a pack that will not go away is found first.
        for (pack, footer) in last.into_iter().filter(|(pack, _)| packs.contains(pack)) {
            self.index_mut().add(pack, Trust::Verified, &footer.chunks);
        }
        self.index_mut().merge();
        Ok(())
    }

    /// Learns everything anew: packs are gone, or will be.
    pub(crate) fn reindex(&self) -> Result<(), StoreError> {
        *self.index_mut() = Index::default();
        self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.refresh()
    }

    /// Packs that may hold a chunk.
    pub(crate) fn packs_with(&self, id: &Digest) -> Result<Vec<Digest>, StoreError> {
        let index = self.index();
        Ok(index.find(id).and_then(|no| index.pack(no)).map(|pack| pack.id).into_iter().collect())
    }

    /// What an index object says.
    pub(crate) fn index_object(&self, id: &Digest) -> Result<Vec<(Digest, Footer)>, StoreError> {
        let name = index_name(id);
        let bytes = self.named(&name, id, INDEX_TARGET as u64 * 2)?;
        let parts = sections(&bytes).ok_or_else(|| StoreError::damaged(format!("{} is torn", name.as_str())))?;
        parts.into_iter().map(|(pack, footer)| Ok((pack, self.decoded_footer(&pack, footer)?))).collect()
    }

    /// A pack's footer, remembered for a while.
    pub(crate) fn footer(&self, pack: &Digest) -> Result<Arc<Footer>, StoreError> {
        if let Some(footer) = self.inner.footers.get(pack) {
            return Ok(footer);
        }
        let footer = self.read_footer(pack)?;
        let cost = footer.encode().len();
        Ok(self.inner.footers.put(*pack, Arc::new(footer), cost))
    }

    /// A pack's footer as it is now; the chunks themselves are not read.
    pub(crate) fn read_footer(&self, pack: &Digest) -> Result<Footer, StoreError> {
        let name = pack_name(pack);
        let bad = |what: &str| StoreError::damaged(format!("{}: {what}", name.as_str()));
        let len = self.objects().len(&name)?.0;
        let at = len.checked_sub(TRAILER as u64).ok_or_else(|| bad("too short for a pack"))?;
        let mut trailer = [0; TRAILER];
        self.objects().get(&name, ByteOffset(at), &mut trailer)?;
        let (begins, footer_len, sum) =
            pack::decode_trailer(len, &trailer).ok_or_else(|| bad("it does not end as a pack does"))?;
        let mut stored = vec![0; footer_len];
        self.objects().get(&name, ByteOffset(begins), &mut stored)?;
        if Digest::of(&stored) != sum {
            return Err(bad("its footer does not match its sum"));
        }
        let plain = self.seal().open(seal::Kind::Footer, &[], stored)?;
        let footer = self.decoded_footer(pack, &plain)?;
        if footer.end().map(u64::from) != Some(begins) {
            return Err(bad("its frames do not end where the footer begins"));
        }
        Ok(footer)
    }

    fn decoded_footer(&self, pack: &Digest, plain: &[u8]) -> Result<Footer, StoreError> {
        let what = || format!("the footer of pack {}", pack.short(12));
        let footer = self.decoder().footer(plain).map_err(|e| StoreError::decoding(what(), e))?;
        // The decoder is not believed: its answer must be these bytes, and keep the rules.
        footer.validate().map_err(|e| StoreError::decoding(what(), e))?;
        if footer.encode() != plain || !footer.is_sealed(small(self.seal().overhead())) {
            return Err(StoreError::damaged(format!("{} was decoded to something else", what())));
        }
        Ok(footer)
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
        begins_as_pack(id, &bytes)?;
        Ok(bytes)
    }

    /// Reads a pack piece by piece and compares it with its name. `piece` is told of each, and stops this by returning
    /// false: then the answer is false too.
    pub(crate) fn prove_pack(&self, id: &Digest, piece: &mut dyn FnMut(u64) -> bool) -> Result<bool, StoreError> {
        let name = pack_name(id);
        let len = self.objects().len(&name)?.0;
        let (mut hash, mut bytes, mut at) = (Sha256::new(), vec![0; PIECE], 0);
        while at < len.min(MAX_PACK) {
            let part = &mut bytes[..usize::try_from(len - at).map_or(PIECE, |l| l.min(PIECE))];
            self.objects().get(&name, ByteOffset(at), part)?;
            if at == 0 {
                begins_as_pack(id, part)?;
            }
            hash.update(&*part);
            at += part.len() as u64;
            if !piece(part.len() as u64) {
                return Ok(false);
            }
        }
        if len > MAX_PACK || hash.finalize()[..] != id.0 {
            return Err(StoreError::damaged(format!("{} does not match its name", name.as_str())));
        }
        Ok(true)
    }

    /// Says how far a pack can be relied on.
    pub(crate) fn trust(&self, pack: &Digest, trust: Trust) {
        let mut index = self.index_mut();
        if let Some(no) = index.number(pack) {
            index.set_trust(no, trust);
        }
    }

    /// A pack that was put a moment ago is not what it should be: it goes away.
    pub(crate) fn spoilt(&self, pack: &Digest) {
        self.trust(pack, Trust::Bad);
        // Where it cannot be deleted, it is found to be bad by whoever comes to rely on it.
        let _ = self.objects().delete(&pack_name(pack));
    }

    /// True where the chunk is in the store, in a pack that is known to be good. A pack nobody vouches for is read first.
    pub(crate) fn has(&self, id: &Digest) -> Result<bool, StoreError> {
        let (no, pack) = {
            let index = self.index();
            let Some(no) = index.find(id) else { return Ok(false) };
            match index.pack(no) {
                Some(pack) => (no, pack),
                None => return Ok(false),
            }
        };
        match pack.trust {
            _ if self.is_condemned(&pack.id) => Ok(false),
            Trust::Verified | Trust::Put => Ok(true),
            Trust::Bad => Ok(false),
            Trust::Unknown => {
                let trust = match self.prove_pack(&pack.id, &mut |_| true) {
                    Ok(_) => Trust::Verified,
                    Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                    Err(_) => Trust::Bad,
                };
                self.index_mut().set_trust(no, trust);
                Ok(trust == Trust::Verified)
            }
        }
    }
}

fn begins_as_pack(id: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
    match pack::header(bytes) {
        Header::Pack => Ok(()),
        Header::Newer(found) => Err(StoreError::Newer { found }),
        Header::Other => Err(StoreError::damaged(format!("{} does not begin as a pack does", pack_name(id).as_str()))),
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
