//! One entry of a boot menu: the volume, the kernel, its initial RAM file systems and modules, and the root it is told of.

use super::image::{self, Seen};
use super::remedy::Remedy;
use super::{Checker, Named, Told};
use crate::system::fstab::{self, Source};
use model::boot::{LinkPart, LinkState, Way};
use model::id::VolumePath;

const KERNEL: &str = "install the kernel's package again from another start; a rollback to a snapshot brings it back";
const INITRAMFS: &str = "make it anew (`update-initramfs -u -k VERSION`, `dracut --force`) from another start; a rollback to a \
                         snapshot brings it back";
const ELSEWHERE: &str = "if it is on a disk that was not named here, name that too";

/// Most initial RAM file systems of an entry that are looked at.
pub(super) const MOST_INITRDS: usize = 16;

/// An entry of a menu.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// The UUID of the volume that is searched for; the menu's own volume where `None`.
    pub search: Option<String>,
    /// The kernel's path on that volume.
    pub kernel: String,
    /// Its command line.
    pub options: Vec<String>,
    /// Initial RAM file systems, by their paths on that volume.
    pub initrds: Vec<String>,
    /// A path names a device itself, or a variable is part of it: then it says nothing here.
    pub elsewhere: bool,
}

impl Checker<'_> {
    /// Looks into an entry of a menu that lies on `volume`; `menu` is the file it is written in, where that is one for all.
    pub(super) fn entry(
        &mut self,
        volume: &VolumePath,
        menu: Option<(&VolumePath, &str)>,
        entry: &Entry,
        needed: bool,
    ) {
        let told = |part, volume: &VolumePath, path: &str| Told {
            part,
            way: Way::Any,
            volume: volume.clone(),
            path: Some(path.to_owned()),
            needed,
        };
        if entry.elsewhere {
            let says = format!("the menu loads {} from a place that is not understood here", entry.kernel);
            self.tell(told(LinkPart::Kernel, volume, &entry.kernel), LinkState::NotChecked, says, "");
        } else if let Some(from) = self.searched(volume, menu, entry, needed) {
            self.loaded(&from, entry, needed);
        }
        self.root(menu, entry, needed);
    }

    /// The volume that an entry takes its files from.
    fn searched(
        &mut self,
        volume: &VolumePath,
        menu: Option<(&VolumePath, &str)>,
        entry: &Entry,
        needed: bool,
    ) -> Option<VolumePath> {
        let Some(uuid) = &entry.search else { return Some(volume.clone()) };
        let path = menu.map(|(_, path)| path.to_owned());
        let told = Told { part: LinkPart::MenuVolume, way: Way::Any, volume: volume.clone(), path, needed };
        match self.named(uuid) {
            Named::Volume(found) => {
                self.tell(told, LinkState::Ok, format!("the menu takes {} from {}", entry.kernel, found.path), "");
                Some(found.path.clone())
            }
            Named::Unsure(why) => {
                self.tell(told, LinkState::NotChecked, format!("the menu looks for {}: {why}", entry.kernel), "");
                None
            }
            Named::Nothing => {
                let says = format!(
                    "the menu looks for {} on the volume {uuid}, which is not on these disks; GRUB may guess another",
                    entry.kernel
                );
                self.tell(told, LinkState::Broken, says, ELSEWHERE);
                // The volume of this system that has the kernel in that place.
                let own = std::iter::once(&self.system.root).chain(self.system.boot.iter().map(|(_, v)| v));
                let right = own.filter(|v| self.exists(v, &entry.kernel)).cloned().min()?;
                let new = self.volume(&right).and_then(|v| v.uuid()).map(str::to_owned)?;
                self.remedy(menu.map(|(volume, path)| Remedy::uuid(volume, path, uuid, &new)));
                Some(right)
            }
        }
    }

    /// The kernel, what is loaded with it, and its modules.
    fn loaded(&mut self, from: &VolumePath, entry: &Entry, needed: bool) {
        let told =
            |part, path: &str| Told { part, way: Way::Any, volume: from.clone(), path: Some(path.to_owned()), needed };
        let kernel = match self.file(from, &entry.kernel) {
            Ok(Some(file)) => image::kernel(&*file),
            Ok(None) => image::KernelImage { seen: Seen::Bad("is missing".into()), version: None },
            Err(why) => image::KernelImage { seen: Seen::Unsure(format!("cannot be read: {why}")), version: None },
        };
        self.seen(told(LinkPart::Kernel, &entry.kernel), kernel.seen, KERNEL);
        for path in &entry.initrds {
            let seen = match self.file(from, path) {
                Ok(Some(file)) => image::initramfs(&*file),
                Ok(None) => Seen::Bad("is missing".into()),
                Err(why) => Seen::Unsure(format!("cannot be read: {why}")),
            };
            self.seen(told(LinkPart::Initramfs, path), seen, INITRAMFS);
        }
        let named = entry.kernel.rsplit('/').next().and_then(|name| name.strip_prefix("vmlinuz-")).map(str::to_owned);
        if let Some(version) = kernel.version.or(named) {
            self.modules(&version, !entry.initrds.is_empty(), needed);
        }
    }

    fn modules(&mut self, version: &str, with_initramfs: bool, needed: bool) {
        let find = |path: String| {
            let (volume, inside) = self.system.place(&path);
            let file = self.file(volume, &inside);
            (volume.clone(), inside, file.map(|f| f.map(|f| f.size().0)))
        };
        // /lib is a link to usr/lib, and that may be a volume of its own, to which no link is followed.
        let places = ["/lib", "/usr/lib"].map(|lib| find(format!("{lib}/modules/{version}/modules.dep")));
        let there = places.iter().find(|(_, _, found)| matches!(found, Ok(Some(_))));
        let (volume, path, found) = there.unwrap_or(&places[0]).clone();
        let told = Told { part: LinkPart::Modules, way: Way::Any, volume, path: Some(path.clone()), needed };
        let advice = "install the kernel's package again, or run `depmod VERSION`, from another start; a rollback brings back \
                      a kernel and the modules that belong to it";
        match found {
            Ok(Some(0)) => self.tell(told, LinkState::Broken, format!("{path} is empty"), advice),
            Ok(Some(_)) => self.tell(told, LinkState::Ok, format!("the modules of {version} are there"), ""),
            Ok(None) if with_initramfs => {
                let says = format!("there are no modules for the kernel {version}: {path} is missing");
                self.tell(told, LinkState::Broken, says, advice);
            }
            Ok(None) => {
                let says = format!("there are no modules for the kernel {version}, which may need none");
                self.tell(told, LinkState::NotChecked, says, "");
            }
            Err(why) => self.tell(told, LinkState::NotChecked, format!("{path} cannot be read: {why}"), ""),
        }
    }

    /// The root file system that the kernel's command line names.
    fn root(&mut self, menu: Option<(&VolumePath, &str)>, entry: &Entry, needed: bool) {
        let (volume, path) = match menu {
            Some((volume, path)) => (volume.clone(), Some(path.to_owned())),
            None => (self.system.root.clone(), None),
        };
        let told = Told { part: LinkPart::Root, way: Way::Any, volume, path, needed };
        let Some(named) = entry.options.iter().rev().find_map(|o| o.strip_prefix("root=")) else {
            let says = "the kernel's command line names no root; whatever is started first finds it";
            return self.tell(told, LinkState::NotChecked, says, "");
        };
        let Some(source) = fstab::source(named) else {
            return self.tell(told, LinkState::NotChecked, format!("root={named} is not understood here"), "");
        };
        match fstab::resolve(self.from.inspection, &source, &self.system.root) {
            Ok(found) if found == self.system.root => {
                self.tell(told, LinkState::Ok, format!("root={named} is this system's root, {found}"), "");
            }
            Ok(found) => {
                let says = format!("root={named} is {found}, which is not this system's root");
                self.tell(told, LinkState::NotChecked, says, "");
            }
            Err(why) if why != fstab::NOT_HERE => {
                self.tell(told, LinkState::NotChecked, format!("root={named}: {why}"), "");
            }
            Err(_) => match self.not_found(named) {
                Named::Unsure(why) => self.tell(told, LinkState::NotChecked, format!("root={named}: {why}"), ""),
                _ => {
                    let says = format!("root={named} is not on these disks");
                    self.tell(told, LinkState::Broken, says, ELSEWHERE);
                    let new = self.volume(&self.system.root).and_then(|v| v.uuid()).map(str::to_owned);
                    if let (Source::Uuid(old), Some(new), Some((volume, path))) = (source, new, menu) {
                        self.remedy(Some(Remedy::uuid(volume, path, &old, &new)));
                    }
                }
            },
        }
    }
}
