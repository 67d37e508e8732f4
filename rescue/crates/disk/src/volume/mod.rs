//! Volumes that layers make of others: which there are, and how their bytes lie. Everything is read in user space; nothing is assembled.

mod compose;
mod lvm;
mod md;

use model::id::VolumePath;
use model::inspection::{Content, Inspection, MdInfo, Volume};
use model::mapping::{Layers, Mapped, Mapping};
use model::ports::{DiskSource, ReadAt, Window};
use model::units::{ByteLen, Extent, ExtentSet};
use std::sync::Arc;

/// What stands before the name of an array in a path.
pub(crate) const MD: &str = "md";

/// What volumes of LVM may lie on: a volume of a disk, or an array.
struct Carrier {
    path: VolumePath,
    extent: Extent,
    bytes: Arc<dyn ReadAt>,
    /// Where the bytes of an array lie, and what its members are.
    mapping: Option<Mapping>,
    members: Vec<(VolumePath, MdInfo)>,
}

impl Carrier {
    /// The volume of a disk that it begins on.
    fn first(&self) -> &VolumePath {
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
    let arrays = md::find(&of("md"), window, &mut layers);
    let (beneath, plain): (Vec<md::Array>, Vec<md::Array>) =
        arrays.into_iter().partition(|a| a.carries == Some("lvm2"));
    let carrier = |v: &Volume| {
        let (path, extent) = (v.path.clone(), v.extent);
        window(&v.path).map(|bytes| Carrier { path, extent, bytes, mapping: None, members: Vec::new() })
    };
    let carriers: Vec<Carrier> =
        of("lvm2").into_iter().filter_map(carrier).chain(beneath.iter().map(md::Array::carrier)).collect();
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

/// The bytes of a volume, by its map where it has one. `None` where it, or one of those beneath, does not lie within its disk.
pub fn bytes(disks: &[DiskSource], volume: &Volume) -> Option<Arc<dyn ReadAt>> {
    let window = |path: &VolumePath, extent| -> Option<Arc<dyn ReadAt>> {
        let source = disks.iter().find(|d| d.no == path.disk())?;
        Some(Arc::new(Window::new(source.bytes.clone(), extent).ok()?))
    };
    let Some(mapping) = &volume.mapping else { return window(&volume.path, volume.extent) };
    let beneath = mapping.beneath.iter().map(|b| window(&b.path, b.extent)).collect::<Option<Vec<_>>>()?;
    let mapped = Mapped::new(mapping, beneath)?;
    (mapped.size() == volume.extent.len()).then(|| Arc::new(mapped) as Arc<dyn ReadAt>)
}
