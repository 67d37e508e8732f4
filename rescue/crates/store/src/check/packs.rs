//! Checking packs: each by itself, on every core.

use crate::error::StoreError;
use crate::layout::pack_name;
use crate::reader::OpenFrame;
use crate::store::Store;
use model::id::Digest;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

/// More threads than cores: at any time some wait for the disk, and some for the decoder. Each holds a pack.
const WAITING: usize = 2;

/// What was found in a pack.
#[derive(Default)]
pub(super) struct Looked {
    /// Chunks that its footer names.
    pub(super) chunks: usize,
    /// What is wrong.
    pub(super) says: Vec<String>,
    /// Chunks that can be had from it, and their plain lengths.
    pub(super) good: Vec<(Digest, u32)>,
    /// Chunks that cannot, and which of `says` is why.
    pub(super) bad: Vec<(Digest, usize)>,
    /// The pack is not what its name says: nothing may be saved against it.
    pub(super) spoilt: bool,
}

impl Looked {
    /// Notes damage; only what keeps the check itself from going on is an error.
    fn found(&mut self, e: &StoreError) -> Result<usize, StoreError> {
        match e {
            StoreError::Io { says } => Err(StoreError::Io { says: says.clone() }),
            e => {
                self.says.push(e.to_string());
                Ok(self.says.len() - 1)
            }
        }
    }
}

/// Looks at packs, and hands on what was found, in their order; `seen` stops this by returning false.
pub(super) fn look_at(
    store: &Store,
    packs: &[Digest],
    read_data: bool,
    seen: &mut dyn FnMut(usize, Looked) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    if store.threads() == 0 {
        for (at, pack) in packs.iter().enumerate() {
            if !seen(at, look(store, pack, read_data)?)? {
                return Ok(());
            }
        }
        return Ok(());
    }
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..(store.threads() + WAITING).min(packs.len()) {
            let sender = sender.clone();
            scope.spawn(|| work(store, packs, read_data, (&next, &stop), sender));
        }
        drop(sender);
        let (mut early, mut turn) = (BTreeMap::new(), 0);
        for (at, looked) in receiver {
            early.insert(at, looked);
            while let Some(looked) = early.remove(&turn) {
                let go_on = looked.and_then(|l| seen(turn, l));
                if !matches!(go_on, Ok(true)) {
                    stop.store(true, Ordering::Relaxed);
                    return go_on.map(|_| ());
                }
                turn += 1;
            }
        }
        Ok(())
    })
}

type Answer = (usize, Result<Looked, StoreError>);

fn work(
    store: &Store,
    packs: &[Digest],
    read_data: bool,
    (next, stop): (&AtomicUsize, &AtomicBool),
    to: Sender<Answer>,
) {
    while !stop.load(Ordering::Relaxed) {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(pack) = packs.get(at) else { return };
        // A pack that was never answered for would be waited for.
        let looked = catch_unwind(AssertUnwindSafe(|| look(store, pack, read_data)));
        let looked = looked.unwrap_or_else(|_| Err(StoreError::io("a thread that checks the store panicked")));
        if to.send((at, looked)).is_err() {
            return;
        }
    }
}

/// A pack's footer, and where wanted its bytes, every frame and every chunk.
fn look(store: &Store, pack: &Digest, read_data: bool) -> Result<Looked, StoreError> {
    let mut looked = Looked::default();
    let footer = match store.read_footer(pack) {
        Ok(footer) => footer,
        Err(e) => {
            looked.spoilt = true;
            looked.found(&e)?;
            return Ok(looked);
        }
    };
    looked.chunks = footer.chunks.len();
    if !read_data {
        looked.good = footer.chunks.iter().map(|c| (c.id, c.plain)).collect();
        return Ok(looked);
    }
    let whole = match store.whole_pack(pack) {
        Ok(bytes) => Some(bytes),
        Err(e) => {
            looked.spoilt = true;
            looked.found(&e)?;
            None
        }
    };
    let mut places = footer.places().peekable();
    for (no, frame) in (0u16..).zip(&footer.frames) {
        let opened = match &whole {
            // The footer was read apart and may have changed since: never index beyond what is there.
            Some(bytes) => usize::try_from(frame.offset)
                .ok()
                .zip(usize::try_from(frame.stored).ok())
                .and_then(|(at, len)| Some(bytes.get(at..at.checked_add(len)?)?.to_vec()))
                .ok_or_else(|| StoreError::damaged(format!("{} changed while it was read", pack_name(pack).as_str())))
                .and_then(|stored| store.open_frame(pack, no, frame, stored)),
            // Which frames of the damaged pack are hit: each is tried alone.
            None => store.read_frame(pack, no, frame),
        };
        let opened = match opened {
            Ok(plain) => Ok(OpenFrame::new(plain)),
            Err(e) => Err(looked.found(&e)?),
        };
        while let Some((chunk, place)) = places.next_if(|(c, _)| c.frame == no) {
            let finding = match &opened {
                Ok(frame) if frame.chunk(store.seal(), &chunk.id, place).is_some() => {
                    looked.good.push((chunk.id, chunk.plain));
                    continue;
                }
                Ok(_) => {
                    let (chunk, pack) = (chunk.id.short(12), pack.short(12));
                    looked.says.push(format!("chunk {chunk} in pack {pack} does not match its name"));
                    looked.says.len() - 1
                }
                Err(finding) => *finding,
            };
            looked.bad.push((chunk.id, finding));
        }
    }
    Ok(looked)
}
