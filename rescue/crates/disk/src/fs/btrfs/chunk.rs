//! From addresses of the file system to places on its device (kernel `struct btrfs_chunk`; `fs/btrfs/volumes.c`).
//!
//! One device: a chunk lies there once, or twice (DUP). Profiles that spread over devices are known with one stripe, as the kernel
//! makes them on a file system that lost its other devices in order.

use super::raw::{Key, id, kind};
use super::superblock::Superblock;
use crate::fs::FsError;
use crate::numbers::{le16, le64};
use model::units::{ByteOffset, Extent};
use std::collections::BTreeMap;

/// Most chunks: an honest one is 256 MiB or longer, but for small devices.
const MOST: usize = 1 << 20;
/// Most stripes of one: DUP has two, RAID1C4 four.
const MOST_STRIPES: usize = 4;
/// RAID 5 and 6, and RAID 0 and 10: with more than one stripe these do not lie one behind the other.
const PARITY: u64 = 0x80 | 0x100;
const STRIPED: u64 = 0x8 | 0x40;
/// Bytes of a chunk before its stripes, and of a stripe.
const HEAD: usize = 48;
const STRIPE: usize = 32;

/// A run of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    len: u64,
    /// Where each copy begins on the device.
    copies: Vec<u64>,
}

/// All chunks, by the address they begin with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chunks(BTreeMap<u64, Chunk>);

impl Chunks {
    /// The chunks that the superblock holds.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where they do not hold together.
    pub(super) fn system(sb: &Superblock) -> Result<Self, FsError> {
        let mut chunks = Self::default();
        let mut rest = sb.system_chunks();
        while !rest.is_empty() {
            let key = Key::parse(rest, 0);
            let item = rest.get(Key::LEN..).unwrap_or_default();
            let len = HEAD + usize::from(le16(item, 44)) * STRIPE;
            if key.kind != kind::CHUNK_ITEM || item.len() < len {
                return Err(FsError::Corrupt("the chunks in its superblock do not hold together".to_owned()));
            }
            chunks.add(sb, key, &item[..len])?;
            rest = &item[len..];
        }
        Ok(chunks)
    }

    /// Adds a chunk. One that is known is to be the same.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together; [`FsError::Incompatible`] where its profile is not read.
    pub(super) fn add(&mut self, sb: &Superblock, key: Key, item: &[u8]) -> Result<(), FsError> {
        let bad = |why: &str| Err(FsError::Corrupt(format!("the chunk at {}: {why}", key.offset)));
        let (len, profile, stripes) = (le64(item, 0), le64(item, 24), usize::from(le16(item, 44)));
        if key.id != id::FIRST_CHUNK_TREE || item.len() != HEAD + stripes * STRIPE {
            return bad("it is none");
        }
        if profile & PARITY != 0 || (profile & STRIPED != 0 && stripes != 1) {
            let why = format!("the chunk at {} has a profile that is not read ({profile:#x})", key.offset);
            return Err(FsError::Incompatible(why));
        }
        let sector = u64::from(sb.sector);
        let aligned = len > 0 && len.is_multiple_of(sector) && key.offset.is_multiple_of(sector);
        if !aligned || !(1..=MOST_STRIPES).contains(&stripes) || key.offset.checked_add(len).is_none() {
            return bad(&format!("{len} bytes in {stripes} stripes"));
        }
        let mut copies = Vec::new();
        for stripe in item[HEAD..].chunks_exact(STRIPE) {
            let (device, at) = (le64(stripe, 0), le64(stripe, 8));
            if device != sb.device || !at.is_multiple_of(sector) || at.checked_add(len).is_none_or(|end| end > sb.size)
            {
                return bad(&format!("a stripe at {at} of device {device}"));
            }
            copies.push(at);
        }
        let chunk = Chunk { len, copies };
        if self.0.get(&key.offset) == Some(&chunk) {
            return Ok(());
        }
        let end = key.offset + len;
        let overlaps = self.0.range(..end).next_back().is_some_and(|(start, other)| start + other.len > key.offset);
        if overlaps || self.0.len() >= MOST {
            return bad("it lies over another one");
        }
        self.0.insert(key.offset, chunk);
        Ok(())
    }

    /// The chunk that an address lies in, with the address it begins with.
    fn of(&self, address: u64) -> Option<(u64, &Chunk)> {
        let (start, chunk) = self.0.range(..=address).next_back()?;
        (address - start < chunk.len).then_some((*start, chunk))
    }

    /// Where an address lies: the place of each copy, and how many bytes follow it there.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it lies in no chunk.
    pub(super) fn places(&self, address: u64) -> Result<(Vec<ByteOffset>, u64), FsError> {
        let Some((start, chunk)) = self.of(address) else {
            return Err(FsError::Corrupt(format!("address {address} lies in no chunk")));
        };
        let within = address - start;
        Ok((chunk.copies.iter().map(|at| ByteOffset(at + within)).collect(), chunk.len - within))
    }

    /// Every place of a range of addresses that lies in one chunk.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not.
    pub(super) fn extents(&self, address: u64, len: u64) -> Result<Vec<Extent>, FsError> {
        let (places, room) = self.places(address)?;
        if len > room {
            return Err(FsError::Corrupt(format!("{len} bytes from address {address} on end outside of their chunk")));
        }
        Ok(places.into_iter().filter_map(|at| Extent::between(at.0, at.0 + len)).collect())
    }

    /// The length of the chunk that begins with an address.
    pub(super) fn len_of(&self, address: u64) -> Option<u64> {
        self.0.get(&address).map(|chunk| chunk.len)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
