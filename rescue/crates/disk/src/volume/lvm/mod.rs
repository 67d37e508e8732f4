//! LVM2: physical volumes, the groups they make up, and how the bytes of their logical volumes lie.
//!
//! Volumes that are linear or striped are read; of all others (thin, cached, mirrored, snapshots, RAID, VDO) what lies on the physical
//! volumes is captured with these, byte for byte. What cannot be told for certain is not read.

mod group;
mod label;
mod text;

use super::Carrier;
use super::compose::{Below, Composed};
use crate::finding;
use group::{Group, Logical, Physical};
use model::id::VolumePath;
use model::inspection::{Content, LvmInfo, Severity};
use model::mapping::{Beneath, Layers, Mapping};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::BTreeMap;

/// Most volumes that are told as not read, by name.
const MOST_UNREAD: usize = 64;
const AS_IS: &str = "every byte of it is saved where it is saved";

/// A physical volume that is here.
struct Here<'a> {
    volume: &'a Carrier,
    uuid: String,
    /// The groups its texts tell of.
    groups: Vec<Group>,
}

/// Finds the groups that these volumes make up, and their logical volumes.
pub(super) fn find(volumes: &[Carrier], layers: &mut Layers) {
    let mut here = Vec::new();
    for volume in volumes {
        let read = crate::guarded(|| label::read(volume.bytes.as_ref()));
        let read =
            read.unwrap_or_else(|| Err(crate::fs::FsError::Corrupt("its label does not hold together".to_owned())));
        match read {
            Ok(physical) => here.push(known(volume, physical, layers)),
            Err(e) => {
                let says = format!("it looks like a physical volume of LVM, but {e}");
                layers.findings.push(finding(Severity::Damage, &volume.path, says, AS_IS));
            }
        }
    }
    let groups = newest(&here, layers);
    for (uuid, group) in &groups {
        let uuid = uuid.as_str();
        let mut making = Making { group, groups: &groups, here: &here, layers };
        if let Some(why) = making.refused() {
            for volume in here.iter().filter(|h| h.groups.iter().any(|g| g.uuid == uuid)).map(|h| h.volume) {
                let says = format!("the volumes of LVM group {} are not read: {why}", group.name);
                making.layers.findings.push(finding(Severity::Warning, &volume.path, says, AS_IS));
            }
            continue;
        }
        making.make();
    }
}

fn known<'a>(volume: &'a Carrier, physical: label::Physical, layers: &mut Layers) -> Here<'a> {
    let mut groups = Vec::new();
    let mut wrong = physical.wrong;
    for text in &physical.texts {
        match crate::guarded(|| group::read(text)).unwrap_or_else(|| Err("its text does not hold together".to_owned()))
        {
            Ok(group) => groups.push(group),
            Err(why) => wrong.push(why),
        }
    }
    for why in wrong {
        let says = format!("a copy of LVM's metadata on it is not to be used: {why}");
        layers.findings.push(finding(Severity::Warning, &volume.path, says, "LVM has other copies, or `vgcfgrestore`"));
    }
    Here { volume, uuid: physical.uuid, groups }
}

/// The newest metadata of each group. Older copies are told.
fn newest<'a>(here: &'a [Here<'_>], layers: &mut Layers) -> BTreeMap<String, &'a Group> {
    let mut newest: BTreeMap<String, &Group> = BTreeMap::new();
    for group in here.iter().flat_map(|h| &h.groups) {
        let known = newest.entry(group.uuid.clone()).or_insert(group);
        if group.seqno > known.seqno {
            *known = group;
        }
    }
    for h in here {
        let own = h.groups.iter().max_by_key(|g| g.seqno);
        let Some((own, last)) = own.and_then(|own| Some((own, newest.get(&own.uuid)?))) else { continue };
        if own.seqno < last.seqno {
            let says = format!(
                "its copy of LVM's metadata is older than that of others: number {} of group {}, which is at {}",
                own.seqno, own.name, last.seqno
            );
            layers.findings.push(finding(
                Severity::Warning,
                &h.volume.path,
                says,
                "it was away while the group changed",
            ));
        }
    }
    newest
}

/// A group whose volumes are being told.
struct Making<'a, 'b> {
    group: &'a Group,
    /// All there are, by UUID.
    groups: &'a BTreeMap<String, &'a Group>,
    here: &'a [Here<'a>],
    layers: &'b mut Layers,
}

impl<'a> Making<'a, '_> {
    /// The volume that a physical volume is, where it is here and its extents lie within.
    fn place(&self, on: usize) -> Option<&'a Carrier> {
        let physical = self.group.physical.get(on).filter(|p| !p.missing)?;
        let volume = self.here.iter().find(|h| h.uuid == physical.uuid)?.volume;
        let extents = physical.count.checked_mul(self.group.extent.0)?;
        let end = physical.start.checked_add(extents)?;
        (end <= volume.extent.len().0).then_some(volume)
    }

    /// Why nothing of the group can be told.
    fn refused(&self) -> Option<String> {
        let group = self.group;
        if let Some(why) = &group.unread {
            return Some(why.clone());
        }
        for physical in &group.physical {
            let mut same = self.here.iter().filter(|h| h.uuid == physical.uuid).map(|h| &h.volume.path);
            if let (Some(a), Some(b)) = (same.next(), same.next()) {
                return Some(format!("{a} and {b} are both its physical volume {}", physical.uuid));
            }
            if group.physical.iter().filter(|p| p.uuid == physical.uuid).count() > 1 {
                return Some(format!("it has {} twice", physical.uuid));
            }
        }
        for other in self.groups.values().filter(|g| g.uuid != group.uuid) {
            let shared = |p: &&Physical| other.physical.iter().any(|o| o.uuid == p.uuid);
            if let Some(physical) = group.physical.iter().find(shared) {
                return Some(format!("another group, {}, has its physical volume {} too", other.name, physical.uuid));
            }
        }
        let told = |g: &&Group| g.uuid == group.uuid && g.seqno == group.seqno;
        let mut copies = self.here.iter().flat_map(|h| &h.groups).filter(told);
        if copies.any(|g| !alike(g, group)) {
            return Some(format!("its copies of number {} do not agree", group.seqno));
        }
        let mut taken: BTreeMap<usize, ExtentSet> = BTreeMap::new();
        for logical in &group.logical {
            for (on, from, count) in &logical.places {
                let Some(extent) = from.checked_add(*count).and_then(|end| Extent::between(*from, end)) else {
                    return Some(format!("{} lies outside of it", logical.name));
                };
                let end = group.physical.get(*on).map_or(0, |p| p.count);
                let set = taken.entry(*on).or_default();
                if extent.end().0 > end || set.meets(extent) {
                    return Some(format!("{} lies outside of it, or on bytes of another volume", logical.name));
                }
                set.insert(extent);
            }
        }
        None
    }

    fn make(&mut self) {
        let group = self.group;
        let mut read: Vec<(&Logical, Mapping)> = Vec::new();
        let (mut unread, mut names): (Vec<String>, Vec<DisplayText>) = (Vec::new(), Vec::new());
        for logical in group.logical.iter().filter(|l| l.visible) {
            match self.mapping(logical) {
                Ok(mapping) => read.push((logical, mapping)),
                Err(why) => {
                    names.push(DisplayText::new(&logical.name));
                    unread.push(format!("{} ({why})", logical.name));
                }
            }
        }
        let whole = (0..group.physical.len()).filter_map(|on| self.place(on)).map(Carrier::first).min();
        // Where none is whole: what told of the group.
        let told = self.here.iter().filter(|h| h.groups.iter().any(|g| g.uuid == group.uuid));
        let Some(first) = whole.or(told.map(|h| h.volume.first()).min()) else { return };
        let gone: Vec<&str> = (0..)
            .zip(&group.physical)
            .filter(|(on, _)| self.place(*on).is_none())
            .map(|(_, p)| p.uuid.as_str())
            .collect();
        if !gone.is_empty() {
            let says =
                format!("physical volumes of LVM group {} are not here, or not whole: {}", group.name, gone.join(", "));
            self.layers.findings.push(finding(Severity::Warning, first, says, "name or attach the other disks too"));
        }
        if !unread.is_empty() {
            let says = format!("of LVM group {} these volumes are not read: {}", group.name, unread.join(", "));
            let advice = match read.is_empty() {
                false => "they are saved byte for byte, with the group, and come back with a whole disk (`restore`)",
                // Nothing of the group is known then: it is one thing.
                true => "`--full` saves them byte for byte, with the group",
            };
            self.layers.findings.push(finding(Severity::Note, first, says, advice));
        }
        let mut volumes = Vec::new();
        for (logical, mapping) in read {
            // Two names may be one path; neither is told then.
            let path = first.above(&[&group.name, &logical.name]);
            let path = path.filter(|p| !volumes.iter().any(|(known, _)| known == p));
            match path.filter(|_| mapping.len().is_some_and(|len| mapping.is_sound(len))) {
                Some(path) => volumes.push((path, mapping)),
                None => {
                    let says = format!("volume {} of LVM group {} is not read", logical.name, group.name);
                    self.layers.findings.push(finding(Severity::Warning, first, says, AS_IS));
                }
            }
        }
        if !volumes.is_empty() {
            for on in 0..group.physical.len() {
                self.physical(on, &volumes, &names);
            }
        }
        self.layers.volumes.extend(volumes);
    }

    /// Says of a physical volume what of it is saved apart.
    fn physical(&mut self, on: usize, volumes: &[(VolumePath, Mapping)], unread: &[DisplayText]) {
        let group = self.group;
        let (Some(volume), Some(physical)) = (self.place(on), group.physical.get(on)) else { return };
        let extent = |from: u64, count: u64| {
            let start = group.extent.0.checked_mul(from)?.checked_add(physical.start)?;
            Extent::new(ByteOffset(start), ByteLen(group.extent.0.checked_mul(count)?))
        };
        let all = extent(0, physical.count);
        let used: ExtentSet = group
            .logical
            .iter()
            .flat_map(|l| &l.places)
            .filter(|(n, ..)| *n == on)
            .filter_map(|(_, from, count)| extent(*from, *count))
            .collect();
        // Where any volume lies in a way that is not known, nothing is known to be free.
        let free = match (group.logical.iter().any(|l| l.elsewhere), all) {
            (false, Some(all)) => used.gaps(all),
            _ => ExtentSet::new(),
        };
        let Some(below) = &volume.mapping else {
            let mapped = volumes.iter().fold(ExtentSet::new(), |set, (_, m)| set.union(&m.held_of(&volume.path)));
            let info = LvmInfo {
                uuid: physical.uuid.clone(),
                group: DisplayText::new(&group.name),
                group_uuid: group.uuid.clone(),
                seqno: group.seqno,
                apart: mapped.union(&free),
                unread: unread.iter().take(MOST_UNREAD).cloned().collect(),
            };
            self.layers.physical.push((volume.path.clone(), Content::Lvm(info)));
            return;
        };
        // Of an array, or of what was opened: on each volume beneath.
        let free = super::held_beneath(below, &free);
        self.layers.physical.retain(|(path, _)| !below.beneath.iter().any(|b| b.path == *path));
        for (beneath, free) in below.beneath.iter().zip(free) {
            let mapped = volumes.iter().fold(free, |set, (_, m)| set.union(&m.held_of(&beneath.path)));
            let known = volume.members.iter().find(|(path, _)| *path == beneath.path);
            if let Some((path, content)) = known.and_then(|(path, c)| Some((path, c.with_apart(mapped)?))) {
                self.layers.physical.push((path.clone(), content));
            }
        }
    }

    fn mapping(&self, logical: &Logical) -> Result<Mapping, String> {
        let group = self.group;
        let segments = logical.segments.as_ref().map_err(Clone::clone)?;
        if let Some(whole) = group.logical.iter().find(|l| l.parts.contains(&logical.name)) {
            return Err(format!("it is part of {}", whole.name));
        }
        let mut out = Composed::default();
        for segment in segments {
            let mut legs = Vec::new();
            for (on, from) in &segment.legs {
                let (Some(volume), Some(physical)) = (self.place(*on), group.physical.get(*on)) else {
                    return Err("a physical volume of it is not here".to_owned());
                };
                let at = group.extent.0.checked_mul(*from).and_then(|at| at.checked_add(physical.start));
                let below = match &volume.mapping {
                    Some(mapping) => Below::Mapped(mapping),
                    None => Below::Volume(Beneath::plain(volume.path.clone(), volume.extent)),
                };
                legs.push((below, at.ok_or("it lies outside of its group")?));
            }
            let len = group.extent.0.checked_mul(segment.extents).ok_or("it is longer than any")?;
            // As device mapper has it (`drivers/md/dm-stripe.c`, `stripe_ctr`): else a stripe would end outside of what the text gives it.
            let stripes = (len / legs.len().max(1) as u64).checked_rem(segment.stripe.0);
            if legs.len() > 1 && stripes != Some(0) {
                return Err(format!("stripes of {} bytes do not fill its extents", segment.stripe.0));
            }
            out.add(ByteLen(len), segment.stripe, &legs).ok_or("it lies in stripes on stripes")?;
        }
        let origin = |l: &Logical| l.origin.as_deref() == Some(logical.name.as_str());
        let kept = group.logical.iter().find(|l| origin(l));
        let read_only = kept.map(|l| {
            let says = format!("{} of LVM is kept upon it: what is written beneath that would damage it", l.name);
            DisplayText::new(&says)
        });
        Ok(Mapping {
            says: DisplayText::new(&format!("LVM volume {} of {}", logical.name, group.name)),
            id: format!("{}/{}", group.uuid, logical.uuid),
            beneath: out.beneath,
            segments: out.segments,
            read_only: out.read_only.or(read_only),
        })
    }
}

/// True where both texts say the same of where things lie.
fn alike(a: &Group, b: &Group) -> bool {
    let physical = |g: &Group| g.physical.iter().map(|p| (p.uuid.clone(), p.start, p.count)).collect::<Vec<_>>();
    let logical = |g: &Group| g.logical.iter().map(|l| (l.uuid.clone(), l.places.clone())).collect::<Vec<_>>();
    a.extent == b.extent && physical(a) == physical(b) && logical(a) == logical(b)
}
