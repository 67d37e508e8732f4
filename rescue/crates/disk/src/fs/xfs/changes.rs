//! Whether anybody wrote to an XFS since an earlier state of it.
//!
//! Only that is told. XFS counts no mounts, so one session since cannot be told from two, of which the first may have been cut off with
//! new data under an old inode: what was written to is read whole, and compared by hash.
//!
//! That nobody wrote is told by the superblock and by the end of the log. An unmount ends the log with a record of its own. Whoever
//! mounts it after that, be it to read only, first writes over the blocks behind it (`xlog_clear_stale_blocks`), in each where the log
//! began when it was unmounted. So both are the same bytes only where nobody did, and a state in which the blocks behind the end are
//! written over like that is none to compare with: a file that is overwritten in place is on the disk before anything is logged, and
//! one more mount that is cut off then leaves the log as it is. `xfs_repair` leaves the log alone and makes the headers of all groups
//! anew: these are part of the state.

use super::Xfs;
use super::file::File;
use super::log::{BASIC, End, Log};
use super::map::look_up;
use super::reader::Reader;
use crate::fs::{FsError, loaders, way};
use model::coverage::{Changes, Comparison};
use model::id::Digest;
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{Extent, ExtentSet};
use std::sync::Arc;

/// Basic blocks behind the end of the log that a mount writes to: as far as records may have been on their way
/// (`XLOG_TOTAL_REC_SHIFT`). Of a shorter log all of it.
const BEHIND: u64 = 4096;
/// Before the end: the record of the unmount, however long.
const BEFORE: u64 = 1024;
/// Groups beyond which nothing is proven: their headers are read.
const MOST_GROUPS: u32 = 1 << 14;
/// What boot loaders may write into at the start of a volume, besides the superblock.
const START: u64 = 64 << 10;
/// Look-ups for each file that a boot loader writes in place.
const MOST_RUNS: u32 = 1 << 16;

/// Names the state of a file system that was unmounted: another one as soon as anybody mounted it. `None` where it was not, or was
/// mounted since.
pub(super) fn state(fs: &Xfs) -> Option<Digest> {
    let Some(End::Unmounted(lsn)) = fs.end else { return None };
    if fs.doubt.is_some() {
        return None;
    }
    end_of_log(&fs.raw, lsn).ok().flatten()
}

fn end_of_log(raw: &Reader, lsn: u64) -> Result<Option<Digest>, FsError> {
    let log = Log::open(raw)?;
    if log.is_mounted_since(lsn)? || raw.sb.ag_count > MOST_GROUPS {
        return Ok(None);
    }
    let at = lsn & 0xffff_ffff;
    let from = (at + log.len() - BEFORE.min(log.len())) % log.len();
    let count = (BEFORE + BEHIND).min(log.len());
    let mut bytes = Vec::with_capacity(usize::try_from(count).unwrap_or(0) * BASIC);
    bytes.extend_from_slice(b"xfs ");
    bytes.extend_from_slice(&lsn.to_be_bytes());
    bytes.extend_from_slice(raw.sb.bytes());
    bytes.extend(log.read(from, count)?);
    for group in 0..raw.sb.ag_count {
        for no in 1..=3 {
            bytes.extend(raw.header(group, no)?.1);
        }
    }
    Ok(Some(Digest::of(&bytes)))
}

/// What `now` has in common with `before`: everything but what is written below the file system, or nothing that is proven.
pub(super) fn changes(now: &Xfs, before: Arc<dyn ReadAt>) -> Changes {
    let Some(state) = state(now) else {
        return Changes::unknown(match now.is_in_use() {
            true => "it was not unmounted",
            false => "it was mounted since it was last closed",
        });
    };
    match Xfs::load(before) {
        Ok(before) if self::state(&before) == Some(state) => {}
        Ok(_) => return Changes::unknown("it was mounted since, and XFS does not tell one session from several"),
        Err(e) => return Changes::unknown(&format!("as it was in the snapshot before it cannot be read ({e})")),
    }
    match restless(&now.now) {
        Ok(restless) => Changes {
            comparison: Comparison::Untouched,
            why: "nobody wrote to it since".into(),
            same: restless.gaps(Extent::whole(now.raw.bytes().size())),
        },
        Err(e) => Changes::unknown(&format!("the files of its boot loader could not be found ({e})")),
    }
}

/// What may be written below the file system. A swap file is none of it: to use it, the file system has to be mounted.
fn restless(reader: &Arc<Reader>) -> Result<ExtentSet, FsError> {
    let size = u64::from(reader.sb.block_size);
    let mut found: Vec<Extent> = Extent::between(0, START).into_iter().collect();
    for path in loaders::paths() {
        // A link leads to what is written: to another file system on some, and then to nothing here.
        let file = way::find(&**reader, path.as_bytes(), true)?.map(|f| f.file);
        let Some(inode) = file.filter(|inode| inode.kind == FileKind::File) else { continue };
        File::open(reader.clone(), inode.clone())?;
        let (mut block, end) = (0, inode.size.div_ceil(size));
        for _ in 0..MOST_RUNS {
            let run = look_up(reader, inode.data(), block)?;
            if let Some(at) = run.at {
                let start = reader.place(at, run.len)?.0;
                found.extend(Extent::between(start, start + run.len * size));
            }
            block = block.saturating_add(run.len);
            if block >= end {
                break;
            }
        }
        if block < end {
            return Err(FsError::Corrupt(format!("{path} lies in more than {MOST_RUNS} pieces")));
        }
    }
    Ok(found.into())
}
