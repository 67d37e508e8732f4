//! The boot chain of an installed system, read as firmware, boot loader and kernel would read it.
//!
//! [`check`] tells each link of it: there and leading on, broken, or not checked. What is not understood (another boot loader, a
//! volume that is not read here, a variable in a configuration) is not checked; it is never called broken.
//! [`repairs`] works out what can be put right without a snapshot, on copies in memory.

mod bios;
mod bls;
mod entry;
mod esp;
mod fat_copy;
mod grub;
mod image;
mod menu;
mod remedy;
mod system;
pub mod tenants;
mod text_edit;
mod windows;

pub use remedy::repairs;

use crate::fs::{FileSystem, FsError};
use image::Seen;
use model::boot::{BootChain, BootLink, LinkPart, LinkState, Way};
use model::files::LONGEST_PATH;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, FileKind, Inspection, ListedFile, Partition, System, TableKind, Volume};
use model::ports::ReadAt;
use model::text::{DisplayText, RawName};
use model::units::ByteOffset;
use remedy::Remedy;
use std::rc::Rc;
use std::sync::Arc;

/// The longest configuration that is read.
const MOST_TEXT: u64 = 4 << 20;
/// Longest sentence about a link.
const MOST_SAYS: usize = 1000;
/// Most entries of a directory that are looked at.
const MOST_ENTRIES: usize = 4096;

/// Opens the file system of a volume.
pub type Open<'a> = &'a dyn Fn(&Volume) -> Result<Rc<dyn FileSystem>, FsError>;

/// What a chain is read from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The disks.
    pub inspection: &'a Inspection,
    /// Opens the file system of a volume.
    pub open: Open<'a>,
    /// The bytes of a disk.
    pub disk: &'a dyn Fn(DiskNo) -> Option<Arc<dyn ReadAt>>,
}

/// Reads the boot chain of a system. Writes nothing.
pub fn check(sources: Sources<'_>, system: &System) -> BootChain {
    Checker::run(sources, system).chain()
}

/// What is found while a chain is gone through.
struct Checker<'a> {
    from: Sources<'a>,
    /// With the volumes that lines of its fstab can only mean, where they lead nowhere.
    system: System,
    links: Vec<BootLink>,
    remedies: Vec<Remedy>,
}

/// Where GRUB keeps its menu and modules, as the system itself sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Home {
    volume: VolumePath,
    uuid: String,
    /// From the root of that volume: `/boot/grub`, `/grub`.
    directory: String,
}

/// What a UUID names.
enum Named<'a> {
    Volume(&'a Volume),
    /// Nothing that was read has it, and nothing else is there that might.
    Nothing,
    Unsure(String),
}

/// A link that is being told.
struct Told {
    part: LinkPart,
    way: Way,
    volume: VolumePath,
    path: Option<String>,
    needed: bool,
}

impl<'a> Checker<'a> {
    fn run(from: Sources<'a>, system: &'a System) -> Self {
        let mut checker = Self { from, system: system.clone(), links: Vec::new(), remedies: Vec::new() };
        if system.is_windows() {
            checker.windows();
            return checker;
        }
        checker.add_meant();
        checker.table();
        let bios = checker.boots_by_bios();
        let menus = checker.uefi(bios);
        if bios {
            checker.bios();
        }
        checker.menus(menus);
        checker.fstab();
        checker.init();
        checker
    }

    fn chain(self) -> BootChain {
        BootChain { root: self.system.root, links: self.links }
    }

    fn tell(&mut self, told: Told, state: LinkState, says: impl AsRef<str>, advice: &str) {
        let Told { part, way, volume, path, needed } = told;
        // A name in a configuration may be of any length.
        let path = path.filter(|p| p.len() <= LONGEST_PATH).map(|p| RawName(p.into_bytes()));
        let says = DisplayText::new(&DisplayText::new(says.as_ref()).shortened(MOST_SAYS));
        self.links.push(BootLink {
            part,
            way,
            volume,
            path,
            state,
            needed,
            says,
            advice: advice.into(),
            repairable: false,
        });
    }

    /// Tells what was seen of a file.
    fn seen(&mut self, told: Told, seen: Seen, advice: &str) {
        let name = told.path.clone().unwrap_or_default();
        match seen {
            Seen::Good(says) => self.tell(told, LinkState::Ok, format!("{name} {says}"), ""),
            Seen::Unsure(says) => self.tell(told, LinkState::NotChecked, format!("{name} {says}"), ""),
            Seen::Bad(says) => self.tell(told, LinkState::Broken, format!("{name} {says}"), advice),
        }
    }

    /// Remembers how the link that was told last can be put right.
    fn remedy(&mut self, remedy: Option<Remedy>) {
        if let (Some(link), Some(remedy)) = (self.links.last_mut(), remedy) {
            link.repairable = true;
            self.remedies.push(remedy);
        }
    }

    fn volume(&self, path: &VolumePath) -> Option<&'a Volume> {
        self.from.inspection.volume(path)
    }

    fn partition(&self, volume: &VolumePath) -> Option<(&'a Partition, TableKind)> {
        let table = self.from.inspection.disk(volume.disk())?.table.as_ref()?;
        let partition = table.partitions.iter().find(|p| Some(p.number) == volume.number())?;
        Some((partition, table.kind))
    }

    fn fs(&self, volume: &VolumePath) -> Result<Rc<dyn FileSystem>, String> {
        let volume = self.volume(volume).ok_or_else(|| format!("{volume} is not there"))?;
        match &volume.content {
            read if read.is_file_system() => (self.from.open)(volume).map_err(|e| e.to_string()),
            _ => Err(format!("what is on {} ({}) is not read", volume.path, volume.kind())),
        }
    }

    /// A file's content; `None` where there is none. The error says what cannot be told.
    fn file(&self, volume: &VolumePath, path: &str) -> Result<Option<Box<dyn ReadAt>>, String> {
        self.fs(volume)?.open(path.as_bytes()).map_err(|e| e.to_string())
    }

    /// A configuration, whole.
    fn text(&self, volume: &VolumePath, path: &str) -> Result<Option<String>, String> {
        let Some(file) = self.file(volume, path)? else { return Ok(None) };
        if file.size().0 > MOST_TEXT {
            return Err(format!("it has {} bytes, more than are read", file.size().0));
        }
        let len = file.size().to_usize().unwrap_or(0);
        let bytes = file.read_vec(ByteOffset(0), len).map_err(|e| e.to_string())?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn list(&self, volume: &VolumePath, path: &str) -> Vec<ListedFile> {
        let listed =
            self.fs(volume).and_then(|fs| fs.read_dir(path.as_bytes(), MOST_ENTRIES).map_err(|e| e.to_string()));
        listed.unwrap_or_default()
    }

    /// Names in a directory of one kind, as text, in order; those that are none are left out.
    fn names(&self, volume: &VolumePath, path: &str, kind: FileKind) -> Vec<String> {
        let listed = self.list(volume, path).into_iter().filter(|f| f.kind == kind);
        let mut names: Vec<String> = listed.filter_map(|f| String::from_utf8(f.name.0).ok()).collect();
        names.sort();
        names
    }

    fn exists(&self, volume: &VolumePath, path: &str) -> bool {
        self.fs(volume).is_ok_and(|fs| fs.open(path.as_bytes()).is_ok_and(|f| f.is_some()))
    }

    /// The volume of that UUID. Where nothing has it, but something is there whose UUID is not read here, that may be it.
    fn named(&self, uuid: &str) -> Named<'a> {
        let inspection = self.from.inspection;
        let has = |v: &&Volume| v.uuid().is_some_and(|u| u.eq_ignore_ascii_case(uuid));
        let found: Vec<&Volume> = inspection.volumes().map(|(_, v)| v).filter(has).collect();
        match found.as_slice() {
            [one] => return Named::Volume(one),
            [] => {}
            several => {
                let near: Vec<&&Volume> = several.iter().filter(|v| v.path.disk() == self.system.root.disk()).collect();
                return match near.as_slice() {
                    [one] => Named::Volume(one),
                    _ => Named::Unsure(format!("{} volumes have the UUID {uuid}", several.len())),
                };
            }
        }
        self.not_found(&format!("the UUID {uuid}"))
    }

    /// No volume has that name: nothing, or something that is not read here.
    fn not_found(&self, name: &str) -> Named<'a> {
        let unread = |v: &&Volume| {
            matches!(
                v.content,
                Content::Recognised { .. } | Content::Unknown | Content::Damaged { .. } | Content::Fenced(_)
            )
        };
        match self.from.inspection.volumes().map(|(_, v)| v).find(unread) {
            None => Named::Nothing,
            Some(other) => {
                Named::Unsure(format!("nothing that was read has {name}; {} ({}) may", other.path, other.kind()))
            }
        }
    }

    /// Where this system keeps GRUB's menu.
    fn home(&self) -> Option<Home> {
        let of = |directory: &str| {
            let (volume, inside) = self.system.place(directory);
            let uuid = self.volume(volume)?.uuid()?.to_owned();
            let there = self.exists(volume, &format!("{inside}/grub.cfg"));
            there.then(|| Home { volume: volume.clone(), uuid, directory: inside })
        };
        ["/boot/grub", "/boot/grub2"].into_iter().find_map(of)
    }

    /// The table, as the firmware and the kernel read it.
    fn table(&mut self) {
        let Some(disk) = self.from.inspection.disk(self.system.root.disk()) else { return };
        let Some(table) = &disk.table else { return };
        let told =
            Told { part: LinkPart::Table, way: Way::Any, volume: VolumePath::whole(disk.no), path: None, needed: true };
        let first = (self.from.disk)(disk.no).and_then(|bytes| bytes.read_vec(ByteOffset(0), 512).ok());
        let announced = first.is_none_or(|first| crate::table::announces_gpt(&first));
        match (table.kind, table.from_backup || !announced) {
            (TableKind::Gpt, true) => {
                // Linux reads the second copy only where the first is good, or where it was told to by `gpt` on its command line
                // (kernel `block/partitions/efi.c`, `find_valid_gpt`).
                let what = if announced { "its first copy is damaged" } else { "sector 0 does not announce it" };
                let says = format!("{what}: the kernel sees no partitions");
                let advice = "`holdfast repair-boot` writes it again from the second copy";
                self.tell(told, LinkState::Broken, says, advice);
                self.remedy(Some(Remedy::Table { disk: disk.no }));
            }
            (kind, _) => {
                let kind = if kind == TableKind::Gpt { "GPT" } else { "MBR" };
                self.tell(told, LinkState::Ok, format!("the partition table ({kind}) can be read"), "");
            }
        }
    }
}
