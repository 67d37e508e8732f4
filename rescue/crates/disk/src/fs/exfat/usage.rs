//! Which clusters are in use: what the allocation bitmap says, and, of a volume that was not closed, what its files lead to besides.

use super::boot::{Boot, FIRST_CLUSTER};
use super::chain::Allocation;
use super::files::Files;
use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::ops::ControlFlow;

/// How much of a bitmap is read at once.
const PIECE: u64 = 64 << 10;
/// Directories of a volume that was not closed, before its bitmap counts as nothing to go by.
const MOST_DIRECTORIES: usize = 1 << 20;
/// Extents of clusters that are looked at for that, per cluster of the volume.
const PLACES_PER_CLUSTER: u64 = 4;

/// What is in use: everything before the cluster heap and behind it, and the allocated clusters.
///
/// # Errors
/// [`FsError::Corrupt`] where there is no bitmap, it is shorter than it has to be, or calls clusters free that cannot be: its own, those
/// of the root directory and of the up-case table.
pub(super) fn used(files: &Files, size: ByteLen) -> Result<ExtentSet, FsError> {
    let boot = &files.boot;
    let mut used = ExtentSet::new();
    used.insert(Extent::whole(ByteLen(boot.heap.start().0)));
    let [first, second] = files.volume.bitmaps;
    let active = if boot.active == 0 { first } else { second };
    let bitmap = active.ok_or_else(|| FsError::Corrupt("it has no allocation bitmap".to_owned()))?;
    read(files.bytes().as_ref(), boot, bitmap, &mut used)?;
    used.insert(Extent::between(boot.heap.end().0, size.0).unwrap_or_default());
    let own = [first, second].into_iter().flatten().map(|at| (at, "its allocation bitmap"));
    let table = files.volume.up_case.map(|(at, _)| (at, "its up-case table"));
    for (at, what) in own.chain(table).chain([(files.root, "its root directory")]) {
        for place in at.places(files.bytes().as_ref(), boot) {
            let place = place?;
            if !used.covers(place) {
                return Err(FsError::Corrupt(format!("{what} lies in clusters that its allocation bitmap calls free")));
            }
        }
    }
    if boot.dirty {
        reached(files, &mut used)?;
    }
    Ok(used)
}

/// Adds what a bitmap calls allocated. Bits behind the last cluster mean nothing.
fn read(bytes: &dyn ReadAt, boot: &Boot, bitmap: Allocation, used: &mut ExtentSet) -> Result<(), FsError> {
    let need = u64::from(boot.clusters).div_ceil(8);
    if bitmap.len < need {
        return Err(FsError::Corrupt(format!("its allocation bitmap has {} bytes, not {need}", bitmap.len)));
    }
    let (mut no, end) = (u64::from(FIRST_CLUSTER), u64::from(FIRST_CLUSTER) + u64::from(boot.clusters));
    // A run of allocated clusters that is still growing.
    let mut run: Option<u64> = None;
    let mut close = |run: &mut Option<u64>, end: u64| {
        let place = run.take().and_then(|from| boot.clusters_at(u32::try_from(from).ok()?, end - from));
        used.insert(place.unwrap_or_default());
    };
    for place in (Allocation { len: need, ..bitmap }).places(bytes, boot) {
        let place = place?;
        let mut at = place.start().0;
        while at < place.end().0 && no < end {
            let len = (place.end().0 - at).min(PIECE).min((end - no).div_ceil(8));
            for byte in bytes.read_vec(ByteOffset(at), ByteLen(len).to_usize().unwrap_or(0))? {
                for bit in 0..8 {
                    match byte >> bit & 1 {
                        _ if no >= end => break,
                        1 => run = run.or(Some(no)),
                        _ => close(&mut run, no),
                    }
                    no += 1;
                }
            }
            at += len;
        }
    }
    close(&mut run, end);
    Ok(())
}

/// Adds the clusters of every file and directory that can be reached: an entry may have come to the disk before the bitmap did.
fn reached(files: &Files, used: &mut ExtentSet) -> Result<(), FsError> {
    let mut left = u64::from(files.boot.clusters).saturating_mul(PLACES_PER_CLUSTER);
    let mut ahead = vec![files.root];
    let mut met = 0;
    let mut found: Vec<Extent> = Vec::new();
    while let Some(dir) = ahead.pop() {
        met += 1;
        if met > MOST_DIRECTORIES {
            return Err(FsError::Corrupt("it has more directories than are followed".to_owned()));
        }
        let mut entries = Vec::new();
        files.each(dir, &mut Err, &mut |entry| {
            entries.push((entry.stream.allocation, entry.directory, entry.damaged));
            ControlFlow::Continue(())
        })?;
        for (at, directory, damaged) in entries {
            if damaged {
                return Err(FsError::Corrupt("the checksum of a directory entry is wrong".to_owned()));
            }
            for place in at.places(files.bytes().as_ref(), &files.boot) {
                left = left
                    .checked_sub(1)
                    .ok_or_else(|| FsError::Corrupt("its files have more clusters than the volume".to_owned()))?;
                let place = place?;
                if !used.covers(place) {
                    found.push(place);
                }
            }
            if directory {
                ahead.push(at);
            }
        }
    }
    *used = used.union(&ExtentSet::from(found));
    Ok(())
}
