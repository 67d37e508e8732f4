//! Which content of files is as it was in an earlier state, told by the extent tree and the tree of checksums of both.
//!
//! An extent is the same where both trees have it at the same address, as long, and of the same transaction; of its sectors those are taken to be
//! the same that have checksums in both, and equal ones. What has checksums is never written in place (kernel `can_nocow_extent`):
//! what is written anew gets an extent of a later transaction, elsewhere, or where an old one was given up. That holds through any number of
//! sessions, also where they were cut off: what was given up is not used again before that is durable.
//!
//! Checksums are compared because transactions alone can be had twice: an older state that another program brought back, and that went on
//! from there, reaches the same numbers with other bytes. Then two contents of one sector would have to have one checksum as well.
//!
//! Everything else is read: all trees, what has no checksums, what only one of both has. What is not seen: a copy that was damaged, and
//! put right from another one since.

use super::raw::{Key, id, kind};
use super::reader::Reader;
use super::subvolume::tree_of;
use super::tree;
use super::used::{Gathered, extent_of};
use crate::fs::FsError;
use crate::numbers::le64;
use model::units::ExtentSet;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Addresses that are looked at together.
const WINDOW: u64 = 256 << 20;
/// Longest extent of data (`BTRFS_MAX_EXTENT_SIZE`); a longer one is read.
const LONGEST: u64 = 128 << 20;

/// Why nothing can be told of these two, where that is so.
pub(super) fn unlike(now: &Reader, before: &Reader) -> Option<&'static str> {
    let (is, was) = (&now.sb, &before.sb);
    if is.file_system() != was.file_system() || is.checksum != was.checksum {
        return Some("it was made anew since");
    }
    if !now.devices.are(&before.devices) {
        return Some("it lies on other devices than in the snapshot before, or one of them missed a transaction");
    }
    (is.generation < was.generation).then_some("it is of an older transaction than the snapshot before")
}

/// Bytes of the volume that hold the same content of files in both.
///
/// # Errors
/// [`FsError`] where one of the trees cannot be read whole.
pub(super) fn unchanged(now: &Reader, before: &Reader) -> Result<ExtentSet, FsError> {
    let sector = u64::from(now.sb.sector);
    let mut same = Gathered::default();
    for (start, len) in now.chunks.shared(&before.chunks) {
        let end = start.saturating_add(len);
        let mut ahead = start;
        // From extent to extent: a chunk may be said to be as long as it likes.
        while let Some(from) = first(now, ahead, end)? {
            let to = from.saturating_add(WINDOW).min(end);
            ahead = to;
            let mut was = extents(before, from, to)?;
            let shared: Vec<(u64, u64)> = extents(now, from, to)?
                .into_iter()
                .filter(|(at, extent)| was.remove(at).as_ref() == Some(extent) && extent.0 <= LONGEST)
                .map(|(at, extent)| (at, extent.0))
                .collect();
            let Some((last, last_len)) = shared.last().copied() else { continue };
            let until = last.saturating_add(last_len).min(end);
            let (is, was) = (Sums::read(now, from, until)?, Sums::read(before, from, until)?);
            for (at, len) in shared {
                // Runs of sectors with equal sums.
                let mut run = None;
                for place in (at..at.saturating_add(len)).step_by(usize::try_from(sector).unwrap_or(4096)) {
                    let equal = is.of(place).is_some_and(|sum| was.of(place) == Some(sum));
                    match (run, equal) {
                        (None, true) => run = Some(place),
                        (Some(first), false) => {
                            same.add(now.chunks.extents(first, place - first)?);
                            run = None;
                        }
                        _ => {}
                    }
                }
                if let Some(first) = run {
                    same.add(now.chunks.extents(first, at + len - first)?);
                }
            }
        }
    }
    Ok(same.finish())
}

/// The address of the first extent of data that begins in a range.
fn first(reader: &Reader, from: u64, to: u64) -> Result<Option<u64>, FsError> {
    let root = tree_of(reader, id::EXTENT_TREE)?;
    let mut found = None;
    tree::each(reader, root, Key::new(from, 0, 0), &mut |key, item| {
        let extent = extent_of(key, item, reader.sb.node).filter(|extent| extent.data && extent.at < to);
        found = extent.map(|extent| extent.at);
        if found.is_some() || key.id >= to { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

/// The extents of data that begin in a range of addresses: of each its length and the transaction that it was allocated in.
fn extents(reader: &Reader, from: u64, to: u64) -> Result<BTreeMap<u64, (u64, u64)>, FsError> {
    let root = tree_of(reader, id::EXTENT_TREE)?;
    let mut all = BTreeMap::new();
    tree::each(reader, root, Key::new(from, 0, 0), &mut |key, item| {
        if key.id >= to {
            return ControlFlow::Break(());
        }
        if let Some(extent) = extent_of(key, item, reader.sb.node).filter(|extent| extent.data) {
            all.insert(extent.at, (extent.len, le64(item, 8)));
        }
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// The checksums of a range of addresses.
struct Sums {
    from: u64,
    sector: u64,
    len: usize,
    bytes: Vec<u8>,
    has: Vec<bool>,
}

impl Sums {
    fn read(reader: &Reader, from: u64, to: u64) -> Result<Self, FsError> {
        let (sector, len) = (u64::from(reader.sb.sector), reader.sb.checksum.len());
        let count = usize::try_from((to - from).div_ceil(sector)).unwrap_or(usize::MAX);
        let mut sums = Self { from, sector, len, bytes: vec![0; count.saturating_mul(len)], has: vec![false; count] };
        let root = tree_of(reader, id::CSUM_TREE)?;
        // An item is not longer than a tree block, and may begin before the range.
        let most = reader.node_len() as u64 / len as u64 * sector;
        let first = Key::new(id::EXTENT_CSUM, kind::EXTENT_CSUM, from.saturating_sub(most));
        tree::each(reader, root, first, &mut |key, item| {
            if (key.id, key.kind) != (id::EXTENT_CSUM, kind::EXTENT_CSUM) || key.offset >= to {
                return ControlFlow::Break(());
            }
            for (at, sum) in (key.offset..).step_by(usize::try_from(sector).unwrap_or(4096)).zip(item.chunks_exact(len))
            {
                sums.put(at, sum);
            }
            ControlFlow::Continue(())
        })?;
        Ok(sums)
    }

    fn index(&self, at: u64) -> Option<usize> {
        let index = usize::try_from(at.checked_sub(self.from)? / self.sector).ok()?;
        (index < self.has.len()).then_some(index)
    }

    fn put(&mut self, at: u64, sum: &[u8]) {
        let Some(index) = self.index(at) else { return };
        if let Some(place) = self.bytes.get_mut(index * self.len..(index + 1) * self.len) {
            place.copy_from_slice(sum);
            self.has[index] = true;
        }
    }

    /// The checksum of the sector at an address, where it has one.
    fn of(&self, at: u64) -> Option<&[u8]> {
        let index = self.index(at).filter(|index| self.has[*index])?;
        self.bytes.get(index * self.len..(index + 1) * self.len)
    }
}
