//! Where chunks should begin: at the start of every run of a file.

use super::inode::Inode;
use super::map::look_up;
use super::reader::Reader;
use crate::fs::FsError;
use model::cuts::Cuts;
use model::inspection::FileKind;

/// Look-ups for all files together, per block of the volume: an honest file system needs at most one for each block, a tree
/// made to be read for ever gets no further.
const LOOK_UPS_PER_BLOCK: u64 = 2;
/// Beyond so many damaged inodes of a group, the rest of it is left on the grid.
const MOST_DAMAGED: u32 = 64;

/// Cuts at the files of `reader`. What cannot be read stays on the grid: cutting is about sharing, never about content.
pub(super) fn cuts(reader: &Reader) -> Cuts {
    let sb = &reader.sb;
    let mut cuts = Cuts::on_grid(sb.block_size, reader.bytes().size());
    let mut left = sb.blocks.saturating_mul(LOOK_UPS_PER_BLOCK);
    for no in 0..sb.groups {
        let Ok(group) = reader.group(no) else { continue };
        if !group.checksum_holds {
            continue;
        }
        let first = no * sb.inodes_per_group + 1;
        let mut damaged = 0;
        for number in first..first + group.inodes_begun(sb) {
            match reader.inode_in(&group, number) {
                Ok(Some(inode)) if inode.kind == FileKind::File && !inode.is_inline() => {
                    // A map that does not hold together cuts as far as it goes.
                    let _ = lay(reader, &inode, &mut cuts, &mut left);
                }
                Ok(_) => {}
                Err(_) => damaged += 1,
            }
            if left == 0 {
                return cuts;
            }
            if damaged > MOST_DAMAGED {
                break;
            }
        }
    }
    cuts
}

fn lay(reader: &Reader, inode: &Inode, cuts: &mut Cuts, left: &mut u64) -> Result<(), FsError> {
    let blocks = inode.size.div_ceil(u64::from(reader.sb.block_size));
    let mut block = 0;
    // A run still growing: where, how long, from which block of the file.
    let mut open: Option<(u64, u64, u64)> = None;
    while block < blocks && *left > 0 {
        *left -= 1;
        let run = look_up(reader, inode, block)?;
        if let Some(at) = run.at {
            let len = run.len.min(blocks - block);
            match &mut open {
                Some((start, so_far, from)) if *start + *so_far == at && *from + *so_far == block => *so_far += len,
                _ => {
                    if let Some((start, len, from)) = open.replace((at, len, block)) {
                        cuts.lay(start, len, from);
                    }
                }
            }
        }
        block = block.saturating_add(run.len);
    }
    if let Some((start, len, from)) = open {
        cuts.lay(start, len, from);
    }
    Ok(())
}
