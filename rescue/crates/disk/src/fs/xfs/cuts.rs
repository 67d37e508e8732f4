//! Where chunks should begin: at the start of every run of a file.

use super::group::each_inode;
use super::inode::Inode;
use super::map::look_up;
use super::reader::Reader;
use crate::fs::FsError;
use model::cuts::Cuts;
use model::inspection::FileKind;

/// Look-ups for all files together, per block of the volume: an honest file system needs at most one for each block, a tree
/// made to be read for ever gets no further.
const LOOK_UPS_PER_BLOCK: u64 = 2;

/// Cuts at the files of `reader`. What cannot be read stays on the grid: cutting is about sharing, never about content.
pub(super) fn cuts(reader: &Reader) -> Cuts {
    let sb = &reader.sb;
    let mut cuts = Cuts::on_grid(sb.block_size, reader.bytes().size());
    let mut left = sb.blocks.saturating_mul(LOOK_UPS_PER_BLOCK);
    for group in 0..sb.ag_count {
        // A tree that does not hold together cuts as far as it goes, and so does a map.
        let _ = each_inode(reader, group, &mut |number| {
            if let Ok(inode) = reader.inode(number)
                && inode.kind == FileKind::File
                && !inode.is_realtime()
            {
                let _ = lay(reader, &inode, &mut cuts, &mut left);
            }
            spend(&mut left)
        });
    }
    cuts
}

fn spend(left: &mut u64) -> Result<(), FsError> {
    *left =
        left.checked_sub(1).ok_or_else(|| FsError::Corrupt("its files have more blocks than the volume".to_owned()))?;
    Ok(())
}

fn lay(reader: &Reader, inode: &Inode, cuts: &mut Cuts, left: &mut u64) -> Result<(), FsError> {
    let size = u64::from(reader.sb.block_size);
    let blocks = inode.size.div_ceil(size);
    let mut block = 0;
    // A run still growing: where, how long, from which block of the file.
    let mut open: Option<(u64, u64, u64)> = None;
    while block < blocks {
        spend(left)?;
        let run = look_up(reader, inode.data(), block)?;
        if let Some(at) = run.at {
            let len = run.len.min(blocks - block);
            let at = reader.place(at, len)?.0 / size;
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
