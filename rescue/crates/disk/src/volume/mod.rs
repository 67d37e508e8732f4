//! Volumes that layers make of others: which there are, and how their bytes lie. Everything is read in user space; nothing is assembled.

mod lvm;

use model::id::VolumePath;
use model::inspection::{Content, Inspection, Volume};
use model::mapping::{Layers, Mapped};
use model::ports::{DiskSource, ReadAt, Window};
use std::sync::Arc;

/// What layers make of the volumes of an inspection; `window` gives the bytes of one that lies straight on a disk.
pub fn layers(inspection: &Inspection, window: &dyn Fn(&VolumePath) -> Option<Arc<dyn ReadAt>>) -> Layers {
    let mut layers = Layers::default();
    let of = |name: &str| -> Vec<&Volume> {
        let is = |v: &&Volume| matches!(&v.content, Content::Recognised { name: n, .. } if n == name);
        inspection.disks.iter().flat_map(|d| &d.volumes).filter(is).collect()
    };
    lvm::find(&of("lvm2"), window, &mut layers);
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
