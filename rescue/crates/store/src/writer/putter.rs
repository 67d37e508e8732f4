//! The thread that puts packs, reads each back, and only then lets the index know it.

use super::Common;
use super::packer::Pending;
use crate::error::StoreError;
use crate::index::{IndexBuilder, Trust};
use crate::layout::{INDEX_TARGET, index_name, pack_name};
use crate::pack::Sealed;
use crate::store::Store;
use model::id::Digest;
use model::ports::ObjectError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, PoisonError};

/// What the packer sends.
pub(super) enum Parcel {
    /// A full pack.
    Pack(Sealed),
    /// Everything before must be durable, proven and indexed; then say so.
    Flush(Sender<Result<(), StoreError>>),
}

pub(super) struct Putter {
    store: Store,
    common: Arc<Common>,
    pending: Pending,
    index: IndexBuilder,
}

impl Putter {
    pub(super) fn new(store: Store, common: Arc<Common>, pending: Pending) -> Self {
        Self { store, common, pending, index: IndexBuilder::new() }
    }

    pub(super) fn run(mut self, parcels: &Receiver<Parcel>) {
        for parcel in parcels {
            let usable = self.common.check();
            match parcel {
                Parcel::Pack(pack) => {
                    if let Err(e) = usable.and_then(|()| self.put(pack)) {
                        self.common.fail(e);
                    }
                }
                Parcel::Flush(reply) => {
                    let _ = reply.send(usable.and_then(|()| self.flush()));
                }
            }
        }
    }

    fn put(&mut self, mut pack: Sealed) -> Result<(), StoreError> {
        let mut id = Digest::of(&pack.bytes);
        for salt in 1..=u8::MAX {
            match self.store.objects().put(&pack_name(&id), &pack.bytes) {
                // Something damaged has this name; it may still hold the only copy of other chunks, and stays.
                Err(ObjectError::Exists(_)) => {
                    pack.salt(salt);
                    id = Digest::of(&pack.bytes);
                }
                put => {
                    put?;
                    break;
                }
            }
        }
        if let Err(e) = self.store.prove_pack(&id) {
            // Nothing names it yet, and the next attempt must not find it in its way.
            let _ = self.store.objects().delete(&pack_name(&id));
            return Err(match e {
                StoreError::Damaged { what } => {
                    StoreError::damaged(format!("{what}: the save disk does not give back what was written"))
                }
                e => e,
            });
        }
        self.common.stored.fetch_add(pack.bytes.len() as u64, Ordering::Relaxed);
        self.store.index_mut().add(id, Trust::Verified, &pack.entries);
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pack.entries.iter().for_each(|e| {
            pending.remove(&e.id);
        });
        drop(pending);
        self.index.push(&id, &pack.entries);
        if self.index.len() >= INDEX_TARGET { self.put_index() } else { Ok(()) }
    }

    /// Also indexes packs of an earlier run that this one had to read to rely on: the next need not read them again.
    fn flush(&mut self) -> Result<(), StoreError> {
        let proven = self.store.index_mut().take_proven();
        for id in proven {
            let entries = self.store.footer(&id)?;
            self.index.push(&id, &entries);
            if self.index.len() >= INDEX_TARGET {
                self.put_index()?;
            }
        }
        self.put_index()
    }

    fn put_index(&mut self) -> Result<(), StoreError> {
        if self.index.is_empty() {
            return Ok(());
        }
        let bytes = self.index.take();
        let id = Digest::of(&bytes);
        self.store.objects().put(&index_name(&id), &bytes)?;
        self.common.stored.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
