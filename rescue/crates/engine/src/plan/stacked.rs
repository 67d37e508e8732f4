//! Saved volumes that lie on others, laid out on the disks beneath.

use model::id::{DiskNo, VolumePath};
use model::inspection::Content;
use model::snapshot::{Manifest, SavedVolume};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::BTreeMap;

/// Most pieces of a disk: a striped volume has one for each stripe, and they all stand in a plan.
const MOST_PIECES: usize = 1 << 16;

/// Bytes of a mapped volume that stand together on a disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) volume: &'a SavedVolume,
    pub(crate) within: Extent,
    /// Where the first of them stands on the disk.
    pub(crate) at: ByteOffset,
}

/// What mapped volumes have of one disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stacked<'a> {
    pub(crate) placed: Vec<Placed<'a>>,
    /// The volumes, each once.
    pub(crate) volumes: Vec<&'a SavedVolume>,
    /// What they have of each volume beneath, from its first byte on.
    held: BTreeMap<VolumePath, ExtentSet>,
}

impl<'a> Stacked<'a> {
    /// Why the volumes of a disk cannot be laid out, though the snapshot holds together: what would encrypt them is not in it.
    pub(crate) fn sealed(manifest: &Manifest, disk: DiskNo) -> Option<String> {
        let lies = |v: &&SavedVolume| {
            v.mapping.as_ref().is_some_and(|m| m.is_sealed() && m.beneath.iter().any(|b| b.path.disk() == disk))
        };
        let volume = manifest.volumes.iter().find(lies)?;
        Some(format!(
            "{} lies in an encrypted volume: it goes back onto that with `rollback`, and its files come out with `get`; to put it onto an \
             empty disk or into an image, the encrypted volume has to be saved as it is (locked, with `--full`)",
            volume.path
        ))
    }

    /// Lays them out. An error is a sentence: the snapshot does not hold together, or not all that is needed.
    pub(crate) fn on(manifest: &'a Manifest, disk: DiskNo) -> Result<Self, String> {
        if let Some(why) = Self::sealed(manifest, disk) {
            return Err(why);
        }
        let mut out = Self::default();
        for volume in &manifest.volumes {
            let Some(mapping) = &volume.mapping else { continue };
            if !mapping.beneath.iter().any(|b| b.path.disk() == disk) {
                continue;
            }
            if !mapping.is_sound(volume.extent.len()) {
                return Err(format!("where {} lies is not told", volume.path));
            }
            for (b, held) in mapping.beneath.iter().zip(mapping.held().unwrap_or_default()) {
                let there = |v: &&SavedVolume| v.path == b.path && v.extent == b.extent && v.mapping.is_none();
                match manifest.volumes.iter().find(there).map(|v| &v.content) {
                    Some(Content::Lvm(_) | Content::Md(_) | Content::BtrfsDevice(_)) => {}
                    _ => return Err(format!("{} lies on {}, which the snapshot does not hold", volume.path, b.path)),
                }
                let set = out.held.entry(b.path.clone()).or_default();
                if held.iter().any(|e| set.meets(e)) {
                    return Err(format!("{} lies on bytes of another volume", volume.path));
                }
                *set = set.union(&held);
            }
            out.place(volume, disk)?;
            out.volumes.push(volume);
        }
        Ok(out)
    }

    fn place(&mut self, volume: &'a SavedVolume, disk: DiskNo) -> Result<(), String> {
        let Some(mapping) = &volume.mapping else { return Ok(()) };
        let copies = mapping.copies();
        for piece in mapping.pieces(Extent::whole(volume.extent.len())).chain(copies) {
            let Some(beneath) = mapping.beneath.get(piece.on).filter(|b| b.path.disk() == disk) else { continue };
            let at = beneath.extent.start().checked_add(ByteLen(piece.at.0));
            let at = at.ok_or_else(|| format!("{} lies past any disk", volume.path))?;
            if self.placed.len() >= MOST_PIECES {
                return Err(format!("{} lies in more than {MOST_PIECES} pieces", volume.path));
            }
            self.placed.push(Placed { volume, within: piece.within, at });
        }
        Ok(())
    }

    /// What of a volume is its own: all but what others have of it.
    pub(crate) fn own(&self, volume: &SavedVolume) -> ExtentSet {
        let whole = Extent::whole(volume.extent.len());
        self.held.get(&volume.path).map_or_else(|| [whole].into_iter().collect(), |held| held.gaps(whole))
    }

    /// Where bytes of a mapped volume lie on the disk.
    pub(crate) fn lies(&self, volume: &SavedVolume, bytes: &ExtentSet) -> ExtentSet {
        let of = |p: &&Placed<'_>| p.volume.path == volume.path;
        let moved = |p: &Placed<'_>| {
            let parts: Vec<Extent> = bytes
                .clip(p.within)
                .iter()
                .filter_map(|e| Extent::new(p.at.checked_add(ByteLen(e.start().0 - p.within.start().0))?, e.len()))
                .collect();
            parts
        };
        self.placed.iter().filter(of).flat_map(moved).collect()
    }
}
