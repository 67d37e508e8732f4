//! The journal carried out in memory: what the file system is once its journal has been replayed, with nothing written
//! (kernel `fs/jbd2/recovery.c`).
//!
//! Logged blocks are not copied: the view knows where in the log the newest copy of each block lies, and reads it there.

use super::log::{Kind, Log, Walk, not_before};
use super::reader::Reader;
use super::superblock::{self, JournalPlace, Superblock};
use crate::fs::FsError;
use crate::io::Overlay;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset, ExtentSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Logged blocks, and revoked ones, that are kept in mind: a full log of 16 GiB.
const MOST_BLOCKS: usize = 4 << 20;
/// Pieces a journal may lie in.
const MOST_PIECES: usize = 1 << 20;

/// A file system's state as its journal leaves it.
pub(super) struct Replay {
    /// The view of it: the volume as it is, where the journal holds nothing.
    pub(super) reader: Arc<Reader>,
    /// Transactions carried out.
    pub(super) transactions: u32,
    /// Where the journal lies on the volume.
    pub(super) journal: ExtentSet,
    /// Why the view may not be what the kernel or e2fsck would make of it.
    pub(super) doubt: Option<String>,
}

/// Carries out the journal of a file system.
///
/// # Errors
/// [`FsError::Incompatible`] where what is missing stands in a journal on another device; [`FsError::Corrupt`] where the
/// superblock does not hold together after the replay.
pub(super) fn replay(raw: &Arc<Reader>) -> Result<Replay, FsError> {
    let dirty = raw.sb.needs_recovery();
    let mut replay = Replay { reader: raw.clone(), transactions: 0, journal: ExtentSet::new(), doubt: None };
    let inode = match raw.sb.journal() {
        JournalPlace::Inode(inode) => inode,
        JournalPlace::External if dirty => {
            return Err(FsError::Incompatible(
                "its journal is on another device and may hold changes that are missing here; start the installed system once, or run e2fsck with that device".to_owned(),
            ));
        }
        JournalPlace::None if dirty => {
            replay.doubt = Some("it asks for its journal to be replayed, and has none".to_owned());
            replay.reader = Arc::new(recovered(raw.bytes().clone(), raw.sb.clone())?);
            return Ok(replay);
        }
        JournalPlace::None | JournalPlace::External => return Ok(replay),
    };
    match from_log(raw, inode, dirty, &mut replay) {
        Ok(Some(view)) => {
            // The log may hold the superblock too.
            let sb = Superblock::read(&*view)?.ok_or_else(|| {
                FsError::Corrupt("the journal overwrites the superblock with something else".to_owned())
            })?;
            replay.reader = Arc::new(recovered(view, sb)?);
        }
        Ok(None) => {}
        Err(e) => {
            replay.doubt = Some(e.to_string());
            if dirty {
                replay.reader = Arc::new(recovered(raw.bytes().clone(), raw.sb.clone())?);
            }
        }
    }
    Ok(replay)
}

/// The view of the volume with the log's blocks in their places; `None` where nothing is to be replayed.
fn from_log(
    raw: &Arc<Reader>,
    inode: u32,
    dirty: bool,
    replay: &mut Replay,
) -> Result<Option<Arc<dyn ReadAt>>, FsError> {
    let mut log = Log::open(raw, inode)?;
    match log.extents(MOST_PIECES)? {
        Some(journal) => replay.journal = journal,
        None => replay.doubt = Some(format!("its journal lies in more than {MOST_PIECES} pieces")),
    }
    if log.errno != 0 {
        replay.doubt = Some(format!("the kernel gave its journal up with error {}", log.errno.cast_signed()));
    }
    if !dirty {
        if log.start != 0 {
            // The kernel forgets such a log, e2fsck may carry it out.
            replay.doubt = Some("its journal holds changes, and needs_recovery is not set".to_owned());
        }
        return Ok(None);
    }
    let mut view =
        Replayed { inner: raw.bytes().clone(), block: u64::from(raw.sb.block_size), logged: BTreeMap::new() };
    if log.start != 0 {
        let (start, sequence, most) = (log.start, log.sequence, log.len());
        let walk = log.walk(start, sequence, most)?;
        let whole = carry_out(&mut log, raw, &walk, &mut view, replay)?;
        replay.transactions = walk.end.wrapping_sub(sequence);
        if let Some(why) = &walk.broken {
            replay.doubt = Some(format!("its journal: {why}"));
        } else if !whole {
            // Said already.
        } else if log.has_fast_commits(walk.end)? {
            replay.doubt = Some("its journal holds fast commits, which this version does not replay".to_owned());
        }
    }
    Ok(Some(Arc::new(view)))
}

/// The second and third pass: collects what is revoked, then puts every logged block in its place that was not revoked
/// by its own transaction or a later one. Gives false where a block was left out, with the reason in `replay`.
fn carry_out(
    log: &mut Log,
    raw: &Reader,
    walk: &Walk,
    view: &mut Replayed,
    replay: &mut Replay,
) -> Result<bool, FsError> {
    let whole = || walk.items.iter().filter(|i| !not_before(i.sequence, walk.end));
    let too_many = || FsError::Corrupt(format!("its journal names more than {MOST_BLOCKS} blocks"));
    let mut revoked: BTreeMap<u64, u32> = BTreeMap::new();
    for item in whole().filter(|i| i.kind == Kind::Revoke) {
        for block in log.revoked(item.at)? {
            let by = revoked.entry(block).or_insert(item.sequence);
            if not_before(item.sequence, *by) {
                *by = item.sequence;
            }
        }
        if revoked.len() > MOST_BLOCKS {
            return Err(too_many());
        }
    }
    let mut left_out = false;
    for item in whole().filter(|i| i.kind == Kind::Descriptor) {
        for tag in log.tags(item.at)? {
            if revoked.get(&tag.block).is_some_and(|by| not_before(*by, item.sequence)) {
                continue;
            }
            if !log.tag_holds(&tag, item.sequence)? {
                left_out = true;
                replay.doubt = Some(format!(
                    "its journal: the copy of block {} in transaction {} has a wrong checksum",
                    tag.block, item.sequence
                ));
                continue;
            }
            raw.place(tag.block)?;
            let at = raw.place(log.place(tag.at)?)?;
            view.logged.insert(tag.block, Logged { at, escaped: tag.escaped });
        }
        if view.logged.len() > MOST_BLOCKS {
            return Err(too_many());
        }
    }
    Ok(!left_out)
}

/// The view with its superblock saying that the journal was replayed.
fn recovered(view: Arc<dyn ReadAt>, sb: Superblock) -> Result<Reader, FsError> {
    let bytes = sb.recovered();
    let mut over = Overlay::new(view, 1024, ByteLen(1024));
    over.write(superblock::AT, &bytes).map_err(|e| match e {
        crate::io::OverlayError::Read(e) => FsError::Io(e),
        full @ crate::io::OverlayError::Full { .. } => FsError::Corrupt(full.to_string()),
    })?;
    Ok(Reader::new(Arc::new(over), sb))
}

/// A volume with the newest logged copies of blocks in their places.
struct Replayed {
    inner: Arc<dyn ReadAt>,
    block: u64,
    logged: BTreeMap<u64, Logged>,
}

/// The newest copy of a block.
#[derive(Clone, Copy)]
struct Logged {
    /// Where it is on the volume.
    at: ByteOffset,
    /// Its first four bytes are to be those of the log's magic.
    escaped: bool,
}

impl ReadAt for Replayed {
    fn size(&self) -> ByteLen {
        self.inner.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        const MAGIC: [u8; 4] = 0xc03b_3998_u32.to_be_bytes();
        check_range(at, buf.len(), self.size())?;
        let end = at.0 + buf.len() as u64;
        let mut done = at.0;
        let within = |byte: u64| usize::try_from(byte - at.0).expect("inside the buffer");
        for (no, logged) in self.logged.range(at.0 / self.block..end.div_ceil(self.block)) {
            let block = no * self.block;
            let (from, to) = (block.max(at.0), (block + self.block).min(end));
            if done < from {
                self.inner.read_exact_at(ByteOffset(done), &mut buf[within(done)..within(from)])?;
            }
            let part = &mut buf[within(from)..within(to)];
            self.inner.read_exact_at(ByteOffset(logged.at.0 + (from - block)), part)?;
            if logged.escaped {
                for (i, byte) in (from - block..to - block).zip(part) {
                    if let Some(original) = usize::try_from(i).ok().and_then(|i| MAGIC.get(i)) {
                        *byte = *original;
                    }
                }
            }
            done = to;
        }
        if done < end {
            self.inner.read_exact_at(ByteOffset(done), &mut buf[within(done)..])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any read of the view is the same read of a volume into which the log's blocks were copied.
        #[test]
        fn a_view_is_the_volume_with_blocks_copied(
            copies in prop::collection::vec((0u64..16, 16u64..24, any::<bool>()), 0..12),
            reads in prop::collection::vec((0usize..1600, 0usize..700), 1..12),
        ) {
            const BLOCK: usize = 64;
            let base: Vec<u8> = (0..24 * BLOCK).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
            let mut plain = base.clone();
            let mut view = Replayed { inner: Arc::new(base.clone()), block: BLOCK as u64, logged: BTreeMap::new() };
            for (to, from, escaped) in copies {
                let place = |block: u64| usize::try_from(block).unwrap() * BLOCK;
                plain[place(to)..place(to) + BLOCK].copy_from_slice(&base[place(from)..place(from) + BLOCK]);
                if escaped {
                    plain[place(to)..place(to) + 4].copy_from_slice(&[0xc0, 0x3b, 0x39, 0x98]);
                }
                view.logged.insert(to, Logged { at: ByteOffset(place(from) as u64), escaped });
            }
            for (at, len) in reads {
                let got = view.read_vec(ByteOffset(at as u64), len).ok();
                prop_assert_eq!(got.as_deref(), plain.get(at..at + len));
            }
        }
    }
}
