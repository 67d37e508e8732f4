//! The devices of a file system. Of one that lies on several, all that its devices hold is one volume: each device as long as the file system
//! says it is, one behind the other, by their numbers (`volume::btrfs`). Every one begins with a superblock of its own, which tells
//! where the next begins.

use super::superblock::{RESERVED, Superblock};
use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};

/// Most devices of a file system: far more than anybody has.
pub(super) const MOST: usize = 64;

/// A device within the volume.
#[derive(Debug, Clone)]
pub(super) struct Device {
    /// Its first byte in the volume.
    pub(super) start: u64,
    /// Its superblock.
    pub(super) sb: Superblock,
}

/// The devices that a volume holds, in order. Never empty.
#[derive(Debug, Clone)]
pub(super) struct Devices {
    all: Vec<Device>,
    newest: usize,
    /// Why these are not the devices of the whole file system, where that is so.
    pub(super) apart: Option<String>,
}

impl Devices {
    /// Reads the superblocks of a volume; `None` where there is no btrfs.
    ///
    /// # Errors
    /// As [`Superblock::read`] of the first one.
    pub(super) fn read(bytes: &dyn ReadAt) -> Result<Option<Self>, FsError> {
        let Some(first) = Superblock::read(bytes)? else { return Ok(None) };
        let (count, number) = (first.devices(), first.device);
        let mut all = vec![Device { start: 0, sb: first }];
        if count == 1 {
            return Ok(Some(Self { all, newest: 0, apart: None }));
        }
        let apart = rest(bytes, &mut all).err();
        if apart.is_some() {
            all.truncate(1);
        }
        let apart = apart.map(|why| format!("it lies on {count} devices, of which this is number {number} ({why})"));
        let newest = (0..all.len()).max_by_key(|n| (all[*n].sb.generation, all.len() - n)).unwrap_or(0);
        Ok(Some(Self { all, newest, apart }))
    }

    /// The superblock that the file system is read by: of the last transaction, as the kernel takes it (`open_ctree`, `latest_dev`).
    pub(super) fn newest(&self) -> &Superblock {
        &self.all[self.newest].sb
    }

    /// Where a range of a device lies in the volume; `None` where there is no such device or no such range on it.
    pub(super) fn place(&self, number: u64, at: u64, len: u64) -> Option<u64> {
        let device = self.all.iter().find(|d| d.sb.device == number)?;
        let inside = at.checked_add(len).is_some_and(|end| end <= device.sb.size);
        inside.then_some(device.start).and_then(|start| start.checked_add(at))
    }

    /// True where a device missed the last transaction: what it holds may be older than what others do.
    pub(super) fn is_behind(&self, number: u64) -> bool {
        self.all.iter().any(|d| d.sb.device == number && d.sb.generation != self.newest().generation)
    }

    /// True where these are the same devices, in the same places, and none of them missed a transaction.
    pub(super) fn are(&self, others: &Self) -> bool {
        let key = |d: &Device| (d.start, d.sb.device, d.sb.size, d.sb.device_uuid());
        let current = |all: &Self| !all.all.iter().any(|d| all.is_behind(d.sb.device));
        self.all.iter().map(key).eq(others.all.iter().map(key)) && current(self) && current(others)
    }

    /// The byte behind the last device.
    pub(super) fn end(&self) -> u64 {
        self.all.last().map_or(0, |d| d.start.saturating_add(d.sb.size))
    }

    /// Where copies of superblocks stand in the volume.
    pub(super) fn copies(&self) -> impl Iterator<Item = Extent> + '_ {
        self.all.iter().flat_map(|d| d.sb.copies().filter_map(|copy| moved(copy, d.start)))
    }

    /// The start of each device, which is never given to anything.
    pub(super) fn reserved(&self) -> impl Iterator<Item = Extent> + '_ {
        self.all.iter().filter_map(|d| moved(Extent::between(0, RESERVED)?, d.start))
    }

    /// All superblocks: who writes to the file system leaves others.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.all.iter().flat_map(|d| d.sb.bytes.iter().copied()).collect()
    }
}

fn moved(extent: Extent, by: u64) -> Option<Extent> {
    Extent::new(ByteOffset(extent.start().0.checked_add(by)?), extent.len())
}

/// Reads the superblocks behind the first. An error says why the devices are not all here, or not in order.
fn rest(bytes: &dyn ReadAt, all: &mut Vec<Device>) -> Result<(), String> {
    let size = bytes.size();
    let mut start = all.last().map_or(0, |d| d.sb.size);
    while start < size.0 {
        let found = Superblock::read_at(bytes, start).map_err(|e| e.to_string())?;
        let sb = found.ok_or_else(|| "another does not follow it".to_owned())?;
        if all.iter().any(|d| d.sb.file_system() != sb.file_system()) {
            return Err("what follows it is of another file system".to_owned());
        }
        if all.len() >= MOST || all.last().is_some_and(|d| d.sb.device >= sb.device) {
            return Err(format!("device {} does not follow it", sb.device));
        }
        let len = sb.size;
        all.push(Device { start, sb });
        // Devices have at least 1 MiB: this ends.
        start = start.checked_add(len).ok_or("it has no end")?;
    }
    let wanted = all.iter().max_by_key(|d| d.sb.generation).map_or(0, |d| d.sb.devices());
    match (u64::try_from(all.len()), start == size.0) {
        (Ok(here), true) if here == wanted => Ok(()),
        (_, true) => Err(format!("{} of {wanted} are here", all.len())),
        _ => Err(format!("its devices end at {}, the volume at {}", ByteLen(start), size)),
    }
}
