//! Volumes that layers make of others: which there are, and how their bytes lie. Everything is read in user space; nothing is assembled.

mod btrfs;
mod compose;
pub mod luks;
mod lvm;
mod md;

use model::id::VolumePath;
use model::inspection::{Content, Inspection, Volume};
use model::mapping::{Beneath, Layers, Mapped, Mapping};
use model::ports::{DiskSource, ReadAt, Window};
use model::units::{ByteLen, Extent, ExtentSet};
use std::sync::Arc;

/// What stands before the name of an array in a path.
pub(crate) const MD: &str = "md";

/// What volumes of LVM may lie on: a volume of a disk, an array, or an encrypted volume.
struct Carrier {
    path: VolumePath,
    extent: Extent,
    bytes: Arc<dyn ReadAt>,
    /// Where its bytes lie, where it lies on others itself, and what these are.
    mapping: Option<Mapping>,
    members: Vec<(VolumePath, Content)>,
}

impl Carrier {
    /// The volume of a disk that it begins on; what was opened is called after that.
    fn first(&self) -> &VolumePath {
        if self.mapping.as_ref().is_some_and(Mapping::is_sealed) {
            return &self.path;
        }
        let beneath = self.mapping.iter().flat_map(|m| &m.beneath).map(|b| &b.path);
        beneath.min().unwrap_or(&self.path)
    }
}

/// Where ranges of a mapped volume lie on each volume beneath, its mirrors too. Of one in stripes nothing is told: it would be in as many
/// pieces as there are stripes.
fn held_beneath(mapping: &Mapping, ranges: &ExtentSet) -> Vec<ExtentSet> {
    let mut out = vec![ExtentSet::new(); mapping.beneath.len()];
    if mapping.segments.iter().any(|s| s.legs.len() > 1) {
        return out;
    }
    for piece in mapping.pieces(mapping.len().map_or(Extent::default(), Extent::whole)).chain(mapping.copies()) {
        for part in ranges.clip(piece.within).iter() {
            let at = piece.at.checked_add(ByteLen(part.start().0 - piece.within.start().0));
            let place = at.and_then(|at| Extent::new(at, part.len()));
            if let (Some(set), Some(place)) = (out.get_mut(piece.on), place) {
                set.insert(place);
            }
        }
    }
    out
}

/// What layers make of the volumes of an inspection; `window` gives the bytes of one that lies straight on a disk.
pub fn layers(inspection: &Inspection, window: &dyn Fn(&VolumePath) -> Option<Arc<dyn ReadAt>>) -> Layers {
    let mut layers = Layers::default();
    let of = |name: &str| -> Vec<&Volume> {
        let is = |v: &&Volume| matches!(&v.content, Content::Recognised { name: n, .. } if n == name);
        inspection.disks.iter().flat_map(|d| &d.volumes).filter(is).collect()
    };
    let devices = inspection.disks.iter().flat_map(|d| &d.volumes).filter(|v| btrfs::may_be(&v.content));
    btrfs::find(&devices.collect::<Vec<_>>(), window, &mut layers);
    // A fence stands where the bytes of a member begin, which may be its head.
    let fenced = inspection.disks.iter().flat_map(|d| &d.volumes).filter(|v| matches!(v.content, Content::Fenced(_)));
    let arrays = md::find((&of("md"), &fenced.collect::<Vec<_>>()), window, &mut layers);
    let (beneath, plain): (Vec<md::Array>, Vec<md::Array>) =
        arrays.into_iter().partition(|a| a.carries == Some("lvm2"));
    let carrier = |v: &Volume| {
        let (path, extent) = (v.path.clone(), v.extent);
        window(&v.path).map(|bytes| Carrier { path, extent, bytes, mapping: None, members: Vec::new() })
    };
    let opened = opened(inspection, window);
    let carriers: Vec<Carrier> = of("lvm2")
        .into_iter()
        .filter_map(carrier)
        .chain(beneath.iter().map(md::Array::carrier))
        .chain(opened)
        .collect();
    lvm::find(&carriers, &mut layers);
    for array in plain {
        array.tell(&mut layers);
    }
    for array in beneath {
        array.tell_unread(&mut layers);
    }
    layers.volumes.sort_by(|(a, _), (b, _)| a.cmp(b));
    layers
}

/// What was opened of encrypted volumes and carries LVM.
fn opened(inspection: &Inspection, window: &dyn Fn(&VolumePath) -> Option<Arc<dyn ReadAt>>) -> Vec<Carrier> {
    let carries =
        |v: &&Volume| v.is_sealed() && matches!(&v.content, Content::Recognised { name, .. } if name == "lvm2");
    let carrier = |v: &Volume| {
        let mapping = v.mapping.clone()?;
        let beneath = mapping.beneath.iter().filter_map(|b| inspection.volume(&b.path));
        // Of an encrypted volume that lies on others itself these keep what they have of it apart already.
        let luks = beneath.filter(|v| matches!(v.content, Content::Luks(_)));
        let members = luks.map(|v| (v.path.clone(), v.content.clone())).collect();
        let bytes = window(&v.path)?;
        Some(Carrier { path: v.path.clone(), extent: v.extent, bytes, mapping: Some(mapping), members })
    };
    inspection.layered.iter().filter(carries).filter_map(carrier).collect()
}

/// The bytes of a volume, by its map where it has one. `None` where it, or one of those beneath, does not lie within its disk, or lies
/// encrypted and was not opened.
pub fn bytes(disks: &[DiskSource], volume: &Volume) -> Option<Arc<dyn ReadAt>> {
    let Some(mapping) = &volume.mapping else { return window(disks, &volume.path, volume.extent) };
    let beneath = mapping.beneath.iter().map(|b| bytes_beneath(disks, b)).collect::<Option<Vec<_>>>()?;
    let mapped = Mapped::new(mapping, beneath)?;
    (mapped.size() == volume.extent.len()).then(|| Arc::new(mapped) as Arc<dyn ReadAt>)
}

/// The bytes of a volume beneath another: in clear where they lie encrypted.
pub fn bytes_beneath(disks: &[DiskSource], beneath: &Beneath) -> Option<Arc<dyn ReadAt>> {
    let raw = window(disks, &beneath.path, beneath.extent)?;
    match &beneath.sealed {
        None => Some(raw),
        Some(_) => disks.iter().find(|d| d.no == beneath.path.disk())?.clear.as_ref()?.view(beneath, raw),
    }
}

fn window(disks: &[DiskSource], path: &VolumePath, extent: Extent) -> Option<Arc<dyn ReadAt>> {
    let source = disks.iter().find(|d| d.no == path.disk())?;
    Some(Arc::new(Window::new(source.bytes.clone(), extent).ok()?))
}
