//! Saved volumes that lie on others, laid out on the disks beneath.

use model::id::{DiskNo, LUKS, VolumePath};
use model::inspection::Content;
use model::luks::{Sealed, SealedRun};
use model::mapping::{Beneath, Mapping, Piece};
use model::restore::Encrypted;
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
    /// What of the disk is encrypted as it is written.
    pub(crate) encrypted: Vec<Encrypted>,
    /// What they have of each volume beneath, from its first byte on.
    held: Held,
}

/// Bytes of volumes that lie straight on a disk.
type Held = BTreeMap<VolumePath, ExtentSet>;

impl<'a> Stacked<'a> {
    /// Lays them out. An error is a sentence: the snapshot does not hold together, or not all that is needed.
    pub(crate) fn on(manifest: &'a Manifest, disk: DiskNo) -> Result<Self, String> {
        let mut out = Self::default();
        let inner = sealed(manifest);
        for volume in &manifest.volumes {
            let Some(mapping) = &volume.mapping else { continue };
            if !mapping.beneath.iter().any(|b| b.path.disk() == disk) {
                continue;
            }
            if !mapping.is_sound(volume.extent.len()) {
                return Err(format!("where {} lies is not told", volume.path));
            }
            // Of an encrypted volume that lies on others itself what lies in it has its place.
            let inner = if carries(volume) { &inner } else { &Held::new() };
            for (b, held) in mapping.beneath.iter().zip(mapping.held().unwrap_or_default()) {
                let there = |v: &&SavedVolume| v.path == b.path && v.extent == b.extent && v.mapping.is_none();
                match manifest.volumes.iter().find(there).map(|v| &v.content) {
                    Some(Content::Lvm(_) | Content::Md(_) | Content::BtrfsDevice(_)) => {}
                    Some(Content::Luks(_)) if b.sealed.is_some() => {}
                    _ => return Err(format!("{} lies on {}, which the snapshot does not hold", volume.path, b.path)),
                }
                let held = without(&held, inner.get(&b.path));
                let set = out.held.entry(b.path.clone()).or_default();
                if held.iter().any(|e| set.meets(e)) {
                    return Err(format!("{} lies on bytes of another volume", volume.path));
                }
                *set = set.union(&held);
            }
            out.place((volume, mapping), disk, inner)?;
            out.encrypt((volume, mapping), manifest, disk)?;
            out.volumes.push(volume);
        }
        Ok(out)
    }

    fn place(
        &mut self,
        (volume, mapping): (&'a SavedVolume, &Mapping),
        disk: DiskNo,
        inner: &Held,
    ) -> Result<(), String> {
        let outside = || format!("{} lies past any disk", volume.path);
        for (beneath, piece) in pieces(mapping, volume.extent.len(), disk) {
            let place = piece.place().ok_or_else(outside)?;
            let own = inner.get(&beneath.path).map_or_else(|| [place].into_iter().collect(), |i| i.gaps(place));
            for own in own.iter() {
                let from = piece.within.start().checked_add(ByteLen(own.start().0 - place.start().0));
                let within = from.and_then(|from| Extent::new(from, own.len())).ok_or_else(outside)?;
                let at = beneath.extent.start().checked_add(ByteLen(own.start().0)).ok_or_else(outside)?;
                if self.placed.len() >= MOST_PIECES {
                    return Err(format!("{} lies in more than {MOST_PIECES} pieces", volume.path));
                }
                self.placed.push(Placed { volume, within, at });
            }
        }
        Ok(())
    }

    /// Notes what of a volume is encrypted. Its map is sound.
    fn encrypt(
        &mut self,
        (volume, mapping): (&SavedVolume, &Mapping),
        manifest: &Manifest,
        disk: DiskNo,
    ) -> Result<(), String> {
        for (beneath, held) in mapping.beneath.iter().zip(mapping.held().unwrap_or_default()) {
            let Some(sealed) = beneath.sealed.as_ref().filter(|_| beneath.path.disk() == disk) else { continue };
            let moved: Option<ExtentSet> = held.iter().map(|e| shifted(e, beneath)).collect();
            let (Some(places), Some(sealed)) = (moved, on_disk(sealed, beneath)) else {
                return Err(format!("{} lies past any disk", volume.path));
            };
            let of = header(volume, beneath, manifest)?;
            match self.encrypted.iter_mut().find(|e| e.volume == *of && e.sealed == sealed) {
                Some(known) => known.places = known.places.union(&places),
                None => self.encrypted.push(Encrypted { volume: of.clone(), sealed, places, open: false }),
            }
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

/// True for an encrypted volume of which only the header and what no other has was saved: it was open then.
pub(crate) fn carries(volume: &SavedVolume) -> bool {
    let open = matches!(&volume.content, Content::Luks(l) if l.open);
    open && !volume.mapping.as_ref().is_some_and(Mapping::is_sealed)
}

/// What volumes that lie encrypted have of those that lie straight on a disk.
fn sealed(manifest: &Manifest) -> Held {
    let mut out = Held::new();
    for (volume, mapping) in manifest.volumes.iter().filter_map(|v| Some((v, v.mapping.as_ref()?))) {
        if !mapping.is_sealed() || !mapping.is_sound(volume.extent.len()) {
            continue;
        }
        for (b, held) in mapping.beneath.iter().zip(mapping.held().unwrap_or_default()) {
            let set = out.entry(b.path.clone()).or_default();
            *set = set.union(&held);
        }
    }
    out
}

fn without(bytes: &ExtentSet, but: Option<&ExtentSet>) -> ExtentSet {
    match but {
        Some(but) => bytes.iter().flat_map(|e| but.gaps(e).iter().collect::<Vec<_>>()).collect(),
        None => bytes.clone(),
    }
}

/// The pieces of a map on a disk, its mirrors' too, each with the volume that it lies on.
fn pieces(mapping: &Mapping, len: ByteLen, disk: DiskNo) -> impl Iterator<Item = (&Beneath, Piece)> {
    let all = mapping.pieces(Extent::whole(len)).chain(mapping.copies());
    all.filter_map(move |piece| Some((mapping.beneath.get(piece.on).filter(|b| b.path.disk() == disk)?, piece)))
}

/// Bytes of a volume on its disk.
fn shifted(bytes: Extent, beneath: &Beneath) -> Option<Extent> {
    Extent::new(beneath.extent.start().checked_add(ByteLen(bytes.start().0))?, bytes.len())
}

/// How bytes of a volume are encrypted, as they lie on its disk.
fn on_disk(sealed: &Sealed, beneath: &Beneath) -> Option<Sealed> {
    let run = |run: &SealedRun| Some(SealedRun { at: shifted(run.at, beneath)?, ..*run });
    Some(Sealed { runs: sealed.runs.iter().map(run).collect::<Option<_>>()?, ..sealed.clone() })
}

/// The encrypted volume that a volume lies in: its header is the one that it was opened with.
fn header<'a>(volume: &SavedVolume, beneath: &'a Beneath, manifest: &'a Manifest) -> Result<&'a VolumePath, String> {
    let of = |path: &VolumePath| manifest.volumes.iter().find(|v| v.path == *path && carries(v));
    if let Some(straight) = of(&beneath.path) {
        return Ok(&straight.path);
    }
    let opened = |v: &&SavedVolume| v.path.above(&[LUKS]).is_some_and(|p| volume.path == p || volume.path.lies_on(&p));
    let found = manifest.volumes.iter().filter(|v| v.mapping.is_some() && carries(v)).find(opened);
    match found {
        Some(found) if found.path.above(&[LUKS]).as_ref() == Some(&volume.path) => Ok(&found.path),
        Some(found) => Err(format!(
            "{} is a volume of LVM in {}, which lies on others itself: what LVM keeps of itself in there was not saved",
            volume.path, found.path
        )),
        None => Err(format!("{} lies in an encrypted volume, whose header the snapshot does not hold", volume.path)),
    }
}
