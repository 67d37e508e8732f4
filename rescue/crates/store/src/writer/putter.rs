//! What puts packs, one after the other, while there is room.

use super::common::{Common, Put};
use super::stock;
use crate::error::StoreError;
use crate::layout::pack_name;
use crate::locate::Trust;
use crate::pack::Pack;
use crate::store::Store;
use model::id::Digest;
use model::ports::ObjectError;
use model::units::ByteLen;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};

/// What the packer sends.
pub(super) enum Parcel {
    /// A full pack.
    Pack(Pack),
    /// Everything before must be put; then say so.
    Flush(Sender<Result<(), StoreError>>),
}

pub(super) struct Putter {
    store: Store,
    common: Arc<Common>,
}

impl Putter {
    pub(super) fn new(store: Store, common: Arc<Common>) -> Self {
        Self { store, common }
    }

    pub(super) fn run(mut self, parcels: &Receiver<Parcel>) {
        for parcel in parcels {
            self.handle(parcel);
        }
    }

    pub(super) fn handle(&mut self, parcel: Parcel) {
        let usable = self.common.check();
        match parcel {
            Parcel::Pack(pack) => {
                if let Err(e) = usable.and_then(|()| self.put(pack)) {
                    self.common.fail(e);
                }
            }
            // Whoever asked may be gone: then nobody needs the answer.
            Parcel::Flush(reply) => {
                let _ = reply.send(usable);
            }
        }
    }

    fn put(&mut self, mut pack: Pack) -> Result<(), StoreError> {
        let len = pack.bytes.len() as u64;
        let free = self.store.free().map(|f| f.0);
        let reserve = self.common.reserve();
        if let Some(free) = free.filter(|f| *f < len.saturating_add(reserve)) {
            return Err(stock::full(ByteLen(free), ByteLen(reserve)));
        }
        let mut id = Digest::of(&pack.bytes);
        for salt in 1..=u8::MAX {
            // The very same pack may be there and be about to be deleted.
            if !self.store.is_condemned(&id) {
                match self.store.objects().put(&pack_name(&id), &pack.bytes) {
                    // Something damaged has this name; it may still hold the only copy of other chunks, and stays.
                    Err(ObjectError::Exists(_)) => {}
                    put => {
                        put?;
                        break;
                    }
                }
            }
            pack.salt(salt);
            id = Digest::of(&pack.bytes);
        }
        self.common.stored.fetch_add(len, Ordering::Relaxed);
        let frames = pack.footer.frames.iter().map(|f| u64::from(f.stored)).sum();
        self.common.stock.put(frames, self.store.free());
        // Not verified before the whole run was read back: a disk that wraps around spoils what was put first.
        self.store.add_pack(&id, Trust::Put, &pack.footer);
        let mut under_way = self.common.under_way();
        pack.footer.chunks.iter().for_each(|c| {
            under_way.remove(&c.id);
        });
        drop(under_way);
        self.common.packs().push(Put { id, len });
        Ok(())
    }
}
