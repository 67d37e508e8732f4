//! What nobody wrote to since an earlier state, told by the superblock and the tree of trees.
//!
//! Every transaction writes a superblock with another generation, and every change to a tree of files writes another item of that tree, with
//! the time of it to the nanosecond (`btrfs_update_root_times`). Where both are as they were, no transaction ended in between; and without
//! one, nothing that the last one left is written over: blocks of trees and extents with checksums are always written anew elsewhere. What is
//! written in place has no checksums ([`without_checksums`]), and is never taken to be the same; nor is the first MiB, which is the boot
//! loader's. What was synced but did not end a transaction is in the log, whose place stands in the superblock.
//!
//! Generations of single extents, by which less could be read after a transaction, are not gone by: an older state that another program
//! brought back, and that went on from there, reaches the same generations with other bytes.

use super::reader::Reader;
use super::subvolume::Subvolumes;
use super::superblock::{RESERVED, Superblock};
use super::used::without_checksums;
use model::coverage::{Changes, Comparison};
use model::id::Digest;
use model::ports::ReadAt;
use model::units::{Extent, ExtentSet};
use std::sync::Arc;

/// What `now` has in common with `before`.
pub(super) fn changes(now: &Reader, subvolumes: &Subvolumes, before: Arc<dyn ReadAt>) -> Changes {
    let earlier = match Superblock::read(&*before) {
        Ok(Some(sb)) => sb,
        Ok(None) => return Changes::unknown("the snapshot before has no btrfs there"),
        Err(e) => return Changes::unknown(&format!("as it was in the snapshot before it cannot be read ({e})")),
    };
    if earlier.bytes != now.sb.bytes {
        return Changes::unknown("it was written to since");
    }
    let then = Reader::load(before, earlier).and_then(|reader| Subvolumes::load(&reader).map(|s| s.state));
    match then {
        Ok(state) if state == subvolumes.state => {}
        Ok(_) => return Changes::unknown("its trees are others than in the snapshot before"),
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

/// What may be written with no trace.
fn restless(reader: &Reader) -> Result<ExtentSet, crate::fs::FsError> {
    let mut set = without_checksums(reader)?;
    set.insert(Extent::between(0, RESERVED).unwrap_or_default());
    // A device may be longer than the file system on it.
    if let Some(behind) = Extent::between(reader.sb.size, reader.bytes().size().0).filter(|e| !e.is_empty()) {
        set.insert(behind);
    }
    Ok(set)
}

/// Names the state of the file system, as far as what is written to it shows: as [`changes`] asks for.
pub(super) fn state(reader: &Reader, subvolumes: &Subvolumes) -> Digest {
    Digest::of(&[&reader.sb.bytes[..], &subvolumes.state.0].concat())
}
