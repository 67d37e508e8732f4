//! Which clusters are in use: one pass over the allocation table, which trusts it only if all of it holds together.

use super::boot::{FIRST_CLUSTER, Geometry};
use crate::bits::Bits;
use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};

/// The most clusters whose links are checked: two bits of memory each.
const MOST_CLUSTERS: u32 = 1 << 27;
/// How much of the table is read at once. A multiple of 3 (FAT12) and of 4.
const PIECE: u64 = 3 << 18;

/// What is in use: everything before the first cluster, and the allocated clusters.
///
/// # Errors
/// [`FsError::Corrupt`] where the copies differ, a link leads to no cluster, to a free one, or where another leads too.
pub(super) fn used(bytes: &dyn ReadAt, g: &Geometry) -> Result<ExtentSet, FsError> {
    if g.clusters > MOST_CLUSTERS {
        return Err(FsError::Incompatible(format!("{} clusters, more than are checked", g.clusters)));
    }
    let end = g.clusters + FIRST_CLUSTER;
    let (top, bad) = match g.width {
        12 => (0xfff, 0xff7),
        16 => (0xffff, 0xfff7),
        _ => (0x0fff_ffff, 0x0fff_fff7),
    };
    let mut used = ExtentSet::new();
    used.insert(Extent::whole(ByteLen(g.data.start().0)));
    let mut allocated = Bits::new(end);
    let mut linked = Bits::new(end);
    let mut no = 0;
    while no < end {
        let (piece, copies) = read_piece(bytes, g, no, end)?;
        if copies {
            return Err(FsError::Corrupt(format!("the two allocation tables differ after cluster {no}")));
        }
        let first = no;
        for value in values(&piece, g.width) {
            if no == end {
                break;
            }
            let this = no;
            no += 1;
            if this < FIRST_CLUSTER || value == 0 || value == bad {
                continue;
            }
            allocated.set(this);
            used.insert(g.cluster(this).expect("below the end"));
            if value > bad && value <= top {
                continue;
            }
            if !(FIRST_CLUSTER..end).contains(&value) {
                return Err(FsError::Corrupt(format!("cluster {this} leads to {value}, of {}", g.clusters)));
            }
            if !linked.set(value) {
                return Err(FsError::Corrupt(format!("two clusters lead to cluster {value}, one of them {this}")));
            }
        }
        if no == first {
            return Err(FsError::Corrupt(format!("the allocation table ends at cluster {no} of {}", g.clusters)));
        }
    }
    if let Some(lost) = (FIRST_CLUSTER..end).find(|c| linked.get(*c) && !allocated.get(*c)) {
        return Err(FsError::Corrupt(format!("a chain leads to cluster {lost}, which is free")));
    }
    if g.width == 32 && !allocated.get(g.root_cluster) {
        return Err(FsError::Corrupt(format!("the root directory's cluster {} is free", g.root_cluster)));
    }
    Ok(used)
}

/// The part of the table that counts from the entry of cluster `no` (a whole number of pieces in), and whether its mirror differs.
fn read_piece(bytes: &dyn ReadAt, g: &Geometry, no: u32, end: u32) -> Result<(Vec<u8>, bool), FsError> {
    let from = u64::from(no) * u64::from(g.width) / 8;
    let need = (u64::from(end) * u64::from(g.width)).div_ceil(8);
    let len = ByteLen((need - from).min(PIECE)).to_usize().expect("bounded by PIECE");
    let read = |copy: usize| bytes.read_vec(ByteOffset(g.fats[copy].start().0 + from), len);
    let piece = read(g.active)?;
    let mirrors = (0..g.fats.len()).filter(|c| g.mirrored && *c != g.active);
    for mirror in mirrors {
        let other = read(mirror)?;
        // The first two entries hold flags that Windows writes to one copy only.
        let differs = values(&piece, g.width)
            .zip(values(&other, g.width))
            .zip(no..)
            .any(|((a, b), cluster)| a != b && (FIRST_CLUSTER..end).contains(&cluster));
        if differs {
            return Ok((piece, true));
        }
    }
    Ok((piece, false))
}

/// The entries of a piece that begins with a whole one. A last one that is cut off is left out, except that the second entry of
/// a FAT12 pair needs the third byte only.
fn values(piece: &[u8], width: u8) -> Box<dyn Iterator<Item = u32> + '_> {
    match width {
        12 => Box::new(piece.chunks(3).flat_map(|c| {
            let byte = |i: usize| c.get(i).map(|b| u32::from(*b));
            let low = byte(0).zip(byte(1)).map(|(a, b)| a | (b & 0xf) << 8);
            let high = byte(1).zip(byte(2)).map(|(b, c)| b >> 4 | c << 4);
            low.into_iter().chain(high)
        })),
        16 => Box::new(piece.chunks_exact(2).map(|c| u32::from(c[0]) | u32::from(c[1]) << 8)),
        _ => Box::new(piece.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]) & 0x0fff_ffff)),
    }
}
