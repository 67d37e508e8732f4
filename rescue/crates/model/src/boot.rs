//! The boot chain of an installed system: what stands between the firmware and its first process, link by link, as it was read
//! from outside; and what of it can be put right without a snapshot.

use crate::id::VolumePath;
use crate::text::{DisplayText, RawName};
use crate::units::{ByteLen, ByteOffset};
use serde::{Deserialize, Serialize};

/// The chain of one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootChain {
    /// The volume of its root.
    pub root: VolumePath,
    /// Its links, in the order in which a machine comes to them.
    pub links: Vec<BootLink>,
}

/// One link: something that has to be there, and lead on to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootLink {
    /// What it is.
    pub part: LinkPart,
    /// Which kind of firmware comes by it.
    pub way: Way,
    /// The volume it lies on; the whole disk for what lies before the first partition.
    pub volume: VolumePath,
    /// The file, from the root of that volume.
    pub path: Option<RawName>,
    /// Whether it holds.
    pub state: LinkState,
    /// False where a start goes on without it: an older kernel's entry, say.
    pub needed: bool,
    /// What was seen, one sentence without a full stop.
    pub says: DisplayText,
    /// What to do about it; empty where nothing is to be done.
    pub advice: DisplayText,
    /// `repair-boot` may be able to put it right.
    pub repairable: bool,
}

/// The links there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPart {
    /// The partition table, as firmware reads it.
    Table,
    /// The EFI system partition.
    Esp,
    /// A boot loader in its own directory of the ESP.
    Loader,
    /// The boot loader that firmware starts without an entry of its own, `\EFI\BOOT\BOOTX64.EFI`.
    Fallback,
    /// The few lines beside a boot loader on the ESP that lead it to its menu.
    LoaderConfig,
    /// The code in the first sector of a disk.
    BootCode,
    /// The core of a BIOS boot loader, behind that.
    Core,
    /// The menu: GRUB's configuration, or the loader entries of the Boot Loader Specification.
    Menu,
    /// The volume that the menu takes kernels from.
    MenuVolume,
    /// A kernel.
    Kernel,
    /// An initial RAM file system.
    Initramfs,
    /// The modules of a kernel.
    Modules,
    /// The root file system, as the kernel's command line names it.
    Root,
    /// A line of fstab that a start waits for.
    Fstab,
    /// The first process.
    Init,
}

impl LinkPart {
    /// A few words for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "partition table",
            Self::Esp => "EFI system partition",
            Self::Loader => "boot loader",
            Self::Fallback => "fallback boot loader",
            Self::LoaderConfig => "boot loader's settings",
            Self::BootCode => "boot code",
            Self::Core => "boot loader's core",
            Self::Menu => "boot menu",
            Self::MenuVolume => "boot menu's volume",
            Self::Kernel => "kernel",
            Self::Initramfs => "initial RAM file system",
            Self::Modules => "kernel modules",
            Self::Root => "root file system",
            Self::Fstab => "fstab",
            Self::Init => "first process",
        }
    }
}

/// Which kind of firmware comes by a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// UEFI alone.
    Uefi,
    /// BIOS alone.
    Bios,
    /// Either: what comes behind the boot loader.
    Any,
}

/// Whether a link holds. What is not understood is not checked: neither in order nor broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It is there, and leads on.
    Ok,
    /// Nobody can tell from here.
    NotChecked,
    /// It is not there, or leads to nothing.
    Broken,
}

impl BootChain {
    /// The links that are broken and needed.
    pub fn broken(&self) -> impl Iterator<Item = &BootLink> {
        self.links.iter().filter(|l| l.needed && l.state == LinkState::Broken)
    }

    /// Of these, the ones that a start comes to whichever firmware it comes from. What breaks one way alone is none where the other one is
    /// there and holds: a disk made for both often has one of them half.
    pub fn broken_in_every_way(&self) -> impl Iterator<Item = &BootLink> {
        let holds = |way: Way| {
            let mut links = self.links.iter().filter(|l| l.way == way && l.needed).peekable();
            links.peek().is_some() && links.all(|l| l.state != LinkState::Broken)
        };
        let (uefi, bios) = (holds(Way::Uefi), holds(Way::Bios));
        self.broken().filter(move |l| match l.way {
            Way::Any => true,
            Way::Uefi => !bios,
            Way::Bios => !uefi,
        })
    }

    /// Whether the chain resolves: it does where no needed link is broken and one way from a firmware holds in every link. A break
    /// on one way is a break, though the other way may hold: which one this machine's firmware goes is not known.
    pub fn state(&self) -> LinkState {
        if self.broken().next().is_some() {
            return LinkState::Broken;
        }
        let holds = |way: Way| {
            let mut links = self.links.iter().filter(|l| l.way == way && l.needed).peekable();
            links.peek().is_some() && links.all(|l| l.state == LinkState::Ok)
        };
        let shared = holds(Way::Any);
        if shared && (holds(Way::Uefi) || holds(Way::Bios)) { LinkState::Ok } else { LinkState::NotChecked }
    }
}

/// What of boot chains can be put right, worked out on copies in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BootRepairs {
    /// What is put right.
    pub items: Vec<BootRepair>,
    /// What could have been, and why it is not.
    pub left: Vec<BootRepair>,
    /// The bytes that change.
    pub patches: Vec<Patch>,
    /// The chains as they are with these bytes.
    pub after: Vec<BootChain>,
}

/// One thing that is put right, or left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootRepair {
    /// Where: the whole disk for its partition table.
    pub volume: VolumePath,
    /// The file, from the root of that volume.
    pub path: Option<RawName>,
    /// What is done, or why not: one sentence without a full stop.
    pub says: DisplayText,
}

/// Bytes that change on a volume.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Patch {
    /// Which volume; a whole disk with a table for that table.
    pub volume: VolumePath,
    /// Where on it.
    pub at: ByteOffset,
    /// What stands there afterwards.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Patch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Patch({} bytes at {} of {})", self.bytes.len(), self.at, self.volume)
    }
}

impl BootRepairs {
    /// How many bytes change.
    pub fn changed(&self) -> ByteLen {
        ByteLen(self.patches.iter().map(|p| p.bytes.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DiskNo;

    fn link(part: LinkPart, way: Way, state: LinkState, needed: bool) -> BootLink {
        let volume = VolumePath::whole(DiskNo(0));
        let (says, advice) = ("".into(), "".into());
        BootLink { part, way, volume, path: None, state, needed, says, advice, repairable: false }
    }

    fn state(links: &[BootLink]) -> LinkState {
        BootChain { root: VolumePath::whole(DiskNo(0)), links: links.to_vec() }.state()
    }

    #[test]
    fn a_chain_resolves_where_one_way_holds_in_every_link() {
        use LinkState::{Broken, NotChecked, Ok};
        let of = |uefi, bios, kernel| {
            let any = link(LinkPart::Kernel, Way::Any, kernel, true);
            let ways = [(Way::Uefi, LinkPart::Esp, uefi), (Way::Bios, LinkPart::BootCode, bios)];
            let ways = ways.into_iter().filter_map(|(way, part, s)| Some(link(part, way, s?, true)));
            state(&ways.chain([any]).collect::<Vec<_>>())
        };
        assert_eq!(of(Some(Ok), None, Ok), Ok);
        assert_eq!(of(Some(Ok), Some(NotChecked), Ok), Ok);
        assert_eq!(of(Some(NotChecked), None, Ok), NotChecked);
        assert_eq!(of(None, None, Ok), NotChecked, "nothing leads to the kernel");
        assert_eq!(of(Some(Ok), Some(Broken), Ok), Broken);
        assert_eq!(of(Some(Ok), None, Broken), Broken);
        assert_eq!(of(Some(Ok), None, NotChecked), NotChecked);
        let spare = link(LinkPart::Kernel, Way::Any, Broken, false);
        let needed = [link(LinkPart::Esp, Way::Uefi, Ok, true), link(LinkPart::Kernel, Way::Any, Ok, true), spare];
        assert_eq!(state(&needed), Ok, "an older kernel's entry is not needed");
    }
}
