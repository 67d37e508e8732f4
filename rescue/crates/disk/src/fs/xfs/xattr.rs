//! Extended attributes (kernel `fs/xfs/libxfs/xfs_da_format.h`, `xfs_attr_leaf.c`, `xfs_attr_remote.c`): in the inode, in blocks of a
//! fork of their own, long values in blocks of that fork.

use super::inode::{Fork, Inode};
use super::map::look_up;
use super::raw::from;
use super::reader::{Mark, Reader};
use crate::fs::FsError;
use crate::numbers::{be16, be32, byte};
use model::text::RawName;
use model::units::{ByteOffset, Extent};

/// Bits of an attribute's flags: its value is with it; of `trusted`, of `security`; it names a directory that the file is in, for the kernel
/// alone (`XFS_ATTR_PARENT`); it is not made to its end.
mod flag {
    pub(super) const LOCAL: u8 = 0x1;
    pub(super) const ROOT: u8 = 0x2;
    pub(super) const SECURE: u8 = 0x4;
    pub(super) const PARENT: u8 = 0x8;
    pub(super) const INCOMPLETE: u8 = 0x80;
}

/// `XFS_ATTR_LEAF_MAGIC`, `XFS_DA_NODE_MAGIC`, in version 4 and in version 5.
const LEAF: [u16; 2] = [0xfbee, 0x3bee];
const NODE: [u16; 2] = [0xfebe, 0x3ebe];
/// `XFS_ATTR3_RMT_MAGIC`, and how long the header of a block of a value is.
const REMOTE: u32 = 0x5841_524d;
const REMOTE_HEADER: usize = 56;
const BLOCK: Mark = Mark { what: "block of attributes", checksum: 12, uuid: 32, sector: Some(16) };
const VALUE: Mark = Mark { what: "value of an attribute", checksum: 12, uuid: 16, sector: Some(40) };
/// `XFS_DA_NODE_MAXDEPTH`.
const MOST_DEPTH: u16 = 5;
/// Leaves of one file that are read, and most bytes of all its values.
const MOST_LEAVES: u32 = 4096;
const MOST_VALUES: usize = 1 << 20;
/// The longest value there is (`XATTR_SIZE_MAX`).
const MOST_VALUE: u32 = 64 << 10;

struct Gather<'a> {
    reader: &'a Reader,
    inode: &'a Inode,
    left: usize,
    out: Vec<(RawName, RawName)>,
}

/// All extended attributes of an inode, as `getxattr` gives them.
///
/// # Errors
/// [`FsError::Corrupt`] where they do not hold together; [`FsError::Io`] where they cannot be read.
pub(super) fn all(reader: &Reader, inode: &Inode) -> Result<Vec<(RawName, RawName)>, FsError> {
    let mut gather = Gather { reader, inode, left: MOST_VALUES, out: Vec::new() };
    match inode.attributes() {
        Fork::None | Fork::Extents(_, 0) => {}
        Fork::Local(bytes) => gather.short(bytes)?,
        fork @ (Fork::Extents(..) | Fork::Tree(_)) => gather.leaves(fork)?,
    }
    Ok(gather.out)
}

/// Blocks of the volume in which an inode has attributes, as far as its map tells; never more than `most` runs.
///
/// # Errors
/// As [`look_up`].
pub(super) fn runs(reader: &Reader, inode: &Inode, most: u64, each: &mut dyn FnMut(Extent)) -> Result<u64, FsError> {
    let fork = inode.attributes();
    let size = u64::from(reader.sb.block_size);
    let (mut block, mut spent) = (0, 0);
    // Attribute blocks have numbers of 32 bits (`xfs_dablk_t`).
    while block < 1 << 32 && !matches!(fork, Fork::None | Fork::Local(_)) {
        spent += 1;
        if spent > most {
            return Err(FsError::Corrupt(format!("the attributes of inode {} have no end", inode.number)));
        }
        let run = look_up(reader, fork, block)?;
        if let Some(at) = run.at {
            let start = reader.place(at, run.len)?.0;
            Extent::between(start, start + run.len * size).into_iter().for_each(&mut *each);
        }
        block = block.saturating_add(run.len);
    }
    Ok(spent)
}

impl Gather<'_> {
    fn bad(&self, why: &str) -> FsError {
        FsError::Corrupt(format!("the attributes of inode {}: {why}", self.inode.number))
    }

    fn add(&mut self, flags: u8, name: &[u8], value: &[u8]) -> Result<(), FsError> {
        self.left = self.left.checked_sub(value.len()).ok_or_else(|| self.bad("there are more than are read"))?;
        if flags & (flag::INCOMPLETE | flag::PARENT) != 0 {
            return Ok(());
        }
        let list: Option<&[u8]> = match (flags & flag::ROOT != 0, name) {
            (true, b"SGI_ACL_FILE") => Some(b"system.posix_acl_access"),
            (true, b"SGI_ACL_DEFAULT") => Some(b"system.posix_acl_default"),
            _ => None,
        };
        if let Some(name) = list {
            let value = acl(value).ok_or_else(|| self.bad("an access control list is none"))?;
            self.out.push((RawName(name.to_vec()), RawName(value)));
            return Ok(());
        }
        let prefix: &[u8] = match (flags & flag::ROOT != 0, flags & flag::SECURE != 0) {
            (true, _) => b"trusted.",
            (false, true) => b"security.",
            (false, false) => b"user.",
        };
        self.out.push((RawName([prefix, name].concat()), RawName(value.to_vec())));
        Ok(())
    }

    /// In the inode (`struct xfs_attr_sf_hdr`).
    fn short(&mut self, b: &[u8]) -> Result<(), FsError> {
        let mut at = 4;
        for _ in 0..byte(b, 2) {
            let (name_len, value_len) = (usize::from(byte(b, at)), usize::from(byte(b, at + 1)));
            let (name, end) = (at + 3, at + 3 + name_len + value_len);
            let (Some(name), Some(value)) = (b.get(name..name + name_len), b.get(name + name_len..end)) else {
                return Err(self.bad("one is cut off"));
            };
            self.add(byte(b, at + 2), name, value)?;
            at = end;
        }
        Ok(())
    }

    /// A block of the attribute fork.
    fn block(&self, fork: Fork<'_>, no: u32) -> Result<(ByteOffset, Vec<u8>), FsError> {
        let run = look_up(self.reader, fork, u64::from(no))?;
        let at = run.at.ok_or_else(|| self.bad(&format!("there is no block {no}")))?;
        let (place, bytes) = self.reader.block(at)?;
        Ok((place, bytes.to_vec()))
    }

    /// The leaves, each of which names the next one.
    fn leaves(&mut self, fork: Fork<'_>) -> Result<(), FsError> {
        let v5 = usize::from(self.reader.sb.v5);
        let (mut no, mut depth) = (0, 0);
        let mut leaf = loop {
            let (place, bytes) = self.block(fork, no)?;
            self.reader.verify(place, &bytes, BLOCK)?;
            if be16(&bytes, 8) == LEAF[v5] {
                break bytes;
            }
            depth += 1;
            if be16(&bytes, 8) != NODE[v5] || depth > MOST_DEPTH {
                return Err(self.bad(&format!("block {no} has magic {:#06x}", be16(&bytes, 8))));
            }
            // The first entry: a hash, and the block below.
            no = be32(&bytes, if v5 == 1 { 68 } else { 20 });
        };
        for _ in 0..MOST_LEAVES {
            self.leaf(fork, &leaf)?;
            let next = be32(&leaf, 0);
            if next == 0 {
                return Ok(());
            }
            let (place, bytes) = self.block(fork, next)?;
            self.reader.verify(place, &bytes, BLOCK)?;
            if be16(&bytes, 8) != LEAF[v5] {
                return Err(self.bad(&format!("block {next} is no leaf")));
            }
            leaf = bytes;
        }
        Err(self.bad("they have no end"))
    }

    fn leaf(&mut self, fork: Fork<'_>, b: &[u8]) -> Result<(), FsError> {
        let (count_at, entries_at) = if self.reader.sb.v5 { (56, 80) } else { (12, 32) };
        for i in 0..usize::from(be16(b, count_at)) {
            let entry = entries_at + i * 8;
            let (place, flags) = (usize::from(be16(b, entry + 4)), byte(b, entry + 6));
            let cut = || self.bad("one is cut off");
            if flags & flag::LOCAL != 0 {
                let (value_len, name_len) = (usize::from(be16(b, place)), usize::from(byte(b, place + 2)));
                let name = b.get(place + 3..place + 3 + name_len).ok_or_else(cut)?;
                let value = b.get(place + 3 + name_len..place + 3 + name_len + value_len).ok_or_else(cut)?;
                self.add(flags, name, value)?;
            } else {
                let (block, len, name_len) = (be32(b, place), be32(b, place + 4), usize::from(byte(b, place + 8)));
                let name = b.get(place + 9..place + 9 + name_len).ok_or_else(cut)?;
                // One that is not made to its end may have no blocks yet.
                let value = match flags & flag::INCOMPLETE {
                    0 => self.long(fork, block, len)?,
                    _ => Vec::new(),
                };
                self.add(flags, name, &value)?;
            }
        }
        Ok(())
    }

    /// A value in blocks of its own.
    fn long(&self, fork: Fork<'_>, mut no: u32, len: u32) -> Result<Vec<u8>, FsError> {
        if len > MOST_VALUE {
            return Err(self.bad(&format!("a value has {len} bytes")));
        }
        let len = usize::try_from(len).unwrap_or(0);
        let mut out = Vec::new();
        while out.len() < len {
            let (place, bytes) = self.block(fork, no)?;
            let content = if self.reader.sb.v5 {
                self.reader.verify(place, &bytes, VALUE)?;
                let said = (be32(&bytes, 0), usize::try_from(be32(&bytes, 4)).unwrap_or(usize::MAX));
                if said != (REMOTE, out.len()) {
                    return Err(self.bad("a part of a value is none"));
                }
                let end = usize::try_from(be32(&bytes, 8)).ok().and_then(|len| len.checked_add(REMOTE_HEADER));
                end.and_then(|end| bytes.get(REMOTE_HEADER..end)).filter(|c| !c.is_empty())
            } else {
                Some(&bytes[..])
            };
            let content = content.ok_or_else(|| self.bad("a part of a value is empty"))?;
            out.extend_from_slice(&content[..content.len().min(len - out.len())]);
            no = no.checked_add(1).ok_or_else(|| self.bad("a value has no end"))?;
        }
        Ok(out)
    }
}

/// An access control list as programs see it (`posix_acl_xattr_header`, version 2), of what lies on the disk (`struct xfs_acl`: a
/// count, then tag, id and permissions of each entry, big-endian).
fn acl(disk: &[u8]) -> Option<Vec<u8>> {
    let count = usize::try_from(be32(disk, 0)).ok()?;
    let mut entries = from(disk, 4).chunks_exact(12);
    if count > entries.len() {
        return None;
    }
    let mut out = 2u32.to_le_bytes().to_vec();
    for entry in entries.by_ref().take(count) {
        let tag = u16::try_from(be32(entry, 0)).ok()?;
        out.extend(tag.to_le_bytes());
        out.extend(be16(entry, 8).to_le_bytes());
        // ACL_USER and ACL_GROUP: only those are of somebody.
        let id = if matches!(tag, 0x02 | 0x08) { be32(entry, 4) } else { u32::MAX };
        out.extend(id.to_le_bytes());
    }
    Some(out)
}
