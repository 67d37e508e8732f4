//! The first 4096 bytes of a volume, where the fence stands while a write-back is unfinished.
//!
//! A disk writes a sector whole or not at all, and several sectors in any order. The fence is therefore told by its first
//! sector alone: it is put first when a fence is raised and last when the volume's own bytes come back, each time with a
//! sync between. At every moment the volume is recognised as fenced, or its first sector is its own.

use super::leases::medium;
use super::{Context, Stop};
use disk::fence::{FENCE_LEN, encode};
use model::command::ExitCode;
use model::id::IntentId;
use model::inspection::FenceInfo;
use model::plan::VolumeRollback;
use model::ports::{WriteError, WriteLease};
use model::snapshot::MapRoot;
use model::text::DisplayText;
use model::units::{ByteOffset, Extent, SectorSize};

/// Length of a fence as memory.
pub(crate) const LEN: usize = 4096;
/// The bytes of a volume that a fence covers.
pub(crate) type Head = [u8; LEN];

/// What is written first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// The first sector, then the rest.
    Sector,
    /// The rest, then the first sector.
    Rest,
}

/// Puts a fence on a volume: on return it survives a power cut, and was read back. One that stands already is left.
pub(crate) fn raise(
    lease: &mut dyn WriteLease,
    volume: &VolumeRollback,
    intent: IntentId,
    store: &str,
) -> Result<u64, Stop> {
    raise_on(lease, (&volume.says, volume.hardware.sector), intent, store)
}

/// The same on anything that is leased: what stood there, and the sectors of its disk.
pub(crate) fn raise_on(
    lease: &mut dyn WriteLease,
    (was, sector): (&DisplayText, SectorSize),
    intent: IntentId,
    store: &str,
) -> Result<u64, Stop> {
    let fence = FenceInfo { intent, store: store.to_owned(), was: was.clone() };
    replace(lease, &encode(&fence), sector, First::Sector)
}

/// Puts a volume's own first bytes back: the last thing that happens to it.
pub(crate) fn lower(lease: &mut dyn WriteLease, volume: &VolumeRollback, head: &Head) -> Result<u64, Stop> {
    lower_on(lease, volume.hardware.sector, head)
}

/// The same on anything that is leased.
pub(crate) fn lower_on(lease: &mut dyn WriteLease, sector: SectorSize, head: &Head) -> Result<u64, Stop> {
    replace(lease, head, sector, First::Rest)
}

/// Replaces the head in the order given. Returns how many bytes were written.
fn replace(lease: &mut dyn WriteLease, head: &Head, sector: SectorSize, first: First) -> Result<u64, Stop> {
    // What a killed run wrote may be seen here and yet be in a cache only: a fence counts once it is durable, and is taken
    // away only from a payload that is.
    lease.sync().map_err(|e| medium(&e))?;
    let mut now = [0; LEN];
    // Where copies of it are not the same, all of it is written.
    let alike = match lease.read_back(ByteOffset(0), &mut now) {
        Ok(()) => true,
        Err(WriteError::Differ { .. }) => false,
        Err(e) => return Err(medium(&e)),
    };
    if alike && now == *head {
        return Ok(0);
    }
    let sector = usize::try_from(sector.0).unwrap_or(512).clamp(512, LEN);
    let parts = match first {
        First::Sector => [0..sector, sector..LEN],
        First::Rest => [sector..LEN, 0..sector],
    };
    for part in parts {
        if part.is_empty() || (alike && now[part.clone()] == head[part.clone()]) {
            continue;
        }
        lease.write_all_at(ByteOffset(part.start as u64), &head[part]).map_err(|e| medium(&e))?;
        lease.sync().map_err(|e| medium(&e))?;
    }
    lease.read_back(ByteOffset(0), &mut now).map_err(|e| medium(&e))?;
    match now == *head {
        true => Ok(FENCE_LEN.0),
        false => Err(Stop::failed(
            ExitCode::Failed,
            "the first 4096 bytes of a volume or disk did not read back as they were written",
            "the disk does not keep what it is given: replace it",
        )),
    }
}

/// The first bytes a volume is to have: those of `wanted`, and where that has holes, what stood there `before`.
pub(crate) fn wanted_head(cx: &Context<'_>, before: Option<MapRoot>, wanted: MapRoot) -> Result<Head, Stop> {
    let mut head = [0; LEN];
    for map in before.into_iter().chain([wanted]) {
        for slice in cx.store.map(map).slices(Extent::whole(FENCE_LEN)) {
            let slice = slice?;
            let bytes = cx.store.read(&slice)?;
            let at = usize::try_from(slice.extent.start().0).unwrap_or(LEN);
            // Slices are clipped to the extent asked for.
            if let Some(place) = head.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(&bytes);
            }
        }
    }
    Ok(head)
}
