//! What of an XFS is as it was in an earlier state of it.
//!
//! **That nobody wrote** is told by the superblock and by the end of the log. An unmount ends the log with a record of its own. Whoever
//! mounts it after that, be it to read only, first writes over the blocks behind it (`xlog_clear_stale_blocks`), in each where the log
//! began when it was unmounted. So both are the same bytes only where nobody did, and a state in which the blocks behind the end are
//! written over like that is none to compare with: a file that is overwritten in place is on the disk before anything is logged, and
//! one more mount that is cut off then leaves the log as it is. `xfs_repair` leaves the log alone and makes the headers of all groups
//! anew: these are part of the state.
//!
//! **That there was one session** is told by the same marks, as XFS counts no mounts. A mount says in them where the log that it found begins. A
//! session that logs anything says something later in each of its records, so every mount after it leaves other marks, whether it found
//! an unmount, or carried out the log of a session that was cut off. Where the marks behind the present end are those of a mount that found the
//! log as the earlier state has it (whose record of the unmount stands there still), all that was logged since is of one mount; and it was unmounted, or made read-only, after that, with all
//! data and inodes on the disk. Then inodes tell which files are as they were ([`super::unchanged`]). Where more was logged than the marks
//! reach (2 MiB), nothing tells that; the records in the ring do not: a log that was carried out and goes on looks like one that
//! just goes on.
//!
//! What this does not tell, so that whoever asks has to know it otherwise: a session that was cut off before anything of it was in the
//! log. The kernel writes what was changed to the log after 30 seconds at most (`xfssyncd_centisecs`; times alone later, with `lazytime`),
//! and the data of a file that is overwritten in place may be on the disk before.

use super::Xfs;
use super::file::File;
use super::inode::Inode;
use super::log::{BASIC, End, Log};
use super::map::look_up;
use super::reader::Reader;
use super::rules::{Rule, Rules};
use super::unchanged::unchanged;
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

/// What `now` has in common with `before`: everything but what is written below the file system, or the data of files, or nothing
/// that is proven.
pub(super) fn changes(now: &Xfs, before: Arc<dyn ReadAt>, rules: Rules) -> Changes {
    let Some(state) = state(now) else {
        return Changes::unknown(match now.is_in_use() {
            true => "it was not unmounted",
            false => "it was mounted since it was last closed",
        });
    };
    let earlier = match Xfs::load(before) {
        Ok(earlier) => earlier,
        Err(e) => return Changes::unknown(&format!("as it was in the snapshot before it cannot be read ({e})")),
    };
    let (comparison, log) = match self::state(&earlier) {
        Some(then) if then == state => (Comparison::Untouched, Vec::new()),
        then => match one_session(now, &earlier, then.is_some(), rules) {
            Ok(log) => (Comparison::Metadata, log),
            Err(why) => return Changes::unknown(why),
        },
    };
    let loaders = match loaders(&now.now) {
        Ok(_) if !rules.keep(Rule::Loaders) => Vec::new(),
        Ok(loaders) => loaders,
        Err(e) => return Changes::unknown(&format!("the files of its boot loader could not be found ({e})")),
    };
    let (why, same) = match comparison {
        Comparison::Untouched => ("nobody wrote to it since", all_but(&now.now, &loaders, rules)),
        _ => {
            let files = unchanged(&now.now, &earlier.raw, loaders, rules);
            ("one session since, which ended in order", files.map(|files| files.union(&log.into())))
        }
    };
    match same {
        Ok(same) => Changes { comparison, why: why.into(), same },
        Err(e) => Changes::unknown(&format!("its inodes cannot be compared ({e})")),
    }
}

/// Whether all that was logged since `earlier` is of one mount; then what of the log that left alone. `closed` says that it was unmounted
/// then, and not mounted again.
///
/// # Errors
/// Why that is not so, or cannot be told.
fn one_session(now: &Xfs, earlier: &Xfs, closed: bool, rules: Rules) -> Result<Vec<Extent>, &'static str> {
    let broken = |rule: Rule, broken: bool| broken && rules.keep(rule);
    if !now.raw.sb.v5 {
        return Err("it was mounted since, and version 4 of XFS keeps too little to tell what changed");
    }
    if broken(Rule::ParentUnmounted, !closed) {
        return Err("the snapshot before has it as it was while in use");
    }
    if broken(Rule::SameLayout, !now.raw.sb.is_laid_out_as(&earlier.raw.sb)) {
        return Err("it was made anew, resized or changed in kind since");
    }
    let (Some(End::Unmounted(is)), Some(End::Unmounted(was))) = (now.end, earlier.end) else {
        return Err("the snapshot before has it as it was while in use");
    };
    let untold = |_: FsError| "more was logged since than is needed to tell one session from several";
    let (log, old) = (Log::open(&now.raw).map_err(untold)?, Log::open(&earlier.raw).map_err(untold)?);
    let (opened, left) = (log.opened(is).map_err(untold)?, old.tail_of(was).map_err(untold)?);
    if broken(Rule::OneMount, opened != Some(left)) {
        return Err(match opened {
            Some(_) => "it was mounted more than once since: one of the sessions may have been cut off",
            None => "more was logged since than is needed to tell one session from several",
        });
    }
    let same = || Ok::<_, FsError>(log.record_of(was)? == old.record_of(was)?);
    if broken(Rule::SameRecord, !same().unwrap_or(false)) {
        return Err("it was not made of what the snapshot before has");
    }
    old.left_alone(was).map_err(untold)
}

/// All but what may be written below the file system. A swap file is none of it: to use it, the file system has to be mounted.
fn all_but(reader: &Arc<Reader>, loaders: &[Inode], rules: Rules) -> Result<ExtentSet, FsError> {
    let size = u64::from(reader.sb.block_size);
    let mut found: Vec<Extent> = Extent::between(0, START).into_iter().filter(|_| rules.keep(Rule::Loaders)).collect();
    for inode in loaders {
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
            return Err(FsError::Corrupt(format!("inode {} lies in more than {MOST_RUNS} pieces", inode.number)));
        }
    }
    let found: ExtentSet = found.into();
    Ok(found.gaps(Extent::whole(reader.bytes().size())))
}

/// Files of boot loaders that are where distributions keep them.
fn loaders(reader: &Arc<Reader>) -> Result<Vec<Inode>, FsError> {
    let mut found: Vec<Inode> = Vec::new();
    for path in loaders::paths() {
        // A link leads to what is written: to another file system on some, and then to nothing here.
        let file = way::find(&**reader, path.as_bytes(), true)?.map(|f| f.file);
        let Some(inode) = file.filter(|inode| inode.kind == FileKind::File) else { continue };
        File::open(reader.clone(), inode.clone())?;
        if found.iter().all(|f| f.number != inode.number) {
            found.push(inode);
        }
    }
    Ok(found)
}
