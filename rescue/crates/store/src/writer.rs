//! Saving: the caller reads disks and hands over runs of bytes, worker threads hash them and compress frames, one packer
//! thread gathers frames and packs and builds the map in address order, one more puts the packs.
//!
//! Memory is bounded whatever the volume's size: 24 MiB of plain bytes are between the caller and the packs, with what they
//! were compressed to, and at most four packs of 16 MiB exist at once (data and nodes being filled, one waiting, one being
//! put). Without threads the same parts are called one after the other.

mod common;
mod cutter;
mod frames;
mod kept;
mod packer;
mod pipe;
mod proof;
mod putter;
mod room;
mod stock;
pub(crate) mod tree;
mod worker;

use crate::error::StoreError;
use crate::layout::{MAX_VOLUME, pack_name};
use crate::locate::{Source, Trust};
use crate::pieces::{Bytes, Pieces};
use crate::records::{Hold, maps};
use crate::store::Store;
use common::Common;
pub(crate) use common::LEVEL;
use cutter::Cutter;
use kept::Kept;
use model::id::{Digest, SnapshotId};
use model::inventory::PackSets;
use model::snapshot::{Cost, Manifest, MapRoot};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use packer::Event;
use pipe::Pipe;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One snapshot being saved. Holds the store's lock until it is finished or dropped; dropped, it leaves packs that nothing
/// names, and a later run saves against them.
pub struct Writer {
    store: Store,
    pipe: Pipe,
    common: Arc<Common>,
    volume: Option<Cutter>,
    made: HashSet<MapRoot>,
    /// Everything handed over is put, read back and indexed.
    proven: bool,
    hold: Option<Hold>,
    /// The packs there were before the first one of this run.
    before: Digest,
}

impl Store {
    /// Begins a snapshot. One at a time can be saved into a store.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another is being saved; [`StoreError::Io`].
    pub fn writer(&self) -> Result<Writer, StoreError> {
        let hold = self.hold_to_save()?;
        self.refresh()?;
        Writer::start(self.clone(), Some(hold))
    }
}

impl Writer {
    fn start(store: Store, hold: Option<Hold>) -> Result<Self, StoreError> {
        let common = Arc::new(Common::new(store.free()));
        let pipe = Pipe::start(&store, &common)?;
        let before = store.index().set();
        Ok(Self { store, pipe, common, volume: None, made: HashSet::new(), proven: false, hold, before })
    }

    /// One that saves no snapshot: for a prune, which holds the store itself.
    pub(crate) fn inside(store: Store) -> Result<Self, StoreError> {
        Self::start(store, None)
    }

    /// Stores a chunk again, whatever the store has of it already.
    pub(crate) fn carry(&mut self, id: Digest, bytes: Vec<u8>, node: bool) -> Result<(), StoreError> {
        self.common.check()?;
        self.proven = false;
        self.pipe.carry(id, bytes, node)
    }

    /// Deletes the packs of this run where nobody else can have seen them: nothing names them.
    pub(crate) fn take_back(mut self) {
        self.pipe.stop();
        let packs: Vec<Digest> = self.common.packs().iter().map(|p| p.id).collect();
        if self.store.objects().locks_out() {
            for pack in packs {
                // One that stays is a leftover like others.
                let _ = self.store.objects().delete(&pack_name(&pack));
            }
        }
    }

    /// Begins a volume (or a table) of `len` bytes. What an unended one before it was given is part of no map.
    pub fn begin(&mut self, len: ByteLen) {
        self.volume = Some(Cutter::new(len.0.min(MAX_VOLUME)));
        self.proven = false;
        self.pipe.event(|sequence| Event::Begin { sequence });
    }

    /// Lets the cutter take something, and sends what that gives.
    fn cut(&mut self, take: impl FnOnce(&mut Cutter) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.common.check()?;
        let volume = self.volume.as_mut().ok_or_else(|| StoreError::misuse("no volume was begun"))?;
        take(volume)?;
        volume.take().into_iter().try_for_each(|cut| self.pipe.cut(cut))
    }

    /// Hands over used bytes of the volume, to be cut on the grid of 64 KiB. Calls rise in address and do not overlap; runs
    /// may be of any length, and runs that touch are one. What is not handed over is a hole.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where the rules are broken; [`StoreError::Full`], [`StoreError::Io`] where anything handed
    /// over before could not be stored: the writer is of no more use then.
    pub fn write(&mut self, at: ByteOffset, bytes: impl Into<Pieces>) -> Result<(), StoreError> {
        let bytes = bytes.into();
        let len = bytes.len() as u64;
        self.cut(|volume| volume.write(at.0, &bytes))?;
        self.common.read.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    /// Hands over one chunk as the caller cut it: at most 512 KiB, the bytes of `runs` one after the other. Runs rise, and
    /// lie behind everything before.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn chunk(&mut self, runs: &[Extent], bytes: impl Into<Pieces>) -> Result<(), StoreError> {
        let bytes = bytes.into();
        let len = bytes.len() as u64;
        self.cut(|volume| volume.chunk(runs, bytes))?;
        self.common.read.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    /// Takes over what the map `parent` of this store has within `extent`, which lies behind everything before. Whole leaves
    /// are taken by their names, whole cells (64 KiB of addresses) by what their leaf says of them, and nothing of their chunks is read;
    /// of a cell that `extent` has a part of, that part is read from the store, since a new cell's hash needs it.
    ///
    /// # Errors
    /// As [`Writer::write`], and [`StoreError::Damaged`] where the store does not have what is to be kept: it must be read
    /// from the target again then, and nothing of `extent` from the address that is told by [`Writer::at`] on was taken.
    pub fn keep(&mut self, parent: MapRoot, extent: Extent) -> Result<(), StoreError> {
        for leaf in self.store.map(parent).leaves(extent) {
            let leaf = leaf?;
            let kept = Kept::of(&self.store, leaf)?;
            match leaf.extent.intersect(extent) {
                Some(all) if all == leaf.extent => {
                    kept.is_there(&self.store, all)?;
                    self.cut(|volume| volume.whole(all, kept.whole()))?;
                }
                Some(part) => self.keep_part(&kept, part)?,
                None => {}
            }
        }
        Ok(())
    }

    fn keep_part(&mut self, leaf: &Kept, part: Extent) -> Result<(), StoreError> {
        leaf.is_there(&self.store, part)?;
        let cells = leaf.cells_within(part);
        let end = |at: Option<Extent>| at.map_or(part.end().0, |e| e.start().0);
        self.read_kept(leaf, Extent::between(part.start().0, end(cells)))?;
        if let Some(cells) = cells {
            self.cut(|volume| volume.whole(cells, leaf.cells(cells)))?;
            self.read_kept(leaf, Extent::between(cells.end().0, part.end().0))?;
        }
        Ok(())
    }

    /// Takes parts of cells over, whose bytes are read from the store.
    fn read_kept(&mut self, leaf: &Kept, extent: Option<Extent>) -> Result<(), StoreError> {
        for slice in extent.into_iter().flat_map(|extent| leaf.slices(extent)) {
            // These bytes become part of what is signed.
            leaf.believe(&self.store)?;
            let bytes = self.store.read(&slice)?.into();
            self.cut(|volume| volume.slice(slice.extent.start().0, &bytes, slice.content))?;
        }
        Ok(())
    }

    /// Takes over what the map `parent` has in the place of these bytes, which the caller read elsewhere and knows to be the same: they are
    /// hashed and not stored. For cells of which a part changed.
    ///
    /// # Errors
    /// As [`Writer::keep`]; nothing was taken where the map does not have all of them.
    pub fn known(&mut self, parent: MapRoot, at: ByteOffset, bytes: &Bytes) -> Result<(), StoreError> {
        let bad = || StoreError::damaged(format!("there are not all of {} bytes at {at} in a map", bytes.len()));
        let extent = Extent::new(at, ByteLen(bytes.len() as u64)).ok_or_else(bad)?;
        let mut slices = Vec::new();
        for leaf in self.store.map(parent).leaves(extent) {
            let kept = Kept::of(&self.store, leaf?)?;
            kept.is_there(&self.store, extent)?;
            slices.extend(kept.slices(extent));
        }
        let covered: ExtentSet = slices.iter().map(|s| s.extent).collect();
        if covered.total() != extent.len() {
            return Err(bad());
        }
        for slice in slices {
            let own = within(bytes, at, slice.extent).ok_or_else(bad)?;
            self.cut(|volume| volume.slice(slice.extent.start().0, &own, slice.content))?;
        }
        self.looked_at(extent.len());
        Ok(())
    }

    /// Takes over a whole map of a snapshot, where nothing that it relies on went away since that was recorded: nothing of the map is read.
    /// For a volume that nobody wrote to, in the place of all from [`Writer::begin`] to [`Writer::end`]. False where that cannot be
    /// told without reading the map: then its parts are to be kept.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`] where the store's records cannot be read.
    pub fn keep_whole(&mut self, of: SnapshotId, map: MapRoot) -> Result<bool, StoreError> {
        self.common.check()?;
        if !self.store.was_unbroken(of, self.before)? || !self.store.manifest(of)?.maps().any(|known| *known == map) {
            return Ok(false);
        }
        self.made.insert(map);
        Ok(true)
    }

    /// Counts bytes that the caller read and found to be what [`Writer::keep`] takes over.
    pub fn looked_at(&self, len: ByteLen) {
        self.common.read.fetch_add(len.0, Ordering::Relaxed);
        self.common.shared.fetch_add(len.0, Ordering::Relaxed);
    }

    /// Everything of the volume below this address was handed over, or is a hole.
    pub fn at(&self) -> ByteOffset {
        ByteOffset(self.volume.as_ref().map_or(0, Cutter::at))
    }

    /// A map of the leaves of the volume that are complete so far, and of nothing behind them: for an aside. The volume goes on as it
    /// was. Gives how many bytes they hold too; `None` where none is complete.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn cut_short(&mut self) -> Result<Option<(MapRoot, ByteLen)>, StoreError> {
        self.common.check()?;
        let cut = self.pipe.ask(|sequence, reply| Event::CutShort { sequence, reply })?;
        self.made.extend(cut.map(|(root, _)| root));
        Ok(cut)
    }

    /// Fails where what is under way takes the room that is left, but for what is kept for records: whoever goes on now fills the
    /// store; whoever stops now can still put aside what was saved. Where free room is not known, putting packs tells it.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub fn check_room(&self) -> Result<(), StoreError> {
        self.common.check_room()
    }

    /// Ends the volume: its map is in memory or on the way to the store, and names everything written since `begin`.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn end(&mut self) -> Result<MapRoot, StoreError> {
        self.cut(|volume| {
            volume.close();
            Ok(())
        })?;
        self.volume = None;
        let root = self.pipe.ask(|sequence, reply| Event::End { sequence, reply })?;
        self.made.insert(root);
        Ok(root)
    }

    /// What was read, found and stored so far.
    pub fn cost(&self) -> Cost {
        self.common.cost()
    }

    /// Makes everything durable, reads all of it back, and lets the index know it. `progress` is told bytes read back and
    /// bytes to read; where it returns false this stops, and so does the answer say. What [`Writer::finish`] does first,
    /// for whoever wants to watch.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`] where something does not read back.
    pub fn prove(&mut self, progress: &mut dyn FnMut(ByteLen, ByteLen) -> bool) -> Result<bool, StoreError> {
        if self.proven {
            return Ok(true);
        }
        self.pipe.ask(|sequence, reply| Event::Flush { sequence, reply })?;
        let packs = self.common.packs().clone();
        if !proof::prove(&self.store, &packs, self.store.threads(), progress)? {
            return Ok(false);
        }
        for pack in &packs {
            // The index wants the chunks once more: it kept hints of them only.
            let ids = self.store.ids(&pack.id)?;
            self.store.index().add(&pack.id, Trust::Verified, &ids);
            if self.store.index().is_due() {
                self.store.flush_index()?;
            }
        }
        self.store.flush_index()?;
        self.common.packs().clear();
        self.proven = true;
        Ok(true)
    }

    /// Makes everything durable and proven, then writes the manifest, last, reads it back and enters it. `format`,
    /// `counter`, `origin`, `parent` and `cost` are filled in here.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where a volume is not ended or the manifest names a map that is not whole in this store;
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`] where something does not read back. No snapshot
    /// was made in any of these cases.
    pub fn finish(mut self, mut manifest: Manifest) -> Result<(SnapshotId, Manifest), StoreError> {
        self.complete(&mut manifest)?;
        let packs = PackSets { before: self.before, after: self.store.index().set() };
        let id = self.store.record_snapshot(&mut manifest, packs)?;
        self.stop();
        Ok((id, manifest))
    }

    /// Puts aside what was saved so far: a later capture of the machine begins with it. The maps are of volumes that were ended
    /// or cut short. It is durable then, and not read back: that is for whoever begins with it. `go_on` is asked now and then; where it
    /// returns false nothing is put aside, and the answer is `None`. The writer can go on afterwards; where the store was about to be
    /// full, it is of no more use.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where the manifest names another map; else as [`Writer::finish`]. Nothing was put aside then.
    pub fn put_aside(
        &mut self,
        mut manifest: Manifest,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Digest>, StoreError> {
        if let Some((.., name)) = maps(&manifest).iter().find(|(root, ..)| !self.made.contains(root)) {
            return Err(StoreError::misuse(format!("the map of {name} was not made here")));
        }
        if self.check_room().is_err() {
            self.common.wind_up();
        }
        if self.pipe.ask_while(|sequence, reply| Event::Flush { sequence, reply }, go_on)?.is_none() {
            return Ok(None);
        }
        manifest.cost = self.cost();
        self.stands()?;
        self.store.put_aside(&mut manifest).map(Some)
    }

    /// Makes everything durable that the manifest names, and sees that it is whole and stays.
    fn complete(&mut self, manifest: &mut Manifest) -> Result<(), StoreError> {
        if self.volume.is_some() {
            return Err(StoreError::misuse("finish before end"));
        }
        self.prove(&mut |_, _| true)?;
        for (root, _, name) in maps(manifest) {
            if !self.made.contains(&root) {
                self.store.is_whole(root).map_err(|e| StoreError::misuse(format!("the map of {name}: {e}")))?;
            }
        }
        manifest.cost = self.cost();
        self.stands()
    }

    /// Sees that nothing that this run relies on was deleted under it: asked before its record is put.
    pub(crate) fn stands(&self) -> Result<(), StoreError> {
        self.hold.as_ref().map_or(Ok(()), Hold::stands)
    }

    /// Ends the threads, then lets go of the store.
    fn stop(&mut self) {
        self.pipe.stop();
        // Whole, most likely, but not read back: whoever wants to rely on one reads it first.
        for pack in self.common.packs().drain(..) {
            self.store.trust(&pack.id, Trust::Unknown);
        }
        self.hold = None;
    }
}

/// The part of bytes at an address that lies in `extent`.
fn within(bytes: &Bytes, at: ByteOffset, extent: Extent) -> Option<Pieces> {
    let from = usize::try_from(extent.start().0.checked_sub(at.0)?).ok()?;
    let mut pieces = Pieces::default();
    pieces.push(bytes.part(from..from.checked_add(extent.len().to_usize()?)?)?);
    Some(pieces)
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}
