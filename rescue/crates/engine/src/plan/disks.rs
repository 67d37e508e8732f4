//! Which disk of now is which disk of a snapshot.

use model::id::{DiskNo, IntentId};
use model::inspection::{Content, Disk, Hardware, Inspection, Table};
use model::mapping::Mapping;
use model::snapshot::{Machine, Manifest, SavedDisk};

/// A disk of the snapshot, and the one it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Its number in the snapshot.
    pub saved: DiskNo,
    /// Its number now, or why there is none.
    pub present: Result<DiskNo, String>,
    /// What a person should know of the match.
    pub notes: Vec<String>,
}

/// Pairs every disk of a snapshot. A disk is known again by its table's id; one without a table by the file system straight on
/// it, by a fence of `pending`, or by serial number and size. Twins are refused: names and numbers say nothing.
pub fn pair(manifest: &Manifest, inspection: &Inspection, pending: &[IntentId]) -> Vec<Pair> {
    manifest.disks.iter().map(|saved| pair_one(saved, manifest, inspection, pending)).collect()
}

fn pair_one(saved: &SavedDisk, manifest: &Manifest, inspection: &Inspection, pending: &[IntentId]) -> Pair {
    let same: Vec<&Disk> = inspection.disks.iter().filter(|d| is(saved, d, manifest, (inspection, pending))).collect();
    // Of twins, the one with the serial number of then.
    let serial = |d: &&&Disk| saved.hardware.serial.is_some() && d.hardware.serial == saved.hardware.serial;
    let found = match same.as_slice() {
        [one] => Ok(*one),
        [] => Err(missing(saved, inspection)),
        many => match many.iter().filter(serial).collect::<Vec<_>>().as_slice() {
            [one] => Ok(**one),
            _ => {
                let names: Vec<String> = many.iter().map(|d| d.no.to_string()).collect();
                Err(format!("{} carry the same identity; take all but one out", names.join(" and ")))
            }
        },
    };
    let notes = found.as_ref().map_or_else(|_| Vec::new(), |disk| notes(saved, disk));
    Pair { saved: saved.no, present: found.map(|d| d.no), notes }
}

fn is(saved: &SavedDisk, disk: &Disk, manifest: &Manifest, (inspection, pending): (&Inspection, &[IntentId])) -> bool {
    let carried = || carries(saved, disk, manifest, inspection);
    match (&saved.table, &disk.table) {
        (Some(a), Some(b)) if nameless(a) || nameless(b) => {
            let serial = saved.hardware.serial.is_some() && saved.hardware.serial == disk.hardware.serial;
            let size = saved.hardware.size == disk.hardware.size;
            same_partitions(a, b) && ((serial && size) || carried() || knows_a_volume(saved, disk, manifest, pending))
        }
        (Some(a), Some(b)) => a.kind == b.kind && a.id == b.id,
        (None, None) => {
            let Some(now) = disk.volumes.first() else { return false };
            let then = manifest.volumes.iter().find(|v| v.path.disk() == saved.no);
            let known = then.and_then(|v| uuid(&v.content));
            let fenced = matches!(&now.content, Content::Fenced(f) if pending.contains(&f.intent));
            let serial = saved.hardware.serial.is_some() && saved.hardware.serial == disk.hardware.serial;
            let size = saved.hardware.size == disk.hardware.size;
            carried() || (known.is_some() && known == uuid(&now.content)) || (size && (fenced || serial))
        }
        _ => false,
    }
}

/// True where a table carries no identity: an MBR without a signature has all zeros, as has any other of its kind.
pub(crate) fn nameless(table: &Table) -> bool {
    table.id.bytes().all(|b| matches!(b, b'0' | b'-'))
}

/// True where a volume that was saved of the disk, and lay on others there, lies on the same of this disk.
fn carries(saved: &SavedDisk, disk: &Disk, manifest: &Manifest, inspection: &Inspection) -> bool {
    let beneath = |m: &Mapping, no: DiskNo| -> Vec<_> {
        m.beneath.iter().filter(|b| b.path.disk() == no).map(|b| (b.path.on(DiskNo(0)), b.extent)).collect()
    };
    let then = manifest.volumes.iter().filter_map(|v| v.mapping.as_ref());
    let now = || inspection.layered.iter().filter_map(|v| v.mapping.as_ref());
    let same = |a: &Mapping, b: &Mapping| {
        let places = beneath(a, saved.no);
        a.id == b.id && !places.is_empty() && places == beneath(b, disk.no)
    };
    then.into_iter().any(|then| now().any(|now| same(then, now)))
}

/// True where a partition holds the very file system that was saved of it, or a fence of a write-back in hand.
fn knows_a_volume(saved: &SavedDisk, disk: &Disk, manifest: &Manifest, pending: &[IntentId]) -> bool {
    let then = manifest.volumes.iter().filter(|v| v.path.disk() == saved.no);
    then.into_iter().any(|then| {
        let now = disk.volumes.iter().find(|v| v.path.number() == then.path.number() && v.extent == then.extent);
        now.is_some_and(|now| match &now.content {
            Content::Fenced(f) => pending.contains(&f.intent),
            content => uuid(content).is_some() && uuid(content) == uuid(&then.content),
        })
    })
}

/// True where a snapshot is of this machine: by its own record, or by any system that was there then and is there now (of several,
/// the first may be the one that is lost).
pub(crate) fn same_machine(manifest: &Manifest, machine: &Machine, inspection: &Inspection) -> bool {
    let then = |id: &String| manifest.systems.iter().any(|s| s.system.machine_id.as_ref() == Some(id));
    manifest.machine.is(machine) || inspection.systems.iter().filter_map(|s| s.machine_id.as_ref()).any(then)
}

/// True where the system says the same of both: one piece of hardware, or two that it cannot tell apart.
pub(crate) fn same_piece(a: &Hardware, b: &Hardware) -> bool {
    let key = |h: &Hardware| (h.serial.clone(), h.wwn.clone(), h.model.clone(), h.size, h.sector);
    key(a) == key(b)
}

fn uuid(content: &Content) -> Option<&str> {
    match content {
        Content::Ext(e) => Some(&e.uuid),
        Content::Fat(f) => Some(&f.volume_id),
        Content::Exfat(e) => Some(&e.volume_id),
        Content::Ntfs(n) => Some(&n.volume_id),
        Content::Btrfs(b) => Some(&b.uuid),
        Content::Xfs(x) => Some(&x.uuid),
        Content::Swap(s) => s.uuid.as_deref(),
        Content::Lvm(l) => Some(&l.uuid),
        Content::Md(m) => Some(&m.uuid),
        Content::BtrfsDevice(b) => Some(&b.uuid),
        Content::Luks(l) => Some(&l.uuid),
        _ => None,
    }
}

fn missing(saved: &SavedDisk, inspection: &Inspection) -> String {
    let serial = |d: &&Disk| saved.hardware.serial.is_some() && d.hardware.serial == saved.hardware.serial;
    match (inspection.disks.iter().find(serial), &saved.table) {
        (Some(d), Some(t)) => match &d.table {
            Some(now) => format!("{} is that disk, but its partition table {} was replaced by {}", d.no, t.id, now.id),
            None => format!("{} is that disk, but its partition table {} is gone", d.no, t.id),
        },
        (_, Some(t)) => format!("no disk here has the partition table {}", t.id),
        (_, None) => format!("no disk here is {}", saved.hardware.model),
    }
}

fn notes(saved: &SavedDisk, disk: &Disk) -> Vec<String> {
    let mut notes = Vec::new();
    let text = |t: &Option<model::text::DisplayText>| t.as_ref().map_or("none".to_owned(), ToString::to_string);
    let (then, now) = (&saved.hardware, &disk.hardware);
    if then.serial != now.serial {
        notes.push(format!(
            "{} is another piece of hardware with the same partition table (serial number {} then, {} now)",
            disk.no,
            text(&then.serial),
            text(&now.serial)
        ));
    }
    if then.size != now.size {
        notes.push(format!("{} had {} then and has {} now", disk.no, then.size, now.size));
    }
    notes
}

/// True where both tables have the same partitions at the same places, whatever their names and flags.
pub fn same_partitions(a: &Table, b: &Table) -> bool {
    let key = |t: &Table| -> Vec<_> {
        t.partitions.iter().map(|p| (p.number, p.extent, p.type_id.clone(), p.guid.clone())).collect()
    };
    a.kind == b.kind && a.id == b.id && key(a) == key(b)
}
