//! One partition that is made larger, and those behind it that move on: in numbers of sectors, whatever the kind of table.

use model::restore::GrowPartition;

/// Partitions begin on whole MiB, and what is moved keeps to that.
const MIB: u64 = 1 << 20;

/// Where a partition lies: its first sector, and the one behind its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) first: u64,
    pub(super) end: u64,
}

/// Where the last of them ends.
pub(super) fn end_of(places: &[Place]) -> u64 {
    places.iter().map(|p| p.end).max().unwrap_or(0)
}

/// Bytes that are free between the last partition and the end of what can be used of the disk, in whole MiB; sectors have `unit` bytes.
pub(super) fn room(end: u64, usable: u64, unit: u64) -> u64 {
    usable.saturating_sub(end).saturating_mul(unit) / MIB * MIB
}

/// Makes a partition larger and moves those behind it.
///
/// # Errors
/// A sentence where there is no such partition, where others do not lie wholly before or behind it, or where there is no `room` for that.
pub(super) fn grow(places: &mut [Place], wanted: &GrowPartition, (room, unit): (u64, u64)) -> Result<(), String> {
    let number = wanted.number;
    let found = places.iter().find(|p| p.number == number).cloned();
    let found = found.ok_or_else(|| format!("it has no partition {number} that could be made larger"))?;
    if wanted.by.0 > room || !wanted.by.0.is_multiple_of(unit) {
        return Err(format!("partition {number} cannot be made larger by {} bytes: {room} are free", wanted.by.0));
    }
    if let Some(other) = places.iter().find(|p| p.number != number && p.first < found.end && p.end > found.first) {
        return Err(format!("partitions {number} and {} lie on the same sectors", other.number));
    }
    let by = wanted.by.0 / unit;
    for place in places.iter_mut() {
        if place.first >= found.end {
            place.first += by;
            place.end += by;
        } else if place.number == number {
            place.end += by;
        }
    }
    Ok(())
}
