//! btrfs on several devices: the file system is a volume of its own, which holds every device as long as it is, one behind the other, by their
//! numbers. `fs::btrfs` reads that; this module finds which volumes make it up.
//!
//! It is made only of all devices, each here once, and at the same transaction: of what is missing or was away it cannot be told what the
//! installed system would see. Then every byte of those that are here is saved.

use crate::finding;
use crate::fs::btrfs::{self, DeviceOf};
use model::id::VolumePath;
use model::inspection::{BtrfsDeviceInfo, BtrfsInfo, Content, Severity, Volume};
use model::mapping::{Beneath, Layers, MOST_BENEATH, Mapped, Mapping, Segment};
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::ByteOffset;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What stands before the name of such a volume in a path.
const BTRFS: &str = "btrfs";
const AS_IS: &str = "every byte of those that are here is saved";
/// Devices are whole sectors, of which none is smaller.
const SECTOR: u64 = 4096;

/// A device that is here.
struct Member<'a> {
    volume: &'a Volume,
    bytes: Arc<dyn ReadAt>,
    of: DeviceOf,
    fenced: bool,
}

impl Member<'_> {
    fn info(&self) -> &BtrfsInfo {
        &self.of.info
    }
}

/// True where a volume may be a device of a btrfs on several: it looks like one, or a fence stands there.
pub(super) fn may_be(content: &Content) -> bool {
    match content {
        Content::Btrfs(b) => b.devices > 1,
        Content::Recognised { name, .. } => name == BTRFS,
        Content::Fenced(_) => true,
        _ => false,
    }
}

/// Finds the file systems on several devices that these volumes make up.
pub(super) fn find(volumes: &[&Volume], window: &dyn Fn(&VolumePath) -> Option<Arc<dyn ReadAt>>, layers: &mut Layers) {
    let mut all: BTreeMap<String, Vec<Member<'_>>> = BTreeMap::new();
    for volume in volumes {
        let Some(bytes) = window(&volume.path) else { continue };
        let found = crate::guarded(|| btrfs::device(bytes.as_ref())).flatten();
        let Some(of) = found.filter(|of| of.info.devices > 1) else { continue };
        let fenced = matches!(volume.content, Content::Fenced(_));
        all.entry(of.info.uuid.clone()).or_default().push(Member { volume, bytes, of, fenced });
    }
    for mut members in all.into_values() {
        members.sort_by(|a, b| (a.info().device, &a.volume.path).cmp(&(b.info().device, &b.volume.path)));
        match made(&members) {
            Ok((path, mapping)) => tell(&members, path, mapping, layers),
            Err(why) => {
                let called = called(&members);
                for m in &members {
                    let says = format!("it is device {} of {called}, which is not read: {why}", m.info().device);
                    layers.findings.push(finding(Severity::Warning, &m.volume.path, says, AS_IS));
                }
            }
        }
    }
}

/// What people call it.
fn called(members: &[Member<'_>]) -> String {
    let newest = members.iter().max_by_key(|m| (!m.of.hidden, m.info().generation)).map(Member::info);
    let (label, devices) = newest.map_or((String::new(), 0), |b| (b.label.to_string(), b.devices));
    let name = if label.is_empty() { String::new() } else { format!(" \"{label}\"") };
    format!("btrfs{name} on {devices} devices")
}

/// The volume that these devices make up. An error says why none.
fn made(members: &[Member<'_>]) -> Result<(VolumePath, Mapping), String> {
    let first = members.first().ok_or("none of its devices is here")?;
    if let Some(why) = members.iter().find_map(|m| m.of.not_read.clone()) {
        return Err(why);
    }
    for pair in members.windows(2) {
        if let [a, b] = pair
            && a.info().device == b.info().device
        {
            return Err(format!("{} and {} are both its device {}", a.volume.path, b.volume.path, a.info().device));
        }
    }
    behind(members)?;
    let newest = members.iter().max_by_key(|m| (!m.of.hidden, m.info().generation)).map_or(0, |m| m.info().devices);
    if members.len() > MOST_BENEATH || members.len() as u64 != newest {
        return Err(format!("{} of its {newest} devices are here", members.len()));
    }
    if members.iter().any(|m| !m.info().size.0.is_multiple_of(SECTOR) || m.info().size > m.bytes.size()) {
        return Err("a device of it ends within a sector, or before the file system does".to_owned());
    }
    // A fence stands at the head of the volume: that of the first device, and of no other.
    let (hidden, fenced) = (members.iter().any(|m| m.of.hidden), members.iter().skip(1).any(|m| m.fenced));
    if fenced || (hidden && !first.fenced) {
        return Err("an unfinished rollback stands on single devices of it".to_owned());
    }
    let parts = (0..).zip(members).map(|(n, m)| Segment::linear(m.info().size, n, ByteOffset(0)));
    let mapping = Mapping {
        says: DisplayText::new(&called(members)),
        id: Mapping::id_of_btrfs(&first.info().uuid),
        beneath: members.iter().map(|m| Beneath::plain(m.volume.path.clone(), m.volume.extent)).collect(),
        segments: parts.collect(),
        read_only: None,
    };
    let at = members.iter().map(|m| &m.volume.path).min().unwrap_or(&first.volume.path);
    // By the beginning of its UUID: a device is of one file system only, and labels may be changed.
    let name: String = first.info().uuid.chars().take(8).collect();
    let path = at.above(&[BTRFS, &name]).ok_or("it has no name")?;
    let whole = Mapped::new(&mapping, members.iter().map(|m| m.bytes.clone()).collect());
    let whole: Arc<dyn ReadAt> = Arc::new(whole.ok_or("its devices do not hold together")?);
    if !hidden {
        match btrfs::identify(&whole) {
            Ok(Some(BtrfsInfo { not_read: None, .. })) => {}
            Ok(Some(BtrfsInfo { not_read: Some(why), .. })) => return Err(why.to_string()),
            Ok(None) => return Err("its superblocks do not hold together".to_owned()),
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok((path, mapping))
}

/// Devices that were away while others were written are told. A cut between the superblocks of one transaction leaves some at the one before it.
/// While a rollback is unfinished those that were put back already are of another time.
fn behind(members: &[Member<'_>]) -> Result<(), String> {
    let newest = members.iter().map(|m| m.info().generation).max().unwrap_or(0);
    let ending = members.first().is_some_and(|m| !m.of.hidden) && members.iter().any(|m| m.of.hidden);
    let late = members.iter().find(|m| newest - m.info().generation > 1 && !ending);
    late.map_or(Ok(()), |m| {
        let (path, by) = (&m.volume.path, newest - m.info().generation);
        Err(format!("{path}, its device {}, is {by} transactions behind the others", m.info().device))
    })
}

fn tell(members: &[Member<'_>], path: VolumePath, mapping: Mapping, layers: &mut Layers) {
    let newest = members.iter().map(|m| m.info().generation).max().unwrap_or(0);
    for m in members {
        let b = m.info();
        if b.generation != newest && !members.iter().any(|m| m.of.hidden) {
            let says = format!(
                "it is device {} of {}, and missed the last transaction: the machine was cut off between the two, or it was away",
                b.device, mapping.says
            );
            let advice = "`btrfs scrub` of the running system puts right what it missed";
            layers.findings.push(finding(Severity::Warning, &m.volume.path, says, advice));
        }
        let info = BtrfsDeviceInfo {
            uuid: b.device_uuid.clone(),
            file_system: b.uuid.clone(),
            label: b.label.clone(),
            device: b.device,
            devices: b.devices,
            generation: b.generation,
            apart: mapping.held_of(&m.volume.path),
        };
        layers.physical.push((m.volume.path.clone(), Content::BtrfsDevice(info)));
    }
    layers.volumes.push((path, mapping));
}
