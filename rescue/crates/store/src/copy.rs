//! Copying snapshots into another store.
//!
//! Names of chunks and nodes depend on the store they lie in, content digests do not: so a map is read slice by slice,
//! handed to the other store's writer, and what that made is compared by content. The manifest is put last, so that a copy
//! that is cut off leaves packs that nothing names, and the next one saves against them.

use crate::error::StoreError;
use crate::layout::{MAX_VOLUME, small};
use crate::map::SliceContent;
use crate::records::maps;
use crate::store::Store;
use crate::writer::Writer;
use model::id::SnapshotId;
use model::snapshot::{Manifest, MapRoot};
use model::units::{ByteLen, Extent};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Copied {
    /// Snapshots that were copied, in their order.
    pub copied: Vec<SnapshotId>,
    /// Snapshots that the other store had already.
    pub present: Vec<SnapshotId>,
    /// Plain bytes that were read.
    pub read: ByteLen,
    /// Bytes of packs and index objects that were put.
    pub stored: ByteLen,
    /// False where the copy was stopped early: `copied` is whole, the rest is not there.
    pub complete: bool,
}

/// Told plain bytes done and to do; returns false to stop.
type Progress<'a> = &'a mut dyn FnMut(ByteLen, ByteLen) -> bool;

impl Store {
    /// Copies snapshots into another store, which may be encrypted with other keys or not at all, in the order of their
    /// counters. A snapshot keeps its id, its statement and its signatures. `progress` is told used bytes of the maps done and to do, and stops the copy by
    /// returning false; stopped, it leaves what was copied whole and packs that nothing names.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Damaged`] where a snapshot cannot be read whole from this store, or does not
    /// read back from the other one; [`StoreError::Full`], [`StoreError::InUse`], [`StoreError::Io`]. Snapshots copied
    /// before stay.
    pub fn copy_to(
        &self,
        to: &Store,
        which: &[SnapshotId],
        progress: &mut dyn FnMut(ByteLen, ByteLen) -> bool,
    ) -> Result<Copied, StoreError> {
        self.copy_over(to, which, Over::Nothing, progress)
    }

    /// The same; the records of `which` that are damaged there may be put anew.
    pub(crate) fn copy_over(
        &self,
        to: &Store,
        which: &[SnapshotId],
        over: Over,
        progress: &mut dyn FnMut(ByteLen, ByteLen) -> bool,
    ) -> Result<Copied, StoreError> {
        let mut wanted =
            which.iter().map(|id| Ok((*id, self.manifest(*id)?))).collect::<Result<Vec<_>, StoreError>>()?;
        wanted.sort_by_key(|(id, m)| (m.counter, m.taken, *id));
        wanted.dedup_by_key(|(id, _)| *id);
        let mut copy = Copy {
            from: self,
            to,
            over,
            done: HashMap::new(),
            last: Vec::new(),
            at: 0,
            total: 0,
            report: Copied::default(),
        };
        let mut missing = Vec::new();
        for (id, manifest) in wanted {
            match to.manifest(id) {
                Ok(theirs) => {
                    copy.learn(&manifest, &theirs);
                    copy.report.present.push(id);
                    continue;
                }
                Err(StoreError::NoSuch { .. }) => {}
                Err(StoreError::Damaged { .. }) if over == Over::Damaged => {}
                Err(e) => return Err(e),
            }
            for (root, ..) in maps(&manifest) {
                copy.total = copy.total.saturating_add(self.map(root).used()?.0);
            }
            missing.push((id, manifest));
        }
        for (id, manifest) in missing {
            if !copy.snapshot(id, &manifest, progress)? {
                return Ok(copy.report);
            }
            copy.report.copied.push(id);
        }
        copy.report.complete = true;
        Ok(copy.report)
    }
}

/// What a copy may take the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Nothing that is there.
    Nothing,
    /// Records that do not prove themselves.
    Damaged,
}

struct Copy<'a> {
    from: &'a Store,
    to: &'a Store,
    over: Over,
    /// Maps of the source that the destination has whole.
    done: HashMap<MapRoot, MapRoot>,
    /// The snapshot that was looked at last of each machine.
    last: Vec<Manifest>,
    at: u64,
    total: u64,
    report: Copied,
}

impl Copy<'_> {
    /// Takes over which map is which from a snapshot that both have, where it is whole there.
    fn learn(&mut self, ours: &Manifest, theirs: &Manifest) {
        for ((ours, ..), (theirs, ..)) in maps(ours).iter().zip(maps(theirs)) {
            if !self.done.contains_key(ours) && ours.content == theirs.content && self.to.is_whole(theirs).is_ok() {
                self.done.insert(*ours, theirs);
            }
        }
        self.remember(ours);
    }

    fn remember(&mut self, manifest: &Manifest) {
        self.last.retain(|m| !m.machine.is(&manifest.machine));
        self.last.push(manifest.clone());
    }

    /// The map of the same part of the same machine in the snapshot before, here and there.
    fn before(&self, manifest: &Manifest, name: &str) -> Option<(MapRoot, MapRoot)> {
        let last = self.last.iter().find(|m| m.machine.is(&manifest.machine))?;
        let (here, ..) = maps(last).into_iter().find(|(_, _, n)| n == name)?;
        Some((here, *self.done.get(&here)?))
    }

    /// Copies one snapshot; false where the caller stopped it.
    fn snapshot(&mut self, id: SnapshotId, manifest: &Manifest, progress: Progress<'_>) -> Result<bool, StoreError> {
        let mut writer = self.to.writer()?;
        for (root, _, name) in maps(manifest) {
            let (from, start, total) = (self.from, self.at, ByteLen(self.total));
            let used = from.map(root).used()?.0;
            if !self.done.contains_key(&root) {
                let mut read = 0u64;
                let before = self.before(manifest, &name);
                let made = feed(&mut writer, from, root, before, &mut |len| {
                    read = read.saturating_add(len);
                    progress(ByteLen(start.saturating_add(read)), total)
                })?;
                let Some(made) = made else { return Ok(false) };
                self.done.insert(root, made);
            }
            self.at = start.saturating_add(used);
            if !progress(ByteLen(self.at), total) {
                return Ok(false);
            }
        }
        if !writer.prove(&mut |_, _| progress(ByteLen(self.at), ByteLen(self.total)))? {
            return Ok(false);
        }
        writer.stands()?;
        if self.over == Over::Damaged {
            self.to.drop_damaged(id)?;
        }
        self.to.record_copy(self.from, id, &placed(manifest.clone(), &self.done))?;
        self.remember(manifest);
        let cost = writer.cost();
        self.report.read.0 = self.report.read.0.saturating_add(cost.read.0);
        self.report.stored.0 = self.report.stored.0.saturating_add(cost.stored.0);
        Ok(true)
    }
}

/// Hands a map over to the writer of another store, cut as it is; `None` where `go_on`, which is told bytes that were read,
/// stopped it. Of `before`, a map of the source and what the other store has of it, leaves of equal content are kept there
/// and not read. What was made must be of the content that was named.
pub(crate) fn feed(
    writer: &mut Writer,
    from: &Store,
    root: MapRoot,
    before: Option<(MapRoot, MapRoot)>,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<MapRoot>, StoreError> {
    writer.begin(ByteLen(MAX_VOLUME));
    let all = Extent::whole(ByteLen(MAX_VOLUME));
    let fed = match before {
        None => feed_part(writer, from, root, all, go_on)?,
        Some(before) => feed_changes(writer, from, root, before, go_on)?,
    };
    if !fed {
        return Ok(None);
    }
    let made = writer.end()?;
    if made.content != root.content {
        let text =
            format!("a map says its content is {}, its bytes are {}", root.content.short(12), made.content.short(12));
        return Err(StoreError::damaged(text));
    }
    Ok(Some(made))
}

/// Keeps what is as before, and hands over the rest; false where that was stopped.
fn feed_changes(
    writer: &mut Writer,
    from: &Store,
    root: MapRoot,
    (here, there): (MapRoot, MapRoot),
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, StoreError> {
    let all = Extent::whole(ByteLen(MAX_VOLUME));
    // What cannot be read of the map before is not as before.
    let mut earlier = from.map(here).leaves(all).filter_map(Result::ok).peekable();
    let mut parts = from.map(root).leaves(all).map(|leaf| {
        let leaf = leaf?;
        while earlier.next_if(|e| e.extent.start() < leaf.extent.start()).is_some() {}
        let same = earlier.peek().is_some_and(|e| e.extent == leaf.extent && e.content == leaf.content);
        Ok::<_, StoreError>((same, leaf.extent))
    });
    let mut next = parts.next().transpose()?;
    while let Some((same, mut extent)) = next {
        // Leaves that touch and are alike in this are one part.
        loop {
            next = parts.next().transpose()?;
            match next {
                Some((s, e)) if s == same && e.start() == extent.end() => {
                    extent = Extent::between(extent.start().0, e.end().0).unwrap_or(extent);
                }
                _ => break,
            }
        }
        if same {
            match writer.keep(there, extent) {
                Ok(()) => continue,
                // Not as whole there as it was: the rest is read.
                Err(StoreError::Damaged { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        let rest = Extent::between(extent.start().0.max(writer.at().0), extent.end().0);
        if let Some(rest) = rest
            && !feed_part(writer, from, root, rest, go_on)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Hands over a part of a map; false where that was stopped.
fn feed_part(
    writer: &mut Writer,
    from: &Store,
    root: MapRoot,
    part: Extent,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, StoreError> {
    let mut open = Open::default();
    for got in from.read_ahead(from.map(root).slices(part)) {
        let (slice, bytes) = got?;
        if !go_on(bytes.len() as u64) {
            return Ok(false);
        }
        if open.end != Some(slice.content) {
            open.give(writer)?;
        }
        open.end = match slice.content {
            SliceContent::Chunk { id, at } => {
                Some(SliceContent::Chunk { id, at: at.saturating_add(small(bytes.len())) })
            }
            SliceContent::Zero => None,
        };
        open.runs.push(slice.extent);
        open.bytes.extend(bytes);
    }
    open.give(writer)?;
    Ok(true)
}

/// Slices that are parts of one chunk, one after the other: together no longer than it.
#[derive(Default)]
struct Open {
    runs: Vec<Extent>,
    bytes: Vec<u8>,
    /// What would go on with the chunk.
    end: Option<SliceContent>,
}

impl Open {
    fn give(&mut self, writer: &mut Writer) -> Result<(), StoreError> {
        let (runs, bytes) = (std::mem::take(&mut self.runs), std::mem::take(&mut self.bytes));
        if bytes.is_empty() { Ok(()) } else { writer.chunk(&runs, bytes) }
    }
}

/// The manifest with its maps where they lie in the other store.
fn placed(mut manifest: Manifest, done: &HashMap<MapRoot, MapRoot>) -> Manifest {
    let tables = manifest.disks.iter_mut().filter_map(|d| d.table_map.as_mut());
    for root in tables.chain(manifest.volumes.iter_mut().map(|v| &mut v.map)) {
        *root = done.get(root).copied().unwrap_or(*root);
    }
    manifest
}
