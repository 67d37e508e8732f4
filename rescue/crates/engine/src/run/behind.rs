//! What names a btrfs lies behind the fence: its superblock, 64 KiB into the volume, by which alone Linux finds it. It is taken away when a
//! fence is raised, and put there last before that is lowered, so that a file system that is half written is none.

use super::leases::medium;
use super::{Context, Stop, payload};
use disk::fs::btrfs::{first_superblock, is_superblock};
use model::id::VolumePath;
use model::plan::VolumeRollback;
use model::ports::WriteLease;
use model::units::ByteLen;

/// The superblock that a volume is to have, where it is to hold a btrfs.
pub(crate) fn wanted(cx: &Context<'_>, volume: &VolumeRollback) -> Result<Option<Vec<u8>>, Stop> {
    if first_superblock().end().0 > volume.extent.len().0 {
        return Ok(None);
    }
    let mut bytes = vec![0; len()];
    for slice in cx.store.map(volume.map).slices(first_superblock()) {
        let slice = slice?;
        let part = cx.store.read(&slice)?;
        let at = ByteLen(slice.extent.start().0.saturating_sub(first_superblock().start().0))
            .to_usize()
            .unwrap_or(usize::MAX);
        // Slices are clipped to the extent asked for.
        if let Some(place) = at.checked_add(part.len()).and_then(|end| bytes.get_mut(at..end)) {
            place.copy_from_slice(&part);
        }
    }
    Ok(is_superblock(&bytes).then_some(bytes))
}

/// Takes away the superblock of a btrfs that stands on a volume, or straight on a disk. On return that survives a power cut. Returns how much was written.
pub(crate) fn hide(lease: &mut dyn WriteLease, path: &VolumePath) -> Result<u64, Stop> {
    let mut now = vec![0; len()];
    if first_superblock().end().0 > lease.size().0 {
        return Ok(0);
    }
    // What cannot be read names nothing.
    if lease.read_back(first_superblock().start(), &mut now).is_err() || !is_superblock(&now) {
        return Ok(0);
    }
    put(lease, path, vec![0; len()])
}

/// Puts a superblock there. On return it is durable, and was read back.
pub(crate) fn put(lease: &mut dyn WriteLease, path: &VolumePath, bytes: Vec<u8>) -> Result<u64, Stop> {
    // All that it leads to comes before it.
    lease.sync().map_err(|e| medium(&e))?;
    let done = payload::put_bytes((lease, path), std::iter::once((first_superblock().start(), bytes)))?;
    Ok(done.written)
}

fn len() -> usize {
    first_superblock().len().to_usize().unwrap_or(0)
}
