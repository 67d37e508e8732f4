//! A store: its objects, its index, and what is read of packs as a whole.

use crate::cache::Cache;
use crate::decode::Decode;
use crate::error::StoreError;
use crate::footer::Footer;
use crate::layout::{MAX_PACK, PACK_RESERVE, pack_name, small};
use crate::locate::{Footers, Found, Held, Index, PackNo, Source, Trust};
use crate::map::Believed;
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
use std::sync::Arc;

/// What is read at once of a pack that is only to be hashed.
const PIECE: usize = 2 << 20;
/// Plain bytes of frames kept: those of neighbouring slices lie mostly in the same ones.
const FRAMES: usize = 16 << 20;
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
    index: Index,
    pub(crate) records: Records,
    pub(crate) frames: Cache<(Digest, u16), FrameSlot>,
    pub(crate) footers: Footers,
    pub(crate) nodes: Cache<NodeId, Node>,
    pub(crate) believed: Believed,
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
            index: Index::new(),
            records: Records::default(),
            frames: Cache::new(FRAMES),
            footers: Footers::new(),
            nodes: Cache::new(NODES),
            believed: Believed::default(),
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

    /// Room left for snapshots: without what is kept for records, so that forgetting and undoing stay possible.
    pub fn room(&self) -> Option<ByteLen> {
        self.free().map(|free| ByteLen(free.0.saturating_sub(PACK_RESERVE)))
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

    pub(crate) fn index(&self) -> &Index {
        &self.inner.index
    }

    /// Learns of packs that are not in the index yet, and of those that are gone: from index objects, and where none names a pack from its footer.
    /// Damage is no error here: what cannot be read is just not there, and `check` says so.
    pub(crate) fn refresh(&self) -> Result<(), StoreError> {
        self.index().refresh(self)
    }

    /// Packs that may hold a chunk; damaged ones only where there are no others.
    pub(crate) fn packs_with(&self, id: &Digest) -> Result<Vec<Digest>, StoreError> {
        let candidates = self.index().candidates(self, id)?;
        let packs: Vec<_> = candidates.into_iter().filter_map(|no| self.index().pack(no)).collect();
        let good = packs.iter().any(|p| p.trust != Trust::Bad);
        Ok(packs.into_iter().filter(|p| !good || p.trust != Trust::Bad).map(|p| p.id).collect())
    }

    /// Writes out what the index learnt, under the store's lock. It is a help and no more: a disk that does not give an index
    /// object back costs time.
    pub(crate) fn flush_index(&self) -> Result<(), StoreError> {
        match self.index().flush(self) {
            Err(StoreError::Damaged { .. } | StoreError::NoSuch { .. } | StoreError::Newer { .. }) => Ok(()),
            flushed => flushed,
        }
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
        let footer = Footer::decode(plain).map_err(|e| StoreError::decoding(what(), e))?;
        if !footer.is_sealed(small(self.seal().overhead())) {
            return Err(StoreError::damaged(format!("{} has frames of impossible lengths", what())));
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

    /// Says how far a pack can be relied on. True where that was not known.
    pub(crate) fn trust(&self, pack: &Digest, trust: Trust) -> bool {
        let Some(no) = self.index().number(pack) else { return false };
        let new = self.index().pack(no).is_some_and(|p| p.trust != trust);
        self.index().set_trust(no, trust);
        new
    }

    /// A pack that was put a moment ago is not what it should be: it goes away.
    pub(crate) fn spoilt(&self, pack: &Digest) {
        self.trust(pack, Trust::Bad);
        // Where it cannot be deleted, it is found to be bad by whoever comes to rely on it.
        if self.objects().delete(&pack_name(pack)).is_ok()
            && let Some(no) = self.index().number(pack)
        {
            self.index().forget_pack(no);
            self.inner.footers.forget(no);
        }
    }

    /// True where the chunk is in the store, in a pack that is known to be good. A pack nobody vouches for is read first.
    pub(crate) fn has(&self, id: &Digest) -> Result<bool, StoreError> {
        if let Some((no, ..)) = self.inner.footers.near(id)
            && self.is_good(no)?
        {
            return Ok(true);
        }
        for no in self.index().candidates(self, id)? {
            if self.is_good(no)? && matches!(self.found_in(no, id), Ok(Some(_))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True where something may be saved against a pack.
    fn is_good(&self, no: PackNo) -> Result<bool, StoreError> {
        let Some(pack) = self.index().pack(no) else { return Ok(false) };
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
                self.index().set_trust(no, trust);
                Ok(trust == Trust::Verified)
            }
        }
    }

    /// Where a chunk lies in a pack, by the pack's footer.
    pub(crate) fn found_in(&self, no: PackNo, id: &Digest) -> Result<Option<Found>, StoreError> {
        self.inner.footers.find(no, id, || {
            let pack = self.index().pack(no).ok_or_else(|| StoreError::damaged("a pack is gone"))?;
            self.read_footer(&pack.id).map(|footer| Held::new(&footer))
        })
    }

    /// Adds a pack that was just put.
    pub(crate) fn add_pack(&self, pack: &Digest, trust: Trust, footer: &Footer) {
        let ids: Vec<Digest> = footer.chunks.iter().map(|c| c.id).collect();
        let no = self.index().add(pack, trust, &ids);
        if let Some(first) = ids.first() {
            // Its footer is at hand: nobody need read it for what is found there next. It cannot fail.
            let _ = self.inner.footers.find(no, first, || Ok(Held::new(footer)));
        }
    }
}

impl Source for Store {
    fn objects(&self) -> &dyn ObjectStore {
        Self::objects(self)
    }

    fn seal(&self) -> &Seal {
        Self::seal(self)
    }

    fn entropy(&self) -> &dyn Entropy {
        Self::entropy(self)
    }

    fn ids(&self, pack: &Digest) -> Result<Vec<Digest>, StoreError> {
        Ok(self.read_footer(pack)?.chunks.iter().map(|c| c.id).collect())
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
