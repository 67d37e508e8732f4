//! Where the room goes.

use super::marks::{Bits, Ground};
use crate::error::StoreError;
use crate::records::Listing;
use crate::store::Store;
use model::id::SnapshotId;
use model::snapshot::Manifest;
use model::units::ByteLen;
use std::collections::BTreeSet;

/// Where the room of a store goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Used bytes of all snapshots, each counted whole.
    pub logical: ByteLen,
    /// What that is with each chunk of it once, not compressed.
    pub distinct: ByteLen,
    /// What that is in the store: each chunk once, compressed, map nodes included.
    pub live: ByteLen,
    /// What packs take in all.
    pub stored: ByteLen,
    /// What of that no snapshot and no aside needs: chunks, and packs that cannot be read. A prune frees most of it. What is
    /// neither live nor dead are the headers and footers of packs.
    pub dead: ByteLen,
    /// Each snapshot, in order.
    pub snapshots: Vec<SnapshotSpace>,
}

/// What one snapshot takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotSpace {
    /// Which.
    pub id: SnapshotId,
    /// Used bytes.
    pub logical: ByteLen,
    /// In the store, and needed by no other snapshot: what forgetting it alone frees.
    pub unique: ByteLen,
    /// In the store, and needed by others as well.
    pub shared: ByteLen,
}

impl Store {
    /// Where the room goes. Reads every map and every footer, no data. `go_on` stops it by returning false.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where a map cannot be read whole; [`StoreError::Io`].
    pub fn stats(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Stats>, StoreError> {
        let listing = self.list()?;
        let Some(mut ground) = self.ground(go_on)? else { return Ok(None) };
        let (mut once, mut often, mut own) = (ground.none(), ground.none(), ground.none());
        for (_, manifest) in &listing.snapshots {
            if !go_on() {
                return Ok(None);
            }
            own.clear();
            // Below what is known to be needed often, all is.
            ground.walk(manifest, &mut |copies| {
                copies.iter().fold(false, |below, bit| {
                    let first = own.set(*bit);
                    let again = first && !once.set(*bit) && often.set(*bit);
                    below || (first && (again || !often.get(*bit)))
                })
            })?;
        }
        let sizes = all_sizes(&ground)?;
        let mut stats = Stats { stored: ByteLen(total(ground.packs.iter().map(|p| p.len))), ..Stats::default() };
        for (id, manifest) in &listing.snapshots {
            own.clear();
            let (mut unique, mut shared) = (0u64, 0u64);
            ground.walk(manifest, &mut |copies| {
                copies.iter().fold(false, |below, bit| {
                    let first = own.set(*bit);
                    if first {
                        let size = u64::from(sizes[*bit]);
                        let count = if often.get(*bit) { &mut shared } else { &mut unique };
                        *count = count.saturating_add(size);
                    }
                    below || first
                })
            })?;
            let logical = ByteLen(logical(manifest));
            stats.logical.0 = stats.logical.0.saturating_add(logical.0);
            stats.snapshots.push(SnapshotSpace { id: *id, logical, unique: ByteLen(unique), shared: ByteLen(shared) });
        }
        for pack in (0..ground.packs.len()).filter(|pack| ground.packs[*pack].readable) {
            stats.distinct.0 = stats.distinct.0.saturating_add(ground.plain(pack, &once)?);
        }
        for (_, aside) in self.asides()? {
            // One that is damaged needs nothing that a snapshot does not.
            let _ = ground.walk(&aside, &mut |copies| once.set_all(copies));
        }
        stats.live =
            ByteLen(total(sizes.iter().enumerate().filter(|(at, _)| once.get(*at)).map(|(_, s)| u64::from(*s))));
        let unset = sizes.iter().enumerate().filter(|(at, _)| !once.get(*at)).map(|(_, s)| u64::from(*s));
        let unreadable = ground.packs.iter().filter(|p| !p.readable).map(|p| p.len);
        stats.dead = ByteLen(total(unset.chain(unreadable)));
        Ok(Some(stats))
    }

    /// How much forgetting these snapshots and pruning would free, about: a pack of which something stays is only written
    /// again where it is worth it.
    ///
    /// # Errors
    /// As [`Store::stats`].
    pub fn would_free(
        &self,
        ids: &BTreeSet<SnapshotId>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<ByteLen>, StoreError> {
        let Listing { snapshots, .. } = self.list()?;
        let Some(mut ground) = self.ground(go_on)? else { return Ok(None) };
        let mut kept = ground.none();
        let mark = |ground: &mut Ground<'_>, manifest: &Manifest, bits: &mut Bits| {
            ground.walk(manifest, &mut |copies| bits.set_all(copies))
        };
        for (id, manifest) in &snapshots {
            if !go_on() {
                return Ok(None);
            }
            if !ids.contains(id) {
                mark(&mut ground, manifest, &mut kept)?;
            }
        }
        for (_, aside) in self.asides()? {
            let _ = mark(&mut ground, &aside, &mut kept);
        }
        let sizes = all_sizes(&ground)?;
        let mut freed = 0u64;
        for (_, manifest) in snapshots.iter().filter(|(id, _)| ids.contains(id)) {
            // What is kept and what is counted already ends the way down.
            ground.walk(manifest, &mut |copies| {
                copies.iter().fold(false, |new, bit| {
                    let first = kept.set(*bit);
                    freed = freed.saturating_add(if first { u64::from(sizes[*bit]) } else { 0 });
                    first || new
                })
            })?;
        }
        Ok(Some(ByteLen(freed)))
    }

    fn ground(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Ground<'_>>, StoreError> {
        self.avoid_condemned()?;
        self.refresh()?;
        Ground::survey(self, go_on)
    }
}

/// Used bytes of a snapshot's maps.
fn logical(manifest: &Manifest) -> u64 {
    total(manifest.volumes.iter().map(|v| v.captured.0))
}

/// Bytes that each chunk takes, by its bit.
fn all_sizes(ground: &Ground<'_>) -> Result<Vec<u32>, StoreError> {
    let mut sizes = Vec::new();
    for pack in 0..ground.packs.len() {
        if ground.packs[pack].readable {
            sizes.extend(ground.sizes(pack)?.into_iter().map(|s| u32::try_from(s).unwrap_or(u32::MAX)));
        }
    }
    Ok(sizes)
}

fn total(parts: impl Iterator<Item = u64>) -> u64 {
    parts.fold(0, u64::saturating_add)
}
