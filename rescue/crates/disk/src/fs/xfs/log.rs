//! The log as a ring of basic blocks of 512 bytes (kernel `fs/xfs/libxfs/xfs_log_format.h`): where it ends, whether an unmount ended
//! it, and its records (`xlog_find_head`, `xlog_find_tail`, `xlog_verify_head` in `fs/xfs/xfs_log_recover.c`).
//!
//! Every basic block begins with the number of the round (cycle) in which it was written, so the end is where the numbers fall.

use super::raw::from;
use super::reader::Reader;
use crate::fs::FsError;
use crate::numbers::{be16, be32, be64, byte};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::Arc;

/// Bytes of a basic block.
pub(super) const BASIC: usize = 512;
/// `XLOG_HEADER_MAGIC_NUM`.
const MAGIC: u32 = 0xfeed_babe;
/// Bytes of a record that one header block tells the first words of (`XLOG_HEADER_CYCLE_SIZE`).
const CYCLE_SIZE: u32 = 32 << 10;
/// `XLOG_MAX_RECORD_BSIZE`.
const MOST_RECORD: u32 = 256 << 10;
/// Records that may have been on their way at once (`XLOG_MAX_ICLOGS`).
const MOST_AT_ONCE: usize = 8;
/// Basic blocks that those take (`XLOG_TOTAL_REC_SHIFT`), and one of them.
const SCAN: u64 = 4096;
const SCAN_RECORD: u64 = 512;
/// Basic blocks read at a time.
const PIECE: u64 = 1024;
/// `XLOG_UNMOUNT_TRANS` of an operation's flags.
const UNMOUNT: u8 = 0x20;
/// Bytes of `struct xlog_op_header`.
pub(super) const OPERATION: usize = 12;
/// `struct xlog_rec_header` as 64-bit kernels have it and as 32-bit ones do; its checksum; `struct xlog_rec_ext_header`.
const HEADERS: [usize; 2] = [328, 324];
const CHECKSUM: usize = 32;
const EXT_HEADER: usize = 260;

/// A log.
pub(super) struct Log {
    bytes: Arc<dyn ReadAt>,
    uuid: Box<[u8]>,
    start: u64,
    /// Basic blocks.
    len: u64,
}

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With the record that an unmount writes; its sequence number.
    Unmounted(u64),
    /// With another one: records from basic block `tail` up to (not including) `head` are to be carried out; the sequence number of
    /// the last one.
    Open { tail: u64, head: u64, last: u64 },
}

/// The header of a record.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// Its basic block.
    pub(super) at: u64,
    /// Its sequence number: the cycle in the upper half, the basic block in the lower.
    pub(super) lsn: u64,
    tail: u64,
    /// Bytes behind the header.
    len: u32,
    /// Basic blocks of the header.
    blocks: u64,
    pub(super) operations: u32,
}

impl Header {
    /// Basic blocks of the whole record.
    fn total(&self) -> u64 {
        self.blocks + u64::from(self.len).div_ceil(BASIC as u64)
    }
}

/// A record whose checksum holds.
pub(super) struct Record {
    pub(super) header: Header,
    /// Its operations, as they were before their first words gave room to cycle numbers.
    pub(super) body: Vec<u8>,
}

fn bad<T>(why: String) -> Result<T, FsError> {
    Err(FsError::Corrupt(format!("its log: {why}")))
}

/// The cycle number of a basic block (`xlog_get_cycle`).
fn cycle_of(block: &[u8]) -> u32 {
    if be32(block, 0) == MAGIC { be32(block, 4) } else { be32(block, 0) }
}

impl Log {
    /// The log of a file system.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it is longer than its group.
    pub(super) fn open(reader: &Reader) -> Result<Self, FsError> {
        let (block, blocks) = reader.sb.log;
        let start = reader.place(block, u64::from(blocks))?.0;
        let len = u64::from(blocks) * u64::from(reader.sb.block_size) / BASIC as u64;
        if len < 2 * SCAN_RECORD {
            return bad(format!("it has {len} blocks"));
        }
        Ok(Self { bytes: reader.bytes().clone(), uuid: reader.sb.uuid().into(), start, len })
    }

    /// The bytes of the volume that hold it.
    pub(super) fn extent(&self) -> Extent {
        Extent::new(ByteOffset(self.start), ByteLen(self.len * BASIC as u64)).unwrap_or_default()
    }

    /// Basic blocks in all.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// `count` basic blocks from `at` on, around the end.
    pub(super) fn read(&self, at: u64, count: u64) -> Result<Vec<u8>, FsError> {
        let (at, count) = (at % self.len, count.min(self.len));
        let first = count.min(self.len - at);
        let piece = |at: u64, count: u64| {
            let bytes = usize::try_from(count).unwrap_or(0) * BASIC;
            self.bytes.read_vec(ByteOffset(self.start + at * BASIC as u64), bytes)
        };
        let mut out = piece(at, first)?;
        out.extend(piece(0, count - first)?);
        Ok(out)
    }

    fn cycle(&self, at: u64) -> Result<u32, FsError> {
        Ok(cycle_of(&self.read(at, 1)?))
    }

    /// The first basic block from `from` up to `to` that was written in a cycle, or in another one where `is` is false.
    fn first(&self, from: u64, to: u64, cycle: u32, is: bool) -> Result<Option<u64>, FsError> {
        let mut at = from;
        while at < to {
            let count = PIECE.min(to - at);
            let piece = self.read(at, count)?;
            if let Some((found, _)) = (at..).zip(piece.chunks_exact(BASIC)).find(|(_, b)| (cycle_of(b) == cycle) == is)
            {
                return Ok(Some(found));
            }
            at += count;
        }
        Ok(None)
    }

    /// The first block from `low` (which is not) up to `high` (which is) of which `is` is true, where it stays true.
    fn boundary(&self, mut low: u64, mut high: u64, is: impl Fn(u32) -> bool) -> Result<u64, FsError> {
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            if is(self.cycle(middle)?) { high = middle } else { low = middle }
        }
        Ok(high)
    }

    /// One past the last block that was written, as far as the cycle numbers tell.
    fn head(&self) -> Result<u64, FsError> {
        let (first, last) = (self.cycle(0)?, self.cycle(self.len - 1)?);
        if first == 0 {
            return bad("it is empty, which no log is".to_owned());
        }
        // What stands where writing did not get to, or has holes: blocks of the cycle before.
        let (mut head, stop) = if last == 0 {
            (self.boundary(0, self.len - 1, |cycle| cycle == 0)?, 0)
        } else if first == last {
            (self.len, last.wrapping_sub(1))
        } else {
            (self.boundary(0, self.len - 1, |cycle| cycle == last)?, last)
        };
        // Several records may have been on their way at once, and only later ones have come.
        let scan = SCAN.min(self.len);
        if head >= scan {
            head = self.first(head - scan, head, stop, true)?.unwrap_or(head);
        } else if let Some(hole) = self.first(self.len - (scan - head), self.len, stop.wrapping_sub(1), true)? {
            head = hole;
        } else {
            head = self.first(0, head, stop, true)?.unwrap_or(head);
        }
        self.whole(head)
    }

    /// The same without a record that was not written to its end.
    fn whole(&self, head: u64) -> Result<u64, FsError> {
        let Some(last) = self.headers_before(head, 1, SCAN_RECORD + 16)?.pop() else {
            return bad(format!("no record ends before block {head}"));
        };
        let length = (head + self.len - last.at) % self.len;
        let length = if length == 0 { self.len } else { length };
        Ok(if length == last.total() { head % self.len } else { last.at })
    }

    /// The headers of at most `most` records before a block, the newest first, within so many basic blocks.
    fn headers_before(&self, head: u64, most: usize, within: u64) -> Result<Vec<Header>, FsError> {
        let within = within.min(self.len - 1);
        let mut found = Vec::new();
        let mut back = 0;
        while back < within && found.len() < most {
            let count = PIECE.min(within - back);
            let from = (head + 2 * self.len - back - count) % self.len;
            let piece = self.read(from, count)?;
            for (i, block) in piece.chunks_exact(BASIC).enumerate().rev() {
                if be32(block, 0) == MAGIC && found.len() < most {
                    found.push(self.header_of((from + i as u64) % self.len, block)?);
                }
            }
            back += count;
        }
        Ok(found)
    }

    /// A record's header (`xlog_valid_rec_header`).
    fn header_of(&self, at: u64, b: &[u8]) -> Result<Header, FsError> {
        let (version, len, size, format) = (be32(b, 8), be32(b, 12), be32(b, 320), be32(b, 300));
        if be32(b, 0) != MAGIC || !matches!(version, 1 | 2) {
            return bad(format!("the record in block {at} has magic {:#010x} and version {version}", be32(b, 0)));
        }
        if format != 1 {
            return bad(format!("the record in block {at} was written by a machine of another kind (format {format})"));
        }
        if b.get(304..320) != Some(&*self.uuid) {
            return bad(format!("the record in block {at} is of another file system"));
        }
        let lsn = be64(b, 16);
        if len == 0 || len > MOST_RECORD || size > MOST_RECORD || lsn & 0xffff_ffff != at {
            return bad(format!("the record in block {at} has {len} bytes and says that it lies at {lsn:#x}"));
        }
        let blocks = if version == 2 { size.div_ceil(CYCLE_SIZE).max(1) } else { 1 };
        Ok(Header { at, lsn, tail: be64(b, 24), len, blocks: u64::from(blocks), operations: be32(b, 40) })
    }

    /// The record that begins in a block; `None` where its checksum is wrong.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where none begins there; [`FsError::Io`] where it cannot be read.
    fn record(&self, at: u64) -> Result<Option<Record>, FsError> {
        let header = self.header_of(at, &self.read(at, 1)?)?;
        let total = header.total();
        if total >= self.len {
            return bad(format!("the record in block {at} has {total} blocks"));
        }
        let bytes = self.read(at, total)?;
        let (head, body) =
            bytes.split_at_checked(usize::try_from(header.blocks).unwrap_or(1) * BASIC).unwrap_or_default();
        let len = usize::try_from(header.len).unwrap_or(0);
        let mut body = body.get(..len).unwrap_or_default().to_vec();
        // Records of early kernels have none.
        if crate::numbers::le32(head, CHECKSUM) == 0 || !HEADERS.iter().any(|size| checksum_holds(*size, head, &body)) {
            return Ok(None);
        }
        // The first word of each basic block stands in the headers, 64 in each.
        for (i, block) in body.chunks_mut(BASIC).enumerate() {
            let word = match i / 64 {
                0 => 44 + i * 4,
                nth => nth * BASIC + 4 + i % 64 * 4,
            };
            if let (Some(place), Some(word)) = (block.get_mut(..4), head.get(word..word + 4)) {
                place.copy_from_slice(word);
            }
        }
        Ok(Some(Record { header, body }))
    }

    /// Where it ends.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where that cannot be told with certainty; [`FsError::Io`] where it cannot be read.
    pub(super) fn end(&self) -> Result<End, FsError> {
        let mut head = self.head()?;
        let Some(mut last) = self.headers_before(head, 1, SCAN)?.pop() else {
            return bad("it holds no record".to_owned());
        };
        if self.is_unmount(&last, head)? {
            return Ok(End::Unmounted(last.lsn));
        }
        // Those that may have been on their way together: what comes before one that was torn counts.
        let tail = last.tail;
        let within = (head + self.len - (tail & 0xffff_ffff).min(self.len)) % self.len;
        let together = self.headers_before(head, MOST_AT_ONCE, within.max(last.total()))?;
        let mut good = None;
        for header in together.into_iter().rev() {
            if self.record(header.at)?.is_none() {
                let Some(before) = good else {
                    return bad(format!("the record in block {} has a wrong checksum", header.at));
                };
                (head, last) = (header.at, before);
                good = None;
                break;
            }
            good = Some(header);
        }
        last = good.unwrap_or(last);
        let tail = last.tail & 0xffff_ffff;
        if tail >= self.len || tail == head {
            return bad(format!("it ends at block {head} and begins at {tail}"));
        }
        Ok(End::Open { tail, head, last: last.lsn })
    }

    /// True where somebody mounted it since the record of the unmount with that sequence number, be it to read only: each block
    /// behind the end is then the header of an empty record with the beginning of the log as the unmount left it
    /// (`xlog_clear_stale_blocks`). What an earlier mount left there has an earlier one.
    pub(super) fn is_mounted_since(&self, unmount: u64) -> Result<bool, FsError> {
        let (last, head) = self.unmounted(unmount)?;
        let behind = self.read(head, 1)?;
        Ok(be32(&behind, 0) == MAGIC && be64(&behind, 24) >= last.tail)
    }

    /// Where the record of an unmount, by its sequence number, says that the log begins. A session that logs anything says something
    /// later in all it writes.
    pub(super) fn tail_of(&self, unmount: u64) -> Result<u64, FsError> {
        Ok(self.unmounted(unmount)?.0.tail)
    }

    /// Where the log began when it was last mounted before the unmount with that sequence number; `None` where that cannot be told. A mount
    /// writes it into the blocks behind the end that it finds ([`is_mounted_since`](Self::is_mounted_since)), as far as `SCAN` of them:
    /// while less was logged since, the block behind the present end is one of these.
    pub(super) fn opened(&self, unmount: u64) -> Result<Option<u64>, FsError> {
        // In a shorter one the next mount may find less room than that to write over.
        if self.len < 2 * SCAN {
            return Ok(None);
        }
        let (_, head) = self.unmounted(unmount)?;
        let behind = self.read(head, 1)?;
        // The rest of it was written in the cycle before.
        let cycle = (unmount >> 32).saturating_sub(u64::from(head != 0));
        let mut mark = [0; BASIC];
        mark[..4].copy_from_slice(&MAGIC.to_be_bytes());
        mark[4..8].copy_from_slice(&u32::try_from(cycle).unwrap_or(0).to_be_bytes());
        mark[8..12].copy_from_slice(behind.get(8..12).unwrap_or(&[0; 4]));
        mark[16..24].copy_from_slice(&(cycle << 32 | head).to_be_bytes());
        mark[24..32].copy_from_slice(&be64(&behind, 24).to_be_bytes());
        mark[300..304].copy_from_slice(&1u32.to_be_bytes());
        if let Some(uuid) = mark.get_mut(304..320).filter(|to| to.len() == self.uuid.len()) {
            uuid.copy_from_slice(&self.uuid);
        }
        Ok((behind == mark).then(|| be64(&behind, 24)))
    }

    /// The record of the unmount with that sequence number, as it lies there: with a number drawn by lot, so that two with the same
    /// sequence number, of two states that were made of one, are two.
    ///
    /// # Errors
    /// [`FsError`] where there is no such record.
    pub(super) fn record_of(&self, unmount: u64) -> Result<Vec<u8>, FsError> {
        let (last, _) = self.unmounted(unmount)?;
        self.read(last.at, last.total())
    }

    /// The bytes of the volume that hold what one mount since the unmount with that sequence number leaves as it is, where less was logged since
    /// than [`opened`](Self::opened) needs: all of the log but what that mount wrote over behind the end.
    ///
    /// # Errors
    /// [`FsError`] where there is no such record.
    pub(super) fn left_alone(&self, unmount: u64) -> Result<Vec<Extent>, FsError> {
        let (last, head) = self.unmounted(unmount)?;
        let len = self.len.saturating_sub(SCAN + last.total());
        let from = (head + SCAN) % self.len;
        let first = len.min(self.len - from);
        let byte = |block: u64| self.start + block * BASIC as u64;
        let parts = [(from, from + first), (0, len - first)];
        Ok(parts.into_iter().filter_map(|(start, end)| Extent::between(byte(start), byte(end))).collect())
    }

    /// The header of the record of an unmount, and the block behind it.
    fn unmounted(&self, unmount: u64) -> Result<(Header, u64), FsError> {
        let at = unmount & 0xffff_ffff;
        let last = self.header_of(at, &self.read(at, 1)?)?;
        let head = (at + last.total()) % self.len;
        Ok((last, head))
    }

    /// True where a record is the last one and says that the file system was unmounted (`xlog_check_unmount_rec`).
    fn is_unmount(&self, last: &Header, head: u64) -> Result<bool, FsError> {
        if last.operations != 1 || (last.at + last.total()) % self.len != head {
            return Ok(false);
        }
        let operation = self.read(last.at + last.blocks, 1)?;
        Ok(byte(&operation, 9) & UNMOUNT != 0)
    }

    /// Shows the records from `tail` up to `head`.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where one of them does not hold together; what `each` gives.
    pub(super) fn records(
        &self,
        tail: u64,
        head: u64,
        each: &mut dyn FnMut(&Record) -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        let mut left = (head + self.len - tail) % self.len;
        let mut at = tail;
        while left > 0 {
            let Some(record) = self.record(at)? else {
                return bad(format!("the record in block {at} has a wrong checksum"));
            };
            let total = record.header.total();
            left = match left.checked_sub(total) {
                Some(left) => left,
                None => return bad(format!("the record in block {at} reaches past its end")),
            };
            each(&record)?;
            at = (at + total) % self.len;
        }
        Ok(())
    }
}

/// `xlog_cksum`: over the header with its checksum as zero, the first words of long records, and the record as it lies there.
fn checksum_holds(header: usize, head: &[u8], body: &[u8]) -> bool {
    let (Some(before), Some(after)) = (head.get(..CHECKSUM), head.get(CHECKSUM + 4..header)) else { return false };
    let add = |sum: u32, bytes: &[u8]| crc32c::crc32c_append(sum, bytes);
    let mut sum = add(add(add(0, before), &[0; 4]), after);
    let long = be32(head, 8) == 2;
    let more = body.len().div_ceil(usize::try_from(CYCLE_SIZE).unwrap_or(BASIC));
    for nth in (1..more).filter(|_| long) {
        sum = add(sum, from(head, nth * BASIC).get(..EXT_HEADER).unwrap_or_default());
    }
    add(sum, body) == crate::numbers::le32(head, CHECKSUM)
}

/// An operation of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation<'a> {
    /// The transaction it belongs to.
    pub(super) transaction: u32,
    pub(super) flags: u8,
    pub(super) bytes: &'a [u8],
}

impl Record {
    /// Its operations, in order.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where they do not hold together.
    pub(super) fn operations(&self) -> Result<Vec<Operation<'_>>, FsError> {
        let (mut out, mut at) = (Vec::new(), 0);
        for _ in 0..self.header.operations {
            let head = self.body.get(at..at + OPERATION);
            let len = head.map(|h| usize::try_from(be32(h, 4)).unwrap_or(usize::MAX));
            let end = len.and_then(|len| (at + OPERATION).checked_add(len));
            let bytes = end.and_then(|end| self.body.get(at + OPERATION..end));
            let (Some(head), Some(bytes)) = (head, bytes) else {
                return bad(format!("an operation of the record in block {} is cut off", self.header.at));
            };
            // XFS_TRANSACTION, XFS_LOG.
            if !matches!(byte(head, 8), 0x69 | 0xaa) || be16(head, 10) != 0 {
                return bad(format!("an operation of the record in block {} is none", self.header.at));
            }
            out.push(Operation { transaction: be32(head, 0), flags: byte(head, 9), bytes });
            at += OPERATION + bytes.len();
        }
        Ok(out)
    }
}
