//! A look at disks: the steps composed.

use crate::{content, finding, system, table, volume};
use model::id::{Digest, VolumePath};
use model::inspection::{Disk, Finding, Inspection, Severity, Volume};
use model::ports::{DiskSource, HEAD_LEN, ReadAt, Window};
use model::units::{ByteOffset, Extent};
use std::sync::Arc;

/// Looks at every disk: its table, what is on each volume, and which systems are installed.
pub fn inspect(disks: &[DiskSource]) -> Inspection {
    let mut inspection = Inspection::default();
    for source in disks {
        let disk = look(source, &mut inspection.findings);
        inspection.disks.push(disk);
    }
    layer(disks, &mut inspection);
    let window = |path: &VolumePath| volume::bytes(disks, inspection.volume(path)?);
    let (systems, findings) = system::find(&inspection, &window);
    inspection.systems = systems;
    inspection.findings.extend(findings);
    inspection
}

/// Adds what layers make of the volumes on the disks.
fn layer(disks: &[DiskSource], inspection: &mut Inspection) {
    let layers = volume::layers(inspection, &|path| volume::bytes(disks, inspection.volume(path)?));
    inspection.findings.extend(layers.findings);
    inspection.set_physical(layers.physical);
    for (path, mapping) in layers.volumes {
        let Some(mut volume) = Volume::mapped(path, mapping) else { continue };
        if let Some(bytes) = volume::bytes(disks, &volume) {
            let (content, found) = content::identify(&volume.path, &bytes);
            volume.content = content;
            inspection.findings.extend(found);
            inspection.layered.push(volume);
        }
    }
}

fn look(source: &DiskSource, findings: &mut Vec<Finding>) -> Disk {
    let reading = table::read(source.no, source.hardware.sector, &source.bytes);
    findings.extend(reading.findings);
    let mut volumes = Vec::new();
    for (path, extent, said) in reading.volumes {
        let content = said.unwrap_or_else(|| identify(source, &path, extent, findings));
        volumes.push(Volume::on_disk(path, extent, content));
    }
    Disk {
        no: source.no,
        hardware: source.hardware.clone(),
        head: head(source, findings),
        table: reading.table,
        volumes,
    }
}

fn identify(
    source: &DiskSource,
    path: &VolumePath,
    extent: Extent,
    findings: &mut Vec<Finding>,
) -> model::inspection::Content {
    match Window::new(source.bytes.clone(), extent) {
        Ok(window) => {
            let (content, found) = content::identify(path, &(Arc::new(window) as Arc<dyn ReadAt>));
            findings.extend(found);
            content
        }
        // The table's reader gives volumes inside the disk only.
        Err(_) => model::inspection::Content::Unknown,
    }
}

/// The digest of the disk's head, or of nothing where that cannot be read.
fn head(source: &DiskSource, findings: &mut Vec<Finding>) -> Digest {
    let len = source.bytes.size().min(HEAD_LEN);
    let bytes = len.to_usize().map_or(Ok(Vec::new()), |len| source.bytes.read_vec(ByteOffset(0), len));
    Digest::of(&bytes.unwrap_or_else(|e| {
        let says = format!("the first {len} of the disk cannot be read: {e}");
        let advice = "the disk may be failing; save what can be read";
        findings.push(finding(Severity::Damage, &VolumePath::whole(source.no), says, advice));
        Vec::new()
    }))
}
