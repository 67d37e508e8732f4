//! A store for the index's tests: packs that are lists of ids, and faults on demand.

#![allow(clippy::unwrap_used)]

use super::{Index, PackNo, Source, Trust};
use crate::backend::Memory;
use crate::entropy::SystemEntropy;
use crate::error::StoreError;
use crate::layout::{index_name, pack_name};
use crate::seal::Seal;
use crate::seal::keys::{Keys, Master};
use crate::store::read_object;
use model::id::Digest;
use model::ports::{Entropy, ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Objects in memory. After `left` more changes every change fails; while `deaf`, every read does.
pub(super) struct Objects {
    pub(super) inner: Memory,
    pub(super) left: AtomicUsize,
    pub(super) deaf: AtomicBool,
}

impl Objects {
    fn change(&self) -> Result<(), ObjectError> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        left.map(|_| ()).map_err(|_| fault("writing"))
    }

    fn read(&self) -> Result<(), ObjectError> {
        if self.deaf.load(Ordering::Relaxed) { Err(fault("reading")) } else { Ok(()) }
    }
}

fn fault(what: &str) -> ObjectError {
    ObjectError::Io { what: what.to_owned(), source: io::Error::other("the disk is gone") }
}

impl ObjectStore for Objects {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.change()?;
        self.inner.put(name, bytes)
    }
    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        self.read()?;
        self.inner.get(name, at, buf)
    }
    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        self.read()?;
        self.inner.len(name)
    }
    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        self.read()?;
        self.inner.list(prefix)
    }
    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.change()?;
        self.inner.delete(name)
    }
    fn free(&self) -> Option<ByteLen> {
        None
    }
}

/// A store whose packs are lists of ids.
pub(super) struct Fake {
    pub(super) objects: Objects,
    seal: Seal,
    /// Footers read.
    pub(super) footers: AtomicUsize,
}

impl Source for Fake {
    fn objects(&self) -> &dyn ObjectStore {
        &self.objects
    }
    fn seal(&self) -> &Seal {
        &self.seal
    }
    fn entropy(&self) -> &dyn Entropy {
        &SystemEntropy
    }
    fn ids(&self, pack: &Digest) -> Result<Vec<Digest>, StoreError> {
        self.footers.fetch_add(1, Ordering::Relaxed);
        let bytes = read_object(&self.objects, &pack_name(pack), 1 << 20)?;
        if Digest::of(&bytes) != *pack {
            return Err(StoreError::damaged("a pack"));
        }
        Ok(bytes.as_chunks::<32>().0.iter().copied().map(Digest).collect())
    }
}

/// The id of chunk `n`.
pub(super) fn id(n: u32) -> Digest {
    Digest::of(&n.to_le_bytes())
}

impl Fake {
    pub(super) fn new(sealed: bool) -> Self {
        let left = AtomicUsize::new(usize::MAX);
        let objects = Objects { inner: Memory::new(), left, deaf: AtomicBool::new(false) };
        let keys = || Arc::new(Keys::derive(&Master::generate(&SystemEntropy).unwrap(), &[7; 16]));
        let seal = if sealed { Seal::Sealed(keys()) } else { Seal::Open };
        Self { objects, seal, footers: AtomicUsize::new(0) }
    }

    /// Puts a pack of some chunks.
    pub(super) fn pack(&self, chunks: impl IntoIterator<Item = u32>) -> (Digest, Vec<Digest>) {
        let ids: Vec<Digest> = chunks.into_iter().map(id).collect();
        let bytes = ids.iter().flat_map(|id| id.0).collect::<Vec<u8>>();
        let pack = Digest::of(&bytes);
        self.objects.inner.put(&pack_name(&pack), &bytes).unwrap();
        (pack, ids)
    }

    /// Puts a pack and adds it.
    pub(super) fn add(&self, index: &Index, trust: Trust, chunks: impl IntoIterator<Item = u32>) -> PackNo {
        let (pack, ids) = self.pack(chunks);
        index.add(&pack, trust, &ids)
    }

    pub(super) fn index_objects(&self) -> Vec<ObjectName> {
        self.objects.inner.list("index").unwrap()
    }

    pub(super) fn bytes(&self, name: &ObjectName) -> Vec<u8> {
        read_object(&self.objects.inner, name, u64::MAX).unwrap()
    }

    /// Puts other bytes under a name that is there.
    pub(super) fn overwrite(&self, name: &ObjectName, bytes: &[u8]) {
        self.objects.inner.delete(name).unwrap();
        self.objects.inner.put(name, bytes).unwrap();
    }

    /// Puts an index object under its own name.
    pub(super) fn put_index(&self, bytes: &[u8]) -> Digest {
        let id = Digest::of(bytes);
        self.objects.inner.put(&index_name(&id), bytes).unwrap();
        id
    }

    /// Every pack that is in the store, and its chunks.
    pub(super) fn truth(&self) -> BTreeMap<Digest, BTreeSet<Digest>> {
        let packs = self.objects.inner.list("packs").unwrap();
        let chunks = |name: &ObjectName| self.bytes(name).as_chunks::<32>().0.iter().copied().map(Digest).collect();
        packs.iter().map(|name| (name.as_str().rsplit('/').next().unwrap().parse().unwrap(), chunks(name))).collect()
    }

    /// Says whether every chunk up to `chunks` is found in exactly the packs that have it.
    pub(super) fn verify(&self, index: &Index, chunks: u32) -> Result<(), String> {
        let truth = self.truth();
        for n in 0..chunks {
            let found = index.candidates(self, &id(n)).map_err(|e| e.to_string())?;
            let found: Vec<Digest> = found.iter().map(|no| index.pack(*no).unwrap().id).collect();
            let set: BTreeSet<Digest> = found.iter().copied().collect();
            let expected: BTreeSet<Digest> =
                truth.iter().filter(|(_, c)| c.contains(&id(n))).map(|(p, _)| *p).collect();
            if set != expected || set.len() != found.len() {
                return Err(format!("chunk {n}: found in {found:?}, is in {expected:?}"));
            }
        }
        Ok(())
    }
}
