//! The log carried out in memory: what the file system is once it was recovered, with nothing written (kernel
//! `fs/xfs/xfs_log_recover.c`, `xfs_buf_item_recover.c`, `xfs_inode_item_recover.c`, `xfs_icreate_item.c`).
//!
//! What is left to do after that (intents: blocks to be freed, maps to be changed) is not done: what it would free stays in use. Dquots
//! are left as they lie there, as nothing here reads them. Whatever is not known for certain ends in an error.

use super::inode;
use super::log::{End, Log};
use super::logged_inode;
use super::reader::Reader;
use super::superblock::Superblock;
use super::transaction::{Item, transactions};
use crate::fs::FsError;
use crate::io::{Overlay, OverlayError};
use crate::numbers::{be16, be32, be64, le16, le32, le64};
use model::ports::{ReadAt, check_range};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most bytes that the log may lay over the volume.
const MOST_LAID: ByteLen = ByteLen(128 << 20);
/// The longest buffer: a block of 64 KiB of a directory, or a chunk of inodes of 2 KiB (`XFS_MAX_BLOCKSIZE`, 64 inodes).
const MOST_BUFFER: u64 = 128 << 10;
/// Exchanges of files on their way at the same time, at most: more than anybody has.
const MOST_EXCHANGES: usize = 1 << 12;
/// Buffers that are known to be void, at most.
const MOST_CANCELLED: usize = 1 << 20;
/// Inodes that are made at once: a chunk of 64, or as many as have room in a block.
const MOST_INODES: u32 = 256;
/// Bytes that a bit of a buffer's map stands for (`XFS_BLF_CHUNK`).
const CHUNK: usize = 128;

/// Kinds of items.
mod kind {
    pub(super) const INODE: u16 = 0x123b;
    pub(super) const BUFFER: u16 = 0x123c;
    pub(super) const DQUOT: u16 = 0x123d;
    pub(super) const QUOTAOFF: u16 = 0x123e;
    pub(super) const CREATE: u16 = 0x123f;
    /// Intents to free, to note owners and references, to map, to set attributes, and that they were done.
    pub(super) const INTENTS: [u16; 10] =
        [0x1236, 0x1237, 0x1240, 0x1241, 0x1242, 0x1243, 0x1244, 0x1245, 0x1246, 0x1247];
    /// That two files exchange what they hold, and that it was done (`XFS_LI_XMI`, `XFS_LI_XMD`).
    pub(super) const EXCHANGE: u16 = 0x1248;
    pub(super) const EXCHANGED: u16 = 0x1249;
}

/// Flags of a buffer (`XFS_BLF_INODE_BUF`, `XFS_BLF_CANCEL`, the three of dquots).
mod flag {
    pub(super) const INODES: u16 = 0x1;
    pub(super) const CANCEL: u16 = 0x2;
    pub(super) const DQUOTS: u16 = 0x1c;
}

/// A file system's state as its log leaves it.
pub(super) struct Replay {
    pub(super) reader: Arc<Reader>,
    /// Transactions carried out.
    pub(super) transactions: u32,
}

fn bad<T>(why: &str) -> Result<T, FsError> {
    Err(FsError::Corrupt(format!("its log: {why}")))
}

/// Carries out an open log.
///
/// # Errors
/// [`FsError`] where any of it cannot be carried out with certainty.
pub(super) fn replay(raw: &Reader, log: &Log, end: End) -> Result<Option<Replay>, FsError> {
    let End::Open { tail, head, .. } = end else { return Ok(None) };
    if !raw.sb.v5 {
        return bad("that of version 4 is not carried out");
    }
    let mut cancelled: BTreeMap<(u64, u16), u32> = BTreeMap::new();
    transactions(log, (tail, head), &mut |_, items| {
        for buffer in items.iter().filter_map(Buffer::of).filter(|b| b.flags & flag::CANCEL != 0) {
            *cancelled.entry(buffer.key()).or_default() += 1;
        }
        if cancelled.len() > MOST_CANCELLED { bad("it voids more buffers than are followed") } else { Ok(()) }
    })?;
    let over = Overlay::new(raw.bytes().clone(), 512, MOST_LAID);
    let mut work = Work { raw, over, laid: Vec::new(), cancelled, exchanges: Exchanges::default() };
    let count = transactions(log, (tail, head), &mut |lsn, items| work.transaction(lsn, items))?;
    let Work { over, laid, exchanges, .. } = work;
    exchanges.done()?;
    let laid = ExtentSet::from(laid);
    let first = Extent::between(0, u64::from(raw.sb.sector)).unwrap_or_default();
    let sb = Superblock::read_as(&over, !laid.meets(first))?;
    let Some(sb) = sb.filter(|sb| sb.not_read.is_none()) else {
        return bad("it makes something else of the superblock");
    };
    Ok(Some(Replay { reader: Arc::new(Reader::new(Arc::new(over), sb, laid)), transactions: count }))
}

struct Work<'a> {
    raw: &'a Reader,
    over: Overlay,
    /// What was laid over the volume: whole buffers and inodes.
    laid: Vec<Extent>,
    /// Buffers that are freed later on in the log, by place and length, and how often.
    cancelled: BTreeMap<(u64, u16), u32>,
    exchanges: Exchanges,
}

/// Pairs of files that are exchanging what they hold, by the numbers of the intents (`struct xfs_xmi_log_format`, `xfs_xmd_log_format`: in
/// each behind eight bytes).
#[derive(Default)]
struct Exchanges(BTreeSet<u64>);

impl Exchanges {
    fn note(&mut self, item: &Item) -> Result<(), FsError> {
        let number = le64(item.region(0), 8);
        match item.kind() {
            kind::EXCHANGE => self.0.insert(number),
            _ => self.0.remove(&number),
        };
        if self.0.len() > MOST_EXCHANGES { bad("more files exchange what they hold than are followed") } else { Ok(()) }
    }

    /// The kernel would go on with what is not done: as it stands, each file has part of both.
    fn done(&self) -> Result<(), FsError> {
        if self.0.is_empty() { Ok(()) } else { bad("two files were about to exchange what they hold") }
    }
}

/// A buffer's item (`struct xfs_buf_log_format`).
struct Buffer<'a> {
    item: &'a Item,
    flags: u16,
    /// Its place and length in sectors of 512 bytes.
    sector: u64,
    sectors: u16,
}

impl<'a> Buffer<'a> {
    fn of(item: &'a Item) -> Option<Self> {
        let b = item.region(0);
        let buffer = Self { item, flags: le16(b, 4), sector: le64(b, 8), sectors: le16(b, 6) };
        (item.kind() == kind::BUFFER).then_some(buffer)
    }

    fn key(&self) -> (u64, u16) {
        (self.sector, self.sectors)
    }

    /// Runs of its dirty map: place and bytes in the buffer (`xfs_next_bit`, `xfs_contig_bits`), and what was logged of them.
    fn dirty(&self) -> Result<Vec<(usize, &'a [u8])>, FsError> {
        let format = self.item.region(0);
        let words = usize::try_from(le32(format, 16)).unwrap_or(usize::MAX);
        if words.checked_mul(4).and_then(|bytes| bytes.checked_add(20)).is_none_or(|end| end > format.len()) {
            return bad("the map of a buffer is cut off");
        }
        let is_dirty = |bit: usize| bit < words * 32 && le32(format, 20 + bit / 32 * 4) >> (bit % 32) & 1 == 1;
        let (mut out, mut bit) = (Vec::new(), 0);
        for region in &self.item.regions[1..] {
            while bit < words * 32 && !is_dirty(bit) {
                bit += 1;
            }
            // Contiguous dirty parts may come in several regions.
            let bits = region.len() / CHUNK;
            if bits == 0 || !region.len().is_multiple_of(CHUNK) || !(bit..bit + bits).all(is_dirty) {
                return bad("the regions of a buffer are not those its map tells of");
            }
            out.push((bit * CHUNK, &region[..]));
            bit += bits;
        }
        if (bit..words * 32).any(is_dirty) {
            return bad("the map of a buffer tells of more than was logged");
        }
        Ok(out)
    }
}

impl Work<'_> {
    /// In the kernel's order (`xlog_recover_reorder_trans`): buffers and new inodes, other items, buffers of inodes, voided ones.
    fn transaction(&mut self, lsn: u64, items: &[Item]) -> Result<(), FsError> {
        let order = |item: &Item| match Buffer::of(item) {
            Some(buffer) if buffer.flags & flag::CANCEL != 0 => 3,
            Some(buffer) if buffer.flags & flag::INODES != 0 => 2,
            Some(_) => 0,
            None if item.kind() == kind::CREATE => 0,
            None => 1,
        };
        let mut ordered: Vec<&Item> = items.iter().filter(|item| !item.regions.is_empty()).collect();
        ordered.sort_by_key(|item| order(item));
        for item in ordered {
            match item.kind() {
                kind::BUFFER => Buffer::of(item).map_or(Ok(()), |buffer| self.buffer(lsn, &buffer))?,
                kind::INODE => self.inode(lsn, item)?,
                kind::CREATE => self.create(item.region(0))?,
                kind::DQUOT | kind::QUOTAOFF => {}
                kind::EXCHANGE | kind::EXCHANGED => self.exchanges.note(item)?,
                other if kind::INTENTS.contains(&other) => {}
                other => return bad(&format!("it has an item of unknown kind {other:#x}")),
            }
        }
        Ok(())
    }

    fn read(&self, at: u64, len: u64) -> Result<Vec<u8>, FsError> {
        Ok(self.over.read_vec(ByteOffset(at), usize::try_from(len).unwrap_or(usize::MAX))?)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), FsError> {
        self.over.write(ByteOffset(at), bytes).map_err(|e| match e {
            OverlayError::Read(e) => FsError::Io(e),
            full @ OverlayError::Full { .. } => FsError::Corrupt(format!("its log: {full}")),
        })
    }

    /// The bytes that were laid over are only known once all is done.
    fn laid(&mut self, at: u64, len: u64) {
        self.laid.extend(Extent::between(at, at.saturating_add(len)));
        if self.laid.len() > MOST_CANCELLED {
            self.laid = ExtentSet::from(std::mem::take(&mut self.laid)).into();
        }
    }

    fn buffer(&mut self, lsn: u64, buffer: &Buffer<'_>) -> Result<(), FsError> {
        let len = u64::from(buffer.sectors) * 512;
        let at = buffer.sector.checked_mul(512);
        let at = at.filter(|at| {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            check_range(ByteOffset(*at), len, self.over.size()).is_ok()
        });
        let Some(at) = at.filter(|_| (512..=MOST_BUFFER).contains(&len)) else {
            return bad(&format!("it names {len} bytes from sector {}", buffer.sector));
        };
        let void = self.cancelled.get_mut(&buffer.key());
        if buffer.flags & flag::CANCEL != 0 {
            match void {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.cancelled.remove(&buffer.key());
                }
            }
            return Ok(());
        }
        if void.is_some() {
            return Ok(());
        }
        // What lies on the volume may be newer than the log: then it stays, and so would all that the log holds of it.
        let there = self.raw.bytes().read_vec(ByteOffset(at), usize::try_from(len).unwrap_or(0))?;
        if own_lsn(&self.raw.sb, &there).is_some_and(|own| own >= lsn) {
            return Ok(());
        }
        if buffer.flags & flag::INODES != 0 {
            return self.unlinked(at, len, buffer);
        }
        if buffer.flags & flag::DQUOTS != 0 {
            return Ok(());
        }
        for (within, bytes) in buffer.dirty()? {
            if within as u64 + bytes.len() as u64 > len {
                return bad(&format!("a buffer in sector {} is changed behind its end", buffer.sector));
            }
            self.write(at + within as u64, bytes)?;
        }
        self.laid(at, len);
        Ok(())
    }

    /// Of a buffer of inodes only their links among deleted ones count (`xlog_recover_do_inode_buffer`).
    fn unlinked(&mut self, at: u64, len: u64, buffer: &Buffer<'_>) -> Result<(), FsError> {
        let dirty = buffer.dirty()?;
        for inode in (0..len).step_by(usize::try_from(self.raw.sb.inode_size).unwrap_or(512)) {
            let field = usize::try_from(inode + 96).unwrap_or(usize::MAX);
            let logged = dirty.iter().find_map(|(start, bytes)| bytes.get(field.checked_sub(*start)?..)?.get(..4));
            if let Some(logged) = logged {
                self.write(at + inode + 96, logged)?;
                self.laid(at + inode, u64::from(self.raw.sb.inode_size));
            }
        }
        Ok(())
    }

    /// New inodes (`struct xfs_icreate_log`, big-endian; `xfs_ialloc_inode_init`).
    fn create(&mut self, b: &[u8]) -> Result<(), FsError> {
        let sb = &self.raw.sb;
        let (group, block, count, size, len, generation) =
            (be32(b, 4), be32(b, 8), be32(b, 12), be32(b, 16), be32(b, 20), be32(b, 24));
        let bytes = u64::from(len) * u64::from(sb.block_size);
        if b.len() < 28 || size != sb.inode_size || u64::from(count) * u64::from(size) != bytes || count > MOST_INODES {
            return bad(&format!("it makes {count} inodes of {size} bytes in {len} blocks"));
        }
        let number = sb.block_no(group, block);
        let at = self.raw.place(number, u64::from(len))?.0;
        let (first, v5_uuid) = (number << sb.inodes_log, sb.meta_uuid);
        // Inodes are buffered in clusters, each of which may be void.
        let longest = MOST_BUFFER / 512;
        let (start, end) = (at / 512, (at + bytes) / 512);
        let mut near = self.cancelled.range((start.saturating_sub(longest), 0)..(end, 0));
        if near.any(|((sector, sectors), _)| sector + u64::from(*sectors) > start) {
            return Ok(());
        }
        let mut inode = vec![0; usize::try_from(size).unwrap_or(512)];
        inode[..2].copy_from_slice(&inode::MAGIC.to_be_bytes());
        inode[4] = 3;
        inode[92..96].copy_from_slice(&generation.to_be_bytes());
        inode[96..100].fill(0xff);
        inode[160..176].copy_from_slice(&v5_uuid);
        for nth in 0..u64::from(count) {
            inode[152..160].copy_from_slice(&(first + nth).to_be_bytes());
            self.write(at + nth * u64::from(size), &inode)?;
        }
        self.laid(at, bytes);
        Ok(())
    }

    /// An inode (`xlog_recover_inode_commit_pass2`).
    fn inode(&mut self, lsn: u64, item: &Item) -> Result<(), FsError> {
        let (format, core) = (item.region(0), item.region(1));
        // `struct xfs_inode_log_format`; that of 32-bit machines is shorter.
        if format.len() != 56 {
            return bad("it was written by a machine of another kind");
        }
        let (fields, number, sector, sectors, within) =
            (le32(format, 4), le64(format, 16), le64(format, 40), le32(format, 48), le32(format, 52));
        if u16::try_from(sectors).is_ok_and(|sectors| self.cancelled.contains_key(&(sector, sectors))) {
            return Ok(());
        }
        let (sb, size) = (&self.raw.sb, u64::from(self.raw.sb.inode_size));
        let at = sector.checked_mul(512).and_then(|at| at.checked_add(u64::from(within)));
        let (block, nth) = (number >> sb.inodes_log, number & ((1 << sb.inodes_log) - 1));
        let place = self.raw.place(block, 1)?.0 + nth * size;
        if at != Some(place) {
            return bad(&format!("it says that inode {number} lies at byte {at:?}, not at {place}"));
        }
        let mut is = self.read(place, size)?;
        if be16(&is, 0) != inode::MAGIC || core.len() < inode::FORKS_V3 || le16(core, 0) != inode::MAGIC {
            return bad(&format!("inode {number} is none"));
        }
        // Several may be logged at once: one with the same number counts.
        if matches!(be64(&is, 112), own if own != 0 && own != u64::MAX && own > lsn) {
            return Ok(());
        }
        logged_inode::core(&mut is, core, lsn);
        logged_inode::forks(&mut is, item, fields)?;
        self.write(place, &is)?;
        self.laid(place, size);
        Ok(())
    }
}

/// The sequence number of the last change that a buffer of version 5 holds, where it is one that says so, and of this file system
/// (`xlog_recover_get_buf_lsn`). Values of attributes are written before they are logged, and say nothing.
fn own_lsn(sb: &Superblock, b: &[u8]) -> Option<u64> {
    // Magic numbers of trees of groups; of maps; of headers; of directories; of indexes and attributes.
    let (lsn, uuid) = match &b.get(..4)?.try_into().unwrap_or([0u8; 4]) {
        b"ABTB" | b"AB3B" | b"ABTC" | b"AB3C" | b"IABT" | b"IAB3" | b"FIBT" | b"FIB3" | b"RMB3" | b"R3FC" => (24, 32),
        b"BMAP" | b"BMA3" => (32, 40),
        b"XAGF" => (208, 64),
        b"XAFL" => (24, 8),
        b"XAGI" => (320, 296),
        b"XSLM" => (48, 16),
        b"XDB3" | b"XDD3" | b"XDF3" => (16, 24),
        b"XFSB" => (240, if sb.uuid() == sb.meta_uuid { 32 } else { 248 }),
        _ => match be16(b, 8) {
            0x3df1 | 0x3dff | 0x3bee | 0x3ebe => (24, 32),
            _ => return None,
        },
    };
    let own = be64(b, lsn);
    (b.get(uuid..uuid + 16) == Some(&sb.meta_uuid) && own != 0 && own != u64::MAX).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_of_files_has_to_be_done() {
        let item = |kind: u16, number: u64| {
            let mut region = vec![0; 16];
            region[..2].copy_from_slice(&kind.to_le_bytes());
            region[8..].copy_from_slice(&number.to_le_bytes());
            let mut item = Item::default();
            item.regions.push(region);
            item
        };
        let mut exchanges = Exchanges::default();
        for (kind, number) in [(kind::EXCHANGE, 7), (kind::EXCHANGE, 8), (kind::EXCHANGED, 7)] {
            exchanges.note(&item(kind, number)).unwrap();
        }
        assert!(exchanges.done().is_err());
        exchanges.note(&item(kind::EXCHANGED, 8)).unwrap();
        // One whose intent stands before the log begins.
        exchanges.note(&item(kind::EXCHANGED, 9)).unwrap();
        exchanges.done().unwrap();
        for number in 0..MOST_EXCHANGES as u64 {
            exchanges.note(&item(kind::EXCHANGE, number)).unwrap();
        }
        assert!(exchanges.note(&item(kind::EXCHANGE, u64::MAX)).is_err());
    }
}
