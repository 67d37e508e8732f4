//! What UEFI firmware starts: the EFI system partition, the boot loaders on it, and the lines that lead them to their menu
//! (UEFI specification, sections 3.5 and 13.3).

use super::grub::{self, Config};
use super::image::{self, EfiProgram, Seen};
use super::menu::Menu;
use super::remedy::Remedy;
use super::{Checker, Home, Named, Told};
use model::boot::{LinkPart, LinkState, Way};
use model::id::VolumePath;
use model::inspection::{Content, FileKind, GPT_ESP, TableKind};

/// The machines that programs are named after (UEFI specification, section 3.5.1.1, in lower case).
pub(super) const ARCHES: [&str; 3] = ["x64", "aa64", "ia32"];
/// The directory that firmware looks into by itself.
const FALLBACK: &str = "BOOT";
/// Most directories of boot loaders that are looked into.
const MOST_VENDORS: usize = 32;
const INSTALL: &str =
    "start it by other means and run `grub-install`; a rollback to a snapshot of it writes it again too";

/// A boot loader's own directory, and which of its programs are there.
struct Vendor {
    /// `EFI/debian`, as it is written on the volume.
    directory: String,
    /// `x64`, ...
    arch: &'static str,
    shim: Option<String>,
    grub: Option<String>,
    /// systemd-boot.
    plain: Option<String>,
    /// shim's key manager.
    keys: Option<String>,
    /// It is this system's.
    mine: bool,
}

impl Vendor {
    /// The program that firmware is given.
    fn first(&self) -> Option<&String> {
        self.shim.as_ref().or(self.grub.as_ref()).or(self.plain.as_ref())
    }
}

impl Checker<'_> {
    /// Goes by the way of UEFI; gives the menus it leads to. `bios`: something else may start the machine.
    pub(super) fn uefi(&mut self, bios: bool) -> Vec<Menu> {
        let mut menus = Vec::new();
        for esp in self.esps() {
            menus.extend(self.esp(&esp, bios));
        }
        menus
    }

    fn is_esp(&self, volume: &VolumePath) -> bool {
        self.partition(volume).is_some_and(|(p, _)| p.type_id == GPT_ESP || p.type_id == "ef")
    }

    /// The system's EFI system partitions; those of its disk where it names none.
    pub(super) fn esps(&self) -> Vec<VolumePath> {
        let fat = |v: &VolumePath| self.volume(v).is_some_and(|v| matches!(v.content, Content::Fat(_)));
        let own = self.system.boot.iter().map(|(_, v)| v).filter(|v| self.is_esp(v) || fat(v));
        let mut found: Vec<VolumePath> = own.cloned().collect();
        if found.is_empty() {
            let disk = self.from.inspection.disk(self.system.root.disk());
            let all = disk.iter().flat_map(|d| &d.volumes).map(|v| &v.path);
            found = all.filter(|v| self.is_esp(v)).cloned().collect();
        }
        found.sort();
        found.dedup();
        found
    }

    fn esp(&mut self, esp: &VolumePath, bios: bool) -> Vec<Menu> {
        let told = |part, path: Option<String>| Told { part, way: Way::Uefi, volume: esp.clone(), path, needed: true };
        let Some(volume) = self.volume(esp) else { return Vec::new() };
        if matches!(volume.content, Content::Fenced(_)) {
            let says = "an unfinished rollback stands on the EFI system partition";
            self.tell(told(LinkPart::Esp, None), LinkState::NotChecked, says, "finish or undo it first");
            return Vec::new();
        }
        if !matches!(volume.content, Content::Fat(_)) {
            let says = format!("the EFI system partition holds no FAT file system ({})", volume.kind());
            let advice = "a rollback to a snapshot of it writes it again; else make one (`mkfs.vfat`), give fstab its UUID, and run \
                          `grub-install`";
            self.tell(told(LinkPart::Esp, None), LinkState::Broken, says, advice);
            return Vec::new();
        }
        // Directories that cannot be read are not empty ones.
        if let Err(why) = self.fs(esp).and_then(|fs| fs.read_dir(b"/EFI", 1).map_err(|e| e.to_string())) {
            let says = format!("the EFI system partition cannot be read: {why}");
            self.tell(told(LinkPart::Esp, None), LinkState::NotChecked, says, "let `fsck.vfat` look at it");
            return Vec::new();
        }
        let vendors = self.vendors(esp);
        // Without a single boot loader it is the ESP of nobody, where the machine starts in another way.
        if vendors.is_empty() && self.fallbacks(esp).is_empty() {
            let says = "there is no boot loader on the EFI system partition";
            match bios {
                true => self.tell(told(LinkPart::Esp, None), LinkState::NotChecked, says, ""),
                false => self.tell(told(LinkPart::Esp, None), LinkState::Broken, says, INSTALL),
            }
            return Vec::new();
        }
        match self.partition(esp) {
            Some((p, TableKind::Gpt)) if p.type_id != GPT_ESP => {
                let says = format!("its partition has the type {}, not that of an EFI system partition", p.type_id);
                let advice = "some firmware does not look there: give it the type `EF00` (`sgdisk --typecode`)";
                self.tell(told(LinkPart::Esp, None), LinkState::NotChecked, says, advice);
            }
            _ => self.tell(
                told(LinkPart::Esp, None),
                LinkState::Ok,
                "the EFI system partition is there, and is a FAT",
                "",
            ),
        }
        let mut menus = Vec::new();
        for vendor in &vendors {
            menus.extend(self.vendor(esp, vendor));
        }
        self.fallback(esp, &vendors);
        menus
    }

    /// The directories with boot loaders that are known here.
    fn vendors(&self, esp: &VolumePath) -> Vec<Vendor> {
        let directories = self.names(esp, "/EFI", FileKind::Directory).into_iter();
        let own = directories.filter(|d| !d.eq_ignore_ascii_case(FALLBACK)).take(MOST_VENDORS);
        let mut found: Vec<Vendor> = own.filter_map(|d| self.programs(esp, &d)).collect();
        let id = self.system.os.0.as_str();
        let is = |v: &Vendor| v.directory.rsplit('/').next().is_some_and(|d| d.eq_ignore_ascii_case(id));
        let alone = found.len() == 1 || !found.iter().any(is);
        for vendor in &mut found {
            vendor.mine = alone || is(vendor);
        }
        found
    }

    fn programs(&self, esp: &VolumePath, directory: &str) -> Option<Vendor> {
        let path = format!("/EFI/{directory}");
        let files = self.names(esp, &path, FileKind::File);
        ARCHES.into_iter().find_map(|arch| {
            let called = |stem: &str| {
                let name = format!("{stem}{arch}.efi");
                files.iter().find(|f| f.eq_ignore_ascii_case(&name)).map(|f| format!("{path}/{f}"))
            };
            let (shim, grub, plain) = (called("shim"), called("grub"), called("systemd-boot"));
            let any = shim.is_some() || grub.is_some() || plain.is_some();
            let directory = path.clone();
            any.then(|| Vendor { directory, arch, shim, grub, plain, keys: called("mm"), mine: true })
        })
    }

    fn vendor(&mut self, esp: &VolumePath, vendor: &Vendor) -> Vec<Menu> {
        let needed = vendor.mine;
        let told =
            |part, path: &str| Told { part, way: Way::Uefi, volume: esp.clone(), path: Some(path.to_owned()), needed };
        let mut menus = Vec::new();
        if let Some(shim) = &vendor.shim {
            let program = self.program(esp, shim);
            self.seen(told(LinkPart::Loader, shim), program.seen, INSTALL);
        }
        match (&vendor.grub, &vendor.plain) {
            (Some(path), _) => {
                let program = self.program(esp, path);
                let good = !matches!(program.seen, Seen::Bad(_));
                self.seen(told(LinkPart::Loader, path), program.seen, INSTALL);
                if good {
                    menus.extend(self.stub(esp, vendor, program.signed));
                }
            }
            (None, Some(path)) => {
                let program = self.program(esp, path);
                self.seen(told(LinkPart::Loader, path), program.seen, "run `bootctl install`");
                menus.push(Menu::Entries { volume: esp.clone(), way: Way::Uefi, needed });
            }
            (None, None) => {
                let wanted = format!("{}/grub{}.efi", vendor.directory, vendor.arch);
                let says = format!("{wanted}, which shim goes on to, is missing");
                self.tell(told(LinkPart::Loader, &wanted), LinkState::Broken, says, INSTALL);
            }
        }
        menus
    }

    pub(super) fn program(&self, esp: &VolumePath, path: &str) -> EfiProgram {
        match self.file(esp, path) {
            Ok(Some(file)) => image::efi(&*file),
            Ok(None) => EfiProgram { seen: Seen::Bad("is missing".into()), signed: false },
            Err(why) => EfiProgram { seen: Seen::Bad(format!("cannot be read: {why}")), signed: false },
        }
    }

    fn is_shim(&self, esp: &VolumePath, path: &str, arch: &str) -> bool {
        self.file(esp, path).is_ok_and(|file| file.is_some_and(|file| image::is_shim(&*file, arch)))
    }

    /// The lines beside GRUB that lead it to its menu. A signed GRUB knows nothing else; one that was made on the machine may have
    /// them inside.
    fn stub(&mut self, esp: &VolumePath, vendor: &Vendor, signed: bool) -> Option<Menu> {
        let path = format!("{}/grub.cfg", vendor.directory);
        let (way, needed) = (Way::Uefi, vendor.mine);
        let told = |part| Told { part, way, volume: esp.clone(), path: Some(path.clone()), needed };
        let home = self.home().filter(|_| needed);
        let write = home.as_ref().map(|home| Remedy::write(esp, &path, &stub_text(home)));
        let advice = "`holdfast repair-boot` writes it anew where the menu is found; `grub-install` does too";
        let text = match self.text(esp, &path) {
            Ok(Some(text)) => text,
            Ok(None) if signed => {
                let says = format!("{path}, which leads GRUB to its menu, is missing");
                self.tell(told(LinkPart::LoaderConfig), LinkState::Broken, says, advice);
                self.remedy(write);
                return None;
            }
            Ok(None) => {
                let says = "what leads GRUB to its menu is inside it, and is not read";
                self.tell(told(LinkPart::LoaderConfig), LinkState::NotChecked, says, "");
                return None;
            }
            Err(why) => {
                self.tell(
                    told(LinkPart::LoaderConfig),
                    LinkState::NotChecked,
                    format!("{path} cannot be read: {why}"),
                    "",
                );
                return None;
            }
        };
        if text.bytes().all(|b| b == 0 || b.is_ascii_whitespace()) {
            let says = format!("{path}, which leads GRUB to its menu, is empty");
            self.tell(told(LinkPart::LoaderConfig), LinkState::Broken, says, advice);
            self.remedy(write);
            return None;
        }
        let config = grub::parse(&text);
        if !config.entries.is_empty() || config.bls {
            self.tell(told(LinkPart::LoaderConfig), LinkState::Ok, format!("{path} is a menu itself"), "");
            return Some(Menu::Grub { volume: esp.clone(), path, needed });
        }
        self.led(&told, &text, &config, home)
    }

    /// Where those lines lead.
    fn led(
        &mut self,
        told: &dyn Fn(LinkPart) -> Told,
        text: &str,
        config: &Config,
        home: Option<Home>,
    ) -> Option<Menu> {
        let told = told(LinkPart::LoaderConfig);
        let (esp, needed) = (told.volume.clone(), told.needed);
        let path = told.path.clone().unwrap_or_default();
        let (Some(uuid), Some(prefix)) = (&config.search, &config.prefix) else {
            let says = format!("{path} is written in a way that is not understood here");
            self.tell(told, LinkState::NotChecked, says, "");
            return None;
        };
        // The same lines with another volume, or, where the directory is another too, lines of our own.
        let remedy = home.as_ref().map(|home| match home.directory == *prefix {
            true => Remedy::write(&esp, &path, &text.replace(uuid.as_str(), &home.uuid)),
            false => Remedy::write(&esp, &path, &stub_text(home)),
        });
        let advice = "`holdfast repair-boot` puts the right one in where the menu is found";
        let volume = match self.named(uuid) {
            Named::Volume(volume) => volume,
            Named::Nothing => {
                let says = format!("{path} looks for the menu on the volume {uuid}, which is not on these disks");
                self.tell(told, LinkState::Broken, says, advice);
                self.remedy(remedy);
                return None;
            }
            Named::Unsure(why) => {
                self.tell(told, LinkState::NotChecked, format!("{path} looks for its menu: {why}"), "");
                return None;
            }
        };
        let menu = format!("{prefix}/grub.cfg");
        match self.file(&volume.path, &menu) {
            Ok(Some(_)) => {
                self.tell(told, LinkState::Ok, format!("{path} leads to {menu} on {}", volume.path), "");
                Some(Menu::Grub { volume: volume.path.clone(), path: menu, needed })
            }
            Ok(None) => {
                let says = format!("{path} leads to {menu} on {}, which is not there", volume.path);
                self.tell(told, LinkState::Broken, says, advice);
                self.remedy(remedy);
                None
            }
            Err(why) => {
                self.tell(told, LinkState::NotChecked, format!("{path} leads to {}: {why}", volume.path), "");
                None
            }
        }
    }

    /// What firmware finds by itself: the names of the programs.
    fn fallbacks(&self, esp: &VolumePath) -> Vec<(&'static str, String)> {
        let directory =
            self.names(esp, "/EFI", FileKind::Directory).into_iter().find(|d| d.eq_ignore_ascii_case(FALLBACK));
        let path = format!("/EFI/{}", directory.as_deref().unwrap_or(FALLBACK));
        let files = self.names(esp, &path, FileKind::File);
        let of = |arch: &'static str| {
            let name = format!("BOOT{arch}.EFI");
            files.iter().find(|f| f.eq_ignore_ascii_case(&name)).map(|f| (arch, format!("{path}/{f}")))
        };
        ARCHES.into_iter().filter_map(of).collect()
    }

    fn fallback(&mut self, esp: &VolumePath, vendors: &[Vendor]) {
        let own = vendors.iter().find(|v| v.mine && v.first().is_some());
        let told = |path: &str| Told {
            part: LinkPart::Fallback,
            way: Way::Uefi,
            volume: esp.clone(),
            path: Some(path.to_owned()),
            // Where the firmware has an entry of its own it needs no other; without a directory of its own this is all there is.
            needed: own.is_none(),
        };
        let found = self.fallbacks(esp);
        if found.is_empty()
            && let Some(vendor) = own
        {
            let path = fallback_path(vendor.arch);
            let says = format!(
                "there is no {path}: the machine starts only by an entry of its firmware, which is not read here"
            );
            let advice = "`holdfast repair-boot` copies the boot loader there, for a machine that forgot its entries";
            self.tell(told(&path), LinkState::NotChecked, says, advice);
            self.remedy(copies(esp, vendor));
        }
        let only = own.is_none() && !found.is_empty();
        for (arch, path) in found {
            let program = self.program(esp, &path);
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let next = [format!("{directory}/fb{arch}.efi"), format!("{directory}/grub{arch}.efi")];
            let leads = next.iter().any(|path| self.exists(esp, path));
            let remedy = own.filter(|v| v.arch == arch).and_then(|v| copies(esp, v));
            let advice = "`holdfast repair-boot` copies the boot loader there again";
            match program.seen {
                Seen::Good(_) if !leads && self.is_shim(esp, &path, arch) => {
                    let says = format!("{path} is shim, and what it goes on to ({}) is not there", next[1]);
                    self.tell(told(&path), LinkState::Broken, says, advice);
                    self.remedy(remedy);
                }
                Seen::Bad(says) => {
                    self.tell(told(&path), LinkState::Broken, format!("{path} {says}"), advice);
                    self.remedy(remedy);
                }
                seen => self.seen(told(&path), seen, ""),
            }
        }
        if only {
            let told = Told { part: LinkPart::LoaderConfig, path: None, ..told("") };
            let says = "what leads this boot loader to its menu is inside it or beside it, and is not read";
            self.tell(told, LinkState::NotChecked, says, "");
        }
    }
}

fn fallback_path(arch: &str) -> String {
    format!("/EFI/{FALLBACK}/BOOT{}.EFI", arch.to_ascii_uppercase())
}

/// The programs of a boot loader where firmware finds them by itself. Not shim's own fallback program: that would make firmware
/// entries, and start the machine again where it cannot.
fn copies(esp: &VolumePath, vendor: &Vendor) -> Option<Remedy> {
    let mut files = vec![(vendor.first()?.clone(), fallback_path(vendor.arch))];
    if vendor.shim.is_some() {
        files.push((vendor.grub.clone()?, format!("/EFI/{FALLBACK}/grub{}.efi", vendor.arch)));
        files.extend(vendor.keys.iter().map(|from| (from.clone(), format!("/EFI/{FALLBACK}/mm{}.efi", vendor.arch))));
    }
    Some(Remedy::Copy { volume: esp.clone(), files })
}

/// The lines that lead GRUB to its menu, as `grub-install` writes them.
fn stub_text(home: &Home) -> String {
    let Home { uuid, directory, .. } = home;
    format!("search.fs_uuid {uuid} root \nset prefix=($root)'{directory}'\nconfigfile $prefix/grub.cfg\n")
}
