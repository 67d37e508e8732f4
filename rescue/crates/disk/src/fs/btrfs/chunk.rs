//! From addresses of the file system to places in its volume (kernel `struct btrfs_chunk`; `fs/btrfs/volumes.c`, `btrfs_map_block`).
//!
//! A chunk lies on its devices once, or in copies (DUP, RAID 1 and its like), or in stripes of 64 KiB in turn (RAID 0), or in stripes
//! of which each is kept twice (RAID 10).

use super::devices::{Devices, MOST as MOST_STRIPES};
use super::raw::{Key, id, kind};
use crate::fs::FsError;
use crate::numbers::{le16, le64};
use model::units::{ByteOffset, Extent};
use std::collections::BTreeMap;

/// Most chunks: an honest one is 256 MiB or longer, but for small devices.
const MOST: usize = 1 << 20;
/// Profiles (`BTRFS_BLOCK_GROUP_*`): RAID 5 and 6, which are not read, and RAID 0 and 10.
const PARITY: u64 = 0x80 | 0x100;
const RAID0: u64 = 0x8;
const RAID10: u64 = 0x40;
/// `BTRFS_STRIPE_LEN`.
const STRIPE_LEN: u64 = 64 << 10;
/// Bytes of a chunk before its stripes, and of a stripe.
const HEAD: usize = 48;
const STRIPE: usize = 32;

/// A run of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    len: u64,
    /// What has its stripes in turn; one where it lies in no stripes. Of each, where every copy begins in the volume.
    turns: Vec<Vec<u64>>,
}

impl Chunk {
    /// Bytes that one of those in turn has of the first `end` bytes.
    fn before(&self, turn: u64, end: u64) -> u64 {
        let count = self.turns.len() as u64;
        if count == 1 {
            return end;
        }
        let (rounds, rest) = (end / (STRIPE_LEN * count), end % (STRIPE_LEN * count));
        rounds * STRIPE_LEN + rest.saturating_sub(turn * STRIPE_LEN).min(STRIPE_LEN)
    }

    /// Which of those in turn has a byte, how far into it that is, and how many bytes follow there.
    fn turn(&self, within: u64) -> (usize, u64, u64) {
        let count = self.turns.len() as u64;
        if count == 1 {
            return (0, within, self.len - within);
        }
        let (stripe, inside) = (within / STRIPE_LEN, within % STRIPE_LEN);
        let turn = usize::try_from(stripe % count).unwrap_or(0);
        (turn, stripe / count * STRIPE_LEN + inside, (STRIPE_LEN - inside).min(self.len - within))
    }
}

/// All chunks, by the address they begin with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chunks(BTreeMap<u64, Chunk>);

impl Chunks {
    /// The chunks that the superblock holds.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where they do not hold together.
    pub(super) fn system(devices: &Devices) -> Result<Self, FsError> {
        let mut chunks = Self::default();
        let sb = devices.newest();
        let mut rest = sb.system_chunks();
        while !rest.is_empty() {
            let key = Key::parse(rest, 0);
            let item = rest.get(Key::LEN..).unwrap_or_default();
            let len = HEAD + usize::from(le16(item, 44)) * STRIPE;
            if key.kind != kind::CHUNK_ITEM || item.len() < len {
                return Err(FsError::Corrupt("the chunks in its superblock do not hold together".to_owned()));
            }
            chunks.add(devices, key, &item[..len])?;
            rest = &item[len..];
        }
        Ok(chunks)
    }

    /// Adds a chunk. One that is known is to be the same.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together; [`FsError::Incompatible`] where its profile is not read.
    pub(super) fn add(&mut self, devices: &Devices, key: Key, item: &[u8]) -> Result<(), FsError> {
        let bad = |why: &str| FsError::Corrupt(format!("the chunk at {}: {why}", key.offset));
        let (len, profile, stripes) = (le64(item, 0), le64(item, 24), usize::from(le16(item, 44)));
        if key.id != id::FIRST_CHUNK_TREE || item.len() != HEAD + stripes * STRIPE {
            return Err(bad("it is none"));
        }
        if profile & PARITY != 0 {
            let why = format!("the chunk at {} has a profile that is not read ({profile:#x})", key.offset);
            return Err(FsError::Incompatible(why));
        }
        let sector = u64::from(devices.newest().sector);
        let aligned = len > 0 && len.is_multiple_of(sector) && key.offset.is_multiple_of(sector);
        if !aligned || !(1..=MOST_STRIPES).contains(&stripes) || key.offset.checked_add(len).is_none() {
            return Err(bad(&format!("{len} bytes in {stripes} stripes")));
        }
        // How often each stripe is kept. A chunk that has one stripe has no turns, whatever it is called.
        let copies = match profile & (RAID0 | RAID10) {
            RAID0 => 1,
            RAID10 if stripes > 1 => usize::from(le16(item, 46)),
            _ => stripes,
        };
        let turns = stripes.checked_div(copies).filter(|turns| turns * copies == stripes);
        let turns = turns.ok_or_else(|| bad(&format!("{stripes} stripes, each {copies} times")))?;
        let each = len / turns as u64;
        if turns > 1 && (le64(item, 16) != STRIPE_LEN || each * turns as u64 != len || !each.is_multiple_of(STRIPE_LEN))
        {
            return Err(bad(&format!("{len} bytes in {turns} turns of {}", le64(item, 16))));
        }
        let mut places = Vec::new();
        for stripe in item[HEAD..].chunks_exact(STRIPE) {
            let (device, at) = (le64(stripe, 0), le64(stripe, 8));
            let place = devices.place(device, at, each).filter(|_| at.is_multiple_of(sector));
            let place = place.ok_or_else(|| bad(&format!("a stripe at {at} of device {device}")))?;
            places.push((devices.is_behind(device), place));
        }
        // Of copies, those are read first that are certain to be of the last transaction.
        let turns = places.chunks(copies).map(|of| {
            let mut of = of.to_vec();
            of.sort_by_key(|(behind, _)| *behind);
            of.into_iter().map(|(_, place)| place).collect()
        });
        let chunk = Chunk { len, turns: turns.collect() };
        if self.0.get(&key.offset) == Some(&chunk) {
            return Ok(());
        }
        let end = key.offset + len;
        let overlaps = self.0.range(..end).next_back().is_some_and(|(start, other)| start + other.len > key.offset);
        if overlaps || self.0.len() >= MOST {
            return Err(bad("it lies over another one"));
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
        let (turn, into, room) = chunk.turn(address - start);
        let copies = chunk.turns.get(turn).into_iter().flatten();
        Ok((copies.map(|at| ByteOffset(at + into)).collect(), room))
    }

    /// Every place of a range of addresses that lies in one chunk.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not.
    pub(super) fn extents(&self, address: u64, len: u64) -> Result<Vec<Extent>, FsError> {
        let found = self.of(address).map(|(start, chunk)| (address - start, chunk));
        let Some((from, chunk)) = found else {
            return Err(FsError::Corrupt(format!("address {address} lies in no chunk")));
        };
        if len > chunk.len - from {
            return Err(FsError::Corrupt(format!("{len} bytes from address {address} on end outside of their chunk")));
        }
        let mut out = Vec::new();
        for (turn, copies) in (0..).zip(&chunk.turns) {
            let (first, end) = (chunk.before(turn, from), chunk.before(turn, from + len));
            let places = copies.iter().filter_map(|at| Extent::between(at + first, at + end));
            out.extend(places.filter(|place| !place.is_empty()));
        }
        Ok(out)
    }

    /// The length of the chunk that begins with an address.
    pub(super) fn len_of(&self, address: u64) -> Option<u64> {
        self.0.get(&address).map(|chunk| chunk.len)
    }

    /// The chunks that are the same there: the address and the length of each.
    pub(super) fn shared<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u64, u64)> + 'a {
        self.0.iter().filter(|(at, chunk)| other.0.get(at) == Some(chunk)).map(|(at, chunk)| (*at, chunk.len))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
