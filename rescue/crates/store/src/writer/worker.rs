//! What takes computing, and can be done on any core: hashing and looking up chunks, compressing frames.

use super::common::Common;
use super::cutter::{Cells, Cut, Run, between};
use super::packer::Event;
use crate::content::{cell_hash, is_zero};
use crate::error::StoreError;
use crate::frame::{Squeezer, looks_incompressible};
use crate::layout::small;
use crate::pack::Encoding;
use crate::pieces::Pieces;
use crate::store::Store;
use model::id::Digest;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Mutex, PoisonError};

/// Something to be done by whichever thread is free.
pub(super) enum Job {
    /// A chunk or a cell.
    Cut { sequence: u64, cut: Cut },
    /// The plain bytes of a frame, and how hard to try.
    Frame { number: u64, plain: Vec<u8>, level: i32 },
}

/// What the bytes of a chunk turned out to be.
pub(super) enum Content {
    Zero,
    Known { id: Digest, plain: u32 },
    New { id: Digest, bytes: Pieces, noise: bool },
}

/// Cells and the hashes of their used bytes; `None` where these are all zero.
pub(super) type Hashes = Vec<(u64, Option<Digest>)>;

/// What became of a chunk or a cell.
#[derive(Default)]
pub(super) struct Worked {
    pub(super) runs: Vec<Run>,
    pub(super) content: Option<Content>,
    pub(super) cells: Hashes,
}

/// A frame as it will be stored, not sealed yet.
pub(super) type Stored = Result<(Encoding, Vec<u8>), StoreError>;

/// Does jobs until there will be no more.
pub(super) fn run(store: &Store, common: &Common, queue: &Mutex<Receiver<Job>>, events: &Sender<Event>) {
    let mut squeezer = Squeezer::new();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        common.job_taken();
        if events.send(work(store, common, Some(&mut squeezer), job)).is_err() {
            return;
        }
    }
}

/// Does one job. After a failure nothing more is computed, but every job has its event: the packer waits for each.
pub(super) fn work(
    store: &Store,
    common: &Common,
    squeezer: Option<&mut Result<Squeezer, StoreError>>,
    job: Job,
) -> Event {
    let panicked = || StoreError::io("a worker of the store panicked");
    match job {
        Job::Cut { sequence, cut } => {
            let len = match &cut {
                Cut::Chunk { bytes, .. } | Cut::Cell { bytes, .. } => bytes.len(),
                Cut::Slice { .. } | Cut::Cells { .. } | Cut::Leaf { .. } => 0,
            };
            let worked = catch_unwind(AssertUnwindSafe(|| common.check().and_then(|()| worked(store, cut))));
            Event::Worked { sequence, len, worked: worked.unwrap_or_else(|_| Err(panicked())) }
        }
        Job::Frame { number, plain, level } => {
            let stored = catch_unwind(AssertUnwindSafe(|| {
                common.check()?;
                let squeezer = squeezer.ok_or_else(|| StoreError::misuse("a frame for a worker that only hashes"))?;
                squeezer.as_mut().map_err(|e| e.clone())?.squeeze(plain, level)
            }));
            Event::Frame { number, stored: stored.unwrap_or_else(|_| Err(panicked())) }
        }
    }
}

fn worked(store: &Store, cut: Cut) -> Result<Worked, StoreError> {
    match cut {
        Cut::Chunk { runs, bytes, cells } => {
            let hash = (!bytes.iter().all(is_zero)).then(|| Digest::of_pieces(bytes.iter()));
            let cells = match cells {
                Cells::Sole(index) => vec![(index, cell_hash(&bytes))],
                Cells::Between(first, last) => {
                    let between = between(&runs, first, last).into_iter();
                    between.map(|(index, at)| (index, cell_hash(&bytes.part(at)))).collect()
                }
                Cells::No => Vec::new(),
            };
            Ok(Worked { content: Some(content(store, hash, bytes)?), runs, cells })
        }
        Cut::Cell { index, bytes } => Ok(Worked { cells: vec![(index, cell_hash(&bytes))], ..Worked::default() }),
        Cut::Slice { .. } | Cut::Cells { .. } | Cut::Leaf { .. } => Ok(Worked::default()),
    }
}

fn content(store: &Store, hash: Option<Digest>, bytes: Pieces) -> Result<Content, StoreError> {
    let Some(hash) = hash else { return Ok(Content::Zero) };
    let id = store.seal().name(&hash);
    if store.has(&id)? {
        return Ok(Content::Known { id, plain: small(bytes.len()) });
    }
    let noise = looks_incompressible(&bytes);
    Ok(Content::New { id, bytes, noise })
}
