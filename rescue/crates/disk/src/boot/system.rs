//! What the system itself waits for when it starts: the volumes of its fstab, and its first process.

use super::remedy::Remedy;
use super::{Checker, Named, Told};
use crate::system::fstab::{self, Line, Source};
use model::boot::{LinkPart, LinkState, Way};
use model::id::VolumePath;
use model::inspection::{Content, FileKind, GPT_ESP, Volume};
use model::ports::ReadAt;
use model::units::ByteOffset;

/// Most lines of fstab that are followed.
const MOST_LINES: usize = 256;
const FSTAB: &str = "/etc/fstab";
/// The first process, where the kernel looks for it (kernel `init/main.c`) and where systemd's is.
const INITS: [&str; 4] = ["/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd"];

impl Checker<'_> {
    /// A start waits for every line that is not optional, and ends in the emergency mode where one does not come (systemd
    /// `systemd-fstab-generator(8)`); not for swap.
    pub(super) fn fstab(&mut self) {
        let (root, inside) = self.own_fstab();
        let told = |needed| Told {
            part: LinkPart::Fstab,
            way: Way::Any,
            volume: root.clone(),
            path: Some(inside.clone()),
            needed,
        };
        let text = match self.text(&root, &inside) {
            Ok(Some(text)) => text,
            Ok(None) => return self.tell(told(false), LinkState::NotChecked, "there is no /etc/fstab", ""),
            Err(why) => {
                return self.tell(told(true), LinkState::NotChecked, format!("{FSTAB} cannot be read: {why}"), "");
            }
        };
        if text.contains('\0') {
            let says = format!("{FSTAB} holds zero bytes");
            return self.tell(told(true), LinkState::Broken, says, "put it right by hand, or roll back");
        }
        let lines = fstab::parse(&text);
        let wanted: Vec<&Line> = lines.iter().filter(|l| !l.optional && l.source.is_some()).take(MOST_LINES).collect();
        let mut fine = 0;
        for line in &wanted {
            fine += usize::from(self.line(line, &|needed| told(needed)));
        }
        if fine == wanted.len() {
            let says = format!("every volume that {FSTAB} waits for is there ({fine})");
            self.tell(told(true), LinkState::Ok, says, "");
        }
    }

    /// Where its fstab lies.
    fn own_fstab(&self) -> (VolumePath, String) {
        let (volume, inside) = self.system.place(FSTAB);
        (volume.clone(), inside)
    }

    /// Whether a line leads to a volume; what does not is told.
    fn line(&mut self, line: &Line, told: &dyn Fn(bool) -> Told) -> bool {
        let Some(source) = &line.source else { return true };
        let needed = line.target != "swap";
        let (shown, target) = (line.shown.as_str(), line.target.as_str());
        let why = match fstab::resolve(self.from.inspection, source, &self.system.root) {
            Ok(_) => return true,
            Err(why) => why,
        };
        if why != fstab::NOT_HERE {
            self.tell(told(needed), LinkState::NotChecked, format!("{FSTAB} names {shown} for {target}: {why}"), "");
            return false;
        }
        if let Named::Unsure(why) = self.not_found(shown) {
            self.tell(told(needed), LinkState::NotChecked, format!("{FSTAB} names {shown} for {target}: {why}"), "");
            return false;
        }
        let says = match needed {
            true => format!("{FSTAB} names {shown} for {target}, which is not on these disks: a start stops there"),
            false => {
                format!("{FSTAB} names {shown} for {target}, which is not on these disks: a start waits for it a while")
            }
        };
        let advice =
            "if it is on a disk that was not named here, name that too; else correct the line, or add `nofail` to it";
        self.tell(told(needed), LinkState::Broken, says, advice);
        let new = self.meant(target).and_then(Volume::uuid).map(str::to_owned);
        if let (Source::Uuid(old), Some(new)) = (source, new) {
            let (root, inside) = self.own_fstab();
            self.remedy(Some(Remedy::uuid(&root, &inside, old, &new)));
        }
        false
    }

    /// Takes volumes that lines of fstab can only mean for what they are, so that what lies on them is found.
    pub(super) fn add_meant(&mut self) {
        let (root, inside) = self.own_fstab();
        let text = self.text(&root, &inside).ok().flatten().unwrap_or_default();
        for line in fstab::parse(&text).iter().filter(|l| l.target == "/boot") {
            let Some(source) = &line.source else { continue };
            let lost = fstab::resolve(self.from.inspection, source, &self.system.root) == Err(fstab::NOT_HERE);
            if let Some(volume) = self.meant(&line.target).filter(|_| lost) {
                self.system.boot.push((line.target.clone(), volume.path.clone()));
            }
        }
    }

    /// The one volume that can be meant by a mount point whose line leads nowhere.
    fn meant(&self, target: &str) -> Option<&Volume> {
        let disk = self.from.inspection.disk(self.system.root.disk())?;
        let used = |v: &Volume| self.from.inspection.systems.iter().any(|s| s.uses(&v.path));
        let esp = |v: &Volume| self.partition(&v.path).is_some_and(|(p, _)| p.type_id == GPT_ESP || p.type_id == "ef");
        let fits = |v: &&Volume| match target {
            "/" => v.path == self.system.root,
            // The one with kernels on it, and nobody's.
            "/boot" => {
                matches!(v.content, Content::Ext(_) | Content::Xfs(_)) && !used(v) && self.holds_kernels(&v.path)
            }
            "/boot/efi" | "/efi" => matches!(v.content, Content::Fat(_)) && esp(v),
            "swap" => matches!(v.content, Content::Swap(_)) && !used(v),
            _ => false,
        };
        let found: Vec<&Volume> = disk.volumes.iter().filter(fits).collect();
        let [one] = found.as_slice() else { return None };
        Some(one)
    }

    fn holds_kernels(&self, volume: &VolumePath) -> bool {
        self.names(volume, "/", FileKind::File).iter().any(|n| n.starts_with("vmlinuz"))
    }

    /// The first process.
    pub(super) fn init(&mut self) {
        let mut unread = None;
        for path in INITS {
            let (volume, inside) = self.system.place(path);
            let volume = volume.clone();
            match self.file(&volume, &inside) {
                Ok(Some(file)) => {
                    let told = |path: &str| Told {
                        part: LinkPart::Init,
                        way: Way::Any,
                        volume: volume.clone(),
                        path: Some(path.to_owned()),
                        needed: true,
                    };
                    return match program(&*file) {
                        Ok(()) => self.tell(told(&inside), LinkState::Ok, format!("{path} is a program"), ""),
                        Err(why) => {
                            let advice = "install its package again from another start, or roll back";
                            self.tell(told(&inside), LinkState::Broken, format!("{path} {why}"), advice);
                        }
                    };
                }
                Ok(None) => {}
                Err(why) => unread = Some(why),
            }
        }
        let told =
            Told { part: LinkPart::Init, way: Way::Any, volume: self.system.root.clone(), path: None, needed: true };
        match unread {
            Some(why) => self.tell(told, LinkState::NotChecked, format!("the first process: {why}"), ""),
            None => {
                let says = "there is no first process: neither /sbin/init nor systemd is there";
                self.tell(told, LinkState::Broken, says, "install its package again from another start, or roll back");
            }
        }
    }
}

/// A program, or a script.
fn program(file: &dyn ReadAt) -> Result<(), String> {
    let len = usize::try_from(file.size().0.min(64)).unwrap_or(0);
    let head = file.read_vec(ByteOffset(0), len).map_err(|e| format!("cannot be read: {e}"))?;
    match head.as_slice() {
        [] => Err("is empty".to_owned()),
        [0x7f, b'E', b'L', b'F', ..] if len == 64 => Ok(()),
        [b'#', b'!', ..] => Ok(()),
        _ => Err("is no program".to_owned()),
    }
}
