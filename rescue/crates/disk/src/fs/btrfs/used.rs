//! Which bytes are in use: all extents of the extent tree, held against what the block groups say, and what the log needs.

use super::raw::{Key, id, kind};
use super::reader::Reader;
use super::subvolume::{root_of, tree_of};
use super::tree::{self, Root, Walk};
use crate::fs::FsError;
use crate::numbers::le64;
use model::units::{Extent, ExtentSet};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Extents that are gathered before they are put in order.
const MOST_PENDING: usize = 1 << 16;

/// Ranges as they come: put together now and then.
#[derive(Default)]
pub(super) struct Gathered {
    set: ExtentSet,
    pending: Vec<Extent>,
}

impl Gathered {
    pub(super) fn add(&mut self, extents: impl IntoIterator<Item = Extent>) {
        for extent in extents {
            match self.pending.last_mut() {
                Some(last) if last.end() == extent.start() => {
                    *last = Extent::between(last.start().0, extent.end().0).unwrap_or(*last);
                }
                _ => self.pending.push(extent),
            }
        }
        if self.pending.len() >= MOST_PENDING {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.set = self.set.union(&std::mem::take(&mut self.pending).into());
    }

    pub(super) fn finish(mut self) -> ExtentSet {
        self.settle();
        self.set
    }
}

/// A block group as it says of itself.
struct Group {
    len: u64,
    said: u64,
    found: u64,
}

/// An extent in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// Its address.
    pub(super) at: u64,
    /// Its bytes.
    pub(super) len: u64,
    /// It holds content of files, not tree blocks.
    pub(super) data: bool,
}

/// An extent, of its item; `None` for other items (kernel `struct btrfs_extent_item`: count, transaction, flags).
pub(super) fn extent_of(key: Key, item: &[u8], node: u32) -> Option<Used> {
    /// `BTRFS_EXTENT_FLAG_DATA`.
    const DATA: u64 = 1;
    match key.kind {
        kind::EXTENT_ITEM => Some(Used { at: key.id, len: key.offset, data: le64(item, 16) & DATA != 0 }),
        kind::METADATA_ITEM => Some(Used { at: key.id, len: u64::from(node), data: false }),
        _ => None,
    }
}

/// Shows every extent in use, by rising addresses.
///
/// # Errors
/// [`FsError`] where the extent tree cannot be read whole, or extents overlap.
pub(super) fn each_extent(reader: &Reader, visit: &mut dyn FnMut(Used) -> Result<(), FsError>) -> Result<(), FsError> {
    let root = tree_of(reader, id::EXTENT_TREE)?;
    let (mut end, mut wrong) = (0, None);
    tree::each(reader, root, Key::FIRST, &mut |key, item| {
        let Some(extent) = extent_of(key, item, reader.sb.node) else { return ControlFlow::Continue(()) };
        let next = extent.at.checked_add(extent.len).filter(|_| extent.at >= end && extent.len > 0);
        let seen = match next {
            Some(next) => {
                end = next;
                visit(extent)
            }
            None => Err(FsError::Corrupt(format!("the extent {key} lies over another one"))),
        };
        match seen {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                wrong = Some(e);
                ControlFlow::Break(())
            }
        }
    })?;
    wrong.map_or(Ok(()), Err)
}

/// What is in use on its devices.
///
/// # Errors
/// [`FsError`] where anything it is told by cannot be read, or one part says something else than another.
pub(super) fn used(reader: &Reader) -> Result<ExtentSet, FsError> {
    let sb = &reader.sb;
    let mut groups = groups(reader)?;
    let mut found = Gathered::default();
    found.add(reader.devices.reserved());
    found.settle();
    each_extent(reader, &mut |extent| {
        let group = groups.range_mut(..=extent.at).next_back();
        let Some((_, group)) = group.filter(|(start, g)| extent.at - *start < g.len) else {
            return Err(FsError::Corrupt(format!("an extent at {} lies in no block group", extent.at)));
        };
        group.found = group.found.saturating_add(extent.len);
        found.add(reader.chunks.extents(extent.at, extent.len)?);
        Ok(())
    })?;
    let mut all = 0u64;
    for (start, group) in &groups {
        if group.found != group.said {
            let (found, said) = (group.found, group.said);
            return Err(FsError::Corrupt(format!(
                "the block group at {start} has {found} bytes in use, and says {said}"
            )));
        }
        all = all.saturating_add(group.said);
    }
    if all != sb.bytes_used() {
        return Err(FsError::Corrupt(format!("{all} bytes are in use, and its superblock says {}", sb.bytes_used())));
    }
    let mut set = found.finish();
    roots_are_in(reader, &set)?;
    let mut log = Gathered::default();
    log_blocks(reader, &mut log)?;
    set = set.union(&log.finish());
    for copy in reader.devices.copies() {
        set.insert(copy);
    }
    Ok(set)
}

/// The block groups, by their addresses. Each is a chunk.
fn groups(reader: &Reader) -> Result<BTreeMap<u64, Group>, FsError> {
    let own = reader.sb.has_block_group_tree();
    let root = tree_of(reader, if own { id::BLOCK_GROUP_TREE } else { id::EXTENT_TREE })?;
    let (mut groups, mut wrong) = (BTreeMap::new(), None);
    tree::each(reader, root, Key::FIRST, &mut |key, item| {
        if key.kind != kind::BLOCK_GROUP_ITEM {
            return ControlFlow::Continue(());
        }
        if reader.chunks.len_of(key.id) != Some(key.offset) {
            wrong = Some(FsError::Corrupt(format!("the block group {key} is no chunk")));
            return ControlFlow::Break(());
        }
        groups.insert(key.id, Group { len: key.offset, said: le64(item, 0), found: 0 });
        ControlFlow::Continue(())
    })?;
    match wrong {
        Some(e) => Err(e),
        None if groups.len() != reader.chunks.count() => {
            Err(FsError::Corrupt(format!("{} block groups in {} chunks", groups.len(), reader.chunks.count())))
        }
        None => Ok(groups),
    }
}

/// The first block of every tree is in use: what finds that it is not knows of another extent tree.
fn roots_are_in(reader: &Reader, set: &ExtentSet) -> Result<(), FsError> {
    let mut roots = vec![reader.sb.root_tree(), reader.sb.chunk_tree()];
    let mut wrong = None;
    tree::each(reader, reader.sb.root_tree(), Key::FIRST, &mut |key, item| {
        if key.kind == kind::ROOT_ITEM {
            match root_of(key.id, item) {
                Ok(root) => roots.push(root),
                Err(e) => wrong = Some(e),
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(e) = wrong {
        return Err(e);
    }
    for root in roots {
        let places = reader.chunks.extents(root.at, u64::from(reader.sb.node))?;
        if !places.into_iter().all(|place| set.covers(place)) {
            return Err(FsError::Corrupt(format!("tree {} begins at {}, which is free", root.owner, root.at)));
        }
    }
    Ok(())
}

/// The blocks of the log, and the extents that what was synced lies in: the extent tree does not know them yet.
fn log_blocks(reader: &Reader, found: &mut Gathered) -> Result<(), FsError> {
    let Some(top) = reader.sb.log_tree() else { return Ok(()) };
    let mut trees = Vec::new();
    log_tree(reader, top, found, &mut |key, item| {
        if key.kind == kind::ROOT_ITEM {
            trees.push(root_of(id::TREE_LOG, item));
        }
        Ok(Vec::new())
    })?;
    for root in trees {
        log_tree(reader, root?, found, &mut |key, item| {
            // Where an extent lies, if it lies anywhere (`struct btrfs_file_extent_item`).
            let (at, len) = (le64(item, 21), le64(item, 29));
            if key.kind == kind::EXTENT_DATA && crate::numbers::byte(item, 20) != 0 && at != 0 && len != 0 {
                return reader.chunks.extents(at, len);
            }
            Ok(Vec::new())
        })?;
    }
    Ok(())
}

/// What an item of the log tells of: other bytes that are in use.
type More<'a> = dyn FnMut(Key, &[u8]) -> Result<Vec<Extent>, FsError> + 'a;

/// Walks one tree of the log: its blocks are in use, and what `more` tells of its items.
fn log_tree(reader: &Reader, root: Root, found: &mut Gathered, more: &mut More<'_>) -> Result<(), FsError> {
    let (mut blocks, mut extents, mut wrong) = (Vec::new(), Vec::new(), None);
    let walk = Walk { block: &mut |block| blocks.push(block.at), damaged: &mut |_, e| Err(e) };
    walk.run(reader, root, Key::FIRST, &mut |key, item| match more(key, item) {
        Ok(places) => {
            extents.extend(places);
            ControlFlow::Continue(())
        }
        Err(e) => {
            wrong = Some(e);
            ControlFlow::Break(())
        }
    })?;
    if let Some(e) = wrong {
        return Err(e);
    }
    for block in blocks {
        found.add(reader.chunks.extents(block, u64::from(reader.sb.node))?);
    }
    found.add(extents);
    Ok(())
}

/// Bytes of files that are kept without checksums. Whatever is written in place lies there: files without copy-on-write, swap files, extents
/// that were allocated before they are written (kernel `can_nocow_extent`: what has checksums is copied). Space caches of the first kind are
/// among them.
///
/// # Errors
/// [`FsError`] where the extent tree or that of checksums cannot be read whole.
pub(super) fn without_checksums(reader: &Reader) -> Result<ExtentSet, FsError> {
    let sums = tree_of(reader, id::CSUM_TREE)?;
    let (sector, len) = (u64::from(reader.sb.sector), reader.sb.checksum.len());
    let mut summed = Gathered::default();
    let from = Key::new(id::EXTENT_CSUM, kind::EXTENT_CSUM, 0);
    let mut wrong = None;
    tree::each(reader, sums, from, &mut |key, item| {
        if (key.id, key.kind) == (id::EXTENT_CSUM, kind::EXTENT_CSUM) {
            let bytes = (item.len() / len) as u64 * sector;
            match reader.chunks.extents(key.offset, bytes) {
                Ok(places) => summed.add(places),
                Err(e) => wrong = Some(e),
            }
        }
        if wrong.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(e) = wrong {
        return Err(e);
    }
    let summed = summed.finish();
    let mut without = Gathered::default();
    each_extent(reader, &mut |extent| {
        if extent.data {
            for place in reader.chunks.extents(extent.at, extent.len)? {
                without.add(summed.gaps(place).iter());
            }
        }
        Ok(())
    })?;
    Ok(without.finish())
}
