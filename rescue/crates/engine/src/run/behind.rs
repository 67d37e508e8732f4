//! What names a btrfs lies behind the fence: the superblock of each of its devices, 64 KiB into it, by which alone Linux finds it. All are hidden
//! when a fence is raised, and put there last before that is lowered, so that a file system that is half written is none.

use super::leases::medium;
use super::{Context, Stop, payload};
use disk::fs::btrfs::{self, first_superblock, is_superblock};
use model::plan::VolumeRollback;
use model::ports::WriteLease;
use model::units::{ByteLen, ByteOffset, Extent};

/// A superblock, and where it belongs.
pub(crate) type Superblock = (Extent, Vec<u8>);

/// Where the superblocks of a volume stand, were it a btrfs: one for each device that it holds.
fn places(volume: &VolumeRollback) -> Vec<Extent> {
    let mut devices = volume.through.as_ref().map_or_else(Vec::new, |t| t.mapping.btrfs_devices());
    if devices.is_empty() {
        devices.push(Extent::whole(volume.extent.len()));
    }
    let place = |device: &Extent| {
        let at = device.start().checked_add(ByteLen(first_superblock().start().0))?;
        Extent::new(at, first_superblock().len()).filter(|place| device.contains(*place))
    };
    devices.iter().filter_map(place).collect()
}

/// The superblocks that a volume is to have, where it is to hold a btrfs.
pub(crate) fn wanted(cx: &Context<'_>, volume: &VolumeRollback) -> Result<Vec<Superblock>, Stop> {
    let mut all = Vec::new();
    for place in places(volume) {
        let mut bytes = vec![0; len()];
        for slice in cx.store.map(volume.map).slices(place) {
            let slice = slice?;
            let part = cx.store.read(&slice)?;
            let at = ByteLen(slice.extent.start().0.saturating_sub(place.start().0)).to_usize().unwrap_or(usize::MAX);
            // Slices are clipped to the extent asked for.
            if let Some(place) = at.checked_add(part.len()).and_then(|end| bytes.get_mut(at..end)) {
                place.copy_from_slice(&part);
            }
        }
        if is_superblock(&bytes) {
            all.push((place, bytes));
        }
    }
    Ok(all)
}

/// Hides the superblocks of a btrfs that stands on a volume. On return that survives a power cut. Returns how much was written.
pub(crate) fn hide(lease: &mut dyn WriteLease, volume: &VolumeRollback) -> Result<u64, Stop> {
    let mut hidden = Vec::new();
    for place in places(volume) {
        let mut now = vec![0; len()];
        // What cannot be read names nothing. Of copies that are not the same the first is hidden in all places.
        if lease.read_first(place.start(), &mut now).is_ok()
            && let Some(bytes) = btrfs::hide(&now)
        {
            hidden.push((place.start(), bytes));
        }
    }
    if hidden.is_empty() {
        return Ok(0);
    }
    // The fence is durable already, and is what tells of this.
    lease.sync().map_err(|e| medium(&e))?;
    let done = payload::put_bytes((lease, &volume.path), hidden.into_iter())?;
    Ok(done.written)
}

/// Puts superblocks there, each with its first sector last: until then it is hidden, and known by that. On return they are durable, and were
/// read back.
pub(crate) fn put(lease: &mut dyn WriteLease, volume: &VolumeRollback, all: &[Superblock]) -> Result<u64, Stop> {
    if all.is_empty() {
        return Ok(0);
    }
    // All that they lead to comes before them.
    lease.sync().map_err(|e| medium(&e))?;
    let sector = usize::try_from(volume.hardware.sector.0).unwrap_or(512).clamp(512, len());
    let mut written = 0;
    for last in [false, true] {
        let part = if last { 0..sector } else { sector..len() };
        let piece = |(place, bytes): &Superblock| -> Option<(ByteOffset, Vec<u8>)> {
            let bytes = bytes.get(part.clone()).filter(|b| !b.is_empty())?.to_vec();
            Some((place.start().checked_add(ByteLen(part.start as u64))?, bytes))
        };
        written += payload::put_bytes((lease, &volume.path), all.iter().filter_map(piece))?.written;
    }
    Ok(written)
}

fn len() -> usize {
    first_superblock().len().to_usize().unwrap_or(0)
}
