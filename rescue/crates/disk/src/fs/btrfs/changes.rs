//! What nobody wrote to since an earlier state, told by the superblock and the tree of trees.
//!
//! Every transaction writes a superblock with another generation, and every change to a tree of files writes another item of that tree, with
//! the time of it to the nanosecond (`btrfs_update_root_times`). Where both are as they were, no transaction ended in between; and without
//! one, nothing that the last one left is written over: blocks of trees and extents with checksums are always written anew elsewhere. What is
//! written in place has no checksums ([`without_checksums`]), and is never taken to be the same; nor is the first MiB of a device, which is the boot
//! loader's. What was synced but did not end a transaction is in the log, whose place stands in the superblock.
//!
//! After a transaction, what of the content of files is as it was is told by single extents and their checksums ([`unchanged`]).

use super::devices::Devices;
use super::reader::Reader;
use super::subvolume::Subvolumes;
use super::unchanged::{unchanged, unlike};
use super::used::without_checksums;
use model::coverage::{Changes, Comparison};
use model::id::Digest;
use model::ports::ReadAt;
use model::units::{Extent, ExtentSet};
use std::sync::Arc;

/// What `now` has in common with `before`.
pub(super) fn changes(now: &Reader, subvolumes: &Subvolumes, before: Arc<dyn ReadAt>) -> Changes {
    let earlier = match Devices::read(&*before) {
        Ok(Some(devices)) => devices,
        Ok(None) => return Changes::unknown("the snapshot before has no btrfs there"),
        Err(e) => return Changes::unknown(&format!("as it was in the snapshot before it cannot be read ({e})")),
    };
    let untouched = earlier.bytes() == now.devices.bytes();
    let earlier = match Reader::load(before, earlier) {
        Ok(reader) => reader,
        Err(e) => return Changes::unknown(&format!("as it was in the snapshot before it cannot be read ({e})")),
    };
    match Subvolumes::load(&earlier) {
        Ok(then) if untouched && then.state == subvolumes.state => {}
        Ok(_) => return by_extents(now, &earlier),
        Err(e) => return Changes::unknown(&format!("as it was in the snapshot before it cannot be read ({e})")),
    }
    match restless(now) {
        Ok(restless) => {
            let same = restless.gaps(Extent::whole(now.bytes().size()));
            Changes { comparison: Comparison::Untouched, why: "nobody wrote to it since".into(), same }
        }
        Err(e) => Changes::unknown(&format!("what is written in place cannot be told ({e})")),
    }
}

/// What somebody wrote to, and what not.
fn by_extents(now: &Reader, earlier: &Reader) -> Changes {
    if let Some(why) = unlike(now, earlier) {
        return Changes::unknown(why);
    }
    match unchanged(now, earlier) {
        Ok(same) => {
            let why = "it was written to since: content of files is the same where its extents and their checksums are"
                .into();
            Changes { comparison: Comparison::Metadata, why, same }
        }
        Err(e) => Changes::unknown(&format!("its extents cannot be compared ({e})")),
    }
}

/// What may be written with no trace.
fn restless(reader: &Reader) -> Result<ExtentSet, crate::fs::FsError> {
    let mut set = without_checksums(reader)?;
    reader.devices.reserved().for_each(|start| set.insert(start));
    // A device may be longer than the file system on it.
    if let Some(behind) = Extent::between(reader.devices.end(), reader.bytes().size().0).filter(|e| !e.is_empty()) {
        set.insert(behind);
    }
    Ok(set)
}

/// Names the state of the file system, as far as what is written to it shows: as [`changes`] asks for.
pub(super) fn state(reader: &Reader, subvolumes: &Subvolumes) -> Digest {
    Digest::of(&[&reader.devices.bytes()[..], &subvolumes.state.0].concat())
}
