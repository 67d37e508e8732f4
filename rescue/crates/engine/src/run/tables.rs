//! Repairing a partition table: the saved bytes, copy by copy, the one that is damaged first.

use super::leases::{medium, refused};
use super::payload::Done;
use super::{Context, Stop};
use model::command::ExitCode;
use model::id::{Digest, DiskNo, VolumePath};
use model::inspection::{Hardware, Table};
use model::plan::{RollbackPlan, TableRollback, VolumeRollback};
use model::ports::{DiskSource, HEAD_LEN, LeaseRequest, WriteLease};
use model::snapshot::MapRoot;
use model::units::{ByteLen, ByteOffset, Extent};

/// Longest stretch leased and held in memory at once.
const MOST: u64 = 2 << 20;

/// Writes the tables that the plan repairs, while the fences stand and no volume is leased: the kernel gives the whole disk only
/// then. `from_backup` tells of a disk whether its first copy is the damaged one.
pub(crate) fn repair(
    cx: &Context<'_>,
    plan: &RollbackPlan,
    from_backup: &dyn Fn(DiskNo) -> bool,
) -> Result<Done, Stop> {
    let mut done = Done::default();
    for table in &plan.tables {
        let TableRollback::Repair { disk, map, hardware, disk_head, .. } = table else { continue };
        let mut pieces = pieces(cx, *map)?;
        // There is always one whole copy on the disk: the damaged one is written first, and each is durable before the next.
        if !from_backup(*disk) {
            pieces.reverse();
        }
        // A volume that begins within the disk's head has changed it: an old DOS partition at sector 63 does.
        let begins = |path: &VolumePath, extent: Extent| path.disk() == *disk && extent.start().0 < HEAD_LEN.0;
        let within = |v: &VolumeRollback| match &v.through {
            None => begins(&v.path, v.extent),
            Some(t) => t.mapping.beneath.iter().any(|b| begins(&b.path, b.extent)),
        };
        let mut head = (!plan.volumes.iter().any(within)).then_some(*disk_head);
        for (extent, bytes) in pieces {
            done = write(cx, *disk, hardware, head, extent, &bytes, done)?;
            // From here on the head may be what was just written.
            head = None;
        }
    }
    Ok(done)
}

/// The saved bytes, joined where they touch.
fn pieces(cx: &Context<'_>, map: MapRoot) -> Result<Vec<(Extent, Vec<u8>)>, Stop> {
    let mut pieces: Vec<(Extent, Vec<u8>)> = Vec::new();
    for slice in cx.store.map(map).slices(Extent::whole(ByteLen(u64::MAX))) {
        let slice = slice?;
        let bytes = cx.store.read(&slice)?;
        match pieces.last_mut() {
            Some((extent, open)) if extent.end() == slice.extent.start() && extent.len().0 < MOST => {
                *extent = Extent::between(extent.start().0, slice.extent.end().0).unwrap_or(*extent);
                open.extend_from_slice(&bytes);
            }
            _ => pieces.push((slice.extent, bytes)),
        }
    }
    Ok(pieces)
}

/// True where a disk does not hold the saved bytes of its table; what cannot be read is another.
///
/// # Errors
/// [`Stop`] where the store does not give them back, or calls something else a table.
pub(crate) fn differs(cx: &Context<'_>, map: MapRoot, now: &Table, source: &DiskSource) -> Result<bool, Stop> {
    let mut differs = false;
    for slice in cx.store.map(map).slices(Extent::whole(source.bytes.size())) {
        let slice = slice?;
        // The store is not believed: what it calls a table must lie where the table lies, or it would be written anywhere.
        if !now.raw.iter().any(|raw| raw.contains(slice.extent)) {
            let (no, at) = (source.no, slice.extent.start());
            let says = format!("the saved partition table of {no} names bytes at {at} that are none");
            return Err(Stop::failed(ExitCode::Damage, says, "the snapshot is not to be trusted; choose another"));
        }
        let len = slice.extent.len().to_usize().unwrap_or(0);
        let now = source.bytes.read_vec(slice.extent.start(), len);
        differs |= now.ok() != Some(cx.store.read(&slice)?);
    }
    Ok(differs)
}

fn write(
    cx: &Context<'_>,
    disk: DiskNo,
    hardware: &Hardware,
    head: Option<Digest>,
    extent: Extent,
    bytes: &[u8],
    mut done: Done,
) -> Result<Done, Stop> {
    let request = LeaseRequest { disk, extent, hardware: hardware.clone(), head };
    let mut lease: Box<dyn WriteLease> = cx.devices.lease(&request).map_err(refused)?;
    // What a killed run wrote may be seen and yet be in a cache only: one copy is durable before the other is touched.
    lease.sync().map_err(|e| medium(&e))?;
    let mut now = vec![0; bytes.len()];
    let readable = lease.read_back(ByteOffset(0), &mut now).is_ok();
    if !readable || now != bytes {
        lease.write_all_at(ByteOffset(0), bytes).map_err(|e| medium(&e))?;
        lease.sync().map_err(|e| medium(&e))?;
        lease.read_back(ByteOffset(0), &mut now).map_err(|e| medium(&e))?;
        done.written += bytes.len() as u64;
    }
    if now != bytes {
        let says = format!("the partition table of {disk} did not read back as it was written");
        return Err(Stop::failed(ExitCode::Failed, says, "the disk does not keep what it is given: replace it"));
    }
    done.verified += bytes.len() as u64;
    Ok(done)
}

/// True where a plan writes a table.
pub(crate) fn any(tables: &[TableRollback]) -> bool {
    tables.iter().any(|t| matches!(t, TableRollback::Repair { .. }))
}
