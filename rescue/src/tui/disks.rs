//! The rows of the screen of disks and of what lies on them, and what its keys do. What is told of each is in [`super::disk_facts`].

use super::reading::Reading;
use super::state::{Action, Key, Prompt, Prompted, Screen, Ui};
use super::{disk_facts, draw, list, unlocking, update, words};
use engine::plan::snapshot::{Scope, choose};
use model::coverage::CaptureMethod;
use model::inspection::{Content, Disk, Finding, Inspection, Severity, TableKind, Volume};
use model::run_state::RunState;
use model::units::{ByteLen, Extent};

/// Room between partitions that is worth a row.
const WORTH: u64 = 64 << 20;

/// One row.
#[derive(Debug, Clone, Copy)]
pub enum Row<'a> {
    /// A disk; one without a partition table with what lies straight on it.
    Disk(&'a Disk),
    /// A partition, or a volume that layers make of some.
    Volume(&'a Disk, &'a Volume),
    /// Room of a disk that no partition has.
    Free(&'a Disk, Extent),
}

impl<'a> Row<'a> {
    /// The disk it is of.
    pub fn disk(&self) -> &'a Disk {
        match self {
            Self::Disk(disk) | Self::Volume(disk, _) | Self::Free(disk, _) => disk,
        }
    }

    /// What has bytes there: of a disk what lies straight on it, where anything does.
    pub fn volume(&self) -> Option<&'a Volume> {
        match self {
            Self::Disk(disk) => disk.volumes.iter().find(|v| v.path.is_whole()),
            Self::Volume(_, volume) => Some(volume),
            Self::Free(..) => None,
        }
    }
}

/// What stands in the columns of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    /// The path of the volume.
    pub place: String,
    /// Its size.
    pub size: String,
    /// What it is.
    pub what: String,
    /// How much of it is in use, where it is known.
    pub used: String,
    /// What of it a snapshot takes, in a word.
    pub taken: &'static str,
    /// How bad what was found there is.
    pub found: Option<Severity>,
}

/// Every disk, what lies on it in order of place, and behind each what layers make of it.
pub fn rows(inspection: &Inspection) -> Vec<Row<'_>> {
    let mut out = Vec::new();
    for disk in &inspection.disks {
        out.push(Row::Disk(disk));
        let layered: Vec<&Volume> = inspection.layered.iter().filter(|v| v.path.disk() == disk.no).collect();
        let mut volumes: Vec<&Volume> = disk.volumes.iter().collect();
        volumes.sort_by_key(|v| v.extent.start());
        let mut at = 0;
        for volume in &volumes {
            out.extend(free(disk, at, volume.extent.start().0));
            at = at.max(volume.extent.end().0);
            if !volume.path.is_whole() {
                out.push(Row::Volume(disk, volume));
            }
            out.extend(layered.iter().filter(|l| l.path.lies_on(&volume.path)).map(|l| Row::Volume(disk, l)));
        }
        // None of them is lost, whatever it says it lies on.
        let lost = layered.iter().filter(|l| !volumes.iter().any(|v| l.path.lies_on(&v.path)));
        out.extend(lost.map(|l| Row::Volume(disk, l)));
        if disk.table.is_some() {
            out.extend(free(disk, at, disk.hardware.size.0));
        }
    }
    out
}

fn free(disk: &Disk, from: u64, to: u64) -> Option<Row<'_>> {
    disk.table.as_ref()?;
    let room = Extent::between(from, to).filter(|room| room.len().0 >= WORTH)?;
    Some(Row::Free(disk, room))
}

/// The columns of a row.
pub fn cells(inspection: &Inspection, row: &Row<'_>) -> Cells {
    let volume = row.volume();
    let used = volume.and_then(|v| in_use(&v.content)).and_then(|(used, of)| words::percent(used, of));
    let (place, size, what) = match row {
        Row::Disk(disk) => {
            let size = disk.hardware.size;
            let protected = if disk.hardware.write_protected { "WRITE-PROTECTED; " } else { "" };
            (disk.no.to_string(), size, format!("{protected}{}; {}", table(inspection, disk), disk.hardware.model))
        }
        Row::Volume(_, v) => (v.path.to_string(), v.extent.len(), described(inspection, v)),
        Row::Free(_, room) => (String::new(), room.len(), "free: no partition has it".to_owned()),
    };
    let path = match row {
        Row::Free(..) => None,
        Row::Disk(disk) => Some(model::id::VolumePath::whole(disk.no)),
        Row::Volume(_, v) => Some(v.path.clone()),
    };
    let found = inspection.findings.iter().filter(|f| Some(&f.volume) == path.as_ref());
    Cells {
        place,
        size: size.to_string(),
        what,
        used: used.map(|p| format!("{p} %")).unwrap_or_default(),
        taken: volume.map_or("", |v| taken(inspection, row.disk(), v)),
        found: found.map(|f: &Finding| f.severity).max(),
    }
}

/// A row as a line of text: what is looked for in it.
pub fn text(inspection: &Inspection, row: &Row<'_>) -> String {
    let Cells { place, size, what, taken, .. } = cells(inspection, row);
    let serial = match row {
        Row::Disk(disk) => disk.hardware.serial.as_ref().map(ToString::to_string).unwrap_or_default(),
        _ => String::new(),
    };
    format!("{place} {size} {what} {taken} {serial}")
}

/// What a disk's table is, or what lies straight on the disk.
fn table(inspection: &Inspection, disk: &Disk) -> String {
    match &disk.table {
        Some(table) => {
            let kind = match table.kind {
                TableKind::Gpt => "GPT",
                TableKind::Mbr => "MBR",
            };
            format!("{kind}, {}", super::text::count(table.partitions.len(), "partition"))
        }
        None => match disk.volumes.first() {
            Some(v) => format!("no table, {}", described(inspection, v)),
            None => "no table".to_owned(),
        },
    }
}

/// What a volume is: where a system has it, its kind and its label.
pub fn described(inspection: &Inspection, v: &Volume) -> String {
    let kind = match &v.content {
        Content::Fenced(_) => "UNFINISHED".to_owned(),
        Content::Damaged { kind, .. } => format!("DAMAGED {}", kind.name()),
        Content::Luks(l) => format!("LUKS, {}", if l.open { "unlocked" } else { "locked" }),
        Content::Recognised { name, .. } => format!("{name}, not read"),
        Content::BiosBoot => "boot code of a BIOS".to_owned(),
        Content::Lvm(l) => format!("LVM, of group {}", l.group),
        Content::Md(m) => format!("{}, member of {}", m.level, m.array),
        Content::BtrfsDevice(b) => format!("btrfs, device {} of {}", b.device, b.devices),
        Content::Swap(s) if s.hibernated => "swap, asleep (hibernated)".to_owned(),
        Content::Unknown => "not known".to_owned(),
        _ => v.kind().to_owned(),
    };
    let mount = disk_facts::mounts(inspection, v).into_iter().next();
    let mount = mount.map(|(_, at)| format!("{at} ")).unwrap_or_default();
    let label = label(&v.content).map(|l| format!(" \"{l}\"")).unwrap_or_default();
    format!("{mount}{kind}{label}")
}

/// The volume of the row that is chosen, where it is encrypted, locked, and may be unlocked here.
pub fn chosen_locked<'a>(ui: &Ui, run: &'a RunState) -> Option<&'a Volume> {
    let inspection = &run.report.as_ref()?.inspection;
    let rows = rows(inspection);
    let chosen = rows.get(ui.disk_row.min(rows.len().saturating_sub(1)))?.volume()?;
    inspection.locked().find(|v| v.path == chosen.path)
}

fn label(content: &Content) -> Option<&str> {
    let label = match content {
        Content::Ext(e) => &e.label,
        Content::Fat(f) => &f.label,
        Content::Exfat(f) => &f.label,
        Content::Ntfs(n) => &n.label,
        Content::Btrfs(b) => &b.label,
        Content::Xfs(x) => &x.label,
        Content::Swap(s) => &s.label,
        Content::Luks(l) => &l.label,
        _ => return None,
    };
    Some(label.as_str()).filter(|label| !label.is_empty())
}

/// How much of a file system is in use, and of how much, where its superblock tells.
pub fn in_use(content: &Content) -> Option<(ByteLen, ByteLen)> {
    let blocks = |size: u32, all: u64, free: u64| {
        let bytes = |blocks: u64| ByteLen(blocks.saturating_mul(u64::from(size)));
        (bytes(all.saturating_sub(free)), bytes(all))
    };
    match content {
        Content::Ext(e) => Some(blocks(e.block_size, e.blocks, e.free_blocks)),
        Content::Xfs(x) => Some(blocks(x.block_size, x.blocks, x.free_blocks)),
        Content::Btrfs(b) => Some((b.used, b.size)),
        _ => None,
    }
}

/// What a snapshot takes of it, in a word.
fn taken(inspection: &Inspection, disk: &Disk, v: &Volume) -> &'static str {
    match choose(disk, v, inspection, &Scope::default()) {
        Ok((CaptureMethod::UsedBlocks, _)) => "used",
        Ok((CaptureMethod::Raw, _)) => "all",
        Ok((CaptureMethod::HeaderOnly, _)) => "header",
        Ok((CaptureMethod::Table, _)) => "table",
        Err(_) => "no",
    }
}

/// A key on the screen of disks.
pub(super) fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let Some(report) = &run.report else { return update::common(ui, run, k) };
    let rows = rows(&report.inspection);
    let last = rows.len().saturating_sub(1);
    let page = draw::disks::rows(ui).max(1);
    let at = ui.disk_row.min(last);
    let to = match k {
        Key::Char('/') => {
            ui.prompt = Some(Prompt::of(Prompted::Search));
            at
        }
        Key::Char('n') => search(ui, run, false),
        Key::Char('N') => search(ui, run, true),
        Key::Enter | Key::Right | Key::Char('v') => {
            if let Some(row) = rows.get(at) {
                let (title, text) = disk_facts::all(&report.inspection, row);
                ui.reading = Some(Reading::sentences(title, text, ui.body_width()));
                ui.show(Screen::Reading);
            }
            at
        }
        Key::Char('u') => match chosen_locked(ui, run) {
            Some(locked) => {
                unlocking::ask(ui, locked.path.clone());
                at
            }
            None => return update::common(ui, run, k),
        },
        Key::Char('h') => return update::common(ui, run, Key::Left),
        // It is on top already.
        Key::Char('d') => at,
        _ => match list::moved_here(k, at, page, last) {
            Some(to) => to,
            None => return update::common(ui, run, k),
        },
    };
    ui.disk_row = to.min(last);
    Vec::new()
}

/// The next row that has what was sought in it, or the present one.
pub(super) fn search(ui: &mut Ui, run: &RunState, back: bool) -> usize {
    let at = ui.disk_row;
    let Some(report) = &run.report else { return at };
    let rows = rows(&report.inspection);
    let wanted = ui.sought.to_ascii_lowercase();
    let has = |n: &usize| text(&report.inspection, &rows[*n]).to_ascii_lowercase().contains(&wanted);
    let found = super::text::next_of(rows.len(), at, back, has).filter(|_| !wanted.is_empty());
    if found.is_none() {
        ui.note = Some(words::not_found(&ui.sought));
    }
    found.unwrap_or(at)
}
