//! The bytes of a volume behind its fence: what differs is written, made durable, and read back from the medium.

use super::leases::medium;
use super::{Context, Meter, Stop};
use disk::fence::FENCE_LEN;
use model::command::ExitCode;
use model::id::{Digest, VolumePath};
use model::plan::VolumeRollback;
use model::ports::WriteLease;
use model::snapshot::MapRoot;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use store::{Slice, StoreError};

/// Longest write.
const PIECE: usize = 1 << 20;
/// Pieces read from the store ahead of the writing.
const AHEAD: usize = 8;
/// Bytes written before they are made durable and read back ...
const BATCH_BYTES: u64 = 256 << 20;
/// ... or so many pieces, which bounds what is remembered of them.
const BATCH_PIECES: usize = 16 * 1024;

/// What the wanted bytes are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// The map of what stands there, captured just now: only what differs is looked at.
    Map(MapRoot),
    /// The disk, read byte by byte: for what an interrupted run left.
    Disk,
}

/// How far what stands on the medium counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    /// Not at all: everything is written.
    Nothing,
    /// What is there already is not written again.
    All,
    /// The same, but zeros are written: where nothing was ever written a disk may read as zeros today and as something else
    /// tomorrow.
    NotZeros,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Done {
    /// Bytes written.
    pub(crate) written: u64,
    /// Bytes read back and compared.
    pub(crate) verified: u64,
}

/// Slices at their places in a lease, in rising order.
pub(crate) type Slices = Box<dyn Iterator<Item = Result<Slice, StoreError>> + Send>;

/// The slices of a volume to be looked at, those under the fence left out, and those in `but`.
fn slices(cx: &Context<'_>, volume: &VolumeRollback, against: Against, but: &ExtentSet) -> Slices {
    let end = volume.extent.len().0;
    let behind = Extent::between(FENCE_LEN.0, end).unwrap_or_else(|| Extent::whole(ByteLen::ZERO));
    let parts = but.gaps(behind).iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    match against {
        Against::Disk => {
            let map = volume.map;
            let store = cx.store.clone();
            Box::new(parts.into_iter().flat_map(move |part| store.map(map).slices(part)))
        }
        Against::Map(present) => {
            let clipped = move |slice: Result<Slice, StoreError>| match slice {
                Ok(slice) => parts.iter().filter_map(|part| clip(slice, *part).map(Ok)).collect::<Vec<_>>(),
                Err(e) => vec![Err(e)],
            };
            Box::new(cx.store.diff(present, volume.map).flat_map(clipped))
        }
    }
}

/// The part of a slice within `range`.
pub(crate) fn clip(slice: Slice, range: Extent) -> Option<Slice> {
    use store::SliceContent::{Chunk, Zero};
    let extent = slice.extent.intersect(range)?;
    let cut = u32::try_from(extent.start().0 - slice.extent.start().0).ok()?;
    let content = match slice.content {
        Chunk { id, at } => Chunk { id, at: at.checked_add(cut)? },
        Zero => Zero,
    };
    Some(Slice { extent, content })
}

/// Reads and hashes everything that will be written, and writes nothing: a store that cannot give it is found out before the
/// disk is touched. Returns how much it is.
pub(crate) fn rehearse(
    cx: &Context<'_>,
    volume: &VolumeRollback,
    against: Against,
    meter: &mut Meter<'_>,
) -> Result<u64, Stop> {
    prove(cx, slices(cx, volume, against, &ExtentSet::new()), meter)
}

/// Reads and hashes slices. Returns how much they are.
pub(crate) fn prove(cx: &Context<'_>, slices: Slices, meter: &mut Meter<'_>) -> Result<u64, Stop> {
    let mut all = 0;
    for read in cx.store.read_ahead(slices) {
        if cx.observer.cancelled() {
            return Err(Stop::Cancelled("stopped before anything was written".into()));
        }
        let (slice, _) = read?;
        all += slice.extent.len().0;
        meter.add(slice.extent.len().0);
    }
    Ok(all)
}

/// Walks a map down to every leaf: its structure is whole, and ends where the volume does. (A map is a tree whose nodes may be
/// shared: one that goes on beyond the volume could do so for ever.)
pub(crate) fn walk(cx: &Context<'_>, volume: &VolumeRollback) -> Result<(), Stop> {
    let len = volume.extent.len();
    for slice in cx.store.map(volume.map).slices(Extent::whole(ByteLen(u64::MAX))) {
        if cx.observer.cancelled() {
            return Err(Stop::Cancelled("stopped before this run wrote anything".into()));
        }
        let end = slice?.extent.end().0;
        if end > len.0 {
            let says = format!("the snapshot has bytes of {} up to {end}, it has {}", volume.path, len.0);
            return Err(Stop::failed(ExitCode::Damage, says, "nothing was written; choose another snapshot"));
        }
    }
    Ok(())
}

/// Bytes to be written at one place.
struct Piece {
    at: u64,
    bytes: Vec<u8>,
}

/// Makes the volume hold its wanted bytes behind the fence, but for those in `but`. On return they are durable, and were read back from the
/// medium.
pub(crate) fn write(
    cx: &Context<'_>,
    lease: &mut dyn WriteLease,
    volume: &VolumeRollback,
    (against, but): (Against, &ExtentSet),
    meter: &mut Meter<'_>,
) -> Result<Done, Stop> {
    let compare = match against {
        Against::Map(_) => Compare::Nothing,
        Against::Disk => Compare::All,
    };
    put(cx, (lease, &volume.path), slices(cx, volume, against, but), compare, meter)
}

/// Makes a leased place hold these slices. On return they are durable, and were read back from the medium.
pub(crate) fn put(
    cx: &Context<'_>,
    (lease, path): (&mut dyn WriteLease, &VolumePath),
    slices: Slices,
    compare: Compare,
    meter: &mut Meter<'_>,
) -> Result<Done, Stop> {
    let (sender, receiver) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || fetch(cx, slices, &sender));
        let mut batch = Batch::new(lease, path);
        let result = take(cx, &receiver, &mut batch, compare, meter);
        drop(receiver);
        result.map(|()| batch.done)
    })
}

/// Makes a leased place hold these bytes, likewise.
pub(crate) fn put_bytes(
    (lease, path): (&mut dyn WriteLease, &VolumePath),
    pieces: impl Iterator<Item = (ByteOffset, Vec<u8>)>,
) -> Result<Done, Stop> {
    let mut batch = Batch::new(lease, path);
    for (ByteOffset(at), bytes) in pieces {
        let all = 0..bytes.len();
        batch.write(&Piece { at, bytes }, all)?;
    }
    batch.settle()?;
    Ok(batch.done)
}

/// Reads the wanted bytes from the store, joining those that lie side by side.
fn fetch(cx: &Context<'_>, slices: Slices, to: &SyncSender<Result<Piece, StoreError>>) {
    let mut open: Option<Piece> = None;
    for read in cx.store.read_ahead(slices) {
        let piece = match read {
            Ok((slice, bytes)) => Piece { at: slice.extent.start().0, bytes },
            Err(e) => {
                let _ = to.send(Err(e));
                return;
            }
        };
        match &mut open {
            Some(before)
                if before.at + before.bytes.len() as u64 == piece.at
                    && before.bytes.len() + piece.bytes.len() <= PIECE =>
            {
                before.bytes.extend_from_slice(&piece.bytes);
            }
            _ => {
                if let Some(before) = open.replace(piece)
                    && to.send(Ok(before)).is_err()
                {
                    return;
                }
            }
        }
    }
    if let Some(last) = open {
        let _ = to.send(Ok(last));
    }
}

fn take(
    cx: &Context<'_>,
    from: &Receiver<Result<Piece, StoreError>>,
    batch: &mut Batch<'_>,
    compare: Compare,
    meter: &mut Meter<'_>,
) -> Result<(), Stop> {
    for piece in from {
        if cx.observer.cancelled() {
            return Err(Stop::failed(ExitCode::Interrupted, "stopped on request", ""));
        }
        let piece = piece?;
        meter.add(piece.bytes.len() as u64);
        match compare {
            Compare::Nothing => batch.write(&piece, 0..piece.bytes.len())?,
            Compare::All => batch.compare_and_write(&piece, false)?,
            Compare::NotZeros => batch.compare_and_write(&piece, true)?,
        }
        if batch.bytes >= BATCH_BYTES || batch.pieces.len() >= BATCH_PIECES {
            batch.settle()?;
        }
    }
    batch.settle()
}

/// What was written since the last sync, with what it must read back as.
struct Batch<'a> {
    lease: &'a mut dyn WriteLease,
    path: String,
    pieces: Vec<(ByteOffset, usize, Digest)>,
    bytes: u64,
    done: Done,
}

impl<'a> Batch<'a> {
    fn new(lease: &'a mut dyn WriteLease, path: &VolumePath) -> Self {
        Self { lease, path: path.to_string(), pieces: Vec::new(), bytes: 0, done: Done::default() }
    }

    fn write(&mut self, piece: &Piece, part: std::ops::Range<usize>) -> Result<(), Stop> {
        let at = ByteOffset(piece.at + part.start as u64);
        let bytes = &piece.bytes[part];
        self.lease.write_all_at(at, bytes).map_err(|e| medium(&e))?;
        self.pieces.push((at, bytes.len(), Digest::of(bytes)));
        self.bytes += bytes.len() as u64;
        self.done.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes the 4096-byte parts of a piece that differ from the medium; where `zeros`, also those that are zeros.
    fn compare_and_write(&mut self, piece: &Piece, zeros: bool) -> Result<(), Stop> {
        const STEP: usize = 4096;
        let mut now = vec![0; piece.bytes.len()];
        // Where the medium cannot be read it is written: that is what makes a disk give a bad sector up.
        let readable = self.lease.read_back(ByteOffset(piece.at), &mut now).is_ok();
        let mut start = None;
        for at in (0..piece.bytes.len()).step_by(STEP) {
            let end = (at + STEP).min(piece.bytes.len());
            let wanted = &piece.bytes[at..end];
            let differs = !readable || now[at..end] != *wanted || (zeros && wanted.iter().all(|b| *b == 0));
            match (start, differs) {
                (None, true) => start = Some(at),
                (Some(from), false) => {
                    self.write(piece, from..at)?;
                    start = None;
                }
                _ => {}
            }
            if !differs {
                self.done.verified += (end - at) as u64;
            }
        }
        if let Some(from) = start {
            self.write(piece, from..piece.bytes.len())?;
        }
        Ok(())
    }

    /// Makes the batch durable and reads it back.
    fn settle(&mut self) -> Result<(), Stop> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        self.lease.sync().map_err(|e| medium(&e))?;
        let mut back = Vec::new();
        for (at, len, digest) in self.pieces.drain(..) {
            back.resize(len, 0);
            self.lease.read_back(at, &mut back).map_err(|e| medium(&e))?;
            if Digest::of(&back) != digest {
                let says = format!("{len} bytes at {at} of {} did not read back as they were written", self.path);
                return Err(Stop::failed(
                    ExitCode::Failed,
                    says,
                    "the disk does not keep what it is given: replace it",
                ));
            }
            self.done.verified += len as u64;
        }
        self.bytes = 0;
        Ok(())
    }
}
