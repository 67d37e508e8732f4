//! What is told of a disk, a partition or a volume, a line each: its identity, what is on it, whose it is, how it was left, what a
//! snapshot takes of it, what it is made of, and what is wrong with it.

use super::disks::{Row, described, in_use};
use super::reading::{Tone, Toned};
use super::words::{percent, sentence, time};
use engine::plan::is_store_disk;
use engine::plan::snapshot::{Scope, choose};
use model::coverage::CaptureMethod;
use model::id::VolumePath;
use model::inspection::{
    Content, Disk, GPT_BIOS_BOOT, GPT_ESP, GPT_STORE, Inspection, LuksInfo, NtfsInfo, NtfsLog, Partition, Severity,
    System, Table, TableKind, Volume,
};
use model::ports::UnixMicros;
use model::text::DisplayText;
use model::units::ByteLen;

/// `s_state` of an ext file system: errors were found on it (kernel `fs/ext4/ext4.h`, `EXT4_ERROR_FS`).
const EXT_ERRORS: u16 = 2;

/// What a row is, and all that is told of it.
pub fn all(inspection: &Inspection, row: &Row<'_>) -> (String, Vec<Toned>) {
    let title = match row {
        Row::Disk(disk) => format!("{}: {} {}", disk.no, disk.hardware.size, disk.hardware.model),
        Row::Volume(_, v) => format!("{}: {}, {}", v.path, described(inspection, v), v.extent.len()),
        Row::Free(disk, room) => format!("{}: {} that no partition has", disk.no, room.len()),
    };
    let mut out = Vec::new();
    match row {
        Row::Disk(disk) => {
            findings(inspection, &VolumePath::whole(disk.no), &mut out);
            about_disk(inspection, disk, &mut out);
            if let Some(v) = row.volume() {
                about_volume(inspection, disk, v, &mut out);
            }
        }
        Row::Volume(disk, v) => {
            findings(inspection, &v.path, &mut out);
            about_volume(inspection, disk, v, &mut out);
            if let Some((table, p)) = partition(disk, v) {
                about_partition(table, p, &mut out);
            }
        }
        Row::Free(_, room) => {
            let (from, to) = (room.start().0, room.end().0);
            say(&mut out, format!("It begins at byte {from} of the disk and ends before byte {to}."));
            say(&mut out, "A snapshot does not take it.");
        }
    }
    (title, out)
}

fn say(out: &mut Vec<Toned>, says: impl Into<String>) {
    out.push((Tone::Plain, says.into()));
}

fn findings(inspection: &Inspection, at: &VolumePath, out: &mut Vec<Toned>) {
    for f in inspection.findings.iter().filter(|f| f.volume == *at) {
        let (tone, mark) = match f.severity {
            Severity::Damage => (Tone::Alarm, "[!!]"),
            Severity::Warning => (Tone::Caution, "[??]"),
            Severity::Note => (Tone::Plain, "[--]"),
        };
        out.push((tone, format!("{mark} {} {}", sentence(f.says.as_str()), sentence(f.advice.as_str()))));
    }
}

fn about_disk(inspection: &Inspection, disk: &Disk, out: &mut Vec<Toned>) {
    let h = &disk.hardware;
    let mut known = Vec::new();
    match (&h.serial, &h.wwn) {
        (None, None) => known.push("no serial number is known".to_owned()),
        (serial, wwn) => {
            known.extend(serial.iter().map(|s| format!("serial {s}")));
            known.extend(wwn.iter().map(|w| format!("WWN {w}")));
        }
    }
    known.extend(Some(h.transport.to_string()).filter(|t| !t.is_empty()));
    known.push(format!("sectors of {} bytes", h.sector.0));
    if h.removable {
        known.push("can be taken out".to_owned());
    }
    known.extend(h.shown_as.iter().map(|at| format!("seen as {at} this time")));
    say(out, sentence(&known.join(", ")));
    if h.write_protected {
        let says =
            "[!!] It is write-protected: it can be saved, and nothing can go back onto it. Look for a switch on it.";
        out.push((Tone::Alarm, says.to_owned()));
    }
    say(out, format!("It has {} bytes.", h.size.0));
    match &disk.table {
        Some(table) => {
            let kind = table_kind(table);
            let parts = super::text::count(table.partitions.len(), "partition");
            let free: u64 = table_room(disk, table);
            let rest = if free == 0 { String::new() } else { format!("; {} belong to none", ByteLen(free)) };
            say(out, format!("Its partition table is a {kind}, {}: {parts}{rest}.", table.id));
            if table.from_backup {
                out.push((Tone::Caution, "The first copy of the table is damaged; the second was read.".to_owned()));
            }
        }
        None => say(out, "It has no partition table that could be read."),
    }
    if is_store_disk(disk, inspection) {
        say(out, "It is the disk of the rescue and its store: a snapshot does not take it.");
    }
}

fn table_kind(table: &Table) -> &'static str {
    match table.kind {
        TableKind::Gpt => "GPT",
        TableKind::Mbr => "MBR",
    }
}

/// Bytes of a disk that neither a partition nor the table has.
fn table_room(disk: &Disk, table: &Table) -> u64 {
    let taken = table.partitions.iter().map(|p| p.extent).chain(table.raw.iter().copied());
    let taken: model::units::ExtentSet = taken.collect();
    taken.gaps(model::units::Extent::whole(disk.hardware.size)).total().0
}

fn partition<'a>(disk: &'a Disk, v: &Volume) -> Option<(&'a Table, &'a Partition)> {
    let table = disk.table.as_ref()?;
    let number = v.path.number()?;
    Some((table, table.partitions.iter().find(|p| p.number == number)?))
}

fn about_partition(table: &Table, p: &Partition, out: &mut Vec<Toned>) {
    let kind = match p.type_id.as_str() {
        GPT_ESP => "EFI system partition",
        GPT_BIOS_BOOT => "boot code of a BIOS",
        GPT_STORE => "store of a rescue stick",
        other => other,
    };
    let name =
        p.name.as_ref().filter(|n| !n.as_str().is_empty()).map(|n| format!(", called \"{n}\"")).unwrap_or_default();
    let guid = p.guid.as_ref().map(|guid| format!(", GUID {guid}")).unwrap_or_default();
    let boot = if p.bootable { ", marked as the one to start from" } else { "" };
    let (n, kind_of) = (p.number, table_kind(table));
    say(out, format!("Partition {n} of the {kind_of}: type {kind}{name}{guid}{boot}."));
    say(out, format!("It begins at byte {} of the disk and has {} bytes.", p.extent.start().0, p.extent.len().0));
}

/// Where systems have a volume.
pub fn mounts<'a>(inspection: &'a Inspection, v: &Volume) -> Vec<(&'a System, String)> {
    let mut out = Vec::new();
    for system in &inspection.systems {
        for m in system.mounts().filter(|m| *m.volume == v.path) {
            let at = if m.mount.is_empty() { "/" } else { m.mount };
            out.push((system, at.to_owned()));
        }
    }
    // What is below another of its places comes after that.
    out.sort_by_key(|(_, at)| at.len());
    out
}

fn about_volume(inspection: &Inspection, disk: &Disk, v: &Volume, out: &mut Vec<Toned>) {
    if let Some((used, of)) = in_use(&v.content) {
        let percent = percent(used, of).map(|p| format!(" ({p} %)")).unwrap_or_default();
        say(out, format!("In use: {used} of {of}{percent}."));
    }
    let mounts = mounts(inspection, v);
    for system in inspection.systems.iter().filter(|s| s.uses(&v.path)) {
        let places: Vec<&str> =
            mounts.iter().filter(|(s, _)| s.root == system.root).map(|(_, at)| at.as_str()).collect();
        let host = system.hostname.as_ref().map(|host| format!(" on \"{host}\"")).unwrap_or_default();
        let at = if places.is_empty() { String::new() } else { format!(", as {}", places.join(", ")) };
        say(out, format!("Of {}{host}{at}.", system.name));
    }
    for (tone, says) in left(&v.content) {
        out.push((tone, says));
    }
    if let Content::Luks(l) = &v.content {
        encrypted(l, out);
    }
    match choose(disk, v, inspection, &Scope::default()) {
        Ok((method, why)) => {
            let what = match method {
                CaptureMethod::UsedBlocks => "what is in use of it",
                CaptureMethod::Raw => "every byte of it",
                CaptureMethod::HeaderOnly => "its header alone",
                CaptureMethod::Table => "its table",
            };
            say(out, format!("A snapshot takes {what}: {}.", why.trim_end_matches('.')));
        }
        Err(why) => say(out, format!("A snapshot does not take it: {why}.")),
    }
    layers(inspection, v, out);
    for says in kind_facts(&v.content) {
        say(out, says);
    }
}

fn encrypted(l: &LuksInfo, out: &mut Vec<Toned>) {
    match (l.open, &l.not_opened) {
        (true, _) => say(out, "It is encrypted, and unlocked now."),
        (false, None) => say(out, "It is encrypted and locked: what is in it is not seen. Key u unlocks it."),
        (false, Some(why)) => say(out, format!("It is encrypted and locked, and cannot be opened here: {why}.")),
    }
    if l.sealed {
        say(out, "Its header says that this machine's TPM may open it.");
    }
}

/// How it was left by whoever had it mounted last.
fn left(content: &Content) -> Vec<Toned> {
    let when = |seconds: i64| time(UnixMicros::from_seconds(seconds));
    let cut = |says: &str| vec![(Tone::Caution, says.to_owned())];
    let plain = |says: String| vec![(Tone::Plain, says)];
    match content {
        Content::Ext(e) => {
            let mut out = match (e.needs_recovery, e.mounted_at) {
                (true, _) => cut("Left in the middle: it was mounted and not unmounted."),
                (false, 0) => plain("It was never mounted.".to_owned()),
                (false, _) => plain("It was unmounted in order.".to_owned()),
            };
            if e.mounted_at != 0 {
                let (mounted, written) = (when(e.mounted_at), when(e.written_at));
                let at = e.last_mounted.as_str();
                let at = if at.is_empty() { String::new() } else { format!(" at {at}") };
                out.extend(plain(format!(
                    "Mounted last{at}: {mounted} UTC; its superblock was written {written} UTC."
                )));
            }
            if e.errors > 0 || e.state & EXT_ERRORS != 0 {
                let says = format!("[!!] Its kernel recorded errors on it: {}. e2fsck looks after that.", e.errors);
                out.push((Tone::Alarm, says));
            }
            out
        }
        Content::Fat(f) if f.dirty => cut("Left in the middle: its mark of being in use is set."),
        Content::Exfat(f) if f.dirty => cut("Left in the middle: its mark of being in use is set."),
        Content::Fat(_) | Content::Exfat(_) => plain("It was unmounted in order.".to_owned()),
        Content::Ntfs(n) => ntfs_left(n),
        Content::Xfs(x) if x.needs_recovery => {
            cut("Left in the middle, or still in use: its log does not end as an unmount ends it.")
        }
        Content::Xfs(_) => plain("It was unmounted in order.".to_owned()),
        Content::Btrfs(b) if b.log => cut("Left in the middle: a log stands in it that an unmount removes."),
        Content::Swap(s) if s.hibernated => cut("A system is asleep in it: it holds what was in memory."),
        Content::Fenced(f) => {
            vec![(Tone::Alarm, format!("[!!] A rollback was cut off here; before, it was {}.", f.was))]
        }
        Content::Damaged { why, .. } => vec![(Tone::Alarm, format!("[!!] {}", sentence(why.as_str())))],
        _ => Vec::new(),
    }
}

/// How a Windows left its volume.
fn ntfs_left(n: &NtfsInfo) -> Vec<Toned> {
    let mut out = vec![match n.log {
        NtfsLog::Empty | NtfsLog::Closed if !n.dirty => (Tone::Plain, "It was closed in order.".to_owned()),
        NtfsLog::Empty | NtfsLog::Closed => (Tone::Caution, "It is marked to be checked by Windows.".to_owned()),
        NtfsLog::Open => (Tone::Caution, "Left in the middle: its log was not closed.".to_owned()),
        NtfsLog::Untold => (Tone::Caution, "How its log was left cannot be told.".to_owned()),
    }];
    if n.hibernated == Some(true) {
        let says = "A Windows is asleep in it, or was shut down with fast start-up: the memory of it stands there.";
        out.push((Tone::Caution, says.to_owned()));
    }
    out
}

/// What it is made of, and what is made of it.
fn layers(inspection: &Inspection, v: &Volume, out: &mut Vec<Toned>) {
    let list = |paths: Vec<&VolumePath>| paths.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(m) = &v.mapping {
        let on = list(m.beneath.iter().map(|b| &b.path).collect());
        say(out, format!("It is the {}; its bytes lie on {on}.", lower_first(m.says.as_str())));
        if let Some(why) = &m.read_only {
            say(out, format!("Nothing is written to it: {why}."));
        }
    }
    let mut above: Vec<&VolumePath> =
        inspection.layered.iter().map(|l| &l.path).filter(|l| l.lies_on(&v.path)).collect();
    above.extend(inspection.above(&v.path).map(|l| &l.path));
    above.sort_unstable();
    above.dedup();
    if !above.is_empty() {
        say(out, format!("It carries {}.", list(above)));
    }
    let members = |is: &dyn Fn(&Content) -> bool| -> Vec<&Volume> {
        inspection.volumes().map(|(_, v)| v).filter(|v| is(&v.content)).collect()
    };
    match &v.content {
        Content::Lvm(l) => {
            let same = members(&|c: &Content| matches!(c, Content::Lvm(other) if other.group_uuid == l.group_uuid));
            let on = list(same.iter().map(|v| &v.path).collect());
            say(out, format!("LVM group {}, change {}: it lies on {on}.", l.group, l.seqno));
        }
        Content::Md(m) => array(&m.array_uuid, inspection, out),
        Content::BtrfsDevice(b) => {
            let same = |c: &Content| matches!(c, Content::BtrfsDevice(o) if o.file_system == b.file_system);
            let on = list(members(&same).iter().map(|v| &v.path).collect());
            say(out, format!("It is device {} of a btrfs, which lies on {on}.", b.device));
        }
        _ => {}
    }
    // An array is told by its members.
    let beneath = v.mapping.iter().flat_map(|m| &m.beneath).filter_map(|b| inspection.volume(&b.path));
    let arrays: Vec<&str> = beneath.filter_map(|b| md(&b.content)).map(|m| m.array_uuid.as_str()).collect();
    if let Some(first) = arrays.first() {
        array(first, inspection, out);
    }
}

fn md(content: &Content) -> Option<&model::inspection::MdInfo> {
    match content {
        Content::Md(m) => Some(m),
        _ => None,
    }
}

/// The members of an array that are here, and how they stand to each other.
fn array(uuid: &str, inspection: &Inspection, out: &mut Vec<Toned>) {
    let all = inspection.volumes().filter_map(|(_, v)| Some((v, md(&v.content)?)));
    let members: Vec<_> = all.filter(|(_, m)| m.array_uuid == uuid).collect();
    let newest = members.iter().map(|(_, m)| m.events).max().unwrap_or_default();
    if let Some((_, m)) = members.first() {
        let here = match members.len() {
            1 => "1 member of it is".to_owned(),
            n => format!("{n} members of it are"),
        };
        say(out, format!("md array {}, {}: {here} known here.", m.array, m.level));
    }
    for (v, m) in members {
        match newest - m.events {
            0 => say(out, format!("- {} is member {}, up to date.", v.path, m.role)),
            behind => {
                let says = format!("- {} is member {}, {behind} changes behind the others.", v.path, m.role);
                out.push((Tone::Caution, says));
            }
        }
    }
}

/// Identifiers and shape.
fn kind_facts(content: &Content) -> Vec<String> {
    let unread = |why: &Option<DisplayText>| why.as_ref().map(|why| format!("Its files are not read: {why}."));
    match content {
        Content::Ext(e) => {
            let mut out = vec![format!("UUID {}, blocks of {} bytes.", e.uuid, e.block_size)];
            if e.unknown_features != (0, 0, 0) {
                let (a, b, c) = e.unknown_features;
                out.push(format!("It has features that are not known here (0x{a:x}, 0x{b:x}, 0x{c:x})."));
            }
            out
        }
        Content::Fat(f) => {
            vec![format!("FAT{}, volume id {}, clusters of {} bytes.", f.width, f.volume_id, f.cluster_size)]
        }
        Content::Exfat(f) => vec![format!("exFAT, volume id {}, clusters of {} bytes.", f.volume_id, f.cluster_size)],
        Content::Ntfs(n) => {
            let (major, minor) = n.version;
            vec![format!("NTFS {major}.{minor}, volume id {}, clusters of {} bytes.", n.volume_id, n.cluster_size)]
        }
        Content::Xfs(x) => {
            let features = if x.features.is_empty() { String::new() } else { format!(": {}", x.features.join(", ")) };
            let shape = format!("UUID {}, version {}, blocks of {} bytes{features}.", x.uuid, x.version, x.block_size);
            std::iter::once(shape).chain(unread(&x.not_read)).collect()
        }
        Content::Btrfs(b) => {
            let device = match (b.devices, &b.not_read) {
                (1, _) => String::new(),
                (n, None) => format!(", on {n} devices"),
                (n, Some(_)) => format!(", device {} of {n}", b.device),
            };
            let shape = format!("UUID {}{device}, transaction {}.", b.uuid, b.generation);
            std::iter::once(shape).chain(unread(&b.not_read)).collect()
        }
        Content::Swap(s) => s.uuid.iter().map(|uuid| format!("UUID {uuid}.")).collect(),
        Content::Luks(l) => vec![format!("LUKS version {}, UUID {}, {}.", l.version, l.uuid, l.cipher)],
        Content::Lvm(l) => vec![format!("Physical volume {}.", l.uuid)],
        Content::Md(m) => vec![format!("Array {}, member {}.", m.array_uuid, m.uuid)],
        Content::BtrfsDevice(b) => {
            vec![format!("UUID of the file system {}, of this device {}.", b.file_system, b.uuid)]
        }
        _ => Vec::new(),
    }
}

/// A name in the middle of a sentence; what begins with several capitals is one by itself.
fn lower_first(says: &str) -> String {
    let mut chars = says.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(says.chars().skip(1)).collect()
        }
        _ => says.to_owned(),
    }
}
