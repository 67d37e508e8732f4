//! A volume group, as its metadata tells it (lvm.conf(5) and LVM2 `lib/format_text/import_vsn1.c`, `flags.c`, `lib/striped/striped.c`).

use super::text::{Ask, Section, Value, parse};
use model::units::ByteLen;

/// Everything in the text is counted in sectors of 512 bytes.
const SECTOR: u64 = 512;
/// What a volume's state may be if its bytes are to be read: all else says that it is being moved or rebuilt, is part of another, or is not
/// known here.
const STATES: [&str; 4] = ["READ", "WRITE", "VISIBLE", "FIXED_MINOR"];
/// Of its flags, those that say nothing of its bytes.
const FLAGS: [&str; 2] = ["ACTIVATION_SKIP", "NOAUTOACTIVATE"];
/// Most volumes of a group that are looked at.
const MOST_VOLUMES: usize = 4096;

/// A group.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) uuid: String,
    pub(super) seqno: u64,
    pub(super) extent: ByteLen,
    pub(super) physical: Vec<Physical>,
    pub(super) logical: Vec<Logical>,
    /// Why no volume of it is read, where that is so.
    pub(super) unread: Option<String>,
}

/// A physical volume of it.
pub(super) struct Physical {
    /// What the text calls it: `pv0`.
    pub(super) name: String,
    pub(super) uuid: String,
    /// First byte of its extents, and how many there are.
    pub(super) start: u64,
    pub(super) count: u64,
    /// The group went on without it: what is on it may be old.
    pub(super) missing: bool,
}

/// A logical volume of it.
pub(super) struct Logical {
    pub(super) name: String,
    pub(super) uuid: String,
    pub(super) visible: bool,
    /// Its segments, or why they are not read.
    pub(super) segments: Result<Vec<Striped>, String>,
    /// The volume whose blocks it keeps as they were, or builds upon.
    pub(super) origin: Option<String>,
    /// Where it lies straight on physical volumes: which, from which extent on, and how many.
    pub(super) places: Vec<(usize, u64, u64)>,
    /// Volumes that it is made of.
    pub(super) parts: Vec<String>,
    /// It names physical volumes in a way that is not known here.
    pub(super) elsewhere: bool,
}

/// A segment that lies on physical volumes in turn, or on one.
pub(super) struct Striped {
    pub(super) extents: u64,
    pub(super) stripe: ByteLen,
    /// Which physical volume, and from which of its extents on.
    pub(super) legs: Vec<(usize, u64)>,
}

/// A name as LVM allows it (lvm(8), "valid names").
fn is_name(name: &str) -> bool {
    let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'_' | b'.' | b'-');
    (1..=127).contains(&name.len()) && !name.starts_with('-') && !matches!(name, "." | "..") && name.bytes().all(known)
}

/// Reads the text of a group; an error where it makes no sense.
pub(super) fn read(text: &[u8]) -> Result<Group, String> {
    let all = parse(text)?;
    if all.text("contents") != Some("Text Format Volume Group") || all.number("version") != Some(1) {
        return Err("its text is of another form".to_owned());
    }
    let sections = |(name, value): (&'_ String, &'_ Value)| matches!(value, Value::Section(_)).then(|| name.clone());
    let mut names = all.iter().filter_map(sections);
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err("it tells of no group, or of several".to_owned());
    };
    let vg = all.inner(&name).ok_or("it tells of no group")?;
    let missing = |what: &str| format!("it does not tell the {what} of {name}");
    if !is_name(&name) {
        return Err("its group has a name that is none".to_owned());
    }
    let uuid = vg.text("id").filter(|id| id.len() == 38).ok_or_else(|| missing("id"))?.to_owned();
    let extent = vg.number("extent_size").and_then(|n| n.checked_mul(SECTOR)).filter(|n| *n > 0);
    let extent = ByteLen(extent.ok_or_else(|| missing("extent size"))?);
    let seqno = vg.number("seqno").ok_or_else(|| missing("number"))?;
    let physical = physical(vg)?;
    let logical = match vg.inner("logical_volumes") {
        None => Vec::new(),
        Some(list) if list.len() > MOST_VOLUMES => return Err(format!("{} volumes", list.len())),
        Some(list) => list.iter().filter_map(|(name, v)| logical(name, v, &physical)).collect(),
    };
    let status = vg.words("status");
    let shared = status.contains(&"CLUSTERED") || vg.text("lock_type").is_some_and(|l| !matches!(l, "none" | ""));
    let unread = if shared {
        Some("several machines share it".to_owned())
    } else if vg.text("format").is_some_and(|f| f != "lvm2") {
        Some("it is of an older form".to_owned())
    } else {
        None
    };
    Ok(Group { name, uuid, seqno, extent, physical, logical, unread })
}

fn physical(vg: &Section) -> Result<Vec<Physical>, String> {
    let list = vg.inner("physical_volumes").ok_or("it tells of no physical volumes")?;
    let one = |(name, value): (&String, &Value)| {
        let Value::Section(pv) = value else { return None };
        Some(Physical {
            name: name.clone(),
            uuid: pv.text("id").filter(|id| id.len() == 38)?.to_owned(),
            start: pv.number("pe_start")?.checked_mul(SECTOR)?,
            count: pv.number("pe_count")?,
            missing: pv.words("status").contains(&"MISSING") || pv.words("flags").contains(&"MISSING"),
        })
    };
    list.iter().map(|p| one(p).ok_or_else(|| format!("what it tells of {} makes no sense", p.0))).collect()
}

fn logical(name: &str, value: &Value, physical: &[Physical]) -> Option<Logical> {
    let Value::Section(lv) = value else { return None };
    let (status, flags) = (lv.words("status"), lv.words("flags"));
    let odd = status.iter().find(|s| !STATES.contains(s)).or(flags.iter().find(|f| !FLAGS.contains(f)));
    let mut out = Logical {
        name: name.to_owned(),
        uuid: lv.text("id").unwrap_or_default().to_owned(),
        visible: status.contains(&"VISIBLE"),
        segments: Ok(Vec::new()),
        origin: None,
        places: Vec::new(),
        parts: Vec::new(),
        elsewhere: false,
    };
    let count = lv.number("segment_count").unwrap_or(0);
    let mut at = 0;
    for n in 1..=count.min(model::mapping::MOST_SEGMENTS as u64 + 1) {
        let read = match lv.inner(&format!("segment{n}")) {
            Some(segment) => out.segment(segment, physical, &mut at),
            None => Err("a segment of it is missing".to_owned()),
        };
        match (read, &mut out.segments) {
            (Ok(segment), Ok(all)) => all.push(segment),
            (Err(why), all @ Ok(_)) => *all = Err(why),
            (_, Err(_)) => {}
        }
    }
    if let Some(odd) = odd {
        out.segments = Err(format!("its state is {odd}"));
    } else if !is_name(name) || out.uuid.len() != 38 {
        out.segments = Err("its name or UUID is none".to_owned());
    } else if count == 0 || count > model::mapping::MOST_SEGMENTS as u64 {
        out.segments = Err(format!("it has {count} segments"));
    }
    Some(out)
}

fn text_of(value: &Value) -> Option<&String> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

impl Logical {
    fn segment(&mut self, segment: &Section, physical: &[Physical], at: &mut u64) -> Result<Striped, String> {
        let kind = segment.text("type").unwrap_or("unknown");
        let extents = segment.number("extent_count").filter(|n| *n > 0).ok_or("a segment of it has no extents")?;
        let find = |name: &str| physical.iter().position(|p| p.name == name);
        for (key, value) in segment {
            let names = match value {
                Value::Text(name) => vec![name],
                Value::List(list) => list.iter().filter_map(text_of).collect(),
                Value::Number(_) | Value::Section(_) => Vec::new(),
            };
            match key.as_str() {
                // What names no volume, though a volume may have such a name.
                "type" | "discards" | "cache_mode" | "cache_policy" => {}
                "origin" | "external_origin" => self.origin = names.first().map(|n| (*n).clone()),
                _ => self.parts.extend(names.into_iter().cloned()),
            }
        }
        if kind != "striped" {
            let lists = segment.values().filter_map(|v| match v {
                Value::List(list) => Some(list),
                _ => None,
            });
            self.elsewhere |= lists.flatten().any(|v| matches!(v, Value::Text(name) if find(name).is_some()));
            return Err(format!("it is of the kind {kind}"));
        }
        let areas = segment.list("stripes");
        let count = segment.number("stripe_count").filter(|n| *n > 0 && areas.len() as u64 == n.saturating_mul(2));
        let count = count.ok_or("a segment of it does not say where it lies")?;
        let each = extents.checked_div(count).filter(|each| each.saturating_mul(count) == extents);
        let each = each.ok_or_else(|| format!("{extents} extents on {count} stripes"))?;
        let mut legs = Vec::new();
        for pair in areas.chunks(2) {
            let [Value::Text(name), Value::Number(from)] = pair else {
                return Err("a segment of it does not say where it lies".to_owned());
            };
            let on = find(name).ok_or_else(|| format!("it lies on {name}, which is a volume itself"))?;
            self.places.push((on, *from, each));
            legs.push((on, *from));
        }
        let stripe = match count {
            1 => ByteLen::ZERO,
            _ => ByteLen(segment.number("stripe_size").and_then(|n| n.checked_mul(SECTOR)).unwrap_or(0)),
        };
        if segment.number("start_extent") != Some(*at) {
            return Err("its segments do not follow each other".to_owned());
        }
        *at = at.saturating_add(extents);
        Ok(Striped { extents, stripe, legs })
    }
}
