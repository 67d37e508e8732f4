//! Arrays of md: their members, and how the bytes of the array lie on these (kernel `drivers/md/raid0.c`, `raid1.c`, `raid10.c`, `md-linear.c`).
//!
//! RAID 0 (members of one size), 1, 10 (near) and linear are read. Nothing is assembled. Of a mirror the first place that is in order is
//! read, as the kernel does where the mirrors may differ. A mirrored array is written to where all its members are here, in order, and alike: then
//! all of them get the same bytes, and nothing that md keeps of them needs to change.

mod superblock;

use super::{Carrier, MD};
use crate::finding;
use model::id::VolumePath;
use model::inspection::{Content, MdInfo, Severity, Volume};
use model::mapping::{Beneath, Layers, Leg, Mapped, Mapping, Segment};
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent};
use std::collections::BTreeMap;
use std::sync::Arc;
use superblock::Superblock;

const AS_IS: &str = "every byte of its members is saved where these are saved";

/// A member that is here.
struct Member<'a> {
    volume: &'a Volume,
    sb: Superblock,
}

/// An array whose bytes can be read.
pub(super) struct Array {
    path: VolumePath,
    mapping: Mapping,
    bytes: Arc<dyn ReadAt>,
    members: Vec<(VolumePath, MdInfo)>,
    says: String,
    /// What it is beneath of, where it carries no file system: `lvm2`, `md`.
    pub(super) carries: Option<&'static str>,
}

impl Array {
    /// As what volumes of LVM may lie on.
    pub(super) fn carrier(&self) -> Carrier {
        let extent = Extent::whole(self.bytes.size());
        let members = self.members.iter().map(|(path, info)| (path.clone(), Content::Md(info.clone()))).collect();
        let mapping = Some(self.mapping.clone());
        Carrier { path: self.path.clone(), extent, bytes: self.bytes.clone(), mapping, members }
    }

    /// Tells of it as a volume, where what is on it can be read.
    pub(super) fn tell(self, layers: &mut Layers) {
        if self.carries.is_some() {
            return self.tell_unread(layers);
        }
        layers.physical.extend(self.members.into_iter().map(|(path, info)| (path, Content::Md(info))));
        layers.volumes.push((self.path, self.mapping));
    }

    /// Tells of one that carries others, where none of those could be read.
    pub(super) fn tell_unread(&self, layers: &mut Layers) {
        let (Some(kind), Some((first, _))) = (self.carries, self.members.first()) else { return };
        if !layers.physical.iter().any(|(path, _)| path == first) {
            let says = format!("{} carries {kind}, of which nothing is read", self.says);
            layers.findings.push(finding(Severity::Warning, first, says, AS_IS));
        }
    }
}

/// Finds the arrays that these volumes are members of, and those on which a fence stands may be.
pub(super) fn find(
    (volumes, fenced): (&[&Volume], &[&Volume]),
    window: &dyn Fn(&VolumePath) -> Option<Arc<dyn ReadAt>>,
    layers: &mut Layers,
) -> Vec<Array> {
    let mut arrays: BTreeMap<String, Vec<Member<'_>>> = BTreeMap::new();
    for volume in volumes.iter().chain(fenced) {
        let Some(bytes) = window(&volume.path) else { continue };
        let read = crate::guarded(|| superblock::read(bytes.as_ref()));
        if matches!(volume.content, Content::Fenced(_)) && !matches!(read, Some(Ok(_))) {
            continue;
        }
        match read.unwrap_or_else(|| Err("its superblock does not hold together".to_owned())) {
            Ok(sb) => arrays.entry(sb.array.clone()).or_default().push(Member { volume, sb }),
            Err(why) => {
                let says = format!("it looks like a member of an md array, but {why}");
                layers.findings.push(finding(Severity::Warning, &volume.path, says, AS_IS));
            }
        }
    }
    let mut found: Vec<Array> = Vec::new();
    for members in arrays.into_values() {
        let array = array(members, window, (layers, &found));
        found.extend(array);
    }
    found
}

/// What a level is called.
fn level_of(sb: &Superblock) -> String {
    match sb.level {
        -1 => "linear".to_owned(),
        n => format!("raid{n}"),
    }
}

fn array(
    mut members: Vec<Member<'_>>,
    window: &dyn Fn(&VolumePath) -> Option<Arc<dyn ReadAt>>,
    (layers, known): (&mut Layers, &[Array]),
) -> Option<Array> {
    members.sort_by(|a, b| a.volume.path.cmp(&b.volume.path));
    let newest = members.iter().max_by_key(|m| m.sb.events).map(|m| m.sb.clone())?;
    let name = newest.name.clone();
    let level = level_of(&newest);
    let called = format!("array {name} ({level})");
    let mut tell = |severity, at: &VolumePath, says: String, advice: &str| {
        layers.findings.push(finding(severity, at, says, advice));
    };
    // One that was away while the array changed is not part of it any more.
    for m in members.iter().filter(|m| m.sb.events != newest.events) {
        let says = format!(
            "it is an old member of {called}: it knows of {} changes of it, others of {}",
            m.sb.events, newest.events
        );
        let advice = "it was away, or failed, while the array changed; what is on it may be old";
        tell(Severity::Warning, &m.volume.path, says, advice);
    }
    members.retain(|m| m.sb.events == newest.events);
    let first = members.first().map(|m| m.volume.path.clone())?;
    let mapping = match mapping(&members, &newest) {
        Ok(mapping) => mapping,
        Err(why) => {
            tell(Severity::Warning, &first, format!("{called} is not read: {why}"), AS_IS);
            return None;
        }
    };
    // By its name where that can be part of a path, else by its UUID.
    let named = [name.as_str(), newest.array.as_str()].map(|name| first.above(&[MD, name]));
    let path = named.into_iter().flatten().find(|p| !known.iter().any(|k| k.path == *p))?;
    let parts = mapping.beneath.iter().map(|b| window(&b.path)).collect::<Option<Vec<_>>>();
    let Some(bytes) = parts.and_then(|parts| Mapped::new(&mapping, parts)) else {
        tell(Severity::Warning, &first, format!("{called} is not read: its members do not hold together"), AS_IS);
        return None;
    };
    let whole = members.iter().filter(|m| m.sb.role.is_some()).count();
    if whole < usize::try_from(newest.members).unwrap_or(usize::MAX) {
        let says = format!("{called} has {whole} of {} members here", newest.members);
        tell(Severity::Warning, &first, says, "it can be read; attach the others, or replace what failed");
    }
    if !newest.clean && mapping.is_mirrored() {
        let says = format!("{called} was not stopped in order: its mirrors may differ");
        let advice = "the first is read, as the kernel does; when the system runs it makes the others alike";
        tell(Severity::Note, &first, says, advice);
    }
    let bytes: Arc<dyn ReadAt> = Arc::new(bytes);
    let carries = match crate::content::identify(&path, &bytes).0 {
        Content::Recognised { name, .. } if name == "lvm2" => Some("lvm2"),
        Content::Recognised { name, .. } if name == "md" => Some("md"),
        _ => None,
    };
    let info = |m: &Member<'_>| MdInfo {
        uuid: m.sb.member.clone(),
        array: DisplayText::new(&name),
        array_uuid: newest.array.clone(),
        level: level.clone(),
        role: m.sb.role.unwrap_or(0),
        events: m.sb.events,
        apart: mapping.held_of(&m.volume.path),
    };
    let used = members.iter().filter(|m| mapping.beneath.iter().any(|b| b.path == m.volume.path));
    let members = used.map(|m| (m.volume.path.clone(), info(m))).collect();
    Some(Array { path, mapping, bytes, members, says: called, carries })
}

/// How the bytes of an array lie on its members.
fn mapping(members: &[Member<'_>], sb: &Superblock) -> Result<Mapping, String> {
    if let Some(why) = members.iter().find_map(|m| m.sb.unread.clone()) {
        return Err(why);
    }
    let same = |m: &&Member<'_>| {
        let key = |s: &Superblock| (s.level, s.layout, s.chunk, s.members, s.size);
        key(&m.sb) == key(sb)
    };
    if !members.iter().all(|m| same(&m)) {
        return Err("its members do not agree".to_owned());
    }
    let places = usize::try_from(sb.members).unwrap_or(usize::MAX);
    if places == 0 || places > model::mapping::MOST_BENEATH {
        return Err(format!("it has {places} members"));
    }
    // The members in order, by their places. The newest superblocks say who is in order.
    let mut of: Vec<Option<&Member<'_>>> = vec![None; places];
    for member in members {
        let Some(role) = member.sb.role.and_then(|r| usize::try_from(r).ok()) else { continue };
        if !sb.active.get(role).copied().unwrap_or(false) {
            continue;
        }
        if let Some(other) = of[role].replace(member) {
            return Err(format!("{} and {} are both its member {role}", other.volume.path, member.volume.path));
        }
    }
    let all = |of: &[Option<&Member<'_>>]| match of.iter().position(Option::is_none) {
        None => Ok(()),
        Some(gone) => Err(format!("its member {gone} is not here, or not in order")),
    };
    let here: Vec<&Member<'_>> = of.iter().copied().flatten().collect();
    let beneath = here.iter().map(|m| Beneath::plain(m.volume.path.clone(), m.volume.extent)).collect();
    // Where each place's member stands in that list.
    let mut next = 0;
    let index: Vec<Option<usize>> = of
        .iter()
        .map(|m| {
            m.is_some().then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    let start = |n: usize| here.get(n).map_or(ByteOffset(0), |m| m.sb.data.start());
    let leg = |copies: &[usize]| -> Option<Leg> {
        let mut places = copies.iter().map(|n| (*n, start(*n)));
        let (on, at) = places.next()?;
        Some(Leg { on, at, mirrors: places.collect() })
    };
    let fits = |len: ByteLen| match here.iter().find(|m| m.sb.data.len() < len) {
        None => Ok(()),
        Some(m) => Err(format!("{} is smaller than the array needs", m.volume.path)),
    };
    let chunked = |len: u64| match sb.chunk.0 {
        0 => Err("it has no chunks".to_owned()),
        chunk => Ok(len / chunk * chunk),
    };
    let mut mirrored = false;
    let segments = match sb.level {
        1 => {
            mirrored = true;
            fits(sb.size)?;
            let copies: Vec<usize> = (0..here.len()).collect();
            let leg = leg(&copies).ok_or("none of its members is here")?;
            vec![Segment { len: sb.size, stripe: ByteLen::ZERO, skip: ByteLen::ZERO, legs: vec![leg] }]
        }
        0 => {
            all(&of)?;
            let sizes: Vec<u64> = here.iter().map(|m| chunked(m.sb.data.len().0)).collect::<Result<_, _>>()?;
            if sizes.iter().any(|s| Some(s) != sizes.first()) {
                return Err("its members have different sizes".to_owned());
            }
            let each = sizes.first().copied().unwrap_or(0);
            striped(each.checked_mul(places as u64), sb.chunk, (0..places).filter_map(|n| leg(&[n])).collect())?
        }
        10 => {
            let (near, far) = (sb.layout & 0xff, sb.layout >> 8 & 0xff);
            let near = usize::try_from(near).unwrap_or(0);
            if far != 1 || near == 0 || !places.is_multiple_of(near) || sb.layout >> 16 & 1 != 0 {
                return Err(format!("its layout is {:#x}", sb.layout));
            }
            mirrored = near > 1;
            let each = chunked(sb.size.0)?;
            fits(ByteLen(each))?;
            let group = |n: usize| -> Result<Leg, String> {
                let copies: Vec<usize> = index[n * near..(n + 1) * near].iter().copied().flatten().collect();
                leg(&copies).ok_or_else(|| "all mirrors of a part of it are gone".to_owned())
            };
            let legs = (0..places / near).map(group).collect::<Result<Vec<_>, _>>()?;
            striped(each.checked_mul(legs.len() as u64), sb.chunk, legs)?
        }
        -1 => {
            all(&of)?;
            let one = |(n, m): (usize, &&Member<'_>)| {
                let len = match sb.chunk.0 {
                    0 => m.sb.data.len().0,
                    chunk => m.sb.data.len().0 / chunk * chunk,
                };
                Segment::linear(ByteLen(len), n, m.sb.data.start())
            };
            here.iter().enumerate().map(one).collect()
        }
        other => return Err(format!("RAID {other} is not read by this version")),
    };
    let gone = (0..).zip(&of).find(|(_, m)| m.is_none()).map(|(n, _): (usize, _)| n);
    let unwritten = match gone {
        Some(n) => {
            Some(format!("its member {n} is not here, or not in order, and would not be written with the others"))
        }
        // One that is older than the newest superblock knows is told by its number of changes, and not among these.
        None if !members.iter().all(|m| m.sb.clean) => {
            Some("it was not stopped in order: its mirrors may differ until the system made them alike".to_owned())
        }
        None => None,
    };
    Ok(Mapping {
        says: DisplayText::new(&format!("md array {} ({})", sb.name, level_of(sb))),
        id: format!("md/{}", sb.array),
        beneath,
        segments,
        read_only: unwritten.filter(|_| mirrored).map(|why| DisplayText::new(&why)),
    })
}

fn striped(len: Option<u64>, stripe: ByteLen, legs: Vec<Leg>) -> Result<Vec<Segment>, String> {
    let len = ByteLen(len.ok_or("it is longer than any")?);
    let alone = legs.len() == 1;
    let stripe = if alone { ByteLen::ZERO } else { stripe };
    match Extent::new(ByteOffset(0), len).filter(|e| !e.is_empty()) {
        Some(_) => Ok(vec![Segment { len, stripe, skip: ByteLen::ZERO, legs }]),
        None => Err("it has no bytes".to_owned()),
    }
}
