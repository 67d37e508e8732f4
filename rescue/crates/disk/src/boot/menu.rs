//! Boot menus: which there are, and the entries in them.

use super::entry::Entry;
use super::{Checker, Told, bls, grub};
use model::boot::{LinkPart, LinkState, Way};
use model::id::VolumePath;
use model::inspection::FileKind;

/// Most entries that are looked into: the one that starts by itself, and some older kernels.
const MOST_CHECKED: usize = 8;
/// GPT type of the partition that holds entries where the ESP does not (`XBOOTLDR`).
const GPT_XBOOTLDR: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";
const ADVICE: &str = "start it by other means and run `update-grub` (`grub-mkconfig`); a rollback to a snapshot of it writes it again too";

/// A menu that a boot loader was found to lead to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Menu {
    /// GRUB's.
    Grub { volume: VolumePath, path: String, needed: bool },
    /// Loader entries on the ESP or beside it.
    Entries { volume: VolumePath, way: Way, needed: bool },
}

impl Checker<'_> {
    /// Goes through the menus that boot loaders lead to, and the system's own where none does.
    pub(super) fn menus(&mut self, mut menus: Vec<Menu>) {
        let needed = |menu: &Menu| match menu {
            Menu::Grub { needed, .. } | Menu::Entries { needed, .. } => *needed,
        };
        if !menus.iter().any(needed) {
            menus.extend(self.own_menu());
        }
        menus.sort();
        menus.dedup();
        for menu in menus {
            match menu {
                Menu::Grub { volume, path, needed } => self.grub_menu(&volume, &path, needed),
                Menu::Entries { volume, way, needed } => self.entries(&volume, way, needed),
            }
        }
    }

    /// The menu where distributions keep it, whatever leads there.
    fn own_menu(&mut self) -> Option<Menu> {
        let mut place = None;
        for directory in ["/boot/grub", "/boot/grub2"] {
            let (volume, inside) = self.system.place(directory);
            if self.exists(volume, &format!("{inside}/grub.cfg")) {
                return Some(Menu::Grub { volume: volume.clone(), path: format!("{inside}/grub.cfg"), needed: true });
            }
            if place.is_none() && !self.list(volume, &inside).is_empty() {
                place = Some((volume.clone(), inside));
            }
        }
        let (state, volume, path, says) = match place {
            // GRUB's directory without a menu in it.
            Some((volume, inside)) => {
                let path = format!("{inside}/grub.cfg");
                (LinkState::Broken, volume, Some(path.clone()), format!("GRUB's menu {path} is missing"))
            }
            None => {
                let says = "no menu of a boot loader that is known here was found";
                (LinkState::NotChecked, self.system.root.clone(), None, says.to_owned())
            }
        };
        let advice = if state == LinkState::Broken { ADVICE } else { "" };
        self.tell(Told { part: LinkPart::Menu, way: Way::Any, volume, path, needed: true }, state, says, advice);
        None
    }

    fn grub_menu(&mut self, volume: &VolumePath, path: &str, needed: bool) {
        let told = || Told {
            part: LinkPart::Menu,
            way: Way::Any,
            volume: volume.clone(),
            path: Some(path.to_owned()),
            needed,
        };
        let text = match self.text(volume, path) {
            Ok(Some(text)) => text,
            Ok(None) => return self.tell(told(), LinkState::Broken, format!("{path} is missing"), ADVICE),
            Err(why) => return self.tell(told(), LinkState::NotChecked, format!("{path} cannot be read: {why}"), ""),
        };
        if text.bytes().all(|b| b == 0 || b.is_ascii_whitespace()) {
            return self.tell(told(), LinkState::Broken, format!("{path} is empty"), ADVICE);
        }
        if text.contains('\0') {
            return self.tell(told(), LinkState::Broken, format!("{path} holds zero bytes"), ADVICE);
        }
        let config = grub::parse(&text);
        if let Some(part) = &config.unfinished {
            let says = format!("{path} is cut short: what {part} writes has no end");
            return self.tell(told(), LinkState::Broken, says, ADVICE);
        }
        let mut entries = config.entries;
        if entries.is_empty() && config.bls {
            entries = self.bls_entries(volume, "/loader/entries", None);
            // On a root without a /boot of its own they lie there.
            if entries.is_empty() {
                entries = self.bls_entries(volume, "/boot/loader/entries", None);
            }
        }
        if entries.is_empty() {
            let says = format!("{path} loads no kernel in a way that is understood here");
            return self.tell(told(), LinkState::NotChecked, says, "");
        }
        self.tell(told(), LinkState::Ok, format!("{path} has {}", count(entries.len())), "");
        self.go_through(volume, Some((volume, path)), entries, needed);
    }

    /// The entries of systemd-boot.
    fn entries(&mut self, esp: &VolumePath, way: Way, needed: bool) {
        let default = self.text(esp, "/loader/loader.conf").ok().flatten().and_then(|text| bls::default(&text));
        let disk = self.from.inspection.disk(esp.disk());
        let partitions = disk.and_then(|d| d.table.as_ref()).map_or(&[][..], |t| &t.partitions);
        let extended = partitions.iter().filter(|p| p.type_id == GPT_XBOOTLDR);
        let extended = extended.map(|p| VolumePath::partition(esp.disk(), p.number));
        let places: Vec<VolumePath> = extended.chain([esp.clone()]).collect();
        let mut any = false;
        for place in places {
            let entries = self.bls_entries(&place, "/loader/entries", default.as_deref());
            let kernels = self.names(&place, "/EFI/Linux", FileKind::File);
            let path = Some("/loader/entries".to_owned());
            let told = Told { part: LinkPart::Menu, way, volume: place.clone(), path, needed };
            if !entries.is_empty() {
                any = true;
                self.tell(told, LinkState::Ok, format!("there is {}", count(entries.len())), "");
                self.go_through(&place, None, entries, needed);
            } else if !kernels.is_empty() {
                any = true;
                let says = "kernels that are EFI programs themselves lie in /EFI/Linux; they were not looked into";
                self.tell(told, LinkState::NotChecked, says, "");
            }
        }
        if !any {
            let path = Some("/loader/entries".to_owned());
            let told = Told { part: LinkPart::Menu, way, volume: esp.clone(), path, needed };
            let advice = "start it by other means and run `kernel-install add-all`";
            self.tell(
                told,
                LinkState::Broken,
                "there is no entry in /loader/entries and no kernel in /EFI/Linux",
                advice,
            );
        }
    }

    /// Entries in files of their own: the default first, else the newest by name, as boot loaders sort them roughly.
    fn bls_entries(&self, volume: &VolumePath, directory: &str, default: Option<&str>) -> Vec<Entry> {
        let mut names = self.names(volume, directory, FileKind::File);
        names.retain(|n| n.ends_with(".conf"));
        names.reverse();
        if let Some(default) = default {
            let stem = default.trim_end_matches(".conf").trim_end_matches('*');
            names.sort_by_key(|n| !n.starts_with(stem));
        }
        let read = |name: &String| self.text(volume, &format!("{directory}/{name}")).ok().flatten();
        names.iter().take(MOST_CHECKED * 8).filter_map(read).filter_map(|text| bls::parse(&text)).collect()
    }

    /// Looks into the entries: the first has to hold, of the others only what is broken is told.
    fn go_through(
        &mut self,
        volume: &VolumePath,
        menu: Option<(&VolumePath, &str)>,
        entries: Vec<Entry>,
        needed: bool,
    ) {
        let mut seen: Vec<Entry> = Vec::new();
        for entry in entries {
            // The same kernel in a submenu, or with other options, is told once.
            if seen.iter().any(|e| e.kernel == entry.kernel && e.search == entry.search) {
                continue;
            }
            let first = seen.is_empty();
            let before = self.links.len();
            self.entry(volume, menu, &entry, needed && first);
            if !first {
                let told = self.links.split_off(before);
                self.links.extend(told.into_iter().filter(|l| l.state == LinkState::Broken));
            }
            seen.push(entry);
            if seen.len() >= MOST_CHECKED {
                break;
            }
        }
    }
}

fn count(n: usize) -> String {
    if n == 1 { "an entry that loads a kernel".to_owned() } else { format!("a choice of {n} kernels") }
}
