//! Extended attributes (kernel `fs/ext4/xattr.h` and `fs/ext4/xattr.c`; access control lists: `fs/ext4/acl.h`): behind the
//! fields of an inode, in a block of their own, long values in inodes of their own.

use super::file::File;
use super::inode::Inode;
use super::raw::without;
use super::reader::Reader;
use super::superblock::ro_compat;
use crate::fs::FsError;
use crate::numbers::{crc32c, le16, le32};
use model::ports::ReadAt;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset};
use std::sync::Arc;

/// `EXT4_XATTR_MAGIC`.
const MAGIC: u32 = 0xea02_0000;
/// Bytes of the header of a block, and of an entry without its name.
const HEADER: usize = 32;
const ENTRY: usize = 16;
/// The longest value there is (`XATTR_SIZE_MAX`).
const MOST_VALUE: u64 = 64 << 10;
/// Most bytes of all values of a file.
const MOST_VALUES: usize = 1 << 20;

/// An attribute as it is kept.
pub(super) struct Attribute<'a> {
    /// What its name begins with, as a number.
    pub(super) index: u8,
    pub(super) name: &'a [u8],
    /// Where its value lies, if not here: the number of an inode.
    inode: u32,
    len: u32,
    pub(super) value: &'a [u8],
}

/// The attributes of an area: entries up to four zero bytes; places of values count from the start of `values`.
///
/// # Errors
/// A sentence where they do not hold together.
pub(super) fn attributes<'a>(entries: &'a [u8], values: &'a [u8]) -> Result<Vec<Attribute<'a>>, &'static str> {
    let mut found = Vec::new();
    let mut at = 0;
    // Each takes at least 16 bytes.
    while at + 4 <= entries.len() && le32(entries, at) != 0 {
        let entry = entries.get(at..at + ENTRY).ok_or("an attribute is cut off")?;
        let name_len = usize::from(entry[0]);
        let name = entries.get(at + ENTRY..at + ENTRY + name_len).ok_or("the name of an attribute is cut off")?;
        let (inode, len) = (le32(entry, 4), le32(entry, 8));
        let value = if inode == 0 && len > 0 {
            let from = usize::from(le16(entry, 2));
            let end = usize::try_from(len).ok().and_then(|len| from.checked_add(len));
            end.and_then(|end| values.get(from..end)).ok_or("the value of an attribute lies nowhere")?
        } else {
            &[]
        };
        found.push(Attribute { index: entry[1], name, inode, len, value });
        at += (ENTRY + name_len).next_multiple_of(4);
    }
    Ok(found)
}

/// The attributes behind the fields of an inode; none where there are none.
///
/// # Errors
/// As [`attributes`].
pub(super) fn within(area: &[u8]) -> Result<Vec<Attribute<'_>>, &'static str> {
    match area.get(4..) {
        Some(entries) if le32(area, 0) == MAGIC => attributes(entries, entries),
        _ => Ok(Vec::new()),
    }
}

/// All extended attributes of an inode, as `getxattr` gives them.
///
/// # Errors
/// [`FsError::Corrupt`] where they do not hold together; [`FsError::Io`] where they cannot be read.
pub(super) fn all(reader: &Arc<Reader>, inode: &Inode) -> Result<Vec<(RawName, RawName)>, FsError> {
    let bad = |why: &str| FsError::Corrupt(format!("inode {}: {why}", inode.number));
    let block = inode.attribute_block().map(|at| block(reader, at)).transpose()?;
    let mut found = within(inode.behind_fields()).map_err(bad)?;
    if let Some(block) = &block {
        found.extend(attributes(block.get(HEADER..).unwrap_or_default(), block).map_err(bad)?);
    }
    let mut out = Vec::new();
    let mut left = MOST_VALUES;
    for attribute in found {
        let Some(name) = name(&attribute) else { continue };
        let value = match attribute.inode {
            0 => attribute.value.to_vec(),
            number => long(reader, number, attribute.len)?,
        };
        let value = if matches!(attribute.index, 2 | 3) {
            acl(&value).ok_or_else(|| bad("an access control list is none"))?
        } else {
            value
        };
        left = left.checked_sub(value.len()).ok_or_else(|| bad("it has more attributes than are read"))?;
        out.push((RawName(name), RawName(value)));
    }
    Ok(out)
}

/// A block of attributes (`struct ext4_xattr_header`).
fn block(reader: &Reader, at: u64) -> Result<Arc<[u8]>, FsError> {
    let bytes = reader.block(at)?;
    let sum = crc32c(crc32c(reader.sb.seed, &at.to_le_bytes()), &without(&bytes, 0x10..0x14));
    let holds = !reader.sb.has_ro_compat(ro_compat::METADATA_CSUM) || sum == le32(&bytes, 0x10);
    if le32(&bytes, 0) != MAGIC || le32(&bytes, 8) != 1 || !holds {
        return Err(FsError::Corrupt(format!("block {at} holds no attributes, or damaged ones")));
    }
    Ok(bytes)
}

/// A value that has an inode of its own (feature `ea_inode`).
fn long(reader: &Arc<Reader>, number: u32, len: u32) -> Result<Vec<u8>, FsError> {
    let inode = reader.inode(number)?;
    if !inode.is_attribute() || inode.size != u64::from(len) || inode.size > MOST_VALUE {
        return Err(FsError::Corrupt(format!("inode {number} is not the value of an attribute of {len} bytes")));
    }
    let len = ByteLen(inode.size).to_usize().unwrap_or(0);
    Ok(File::open(reader.clone(), inode)?.read_vec(ByteOffset(0), len)?)
}

/// The whole name (`ext4_xattr_handler_map`); `None` for what is no attribute to anybody: inline data, encryption contexts.
fn name(attribute: &Attribute<'_>) -> Option<Vec<u8>> {
    let prefix: &[u8] = match attribute.index {
        1 => b"user.",
        2 => return Some(b"system.posix_acl_access".to_vec()),
        3 => return Some(b"system.posix_acl_default".to_vec()),
        4 => b"trusted.",
        6 => b"security.",
        _ => return None,
    };
    Some([prefix, attribute.name].concat())
}

/// An access control list as programs see it (`posix_acl_xattr_header`, version 2), of the shorter form on the disk (version 1:
/// only entries for a certain user or group have a number).
fn acl(disk: &[u8]) -> Option<Vec<u8>> {
    if le32(disk, 0) != 1 {
        return None;
    }
    let mut out = 2u32.to_le_bytes().to_vec();
    let mut rest = disk.get(4..)?;
    while !rest.is_empty() {
        let tag = le16(rest, 0);
        // ACL_USER and ACL_GROUP.
        let len = if matches!(tag, 0x02 | 0x08) { 8 } else { 4 };
        let (entry, behind) = rest.split_at_checked(len)?;
        out.extend_from_slice(&entry[..4]);
        out.extend_from_slice(if len == 8 { &entry[4..] } else { &[0xff; 4] });
        rest = behind;
    }
    Some(out)
}
