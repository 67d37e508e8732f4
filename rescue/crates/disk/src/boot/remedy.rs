//! What of a broken chain can be put right without a snapshot: worked out on copies in memory, and looked at again there.
//!
//! Only three things are done: a file of a FAT is written (the boot loader where firmware finds it by itself, the lines that lead
//! GRUB to its menu); in a text on an ext file system one UUID is put in the place of another of the same length, so that no
//! metadata changes; and the first copy of a GPT is written again from the second.

use super::fat_copy::FatCopy;
use super::text_edit::TextEdit;
use super::{Checker, Sources};
use crate::fs::{self, FileSystem, FsError};
use crate::io::Overlay;
use crate::{guarded, table};
use model::boot::{BootChain, BootRepair, BootRepairs, Patch};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Inspection, System, Volume};
use model::ports::{ReadAt, Window};
use model::text::{DisplayText, RawName};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// How one link can be put right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remedy {
    /// The first copy of a GPT, and the MBR that announces it, from the second copy.
    Table { disk: DiskNo },
    /// Files copied on one volume: from where to where.
    Copy { volume: VolumePath, files: Vec<(String, String)> },
    /// A small file made or written anew.
    Write { volume: VolumePath, path: String, text: String },
    /// One UUID in the place of another, everywhere in a file.
    Uuid { volume: VolumePath, path: String, old: String, new: String },
}

impl Remedy {
    pub(super) fn write(volume: &VolumePath, path: &str, text: &str) -> Self {
        Self::Write { volume: volume.clone(), path: path.to_owned(), text: text.to_owned() }
    }

    pub(super) fn uuid(volume: &VolumePath, path: &str, old: &str, new: &str) -> Self {
        let (path, old, new) = (path.to_owned(), old.to_owned(), new.to_owned());
        Self::Uuid { volume: volume.clone(), path, old, new }
    }

    /// What it does, and where.
    fn told(&self) -> BootRepair {
        let whole = |disk: &DiskNo| VolumePath::whole(*disk);
        let (volume, path, says) = match self {
            Self::Table { disk } => {
                (whole(disk), None, "the first copy of the partition table is written again from the second".to_owned())
            }
            Self::Copy { volume, files } => {
                let last = files.first().map_or("", |(_, to)| to.as_str());
                let copied: Vec<String> = files.iter().map(|(from, to)| format!("{from} to {to}")).collect();
                (volume.clone(), Some(last), format!("copies {}", copied.join(", ")))
            }
            Self::Write { volume, path, text } => {
                let lines: Vec<&str> = text.lines().map(str::trim).collect();
                (volume.clone(), Some(path.as_str()), format!("writes {path}: {}", lines.join("; ")))
            }
            Self::Uuid { volume, path, old, new } => {
                (volume.clone(), Some(path.as_str()), format!("puts {new} in the place of {old} in {path}"))
            }
        };
        BootRepair { volume, path: path.map(RawName::from), says: DisplayText::new(&says) }
    }

    /// It is left, and why.
    fn left(&self, why: &str) -> BootRepair {
        let told = self.told();
        BootRepair { says: DisplayText::new(&format!("{}: not done, {why}", told.says)), ..told }
    }
}

/// Works out what can be put right in the boot chains of these systems. Nothing is written: what would change comes back, and the
/// chains as they would be then.
pub fn repairs(sources: Sources<'_>, systems: &[System]) -> BootRepairs {
    let mut wanted: BTreeSet<Remedy> = BTreeSet::new();
    for system in systems {
        wanted.extend(Checker::run(sources, system).remedies);
    }
    let mut made = Made::default();
    let conflicts = conflicts(&wanted);
    let mut by_volume: BTreeMap<VolumePath, Vec<Remedy>> = BTreeMap::new();
    for remedy in wanted {
        match &remedy {
            Remedy::Write { volume, path, .. }
                if conflicts.contains(&(volume.clone(), path.clone(), String::new())) =>
            {
                made.repairs.left.push(remedy.left("more than one system wants it to lead to its own menu"));
            }
            Remedy::Uuid { volume, path, old, .. }
                if conflicts.contains(&(volume.clone(), path.clone(), old.clone())) =>
            {
                made.repairs.left.push(remedy.left("two different ones would have to stand there"));
            }
            Remedy::Table { disk } => made.table(sources, *disk, &remedy),
            Remedy::Copy { volume, .. } | Remedy::Write { volume, .. } | Remedy::Uuid { volume, .. } => {
                by_volume.entry(volume.clone()).or_default().push(remedy);
            }
        }
    }
    for (path, remedies) in by_volume {
        made.volume(sources, &path, remedies);
    }
    made.look_again(sources, systems);
    made.repairs
}

/// Where one old UUID has two new ones; and, with none, files of which two texts are wanted.
fn conflicts(wanted: &BTreeSet<Remedy>) -> BTreeSet<(VolumePath, String, String)> {
    let mut seen: BTreeMap<(VolumePath, String, String), &str> = BTreeMap::new();
    let mut conflicts = BTreeSet::new();
    for remedy in wanted {
        let (key, new) = match remedy {
            Remedy::Uuid { volume, path, old, new } => ((volume.clone(), path.clone(), old.clone()), new),
            Remedy::Write { volume, path, text } => ((volume.clone(), path.clone(), String::new()), text),
            Remedy::Table { .. } | Remedy::Copy { .. } => continue,
        };
        if seen.insert(key.clone(), new).is_some_and(|other| other != new) {
            conflicts.insert(key);
        }
    }
    conflicts
}

#[derive(Default)]
struct Made {
    repairs: BootRepairs,
    /// Volumes as they would be.
    changed: BTreeMap<VolumePath, Overlay>,
    tables: BTreeSet<DiskNo>,
}

impl Made {
    fn table(&mut self, sources: Sources<'_>, disk: DiskNo, remedy: &Remedy) {
        let sector = sources.inspection.disk(disk).map(|d| d.hardware.sector);
        let bytes = (sources.disk)(disk);
        match sector.zip(bytes).and_then(|(sector, bytes)| table::first_copy(&*bytes, sector)) {
            Some(pieces) => {
                let volume = VolumePath::whole(disk);
                let patch = |(at, bytes)| Patch { volume: volume.clone(), at, bytes };
                self.repairs.patches.extend(pieces.into_iter().map(patch));
                self.repairs.items.push(remedy.told());
                self.tables.insert(disk);
            }
            None => self.repairs.left.push(remedy.left("the second copy leaves no room for a first")),
        }
    }

    fn volume(&mut self, sources: Sources<'_>, path: &VolumePath, remedies: Vec<Remedy>) {
        let window = |volume: &Volume| -> Option<Arc<dyn ReadAt>> {
            Some(Arc::new(Window::new((sources.disk)(path.disk())?, volume.extent).ok()?))
        };
        let volume = sources.inspection.volume(path);
        if volume.is_some_and(|v| v.mapping.is_some()) {
            self.repairs.left.extend(remedies.iter().map(|r| r.left("volumes that lie on others are not repaired")));
            return;
        }
        let Some((volume, bytes)) = volume.and_then(|v| Some((v, window(v)?))) else {
            self.repairs.left.extend(remedies.iter().map(|r| r.left("the volume cannot be read")));
            return;
        };
        // Libraries that write are kept from what they were not made for: a stumble leaves the volume as it is.
        let worked = guarded(|| match &volume.content {
            Content::Fat(_) => on_fat(volume, &bytes, &remedies),
            Content::Ext(info) if info.needs_recovery => {
                Err("it was not unmounted: start it once, or let e2fsck look at it")
            }
            Content::Ext(_) => Ok(on_ext(&bytes, &remedies)),
            _ => Err("what is on the volume is not written to"),
        });
        let worked = worked.unwrap_or(Err("the file system does not hold together"));
        match worked {
            Err(why) => self.repairs.left.extend(remedies.iter().map(|r| r.left(why))),
            Ok((overlay, results)) => {
                for (remedy, result) in remedies.iter().zip(results) {
                    match result {
                        Ok(()) => self.repairs.items.push(remedy.told()),
                        Err(why) => self.repairs.left.push(remedy.left(&why)),
                    }
                }
                match overlay.differences() {
                    Ok(pieces) => {
                        let patch = |(at, bytes)| Patch { volume: path.clone(), at, bytes };
                        self.repairs.patches.extend(pieces.into_iter().map(patch));
                        self.changed.insert(path.clone(), overlay);
                    }
                    Err(e) => {
                        let why = format!("the volume cannot be read: {e}");
                        self.repairs.items.retain(|i| i.volume != *path);
                        self.repairs.left.extend(remedies.iter().map(|r| r.left(&why)));
                    }
                }
            }
        }
    }

    /// Goes by the chains once more, over the copies.
    fn look_again(&mut self, sources: Sources<'_>, systems: &[System]) {
        let mut inspection: Inspection = sources.inspection.clone();
        for table in inspection.disks.iter_mut().filter(|d| self.tables.contains(&d.no)).flat_map(|d| &mut d.table) {
            table.from_backup = false;
        }
        let open = |volume: &Volume| -> Result<Rc<dyn FileSystem>, FsError> {
            match self.changed.get(&volume.path) {
                Some(overlay) => Ok(Rc::from(fs::open(&volume.content, Arc::new(overlay.clone()))?)),
                None => (sources.open)(volume),
            }
        };
        let disk = |no: DiskNo| -> Option<Arc<dyn ReadAt>> {
            let bytes = (sources.disk)(no)?;
            let mut overlay = Overlay::new(bytes.clone(), 512, model::units::ByteLen(16 << 20));
            let whole = VolumePath::whole(no);
            let mut patches = self.repairs.patches.iter().filter(|p| p.volume == whole);
            match self.tables.contains(&no) && patches.all(|p| overlay.write(p.at, &p.bytes).is_ok()) {
                true => Some(Arc::new(overlay)),
                false => Some(bytes),
            }
        };
        let after = Sources { inspection: &inspection, open: &open, disk: &disk };
        let chains: Vec<BootChain> = systems.iter().map(|s| super::check(after, s)).collect();
        self.repairs.after = chains;
    }
}

/// A volume as it would be, and how each remedy went.
type Worked = (Overlay, Vec<Result<(), String>>);

fn on_fat(volume: &Volume, bytes: &Arc<dyn ReadAt>, remedies: &[Remedy]) -> Result<Worked, &'static str> {
    let mut copy = FatCopy::new(&volume.content, bytes.clone())?;
    let results = remedies.iter().map(|remedy| match remedy {
        Remedy::Copy { files, .. } => copy.copy(files),
        Remedy::Write { path, text, .. } => copy.write(path, text.as_bytes()),
        Remedy::Uuid { path, old, new, .. } => copy.replace(path, old, new),
        Remedy::Table { .. } => Err("a table is no file".to_owned()),
    });
    let results = results.collect();
    Ok((copy.end(), results))
}

fn on_ext(bytes: &Arc<dyn ReadAt>, remedies: &[Remedy]) -> Worked {
    let mut edit = TextEdit::new(bytes.clone());
    let results = remedies.iter().map(|remedy| match remedy {
        Remedy::Uuid { path, old, new, .. } => edit.replace(path, old, new),
        _ => Err("nothing but a UUID is written there".to_owned()),
    });
    let results = results.collect();
    (edit.end(), results)
}
