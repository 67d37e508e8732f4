//! Reading back: every pack of a run, after the last of them was put, the first included. A disk that says it is larger than
//! it is shows here and not at the rollback.

use super::common::Put;
use crate::error::StoreError;
use crate::store::Store;
use model::units::ByteLen;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

/// Packs that are read side by side, for each thread: half of them wait for the medium.
const READERS: usize = 2;

/// Told bytes read back and bytes to read; false stops.
pub(super) type Progress<'a> = &'a mut dyn FnMut(ByteLen, ByteLen) -> bool;

/// Proves packs; false where it was stopped.
pub(super) fn prove(store: &Store, packs: &[Put], threads: usize, progress: Progress<'_>) -> Result<bool, StoreError> {
    let total = ByteLen(packs.iter().map(|p| p.len).fold(0, u64::saturating_add));
    let mut done = 0u64;
    let mut tell = |bytes: u64, progress: Progress<'_>| {
        done = done.saturating_add(bytes);
        progress(ByteLen(done), total)
    };
    if threads == 0 {
        for pack in packs {
            let mut go_on = true;
            prove_one(store, pack, &mut |bytes| {
                go_on = tell(bytes, &mut *progress);
                go_on
            })?;
            if !go_on {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..threads.saturating_mul(READERS).min(packs.len()) {
            let sender = sender.clone();
            scope.spawn(|| work(store, packs, &next, &stop, sender));
        }
        drop(sender);
        let mut result = Ok(true);
        for told in receiver {
            match told {
                Ok(bytes) if result.is_ok() => {
                    if !tell(bytes, &mut *progress) {
                        stop.store(true, Ordering::Relaxed);
                        result = Ok(false);
                    }
                }
                Ok(_) => {}
                Err(e) => {
                    stop.store(true, Ordering::Relaxed);
                    result = result.and(Err(e));
                }
            }
        }
        result
    })
}

fn work(store: &Store, packs: &[Put], next: &AtomicUsize, stop: &AtomicBool, to: Sender<Result<u64, StoreError>>) {
    while !stop.load(Ordering::Relaxed)
        && let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed))
    {
        let proven = prove_one(store, pack, &mut |bytes| {
            let _ = to.send(Ok(bytes));
            !stop.load(Ordering::Relaxed)
        });
        if let Err(e) = proven {
            let _ = to.send(Err(e));
        }
    }
}

/// Nothing names a pack of this run yet: one that is not what was put goes away, so that the next attempt does not find it in
/// its way.
fn prove_one(store: &Store, pack: &Put, piece: &mut dyn FnMut(u64) -> bool) -> Result<(), StoreError> {
    match store.prove_pack(&pack.id, piece) {
        Err(StoreError::Io { says }) => Err(StoreError::Io { says }),
        Err(e) => {
            store.spoilt(&pack.id);
            Err(StoreError::damaged(format!("{e}: the save disk does not give back what was written")))
        }
        Ok(_) => Ok(()),
    }
}
