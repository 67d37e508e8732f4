//! The journal as a log of blocks (kernel `include/linux/jbd2.h`, `fs/jbd2/journal.c`): its superblock, reading it, and
//! walking through its transactions (`do_one_pass` in `fs/jbd2/recovery.c`).

mod newest;

use super::file::File;
use super::inode::Inode;
use super::map::look_up;
use super::raw::{crc32_be, wide, without};
use super::reader::Reader;
use crate::fs::FsError;
use crate::numbers::{be16, be32, be64, crc32c, le16, le32};
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent, ExtentSet};
use std::sync::Arc;

const MAGIC: u32 = 0xc03b_3998;
/// Length of the header every block of the log's own begins with: magic, type, sequence.
const HEADER: usize = 12;

/// Bits of the journal's `s_feature_incompat`, and the only one of `s_feature_compat`.
mod feature {
    pub(super) const REVOKE: u32 = 0x1;
    pub(super) const BIT64: u32 = 0x2;
    pub(super) const ASYNC_COMMIT: u32 = 0x4;
    pub(super) const CSUM_V2: u32 = 0x8;
    pub(super) const CSUM_V3: u32 = 0x10;
    pub(super) const FAST_COMMIT: u32 = 0x20;
    pub(super) const KNOWN: u32 = REVOKE | BIT64 | ASYNC_COMMIT | CSUM_V2 | CSUM_V3 | FAST_COMMIT;
    pub(super) const COMPAT_CHECKSUM: u32 = 0x1;
}

/// A journal.
pub(super) struct Log {
    reader: Arc<Reader>,
    inode: Inode,
    file: File,
    /// Its last piece read: where from, and the bytes. Logs are read forward, mostly.
    ahead: (u32, Vec<u8>),
    /// Length of the log in blocks, fast commit area included.
    most: u32,
    /// First block of the log proper.
    first: u32,
    /// One past the last block of the log proper: the fast commit area lies behind.
    last: u32,
    /// Next transaction the log says it holds.
    pub(super) sequence: u32,
    /// Where that one begins; 0 where the log holds nothing.
    pub(super) start: u32,
    /// `s_errno`: why the kernel gave the journal up; 0 where it did not.
    pub(super) errno: u32,
    /// `s_head`: where an empty log goes on; 0 where older kernels wrote it.
    head: u32,
    compat: u32,
    incompat: u32,
    seed: u32,
}

/// What kind of block it is, of those a log has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lists the places of the blocks that follow it.
    Descriptor,
    /// Lists blocks whose older copies in the log are void.
    Revoke,
    /// Ends a transaction.
    Commit,
}

/// A block of the log's own, on the way through its transactions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) sequence: u32,
    /// Its block within the log.
    pub(super) at: u32,
}

/// A transaction whose commit block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) sequence: u32,
    /// When, in seconds since 1970.
    pub(super) at: Option<i64>,
}

/// What a walk through the log found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The blocks of the log's own, in order; those of transactions from `end` on do not count.
    pub(super) items: Vec<Item>,
    /// The first transaction that is not whole.
    pub(super) end: u32,
    /// The last whole one.
    pub(super) newest: Option<Committed>,
    /// Why the log is not to be trusted up to its end.
    pub(super) broken: Option<String>,
}

/// Where a logged block belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    /// Its block on the volume.
    pub(super) block: u64,
    /// Its block within the log.
    pub(super) at: u32,
    /// The first four bytes were the log's own magic and are kept as zeros.
    pub(super) escaped: bool,
    checksum: u32,
}

/// True where transaction `a` is `b` or later; numbers wrap (`tid_geq`).
pub(super) fn not_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() >= 0
}

impl Log {
    /// Opens the journal in an inode.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together, [`FsError::Incompatible`] where it uses what is not known,
    /// [`FsError::Io`] where it cannot be read.
    pub(super) fn open(reader: &Arc<Reader>, inode: u32) -> Result<Self, FsError> {
        let bad = |why: String| Err(FsError::Corrupt(format!("the journal: {why}")));
        let inode = reader.inode(inode)?;
        if inode.kind != FileKind::File {
            return bad(format!("inode {} is no file", inode.number));
        }
        let size = inode.size;
        let file = File::open(reader.clone(), inode.clone())?;
        if size < 1024 {
            return bad(format!("it is {size} bytes long"));
        }
        let b = file.read_vec(ByteOffset(0), 1024)?;
        let (magic, version) = (be32(&b, 0), be32(&b, 4));
        if magic != MAGIC || !matches!(version, 3 | 4) {
            return bad(format!("its superblock has magic {magic:#010x} and type {version}"));
        }
        // A version 1 superblock (type 3) ends before the features.
        let word = |at| if version == 4 { be32(&b, at) } else { 0 };
        let (compat, incompat) = (word(0x24), word(0x28));
        let unknown = (compat & !feature::COMPAT_CHECKSUM, incompat & !feature::KNOWN, word(0x2c));
        if unknown != (0, 0, 0) {
            return Err(FsError::Incompatible(format!("the journal has unknown features {unknown:x?}")));
        }
        let csum = feature::CSUM_V2 | feature::CSUM_V3;
        if incompat & csum == csum || incompat & csum != 0 && compat & feature::COMPAT_CHECKSUM != 0 {
            return bad("it has several kinds of checksums at once".to_owned());
        }
        if incompat & csum != 0 {
            let (said, is) = (be32(&b, 0xfc), crc32c(!0, &without(&b, 0xfc..0x100)));
            if said != is || b[0x50] != 4 {
                return bad(format!(
                    "its superblock's checksum is {is:#010x}, it says {said:#010x} of type {}",
                    b[0x50]
                ));
            }
        }
        let (block_size, most, first) = (be32(&b, 0xc), be32(&b, 0x10), be32(&b, 0x14));
        let blocks = size / u64::from(reader.sb.block_size);
        if block_size != reader.sb.block_size || u64::from(most) > blocks || first == 0 || first >= most {
            return bad(format!("blocks of {block_size} bytes, the log from block {first} to {most} of {blocks}"));
        }
        let mut last = most;
        if incompat & feature::FAST_COMMIT != 0 {
            // JBD2_DEFAULT_FAST_COMMIT_BLOCKS, JBD2_MIN_JOURNAL_BLOCKS.
            let area = if word(0x54) == 0 { 256 } else { word(0x54) };
            last = most.saturating_sub(area);
            if last < 1024 || last <= first {
                return bad(format!("{area} of its {most} blocks for fast commits"));
            }
        }
        let start = be32(&b, 0x1c);
        if start != 0 && !(first..last).contains(&start) {
            return bad(format!("it starts at block {start}, the log is from {first} to {last}"));
        }
        Ok(Self {
            reader: reader.clone(),
            inode,
            file,
            ahead: (0, Vec::new()),
            most,
            first,
            last,
            sequence: be32(&b, 0x18),
            start,
            errno: be32(&b, 0x20),
            head: word(0x58),
            compat,
            incompat,
            seed: crc32c(!0, &b[0x30..0x40]),
        })
    }

    /// The bytes of the volume that hold the journal, in at most `most` pieces; `None` where there are more.
    ///
    /// # Errors
    /// As looking up its blocks.
    pub(super) fn extents(&self, most: usize) -> Result<Option<ExtentSet>, FsError> {
        let block_size = u64::from(self.reader.sb.block_size);
        let blocks = self.inode.size.div_ceil(block_size);
        let (mut at, mut set) = (0, ExtentSet::new());
        let mut looked = 0;
        while at < blocks {
            let run = look_up(&self.reader, &self.inode, at)?;
            let len = run.len.min(blocks - at);
            if let Some(first) = run.at {
                let start = self.reader.place(first)?.0;
                if let Some(extent) = Extent::between(start, start + len * block_size) {
                    set.insert(extent);
                }
            }
            at += len;
            looked += 1;
            if looked > most {
                return Ok(None);
            }
        }
        Ok(Some(set))
    }

    /// Number of blocks in the log proper: no walk is longer.
    pub(super) fn len(&self) -> u32 {
        self.last - self.first
    }

    /// Block `at` of the log.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] past its end, [`FsError::Io`] where it cannot be read.
    pub(super) fn block(&mut self, at: u32) -> Result<&[u8], FsError> {
        const AHEAD: u32 = 32;
        if at >= self.most {
            return Err(FsError::Corrupt(format!("block {at} of the journal is named, it has {}", self.most)));
        }
        let len = self.reader.block_len();
        let held = u32::try_from(self.ahead.1.len() / len).unwrap_or(0);
        if !(self.ahead.0..self.ahead.0.saturating_add(held)).contains(&at) {
            let place = ByteOffset(u64::from(at) * u64::from(self.reader.sb.block_size));
            let blocks = usize::try_from(AHEAD.min(self.most - at)).unwrap_or(1);
            self.ahead = (at, Vec::new());
            // One bad block among those ahead must not hide the one asked for.
            self.ahead.1 = match self.file.read_vec(place, blocks * len) {
                Ok(bytes) => bytes,
                Err(_) => self.file.read_vec(place, len)?,
            };
        }
        let from = usize::try_from(at - self.ahead.0).unwrap_or(0) * len;
        Ok(&self.ahead.1[from..from + len])
    }

    /// The place on the volume of a block of the log.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it has none.
    pub(super) fn place(&self, at: u32) -> Result<u64, FsError> {
        look_up(&self.reader, &self.inode, u64::from(at))?
            .at
            .ok_or_else(|| FsError::Corrupt(format!("block {at} of the journal is a hole")))
    }

    /// The block after `at`, `by` further on: behind the last comes the first.
    fn after(&self, at: u32, by: u32) -> u32 {
        let into = (u64::from(at - self.first) + u64::from(by)) % u64::from(self.len());
        self.first + u32::try_from(into).expect("less than the length of the log")
    }

    /// Type and sequence of a block of the log's own; `None` where it is something else.
    fn header(&mut self, at: u32) -> Result<Option<(Option<Kind>, u32)>, FsError> {
        let b = self.block(at)?;
        let kind = match be32(b, 4) {
            1 => Some(Kind::Descriptor),
            2 => Some(Kind::Commit),
            5 => Some(Kind::Revoke),
            _ => None,
        };
        Ok((be32(b, 0) == MAGIC).then(|| (kind, be32(b, 8))))
    }

    fn has_csum(&self) -> bool {
        self.incompat & (feature::CSUM_V2 | feature::CSUM_V3) != 0
    }

    /// Bytes at the end of a block that hold its checksum.
    fn tail(&self) -> usize {
        if self.has_csum() { 4 } else { 0 }
    }

    /// `jbd2_descriptor_block_csum_verify`; revoke blocks end the same way.
    fn block_holds(&mut self, at: u32) -> Result<bool, FsError> {
        if !self.has_csum() {
            return Ok(true);
        }
        let seed = self.seed;
        let b = self.block(at)?;
        let tail = b.len() - 4;
        Ok(be32(b, tail) == crc32c(seed, &without(b, tail..tail + 4)))
    }

    /// `jbd2_commit_block_csum_verify`, and the version that forgives a commit block of which only the header reached
    /// the disk (`jbd2_commit_block_csum_verify_partial`).
    fn commit_holds(&mut self, at: u32) -> Result<bool, FsError> {
        if !self.has_csum() {
            return Ok(true);
        }
        let seed = self.seed;
        let b = self.block(at)?;
        let said = be32(b, 0x10);
        let whole = without(b, 0x10..0x14);
        let header = without(&whole, 0x3c..b.len());
        Ok(said == crc32c(seed, &whole) || said == crc32c(seed, &header))
    }

    /// The blocks a descriptor lists; those after it in the log, in order.
    ///
    /// # Errors
    /// As [`Log::block`].
    pub(super) fn tags(&mut self, descriptor: u32) -> Result<Vec<Tag>, FsError> {
        let v3 = self.incompat & feature::CSUM_V3 != 0;
        let v2 = self.incompat & feature::CSUM_V2 != 0;
        let wide_blocks = self.incompat & feature::BIT64 != 0;
        // `journal_tag_bytes`.
        let len = match (v3, wide_blocks) {
            (true, _) => 16,
            (false, true) => 12 + if v2 { 2 } else { 0 },
            (false, false) => 8 + if v2 { 2 } else { 0 },
        };
        let tail = self.tail();
        let b = self.block(descriptor)?.to_vec();
        let mut tags = Vec::new();
        let mut at = HEADER;
        let mut log_at = descriptor;
        while at + len <= b.len() - tail {
            let flags = be16(&b, at + 6);
            log_at = self.after(log_at, 1);
            tags.push(Tag {
                block: wide(if wide_blocks { be32(&b, at + 8) } else { 0 }, be32(&b, at)),
                at: log_at,
                escaped: flags & 1 != 0,
                checksum: if v3 { be32(&b, at + 12) } else { u32::from(be16(&b, at + 4)) },
            });
            at += len;
            // Unless it says "same UUID", a UUID of 16 bytes follows.
            if flags & 2 == 0 {
                at += 16;
            }
            if flags & 8 != 0 {
                break;
            }
        }
        Ok(tags)
    }

    /// True where a logged block is what its tag's checksum says (`jbd2_block_tag_csum_verify`).
    ///
    /// # Errors
    /// As [`Log::block`].
    pub(super) fn tag_holds(&mut self, tag: &Tag, sequence: u32) -> Result<bool, FsError> {
        if !self.has_csum() {
            return Ok(true);
        }
        let (seed, v3) = (crc32c(self.seed, &sequence.to_be_bytes()), self.incompat & feature::CSUM_V3 != 0);
        let is = crc32c(seed, self.block(tag.at)?);
        Ok(tag.checksum == if v3 { is } else { is & 0xffff })
    }

    /// The blocks a revoke block voids (`scan_revoke_records`).
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it says it is longer than a block.
    pub(super) fn revoked(&mut self, at: u32) -> Result<Vec<u64>, FsError> {
        let tail = self.tail();
        let wide_blocks = self.incompat & feature::BIT64 != 0;
        let b = self.block(at)?;
        let len = usize::try_from(be32(b, HEADER)).unwrap_or(usize::MAX);
        if len > b.len() - tail {
            return Err(FsError::Corrupt(format!("a revoke block of the journal says it is {len} bytes long")));
        }
        let list = b.get(HEADER + 4..len).unwrap_or_default();
        Ok(if wide_blocks {
            list.chunks_exact(8).map(|r| be64(r, 0)).collect()
        } else {
            list.chunks_exact(4).map(|r| u64::from(be32(r, 0))).collect()
        })
    }

    /// When a commit block says it was written, seconds since 1970.
    fn committed(&mut self, at: u32) -> Result<u64, FsError> {
        Ok(be64(self.block(at)?, 0x30))
    }

    /// Walks through the transactions from block `start`, the first of which has number `sequence`, reading at most
    /// `most` of the log's own blocks. This is the kernel's first pass, with its rules for what ends a log.
    ///
    /// # Errors
    /// [`FsError::Io`] where the log cannot be read.
    pub(super) fn walk(&mut self, start: u32, sequence: u32, most: u32) -> Result<Walk, FsError> {
        let mut walk = Walk::default();
        let (mut next, mut at) = (sequence, start);
        let mut end = None;
        let (mut suspect, mut last_time) = (false, 0);
        let mut sum = !0;
        let mut passed = 0u32;
        // The kernel would go round for ever where no transaction ends; nothing sound is longer than the log.
        for _ in 0..most.min(self.len()) {
            if passed > self.len() {
                break;
            }
            let Some((Some(kind), found)) = self.header(at)? else { break };
            if found != next {
                break;
            }
            walk.items.push(Item { kind, sequence: next, at });
            passed = passed.saturating_add(1);
            match kind {
                Kind::Descriptor => {
                    suspect |= !self.block_holds(at)?;
                    let tags = self.tags(at)?;
                    if self.compat & feature::COMPAT_CHECKSUM != 0 && !suspect && end.is_none() {
                        sum = crc32_be(sum, self.block(at)?);
                        for tag in &tags {
                            sum = crc32_be(sum, self.block(tag.at)?);
                        }
                    }
                    let count = u32::try_from(tags.len()).unwrap_or(u32::MAX);
                    passed = passed.saturating_add(count);
                    at = self.after(at, count);
                }
                Kind::Revoke => suspect |= !self.block_holds(at)?,
                Kind::Commit => {
                    let time = self.committed(at)?;
                    if suspect {
                        // Blocks of an older log look like this too; those are older than what came before.
                        if time >= last_time {
                            walk.broken = Some(format!("a block of transaction {next} has a wrong checksum"));
                        }
                        break;
                    }
                    let holds = if self.compat & feature::COMPAT_CHECKSUM != 0 {
                        if end.is_some() {
                            walk.broken = Some(format!("transaction {} has a wrong checksum", next.wrapping_sub(1)));
                            break;
                        }
                        let b = self.block(at)?;
                        let (said, type_size) = (be32(b, 0x10), be16(b, 0xc));
                        let holds = said == sum && type_size == 0x0104 || said == 0 && type_size == 0;
                        sum = !0;
                        holds
                    } else {
                        self.commit_holds(at)?
                    };
                    if !holds {
                        if time < last_time {
                            break;
                        }
                        end.get_or_insert(next);
                        if self.incompat & feature::ASYNC_COMMIT == 0 {
                            walk.broken = Some(format!("the commit block of transaction {next} has a wrong checksum"));
                            break;
                        }
                    } else if end.is_none() {
                        last_time = time;
                        walk.newest = Some(Committed { sequence: next, at: i64::try_from(time).ok() });
                    }
                    next = next.wrapping_add(1);
                }
            }
            at = self.after(at, 1);
        }
        if end.is_some() && walk.broken.is_none() && end != Some(next.wrapping_sub(1)) {
            walk.broken = Some("a transaction in the middle of the log has a wrong checksum".to_owned());
        }
        walk.end = end.unwrap_or(next);
        Ok(walk)
    }

    /// True where the fast commit area holds changes made after transaction `end - 1` (`ext4_fc_replay_scan` in
    /// `fs/ext4/fast_commit.c`): a head tag with that number.
    ///
    /// # Errors
    /// As [`Log::block`].
    pub(super) fn has_fast_commits(&mut self, end: u32) -> Result<bool, FsError> {
        if self.incompat & feature::FAST_COMMIT == 0 {
            return Ok(false);
        }
        // The area begins one block after the log in the kernel's reckoning; the block between is looked at too.
        for at in [self.last, self.last + 1] {
            if at < self.most {
                let b = self.block(at)?;
                // EXT4_FC_TAG_HEAD, then its length, fc_features, fc_tid.
                if le16(b, 0) == 9 && le32(b, 8) == end {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::not_before;

    #[test]
    fn transaction_numbers_wrap() {
        assert!(not_before(5, 5) && not_before(6, 5) && !not_before(4, 5));
        assert!(not_before(2, u32::MAX) && !not_before(u32::MAX, 2));
    }
}
