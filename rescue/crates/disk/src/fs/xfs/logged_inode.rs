//! Inodes as the log has them (kernel `fs/xfs/libxfs/xfs_log_format.h`, `struct xfs_log_dinode`; `xfs_inode_item_recover.c`): their
//! fields in the order of the machine's numbers, their data and attributes as they lie on the volume.

use super::inode::FORKS_V3;
use super::transaction::Item;
use crate::fs::FsError;
use crate::numbers::{be16, byte, le32, le64};

/// Bytes of the header of a block of a map, which its root has in memory too.
const ROOT_HEADER: usize = 72;

fn bad<T>(why: &str) -> Result<T, FsError> {
    Err(FsError::Corrupt(format!("its log: {why}")))
}

/// The fields, each turned round (`xfs_log_dinode_to_disk`).
pub(super) fn core(is: &mut [u8], core: &[u8], lsn: u64) {
    let turn = |is: &mut [u8], at: usize, width: usize| {
        if let (Some(to), Some(bytes)) = (is.get_mut(at..at + width), core.get(at..at + width)) {
            to.copy_from_slice(bytes);
            to.reverse();
        }
    };
    let flags2 = le64(core, 120);
    // Times are one number, or two; numbers of extents are of 64 and 32 bits, or of 32 and 16.
    let (big_time, big_counts) = (flags2 & 0x8 != 0, flags2 & 0x10 != 0);
    for (at, width) in [(2, 2), (4, 1), (5, 1), (8, 4), (12, 4), (16, 4), (20, 2), (22, 2)] {
        turn(is, at, width);
    }
    for at in [32, 40, 48, 144] {
        if big_time {
            turn(is, at, 8);
        } else {
            turn(is, at, 4);
            turn(is, at + 4, 4);
        }
    }
    for (at, width) in [(56, 8), (64, 8), (72, 4), (76, 4), (82, 1), (83, 1), (84, 4), (88, 2), (90, 2), (92, 4)] {
        turn(is, at, width);
    }
    is[24..32].fill(0);
    if big_counts {
        turn(is, 24, 8);
        is[80..82].fill(0);
    } else {
        turn(is, 80, 2);
    }
    turn(is, 104, 8);
    is[112..120].copy_from_slice(&lsn.to_be_bytes());
    turn(is, 120, 8);
    turn(is, 128, 4);
    turn(is, 152, 8);
    // Not a number.
    if let Some(uuid) = core.get(160..FORKS_V3) {
        is[160..FORKS_V3].copy_from_slice(uuid);
    }
}

/// Data and attributes in the inode, as far as they were logged.
pub(super) fn forks(is: &mut [u8], item: &Item, fields: u32) -> Result<(), FsError> {
    const DATA: [u32; 3] = [0x2, 0x4, 0x8];
    const ATTRIBUTES: [u32; 3] = [0x40, 0x80, 0x100];
    const DEVICE: u32 = 0x10;
    let size = is.len();
    let attributes = match byte(is, 82) {
        0 => size,
        units => FORKS_V3 + usize::from(units) * 8,
    };
    if attributes > size {
        return bad("the attributes of an inode begin behind its end");
    }
    if fields & DEVICE != 0 {
        let device = le32(item.region(0), 24).to_be_bytes();
        if let Some(to) = is.get_mut(FORKS_V3..FORKS_V3 + 4) {
            to.copy_from_slice(&device);
        }
    }
    let mut region = 2;
    for (bits, place) in [(DATA, FORKS_V3..attributes), (ATTRIBUTES, attributes..size)] {
        let set: u32 = bits.iter().fold(0, |all, bit| all | bit) & fields;
        if set == 0 {
            continue;
        }
        // One of them at a time; the region is there even where it is empty.
        let bytes = item.region(region);
        region += 1;
        let to = is.get_mut(place).unwrap_or_default();
        if set == bits[2] {
            root(to, bytes)?;
        } else if set.is_power_of_two() {
            let Some(to) = to.get_mut(..bytes.len()) else { return bad("a fork is longer than its inode") };
            to.copy_from_slice(bytes);
        } else {
            return bad(&format!("an inode was logged with fields {fields:#x}"));
        }
    }
    Ok(())
}

/// The root of a map as inodes have it, of one as it is in memory, which begins like a block of the map (`xfs_bmbt_to_bmdr`).
fn root(to: &mut [u8], bytes: &[u8]) -> Result<(), FsError> {
    let count = usize::from(be16(bytes, 6));
    let (was, is) = (bytes.len().saturating_sub(ROOT_HEADER) / 16, to.len().saturating_sub(4) / 16);
    if count > was || count > is || bytes.len() < ROOT_HEADER || to.len() < 4 {
        return bad(&format!("the root of a map has {count} entries in room for {was} and {is}"));
    }
    to[..2].copy_from_slice(&bytes[4..6]);
    to[2..4].copy_from_slice(&bytes[6..8]);
    for (from, at) in [(ROOT_HEADER, 4), (ROOT_HEADER + was * 8, 4 + is * 8)] {
        to[at..at + count * 8].copy_from_slice(&bytes[from..from + count * 8]);
    }
    Ok(())
}
